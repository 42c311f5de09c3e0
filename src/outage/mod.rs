//! One client's outages, without I/O: what happened and when goes in, and how
//! long to wait, or to give up, comes out.

mod beside;
mod config;
#[cfg(feature = "tokio")]
mod phase;
mod progress;
mod saved;
mod seeds;

use alloc::boxed::Box;
use core::fmt;
use core::mem;
use core::time::Duration;

use crate::nanos::nanos;
#[cfg(feature = "tokio")]
use crate::policy::{AnyPolicy, AnyState};
use crate::policy::{Cause, Failed, Policy};
use crate::rng::Rng;
use crate::verdict::Verdict;

use beside::Beside;
pub use config::Config;
pub(crate) use config::config_setters;
#[cfg(feature = "tokio")]
pub use phase::AttemptPhase;
#[cfg(feature = "storm")]
pub(crate) use progress::{Ask, Progress};
#[cfg(not(feature = "storm"))]
use progress::{Ask, Progress};
pub use saved::SavedOutage;
use seeds::Seeds;

/// What to do next.
///
/// The enum is complete on purpose: a loop that drives an [`Outage`] must handle
/// every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Next {
    /// Wait so long, then attempt to connect.
    Wait(Duration),
    /// Do not try again.
    GiveUp(Reason),
}

/// Why an outage ended without a connection.
///
/// Later versions may add reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The verdict on an error was [`Verdict::Stop`].
    Stopped,
    /// The outage has had all the attempts that
    /// [`max_attempts`](Config::max_attempts) allows.
    MaxAttempts,
    /// The time of [`max_elapsed`](Config::max_elapsed) is over, or the next wait
    /// would have ended after it.
    MaxElapsed,
    /// The policy had no more waits.
    Policy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "trying again cannot help",
            Self::MaxAttempts => "no attempts are left",
            Self::MaxElapsed => "no time is left",
            Self::Policy => "the policy gave up",
        })
    }
}

/// The outages of one client, for any runtime or none.
///
/// The machine reads no clock. `now` is a time on a monotonic clock that the
/// caller owns, from any origin. If that clock goes back, it counts as standing
/// still. Call a method for each event, and do what its answer says:
///
/// ```
/// use redial::{Cause, Next, Outage, Stratified, Verdict};
/// use std::time::Duration;
///
/// let at = Duration::from_millis; // the caller's clock
/// let mut outage = Outage::from_seed(Stratified::default(), 42);
///
/// // The first connect is immediate, and succeeds.
/// outage.connecting(at(0));
/// outage.connected(at(80));
///
/// // An hour later the connection is lost. The first reconnect is spread.
/// let Next::Wait(first) = outage.lost(at(3_600_000)) else { unreachable!() };
/// assert!(first > Duration::ZERO && first <= Duration::from_secs(1));
///
/// // The server refuses that attempt, and the wait grows.
/// let again = at(3_600_000) + first;
/// outage.connecting(again);
/// let next = outage.failed(again + at(1), Verdict::Retry(Cause::Down));
/// assert!(matches!(next, Next::Wait(_)));
/// assert_eq!(outage.attempts(), 1);
/// ```
///
/// # When an outage ends
///
/// Connected is not healed. An outage goes on, and its attempts and its elapsed
/// time count on, until a connection has been up for
/// [`stable_after`](Self::stable_after). So a server that accepts and then
/// drops is not hammered. The loss of a connection that was healthy begins a
/// new outage with a new generator.
///
/// # Limits
///
/// The limits and their defaults are in [`Config`].
pub struct Outage<P: Policy> {
    config: Config,
    progress: Progress,
    policy: P,
    /// What the policy remembers of the present outage, and its generator.
    memory: Option<(P::State, Rng)>,
    seeds: Seeds,
    /// What few outages have: in a box, so that the others need no room for it.
    rare: Option<Box<Rare<P>>>,
    /// The latest time that this clock has shown.
    latest: u64,
    /// When the present wait ends; [`NEVER`] if there is none.
    due: u64,
}

const NEVER: u64 = u64::MAX;

/// What few outages have.
struct Rare<P: Policy> {
    shift: Shift,
    /// The attempts beside a connection that is up. Only the driver makes such.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    beside: Beside<P>,
}

impl<P: Policy> Default for Rare<P> {
    fn default() -> Self {
        Self {
            shift: Shift::default(),
            beside: Beside::default(),
        }
    }
}

