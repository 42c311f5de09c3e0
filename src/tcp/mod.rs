//! A connector for TCP: one connection out of all addresses of a name.
//!
//! `TcpStream::connect(name)` tries the addresses of a name one after the other.
//! If the first one drops packets, the second one gets its turn when the kernel
//! gives up, after about 130 s on Linux. A driver ends the attempt long before,
//! so such a client never connects. [`connect`] races the addresses instead, as
//! RFC 8305 ("Happy Eyeballs") says.
//!
//! ```
//! # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
//! use redial::{Redial, tcp};
//!
//! let mut redial = Redial::new(tcp::connect("chat.example:6667"));
//! let stream = redial.ready().await?;
//! # Ok(()) }
//! ```
//!
//! If more than TCP belongs to an attempt, such as a login, add it by
//! [`then`](crate::Connect::then):
//!
//! ```
//! # use tokio::net::TcpStream;
//! # async fn log_in(stream: TcpStream) -> std::io::Result<TcpStream> { Ok(stream) }
//! use redial::{Connect, Redial, tcp};
//!
//! let dial = tcp::connect("chat.example:6667").nodelay(true);
//! let redial = Redial::new(dial.then(log_in));
//! ```
//!
//! Without a driver, `tcp::connect("chat.example:6667").await` dials once.
//!
//! # The race
//!
//! - Each address is tried once. IPv6 and IPv4 take turns, and the family of the
//!   resolver's first address begins.
//! - A new attempt starts 250 ms after the one before it. If an attempt fails, the
//!   next one starts at once, and the 250 ms begin anew.
//! - A new attempt does not end an older one. Only if nine would go on at once,
//!   the oldest is dropped.
//! - Each attempt has 5 s from its own start.
//! - The first connection wins. All other attempts are dropped before the dial
//!   returns it.
//! - The address that worked comes first in the next dial, until it fails once.
//!   Clones of a [`Dial`] share what they know.
//!
//! # How long it takes
//!
//! A dial ends after 12 s at the latest; see [`Dial::dial_timeout`]. A look-up has
//! 5 s, and eight attempts have 5 s and 7 times 250 ms: 11.75 s together. A dial
//! without an answer is [`Down`](crate::Cause::Down): it has cost the server nothing.
//!
//! A [`Dial`] as a connector, alone or followed by
//! [other steps](crate::Connect::then), tells the driver that it dials, and the
//! driver does not cut it short.
//!
//! # The look-up
//!
//! Addresses and IP literals need no look-up. A name is looked up by each dial, by
//! the system's resolver on a thread of tokio's blocking pool. That thread cannot
//! be stopped. So a dial that begins while a look-up of its name is running waits
//! for this one. There is never more than one thread for a name in the process,
//! even if the resolver does not answer. If an answer comes after its dial has
//! ended, the next dial within a minute takes it.
//!
//! Such a thread can delay the end of a program, because a runtime waits for its
//! threads when it is dropped. `Runtime::shutdown_background` does not wait.
//!
//! The blocking pool has 512 threads by default. A program with many clients to
//! many names should look up without threads, for example with the crate
//! `hickory-resolver`; see [`Dial::resolve_with`].
//!
//! # Several servers
//!
//! The addresses of a target are those of *one* server. They race, so a client may send
//! packets to several of them within a second, and the driver knows nothing of it. If a
//! client may use one of several *servers*, name them in [`Endpoints`](crate::Endpoints).
//! Then the driver judges the error of each server, and knows which of them asked it to
//! come back later. [`connect`] makes a connector of them; each server has a [`Dial`] of
//! its own, and its names are looked up anew by each dial:
//!
//! ```
//! # use tokio::net::TcpStream;
//! # async fn log_in(stream: TcpStream) -> std::io::Result<TcpStream> { Ok(stream) }
//! use redial::{Connect, Endpoints, Redial, tcp};
//!
//! let endpoints = Endpoints::new(["a.chat.example:6667", "b.chat.example:6667"]);
//! let redial = Redial::new(tcp::connect(endpoints).then(log_in));
//! ```
//!
//! For settings of the dials there is
//! [`Endpoints::connect_with`](crate::Endpoints::connect_with).
//!
//! # Errors
//!
//! The `io::Error` of a dial holds a [`DialError`], which lists each address with
//! its failure.

