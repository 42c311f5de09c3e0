//! The server in this process, and what a person tells it to do.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::hub::Rules;
use crate::server::{ANY_PORT, Server};

/// How long `/crash` takes the server down.
const DOWN: Duration = Duration::from_secs(5);

/// A command for the server.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Crash,
    AskToMove,
}

impl Order {
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Crash => "/crash",
            Self::AskToMove => "/move",
        }
    }
}

pub(crate) struct Embedded {
    address: String,
    orders: mpsc::Sender<Order>,
    /// When the server starts again.
    back: Instant,
}

impl Embedded {
    /// Starts a server with two addresses, so that its guests can move.
    pub(crate) async fn start() -> io::Result<Self> {
        let mut server = Server::start_at(&[ANY_PORT; 2], Rules::default()).await?;
        let address = server.address().to_string();
        let (sender, mut orders) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Crash => server = server.restart(DOWN, Rules::default()).await?,
                    Order::AskToMove => server.ask_to_move(),
                }
            }
            io::Result::Ok(())
        });
        Ok(Self {
            address,
            orders: sender,
            back: Instant::now(),
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Passes a command on, and returns what to show. The error is the reason why not.
    pub(crate) fn order(&mut self, order: Order) -> Result<String, &'static str> {
        let now = Instant::now();
        if now < self.back {
            let left = (self.back - now).as_secs_f64().ceil();
            return Ok(format!("the server is down already, for {left} s more"));
        }
        if let Err(TrySendError::Closed(_)) = self.orders.try_send(order) {
            return Err("the server could not start again");
        }
        Ok(match order {
            Order::Crash => {
                self.back = now + DOWN;
                format!("the server is down for {} s", DOWN.as_secs())
            }
            Order::AskToMove => "the server asks all to move".to_owned(),
        })
    }
}
