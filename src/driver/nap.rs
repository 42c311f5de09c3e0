//! How a wait notices that the device slept.

use core::time::Duration;

use super::phases::{Core, Phase};
use crate::clock::{Instant, WallTime};
use crate::nanos::scale;
use crate::policy::Policy;

/// How long a device may have slept unnoticed, at most, until its wait is over.
pub(super) const NAP: Duration = Duration::from_secs(15);
/// What a wall clock may be corrected by without being taken for a sleep.
const WALL_SLACK: Duration = Duration::from_secs(2);

/// A part of a long wait, after which the wall clock is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nap {
    pub(super) began: Instant,
    pub(super) wall: WallTime,
}

impl<E, P: Policy> Core<E, P> {
    /// At the end of a nap within a long wait: whether the wait goes on.
    pub(super) fn nap_again(&mut self, until: Instant) -> bool {
        let Some(nap) = self.nap else {
            return false;
        };
        let now = Instant::now();
        if now >= until {
            return false;
        }
        let wall = self.wall_time();
        let by_wall = wall.duration_since(nap.wall).unwrap_or_default();
        let slept = by_wall.saturating_sub(now.since(nap.began));
        let until = if slept > WALL_SLACK {
            // Overdue attempts are spread a little: a shared host that wakes
            // has many clients.
            let left = until.since(now);
            let soon = scale(self.outage.random(), 1_000_000_000);
            let wait = left.saturating_sub(slept);
            now.after(wait.max(Duration::from_nanos(soon)).min(left))
        } else {
            until
        };
        self.nap = (until.since(now) > NAP).then_some(Nap { began: now, wall });
        self.phase = Phase::Waiting { until };
        true
    }
}
