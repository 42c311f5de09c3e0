//! The sans-IO machine of one client's outages: told what happened and when,
//! it answers how long to wait, or to give up.

use core::fmt;
use core::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::{nanos, scale};
use crate::policy::{Backoff, Cause, Failed, Policy};
use crate::verdict::Verdict;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Next {
    /// Wait so long, then attempt to connect.
    Wait(Duration),
    /// Do not try again.
    GiveUp(Reason),
}

/// Why an outage ended without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The verdict on an error was [`Verdict::Stop`].
    Stopped,
    /// As many attempts as [`max_attempts`](Outage::max_attempts) allows were
    /// made.
    MaxAttempts,
    /// The next wait would have ended after
    /// [`max_elapsed`](Outage::max_elapsed).
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
/// The machine reads no clock: `now` is a time on a monotonic clock that the
/// caller owns, from any origin. A clock that goes back counts as standing
/// still. Whoever drives it tells it of each event and obeys the answer:
///
/// ```
/// use redial::{Cause, Next, Outage, Stratified, Verdict};
/// use std::time::Duration;
///
/// let at = Duration::from_millis; // the caller's clock
/// let mut outage = Outage::from_seed(Stratified::default(), 42);
///
/// // The first connect is immediate, and there it is.
/// outage.connecting(at(0));
/// outage.connected(at(80));
///
/// // An hour later it is gone. The first reconnect is spread.
/// let Next::Wait(first) = outage.lost(at(3_600_000)) else { unreachable!() };
/// assert!(first > Duration::ZERO && first <= Duration::from_secs(1));
///
/// // That attempt is refused, and the wait grows.
/// let again = at(3_600_000) + first;
/// outage.connecting(again);
/// let next = outage.failed(again + at(1), Verdict::Retry(Cause::Down));
/// assert!(matches!(next, Next::Wait(_)));
/// assert_eq!(outage.attempts(), 1);
/// ```
///
/// # When an outage ends
///
/// Connected is not healed: an outage goes on, its attempts and its elapsed
/// time with it, until a connection has been up for
/// [`stable_after`](Self::stable_after). So a server that accepts and then
/// drops is not hammered. The loss of a connection that was healthy begins a
/// new outage with a new generator.
pub struct Outage<P: Policy> {
    rules: Rules,
    progress: Progress,
    policy: P,
    backoff: Option<P::Backoff>,
    seeds: Seeds,
    /// What the clock of a restored outage is ahead of the caller's.
    ahead: u64,
    /// The latest that this clock has been.
    latest: u64,
    /// When the present wait ends.
    due: Option<u64>,
}

