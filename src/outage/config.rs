//! The limits of an outage, kept once for the machine, the driver and the storm.

use core::fmt;
use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::policy::fixed_point::jittered;

/// The limits of one client's outages: how long an attempt may take, when a
/// connection counts as stable, and when to give up.
///
/// [`Redial`](crate::Redial), [`Outage`](crate::Outage) and
/// `storm::Storm` (with the feature `storm`) take a whole `Config`, and each has
/// a setter for every limit that does the same.
///
/// # Defaults
///
/// | | default |
/// |---|---|
/// | [`dial_timeout`](Self::dial_timeout) | 5 s, if the phases of an attempt are known |
/// | [`attempt_timeout`](Self::attempt_timeout) | 13 s; or 60 s from the end of the dial, if that is known |
/// | [`patience`](Self::patience) | 120 s; or 300 s |
/// | [`stable_after`](Self::stable_after) | 10 s |
/// | [`max_attempts`](Self::max_attempts) | no limit |
/// | [`max_elapsed`](Self::max_elapsed) | no limit |
/// | [`hint_cap`](Self::hint_cap) | 1 h |
///
/// Times of more than 584 years count as 584 years, and 584 years as no limit.
///
/// ```
/// use redial::Config;
/// use std::time::Duration;
///
/// let config = Config::new()
///     .attempt_timeout(Duration::from_secs(20))
///     .max_attempts(100);
/// assert_ne!(config, Config::default());
/// assert_eq!(
///     format!("{config:?}"),
///     "Config { dial_timeout: 5s, attempt_timeout: 20s, patience: default, stable_after: 10s, \
///      max_attempts: 100, max_elapsed: none, hint_cap: 3600s }"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Config {
    // In nanoseconds; `MAX` is no limit.
    pub(crate) max_elapsed: u64,
    /// Zero if it was not set: the default depends on the attempt.
    attempt_timeout: u64,
    /// As above.
    patience: u64,
    pub(crate) max_attempts: u32,
    // In milliseconds, so that each fits half a word; `MAX` is no limit.
    stable_after: u32,
    hint_cap: u32,
    dial_timeout: u32,
}

const SECOND: u64 = 1_000_000_000;

/// What an attempt has time for.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// All of an attempt.
    Whole,
    /// What follows the dial.
    Rest,
}

impl Default for Config {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// The defaults.
    #[inline]
    pub const fn new() -> Self {
        Self {
            stable_after: 10_000,
            max_elapsed: u64::MAX,
            attempt_timeout: 0,
            patience: 0,
            max_attempts: u32::MAX,
            hint_cap: 3_600_000,
            dial_timeout: 5_000,
        }
    }

    /// A dial that takes longer has failed: 5 s by default. The verdict is
    /// `Retry(Down)`, because the server has done no work.
    ///
    /// It applies to attempts whose phases are known: to those of connectors that
    /// tell them (see [`Connect::then`](crate::Connect::then)),
    /// and to those that begin with [`Outage::dialing`](crate::Outage::dialing). A
    /// connector that limits its dial by itself, as `redial::tcp` does, is not cut
    /// short.
    ///
    /// A system repeats a packet that got no answer after 1 s and after 3 s
    /// (RFC 6298), so 5 s leave room for two losses.
    ///
    /// `Duration::MAX` means no limit, and so do times of more than 49 days. The unit
    /// is a millisecond, rounded up.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero; [`try_dial_timeout`](Self::try_dial_timeout) does not.
    #[track_caller]
    pub fn dial_timeout(self, timeout: Duration) -> Self {
        expect(self.try_dial_timeout(timeout))
    }

    /// As [`dial_timeout`](Self::dial_timeout).
    ///
    /// # Errors
    ///
    /// If `timeout` is zero: no dial could succeed in it.
    pub fn try_dial_timeout(self, timeout: Duration) -> Result<Self, InvalidConfig> {
        if timeout.is_zero() {
            return Err(InvalidConfig::duration(
                "dial_timeout",
                timeout,
                "no dial could succeed in it; give it some seconds, or Duration::MAX for no limit",
            ));
        }
        Ok(Self {
            dial_timeout: milliseconds(timeout),
            ..self
        })
    }

