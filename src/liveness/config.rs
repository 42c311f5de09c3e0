//! When a connection is asked whether it lives, and when it counts as dead.

use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;

/// When a connection is asked whether it lives, and when it counts as dead.
///
/// # Defaults
///
/// | | default |
/// |---|---|
/// | [`idle`](Self::idle), the silence before a ping | 25 s |
/// | [`grace`](Self::grace), the time for the answer | 15 s |
/// | [`speak_every`](Self::speak_every) | no limit |
///
/// So a dead connection is noticed after at most 40 s. 25 s is below 30 s, after
/// which some NATs forget a UDP flow, and below 60 s, the shortest limit of common
/// balancers. A ping each 30 s against a server's limit of 30 s lost connections to
/// a moment of delay (firezone/firezone 4348). 15 s is what Kubernetes and Temporal
/// wait; 5 s to 10 s gives false alarms on slow links (grpc/grpc 22963).
///
/// # Silences vary
///
/// Clients that reconnected in the same second must not ping in the same second
/// ever after. So each silence is drawn: from a half of `idle` to all of it until
/// the first ping of a connection, and later from four fifths to all of it. It is
/// never longer than `idle`.
///
/// # What counts
///
/// Anything that is received counts as life, before a ping and after it. What is
/// sent does not: a half-open socket takes data for minutes.
///
/// If the items of a protocol are long and the link is slow, no item may be complete
/// for a while. Then count bytes; see [`Heartbeat::heard`]. Otherwise `idle` and
/// `grace` together must be longer than the longest item takes.
///
/// ```
/// use redial::Liveness;
/// use std::time::Duration;
///
/// // The server closes a connection that has sent nothing for 90 s.
/// let liveness = Liveness::new().speak_every(Duration::from_secs(60));
/// // The server pings each 30 s by itself, and has no answer to ours.
/// let liveness = Liveness::listen_only(Duration::from_secs(75));
/// ```
///
/// [`Heartbeat::heard`]: crate::Heartbeat::heard
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Liveness {
    // In nanoseconds; `MAX` is never.
    pub(super) idle: u64,
    pub(super) grace: u64,
    pub(super) speak: u64,
    /// False if nothing can be asked.
    pub(super) pings: bool,
    /// False in tests that need exact times.
    pub(super) jitter: bool,
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`Liveness::calmer`] raises the silence to.
const CALMEST: u64 = nanos(Duration::from_secs(10 * 60));

