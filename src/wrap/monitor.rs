//! A connector's way to the machine that watches its connections.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::MaybeSend;
use crate::liveness::Liveness;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// Tells a [`Session`](crate::Session) or a [`RedialIo`](crate::RedialIo) what only
/// the connector knows: that bytes arrive, and what the server said about its limits.
///
/// Give a clone to the connector, and the monitor to the wrapper, by
/// [`Session::monitor`](crate::Session::monitor). One monitor serves one wrapper.
///
/// ```
/// use redial::{Connect, Liveness, Monitor, Redial, tcp};
/// use std::time::Duration;
/// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
///
/// let monitor = Monitor::new();
/// let chat = Redial::new(tcp::connect("chat.example:6667").then({
///     let monitor = monitor.clone();
///     move |tcp| {
///         let monitor = monitor.clone();
///         async move {
///             // A long line on a slow link counts from its first byte on.
///             let lines = Framed::new(monitor.watch(tcp), LinesCodec::new());
///             // … log in, and the server says that it closes after 20 s of silence:
///             monitor.set(Liveness::new().idle(Duration::from_secs(10)));
///             Ok::<_, LinesCodecError>(lines)
///         }
///     }
/// }))
/// .into_session()
/// .keep_alive(Liveness::new(), || "PING".to_string())
/// .monitor(&monitor);
/// ```
#[derive(Clone, Default)]
pub struct Monitor {
    shared: Arc<Told>,
}

#[derive(Default)]
struct Told {
    heard: AtomicBool,
    /// For the connection that is being made.
    next: Mutex<Option<Liveness>>,
    certificate: Mutex<Option<Certificate>>,
}

/// It ends when its connection dies.
pub(super) type Certificate = Pin<Box<dyn Dies>>;

/// A future that ends when a connection dies.
pub(super) trait Dies: Future<Output = ()> + MaybeSend {}
impl<F: Future<Output = ()> + MaybeSend> Dies for F {}

impl Monitor {
    /// A monitor that no wrapper has yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something was received. This is one store, and reads no clock.
    ///
    /// If the wrapper waits meanwhile, it notices when it looks next: at the latest
    /// before it pings, or drops the connection.
    #[inline]
    pub fn heard(&self) {
        self.shared.heard.store(true, Ordering::Release);
    }

    /// Sets the liveness of the connection that the connector makes. Those after it
    /// have that of the wrapper again. If the attempt fails after it, the next attempt
    /// that connects has it, so let an attempt set it last. A wrapper without a `keep_alive` cannot ping, so
    /// it takes only one that [only listens](Liveness::listen_only).
    pub fn set(&self, liveness: Liveness) {
        *lock(&self.shared.next) = Some(liveness);
    }

    /// Hands over a future that ends when the connection that the connector makes dies:
    /// what it returns does not matter. An attempt should do it last, when nothing of it
    /// can fail any more. For a [`Shared`](crate::Shared), which then never
    /// lends a connection that is known to be dead.
    ///
    /// Clients that multiplex requests come with such a future, which must run in a
    /// task:
    ///
    /// ```
    /// # #[derive(Clone)] struct Client;
    /// # async fn handshake() -> std::io::Result<(Client, std::future::Ready<()>)> {
    /// #     Ok((Client, std::future::ready(())))
    /// # }
    /// use redial::{Monitor, Redial};
    ///
    /// let monitor = Monitor::new();
    /// let shared = Redial::new({
    ///     let monitor = monitor.clone();
    ///     move || {
    ///         let monitor = monitor.clone();
    ///         async move {
    ///             // As hyper and tokio-postgres have it.
    ///             let (client, connection) = handshake().await?;
    ///             monitor.ends_with(tokio::spawn(connection));
    ///             Ok::<_, std::io::Error>(client)
    ///         }
    ///     }
    /// })
    /// .into_shared()
    /// .monitor(&monitor);
    /// ```
    ///
    /// The future is polled by the tasks that wait in [`ready`](crate::Shared::ready),
    /// [`watch`](crate::Shared::watch) or [`gone`](crate::Lent::gone), and by
    /// [`get`](crate::Shared::get). Other wrappers do not need it: they read.
    pub fn ends_with(&self, death: impl Future + MaybeSend + 'static) {
        let death: Certificate = Box::pin(async move {
            death.await;
        });
        // What was there before is not dropped under the lock.
        let _before = lock(&self.shared.certificate).replace(death);
    }

    /// The same connection, whose bytes count: each that is read, and each that is
    /// written after the peer took none for a while.
    pub fn watch<T>(&self, io: T) -> Monitored<T> {
        Monitored {
            io,
            monitor: self.clone(),
            blocked: false,
        }
    }

    /// Whether something was received since the last call.
    pub(super) fn take_heard(&self) -> bool {
        // Two steps, because the first one costs less.
        let heard = &self.shared.heard;
        heard.load(Ordering::Acquire) && heard.swap(false, Ordering::AcqRel)
    }

    /// What was handed over for the connection that is up now.
    pub(super) fn take_certificate(&self) -> Option<Certificate> {
        lock(&self.shared.certificate).take()
    }

    /// What was set for the connection that is up now.
    pub(super) fn take_next(&self) -> Option<Liveness> {
        lock(&self.shared.next).take()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

/// A connection whose bytes count as signs of life; made by [`Monitor::watch`].
#[derive(Debug)]
pub struct Monitored<T> {
    io: T,
    monitor: Monitor,
    /// The peer takes no bytes.
    blocked: bool,
}

impl<T> Monitored<T> {
    /// The connection.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The connection.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// The connection by itself.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// The result of a write. Only acknowledgements free a buffer that was full.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.blocked = true,
            Poll::Ready(Ok(1..)) if self.blocked => {
                self.blocked = false;
                self.monitor.heard();
            }
            Poll::Ready(_) => {}
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Monitored<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.monitor.heard();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Monitored<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
