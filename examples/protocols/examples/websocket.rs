//! A WebSocket client that stays connected.
//!
//! ```sh
//! cargo run --package redial-protocols --example websocket    # with a server of its own
//! cargo run --package redial-protocols --example websocket -- wss://feed.example/live
//! ```
//!
//! - **In the connector**: TCP is the dial. TLS and the upgrade follow it, and so would a
//!   login or a subscription.
//! - **Verdicts**: the status of a refused upgrade with its `Retry-After`, and the code of
//!   a close frame. Services have codes of their own: see `codes::services`.
//! - **To be told to the library**: nothing. It has no timeouts, and never reconnects.
//! - **Half-open connections**: `keep_alive` sends pings. A browser's `WebSocket` cannot.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use redial::codes::{self, Advice};
use redial::{Connect, Liveness, Redial, SessionEvent, tcp};
use redial_protocols::{Closed, Failure, say, server, show, stopped};
use tokio_tungstenite::client_async_tls;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => format!("ws://{}", server("websocket").await?),
    };
    let request = url.as_str().into_client_request()?;
    let port = if url.starts_with("wss:") { 443 } else { 80 };
    let host = request.uri().host().ok_or("the URL has no host")?;
    let dial = tcp::connect((host, request.uri().port_u16().unwrap_or(port)));
    let liveness = Liveness::new().idle(FIVE_SECONDS).grace(FIVE_SECONDS);

    let mut session = Redial::new(dial.then(async |tcp| {
        let (socket, _response) = client_async_tls(request.clone(), tcp).await?;
        Ok::<_, Failure>(socket)
    }))
    .advise(advice)
    .observe(say)
    .into_session()
    .keep_alive(liveness, || Message::Ping("".into()));
    while let Some(event) = session.next().await {
        match event {
            Ok(SessionEvent::Item(Message::Text(text))) => show!("{text}"),
            Ok(SessionEvent::Item(Message::Close(Some(frame)))) => {
                session.lost_with(Box::new(Closed(frame)));
            }
            Ok(_) => {}
            Err(error) => return Ok(stopped(&error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn advice(error: &Failure) -> Option<Advice> {
    if let Some(Closed(frame)) = error.downcast_ref() {
        return Some(codes::websocket::close(frame.code.into()));
    }
    let Some(tungstenite::Error::Http(response)) = error.downcast_ref() else {
        return None; // judged by the io::Error in it
    };
    let field = |name: &str| response.headers().get(name)?.to_str().ok();
    codes::http::upgrade_response(response.status().as_u16(), field)
}
