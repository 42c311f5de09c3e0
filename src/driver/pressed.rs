//! What the handles ask of a driver, and what they are shown.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::pin::Pin;
use core::task::Context;
use core::time::Duration;

use super::advised::What;
use super::event::Event;
use super::flight::Flight;
use super::state::{Core, Phase, Plan};
use crate::clock::{Instant, Timer};
use crate::control::{Commands, Control, Ending, Hold, Press, Status, WaitsFor, Why};
use crate::nanos::{nanos, readable, scale};
use crate::policy::Policy;
use crate::verdict::Verdict;

/// The attempts of clients that resume together are spread over so long.
const SPREAD: u64 = nanos(Duration::from_secs(1));

impl<E, P: Policy> Core<E, P> {
    /// What the driver shares with its handles, if it has any.
    #[inline]
    pub(super) fn control(&self) -> Option<&Control> {
        self.control.0.get().map(Arc::as_ref)
    }

    /// Whether a handle has closed the driver.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.control().is_some_and(Control::is_closed)
    }

    /// Whether a handle asks something that concerns a connection that is up.
    #[inline]
    pub(super) fn is_disturbed(&self) -> bool {
        self.control().is_some_and(Control::is_disturbed)
    }

    /// What the handles ask, if there are any.
    pub(super) fn commands(&self, cx: &Context<'_>) -> Commands {
        self.control()
            .map_or_else(Commands::default, |control| control.commands(cx))
    }

    /// Shows a status to the handles.
    #[inline]
    pub(super) fn publish(&self, status: impl FnOnce(Why) -> Status) {
        if let Some(control) = self.control() {
            control.publish(status(control.why()));
        }
    }

    /// Shows the present phase to the handles.
    #[inline]
    pub(super) fn publish_phase(&self) {
        if let Some(control) = self.control() {
            control.publish(self.status(control.generation()));
        }
    }

    /// The status of the present phase. A connection that is up has this number.
    pub(super) fn status(&self, generation: u64) -> Status {
        let attempt = self.attempt_number();
        let why = || self.control().map(Control::why).unwrap_or_default();
        let instant = |at: Option<u64>| at.map_or_else(Instant::now, |at| self.instant(at));
        match self.phase {
            Phase::Due | Phase::First | Phase::Restored => Status::Idle,
            Phase::Connecting { since } => Status::Connecting {
                attempt,
                phase: self.outage.attempt_phase(),
                since: instant(since.get()),
                why: why(),
            },
            Phase::Yielding { .. } => Status::Waiting {
                attempt,
                until: Instant::now(),
                by: WaitsFor::Policy,
                why: why(),
            },
            Phase::Waiting { plan, .. } => Status::Waiting {
                attempt,
                until: instant(self.timers.get(Timer::Wait)),
                by: plan.by,
                why: why(),
            },
            Phase::Asking | Phase::Paying { .. } => Status::Waiting {
                attempt,
                until: instant(self.timers.get(Timer::Budget)),
                by: WaitsFor::Budget,
                why: why(),
            },
            Phase::Up { since } => Status::Connected {
                since: instant(since.get()),
                generation,
            },
            Phase::GivingUp(reason) | Phase::GaveUp { reason, .. } => {
                Status::GaveUp { reason, why: why() }
            }
            Phase::Closed => Status::Closed,
        }
    }

    /// Keeps what went wrong for the statuses that follow, if anybody sees them.
    #[inline]
    pub(super) fn note(&mut self, error: Option<&E>, verdict: Verdict, timeout: Option<Duration>) {
        if self.control().is_some() {
            self.note_trouble(error, verdict, timeout);
        }
    }

    #[cold]
    fn note_trouble(&mut self, error: Option<&E>, verdict: Verdict, timeout: Option<Duration>) {
        let text = match error {
            Some(error) => self.text(error),
            None => timeout.map(timed_out),
        };
        let now = Duration::from_nanos(self.now());
        let elapsed = self.outage.elapsed(now);
        if let Some(control) = self.control() {
            let (error, actor) = (text.map(Arc::from), self.actor());
            control.note(Why::new(error, Some(verdict), actor, elapsed));
        }
    }

    /// A suspension is no trouble, but the outage that it falls into goes on.
    fn note_suspension(&mut self) {
        if self.control().is_some() && self.outage.is_ongoing() {
            let now = Duration::from_nanos(self.now());
            let elapsed = self.outage.elapsed(now);
            if let Some(control) = self.control() {
                let before = control.why();
                control.note(before.later(elapsed));
            }
        }
    }

    /// Holds what comes next, as a handle asks. A pause holds no attempt that is in
    /// flight.
    pub(super) fn holds<A>(&mut self, hold: Hold, flight: Pin<&mut Flight<A>>) -> bool {
        match (hold, self.phase) {
            (Hold::Nothing, _) => return false,
            (_, Phase::Due | Phase::First | Phase::Yielding { .. } | Phase::Waiting { .. }) => {}
            (_, Phase::Asking | Phase::Paying { .. }) => self.leave_queue(),
            (Hold::Suspended, Phase::Connecting { .. }) => {
                flight.end();
                // The first connect still is one.
                let pays_first = self.extras.as_ref().is_some_and(|it| it.pay_first);
                let paid = !self.outage.is_ongoing() && !pays_first;
                self.suspended(paid);
            }
            (Hold::Suspended, Phase::Up { .. }) => {
                flight.end();
                self.suspended(false);
            }
            (Hold::Paused, Phase::Connecting { .. }) => {
                // The attempt goes on, although a press was about to end it.
                self.timers.stop(Timer::Wait);
                return false;
            }
            _ => return false,
        }
        self.publish(|why| match hold {
            Hold::Suspended => Status::Suspended { why },
            Hold::Paused | Hold::Nothing => Status::Paused { why },
        });
        true
    }

    /// The connection or the attempt was dropped because a handle asks for that.
    pub(super) fn suspended(&mut self, paid: bool) {
        if self.control().is_some_and(Control::take_healed) {
            self.outage.healed();
        }
        self.count(What::Lost);
        self.end_renewal();
        let now = self.now();
        self.outage.suspended(Duration::from_nanos(now));
        self.note_suspension();
        let plan = Plan::by(WaitsFor::Press).paid(paid);
        self.enter(Phase::Waiting { wall: 0, plan });
        let at = self.spread(now).max(self.press_floor());
        self.timers.set(Timer::Wait, at);
        self.tell(&Event::Suspended);
    }

    /// Ends the connection, as a handle asks.
    pub(super) fn end(&mut self, ending: Ending, error: Option<&E>) {
        match ending {
            Ending::Lost(verdict) => self.lost(verdict, error, None),
            Ending::Silent(silent) => self.lost(Verdict::default(), None, Some(silent)),
            Ending::Reconnect => {
                self.lost(Verdict::default(), error, None);
                self.press(Press::Reconnect);
            }
            Ending::MakesRoom => {
                self.make_room();
            }
            Ending::Suspend => {
                self.suspended(false);
                self.publish(|why| Status::Suspended { why });
            }
        }
    }

    /// A handle asks for an attempt.
    pub(super) fn press(&mut self, press: Press) {
        let now = self.now();
        if let Press::Now | Press::Reconnect = press {
            self.count(What::AskedFor);
        }
        match press {
            Press::Now => {
                let at = now.max(self.press_floor());
                self.attempt_at(now, at);
            }
            Press::Spread | Press::Reconnect => self.attempt_soon(now, now),
        }
    }

    /// The network has changed.
    pub(super) fn network_changed(&mut self, hold: Hold) {
        let now = self.now();
        self.outage.network_changed(Duration::from_nanos(now));
        if hold == Hold::Nothing {
            let fold = self.control().map_or(now, |it| it.fold_change(now));
            self.attempt_soon(now, fold);
        }
    }

    /// A program asks for an attempt within a second of `from`. It does not shorten
    /// what the server asked for, or the spread of clients that start together.
    fn attempt_soon(&mut self, now: u64, from: u64) {
        let until = self.timers.get(Timer::Wait).filter(|&until| until > now);
        // One draw for each press: the least of many would be no spread.
        let drawn = until.is_some_and(|until| until <= from.saturating_add(SPREAD));
        match self.phase {
            Phase::Connecting { .. } if drawn => return,
            Phase::Waiting { plan, .. } if plan.by == WaitsFor::Press && drawn => return,
            Phase::Waiting { plan, .. } if plan.by == WaitsFor::Spread && until.is_some() => return,
            _ => {}
        }
        let at = self.spread(from).max(self.press_floor());
        match (self.phase, until) {
            (Phase::Waiting { plan, .. }, Some(until)) if plan.forbids(at, until) => {}
            _ => self.attempt_at(now, at),
        }
    }

    /// Lets the next attempt begin at `at`, if that is earlier than it would. An
    /// attempt in flight ends then.
    fn attempt_at(&mut self, now: u64, at: u64) {
        let until = self.timers.get(Timer::Wait).filter(|&until| until > now);
        let is_earlier = until.is_none_or(|until| at < until);
        match &mut self.phase {
            Phase::Due => {
                // It was held back.
                let plan = Plan::by(WaitsFor::Press).paid(true);
                self.enter(Phase::Waiting { wall: 0, plan });
                self.timers.set(Timer::Wait, at);
            }
            Phase::Waiting { plan, .. } if is_earlier => {
                *plan = Plan::by(WaitsFor::Press).paid(plan.paid);
                self.timers.set(Timer::Wait, at);
            }
            Phase::Connecting { .. } if is_earlier => self.timers.set(Timer::Wait, at),
            _ => {}
        }
    }

    /// A random time within a second of `from`.
    fn spread(&mut self, from: u64) -> u64 {
        from.saturating_add(scale(self.outage.random(), SPREAD))
    }

    /// The earliest time of an attempt that a handle asks for.
    fn press_floor(&self) -> u64 {
        self.control().map_or(0, Control::press_floor)
    }

    /// Ends the driver: there will be no attempt any more.
    pub(super) fn close(&mut self) {
        self.refund();
        self.end_renewal();
        if let Some(saved) = self.take_restored() {
            // For those who save it once more.
            let now = self.now();
            let _ = self
                .outage
                .restore(&saved, Duration::ZERO, Duration::from_nanos(now));
        }
        let is_first = !matches!(self.phase, Phase::Closed);
        self.enter(Phase::Closed);
        if let Some(control) = self.control() {
            control.finish();
        }
        if is_first {
            self.tell(&Event::Closed);
        }
    }
}

/// The text of an attempt that took too long.
fn timed_out(timeout: Duration) -> String {
    use core::fmt::Write;

    let mut text = "timed out after ".to_string();
    let _ = write!(text, "{:?}", readable(timeout));
    text
}
