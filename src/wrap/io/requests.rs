//! How a `RedialIo` asks its program for pings.

use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use futures_core::Stream;

use crate::clock::Stopwatch;
use crate::sync::{Mutex, lock};
use crate::wrap::wakers::{Seat, Wakers};

/// Asks the program to send a ping; made by
/// [`RedialIo::keep_alive`](super::RedialIo::keep_alive).
///
/// It is a [`Stream`] that yields whenever a ping is due, and that ends with its
/// `RedialIo`. If an answer makes the ping needless before it is taken, it does not
/// yield.
///
/// # Cancel safety
///
/// If a future of `StreamExt::next` is dropped, no request is lost: the next one yields
/// it. Dropping the `PingRequests` itself says that nobody pings; the time for an answer
/// then never runs, except while a write waits.
pub struct PingRequests {
    shared: Arc<Requests>,
    seat: Seat,
}

impl PingRequests {
    /// The requests that are put into the second.
    pub(super) fn new(stopwatch: Stopwatch) -> (Self, Arc<Requests>) {
        let shared = Arc::new(Requests {
            stopwatch,
            request: Mutex::new(Request::Nothing),
            asker: Wakers::default(),
        });
        let requests = Self {
            shared: shared.clone(),
            seat: Seat::default(),
        };
        (requests, shared)
    }
}

pub(super) struct Requests {
    stopwatch: Stopwatch,
    request: Mutex<Request>,
    asker: Wakers,
}

#[derive(Clone, Copy)]
pub(super) enum Request {
    Nothing,
    /// A ping is due since this time.
    Due(Duration),
    /// It was due, and was taken then.
    Taken {
        due: Duration,
        at: Duration,
    },
    Over,
}

impl Requests {
    pub(super) fn put(&self, request: Request) {
        *lock(&self.request) = request;
        self.asker.wake_all();
    }

    /// No ping is needed any more.
    pub(super) fn answered(&self) {
        *lock(&self.request) = Request::Nothing;
    }

    /// By how much the time for the answer is to be put off. `is_blocked` says
    /// whether a write waits: nobody can ping then, and nobody needs to.
    pub(super) fn delay(&self, now: Duration, is_blocked: bool) -> Duration {
        let mut request = lock(&self.request);
        let (due, at, next) = match *request {
            Request::Due(due) if is_blocked => (due, now, Request::Nothing),
            Request::Due(due) => (due, now, Request::Due(now)),
            Request::Taken { due, at } => (due, at, Request::Nothing),
            Request::Nothing | Request::Over => return Duration::ZERO,
        };
        *request = next;
        at.saturating_sub(due)
    }
}

impl Stream for PingRequests {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let this = &mut *self;
        this.shared.asker.wait(&mut this.seat, cx.waker());
        let mut request = lock(&this.shared.request);
        match *request {
            Request::Due(due) => {
                let at = this.shared.stopwatch.elapsed();
                *request = Request::Taken { due, at };
                Poll::Ready(Some(()))
            }
            Request::Over => Poll::Ready(None),
            Request::Nothing | Request::Taken { .. } => Poll::Pending,
        }
    }
}

impl Drop for PingRequests {
    fn drop(&mut self) {
        self.shared.asker.leave(&mut self.seat);
    }
}

impl fmt::Debug for PingRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PingRequests").finish_non_exhaustive()
    }
}
