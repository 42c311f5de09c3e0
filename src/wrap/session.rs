//! A stream and a sink across connections.

use alloc::collections::VecDeque;
use core::error;
use core::fmt;
use core::mem;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use futures_core::stream::{FusedStream, Stream, TryStream};
use futures_sink::Sink;

use super::halves::{Half, Halves};
use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::Verdict;

/// What a [`Session`] tells its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent<T, E> {
    /// There is a new connection. All items until the next `Down` are its.
    Up,
    /// An item of the present connection.
    Item(T),
    /// The connection is gone, with its error, or none where it ended in good
    /// order. What was sent and not flushed may be lost, and the
    /// [sink](Session#sending) says so.
    Down(Option<E>),
}

/// A stream and a sink that stay while connections come and go: made by
/// [`Redial::into_session`].
///
/// The connection must itself be a [`Stream`] of results and a [`Sink`], as
/// tokio-util's `Framed` and the WebSocket crates are. An error of the stream
/// ends its connection.
///
/// ```
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::{SinkExt, StreamExt};
/// use redial::{Redial, SessionEvent};
/// use tokio::net::TcpStream;
/// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
///
/// let mut chat = Redial::new(|| async {
///     let stream = TcpStream::connect("chat.example:6667").await?;
///     Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
/// })
/// .into_session();
/// while let Some(event) = chat.next().await {
///     match event? {
///         SessionEvent::Up => chat.send("hello").await?,
///         SessionEvent::Item(line) => println!("{line}"),
///         SessionEvent::Down(cause) => println!("offline: {cause:?}"),
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Receiving
///
/// The stream yields [`SessionEvent`]s: `Up`, items, `Down`, `Up`, items, and so
/// on. Where the driver gives up or is [closed](Handle::close) it yields that
/// error, and ends. The error of a loss is in its `Down`, and so it is not the
/// [`last`](Error::last) of an `Error` that says that no connection follows.
///
/// # Sending
///
/// While there is no connection a send waits for one, or fails at once where
/// [`fail_while_down`](Self::fail_while_down) says so.
///
/// An item that was accepted but not flushed when its connection was lost may
/// have arrived or not. It is never sent again on the next connection: the next
/// call on the sink returns a [`SendError`] that says how many there were, once,
/// and what to do about them is the caller's choice.
///
/// To close the sink is to close the session: no new connection is made. What
/// the present one still has to say can be read. While there is no connection
/// closing takes effect at once.
///
/// # Two tasks
///
/// The halves of `StreamExt::split` may live in two tasks; each has a waker of
/// its own. A writer's error is the reader's `Down`, after what the connection
/// had already received, up to a thousand items of it. Where nobody reads, losses
/// of more than sixty-four connections are told as fewer.
///
/// # Cancel safety
///
/// To drop a future of `StreamExt::next` or of `SinkExt::flush` loses nothing.
/// To drop one of `SinkExt::send` loses its item if it was still waiting for the
/// connection to take it.
pub struct Session<C, P = Stratified>
where
    C: Connect<Connection: TryStream>,
    P: Policy,
{
    halves: Halves<C, P>,
    /// What the reader has yet to hear before it hears from the connection.
    events: VecDeque<SessionEvent<Item<C>, C::Error>>,
    /// What it is told last.
    error: Option<Error<C::Error>>,
    end: End,
    sending: Sending,
    has_reader: bool,
    fail_while_down: bool,
}

type Item<C> = <<C as Connect>::Connection as TryStream>::Ok;

/// What the stream yields.
type News<C> = Result<SessionEvent<Item<C>, <C as Connect>::Error>, Error<<C as Connect>::Error>>;

/// Of the whole session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Connections come and go.
    Open,
    /// This connection is the last.
    Last,
    /// There is none, and will be none.
    Over,
}

#[derive(Debug, Default)]
struct Sending {
    /// The connection was found ready for one item.
    ready: bool,
    /// Items that it has taken and not flushed.
    unflushed: usize,
    /// The same of connections that are gone, until the sink has said so.
    lost: usize,
}

