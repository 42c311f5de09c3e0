//! The attempt beside a connection that is up, and what follows from its outcome.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::advised::What;
use super::budget::Token;
use super::connect::Connect;
use super::event::Event;
use super::flight::{Flight, poll_or_drop};
use super::info::{AttemptInfo, AttemptKind};
use super::outcome::{Failure, Last};
use super::renewal::{Attempt, NEVER, Series, Step, Turn};
use super::servers::{Outcome, is_led_anew};
use super::state::{Core, Noted, Phase, Plan};
use crate::clock::{Timer, after};
use crate::control::{Control, Ending, WaitsFor};
use crate::outage::{AttemptPhase, Next};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

impl<E, P: Policy> Core<E, P> {
    /// The number of the next attempt beside a connection.
    pub(super) fn attempt_beside(&self) -> u32 {
        self.outage.attempts_beside().saturating_add(1)
    }

    /// Waits for the token of the attempt, or begins it.
    pub(super) fn has_token<C>(
        &mut self,
        now: u64,
        token: Token,
        connector: &mut C,
        flight: Pin<&mut Flight<C::Attempt>>,
    ) -> Option<Turn<C::Connection>>
    where
        C: Connect<Error = E>,
    {
        self.renewal().step = match token {
            Token::There => return self.begin_beside(now, connector, flight),
            Token::Due(at) => Step::Paying(at),
            Token::Asked(until) => Step::Asking(until),
        };
        None
    }

    /// Begins the attempt, unless the connection must be closed first.
    pub(super) fn begin_beside<C>(
        &mut self,
        now: u64,
        connector: &mut C,
        flight: Pin<&mut Flight<C::Attempt>>,
    ) -> Option<Turn<C::Connection>>
    where
        C: Connect<Error = E>,
    {
        if self.renewal().one_at_a_time {
            self.renewal().step = Step::Idle;
            return Some(Turn::End(Ending::MakesRoom));
        }
        let renewal = self.renewal();
        renewal.step = Step::Flying;
        renewal.attempt = Attempt {
            since: now,
            ..Attempt::NONE
        };
        let (last, hint) = (self.take_last(), self.take_hint());
        let number = self.attempt_beside();
        self.begin_round_beside(connector);
        let info = AttemptInfo::new(number, AttemptKind::Renewal, last.error(), hint.as_deref());
        flight.begin(connector.connect_with(info));
        None
    }

