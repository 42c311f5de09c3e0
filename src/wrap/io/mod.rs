//! Bytes across connections.

mod live;
mod read;
mod requests;
mod write;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::error;
use core::fmt;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncWrite};

use super::from_connection::FromConnection;
use super::halves::{Half, Halves};
use crate::control::{Ending, Handle};
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::{Verdict, judged};

use live::Live;
pub use requests::PingRequests;

/// An [`AsyncRead`] and [`AsyncWrite`] that stays while connections come and
/// go; made by [`Redial::into_io`].
///
/// ```
/// # async fn doc() -> std::io::Result<()> {
/// use redial::Redial;
/// use std::io::ErrorKind;
/// use tokio::io::AsyncReadExt;
///
/// let mut clock = Redial::new(redial::tcp::connect("time.example:37")).into_io();
/// let seconds = loop {
///     match clock.read_u32().await {
///         Ok(seconds) => break seconds,
///         // The connection was lost. The next read waits for another one.
///         Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
///         Err(error) => return Err(error),
///     }
/// };
/// # let _ = seconds;
/// # Ok(()) }
/// ```
///
/// # When a connection is lost
///
/// After each loss, reads and writes each fail once with
/// [`ConnectionReset`](ErrorKind::ConnectionReset), then continue on the next
/// connection. So each half can begin the next connection as the protocol
/// demands, and a frame that the loss has cut is never continued on another
/// connection. [`generation`](Self::generation) tells the connections apart.
///
/// While there is no connection, reading and writing wait.
///
/// Bytes that were written may be lost with the connection. They are never sent
/// again. "Flushed" means that the operating system has them, not that the server
/// has. If a write finds the loss, bytes that had arrived and were not read yet
/// are lost, too.
///
/// A `Framed` around this type does not know about the loss and keeps half a
/// frame of the old connection. Keep `Framed` inside the connector, in a
/// [`Session`](crate::Session).
///
/// If the driver gives up or is [closed](Handle::close), both halves fail from
/// then on, and [`error`](Self::error) says why. If the last error of the outage is
/// an `io::Error`, or holds one, the final error has its kind, and a copy of it as
/// its source. Otherwise, and for a kind that would mislead a reader
/// (`ConnectionReset`, `Interrupted`, `WouldBlock`), the kind is
/// [`NotConnected`](ErrorKind::NotConnected). The halves of `tokio::io::split` do not lead to
/// that method. Make a [`handle`](Self::handle) before the split and keep it: its
/// [`status`](Handle::status) tells [`GaveUp`](crate::Status::GaveUp), which has
/// the reason, from [`Closed`](crate::Status::Closed).
///
/// # Shutting down
///
/// `shutdown` closes for good: no new connection is made, and writes fail with
/// [`BrokenPipe`](ErrorKind::BrokenPipe). The present connection can still be read
/// to its end, which is the end of the stream. If an earlier loss has not been
/// reported to the writing half yet, the result of `shutdown` reports it.
///
/// # Two tasks
///
/// The halves of `tokio::io::split` may live in two tasks; each has a waker of
/// its own.
///
/// # Cancel safety
///
/// As for the connection itself: a read or a write that is dropped has not
/// happened. A reset that a dropped future waited for is reported to the next
/// call.
pub struct RedialIo<C: Connect, P: Policy = Stratified> {
    halves: Halves<C, P>,
    /// `From`, which `into_io` required. So the traits need no bound of their own.
    convert: fn(io::Error) -> C::Error,
    /// The `io::Error` in an error of the connector, if there is one.
    io_error: fn(&C::Error) -> Option<&io::Error>,
    /// How many connections were lost.
    losses: u64,
    /// How many losses were reported to each half.
    reported: [u64; 2],
    end: End,
    /// The writing side of the last connection has shut down.
    shut: bool,
    error: Option<Error<C::Error>>,
    /// What few have: they watch whether their connection lives.
    live: Option<Box<Live>>,
    /// Whether the latest connection writes vectored, for writers that ask while
    /// there is none.
    vectored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Connections come and go.
    Open,
    /// Shut down, or shutting down: this connection is the last.
    Last,
    /// As `Last`; the reading side has ended already, and the writing side is still
    /// shutting down.
    ReadOut,
    /// Shut down, without a connection.
    Over,
    /// The driver gave up, or was closed.
    GaveUp,
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A reader and writer of bytes that stays while connections come and go.
    ///
    /// The connector's error type must implement `From<io::Error>`; see
    /// [`FromConnection`].
    ///
    /// The runtime in which a wait began times it, so that runtime must go on.
    pub fn into_io(self) -> RedialIo<C, P>
    where
        C::Connection: AsyncRead + AsyncWrite + Unpin,
        C::Error: FromConnection<io::Error> + 'static,
    {
        let lent = self.connection.as_ref();
        RedialIo {
            vectored: lent.is_some_and(AsyncWrite::is_write_vectored),
            halves: Halves::new(self),
            convert: C::Error::from,
            io_error: judged,
            losses: 0,
            reported: [0; 2],
            end: End::Open,
            shut: false,
            error: None,
            live: None,
        }
    }
}

// Nothing in it is ever pinned. A connection moves into it, so the connection
// must be `Unpin`.
impl<C: Connect, P: Policy> Unpin for RedialIo<C, P> {}

impl<C: Connect, P: Policy> RedialIo<C, P> {
    /// How many connections there have been: 0 before the first.
    pub fn generation(&self) -> u64 {
        self.halves.generation
    }

