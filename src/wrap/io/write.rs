//! The writing side of a [`RedialIo`].

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, RedialIo};
use crate::driver::Connect;
use crate::policy::Policy;
use crate::wrap::halves::Half;

impl<C, P> RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
    P: Policy,
{
    /// Ready once there is a connection to write to. An empty write never waits.
    #[cold]
    fn poll_writable(&mut self, empty: bool, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.seam(Half::Write)?;
        if matches!(self.end, End::Last | End::ReadOut | End::Over) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if empty {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_up(Half::Write, cx))?;
        self.begin_write(cx)
    }

    /// One write, plain or vectored.
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
            // The connection takes no more bytes, and will take none later.
            Poll::Ready(Ok(0)) => {
                let error = ErrorKind::WriteZero.into();
                Poll::Ready(Err(self.failed(Half::Write, error)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed(Half::Write, error))),
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => {
                self.pend(Half::Write, cx);
                Poll::Pending
            }
        }
    }
}

impl<C, P> AsyncWrite for RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
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

    /// As the present connection, or as the last one.
    fn is_write_vectored(&self) -> bool {
        let connection = self.halves.redial.connection.as_ref();
        connection.map_or(self.vectored, AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let settled = this.halves.is_settled(Half::Write);
        if !settled {
            this.seam(Half::Write)?;
            ready!(this.poll_closed(Half::Write, cx))?;
        }
        let Some(connection) = &mut this.halves.redial.connection else {
            // What was written before is lost, and has been reported.
            return Poll::Ready(Ok(()));
        };
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.failed(Half::Write, error))),
            Poll::Ready(Ok(())) => {
                if !settled {
                    this.flushed();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                this.pend_flush(cx);
                Poll::Pending
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.obey();
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
                // This shutdown went well, but an earlier connection may have
                // lost what was written to it.
                Poll::Ready(this.seam(Half::Write))
            }
            Poll::Pending => {
                this.pend_flush(cx);
                Poll::Pending
            }
        }
    }
}
