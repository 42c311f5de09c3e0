//! An MQTT subscription that comes back, and subscribes again.
//!
//! ```sh
//! cargo run --package redial-protocols --example mqtt -- 127.0.0.1 1883 USER PASSWORD
//! mosquitto_pub -t news -m hello
//! ```
//!
//! - **In the connector**: TCP, CONNECT and SUBSCRIBE, until the broker has confirmed the
//!   subscription. The library dials by itself, so the driver cannot see the phases.
//! - **Verdicts**: the code of a CONNACK.
//! - **To be told to the library**: its connect timeout is 5 s, too short for a broker with
//!   a queue, so set a long one: the driver has a timeout of its own. `poll` reconnects at
//!   once if it is called after an error, so each connection has an `EventLoop` of its own.
//! - **Half-open connections**: the library pings. It notices when the second ping is due
//!   and the first one is not answered: after twice the keep-alive.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use redial::Redial;
use redial::codes::{self, Advice};
use redial_protocols::{Failure, argument, ended, say, show};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS,
};

type Connection = (AsyncClient, EventLoop);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let port = argument(2, "1883").parse().expect("a port");
    // Two clients with one name throw each other out.
    let name = format!("redial-{}", std::process::id());
    let mut options = MqttOptions::new(name, argument(1, "127.0.0.1"), port);
    options.set_credentials(argument(3, ""), argument(4, ""));
    options.set_keep_alive(Duration::from_secs(5));
    let mut redial = Redial::new(async || {
        let (client, mut events) = AsyncClient::new(options.clone(), 10);
        events.network_options.set_connection_timeout(300);
        let subscription = client.try_subscribe("news", QoS::AtLeastOnce);
        subscription.expect("there is room for one request");
        // Its packet goes out with the first polls.
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        Ok::<_, Failure>((client, events))
    })
    .advise(advice)
    .observe(say);
    ended(redial.run(listen).await)
}

/// The client must live, or the event loop ends.
async fn listen((_client, mut events): Connection) -> Result<ControlFlow<()>, Failure> {
    loop {
        if let Event::Incoming(Packet::Publish(news)) = events.poll().await? {
            show!("news: {}", String::from_utf8_lossy(&news.payload));
        }
    }
}

fn advice(error: &Failure) -> Option<Advice> {
    let Some(ConnectionError::ConnectionRefused(code)) = error.downcast_ref() else {
        return None; // judged by the io::Error in it
    };
    codes::mqtt::connack3(match code {
        ConnectReturnCode::Success => 0,
        ConnectReturnCode::RefusedProtocolVersion => 1,
        ConnectReturnCode::BadClientId => 2,
        ConnectReturnCode::ServiceUnavailable => 3,
        ConnectReturnCode::BadUserNamePassword => 4,
        ConnectReturnCode::NotAuthorized => 5,
    })
}
