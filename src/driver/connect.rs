//! How an attempt is made.

use core::pin::Pin;
use core::task::{Context, Poll};

use super::info::AttemptInfo;
use super::servers::Servers;
use super::then::Then;
use crate::outage::AttemptPhase;

/// Makes connections.
///
/// The driver calls [`connect`](Self::connect) once for each attempt, so each
/// attempt can use fresh credentials. An attempt has succeeded when its
/// connection can be *used*. So a login, a handshake and joining a channel
/// belong in the attempt.
///
/// # A dial, and what follows it
///
/// Most attempts begin with a dial. [`then`](Self::then) adds the rest, and so tells
/// the driver which is which:
///
/// ```
/// # use tokio::net::TcpStream;
/// # async fn log_in(tcp: TcpStream) -> std::io::Result<TcpStream> { Ok(tcp) }
/// use redial::{Connect, Redial, tcp};
///
/// let redial = Redial::new(tcp::connect("chat.example:6667").then(log_in));
/// ```
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
/// The driver cannot see when its dial ends, unless the closure
/// [says so](crate::AttemptInfo::mark). A closure can keep what differs from one attempt
/// to the next. [`Endpoints`](crate::Endpoints) makes a connector of several servers.
///
/// The future that a closure returns must own what it uses, so an
/// `async move |tcp| …` with captures does not compile. Clone what each attempt needs:
///
/// ```
/// # use tokio::net::TcpStream;
/// # async fn log_in(tcp: TcpStream, _: &str) -> std::io::Result<TcpStream> { Ok(tcp) }
/// use redial::{Connect, Redial, tcp};
/// use std::sync::Arc;
///
/// let token: Arc<str> = "secret".into();
/// let redial = Redial::new(tcp::connect("chat.example:6667").then(move |tcp| {
///     let token = token.clone();
///     async move { log_in(tcp, &token).await }
/// }));
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
/// [`with_info`](crate::with_info) makes a connector of a closure that is told the number of its
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
    /// driver does not poll it again after it was ready or has panicked, unless the
    /// connector has [several servers](Self::servers).
    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Connection, Self::Error>>;

    /// How far an attempt is. The driver asks after each poll that was pending
    /// ([`Endpoints`](crate::Endpoints) ask also after one that was ready), and sets the
    /// deadline of the attempt anew when it enters a later phase. An attempt does not go
    /// back: if an established one dials once more, perhaps at another address, it still
    /// counts as established. Only if it goes on with another of
    /// [several servers](Self::servers), its phases begin anew. By default the phase is
    /// [`Unknown`](AttemptPhase::Unknown).
    #[inline]
    fn phase(&self, attempt: &Self::Attempt) -> AttemptPhase {
        let _ = attempt;
        AttemptPhase::Unknown
    }

    /// Whether the connector limits its dial by itself, so that the driver's
    /// [`dial_timeout`](crate::Config::dial_timeout) does not apply. False by default.
    #[inline]
    fn limits_its_dial(&self) -> bool {
        false
    }

    /// The servers of the connector, if it has several; see
    /// [`Endpoints`](crate::Endpoints). `None` by default.
    ///
    /// A connector that wraps another should return what that returns. The driver then
    /// polls an attempt again after an error, if that was the error of one server and
    /// another one is to be tried.
    #[inline]
    fn servers(&mut self) -> Option<Servers<'_>> {
        None
    }

    /// A connector of two steps: this connector dials, and `next` makes of each
    /// transport what can be used: a login, TLS, a subscription.
    ///
    /// The driver then knows the phases of an attempt. A dial that takes too long is
    /// [`Cause::Down`](crate::Cause::Down), as the server has seen nothing of it. From
    /// the end of the dial on, an attempt has time anew, and more of it: a client that
    /// is in the server's queue does best to stay there. After a silent quarter of an
    /// hour, half of such clients are back within 12 s, and of those that cannot tell
    /// the phases within 45 s.
    ///
    /// ```
    /// # use tokio::net::TcpStream;
    /// # async fn log_in(tcp: TcpStream) -> std::io::Result<TcpStream> { Ok(tcp) }
    /// use redial::{Connect, Redial, tcp};
    ///
    /// let redial = Redial::new(tcp::connect("chat.example:6667").then(log_in));
    ///
    /// // Any connector can come first, also a closure.
    /// let dial = || TcpStream::connect("chat.example:6667");
    /// let redial = Redial::new(dial.then(async |tcp| log_in(tcp).await));
    /// ```
    ///
    /// Steps nest: in `dial.then(tls).then(log_in)` the dial is the first step. The
    /// error of the whole is that of `next`, and that of the dial is converted to it.
    ///
    /// Do not use it for a dial that ends before the server knows of the client, such
    /// as one to a balancer or a proxy that accepts and then keeps silent. If the server
    /// speaks first, as in SMTP, a lower
    /// [`attempt_timeout`](crate::Config::attempt_timeout) may be better: a kernel whose
    /// listen queue overflows can forget a client that says nothing.
    fn then<L, Fut, T, E>(self, next: L) -> Then<Self, L>
    where
        Self: Sized,
        L: FnMut(Self::Connection) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Self::Error>,
    {
        Then::new(self, next)
    }
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
