//! Tokio's clock, which tests can pause, and its timer.

use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Instant;

pub(super) use tokio::time::Instant as Moment;

#[inline]
pub(super) fn now() -> Moment {
    Moment::now()
}

pin_project! {
    /// A timer, which wakes the task that polls it at a deadline.
    ///
    /// It is made when it is first polled and belongs to the runtime in which
    /// that happens: without one, polling panics.
    pub(crate) struct Sleep {
        #[pin]
        sleep: Option<tokio::time::Sleep>,
    }
}

impl Sleep {
    pub(crate) const fn unset() -> Self {
        Self { sleep: None }
    }

    /// Waits until `deadline`, which may be another one each time.
    pub(crate) fn poll_until(
        self: Pin<&mut Self>,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut sleep = self.project().sleep;
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) if sleep.deadline() == deadline.0 => {}
            Some(sleep) => sleep.reset(deadline.0),
            None => sleep.set(Some(tokio::time::sleep_until(deadline.0))),
        }
        sleep.as_pin_mut().expect("set above").poll(cx)
    }
}

/// Runs a future in a runtime of its own, whose clock leaps over waits.
#[cfg(feature = "test-util")]
pub(crate) fn on_paused_clock<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing of the system");
    runtime.block_on(future)
}
