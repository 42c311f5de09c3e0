//! The attempt in flight.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::connect::Connect;
use crate::clock::{Instant, Sleep};
use crate::outage::AttemptPhase;

pin_project! {
    /// The parts of a driver that must be pinned.
    pub(super) struct Flight<A> {
        #[pin]
        pub(super) attempt: Option<A>,
        // Until the driver's earliest deadline. Only a poll sets it: a loss may
        // be reported from outside of the runtime.
        #[pin]
        sleep: Sleep,
    }
}

impl<A> Flight<A> {
    pub(super) const fn none() -> Self {
        Self {
            attempt: None,
            sleep: Sleep::unset(),
        }
    }

    pub(super) fn begin(self: Pin<&mut Self>, attempt: A) {
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

type Outcome<C> = Result<<C as Connect>::Connection, <C as Connect>::Error>;

/// Polls an attempt, which must be there. If it is pending, says how far it is.
///
/// A future must not be polled after it panicked. So an attempt that panics is
/// dropped, and the driver's task is woken to go on without it.
pub(super) fn poll_or_drop<C: Connect>(
    connector: &mut C,
    attempt: Pin<&mut Option<C::Attempt>>,
    cx: &mut Context<'_>,
) -> (Poll<Outcome<C>>, AttemptPhase) {
    struct Guard<'a, A> {
        attempt: Pin<&'a mut Option<A>>,
        waker: Option<&'a Waker>,
    }

    impl<A> Drop for Guard<'_, A> {
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
    let attempt = guard.attempt.as_mut().as_pin_mut();
    let outcome = connector.poll_attempt(attempt.expect("an attempt is made"), cx);
    let phase = match (&outcome, guard.attempt.as_ref().as_pin_ref()) {
        (Poll::Pending, Some(attempt)) => connector.phase(attempt.get_ref()),
        _ => AttemptPhase::Unknown,
    };
    guard.waker = None;
    (outcome, phase)
}
