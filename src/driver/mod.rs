//! The driver: one connection, kept up.

mod connect;
mod error;
mod event;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::ops::ControlFlow;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::sync::OnceLock;

use pin_project_lite::pin_project;

use crate::bucket::TokenBucket;
use crate::clock::{self, Instant, Sleep, WallTime};
use crate::control::{Commands, Control, Handle, Status};
use crate::invalid::expect;
use crate::nanos::scale;
use crate::outage::{Next, Outage, Reason, SavedOutage};
use crate::policy::{Cause, Policy, Stratified};
use crate::verdict::Verdict;

pub use connect::Connect;
pub use error::Error;
pub use event::Event;

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
    flight: Option<Pin<Box<Flight<C::Future>>>>,
    core: Core<C::Error, P>,
}

pin_project! {
    /// What a driver has under way, and must be pinned.
    struct Flight<F> {
        #[pin]
        attempt: Option<F>,
        // Of the present attempt, or the present wait. Only a poll sets it:
        // whoever says that the connection is lost may be outside of the
        // runtime.
        #[pin]
        timer: Sleep,
    }
}

impl<F> Flight<F> {
    const fn none() -> Self {
        Self {
            attempt: None,
            timer: Sleep::unset(),
        }
    }

    fn begin(self: Pin<&mut Self>, attempt: F) {
        self.project().attempt.set(Some(attempt));
    }

    /// Drops the attempt, if there is one.
    fn end(self: Pin<&mut Self>) {
        self.project().attempt.set(None);
    }

    /// Drops the timer: what is waited for has come, or whoever asks may do so
    /// in another runtime.
    fn disarm(self: Pin<&mut Self>) {
        self.project().timer.set(Sleep::unset());
    }

    /// Until the deadline of the present phase.
    fn poll_timer(self: Pin<&mut Self>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.project().timer.poll_until(deadline, cx)
    }
}

/// All but the connector and what it makes.
struct Core<E, P: Policy> {
    phase: Phase,
    outage: Outage<P>,
    /// The zero of the outage machine's clock.
    origin: Option<Instant>,
    /// The part of a long wait that goes on.
    nap: Option<Nap>,
    /// The error that `GaveUp` is to tell.
    last: Option<E>,
    /// Judges errors where the extras have nobody for it.
    judge: fn(&E) -> Verdict,
    extras: Option<Box<Extras<E>>>,
    control: Controls,
}

/// The bucket that reconnects are paid from.
#[derive(Default)]
struct Budget {
    bucket: Option<TokenBucket>,
    /// When the token is due that was taken for an attempt still waited for.
    due: Option<Instant>,
}

impl Budget {
    /// When there is a token to spend, where that is not now.
    fn reserve(&mut self) -> Option<Instant> {
        let wait = self.bucket.as_ref().map(TokenBucket::reserve)?;
        self.due = (!wait.is_zero()).then(|| Instant::now().after(wait));
        self.due
    }

    fn spend(&mut self) {
        self.due = None;
    }

    /// Gives the token back, unless the bucket could have filled up since:
    /// then it has been earned anew.
    fn refund(&mut self) {
        if let (Some(due), Some(bucket)) = (self.due.take(), &self.bucket) {
            if Instant::now() < due.after(bucket.fills_within()) {
                bucket.give_back();
            }
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.refund();
    }
}

/// What the handles share, once there is one.
#[derive(Default)]
struct Controls(OnceLock<Arc<Control>>);

impl Drop for Controls {
    fn drop(&mut self) {
        if let Some(control) = self.0.get() {
            control.finish();
        }
    }
}

/// What a driver has only where it was asked for: a fleet of those that have
/// none is smaller.
struct Extras<E> {
    budget: Budget,
    classify: Option<Classifier<E>>,
    wall_clock: Option<Box<dyn FnMut() -> WallTime + Send>>,
    observe: Option<Observer<E>>,
}

impl<E> Default for Extras<E> {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            classify: None,
            wall_clock: None,
            observe: None,
        }
    }
}

