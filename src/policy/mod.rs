//! The vocabulary of waiting: what a policy is told, and what it answers.

mod decorrelated;
mod exponential;
mod jitter;
mod sequence;
mod stratified;

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::nanos::nanos;

pub use decorrelated::Decorrelated;
pub use exponential::Exponential;
pub use jitter::Jitter;
pub use sequence::Sequence;
pub use stratified::Stratified;

/// A rule for how long to wait between the attempts of one outage.
///
/// A policy is an immutable value: it holds no clock, no counter and no random
/// state, so one policy can serve every connection of a process. What changes
/// during an outage lives in the [`Backoff`] that [`start`](Policy::start)
/// returns, one for each outage.
///
/// The crate ships [`Stratified`] (the default), [`Exponential`],
/// [`Decorrelated`], [`Sequence`] and [`TokenBucket`](crate::TokenBucket).
/// A closure from a generator to an iterator of waits is a policy too, which
/// is how the delays of another crate plug in:
///
/// ```
/// use redial::{Policy, Xoshiro256PlusPlus};
/// use std::time::Duration;
///
/// let linear = |_: Xoshiro256PlusPlus| (1..=5).map(Duration::from_secs);
/// let waits: Vec<u64> = linear.delays_from_seed(7).map(|d| d.as_secs()).collect();
/// assert_eq!(waits, [1, 2, 3, 4, 5]);
/// ```
pub trait Policy {
    /// What remembers one outage.
    type Backoff: Backoff;

    /// One outage begins.
    ///
    /// All randomness of the outage comes from `rng`. The generator is the
    /// same on every platform, so a seed means the same waits everywhere.
    fn start(&self, rng: Xoshiro256PlusPlus) -> Self::Backoff;

    /// The waits of one outage in which every attempt fails at once, from
    /// fresh entropy.
    ///
    /// Feeds any crate that takes an iterator of waits.
    #[cfg(feature = "std")]
    fn delays(&self) -> Delays<Self::Backoff> {
        self.delays_from_seed(crate::entropy::fresh())
    }

    /// The waits of one outage in which every attempt fails at once, the same
    /// ones for the same seed.
    ///
    /// ```
    /// use redial::{Policy, Stratified};
    ///
    /// let policy = Stratified::default();
    /// assert!(policy.delays_from_seed(1).take(9).eq(policy.delays_from_seed(1).take(9)));
    /// ```
    fn delays_from_seed(&self, seed: u64) -> Delays<Self::Backoff> {
        Delays::new(self.start(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }

    /// Simulates a fleet on this policy; the built-in policies keep less for
    /// each client than a whole `Backoff`.
    #[doc(hidden)]
    #[cfg(feature = "storm")]
    fn fleet(&self, storm: &crate::storm::Storm, rng: Xoshiro256PlusPlus) -> crate::storm::Report {
        storm.simulate(Separate { policy: self, rng })
    }
}

/// What a policy remembers of one outage.
pub trait Backoff {
    /// The wait before the next attempt, or `None` to give up.
    ///
    /// Called once for the loss of the connection and once after each failed
    /// attempt.
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration>;
}

impl<B: Backoff + ?Sized> Backoff for Box<B> {
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        (**self).next_delay(failed)
    }
}

/// What has just failed, as a policy is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// How many waits the outage has had so far: 0 where it has just begun,
    /// by the loss of the connection or the failure of the very first attempt.
    pub attempt: u32,
    /// The time since the outage began, attempts included.
    pub elapsed: Duration,
    /// What the failure cost the server.
    pub cause: Cause,
}

impl Failed {
    /// A failure, for those who drive a [`Backoff`] by hand.
    pub const fn new(attempt: u32, elapsed: Duration, cause: Cause) -> Self {
        Self {
            attempt,
            elapsed,
            cause,
        }
    }
}

/// What a failed attempt cost the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing: refused, unreachable, no route, the TCP connect timed out.
    #[default]
    Down,
    /// A little: the server answered "not now" (503, 429, "reconnecting too
    /// fast").
    Busy,
    /// A whole handshake, for nothing: connected, and then the handshake or
    /// the login timed out.
    Stalled,
}

/// The waits of one outage in which every attempt fails at once: the iterator
/// behind [`Policy::delays`] and [`Policy::delays_from_seed`].
///
/// Endless, unless the policy gives up by itself.
#[derive(Clone, Debug)]
#[must_use = "iterators are lazy"]
pub struct Delays<B> {
    backoff: B,
    attempt: u32,
    /// In nanoseconds: a sum of `Duration`s branches on a carry that no
    /// processor can predict, which costs more than the wait's draw.
    elapsed: u64,
}

impl<B> Delays<B> {
    fn new(backoff: B) -> Self {
        Self {
            backoff,
            attempt: 0,
            elapsed: 0,
        }
    }
}

