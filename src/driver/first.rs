//! The first connect, if it is not to be made at once.

use core::time::Duration;

use super::state::{Core, Phase, Plan};
use crate::control::WaitsFor;
use crate::nanos::{nanos, scale};
use crate::policy::Policy;

impl<E, P: Policy> Core<E, P> {
    /// The first attempt is spread, or pays the budget, if it was not made yet.
    pub(super) fn first_is_special(&mut self) {
        if matches!(self.phase, Phase::Due) && !self.outage.is_ongoing() {
            self.phase = Phase::First;
        }
    }

    /// Begins the wait before the first attempt.
    pub(super) fn spread_first(&mut self) {
        let extras = self.extras();
        let (over, paid) = (extras.spread_first, !extras.pay_first);
        if over.is_zero() {
            self.pay();
            return;
        }
        let now = self.now();
        let wait = scale(self.outage.random(), nanos(over));
        let plan = Plan::by(WaitsFor::Spread).paid(paid);
        self.wait(now, now.saturating_add(wait), plan);
        self.announce_wait(Duration::from_nanos(wait));
    }
}
