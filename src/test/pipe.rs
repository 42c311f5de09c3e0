//! A connection of bytes, in memory.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection of bytes in memory.
///
/// It reads what the other end has written. A write waits while the other end has 64
/// KiB unread. If the other end is dropped or shut down, a read gets the rest and then
/// the end of the stream, and after a drop a write fails with `BrokenPipe`.
///
/// ```
/// use redial::test::{Pipe, paused};
/// use tokio::io::AsyncReadExt;
///
/// paused(async {
///     let (mut client, mut server) = Pipe::pair();
///     server.say(b"hello");
///     drop(server);
///     let mut got = String::new();
///     client.read_to_string(&mut got).await.unwrap();
///     assert_eq!(got, "hello");
/// });
/// ```
pub struct Pipe {
    ours: Arc<Mutex<Way>>,
    theirs: Arc<Mutex<Way>>,
}

/// One direction.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    room: usize,
    /// Nobody writes any more.
    is_ended: bool,
    /// Nobody reads any more.
    is_unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn new(room: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            room,
            ..Self::default()
        }))
    }

    fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    /// Two ends that are connected.
    pub fn pair() -> (Self, Self) {
        Self::with_room(64 * 1024)
    }

    /// Two ends, each of which takes so many bytes that the other has not read: at
    /// least one.
    pub fn with_room(bytes: usize) -> (Self, Self) {
        let [a, b] = [(); 2].map(|()| Way::new(bytes.max(1)));
        let one = Self {
            ours: a.clone(),
            theirs: b.clone(),
        };
        let other = Self { ours: b, theirs: a };
        (one, other)
    }

    /// Writes without waiting, however little room there is. Nothing arrives if the
    /// other end is gone.
    pub fn say(&self, bytes: impl AsRef<[u8]>) {
        let mut way = lock(&self.theirs);
        way.bytes.extend(bytes.as_ref());
        Way::wake(&mut way.reader);
    }

    /// What has arrived and was not read yet, as text; what is no UTF-8 is replaced.
    /// It is not read by this.
    pub fn heard(&self) -> String {
        let mut way = lock(&self.ours);
        String::from_utf8_lossy(way.bytes.make_contiguous()).into_owned()
    }

    /// Whether the other end is there: not dropped.
    pub fn is_open(&self) -> bool {
        !lock(&self.theirs).is_unread
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut way = lock(&self.ours);
        if way.bytes.is_empty() && !way.is_ended && buf.remaining() > 0 {
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = way.bytes.as_slices();
        let length = front.len().min(buf.remaining());
        buf.put_slice(&front[..length]);
        way.bytes.drain(..length);
        Way::wake(&mut way.writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut way = lock(&self.theirs);
        if way.is_ended || way.is_unread {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = way.room.saturating_sub(way.bytes.len());
        if room == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = way.bytes.len();
        let bytes = bufs.iter().flat_map(|buf| buf.iter());
        way.bytes.extend(bytes.take(room));
        Way::wake(&mut way.reader);
        Poll::Ready(Ok(way.bytes.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = lock(&self.theirs);
        way.is_ended = true;
        Way::wake(&mut way.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut way = lock(&self.theirs);
        way.is_ended = true;
        Way::wake(&mut way.reader);
        drop(way);
        let mut way = lock(&self.ours);
        way.is_unread = true;
        Way::wake(&mut way.writer);
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}