impl<P: Policy> Outage<P> {
    /// A machine with limits at their defaults, seeded from fresh entropy when
    /// its first outage begins.
    #[cfg(feature = "std")]
    pub fn new(policy: P) -> Self {
        Self::with_seeds(policy, Seeds::Fresh)
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
            rules: Rules::default(),
            progress: Progress::default(),
            policy,
            backoff: None,
            seeds,
            ahead: 0,
            latest: 0,
            due: None,
        }
    }

    /// A connection that has been up for so long ends the outage before it:
    /// 10 s by default.
    pub fn stable_after(mut self, uptime: Duration) -> Self {
        self.rules.stable_after = nanos(uptime);
        self
    }

    /// Gives up after so many attempts in one outage: without limit by default.
    ///
    /// Attempts that connected count, as long as the outage goes on.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0, which would never connect at all.
    #[track_caller]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        expect(self.rules.set_max_attempts(attempts));
        self
    }

    /// Gives up rather than wait beyond this time since the outage began:
    /// without limit by default.
    ///
    /// All time counts, that of attempts and of pauses too.
    ///
    /// A wait that would end later is not cut short, as clients that were lost
    /// together would all make their last attempt together: it is not begun.
    /// That holds for waits that the server asked for too.
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.rules.max_elapsed = nanos(elapsed);
        self
    }

    /// An attempt that takes longer has stalled: 13 s by default, and longer
    /// after attempts that did; see [`patience`](Self::patience).
    /// `Duration::MAX` lets an attempt take for ever.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero, in which no attempt could succeed.
    #[track_caller]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        expect(self.rules.set_attempt_timeout(timeout));
        self
    }

    /// The most that the attempt timeout grows to: 120 s by default.
    ///
    /// After an attempt that stalled, the next one has 1.6 times as long for its
    /// answer (13 s, 21 s, 33 s, 53 s, 85 s, 120 s), and any other outcome sets
    /// it back: to leave a server that is working through its queue is to have
    /// it do the work for nobody, and to queue again. A patience at or below the
    /// attempt timeout means that it does not grow.
    ///
    /// The three numbers are a compromise, found by simulation: few others do as
    /// well with queues of 10 s, 30 s and 120 s at once, and those that gain with
    /// deep queues lose with shallow ones and where a server never answers. The
    /// page of the feature `storm` has the evidence.
    pub fn patience(mut self, most: Duration) -> Self {
        self.rules.patience = nanos(most);
        self
    }

    /// The same waits for the same seed and events; see
    /// [`from_seed`](Self::from_seed). Takes effect when the next outage begins.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::given(seed);
        self
    }

    /// An attempt begins. Returns its timeout.
    ///
    /// Where the first connect of all fails, its outage has lasted since then.
    pub fn connecting(&mut self, now: Duration) -> Duration {
        self.due = None;
        let now = self.clock(now);
        self.progress.connecting(now);
        match self.rules.timeout(&self.progress) {
            u64::MAX => Duration::MAX,
            timeout => Duration::from_nanos(timeout),
        }
    }

    /// The attempt failed.
    pub fn failed(&mut self, now: Duration, verdict: Verdict) -> Next {
        self.tell(now, |progress, rules, now, ask| {
            progress.failed(rules, now, verdict, ask)
        })
    }

    /// The attempt succeeded.
    pub fn connected(&mut self, now: Duration) {
        self.due = None;
        let now = self.clock(now);
        self.progress.connected(now);
    }

    /// The connection is gone.
    pub fn lost(&mut self, now: Duration) -> Next {
        self.lost_with(now, Verdict::Retry(Cause::Down))
    }

    /// The connection is gone, with an error that says more: the server asked
    /// to come back later, or never.
    pub fn lost_with(&mut self, now: Duration, verdict: Verdict) -> Next {
        self.tell(now, |progress, rules, now, ask| {
            progress.lost(rules, now, verdict, ask)
        })
    }

    /// The server closed the connection in good order, as servers do that
    /// drain before a deployment.
    ///
    /// All its clients are told at once, so the first reconnect is spread as
    /// after a loss. The server answers, so the cause is [`Cause::Busy`].
    pub fn ended(&mut self, now: Duration) -> Next {
        self.lost_with(now, Verdict::Retry(Cause::Busy))
    }

    /// Forgets the outage: the next attempt is a first one.
    pub fn reset(&mut self) {
        self.progress = Progress::default();
        self.backoff = None;
        self.due = None;
    }

    /// How many attempts the present outage has had, also those that connected
    /// and were lost again too soon; 0 where none goes on.
    pub fn attempts(&self) -> u32 {
        self.progress.attempts
    }

    /// How long the present outage has lasted; zero where none goes on.
    pub fn elapsed(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.progress.elapsed(self.look(now)))
    }

    /// Whether an outage goes on: also while connected, until the connection
    /// is stable and lost again.
    pub fn is_ongoing(&self) -> bool {
        self.progress.ongoing
    }

    /// The present outage, to be carried over a restart of the program; none
    /// where none goes on, or the connection has been stable since.
    pub fn save(&self, now: Duration) -> Option<SavedOutage> {
        let now = self.look(now);
        if !self.progress.ongoing || self.progress.has_healed(&self.rules, now) {
            return None;
        }
        Some(SavedOutage {
            elapsed: Duration::from_nanos(self.progress.elapsed(now)),
            attempts: self.progress.attempts,
            stalled: self.progress.stalled,
            eager: self.progress.eager,
            wait: self
                .due
                .map(|due| Duration::from_nanos(due.saturating_sub(now))),
        })
    }

    /// Goes on with a saved outage, `away` after it was saved: the answer is
    /// what is left of its wait.
    ///
    /// So to relaunch a program is not a way round the backoff. Where the time
    /// away is not known, zero is on the safe side. What had been connected, or
    /// was connecting, counts as lost now.
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
        let elapsed = nanos(saved.elapsed.saturating_add(away));
        // The outage began before the caller's clock may have.
        self.ahead = elapsed.saturating_sub(nanos(now));
        self.progress = Progress {
            began: self.look(now).saturating_sub(elapsed),
            attempts: saved.attempts,
            stalled: saved.stalled,
            eager: saved.eager && saved.attempts > 0,
            ongoing: true,
            ..Progress::default()
        };
        self.backoff = None;
        match saved.wait {
            Some(wait) => {
                let left = wait.saturating_sub(away);
                self.due = Some(self.look(now).saturating_add(nanos(left)));
                Next::Wait(left)
            }
            None => self.lost(now),
        }
    }

    /// `now` on the clock that knows when a restored outage began, and never
    /// goes back.
    fn look(&self, now: Duration) -> u64 {
        nanos(now).saturating_add(self.ahead).max(self.latest)
    }

    /// As [`look`](Self::look), at an event.
    fn clock(&mut self, now: Duration) -> u64 {
        self.latest = self.look(now);
        self.latest
    }

    fn tell(
        &mut self,
        now: Duration,
        event: impl FnOnce(&mut Progress, &Rules, u64, &mut Own<'_, P>) -> Next,
    ) -> Next {
        let clock = self.clock(now);
        let mut own = Own {
            policy: &self.policy,
            backoff: &mut self.backoff,
            seeds: &mut self.seeds,
        };
        let next = event(&mut self.progress, &self.rules, clock, &mut own);
        self.due = match next {
            Next::Wait(wait) => Some(clock.saturating_add(nanos(wait))),
            Next::GiveUp(_) => None,
        };
        next
    }
}

