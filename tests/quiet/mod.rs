//! A connection on which nothing ever happens.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// It takes what is written, sends nothing, and never shuts down.
#[derive(Clone)]
pub(crate) struct Quiet<T> {
    _token: T,
    shutdowns: Arc<AtomicUsize>,
}

impl<T> Quiet<T> {
    /// `token` lives as long as the connection, and `shutdowns` counts the polls of
    /// its shutdown.
    pub(crate) fn new(token: T, shutdowns: &Arc<AtomicUsize>) -> Self {
        Self {
            _token: token,
            shutdowns: shutdowns.clone(),
        }
    }
}

impl<T> Stream for Quiet<T> {
    type Item = io::Result<()>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        Poll::Pending
    }
}

impl<T> AsyncRead for Quiet<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl<T> AsyncWrite for Quiet<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdowns.fetch_add(1, SeqCst);
        Poll::Pending
    }
}
