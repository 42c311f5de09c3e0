//! The waits of one outage, for a loop without `Outage` or `Redial`.

use core::fmt;
use core::time::Duration;

use super::{Cause, Failed, Policy};
use crate::nanos::nanos;
use crate::rng::Rng;

/// The waits of one outage: a policy, its state, and a generator.
///
/// [`Policy::start`] makes a `Backoff`. Use it if your own loop decides when an
/// attempt failed; [`Outage`](crate::Outage) does more of that work.
///
/// A clone gives the same waits as its original. Give each client a `Backoff` with
/// its own seed: clients that use clones wait in lockstep.
///
/// ```
/// use redial::policy::Policy;
/// use redial::{Cause, Failed, Rng, Stratified};
/// use std::time::Duration;
///
/// let mut backoff = Stratified::default().start(Rng::from_seed(42));
/// let lost = Failed::new(0, Duration::ZERO, Cause::Down);
/// let wait = backoff.next_delay(&lost).expect("Stratified never gives up");
/// assert!(wait <= Duration::from_secs(1));
/// ```
pub struct Backoff<P: Policy> {
    policy: P,
    state: P::State,
    rng: Rng,
}

impl<P: Policy> Backoff<P> {
    #[inline]
    pub(super) fn new(policy: P, mut rng: Rng) -> Self {
        Self {
            state: policy.begin(&mut rng),
            policy,
            rng,
        }
    }

    /// The wait before the next attempt, or `None` to give up.
    ///
    /// Call it once for the loss of the connection and once after each failed
    /// attempt.
    #[inline]
    pub fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        self.policy
            .next_delay(&mut self.state, &mut self.rng, failed)
    }
}

impl<P: Policy<State: Clone>> Clone for Backoff<P> {
    fn clone(&self) -> Self {
        Self {
            policy: self.policy.clone(),
            state: self.state.clone(),
            rng: self.rng.clone(),
        }
    }
}

impl<P: Policy + fmt::Debug> fmt::Debug for Backoff<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The waits of one outage in which every attempt fails at once: the iterator of
/// [`Policy::delays`] and [`Policy::delays_from_seed`].
///
/// It ends only if the policy gives up.
#[must_use = "iterators are lazy"]
pub struct Delays<P: Policy> {
    backoff: Backoff<P>,
    attempt: u32,
    /// In nanoseconds: a sum of `Duration`s branches on a carry that no processor can
    /// predict, and costs more than drawing the wait.
    elapsed: u64,
}

impl<P: Policy> Delays<P> {
    #[inline]
    pub(super) fn new(backoff: Backoff<P>) -> Self {
        Self {
            backoff,
            attempt: 0,
            elapsed: 0,
        }
    }
}

impl<P: Policy> Iterator for Delays<P> {
    type Item = Duration;

    #[inline]
    fn next(&mut self) -> Option<Duration> {
        let elapsed = Duration::from_nanos(self.elapsed);
        let failed = Failed::new(self.attempt, elapsed, Cause::Down);
        let wait = self.backoff.next_delay(&failed)?;
        self.attempt = self.attempt.saturating_add(1);
        self.elapsed = self.elapsed.saturating_add(nanos(wait));
        Some(wait)
    }
}

impl<P: Policy<State: Clone>> Clone for Delays<P> {
    fn clone(&self) -> Self {
        Self {
            backoff: self.backoff.clone(),
            ..*self
        }
    }
}

impl<P: Policy + fmt::Debug> fmt::Debug for Delays<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays")
            .field("policy", &self.backoff.policy)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exponential, from_fn};
    use alloc::format;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn debug_shows_the_policy_and_how_many_waits_there_were() {
        let policy = Exponential::new(SECOND, SECOND);
        assert_eq!(
            format!("{:?}", policy.start(Rng::from_seed(1))),
            format!("Backoff {{ policy: {policy:?}, .. }}")
        );
        let mut delays = policy.delays_from_seed(1);
        delays.by_ref().take(2).for_each(drop);
        assert_eq!(
            format!("{delays:?}"),
            format!("Delays {{ policy: {policy:?}, attempt: 2, .. }}")
        );
        assert_eq!(format!("{:?}", from_fn(|_| [SECOND])), "FromFn(..)");
    }
}