type Classifier<E> = Box<dyn FnMut(&E) -> Verdict + Send>;
type Observer<E> = Box<dyn FnMut(&Event<'_, E>) + Send>;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The next attempt is due.
    Due,
    /// What is left of a wait that was carried over a restart, before a poll
    /// has set its timer.
    Restored(Next),
    /// An attempt is in flight. Its timer runs once it was pending.
    Connecting { until: Option<Instant> },
    /// A wait of nothing, in which others get their turn: so no poll makes two
    /// attempts.
    Yielding { yielded: bool },
    /// The policy's wait, which `retry_now` ends.
    Waiting { until: Instant },
    /// The budget's wait, with the token already taken.
    Paying { until: Instant },
    /// Connected. The instant is kept where somebody may ask for it.
    Up { since: Option<Instant> },
    /// There will be no attempt, and nobody was told yet.
    GivingUp(Reason),
    /// Nor will there be; the next call begins anew.
    GaveUp,
    /// Nor ever.
    Closed,
}

/// Why there is no connection, and will be none. Small, as each connection is
/// returned beside it; what there is to tell of it is the [`Error`].
#[derive(Clone, Copy, Debug)]
enum Over {
    GaveUp(Reason),
    Closed,
}

/// A part of a long wait, after which the wall clock is looked at.
#[derive(Clone, Copy, Debug)]
struct Nap {
    began: Instant,
    wall: WallTime,
}

/// How long a device may have slept unnoticed, at most, until its wait is over.
const NAP: Duration = Duration::from_secs(15);
/// What a wall clock may be corrected by without being taken for a sleep.
const WALL_SLACK: Duration = Duration::from_secs(2);
/// How late an attempt may be for the token that it reserved. Later than that
/// it would be one of many: all who were not polled, or paused.
const TOKEN_SLACK: Duration = Duration::from_secs(1);

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
                origin: None,
                nap: None,
                last: None,
                judge: Verdict::on,
                extras: None,
                control: Controls::default(),
            },
        }
    }
}

/// The builder's part: to be called before the driver is used.
impl<C: Connect, P: Policy> Redial<C, P> {
    /// Waits as `policy` says.
    pub fn policy<Q: Policy>(self, policy: Q) -> Redial<C, Q> {
        let core = self.core;
        Redial {
            connector: self.connector,
            connection: self.connection,
            flight: self.flight,
            core: Core {
                phase: core.phase,
                outage: core.outage.with_policy(policy),
                origin: core.origin,
                nap: core.nap,
                last: core.last,
                judge: core.judge,
                extras: core.extras,
                control: core.control,
            },
        }
    }

    /// Takes a token from `bucket` for each attempt but the first: the limit
    /// on how often all that share it try to reconnect.
    ///
    /// Where none is left the attempt waits for its own, after the policy's
    /// wait, be that a slot of the server's. The first connect is free.
    pub fn budget(mut self, bucket: &TokenBucket) -> Self {
        self.core.extras().budget.bucket = Some(bucket.clone());
        self
    }

    /// Judges errors: what each means for the next attempt.
    ///
    /// By default an `io::Error` is judged by its kind (see [`Verdict`]), also
    /// inside of a boxed error. Any other type means `Retry(Down)`: a wrong
    /// password in an error of yours stops nothing unless this says so.
    ///
    /// An attempt that times out is not an error of the connector; it is
    /// always [`Cause::Stalled`].
    pub fn classify(mut self, classify: impl FnMut(&C::Error) -> Verdict + Send + 'static) -> Self {
        self.core.extras().classify = Some(Box::new(classify));
        self
    }

