//! The future of a task that waits for a shared connection.

use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{Lent, Shared, State};
use crate::driver::{Connect, Error};
use crate::policy::Policy;
use crate::sync::lock;
use crate::wrap::wakers::Seat;

/// The future that [`Shared::ready`] returns.
///
/// # Cancel safety
///
/// Dropping it loses nothing; see [`Shared::ready`].
#[must_use = "futures do nothing unless polled"]
pub struct SharedReady<'a, C: Connect, P: Policy> {
    shared: &'a Shared<C, P>,
    place: Place,
}

/// What one that waits gets.
type Answer<C, P> = Result<Lent<C, P>, Arc<Error<<C as Connect>::Error>>>;

/// A place among those that wait for a [`Shared`], which must always be the same one.
#[derive(Default)]
pub(crate) struct Place {
    /// Once it was polled, until it is ready.
    waiter: Option<Waiter>,
    /// Other tasks had their turn before it fails at once.
    yielded: bool,
}

impl<'a, C: Connect, P: Policy> SharedReady<'a, C, P> {
    pub(super) fn new(shared: &'a Shared<C, P>) -> Self {
        Self {
            shared,
            place: Place::default(),
        }
    }
}

struct Waiter {
    id: u64,
    seat: Seat,
    /// How often the driver had given up when this began to wait.
    given_up: u64,
}

impl Waiter {
    fn new<C: Connect, P: Policy>(state: &mut State<C, P>) -> Self {
        state.next_waiter += 1;
        // The newest task times the wait, because its runtime is the likeliest to
        // go on.
        state.timed_by = 0;
        Self {
            id: state.next_waiter,
            seat: Seat::default(),
            given_up: state.given_up,
        }
    }
}

impl<C, P> Future for SharedReady<'_, C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    type Output = Answer<C, P>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.place.poll(this.shared, cx)
    }
}

impl Place {
    /// As the poll of a [`SharedReady`].
    pub(crate) fn poll<C, P>(
        &mut self,
        shared: &Shared<C, P>,
        cx: &mut Context<'_>,
    ) -> Poll<Answer<C, P>>
    where
        C: Connect<Connection: Clone>,
        P: Policy,
    {
        let inner = &shared.inner;
        let waiter = self
            .waiter
            .get_or_insert_with(|| Waiter::new(&mut lock(&inner.state)));
        // Not under the lock of the state: a waker that this one replaces may run
        // anything.
        inner.waiting.wait(&mut waiter.seat, cx.waker());
        // Declared before the lock, and so dropped after it: see `Lent::report`.
        let gone;
        let mut trash = None;
        let mut guard = lock(&inner.state);
        let state = &mut *guard;
        if let (true, Some(error)) = (state.given_up > waiter.given_up, &state.error) {
            return Poll::Ready(Err(error.clone()));
        }
        if state.timed_by == 0 {
            state.timed_by = waiter.id;
            state.disarm();
        }
        gone = state.redial.obey();
        if let (true, Some(error)) = (state.redial.is_stopped(), &state.error) {
            let error = error.clone();
            drop(guard);
            drop(gone);
            if !mem::replace(&mut self.yielded, true) {
                // Or a task that asks again and again would keep the others from
                // their turn, also the one that resumes.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Err(error));
        }
        // The attempt wakes all tasks, because the one that polled it last may be
        // gone by then.
        let mut all = Context::from_waker(&inner.waker);
        let mut renewed = false;
        if state.redial.renews() {
            renewed = state.renew(&mut all, &mut trash);
            if state.is_leaving() {
                drop(guard);
                return Poll::Pending;
            }
        }
        // A connection that a handle has ended since is lent once more, because it
        // must not be dropped here, under the lock.
        let (up, changed) = if state.live.is_some() {
            match state.poll_watched(&mut all, &mut trash) {
                (Poll::Ready(up), changed) => (up, changed),
                (Poll::Pending, changed) => {
                    drop(guard);
                    if changed || renewed {
                        inner.waiting.wake_all();
                    }
                    return Poll::Pending;
                }
            }
        } else if state.redial.connection.is_none() {
            let Poll::Ready(up) = state.redial.poll_connection(&mut all) else {
                drop(guard);
                if renewed {
                    inner.waiting.wake_all();
                }
                return Poll::Pending;
            };
            state.generation += up.is_ok() as u64;
            (up, true)
        } else {
            (Ok(()), false)
        };
        let result = match up {
            Ok(()) => {
                let connection = state.redial.connection.as_ref();
                let connection = connection.expect("it is up").clone();
                Ok(Lent::new(connection, state.generation, inner))
            }
            Err(error) => {
                let error = Arc::new(error);
                state.given_up += 1;
                state.error = Some(error.clone());
                Err(error)
            }
        };
        state.timed_by = 0;
        drop(guard);
        drop((gone, trash));
        inner.waiting.leave(&mut waiter.seat);
        self.waiter = None;
        if changed || renewed {
            inner.waiting.wake_all();
        }
        Poll::Ready(result)
    }
}

impl<C: Connect, P: Policy> Drop for SharedReady<'_, C, P> {
    fn drop(&mut self) {
        self.place.leave(self.shared);
    }
}

impl Place {
    /// Waits no longer.
    pub(crate) fn leave<C: Connect, P: Policy>(&mut self, shared: &Shared<C, P>) {
        let Some(mut waiter) = self.waiter.take() else {
            return;
        };
        let inner = &*shared.inner;
        inner.waiting.leave(&mut waiter.seat);
        let mut state = lock(&inner.state);
        if state.timed_by == waiter.id {
            // Its runtime may be about to end, so another task times the wait now.
            state.timed_by = 0;
            drop(state);
            inner.waiting.wake_all();
        }
    }
}

impl<C: Connect, P: Policy> fmt::Debug for SharedReady<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReady").finish_non_exhaustive()
    }
}
