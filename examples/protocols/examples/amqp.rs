//! An AMQP consumer that comes back, and a publisher that waits for its confirm.
//!
//! ```sh
//! cargo run --package redial-protocols --example amqp -- 127.0.0.1:5672 USER PASSWORD
//! ```
//!
//! - **In the connector**: the login, the queue, and the consumer, which is answered.
//! - **Verdicts**: the code of `connection.close`. Most codes of a channel, such as 404,
//!   say nothing about the next connection.
//! - **To be told to the library**: nothing, as it gets a stream, and its recovery is off.
//!   Leave `enable_auto_recover` and `with_backoff` to the driver.
//! - **Half-open connections**: both sides send heartbeats, and the library notices after
//!   twice the time that was agreed.
//!
//! A server ends a consumer without an error if its queue is deleted, for example. What
//! was not confirmed may have arrived: sent again, it can arrive twice.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Mutex;

use async_compat::Compat;
use futures::StreamExt;
use lapin::runtime::default_runtime;
use lapin::{AsyncTcpStream::Plain, Channel, Connection, Consumer, Error, ErrorKind, uri::AMQPUri};
use redial::codes::{self, Advice};
use redial::{Connect, Redial, tcp};
use redial_protocols::{Failure, argument, ended, say, show};

#[tokio::main]
async fn main() -> ExitCode {
    let dial = tcp::connect(argument(1, "127.0.0.1:5672"));
    let mut uri = AMQPUri::default();
    uri.authority.userinfo.username = argument(2, "guest");
    uri.authority.userinfo.password = argument(3, "guest");
    uri.query.heartbeat = Some(5);
    let mut redial = Redial::new(dial.then(async |tcp| {
        let tcp = Mutex::new(Some(Plain(Compat::new(tcp))));
        let connect = async move |_, _| Ok(tcp.lock().unwrap().take().expect("no recovery"));
        let (uri, runtime) = (uri.clone(), default_runtime()?);
        let connection = Connection::connector(uri, runtime, connect, <_>::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(<_>::default()).await?;
        let (queue, defaults) = ("news".into(), <_>::default());
        channel
            .queue_declare(queue, defaults, <_>::default())
            .await?;
        let consumer =
            channel.basic_consume("news".into(), "".into(), <_>::default(), <_>::default());
        let consumer = consumer.await?;
        Ok::<_, Failure>((connection, channel, consumer))
    }))
    .advise(advice)
    .observe(say);
    ended(redial.run(talk).await)
}

type Client = (Connection, Channel, Consumer);

async fn talk((_connection, channel, mut news): Client) -> Result<ControlFlow<()>, Failure> {
    let (exchange, queue, options) = ("".into(), "news".into(), <_>::default());
    let sent = channel.basic_publish(exchange, queue, options, b"hello", <_>::default());
    show!("the server has it: {}", sent.await?.await?.is_ack());
    while let Some(message) = news.next().await {
        let message = message?;
        show!("news: {}", String::from_utf8_lossy(&message.data));
        message.ack(<_>::default()).await?;
    }
    Err("the server ended the consumer".into())
}

fn advice(error: &Failure) -> Option<Advice> {
    match error.downcast_ref::<Error>()?.kind() {
        ErrorKind::ProtocolError(close) => {
            codes::amqp::connection_close(close.get_id(), close.get_message().as_str())
        }
        _ => None, // judged by the io::Error in it
    }
}
