//! A client with a log and with metrics. It serves a page for Prometheus;
//! `grafana.json`, beside this file, draws it.
//!
//! ```sh
//! cargo run --example observed --features tracing,metrics
//! curl http://127.0.0.1:9464/metrics
//! ```
//!
//! Set `RUST_LOG` to `redial=debug` for each attempt and each wait. The address of the
//! page can be given as an argument.

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use redial::{Redial, observe, tcp};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing_subscriber::EnvFilter;

/// Of the lengths of outages, in seconds: a quarter of a second to an hour.
const BUCKETS: [f64; 10] = [0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder().with_default_directive("info".parse()?);
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(io::stderr)
        // Its page goes on if nobody reads the log any more, such as after `head -1`.
        .log_internal_errors(false)
        .init();
    let page = env::args().nth(1).unwrap_or("127.0.0.1:9464".into());
    let page: SocketAddr = page.parse()?;
    PrometheusBuilder::new()
        .with_http_listener(page)
        .with_recommended_naming(true)
        .set_buckets(&BUCKETS)?
        .install()?;

    let server = server_that_restarts().await?;
    let mut redial = Redial::new(tcp::connect(server))
        // A real server keeps its connections for longer than this one.
        .stable_after(Duration::from_secs(1))
        .observe(observe::Tracing::new().observer())
        .observe(observe::Metrics::new().label("server", "demo").observer());
    loop {
        let stream = redial.ready().await?;
        // A real client would do its work here.
        match stream.read_u8().await {
            Ok(_) => {}
            Err(error) => redial.lost_with(error),
        }
    }
}

/// Keeps each connection for two seconds, and then is away for a second.
async fn server_that_restarts() -> io::Result<SocketAddr> {
    let mut listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let connection = listener.accept().await;
            sleep(Duration::from_secs(2)).await;
            drop((listener, connection));
            sleep(Duration::from_secs(1)).await;
            listener = TcpListener::bind(address)
                .await
                .expect("the port is still free");
        }
    });
    Ok(address)
}
