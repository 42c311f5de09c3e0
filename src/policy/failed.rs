//! What a policy learns of each failure.

use core::time::Duration;

/// What has just failed: the input of a [`Policy`](crate::Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// How many waits the outage has had so far. It is 0 if the outage has just
    /// begun, with the loss of the connection or with the failure of the very
    /// first attempt.
    pub attempt: u32,
    /// The time since the outage began, attempts included.
    pub elapsed: Duration,
    /// What the failure cost the server.
    pub cause: Cause,
}

impl Failed {
    /// A failure, for programs that ask a policy by themselves.
    pub const fn new(attempt: u32, elapsed: Duration, cause: Cause) -> Self {
        Self {
            attempt,
            elapsed,
            cause,
        }
    }
}

/// What a failed attempt cost the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing: refused, unreachable, no route, or the TCP connect timed out.
    #[default]
    Down,
    /// A little: the server answered "not now" (503, 429, "reconnecting too
    /// fast").
    Busy,
    /// A whole handshake, for nothing: the client was connected, and then the
    /// handshake or the login timed out.
    Stalled,
}