    /// Why no connection follows, once the driver has given up or was closed.
    pub fn error(&self) -> Option<&Error<C::Error>> {
        self.error.as_ref()
    }

    /// A handle, which shows the status, skips a wait, pauses, resumes and closes
    /// from anywhere in the program.
    pub fn handle(&self) -> Handle {
        self.halves.handle()
    }

    /// The connection. `None` if there is none, or if a handle has ended it.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.obey();
        self.halves.present()
    }

    /// Reports the present connection as lost: a ping went unanswered, or the
    /// device woke from sleep. Does nothing if there is no connection.
    pub fn lost(&mut self) {
        // A handle may have said more about the same loss.
        self.obey();
        self.lose(Ending::Lost(Verdict::default()), None);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_with(&mut self, error: C::Error) {
        if self.halves.redial.connection.is_some() {
            let verdict = self.halves.redial.judge(&error);
            self.lose(Ending::Lost(verdict), Some(error));
        }
    }

    /// Reports that the present connection did its work; see [`Redial::healed`].
    pub fn healed(&mut self) {
        self.halves.redial.healed();
    }

    /// As [`lost`](Self::lost), if the server announced that it will close the
    /// connection in good order; see [`Redial::ended`].
    pub fn ended(&mut self) {
        self.lose(Ending::Lost(Verdict::Retry(Cause::Busy)), None);
    }

    /// The present outage, to carry it over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        self.halves.redial.save()
    }

    /// Ends the connection if a handle asks for that.
    pub(super) fn obey(&mut self) {
        if let Some(ending) = self.halves.redial.take_ending() {
            self.lose(ending, None);
        }
    }

    fn lose(&mut self, ending: Ending, error: Option<C::Error>) {
        if self.halves.redial.connection.is_none() {
            return;
        }
        self.losses += 1;
        if self.end == End::Open {
            self.halves.end(ending, error.as_ref());
            if let Some(error) = error {
                self.halves.redial.keep(error);
            }
        } else {
            self.finish();
        }
    }

    /// No connection follows.
    fn finish(&mut self) {
        self.end = End::Over;
        self.halves.close();
    }

    /// The loss that was not reported to `half` yet, if there is one.
    #[cold]
    fn seam(&mut self, half: Half) -> io::Result<()> {
        self.obey();
        let reported = &mut self.reported[half as usize];
        if *reported == self.losses {
            return Ok(());
        }
        *reported += 1;
        let follows = if self.end == End::Open && !self.halves.redial.has_given_up() {
            ", and another one follows"
        } else {
            ""
        };
        let silent = self.live.as_ref().and_then(|live| live.silent);
        let text = match silent {
            Some((loss, silent)) if loss == *reported => {
                format!("connection {reported} was lost, {silent}{follows}")
            }
            _ => format!("connection {reported} was lost{follows}"),
        };
        Err(io::Error::new(ErrorKind::ConnectionReset, text))
    }

    /// The error from then on.
    #[cold]
    fn gave_up(&self) -> io::Error {
        let last = self.error.as_ref().and_then(Error::last);
        let source = last.and_then(self.io_error).map(copy);
        let kind = source
            .as_ref()
            .map_or(ErrorKind::NotConnected, io::Error::kind);
        let text = self.error.as_ref();
        io::Error::new(
            match kind {
                // Those mean something else to a reader: another connection
                // follows, or the same call may succeed now.
                ErrorKind::ConnectionReset | ErrorKind::Interrupted | ErrorKind::WouldBlock => {
                    ErrorKind::NotConnected
                }
                kind => kind,
            },
            Ended {
                text: text.map_or("closed".into(), ToString::to_string),
                source,
            },
        )
    }
}

/// Why no connection follows, as the source of an `io::Error`.
#[derive(Debug)]
struct Ended {
    text: String,
    source: Option<io::Error>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for Ended {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// The same error once more, because both halves get it, again and again.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl<C, P> RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
    P: Policy,
{
    /// Ready once there is a connection.
    fn poll_up(&mut self, half: Half, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.end == End::GaveUp {
            return Poll::Ready(Err(self.gave_up()));
        }
        if !self.halves.is_up() {
            ready!(self.poll_down(half, cx))?;
        }
        if self.end == End::Open && self.live.is_none() {
            self.halves.settle(half);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, half: Half, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.halves.poll_up(half, cx)) {
            Ok(fresh) => {
                if fresh {
                    self.begin_watch();
                }
                let connection = self.halves.redial.connection.as_ref();
                self.vectored = connection.is_some_and(AsyncWrite::is_write_vectored);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.error = Some(error);
                self.end = End::GaveUp;
                Poll::Ready(Err(self.gave_up()))
            }
        }
    }

    /// Fails if the driver gave up or was closed.
    #[cold]
    fn poll_closed(&mut self, half: Half, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let closed = self.end != End::Over && self.halves.redial.is_closed();
        if self.end == End::GaveUp || closed {
            ready!(self.poll_up(half, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The connection has failed under `half`.
    #[cold]
    fn failed(&mut self, half: Half, error: io::Error) -> io::Error {
        let error = (self.convert)(error);
        let verdict = self.halves.redial.judge(&error);
        self.lose(Ending::Lost(verdict), Some(error));
        self.seam(half).expect_err("just lost")
    }
}

impl<C: Connect, P: Policy> fmt::Debug for RedialIo<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedialIo")
            .field("redial", &self.halves.redial)
            .field("generation", &self.halves.generation)
            .finish_non_exhaustive()
    }
}
