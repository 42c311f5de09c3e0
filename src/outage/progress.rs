//! What happened in one outage so far, and what follows: the rules that the
//! machine and the fleet simulator share.

use core::time::Duration;

#[cfg(feature = "tokio")]
use super::AttemptPhase;
use super::config::Limit;
use super::{Config, Next, Reason, SavedOutage};
use crate::nanos::{nanos, scale};
use crate::policy::{Cause, Failed};
use crate::verdict::Verdict;

/// What a client remembers of its outage, apart from the policy's state. The
/// fleet simulator holds millions of these under one [`Config`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// When the outage began.
    began: u64,
    /// When the present connection came up; kept only while an outage goes on.
    /// If the outage was given up, when that was. During an attempt, when that began.
    since: u64,
    /// The attempts of this outage that have ended; see [`MOST_ATTEMPTS`].
    pub(super) attempts: u32,
    /// How many attempts have stalled since the last connection. A refusal in between
    /// says nothing new about the queue behind it.
    stalled: u8,
    phase: Phase,
    pub(super) began_with: Began,
    /// The failure of this outage that cost the server most.
    worst: Cause,
}

/// What the present outage began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Began {
    /// No outage goes on.
    #[default]
    Not,
    /// A loss.
    Loss,
    /// An attempt, which had no wait before it.
    Attempt,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Down,
    /// An attempt whose phases are not known.
    Connecting,
    /// The server has seen nothing of the attempt yet.
    Dialing,
    /// The attempt has passed its dial.
    Established,
    Up,
    /// The outage was given up.
    Over,
}

/// The highest count of attempts, below `u32::MAX`, which is no limit.
const MOST_ATTEMPTS: u32 = u32::MAX - 1;

/// The source of an outage's waits.
pub(crate) trait Ask {
    /// An outage begins.
    fn begin(&mut self);
    /// As [`Policy::next_delay`](crate::policy::Policy::next_delay).
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration>;
    /// A uniform random number, apart from those of the policy.
    fn random(&mut self) -> u64;
}

impl Progress {
    /// A saved outage that began at this time.
    pub(super) fn restored(began: u64, saved: &SavedOutage) -> Self {
        Self {
            began,
            attempts: saved.attempts.min(MOST_ATTEMPTS),
            stalled: saved.stalled,
            began_with: if saved.eager && saved.attempts > 0 {
                Began::Attempt
            } else {
                Began::Loss
            },
            worst: saved.worst(),
            ..Self::default()
        }
    }

    /// An attempt begins whose phases are not known.
    pub(crate) fn connecting(&mut self, now: u64) {
        self.begins(Phase::Connecting, now);
    }

