//! What a driver is doing.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::advice::Actor;
use crate::clock::Instant;
use crate::outage::{AttemptPhase, Reason};
use crate::verdict::Verdict;

/// What a [`Redial`](crate::Redial) is doing.
///
/// Attempts are counted from 1 in each outage. An outage lasts until a connection has
/// been up for [`stable_after`](crate::Config::stable_after), so the number goes on
/// after a short connection. A clone costs a counter's increment.
///
/// The enum and its variants are `#[non_exhaustive]`, because later versions
/// will add states and details. A program that shows statuses can show one that
/// it does not know as "offline".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The driver has not been used yet.
    Idle,
    /// An attempt is in flight. If its future was dropped, the driver learns of
    /// that when it is used next.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt.
        attempt: u32,
        /// How far it is, if the connector tells.
        phase: AttemptPhase,
        /// When it began.
        since: Instant,
        /// What went wrong before.
        why: Why,
    },
    /// The driver waits before the next attempt.
    #[non_exhaustive]
    Waiting {
        /// The number of that attempt.
        attempt: u32,
        /// When the wait ends: a deadline to count down to.
        until: Instant,
        /// Who set that deadline.
        by: WaitsFor,
        /// What went wrong before.
        why: Why,
    },
    /// There is a connection.
    #[non_exhaustive]
    Connected {
        /// When it came up. If it was handed over before there was a handle,
        /// this is when the first handle was made.
        since: Instant,
        /// The number of the connection, for
        /// [`Handle::lost_if`](crate::Handle::lost_if). A
        /// [`Redial`](crate::Redial) counts from 1 since its first handle was
        /// made. The wrappers count from 1 in any case.
        generation: u64,
    },
    /// A handle has [paused](crate::Handle::pause) the driver, and the next attempt is
    /// held back.
    #[non_exhaustive]
    Paused {
        /// What went wrong before.
        why: Why,
    },
    /// A handle has [suspended](crate::Handle::suspend) the driver: there is no
    /// connection and no attempt.
    #[non_exhaustive]
    Suspended {
        /// What went wrong before.
        why: Why,
    },
    /// The outage has ended without a connection. The driver makes no attempt
    /// until it is asked again; see [`Error`](crate::Error).
    #[non_exhaustive]
    GaveUp {
        /// Why it gave up.
        reason: Reason,
        /// What went wrong before.
        why: Why,
    },
    /// A handle has [closed](crate::Handle::close) the driver, or it was
    /// dropped. No other status follows.
    Closed,
}

impl Status {
    /// What went wrong before, if anything did.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Connecting { why, .. }
            | Self::Waiting { why, .. }
            | Self::Paused { why }
            | Self::Suspended { why }
            | Self::GaveUp { why, .. } => Some(why),
            Self::Idle | Self::Connected { .. } | Self::Closed => None,
        }
    }
}

/// Who set the deadline of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The [policy](crate::Redial::policy).
    Policy,
    /// The server, by a [`RetryAfter`](Verdict::RetryAfter) or a
    /// [`Slot`](Verdict::Slot).
    Server,
    /// The [budget](crate::Redial::budget), which has no token yet.
    Budget,
    /// The spread over clients that start together
    /// ([`spread_first`](crate::Redial::spread_first)).
    Spread,
    /// A [`Handle`](crate::Handle), which asked for the attempt: a spread of up to a
    /// second, or what is left of the
    /// [interval](crate::Redial::press_interval) of presses.
    Press,
}

/// What went wrong in the present outage: part of a [`Status`].
///
/// It knows what happened since the driver's first handle was made.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Why(Option<Arc<Trouble>>);

#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    error: Option<Arc<str>>,
    verdict: Option<Verdict>,
    actor: Option<Actor>,
    /// How long the outage had lasted at that instant, or in all if it is over.
    elapsed: Duration,
    at: Option<Instant>,
}

impl Why {
    pub(crate) fn new(
        error: Option<Arc<str>>,
        verdict: Option<Verdict>,
        actor: Option<Actor>,
        elapsed: Duration,
    ) -> Self {
        Self(Some(Arc::new(Trouble {
            error,
            verdict,
            actor,
            elapsed,
            at: Some(Instant::now()),
        })))
    }

    /// The same in an outage that has lasted so long by now.
    pub(crate) fn later(&self, elapsed: Duration) -> Self {
        let error = self.0.as_ref().and_then(|trouble| trouble.error.clone());
        Self::new(error, self.verdict(), self.actor(), elapsed)
    }

    /// The same, of an outage that is over.
    pub(crate) fn ended(&self) -> Self {
        let ended = |trouble: &Arc<Trouble>| {
            Arc::new(Trouble {
                error: trouble.error.clone(),
                verdict: trouble.verdict,
                actor: trouble.actor,
                elapsed: self.elapsed(),
                at: None,
            })
        };
        Self(self.0.as_ref().map(ended))
    }

    /// The text of the last error. A timeout has a text, too.
    ///
    /// `None` if there was no error, or if its type is not one of those that the
    /// driver can print: `io::Error`, `Box<dyn Error>`, `String`, `&str`, and with the
    /// feature `codec` the errors of tokio-util's codecs. For others, tell the driver
    /// [how](crate::Redial::describe).
    pub fn error(&self) -> Option<&str> {
        self.0.as_ref()?.error.as_deref()
    }

    /// What the last failure or loss meant for the next attempt. `None` if nothing
    /// went wrong since the last connection came up.
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.as_ref()?.verdict
    }

    /// Who must act before the client can connect, if [advice](crate::Redial::advise) on
    /// the last error says so. The driver may try again all the same: the
    /// [`verdict`](Self::verdict) tells.
    pub fn actor(&self) -> Option<Actor> {
        self.0.as_ref()?.actor
    }

    /// How long the outage has lasted by now, or lasted in all if the driver gave up;
    /// zero if nothing went wrong yet.
    pub fn elapsed(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |trouble| {
            let since = trouble.at.as_ref().map_or(Duration::ZERO, Instant::elapsed);
            trouble.elapsed.saturating_add(since)
        })
    }
}

impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Why")
            .field("error", &self.error())
            .field("verdict", &self.verdict())
            .field("actor", &self.actor())
            .field("elapsed", &self.elapsed())
            .finish()
    }
}
