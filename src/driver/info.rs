//! What a connector can know about its attempt, and what its attempt can tell.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use std::sync::OnceLock;

use super::connect::Connect;
use crate::outage::AttemptPhase;

/// What a connector can know about the attempt that it begins; see
/// [`with_info`] and [`Connect::connect_with`].
#[derive(Clone, Copy, Debug)]
pub struct AttemptInfo<'a, E> {
    number: u32,
    kind: AttemptKind,
    last_error: Option<&'a E>,
    hint: Option<&'a str>,
    /// Where a connector of [`with_info`] keeps the mark of its attempt.
    mark: Option<&'a OnceLock<MarkEstablished>>,
    /// Another step follows this one.
    is_dial: bool,
}

impl<'a, E> AttemptInfo<'a, E> {
    #[inline]
    pub(crate) fn new(
        number: u32,
        kind: AttemptKind,
        last_error: Option<&'a E>,
        hint: Option<&'a str>,
    ) -> Self {
        Self {
            number,
            kind,
            last_error,
            hint,
            mark: None,
            is_dial: false,
        }
    }

    /// An attempt of which there is nothing else to know.
    #[inline]
    pub(crate) fn first(number: u32) -> Self {
        Self::new(number, AttemptKind::First, None, None)
    }

    /// The same for the dial of several steps, which has another type of error.
    pub(super) fn for_dial<F>(self) -> AttemptInfo<'a, F> {
        AttemptInfo {
            is_dial: true,
            ..AttemptInfo::new(self.number, self.kind, None, self.hint)
        }
    }

    /// Whether another step follows this one.
    pub(crate) fn is_dial(&self) -> bool {
        self.is_dial
    }

    /// What the attempt is for. After a renewal, for instance, a server may still have the
    /// subscriptions of the connection that is replaced.
    pub fn kind(&self) -> AttemptKind {
        self.kind
    }

    /// What the announcer of a renewal gave for this attempt, if it gave something; see
    /// [`Handle::renew_with_hint`](crate::Handle::renew_with_hint). No other attempt gets
    /// it.
    pub fn hint(&self) -> Option<&'a str> {
        self.hint
    }

    /// The number of the attempt, counted from 1 in each outage. Attempts of
    /// [renewals](AttemptKind::Renewal) are counted apart from them, from 1 since the last
    /// one that led to a stable connection.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The error of the attempt or of the connection before. `None` if there was
    /// none, if it was a timeout, or if the driver gave the error to the program, as
    /// a [`Session`](crate::Session) does in its `Down`. Also `None` in a connector that
    /// [other steps](Connect::then) follow, because the error is one of the whole; and in
    /// one of several [`Endpoints`](crate::Endpoints).
    pub fn last_error(&self) -> Option<&'a E> {
        self.last_error
    }

    /// A mark with which the attempt tells when its transport is established.
    ///
    /// From here on the attempt counts as dialing, until the mark is
    /// [set](MarkEstablished::set): so a dial that takes longer than
    /// [`dial_timeout`](crate::Config::dial_timeout) has failed. Ask for the mark
    /// before the attempt's first await, that is outside of its `async` block. If the
    /// steps can be told apart from outside, [`then`](Connect::then) is simpler.
    ///
    /// In an info that does not come from [`with_info`] the mark has no effect.
    ///
    /// ```
    /// # use tokio::net::TcpStream;
    /// # async fn log_in(tcp: TcpStream) -> std::io::Result<TcpStream> { Ok(tcp) }
    /// use redial::{Redial, with_info};
    ///
    /// let redial = Redial::new(with_info(|info| {
    ///     let established = info.mark();
    ///     async move {
    ///         let tcp = TcpStream::connect("chat.example:6667").await?;
    ///         established.set();
    ///         log_in(tcp).await
    ///     }
    /// }));
    /// ```
    pub fn mark(&self) -> MarkEstablished {
        match self.mark {
            Some(mark) => mark.get_or_init(MarkEstablished::default).clone(),
            None => MarkEstablished::default(),
        }
    }
}

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptKind {
    /// The first connect, or another try of it. Also the first one after a
    /// [suspension](crate::Handle::suspend).
    First,
    /// The connection was lost, or was closed because the server
    /// [allows one at a time](crate::Redial::one_at_a_time). Also if the driver has given
    /// up since.
    AfterLoss,
    /// A connection is up, and this one is to take its place; see
    /// [`Redial::max_age`](crate::Redial::max_age).
    Renewal,
}

/// Tells the driver that the transport of an attempt is established; see
/// [`AttemptInfo::mark`]. Clones belong to the same attempt.
#[derive(Clone, Debug, Default)]
pub struct MarkEstablished(Arc<AtomicBool>);

impl MarkEstablished {
    /// The transport is established. The driver sees it after the poll of the attempt
    /// in which it was set.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
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
        mark: OnceLock::new(),
        error: PhantomData,
    }
}

/// A connector that is told about its attempt: made by [`with_info`].
pub struct WithInfo<F, E> {
    connector: F,
    /// The mark of the present attempt, if it asked for one.
    mark: OnceLock<MarkEstablished>,
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
        self.connect_with(AttemptInfo::first(1))
    }

    fn connect_with(&mut self, info: AttemptInfo<'_, E>) -> Fut {
        self.mark = OnceLock::new();
        (self.connector)(AttemptInfo {
            mark: Some(&self.mark),
            ..info
        })
    }

    fn wants_last_error(&self) -> bool {
        true
    }

    fn poll_attempt(&mut self, attempt: Pin<&mut Fut>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        attempt.poll(cx)
    }

    fn phase(&self, _: &Fut) -> AttemptPhase {
        match self.mark.get() {
            None => AttemptPhase::Unknown,
            Some(mark) if mark.0.load(Ordering::Relaxed) => AttemptPhase::Established,
            Some(_) => AttemptPhase::Dialing,
        }
    }
}

impl<F, E> fmt::Debug for WithInfo<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithInfo").finish_non_exhaustive()
    }
}