mod lookup;
mod memory;
mod order;
mod race;
mod settings;
mod several;
mod target;

#[cfg(test)]
mod situations;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use tokio::net::TcpStream;

use self::lookup::Resolver;
use self::memory::Memory;
use self::settings::Settings;
use self::target::Place;
use crate::clock::Stopwatch;
use crate::dial_error::Failure;
use crate::driver::Connect;
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::readable;
use crate::outage::AttemptPhase;

pub use self::several::IntoConnector;
pub use self::target::Target;
pub use crate::dial_error::DialError;

/// Dials a name and a port, or one of several addresses; or several servers.
///
/// [`Target`] lists all forms of a target:
///
/// ```
/// use redial::tcp;
/// use std::net::SocketAddr;
///
/// let name = tcp::connect("chat.example:6667");
/// let name = tcp::connect(("chat.example", 6667));
/// let address = tcp::connect(SocketAddr::from(([192, 0, 2, 1], 6667)));
/// let list = tcp::connect([
///     SocketAddr::from(([192, 0, 2, 1], 6667)),
///     SocketAddr::from(([192, 0, 2, 2], 6667)),
/// ]);
/// ```
///
/// Nothing happens before the dial is used: as a connector, by
/// [`Dial::dial`], or by `.await`.
///
/// Of [`Endpoints`](crate::Endpoints) it makes a connector of [several
/// servers](self#several-servers).
///
/// # Errors
///
/// This function takes each target. If the target makes no sense, each dial fails
/// with an error of the kind `InvalidInput`, which is a
/// [`Stop`](crate::Verdict::Stop).
pub fn connect<T: IntoConnector>(target: T) -> T::Connector {
    target.into_connector()
}

/// Dials a target, as often as needed. [`connect`] makes it.
///
/// It is a connector for [`Redial`](crate::Redial), and `.await` dials once. See
/// the [module](self) for what a dial does.
///
/// # Defaults
///
/// | | default |
/// |---|---|
/// | [`dial_timeout`](Self::dial_timeout) | 12 s |
/// | [`nodelay`](Self::nodelay) | the system's setting |
/// | [`keepalive`](Self::keepalive) | the system's setting |
/// | [`resolve_with`](Self::resolve_with) | the system's resolver |
///
/// # Clones
///
/// Clones share the address that last worked, and a look-up that is running. A
/// setting changes only the value that it is called on.
#[derive(Clone)]
pub struct Dial {
    target: Target,
    settings: Settings,
    resolver: Resolver,
    memory: Arc<Memory>,
}

impl Dial {
    fn new(target: Target) -> Self {
        Self {
            target,
            settings: Settings::new(),
            resolver: Resolver::System,
            memory: Arc::default(),
        }
    }

    /// Dials once. The future owns all that it needs, so a task can run it.
    ///
    /// # Errors
    ///
    /// If there is no connection to any address. The error holds a [`DialError`].
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside of a tokio runtime, or if the
    /// runtime has no I/O or no time.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, all its attempts are dropped with it, and it
    /// leaves no task. A look-up that is running goes on for the next dial.
    pub fn dial(&self) -> Dialing {
        let dial = self.clone();
        Dialing(Box::pin(async move {
            let settings = dial.settings;
            dial.run(|address| settings.connect(address)).await
        }))
    }

    /// Forgets the address that last worked. Call it if the server at that address
    /// accepts connections and then fails, or when the network has changed. A driver
    /// whose connector is this `Dial` calls it when a
    /// [`Handle`](crate::Handle::network_changed) says so.
    ///
    /// The answer of a look-up that no dial has taken yet is forgotten, too. A
    /// resolver of your [own](Self::resolve_with) is asked anew by the next dial,
    /// even if a look-up is still running. This applies to all clones.
    pub fn forget(&self) {
        self.memory.forget();
        if let Place::Name { host, .. } = &*self.target.0 {
            self.resolver.forget(host);
        }
    }

