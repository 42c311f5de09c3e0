//! Sequence: waits from a list.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::jitter::{Jitter, Spread};
use super::{Failed, Policy};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::rng::Rng;

/// Waits from a list, in order; the last entry repeats.
///
/// Each entry is the ceiling of a wait, and the [`Jitter`] draws the wait from the
/// ceiling. No wait is longer than the longest entry: with
/// [`Jitter::Proportional`], entries above longest/(1 + j) count as
/// longest/(1 + j). An entry of zero means no wait, with any jitter.
///
/// # Defaults
///
/// [`Jitter::Full`]. Entries of more than 584 years count as 584 years.
///
/// ```
/// use redial::{Jitter, Policy, Sequence};
/// use std::time::Duration;
///
/// let policy = Sequence::new([0, 2, 10, 30].map(Duration::from_secs)).jitter(Jitter::None);
/// let waits: Vec<u64> = policy.delays_from_seed(42).take(6).map(|d| d.as_secs()).collect();
/// assert_eq!(waits, [0, 2, 10, 30, 30, 30]);
/// ```
///
/// If the first entry is zero, a whole fleet that lost its server comes back at the
/// same instant. If the last entry is zero, the client retries in a hot loop. Use
/// zeros only if the server has no other client.
#[derive(Clone, PartialEq)]
pub struct Sequence {
    waits: Arc<[Duration]>,
    /// In nanoseconds, like all integers here.
    longest: u64,
    /// The highest ceiling: the longest entry, minus what the jitter may add.
    held: u64,
    spread: Spread,
}

impl Sequence {
    /// The waits of the list: an array, a `Vec`, a slice or an `Arc` of
    /// durations.
    ///
    /// # Panics
    ///
    /// If the list is empty; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(waits: impl Into<Arc<[Duration]>>) -> Self {
        expect(Self::try_new(waits))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If the list is empty.
    pub fn try_new(waits: impl Into<Arc<[Duration]>>) -> Result<Self, InvalidConfig> {
        let waits = waits.into();
        let Some(&longest) = waits.iter().max() else {
            return Err(InvalidConfig::new(
                "waits",
                "[]",
                "a sequence needs at least one wait; the last one repeats",
            ));
        };
        let longest = nanos(longest);
        let spread = Spread::default();
        Ok(Self {
            waits,
            longest,
            held: spread.held(longest),
            spread,
        })
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
            held: spread.held(self.longest),
            spread,
            ..self
        })
    }
}

#[allow(clippy::missing_fields_in_debug)] // prints settings, not computed fields
impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("waits", &self.waits)
            .field("jitter", &self.spread)
            .finish()
    }
}

impl Policy for Sequence {
    /// Nothing: the number of the attempt selects the entry.
    type State = ();

    fn begin(&self, _: &mut Rng) {}

    #[inline]
    fn next_delay(&self, (): &mut (), rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        let last = self.waits.len() - 1; // not empty
        let at = usize::try_from(failed.attempt).map_or(last, |attempt| attempt.min(last));
        let entry = nanos(self.waits[at]);
        if entry == 0 {
            return Some(Duration::ZERO);
        }
        Some(Duration::from_nanos(
            self.spread.draw(rng, entry.min(self.held)),
        ))
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

    fn chat() -> Sequence {
        Sequence::new([0, 2, 10, 30].map(Duration::from_secs))
    }

    // Computed without this crate, from the definitions of SplitMix64,
    // xoshiro256++ and the law.
    #[test]
    fn a_seed_gives_the_same_waits_on_every_platform() {
        let waits = chat().delays_from_seed(42).take(8);
        let waits: Vec<_> = waits.map(|wait| wait.as_nanos()).collect();
        #[rustfmt::skip]
        assert_eq!(waits, [
            0, 1_628_610_291, 3_188_210_401, 29_516_825_046,
            21_034_067_945, 23_805_134_691, 17_642_953_995, 3_760_573_262,
        ]);
    }

    #[test]
    fn the_last_entry_repeats_forever() {
        let bare = chat().jitter(Jitter::None);
        let mut backoff = bare.start(Rng::from_seed(1));
        for attempt in [3, 4, 5, 1_000, u32::MAX - 1, u32::MAX] {
            let failed = Failed::new(attempt, Duration::ZERO, Cause::Down);
            assert_eq!(backoff.next_delay(&failed), Some(30 * SECOND));
        }
    }

    #[test]
    fn an_entry_of_zero_means_no_wait_with_any_jitter() {
        for jitter in [
            Jitter::None,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Proportional(0.2),
            Jitter::Proportional(1.0),
        ] {
            let zeros = Sequence::new([Duration::ZERO]).jitter(jitter);
            assert!(zeros.delays_from_seed(1).take(50).all(|d| d.is_zero()));
            let mut waits = chat().jitter(jitter).delays_from_seed(1);
            assert_eq!(waits.next(), Some(Duration::ZERO));
            assert!(waits.take(50).all(|wait| wait > Duration::ZERO));
        }
    }

    #[test]
    fn no_wait_is_longer_than_its_entry_or_with_proportional_jitter_than_the_longest() {
        // Also shorter entries after longer entries.
        let list = [5, 60, 1, u64::MAX, 7].map(Duration::from_nanos);
        for seed in 0..500 {
            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
                let policy = Sequence::new(list).jitter(jitter);
                for (wait, entry) in policy.delays_from_seed(seed).zip(list) {
                    assert!(Duration::ZERO < wait && wait <= entry);
                }
            }
            let short = [5, 60, 1, 58, 7].map(Duration::from_nanos);
            for j in [0.005, 0.2, 1.0] {
                let policy = Sequence::new(short).jitter(Jitter::Proportional(j));
                for (wait, entry) in policy.delays_from_seed(seed).zip(short) {
                    assert!(Duration::ZERO < wait && wait <= Duration::from_nanos(60));
                    assert!(wait <= 2 * entry);
                }
            }
        }
    }

    #[test]
    fn a_list_may_be_an_array_a_vec_a_slice_or_an_arc() {
        let list = [SECOND, 2 * SECOND];
        let shared: Arc<[Duration]> = list.into();
        for same in [
            Sequence::new(list),
            Sequence::new(list.to_vec()),
            Sequence::new(&list[..]),
            Sequence::new(shared),
        ] {
            assert_eq!(same, Sequence::new(list));
        }
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        let policy = Sequence::new([Duration::MAX]);
        assert!(
            policy
                .delays_from_seed(1)
                .take(100)
                .all(|d| d > Duration::ZERO)
        );
        let bare = policy.jitter(Jitter::None);
        assert_eq!(
            bare.delays_from_seed(1).next(),
            Some(Duration::from_nanos(u64::MAX))
        );
    }

    #[test]
    fn an_empty_list_and_an_invalid_jitter_are_refused() {
        let empty = Sequence::try_new([]).unwrap_err();
        assert_eq!((empty.setting(), empty.value()), ("waits", "[]"));
        let refused = chat().try_jitter(Jitter::Proportional(-0.5)).unwrap_err();
        assert!(refused.to_string().contains("-0.5"), "{refused}");
    }

    #[test]
    #[should_panic(expected = "waits is []: a sequence needs at least one wait")]
    fn the_constructor_panics_with_the_message_of_the_error() {
        let _ = Sequence::new([]);
    }

    #[test]
    fn debug_shows_what_was_configured() {
        assert_eq!(
            format!("{:?}", Sequence::new([SECOND]).jitter(Jitter::Equal)),
            "Sequence { waits: [1s], jitter: Equal }"
        );
    }
}
