//! What a driver does next: the phases from one connection to the next.
//!
//! ```text
//! Due ---> Connecting ---> Up
//!  ^           |           |
//!  |         failed      lost
//!  |           v           v
//!  +-- Paying <--- Waiting or Yielding
//! ```
//!
//! A failure or a loss that reaches a limit leads to `GivingUp` instead.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::OnceCell;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::connect::Connect;
use super::error::Error;
use super::event::Event;
use super::extras::Extras;
use super::flight::{Flight, poll_or_drop};
use crate::clock::{Instant, Stopwatch, Timer, Timers, after};
use crate::control::{Commands, Control, Status};
use crate::nanos::nanos;
use crate::outage::{Next, Outage, Reason, SavedOutage};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

/// All of a driver but its connector and what that makes.
pub(super) struct Core<E, P: Policy> {
    pub(super) phase: Phase,
    /// The deadlines of the present phase.
    pub(super) timers: Timers,
    /// The driver's own time, which starts when it is first asked for.
    pub(super) watch: Option<Stopwatch>,
    pub(super) outage: Outage<P>,
    /// Judges errors if there is no classifier. A pointer, because only
    /// [`Redial::new`](super::Redial::new) knows that `E` is `'static`. As a
    /// bound of `Connect` that would keep drivers with an error of `&'static
    /// str` from being spawned.
    pub(super) judge: fn(&E) -> Verdict,
    pub(super) extras: Option<Box<Extras<E>>>,
    pub(super) control: Controls,
}

/// What the handles share, once there is one.
#[derive(Default)]
pub(super) struct Controls(pub(super) OnceCell<Arc<Control>>);

impl Drop for Controls {
    fn drop(&mut self) {
        if let Some(control) = self.0.get() {
            control.finish();
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// The next attempt is due.
    Due,
    /// An outage was carried over a restart of the program. It goes on when the
    /// driver is polled.
    Restored,
    /// An attempt is in flight. Its deadline is set once it was pending.
    Connecting,
    /// A wait of zero, in which other tasks get their turn. So no poll makes
    /// two attempts.
    Yielding { yielded: bool },
    /// The policy's wait, which `retry_now` ends.
    Waiting {
        /// What the wall clock showed when the present nap began.
        wall: u64,
    },
    /// The budget's wait. The token is already taken.
    Paying,
    /// There is a connection.
    Up {
        /// When it came up, if that was noted.
        since: Option<u64>,
    },
    /// No attempt follows. The caller has not been told yet.
    GivingUp(Reason),
    /// The caller has been told. The next call begins anew.
    GaveUp(Reason),
    /// No attempt will ever follow.
    Closed,
}

/// Why there is no connection.
///
/// It is small, because each connection is returned beside it. The [`Error`]
/// that the caller gets says more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    GaveUp(Reason),
    Closed,
}

impl<E, P: Policy> Core<E, P> {
    /// The same with another outage, or the same one of another type.
    pub(super) fn with_outage<Q: Policy>(
        self,
        change: impl FnOnce(Outage<P>) -> Outage<Q>,
    ) -> Core<E, Q> {
        Core {
            phase: self.phase,
            timers: self.timers,
            watch: self.watch,
            outage: change(self.outage),
            judge: self.judge,
            extras: self.extras,
            control: self.control,
        }
    }

    /// The number of the attempt that is made or waited for.
    pub(super) fn attempt_number(&self) -> u32 {
        self.outage.attempts().saturating_add(1)
    }

    /// The present time, in nanoseconds since the driver first asked.
    pub(super) fn now(&mut self) -> u64 {
        if let Some(watch) = &self.watch {
            return nanos(watch.elapsed());
        }
        self.watch = Some(Stopwatch::start());
        0
    }

    /// The instant of a time of the driver's.
    pub(super) fn instant(&self, time: u64) -> Instant {
        let watch = self.watch.as_ref();
        watch.map_or_else(Instant::now, |watch| watch.instant(time))
    }

    /// When the present wait ends, if there is one.
    fn wait_ends(&self) -> Option<u64> {
        let wait = self.timers.get(Timer::Wait);
        wait.or_else(|| self.timers.get(Timer::Budget))
    }

    /// Begins a phase, without the deadlines of the one before.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.timers = Timers::none();
    }

    // ---- the handles

    #[inline]
    pub(super) fn control(&self) -> Option<&Control> {
        self.control.0.get().map(Arc::as_ref)
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.control().is_some_and(Control::is_closed)
    }

    /// What the handles ask, if there are any.
    pub(super) fn commands(&self, cx: &Context<'_>) -> Commands {
        self.control()
            .map_or_else(Commands::default, |control| control.commands(cx))
    }

    pub(super) fn publish(&self, status: Status) {
        if let Some(control) = self.control() {
            control.publish(status);
        }
    }

    /// Publishes the present wait, whose deadline may have moved.
    fn publish_wait(&self) {
        if let Some(control) = self.control() {
            control.publish(self.status());
        }
    }

