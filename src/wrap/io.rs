//! Bytes across connections.

use alloc::format;
use alloc::string::ToString;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::halves::{Half, Halves};
use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::Verdict;

/// An [`AsyncRead`] and [`AsyncWrite`] that stays while connections come and
/// go: made by [`Redial::into_io`].
///
/// # The seam
///
/// Reading and writing wait while there is no connection. When one is lost, be
/// it by an error or by its end, the reading half and the writing half each get
/// one [`ConnectionReset`](ErrorKind::ConnectionReset) for it, and the next
/// connection after that. So no half meets a new connection unawares, and what
/// it must begin with after a seam, it can: a frame that was cut by the loss is
/// never resumed on the next connection. [`generation`](Self::generation)
/// tells which it is.
///
/// Bytes that were written and are not known to have arrived may be lost with
/// the connection; they are never sent again. So may bytes that had arrived and
/// were not read yet, where it is the writer who finds the loss. A codec's
/// half-read frame belongs to the old connection too, which a `Framed` around
/// this type does not know: keep `Framed` inside the connector, in a
/// [`Session`](crate::Session).
///
/// Where the driver gives up, or is [closed](Handle::close), both halves get
/// [`NotConnected`](ErrorKind::NotConnected) for good, and
/// [`error`](Self::error) says why.
///
/// # Shutting down
///
/// `shutdown` closes for good: no new connection is made, and writing fails
/// with [`BrokenPipe`](ErrorKind::BrokenPipe). The present connection can still
/// be read, to its end, which is the end of the stream. A loss that the writing
/// half has not been told of is told by the result of the shutdown.
///
/// # Two tasks
///
/// The halves of `tokio::io::split` may live in two tasks; each has a waker of
/// its own.
///
/// # Cancel safety
///
/// As that of the connection: a read or a write that is dropped has not
/// happened. A reset that was waited for is not lost.
pub struct RedialIo<C: Connect, P: Policy = Stratified> {
    halves: Halves<C, P>,
    /// Connections that were lost, and how many of them each half was told.
    losses: u64,
    told: [u64; 2],
    end: End,
    /// The writing side of the last connection has said all it had to say.
    shut: bool,
    error: Option<Error<C::Error>>,
    /// Of the latest connection, for writers that ask while there is none.
    vectored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Connections come and go.
    Open,
    /// Shut down, or shutting down: this connection is the last.
    Last,
    /// As `Last`, but its reading side is at its end already, and its writing
    /// side is still shutting down.
    ReadOut,
    /// Shut down, and the last connection is gone.
    Over,
    /// The driver gave up, or was closed.
    GaveUp,
}

impl<C, P> Redial<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin, Error: From<io::Error>>,
    P: Policy,
{
    /// A reader and writer of bytes that stays while connections come and go.
    ///
    /// A wait is timed by the runtime that it began in, which must go on.
    pub fn into_io(self) -> RedialIo<C, P> {
        let lent = self.connection.as_ref();
        RedialIo {
            vectored: lent.is_some_and(AsyncWrite::is_write_vectored),
            halves: Halves::new(self),
            losses: 0,
            told: [0; 2],
            end: End::Open,
            shut: false,
            error: None,
        }
    }
}

// Nothing in it is ever pinned: a connection moves in, and so must be `Unpin`.
impl<C: Connect, P: Policy> Unpin for RedialIo<C, P> {}

impl<C: Connect, P: Policy> RedialIo<C, P> {
    /// How many connections there have been: 0 before the first.
    pub fn generation(&self) -> u64 {
        self.halves.generation
    }

    /// Why there will be no more connections, once the driver has given up.
    pub fn error(&self) -> Option<&Error<C::Error>> {
        self.error.as_ref()
    }

    /// A handle to look on, retry now, pause and close, from anywhere.
    pub fn handle(&self) -> Handle {
        self.halves.handle()
    }

