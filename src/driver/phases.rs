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

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::connect::Connect;
use super::event::Event;
use super::flight::{Flight, poll_or_drop};
use super::state::{Core, Over, Phase};
use crate::clock::{Timer, after};
use crate::control::Status;
use crate::policy::Policy;
use crate::verdict::Verdict;

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
                    self.publish(Status::Connecting { attempt });
                    self.tell(&Event::Connecting { attempt });
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
                        self.publish_phase();
                        let timer = ready!(self.poll_timers(flight.as_mut(), cx));
                        if timer == Timer::Nap && self.nap_is_not_the_last(wall) {
                            continue;
                        }
                    }
                    self.pay();
                }
                Phase::Paying => {
                    self.publish_phase();
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
