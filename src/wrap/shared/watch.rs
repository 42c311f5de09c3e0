//! A future that watches a shared connection.

use alloc::sync::{Arc, Weak};
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::live::Health;
use super::{Inner, Lent, Shared};
use crate::driver::Connect;
use crate::policy::{Policy, Stratified};
use crate::sync::lock;
use crate::wrap::wakers::{Seat, Wakers};

/// The future that [`Shared::watch`] and [`Lent::gone`] return.
///
/// # Cancel safety
///
/// Dropping it loses nothing; nobody watches the connection any more.
#[must_use = "futures do nothing unless polled"]
pub struct Watching<C: Connect, P: Policy = Stratified> {
    /// Weak, so that dropping the last `Shared` still closes the driver.
    owner: Weak<Inner<C, P>>,
    /// `None` if there was no driver any more.
    waiting: Option<Arc<Wakers>>,
    seat: Seat,
    /// The connection that it waits for the end of. Otherwise it waits for the end of
    /// the driver.
    generation: Option<u64>,
    begun: bool,
}

impl<C: Connect, P: Policy> Watching<C, P> {
    fn new(owner: Weak<Inner<C, P>>, generation: Option<u64>) -> Self {
        let waiting = owner.upgrade().map(|inner| inner.waiting.clone());
        Self {
            owner,
            waiting,
            seat: Seat::default(),
            generation,
            begun: false,
        }
    }
}

impl<C, P> Shared<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// Watches each connection, so that an idle one is pinged, and its death is noticed
    /// and shown in the [status](crate::Status) at once. Spawn it, once for all clones.
    ///
    /// It does what [`keep_alive`](Self::keep_alive) and the
    /// [`monitor`](Self::monitor) say, and [renews](Self#renewal) the connection. It makes
    /// no other attempt: a task that waits in [`ready`](Self::ready) does. It ends when the driver is closed or when the last
    /// `Shared` is dropped, which it does not prevent.
    ///
    /// Use the `Shared` in one runtime then: a `ready` in another one takes the timer of
    /// this future with it.
    pub fn watch(&self) -> Watching<C, P> {
        Watching::new(Arc::downgrade(&self.inner), None)
    }
}

impl<C, P> Lent<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// Waits until this connection is gone: reported as lost, found dead, or replaced. After
    /// a [renewal](Shared#renewal) it still waits, for up to 30 s, because work may go on.
    ///
    /// While it waits, it watches the connection as [`Shared::watch`] does.
    pub fn gone(&self) -> Watching<C, P> {
        Watching::new(self.owner.clone(), Some(self.generation))
    }
}

impl<C, P> Future for Watching<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (Some(inner), Some(waiting)) = (this.owner.upgrade(), &this.waiting) else {
            return Poll::Ready(());
        };
        waiting.wait(&mut this.seat, cx.waker());
        // Declared before the lock, and so dropped after it: see `Lent::report`.
        let gone;
        let mut trash = None;
        let mut state = lock(&inner.state);
        if !mem::replace(&mut this.begun, true) {
            // Only the timer that it sets itself below: the one of a wait or of an
            // attempt belongs to the task that waits in `ready`.
            state.disarm_watch();
            if state.redial.connection.is_some() {
                // That of a renewal.
                state.redial.disarm();
            }
        }
        // It looks again after it has registered, or a press would be missed.
        let _ = state.redial.await_disturbance(&inner.waker);
        gone = state.redial.obey();
        let renewed = state.redial.renews()
            && state.renew(&mut Context::from_waker(&inner.waker), &mut trash);
        let lost = state.watch(&inner.waker, false, &mut trash) == Health::Lost;
        let is_over = state.redial.is_closed()
            || this
                .generation
                .is_some_and(|generation| state.is_gone(generation, &inner.waker));
        drop(state);
        let told = lost || renewed || gone.is_some();
        drop((gone, trash));
        if told {
            // Others wait for the end of this connection, too.
            waiting.wake_all();
        }
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<C: Connect, P: Policy> Drop for Watching<C, P> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.leave(&mut self.seat);
        }
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Watching<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}
