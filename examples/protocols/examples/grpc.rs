//! One gRPC channel for many tasks, with the driver's waits instead of tonic's.
//!
//! ```sh
//! cargo run --package redial-protocols --example grpc    # with a server of its own
//! ```
//!
//! - **In the connector**: TCP is the dial. HTTP/2 and a first call follow, because a
//!   refused token shows only there.
//! - **Verdicts**: the code of a status. A code that a library made itself, such as the
//!   UNAVAILABLE of a broken connection, means something else than a server's.
//! - **To be told to the library**: a `Channel` reconnects by itself, at once and without a
//!   wait. Its connector here has one stream to give, so a broken channel stays broken.
//! - **Half-open connections**: `keep_alive` calls the health service, if no call did.

use std::error::Error;
use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use redial::codes::{self, Advice};
use redial::{Connect, Liveness, Redial, tcp};
use redial_protocols::{Failure, argument, say, server, show, stopped};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const PING: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let address = argument(1, &server("grpc").await?);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let shared = Redial::new(tcp::connect(address).then(move |tcp| {
        let (endpoint, mut stream) = (endpoint.clone(), Some(TokioIo::new(tcp)));
        let once = move |_: Uri| ready(stream.take().ok_or("the stream is used up"));
        async move {
            let once = tower::service_fn(once);
            let channel = endpoint.connect_with_connector(once).await?;
            ask(channel.clone()).await?;
            Ok::<_, Failure>(channel)
        }
    }))
    .advise(advice)
    .observe(say)
    .into_shared()
    .keep_alive(Liveness::new().idle(PING).grace(PING), ask);
    tokio::spawn(shared.watch());
    loop {
        let channel = match shared.ready().await {
            Ok(channel) => channel,
            Err(error) => break Ok(stopped(&error)),
        };
        tokio::select! {
            answer = ask(Channel::clone(&channel)) => match answer {
                Ok(()) => show!("the service is healthy"),
                Err(error) => channel.lost_with(error),
            },
            // Silent: the call would wait for ever.
            () = channel.gone() => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn ask(channel: Channel) -> Result<(), Failure> {
    let request = HealthCheckRequest::default();
    HealthClient::new(channel).check(request).await?;
    Ok(())
}

fn advice(error: &Failure) -> Option<Advice> {
    let status = error.downcast_ref::<Status>()?; // or it is judged by the io::Error in it
    let code = status.code() as i32;
    match status.source() {
        Some(_) => Some(codes::grpc::local(code)), // tonic made it
        None => Some(codes::grpc::status(code)),
    }
}
