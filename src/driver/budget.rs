//! The budget: a token for each reconnect.

use core::time::Duration;

use super::phases::{Core, Phase};
use crate::bucket::TokenBucket;
use crate::clock::Instant;
use crate::policy::Policy;

/// How late an attempt may be for the token that it reserved. Later than that
/// it would be one of many: all who were not polled, or paused.
pub(super) const TOKEN_SLACK: Duration = Duration::from_secs(1);

/// The bucket that reconnects are paid from.
#[derive(Default)]
pub(super) struct Budget {
    pub(super) bucket: Option<TokenBucket>,
    /// When the token is due that was taken for an attempt still waited for.
    due: Option<Instant>,
}

impl Budget {
    /// When there is a token to spend, where that is not now.
    pub(super) fn reserve(&mut self) -> Option<Instant> {
        let wait = self.bucket.as_ref().map(TokenBucket::reserve)?;
        self.due = (!wait.is_zero()).then(|| Instant::now().after(wait));
        self.due
    }

    pub(super) fn spend(&mut self) {
        self.due = None;
    }

    /// Gives the token back, unless the bucket could have filled up since:
    /// then it has been earned anew.
    pub(super) fn refund(&mut self) {
        if let (Some(due), Some(bucket)) = (self.due.take(), &self.bucket) {
            if Instant::now() < due.after(bucket.fills_within()) {
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
    pub(super) fn refund(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.budget.refund();
        }
    }

    /// The policy's wait is over; the budget's may begin.
    pub(super) fn pay(&mut self) {
        let budget = self.extras.as_mut().map(|extras| &mut extras.budget);
        let Some(until) = budget.and_then(Budget::reserve) else {
            self.phase = Phase::Due;
            return;
        };
        self.phase = Phase::Paying { until };
        let wait = until.since(Instant::now());
        self.announce_wait(wait, until);
    }
}
