//! How long to wait between the attempts of one outage.
//!
//! [`Policy`] is the trait. [`Stratified`], [`Exponential`], [`Decorrelated`] and
//! [`Sequence`] implement it. [`TokenBucket::as_policy`] and [`from_fn`] make a
//! policy from a bucket and from a closure. [`AnyPolicy`] holds a policy that is
//! chosen at run time. `&P`, `Box<P>` and `Arc<P>` are policies if `P` is one.
//!
//! [`TokenBucket::as_policy`]: crate::TokenBucket::as_policy

#[cfg(target_has_atomic = "ptr")]
mod any;
mod backoff;
#[cfg(target_has_atomic = "64")]
mod bucket;
mod check;
mod decorrelated;
mod exponential;
mod failed;
pub(crate) mod fixed_point;
mod from_fn;
mod jitter;
#[cfg(target_has_atomic = "ptr")]
mod sequence;
mod stratified;

use alloc::boxed::Box;
use core::time::Duration;

use crate::rng::Rng;

#[cfg(target_has_atomic = "ptr")]
pub use any::{AnyPolicy, AnyState};
pub use backoff::{Backoff, Delays};
#[cfg(target_has_atomic = "64")]
pub use bucket::{BucketPolicy, BucketState};
pub use decorrelated::{Decorrelated, DecorrelatedState};
pub use exponential::{Exponential, ExponentialState};
pub use failed::{Cause, Failed};
pub use from_fn::{FromFn, FromFnState, from_fn};
pub use jitter::Jitter;
#[cfg(target_has_atomic = "ptr")]
pub use sequence::Sequence;
#[cfg(feature = "config")]
pub(crate) use stratified::{DEFAULT_BASE, DEFAULT_CAP};
pub use stratified::{Stratified, StratifiedState};

/// A rule for how long to wait between the attempts of one outage.
///
/// A policy is an immutable value. It holds no clock, no counter and no random
/// state, so one policy can serve every connection of a process. Everything that
/// changes during an outage is in its [`State`](Self::State).
///
/// # Your own policy
///
/// Use [`Sequence`] for a list of waits and [`from_fn`] for an iterator. A policy
/// that depends on the cause implements this trait:
///
/// ```
/// use redial::policy::Policy;
/// use redial::{Cause, Failed, Rng};
/// use std::time::Duration;
///
/// /// Five seconds, or a minute if the server is busy; each spread by a half.
/// #[derive(Clone)]
/// struct Polite;
///
/// impl Policy for Polite {
///     type State = (); // it remembers nothing
///
///     fn begin(&self, _: &mut Rng) {}
///
///     fn next_delay(&self, (): &mut (), rng: &mut Rng, failed: &Failed) -> Option<Duration> {
///         let seconds = if failed.cause == Cause::Down { 5 } else { 60 };
///         let most = Duration::from_secs(seconds);
///         Some(most - Duration::from_nanos(rng.below(most.as_nanos() as u64 / 2)))
///     }
/// }
///
/// let wait = Polite.delays().next().unwrap();
/// assert!(Duration::from_millis(2_500) < wait && wait <= Duration::from_secs(5));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a policy",
    label = "this is not a policy",
    note = "a closure that returns an iterator of waits becomes a policy by `redial::policy::from_fn`",
    note = "a `TokenBucket` becomes one by `as_policy()`; to share its rate among many connections, \
            use it as their `budget`"
)]
pub trait Policy: Clone {
    /// What the policy remembers during one outage.
    type State;

    /// The state of an outage that begins, before its first wait.
    fn begin(&self, rng: &mut Rng) -> Self::State;

    /// The wait before the next attempt, or `None` to give up.
    ///
    /// Called after the loss of the connection and after each failed attempt, except
    /// if the verdict is [`Stop`](crate::Verdict::Stop) or
    /// [`Slot`](crate::Verdict::Slot) or if a limit has ended the outage. An outage
    /// that was restored begins at a later attempt. So
    /// [`Failed::attempt`] can skip numbers.
    ///
    /// `rng` is the generator of this outage, or of a whole simulated fleet. It gives
    /// the same numbers on every platform.
    fn next_delay(
        &self,
        state: &mut Self::State,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration>;

    /// The waits of one outage, for a loop of your own.
    fn start(&self, rng: Rng) -> Backoff<Self> {
        Backoff::new(self.clone(), rng)
    }

    /// The waits of one outage in which every attempt fails at once, seeded from
    /// fresh entropy.
    ///
    /// Use it with any crate that takes an iterator of waits.
    #[cfg(feature = "std")]
    fn delays(&self) -> Delays<Self> {
        self.delays_from_seed(crate::entropy::fresh())
    }

    /// As `delays`, but the same seed gives the same waits.
    ///
    /// ```
    /// use redial::{Policy, Stratified};
    ///
    /// let policy = Stratified::default();
    /// assert!(policy.delays_from_seed(1).take(9).eq(policy.delays_from_seed(1).take(9)));
    /// ```
    fn delays_from_seed(&self, seed: u64) -> Delays<Self> {
        Delays::new(self.start(Rng::from_seed(seed)))
    }
}

/// Implements [`Policy`] for pointers to a policy.
macro_rules! pointers_are_policies {
    ($($pointer:ty)+) => {$(
        impl<P: Policy> Policy for $pointer {
            type State = P::State;

            fn begin(&self, rng: &mut Rng) -> P::State {
                (**self).begin(rng)
            }

            fn next_delay(
                &self,
                state: &mut P::State,
                rng: &mut Rng,
                failed: &Failed,
            ) -> Option<Duration> {
                (**self).next_delay(state, rng, failed)
            }
        }
    )+};
}

pointers_are_policies!(&P Box<P>);
#[cfg(target_has_atomic = "ptr")]
pointers_are_policies!(alloc::sync::Arc<P>);
