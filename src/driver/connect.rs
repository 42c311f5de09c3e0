//! Any connection factory.

/// Makes a connection, each time anew.
///
/// An attempt has succeeded when the connection can be *used*: a login, a
/// handshake, joining a channel belong in here. The connector is called once
/// for each attempt, so it can fetch fresh credentials each time.
///
/// A closure that returns a future is a connector:
///
/// ```
/// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
/// use redial::Redial;
/// use tokio::net::TcpStream;
///
/// let mut redial = Redial::new(|| TcpStream::connect("chat.example:6667"));
/// let stream = redial.ready().await?;
/// # Ok(()) }
/// ```
///
/// What is to differ between attempts, a closure keeps itself. It can rotate
/// over endpoints, for instance:
///
/// ```
/// # use redial::Redial;
/// # use tokio::net::TcpStream;
/// let mut hosts = ["a.example:6667", "b.example:6667"].into_iter().cycle();
/// let redial = Redial::new(move || TcpStream::connect(hosts.next().expect("a cycle")));
/// ```
pub trait Connect {
    /// What an attempt makes.
    type Connection;
    /// Why an attempt failed.
    type Error;
    /// One attempt.
    type Future: Future<Output = Result<Self::Connection, Self::Error>>;

    /// Begins an attempt.
    fn connect(&mut self) -> Self::Future;
}

impl<F, Fut, T, E> Connect for F
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Connection = T;
    type Error = E;
    type Future = Fut;

    fn connect(&mut self) -> Fut {
        self()
    }
}
