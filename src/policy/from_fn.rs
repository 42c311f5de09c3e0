//! Policies from closures.

use core::fmt;
use core::time::Duration;

use super::{Failed, Policy};
use crate::rng::Rng;

/// A policy from a closure that returns an iterator of waits. It also takes the
/// delays of other crates.
///
/// The closure is called once for each outage, with a new generator that it may
/// ignore. The client gives up when the iterator ends.
///
/// The n-th wait of an outage is the n-th item. A wait that the server sets
/// ([`Verdict::Slot`](crate::Verdict::Slot)) uses up its item. An outage that was
/// saved and restored continues with the next item; at most 100 000 items are
/// skipped at once.
///
/// The closure must be `Clone`, because every policy is. A closure is `Clone` if all
/// of its captures are.
///
/// ```
/// use redial::policy::{self, Policy};
/// use std::time::Duration;
///
/// let linear = policy::from_fn(|_rng| (1..=5).map(Duration::from_secs));
/// let waits: Vec<u64> = linear.delays_from_seed(7).map(|d| d.as_secs()).collect();
/// assert_eq!(waits, [1, 2, 3, 4, 5]);
/// ```
pub fn from_fn<F, I>(start: F) -> FromFn<F>
where
    F: Fn(Rng) -> I + Clone,
    I: IntoIterator<Item = Duration>,
{
    FromFn(start)
}

/// The policy that [`from_fn`] makes.
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

/// The state of a [`FromFn`].
#[derive(Clone, Debug)]
pub struct FromFnState<I> {
    waits: I,
    /// The number of the next item.
    next: u32,
}

/// The most items that are skipped at once: a saved count of four billion must not
/// take seconds.
const MOST_SKIPPED: u32 = 100_000;

impl<F, I> Policy for FromFn<F>
where
    F: Fn(Rng) -> I + Clone,
    I: IntoIterator<Item = Duration>,
{
    type State = FromFnState<I::IntoIter>;

    fn begin(&self, rng: &mut Rng) -> Self::State {
        FromFnState {
            waits: (self.0)(rng.fork()).into_iter(),
            next: 0,
        }
    }

    fn next_delay(
        &self,
        state: &mut Self::State,
        _: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        let skipped = failed.attempt.saturating_sub(state.next);
        state.next = failed.attempt.max(state.next).saturating_add(1);
        state.waits.nth(skipped.min(MOST_SKIPPED) as usize)
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromFn").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Cause;

    /// The waits of these attempts, in seconds. The n-th item is n seconds.
    fn waits<const N: usize>(attempts: [u32; N]) -> [u64; N] {
        let mut backoff = from_fn(|_| (0..).map(Duration::from_secs)).start(Rng::from_seed(1));
        attempts.map(|attempt| {
            let failed = Failed::new(attempt, Duration::ZERO, Cause::Down);
            backoff.next_delay(&failed).unwrap().as_secs()
        })
    }

    #[test]
    fn an_attempt_that_the_state_did_not_see_uses_up_its_item() {
        assert_eq!(waits([0, 1, 5, 6, 9]), [0, 1, 5, 6, 9]);
    }

    #[test]
    fn a_count_that_goes_back_skips_no_item_twice() {
        assert_eq!(waits([5, 0, 6, 8, 9]), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_leap_over_many_attempts_skips_a_hundred_thousand_items() {
        assert_eq!(waits([u32::MAX, u32::MAX]), [100_000, 100_001]);
    }
}
