//! Notifications of `PostgreSQL` that come back: LISTEN again on each connection.
//!
//! ```sh
//! cargo run --package redial-protocols --example postgres -- 127.0.0.1:5432 USER PASSWORD
//! psql -c "NOTIFY news, 'hello'"
//! ```
//!
//! - **In the connector**: the login and LISTEN. What was notified in between is lost, so
//!   a program that needs all of it reads its table again after each `online`.
//! - **Verdicts**: the SQLSTATE. The severity tells an end of the connection from an error
//!   of a statement.
//! - **To be told to the library**: nothing. `connect_raw` takes a stream and ignores
//!   `connect_timeout`, and it never reconnects.
//! - **Half-open connections**: a listener is silent for hours, so it sends an empty query.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::{StreamExt, stream};
use redial::codes::{self, Advice};
use redial::{Connect, Redial, tcp};
use redial_protocols::{Failure, argument, ended, say, show};
use tokio::time::{interval, timeout};
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

const PING: Duration = Duration::from_secs(5);

type Messages = UnboundedReceiver<Result<AsyncMessage, tokio_postgres::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let dial = tcp::connect(argument(1, "127.0.0.1:5432"));
    let mut config = Config::new();
    config.user(argument(2, "postgres")).dbname("postgres");
    config.password(argument(3, ""));
    let mut redial = Redial::new(dial.then(async |tcp| {
        let (client, mut connection) = config.connect_raw(tcp, NoTls).await?;
        let (sender, messages) = unbounded();
        let polls = stream::poll_fn(move |cx| connection.poll_message(cx));
        tokio::spawn(polls.map(Ok).forward(sender));
        client.batch_execute("LISTEN news").await?;
        Ok::<_, Failure>((client, messages))
    }))
    .advise(advice)
    .observe(say);
    ended(redial.run(listen).await)
}

async fn listen((client, mut messages): (Client, Messages)) -> Result<ControlFlow<()>, Failure> {
    let mut ticks = interval(PING);
    loop {
        tokio::select! {
            message = messages.next() => match message.transpose()? {
                Some(AsyncMessage::Notification(news)) => show!("news: {}", news.payload()),
                Some(_) => {}
                None => return Err("the server closed the connection".into()),
            },
            _ = ticks.tick() => match timeout(PING, client.simple_query("")).await {
                Ok(answer) => drop(answer?),
                Err(_) => return Err("no answer to a query for 5 s".into()),
            },
        }
    }
}

fn advice(error: &Failure) -> Option<Advice> {
    let error = error.downcast_ref::<tokio_postgres::Error>()?;
    let answer = error.as_db_error()?; // or it is judged by the io::Error in it
    match answer.parsed_severity() {
        Some(Severity::Fatal | Severity::Panic) => Some(codes::postgres::fatal(
            answer.code().code(),
            answer.message(),
        )),
        _ => codes::postgres::error(answer.code().code()),
    }
}
