//! Jitter: the random part of a wait.

use core::fmt;

use crate::invalid::InvalidConfig;
use crate::rng::Rng;

/// How waits are spread, so that clients that failed together do not return
/// together.
///
/// The policy computes the ceiling `c` of a wait and applies its cap to the
/// ceiling. Then the jitter draws the wait. So waits at the cap are spread, too.
///
/// The names `Full` and `Equal` come from "Exponential Backoff And Jitter" (AWS
/// Architecture Blog, 2015), which compares these laws.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// No randomness: every wait is `c`.
    ///
    /// Use it only if the server has a single client: a fleet returns all at once.
    None,
    /// Uniform over (0, `c`].
    ///
    /// The default, because it has the widest spread.
    #[default]
    Full,
    /// Uniform over (`c`/2, `c`].
    ///
    /// Use it if each wait must have some length.
    Equal,
    /// Uniform over [`c`(1 - j), `c`(1 + j)] for the given j in 0..=1, and at
    /// least 1 ns.
    ///
    /// `c` is at most cap/(1 + j), so no wait is longer than the cap. gRPC's
    /// [connection backoff] uses this law with j = 0.2, but without that bound and
    /// with an immediate first retry. With a small j a fleet stays in step; see
    /// [how spread is proven](crate::_spread).
    ///
    /// j is rounded to a multiple of 2<sup>-32</sup>.
    ///
    /// [connection backoff]: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
    Proportional(f64),
}

/// A valid [`Jitter`].
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Spread {
    jitter: Jitter,
    /// The j of `Proportional` in units of 2^-32. Otherwise 0, because the waits do
    /// not exceed the ceiling.
    above: u64,
}

impl Spread {
    pub(super) fn try_new(jitter: Jitter) -> Result<Self, InvalidConfig> {
        let above = match jitter {
            Jitter::None | Jitter::Full | Jitter::Equal => 0,
            // Rounds to the nearest; `f64::round` is not in core.
            Jitter::Proportional(j) if (0.0..=1.0).contains(&j) => {
                (j * (1_u64 << 32) as f64 + 0.5) as u64
            }
            Jitter::Proportional(j) => {
                return Err(InvalidConfig::new(
                    "jitter",
                    alloc::format!("Proportional({j})"),
                    "it must be within 0 and 1, such as 0.2 for 20 % either way",
                ));
            }
        };
        Ok(Self { jitter, above })
    }

    /// The highest ceiling whose waits are at most `cap`.
    pub(super) const fn held(self, cap: u64) -> u64 {
        // At most `cap`, so the cast keeps the value.
        (((cap as u128) << 32) / ((1 << 32) + self.above) as u128) as u64
    }

    /// Draws a wait. `ceiling` is at most [`held`](Self::held) of the cap. Random
    /// waits are at least 1 ns, also if the ceiling is 0 because the cap is 1 ns.
    #[inline]
    pub(super) fn draw(self, rng: &mut Rng, ceiling: u64) -> u64 {
        let (least, width) = match self.jitter {
            Jitter::None => return ceiling,
            Jitter::Full => (1, ceiling),
            Jitter::Equal => (ceiling / 2 + 1, ceiling - ceiling / 2),
            Jitter::Proportional(_) => {
                // Rounds to the nearest. The exact product is at most the ceiling,
                // and at most the distance from the ceiling to the cap. Both are
                // integers, so the rounded one is, too, and nothing overflows.
                let half = ((ceiling as u128 * self.above as u128 + (1 << 31)) >> 32) as u64;
                let least = (ceiling - half).max(1);
                (least, ceiling + half - (least - 1))
            }
        };
        least + rng.below(width)
    }
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jitter.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// The least and the greatest of many draws.
    fn range(jitter: Jitter, ceiling: u64) -> (u64, u64) {
        let spread = Spread::try_new(jitter).unwrap();
        let mut rng = Rng::from_seed(3);
        let draws = (0..10_000).map(|_| spread.draw(&mut rng, ceiling));
        draws.fold((u64::MAX, 0), |(least, most), wait| {
            (least.min(wait), most.max(wait))
        })
    }

    // 10 000 draws miss a value of these ranges with a probability below 1e-100.
    #[test]
    fn each_law_reaches_both_of_its_ends_and_stays_between_them() {
        assert_eq!(range(Jitter::None, 20), (20, 20));
        assert_eq!(range(Jitter::Full, 20), (1, 20));
        assert_eq!(range(Jitter::Equal, 20), (11, 20));
        assert_eq!(range(Jitter::Equal, 21), (11, 21));
        assert_eq!(range(Jitter::Proportional(0.2), 20), (16, 24));
        assert_eq!(range(Jitter::Proportional(0.0), 20), (20, 20));
        assert_eq!(range(Jitter::Proportional(1.0), 20), (1, 40));
    }

    #[test]
    fn a_ceiling_of_one_nanosecond_gives_a_wait_of_one_nanosecond() {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
            assert_eq!(range(jitter, 1), (1, 1));
        }
    }

    #[test]
    fn the_held_ceiling_is_the_cap_divided_by_one_and_j() {
        let held = |jitter, cap| Spread::try_new(jitter).unwrap().held(cap);
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
            assert_eq!(held(jitter, u64::MAX), u64::MAX);
        }
        assert_eq!(held(Jitter::Proportional(1.0), 60), 30);
        assert_eq!(held(Jitter::Proportional(0.25), 60), 48);
        assert_eq!(held(Jitter::Proportional(1.0), u64::MAX), u64::MAX / 2);
        assert_eq!(held(Jitter::Proportional(0.2), 1), 0);
    }

    #[test]
    fn proportional_waits_stay_within_the_cap() {
        for j in [0.0, 1e-9, 0.005, 0.1, 0.2, 1.0 / 3.0, 0.999_999, 1.0] {
            let spread = Spread::try_new(Jitter::Proportional(j)).unwrap();
            let mut rng = Rng::from_seed(4);
            for cap in (1..100).chain([u64::MAX / 3, u64::MAX - 1, u64::MAX]) {
                for _ in 0..100 {
                    let wait = spread.draw(&mut rng, spread.held(cap));
                    assert!(0 < wait && wait <= cap, "{wait} ns under {cap} ns, j {j}");
                }
            }
        }
    }

    #[test]
    fn a_proportion_outside_of_0_to_1_is_refused_with_its_value() {
        for (j, value) in [
            (-0.1, "-0.1"),
            (1.5, "1.5"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            let refused = Spread::try_new(Jitter::Proportional(j)).unwrap_err();
            assert!(refused.to_string().contains(value), "{refused}");
        }
    }
}
