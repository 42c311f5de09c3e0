//! What a driver is doing.

use crate::clock::Instant;
use crate::outage::Reason;

/// What a [`Redial`](crate::Redial) is doing.
///
/// Attempts are counted from 1 in each outage.
///
/// The enum and its variants are `#[non_exhaustive]`, because later versions
/// will add states and details. A program that shows statuses can show one that
/// it does not know as "offline".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    },
    /// The driver waits before the next attempt.
    #[non_exhaustive]
    Waiting {
        /// The number of that attempt.
        attempt: u32,
        /// When the wait ends: a deadline to count down to.
        until: Instant,
    },
    /// There is a connection.
    #[non_exhaustive]
    Connected {
        /// When it came up. If it was handed over before there was a handle,
        /// this is when the first handle was made.
        since: Instant,
    },
    /// A handle has [paused](crate::Handle::pause) the driver, and the next
    /// attempt is due or waited for.
    Paused,
    /// The outage has ended without a connection. The driver makes no attempt
    /// until it is asked for a connection again, which begins a new outage.
    #[non_exhaustive]
    GaveUp {
        /// Why.
        reason: Reason,
    },
    /// A handle has [closed](crate::Handle::close) the driver, or it was
    /// dropped. No other status follows.
    Closed,
}
