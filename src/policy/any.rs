//! A policy that is chosen at run time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::time::Duration;

use super::{Failed, Policy};
use crate::rng::Rng;

/// A type-erased policy.
///
/// Use it if the policy is chosen at run time, or if a type must not depend on the
/// choice. Clones share the policy. Each outage allocates once, for the state.
///
/// ```
/// use redial::policy::{AnyPolicy, Policy};
/// use redial::{Exponential, Stratified};
/// use std::time::Duration;
///
/// fn policy(name: &str) -> AnyPolicy {
///     match name {
///         "full jitter" => AnyPolicy::new(Exponential::new(
///             Duration::from_secs(1),
///             Duration::from_secs(60),
///         )),
///         _ => AnyPolicy::new(Stratified::default()),
///     }
/// }
///
/// let first = policy("full jitter").delays_from_seed(1).next();
/// assert!(first <= Some(Duration::from_secs(1)));
/// ```
#[derive(Clone)]
pub struct AnyPolicy(Arc<dyn Erased>);

/// The state of an [`AnyPolicy`].
pub struct AnyState(Box<dyn Any + Send + Sync>);

#[cfg(feature = "tokio")]
impl AnyState {
    /// The state of a policy of any type.
    pub(crate) fn new(state: impl Send + Sync + 'static) -> Self {
        Self(Box::new(state))
    }
}

/// A policy whose state is erased.
trait Erased: fmt::Debug + Send + Sync {
    fn begin_erased(&self, rng: &mut Rng) -> AnyState;
    fn next_erased(&self, state: &mut AnyState, rng: &mut Rng, failed: &Failed)
    -> Option<Duration>;
}

impl<P> Erased for P
where
    P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync,
{
    fn begin_erased(&self, rng: &mut Rng) -> AnyState {
        AnyState(Box::new(self.begin(rng)))
    }

    fn next_erased(
        &self,
        state: &mut AnyState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        // The state of a policy of another type is of no use here.
        if !state.0.is::<P::State>() {
            *state = self.begin_erased(rng);
        }
        let state = state.0.downcast_mut()?;
        self.next_delay(state, rng, failed)
    }
}

impl AnyPolicy {
    /// Erases the type of `policy`.
    pub fn new<P>(policy: P) -> Self
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        Self(Arc::new(policy))
    }
}

impl Policy for AnyPolicy {
    type State = AnyState;

    fn begin(&self, rng: &mut Rng) -> AnyState {
        self.0.begin_erased(rng)
    }

    fn next_delay(&self, state: &mut AnyState, rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        self.0.next_erased(state, rng, failed)
    }
}

impl Default for AnyPolicy {
    /// [`Stratified::default()`](crate::Stratified).
    fn default() -> Self {
        Self::new(crate::policy::Stratified::default())
    }
}

impl fmt::Debug for AnyPolicy {
    /// Prints the policy itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AnyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyState").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exponential, Stratified, from_fn};
    use alloc::format;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_erased_policy_gives_the_waits_of_its_policy() {
        let policy = Stratified::default();
        let erased = AnyPolicy::new(policy);
        let waits = erased.delays_from_seed(3).take(50);
        assert!(waits.eq(policy.delays_from_seed(3).take(50)));
        assert_eq!(format!("{erased:?}"), format!("{policy:?}"));
        assert_eq!(format!("{:?}", AnyPolicy::default()), format!("{policy:?}"));
        let state = erased.begin(&mut Rng::from_seed(3));
        assert_eq!(format!("{state:?}"), "AnyState { .. }");
    }

    #[test]
    fn an_erased_policy_gives_up_when_its_policy_does() {
        let erased = AnyPolicy::new(from_fn(|_| [SECOND; 2]));
        assert_eq!(erased.delays_from_seed(1).count(), 2);
    }

    #[test]
    fn a_state_of_another_policy_is_replaced() {
        let exponential = Exponential::new(SECOND, SECOND);
        let (one, other) = (AnyPolicy::default(), AnyPolicy::new(exponential));
        let mut rng = Rng::from_seed(1);
        let mut state = one.begin(&mut rng);
        let failed = Failed::new(0, Duration::ZERO, crate::policy::Cause::Down);
        assert!(other.next_delay(&mut state, &mut rng, &failed) <= Some(SECOND));
    }
}
