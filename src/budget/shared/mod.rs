//! A bucket that many processes share.

mod agent;
mod clock;
mod event;
mod reserve;
mod state;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::store::{AnyStore, Call, Store};
use super::{AnyBudget, Budget};
use crate::bucket::{Reserved, TokenBucket};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::sync::{Mutex, MutexGuard, lock};

use state::{News, State, Waiter};

pub use event::BudgetEvent;
pub use reserve::SharedReserve;

/// A [budget](Budget) that many processes share: one bucket on a [`Store`], such as a
/// Redis server.
///
/// ```
/// # use redial::budget::{Call, Store, StoreError};
/// # fn doc(store: impl Store) {
/// # async fn log_in() -> Result<(), std::io::Error> { Ok(()) }
/// use redial::{Redial, SharedBudget};
/// use std::time::Duration;
///
/// // All chat servers of a fleet log in again at 200 a second, at most 50 at once.
/// // There are 8 of them.
/// let budget = SharedBudget::new(store, "chat-logins", 50, Duration::from_millis(5)).share(8);
/// let redial = Redial::new(log_in).budget(&budget);
/// # }
/// ```
///
/// In no span of time are there more tokens than the burst and those that the span
/// earns, counted over all processes. Each caller gets the end of the queue as its
/// own instant, so no process and no connection starves. When a fleet needs this, what
/// is promised in numbers, and how to size it: see [the page](crate::_budget).
///
/// # One question at a time
///
/// A process asks one question at a time, for all that wait in it. A question takes at
/// most [`bound`](Self::bound), and so does each decision. A token that is given back
/// goes to the next who asks in the same process, at its own instant.
///
/// # If the store does not answer
///
/// A reconnect never fails because of its budget. If the store is away, a process pays
/// from a local bucket, which is its [share](NeedsShare::share) of the whole. That
/// goes on from where the shared bucket was. After an error the store is left alone for
/// 250 ms, which doubles to 2 s. Then the process asks one question; meanwhile its other
/// callers still use the local bucket. When the store is back, it is first charged with
/// the local tokens that are still to come.
///
/// # If the store loses its data
///
/// A key that is missing counts as an empty bucket, and each process remembers the queue.
/// It tells what it remembers with each question, and the store takes the longest. While
/// anybody waits for a token, a process asks every [`refresh`](Self::refresh), so that
/// what it remembers is fresh.
///
/// # Time
///
/// Only the store's clock counts. No clock of a process is compared with that of another.
/// A store whose clock is set goes on as if it had not been, and each process reports
/// [`ClockMoved`](BudgetEvent::ClockMoved). The period is rounded up to whole
/// microseconds.
///
/// # Runtime
///
/// A driver does nothing unless it is polled, but this budget spawns a task on the runtime
/// in which it is asked: the store's answer has an owner even if all who wait are dropped.
/// The task ends when nobody waits for a token any more. Outside of a runtime the budget
/// answers from its local bucket.
#[derive(Clone)]
pub struct SharedBudget(Arc<Shared>);

pub(crate) struct Shared {
    state: Mutex<State>,
    store: Arc<dyn AnyStore>,
    wake: Arc<Notify>,
    observe: Mutex<Option<Box<dyn Observe>>>,
}

