//! A NATS subscription that comes back.
//!
//! ```sh
//! cargo run --package redial-protocols --example nats -- 127.0.0.1:4222 USER PASSWORD
//! nats pub news hello
//! ```
//!
//! - **In the connector**: the login, the subscription, and a flush, which is answered.
//! - **Verdicts**: the text of `-ERR`. The library has a kind for it.
//! - **To be told to the library**: its connect timeout is 5 s; the driver has one of its
//!   own. Its reconnects cannot be turned off: `max_reconnects(0)` means for ever. So each
//!   connection gets a pool of servers where nobody listens, and one attempt. For a
//!   program that is content with its waits of at most 4 s, which no server can lengthen,
//!   leave them on and do without a driver.
//! - **Half-open connections**: the library pings, and notices after three intervals.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Subscriber};
use futures::StreamExt;
use redial::Redial;
use redial::codes::{self, Advice};
use redial_protocols::{Failure, argument, ended, say, show};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

type Connection = (Client, Subscriber, UnboundedReceiver<Event>);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut redial = Redial::new(connect).advise(advice).observe(say);
    ended(redial.run(listen).await)
}

async fn connect() -> Result<Connection, Failure> {
    let (sender, events) = unbounded_channel();
    let client = ConnectOptions::with_user_and_password(argument(2, ""), argument(3, ""))
        .connection_timeout(Duration::from_secs(300))
        .ping_interval(Duration::from_secs(5))
        .max_reconnects(1)
        .ignore_discovered_servers()
        .event_callback(move |event| {
            let _ = sender.send(event); // nobody listens after a loss
            std::future::ready(())
        })
        .connect(argument(1, "127.0.0.1:4222"))
        .await?;
    client.set_server_pool("127.0.0.1:1").await?;
    let subscription = client.subscribe("news").await?;
    client.flush().await?;
    Ok((client, subscription, events))
}

async fn listen((_client, mut news, mut events): Connection) -> Result<ControlFlow<()>, Failure> {
    loop {
        tokio::select! {
            message = news.next() => match message {
                Some(news) => show!("news: {}", String::from_utf8_lossy(&news.payload)),
                None => return Err("the subscription has ended".into()),
            },
            event = events.recv() => match event {
                Some(Event::Connected) => {}
                // Such as the end of a connection, or that the server will end it soon.
                Some(event) => return Err(event.to_string().into()),
                None => return Err("the client has ended".into()),
            },
        }
    }
}

fn advice(error: &Failure) -> Option<Advice> {
    let error = error.downcast_ref::<async_nats::ConnectError>()?;
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => codes::nats::error("Authorization Violation"),
        _ => None, // judged by the io::Error in it
    }
}
