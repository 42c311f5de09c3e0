//! What a driver knows between two polls.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::cell::OnceCell;
use core::num::NonZeroU64;
use core::time::Duration;

use super::extras::Extras;
use crate::clock::{Instant, Stopwatch, Timer, Timers};
use crate::control::{Control, WaitsFor};
use crate::nanos::nanos;
use crate::outage::{Outage, Reason};
use crate::policy::Policy;
use crate::verdict::Verdict;

/// All of a driver except its connector and what that makes.
pub(super) struct Core<E, P: Policy> {
    pub(super) phase: Phase,
    /// The deadlines of the present phase.
    pub(super) timers: Timers,
    /// The driver's own time, which starts when it is first read. The deadlines
    /// and the outage count in it.
    pub(super) stopwatch: Option<Stopwatch>,
    pub(super) outage: Outage<P>,
    /// Judges errors if there is no classifier, and adds their text if that is
    /// asked for. A pointer, because only
    /// [`Redial::new`](super::Redial::new) knows that `E` is `'static`. As a
    /// bound of `Connect` that would keep drivers with an error of `&'static
    /// str` from being spawned.
    pub(super) judge: fn(&E, Option<&mut String>) -> Verdict,
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

/// What a wait is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) by: WaitsFor,
    /// The attempt that follows needs no token.
    pub(super) paid: bool,
    /// How many milliseconds before the end of the wait the time is over that the
    /// server asked for.
    spare: u32,
}

impl Plan {
    /// The server asked for nothing.
    const NO_HINT: u32 = u32::MAX;

    pub(super) const fn by(by: WaitsFor) -> Self {
        Self {
            by,
            paid: false,
            spare: Self::NO_HINT,
        }
    }

    /// A wait whose attempt needs no token.
    pub(super) const fn paid(self, paid: bool) -> Self {
        Self { paid, ..self }
    }

    /// A wait of this length after the server asked for `hint`.
    pub(super) fn hinted(wait: Duration, hint: Duration) -> Self {
        let spare = wait.saturating_sub(hint);
        // A wait that only the hint explains; see `Verdict::RetryAfter`.
        let by = if spare < hint.max(Duration::from_secs(1)) {
            WaitsFor::Server
        } else {
            WaitsFor::Policy
        };
        Self {
            by,
            paid: false,
            spare: (spare.as_millis() as u64).min(Self::NO_HINT as u64 - 1) as u32,
        }
    }

    /// A wait that only a person ends, as if the server had asked for all of it.
    pub(super) const fn whole(self) -> Self {
        Self { spare: 0, ..self }
    }

    /// Whether the server asked the client not to come at `at`, in a wait that ends
    /// at `until`.
    pub(super) fn forbids(self, at: u64, until: u64) -> bool {
        let spare = self.spare as u64 * 1_000_000;
        self.spare != Self::NO_HINT && at < until.saturating_sub(spare)
    }
}

/// A time on the driver's stopwatch, or none, in eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted(Option<NonZeroU64>);

impl Noted {
    pub(super) const NEVER: Self = Self(None);

    pub(super) fn at(now: u64) -> Self {
        Self(NonZeroU64::new(now.saturating_add(1)))
    }

    pub(super) fn get(self) -> Option<u64> {
        self.0.map(|noted| noted.get() - 1)
    }
}

/// What the driver does now; `phases` has the way from one to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// The next attempt is due.
    Due,
    /// The first attempt is due, and is spread or pays the budget.
    First,
    /// An outage was carried over a restart of the program. It goes on when the
    /// driver is polled.
    Restored,
    /// An attempt is in flight. Its deadline is set once it was pending.
    Connecting {
        /// When it began, once it was pending.
        since: Noted,
    },
    /// A wait of zero, in which other tasks get their turn. So no poll makes
    /// two attempts.
    Yielding { yielded: bool },
    /// A wait, which a press can end.
    Waiting {
        /// What the wall clock showed when the present nap began.
        wall: u64,
        plan: Plan,
    },
    /// The budget is asked for a token, and has not answered yet.
    Asking,
    /// The budget's wait. The token is already taken.
    Paying {
        /// As in `Waiting`.
        wall: u64,
    },
    /// There is a connection.
    Up {
        /// When it came up, if that was noted.
        since: Noted,
    },
    /// No attempt follows. The caller has not been told yet.
    GivingUp(Reason),
    /// The caller has been told. The next call begins anew, unless an error was
    /// judged to be [`Verdict::Stop`].
    GaveUp {
        reason: Reason,
        /// Other tasks had their turn before the caller is told again.
        yielded: bool,
    },
    /// No attempt will ever follow.
    Closed,
}

/// Why there is no connection.
///
/// It is small, because each connection is returned beside it. The `Error` that
/// the caller gets says more.
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
            stopwatch: self.stopwatch,
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

    /// The present time on the driver's stopwatch, in nanoseconds.
    pub(super) fn now(&mut self) -> u64 {
        if let Some(stopwatch) = &self.stopwatch {
            return nanos(stopwatch.elapsed());
        }
        self.stopwatch = Some(Stopwatch::start());
        0
    }

    /// The instant of a time on the driver's stopwatch.
    pub(super) fn instant(&self, time: u64) -> Instant {
        let stopwatch = self.stopwatch.as_ref();
        stopwatch.map_or_else(Instant::now, |stopwatch| stopwatch.instant(time))
    }

    /// An instant on the driver's stopwatch, in nanoseconds.
    pub(super) fn time_of(&mut self, instant: Instant) -> u64 {
        self.stopwatch
            .get_or_insert_with(Stopwatch::start)
            .shows(instant)
    }

    /// When the present wait ends, if there is one.
    pub(super) fn wait_ends(&self) -> Option<u64> {
        if let Phase::Connecting { .. } = self.phase {
            return None;
        }
        let wait = self.timers.get(Timer::Wait);
        wait.or_else(|| self.timers.get(Timer::Budget))
    }

    /// Begins a phase, without the deadlines of the one before.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.timers = Timers::none();
    }
}
