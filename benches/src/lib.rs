//! Code that the benchmarks and the instruction count share.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The result of a future that is ready, or that wakes itself at once. It measures
/// no runtime, and the call is inlined.
#[inline(always)]
pub fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// The median of at least one figure.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A connector that fails `failures` times and then connects.
#[inline]
pub fn attempts(failures: u32) -> impl FnMut() -> std::future::Ready<Result<u32, &'static str>> {
    let mut made = 0;
    move || {
        made += 1;
        std::future::ready(if made > failures {
            Ok(made)
        } else {
            Err("refused")
        })
    }
}

/// A connection that is always ready and costs almost nothing, so that a benchmark
/// measures the wrapper around it. Each read yields eight bytes.
#[derive(Debug, Default)]
pub struct Loopback {
    items: u64,
}

impl Stream for Loopback {
    type Item = Result<u64, io::Error>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items += 1;
        Poll::Ready(Some(Ok(self.items)))
    }
}

impl Sink<u64> for Loopback {
    type Error = io::Error;

    #[inline]
    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn start_send(mut self: Pin<&mut Self>, item: u64) -> Result<(), io::Error> {
        self.items ^= item;
        Ok(())
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Loopback {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.items += 1;
        buffer.put_slice(&self.items.to_ne_bytes());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Loopback {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.items ^= bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The code before and after of the page *Migrating*, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../src/docs/migrating.md")]
mod migrating {}

/// The facts of the page *Compared with other crates*, each as a test.
#[cfg(doctest)]
#[doc = include_str!("../../src/docs/peers.md")]
mod peers {}
