//! One connection for many tasks.

use alloc::sync::Arc;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use super::wakers::Wakers;
use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Policy, Stratified};
use crate::sync::{Mutex, lock};

/// One connection for many tasks: made by [`Redial::into_shared`].
///
/// Clones are cheap and share the connection. It must be [`Clone`] itself, as
/// clients are that multiplex requests: HTTP/2, gRPC, Redis, a channel to a task
/// that owns a socket.
///
/// Any number of tasks may wait in [`ready`](Self::ready). There is one attempt
/// at a time, whoever polls it, and all are woken by its outcome.
///
/// ```
/// # #[derive(Clone)] struct Client;
/// # impl Client {
/// #     async fn open() -> std::io::Result<Self> { Ok(Self) }
/// #     async fn get(&mut self, _: &str) -> std::io::Result<String> { Ok(String::new()) }
/// # }
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use redial::Redial;
///
/// let shared = Redial::new(Client::open).into_shared();
/// for key in ["a", "b", "c"] {
///     let shared = shared.clone();
///     tokio::spawn(async move {
///         let mut client = shared.ready().await.unwrap();
///         if client.get(key).await.is_err() {
///             shared.lost(&client);
///         }
///     });
/// }
/// # Ok(()) }
/// ```
pub struct Shared<C: Connect, P: Policy = Stratified> {
    inner: Arc<Inner<C, P>>,
}

struct Inner<C: Connect, P: Policy> {
    state: Mutex<State<C, P>>,
    waiting: Arc<Wakers>,
    waker: Waker,
}

struct State<C: Connect, P: Policy> {
    redial: Redial<C, P>,
    /// How many connections there have been.
    generation: u64,
    /// How often the driver gave up, and why it last did.
    given_up: u64,
    error: Option<Arc<Error<C::Error>>>,
    next_waiter: u64,
    /// By whose runtime the present wait is timed; 0 by nobody's.
    timed_by: u64,
}

/// A clone of a [`Shared`] connection, which knows which one it is of.
///
/// Derefs to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent<T> {
    connection: T,
    generation: u64,
}

impl<T> Lent<T> {
    /// The connection by itself.
    pub fn into_inner(self) -> T {
        self.connection
    }

    /// The number of the connection, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.connection
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.connection
    }
}

impl<C, P> Redial<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// One connection for many tasks.
    pub fn into_shared(self) -> Shared<C, P> {
        let waiting = Arc::new(Wakers::default());
        Shared {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    generation: self.connection.is_some() as u64,
                    redial: self,
                    given_up: 0,
                    error: None,
                    next_waiter: 0,
                    timed_by: 0,
                }),
                waker: Waker::from(waiting.clone()),
                waiting,
            }),
        }
    }
}

impl<C, P> Shared<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// A clone of the connection, as soon as there is one.
    ///
    /// # Errors
    ///
    /// As [`Redial::ready`]. One error reaches all who wait; to ask again after
    /// it begins a new outage.
    ///
    /// # Panics
    ///
    /// As [`Redial::ready`]. The connector, the classifier and the observer are
    /// called under a lock, and must not use the `Shared` that they serve.
    ///
    /// # Cancel safety
    ///
    /// To drop the future loses nothing. The attempt goes on as long as
    /// anybody waits, and where nobody does, with the next who asks.
    pub fn ready(&self) -> SharedReady<'_, C, P> {
        SharedReady {
            shared: self,
            waiter: None,
        }
    }

    /// The connection that `lent` is of is gone.
    ///
    /// The first to say so makes it so. That others say it too, or late, when
    /// there is another connection, does nothing.
    pub fn lost(&self, lent: &Lent<C::Connection>) {
        let mut state = lock(&self.inner.state);
        if state.generation == lent.generation {
            state.redial.lost();
        }
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_to(&self, lent: &Lent<C::Connection>, error: C::Error) {
        let mut state = lock(&self.inner.state);
        if state.generation == lent.generation {
            state.redial.lost_with(error);
        }
    }

    /// As [`lost`](Self::lost), where the server closes it in good order: a
    /// GOAWAY, for instance. See [`Redial::ended`].
    pub fn ended(&self, lent: &Lent<C::Connection>) {
        let mut state = lock(&self.inner.state);
        if state.generation == lent.generation {
            state.redial.ended();
        }
    }

    /// The present outage, to be carried over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        lock(&self.inner.state).redial.save()
    }

    /// A handle to look on, retry now, pause and close, from anywhere.
    pub fn handle(&self) -> Handle {
        let handle = lock(&self.inner.state).redial.handle();
        // Those who wait already are polled once, and hear of it from then on.
        self.inner.waiting.wake_all();
        handle
    }
}

impl<C: Connect, P: Policy> Clone for Shared<C, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Shared<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The future behind [`Shared::ready`].
#[must_use = "futures do nothing unless polled"]
pub struct SharedReady<'a, C: Connect, P: Policy> {
    shared: &'a Shared<C, P>,
    /// Since it was polled first.
    waiter: Option<Waiter>,
}

#[derive(Clone, Copy)]
struct Waiter {
    id: u64,
    /// How often the driver had given up by then.
    given_up: u64,
}

impl<C, P> Future for SharedReady<'_, C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    type Output = Result<Lent<C::Connection>, Arc<Error<C::Error>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &*self.shared.inner;
        let waiter = *self.waiter.get_or_insert_with(|| {
            let mut state = lock(&inner.state);
            state.next_waiter += 1;
            // Of all, who came last is the likeliest to be in a runtime that
            // goes on.
            state.timed_by = 0;
            Waiter {
                id: state.next_waiter,
                given_up: state.given_up,
            }
        });
        // Not under the lock: a waker that this one replaces may run anything.
        inner.waiting.wait(waiter.id, cx.waker());
        let mut guard = lock(&inner.state);
        let state = &mut *guard;
        if let (true, Some(error)) = (state.given_up > waiter.given_up, &state.error) {
            return Poll::Ready(Err(error.clone()));
        }
        if state.timed_by == 0 {
            state.timed_by = waiter.id;
            state.redial.disarm();
        }
        let fresh = state.redial.get_mut().is_none();
        // Whoever polls, all are woken: the poller may be gone by then.
        let mut all = Context::from_waker(&inner.waker);
        let result = match ready!(state.redial.poll_ready(&mut all)) {
            Ok(connection) => {
                state.generation += fresh as u64;
                Ok(Lent {
                    connection: connection.clone(),
                    generation: state.generation,
                })
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
        self.waiter = None;
        inner.waiting.forget(waiter.id);
        if fresh {
            inner.waiting.wake_all();
        }
        Poll::Ready(result)
    }
}

impl<C: Connect, P: Policy> Drop for SharedReady<'_, C, P> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else { return };
        let inner = &*self.shared.inner;
        inner.waiting.forget(waiter.id);
        let mut state = lock(&inner.state);
        if state.timed_by == waiter.id {
            // Its runtime may be about to end: one of the others times it now.
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