/// A closure that sees events.
trait Observe: FnMut(&BudgetEvent<'_>) + Send {}
impl<F: FnMut(&BudgetEvent<'_>) + Send> Observe for F {}

/// A [`SharedBudget`] that needs to know what this process may do alone.
///
/// Nobody but you can know how many processes there are. If each fell back to the
/// whole rate, they would reconnect at so many times the rate.
#[must_use = "give it the share of this process"]
pub struct NeedsShare {
    store: Arc<dyn AnyStore>,
    call: Call,
    burst: u32,
    period: Duration,
}

impl SharedBudget {
    /// The bucket `name` on `store`, which holds `burst` tokens and earns one each
    /// `period`. All processes that share it must agree on these.
    ///
    /// # Panics
    ///
    /// As [`try_new`](Self::try_new) fails.
    #[track_caller]
    #[allow(clippy::new_ret_no_self)] // one question is still open
    pub fn new(store: impl Store, name: &str, burst: u32, period: Duration) -> NeedsShare {
        expect(Self::try_new(store, name, burst, period))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `name` is empty, if `burst` or `period` is zero, if `period` is longer than a
    /// day, or if it takes more than 30 days to earn the burst.
    pub fn try_new(
        store: impl Store,
        name: &str,
        burst: u32,
        period: Duration,
    ) -> Result<NeedsShare, InvalidConfig> {
        Ok(NeedsShare {
            store: Arc::new(store),
            call: Call::try_new(name, burst, period)?,
            burst,
            period,
        })
    }

    /// How long a decision may take: 200 ms by default.
    ///
    /// If the store has not answered by then, the local bucket does. It counts as from
    /// 1 ms to 10 s. Takes effect with the next question.
    pub fn bound(self, bound: Duration) -> Self {
        let bound = bound.clamp(Duration::from_millis(1), Duration::from_secs(10));
        self.0.state().bound = nanos(bound);
        self
    }

    /// How long the store remembers a bucket that is full: a day by default.
    ///
    /// A bucket that it forgot begins empty. It counts as from 1 s to 366 days. Takes
    /// effect with the next question.
    pub fn keep(self, keep: Duration) -> Self {
        {
            let mut state = self.0.state();
            state.call = state.call.clone().keep(keep);
        }
        self
    }

    /// How often a process asks the store while anybody in it waits for a token: each
    /// 250 ms by default.
    ///
    /// If the store loses its data, the tokens may be granted twice that other processes
    /// took since. It counts as from 10 ms to an hour. Takes effect with the next
    /// question.
    pub fn refresh(self, refresh: Duration) -> Self {
        let refresh = refresh.clamp(Duration::from_millis(10), Duration::from_secs(60 * 60));
        self.0.state().refresh = nanos(refresh);
        self
    }

    /// Calls `observe` at each [`BudgetEvent`]: for logs and metrics.
    ///
    /// Observers stack: each one is called, in the order in which they were added. An
    /// observer must not block, and it must not change this budget's settings.
    ///
    /// Takes effect with the next event.
    pub fn observe(self, mut observe: impl FnMut(&BudgetEvent<'_>) + Send + 'static) -> Self {
        {
            let mut observers = lock(&self.0.observe);
            *observers = Some(match observers.take() {
                None => Box::new(observe),
                Some(mut before) => Box::new(move |event: &BudgetEvent<'_>| {
                    before(event);
                    observe(event);
                }),
            });
        }
        self
    }
}

#[cfg(feature = "slots")]
impl SharedBudget {
    /// The time of the store since 1970, as this process follows it. `None` if the store
    /// never answered.
    pub(crate) fn store_time(&self) -> Option<Duration> {
        let state = self.0.state();
        state.store_time(state.now()).map(Duration::from_micros)
    }
}

impl NeedsShare {
    /// This process is one of `processes` that are alike.
    ///
    /// While the store does not answer, it takes `burst / processes` tokens at once, at
    /// least 1, and earns one each `processes * period`.
    ///
    /// # Panics
    ///
    /// If `processes` is zero; [`try_share`](Self::try_share) does not.
    #[track_caller]
    pub fn share(self, processes: u32) -> SharedBudget {
        expect(self.try_share(processes))
    }

    /// As [`share`](Self::share).
    ///
    /// # Errors
    ///
    /// If `processes` is zero.
    pub fn try_share(self, processes: u32) -> Result<SharedBudget, InvalidConfig> {
        if processes == 0 {
            return Err(InvalidConfig::new(
                "processes",
                processes,
                "this process is one of them; give the most that run at once",
            ));
        }
        let burst = (self.burst / processes).max(1);
        let period = self.period.saturating_mul(processes);
        self.try_alone(burst, period)
    }

    /// While the store does not answer, this process takes `burst` tokens at once and
    /// earns one each `period`: for processes that are not alike.
    ///
    /// # Panics
    ///
    /// If `burst` or `period` is zero, or if it takes more than 584 years to earn the
    /// burst; [`try_alone`](Self::try_alone) does not.
    #[track_caller]
    pub fn alone(self, burst: u32, period: Duration) -> SharedBudget {
        expect(self.try_alone(burst, period))
    }

    /// As [`alone`](Self::alone).
    ///
    /// # Errors
    ///
    /// If `burst` or `period` is zero, or if it takes more than 584 years to earn the
    /// burst.
    pub fn try_alone(self, burst: u32, period: Duration) -> Result<SharedBudget, InvalidConfig> {
        let local = TokenBucket::try_new(burst, period)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(self.call, local)),
            store: self.store,
            wake: Arc::new(Notify::new()),
            observe: Mutex::new(None),
        });
        shared.state().set_owner(Arc::as_ptr(&shared) as usize);
        Ok(SharedBudget(shared))
    }
}

