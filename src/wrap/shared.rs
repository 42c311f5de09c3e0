//! One connection for many tasks.

use alloc::sync::Arc;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use super::wakers::{Seat, Wakers};
use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Policy, Stratified};
use crate::sync::{Mutex, lock};

/// One connection for many tasks; made by [`Redial::into_shared`].
///
/// Clones are cheap and share the connection. The connection must itself be
/// [`Clone`], as clients are that multiplex requests: HTTP/2, gRPC, Redis, or a
/// channel to a task that owns a socket.
///
/// Any number of tasks may wait in [`ready`](Self::ready). There is one attempt at
/// a time. Any waiting task may poll it, and its outcome wakes all of them.
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
///             client.lost();
///         }
///     });
/// }
/// # Ok(()) }
/// ```
///
/// # The lock
///
/// The connector, the classifier, the observers and the connection's `Clone` run
/// under a lock. They must not use the `Shared` that they serve.
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
    /// How often the driver has given up.
    given_up: u64,
    /// Why it last did.
    error: Option<Arc<Error<C::Error>>>,
    next_waiter: u64,
    /// The waiter whose runtime times the present wait; 0 if there is none.
    timed_by: u64,
}

/// A clone of the connection of a [`Shared`]; made by [`Shared::ready`] and
/// [`Shared::get`].
///
/// It derefs to the connection. It knows the [`Shared`] that it comes from and
/// which of its connections it is, so a late report of a loss cannot end a newer
/// connection.
pub struct Lent<C: Connect, P: Policy = Stratified> {
    connection: C::Connection,
    generation: u64,
    owner: Shared<C, P>,
}

impl<C: Connect, P: Policy> Lent<C, P> {
    /// The connection by itself.
    pub fn into_inner(self) -> C::Connection {
        self.connection
    }

    /// The number of the connection, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<C, P> Lent<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// Reports this connection as lost.
    ///
    /// The first report ends the connection. Later reports, and reports of an
    /// older connection, do nothing.
    pub fn lost(&self) {
        self.owner.lost(self);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_with(&self, error: C::Error) {
        self.owner.lost_with(self, error);
    }

    /// As [`lost`](Self::lost), if the server closes the connection in good order:
    /// after a GOAWAY, for instance. See [`Redial::ended`].
    pub fn ended(&self) {
        self.owner.ended(self);
    }
}

impl<C: Connect, P: Policy> Deref for Lent<C, P> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        &self.connection
    }
}

impl<C: Connect, P: Policy> DerefMut for Lent<C, P> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self.connection
    }
}

impl<C: Connect<Connection: Clone>, P: Policy> Clone for Lent<C, P> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            generation: self.generation,
            owner: self.owner.clone(),
        }
    }
}

impl<C: Connect<Connection: fmt::Debug>, P: Policy> fmt::Debug for Lent<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("connection", &self.connection)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
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
    /// As [`Redial::ready`]. The error is in an [`Arc`], because one error reaches
    /// all tasks that wait. A task that asks again after it begins a new outage.
    ///
    /// # Panics
    ///
    /// As [`Redial::ready`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost. The attempt goes on as long as
    /// any task waits, and otherwise with the next task that asks.
    pub fn ready(&self) -> SharedReady<'_, C, P> {
        SharedReady {
            shared: self,
            waiter: None,
        }
    }

    /// A clone of the connection if it is up, without waiting.
    ///
    /// `None` if there is no connection, or if a handle has
    /// [closed](Handle::close) the driver.
    pub fn get(&self) -> Option<Lent<C, P>> {
        let mut state = lock(&self.inner.state);
        if state.redial.is_closed() {
            return None;
        }
        let connection = state.redial.get_mut()?.clone();
        Some(self.lent(connection, state.generation))
    }

    /// Reports the connection of `lent` as lost; see [`Lent::lost`].
    ///
    /// A `lent` of another `Shared` does nothing.
    pub fn lost(&self, lent: &Lent<C, P>) {
        self.report(lent, Redial::lost);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_with(&self, lent: &Lent<C, P>, error: C::Error) {
        self.report(lent, |redial| redial.lost_with(error));
    }

    /// As [`lost`](Self::lost), if the server closes the connection in good order;
    /// see [`Redial::ended`].
    pub fn ended(&self, lent: &Lent<C, P>) {
        self.report(lent, Redial::ended);
    }

    /// Calls `report` if `lent` is the present connection.
    fn report(&self, lent: &Lent<C, P>, report: impl FnOnce(&mut Redial<C, P>)) {
        if !Arc::ptr_eq(&self.inner, &lent.owner.inner) {
            return;
        }
        let mut state = lock(&self.inner.state);
        if state.generation == lent.generation {
            // The program may use this `Shared` in the `Drop` of its connection, so
            // the connection is not dropped under the lock.
            let gone = state.redial.connection.take();
            report(&mut state.redial);
            drop(state);
            drop(gone);
        }
    }

    fn lent(&self, connection: C::Connection, generation: u64) -> Lent<C, P> {
        Lent {
            connection,
            generation,
            owner: self.clone(),
        }
    }

    /// The present outage, to carry it over a restart of the program; see
    /// [`Redial::save`].
    pub fn save(&self) -> Option<SavedOutage> {
        lock(&self.inner.state).redial.save()
    }

    /// A handle, which shows the status, skips a wait, pauses, resumes and closes
    /// from anywhere in the program.
    pub fn handle(&self) -> Handle {
        let handle = lock(&self.inner.state).redial.handle();
        // Tasks that already wait are polled once, so that they notice what the
        // handle does.
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
    /// Once it was polled, until it is ready.
    waiter: Option<Waiter>,
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
    type Output = Result<Lent<C, P>, Arc<Error<C::Error>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let inner = &*this.shared.inner;
        let waiter = this
            .waiter
            .get_or_insert_with(|| Waiter::new(&mut lock(&inner.state)));
        // Not under the lock of the state: a waker that this one replaces may run
        // anything.
        inner.waiting.wait(&mut waiter.seat, cx.waker());
        let mut guard = lock(&inner.state);
        let state = &mut *guard;
        if let (true, Some(error)) = (state.given_up > waiter.given_up, &state.error) {
            return Poll::Ready(Err(error.clone()));
        }
        if state.timed_by == 0 {
            state.timed_by = waiter.id;
            state.redial.disarm();
        }
        let closed = state.redial.is_closed();
        let gone = closed.then(|| state.redial.connection.take()).flatten();
        let fresh = state.redial.get_mut().is_none();
        // The attempt wakes all tasks, because the one that polled it last may be
        // gone by then.
        let mut all = Context::from_waker(&inner.waker);
        let result = match ready!(state.redial.poll_ready(&mut all)) {
            Ok(connection) => {
                state.generation += fresh as u64;
                Ok(this.shared.lent(connection.clone(), state.generation))
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
        drop(gone);
        inner.waiting.leave(&mut waiter.seat);
        this.waiter = None;
        if fresh {
            inner.waiting.wake_all();
        }
        Poll::Ready(result)
    }
}

impl<C: Connect, P: Policy> Drop for SharedReady<'_, C, P> {
    fn drop(&mut self) {
        let Some(waiter) = &mut self.waiter else {
            return;
        };
        let inner = &*self.shared.inner;
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
