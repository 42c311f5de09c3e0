//! Decorrelated: each wait is at most three times the wait before.

use core::fmt;
use core::time::Duration;

use super::check::check_range;
use super::{Failed, Policy};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::rng::Rng;

/// Waits that are drawn between `base` and three times the previous wait.
///
/// After a wait d, the next wait is uniform over [`base`, min(3d, `cap`)]. Before
/// the first wait, d is `base`. So the mean grows by half with each wait (less near
/// the cap), and two clients that failed together soon have different ceilings.
///
/// The first wait is between `base` and 3 * `base`; the first waits of
/// [`Stratified`](crate::Stratified) and [`Exponential`](crate::Exponential) are
/// shorter. If `base` equals `cap`, all waits are equal.
///
/// This is the "decorrelated jitter" of "Exponential Backoff And Jitter" (AWS
/// Architecture Blog, 2015) with one change: the cap limits the range before the
/// draw. The article clamps the draw to the cap. Then, with `cap` = 60 * `base`, a
/// third of all waits are exactly the cap, and clients come back together.
///
/// Lengths of more than 584 years count as 584 years.
///
/// ```
/// use redial::{Decorrelated, Policy};
/// use std::time::Duration;
///
/// let base = Duration::from_secs(1);
/// let policy = Decorrelated::new(base, 60 * base);
/// let mut last = base;
/// for wait in policy.delays_from_seed(42).take(20) {
///     assert!(base <= wait && wait <= (3 * last).min(60 * base));
///     last = wait;
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Decorrelated {
    /// In nanoseconds, like all integers here.
    base: u64,
    cap: u64,
}

impl Decorrelated {
    /// Waits from `base` to `cap`.
    ///
    /// # Panics
    ///
    /// If `base` is zero or above `cap`; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(base: Duration, cap: Duration) -> Self {
        expect(Self::try_new(base, cap))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `base` is zero or above `cap`.
    pub fn try_new(base: Duration, cap: Duration) -> Result<Self, InvalidConfig> {
        check_range(base, cap)?;
        Ok(Self {
            base: nanos(base),
            cap: nanos(cap),
        })
    }

    /// The wait after a wait of `last`.
    #[inline]
    fn after(self, last: u64, rng: &mut Rng) -> u64 {
        let most = last.saturating_mul(3).min(self.cap);
        // No overflow: `last` is at least `base`, and `base` at least 1.
        self.base + rng.below(most - self.base + 1)
    }
}

impl fmt::Debug for Decorrelated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decorrelated")
            .field("base", &Duration::from_nanos(self.base))
            .field("cap", &Duration::from_nanos(self.cap))
            .finish()
    }
}

/// The state of [`Decorrelated`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DecorrelatedState {
    /// The latest wait; 0 before the first.
    last: u64,
    /// How many waits have been drawn: the number of the next attempt.
    drawn: u32,
}

/// The most waits that are drawn for attempts that this state did not see, for
/// example before the app was restarted. A step multiplies the typical wait by 3/e,
/// so 64 steps raise it 550-fold. If the cap is lower than that, the chain no longer
/// depends on its beginning.
const MOST_UNSEEN: u32 = 64;

impl Policy for Decorrelated {
    type State = DecorrelatedState;

    #[inline]
    fn begin(&self, _: &mut Rng) -> DecorrelatedState {
        DecorrelatedState::default()
    }

    #[inline]
    fn next_delay(
        &self,
        chain: &mut DecorrelatedState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        if failed.attempt != chain.drawn {
            self.catch_up(chain, rng, failed.attempt);
        }
        chain.last = self.after(chain.last.max(self.base), rng);
        chain.drawn = failed.attempt.saturating_add(1);
        Some(Duration::from_nanos(chain.last))
    }
}

