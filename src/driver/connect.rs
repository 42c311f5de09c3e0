//! How an attempt is made.

use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Makes connections.
///
/// The driver calls [`connect`](Self::connect) once for each attempt, so each
/// attempt can use fresh credentials. An attempt has succeeded when its
/// connection can be *used*. So a login, a handshake and joining a channel
/// belong in the attempt.
///
/// # Closures
///
/// A closure that returns a future is a connector:
///
/// ```
/// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
/// use redial::{Redial, tcp};
///
/// let server = tcp::connect("chat.example:6667");
/// let mut redial = Redial::new(async || {
///     let stream = server.dial().await?;
///     stream.set_nodelay(true)?; // and log in
///     Ok(stream)
/// });
/// let stream = redial.ready().await?;
/// # Ok(()) }
/// ```
///
/// A closure can keep what differs from one attempt to the next. This one
/// rotates over its endpoints:
///
/// ```
/// # use redial::{Redial, tcp};
/// let mut hosts = ["a.example:6667", "b.example:6667"].map(tcp::connect).into_iter().cycle();
/// let redial = Redial::new(move || hosts.next().expect("a cycle").dial());
/// ```
///
/// The future that a closure returns must own what it uses, so an
/// `async move || …` with captures does not compile. Clone what each attempt needs:
///
/// ```
/// # use tokio::net::TcpStream;
/// # async fn log_in(tcp: TcpStream, _: &str) -> std::io::Result<TcpStream> { Ok(tcp) }
/// use redial::{Redial, tcp};
/// use std::sync::Arc;
///
/// let token: Arc<str> = "secret".into();
/// let dial = tcp::connect("chat.example:6667");
/// let redial = Redial::new(move || {
///     let (tcp, token) = (dial.dial(), token.clone());
///     async move { log_in(tcp.await?, &token).await }
/// });
/// ```
///
/// If an attempt changes state across an await, share the state. There is one
/// attempt at a time, so the lock is always free:
///
/// ```
/// # use tokio::net::TcpStream;
/// use redial::{Redial, tcp};
/// use std::sync::Arc;
/// use tokio::sync::Mutex;
///
/// struct Tokens { next: u64 }
///
/// impl Tokens {
///     async fn fresh(&mut self) -> std::io::Result<u64> {
///         // …
///         self.next += 1;
///         Ok(self.next)
///     }
/// }
///
/// let tokens = Arc::new(Mutex::new(Tokens { next: 0 }));
/// let redial = Redial::new(move || {
///     let tokens = tokens.clone();
///     async move { tokens.lock().await.fresh().await }
/// });
/// ```
///
/// [`with_info`] makes a connector of a closure that is told the number of its
/// attempt and the last error.
///
/// # Connectors of your own
///
/// The driver polls an attempt through its connector. So the connector can act
/// on what happens during an attempt, with `&mut` access to its own state. This
/// one stays with an address until an attempt there fails:
///
/// ```
/// use redial::{Connect, Redial};
/// use std::io;
/// use std::net::SocketAddr;
/// use std::pin::Pin;
/// use std::task::{Context, Poll, ready};
/// use tokio::net::TcpStream;
///
/// struct StayWhileItWorks {
///     addresses: Vec<SocketAddr>,
///     present: usize,
/// }
///
/// impl Connect for StayWhileItWorks {
///     type Connection = TcpStream;
///     type Error = io::Error;
///     type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;
///
///     fn connect(&mut self) -> Self::Attempt {
///         Box::pin(TcpStream::connect(self.addresses[self.present]))
///     }
///
///     fn poll_attempt(
///         &mut self,
///         attempt: Pin<&mut Self::Attempt>,
///         cx: &mut Context<'_>,
///     ) -> Poll<io::Result<TcpStream>> {
///         let outcome = ready!(attempt.poll(cx));
///         if outcome.is_err() {
///             self.present = (self.present + 1) % self.addresses.len();
///         }
///         Poll::Ready(outcome)
///     }
/// }
///
/// let redial = Redial::new(StayWhileItWorks {
///     addresses: vec![([192, 0, 2, 1], 6667).into(), ([192, 0, 2, 2], 6667).into()],
///     present: 0,
/// });
/// ```
pub trait Connect {
    /// What an attempt makes.
    type Connection;
    /// Why an attempt failed.
    type Error;
    /// One attempt. The driver owns it, and drops it when it takes too long.
    type Attempt;

