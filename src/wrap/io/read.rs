//! The reading side of a [`RedialIo`].

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{End, RedialIo};
use crate::control::Ending;
use crate::driver::Connect;
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::halves::Half;

impl<C, P> RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
    P: Policy,
{
    /// True once there is a connection to read from. False if none is needed: the
    /// buffer is empty, or the stream has ended.
    #[cold]
    fn poll_readable(&mut self, empty: bool, cx: &Context<'_>) -> Poll<io::Result<bool>> {
        self.seam(Half::Read)?;
        if empty || matches!(self.end, End::ReadOut | End::Over) {
            return Poll::Ready(Ok(false));
        }
        self.poll_up(Half::Read, cx).map_ok(|()| true)
    }

    /// A read after news of the connection, or on one that is watched.
    #[cold]
    fn poll_read_slowly(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let readable = ready!(self.poll_readable(buf.remaining() == 0, cx))?;
            if !readable || self.take_unread(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            match Pin::new(self.halves.connection()).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == before => {
                    return Poll::Ready(self.read_out());
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.failed(Half::Read, error)));
                }
                Poll::Ready(read) => {
                    self.note_read();
                    return Poll::Ready(read);
                }
                Poll::Pending => {
                    if self.pend(Half::Read, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Reads what the writer found in a last look, if there is anything.
    #[cold]
    fn take_unread(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(live) = &mut self.live else {
            return false;
        };
        let bytes = buf.remaining().min(live.unread.len());
        buf.put_slice(&live.unread[..bytes]);
        live.unread.drain(..bytes);
        bytes > 0
    }

    /// The reading side of the connection has ended.
    #[cold]
    pub(super) fn read_out(&mut self) -> io::Result<()> {
        match self.end {
            End::Open => {
                self.lose(Ending::Lost(Verdict::Retry(Cause::Busy)), None);
                return self.seam(Half::Read);
            }
            _ if self.shut => self.finish(),
            // What was written is still on its way.
            _ => self.end = End::ReadOut,
        }
        Ok(())
    }
}

impl<C, P> AsyncRead for RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
    P: Policy,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.halves.is_settled(Half::Read) {
            return this.poll_read_slowly(cx, buf);
        }
        if buf.remaining() == 0 {
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