impl Decorrelated {
    /// Draws the missing waits before `attempt`. If the count went back, the chain
    /// starts over.
    #[cold]
    fn catch_up(self, chain: &mut DecorrelatedState, rng: &mut Rng, attempt: u32) {
        if attempt < chain.drawn {
            *chain = DecorrelatedState::default();
        }
        for _ in 0..(attempt - chain.drawn).min(MOST_UNSEEN) {
            chain.last = self.after(chain.last.max(self.base), rng);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Cause;
    use alloc::format;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);

    fn minute() -> Decorrelated {
        Decorrelated::new(SECOND, 60 * SECOND)
    }

    fn failed(attempt: u32) -> Failed {
        Failed::new(attempt, Duration::ZERO, Cause::Down)
    }

    // Computed without this crate, from the definitions of SplitMix64,
    // xoshiro256++ and the law.
    #[test]
    fn a_seed_gives_the_same_waits_on_every_platform() {
        let waits = minute().delays_from_seed(42).take(8);
        let waits: Vec<_> = waits.map(|wait| wait.as_nanos()).collect();
        #[rustfmt::skip]
        assert_eq!(waits, [
            2_628_610_291, 3_195_347_760, 9_447_757_911, 20_171_342_584,
            47_816_764_892, 35_697_809_522, 8_395_794_081, 15_636_327_970,
        ]);
    }

    #[test]
    fn each_wait_lies_between_the_base_and_three_times_the_last() {
        for seed in 0..100 {
            let mut last = SECOND;
            for wait in minute().delays_from_seed(seed).take(200) {
                assert!(SECOND <= wait && wait <= (3 * last).min(60 * SECOND));
                last = wait;
            }
        }
    }

    #[test]
    fn the_range_reaches_both_of_its_ends() {
        // 10 000 draws miss an end of 10..=30 with a probability below 1e-200.
        let policy = Decorrelated::new(10 * NANOSECOND, 60 * NANOSECOND);
        let first = |seed| policy.delays_from_seed(seed).next().unwrap().as_nanos();
        assert_eq!((0..10_000).map(first).min(), Some(10));
        assert_eq!((0..10_000).map(first).max(), Some(30));
    }

    #[test]
    fn no_wait_piles_up_at_the_cap() {
        // If draws were clamped, a third of these would be 60 s; now it is one in 5e10.
        let waits = minute().delays_from_seed(3).take(10_000);
        assert_eq!(waits.filter(|&wait| wait == 60 * SECOND).count(), 0);
    }

    #[test]
    fn the_mean_grows_by_half_with_each_wait() {
        let policy = Decorrelated::new(SECOND, Duration::MAX);
        let outages = 40_000;
        let mut sums = [0.0; 5];
        for seed in 0..outages {
            for (sum, wait) in sums.iter_mut().zip(policy.delays_from_seed(seed)) {
                *sum += wait.as_secs_f64();
            }
        }
        let mut exact = 1.0;
        for (k, sum) in sums.into_iter().enumerate() {
            // 2 * 1.5^k - 1. A wait is at most 3^k: Hoeffding's bound, with a
            // probability of 1e-9 for a false alarm.
            exact = 1.5 * exact + 0.5;
            let bound = 3_f64.powi(k as i32 + 1) * (21.42 / (2.0 * outages as f64)).sqrt();
            assert!((sum / outages as f64 - exact).abs() < bound, "{k}");
        }
    }

    #[test]
    fn attempts_that_the_state_did_not_see_count_as_waits() {
        let mut seen = minute().start(Rng::from_seed(5));
        let mut unseen = minute().start(Rng::from_seed(5));
        let last = (0..=20).map(|n| seen.next_delay(&failed(n))).last();
        assert_eq!(Some(unseen.next_delay(&failed(20))), last);
        assert_eq!(unseen.next_delay(&failed(21)), seen.next_delay(&failed(21)));

        let mut partly_seen = minute().start(Rng::from_seed(5));
        for attempt in 0..3 {
            partly_seen.next_delay(&failed(attempt));
        }
        assert_eq!(Some(partly_seen.next_delay(&failed(20))), last);
    }

    #[test]
    fn a_leap_over_many_attempts_takes_sixty_four_draws() {
        let mut far = minute().start(Rng::from_seed(5));
        let mut near = minute().start(Rng::from_seed(5));
        let wait = far.next_delay(&failed(u32::MAX));
        assert_eq!(wait, near.next_delay(&failed(64)));
        assert!(far.next_delay(&failed(u32::MAX)).unwrap() <= 60 * SECOND);
    }

    #[test]
    fn a_count_that_goes_back_to_zero_starts_over() {
        let mut backoff = minute().start(Rng::from_seed(5));
        for _ in 0..50 {
            for attempt in 0..10 {
                let wait = backoff.next_delay(&failed(attempt)).unwrap();
                assert!(wait <= 3_u32.pow(attempt + 1) * SECOND);
            }
        }
    }

    #[test]
    fn waits_stay_within_any_cap_and_are_never_below_the_base() {
        let lengths = [
            NANOSECOND,
            2 * NANOSECOND,
            Duration::from_millis(999),
            SECOND,
            Duration::from_nanos(u64::MAX),
        ];
        for (i, &base) in lengths.iter().enumerate() {
            for &cap in &lengths[i..] {
                let policy = Decorrelated::new(base, cap);
                let mut waits = policy.delays_from_seed(5).take(200);
                assert!(waits.all(|wait| base <= wait && wait <= cap), "{policy:?}");
            }
        }
        let endless = Decorrelated::new(Duration::MAX, Duration::MAX);
        let mut waits = endless.delays_from_seed(5).take(200);
        assert!(waits.all(|wait| wait == Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn invalid_lengths_are_refused_with_their_values() {
        let zero = Decorrelated::try_new(Duration::ZERO, SECOND).unwrap_err();
        assert_eq!((zero.setting(), zero.value()), ("base", "0ns"));
        let above = Decorrelated::try_new(2 * SECOND, SECOND).unwrap_err();
        assert_eq!((above.setting(), above.value()), ("base", "2s"));
    }

    #[test]
    fn debug_shows_what_was_configured() {
        assert_eq!(
            format!("{:?}", minute()),
            "Decorrelated { base: 1s, cap: 60s }"
        );
    }
}
