//! A stream and a sink across connections.

mod error;
mod event;
mod keep;
mod live;
mod old;
mod overlap;
mod ping;
mod sink;
mod stream;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::task::{Context, Poll, ready};

use futures_core::stream::TryStream;

use super::from_connection::FromConnection;
use super::halves::{Half, Halves};
use crate::control::{Ending, Handle};
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::Verdict;

pub use error::SendError;
pub use event::SessionEvent;
pub use keep::{Keep, KeepNothing, KeepUnsent};
use live::Live;
use old::Finish;
use overlap::Overlap;

/// A stream and a sink that stay while connections come and go; made by
/// [`Redial::into_session`].
///
/// The connection must itself be a [`Stream`] of results and a [`Sink`]. Both
/// tokio-util's `Framed` and the WebSocket crates are. An error of the stream
/// ends its connection.
///
/// ```
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::{SinkExt, StreamExt};
/// use redial::{Connect, Redial, SessionEvent, tcp};
/// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
///
/// let dial = tcp::connect("chat.example:6667");
/// let mut chat = Redial::new(dial.then(async |stream| {
///     Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
/// }))
/// .into_session();
/// while let Some(event) = chat.next().await {
///     match event? {
///         SessionEvent::Up => chat.send("hello").await?,
///         SessionEvent::Item(line) => println!("{line}"),
///         SessionEvent::Down { error, .. } => println!("offline: {error:?}"),
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Errors of the connection
///
/// The connector's error type must be able to hold the error of the stream, or
/// `into_session` does not compile: `From<LinesCodecError>`, for example. To send,
/// it must be able to hold the error of the sink too. `Framed` has one error type
/// for both.
///
/// If the compiler says that the method `send` exists but its trait bounds were not
/// satisfied, then `impl From<the sink's error> for YourError` is missing. Write
/// `SinkExt::send(&mut session, item)` once, and the compiler names both types; see
/// [`FromConnection`].
///
/// # Receiving
///
/// The stream yields [`SessionEvent`]s: `Up`, items, `Down`, `Up`, items, and so
/// on. If the server closes the connection in good order, the stream ends, and the
/// loss is [`Busy`](Cause::Busy), as after [`Redial::ended`]. If the driver gives up or is [closed](Handle::close), the stream yields an
/// [`Error`] and ends. The error of a loss arrives in `Down`; the final `Error`
/// does not repeat it.
///
/// If a [`Handle`] ends the connection, items that had arrived and were not read yet
/// are lost. A `Down` follows, except after [`Handle::close`], which drops the
/// connection at once.
///
/// # Sending
///
/// While there is no connection, a send waits for one. With
/// [`fail_while_down`](Self::fail_while_down) it fails at once instead.
///
/// "Flushed" means that the operating system has the item, not that the server
/// has it. Only an answer of the server's proves that an item has arrived.
///
/// If the connection is lost, each item that was accepted and not flushed may
/// have arrived or not. The session never sends it again. The next call on the
/// sink returns a [`SendError`] that says how many such items there were, once.
/// The program decides what to do about them. With
/// [`keep_unsent`](Self::keep_unsent) it can have them back.
///
/// Closing the sink closes the session: no new connection is made. The rest of
/// what the present connection receives can still be read. While there is no
/// connection, closing takes effect at once.
///
/// # Renewal
///
/// A connection that is about to end is replaced while it serves: at its
/// [`max_age`](Redial::max_age), or when [`renew_within`](Self::renew_within), or the same
/// call of a [`Handle`], says that it leaves. Meanwhile it is read and written.
/// When the new connection is there,
///
/// - the reader gets all that the old one has received, and then `Up`. There is no `Down`.
/// - What is sent goes to the new one from then on. Items that the old one has taken are
///   flushed there, and a flush waits for both.
/// - The old one is read for up to 30 s more, as the server may still answer on it. For
///   such items [`is_late`](Self::is_late) is true. A server that sends to both connections
///   sends twice. [`close_old`](Self::close_old) makes an end of it.
/// - At its own end, or after that time, it is closed in good order. The handshake may take
///   a second. Only items that it never flushed are lost, and the sink reports how many.
/// - [`keep_alive`](Self::keep_alive) watches the new one, from the beginning.
///
/// If a renewal is due while the connection before the present one still is read, that one
/// is closed first. So there are two connections at most.
///
/// A renewal runs in each poll of either half that waits. It adds nothing to a session that
/// has none.
///
/// # Two tasks
///
/// The halves of `StreamExt::split` may live in two tasks; each has a waker of
/// its own. If a write fails, the reader gets a `Down` with that error. Before it,
/// the reader gets up to a thousand items that the connection had already
/// received. If nobody reads, events are queued. When 128 are in the queue, each
/// further event removes the `Up` and the `Down` of a connection that received
/// nothing.
///
/// # Cancel safety
///
/// If a future of `StreamExt::next` or of `SinkExt::flush` is dropped, nothing is
/// lost. If a future of `SinkExt::send` is dropped while it waits for the
/// connection to take its item, the item is lost.
///
/// [`Stream`]: futures_core::Stream
/// [`Sink`]: futures_sink::Sink
pub struct Session<C, P = Stratified, K = KeepNothing>
where
    C: Connect<Connection: TryStream>,
    P: Policy,
{
    halves: Halves<C, P>,
    /// `From`, which `into_session` required. So `Stream` needs no bound of its own.
    convert: fn(StreamError<C>) -> C::Error,
    /// What the reader gets before it reads from the connection.
    events: VecDeque<SessionEvent<Item<C>, C::Error>>,
    /// What the reader gets last.
    error: Option<Error<C::Error>>,
    end: End,
    sending: Sending,
    kept: K,
    /// What few sessions have: they watch whether their connection lives.
    live: Option<Box<Live<C>>>,
    /// What few sessions have: their connections are renewed.
    overlap: Option<Box<Overlap<C::Connection>>>,
    /// What the sink does with a connection that was replaced. Known once it was used.
    finish: Option<Finish<C::Connection, K, C::Error>>,
    has_reader: bool,
    fail_while_down: bool,
    /// How many sends have failed in a row because there is no connection.
    failed_sends: u8,
}