    /// The status of the present phase.
    pub(super) fn status(&self) -> Status {
        let attempt = self.attempt_number();
        match self.phase {
            Phase::Due | Phase::Restored => Status::Idle,
            Phase::Connecting => Status::Connecting { attempt },
            Phase::Yielding { .. } | Phase::Waiting { .. } | Phase::Paying => Status::Waiting {
                attempt,
                until: self
                    .wait_ends()
                    .map_or_else(Instant::now, |at| self.instant(at)),
            },
            Phase::Up { since } => Status::Connected {
                since: since.map_or_else(Instant::now, |at| self.instant(at)),
            },
            Phase::GivingUp(reason) | Phase::GaveUp(reason) => Status::GaveUp { reason },
            Phase::Closed => Status::Closed,
        }
    }

    /// Whether a pause holds back what comes next.
    fn holds(&mut self) -> bool {
        match self.phase {
            Phase::Due | Phase::Yielding { .. } | Phase::Waiting { .. } => {}
            Phase::Paying => self.leave_queue(),
            _ => return false,
        }
        self.publish(Status::Paused);
        true
    }

    /// Ends the driver: there will be no attempt any more.
    pub(super) fn close(&mut self) {
        self.refund();
        if let Some(saved) = self.restored() {
            // For those who save it once more.
            let now = self.now();
            let _ = self
                .outage
                .restore(&saved, Duration::ZERO, Duration::from_nanos(now));
        }
        self.enter(Phase::Closed);
        if let Some(control) = self.control() {
            control.finish();
        }
    }

    // ---- what happened, and what follows from it

    pub(super) fn lost(&mut self, verdict: Verdict, error: Option<&E>) {
        self.tell(&Event::Lost { error, verdict });
        let now = self.now();
        let next = self.outage.lost_with(Duration::from_nanos(now), verdict);
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
        let now = self.now();
        let next = self.outage.failed(Duration::from_nanos(now), verdict);
        self.obey(now, next, error);
    }

    fn connected(&mut self) {
        let attempt = self.attempt_number();
        // The first connect of a healthy client reads no clock. If no outage
        // goes on, it does not matter when the connection came up.
        if self.outage.is_ongoing() {
            let now = self.now();
            self.outage.connected(Duration::from_nanos(now));
        } else {
            self.outage.connected_at_once();
        }
        self.enter(Phase::Up { since: None });
        if self.control().is_some() {
            self.note_since();
        }
        self.tell(&Event::Connected { attempt });
    }

    /// Notes when the connection came up, for the handles.
    pub(super) fn note_since(&mut self) {
        if let Phase::Up { since: None } = self.phase {
            let since = Some(self.now());
            self.phase = Phase::Up { since };
            if let Some(control) = self.control() {
                control.publish(self.status());
            }
        }
    }

    fn obey(&mut self, now: u64, next: Next, error: Option<E>) {
        match next {
            Next::Wait(Duration::ZERO) => {
                self.enter(Phase::Yielding { yielded: false });
                self.announce_wait(Duration::ZERO);
            }
            Next::Wait(wait) => {
                self.wait(now, after(now, wait));
                self.announce_wait(wait);
            }
            Next::GiveUp(reason) => {
                self.enter(Phase::GivingUp(reason));
                self.set_last(error);
                // Before the observer, which may panic: nothing else says it.
                self.publish(Status::GaveUp { reason });
                self.tell(&Event::GaveUp { reason });
            }
        }
    }

    pub(super) fn announce_wait(&mut self, wait: Duration) {
        let attempt = self.attempt_number();
        self.tell(&Event::Waiting { attempt, wait });
        self.publish_wait();
    }

    /// Forgets the present outage, and goes on with `saved` when it is polled.
    pub(super) fn restore(&mut self, saved: SavedOutage) {
        self.refund();
        self.set_last(None);
        self.enter(Phase::Restored);
        self.extras().restored = Some(saved);
        self.publish(Status::Idle);
    }

    /// The restored outage, if it has not gone on yet.
    fn restored(&mut self) -> Option<SavedOutage> {
        self.extras.as_mut()?.restored.take()
    }

    /// Goes on with the restored outage.
    fn begin_restored(&mut self) {
        let Some(saved) = self.restored() else {
            self.enter(Phase::Due);
            return;
        };
        let now = self.now();
        let at = Duration::from_nanos(now);
        let next = self.outage.restore(&saved, Duration::ZERO, at);
        self.obey(now, next, None);
    }

    /// The outage to carry over a restart of the program.
    pub(super) fn save(&self) -> Option<SavedOutage> {
        if let Some(restored) = self.extras.as_ref().and_then(|it| it.restored.as_ref()) {
            return Some(restored.clone());
        }
        let now = self.watch.as_ref().map(Stopwatch::elapsed);
        let now = now.unwrap_or_default();
        let saved = self.outage.save(now)?;
        Some(match self.wait_ends() {
            // The machine knows neither of the budget nor of a device's sleep.
            Some(at) => {
                let left = at.saturating_sub(nanos(now));
                saved.with_wait(Duration::from_nanos(left))
            }
            None => saved,
        })
    }

