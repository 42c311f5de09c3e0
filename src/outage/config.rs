//! The limits of an outage, kept once for the machine, the driver and the storm.

use core::fmt;
use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;

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
/// | [`attempt_timeout`](Self::attempt_timeout) | 13 s |
/// | [`patience`](Self::patience) | 120 s |
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
///     "Config { attempt_timeout: 20s, patience: 120s, stable_after: 10s, max_attempts: 100, \
///      max_elapsed: none, hint_cap: 3600s }"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Config {
    // In nanoseconds; `MAX` is no limit.
    pub(crate) stable_after: u64,
    pub(crate) max_elapsed: u64,
    attempt_timeout: u64,
    patience: u64,
    pub(crate) max_attempts: u32,
    /// In milliseconds, to fit beside the attempts; `MAX` is no limit.
    hint_cap: u32,
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
        const SECOND: u64 = 1_000_000_000;
        Self {
            stable_after: 10 * SECOND,
            max_elapsed: u64::MAX,
            attempt_timeout: 13 * SECOND,
            patience: 120 * SECOND,
            max_attempts: u32::MAX,
            hint_cap: 3_600_000,
        }
    }

    /// An attempt that takes longer has stalled: 13 s by default, and longer
    /// after attempts that stalled; see [`patience`](Self::patience).
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

    /// The most that the attempt timeout grows to: 120 s by default.
    ///
    /// After an attempt that stalled, the next one has 1.6 times as long for its
    /// answer (13 s, 21 s, 33 s, 53 s, 85 s, 120 s). Any other outcome sets the
    /// timeout back. A client that leaves a queue early must queue again, and the
    /// server has worked on its handshake for nobody. If `most` is not above the
    /// attempt timeout, the timeout does not grow.
    ///
    /// The three numbers are a compromise, found by simulation. Few others do as
    /// well with queues of 10 s, 30 s and 120 s at once. Those that gain with
    /// deep queues lose with shallow ones, and with a server that never answers.
    /// The page of the feature `storm` has the evidence.
    pub const fn patience(self, most: Duration) -> Self {
        Self {
            patience: nanos(most),
            ..self
        }
    }

    /// A connection that has been up for so long ends the outage before it:
    /// 10 s by default.
    pub const fn stable_after(self, uptime: Duration) -> Self {
        Self {
            stable_after: nanos(uptime),
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
        let milliseconds = nanos(most).div_ceil(1_000_000);
        Self {
            hint_cap: if milliseconds < u32::MAX as u64 {
                milliseconds as u32
            } else {
                u32::MAX
            },
            ..self
        }
    }

    /// The same as a time.
    #[inline]
    pub(crate) fn most_of_a_hint(&self) -> Duration {
        match self.hint_cap {
            u32::MAX => Duration::MAX,
            milliseconds => Duration::from_millis(milliseconds as u64),
        }
    }

    /// How long the next attempt may take, after so many that stalled in a row.
    #[inline]
    pub(crate) fn timeout(&self, stalled: u8) -> u64 {
        let most = self.patience.max(self.attempt_timeout);
        let mut timeout = self.attempt_timeout;
        for _ in 0..stalled {
            if timeout >= most {
                break;
            }
            // To 1.6 times as long: at least some, however short it is.
            timeout = timeout.saturating_add((timeout / 5).max(1) * 3);
        }
        timeout.min(most)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |nanoseconds| match nanoseconds {
            u64::MAX => None,
            _ => Some(Duration::from_nanos(nanoseconds)),
        };
        let attempts = (self.max_attempts != u32::MAX).then_some(self.max_attempts);
        let hint_cap = (self.hint_cap != u32::MAX).then(|| self.most_of_a_hint());
        f.debug_struct("Config")
            .field("attempt_timeout", &Limit(time(self.attempt_timeout)))
            .field("patience", &Limit(time(self.patience)))
            .field("stable_after", &Limit(time(self.stable_after)))
            .field("max_attempts", &Limit(attempts))
            .field("max_elapsed", &Limit(time(self.max_elapsed)))
            .field("hint_cap", &Limit(hint_cap))
            .finish()
    }
}

/// A limit, or none.
struct Limit<T>(Option<T>);

impl<T: fmt::Debug> fmt::Debug for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("none"),
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
            attempt_timeout(timeout: ::core::time::Duration) or try_attempt_timeout,
                "How long an attempt may take: 13 s by default. See";
        }
        config_setters! { @@ $this => $config;
            patience(most: ::core::time::Duration),
                "The most that the attempt timeout grows to: 120 s by default. See";
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
        let seconds = |config: Config| -> [u64; 7] {
            core::array::from_fn(|stalled| config.timeout(stalled as u8) / 1_000_000_000)
        };
        assert_eq!(seconds(Config::new()), [13, 20, 33, 53, 85, 120, 120]);
        let flat = Config::new().patience(Duration::ZERO);
        assert_eq!(seconds(flat), [13; 7]);
        let endless = Config::new().attempt_timeout(Duration::MAX);
        assert_eq!(endless.timeout(3), u64::MAX);
        let short = Config::new().attempt_timeout(Duration::from_nanos(1));
        assert!(short.timeout(1) > 1, "it grows from a nanosecond too");
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