    /// An attempt that takes longer has stalled. If the [phases](crate::AttemptPhase) of the
    /// attempt are known, this is the time from the end of the dial.
    ///
    /// The default is 13 s, or 60 s from the end of the dial: a client that knows that
    /// it is in the server's queue can wait for its turn. Each attempt draws its own
    /// time, of 0.76 to 1.31 times as long. Otherwise all clients that queued together
    /// would leave together, and come back together.
    ///
    /// A value that you set is the least. Each attempt has exactly so long until one has
    /// stalled. After that the next one has longer; see [`patience`](Self::patience).
    /// `Duration::MAX` means no limit.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero; [`try_attempt_timeout`](Self::try_attempt_timeout)
    /// does not.
    #[track_caller]
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        expect(self.try_attempt_timeout(timeout))
    }

    /// As [`attempt_timeout`](Self::attempt_timeout).
    ///
    /// # Errors
    ///
    /// If `timeout` is zero: no attempt could succeed in it.
    pub fn try_attempt_timeout(self, timeout: Duration) -> Result<Self, InvalidConfig> {
        if timeout.is_zero() {
            return Err(InvalidConfig::duration(
                "attempt_timeout",
                timeout,
                "no attempt could succeed in it; give it some seconds, or Duration::MAX for no \
                 limit",
            ));
        }
        Ok(Self {
            attempt_timeout: nanos(timeout),
            ..self
        })
    }

    /// The most that the attempt timeout grows to: 120 s by default, or 300 s from the
    /// end of the dial.
    ///
    /// After an attempt that stalled, the next one has twice as long for its answer.
    /// Each attempt draws 0.76 to 1.31 times of that. Only a connection sets the
    /// timeout back: a refusal says nothing new about the queue behind it. A client
    /// that leaves a queue early must queue again, and the server has worked on its
    /// handshake for nobody. If `most` is not above the attempt timeout, the timeout
    /// does not grow.
    ///
    /// The numbers are a compromise, found by simulation. The page of the feature
    /// `storm` has the evidence.
    pub const fn patience(self, most: Duration) -> Self {
        let most = nanos(most);
        Self {
            // Not above any attempt timeout, like zero.
            patience: if most == 0 { 1 } else { most },
            ..self
        }
    }

    /// A connection that has been up for so long ends the outage before it:
    /// 10 s by default. Times of more than 49 days count as no limit. The unit is a
    /// millisecond, rounded up.
    pub const fn stable_after(self, uptime: Duration) -> Self {
        Self {
            stable_after: milliseconds(uptime),
            ..self
        }
    }

    /// Gives up after so many attempts in one outage: no limit by default.
    ///
    /// Attempts that connected count, as long as the outage goes on.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0; [`try_max_attempts`](Self::try_max_attempts) does not.
    #[track_caller]
    pub fn max_attempts(self, attempts: u32) -> Self {
        expect(self.try_max_attempts(attempts))
    }

    /// As [`max_attempts`](Self::max_attempts).
    ///
    /// # Errors
    ///
    /// If `attempts` is 0: the client would never connect.
    pub fn try_max_attempts(self, attempts: u32) -> Result<Self, InvalidConfig> {
        if attempts == 0 {
            return Err(InvalidConfig::new(
                "max_attempts",
                attempts,
                "the client would never connect; allow at least 1",
            ));
        }
        Ok(Self {
            max_attempts: attempts,
            ..self
        })
    }

    /// Gives up when so much time has passed since the outage began: no limit by
    /// default.
    ///
    /// All time counts, also the time of attempts and of pauses. An attempt in
    /// flight ends then. An attempt that begins later, because a pause was long, has
    /// its whole time.
    ///
    /// A wait that would end later is not shortened, because clients that were
    /// lost together would then make their last attempts together. The outage is
    /// given up instead. This also applies to waits that the server requested.
    pub const fn max_elapsed(self, elapsed: Duration) -> Self {
        Self {
            max_elapsed: nanos(elapsed),
            ..self
        }
    }

    /// The most that a server may ask a client to wait: 1 h by default. A
    /// [`RetryAfter`](crate::Verdict::RetryAfter) or a
    /// [`Slot`](crate::Verdict::Slot) beyond it counts as a `RetryAfter` of so much.
    ///
    /// Servers and proxies are known to ask for years, because of a wrong clock or a
    /// placeholder. An hour is longer than a restart takes, and short enough for a
    /// client that nobody watches. The clients of a server that is away for longer
    /// ask once an hour each. `Duration::ZERO` ignores all hints. Times of more than
    /// 49 days count as no limit. The unit is a millisecond, rounded up.
    pub const fn hint_cap(self, most: Duration) -> Self {
        Self {
            hint_cap: milliseconds(most),
            ..self
        }
    }

    /// The same as a time.
    #[inline]
    pub(crate) fn most_of_a_hint(&self) -> Duration {
        time(self.hint_cap)
    }

    /// As [`dial_timeout`](Self::dial_timeout).
    #[cfg(feature = "tokio")]
    pub(crate) fn longest_dial(&self) -> Duration {
        time(self.dial_timeout)
    }

    /// As [`stable_after`](Self::stable_after).
    #[cfg(feature = "tokio")]
    pub(crate) fn least_uptime(&self) -> Duration {
        time(self.stable_after)
    }

    /// All times in nanoseconds, by the names of their setters. `MAX` is no limit, and
    /// `None` a default that depends on the attempt.
    #[cfg(feature = "config")]
    pub(crate) fn times(&self) -> [(&'static str, Option<u64>); 6] {
        let set = |time| (time != 0).then_some(time);
        [
            ("dial_timeout", Some(self.dial_limit())),
            ("attempt_timeout", set(self.attempt_timeout)),
            ("patience", set(self.patience)),
            ("stable_after", Some(self.stable_uptime())),
            ("max_elapsed", Some(self.max_elapsed)),
            ("hint_cap", Some(nanos(self.most_of_a_hint()))),
        ]
    }

    /// How long a connection must be up to end the outage, in nanoseconds.
    #[inline]
    pub(super) fn stable_uptime(&self) -> u64 {
        nanos(time(self.stable_after))
    }

    /// How long a dial may take, in nanoseconds.
    #[inline]
    pub(super) fn dial_limit(&self) -> u64 {
        nanos(time(self.dial_timeout))
    }

    /// How long an attempt may take if none has stalled, in nanoseconds.
    #[cfg(feature = "tokio")]
    pub(super) fn whole_attempt(&self) -> u64 {
        match self.attempt_timeout {
            0 => 13 * SECOND,
            timeout => timeout,
        }
    }

    /// The same for an attempt that is no part of an outage.
    #[cfg(feature = "tokio")]
    pub(super) fn without_limits(&self) -> Self {
        Self {
            max_attempts: u32::MAX,
            max_elapsed: u64::MAX,
            ..*self
        }
    }

    /// How long the next attempt may take, after so many that stalled.
    #[inline]
    pub(super) fn limit(&self, of: Limit, stalled: u8, random: impl FnOnce() -> u64) -> u64 {
        let (first, most) = match of {
            Limit::Whole => (13 * SECOND, 120 * SECOND),
            Limit::Rest => (60 * SECOND, 300 * SECOND),
        };
        let or_default = |set, default| if set == 0 { default } else { set };
        let is_exact = self.attempt_timeout != 0 && stalled == 0;
        let mut timeout = or_default(self.attempt_timeout, first);
        let most = or_default(self.patience, most).max(timeout);
        for _ in 0..stalled {
            if timeout >= most {
                break;
            }
            timeout = timeout.saturating_mul(2);
        }
        if is_exact || timeout == u64::MAX {
            return timeout;
        }
        // What was set is the least that an attempt has.
        jittered(timeout, random())
            .min(most)
            .max(self.attempt_timeout)
    }
}

