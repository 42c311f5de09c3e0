//! Faults on a connection of bytes.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbox::Inbox;
use super::trouble::{Half, Trouble};
use crate::test::faults::Kind;

/// A connection of bytes with [`Faults`](super::super::Faults): made by
/// [`Faults::on_bytes`](super::super::Faults::on_bytes).
///
/// If it has faults at a time, or delays, polling it needs a tokio runtime with its
/// time driver.
pub struct FaultyIo<T> {
    inner: T,
    trouble: Trouble,
    inbox: Inbox<io::Result<Vec<u8>>>,
    has_ended: bool,
}

/// What is read at once.
const CHUNK: usize = 4096;

impl<T> FaultyIo<T> {
    pub(in crate::test) fn new(inner: T, trouble: Trouble) -> Self {
        Self {
            inner,
            trouble,
            inbox: Inbox::new(),
            has_ended: false,
        }
    }

    /// The connection without its faults.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The connection without its faults. What is read through it is not counted.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The connection without its faults. What had arrived and was delayed is lost.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// What a write does now: `None` if it goes to the connection.
    fn poll_troubled<O>(
        &mut self,
        vanished: O,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<O>>> {
        Some(match self.trouble.poll(Half::Write, cx)? {
            Kind::Lost => Poll::Ready(Err(self.trouble.error())),
            Kind::Ended => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            Kind::Silent => Poll::Ready(Ok(vanished)),
            Kind::Blocked => Poll::Pending,
        })
    }
}

// Nothing is ever pinned but what is in a box.
impl<T: Unpin> Unpin for FaultyIo<T> {}

impl<T: AsyncRead + Unpin> AsyncRead for FaultyIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.trouble.poll(Half::Read, cx) {
            None => {}
            Some(Kind::Lost) => return Poll::Ready(Err(this.trouble.error())),
            Some(Kind::Ended) => return Poll::Ready(Ok(())),
            Some(Kind::Silent | Kind::Blocked) => return Poll::Pending,
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let (inner, has_ended) = (&mut this.inner, &mut this.has_ended);
        this.inbox.fill(&mut this.trouble, || {
            if *has_ended {
                return Poll::Pending;
            }
            let mut chunk = vec![0; CHUNK];
            let mut space = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut *inner).poll_read(cx, &mut space));
            let length = space.filled().len();
            chunk.truncate(length);
            *has_ended = read.is_err() || length == 0;
            Poll::Ready(read.map(|()| chunk))
        });
        let Poll::Ready(first) = this.inbox.poll_first(&this.trouble, cx) else {
            if this.has_ended && this.inbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            return Poll::Pending;
        };
        let Ok(chunk) = first else {
            return Poll::Ready(this.inbox.pop().map_or(Ok(()), |read| read.map(drop)));
        };
        let length = chunk.len().min(buf.remaining());
        let length = this.trouble.part(Half::Read, length);
        buf.put_slice(&chunk[..length]);
        chunk.drain(..length);
        if chunk.is_empty() {
            this.inbox.pop();
        }
        this.trouble.count(Half::Read, length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FaultyIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(answer) = this.poll_troubled(buf.len(), cx) {
            return answer;
        }
        let length = this.trouble.part(Half::Write, buf.len());
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &buf[..length]))?;
        this.trouble.count(Half::Write, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(answer) = this.poll_troubled(length, cx) {
            return answer;
        }
        if this.trouble.part(Half::Write, length) < length {
            // A part of one buffer may be less than it could be, as everywhere.
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return Pin::new(this).poll_write(cx, first.map_or(&[], |buf| &buf[..]));
        }
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
        this.trouble.count(Half::Write, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.poll_troubled((), cx) {
            Some(answer) => answer,
            None => Pin::new(&mut this.inner).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.poll_troubled((), cx) {
            Some(answer) => answer,
            None => Pin::new(&mut this.inner).poll_shutdown(cx),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for FaultyIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyIo")
            .field("inner", &self.inner)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}
