//! What a driver does next: the phases from one connection to the next.
//!
//! ```text
//! Due ---> Connecting ---> Up
//!  ^           |           |
//!  |         failed      lost
//!  |           v           v
//!  +-- Paying <--- Waiting or Yielding
//!         ^            |
//!         +--- Asking <+   a budget beyond this process
//! ```
//!
//! A failure or a loss that reaches a limit leads to `GivingUp` instead.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;

use super::connect::Connect;
use super::event::Event;
use super::flight::{Flight, poll_or_drop};
use super::info::{AttemptInfo, AttemptKind};
use super::outcome::{Failure, Last};
use super::servers::{Outcome, is_led_anew};
use super::state::{Core, Noted, Over, Phase, Plan};
use crate::clock::{Timer, after};
use crate::control::{Control, Ending, Hold, Press, WaitsFor, Why};
use crate::outage::{AttemptPhase, Reason};
use crate::policy::Policy;
use crate::verdict::Verdict;

/// Wakes the driver's task if an observer panics: no timer may be set by then, and
/// nothing else would wake it.
struct WakeOnPanic<'a>(&'a Waker);

impl Drop for WakeOnPanic<'_> {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

impl<E, P: Policy> Core<E, P> {
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
            self.phase = Phase::Connecting {
                since: Noted::NEVER,
            };
            self.begin_round(connector);
            let info = AttemptInfo::first(1);
            flight.as_mut().begin(connector.connect_with(info));
            match ready!(self.poll_attempt(connector, flight.as_mut(), cx)) {
                Ok(connection) => {
                    self.outage.connected_at_once();
                    self.server_connected(connector);
                    self.phase = Phase::Up {
                        since: Noted::NEVER,
                    };
                    return Poll::Ready(Ok(connection));
                }
                Err(failure) => self.failed(failure, connector.wants_last_error()),
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
        let on_panic = WakeOnPanic(cx.waker());
        let outcome = self.poll_phases(connector, flight.as_mut(), cx);
        mem::forget(on_panic);
        let outcome = ready!(outcome);
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
            if commands.changed {
                connector.network_changed();
                self.network_changed(commands.hold);
            }
            if commands.hold != Hold::Nothing && self.holds(commands.hold, flight.as_mut()) {
                flight.disarm();
                return Poll::Pending;
            }
            if let Some(press) = commands.press {
                self.press(press);
            }
            match self.phase {
                Phase::Due => {
                    if !self.attempt_begins() {
                        continue;
                    }
                    self.begin_round(connector);
                    let (last, hint) = (self.take_last(), self.take_hint());
                    let info = self.attempt_info(&last, hint.as_deref());
                    flight.as_mut().begin(connector.connect_with(info));
                }
                Phase::First => self.spread_first(),
                Phase::Restored => self.begin_restored(),
                Phase::Yielding { yielded } => {
                    if !yielded {
                        self.phase = Phase::Yielding { yielded: true };
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.pay();
                }
                Phase::Connecting { .. } => {
                    match ready!(self.poll_attempt(connector, flight.as_mut(), cx)) {
                        Ok(connection) => {
                            self.server_connected(connector);
                            self.connected();
                            return Poll::Ready(Ok(connection));
                        }
                        Err(failure) => self.failed(failure, connector.wants_last_error()),
                    }
                }
                Phase::Waiting { wall, plan } => {
                    // Tokio's timer would take a millisecond for no time.
                    if commands.press.is_none() || !self.is_due(Timer::Wait) {
                        self.publish_phase();
                        let timer = ready!(self.poll_timers(flight.as_mut(), cx));
                        if timer == Timer::Nap && self.nap_is_not_the_last(wall) {
                            continue;
                        }
                    }
                    if plan.paid {
                        self.enter(Phase::Due);
                    } else {
                        self.pay();
                    }
                }
                Phase::Asking => ready!(self.poll_asking(flight.as_mut(), cx)),
                Phase::Paying { wall } => {
                    self.publish_phase();
                    let timer = ready!(self.poll_timers(flight.as_mut(), cx));
                    if timer == Timer::Nap && self.nap_is_not_the_last(wall) {
                        continue;
                    }
                    self.spend();
                }
                Phase::GivingUp(reason) => {
                    self.gave_up(reason, commands.press);
                    return Poll::Ready(Err(Over::GaveUp(reason)));
                }
                Phase::GaveUp { reason, yielded } => {
                    if reason == Reason::Stopped && commands.press.is_none() {
                        self.phase = Phase::GaveUp {
                            reason,
                            yielded: !yielded,
                        };
                        if yielded {
                            return Poll::Ready(Err(Over::GaveUp(reason)));
                        }
                        // Or a loop that asks again and again would keep the other
                        // tasks from their turn, also the one that resumes.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.begin_again(commands.press);
                }
                Phase::Closed => return Poll::Ready(Err(Over::Closed)),
                // It was handed over, and another is asked for: so it is lost.
                Phase::Up { .. } => self.lost_unreported(connector, flight.as_mut()),
            }
        }
    }

    /// The connection is lost, as its owner asks for another one.
    fn lost_unreported<C>(&mut self, connector: &mut C, flight: Pin<&mut Flight<C::Attempt>>)
    where
        C: Connect<Error = E>,
    {
        let ending = self.control().and_then(Control::take_ending);
        let ending = ending.unwrap_or(Ending::Lost(Verdict::default()));
        let ending = self.server_ended(connector, ending, false);
        self.end(ending, None);
        // The attempt beside the connection, unless it is that of the outage now.
        if !matches!(self.phase, Phase::Connecting { .. }) {
            flight.end();
        }
    }

    /// What the connector can know about an attempt.
    fn attempt_info<'a>(&self, last: &'a Last<E>, hint: Option<&'a str>) -> AttemptInfo<'a, E> {
        let kind = if self.outage.began_with_loss() {
            AttemptKind::AfterLoss
        } else {
            AttemptKind::First
        };
        AttemptInfo::new(self.attempt_number(), kind, last.error(), hint)
    }

    /// The caller is told that no connection follows.
    #[cold]
    fn gave_up(&mut self, reason: Reason, press: Option<Press>) {
        if let (Some(press), Some(control)) = (press, self.control()) {
            // It was pressed on a driver that gave up, as the status says.
            control.press_again(press);
        }
        let yielded = false;
        self.enter(Phase::GaveUp { reason, yielded });
    }

    /// Somebody asks for a connection after the driver gave up: a new outage, and
    /// a spread attempt, unless a press says when.
    #[cold]
    fn begin_again(&mut self, press: Option<Press>) {
        self.outage.reset();
        self.clear_actor();
        if let Some(control) = self.control() {
            control.note(Why::default());
        }
        let now = self.now();
        let next = self.outage.lost(Duration::from_nanos(now));
        self.obey(now, next, Plan::by(WaitsFor::Policy));
        if let Some(press) = press {
            self.press(press);
            if self.is_due(Timer::Wait) {
                self.pay();
            }
        }
    }

    /// The outcome of the attempt.
    fn poll_attempt<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Failure<E>>>
    where
        C: Connect<Error = E>,
    {
        let mut attempt = flight.as_mut().project().attempt;
        if attempt.is_none() {
            // With the `connect()` that held it, or by a panic.
            return Poll::Ready(Err(Failure::Dropped));
        }
        let outcome = loop {
            let (polled, phase) = poll_or_drop(connector, attempt.as_mut(), cx);
            self.tell_news(connector);
            match polled {
                Poll::Ready(Ok(connection)) => break Ok(connection),
                Poll::Ready(Err(error)) => {
                    match self.server_failed(connector, error) {
                        Outcome::Failed(failure) => break Err(failure),
                        Outcome::BeginsAnew => self.server_begins(),
                        Outcome::GoesOn => {}
                    }
                    if self.is_disturbed() {
                        // An observer closes or suspends the driver at that.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Pending => {
                    if let Some(failure) = self.servers_ran_out(connector) {
                        break Err(failure);
                    }
                    if is_led_anew(connector, self.outage.attempt_phase(), phase) {
                        self.server_begins();
                        if phase == AttemptPhase::Unknown {
                            self.publish_phase();
                        }
                    }
                    // Only now: an attempt that is ready at once needs no timer.
                    let begins = self.timers.get(Timer::Attempt).is_none();
                    if begins || phase.is_beyond(self.outage.attempt_phase()) {
                        self.attempt_enters(phase, connector.limits_its_dial());
                    }
                    let timer = if self.is_due(Timer::Wait) {
                        Timer::Wait
                    } else {
                        ready!(self.poll_timers(flight.as_mut(), cx))
                    };
                    break Err(if timer == Timer::Wait {
                        Failure::Pressed
                    } else {
                        let cost = self.outage.cause_of_silence();
                        self.server_timed_out(connector, self.attempt_limit(), cost)
                    });
                }
            }
        };
        flight.end();
        self.timers.stop(Timer::Attempt);
        Poll::Ready(outcome)
    }

    /// In the attempt in flight another server is tried, whose phases have deadlines of
    /// their own.
    fn server_begins(&mut self) {
        self.timers.stop(Timer::Attempt);
        self.outage.server_begins();
    }

    /// The attempt in flight enters a phase, which has a deadline of its own.
    fn attempt_enters(&mut self, phase: AttemptPhase, limits_its_dial: bool) {
        let now = self.now();
        let at = Duration::from_nanos(now);
        let timeout = match phase {
            AttemptPhase::Unknown => self.outage.still_connecting(at),
            AttemptPhase::Dialing => self.outage.dialing(at),
            AttemptPhase::Established => self.outage.established(at),
        };
        let timeout = if phase == AttemptPhase::Dialing && limits_its_dial {
            self.outage.left(at)
        } else {
            timeout
        };
        self.timers.set(Timer::Attempt, after(now, timeout));
        let since = match self.phase {
            Phase::Connecting { since } => since.get().unwrap_or(now),
            _ => now,
        };
        self.phase = Phase::Connecting {
            since: Noted::at(since),
        };
        if phase != AttemptPhase::Unknown {
            self.announce_phase(phase);
        }
    }

    /// Tells the handles and the observers how far the attempt is.
    fn announce_phase(&mut self, phase: AttemptPhase) {
        self.publish_phase();
        if phase == AttemptPhase::Established {
            let attempt = self.attempt_number();
            self.tell(&Event::Established { attempt });
        }
    }

    /// How long the attempt could take.
    fn attempt_limit(&self) -> Duration {
        let (Phase::Connecting { since }, Some(until)) =
            (self.phase, self.timers.get(Timer::Attempt))
        else {
            return Duration::ZERO;
        };
        Duration::from_nanos(until.saturating_sub(since.get().unwrap_or(until)))
    }

    /// Whether this timer has come, before it is asked for.
    fn is_due(&mut self, timer: Timer) -> bool {
        self.timers.get(timer).is_some_and(|at| at <= self.now())
    }

    /// Sleeps until the earliest deadline, and returns which it was.
    pub(super) fn poll_timers<A>(
        &self,
        flight: Pin<&mut Flight<A>>,
        cx: &mut Context<'_>,
    ) -> Poll<Timer> {
        let Some((timer, at)) = self.timers.next() else {
            return Poll::Pending;
        };
        flight.poll_sleep(self.instant(at), cx).map(|()| timer)
    }
}