/// How many events may wait for a reader before losses are told as fewer.
const MOST_EVENTS: usize = 128;
/// How many items of connections that can no longer send are still read.
const MOST_DRAINED: usize = 1024;

impl<C, P> Redial<C, P>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// A stream and a sink that stay while connections come and go.
    ///
    /// A wait is timed by the runtime that it began in, which must go on.
    pub fn into_session(self) -> Session<C, P> {
        let halves = Halves::new(self);
        let mut events = VecDeque::new();
        if halves.generation > 0 {
            events.push_back(SessionEvent::Up);
        }
        Session {
            halves,
            events,
            error: None,
            end: End::Open,
            sending: Sending::default(),
            has_reader: false,
            fail_while_down: false,
        }
    }
}

impl<C, P> Session<C, P>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Has sends fail while there is no connection, instead of waiting for one.
    ///
    /// Each of them polls the driver nevertheless. It goes on as often as
    /// something is sent or read.
    pub fn fail_while_down(mut self) -> Self {
        self.fail_while_down = true;
        self
    }

    /// A handle to look on, retry now, pause and close, from anywhere.
    pub fn handle(&self) -> Handle {
        self.halves.handle()
    }

    /// The connection, if it is up.
    ///
    /// For its settings. What is read or written past the session is not in its
    /// accounts.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.halves.redial.get_mut()
    }

    /// The connection is gone, though it does not know: a ping went unanswered,
    /// or the device woke from sleep.
    pub fn lost(&mut self) {
        self.down(Verdict::default(), None);
    }

    /// As [`lost`](Self::lost), with an error that says more; the reader gets it
    /// in its [`Down`](SessionEvent::Down).
    pub fn lost_to(&mut self, error: C::Error) {
        if self.halves.redial.connection.is_some() {
            let verdict = self.halves.redial.judge(&error);
            self.down(verdict, Some(error));
        }
    }

    /// The server said that it will close the connection, in good order; see
    /// [`Redial::ended`].
    pub fn ended(&mut self) {
        self.down(Verdict::Retry(Cause::Busy), None);
    }

    /// The present outage, to be carried over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        self.halves.redial.save()
    }

    /// The connection is gone.
    #[cold]
    fn down(&mut self, verdict: Verdict, error: Option<C::Error>) {
        if self.halves.redial.connection.is_none() {
            return;
        }
        self.sending.lost += mem::take(&mut self.sending.unflushed);
        self.sending.ready = false;
        if self.end == End::Open {
            self.halves.lose(verdict, error.as_ref());
        } else {
            self.finish();
        }
        self.push(SessionEvent::Down(error));
    }

    /// No connection follows.
    fn finish(&mut self) {
        self.end = End::Over;
        self.halves.close();
    }

    /// The sink has failed: what the connection has received is still read, if
    /// there is a reader, but not waited for.
    #[cold]
    fn write_failed(&mut self, error: C::Error) {
        if self.has_reader {
            let mut cx = Context::from_waker(Waker::noop());
            while self.events.len() < MOST_EVENTS + MOST_DRAINED {
                let Some(connection) = &mut self.halves.redial.connection else {
                    break;
                };
                match Pin::new(connection).try_poll_next(&mut cx) {
                    Poll::Ready(Some(Ok(item))) => self.events.push_back(SessionEvent::Item(item)),
                    _ => break,
                }
            }
        }
        let verdict = self.halves.redial.judge(&error);
        self.down(verdict, Some(error));
    }

    fn push(&mut self, event: SessionEvent<Item<C>, C::Error>) {
        if self.events.len() >= MOST_EVENTS {
            // Nobody reads. Items stay, connections without any are left out.
            let empty = (1..self.events.len()).find(|&i| {
                matches!(self.events[i - 1], SessionEvent::Up)
                    && matches!(self.events[i], SessionEvent::Down(_))
            });
            if let Some(i) = empty {
                self.events.drain(i - 1..=i);
            }
        }
        self.events.push_back(event);
    }

    /// Until there is a connection, or none will be.
    fn poll_up(&mut self, half: Half, cx: &Context<'_>) -> Poll<Result<(), Over>> {
        match ready!(self.halves.poll_up(half, cx)) {
            Ok(fresh) => {
                if fresh {
                    self.push(SessionEvent::Up);
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.sending.lost += mem::take(&mut self.sending.unflushed);
                self.error = Some(error);
                self.end = End::Over;
                Poll::Ready(Err(Over))
            }
        }
    }

    /// What the reader has to hear before it hears from the connection: until
    /// that is up, where there is nothing.
    #[cold]
    fn poll_news(&mut self, cx: &Context<'_>) -> Poll<ControlFlow<Option<News<C>>>> {
        self.has_reader = true;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ControlFlow::Break(Some(Ok(event))));
            }
            if self.end == End::Over {
                return Poll::Ready(ControlFlow::Break(self.error.take().map(Err)));
            }
            if self.halves.is_up() {
                self.halves.settle(Half::Read);
                return Poll::Ready(ControlFlow::Continue(()));
            }
            let _ = ready!(self.poll_up(Half::Read, cx));
        }
    }

    /// Until something can be sent.
    #[cold]
    fn poll_sendable(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            self.report()?;
            if self.end != End::Open {
                return Poll::Ready(Err(SendError(Unsent::Over)));
            }
            if self.halves.is_up() {
                self.halves.settle(Half::Write);
                return Poll::Ready(Ok(()));
            }
            match self.poll_up(Half::Write, cx) {
                Poll::Ready(_) => {}
                // It was polled all the same: a client that only sends must
                // get its connection, too.
                Poll::Pending if self.fail_while_down => {
                    return Poll::Ready(Err(SendError(Unsent::Down)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// For calls that would go on with a connection though a handle has closed
    /// the driver.
    #[cold]
    fn note_close(&mut self, cx: &Context<'_>) {
        if self.end != End::Over && self.halves.redial.is_closed() {
            // Ready, with the error that is kept for the reader.
            let _ = self.poll_up(Half::Write, cx);
        }
    }

    /// What the sink has to say before anything else.
    #[cold]
    fn report(&mut self) -> Result<(), SendError> {
        match mem::take(&mut self.sending.lost) {
            0 => Ok(()),
            lost => Err(SendError(Unsent::Lost(lost))),
        }
    }
}

/// No connection will follow.
struct Over;

// Nothing in it is ever pinned: a connection moves in, and so must be `Unpin`.
impl<C, P> Unpin for Session<C, P>
where
    C: Connect<Connection: TryStream>,
    P: Policy,
{
}

impl<C, P> Stream for Session<C, P>
where
    C: Connect<Connection: TryStream + Unpin, Error: From<StreamError<C>>>,
    P: Policy,
{
    type Item = News<C>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if !this.halves.is_settled(Half::Read) {
                if let ControlFlow::Break(told) = ready!(this.poll_news(cx)) {
                    return Poll::Ready(told);
                }
            }
            match Pin::new(this.halves.connection()).try_poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    return Poll::Ready(Some(Ok(SessionEvent::Item(item))));
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = C::Error::from(error);
                    let verdict = this.halves.redial.judge(&error);
                    this.down(verdict, Some(error));
                }
                Poll::Ready(None) => this.down(Verdict::Retry(Cause::Busy), None),
                Poll::Pending => {
                    this.halves.pend(Half::Read, cx);
                    return Poll::Pending;
                }
            }
        }
    }
}

