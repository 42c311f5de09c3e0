//! The connection to a chat server, as a stream of messages.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{SinkExt, Stream, StreamExt};
use redial::{Heartbeat, Liveness, Pulse, Silent};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::codec::Framed;

use crate::irc::{IrcCodec, Message};
use crate::trouble::ChatError;

/// The bytes under a connection: TCP, or TLS on top of TCP.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection that takes care of itself. It answers the server's PINGs, notices
/// when the server is gone, and ends with the reason. It sends queued messages while
/// it is polled for messages.
pub(crate) struct Link {
    lines: Framed<Box<dyn Wire>, IrcCodec>,
    /// Our nick on the server. The server may have changed it.
    pub(crate) nick: String,
    pub(crate) channel: String,
    /// The server's address, if it is known.
    pub(crate) server: Option<SocketAddr>,
    /// No other member of the channel has been seen on this connection.
    pub(crate) is_alone: bool,
    /// A broken network sends no reset, so this says when to send a PING.
    heartbeat: Heartbeat,
    start: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Link {
    pub(crate) fn new(wire: Box<dyn Wire>, nick: &str, channel: &str) -> Self {
        Self {
            lines: Framed::new(wire, IrcCodec),
            nick: nick.to_owned(),
            channel: channel.to_owned(),
            server: None,
            is_alone: true,
            heartbeat: Heartbeat::new(Liveness::new(), Duration::ZERO),
            start: Instant::now(),
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Queues a message. Polling the stream sends it.
    pub(crate) fn say(&mut self, message: Message) -> Result<(), ChatError> {
        Ok(self.lines.start_send_unpin(message)?)
    }

    /// Leaves in good order.
    pub(crate) async fn quit(&mut self) -> Result<(), ChatError> {
        self.say(Message::new("QUIT", ["good-bye"]))?;
        Ok(self.lines.close().await?)
    }

    /// Handles a message about the connection itself, and returns any other.
    fn sort(&mut self, message: Message) -> Result<Option<Message>, ChatError> {
        self.heartbeat.heard(self.start.elapsed());
        let concerns_us = |nick: &str| nick.eq_ignore_ascii_case(&self.nick);
        match message.command.as_str() {
            "PING" => {
                self.say(Message::new("PONG", [message.text()]).cut())?;
                Ok(None)
            }
            "ERROR" => Err(ChatError::farewell(message.text())),
            "KICK"
                if concerns_us(message.param(1))
                    && message.param(0).eq_ignore_ascii_case(&self.channel) =>
            {
                let text = format!("{} has kicked us: {}", message.sender(), message.text());
                Err(ChatError::Channel(text))
            }
            "NICK" if concerns_us(message.sender()) => {
                message.text().clone_into(&mut self.nick);
                Ok(Some(message))
            }
            "JOIN" if !concerns_us(message.sender()) => {
                self.is_alone = false;
                Ok(Some(message))
            }
            // The names of the members, each with signs for its rights.
            "353" => {
                let mut names = message.text().split(' ');
                let is_ours = |name: &str| {
                    let nick = name.trim_start_matches(['~', '&', '@', '%', '+']);
                    nick.is_empty() || concerns_us(nick)
                };
                self.is_alone &= names.all(is_ours);
                Ok(Some(message))
            }
            _ => Ok(Some(message)),
        }
    }
}

impl Stream for Link {
    type Item = Result<Message, ChatError>;

    /// Never returns `None`. Even an end in good order is an error here.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let link = self.get_mut();
        loop {
            let flushed = link.lines.poll_flush_unpin(cx);
            // If the server does not take our answers, stop reading. Otherwise the
            // unsent answers would pile up without end.
            let full = link.lines.write_buffer().len() >= link.lines.backpressure_boundary();
            if !full || !flushed.is_pending() {
                // Read before reporting the error of a write. The server's last
                // message may hold the reason.
                match link.lines.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(message))) => match link.sort(message) {
                        Ok(None) => continue,
                        sorted => return Poll::Ready(sorted.transpose()),
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                    Poll::Ready(None) => return Poll::Ready(Some(Err(ChatError::Closed))),
                    Poll::Pending => {}
                }
            }
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Some(Err(error.into())));
            }
            let now = link.start.elapsed();
            match link.heartbeat.poll(now) {
                Pulse::Dead => {
                    let silent = Silent::new(link.heartbeat.silent_for(now));
                    return Poll::Ready(Some(Err(ChatError::Silent(silent))));
                }
                Pulse::Ping => link.say(Message::new("PING", ["redial"]))?,
                Pulse::Sleep(until) => {
                    link.timer.as_mut().reset(link.start + until);
                    ready!(link.timer.as_mut().poll(cx));
                }
            }
        }
    }
}
