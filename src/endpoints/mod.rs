//! Several servers of which one is enough.
//!
//! [`list`] has the list that a program may replace, [`connector`] the attempts at its
//! servers, and `connector/told.rs` its talk with the driver. Which server is tried when is
//! decided in `roster`.

mod connector;
mod list;

use core::fmt;

use alloc::sync::Arc;
use alloc::vec::Vec;

use self::list::List;
use crate::driver::Connect;
use crate::invalid::{InvalidConfig, expect};

pub use self::connector::{EndpointsConnector, Round};

/// Several servers of which one is enough: a list, which can be replaced while it is in
/// use.
///
/// [`tcp::connect`](crate::tcp::connect) makes a connector of it, and
/// [`connect_with`](Self::connect_with) does so for any protocol:
///
/// ```
/// # use tokio::net::TcpStream;
/// # async fn log_in(tcp: TcpStream) -> std::io::Result<TcpStream> { Ok(tcp) }
/// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
/// use redial::{Connect, Endpoints, Redial, tcp};
///
/// let endpoints = Endpoints::new(["a.chat.example:6667", "b.chat.example:6667"]);
/// let connector = endpoints.connect_with(|server| tcp::connect(*server).then(log_in));
/// let mut redial = Redial::new(connector);
/// let stream = redial.ready().await?;
/// # Ok(()) }
/// ```
///
/// Write the login inside of the closure, as above. If it follows the connector of the
/// whole list, as in `tcp::connect(endpoints).then(log_in)`, an error of the login goes on
/// to the next server, too; but no other server is dialled beside it any more, and
/// [`replace`](Self::replace) does not end it.
///
/// A server is whatever the closure understands: a name, an address, a URL. Several
/// addresses of *one* server are no list of this kind: [`tcp::connect`](crate::tcp::connect)
/// races those.
///
/// # Which server is tried when
///
/// One attempt of the driver is a round over the servers, in an order of this client's
/// own.
///
/// - **If a server is [`Down`](crate::Cause::Down), the next one is tried at once**, until
///   each was tried once. Then the attempt has failed, and the policy's wait follows. So no
///   server sees more than one attempt of a client in one of the policy's waits, unless
///   [`renew_now`](crate::Handle::renew_now) asks for one.
/// - **If a server is silent for a second while it is dialled, the next one is dialled
///   beside it.** Both go on. The first connection wins, and the others are dropped in the
///   same poll. So if four of five servers are silent, a client is connected after four
///   seconds at most.
/// - **After [`Busy`](crate::Cause::Busy), [`Stalled`](crate::Cause::Stalled) or a hint the
///   client waits** as the policy says, and then tries the next server.
/// - **A hint binds the server that gave it**, until its time is over. The others are tried
///   in the meantime. If all servers are bound, the client waits for the first of them, as
///   if there was no other server.
/// - **A server that [cannot serve the client](crate::codes::Advice::is_elsewhere) while
///   another can** does not end the round, and does not count if others fail, too. It is
///   the last for 30 s, or for one round if that is longer. Only
///   [`advise`](crate::Redial::advise) can say so.
/// - **A connection is kept**, also if another server may be better.
/// - **After a connection that its server ended** that server is the last of the round. If
///   this side ended it (it [reconnects](crate::Handle::reconnect), was
///   [suspended](crate::Handle::suspend), slept, or changed its
///   [network](crate::Handle::network_changed)), its server is the first, if the connection
///   was up for [`stable_after`](crate::Config::stable_after).
/// - **Each client has its own order**, drawn from its [seed](crate::Redial::seed). So the
///   clients of a server that is lost spread evenly over the others.
/// - **Only [`replace`](Self::replace) removes a server**, however often it fails.
///
/// A round after `Down` needs no spread: each server sees exactly the arrivals of a fleet
/// that has one server. In a simulation of 20 000 clients on five servers of which one
/// refuses, half of its clients are back after 1.0 s, and after 2.0 s with the policy's wait
/// between two servers. If four of five are silent, it is 3 s instead of 20 s.
///
/// # Silence
///
/// The second of silence, and [`dial_timeout`](crate::Config::dial_timeout), apply to each
/// server while its attempt [dials](crate::AttemptPhase::Dialing); the look-up of a name is
/// part of that. [`tcp::connect`](crate::tcp::connect) limits its dials by itself, to
/// [12 s](crate::tcp::Dial::dial_timeout). A connector whose
/// attempts have an [unknown](crate::AttemptPhase::Unknown) phase, such as a closure, may be
/// in a server's queue already, and a client must not queue at several servers. So the next
/// server is not tried before such an attempt has ended, after 13 s if nobody answers. Use
/// [`tcp::connect`](crate::tcp::connect), [`then`](Connect::then) or
/// [`AttemptInfo::mark`](crate::AttemptInfo::mark) to tell the phases. If a step follows the
/// connector of the whole list, attempts of an unknown phase count as dials.
///
/// The attempt as a whole is [established](crate::AttemptPhase::Established) when that at
/// one server is. From then on it has
/// [`attempt_timeout`](crate::Config::attempt_timeout), and no other server is dialled
/// unless this one fails.
///
/// # Attempts and errors
///
/// The driver counts rounds: `max_attempts(3)` is three times over the list, and a
/// [budget](crate::Redial::budget) is paid once for each round. An
/// [`Event`](crate::Event) names each server that is tried or fails, by its place in the
/// list. The error of a round is that of the server that got farthest.
///
/// # Clones
///
/// Clones are the same list. Several drivers may have connectors of one list. Each has its
/// own order, and remembers for itself what the servers did.
pub struct Endpoints<S>(Arc<List<S>>);