    /// The connection, if it is up.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.halves.redial.get_mut()
    }

    /// The connection is gone, though it does not know: a ping went unanswered,
    /// or the device woke from sleep.
    pub fn lost(&mut self) {
        self.lose(Verdict::default(), None);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_to(&mut self, error: C::Error) {
        if self.halves.redial.connection.is_some() {
            let verdict = self.halves.redial.judge(&error);
            self.lose(verdict, Some(error));
        }
    }

    /// The present outage, to be carried over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        self.halves.redial.save()
    }

    fn lose(&mut self, verdict: Verdict, error: Option<C::Error>) {
        if self.halves.redial.connection.is_none() {
            return;
        }
        self.losses += 1;
        if self.end == End::Open {
            self.halves.lose(verdict, error.as_ref());
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

    /// The reset that `half` has not been told of yet.
    #[cold]
    fn seam(&mut self, half: Half) -> io::Result<()> {
        let told = &mut self.told[half as usize];
        if *told == self.losses {
            return Ok(());
        }
        *told += 1;
        let follows = match self.end {
            End::Open => ", and another one follows",
            _ => "",
        };
        Err(io::Error::new(
            ErrorKind::ConnectionReset,
            format!("connection {told} was lost{follows}"),
        ))
    }

    #[cold]
    fn gave_up(&self) -> io::Error {
        let reason = self
            .error
            .as_ref()
            .map_or("closed".into(), ToString::to_string);
        io::Error::new(ErrorKind::NotConnected, reason)
    }
}

impl<C, P> RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin, Error: From<io::Error>>,
    P: Policy,
{
    /// Until there is a connection.
    fn poll_up(&mut self, half: Half, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.end == End::GaveUp {
            return Poll::Ready(Err(self.gave_up()));
        }
        if !self.halves.is_up() {
            ready!(self.poll_down(half, cx))?;
        }
        if self.end == End::Open {
            self.halves.settle(half);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, half: Half, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.halves.poll_up(half, cx)) {
            Ok(_) => {
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

    /// An error, where the driver gave up or was closed.
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
        let error = C::Error::from(error);
        let verdict = self.halves.redial.judge(&error);
        self.lose(verdict, Some(error));
        self.seam(half).expect_err("just lost")
    }

    /// True once there is a connection to read from; false where none is
    /// needed, into an empty buffer or after the end.
    #[cold]
    fn poll_readable(&mut self, empty: bool, cx: &Context<'_>) -> Poll<io::Result<bool>> {
        self.seam(Half::Read)?;
        if empty || matches!(self.end, End::ReadOut | End::Over) {
            return Poll::Ready(Ok(false));
        }
        self.poll_up(Half::Read, cx).map_ok(|()| true)
    }

    /// Until there is a connection to write to; an empty write never waits.
    #[cold]
    fn poll_writable(&mut self, empty: bool, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.seam(Half::Write)?;
        if matches!(self.end, End::Last | End::ReadOut | End::Over) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if empty {
            return Poll::Ready(Ok(()));
        }
        self.poll_up(Half::Write, cx)
    }

    /// The reading side of the connection has ended.
    #[cold]
    fn read_out(&mut self) -> io::Result<()> {
        match self.end {
            End::Open => {
                self.lose(Verdict::Retry(Cause::Busy), None);
                return self.seam(Half::Read);
            }
            _ if self.shut => self.finish(),
            // What was written is still on its way.
            _ => self.end = End::ReadOut,
        }
        Ok(())
    }

    /// One write, of either kind.
    #[inline]
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        empty: bool,
        write: impl FnOnce(Pin<&mut C::Connection>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.halves.is_settled(Half::Write) {
            ready!(self.poll_writable(empty, cx))?;
        }
        if empty {
            return Poll::Ready(Ok(0));
        }
        match write(Pin::new(self.halves.connection()), cx) {
            // It takes no more bytes, and will not again.
            Poll::Ready(Ok(0)) => {
                let error = ErrorKind::WriteZero.into();
                Poll::Ready(Err(self.failed(Half::Write, error)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed(Half::Write, error))),
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => {
                self.halves.pend(Half::Write, cx);
                Poll::Pending
            }
        }
    }
}

impl<C, P> AsyncRead for RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin, Error: From<io::Error>>,
    P: Policy,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let empty = buf.remaining() == 0;
        let readable = if this.halves.is_settled(Half::Read) {
            !empty
        } else {
            ready!(this.poll_readable(empty, cx))?
        };
        if !readable {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(this.halves.connection()).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before => Poll::Ready(this.read_out()),
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.failed(Half::Read, error))),
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => {
                this.halves.pend(Half::Read, cx);
                Poll::Pending
            }
        }
    }
}

impl<C, P> AsyncWrite for RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin, Error: From<io::Error>>,
    P: Policy,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, buf.is_empty(), |connection, cx| {
            connection.poll_write(cx, buf)
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let empty = bufs.iter().all(|buf| buf.is_empty());
        self.poll_written(cx, empty, |connection, cx| {
            connection.poll_write_vectored(cx, bufs)
        })
    }

    /// As that of the present connection, or of the last one.
    fn is_write_vectored(&self) -> bool {
        let connection = self.halves.redial.connection.as_ref();
        connection.map_or(self.vectored, AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.halves.is_settled(Half::Write) {
            this.seam(Half::Write)?;
            ready!(this.poll_closed(Half::Write, cx))?;
        }
        let Some(connection) = &mut this.halves.redial.connection else {
            // What was written before is lost, and was said to be.
            return Poll::Ready(Ok(()));
        };
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.failed(Half::Write, error))),
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => {
                this.halves.pend(Half::Write, cx);
                Poll::Pending
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end == End::Open {
            this.end = End::Last;
            this.halves.unsettle();
        }
        ready!(this.poll_closed(Half::Write, cx))?;
        let Some(connection) = &mut this.halves.redial.connection else {
            this.finish();
            return Poll::Ready(this.seam(Half::Write));
        };
        match Pin::new(connection).poll_shutdown(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.failed(Half::Write, error))),
            Poll::Ready(Ok(())) => {
                this.shut = true;
                if this.end == End::ReadOut {
                    this.finish();
                }
                // What was lost before is not there, though this one went well.
                Poll::Ready(this.seam(Half::Write))
            }
            Poll::Pending => {
                this.halves.pend(Half::Write, cx);
                Poll::Pending
            }
        }
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