/// An outage that is carried over a restart of the program; made by
/// [`Outage::save`] and [`Redial::save`](crate::Redial::save).
///
/// With the feature `serde` it can be written down. Later versions read what
/// this one wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct SavedOutage {
    elapsed: Duration,
    attempts: u32,
    stalled: u8,
    eager: bool,
    /// What is left of the present wait, if there is one.
    wait: Option<Duration>,
}

#[cfg(feature = "tokio")]
impl SavedOutage {
    /// The same outage, `away` later.
    pub(crate) fn later(&self, away: Duration) -> Self {
        Self {
            elapsed: self.elapsed.saturating_add(away),
            wait: self.wait.map(|wait| wait.saturating_sub(away)),
            ..*self
        }
    }

    /// The same with another wait.
    pub(crate) fn with_wait(self, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..self
        }
    }
}

#[cfg(feature = "tokio")]
impl<P: Policy> Outage<P> {
    /// Connected, with no outage that a clock would have to measure.
    pub(crate) fn connected_at_once(&mut self) {
        self.progress.phase = Phase::Up;
        self.progress.stalled = 0;
    }

    /// A random number from the outage's own seeds.
    pub(crate) fn random(&mut self) -> u64 {
        self.seeds.random()
    }

    pub(crate) fn rules(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// The same limits and seed under another policy.
    pub(crate) fn with_policy<Q: Policy>(self, policy: Q) -> Outage<Q> {
        Outage {
            rules: self.rules,
            progress: self.progress,
            policy,
            backoff: None,
            seeds: self.seeds,
            ahead: self.ahead,
            latest: self.latest,
            due: self.due,
        }
    }
}

impl<P: Policy> fmt::Debug for Outage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outage")
            .field("rules", &self.rules)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// What does not change during an outage. Times in nanoseconds; `MAX` is
/// without limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) stable_after: u64,
    pub(crate) max_elapsed: u64,
    pub(crate) attempt_timeout: u64,
    pub(crate) patience: u64,
    pub(crate) max_attempts: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Rules {
    // Copied as a whole: every driver begins with it.
    const DEFAULT: Self = {
        const SECOND: u64 = 1_000_000_000;
        Self {
            stable_after: 10 * SECOND,
            max_elapsed: u64::MAX,
            attempt_timeout: 13 * SECOND,
            patience: 120 * SECOND,
            max_attempts: u32::MAX,
        }
    };

    pub(crate) fn set_max_attempts(&mut self, attempts: u32) -> Result<(), InvalidConfig> {
        if attempts == 0 {
            return Err(InvalidConfig::new(
                "max_attempts is 0, which would never connect: allow at least 1",
            ));
        }
        self.max_attempts = attempts;
        Ok(())
    }

    pub(crate) fn set_attempt_timeout(&mut self, timeout: Duration) -> Result<(), InvalidConfig> {
        if timeout.is_zero() {
            return Err(InvalidConfig::new(
                "attempt_timeout is 0 ns, in which no attempt could succeed: give it some seconds, \
                 or Duration::MAX for none",
            ));
        }
        self.attempt_timeout = nanos(timeout);
        Ok(())
    }

    /// How long the attempt that is about to begin may take.
    #[inline]
    pub(crate) fn timeout(&self, progress: &Progress) -> u64 {
        let most = self.patience.max(self.attempt_timeout);
        let mut timeout = self.attempt_timeout;
        for _ in 0..progress.stalled {
            if timeout >= most {
                break;
            }
            // To 1.6 times as long: at least some, however short it is.
            timeout = timeout.saturating_add((timeout / 5).max(1) * 3);
        }
        timeout.min(most)
    }
}

/// What a client remembers of its outage, apart from its backoff. The fleet
/// simulator holds millions of these under one set of [`Rules`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// When the outage began.
    began: u64,
    /// When the present connection came up; kept only while an outage goes on.
    up_since: u64,
    /// Attempts that ended, in this outage.
    attempts: u32,
    /// How many of the latest attempts stalled, in a row.
    stalled: u8,
    phase: Phase,
    ongoing: bool,
    /// The outage began with an attempt, not with a loss: the first attempt
    /// had no wait before it.
    eager: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Down,
    Connecting,
    Up,
}