/// Whole milliseconds, rounded up; `u32::MAX` is no limit.
const fn milliseconds(time: Duration) -> u32 {
    let milliseconds = nanos(time).div_ceil(1_000_000);
    if milliseconds < u32::MAX as u64 {
        milliseconds as u32
    } else {
        u32::MAX
    }
}

/// The same as a time.
const fn time(milliseconds: u32) -> Duration {
    match milliseconds {
        u32::MAX => Duration::MAX,
        milliseconds => Duration::from_millis(milliseconds as u64),
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |nanoseconds| match nanoseconds {
            u64::MAX => Shown::None,
            _ => Shown::Some(Duration::from_nanos(nanoseconds)),
        };
        let or_default = |nanoseconds| match nanoseconds {
            0 => Shown::Default,
            _ => time(nanoseconds),
        };
        let attempts = match self.max_attempts {
            u32::MAX => Shown::None,
            attempts => Shown::Some(attempts),
        };
        f.debug_struct("Config")
            .field("dial_timeout", &time(self.dial_limit()))
            .field("attempt_timeout", &or_default(self.attempt_timeout))
            .field("patience", &or_default(self.patience))
            .field("stable_after", &time(self.stable_uptime()))
            .field("max_attempts", &attempts)
            .field("max_elapsed", &time(self.max_elapsed))
            .field("hint_cap", &time(nanos(self.most_of_a_hint())))
            .finish()
    }
}

