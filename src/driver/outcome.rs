//! What has happened to a driver, and what follows from it.

use core::time::Duration;

use super::advised::What;
use super::error::Error;
use super::event::Event;
use super::state::{Core, Noted, Over, Phase, Plan};
use crate::bucket::Source;
use crate::clock::{Timer, after};
use crate::control::{Control, Status, WaitsFor};
use crate::liveness::Silent;
use crate::nanos::nanos;
use crate::outage::Next;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// Why an attempt made no connection.
pub(super) enum Failure<E> {
    /// The connector says so.
    Error(E),
    /// It took longer than this.
    TimedOut(Duration),
    /// No server is left in this round. How it failed, and what that means.
    Round(Last<E>, Verdict),
    /// A press ended it.
    Pressed,
    /// It panicked, or its future was dropped.
    Dropped,
}

/// How the last attempt ended: for the caller that is told that the driver gave up,
/// and for a connector that wants to know. It is stored until one of them takes it.
#[derive(Clone)]
pub(super) enum Last<E> {
    Error(E),
    TimedOut(Duration),
    Unknown,
}

impl<E> Last<E> {
    pub(super) fn error(&self) -> Option<&E> {
        match self {
            Self::Error(error) => Some(error),
            Self::TimedOut(_) | Self::Unknown => None,
        }
    }
}

impl<E, P: Policy> Core<E, P> {
    /// An attempt begins. False if an observer closes or suspends the driver at that.
    pub(super) fn attempt_begins(&mut self) -> bool {
        let attempt = self.attempt_number();
        self.enter(Phase::Connecting {
            since: Noted::NEVER,
        });
        if self.control().is_some() {
            self.show_attempt();
        }
        self.tell(&Event::Connecting { attempt });
        let goes_on = !self.is_disturbed();
        if !goes_on {
            self.phase = Phase::Due;
        }
        goes_on
    }

    /// Shows the attempt that begins to the handles.
    #[cold]
    fn show_attempt(&mut self) {
        let now = self.now();
        self.phase = Phase::Connecting {
            since: Noted::at(now),
        };
        if let Some(control) = self.control() {
            control.attempt_begins(now);
        }
        self.publish_phase();
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, verdict: Verdict, error: Option<&E>, silent: Option<Silent>) {
        let (now, next) = self.note_loss(verdict, error, silent);
        if self.adopts(now, next) {
            return;
        }
        let plan = self.plan(next, verdict);
        self.obey(now, next, plan);
    }

    /// Tells all who must know that the connection is gone, and asks what follows.
    pub(super) fn note_loss(
        &mut self,
        verdict: Verdict,
        error: Option<&E>,
        silent: Option<Silent>,
    ) -> (u64, Next) {
        if self.control().is_some_and(Control::take_healed) {
            self.outage.healed();
        }
        self.count(What::Lost);
        if error.is_none() {
            self.clear_actor();
        }
        let now = self.now();
        let (attempts, actor) = (self.attempts_before(now), self.actor());
        self.tell(&Event::Lost {
            error,
            verdict,
            silent,
            actor,
            attempts,
        });
        self.tell_of_cut(verdict);
        let next = self.outage.lost_with(Duration::from_nanos(now), verdict);
        match silent {
            Some(silent) => self.note_silence(silent, verdict),
            None => self.note(error, verdict, None),
        }
        (now, next)
    }

    /// How many attempts the outage has had that goes on with a loss; 0 if a new one
    /// begins.
    fn attempts_before(&self, now: u64) -> u32 {
        if self.outage.outlasts_connection(Duration::from_nanos(now)) {
            self.outage.attempts()
        } else {
            0
        }
    }

    /// The attempt failed. `keep` says whether the connector wants to know the error.
    pub(super) fn failed(&mut self, failure: Failure<E>, keep: bool) {
        let pressed = matches!(failure, Failure::Pressed);
        let (last, known) = match failure {
            Failure::Error(error) => (Last::Error(error), None),
            Failure::TimedOut(timeout) => (Last::TimedOut(timeout), None),
            Failure::Round(last, verdict) => (last, Some(verdict)),
            Failure::Pressed | Failure::Dropped => (Last::Unknown, None),
        };
        let (error, timeout) = match &last {
            Last::Error(error) => (Some(error), None),
            Last::TimedOut(timeout) => (None, Some(*timeout)),
            Last::Unknown => (None, None),
        };
        let verdict = if let Some(verdict) = known {
            if error.is_none() {
                self.count(What::NoAnswer);
            }
            verdict
        } else if let Some(error) = error {
            self.judge(error)
        } else {
            self.clear_actor();
            if !pressed {
                self.count(What::NoAnswer);
            }
            // What was cut short in its dial has cost the server nothing.
            Verdict::Retry(self.outage.cause_of_silence())
        };
        let (attempt, actor) = (self.attempt_number(), self.actor());
        self.tell(&Event::Failed {
            attempt,
            error,
            verdict,
            actor,
        });
        if known.is_none() {
            self.tell_of_cut(verdict);
        }
        let now = self.now();
        let at = Duration::from_nanos(now);
        let mut next = if pressed {
            self.outage.abandoned(at)
        } else {
            self.outage.failed(at, verdict)
        };
        self.note(error, verdict, timeout);
        let mut plan = self.plan(next, verdict);
        // A press on this attempt also ends the wait after it, unless the server
        // has answered with a time of its own.
        if let (Next::Wait(wait), Some(at), Verdict::Retry(_)) =
            (next, self.timers.get(Timer::Wait), verdict)
        {
            let left = at.saturating_sub(now);
            if left < nanos(wait) {
                next = Next::Wait(Duration::from_nanos(left));
                plan = Plan::by(WaitsFor::Press);
            }
        }
        if keep || matches!(next, Next::GiveUp(_)) {
            self.set_last(last);
        }
        self.obey(now, next, plan);
    }