/// Where an outage gets its waits from.
pub(crate) trait Ask {
    /// An outage begins.
    fn begin(&mut self);
    /// As [`Backoff::next_delay`].
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration>;
    /// A uniform random number, apart from the backoff's.
    fn random(&mut self) -> u64;
}

impl Progress {
    pub(crate) fn connecting(&mut self, now: u64) {
        self.phase = Phase::Connecting;
        if !self.ongoing {
            self.began = now;
        }
    }

    pub(crate) fn connected(&mut self, now: u64) {
        self.phase = Phase::Up;
        self.up_since = now;
        self.stalled = 0;
        if self.ongoing {
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    #[inline]
    pub(crate) fn failed(
        &mut self,
        rules: &Rules,
        now: u64,
        verdict: Verdict,
        ask: &mut impl Ask,
    ) -> Next {
        if !self.ongoing {
            // An outage that begins with an attempt has lasted as long as it.
            let began = match self.phase {
                Phase::Connecting => self.began,
                Phase::Down | Phase::Up => now,
            };
            self.begin(began, ask);
            self.eager = true;
        }
        self.phase = Phase::Down;
        self.attempts = self.attempts.saturating_add(1);
        self.stalled = match verdict {
            Verdict::Retry(Cause::Stalled) => self.stalled.saturating_add(1),
            _ => 0,
        };
        self.next(rules, now, verdict, ask)
    }

    #[inline]
    pub(crate) fn lost(
        &mut self,
        rules: &Rules,
        now: u64,
        verdict: Verdict,
        ask: &mut impl Ask,
    ) -> Next {
        if !self.ongoing || self.has_healed(rules, now) {
            self.begin(now, ask);
        }
        self.phase = Phase::Down;
        self.next(rules, now, verdict, ask)
    }

    fn begin(&mut self, now: u64, ask: &mut impl Ask) {
        *self = Self {
            began: now,
            ongoing: true,
            ..Self::default()
        };
        ask.begin();
    }

    #[inline]
    fn next(&mut self, rules: &Rules, now: u64, verdict: Verdict, ask: &mut impl Ask) -> Next {
        // A Stop is told as one, also where no attempt is left.
        if self.attempts >= rules.max_attempts && verdict != Verdict::Stop {
            return Next::GiveUp(Reason::MaxAttempts);
        }
        let elapsed = self.elapsed(now);
        let waits = self.attempts - self.eager as u32;
        let since = Duration::from_nanos(elapsed);
        let wait = match verdict {
            Verdict::Slot(wait) => Some(wait),
            Verdict::RetryAfter(floor) => after(floor, waits, since, ask),
            Verdict::Retry(cause) => ask.next_delay(&Failed::new(waits, since, cause)),
            Verdict::Stop => return Next::GiveUp(Reason::Stopped),
        };
        let Some(wait) = wait else {
            return Next::GiveUp(Reason::Policy);
        };
        if elapsed.saturating_add(nanos(wait)) > rules.max_elapsed {
            return Next::GiveUp(Reason::MaxElapsed);
        }
        Next::Wait(wait)
    }

    /// A connection has been up for long enough to end the outage.
    fn has_healed(&self, rules: &Rules, now: u64) -> bool {
        self.phase == Phase::Up && now.saturating_sub(self.up_since) >= rules.stable_after
    }

    fn elapsed(&self, now: u64) -> u64 {
        if self.ongoing {
            now.saturating_sub(self.began)
        } else {
            0
        }
    }
}

/// The wait where the server asked for one of at least `floor`.
#[cold]
fn after(floor: Duration, waits: u32, elapsed: Duration, ask: &mut impl Ask) -> Option<Duration> {
    let failed = Failed::new(waits, elapsed.saturating_add(floor), Cause::Busy);
    // What was rounded to whole seconds is spread over the second.
    let rounding = if floor.subsec_nanos() == 0 && !floor.is_zero() {
        scale(ask.random(), 1_000_000_000)
    } else {
        0
    };
    let spread = ask.next_delay(&failed)?;
    Some(
        floor
            .saturating_add(spread)
            .saturating_add(Duration::from_nanos(rounding)),
    )
}

/// The policy, backoff and generators of one [`Outage`].
struct Own<'a, P: Policy> {
    policy: &'a P,
    backoff: &'a mut Option<P::Backoff>,
    seeds: &'a mut Seeds,
}

impl<P: Policy> Ask for Own<'_, P> {
    fn begin(&mut self) {
        let rng = Xoshiro256PlusPlus::seed_from_u64(self.seeds.next());
        *self.backoff = Some(self.policy.start(rng));
    }

    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        if self.backoff.is_none() {
            self.begin();
        }
        self.backoff.as_mut()?.next_delay(failed)
    }

    fn random(&mut self) -> u64 {
        self.seeds.random()
    }
}

