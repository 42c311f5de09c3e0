//! The attempt in flight.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::clock::{Instant, Sleep};

pin_project! {
    /// What a driver has under way, and must be pinned.
    pub(super) struct Flight<F> {
        #[pin]
        pub(super) attempt: Option<F>,
        // Of the present attempt, or the present wait. Only a poll sets it:
        // whoever says that the connection is lost may be outside of the
        // runtime.
        #[pin]
        timer: Sleep,
    }
}

impl<F> Flight<F> {
    pub(super) const fn none() -> Self {
        Self {
            attempt: None,
            timer: Sleep::unset(),
        }
    }

    pub(super) fn begin(self: Pin<&mut Self>, attempt: F) {
        self.project().attempt.set(Some(attempt));
    }

    /// Drops the attempt, if there is one.
    pub(super) fn end(self: Pin<&mut Self>) {
        self.project().attempt.set(None);
    }

    /// Drops the timer: what is waited for has come, or whoever asks may do so
    /// in another runtime.
    pub(super) fn disarm(self: Pin<&mut Self>) {
        self.project().timer.set(Sleep::unset());
    }

    /// Until the deadline of the present phase.
    pub(super) fn poll_timer(
        self: Pin<&mut Self>,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.project().timer.poll_until(deadline, cx)
    }
}

/// Polls an attempt, which must be there. One that panics is dropped, as a
/// future must not be polled after that, and the driver is asked again.
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
