//! The input of a policy: what failed, when, and why.

use core::time::Duration;

/// A failure: the input of a [`Policy`](crate::Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// How many waits the outage has had so far, also those that the server set or
    /// that were before a restart of the program. It is 0 after the loss that began
    /// the outage, or after the failed attempt that began it.
    pub attempt: u32,
    /// The time since the outage began, attempts included.
    pub elapsed: Duration,
    /// What the failure cost the server: [`Busy`](Cause::Busy) after a
    /// [`RetryAfter`](crate::Verdict::RetryAfter).
    pub cause: Cause,
    /// A connection was lost, and not an attempt. So the server took this client since
    /// the failure before, if there was one.
    pub after_connection: bool,
}

impl Failed {
    /// A failed attempt, for code that calls a policy without a driver.
    pub const fn new(attempt: u32, elapsed: Duration, cause: Cause) -> Self {
        Self {
            attempt,
            elapsed,
            cause,
            after_connection: false,
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
    /// A little: the server answered that it is busy (503, 429, "reconnecting too
    /// fast").
    Busy,
    /// A whole handshake without use: the client was connected, and then the
    /// handshake or the login timed out.
    Stalled,
}
