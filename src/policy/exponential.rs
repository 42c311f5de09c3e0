//! Exponential: a ceiling that grows by a factor with each attempt, up to a cap.

use core::fmt;
use core::time::Duration;

use super::check::{check_factor, check_range};
use super::jitter::{Jitter, Spread};
use super::{Failed, Policy};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::rng::Rng;

/// Waits below a ceiling that starts at `base` and grows by a factor with each
/// attempt, up to `cap`.
///
/// The ceiling of wait n, counted from 0, is min(`cap`, `base` *
/// factor<sup>n</sup>). The [`Jitter`] draws the wait from the ceiling, after the
/// cap.
///
/// No wait is longer than `cap`, and no wait is zero. The first wait is at most
/// `base`, or `base` * (1 + j) with [`Jitter::Proportional`].
///
/// # Defaults
///
/// A [`factor`](Self::factor) of 2 and [`Jitter::Full`], as in "Exponential
/// Backoff And Jitter" (AWS Architecture Blog, 2015). Lengths of more than 584
/// years count as 584 years.
///
/// ```
/// use redial::{Exponential, Jitter, Policy};
/// use std::time::Duration;
///
/// let policy = Exponential::new(Duration::from_secs(1), Duration::from_secs(60));
/// let first = policy.delays_from_seed(42).next().unwrap();
/// assert!(first <= Duration::from_secs(1));
///
/// let bare = policy.jitter(Jitter::None);
/// let waits: Vec<u64> = bare.delays_from_seed(42).take(8).map(|d| d.as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Exponential {
    /// In nanoseconds, like all integers here.
    base: u64,
    cap: u64,
    /// The highest ceiling: the cap, minus what the jitter may add.
    held: u64,
    factor: f64,
    spread: Spread,
}

impl Exponential {
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
        let spread = Spread::default();
        Ok(Self {
            base: nanos(base),
            cap: nanos(cap),
            held: spread.held(nanos(cap)),
            factor: 2.0,
            spread,
        })
    }

    /// The factor between a ceiling and the next one: 2 by default.
    ///
    /// With 1 all ceilings are `base`.
    ///
    /// # Panics
    ///
    /// If `factor` is below 1, infinite or NaN;
    /// [`try_factor`](Self::try_factor) does not.
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        expect(self.try_factor(factor))
    }

    /// As [`factor`](Self::factor).
    ///
    /// # Errors
    ///
    /// If `factor` is below 1, infinite or NaN.
    pub fn try_factor(self, factor: f64) -> Result<Self, InvalidConfig> {
        check_factor("factor", factor)?;
        Ok(Self { factor, ..self })
    }

    /// How waits are drawn: [`Jitter::Full`] by default.
    ///
    /// # Panics
    ///
    /// If the j of [`Jitter::Proportional`] is below 0, above 1 or NaN;
    /// [`try_jitter`](Self::try_jitter) does not.
    #[track_caller]
    pub fn jitter(self, jitter: Jitter) -> Self {
        expect(self.try_jitter(jitter))
    }

    /// As [`jitter`](Self::jitter).
    ///
    /// # Errors
    ///
    /// If the j of [`Jitter::Proportional`] is below 0, above 1 or NaN.
    pub fn try_jitter(self, jitter: Jitter) -> Result<Self, InvalidConfig> {
        let spread = Spread::try_new(jitter)?;
        Ok(Self {
            held: spread.held(self.cap),
            spread,
            ..self
        })
    }

    /// The ceiling of `attempt` before the cap, by repeated squaring, because core
    /// has no `powi`.
    #[cold]
    fn power(&self, attempt: u32) -> f64 {
        let mut power = self.base as f64;
        let mut square = self.factor;
        let mut rest = attempt;
        while rest > 0 {
            if rest & 1 == 1 {
                power *= square;
            }
            square *= square;
            rest >>= 1;
        }
        power
    }
}

#[allow(clippy::missing_fields_in_debug)] // prints settings, not computed fields
impl fmt::Debug for Exponential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exponential")
            .field("base", &Duration::from_nanos(self.base))
            .field("cap", &Duration::from_nanos(self.cap))
            .field("factor", &self.factor)
            .field("jitter", &self.spread)
            .finish()
    }
}

/// The state of [`Exponential`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ExponentialState {
    /// The latest ceiling before the cap, in nanoseconds, or infinity. It is a float
    /// so that factors near 1 accumulate.
    latest: f64,
    /// The number of the next attempt; 0 before the first wait.
    next: u32,
}