/// An outage that was restored, or in which the network has changed.
#[derive(Debug, Default)]
struct Shift {
    /// By how much the clock of a restored outage is ahead of the caller's.
    ahead: u64,
    /// Where the policy's schedule begins in this outage: zero if at its beginning.
    waits: u32,
    elapsed: Duration,
    /// The failure before the restart that cost the server most. The policy that
    /// begins anew goes through its schedule as if all failures had been like it.
    worst: Cause,
}

/// The longest time that a restored outage has lasted, 146 years: so that the
/// clock of the machine still runs after it.
const LONGEST_AWAY: u64 = u64::MAX / 4;

impl<P: Policy> Outage<P> {
    /// A machine with the default limits. It takes a seed from fresh entropy when
    /// its first outage begins.
    #[cfg(feature = "std")]
    pub fn new(policy: P) -> Self {
        Self::with_seeds(policy, Seeds::fresh())
    }

    /// A machine that gives the same waits for the same seed and events, on
    /// every platform.
    ///
    /// The waits of the first outage are those of
    /// [`policy.delays_from_seed(seed)`](Policy::delays_from_seed).
    pub fn from_seed(policy: P, seed: u64) -> Self {
        Self::with_seeds(policy, Seeds::given(seed))
    }

    fn with_seeds(policy: P, seeds: Seeds) -> Self {
        Self {
            config: Config::new(),
            progress: Progress::default(),
            policy,
            memory: None,
            seeds,
            rare: None,
            latest: 0,
            due: NEVER,
        }
    }

    config_setters!(this => this.config);

