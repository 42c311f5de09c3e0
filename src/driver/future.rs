//! The futures of a driver.

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Redial;
use super::connect::Connect;
use super::error::Error;
use super::flight::Flight;
use crate::policy::Policy;

/// The future behind [`Redial::ready`].
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'a, C: Connect, P: Policy> {
    pub(super) redial: Option<&'a mut Redial<C, P>>,
    /// It was polled, and was not ready.
    pub(super) waits: bool,
}

impl<'a, C: Connect, P: Policy> Future for Ready<'a, C, P> {
    type Output = Result<&'a mut C::Connection, Error<C::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let redial = self.redial.take().expect("polled after it was ready");
        if !redial.is_plainly_up() {
            if !mem::replace(&mut self.waits, true) {
                redial.disarm();
            }
            match redial.poll_connection(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.redial = Some(redial);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(redial.connection.as_mut().expect("it is ready")))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Ready<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.redial).finish()
    }
}

pin_project! {
    /// The future behind [`Redial::connect`].
    ///
    /// It must be pinned to be polled by reference, as by `select!` in a loop.
    ///
    /// # Panics
    ///
    /// If it is polled after it was ready.
    #[must_use = "futures do nothing unless polled"]
    pub struct Connecting<'a, C: Connect, P: Policy> {
        // Until it is ready.
        pub(super) redial: Option<&'a mut Redial<C, P>>,
        // It was polled, and was not ready.
        pub(super) waits: bool,
        // Here and not in a box: it need not outlive this future.
        #[pin]
        pub(super) flight: Flight<C::Attempt>,
    }
}

impl<C: Connect, P: Policy> Future for Connecting<'_, C, P> {
    type Output = Result<C::Connection, Error<C::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let redial = this.redial.as_mut().expect("polled after it was ready");
        let outcome = if redial.connection.is_none() && redial.flight.is_none() {
            ready!(redial.core.poll(&mut redial.connector, this.flight, cx))
        } else {
            ready!(redial.poll_taking_over(this.waits, this.flight, cx))
        };
        let redial = this.redial.take().expect("it was there before");
        Poll::Ready(outcome.map_err(|over| redial.core.error(over)))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Connecting<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connecting").field(&self.redial).finish()
    }
}
