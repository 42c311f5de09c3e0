//! What observers are told.

use core::time::Duration;

use crate::outage::Reason;
use crate::verdict::Verdict;

/// What has just happened to a [`Redial`](crate::Redial), as its
/// [`observe`](crate::Redial::observe) closure is told.
///
/// Attempts are counted from 1 in each outage.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, E> {
    /// An attempt begins.
    #[non_exhaustive]
    Connecting {
        /// Its number.
        attempt: u32,
    },
    /// The attempt succeeded.
    #[non_exhaustive]
    Connected {
        /// Its number.
        attempt: u32,
    },
    /// The attempt failed.
    #[non_exhaustive]
    Failed {
        /// Its number.
        attempt: u32,
        /// Its error; `None` where it took longer than its timeout, panicked,
        /// or was dropped with its [`connect`](crate::Redial::connect).
        error: Option<&'a E>,
        /// What that means for the next one.
        verdict: Verdict,
    },
    /// The connection is gone.
    #[non_exhaustive]
    Lost {
        /// The session's error, where it gave one.
        error: Option<&'a E>,
        /// What that means for the next attempt.
        verdict: Verdict,
    },
    /// A wait begins, for the policy or for the budget.
    #[non_exhaustive]
    Waiting {
        /// The number of the attempt that follows.
        attempt: u32,
        /// How long.
        wait: Duration,
    },
    /// No attempt follows.
    #[non_exhaustive]
    GaveUp {
        /// Why.
        reason: Reason,
    },
}
