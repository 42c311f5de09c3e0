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
    /// buffer is empty, the stream has ended, or a last look has found bytes.
    #[cold]
    fn poll_readable(&mut self, empty: bool, cx: &Context<'_>) -> Poll<io::Result<bool>> {
        self.seam(Half::Read)?;
        if empty || matches!(self.end, End::ReadOut | End::Over) {
            return Poll::Ready(Ok(false));
        }
        ready!(self.poll_up(Half::Read, cx))?;
        Poll::Ready(Ok(self.begin_read()))
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
        let empty = buf.remaining() == 0;
        let readable = if this.halves.is_settled(Half::Read) {
            !empty
        } else {
            ready!(this.poll_readable(empty, cx))?
        };
        if !readable {
            buf.put_slice(&this.take_unread(buf.remaining()));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(this.halves.connection()).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before => Poll::Ready(this.read_out()),
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.failed(Half::Read, error))),
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => {
                this.pend(Half::Read, cx);
                Poll::Pending
            }
        }
    }
}
