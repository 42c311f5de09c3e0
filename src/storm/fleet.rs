//! What a storm can run: policies, and clients with limits of their own.

use core::fmt;
use core::time::Duration;

use crate::nanos::nanos;
use crate::outage::{Config, config_setters};
use crate::policy::{Cause, Failed, Policy};
use crate::rng::Rng;

/// A fleet that a [`Storm`](super::Storm) can run: any [`Policy`], a [`Client`], or a
/// [`Mix`](super::Mix) of them.
///
/// There is nothing to implement.
pub trait Fleet: Members {}

impl<F: Members> Fleet for F {}

/// The methods of a fleet. Private, because [`Habits`] is.
#[allow(unnameable_types)]
pub trait Members {
    /// What a client remembers.
    type State;

    /// A new client.
    fn begin(&self, rng: &mut Rng) -> Self::State;

    /// The same client begins another outage.
    fn again(&self, state: &mut Self::State, rng: &mut Rng) {
        *state = self.begin(rng);
    }

    /// As [`Policy::next_delay`].
    fn next_delay(
        &self,
        state: &mut Self::State,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration>;

    /// The limits of the client's attempts, if they are not those of the storm.
    #[inline]
    fn habits(&self, _: &Self::State) -> Option<Habits> {
        None
    }

    /// The timeout of the attempt that begins, if its waits count from the beginning.
    #[inline]
    fn timeout(&self, _: &Self::State) -> Option<u64> {
        None
    }
}

/// The limits of a client's attempts.
#[derive(Clone, Copy, Debug, Default)]
#[allow(unnameable_types)]
pub struct Habits {
    pub(super) config: Config,
    /// Whether the client knows when its transport is established.
    pub(super) phases: bool,
}

impl<P: Policy> Members for P {
    type State = P::State;

    #[inline]
    fn begin(&self, rng: &mut Rng) -> P::State {
        Policy::begin(self, rng)
    }

    #[inline]
    fn next_delay(&self, state: &mut P::State, rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        Policy::next_delay(self, state, rng, failed)
    }
}

/// Clients with a policy and with limits of their own, for a fleet in which these
/// differ from client to client, or for a client of another library.
///
/// The limits of the [`Storm`](super::Storm) do not apply to them.
///
/// ```
/// use redial::storm::{Client, Mix, Storm};
/// use redial::{Sequence, Stratified};
/// use std::time::Duration;
///
/// // Half of the fleet is old: it waits 5 s, and gives each attempt 10 s.
/// let second = Duration::from_secs(1);
/// let old = Client::new(Sequence::new([5 * second]))
///     .attempt_timeout(10 * second)
///     .patience(Duration::ZERO);
/// let new = Client::new(Stratified::default()).phases();
/// let report = Storm::new(1_000).run(&Mix::new(0.5, old).and(0.5, new));
/// assert!(report.recovered());
/// ```
#[derive(Clone, Debug)]
pub struct Client<P> {
    policy: P,
    habits: Habits,
    /// The least timeout, if waits count from the start of an attempt.
    from_start: Option<u64>,
}

impl<P> Client<P> {
    /// Clients with this policy and the default limits.
    pub fn new(policy: P) -> Self {
        Self {
            policy,
            habits: Habits::default(),
            from_start: None,
        }
    }

    config_setters!(timeouts: this => this.habits.config);

    /// The clients know when their transport is established; see
    /// [`Storm::phases`](super::Storm::phases).
    pub fn phases(mut self) -> Self {
        self.habits.phases = true;
        self
    }

    /// The policy's waits count from the start of an attempt, not from its failure.
    /// An attempt may take until the next one is due, and at least `least`.
    ///
    /// These are the rules of gRPC, with `least` as its `MIN_CONNECT_TIMEOUT` of 20 s.
    /// The timeouts of the [`Config`] do not apply. The policy is asked before it is
    /// known how the attempt fails, so the cause is always [`Down`](Cause::Down).
    pub fn from_start(mut self, least: Duration) -> Self {
        self.from_start = Some(nanos(least));
        self
    }
}

/// The state of a [`Client`].
#[derive(Clone, Copy)]
#[allow(unnameable_types)]
pub struct ClientState<S> {
    state: S,
    /// When the attempt after the next is due, in nanoseconds since the outage began;
    /// 0 before the first.
    due: u64,
    /// How long the next attempt may take.
    timeout: u64,
}

impl<S> fmt::Debug for ClientState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientState").finish_non_exhaustive()
    }
}

/// The policy has no more waits.
const NEVER: u64 = u64::MAX;

impl<P: Policy> Members for Client<P> {
    type State = ClientState<P::State>;

    fn begin(&self, rng: &mut Rng) -> Self::State {
        ClientState {
            state: self.policy.begin(rng),
            due: 0,
            timeout: 0,
        }
    }

    fn next_delay(
        &self,
        client: &mut Self::State,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        let Some(least) = self.from_start else {
            return self.policy.next_delay(&mut client.state, rng, failed);
        };
        let wait = match client.due {
            0 => self.policy.next_delay(&mut client.state, rng, failed)?,
            NEVER => return None,
            due => Duration::from_nanos(due).saturating_sub(failed.elapsed),
        };
        // The attempt begins then, and the wait after it.
        let begins = failed.elapsed.saturating_add(wait);
        let next = Failed::new(failed.attempt.saturating_add(1), begins, Cause::Down);
        let after = self.policy.next_delay(&mut client.state, rng, &next);
        client.timeout = after.map_or(least, |after| nanos(after).max(least));
        client.due = after.map_or(NEVER, |after| nanos(begins.saturating_add(after)).max(1));
        Some(wait)
    }

    fn habits(&self, _: &Self::State) -> Option<Habits> {
        Some(self.habits)
    }

    fn timeout(&self, client: &Self::State) -> Option<u64> {
        self.from_start.map(|_| client.timeout)
    }
}
