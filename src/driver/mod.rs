//! The driver: one connection, kept up.

mod budget;
mod builder;
mod connect;
mod error;
mod event;
mod extras;
mod flight;
mod future;
mod nap;
mod phases;
mod run;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use flight::Flight;
use phases::{Controls, Core, Over, Phase};

use crate::clock::Timers;
use crate::control::{Control, Handle};
use crate::outage::{Outage, SavedOutage};
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::Verdict;

pub use connect::Connect;
pub use error::Error;
pub use event::Event;
pub use future::{Connecting, Ready};

/// Keeps one connection up: connects, waits and connects again, as the policy
/// and the errors have it.
///
/// | | default |
/// |---|---|
/// | [`policy`](Self::policy) | [`Stratified::default()`] |
/// | [`attempt_timeout`](Self::attempt_timeout) | 13 s |
/// | [`patience`](Self::patience) | 120 s |
/// | [`stable_after`](Self::stable_after) | 10 s |
/// | [`max_attempts`](Self::max_attempts), [`max_elapsed`](Self::max_elapsed) | without limit |
/// | [`classify`](Self::classify) | by the kind of `io::Error`, see [`Verdict`] |
/// | [`budget`](Self::budget) | none |
/// | [`seed`](Self::seed) | fresh entropy |
///
/// The first connect is immediate. Every reconnect is spread, the first one
/// too: everybody else lost the server in the same instant.
///
/// Three ways to use it:
///
/// - [`ready`](Self::ready) lends the connection, and [`lost`](Self::lost) says
///   that it is gone;
/// - [`connect`](Self::connect) hands it over, and being asked again says so;
/// - [`run`](Self::run) runs a session on each connection.
///
/// ```
/// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
/// use redial::Redial;
/// use std::time::Duration;
/// use tokio::io::AsyncWriteExt;
/// use tokio::net::TcpStream;
///
/// let mut redial = Redial::new(|| TcpStream::connect("chat.example:6667"));
/// loop {
///     let stream = redial.ready().await?;
///     if stream.write_all(b"PING :are you there\r\n").await.is_err() {
///         redial.lost();
///     }
///     tokio::time::sleep(Duration::from_secs(30)).await;
/// }
/// # }
/// ```
///
/// Nothing happens unless it is polled, and no task is spawned. All that
/// [`ready`](Self::ready) needs is in here: to drop its future loses neither
/// the attempt in flight nor the place in the wait.
///
/// Where a device slept through a wait of more than fifteen seconds, which the
/// monotonic clocks of Linux and macOS do not see, the wait ends soon after
/// waking; see [`wall_clock`](Self::wall_clock).
///
/// Waits and timeouts need a tokio runtime with its time driver. A connector
/// that is ready at once needs none.
pub struct Redial<C: Connect, P: Policy = Stratified> {
    connector: C,
    /// Present while the connection is up, unless it was handed over.
    pub(crate) connection: Option<C::Connection>,
    /// That of `ready()`. Boxed, once for the life of the driver, so that it
    /// stays when the future that polls it is dropped.
    flight: Option<Pin<Box<Flight<C::Attempt>>>>,
    core: Core<C::Error, P>,
}