    /// An attempt that takes longer has stalled, and is dropped: 13 s by
    /// default, and longer after attempts that stalled; see
    /// [`patience`](Self::patience). `Duration::MAX` lets an attempt take for
    /// ever.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero, in which no attempt could succeed.
    #[track_caller]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        expect(self.core.outage.rules().set_attempt_timeout(timeout));
        self
    }

    /// The most that the attempt timeout grows to: 120 s by default. See
    /// [`Outage::patience`].
    pub fn patience(mut self, most: Duration) -> Self {
        self.core.outage = self.core.outage.patience(most);
        self
    }

    /// A connection that has been up for so long ends the outage before it;
    /// see [`Outage::stable_after`].
    pub fn stable_after(mut self, uptime: Duration) -> Self {
        self.core.outage = self.core.outage.stable_after(uptime);
        self
    }

    /// Gives up after so many attempts in one outage; see
    /// [`Outage::max_attempts`].
    ///
    /// # Panics
    ///
    /// If `attempts` is 0, which would never connect at all.
    #[track_caller]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        expect(self.core.outage.rules().set_max_attempts(attempts));
        self
    }

    /// Gives up rather than wait beyond this time since the outage began; see
    /// [`Outage::max_elapsed`].
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.core.outage = self.core.outage.max_elapsed(elapsed);
        self
    }

    /// The same waits for the same seed: for tests.
    ///
    /// Clients that share a seed retry in lockstep, so a fleet must not.
    pub fn seed(mut self, seed: u64) -> Self {
        self.core.outage = self.core.outage.seed(seed);
        self
    }

    /// Calls `observe` at each [`Event`]: for logs and metrics.
    ///
    /// It runs inside the poll, so it must not block.
    pub fn observe(mut self, observe: impl FnMut(&Event<'_, C::Error>) + Send + 'static) -> Self {
        self.core.extras().observe = Some(Box::new(observe));
        self
    }

    /// Goes on with an outage that was [saved](Self::save), `away` ago; see
    /// [`Outage::restore`].
    ///
    /// To be called last: what had been connected counts as lost now, by the
    /// policy and the limits that are set by then. What is left of a wait
    /// runs from the first poll.
    pub fn restore(mut self, saved: &SavedOutage, away: Duration) -> Self {
        let next = self.core.outage.restore(saved, away, Duration::ZERO);
        self.core.phase = Phase::Restored(next);
        self
    }

    /// The clock that shows when the device slept: [`SystemTime::now`](std::time::SystemTime::now) by
    /// default.
    ///
    /// On Linux, Android, macOS and iOS the monotonic clock stops while the
    /// device is suspended, and on Windows it does not. So a wait that has more
    /// than fifteen seconds to go is looked at every fifteen seconds: where the
    /// wall clock has moved two seconds more than the monotonic one, what it
    /// moved is taken off the wait, and an attempt that would be overdue is
    /// made within a second. At worst, a client whose wall clock was corrected
    /// tries once out of turn.
    pub fn wall_clock(mut self, clock: impl FnMut() -> WallTime + Send + 'static) -> Self {
        self.core.extras().wall_clock = Some(Box::new(clock));
        self
    }
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A handle to look on, retry now, pause and close, from anywhere.
    pub fn handle(&self) -> Handle {
        let control = self.core.control.0.get_or_init(|| {
            let status = match self.core.phase {
                Phase::Due | Phase::Restored(_) => Status::Idle,
                Phase::Yielding { .. } => Status::Waiting {
                    attempt: self.core.attempt_number(),
                    until: Instant::now(),
                },
                Phase::Connecting { .. } => Status::Connecting {
                    attempt: self.core.attempt_number(),
                },
                Phase::Waiting { until } | Phase::Paying { until } => Status::Waiting {
                    attempt: self.core.attempt_number(),
                    until,
                },
                Phase::Up { since } => Status::Connected {
                    since: since.unwrap_or_else(Instant::now),
                },
                Phase::GivingUp(_) | Phase::GaveUp | Phase::Closed => Status::Closed,
            };
            let control = Control::new(status);
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
        let now = Instant::now();
        let origin = self.core.origin.unwrap_or(now);
        let saved = self.core.outage.save(now.since(origin))?;
        Some(match self.core.phase {
            // The machine knows neither of the budget nor of a device's sleep.
            Phase::Waiting { until } | Phase::Paying { until } => saved.with_wait(until.since(now)),
            _ => saved,
        })
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
        own: Pin<&mut Flight<C::Future>>,
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

    /// Runs `session` on each connection, until one of them breaks the loop.
    ///
    /// The session owns its connection. What it returns decides what follows:
    ///
    /// - `Ok(ControlFlow::Break(value))` ends the loop with `value`;
    /// - `Ok(ControlFlow::Continue(()))` is an end in good order, and the next
    ///   connection is spread;
    /// - `Err(error)` is a loss, and [`classify`](Self::classify) judges it.
    ///
    /// ```
    /// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
    /// use redial::Redial;
    /// use std::ops::ControlFlow;
    /// use tokio::io::{AsyncBufReadExt, BufReader};
    /// use tokio::net::TcpStream;
    ///
    /// let answer = Redial::new(|| TcpStream::connect("oracle.example:4242"))
    ///     .run(async |stream| {
    ///         let mut lines = BufReader::new(stream).lines();
    ///         while let Some(line) = lines.next_line().await? {
    ///             if line.ends_with("42") {
    ///                 return Ok(ControlFlow::Break(line));
    ///             }
    ///         }
    ///         Ok(ControlFlow::Continue(()))
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// To `tokio::spawn` it, write `async move |connection|`: of captures that
    /// the session only borrows, compilers do not see yet that they are `Send`.
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
    /// To drop the future drops the session and its connection, which the
    /// next call counts as lost. [`Handle::close`] does the same to a session,
    /// wherever it waits.
    pub async fn run<T>(
        &mut self,
        mut session: impl AsyncFnMut(C::Connection) -> Result<ControlFlow<T>, C::Error>,
    ) -> Result<T, Error<C::Error>> {
        loop {
            self.ready().await?;
            let connection = self.connection.take().expect("it is ready");
            let control = self.core.control.0.get().cloned();
            match until_closed(session(connection), control).await {
                Some(Ok(ControlFlow::Break(value))) => return Ok(value),
                Some(Ok(ControlFlow::Continue(()))) => self.ended(),
                Some(Err(error)) => self.lost_to(error),
                None => {} // and the next turn says so
            }
        }
    }
}

/// What `session` returns, unless a handle closes its driver before.
async fn until_closed<F: Future>(session: F, control: Option<Arc<Control>>) -> Option<F::Output> {
    let mut session = pin!(session);
    poll_fn(|cx| match &control {
        Some(control) if control.commands(cx).closed => Poll::Ready(None),
        _ => session.as_mut().poll(cx).map(Some),
    })
    .await
}

impl<E, P: Policy> Core<E, P> {
    /// The number of the attempt that is made or waited for.
    fn attempt_number(&self) -> u32 {
        self.outage.attempts().saturating_add(1)
    }

    fn control(&self) -> Option<&Control> {
        self.control.0.get().map(Arc::as_ref)
    }

    fn is_closed(&self) -> bool {
        self.control().is_some_and(Control::is_closed)
    }

    /// What the handles ask, if there are any.
    fn commands(&self, cx: &Context<'_>) -> Commands {
        self.control()
            .map_or_else(Commands::default, |control| control.commands(cx))
    }

    fn publish(&self, status: Status) {
        if let Some(control) = self.control() {
            control.publish(status);
        }
    }

    /// There will be no attempt any more.
    fn close(&mut self) {
        self.refund();
        self.phase = Phase::Closed;
        if let Some(control) = self.control() {
            control.finish();
        }
    }

    fn tell(&mut self, event: &Event<'_, E>) {
        if let Some(Extras {
            observe: Some(observe),
            ..
        }) = self.extras.as_deref_mut()
        {
            observe(event);
        }
    }

    /// Somebody is to be told what it does.
    fn is_watched(&self) -> bool {
        let extras = self.extras.as_ref();
        self.control().is_some() || extras.is_some_and(|extras| extras.observe.is_some())
    }

    fn judge(&mut self, error: &E) -> Verdict {
        match self.extras.as_deref_mut() {
            Some(Extras {
                classify: Some(classify),
                ..
            }) => classify(error),
            _ => (self.judge)(error),
        }
    }

    fn extras(&mut self) -> &mut Extras<E> {
        self.extras.get_or_insert_default()
    }

    fn refund(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.budget.refund();
        }
    }

    fn wall_time(&mut self) -> WallTime {
        match self.extras.as_deref_mut() {
            Some(Extras {
                wall_clock: Some(clock),
                ..
            }) => clock(),
            _ => clock::wall(),
        }
    }

    /// An instant as the outage machine knows it.
    fn at(&mut self, now: Instant) -> Duration {
        now.since(*self.origin.get_or_insert(now))
    }

    fn lost(&mut self, verdict: Verdict, error: Option<&E>) {
        self.tell(&Event::Lost { error, verdict });
        let now = Instant::now();
        let at = self.at(now);
        let next = self.outage.lost_with(at, verdict);
        self.obey(now, next, None);
    }

    fn failed(&mut self, error: Option<E>) {
        // An attempt without an error took too long.
        let verdict = match &error {
            Some(error) => self.judge(error),
            None => Verdict::Retry(Cause::Stalled),
        };
        let attempt = self.attempt_number();
        self.tell(&Event::Failed {
            attempt,
            error: error.as_ref(),
            verdict,
        });
        let now = Instant::now();
        let at = self.at(now);
        let next = self.outage.failed(at, verdict);
        self.obey(now, next, error);
    }

    fn obey(&mut self, now: Instant, next: Next, error: Option<E>) {
        match next {
            Next::Wait(Duration::ZERO) => {
                self.phase = Phase::Yielding { yielded: false };
                self.announce_wait(Duration::ZERO, now);
            }
            Next::Wait(wait) => {
                let until = now.after(wait);
                self.phase = Phase::Waiting { until };
                self.nap = (wait > NAP).then(|| Nap {
                    began: now,
                    wall: self.wall_time(),
                });
                self.announce_wait(wait, until);
            }
            Next::GiveUp(reason) => {
                self.last = error;
                self.phase = Phase::GivingUp(reason);
                // First, as an observer may panic, and nothing else says it.
                self.publish(Status::Closed);
                self.tell(&Event::GaveUp { reason });
            }
        }
    }

    fn announce_wait(&mut self, wait: Duration, until: Instant) {
        let attempt = self.attempt_number();
        self.tell(&Event::Waiting { attempt, wait });
        self.publish(Status::Waiting { attempt, until });
    }

    fn connected(&mut self) {
        let attempt = self.attempt_number();
        // A healthy client's first connect reads no clock: where no outage
        // goes on, it does not matter since when the connection is up.
        if self.outage.is_ongoing() {
            let now = self.at(Instant::now());
            self.outage.connected(now);
        } else {
            self.outage.connected_at_once();
        }
        self.phase = Phase::Up { since: None };
        if self.control().is_some() {
            self.note_since();
        }
        self.tell(&Event::Connected { attempt });
    }

    /// Notes since when the connection is up, for the handles.
    fn note_since(&mut self) {
        if let Phase::Up { since: None } = self.phase {
            let since = Instant::now();
            self.phase = Phase::Up { since: Some(since) };
            self.publish(Status::Connected { since });
        }
    }

    /// Whether a pause holds what comes next, which must then be an attempt.
    fn holds(&mut self) -> bool {
        match self.phase {
            Phase::Due | Phase::Yielding { .. } | Phase::Waiting { .. } => {}
            Phase::Paying { until } => {
                // Who resumes takes a token of that time.
                self.refund();
                self.phase = Phase::Waiting { until };
                self.nap = None;
            }
            _ => return false,
        }
        self.publish(Status::Paused);
        true
    }

    /// Attempts and waits, until there is a connection to hand out or no
    /// reason to go on.
    #[inline]
    fn poll<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>>
    where
        C: Connect<Error = E>,
    {
        // The first attempt of a driver that nobody watches, on its own: often
        // it is the only one, and what it skips would be most of its cost.
        if !self.is_watched() && matches!(self.phase, Phase::Due) && !self.outage.is_ongoing() {
            self.phase = Phase::Connecting { until: None };
            flight.as_mut().begin(connector.connect());
            match ready!(self.poll_attempt(flight.as_mut(), None, cx)) {
                Some(Ok(connection)) => {
                    self.outage.connected_at_once();
                    self.phase = Phase::Up { since: None };
                    return Poll::Ready(Ok(connection));
                }
                Some(Err(error)) => self.failed(Some(error)),
                None => self.failed(None),
            }
        }
        self.poll_on(connector, flight, cx)
    }

    /// Goes on, also where somebody watches.
    #[inline(never)]
    fn poll_on<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>>
    where
        C: Connect<Error = E>,
    {
        let outcome = ready!(self.poll_phases(connector, flight.as_mut(), cx));
        // Or it would fire while the connection is up, and wake its task.
        flight.disarm();
        Poll::Ready(outcome)
    }

    /// From one phase to the next.
    fn poll_phases<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>>
    where
        C: Connect<Error = E>,
    {
        loop {
            let commands = self.commands(cx);
            if commands.closed {
                flight.as_mut().end();
                self.close();
            }
            if commands.paused && self.holds() {
                flight.disarm();
                return Poll::Pending;
            }
            match self.phase {
                Phase::Due => {
                    let number = self.attempt_number();
                    self.phase = Phase::Connecting { until: None };
                    self.tell(&Event::Connecting { attempt: number });
                    self.publish(Status::Connecting { attempt: number });
                    flight.as_mut().begin(connector.connect());
                }
                Phase::Restored(next) => {
                    let now = Instant::now();
                    self.at(now); // its zero is when the wait was restored
                    self.obey(now, next, None);
                }
                Phase::Yielding { yielded } => {
                    if !yielded {
                        self.phase = Phase::Yielding { yielded: true };
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.pay();
                }
                Phase::Connecting { until } => {
                    match ready!(self.poll_attempt(flight.as_mut(), until, cx)) {
                        Some(Ok(connection)) => {
                            self.connected();
                            return Poll::Ready(Ok(connection));
                        }
                        Some(Err(error)) => self.failed(Some(error)),
                        None => self.failed(None),
                    }
                }
                Phase::Waiting { until } => {
                    if !commands.retry {
                        self.publish(Status::Waiting {
                            attempt: self.attempt_number(),
                            until,
                        });
                        let deadline = self.nap.map_or(until, |nap| nap.began.after(NAP));
                        ready!(flight.as_mut().poll_timer(deadline, cx));
                        if self.nap_again(until) {
                            continue;
                        }
                    }
                    self.pay();
                }
                Phase::Paying { until } => {
                    self.publish(Status::Waiting {
                        attempt: self.attempt_number(),
                        until,
                    });
                    ready!(flight.as_mut().poll_timer(until, cx));
                    self.extras().budget.spend();
                    if Instant::now() > until.after(TOKEN_SLACK) {
                        self.pay();
                    } else {
                        self.phase = Phase::Due;
                    }
                }
                Phase::GivingUp(reason) => {
                    self.phase = Phase::GaveUp;
                    return Poll::Ready(Err(Over::GaveUp(reason)));
                }
                Phase::GaveUp => {
                    // Asked again: a new outage, and a spread attempt.
                    self.outage.reset();
                    let now = Instant::now();
                    let at = self.at(now);
                    let next = self.outage.lost(at);
                    self.obey(now, next, None);
                }
                Phase::Closed => return Poll::Ready(Err(Over::Closed)),
                // Handed over, and another is asked for: so it is lost.
                Phase::Up { .. } => self.lost(Verdict::default(), None),
            }
        }
    }

    /// What the caller is told of it.
    #[cold]
    fn error(&mut self, over: Over) -> Error<E> {
        let now = self.at(Instant::now());
        let (attempts, elapsed) = (self.outage.attempts(), self.outage.elapsed(now));
        match over {
            Over::GaveUp(reason) => Error::gave_up(reason, attempts, elapsed, self.last.take()),
            Over::Closed if self.outage.save(now).is_some() => Error::closed(attempts, elapsed),
            Over::Closed => Error::closed(0, Duration::ZERO),
        }
    }

    /// The outcome of the attempt; none where it took too long, or was dropped
    /// with the `connect()` that held it.
    fn poll_attempt<F, T>(
        &mut self,
        mut flight: Pin<&mut Flight<F>>,
        until: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let attempt = flight.as_mut().project().attempt;
        if attempt.is_none() {
            return Poll::Ready(None);
        }
        let outcome = match poll_or_drop(attempt, cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                // Only now: an attempt that is ready at once needs no timer.
                let until = until.unwrap_or_else(|| {
                    let now = Instant::now();
                    let at = self.at(now);
                    let until = now.after(self.outage.connecting(at));
                    self.phase = Phase::Connecting { until: Some(until) };
                    until
                });
                ready!(flight.as_mut().poll_timer(until, cx));
                None
            }
        };
        flight.end();
        Poll::Ready(outcome)
    }

    /// The policy's wait is over; the budget's may begin.
    fn pay(&mut self) {
        let budget = self.extras.as_mut().map(|extras| &mut extras.budget);
        let Some(until) = budget.and_then(Budget::reserve) else {
            self.phase = Phase::Due;
            return;
        };
        self.phase = Phase::Paying { until };
        let wait = until.since(Instant::now());
        self.announce_wait(wait, until);
    }

    /// At the end of a nap within a long wait: whether the wait goes on.
    fn nap_again(&mut self, until: Instant) -> bool {
        let Some(nap) = self.nap else {
            return false;
        };
        let now = Instant::now();
        if now >= until {
            return false;
        }
        let wall = self.wall_time();
        let by_wall = wall.duration_since(nap.wall).unwrap_or_default();
        let slept = by_wall.saturating_sub(now.since(nap.began));
        let until = if slept > WALL_SLACK {
            // Overdue attempts are spread a little: a shared host that wakes
            // has many clients.
            let left = until.since(now);
            let soon = scale(self.outage.random(), 1_000_000_000);
            let wait = left.saturating_sub(slept);
            now.after(wait.max(Duration::from_nanos(soon)).min(left))
        } else {
            until
        };
        self.nap = (until.since(now) > NAP).then_some(Nap { began: now, wall });
        self.phase = Phase::Waiting { until };
        true
    }
}

/// Polls an attempt, which must be there. One that panics is dropped, as a
/// future must not be polled after that, and the driver is asked again.
fn poll_or_drop<F: Future>(attempt: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    struct Guard<'a, F> {
        attempt: Pin<&'a mut Option<F>>,
        waker: Option<&'a Waker>,
    }

    impl<F> Drop for Guard<'_, F> {
        fn drop(&mut self) {
            if let Some(waker) = self.waker {
                self.attempt.set(None);
                waker.wake_by_ref();
            }
        }
    }

    let mut guard = Guard {
        attempt,
        waker: Some(cx.waker()),
    };
    let future = guard.attempt.as_mut().as_pin_mut();
    let outcome = future.expect("an attempt is made").poll(cx);
    guard.waker = None;
    outcome
}