type Item<C> = <<C as Connect>::Connection as TryStream>::Ok;

/// An error of the connection as a stream.
type StreamError<C> = <<C as Connect>::Connection as TryStream>::Error;

/// What the stream yields.
type News<C> = Result<SessionEvent<Item<C>, <C as Connect>::Error>, Error<<C as Connect>::Error>>;

/// How far the end of the whole session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Connections come and go.
    Open,
    /// This connection is the last.
    Last,
    /// There is no connection, and none follows.
    Over,
}

#[derive(Debug, Default)]
struct Sending {
    /// The connection was found ready for one item.
    ready: bool,
    /// Items that the connection has taken and not flushed.
    unflushed: usize,
    /// Items that lost connections had taken and not flushed, until the sink has
    /// reported them.
    lost: usize,
}

/// The number of queued events at which connections without items are left out.
const MOST_EVENTS: usize = 128;

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A stream and a sink that stay while connections come and go.
    ///
    /// The connector's error type must implement `From` for the error of the
    /// connection's stream; see [`FromConnection`].
    ///
    /// The runtime in which a wait began times it, so that runtime must go on.
    pub fn into_session(self) -> Session<C, P>
    where
        C: Connect<Connection: TryStream + Unpin>,
        C::Error: FromConnection<StreamError<C>>,
    {
        let halves = Halves::new(self);
        let mut events = VecDeque::new();
        if halves.redial.connection.is_some() {
            events.push_back(SessionEvent::Up);
        }
        Session {
            halves,
            convert: C::Error::from,
            events,
            error: None,
            end: End::Open,
            sending: Sending::default(),
            kept: KeepNothing,
            live: None,
            overlap: None,
            finish: None,
            has_reader: false,
            fail_while_down: false,
            failed_sends: 0,
        }
    }
}

impl<C, P> Session<C, P>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Keeps a copy of each item until it is flushed, so that
    /// [`take_unsent`](Session::take_unsent) can hand back what a lost connection
    /// may have lost.
    ///
    /// The copies of a lost connection stay until they are taken. Items that were
    /// accepted before this call are not among them. Without this call, a session
    /// copies nothing.
    ///
    /// ```
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::{SinkExt, StreamExt};
    /// use redial::{Connect, Redial, SessionEvent, tcp};
    /// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
    ///
    /// let dial = tcp::connect("chat.example:6667");
    /// let mut chat = Redial::new(dial.then(async |stream| {
    ///     Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
    /// }))
    /// .into_session()
    /// .keep_unsent::<String>();
    /// while let Some(event) = chat.next().await {
    ///     if let SessionEvent::Up = event? {
    ///         // A line that had arrived arrives twice. Only the program knows if
    ///         // that is better than never.
    ///         for line in chat.take_unsent() {
    ///             chat.send(line).await?;
    ///         }
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn keep_unsent<T: Clone>(mut self) -> Session<C, P, KeepUnsent<T>> {
        self.halves.unsettle();
        Session {
            halves: self.halves,
            convert: self.convert,
            events: self.events,
            error: self.error,
            end: self.end,
            sending: self.sending,
            kept: KeepUnsent::new(),
            live: self.live,
            overlap: self.overlap,
            finish: None,
            has_reader: self.has_reader,
            fail_while_down: self.fail_while_down,
            failed_sends: self.failed_sends,
        }
    }
}

