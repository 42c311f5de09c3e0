//! The rate of a token bucket as a policy.

use core::fmt;
use core::time::Duration;

use super::{Failed, Policy};
use crate::nanos::nanos;
use crate::rng::Rng;

/// The rate of a [`TokenBucket`](crate::TokenBucket) as a policy, made by
/// [`TokenBucket::as_policy`](crate::TokenBucket::as_policy).
///
/// Each outage has its own account, whether the bucket is empty or not: `burst`
/// tokens when the outage begins, and one more each period. A wait lasts until the
/// outage's next token and then for a time that is uniform over (0, `period`], so
/// that clients that lost their server together do not return in step. No wait is
/// longer than two periods.
///
/// The rate holds for each client: a thousand clients make attempts at a thousand
/// times the rate. To limit many connections together, share the bucket as their
/// [budget](crate::Redial::budget).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BucketPolicy {
    /// In nanoseconds, as below.
    period: u64,
    /// How far ahead of now an account may be and still leave one token.
    tolerance: u64,
}

/// The state of a [`BucketPolicy`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketState {
    /// When the account is full again, in nanoseconds since the outage began.
    full_at: u64,
}

impl BucketPolicy {
    /// The bucket has checked both.
    pub(crate) const fn new(period: u64, tolerance: u64) -> Self {
        Self { period, tolerance }
    }
}

impl Policy for BucketPolicy {
    type State = BucketState;

    fn begin(&self, _: &mut Rng) -> BucketState {
        BucketState::default()
    }

    #[inline]
    fn next_delay(
        &self,
        account: &mut BucketState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        let Self { period, tolerance } = *self;
        let elapsed = nanos(failed.elapsed);
        // The latest `full_at` that leaves a token now.
        let latest = elapsed.saturating_add(tolerance).min(u64::MAX - 1);
        // Each attempt costs a period, also an attempt that this account did not see.
        // But if waits were cut short (retry now), the next wait is for one token, not
        // for all the tokens that are owed.
        let full_at = account
            .full_at
            .max(period.saturating_mul(failed.attempt as u64))
            .min(latest.saturating_add(period));
        let token = full_at.saturating_sub(latest);
        account.full_at = full_at.max(elapsed).saturating_add(period);
        let spread = 1 + rng.below(period);
        Some(Duration::from_nanos(token.saturating_add(spread)))
    }
}

impl fmt::Debug for BucketPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketPolicy")
            .field("burst", &(self.tolerance / self.period + 1))
            .field("period", &Duration::from_nanos(self.period))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    #[test]
    fn debug_shows_the_bucket() {
        for burst in [1, 3, u32::MAX] {
            let bucket = crate::TokenBucket::new(burst, Duration::from_secs(2));
            assert_eq!(
                alloc::format!("{:?}", bucket.as_policy()),
                alloc::format!("BucketPolicy {{ burst: {burst}, period: 2s }}")
            );
        }
    }
}