/// A limit, none, or one that depends on the attempt.
enum Shown<T> {
    Some(T),
    None,
    Default,
}

impl<T: fmt::Debug> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Some(limit) => limit.fmt(f),
            Self::None => f.write_str("none"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The setters of [`Config`] for a type that has one, reached by `$config` from
/// `$this`.
macro_rules! config_setters {
    ($this:ident => $config:expr) => {
        config_setters! { timeouts: $this => $config }
        config_setters! { @ $this => $config;
            max_attempts(attempts: u32) or try_max_attempts,
                "Gives up after so many attempts in one outage: no limit by default. See";
        }
        config_setters! { @@ $this => $config;
            stable_after(uptime: ::core::time::Duration),
                "A connection that has been up for so long ends the outage before it: 10 s by \
                 default. See";
            max_elapsed(elapsed: ::core::time::Duration),
                "Gives up when so much time has passed since the outage began: no limit by \
                 default. See";
            hint_cap(most: ::core::time::Duration),
                "The most that a server may ask a client to wait: 1 h by default. See";
        }
    };
    // Those that a fleet has a use for, too.
    (timeouts: $this:ident => $config:expr) => {
        /// Replaces all limits that were set before; see [`Config`](crate::Config).
        pub fn config(mut self, config: $crate::outage::Config) -> Self {
            let $this = &mut self;
            $config = config;
            self
        }

        config_setters! { @ $this => $config;
            dial_timeout(timeout: ::core::time::Duration) or try_dial_timeout,
                "How long a dial may take, if the phases of an attempt are known: 5 s by \
                 default. See";
            attempt_timeout(timeout: ::core::time::Duration) or try_attempt_timeout,
                "How long an attempt may take: about 13 s by default, or 60 s from the end of \
                 the dial if that is known. See";
        }
        config_setters! { @@ $this => $config;
            patience(most: ::core::time::Duration),
                "The most that the attempt timeout grows to: 120 s by default, or 300 s from \
                 the end of the dial. See";
        }
    };
    (@ $this:ident => $config:expr;
        $($setter:ident($value:ident: $type:ty) or $try_setter:ident, $doc:literal;)+) => {$(
        #[doc = concat!($doc, " [`Config::", stringify!($setter), "`](crate::Config::", stringify!($setter), ").")]
        ///
        /// # Panics
        ///
        #[doc = concat!("If it is zero; [`", stringify!($try_setter), "`](Self::", stringify!($try_setter), ") does not.")]
        #[track_caller]
        pub fn $setter(self, $value: $type) -> Self {
            $crate::invalid::expect(self.$try_setter($value))
        }

        #[doc = concat!("As [`", stringify!($setter), "`](Self::", stringify!($setter), ").")]
        ///
        /// # Errors
        ///
        /// If it is zero.
        pub fn $try_setter(
            mut self,
            $value: $type,
        ) -> ::core::result::Result<Self, $crate::invalid::InvalidConfig> {
            let $this = &mut self;
            $config = $config.$try_setter($value)?;
            Ok(self)
        }
    )+};
    (@@ $this:ident => $config:expr; $($setter:ident($value:ident: $type:ty), $doc:literal;)+) => {$(
        #[doc = concat!($doc, " [`Config::", stringify!($setter), "`](crate::Config::", stringify!($setter), ").")]
        pub fn $setter(mut self, $value: $type) -> Self {
            let $this = &mut self;
            $config = $config.$setter($value);
            self
        }
    )+};
}
pub(crate) use config_setters;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_timeout_grows_by_stalls_up_to_the_patience() {
        let seconds = |config: Config, of| -> [u64; 6] {
            let limit = |stalled| config.limit(of, stalled as u8, || 1 << 63);
            core::array::from_fn(limit).map(|limit| limit / 1_000_000_000)
        };
        let default = Config::new();
        assert_eq!(seconds(default, Limit::Whole), [13, 26, 52, 104, 120, 120]);
        assert_eq!(seconds(default, Limit::Rest), [60, 120, 240, 300, 300, 300]);
        let flat = Config::new().patience(Duration::ZERO);
        assert_eq!(seconds(flat, Limit::Whole), [13; 6]);
        let set = Config::new().attempt_timeout(20 * SECOND);
        assert_eq!(seconds(set, Limit::Rest), [20, 40, 80, 160, 300, 300]);
        let endless = Config::new().attempt_timeout(Duration::MAX);
        assert_eq!(endless.limit(Limit::Whole, 3, || 0), u64::MAX);
        let short = Config::new().attempt_timeout(Duration::from_nanos(100));
        let grown = short.limit(Limit::Whole, 1, || 0);
        assert!(grown > 100, "it grows from nanoseconds too");
    }

    #[test]
    fn each_attempt_draws_its_own_timeout_unless_it_was_set() {
        let limit = |config: Config, stalled, random| {
            let limit = config.limit(Limit::Whole, stalled, || random);
            Duration::from_nanos(limit).as_millis()
        };
        let default = Config::new();
        assert_eq!(limit(default, 0, 0), 9_923);
        assert_eq!(limit(default, 0, u64::MAX), 17_029);
        // The patience is a limit for all.
        assert_eq!(limit(default, 9, 0), 120_000);
        let set = default.attempt_timeout(20 * SECOND);
        assert_eq!(limit(set, 0, 0), 20_000);
        assert_eq!(limit(set, 1, 0), 30_535);
        assert_eq!(limit(set.patience(Duration::ZERO), 3, u64::MAX), 20_000);
    }

    #[test]
    fn zeros_are_refused_by_their_setting() {
        let timeout = Config::new()
            .try_attempt_timeout(Duration::ZERO)
            .unwrap_err();
        assert_eq!(
            (timeout.setting(), timeout.value()),
            ("attempt_timeout", "0ns")
        );
        let dial = Config::new().try_dial_timeout(Duration::ZERO).unwrap_err();
        assert_eq!((dial.setting(), dial.value()), ("dial_timeout", "0ns"));
        let attempts = Config::new().try_max_attempts(0).unwrap_err();
        assert_eq!(
            (attempts.setting(), attempts.value()),
            ("max_attempts", "0")
        );
    }

    #[test]
    fn configs_compare_by_their_limits() {
        assert_eq!(Config::new(), Config::default());
        assert_eq!(Config::new().max_elapsed(Duration::MAX), Config::new());
        assert_ne!(Config::new().stable_after(SECOND), Config::new());
    }
}
