//! What a driver does next: the phases between two connections.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::sync::OnceLock;

use super::budget::TOKEN_SLACK;
use super::connect::Connect;
use super::error::Error;
use super::event::Event;
use super::extras::Extras;
use super::flight::{Flight, poll_or_drop};
use super::nap::{NAP, Nap};
use crate::clock::Instant;
use crate::control::{Commands, Control, Status};
use crate::outage::{Next, Outage, Reason};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

/// All but the connector and what it makes.
pub(super) struct Core<E, P: Policy> {
    pub(super) phase: Phase,
    pub(super) outage: Outage<P>,
    /// The zero of the outage machine's clock.
    pub(super) origin: Option<Instant>,
    /// The part of a long wait that goes on.
    pub(super) nap: Option<Nap>,
    /// The error that `GaveUp` is to tell.
    pub(super) last: Option<E>,
    /// Judges errors where the extras have nobody for it.
    pub(super) judge: fn(&E) -> Verdict,
    pub(super) extras: Option<Box<Extras<E>>>,
    pub(super) control: Controls,
}

/// What the handles share, once there is one.
#[derive(Default)]
pub(super) struct Controls(pub(super) OnceLock<Arc<Control>>);

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
pub(super) enum Over {
    GaveUp(Reason),
    Closed,
}

impl<E, P: Policy> Core<E, P> {
    /// The number of the attempt that is made or waited for.
    pub(super) fn attempt_number(&self) -> u32 {
        self.outage.attempts().saturating_add(1)
    }

    pub(super) fn control(&self) -> Option<&Control> {
        self.control.0.get().map(Arc::as_ref)
    }

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

    /// There will be no attempt any more.
    pub(super) fn close(&mut self) {
        self.refund();
        self.phase = Phase::Closed;
        if let Some(control) = self.control() {
            control.finish();
        }
    }

    /// An instant as the outage machine knows it.
    pub(super) fn at(&mut self, now: Instant) -> Duration {
        now.since(*self.origin.get_or_insert(now))
    }

    pub(super) fn lost(&mut self, verdict: Verdict, error: Option<&E>) {
        self.tell(&Event::Lost { error, verdict });
        let now = Instant::now();
        let at = self.at(now);
        let next = self.outage.lost_with(at, verdict);
        self.obey(now, next, None);
    }

    pub(super) fn failed(&mut self, error: Option<E>) {
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

    pub(super) fn obey(&mut self, now: Instant, next: Next, error: Option<E>) {
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

    pub(super) fn announce_wait(&mut self, wait: Duration, until: Instant) {
        let attempt = self.attempt_number();
        self.tell(&Event::Waiting { attempt, wait });
        self.publish(Status::Waiting { attempt, until });
    }

    pub(super) fn connected(&mut self) {
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
    pub(super) fn note_since(&mut self) {
        if let Phase::Up { since: None } = self.phase {
            let since = Instant::now();
            self.phase = Phase::Up { since: Some(since) };
            self.publish(Status::Connected { since });
        }
    }

    /// Whether a pause holds what comes next, which must then be an attempt.
    pub(super) fn holds(&mut self) -> bool {
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
    pub(super) fn poll<C>(
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
    pub(super) fn poll_on<C>(
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
    pub(super) fn poll_phases<C>(
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
    pub(super) fn error(&mut self, over: Over) -> Error<E> {
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
    pub(super) fn poll_attempt<F, T>(
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
}