impl<C: Connect> Redial<C>
where
    C::Error: 'static,
{
    /// A driver with the defaults, which has not connected yet.
    pub fn new(connector: C) -> Self {
        Self {
            connector,
            connection: None,
            flight: None,
            core: Core {
                phase: Phase::Due,
                outage: Outage::new(Stratified::default()),
                timers: Timers::none(),
                watch: None,
                last: None,
                judge: Verdict::on,
                extras: None,
                control: Controls::default(),
            },
        }
    }
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A handle to look on, retry now, pause and close, from anywhere.
    pub fn handle(&self) -> Handle {
        let control = self.core.control.0.get_or_init(|| {
            let control = Control::new(self.core.status());
            if let Phase::Closed = self.core.phase {
                control.finish();
            }
            Arc::new(control)
        });
        Handle::new(control.clone())
    }

    /// The present outage, to be carried over a restart of the program; none
    /// where none goes on.
    ///
    /// ```
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use redial::Redial;
    /// use std::time::Duration;
    /// use tokio::net::TcpStream;
    ///
    /// let connector = || TcpStream::connect("127.0.0.1:1");
    /// let mut redial = Redial::new(connector);
    /// let _ = tokio::time::timeout(Duration::from_secs(3), redial.ready()).await;
    /// let saved = redial.save().expect("nobody listens there");
    ///
    /// // Written down with the feature `serde`, and read 200 ms later.
    /// let redial = Redial::new(connector).restore(&saved, Duration::from_millis(200));
    /// # Ok(()) }
    /// ```
    pub fn save(&self) -> Option<SavedOutage> {
        self.core.save()
    }

    /// The connection, as soon as there is one.
    ///
    /// While one is up this is immediate. When it is found to be dead, say so
    /// by [`lost`](Self::lost), or the next call lends it again.
    ///
    /// # Errors
    ///
    /// If the outage has reached a limit, an error was judged to be
    /// [`Verdict::Stop`], or the driver was [closed](Handle::close).
    ///
    /// # Panics
    ///
    /// Where it must wait outside of a tokio runtime with a time driver.
    ///
    /// # Cancel safety
    ///
    /// To drop the future loses nothing: the attempt in flight and the place
    /// in the wait stay, and the next call goes on with them. They do not move
    /// in the meantime, except that time passes.
    pub fn ready(&mut self) -> Ready<'_, C, P> {
        Ready {
            redial: Some(self),
            waits: false,
        }
    }

    /// As [`ready`](Self::ready), for hand-written futures.
    ///
    /// A wait is timed by the runtime that it began in, which must go on; where
    /// it does not, a call of [`ready`](Self::ready) or
    /// [`connect`](Self::connect) begins anew in another.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Panics
    ///
    /// Where it must wait outside of a tokio runtime with a time driver.
    #[inline]
    pub fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<&mut C::Connection, Error<C::Error>>> {
        if !self.is_plainly_up() {
            ready!(self.poll_connection(cx))?;
        }
        Poll::Ready(Ok(self.connection.as_mut().expect("checked above")))
    }

    /// A timer belongs to the runtime that it was made in. So each future that
    /// asks makes its own, lest a driver that was moved wait for the clock of a
    /// runtime that is no longer driven.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.as_mut().disarm();
        }
    }

    /// The connection if it is up and was not handed over, without waiting.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.connection.as_mut()
    }

    /// There is a connection, and no handle that could have closed it.
    #[inline]
    fn is_plainly_up(&self) -> bool {
        self.connection.is_some() && self.core.control.0.get().is_none()
    }

    /// The slow path of [`poll_ready`](Self::poll_ready).
    #[cold]
    pub(crate) fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error<C::Error>>> {
        if self.core.is_closed() {
            self.connection = None;
        } else if self.connection.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flight = self.flight.get_or_insert_with(|| Box::pin(Flight::none()));
        let connection = match ready!(self.core.poll(&mut self.connector, flight.as_mut(), cx)) {
            Ok(connection) => connection,
            Err(over) => return Poll::Ready(Err(self.core.error(over))),
        };
        // A connection that is lent is asked for its age by handles made later.
        self.core.note_since();
        self.connection = Some(connection);
        Poll::Ready(Ok(()))
    }

    /// For [`connect`](Self::connect), where [`ready`](Self::ready) was called
    /// before: what that has lent, or has begun to make, is not made again.
    #[inline(never)]
    fn poll_taking_over(
        &mut self,
        waits: &mut bool,
        own: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>> {
        if !mem::replace(waits, true) {
            self.disarm();
        }
        match self.connection.take() {
            Some(connection) if !self.core.is_closed() => return Poll::Ready(Ok(connection)),
            _ => {}
        }
        let flight = match &mut self.flight {
            Some(begun) if begun.attempt.is_some() => begun.as_mut(),
            Some(begun) => {
                begun.as_mut().disarm();
                own
            }
            None => own,
        };
        self.core.poll(&mut self.connector, flight, cx)
    }

    /// The connection is gone: the next [`ready`](Self::ready) waits, and makes
    /// a new one. Nothing happens where there was none.
    ///
    /// For an end in good order there is [`ended`](Self::ended), and for one
    /// with an error that says more, [`lost_to`](Self::lost_to).
    pub fn lost(&mut self) {
        self.lose(Verdict::default(), None);
    }

    /// The connection is gone, with an error that [`classify`](Self::classify)
    /// is to judge: the server may have said when to come back, or never to.
    /// Nothing happens where there was none.
    pub fn lost_to(&mut self, error: C::Error) {
        if let Phase::Up { .. } = self.core.phase {
            let verdict = self.judge(&error);
            self.lose(verdict, Some(&error));
            self.keep(error);
        }
    }

    pub(crate) fn judge(&mut self, error: &C::Error) -> Verdict {
        self.core.judge(error)
    }

    pub(crate) fn has_handle(&self) -> bool {
        self.core.control().is_some()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Has `waker` woken when a handle closes the driver, and tells whether one
    /// has already.
    pub(crate) fn await_close(&self, waker: &Waker) -> bool {
        self.core.commands(&Context::from_waker(waker)).closed
    }

    /// Drops connection and attempt, and is not asked again.
    pub(crate) fn close(&mut self) {
        self.connection = None;
        self.flight = None;
        self.core.close();
    }

    /// The server closed the connection in good order; see [`Outage::ended`].
    pub fn ended(&mut self) {
        self.lose(Verdict::Retry(Cause::Busy), None);
    }

    pub(crate) fn lose(&mut self, verdict: Verdict, error: Option<&C::Error>) {
        self.connection = None;
        if let Phase::Up { .. } = self.core.phase {
            self.core.lost(verdict, error);
        }
    }

    /// Keeps the error of a loss to be told, if no connection follows it.
    pub(crate) fn keep(&mut self, error: C::Error) {
        if let Phase::GivingUp(_) = self.core.phase {
            self.core.last = Some(error);
        }
    }

    /// One connection, handed over.
    ///
    /// To ask for another says that this one is gone, so the attempt is spread
    /// as after any loss. One that [`ready`](Self::ready) had lent is handed
    /// over as it is. Call [`lost`](Self::lost) when it dies, if there is time
    /// in between: it is taken to have been up until then.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Panics
    ///
    /// Where it must wait outside of a tokio runtime with a time driver.
    ///
    /// # Cancel safety
    ///
    /// To drop the future drops the attempt in flight, if it has one: it
    /// counts as one that stalled. The place in a wait stays. Where attempts
    /// must outlive the future, use [`ready`](Self::ready).
    #[inline]
    pub fn connect(&mut self) -> Connecting<'_, C, P> {
        Connecting {
            redial: Some(self),
            waits: false,
            flight: Flight::none(),
        }
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Redial<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial")
            .field("phase", &self.core.phase)
            .field("outage", &self.core.outage)
            .finish_non_exhaustive()
    }
}