    /// The same waits for the same seed and events; see
    /// [`from_seed`](Self::from_seed). Takes effect when the next outage begins.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::given(seed);
        self
    }

    /// An attempt begins. Returns its timeout. An attempt that takes longer is to be ended,
    /// and is `Retry(Stalled)`.
    ///
    /// If this is the very first attempt and it fails, the outage counts from its
    /// beginning.
    pub fn connecting(&mut self, now: Duration) -> Duration {
        self.attempt(now, Progress::connecting)
    }

    /// An attempt begins with its dial. Returns the [timeout of the
    /// dial](Self::dial_timeout).
    ///
    /// Use it instead of [`connecting`](Self::connecting) if the caller sees when the
    /// transport is established, and calls [`established`](Self::established) then. A
    /// dial that takes too long is `Retry(Down)`: the server has done no work.
    ///
    /// ```
    /// use redial::{Cause, Outage, Stratified, Verdict};
    /// use std::time::Duration;
    ///
    /// let at = Duration::from_secs; // the caller's clock
    /// let mut outage = Outage::from_seed(Stratified::default(), 42);
    ///
    /// // A packet without an answer: the next attempt is soon.
    /// assert_eq!(outage.dialing(at(0)), at(5));
    /// let _ = outage.failed(at(5), Verdict::Retry(Cause::Down));
    ///
    /// // TCP is up, and the client is in the server's queue.
    /// outage.dialing(at(10));
    /// let login = outage.established(at(11));
    /// assert!(login > at(45) && login < at(79));
    /// ```
    pub fn dialing(&mut self, now: Duration) -> Duration {
        self.attempt(now, Progress::dialing)
    }

    /// The dial of the attempt has succeeded: the server knows of the client. Returns
    /// how long the rest of the attempt may take.
    ///
    /// If it takes longer, it is `Retry(Stalled)`, and the next attempt gets more time. Say
    /// so yourself: on Unix, std's error of `set_read_timeout` is a `WouldBlock`, which
    /// `Verdict::from` takes for `Retry(Busy)`.
    ///
    /// If no attempt has begun, one begins with it.
    pub fn established(&mut self, now: Duration) -> Duration {
        self.attempt(now, Progress::established)
    }

    fn attempt(&mut self, now: Duration, phase: impl FnOnce(&mut Progress, u64)) -> Duration {
        self.due = NEVER;
        let now = self.clock(now);
        phase(&mut self.progress, now);
        let seeds = &mut self.seeds;
        match self.progress.timeout(&self.config, now, || seeds.random()) {
            u64::MAX => Duration::MAX,
            timeout => Duration::from_nanos(timeout),
        }
    }

    /// The attempt failed.
    pub fn failed(&mut self, now: Duration, verdict: Verdict) -> Next {
        self.event(now, |progress, config, now, ask| {
            progress.failed(config, now, verdict, ask)
        })
    }

    /// The attempt succeeded.
    pub fn connected(&mut self, now: Duration) {
        self.due = NEVER;
        let now = self.clock(now);
        self.progress.connected(now);
    }

    /// The connection is lost.
    pub fn lost(&mut self, now: Duration) -> Next {
        self.lost_with(now, Verdict::Retry(Cause::Down))
    }

    /// The connection is lost, and the error says more: for example, the server
    /// asked the client to come back later, or never.
    pub fn lost_with(&mut self, now: Duration, verdict: Verdict) -> Next {
        self.event(now, |progress, config, now, ask| {
            progress.lost(config, now, verdict, ask)
        })
    }

    /// The server closed the connection in good order, for example before a
    /// deployment.
    ///
    /// It closes the connections of all its clients at once, so the first
    /// reconnect is spread as after a loss. The server still answers, so the
    /// cause is [`Cause::Busy`].
    pub fn ended(&mut self, now: Duration) -> Next {
        self.lost_with(now, Verdict::Retry(Cause::Busy))
    }

    /// The present connection did its work. Its end, however soon, begins a new
    /// outage, as that of a [stable](Self::stable_after) connection does.
    ///
    /// Does nothing if there is no connection.
    pub fn healed(&mut self) {
        self.progress.healed();
    }

    /// The client dropped its connection or its attempt on purpose, and makes no
    /// attempt for now. This is no loss, and an attempt is not counted.
    ///
    /// An outage that goes on goes on. The next attempt begins with
    /// [`connecting`](Self::connecting), whenever the client likes.
    pub fn suspended(&mut self, now: Duration) {
        self.due = NEVER;
        let now = self.clock(now);
        self.progress.suspended(&self.config, now);
    }

    /// The network of the device has changed: the policy begins anew with its
    /// first wait when the next attempt fails.
    ///
    /// The outage goes on, and so does the clock of its limits. Does nothing if no
    /// outage goes on, or if there is a connection.
    pub fn network_changed(&mut self, now: Duration) {
        let now = self.clock(now);
        if let Some((waits, elapsed)) = self.progress.position(now) {
            self.memory = None;
            self.progress.forget_worst();
            let shift = &mut self.rare.get_or_insert_default().shift;
            (shift.waits, shift.elapsed) = (waits, elapsed);
            shift.worst = Cause::Down;
        }
    }

    /// Forgets the outage: the next attempt is a first one.
    pub fn reset(&mut self) {
        self.progress = Progress::default();
    }

    /// How many attempts the present outage has had, including those that
    /// connected and were lost too soon; 0 if no outage goes on.
    pub fn attempts(&self) -> u32 {
        self.progress.attempts
    }

    /// How long the present outage has lasted; zero if no outage goes on.
    pub fn elapsed(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.progress.elapsed(self.look(now)))
    }

    /// Whether an outage goes on. It also goes on while connected, until a stable
    /// connection is lost.
    pub fn is_ongoing(&self) -> bool {
        self.progress.is_ongoing()
    }

    /// Whether the outage goes on if the connection is lost now.
    #[cfg(feature = "tokio")]
    pub(crate) fn outlasts_connection(&self, now: Duration) -> bool {
        self.progress.is_ongoing() && !self.progress.has_healed(&self.config, self.look(now))
    }

    /// The present outage, to carry it over a restart of the program.
    ///
    /// An attempt in flight is saved as one that took too long, because the program may
    /// end before the attempt does. This also holds for the very first attempt.
    ///
    /// `None` if no outage goes on, if the connection has been stable since, or
    /// if the outage was given up: the next launch then begins afresh.
    pub fn save(&self, now: Duration) -> Option<SavedOutage> {
        let now = self.look(now);
        let saved = self.progress.save(&self.config, now)?;
        let left = || Duration::from_nanos(self.due.saturating_sub(now));
        Some(SavedOutage {
            wait: (self.due != NEVER).then(left),
            ..saved
        })
    }

    /// Continues a saved outage, `away` after it was saved. The answer is what is
    /// left of its wait.
    ///
    /// So a relaunch of the program does not bypass the backoff. If you do not
    /// know the time away, zero is on the safe side. A connection that was up
    /// counts as lost now.
    ///
    /// The answer is always a wait: each launch makes at least one attempt, also
    /// if the saved outage has reached a limit. That limit applies once the
    /// attempt fails.
    ///
    /// ```
    /// use redial::{Cause, Next, Outage, Stratified, Verdict};
    /// use std::time::Duration;
    ///
    /// let mut outage = Outage::from_seed(Stratified::default(), 1);
    /// let mut now = Duration::ZERO;
    /// for _ in 0..9 {
    ///     let Next::Wait(wait) = outage.failed(now, Verdict::Retry(Cause::Down)) else { break };
    ///     now += wait;
    /// }
    /// let saved = outage.save(now).unwrap();
    ///
    /// // The program starts again, and its clock with it.
    /// let mut outage = Outage::from_seed(Stratified::default(), 2);
    /// let _ = outage.restore(&saved, Duration::from_secs(3), Duration::ZERO);
    /// assert_eq!(outage.attempts(), 9);
    /// assert_eq!(outage.elapsed(Duration::ZERO), now + Duration::from_secs(3));
    /// ```
    pub fn restore(&mut self, saved: &SavedOutage, away: Duration, now: Duration) -> Next {
        let elapsed = nanos(saved.elapsed.saturating_add(away)).min(LONGEST_AWAY);
        // The outage may have begun before the zero of the caller's clock.
        let ahead = elapsed.saturating_sub(nanos(now));
        let worst = saved.worst();
        let shift = Shift {
            ahead,
            worst,
            ..Shift::default()
        };
        if let Some(rare) = &mut self.rare {
            rare.shift = shift;
        } else if ahead > 0 || worst > Cause::Down {
            self.rare.get_or_insert_default().shift = shift;
        }
        self.latest = 0;
        let clock = self.clock(now);
        self.progress = Progress::restored(clock.saturating_sub(elapsed), saved);
        self.memory = None;
        let next = match saved.wait {
            Some(wait) => Next::Wait(wait.saturating_sub(away)),
            None => self.event(now, |progress, config, now, ask| {
                progress.resume(config, now, ask)
            }),
        };
        if let Next::Wait(left) = next {
            self.due = clock.saturating_add(nanos(left)).min(NEVER - 1);
        }
        next
    }

    /// `now` on the machine's own clock, which never goes back. Its zero lies
    /// before the beginning of a restored outage.
    fn look(&self, now: Duration) -> u64 {
        let ahead = self.rare.as_ref().map_or(0, |rare| rare.shift.ahead);
        nanos(now).saturating_add(ahead).max(self.latest)
    }

    /// As [`look`](Self::look), at an event.
    fn clock(&mut self, now: Duration) -> u64 {
        self.latest = self.look(now);
        self.latest
    }

    fn event(
        &mut self,
        now: Duration,
        event: impl FnOnce(&mut Progress, &Config, u64, &mut Own<'_, P>) -> Next,
    ) -> Next {
        let clock = self.clock(now);
        let mut own = Own {
            policy: &self.policy,
            memory: &mut self.memory,
            shift: shift_of(&mut self.rare),
            seeds: &mut self.seeds,
        };
        let next = event(&mut self.progress, &self.config, clock, &mut own);
        self.due = match next {
            Next::Wait(wait) => clock.saturating_add(nanos(wait)).min(NEVER - 1),
            Next::GiveUp(_) => NEVER,
        };
        next
    }
}