impl Budget for SharedBudget {
    type Reserve = SharedReserve;

    fn reserve(&self) -> SharedReserve {
        let shared = self.0.clone();
        let Ok(runtime) = Handle::try_current() else {
            let reserved = shared.local();
            return SharedReserve::ready(shared, reserved);
        };
        let (token, needs_agent) = {
            let mut state = shared.state();
            let now = state.now();
            let token = state.without_store(now).ok_or_else(|| {
                let (answer, asked) = oneshot::channel();
                state.wait(Waiter { answer, since: now });
                asked
            });
            (token, state.needs_agent())
        };
        if needs_agent {
            let budget = Arc::downgrade(&shared);
            let (store, wake) = (shared.store.clone(), shared.wake.clone());
            runtime.spawn(agent::run(budget, store, wake));
        } else if token.is_err() {
            shared.wake.notify_one();
        }
        match token {
            Ok(reserved) => SharedReserve::ready(shared, reserved),
            Err(asked) => SharedReserve::asked(shared, asked),
        }
    }

    fn give_back(&self, unused: Reserved) {
        self.0.keep(&unused);
    }

    /// Twice the budget's own [bound](SharedBudget::bound), for a runtime that is
    /// overloaded.
    fn bound(&self) -> Duration {
        Duration::from_nanos(2 * self.0.state().bound)
    }

    fn period(&self) -> Duration {
        Duration::from_micros(self.0.state().call.period())
    }
}

impl From<SharedBudget> for AnyBudget {
    fn from(budget: SharedBudget) -> Self {
        Self::new(budget)
    }
}

impl From<&SharedBudget> for AnyBudget {
    fn from(budget: &SharedBudget) -> Self {
        Self::new(budget.clone())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A token of the local bucket.
    fn local(&self) -> Reserved {
        let mut state = self.state();
        let now = state.now();
        state.local(now)
    }

    fn keep(&self, unused: &Reserved) {
        let mut state = self.state();
        let now = state.now();
        state.keep(now, unused);
    }

    /// Calls the observers.
    fn tell(&self, news: impl IntoIterator<Item = News>) {
        for news in news {
            let event = match &news {
                News::Away(error) => BudgetEvent::Away { error },
                News::Back { away, granted } => BudgetEvent::Back {
                    away: *away,
                    granted: *granted,
                },
                News::Forgot { restored } => BudgetEvent::Forgot {
                    restored: *restored,
                },
                News::ClockMoved { by, back } => BudgetEvent::ClockMoved {
                    by: *by,
                    back: *back,
                },
            };
            if let Some(observe) = &mut *lock(&self.observe) {
                observe(&event);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The agent ends.
        self.wake.notify_one();
    }
}

impl fmt::Debug for SharedBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.0.state().call.clone();
        f.debug_struct("SharedBudget")
            .field("key", &call.key())
            .field("burst", &call.burst())
            .field("period", &Duration::from_micros(call.period()))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NeedsShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NeedsShare")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
