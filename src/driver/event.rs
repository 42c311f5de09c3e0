//! The events that observers get.

use core::fmt;
use core::time::Duration;

use crate::advice::Actor;
use crate::bucket::Source;
use crate::liveness::Silent;
use crate::nanos::readable;
use crate::outage::Reason;
use crate::verdict::Verdict;

/// What has just happened to a [`Redial`](crate::Redial): the argument of its
/// [`observe`](crate::Redial::observe) closures.
///
/// Attempts are counted from 1 in each outage. An attempt at several
/// [`Endpoints`](crate::Endpoints) is one round over them.
///
/// Printed by `{event}` it is a line for people, in words that later versions may change:
/// `attempt 2 failed: connection reset`. It has no sources of the error.
///
/// The enum and its variants are `#[non_exhaustive]`, because later versions
/// will add events and details.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, E> {
    /// An attempt begins.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt.
        attempt: u32,
    },
    /// In the attempt, one of several [`Endpoints`](crate::Endpoints) is tried.
    #[non_exhaustive]
    Trying {
        /// The number of the attempt.
        attempt: u32,
        /// The place of the server in the list.
        server: usize,
    },
    /// In the attempt, one of several [`Endpoints`](crate::Endpoints) has failed. If no
    /// other is tried, [`Failed`](Self::Failed) follows.
    #[non_exhaustive]
    ServerFailed {
        /// The number of the attempt.
        attempt: u32,
        /// The place of the server in the list.
        server: usize,
        /// The error. `None` if the server has not answered in time.
        error: Option<&'a E>,
        /// What the failure means for this server.
        verdict: Verdict,
        /// Who must act, if [advice](crate::Redial::advise) on the error says so.
        actor: Option<Actor>,
    },
    /// In the attempt, one of several [`Endpoints`](crate::Endpoints) has taken the client.
    /// [`Connected`](Self::Connected) follows.
    #[non_exhaustive]
    ServerConnected {
        /// The number of the attempt.
        attempt: u32,
        /// The place of the server in the list.
        server: usize,
    },
    /// The transport of the attempt is established, and the handshake or the login
    /// begins; only if the connector tells (see [`Connect::phase`](crate::Connect::phase)),
    /// and if it does not end in the same poll. An attempt at several
    /// [`Endpoints`](crate::Endpoints) may have one for each server.
    #[non_exhaustive]
    Established {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The attempt succeeded.
    #[non_exhaustive]
    Connected {
        /// The number of the attempt: so many it took.
        attempt: u32,
        /// How long the outage has lasted; zero if there was none.
        elapsed: Duration,
    },
    /// The attempt failed.
    #[non_exhaustive]
    Failed {
        /// The number of the attempt.
        attempt: u32,
        /// The error of the attempt; of several [`Endpoints`](crate::Endpoints), the error
        /// of the one that got farthest. `None` if it took longer than its timeout, if a
        /// [`Handle`](crate::Handle) began it anew, if it panicked, or if it was
        /// dropped together with the future of [`connect`](crate::Redial::connect).
        error: Option<&'a E>,
        /// What the failure means for the next attempt.
        verdict: Verdict,
        /// Who must act, if [advice](crate::Redial::advise) on the error says so.
        actor: Option<Actor>,
    },
    /// The connection is gone.
    #[non_exhaustive]
    Lost {
        /// The error that ended the connection, if one was reported.
        error: Option<&'a E>,
        /// What the loss means for the next attempt.
        verdict: Verdict,
        /// How long nothing was received, if the connection was dropped for that. The
        /// verdict is `Retry(Down)`.
        silent: Option<Silent>,
        /// Who must act, if [advice](crate::Redial::advise) on the error says so.
        actor: Option<Actor>,
        /// How many attempts the outage has had, if the connection was up for less than
        /// [`stable_after`](crate::Config::stable_after), so that the outage before it
        /// goes on. 0 if a new outage begins.
        attempts: u32,
    },
    /// A [renewal](crate::Redial::max_age) is due, and its attempt begins in the next poll
    /// of the driver, or once the [budget](crate::Redial::budget) has a token.
    #[non_exhaustive]
    RenewalDue {
        /// The number of the attempt, counted from 1 since the last renewal that led to a
        /// stable connection.
        attempt: u32,
    },
    /// A renewal succeeded: its connection has taken the place of the present one.
    #[non_exhaustive]
    Renewed {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The attempt of a renewal failed. The present connection stays.
    #[non_exhaustive]
    RenewalFailed {
        /// The number of the attempt.
        attempt: u32,
        /// The error of the attempt. `None` if it took longer than its timeout, if it
        /// panicked, or if it was dropped.
        error: Option<&'a E>,
        /// What the failure means for the next attempt. After a
        /// [`Stop`](crate::Verdict::Stop) none follows before the connection has ended.
        verdict: Verdict,
        /// Who must act, if [advice](crate::Redial::advise) on the error says so.
        actor: Option<Actor>,
    },
    /// The server asked for a longer wait than
    /// [`hint_cap`](crate::Config::hint_cap) allows, so the client comes back sooner.
    #[non_exhaustive]
    HintCut {
        /// What the server asked for.
        asked: Duration,
        /// What it counts as.
        cap: Duration,
    },
    /// A handle has [suspended](crate::Handle::suspend) the driver, which has
    /// dropped its connection or its attempt.
    Suspended,
    /// A wait begins: the policy's, or the [budget](crate::Redial::budget)'s.
    #[non_exhaustive]
    Waiting {
        /// The number of the attempt that follows.
        attempt: u32,
        /// The length of the wait.
        wait: Duration,
        /// Where the token comes from, if this is the budget's wait.
        source: Option<Source>,
    },
    /// No attempt follows.
    #[non_exhaustive]
    GaveUp {
        /// Why.
        reason: Reason,
        /// Who must act, if [advice](crate::Redial::advise) on the last error says so.
        actor: Option<Actor>,
    },
    /// A handle, a wrapper or the driver's own caller has closed the driver. There will
    /// be no connection and no event any more.
    Closed,
}

impl<E: fmt::Display> fmt::Display for Event<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { attempt } => write!(f, "attempt {attempt} begins"),
            Self::Trying { attempt, server } => {
                write!(f, "attempt {attempt} tries server {server}")
            }
            Self::ServerFailed { server, error, .. } => {
                write!(f, "server {server} failed: {}", OrNoAnswer(*error))
            }
            Self::ServerConnected { server, .. } => write!(f, "server {server} is connected"),
            Self::Established { attempt } => write!(f, "attempt {attempt} has reached the server"),
            Self::Connected { elapsed, .. } if elapsed.is_zero() => f.write_str("connected"),
            Self::Connected { attempt, elapsed } => {
                let elapsed = readable(*elapsed);
                write!(f, "connected again after {elapsed:?}, by attempt {attempt}")
            }
            Self::Failed { attempt, error, .. } => {
                write!(f, "attempt {attempt} failed: {}", OrNoAnswer(*error))
            }
            Self::Lost {
                error: Some(error), ..
            } => write!(f, "connection lost: {error}"),
            Self::Lost {
                silent: Some(silent),
                ..
            } => write!(f, "connection lost: {silent}"),
            Self::Lost { .. } => f.write_str("connection lost"),
            Self::RenewalDue { attempt } => write!(f, "renewal: attempt {attempt} begins"),
            Self::Renewed { attempt } => write!(f, "renewed by attempt {attempt}"),
            Self::RenewalFailed { attempt, error, .. } => {
                let error = OrNoAnswer(*error);
                write!(f, "renewal: attempt {attempt} failed: {error}")
            }
            Self::HintCut { asked, cap } => {
                write!(
                    f,
                    "the server asked for a wait of {asked:?}, cut to {cap:?}"
                )
            }
            Self::Suspended => f.write_str("suspended"),
            Self::Waiting { attempt, wait, .. } => {
                write!(f, "attempt {attempt} follows in {:?}", readable(*wait))
            }
            Self::GaveUp {
                reason,
                actor: Some(actor),
            } => write!(f, "gave up: {reason}; {actor} must act"),
            Self::GaveUp { reason, .. } => write!(f, "gave up: {reason}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Why an attempt has failed.
struct OrNoAnswer<'a, E>(Option<&'a E>);

impl<E: fmt::Display> fmt::Display for OrNoAnswer<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("no answer in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_event_is_a_line_for_people() {
        let secs = Duration::from_secs;
        let (attempt, server, actor) = (2, 0, None);
        let verdict = Verdict::default();
        let error = Some(&"reset by peer");
        let lost = |error, silent| Event::Lost {
            error,
            verdict,
            silent,
            actor,
            attempts: 0,
        };
        let failed = |error| Event::Failed {
            attempt,
            error,
            verdict,
            actor,
        };
        let connected = |elapsed| Event::Connected { attempt, elapsed };
        for (event, line) in [
            (Event::Connecting { attempt }, "attempt 2 begins"),
            (failed(error), "attempt 2 failed: reset by peer"),
            (failed(None), "attempt 2 failed: no answer in time"),
            (
                Event::ServerFailed {
                    attempt,
                    server,
                    error,
                    verdict,
                    actor,
                },
                "server 0 failed: reset by peer",
            ),
            (connected(Duration::ZERO), "connected"),
            (
                connected(Duration::from_micros(4_200_900)),
                "connected again after 4.2s, by attempt 2",
            ),
            (lost(error, None), "connection lost: reset by peer"),
            (
                lost(None, Some(Silent::new(secs(40)))),
                "connection lost: silent for 40s",
            ),
            (lost(None, None), "connection lost"),
            (
                Event::Waiting {
                    attempt,
                    wait: Duration::from_micros(1_234_567),
                    source: None,
                },
                "attempt 2 follows in 1.234s",
            ),
            (
                Event::HintCut {
                    asked: secs(7200),
                    cap: secs(3600),
                },
                "the server asked for a wait of 7200s, cut to 3600s",
            ),
            (
                Event::GaveUp {
                    reason: Reason::Stopped,
                    actor,
                },
                "gave up: trying again cannot help",
            ),
            (
                Event::GaveUp {
                    reason: Reason::Stopped,
                    actor: Some(Actor::Here),
                },
                "gave up: trying again cannot help; this side must act",
            ),
        ] {
            assert_eq!(event.to_string(), line);
        }
    }
}
