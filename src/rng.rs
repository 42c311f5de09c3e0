//! The random numbers of outages.

use core::fmt;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng};

use crate::nanos::scale;

/// A generator of random numbers: small, fast, and the same on every platform.
///
/// A [`Policy`](crate::Policy) draws from it. The driver seeds one for each
/// outage, so a policy holds no random state of its own.
///
/// A clone gives the same numbers as its original. To get a generator that
/// gives other numbers, use [`fork`](Self::fork).
///
/// ```
/// use redial::Rng;
///
/// let mut rng = Rng::from_seed(42);
/// assert!(rng.below(10) < 10);
/// assert_eq!(Rng::from_seed(7).next_u64(), Rng::from_seed(7).next_u64());
/// ```
///
/// # Where it comes from
///
/// xoshiro256++ (Blackman and Vigna, 2019), seeded by `SplitMix64`. It spreads
/// clients well and is not meant for secrets. A later version of this crate
/// keeps the numbers of each seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The generator of this seed. Neighbouring seeds give unrelated numbers.
    #[inline]
    pub fn from_seed(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A uniform random number of 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform random number below `n`; 0 if `n` is 0.
    ///
    /// No number is more likely than another by more than n/2<sup>64</sup> of
    /// its share.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        scale(self.next_u64(), n)
    }

    /// Another generator, whose numbers are unrelated to the next ones of this.
    pub fn fork(&mut self) -> Self {
        Self(Xoshiro256PlusPlus::from_rng(&mut self.0))
    }
}

impl fmt::Debug for Rng {
    // Its state would tell the numbers to come, and is of no other use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed apart from this crate, from the definitions of SplitMix64 and
    // xoshiro256++.
    #[test]
    fn the_numbers_of_a_seed_are_pinned() {
        let mut rng = Rng::from_seed(42);
        let numbers = core::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            numbers,
            [
                15_021_278_609_987_233_951,
                5_881_210_131_331_364_753,
                18_149_643_915_985_481_100,
                12_933_668_939_759_105_464_u64,
            ]
        );
    }

    #[test]
    fn below_reaches_both_of_its_ends_and_no_further() {
        let mut rng = Rng::from_seed(1);
        let drawn: [u64; 1000] = core::array::from_fn(|_| rng.below(3));
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&2));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn a_fork_gives_other_numbers_than_its_parent_and_its_sibling() {
        let mut rng = Rng::from_seed(9);
        let (mut a, mut b) = (rng.fork(), rng.fork());
        let (a, b) = (a.next_u64(), b.next_u64());
        assert!(a != b && a != rng.next_u64() && b != Rng::from_seed(9).next_u64());
    }

    #[test]
    fn debug_hides_the_numbers_to_come() {
        assert_eq!(alloc::format!("{:?}", Rng::from_seed(1)), "Rng { .. }");
    }
}
