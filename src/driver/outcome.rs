//! What has happened to a driver, and what follows from it.

use core::time::Duration;

use super::error::Error;
use super::event::Event;
use super::state::{Core, Over, Phase};
use crate::clock::after;
use crate::control::Status;
use crate::outage::Next;
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

impl<E, P: Policy> Core<E, P> {
    /// The connection is gone.
    pub(super) fn lost(&mut self, verdict: Verdict, error: Option<&E>) {
        self.tell(&Event::Lost { error, verdict });
        let now = self.now();
        let next = self.outage.lost_with(Duration::from_nanos(now), verdict);
        self.obey(now, next, None);
    }

    /// The attempt failed. Without an error it took too long.
    pub(super) fn failed(&mut self, error: Option<E>) {
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

    /// The attempt succeeded.
    pub(super) fn connected(&mut self) {
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
            self.publish_phase();
        }
    }

    /// Does what the outage says. `error` is that of the attempt.
    pub(super) fn obey(&mut self, now: u64, next: Next, error: Option<E>) {
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

    /// Tells the handles and the observers of a wait that begins.
    pub(super) fn announce_wait(&mut self, wait: Duration) {
        let attempt = self.attempt_number();
        // The status first, so that an observer can end this wait.
        self.publish_phase();
        self.tell(&Event::Waiting { attempt, wait });
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
}
