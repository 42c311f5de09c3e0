//! A connection of items, in memory.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::policy::Cause;
use crate::scripted_error::ScriptedError;
use crate::verdict::Verdict;

/// One end of a connection of items in memory: a stream of `In` and a sink of `Out`.
///
/// Its errors are of type `E`. It takes every item at once. If the other end is
/// dropped, the stream ends after the last item, and the sink fails.
///
/// ```
/// use futures::{SinkExt, StreamExt};
/// use redial::test::{Channel, paused};
///
/// paused(async {
///     let (mut client, mut server) = Channel::<String, u32>::pair();
///     client.send(7).await.unwrap();
///     assert_eq!(server.hear().await, Some(7));
///     server.say("seven".to_string());
///     assert_eq!(client.next().await.unwrap().unwrap(), "seven");
/// });
/// ```
pub struct Channel<In, Out, E = io::Error> {
    incoming: UnboundedReceiver<Result<In, E>>,
    /// Absent once the sink is closed.
    outgoing: Option<UnboundedSender<Result<Out, E>>>,
}

impl<In, Out, E> Channel<In, Out, E> {
    /// Two ends that are connected.
    pub fn pair() -> (Self, Channel<Out, In, E>) {
        let (to_client, from_server) = unbounded_channel();
        let (to_server, from_client) = unbounded_channel();
        let one = Self {
            incoming: from_server,
            outgoing: Some(to_server),
        };
        let other = Channel {
            incoming: from_client,
            outgoing: Some(to_client),
        };
        (one, other)
    }

    /// Sends an item without waiting. Nothing arrives if the other end is gone.
    pub fn say(&self, item: Out) {
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.send(Ok(item));
        }
    }

    /// Makes the other end's stream give this error.
    pub fn fail(&self, error: E) {
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.send(Err(error));
        }
    }

    /// The next item, or `None` at the end of the stream. Errors are left out.
    ///
    /// # Cancel safety
    ///
    /// No item is lost.
    pub async fn hear(&mut self) -> Option<In> {
        loop {
            if let Ok(item) = self.incoming.recv().await? {
                return Some(item);
            }
        }
    }

    /// Whether the other end is there: not dropped.
    pub fn is_open(&self) -> bool {
        !self.incoming.is_closed()
            && self
                .outgoing
                .as_ref()
                .is_none_or(|outgoing| !outgoing.is_closed())
    }
}

// No field is ever pinned.
impl<In, Out, E> Unpin for Channel<In, Out, E> {}

impl<In, Out, E> Stream for Channel<In, Out, E> {
    type Item = Result<In, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx)
    }
}

impl<In, Out, E: From<io::Error>> Sink<Out> for Channel<In, Out, E> {
    type Error = E;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: Out) -> Result<(), E> {
        let sent = match &self.outgoing {
            Some(outgoing) => outgoing.send(Ok(item)).is_ok(),
            None => false,
        };
        if sent {
            Ok(())
        } else {
            let error = ScriptedError::lost(Verdict::Retry(Cause::Down));
            Err(io::Error::from(error).into())
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.outgoing = None;
        Poll::Ready(Ok(()))
    }
}

impl<In, Out, E> fmt::Debug for Channel<In, Out, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}