impl Liveness {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            idle: nanos(Duration::from_secs(25)),
            grace: nanos(Duration::from_secs(15)),
            speak: u64::MAX,
            pings: true,
            jitter: true,
        }
    }

    /// No pings: a connection is dead once nothing was received for `limit`. For
    /// servers that ping by themselves. `Duration::MAX` means never.
    ///
    /// `limit` is best longer than two intervals of the server. [`idle`](Self::idle)
    /// changes it; the other settings have no effect. Such a limit does not vary.
    ///
    /// # Panics
    ///
    /// If `limit` is zero; [`try_listen_only`](Self::try_listen_only) does not.
    #[track_caller]
    pub fn listen_only(limit: Duration) -> Self {
        expect(Self::try_listen_only(limit))
    }

    /// Whether it is of use to a wrapper that cannot ping.
    #[cfg(feature = "tokio")]
    pub(crate) const fn only_listens(&self) -> bool {
        !self.pings
    }

    /// All times in nanoseconds, by the names of their setters. `MAX` is never, and
    /// `None` has no effect.
    #[cfg(feature = "config")]
    pub(crate) fn times(&self) -> [(&'static str, Option<u64>); 4] {
        let (pings, listens) = (self.pings, !self.pings);
        [
            ("idle", pings.then_some(self.idle)),
            ("grace", pings.then_some(self.grace)),
            ("speak_every", pings.then_some(self.speak)),
            ("listen_only", listens.then_some(self.idle)),
        ]
    }

    /// As [`listen_only`](Self::listen_only).
    ///
    /// # Errors
    ///
    /// If `limit` is zero: every connection would be dead at once.
    pub fn try_listen_only(limit: Duration) -> Result<Self, InvalidConfig> {
        let limit = not_zero(
            "listen_only",
            limit,
            "every connection would be dead at once",
        )?;
        Ok(Self {
            idle: limit,
            pings: false,
            ..Self::new()
        })
    }

    /// The longest silence before a ping: 25 s by default. `Duration::MAX` means no
    /// ping.
    ///
    /// If the server announces its own limit, half of that is a good silence.
    ///
    /// # Panics
    ///
    /// If `silence` is zero; [`try_idle`](Self::try_idle) does not.
    #[track_caller]
    pub fn idle(self, silence: Duration) -> Self {
        expect(self.try_idle(silence))
    }

    /// As [`idle`](Self::idle).
    ///
    /// # Errors
    ///
    /// If `silence` is zero: the client would ping without end.
    pub fn try_idle(self, silence: Duration) -> Result<Self, InvalidConfig> {
        let idle = not_zero("idle", silence, "the client would ping without end")?;
        Ok(Self { idle, ..self })
    }

    /// The time for the answer to a ping: 15 s by default. `Duration::MAX` means that
    /// a connection is never dead.
    ///
    /// It counts from when the ping is asked for, not from when it is written. So a
    /// send that the peer does not take hides nothing.
    ///
    /// # Panics
    ///
    /// If `time` is zero; [`try_grace`](Self::try_grace) does not.
    #[track_caller]
    pub fn grace(self, time: Duration) -> Self {
        expect(self.try_grace(time))
    }

    /// As [`grace`](Self::grace).
    ///
    /// # Errors
    ///
    /// If `time` is zero: no answer could come in it.
    pub fn try_grace(self, time: Duration) -> Result<Self, InvalidConfig> {
        let grace = not_zero("grace", time, "no answer could come in it")?;
        Ok(Self { grace, ..self })
    }

    /// Pings also if nothing was *sent* for this long, however much is received: for
    /// servers that cut clients which only listen. No limit by default.
    ///
    /// MQTT's servers cut a client that has sent nothing for 1.5 times its
    /// keep-alive, so this is the keep-alive. While an earlier ping has no answer,
    /// no other is sent. So it should be longer than [`grace`](Self::grace).
    ///
    /// # Panics
    ///
    /// If `silence` is zero; [`try_speak_every`](Self::try_speak_every) does not.
    #[track_caller]
    pub fn speak_every(self, silence: Duration) -> Self {
        expect(self.try_speak_every(silence))
    }

    /// As [`speak_every`](Self::speak_every).
    ///
    /// # Errors
    ///
    /// If `silence` is zero: the client would ping without end.
    pub fn try_speak_every(self, silence: Duration) -> Result<Self, InvalidConfig> {
        let speak = not_zero("speak_every", silence, "the client would ping without end")?;
        Ok(Self { speak, ..self })
    }

    /// The same with twice the silence before a ping, but at most ten minutes unless
    /// it was longer: for a server that closed a connection because of too many
    /// pings, as gRPC's do with `ENHANCE_YOUR_CALM`.
    ///
    /// ```
    /// use redial::Liveness;
    /// use std::time::Duration;
    ///
    /// let calmer = Liveness::new().calmer().calmer();
    /// assert_eq!(calmer, Liveness::new().idle(Duration::from_secs(100)));
    /// ```
    #[must_use]
    pub fn calmer(self) -> Self {
        Self {
            idle: self.idle.saturating_mul(2).min(CALMEST.max(self.idle)),
            ..self
        }
    }
}

fn not_zero(setting: &'static str, time: Duration, why: &str) -> Result<u64, InvalidConfig> {
    if time.is_zero() {
        let remedy = alloc::format!("{why}; give it some seconds, or Duration::MAX for never");
        return Err(InvalidConfig::duration(setting, time, remedy));
    }
    Ok(nanos(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_refused_by_their_setting() {
        let zero = Duration::ZERO;
        for (setting, refused) in [
            ("idle", Liveness::new().try_idle(zero)),
            ("grace", Liveness::new().try_grace(zero)),
            ("speak_every", Liveness::new().try_speak_every(zero)),
            ("listen_only", Liveness::try_listen_only(zero)),
        ] {
            assert_eq!(refused.unwrap_err().setting(), setting);
        }
    }

    #[test]
    fn l11_a_server_that_punishes_pings_gets_fewer_of_them_and_never_none() {
        let seconds = |liveness: Liveness| liveness.idle / 1_000_000_000;
        let mut liveness = Liveness::new();
        let silences: [u64; 8] = core::array::from_fn(|_| {
            let silence = seconds(liveness);
            liveness = liveness.calmer();
            silence
        });
        assert_eq!(silences, [25, 50, 100, 200, 400, 600, 600, 600]);
        let hour = Liveness::new().idle(Duration::from_secs(3600));
        assert_eq!(hour.calmer(), hour);
    }
}