type StreamError<C> = <<C as Connect>::Connection as TryStream>::Error;

impl<C, P> FusedStream for Session<C, P>
where
    Self: Stream,
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    fn is_terminated(&self) -> bool {
        self.end == End::Over && self.events.is_empty() && self.error.is_none()
    }
}

impl<C, P, T> Sink<T> for Session<C, P>
where
    C: Connect<Connection: TryStream + Sink<T> + Unpin>,
    C::Error: From<<C::Connection as Sink<T>>::Error>,
    P: Policy,
{
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        loop {
            if !this.halves.is_settled(Half::Write) {
                ready!(this.poll_sendable(cx))?;
            }
            match Pin::new(this.halves.connection()).poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    this.sending.ready = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => this.write_failed(error.into()),
                Poll::Pending => {
                    this.halves.pend(Half::Write, cx);
                    return Poll::Pending;
                }
            }
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), SendError> {
        let this = &mut *self;
        // The connection that was ready may be gone, and another be there.
        let ready = mem::take(&mut this.sending.ready);
        match &mut this.halves.redial.connection {
            Some(connection) if ready => {
                this.sending.unflushed += 1;
                if let Err(error) = Pin::new(connection).start_send(item) {
                    this.write_failed(error.into());
                    this.report()?;
                }
                Ok(())
            }
            _ => {
                this.sending.lost += 1;
                this.report()
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        if !this.halves.is_settled(Half::Write) {
            this.note_close(cx);
            this.report()?;
        }
        let Some(connection) = &mut this.halves.redial.connection else {
            return Poll::Ready(Ok(())); // nothing was taken, so nothing is left
        };
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                this.sending.unflushed = 0;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                this.write_failed(error.into());
                Poll::Ready(this.report())
            }
            Poll::Pending => {
                this.halves.pend(Half::Write, cx);
                Poll::Pending
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        this.note_close(cx);
        if this.halves.redial.connection.is_none() {
            this.finish();
            return Poll::Ready(this.report());
        }
        if this.end == End::Open {
            this.end = End::Last;
            this.halves.unsettle();
        }
        match Pin::new(this.halves.connection()).poll_close(cx) {
            Poll::Ready(Ok(())) => {
                this.sending.unflushed = 0;
                Poll::Ready(this.report())
            }
            Poll::Ready(Err(error)) => {
                this.write_failed(error.into());
                Poll::Ready(this.report())
            }
            Poll::Pending => {
                this.halves.pend(Half::Write, cx);
                Poll::Pending
            }
        }
    }
}

impl<C, P> fmt::Debug for Session<C, P>
where
    C: Connect<Connection: TryStream>,
    P: Policy,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("redial", &self.halves.redial)
            .field("sending", &self.sending)
            .finish_non_exhaustive()
    }
}

