//! The budget: a token for each reconnect.

use core::time::Duration;

use super::state::{Core, Phase};
use crate::bucket::TokenBucket;
use crate::clock::{Stopwatch, Timer, after};
use crate::policy::Policy;

/// How late an attempt may be for the token that it reserved.
///
/// An attempt that is later would be one of many: of all clients that were
/// paused, or that nobody polled.
pub(super) const TOKEN_SLACK: Duration = Duration::from_secs(1);

/// The bucket that reconnects are paid from.
#[derive(Default)]
pub(super) struct Budget {
    pub(super) bucket: Option<TokenBucket>,
    reserved: Option<Reserved>,
}

/// A token that is taken, and not there yet.
struct Reserved {
    age: Stopwatch,
    /// How old this is when the token is due.
    wait: Duration,
}

impl Budget {
    /// Takes a token. Returns the wait for it, if it is not there yet.
    fn reserve(&mut self) -> Option<Duration> {
        let wait = self.bucket.as_ref().map(TokenBucket::reserve)?;
        self.reserved = (!wait.is_zero()).then(|| Reserved {
            age: Stopwatch::start(),
            wait,
        });
        self.reserved.as_ref().map(|reserved| reserved.wait)
    }

    /// Gives the token back, unless the bucket could have filled up since it
    /// was due. Then the bucket has earned the token anew.
    fn refund(&mut self) {
        if let (Some(reserved), Some(bucket)) = (self.reserved.take(), &self.bucket) {
            if reserved.age.elapsed() < reserved.wait.saturating_add(bucket.fills_within()) {
                bucket.give_back();
            }
        }
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
        self.enter(Phase::Paying);
        let now = self.now();
        self.timers.set(Timer::Budget, after(now, wait));
        self.announce_wait(wait);
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
        self.enter(Phase::Waiting { wall: 0 });
        if let Some(until) = until {
            self.timers.set(Timer::Wait, until);
        }
    }
}