#[cfg(feature = "tokio")]
impl<P: Policy> Outage<P> {
    /// Connected while no outage goes on, so no clock need be read.
    pub(crate) fn connected_at_once(&mut self) {
        self.progress.connected_at_once();
    }

    /// The attempt was ended by a press, and another one follows at once.
    #[cold]
    #[inline(never)]
    pub(crate) fn abandoned(&mut self, now: Duration) -> Next {
        self.event(now, |progress, config, now, ask| {
            progress.abandoned(config, now, ask)
        })
    }

    /// As [`connecting`](Self::connecting), but an attempt that goes on with another
    /// server is as old as it was.
    pub(crate) fn still_connecting(&mut self, now: Duration) -> Duration {
        self.attempt(now, |progress, now| {
            if !progress.is_attempt() {
                progress.connecting(now);
            }
        })
    }

    /// The attempt goes on with another server.
    #[cold]
    pub(crate) fn server_begins(&mut self) {
        self.progress.server_begins();
    }

    /// How far the attempt is.
    pub(crate) fn attempt_phase(&self) -> AttemptPhase {
        self.progress.attempt_phase()
    }

    /// How much longer the outage may last.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        let left = self.progress.left(&self.config, self.look(now));
        match left {
            None | Some(u64::MAX) => Duration::MAX,
            Some(left) => Duration::from_nanos(left),
        }
    }

    /// Whether a loss has begun the outage that goes on.
    pub(crate) fn began_with_loss(&self) -> bool {
        self.progress.began_with == progress::Began::Loss
    }

    /// What an attempt without an answer has cost the server.
    pub(crate) fn cause_of_silence(&self) -> Cause {
        self.progress.cause_of_silence()
    }

    /// A random number from the outage's own seeds.
    pub(crate) fn random(&mut self) -> u64 {
        self.seeds.random()
    }

    /// The most that a server may ask for.
    pub(crate) fn most_of_a_hint(&self) -> Duration {
        self.config.most_of_a_hint()
    }

    /// The limits, for the setters of the driver.
    pub(crate) fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// The same outage, the type of its policy forgotten.
    pub(crate) fn with_any_policy(self) -> Outage<AnyPolicy>
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        Outage {
            config: self.config,
            progress: self.progress,
            policy: AnyPolicy::new(self.policy),
            memory: self.memory.map(|(state, rng)| (AnyState::new(state), rng)),
            seeds: self.seeds,
            rare: self.rare.map(|rare| {
                let memory = |(state, rng)| (AnyState::new(state), rng);
                Box::new(rare.with_memory(|before| before.map(memory)))
            }),
            latest: self.latest,
            due: self.due,
        }
    }

    /// The same limits and seed under another policy.
    pub(crate) fn with_policy<Q: Policy>(self, policy: Q) -> Outage<Q> {
        Outage {
            config: self.config,
            progress: self.progress,
            policy,
            memory: None,
            seeds: self.seeds,
            rare: self.rare.map(|rare| Box::new(rare.with_memory(|_| None))),
            latest: self.latest,
            due: self.due,
        }
    }
}

