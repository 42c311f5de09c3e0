//! A connection of lines whose other end a test holds.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::{Sink, Stream, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::codec::LinesCodecError;

/// An error of the connections of a test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinkError(String);

impl LinkError {
    #[allow(dead_code)] // not in each file
    pub(crate) fn refused() -> Self {
        Self("refused".into())
    }
}

impl From<LinesCodecError> for LinkError {
    fn from(error: LinesCodecError) -> Self {
        Self(error.to_string())
    }
}

/// The client's end. It panics if it gets an item that it was not ready for.
pub(crate) struct Link {
    wire: Arc<Wire>,
    from_server: mpsc::UnboundedReceiver<String>,
    is_ready: bool,
}

/// The server's end.
#[derive(Clone)]
pub(crate) struct Peer {
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    /// Something was received.
    received: Notify,
}

#[derive(Default)]
struct State {
    /// What the client has sent, and when.
    received: Vec<(Instant, String)>,
    to_client: Option<mpsc::UnboundedSender<String>>,
    answers_after: Option<Duration>,
    is_blocked: bool,
    holds_flushes: bool,
    queues_pongs: bool,
    queued: VecDeque<String>,
    writer: Option<Waker>,
    closes: usize,
    is_dropped: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.wire.state.lock().unwrap().is_dropped = true;
    }
}

/// The server's ends of the connections that were made.
pub(crate) struct Links {
    accepted: mpsc::UnboundedReceiver<Peer>,
    made: Arc<Mutex<usize>>,
}

impl Links {
    /// The server's end of the next connection.
    pub(crate) async fn next(&mut self) -> Peer {
        self.accepted.recv().await.unwrap()
    }

    pub(crate) fn made(&self) -> usize {
        *self.made.lock().unwrap()
    }
}

/// A connector whose attempts succeed at once.
pub(crate) fn links() -> (
    impl FnMut() -> std::future::Ready<Result<Link, LinkError>> + Send,
    Links,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let made = Arc::new(Mutex::new(0));
    let links = Links {
        accepted,
        made: made.clone(),
    };
    let connector = move || {
        let (to_client, from_server) = mpsc::unbounded_channel();
        let wire = Arc::new(Wire::default());
        wire.state.lock().unwrap().to_client = Some(to_client);
        *made.lock().unwrap() += 1;
        let _ = accept.send(Peer { wire: wire.clone() });
        std::future::ready(Ok(Link {
            wire,
            from_server,
            is_ready: false,
        }))
    };
    (connector, links)
}

impl Peer {
    pub(crate) fn say(&self, line: &str) {
        if let Some(to_client) = &self.wire.state.lock().unwrap().to_client {
            let _ = to_client.send(line.into());
        }
    }

    pub(crate) fn received(&self) -> Vec<(Instant, String)> {
        self.wire.state.lock().unwrap().received.clone()
    }

    /// Answers each PING so long after it.
    pub(crate) fn answers_after(&self, time: Duration) {
        self.wire.state.lock().unwrap().answers_after = Some(time);
    }

    /// Takes nothing from the client.
    pub(crate) fn block(&self) {
        self.wire.state.lock().unwrap().is_blocked = true;
    }

    pub(crate) fn unblock(&self) {
        let mut state = self.wire.state.lock().unwrap();
        state.is_blocked = false;
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }

    /// Takes items, and never flushes.
    pub(crate) fn holds_flushes(&self) {
        self.wire.state.lock().unwrap().holds_flushes = true;
    }

    /// For each item that the client reads, its library queues an answer until the
    /// next flush, as WebSocket libraries do.
    pub(crate) fn queues_its_pongs(&self) {
        self.wire.state.lock().unwrap().queues_pongs = true;
    }

    /// Ends the connection in good order.
    pub(crate) fn hang_up(&self) {
        self.wire.state.lock().unwrap().to_client = None;
    }

    pub(crate) fn closes(&self) -> usize {
        self.wire.state.lock().unwrap().closes
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.wire.state.lock().unwrap().is_dropped
    }

    /// The next item of the client's.
    pub(crate) fn pinged(&self) -> Pinged<'_> {
        Pinged(self)
    }
}

pub(crate) struct Pinged<'a>(&'a Peer);

impl Pinged<'_> {
    /// Polls the session until the item comes. Returns how many there were by then.
    pub(crate) async fn await_while<S: Stream + Unpin>(self, session: &mut S) -> usize {
        tokio::select! {
            biased;
            () = self.0.wire.received.notified() => self.0.received().len(),
            _ = session.next() => panic!("the session has news before the peer has"),
        }
    }
}

impl Stream for Link {
    type Item = Result<String, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let line = ready!(self.from_server.poll_recv(cx));
        let mut state = self.wire.state.lock().unwrap();
        if state.queues_pongs {
            state.queued.push_back("pong of the library".into());
        }
        Poll::Ready(line.map(Ok))
    }
}

impl Link {
    fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.wire.state.lock().unwrap();
        if state.is_blocked {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Sink<String> for Link {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_free(cx));
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: String) -> Result<(), Self::Error> {
        assert!(
            std::mem::take(&mut self.is_ready),
            "{item}: the link is not ready"
        );
        let mut state = self.wire.state.lock().unwrap();
        if let (Some(after), Some(to_client)) = (state.answers_after, &state.to_client) {
            if item == "PING" {
                let to_client = to_client.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = to_client.send("PONG".into());
                });
            }
        }
        state.received.push((Instant::now(), item));
        self.wire.received.notify_one();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_free(cx));
        let mut state = self.wire.state.lock().unwrap();
        while let Some(pong) = state.queued.pop_front() {
            state.received.push((Instant::now(), pong));
        }
        if state.holds_flushes {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.wire.state.lock().unwrap().closes += 1;
        self.poll_flush(cx)
    }
}
