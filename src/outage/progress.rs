//! What happened in one outage so far, and what follows: the rules that the
//! machine and the fleet simulator share.

use core::time::Duration;

use super::{Config, Next, Reason, SavedOutage};
use crate::nanos::{nanos, scale};
use crate::policy::{Cause, Failed};
use crate::verdict::Verdict;

/// What a client remembers of its outage, apart from its backoff. The fleet
/// simulator holds millions of these under one [`Config`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// When the outage began.
    began: u64,
    /// When the present connection came up; kept only while an outage goes on.
    up_since: u64,
    /// Attempts that ended, in this outage.
    pub(super) attempts: u32,
    /// How many of the latest attempts stalled, in a row.
    pub(super) stalled: u8,
    phase: Phase,
    pub(super) ongoing: bool,
    /// The outage began with an attempt, not with a loss: the first attempt
    /// had no wait before it.
    pub(super) eager: bool,
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
    /// A saved outage that began at this time.
    pub(super) fn restored(began: u64, saved: &SavedOutage) -> Self {
        Self {
            began,
            attempts: saved.attempts,
            stalled: saved.stalled,
            eager: saved.eager && saved.attempts > 0,
            ongoing: true,
            ..Self::default()
        }
    }

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

    /// As [`connected`](Self::connected), if no outage goes on.
    #[cfg(feature = "tokio")]
    pub(super) fn connected_at_once(&mut self) {
        self.phase = Phase::Up;
        self.stalled = 0;
    }

    /// How many of the latest attempts stalled, in a row.
    #[inline]
    pub(crate) fn stalled(&self) -> u8 {
        self.stalled
    }

    #[inline]
    pub(crate) fn failed(
        &mut self,
        config: &Config,
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
        self.next(config, now, verdict, ask)
    }

    #[inline]
    pub(crate) fn lost(
        &mut self,
        config: &Config,
        now: u64,
        verdict: Verdict,
        ask: &mut impl Ask,
    ) -> Next {
        if !self.ongoing || self.has_healed(config, now) {
            self.begin(now, ask);
        }
        self.phase = Phase::Down;
        self.next(config, now, verdict, ask)
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
    fn next(&mut self, config: &Config, now: u64, verdict: Verdict, ask: &mut impl Ask) -> Next {
        // `Stop` takes precedence over `MaxAttempts`.
        if self.attempts >= config.max_attempts && verdict != Verdict::Stop {
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
        if elapsed.saturating_add(nanos(wait)) > config.max_elapsed {
            return Next::GiveUp(Reason::MaxElapsed);
        }
        Next::Wait(wait)
    }

    /// A connection has been up for long enough to end the outage.
    pub(super) fn has_healed(&self, config: &Config, now: u64) -> bool {
        self.phase == Phase::Up && now.saturating_sub(self.up_since) >= config.stable_after
    }

    pub(super) fn elapsed(&self, now: u64) -> u64 {
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