    /// Begins an attempt.
    fn connect(&mut self) -> Self::Attempt;

    /// As [`connect`](Self::connect), with what the connector may like to know. The
    /// driver calls this one. By default it calls `connect`.
    #[inline]
    fn connect_with(&mut self, info: AttemptInfo<'_, Self::Error>) -> Self::Attempt {
        let _ = info;
        self.connect()
    }

    /// Whether [`connect_with`](Self::connect_with) wants the
    /// [last error](AttemptInfo::last_error), which the driver then keeps. False by
    /// default.
    #[inline]
    fn wants_last_error(&self) -> bool {
        false
    }

    /// The network of the device has changed: a
    /// [`Handle`](crate::Handle::network_changed) says so while there is no
    /// connection. What the connector knows about the old network may be wrong now.
    /// Does nothing by default.
    #[inline]
    fn network_changed(&mut self) {}

    /// Goes on with an attempt: as [`Future::poll`], with the connector beside
    /// the future.
    ///
    /// The attempt is the latest that [`connect`](Self::connect) returned. The
    /// driver does not poll it again after it was ready or has panicked.
    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Connection, Self::Error>>;
}

impl<F, Fut, T, E> Connect for F
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Connection = T;
    type Error = E;
    type Attempt = Fut;

    #[inline]
    fn connect(&mut self) -> Fut {
        self()
    }

    #[inline]
    fn poll_attempt(&mut self, attempt: Pin<&mut Fut>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        attempt.poll(cx)
    }
}

/// What a connector can know about the attempt that it begins; see
/// [`with_info`] and [`Connect::connect_with`].
#[derive(Clone, Copy, Debug)]
pub struct AttemptInfo<'a, E> {
    pub(super) number: u32,
    pub(super) last_error: Option<&'a E>,
}

impl<'a, E> AttemptInfo<'a, E> {
    /// The number of the attempt, counted from 1 in each outage.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The error of the attempt or of the connection before. `None` if there was
    /// none, if it was a timeout, or if the driver gave the error to the program, as
    /// a [`Session`](crate::Session) does in its `Down`.
    pub fn last_error(&self) -> Option<&'a E> {
        self.last_error
    }
}

/// A connector of a closure that is told about its attempt.
///
/// ```
/// # use tokio::net::TcpStream;
/// use redial::{AttemptInfo, Redial, tcp, with_info};
/// use std::io::{self, ErrorKind};
///
/// let dial = tcp::connect("chat.example:6667");
/// let redial = Redial::new(with_info(move |info: AttemptInfo<'_, io::Error>| {
///     // A server that refused the token gets a fresh one.
///     let refresh = info.last_error().map(io::Error::kind) == Some(ErrorKind::PermissionDenied);
///     let (number, tcp) = (info.number(), dial.dial());
///     async move {
///         println!("attempt {number}, fresh token: {refresh}");
///         // …
///         tcp.await
///     }
/// }));
/// ```
pub fn with_info<F, Fut, T, E>(connector: F) -> WithInfo<F, E>
where
    F: FnMut(AttemptInfo<'_, E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    WithInfo {
        connector,
        error: PhantomData,
    }
}

/// A connector that is told about its attempt: made by [`with_info`].
pub struct WithInfo<F, E> {
    connector: F,
    error: PhantomData<fn() -> E>,
}

impl<F, Fut, T, E> Connect for WithInfo<F, E>
where
    F: FnMut(AttemptInfo<'_, E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Connection = T;
    type Error = E;
    type Attempt = Fut;

    fn connect(&mut self) -> Fut {
        self.connect_with(AttemptInfo {
            number: 1,
            last_error: None,
        })
    }

    fn connect_with(&mut self, info: AttemptInfo<'_, E>) -> Fut {
        (self.connector)(info)
    }

    fn wants_last_error(&self) -> bool {
        true
    }

    fn poll_attempt(&mut self, attempt: Pin<&mut Fut>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        attempt.poll(cx)
    }
}

impl<F, E> fmt::Debug for WithInfo<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithInfo").finish_non_exhaustive()
    }
}