impl<C, P, T> Session<C, P, KeepUnsent<T>>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// The items that lost connections had accepted and not flushed, in the order
    /// in which they were sent. Each of them may have arrived or not.
    ///
    /// An item that was [not accepted](SendError::was_accepted) is not among them.
    /// The session never sends any of them again.
    pub fn take_unsent(&mut self) -> Vec<T> {
        // What the present connection has taken can still be flushed.
        self.kept.take_all_but(self.flushable())
    }
}

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Makes sends fail while there is no connection, instead of waiting for one.
    ///
    /// A send that fails still polls the driver. So the driver makes progress
    /// whenever something is sent or read. Every so often a send that fails again
    /// lets the other tasks have their turn first, so that a loop which repeats a
    /// failed send gets its connection, too.
    pub fn fail_while_down(mut self) -> Self {
        self.fail_while_down = true;
        self
    }

    /// A handle, which shows the status, skips a wait, pauses, resumes and closes
    /// from anywhere in the program.
    pub fn handle(&self) -> Handle {
        self.halves.handle()
    }

    /// The connection. `None` if there is none, or if a handle has ended it.
    ///
    /// Use it for settings of the connection. The session does not count items that
    /// are read or written through it.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.obey();
        self.halves.present()
    }

    /// Reports the present connection as lost: a ping went unanswered, or the
    /// device woke from sleep. Does nothing if there is no connection.
    pub fn lost(&mut self) {
        // A handle may have said more about the same loss.
        self.obey();
        self.down(Ending::Lost(Verdict::default()), None);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge. The reader gets the error in
    /// [`Down`](SessionEvent::Down).
    pub fn lost_with(&mut self, error: C::Error) {
        if self.halves.redial.connection.is_some() {
            let verdict = self.halves.redial.judge(&error);
            self.down(Ending::Lost(verdict), Some(error));
        }
    }

    /// As [`lost`](Self::lost), if the server announced that it will close the
    /// connection in good order; see [`Redial::ended`].
    pub fn ended(&mut self) {
        self.down(Ending::Lost(Verdict::Retry(Cause::Busy)), None);
    }

    /// The present outage, to carry it over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        self.halves.redial.save()
    }

    /// Reports that the present connection did its work; see [`Redial::healed`].
    pub fn healed(&mut self) {
        self.halves.redial.healed();
    }

    /// Ends the connection if a handle asks for that.
    fn obey(&mut self) {
        if let Some(ending) = self.halves.redial.take_ending() {
            self.switch_now();
            self.down(ending, None);
        }
        if self.halves.redial.renews() {
            self.halves.unsettle();
        }
    }

    /// The connection ends.
    #[cold]
    fn down(&mut self, ending: Ending, error: Option<C::Error>) {
        if self.is_succeeded(ending, error.is_some()) || self.halves.redial.connection.is_none() {
            return;
        }
        let unflushed = mem::take(&mut self.sending.unflushed);
        self.lost_later(unflushed);
        self.sending.lost += unflushed;
        self.sending.ready = false;
        if self.end == End::Open {
            self.halves.end(ending, error.as_ref());
        } else {
            self.finish();
        }
        let verdict = match ending {
            Ending::Lost(verdict) => verdict,
            Ending::MakesRoom => Verdict::Retry(Cause::Busy),
            Ending::Silent(_) | Ending::Reconnect | Ending::Suspend => Verdict::default(),
        };
        let silent = match ending {
            Ending::Silent(silent) => Some(silent),
            _ => None,
        };
        self.push(SessionEvent::Down {
            error,
            verdict,
            silent,
        });
    }

    /// No connection follows.
    fn finish(&mut self) {
        self.end = End::Over;
        self.drop_all_others();
        self.halves.close();
    }

    fn push(&mut self, event: SessionEvent<Item<C>, C::Error>) {
        if self.events.len() >= MOST_EVENTS {
            // Nobody reads. Items stay; a connection without items is left out.
            let empty = (1..self.events.len()).find(|&i| {
                matches!(self.events[i - 1], SessionEvent::Up)
                    && matches!(self.events[i], SessionEvent::Down { .. })
            });
            if let Some(i) = empty {
                self.events.drain(i - 1..=i);
            }
        }
        self.events.push_back(event);
    }

    /// Ready once there is a connection, or once none will follow.
    fn poll_up(&mut self, half: Half, cx: &Context<'_>) -> Poll<Result<(), Over>> {
        if self.overlap.is_some() && !self.halves.redial.is_closed() {
            if self.closes_first(half, cx) {
                return Poll::Pending;
            }
            let _ = self.renew(half, cx);
        }
        match ready!(self.halves.poll_up(half, cx)) {
            Ok(fresh) => {
                if fresh {
                    self.begin_watch();
                    self.push(SessionEvent::Up);
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.sending.lost += mem::take(&mut self.sending.unflushed);
                self.error = Some(error);
                self.end = End::Over;
                self.drop_all_others();
                Poll::Ready(Err(Over))
            }
        }
    }
}

/// No connection will follow.
struct Over;

// Nothing in a session is ever pinned. A connection moves into it, so the
// connection must be `Unpin`.
impl<C, P, K> Unpin for Session<C, P, K>
where
    C: Connect<Connection: TryStream>,
    P: Policy,
{
}

impl<C, P, K> fmt::Debug for Session<C, P, K>
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