impl Policy for Exponential {
    type State = ExponentialState;

    #[inline]
    fn begin(&self, _: &mut Rng) -> ExponentialState {
        ExponentialState::default()
    }

    #[inline]
    fn next_delay(
        &self,
        growth: &mut ExponentialState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        growth.latest = if failed.attempt == 0 {
            self.base as f64
        } else if failed.attempt == growth.next {
            growth.latest * self.factor
        } else {
            self.power(failed.attempt)
        };
        // After u32::MAX comes 0, which starts over.
        growth.next = failed.attempt.wrapping_add(1);
        let ceiling = if failed.attempt == 0 {
            // Without floats, which would round a base above 2^53 ns.
            self.base.min(self.held)
        } else if growth.latest < self.held as f64 {
            // A float below the float nearest to `held` is at most `held`.
            growth.latest as u64
        } else {
            self.held
        };
        Some(Duration::from_nanos(self.spread.draw(rng, ceiling)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Cause;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);
    const JITTERS: [Jitter; 7] = [
        Jitter::None,
        Jitter::Full,
        Jitter::Equal,
        Jitter::Proportional(0.0),
        Jitter::Proportional(0.005),
        Jitter::Proportional(0.2),
        Jitter::Proportional(1.0),
    ];

    fn minute() -> Exponential {
        Exponential::new(SECOND, 60 * SECOND)
    }

    /// The first eight waits, in nanoseconds.
    fn golden(policy: Exponential) -> Vec<u128> {
        let waits = policy.delays_from_seed(42).take(8);
        waits.map(|wait| wait.as_nanos()).collect()
    }

    /// The wait of an attempt if the policy has not seen those before it.
    fn alone(policy: Exponential, attempt: u32) -> Duration {
        let mut backoff = policy.start(Rng::from_seed(1));
        let failed = Failed::new(attempt, Duration::ZERO, Cause::Down);
        backoff.next_delay(&failed).unwrap()
    }

    // Computed without this crate, from the definitions of SplitMix64,
    // xoshiro256++ and the laws.
    #[test]
    fn a_seed_gives_the_same_waits_on_every_platform() {
        #[rustfmt::skip]
        assert_eq!(golden(minute()), [
            814_305_146, 637_642_081, 3_935_576_673, 5_609_084_786,
            12_696_071_836, 18_819_150_927, 7_521_146_524, 36_307_346_920,
        ]);
        #[rustfmt::skip]
        assert_eq!(golden(minute().jitter(Jitter::Equal)), [
            907_152_573, 1_318_821_041, 3_967_788_337, 6_804_542_393,
            14_348_035_918, 25_409_575_464, 33_760_573_262, 48_153_673_460,
        ]);
        #[rustfmt::skip]
        assert_eq!(golden(minute().jitter(Jitter::Proportional(0.2))), [
            1_125_722_058, 1_855_056_832, 4_774_230_670, 8_643_633_914,
            17_878_428_734, 33_127_660_371, 42_507_048_843, 52_102_448_974,
        ]);
    }

    #[test]
    fn a_ceiling_is_the_base_times_a_power_of_the_factor_up_to_the_cap() {
        let policy = Exponential::new(SECOND, 120 * SECOND)
            .factor(1.6)
            .jitter(Jitter::None);
        let mut exact = 1e9_f64;
        for wait in policy.delays_from_seed(0).take(100) {
            let wait = wait.as_nanos() as f64;
            // 100 roundings of 2^-53, and one to a whole nanosecond.
            assert!((wait - exact.min(120e9)).abs() <= 1.0 + 1e-14 * exact.min(120e9));
            exact *= 1.6;
        }
        for attempt in [1, 2, 3, 5, 8, 10, 11, 1_000] {
            let told = alone(policy, attempt).as_nanos() as f64;
            let exact = (0..attempt).fold(1e9_f64, |c, _| c * 1.6).min(120e9);
            assert!((told - exact).abs() <= 1.0 + 1e-14 * exact, "{attempt}");
        }
    }

    #[test]
    fn a_factor_of_one_keeps_the_ceiling_at_the_base() {
        let constant = minute().factor(1.0).jitter(Jitter::None);
        let mut waits = constant.delays_from_seed(0).take(1_000);
        assert!(waits.all(|wait| wait == SECOND));
        assert_eq!(alone(constant, u32::MAX), SECOND);
    }

    #[test]
    fn attempts_out_of_order_get_the_ceilings_of_their_numbers() {
        let policy = minute().jitter(Jitter::None);
        let mut backoff = policy.start(Rng::from_seed(1));
        for (attempt, seconds) in [(3, 8), (4, 16), (1, 2), (1, 2), (2, 4), (0, 1), (1, 2)] {
            let failed = Failed::new(attempt, Duration::ZERO, Cause::Down);
            assert_eq!(backoff.next_delay(&failed), Some(seconds * SECOND));
        }
    }

    #[test]
    fn waits_from_attempt_sixty_four_on_stay_within_the_cap() {
        for jitter in JITTERS {
            for factor in [1.0, 1.000_000_001, 2.0, 1e10, f64::MAX] {
                let policy = minute().factor(factor).jitter(jitter);
                for wait in policy.delays_from_seed(7).take(2_000) {
                    assert!(Duration::ZERO < wait && wait <= 60 * SECOND);
                }
                for attempt in [63, 64, 65, 66, 1_000_000, u32::MAX - 1, u32::MAX] {
                    let wait = alone(policy, attempt);
                    assert!(Duration::ZERO < wait && wait <= 60 * SECOND);
                }
            }
        }
    }

    #[test]
    fn waits_stay_within_any_cap_and_are_never_zero() {
        let most = Duration::from_nanos(u64::MAX);
        let lengths = [
            NANOSECOND,
            2 * NANOSECOND,
            Duration::from_millis(999),
            SECOND,
            most,
            Duration::MAX,
        ];
        for (i, &base) in lengths.iter().enumerate() {
            for &cap in &lengths[i..] {
                for jitter in JITTERS {
                    let policy = Exponential::new(base, cap).jitter(jitter);
                    for wait in policy.delays_from_seed(5).take(100) {
                        assert!(Duration::ZERO < wait && wait <= cap, "{policy:?}: {wait:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_wait_is_at_most_the_base() {
        for seed in 0..1_000 {
            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
                let mut waits = minute().jitter(jitter).delays_from_seed(seed);
                assert!(waits.next().unwrap() <= SECOND);
            }
            let mut waits = minute()
                .jitter(Jitter::Proportional(0.2))
                .delays_from_seed(seed);
            assert!(waits.next().unwrap() <= 6 * SECOND / 5);
        }
    }

    #[test]
    fn waits_at_the_cap_are_spread_evenly() {
        for (jitter, least) in [
            (Jitter::Full, 0),
            (Jitter::Equal, 30),
            (Jitter::Proportional(0.2), 40),
        ] {
            let policy = minute().jitter(jitter);
            let width = 60 - least;
            let mut quarters = [0; 4];
            for wait in policy.delays_from_seed(8).skip(6).take(4_000) {
                let place = (wait.as_secs_f64() - least as f64) / width as f64;
                quarters[((place * 4.0) as usize).min(3)] += 1;
            }
            // 1000 each. A binomial is 7 deviations off with a probability of 3e-12.
            for count in quarters {
                assert!((800..1_200).contains(&count), "{jitter:?}: {quarters:?}");
            }
        }
    }

    #[test]
    fn the_seed_decides_the_waits_of_a_policy_and_its_copy() {
        let policy = minute();
        let copy = policy;
        assert!(golden(policy) == golden(copy));
        let other = copy.delays_from_seed(43).take(8);
        assert!(policy.delays_from_seed(42).zip(other).all(|(a, b)| a != b));
    }

    #[test]
    fn invalid_settings_are_refused_with_their_values() {
        for (refused, value) in [
            (Exponential::try_new(Duration::ZERO, SECOND), "base is 0ns"),
            (Exponential::try_new(2 * SECOND, SECOND), "base is 2s"),
            (minute().try_factor(f64::NAN), "NaN"),
            (minute().try_factor(f64::INFINITY), "inf"),
            (minute().try_factor(-2.0), "-2"),
            (minute().try_factor(0.0), "factor is 0"),
            (minute().try_factor(0.5), "0.5"),
            (minute().try_jitter(Jitter::Proportional(1.5)), "1.5"),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains(value), "{message}");
        }
    }

    #[test]
    #[should_panic(expected = "base is 2s: it is above the cap of 1s")]
    fn constructors_panic_with_the_message_of_the_error() {
        let _ = Exponential::new(2 * SECOND, SECOND);
    }

    #[test]
    fn debug_shows_what_was_configured() {
        let policy = minute().factor(1.6).jitter(Jitter::Proportional(0.2));
        assert_eq!(
            format!("{policy:?}"),
            "Exponential { base: 1s, cap: 60s, factor: 1.6, jitter: Proportional(0.2) }"
        );
    }
}
