//! TLS for a connection, and the check for wrong certificates.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

/// The TLS settings for one server: its name and the trusted certificates.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS for the server at `address`, which is `host:port`. If `roots` is given,
    /// only the certificates in that PEM file are trusted; otherwise, the
    /// certificates that browsers trust.
    pub(crate) fn new(address: &str, roots: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let mut store = rustls::RootCertStore::empty();
        if let Some(file) = roots {
            for certificate in CertificateDer::pem_file_iter(file)? {
                store.add(certificate?)?;
            }
        } else {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let config = rustls::ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            connector: Arc::new(config).into(),
            name: ServerName::try_from(host.to_owned())?,
        })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// Whether the error is an invalid certificate. Waiting does not help then, and a
/// person should see the reason.
pub(crate) fn is_wrong_certificate(error: &io::Error) -> bool {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    matches!(source, Some(rustls::Error::InvalidCertificate(_)))
}
