//! The time: the only module that names a clock.
//!
//! Everything else in the crate asks here for the present time, for a timer and
//! for the wall clock. Each source of time is one file: [`on_tokio`] has tokio's
//! clock, which tests can pause, and [`on_std`] has the standard library's, for
//! a [`TokenBucket`](crate::TokenBucket) without a runtime. A browser's clock
//! would be a third file.

#[cfg(not(feature = "tokio"))]
mod on_std;
#[cfg(feature = "tokio")]
mod on_tokio;

use core::time::Duration;
use std::time::SystemTime;

#[cfg(not(feature = "tokio"))]
use on_std as source;
#[cfg(feature = "tokio")]
use on_tokio as source;

use source::Moment;

#[cfg(feature = "tokio")]
pub(crate) use source::Sleep;

/// A point in time on the driver's monotonic clock.
///
/// It is opaque, so that the crate's interface does not depend on the runtime
/// whose clock it is. What a program wants to know is how far away it is.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Moment);

#[cfg(feature = "tokio")]
impl Instant {
    pub(crate) fn now() -> Self {
        Self(source::now())
    }

    /// The time left until this instant; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(source::now())
    }

    /// The time since this instant; zero if it is still ahead.
    pub fn elapsed(&self) -> Duration {
        source::now().saturating_duration_since(self.0)
    }

    /// The time since an earlier instant; zero if that one is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The instant after a wait. A wait that is too long to represent counts
    /// as a century.
    pub(crate) fn after(self, wait: Duration) -> Self {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self(self.0 + wait.min(CENTURY))
    }
}

#[cfg(feature = "tokio")]
impl core::fmt::Debug for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Moment);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(source::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        source::now().saturating_duration_since(self.0)
    }
}

/// The time of day, which may be set back and forth.
pub(crate) type WallTime = SystemTime;

/// The system's wall clock.
pub(crate) fn wall() -> WallTime {
    SystemTime::now()
}
