//! The attempt in flight.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::clock::{Instant, Sleep};

pin_project! {
    /// The parts of a driver that must be pinned.
    pub(super) struct Flight<F> {
        #[pin]
        pub(super) attempt: Option<F>,
        // Until the driver's earliest deadline. Only a poll sets it: a loss may
        // be reported from outside of the runtime.
        #[pin]
        sleep: Sleep,
    }
}

impl<F> Flight<F> {
    pub(super) const fn none() -> Self {
        Self {
            attempt: None,
            sleep: Sleep::unset(),
        }
    }

    pub(super) fn begin(self: Pin<&mut Self>, attempt: F) {
        self.project().attempt.set(Some(attempt));
    }

    /// Drops the attempt, if there is one.
    pub(super) fn end(self: Pin<&mut Self>) {
        self.project().attempt.set(None);
    }

    /// Drops the sleep: the wait is over, or another runtime may go on with it.
    pub(super) fn disarm(self: Pin<&mut Self>) {
        self.project().sleep.set(Sleep::unset());
    }

    pub(super) fn poll_sleep(
        self: Pin<&mut Self>,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.project().sleep.poll_until(deadline, cx)
    }
}

/// Polls an attempt, which must be there.
///
/// A future must not be polled after it panicked. So an attempt that panics is
/// dropped, and the driver's task is woken to go on without it.
pub(super) fn poll_or_drop<F: Future>(
    attempt: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    struct Guard<'a, F> {
        attempt: Pin<&'a mut Option<F>>,
        waker: Option<&'a Waker>,
    }

    impl<F> Drop for Guard<'_, F> {
        fn drop(&mut self) {
            if let Some(waker) = self.waker {
                self.attempt.set(None);
                waker.wake_by_ref();
            }
        }
    }

    let mut guard = Guard {
        attempt,
        waker: Some(cx.waker()),
    };
    let future = guard.attempt.as_mut().as_pin_mut();
    let outcome = future.expect("an attempt is made").poll(cx);
    guard.waker = None;
    outcome
}
