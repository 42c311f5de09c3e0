//! The budget: a token for each reconnect.

use core::time::Duration;

use super::state::{Core, Phase, Plan};
use crate::bucket::{Reserved, TokenBucket};
use crate::clock::{Timer, after};
use crate::control::WaitsFor;
use crate::policy::Policy;

/// How late an attempt may be for the token that it reserved, if the bucket's
/// period is shorter.
///
/// An attempt that is later would be one of many: of all clients that were
/// paused, or that nobody polled. Within one period of a bucket only one token
/// comes due, so a lateness of a period adds one attempt at most.
const TOKEN_SLACK: Duration = Duration::from_secs(1);

/// The bucket that reconnects are paid from.
#[derive(Default)]
pub(super) struct Budget {
    pub(super) bucket: Option<TokenBucket>,
    /// A token that is taken, and not there yet.
    reserved: Option<Reserved>,
}

impl Budget {
    /// Takes a token. Returns the wait for it, if it is not there yet.
    fn reserve(&mut self) -> Option<Duration> {
        let reserved = self.bucket.as_ref()?.reserve();
        let wait = reserved.wait();
        if wait.is_zero() {
            return None; // and it is used at once
        }
        self.reserved = Some(reserved);
        Some(wait)
    }

    fn refund(&mut self) {
        if let (Some(reserved), Some(bucket)) = (self.reserved.take(), &self.bucket) {
            bucket.give_back(reserved);
        }
    }

    /// How late an attempt may be for its token.
    fn slack(&self) -> Duration {
        let period = self.bucket.as_ref().map(TokenBucket::period);
        TOKEN_SLACK.max(period.unwrap_or_default())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.refund();
    }
}

impl<E, P: Policy> Core<E, P> {
    /// The policy's wait is over. Takes a token, and waits for it if it must.
    pub(super) fn pay(&mut self) {
        let budget = self.extras.as_mut().map(|extras| &mut extras.budget);
        let Some(wait) = budget.and_then(Budget::reserve) else {
            self.enter(Phase::Due);
            return;
        };
        let now = self.now();
        self.enter(Phase::Paying { wall: 0 });
        let until = after(now, wait);
        self.timers.set(Timer::Budget, until);
        self.begin_naps(now, until);
        self.announce_wait(wait);
    }

    /// Whether an attempt that begins now is too late for its token, which was
    /// due then.
    pub(super) fn is_late(&mut self, due: u64) -> bool {
        let budget = self.extras.as_ref().map(|extras| &extras.budget);
        let slack = budget.map_or(TOKEN_SLACK, Budget::slack);
        self.now() > after(due, slack)
    }

    /// The token is used.
    pub(super) fn spend(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.budget.reserved = None;
        }
    }

    /// Gives the reserved token back, if there is one.
    pub(super) fn refund(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.budget.refund();
        }
    }

    /// Gives the reserved token back, and takes another when the driver is
    /// polled: of another bucket.
    pub(super) fn pay_anew(&mut self) {
        self.leave_queue();
        let now = self.now();
        self.timers.set(Timer::Wait, now);
    }

    /// Gives the reserved token back and keeps its instant as a plain wait,
    /// after which the driver takes another token.
    pub(super) fn leave_queue(&mut self) {
        let until = self.timers.get(Timer::Budget);
        self.refund();
        self.enter(Phase::Waiting {
            wall: 0,
            plan: Plan::by(WaitsFor::Budget),
        });
        if let Some(until) = until {
            self.timers.set(Timer::Wait, until);
        }
    }
}
