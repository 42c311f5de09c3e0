//! A Redis subscription that comes back, and subscribes again.
//!
//! ```sh
//! cargo run --package redial-protocols --example redis -- 127.0.0.1:6379 PASSWORD
//! redis-cli -a PASSWORD publish news hello
//! ```
//!
//! - **In the connector**: the login, the subscription, and a ping. Without a real
//!   request, a server that wants a password passes as connected.
//! - **Verdicts**: the words before each error, such as `WRONGPASS` or `LOADING`.
//! - **To be told to the library**: nothing, as it gets a stream. A `redis::Client` gives
//!   up its connects after 1 s and its requests after 500 ms, and a `ConnectionManager`
//!   reconnects by itself: leave those to the driver.
//! - **Half-open connections**: a subscription is silent for hours, so it is pinged.
//!
//! What was published in between is lost. A program that needs all of it reads a stream.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use redial::codes::{self, Advice};
use redial::{Connect, Redial, tcp};
use redial_protocols::{Failure, argument, ended, say, show};
use redis::aio::PubSub;
use redis::{ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::time::{interval, timeout};

const PING: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let dial = tcp::connect(argument(1, "127.0.0.1:6379"));
    let mut settings = RedisConnectionInfo::default();
    if let Some(password) = std::env::args().nth(2) {
        settings = settings.set_password(password);
    }
    let mut redial = Redial::new(dial.then(async |tcp| {
        let mut subscription = PubSub::new(&settings, tcp).await?;
        subscription.subscribe("news").await?;
        subscription.ping::<Value>().await?;
        Ok::<_, Failure>(subscription)
    }))
    .advise(advice)
    .observe(say);
    ended(redial.run(listen).await)
}

async fn listen(subscription: PubSub) -> Result<ControlFlow<()>, Failure> {
    let (mut commands, mut messages) = subscription.split();
    let mut ticks = interval(PING);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => show!("news: {}", message.get_payload::<String>()?),
                None => return Err("the server closed the connection".into()),
            },
            _ = ticks.tick() => match timeout(PING, commands.ping::<Value>()).await {
                Ok(pong) => drop(pong?),
                Err(_) => return Err("no answer to a ping for 5 s".into()),
            },
        }
    }
}

fn advice(error: &Failure) -> Option<Advice> {
    let error = error.downcast_ref::<RedisError>()?;
    match (error.kind(), error.code()) {
        // The library keeps the words of a refused login to itself.
        (ErrorKind::AuthenticationFailed, None) => codes::redis::error("WRONGPASS"),
        (_, Some(code)) => codes::redis::error(&format!("{code} {}", error.detail()?)),
        (_, None) => None, // judged by the io::Error in it
    }
}