/// A seed for each outage.
#[derive(Clone, Debug)]
enum Seeds {
    /// To be drawn when the first is needed: a healthy client draws none.
    #[cfg(feature = "std")]
    Fresh,
    Sequence {
        seed: u64,
        outages: u64,
        randoms: u64,
    },
}

impl Seeds {
    fn given(seed: u64) -> Self {
        Self::Sequence {
            seed,
            outages: 0,
            randoms: 0,
        }
    }

    /// The seed of the next outage: the seed itself, and then hashes of it and
    /// a counter.
    fn next(&mut self) -> u64 {
        let (seed, outages, _) = self.sequence();
        let n = *outages;
        *outages += 1;
        if n == 0 { seed } else { split_mix(seed, n) }
    }

    /// A uniform random number, from the other end of the same hashes.
    fn random(&mut self) -> u64 {
        let (seed, _, randoms) = self.sequence();
        *randoms += 1;
        split_mix(seed, randoms.wrapping_neg())
    }

    fn sequence(&mut self) -> (u64, &mut u64, &mut u64) {
        #[cfg(feature = "std")]
        if let Self::Fresh = self {
            *self = Self::given(crate::entropy::fresh());
        }
        match self {
            #[cfg(feature = "std")]
            Self::Fresh => unreachable!("drawn above"),
            Self::Sequence {
                seed,
                outages,
                randoms,
            } => (*seed, outages, randoms),
        }
    }
}

/// The n-th output of `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014) from a
/// seed that is itself scrambled first, so that neighbouring seeds do not give
/// each other's sequences one step apart.
fn split_mix(seed: u64, n: u64) -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let scramble = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    scramble(scramble(seed.wrapping_add(GAMMA)).wrapping_add(n.wrapping_mul(GAMMA)))
}
