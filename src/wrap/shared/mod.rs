//! One connection for many tasks.
//!
//! [`ready`] has the future of a task that waits, and [`lent`] what the task gets.

mod lent;
mod live;
mod ready;
mod renewal;
mod watch;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::task::Waker;

use super::wakers::Wakers;
use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::outage::SavedOutage;
use crate::policy::{Policy, Stratified};
use crate::sync::{Mutex, lock};

pub use lent::Lent;
use live::Live;
#[cfg(feature = "tower")]
pub(crate) use ready::Place;
pub use ready::SharedReady;
use renewal::Renewing;
pub use watch::Watching;

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
/// # Renewal
///
/// A connection that is about to end is replaced while it serves: at its
/// [`max_age`](Redial::max_age), or when [`renew_within`](Self::renew_within),
/// [`Lent::leaves_within`], or a [`Handle`] says so. Tasks that have the old connection keep
/// it. Whoever asks for a connection gets the new one, as soon as that is up. Until then
/// the old one is lent, except after `leaves_within`.
///
/// The old connection ends when the last task drops it. [`Lent::gone`] ends 30 s after the
/// renewal, or if yet another connection is due. The loss of the old one does nothing.
///
/// A renewal runs whenever a task polls [`ready`](Self::ready), [`watch`](Self::watch) or
/// [`Lent::gone`]. So spawn `watch`, if the tasks do not ask for the connection all the
/// time.
///
/// With [`one_at_a_time`](Redial::one_at_a_time) the driver drops its connection before it
/// makes the next one. But the tasks still have theirs: they should await `gone`.
///
/// # The lock
///
/// The connector, the policy, the closures of the builder, the connection's `Clone`,
/// the pings of [`keep_alive`](Shared::keep_alive), and the `Drop` of an attempt and of an error run under a lock. They must not use
/// the `Shared` that they serve.
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
    /// What few have: they watch whether their connection lives.
    live: Option<Box<Live<C>>>,
    /// What few have: their connections are renewed.
    renewing: Option<Box<Renewing>>,
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

impl<C: Connect, P: Policy> Redial<C, P> {
    /// One connection for many tasks.
    pub fn into_shared(self) -> Shared<C, P>
    where
        C::Connection: Clone,
    {
        let waiting = Arc::new(Wakers::default());
        Shared {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    generation: self
                        .generation()
                        .unwrap_or(self.connection.is_some() as u64),
                    redial: self,
                    live: None,
                    renewing: None,
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
    /// all tasks that wait, and need not be `Clone`. An `Arc` of an error is an
    /// error, so `?` works. A task that asks again after it begins a new outage.
    /// But if trying again [cannot help](Error::is_stopped), it gets the same
    /// error, until a [`Handle`] asks for an attempt.
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
        SharedReady::new(self)
    }

    /// A clone of the connection if it is up, without waiting.
    ///
    /// This asks nothing of a connection that may be dead, as [`ready`](Self::ready)
    /// does.
    ///
    /// `None` if there is no connection, if it is known to be dead or to
    /// [leave](Lent::leaves_within), or if a handle has [closed](Handle::close) the driver. This makes no attempt: only tasks that
    /// wait in [`ready`](Self::ready) do.
    pub fn get(&self) -> Option<Lent<C, P>> {
        // Declared before the lock, and dropped after it: see `Lent::report`.
        let _gone;
        let mut trash = None;
        let mut state = lock(&self.inner.state);
        _gone = state.redial.obey();
        if state.has_died(&self.inner.waker, &mut trash) {
            drop(state);
            self.inner.waiting.wake_all();
            return None;
        }
        if state.is_leaving() {
            return None;
        }
        let connection = state.redial.connection.as_ref()?.clone();
        Some(Lent::new(connection, state.generation, &self.inner))
    }

    /// Reports the connection of `lent` as lost; see [`Lent::lost`].
    ///
    /// A `lent` of another `Shared` does nothing.
    pub fn lost(&self, lent: &Lent<C, P>) {
        if lent.is_of(self) {
            lent.lost();
        }
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_with(&self, lent: &Lent<C, P>, error: C::Error) {
        if lent.is_of(self) {
            lent.lost_with(error);
        }
    }

    /// As [`lost`](Self::lost), if the server closes the connection in good order;
    /// see [`Redial::ended`].
    pub fn ended(&self, lent: &Lent<C, P>) {
        if lent.is_of(self) {
            lent.ended();
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
        let state = lock(&self.inner.state);
        let handle = state.redial.handle_of(state.generation);
        drop(state);
        // Tasks that already wait are polled once, so that they notice what the
        // handle does.
        self.inner.waiting.wake_all();
        handle
    }
}

impl<C: Connect, P: Policy> Drop for Inner<C, P> {
    fn drop(&mut self) {
        // Those that watch end with it.
        self.waiting.wake_all();
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
