//! A closure as a policy.

use core::fmt;
use core::time::Duration;

use super::{Failed, Policy};
use crate::rng::Rng;

/// A policy from a closure that returns an iterator of waits, one iterator for
/// each outage.
///
/// The outage is given up when the iterator ends. The closure gets a generator of
/// its own for each outage, and may ignore it. This is how the delays of another
/// crate plug in.
///
/// The n-th wait of an outage is the n-th item of the iterator. So an outage that
/// was saved and restored goes on with the item after those that it has used.
///
/// The closure must be `Clone`, as every policy is. It is if all that it
/// captures is.
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

/// What one outage remembers of a [`FromFn`].
#[derive(Clone, Debug)]
pub struct FromFnState<I> {
    waits: I,
    /// The number of the next item.
    next: u32,
}

/// The most items that are skipped, so that a saved count of four billion does not
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