impl<P: Policy> fmt::Debug for Outage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outage")
            .field("config", &self.config)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// The policy, its memory and the seeds of one [`Outage`].
struct Own<'a, P: Policy> {
    policy: &'a P,
    memory: &'a mut Option<(P::State, Rng)>,
    shift: Option<&'a mut Shift>,
    seeds: &'a mut Seeds,
}

impl<P: Policy> Own<'_, P> {
    fn begin_policy(&mut self) {
        let mut rng = Rng::from_seed(self.seeds.next());
        *self.memory = Some((self.policy.begin(&mut rng), rng));
    }
}

#[inline]
fn shift_of<P: Policy>(rare: &mut Option<Box<Rare<P>>>) -> Option<&mut Shift> {
    rare.as_mut().map(|rare| &mut rare.shift)
}

#[cfg(feature = "tokio")]
impl<P: Policy> Rare<P> {
    /// The same under another policy, with what `change` makes of its memory.
    #[allow(clippy::type_complexity)] // it is what `Outage` has, too
    fn with_memory<Q: Policy>(
        self,
        change: impl FnOnce(Option<(P::State, Rng)>) -> Option<(Q::State, Rng)>,
    ) -> Rare<Q> {
        Rare {
            shift: self.shift,
            beside: self.beside.with_memory(change),
        }
    }
}

impl Shift {
    /// Another outage begins, and with it the policy's schedule.
    #[inline]
    fn begin(shift: Option<&mut Self>) {
        if let Some(shift) = shift {
            (shift.waits, shift.elapsed) = (0, Duration::ZERO);
            shift.worst = Cause::Down;
        }
    }

    /// The same failure, counted from where the schedule begins.
    #[cold]
    fn count(&mut self, failed: &Failed) -> Failed {
        let worst = mem::take(&mut self.worst);
        Failed {
            attempt: failed.attempt.saturating_sub(self.waits),
            elapsed: failed.elapsed.saturating_sub(self.elapsed),
            // A connection since then is news about the server.
            cause: if failed.after_connection {
                failed.cause
            } else {
                failed.cause.max(worst)
            },
            ..*failed
        }
    }
}

impl<P: Policy> Ask for Own<'_, P> {
    fn begin(&mut self) {
        Shift::begin(self.shift.as_deref_mut());
        self.begin_policy();
    }

    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        if self.memory.is_none() {
            self.begin_policy();
        }
        let (state, rng) = self.memory.as_mut()?;
        match &mut self.shift {
            None => self.policy.next_delay(state, rng, failed),
            Some(shift) => self.policy.next_delay(state, rng, &shift.count(failed)),
        }
    }

    fn random(&mut self) -> u64 {
        self.seeds.random()
    }
}
