//! A WebSocket client that stays connected. TCP is the dial; TLS and the upgrade
//! follow it.
//!
//! ```sh
//! cargo run --example websocket                        # with a server of its own
//! cargo run --example websocket -- wss://feed.example/live
//! ```

use std::error::Error;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Cause, Connect, Event, Redial, SessionEvent, Verdict, tcp};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{accept_async, client_async_tls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => start_a_server().await?,
    };
    let request = url.as_str().into_client_request()?;
    let uri = request.uri();
    let port = match uri.scheme_str() {
        Some("ws") => 80,
        Some("wss") => 443,
        _ => return Err(format!("{url}: not a WebSocket, write ws://host or wss://host").into()),
    };
    let host = uri.host().ok_or("the URL has no host")?.to_owned();
    let dial = tcp::connect((host, uri.port_u16().unwrap_or(port)));

    let mut session = Redial::new(dial.then(async |tcp| {
        let (socket, _response) = client_async_tls(request.clone(), tcp).await?;
        Ok::<_, tungstenite::Error>(socket)
    }))
    .classify(verdict)
    .observe(|event| match event {
        Event::Connecting { attempt, .. } => println!("attempt {attempt}: connecting"),
        Event::Established { .. } => println!("TCP is up: TLS and upgrade"),
        Event::Failed {
            error: Some(error), ..
        } => println!("failed: {error}"),
        Event::Failed { verdict, .. } => println!("failed: no answer in time, {verdict:?}"),
        Event::Waiting { wait, .. } => println!("next attempt in {wait:.1?}"),
        _ => {}
    })
    .into_session();
    while let Some(event) = session.next().await {
        match event? {
            SessionEvent::Up => println!("online"),
            SessionEvent::Item(Message::Text(text)) => println!("{text}"),
            SessionEvent::Item(_) => {}
            SessionEvent::Down { error, .. } => match error {
                Some(error) => println!("offline: {error}"),
                None => println!("offline: the server closed the connection"),
            },
        }
    }
    Ok(())
}

/// What an error means for the next attempt.
fn verdict(error: &tungstenite::Error) -> Verdict {
    match error {
        tungstenite::Error::Io(error) => error.into(),
        tungstenite::Error::Http(response) => match response.status().as_u16() {
            // The server answers, and wants something else of this program.
            400 | 401 | 403 => Verdict::Stop,
            _ => Verdict::Retry(Cause::Busy),
        },
        tungstenite::Error::Url(_) => Verdict::Stop,
        tungstenite::Error::Tls(_) => Verdict::Retry(Cause::Busy),
        _ => Verdict::default(),
    }
}

/// Counts to three on each connection, and then closes it.
async fn start_a_server() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut socket) = accept_async(tcp).await else {
                continue;
            };
            for number in 1..=3 {
                let _ = socket.send(Message::from(format!("number {number}"))).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let _ = socket.close(None).await;
        }
    });
    Ok(url)
}
