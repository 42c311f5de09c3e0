//! How a wait notices that the device slept.
//!
//! The monotonic clocks of Linux and macOS stand still while the device is
//! suspended; the wall clock does not. So a long wait is a row of naps. At the
//! end of each one the driver compares what the two clocks say that it took.

use core::time::Duration;

use super::state::{Core, Phase, Plan};
use crate::clock::{Timer, wall_nanos};
use crate::nanos::{nanos, scale};
use crate::policy::Policy;

/// The longest time from waking until a driver notices that it slept.
const NAP: u64 = nanos(Duration::from_secs(15));
/// A wall clock may be corrected by so much without being taken for a sleep.
const WALL_SLACK: u64 = nanos(Duration::from_secs(2));

impl<E, P: Policy> Core<E, P> {
    /// Begins a wait until `until`, with its first nap if that is long.
    pub(super) fn wait(&mut self, now: u64, until: u64, plan: Plan) {
        self.enter(Phase::Waiting { wall: 0, plan });
        self.timers.set(Timer::Wait, until);
        self.begin_naps(now, until);
    }

    /// Begins the first nap of a wait, if that is long.
    pub(super) fn begin_naps(&mut self, now: u64, until: u64) {
        if until.saturating_sub(now) > NAP {
            let wall = wall_nanos(self.wall_time());
            self.nap(now, wall);
        }
    }

    fn nap(&mut self, now: u64, before: u64) {
        if let Phase::Waiting { wall, .. } | Phase::Paying { wall } = &mut self.phase {
            *wall = before;
            self.timers.set(Timer::Nap, now + NAP);
        }
    }

    /// Begins the present nap anew, if there is one: with another wall clock.
    pub(super) fn nap_anew(&mut self) {
        if self.timers.get(Timer::Nap).is_some() {
            let now = self.now();
            let wall = wall_nanos(self.wall_time());
            self.nap(now, wall);
        }
    }

    /// At the end of a nap that began at `before` on the wall clock: whether
    /// the wait goes on, perhaps with an earlier deadline.
    ///
    /// A token of the budget is waited for in the same way: while the device
    /// slept, tokens came due, and this one was among them.
    pub(super) fn nap_is_not_the_last(&mut self, before: u64) -> bool {
        let timer = match self.phase {
            Phase::Paying { .. } => Timer::Budget,
            _ => Timer::Wait,
        };
        let (Some(until), Some(woken)) = (self.timers.get(timer), self.timers.get(Timer::Nap))
        else {
            return false;
        };
        let now = self.now();
        let left = until.saturating_sub(now);
        if left == 0 {
            return false;
        }
        let wall = wall_nanos(self.wall_time());
        let by_wall = wall.saturating_sub(before);
        let slept = by_wall.saturating_sub(now.saturating_sub(woken - NAP));
        let left = if slept > WALL_SLACK {
            // Overdue attempts are spread a little, because a shared host that
            // wakes has many clients.
            let soon = scale(self.outage.random(), nanos(Duration::from_secs(1)));
            left.saturating_sub(slept).max(soon).min(left)
        } else {
            left
        };
        self.timers.set(timer, now + left);
        self.timers.stop(Timer::Nap);
        if left > NAP {
            self.nap(now, wall);
        }
        true
    }
}