    /// An attempt begins with its dial, or one whose phase was not known dials.
    pub(crate) fn dialing(&mut self, now: u64) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Dialing;
        } else {
            self.begins(Phase::Dialing, now);
        }
    }

    /// The attempt goes on with another server. It is as old as it was.
    #[cfg(feature = "tokio")]
    pub(super) fn server_begins(&mut self) {
        if self.is_attempt() {
            self.phase = Phase::Connecting;
        }
    }

    fn begins(&mut self, phase: Phase, now: u64) {
        (self.phase, self.since) = (phase, now);
        if !self.is_ongoing() {
            self.began = now;
        }
    }

    /// The dial of the attempt has succeeded, perhaps at once.
    pub(crate) fn established(&mut self, now: u64) {
        if self.is_attempt() {
            self.phase = Phase::Established;
        } else {
            self.begins(Phase::Established, now);
        }
    }

    pub(super) fn is_attempt(&self) -> bool {
        match self.phase {
            Phase::Connecting | Phase::Dialing | Phase::Established => true,
            Phase::Down | Phase::Up | Phase::Over => false,
        }
    }

    #[inline]
    pub(super) fn is_ongoing(&self) -> bool {
        self.began_with != Began::Not
    }

    #[cfg(feature = "tokio")]
    pub(super) fn attempt_phase(&self) -> AttemptPhase {
        match self.phase {
            Phase::Dialing => AttemptPhase::Dialing,
            Phase::Established => AttemptPhase::Established,
            _ => AttemptPhase::Unknown,
        }
    }

    /// What an attempt without an answer has cost the server.
    pub(crate) fn cause_of_silence(&self) -> Cause {
        match self.phase {
            Phase::Dialing => Cause::Down,
            _ => Cause::Stalled,
        }
    }

    pub(crate) fn connected(&mut self, now: u64) {
        self.phase = Phase::Up;
        self.since = now;
        self.stalled = 0;
        self.worst = Cause::Down;
        if self.is_ongoing() {
            self.count_attempt();
        }
    }

    /// The connection did its work: its loss begins a new outage.
    pub(super) fn healed(&mut self) {
        if self.phase == Phase::Up {
            *self = Self::default();
        }
    }

    /// Another connection takes the place of the present one. It has yet to be stable
    /// itself, but what the present one proved stays proven.
    #[cfg(feature = "tokio")]
    pub(super) fn replaced(&mut self, config: &Config, now: u64) {
        if self.has_healed(config, now) {
            self.healed();
        }
        self.since = now;
    }

    /// The client itself dropped its connection or its attempt, on purpose.
    pub(super) fn suspended(&mut self, config: &Config, now: u64) {
        match self.phase {
            Phase::Over => {}
            Phase::Up if self.has_healed(config, now) => *self = Self::default(),
            Phase::Down | Phase::Connecting | Phase::Dialing | Phase::Established | Phase::Up => {
                self.phase = Phase::Down;
            }
        }
    }

    /// How many waits there have been when the next attempt has failed, and how
    /// long the outage has lasted. `None` if the policy has no part in what comes
    /// next.
    pub(super) fn position(&self, now: u64) -> Option<(u32, Duration)> {
        let is_without = self.phase == Phase::Down || self.is_attempt();
        if !(is_without && self.is_ongoing()) {
            return None;
        }
        let waits = self.waits() + 1;
        Some((waits, Duration::from_nanos(self.elapsed(now))))
    }

    /// The failures so far say nothing about what follows, also after a restart of the
    /// program.
    pub(super) fn forget_worst(&mut self) {
        self.worst = Cause::Down;
    }

    /// How many waits this outage has had.
    fn waits(&self) -> u32 {
        self.attempts - (self.began_with == Began::Attempt) as u32
    }

    fn count_attempt(&mut self) {
        self.attempts = (self.attempts + 1).min(MOST_ATTEMPTS);
    }

    /// As [`connected`](Self::connected), if no outage goes on.
    #[cfg(feature = "tokio")]
    pub(super) fn connected_at_once(&mut self) {
        self.phase = Phase::Up;
    }

    #[inline]
    pub(crate) fn failed(
        &mut self,
        config: &Config,
        now: u64,
        verdict: Verdict,
        ask: &mut impl Ask,
    ) -> Next {
        self.count_failure(now, verdict, ask);
        self.next(config, now, verdict, false, ask)
    }

    /// A person or the program ended the attempt, and makes another one at once: no
    /// wait is asked for. It counts as one that took too long.
    #[cfg(feature = "tokio")]
    pub(super) fn abandoned(&mut self, config: &Config, now: u64, ask: &mut impl Ask) -> Next {
        let cause = self.cause_of_silence();
        self.count_failure(now, Verdict::Retry(cause), ask);
        if self.attempts >= config.max_attempts {
            return self.give_up(now, Reason::MaxAttempts);
        }
        if self.left(config, now).is_none() {
            return self.give_up(now, Reason::MaxElapsed);
        }
        Next::Wait(Duration::ZERO)
    }

    #[inline]
    fn count_failure(&mut self, now: u64, verdict: Verdict, ask: &mut impl Ask) {
        if !self.is_ongoing() {
            // An outage that begins with an attempt has lasted as long as it.
            let began = if self.is_attempt() { self.began } else { now };
            self.begin(began, ask);
            self.began_with = Began::Attempt;
        }
        self.phase = Phase::Down;
        self.count_attempt();
        if verdict == Verdict::Retry(Cause::Stalled) {
            self.stalled = self.stalled.saturating_add(1);
        }
    }

    #[inline]
    pub(crate) fn lost(
        &mut self,
        config: &Config,
        now: u64,
        verdict: Verdict,
        ask: &mut impl Ask,
    ) -> Next {
        if !self.is_ongoing() || self.has_healed(config, now) {
            self.begin(now, ask);
        }
        let after_connection = self.phase == Phase::Up;
        self.phase = Phase::Down;
        self.next(config, now, verdict, after_connection, ask)
    }

    fn begin(&mut self, now: u64, ask: &mut impl Ask) {
        *self = Self {
            began: now,
            began_with: Began::Loss,
            ..Self::default()
        };
        ask.begin();
    }

    #[inline]
    fn next(
        &mut self,
        config: &Config,
        now: u64,
        verdict: Verdict,
        after_connection: bool,
        ask: &mut impl Ask,
    ) -> Next {
        // `Stop` takes precedence over `MaxAttempts`.
        if self.attempts >= config.max_attempts && verdict != Verdict::Stop {
            return self.give_up(now, Reason::MaxAttempts);
        }
        if verdict == Verdict::Stop {
            return self.give_up(now, Reason::Stopped);
        }
        let elapsed = self.elapsed(now);
        // An attempt that ended at this limit has no successor, not even after a
        // wait of zero.
        if elapsed >= config.max_elapsed && config.max_elapsed != u64::MAX {
            return self.give_up(now, Reason::MaxElapsed);
        }
        let Some(wait) = self.wait(config, elapsed, verdict, after_connection, ask) else {
            return self.give_up(now, Reason::Policy);
        };
        if elapsed.saturating_add(nanos(wait)) > config.max_elapsed {
            return self.give_up(now, Reason::MaxElapsed);
        }
        Next::Wait(wait)
    }

    /// The wait of a restored outage whose connection or attempt did not survive
    /// the restart. No limit applies: each launch makes one attempt at least.
    pub(super) fn resume(&mut self, config: &Config, now: u64, ask: &mut impl Ask) -> Next {
        let verdict = Verdict::Retry(self.worst);
        let wait = self.wait(config, self.elapsed(now), verdict, false, ask);
        Next::Wait(wait.unwrap_or_default())
    }

    /// The wait before the next attempt; `None` if the policy gives up, or if the
    /// verdict is `Stop`.
    #[inline]
    fn wait(
        &mut self,
        config: &Config,
        elapsed: u64,
        verdict: Verdict,
        after_connection: bool,
        ask: &mut impl Ask,
    ) -> Option<Duration> {
        let (cause, hint) = match verdict {
            Verdict::Slot(wait) if wait <= config.most_of_a_hint() => return Some(wait),
            Verdict::RetryAfter(hint) | Verdict::Slot(hint) => (Cause::Busy, Some(hint)),
            Verdict::Retry(cause) => (cause, None),
            Verdict::Stop => return None,
        };
        self.worst = self.worst.max(cause);
        let mut failed = Failed::new(self.waits(), Duration::from_nanos(elapsed), cause);
        failed.after_connection = after_connection;
        let own = ask.next_delay(&failed)?;
        Some(match hint {
            Some(hint) => hinted(hint.min(config.most_of_a_hint()), own, ask),
            None => own,
        })
    }

    #[cold]
    fn give_up(&mut self, now: u64, reason: Reason) -> Next {
        self.phase = Phase::Over;
        self.since = now;
        Next::GiveUp(reason)
    }

    /// What must survive a restart of the program; see [`SavedOutage`].
    pub(super) fn save(&self, config: &Config, now: u64) -> Option<SavedOutage> {
        let saved = SavedOutage {
            elapsed: Duration::from_nanos(self.elapsed(now)),
            attempts: self.attempts,
            stalled: self.stalled,
            eager: self.began_with == Began::Attempt,
            wait: None,
            cost: self.worst as u8,
        };
        // The process may die in this attempt, and then it has failed.
        if self.is_attempt() {
            let cause = self.cause_of_silence();
            return Some(SavedOutage {
                elapsed: Duration::from_nanos(now.saturating_sub(self.began)),
                attempts: (self.attempts + 1).min(MOST_ATTEMPTS),
                stalled: self.stalled.saturating_add((cause == Cause::Stalled) as u8),
                eager: self.began_with != Began::Loss,
                cost: self.worst.max(cause) as u8,
                ..saved
            });
        }
        let goes_on = matches!(self.phase, Phase::Down | Phase::Up)
            && self.is_ongoing()
            && !self.has_healed(config, now);
        goes_on.then_some(saved)
    }

    /// A connection has been up for long enough to end the outage.
    pub(super) fn has_healed(&self, config: &Config, now: u64) -> bool {
        self.phase == Phase::Up && now.saturating_sub(self.since) >= config.stable_uptime()
    }

    pub(super) fn elapsed(&self, now: u64) -> u64 {
        let until = match self.phase {
            Phase::Over => self.since,
            _ => now,
        };
        if self.is_ongoing() {
            until.saturating_sub(self.began)
        } else {
            0
        }
    }

    /// How much longer the outage, or the attempt that may begin one, may last; `None`
    /// if that is over, as it can be for an attempt after a pause or a restart of the
    /// program. `u64::MAX` means no limit. Zero if that is over since the attempt began:
    /// it ends, in whatever phase it is by now.
    pub(super) fn left(&self, config: &Config, now: u64) -> Option<u64> {
        if config.max_elapsed == u64::MAX {
            return Some(u64::MAX);
        }
        // The first attempt may begin an outage, which then is as old as the attempt.
        let elapsed = now.saturating_sub(self.began);
        let left = config.max_elapsed.saturating_sub(elapsed);
        let had_time = || self.since.saturating_sub(self.began) < config.max_elapsed;
        (left > 0 || self.is_attempt() && had_time()).then_some(left)
    }

    /// How long the present phase of the attempt may take.
    #[inline]
    pub(crate) fn timeout(&self, config: &Config, now: u64, random: impl FnOnce() -> u64) -> u64 {
        let timeout = match self.phase {
            Phase::Dialing => config.dial_limit(),
            Phase::Established => config.limit(Limit::Rest, self.stalled, random),
            _ => config.limit(Limit::Whole, self.stalled, random),
        };
        self.left(config, now)
            .map_or(timeout, |left| left.min(timeout))
    }
}

/// The wait if the server asked for at least `hint`, and the policy would wait for
/// `own`: one or the other.
///
/// If the policy's wait covers the hint, it is spread already. Otherwise all clients
/// with the same hint would come back together, and a spread that is narrower than
/// the hint would keep them together. A hint in whole seconds was rounded, so one of
/// no length still is spread over a second.
#[cold]
fn hinted(hint: Duration, own: Duration, ask: &mut impl Ask) -> Duration {
    if own >= hint {
        return own;
    }
    let width = nanos(hint).max(1_000_000_000);
    hint.saturating_add(Duration::from_nanos(scale(ask.random(), width)))
}