impl<C: Connect, P: Policy> fmt::Debug for Redial<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial")
            .field("phase", &self.core.phase)
            .field("outage", &self.core.outage)
            .finish_non_exhaustive()
    }
}

/// The future behind [`Redial::ready`].
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'a, C: Connect, P: Policy> {
    redial: Option<&'a mut Redial<C, P>>,
    /// It was polled, and was not ready.
    waits: bool,
}

impl<'a, C: Connect, P: Policy> Future for Ready<'a, C, P> {
    type Output = Result<&'a mut C::Connection, Error<C::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let redial = self.redial.take().expect("polled after it was ready");
        if !redial.is_plainly_up() {
            if !mem::replace(&mut self.waits, true) {
                redial.disarm();
            }
            match redial.poll_connection(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.redial = Some(redial);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(redial.connection.as_mut().expect("it is ready")))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Ready<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.redial).finish()
    }
}

pin_project! {
    /// The future behind [`Redial::connect`].
    ///
    /// It must be pinned to be polled by reference, as by `select!` in a loop.
    ///
    /// # Panics
    ///
    /// If it is polled after it was ready.
    #[must_use = "futures do nothing unless polled"]
    pub struct Connecting<'a, C: Connect, P: Policy> {
        // Until it is ready.
        redial: Option<&'a mut Redial<C, P>>,
        // It was polled, and was not ready.
        waits: bool,
        // Here and not in a box: it need not outlive this future.
        #[pin]
        flight: Flight<C::Future>,
    }
}

impl<C: Connect, P: Policy> Future for Connecting<'_, C, P> {
    type Output = Result<C::Connection, Error<C::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let redial = this.redial.as_mut().expect("polled after it was ready");
        let outcome = if redial.connection.is_none() && redial.flight.is_none() {
            ready!(redial.core.poll(&mut redial.connector, this.flight, cx))
        } else {
            ready!(redial.poll_taking_over(this.waits, this.flight, cx))
        };
        let redial = this.redial.take().expect("it was there before");
        Poll::Ready(outcome.map_err(|over| redial.core.error(over)))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Connecting<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connecting").field(&self.redial).finish()
    }
}
