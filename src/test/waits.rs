//! Waits, and what a test can say of them.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::ops::{Deref, RangeInclusive};
use core::time::Duration;

use crate::outage::{Next, Outage};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

/// The waits of one client, in their order, with assertions on them.
///
/// They come from a [`Recorder`](super::Recorder), or straight from a policy. It is a
/// slice of [`Duration`]s, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(Vec<Duration>);

impl Waits {
    /// These waits.
    pub fn new(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self(waits.into_iter().collect())
    }

    /// The waits of an outage in which a connection is lost, and each attempt after
    /// that fails at once for this reason: `count` waits, or fewer if the policy gives
    /// up. The same seed gives the same waits.
    ///
    /// ```
    /// use redial::test::Waits;
    /// use redial::{Cause, Exponential};
    /// use std::time::Duration;
    ///
    /// let policy = Exponential::new(Duration::from_secs(1), Duration::from_secs(30));
    /// for seed in 0..100 {
    ///     let waits = Waits::of(&policy, Cause::Down, 20, seed);
    ///     waits.assert_at_most(Duration::from_secs(30));
    /// }
    /// ```
    pub fn of<P: Policy>(policy: &P, cause: Cause, count: usize, seed: u64) -> Self {
        let mut outage = Outage::from_seed(policy.clone(), seed);
        let mut now = Duration::ZERO;
        outage.connected(now);
        let mut next = outage.lost(now);
        let mut waits = Vec::new();
        while let Next::Wait(wait) = next {
            if waits.len() == count {
                break;
            }
            waits.push(wait);
            now = now.saturating_add(wait);
            let _ = outage.connecting(now);
            next = outage.failed(now, Verdict::Retry(cause));
        }
        Self(waits)
    }

    /// The sum of the waits; `Duration::MAX` if it is longer.
    pub fn total(&self) -> Duration {
        self.0
            .iter()
            .copied()
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Asserts that there are as many waits as bounds, and each is within its own.
    ///
    /// ```
    /// use redial::test::Waits;
    /// use std::time::Duration;
    ///
    /// let [a, b] = [1, 2].map(Duration::from_secs);
    /// Waits::new([a, b]).assert_within([Duration::ZERO..=a, a..=b]);
    /// ```
    ///
    /// # Panics
    ///
    /// If one is outside, with all waits and the number of the wrong one, counted from
    /// 0.
    #[track_caller]
    pub fn assert_within(&self, bounds: impl IntoIterator<Item = RangeInclusive<Duration>>) {
        let bounds: Vec<_> = bounds.into_iter().collect();
        assert!(
            self.len() == bounds.len(),
            "{} waits, and {} bounds: {:?}",
            self.len(),
            bounds.len(),
            self.0
        );
        for (number, (wait, bounds)) in self.iter().zip(bounds).enumerate() {
            self.check(bounds.contains(wait), number, &bounds);
        }
    }

    /// Asserts that no wait is longer than the cap of a policy.
    ///
    /// # Panics
    ///
    /// If one is longer, with all waits and the number of the wrong one, counted from
    /// 0.
    #[track_caller]
    pub fn assert_at_most(&self, most: Duration) {
        for (number, wait) in self.iter().enumerate() {
            self.check(*wait <= most, number, &(Duration::ZERO..=most));
        }
    }

    #[track_caller]
    fn check(&self, is_right: bool, number: usize, bounds: &impl Debug) {
        assert!(
            is_right,
            "wait {number} is not within {bounds:?}: {:?}",
            self.0
        );
    }
}

impl Deref for Waits {
    type Target = [Duration];

    fn deref(&self) -> &[Duration] {
        &self.0
    }
}

impl IntoIterator for Waits {
    type Item = Duration;
    type IntoIter = alloc::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The most of these instants that lie within one window of this length, its
/// beginning included and its end not: how bad a herd is.
///
/// If the first waits of a fleet are spread evenly over a second, about a hundredth of
/// its clients come in any 10 ms:
///
/// ```
/// use redial::test::{Waits, most_within};
/// use redial::{Cause, Exponential, Jitter, Stratified};
/// use std::time::Duration;
///
/// let window = Duration::from_millis(10);
/// let first = |seed| Waits::of(&Stratified::default(), Cause::Down, 1, seed)[0];
/// assert!(most_within((0..1000).map(first), window) < 40);
///
/// // Without jitter, all of them come at once.
/// let second = Duration::from_secs(1);
/// let herd = Exponential::new(second, second).jitter(Jitter::None);
/// let first = |seed| Waits::of(&herd, Cause::Down, 1, seed)[0];
/// assert_eq!(most_within((0..1000).map(first), window), 1000);
/// ```
pub fn most_within(instants: impl IntoIterator<Item = Duration>, window: Duration) -> usize {
    let mut instants: Vec<_> = instants.into_iter().collect();
    instants.sort_unstable();
    let mut most = 0;
    let mut first = 0;
    for (last, instant) in instants.iter().enumerate() {
        while first < last && *instant - instants[first] >= window {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}