    /// The outcome of the attempt.
    pub(super) fn poll_beside<C>(
        &mut self,
        now: u64,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Failure<E>>>
    where
        C: Connect<Error = E>,
    {
        let mut attempt = flight.as_mut().project().attempt;
        if attempt.is_none() {
            return Poll::Ready(Err(Failure::Dropped));
        }
        let phase = loop {
            let (polled, phase) = poll_or_drop(connector, attempt.as_mut(), cx);
            self.tell_news(connector);
            let failure = match polled {
                Poll::Pending => match self.servers_ran_out(connector) {
                    Some(failure) => failure,
                    None => break phase,
                },
                Poll::Ready(Ok(connection)) => {
                    self.server_connected(connector);
                    flight.end();
                    return Poll::Ready(Ok(connection));
                }
                Poll::Ready(Err(error)) => match self.server_failed(connector, error) {
                    Outcome::Failed(failure) => failure,
                    Outcome::BeginsAnew => {
                        let since = self.renewal().attempt.since;
                        self.renewal().attempt = Attempt {
                            since,
                            ..Attempt::NONE
                        };
                        continue;
                    }
                    Outcome::GoesOn => continue,
                },
            };
            flight.end();
            return Poll::Ready(Err(failure));
        };
        let known = self.renewal().attempt;
        let is_new = phase.is_beyond(known.phase) || is_led_anew(connector, known.phase, phase);
        if known.deadline == NEVER || is_new {
            let timeout = self.outage.replacing(Duration::from_nanos(now), phase);
            let is_limited = phase == AttemptPhase::Dialing && connector.limits_its_dial();
            let attempt = &mut self.renewal().attempt;
            attempt.phase = phase;
            attempt.deadline = if is_limited {
                NEVER
            } else {
                after(now, timeout)
            };
        }
        let Attempt {
            since, deadline, ..
        } = self.renewal().attempt;
        if deadline > now {
            return Poll::Pending;
        }
        flight.end();
        let took = Duration::from_nanos(deadline.saturating_sub(since));
        let cost = self.cost_beside();
        Poll::Ready(Err(self.server_timed_out(connector, took, cost)))
    }

    /// What the attempt has cost its server, if there is no answer.
    fn cost_beside(&mut self) -> Cause {
        match self.renewal().attempt.phase {
            AttemptPhase::Dialing => Cause::Down,
            _ => Cause::Stalled,
        }
    }

    /// The attempt failed. The connection serves on.
    #[cold]
    pub(super) fn not_renewed(&mut self, now: u64, failure: Failure<E>, keep: bool) {
        let attempt = self.attempt_beside();
        let was_alone = self.renewal().one_at_a_time;
        let is_round = matches!(failure, Failure::Round(..));
        let (error, verdict) = match failure {
            Failure::Error(error) => {
                let verdict = self.judge(&error);
                (Some(error), verdict)
            }
            Failure::Round(Last::Error(error), verdict) => (Some(error), verdict),
            Failure::Round(_, verdict) => (None, verdict),
            Failure::TimedOut(_) | Failure::Pressed | Failure::Dropped => {
                (None, Verdict::Retry(self.cost_beside()))
            }
        };
        let next = self.outage.not_replaced(Duration::from_nanos(now), verdict);
        let actor = self.actor();
        let renewal = self.renewal();
        renewal.step = Step::Idle;
        renewal.attempt = Attempt::NONE;
        (renewal.series, renewal.due) = match next {
            // There is no use in another attempt before the connection has ended.
            Next::Wait(_) if renewal.one_at_a_time && !was_alone && renewal.end != NEVER => {
                (Series::Policy, NEVER)
            }
            Next::Wait(wait) => (Series::Policy, after(now, wait)),
            Next::GiveUp(_) => (Series::Over, NEVER),
        };
        self.clear_actor();
        self.tell(&Event::RenewalFailed {
            attempt,
            error: error.as_ref(),
            verdict,
            actor,
        });
        if !is_round {
            self.tell_of_cut(verdict);
        }
        if let (true, Some(error)) = (keep, error) {
            self.set_last(Last::Error(error));
        }
    }

    /// The attempt succeeded, and its connection is the present one.
    #[cold]
    pub(super) fn renewed(&mut self, now: u64) {
        let attempt = self.attempt_beside();
        self.outage.replaced(Duration::from_nanos(now));
        self.renewal().rest();
        self.draw_age(now);
        self.phase = Phase::Up {
            since: Noted::at(now),
        };
        self.count(What::Connected);
        if let Some(control) = self.control() {
            control.connected();
            self.publish_phase();
        }
        self.tell(&Event::Renewed { attempt });
    }

    /// The connection is lost. If an attempt flies beside it, that is the first one of
    /// the outage: it is not begun anew, and there is no wait before it. Whether it is so.
    #[inline]
    pub(super) fn adopts(&mut self, now: u64, next: Next) -> bool {
        let asked = self.control().and_then(Control::take_renewal);
        if let Some(hint) = asked.and_then(|asked| asked.hint) {
            // It came too late for a renewal, and still is for the next attempt.
            self.renewal().hint = Some(hint);
        }
        if !self.renews() {
            return false;
        }
        let adopts = self.flies_beside() && matches!(next, Next::Wait(_));
        if adopts {
            self.adopt(now);
        } else {
            self.end_renewal();
        }
        adopts
    }

    #[cold]
    fn adopt(&mut self, now: u64) {
        let renewal = self.renewal();
        let attempt = renewal.attempt;
        renewal.rest();
        let at = Duration::from_nanos(now);
        // Its time goes on.
        let _ = match attempt.phase {
            AttemptPhase::Unknown => self.outage.connecting(at),
            AttemptPhase::Dialing => self.outage.dialing(at),
            AttemptPhase::Established => self.outage.established(at),
        };
        self.enter(Phase::Connecting {
            since: Noted::at(attempt.since),
        });
        let left = self.outage.left(at);
        let deadline = attempt.deadline.min(after(now, left));
        self.timers.set(Timer::Attempt, deadline);
        if let Some(control) = self.control() {
            control.attempt_begins(attempt.since);
        }
        self.publish_phase();
        let number = self.attempt_number();
        self.tell(&Event::Connecting { attempt: number });
        if attempt.phase == AttemptPhase::Established {
            self.tell(&Event::Established { attempt: number });
        }
    }

    /// The connection ends in favour of the next one, whose attempt is due and paid.
    pub(super) fn make_room(&mut self) {
        let (now, next) = self.note_loss(Verdict::Retry(Cause::Busy), None, None);
        self.end_renewal();
        match next {
            Next::Wait(_) => {
                self.wait(now, now, Plan::by(WaitsFor::Policy).paid(true));
                self.announce_wait(Duration::ZERO);
            }
            Next::GiveUp(_) => self.obey(now, next, Plan::by(WaitsFor::Policy)),
        }
    }
}
