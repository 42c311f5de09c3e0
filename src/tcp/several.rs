//! One server to dial, or several of which one is enough.

use std::io;

use tokio::net::TcpStream;

use super::{Dial, Target};
use crate::driver::Connect;
use crate::endpoints::{Endpoints, EndpointsConnector};

/// What [`connect`](super::connect) takes: a [`Target`] or what becomes one, or
/// [`Endpoints`] of those.
///
/// There is nothing to implement.
pub trait IntoConnector {
    /// What [`connect`](super::connect) returns: a [`Dial`], or a connector of several.
    type Connector: Connect<Connection = TcpStream, Error = io::Error>;

    /// Makes the connector.
    fn into_connector(self) -> Self::Connector;
}

impl<T: Into<Target>> IntoConnector for T {
    type Connector = Dial;

    fn into_connector(self) -> Dial {
        Dial::new(self.into())
    }
}

impl<S: Clone + Into<Target> + PartialEq> IntoConnector for Endpoints<S> {
    type Connector = EndpointsConnector<S, Dial, fn(&S) -> Dial>;

    fn into_connector(self) -> Self::Connector {
        self.connect_with(|server| Dial::new(server.clone().into()))
    }
}