    /// Limits a whole dial, from the look-up to the connection: 12 s by default.
    /// `Duration::MAX` means no limit.
    ///
    /// A longer limit does not change the 5 s of a look-up or of one attempt. If the limit is too
    /// short for the race, the delay between attempts shrinks in proportion, to
    /// 100 ms at least. So the first address of each family starts, unless the
    /// look-up took all the time.
    ///
    /// A driver whose connector is this `Dial`, alone or [followed by other
    /// steps](Connect::then), does not cut it short. A dial inside of a closure is part
    /// of an attempt of unknown phases. There, stay below the driver's [attempt
    /// timeout](crate::Config::attempt_timeout), or the driver takes the failure for a
    /// stalled handshake.
    ///
    /// # Panics
    ///
    /// If `timeout` is less than 200 ms; [`try_dial_timeout`](Self::try_dial_timeout)
    /// does not.
    #[track_caller]
    pub fn dial_timeout(self, timeout: Duration) -> Self {
        expect(self.try_dial_timeout(timeout))
    }

    /// As [`dial_timeout`](Self::dial_timeout).
    ///
    /// # Errors
    ///
    /// If `timeout` is less than 200 ms: the second address starts after 100 ms,
    /// and needs time for its answer.
    pub fn try_dial_timeout(mut self, timeout: Duration) -> Result<Self, InvalidConfig> {
        self.settings.dial_timeout(timeout)?;
        Ok(self)
    }

