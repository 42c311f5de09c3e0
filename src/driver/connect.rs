//! How an attempt is made.

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
