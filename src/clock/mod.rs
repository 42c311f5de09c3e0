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
#[cfg(feature = "tokio")]
mod timers;

#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
use core::task::Poll;
use core::time::Duration;
use std::time::SystemTime;

#[cfg(not(feature = "tokio"))]
use on_std as source;
#[cfg(feature = "tokio")]
use on_tokio as source;

use source::Moment;

#[cfg(feature = "tokio")]
use crate::nanos::nanos;

#[cfg(feature = "tokio")]
pub(crate) use source::Sleep;
#[cfg(feature = "test-util")]
pub(crate) use source::on_paused_clock;
#[cfg(feature = "tokio")]
pub(crate) use timers::{Timer, Timers};

/// A point in time on the driver's monotonic clock.
///
/// It is opaque, so that the crate's interface does not depend on the runtime
/// whose clock it is. What a program wants to know is how far away it is.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Moment);

#[cfg(feature = "tokio")]
impl Instant {
    #[inline]
    pub(crate) fn now() -> Self {
        Self(source::now())
    }

    /// So long from now. A wait that is too long to represent counts as a century.
    #[cfg(feature = "tower")]
    pub(crate) fn after(wait: Duration) -> Self {
        Self(source::now() + Duration::from_nanos(after(0, wait)))
    }

    /// The time left until this instant; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(source::now())
    }

    /// The time since this instant; zero if it is still ahead.
    pub fn elapsed(&self) -> Duration {
        source::now().saturating_duration_since(self.0)
    }
}

#[cfg(feature = "tokio")]
impl core::fmt::Debug for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // A point on a monotonic clock says nothing by itself.
        match (self.remaining(), self.elapsed()) {
            (Duration::ZERO, elapsed) => write!(f, "{elapsed:?} ago"),
            (remaining, _) => write!(f, "in {remaining:?}"),
        }
    }
}

/// Counts the time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Moment);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(source::now())
    }

    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        source::now().saturating_duration_since(self.0)
    }

    /// What it showed at `instant`.
    #[cfg(feature = "tokio")]
    pub(crate) fn shown_at(&self, instant: Instant) -> Duration {
        instant.0.saturating_duration_since(self.0)
    }

    /// The instant at which it shows `time`, in nanoseconds.
    #[cfg(feature = "tokio")]
    pub(crate) fn instant(&self, time: u64) -> Instant {
        Instant(self.0 + Duration::from_nanos(time))
    }

    /// What it shows at `instant`, in nanoseconds; zero before it was started.
    #[cfg(feature = "tokio")]
    pub(crate) fn shows(&self, instant: Instant) -> u64 {
        nanos(instant.0.saturating_duration_since(self.0))
    }
}

/// The output of `future`, or `None` if it is not ready at `deadline`.
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
pub(crate) async fn until<F: Future>(
    deadline: Instant,
    mut future: core::pin::Pin<&mut F>,
) -> Option<F::Output> {
    let mut sleep = core::pin::pin!(Sleep::unset());
    core::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll_until(deadline, cx).map(|()| None)
    })
    .await
}

/// The end of a wait that begins at `now`, in nanoseconds.
///
/// A wait that is too long to represent counts as a century.
#[cfg(feature = "tokio")]
pub(crate) fn after(now: u64, wait: Duration) -> u64 {
    const CENTURY: u64 = nanos(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    now.saturating_add(nanos(wait).min(CENTURY))
}

/// The time of day, which may be set back and forth.
pub(crate) type WallTime = SystemTime;

/// The system's wall clock.
pub(crate) fn wall() -> WallTime {
    SystemTime::now()
}

/// A time of day in nanoseconds since 1970; zero before.
#[cfg(feature = "tokio")]
pub(crate) fn wall_nanos(time: WallTime) -> u64 {
    nanos(
        time.duration_since(WallTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