/// Why a [`Session`] did not send, or does not know whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError(Unsent);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Unsent {
    /// There is no connection, and the caller chose not to wait.
    Down,
    /// So many items were accepted and not flushed when a connection was lost.
    Lost(usize),
    /// No connection will follow.
    Over,
}

impl SendError {
    /// There is no connection, and
    /// [`fail_while_down`](Session::fail_while_down) was chosen. The item was
    /// not accepted.
    pub fn is_down(&self) -> bool {
        self.0 == Unsent::Down
    }

    /// The session gave up or was closed. The item was not accepted.
    pub fn is_over(&self) -> bool {
        self.0 == Unsent::Over
    }

    /// How many items were accepted, the present one among them, and not flushed
    /// when their connection was lost: they may have arrived or not.
    ///
    /// The session itself goes on.
    pub fn lost(&self) -> usize {
        match self.0 {
            Unsent::Lost(items) => items,
            Unsent::Down | Unsent::Over => 0,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unsent::Down => f.write_str("not sent: there is no connection"),
            Unsent::Over => f.write_str("not sent: the session is over"),
            Unsent::Lost(1) => f.write_str("the connection was lost with 1 item not flushed"),
            Unsent::Lost(items) => {
                write!(f, "the connection was lost with {items} items not flushed")
            }
        }
    }
}

impl error::Error for SendError {}