impl<B: Backoff> Iterator for Delays<B> {
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

// ---- closures

/// The waits that an iterator yields, as a [`Backoff`]; gives up where the
/// iterator ends.
#[derive(Clone, Debug)]
pub struct IterBackoff<I>(I);

impl<I: Iterator<Item = Duration>> Backoff for IterBackoff<I> {
    fn next_delay(&mut self, _: &Failed) -> Option<Duration> {
        self.0.next()
    }
}

impl<F, I> Policy for F
where
    F: Fn(Xoshiro256PlusPlus) -> I,
    I: Iterator<Item = Duration>,
{
    type Backoff = IterBackoff<I>;

    fn start(&self, rng: Xoshiro256PlusPlus) -> IterBackoff<I> {
        IterBackoff(self(rng))
    }
}

// ---- what the built-in policies share

/// A built-in policy's rule, apart from the generator that feeds it.
///
/// The simulator keeps one [`State`](Rule::State) for each client and shares
/// rule and generator; an outage wraps all three in a [`Seeded`].
#[allow(unnameable_types)] // sealed: a bound of Seeded, not a way to extend
pub trait Rule: Clone + Send + Sync + 'static {
    /// What one outage remembers.
    type State: Copy + Default + fmt::Debug + Send + Sync + 'static;

    /// What it remembers when it begins.
    fn begin(&self) -> Self::State {
        Self::State::default()
    }

    /// The wait after `failed`.
    fn wait(
        &self,
        state: &mut Self::State,
        rng: &mut Xoshiro256PlusPlus,
        failed: &Failed,
    ) -> Duration;
}

/// The [`Backoff`] of a built-in policy: its rule, one outage's memory and
/// generator.
///
/// Not `Clone`: a copy would make two clients wait in lockstep.
#[derive(Debug)]
pub struct Seeded<R: Rule> {
    rule: R,
    state: R::State,
    rng: Xoshiro256PlusPlus,
}

impl<R: Rule> Seeded<R> {
    #[inline]
    pub(crate) fn new(rule: &R, rng: Xoshiro256PlusPlus) -> Self {
        Self {
            rule: rule.clone(),
            state: rule.begin(),
            rng,
        }
    }
}

impl<R: Rule> Backoff for Seeded<R> {
    // So that the two conversions between nanoseconds and a `Duration`, here
    // and at the caller, cancel out.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        Some(self.rule.wait(&mut self.state, &mut self.rng, failed))
    }
}

/// What gives the clients of a simulated fleet their waits.
#[cfg(feature = "storm")]
pub(crate) trait Fleet {
    /// What it remembers of each client.
    type Memory: Default;

    /// An outage begins for a client.
    fn begin(&mut self, client: &mut Self::Memory);

    /// As [`Backoff::next_delay`], for a client whose outage has begun.
    fn next_delay(&mut self, client: &mut Self::Memory, failed: &Failed) -> Option<Duration>;
}

/// Any policy's fleet: a backoff of its own for each client.
#[cfg(feature = "storm")]
struct Separate<'a, P: ?Sized> {
    policy: &'a P,
    rng: Xoshiro256PlusPlus,
}

#[cfg(feature = "storm")]
impl<P: Policy + ?Sized> Fleet for Separate<'_, P> {
    type Memory = Option<P::Backoff>;

    fn begin(&mut self, client: &mut Self::Memory) {
        let rng = Xoshiro256PlusPlus::from_rng(&mut self.rng);
        *client = Some(self.policy.start(rng));
    }

    fn next_delay(&mut self, client: &mut Self::Memory, failed: &Failed) -> Option<Duration> {
        client.as_mut()?.next_delay(failed)
    }
}

/// A built-in policy's fleet: one rule, one generator, a state for each client.
#[cfg(feature = "storm")]
pub(crate) struct Shared<'a, R> {
    pub(crate) rule: &'a R,
    pub(crate) rng: Xoshiro256PlusPlus,
}

#[cfg(feature = "storm")]
impl<R: Rule> Fleet for Shared<'_, R> {
    type Memory = R::State;

    fn begin(&mut self, client: &mut R::State) {
        *client = self.rule.begin();
    }

    #[inline]
    fn next_delay(&mut self, client: &mut R::State, failed: &Failed) -> Option<Duration> {
        Some(self.rule.wait(client, &mut self.rng, failed))
    }
}

/// A [`Policy`] for a type that is its own [`Rule`], or has one.
macro_rules! policy_from_rule {
    ($policy:ty) => {
        $crate::policy::policy_from_rule!($policy, $policy, |policy| policy);
    };
    ($policy:ty, $rule:ty, |$this:ident| $get:expr) => {
        impl $crate::policy::Policy for $policy {
            type Backoff = $crate::policy::Seeded<$rule>;

            #[inline]
            fn start(&self, rng: ::rand::rngs::Xoshiro256PlusPlus) -> Self::Backoff {
                let $this = self;
                $crate::policy::Seeded::new($get, rng)
            }

            #[cfg(feature = "storm")]
            fn fleet(
                &self,
                storm: &$crate::storm::Storm,
                rng: ::rand::rngs::Xoshiro256PlusPlus,
            ) -> $crate::storm::Report {
                let $this = self;
                storm.simulate($crate::policy::Shared { rule: $get, rng })
            }
        }
    };
}
pub(crate) use policy_from_rule;