    /// Sets `TCP_NODELAY`: `true` sends small packets at once. By default the
    /// system decides, and most systems wait to fill a packet.
    ///
    /// If the socket refuses it, the attempt fails.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.settings.nodelay(nodelay);
        self
    }

    /// Switches TCP's keep-alive on. The system then probes a connection that was
    /// silent for `idle`, again after each `interval`. After so many `probes`
    /// without an answer, the connection fails. By default the system decides, and
    /// most systems do not probe.
    ///
    /// Parts of a second are cut off.
    ///
    /// Keep-alive does not replace pings of your protocol. It does nothing while
    /// sent data waits for its acknowledgement, which can take a quarter of an
    /// hour on Linux. It says that a host is there, and not that its server
    /// answers.
    ///
    /// ```
    /// use redial::tcp;
    /// use std::time::Duration;
    ///
    /// // A silent peer is found dead after 30 s + 3 * 10 s.
    /// let dial = tcp::connect("chat.example:6667").keepalive(
    ///     Duration::from_secs(30),
    ///     Duration::from_secs(10),
    ///     3,
    /// );
    /// ```
    ///
    /// # Panics
    ///
    /// If a time is not from 1 s to 32 767 s, if `probes` is not from 1 to 127
    /// (the limits of Linux), or on a platform that cannot set all three, such as
    /// OpenBSD. [`try_keepalive`](Self::try_keepalive) does not.
    #[track_caller]
    pub fn keepalive(self, idle: Duration, interval: Duration, probes: u32) -> Self {
        expect(self.try_keepalive(idle, interval, probes))
    }

    /// As [`keepalive`](Self::keepalive).
    ///
    /// # Errors
    ///
    /// If a time is not from 1 s to 32 767 s, if `probes` is not from 1 to 127
    /// (the limits of Linux), or on a platform that cannot set all three, such as
    /// OpenBSD.
    pub fn try_keepalive(
        mut self,
        idle: Duration,
        interval: Duration,
        probes: u32,
    ) -> Result<Self, InvalidConfig> {
        self.settings.keepalive(idle, interval, probes)?;
        Ok(self)
    }

    /// Looks names up with a resolver of your own. It gets the host and the port,
    /// and returns the addresses, the best one first.
    ///
    /// A program with many clients should use one that needs no threads, such as
    /// the crate `hickory-resolver`. This one always has the same answer:
    ///
    /// ```
    /// use redial::tcp;
    /// use std::net::SocketAddr;
    ///
    /// let dial = tcp::connect("chat.example:6667").resolve_with(|_host, port| async move {
    ///     Ok([
    ///         SocketAddr::from(([192, 0, 2, 1], port)),
    ///         SocketAddr::from(([192, 0, 2, 2], port)),
    ///     ])
    /// });
    /// ```
    ///
    /// A look-up runs in a task of its own, which goes on if the dial is dropped.
    /// The next dial joins it, as it does with the system's resolver. So give each
    /// look-up a timeout of its own: one that never ends is joined until
    /// [`forget`](Self::forget). Addresses and IP literals are not looked up.
    ///
    /// # Errors
    ///
    /// For a name without an address, return an empty list or an error of the kind
    /// `NotFound`. [`DialError::is_no_address`] is true then.
    pub fn resolve_with<F, Answer, Addresses>(mut self, resolve: F) -> Self
    where
        F: Fn(String, u16) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = io::Result<Addresses>> + Send + 'static,
        Addresses: IntoIterator<Item = SocketAddr>,
    {
        self.resolver = Resolver::custom(move |host, port| {
            let answer = resolve(host, port);
            Box::pin(async move { Ok(answer.await?.into_iter().collect()) })
        });
        self
    }

    /// A whole dial. `start` makes the attempt to one address.
    async fn run<T, A>(self, start: impl FnMut(SocketAddr) -> A) -> io::Result<T>
    where
        A: Future<Output = io::Result<T>>,
    {
        let clock = Stopwatch::start();
        let limit = self.settings.dial_timeout;
        let failed = |failure| DialError::into_io(self.target.to_string(), failure);
        let known = self.memory.address();
        let addresses = match &*self.target.0 {
            Place::Nonsense { remedy, .. } => return Err(failed(Failure::Nonsense(remedy))),
            // A resolver of the program's own may know the port.
            Place::Name { port: 0, .. } if matches!(self.resolver, Resolver::System) => {
                return Err(failed(Failure::Nonsense(target::PORT_ZERO)));
            }
            Place::Addresses(addresses) => order::arrange(addresses.iter().copied(), known),
            Place::Name { host, port } => {
                let limit = limit.min(lookup::LIMIT);
                match self.resolver.find(host, *port, limit).await {
                    Ok(found) if found.is_empty() => return Err(failed(Failure::NoAddress(None))),
                    Ok(found) => order::arrange(found, known),
                    Err(error) if lookup::says_no_address(&error) => {
                        return Err(failed(Failure::NoAddress(Some(error))));
                    }
                    Err(error) => return Err(failed(Failure::LookUp(error))),
                }
            }
        };
        let left = limit.saturating_sub(clock.elapsed());
        let lost = |address| self.memory.failed(address);
        match race::race(addresses, left, start, lost).await {
            Ok((address, connection)) => {
                self.memory.worked(address);
                Ok(connection)
            }
            Err(failures) => Err(failed(Failure::Attempts(failures))),
        }
    }
}

/// The error of a look-up or of an attempt that took longer than this.
#[cold]
fn no_answer(time: Duration) -> io::Error {
    let text = alloc::format!("no answer in {:?}", readable(time));
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("target", &self.target)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Connect for Dial {
    type Connection = TcpStream;
    type Error = io::Error;
    type Attempt = Dialing;

    fn connect(&mut self) -> Dialing {
        self.dial()
    }

    /// [Forgets](Self::forget) the address that worked in the old network.
    fn network_changed(&mut self) {
        self.forget();
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Dialing>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<TcpStream>> {
        attempt.poll(cx)
    }

    fn phase(&self, _: &Dialing) -> AttemptPhase {
        AttemptPhase::Dialing
    }

    fn limits_its_dial(&self) -> bool {
        true
    }
}

impl IntoFuture for Dial {
    type Output = io::Result<TcpStream>;
    type IntoFuture = Dialing;

    fn into_future(self) -> Dialing {
        self.dial()
    }
}

/// One dial, which [`Dial::dial`] begins.
#[must_use = "a dial does nothing unless it is polled"]
pub struct Dialing(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>);

impl Future for Dialing {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialing").finish_non_exhaustive()
    }
}