    /// The error that the caller gets.
    #[cold]
    pub(super) fn error(&mut self, over: Over) -> Error<E> {
        let now = Duration::from_nanos(self.now());
        let (attempts, elapsed) = (self.outage.attempts(), self.outage.elapsed(now));
        match over {
            Over::GaveUp(reason) => Error::gave_up(reason, attempts, elapsed, self.take_last()),
            Over::Closed if self.outage.save(now).is_some() => Error::closed(attempts, elapsed),
            Over::Closed => Error::closed(0, Duration::ZERO),
        }
    }

    // ---- polls

    /// Attempts and waits, until there is a connection to hand out or no
    /// reason to go on.
    #[inline]
    pub(super) fn poll<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>>
    where
        C: Connect<Error = E>,
    {
        // The first attempt of a driver that nobody watches, on its own: often
        // it is the only one, and what it skips would be most of its cost.
        if !self.is_watched() && matches!(self.phase, Phase::Due) && !self.outage.is_ongoing() {
            self.phase = Phase::Connecting;
            flight.as_mut().begin(connector.connect());
            match ready!(self.poll_attempt(connector, flight.as_mut(), cx)) {
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

    /// As [`poll`](Self::poll), also if somebody watches.
    #[inline(never)]
    fn poll_on<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
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
        mut flight: Pin<&mut Flight<C::Attempt>>,
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
                    let attempt = self.attempt_number();
                    self.enter(Phase::Connecting);
                    self.tell(&Event::Connecting { attempt });
                    self.publish(Status::Connecting { attempt });
                    flight.as_mut().begin(connector.connect());
                }
                Phase::Restored => self.begin_restored(),
                Phase::Yielding { yielded } => {
                    if !yielded {
                        self.phase = Phase::Yielding { yielded: true };
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.pay();
                }
                Phase::Connecting => {
                    match ready!(self.poll_attempt(connector, flight.as_mut(), cx)) {
                        Some(Ok(connection)) => {
                            self.connected();
                            return Poll::Ready(Ok(connection));
                        }
                        Some(Err(error)) => self.failed(Some(error)),
                        None => self.failed(None),
                    }
                }
                Phase::Waiting { wall } => {
                    if !commands.retry {
                        self.publish_wait();
                        let timer = ready!(self.poll_timers(flight.as_mut(), cx));
                        if timer == Timer::Nap && self.nap_is_not_the_last(wall) {
                            continue;
                        }
                    }
                    self.pay();
                }
                Phase::Paying => {
                    self.publish_wait();
                    ready!(self.poll_timers(flight.as_mut(), cx));
                    let due = self.timers.get(Timer::Budget);
                    if due.is_some_and(|due| self.is_late(due)) {
                        self.refund();
                        self.pay();
                    } else {
                        self.spend();
                        self.enter(Phase::Due);
                    }
                }
                Phase::GivingUp(reason) => {
                    self.enter(Phase::GaveUp(reason));
                    return Poll::Ready(Err(Over::GaveUp(reason)));
                }
                Phase::GaveUp(_) => {
                    // Asked again: a new outage, and a spread attempt.
                    self.outage.reset();
                    let now = self.now();
                    let next = self.outage.lost(Duration::from_nanos(now));
                    self.obey(now, next, None);
                }
                Phase::Closed => return Poll::Ready(Err(Over::Closed)),
                // It was handed over, and another is asked for: so it is lost.
                Phase::Up { .. } => self.lost(Verdict::default(), None),
            }
        }
    }

    /// The outcome of the attempt. None if it took too long, or was dropped
    /// with the `connect()` that held it.
    fn poll_attempt<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<C::Connection, E>>>
    where
        C: Connect<Error = E>,
    {
        let attempt = flight.as_mut().project().attempt;
        if attempt.is_none() {
            return Poll::Ready(None);
        }
        let outcome = match poll_or_drop(connector, attempt, cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                // Only now: an attempt that is ready at once needs no timer.
                if self.timers.get(Timer::Attempt).is_none() {
                    let now = self.now();
                    let timeout = self.outage.connecting(Duration::from_nanos(now));
                    self.timers.set(Timer::Attempt, after(now, timeout));
                }
                ready!(self.poll_timers(flight.as_mut(), cx));
                None
            }
        };
        flight.end();
        self.timers.stop(Timer::Attempt);
        Poll::Ready(outcome)
    }

    /// Sleeps until the earliest deadline, and returns which it was.
    fn poll_timers<A>(&self, flight: Pin<&mut Flight<A>>, cx: &mut Context<'_>) -> Poll<Timer> {
        let Some((timer, at)) = self.timers.next() else {
            return Poll::Pending;
        };
        flight.poll_sleep(self.instant(at), cx).map(|()| timer)
    }
}