impl<S: PartialEq + fmt::Debug> Endpoints<S> {
    /// A list of servers. Its order does not matter.
    ///
    /// # Panics
    ///
    /// If the list is empty, or if a server is on it twice; [`try_new`](Self::try_new)
    /// does not.
    #[track_caller]
    pub fn new(servers: impl IntoIterator<Item = S>) -> Self {
        expect(Self::try_new(servers))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If the list is empty, or if a server is on it twice: it would get two attempts in a
    /// round.
    pub fn try_new(servers: impl IntoIterator<Item = S>) -> Result<Self, InvalidConfig> {
        let servers = checked(servers.into_iter().collect())?;
        Ok(Self(Arc::new(List::new(servers))))
    }

    /// Replaces the list: when a service discovery or DNS has another one.
    ///
    /// A server on both lists keeps its place in the client's order, and what the client
    /// knows about it. A connection that is up stays, also if its server is not on the list
    /// any more. An attempt at such a server is dropped and does not count as a failure; the
    /// round goes on with the others. A wait that goes on is not shortened;
    /// [`retry_now`](crate::Handle::retry_now) does that.
    ///
    /// # Errors
    ///
    /// As [`try_new`](Self::try_new). Then the list stays as it was.
    pub fn replace(&self, servers: impl IntoIterator<Item = S>) -> Result<(), InvalidConfig> {
        let servers = checked(servers.into_iter().collect())?;
        self.0.replace(servers);
        Ok(())
    }
}

impl<S> Endpoints<S> {
    /// The servers as they are now. An [`Event`](crate::Event) names their places in this
    /// list.
    pub fn servers(&self) -> Arc<[S]> {
        self.0.look().1
    }

    /// A connector of this list. `make` is called once for each server, and returns a
    /// connector that makes all attempts at it.
    ///
    /// Any connector will do. If it is a closure, the phases of its attempts are unknown;
    /// see [above](Self#silence):
    ///
    /// ```
    /// use redial::{Endpoints, Redial};
    /// use tokio::net::TcpStream;
    ///
    /// let endpoints = Endpoints::new(["a.chat.example:6667", "b.chat.example:6667"]);
    /// let redial = Redial::new(endpoints.connect_with(|&server| {
    ///     move || async move { TcpStream::connect(server).await }
    /// }));
    ///
    /// // Elsewhere in the program:
    /// endpoints.replace(["b.chat.example:6667", "c.chat.example:6667"])?;
    /// # Ok::<(), redial::InvalidConfig>(())
    /// ```
    ///
    /// Each dial of [`tcp::connect`](crate::tcp::connect) looks its name up anew.
    pub fn connect_with<C, F>(&self, make: F) -> EndpointsConnector<S, C, F>
    where
        F: FnMut(&S) -> C,
        C: Connect,
    {
        EndpointsConnector::new(self.0.clone(), make)
    }
}

/// The list, if it can be used.
fn checked<S: PartialEq + fmt::Debug>(servers: Vec<S>) -> Result<Vec<S>, InvalidConfig> {
    let mut before = servers.iter().enumerate();
    let twice = before.find(|&(place, server)| servers[..place].contains(server));
    if let Some((_, server)) = twice {
        return Err(InvalidConfig::new(
            "endpoints",
            alloc::format!("a list with {server:?} twice"),
            "name each server once, or it gets two attempts in a round",
        ));
    }
    if servers.is_empty() {
        return Err(InvalidConfig::new(
            "endpoints",
            "an empty list",
            "give it one server at least",
        ));
    }
    Ok(servers)
}

impl<S> Clone for Endpoints<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Endpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoints").field(&self.servers()).finish()
    }
}