    /// What the wait after this verdict is for.
    #[inline]
    fn plan(&self, next: Next, verdict: Verdict) -> Plan {
        match verdict {
            Verdict::RetryAfter(hint) | Verdict::Slot(hint) => self.hinted(next, hint),
            Verdict::Retry(_) | Verdict::Stop => Plan::by(WaitsFor::Policy),
        }
    }

    #[cold]
    #[inline(never)]
    fn hinted(&self, next: Next, hint: Duration) -> Plan {
        match next {
            Next::Wait(wait) => Plan::hinted(wait, hint.min(self.outage.most_of_a_hint())),
            Next::GiveUp(_) => Plan::by(WaitsFor::Policy),
        }
    }

    /// Tells the observers if the server asked for too much.
    #[inline]
    pub(super) fn tell_of_cut(&mut self, verdict: Verdict) {
        if let Verdict::RetryAfter(asked) | Verdict::Slot(asked) = verdict {
            self.tell_of_hint(asked);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_hint(&mut self, asked: Duration) {
        let cap = self.outage.most_of_a_hint();
        if asked > cap {
            self.tell(&Event::HintCut { asked, cap });
        }
    }

    /// The attempt succeeded.
    pub(super) fn connected(&mut self) {
        let attempt = self.attempt_number();
        let mut elapsed = Duration::ZERO;
        // The first connect of a healthy client reads no clock. If no outage
        // goes on, it does not matter when the connection came up.
        if self.outage.is_ongoing() {
            let now = Duration::from_nanos(self.now());
            elapsed = self.outage.elapsed(now);
            self.outage.connected(now);
        } else {
            self.outage.connected_at_once();
        }
        self.enter(Phase::Up {
            since: Noted::NEVER,
        });
        self.clear_actor();
        self.count(What::Connected);
        if let Some(control) = self.control() {
            control.connected();
            self.note_since();
        }
        self.begin_age();
        self.tell(&Event::Connected { attempt, elapsed });
    }

    /// Notes when the connection came up, for the handles.
    pub(super) fn note_since(&mut self) {
        if let Phase::Up { since } = self.phase {
            if since.get().is_none() {
                let since = Noted::at(self.now());
                self.phase = Phase::Up { since };
                self.publish_phase();
            }
        }
    }

    /// Does what the outage says.
    pub(super) fn obey(&mut self, now: u64, next: Next, plan: Plan) {
        match next {
            Next::Wait(Duration::ZERO) => {
                self.enter(Phase::Yielding { yielded: false });
                self.announce_wait(Duration::ZERO);
            }
            Next::Wait(wait) => {
                self.wait(now, after(now, wait), plan);
                self.announce_wait(wait);
            }
            Next::GiveUp(reason) => {
                self.enter(Phase::GivingUp(reason));
                if let Some(control) = self.control() {
                    control.note_end();
                }
                // Before the observer, which may panic: nothing else says it.
                self.publish(|why| Status::GaveUp { reason, why });
                let actor = self.actor();
                self.tell(&Event::GaveUp { reason, actor });
            }
        }
    }

    /// Tells the handles and the observers of a wait that begins.
    pub(super) fn announce_wait(&mut self, wait: Duration) {
        self.announce_wait_of(wait, None);
    }

    /// As [`announce_wait`](Self::announce_wait), of a wait for a token.
    pub(super) fn announce_wait_of(&mut self, wait: Duration, source: Option<Source>) {
        let attempt = self.attempt_number();
        // The status first, so that an observer can end this wait.
        self.publish_phase();
        self.tell(&Event::Waiting {
            attempt,
            wait,
            source,
        });
    }

    /// The error that the caller gets.
    #[cold]
    pub(super) fn error(&mut self, over: Over) -> Error<E> {
        let now = Duration::from_nanos(self.now());
        let (attempts, elapsed) = (self.outage.attempts(), self.outage.elapsed(now));
        match over {
            Over::GaveUp(reason) => {
                let (last, actor) = (self.take_last(), self.actor());
                Error::gave_up(reason, attempts, elapsed, last, actor)
            }
            Over::Closed if self.outage.save(now).is_some() => Error::closed(attempts, elapsed),
            Over::Closed => Error::closed(0, Duration::ZERO),
        }
    }
}
