//! Slots that the front ends of one server hand out together.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use super::tickets::Shown;
use super::times::Now;
use super::{Admission, Slots};
use crate::bucket::Reserved;
use crate::budget::{Budget, SharedBudget, Store};
use crate::invalid::{InvalidConfig, expect};

/// [`Slots`] that the front ends of one server hand out together, counted on a
/// [`Store`] such as a Redis server; made by [`Slots::shared`].
///
/// ```
/// # use redial::budget::Store;
/// # async fn doc(store: impl Store, key: &str, client: &str, shown: Option<&str>) {
/// use redial::{Admission, Slots};
///
/// // Eight front ends before a server that takes 400 clients a second.
/// let slots = Slots::new(400, key).shared(store, "chat-logins", 8);
/// match slots.admit(client, shown).await {
///     Admission::Now => { /* welcome */ }
///     Admission::Later { wait, ticket } => { /* send them, and hang up */ }
/// }
/// # }
/// ```
///
/// All front ends need the same settings, keys and name. A client may come back to
/// another front end than it came from. Only a client without a ticket that counts costs
/// a question to the store, and a question is asked for all that wait at this front end.
///
/// # If the store does not answer
///
/// Then each front end hands out its share of the slots: the rate divided by the number
/// of front ends. No decision takes longer than the [bound](SharedBudget::bound) of 200
/// ms. [`SharedBudget`] says what happens when the store is back, or has lost its data.
///
/// # Time
///
/// Tickets are on the store's clock, which a front end follows between two answers. So
/// the clocks of the front ends need not agree. A front end that never reached the store
/// takes its wall clock. If the time jumps by more than a second, because the clock was
/// set or because another machine is the store now, tickets are honoured by both times,
/// until the last of those that were given before has expired. While they are, a client
/// may be let in before its slot, by at most as much as the clock went back.
///
/// # Replay
///
/// Each front end knows which tickets it took, but not what the others took. So a client
/// can use a ticket at each front end once.
#[derive(Debug)]
pub struct SharedSlots {
    slots: Slots,
    budget: SharedBudget,
    /// The store was asked for its time.
    asked: AtomicBool,
}

impl Slots {
    /// Shares the counter with other front ends: as the bucket `name` on `store`.
    /// `front_ends` is the most that run at once.
    ///
    /// # Panics
    ///
    /// If `name` is empty, if `front_ends` is 0, or if it takes more than 30 days to earn
    /// the [burst](Self::burst); [`try_shared`](Self::try_shared) does not.
    #[track_caller]
    pub fn shared(self, store: impl Store, name: &str, front_ends: u32) -> SharedSlots {
        expect(self.try_shared(store, name, front_ends))
    }

    /// As [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// If `name` is empty, if `front_ends` is 0, or if it takes more than 30 days to earn
    /// the [burst](Self::burst).
    pub fn try_shared(
        self,
        store: impl Store,
        name: &str,
        front_ends: u32,
    ) -> Result<SharedSlots, InvalidConfig> {
        if front_ends == 0 {
            return Err(InvalidConfig::new(
                "front_ends",
                front_ends,
                "this is one of them; give the most that run at once",
            ));
        }
        let (burst, period) = (self.rate.burst(), self.rate.period());
        let budget = SharedBudget::try_new(store, name, burst, period)?.try_share(front_ends)?;
        Ok(SharedSlots {
            slots: self,
            budget,
            asked: AtomicBool::new(false),
        })
    }
}

impl SharedSlots {
    /// Changes the settings of the shared counter: its observers, its bound, and how
    /// often it is asked.
    ///
    /// ```
    /// # use redial::SharedSlots;
    /// # fn doc(slots: SharedSlots) {
    /// let slots = slots.budget(|budget| budget.observe(|event| eprintln!("{event:?}")));
    /// # }
    /// ```
    pub fn budget(self, set: impl FnOnce(SharedBudget) -> SharedBudget) -> Self {
        Self {
            budget: set(self.budget),
            ..self
        }
    }

    /// Admits a client, or tells it when to come back. `ticket` is what it showed,
    /// whatever that is.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the slot goes to the next client that asks here.
    pub async fn admit(&self, client: impl AsRef<[u8]>, ticket: Option<&str>) -> Admission {
        let client = client.as_ref();
        match self.show(client, ticket).await {
            (Shown::Due, reserved) => {
                self.give_back(reserved);
                Admission::Now
            }
            (Shown::Early(later), reserved) => {
                self.give_back(reserved);
                later
            }
            (Shown::Void | Shown::Nothing, reserved) => match self.wait(reserved).await {
                Duration::ZERO => Admission::Now,
                wait => self.slots.tickets.give(self.now(), client, wait),
            },
        }
    }

    /// Tells a client when to come back, because the server has no room for it; see
    /// [`Slots::refuse`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the slot goes to the next client that asks here. A
    /// ticket whose slot has come may be spent.
    pub async fn refuse(&self, client: impl AsRef<[u8]>, ticket: Option<&str>) -> Admission {
        let client = client.as_ref();
        match self.show(client, ticket).await {
            (Shown::Early(later), reserved) => {
                self.give_back(reserved);
                later
            }
            (Shown::Due | Shown::Void | Shown::Nothing, reserved) => {
                let wait = self.wait(reserved).await;
                self.slots.give_refused(self.now(), client, wait)
            }
        }
    }

    /// What a ticket is worth by the store's time. If only the store can tell the time, it
    /// is asked for a slot, too.
    async fn show(&self, client: &[u8], ticket: Option<&str>) -> (Shown, Option<Reserved>) {
        let mut reserved = None;
        if self.budget.store_time().is_none() && !self.asked.swap(true, Ordering::Relaxed) {
            reserved = Some(self.budget.reserve().await);
        }
        let mut shown = self.slots.show(self.now(), client, ticket);
        if matches!(shown, Shown::Void) && reserved.is_none() {
            // Its clock may have jumped since the last answer.
            reserved = Some(self.budget.reserve().await);
            shown = self.slots.show(self.now(), client, ticket);
        }
        (shown, reserved)
    }

    fn give_back(&self, reserved: Option<Reserved>) {
        if let Some(unused) = reserved {
            self.budget.give_back(unused);
        }
    }

    /// The time until the reserved slot, or the next.
    async fn wait(&self, reserved: Option<Reserved>) -> Duration {
        let reserved = match reserved {
            Some(reserved) => reserved,
            None => self.budget.reserve().await,
        };
        reserved.due().map_or(Duration::ZERO, |due| due.remaining())
    }

    fn now(&self) -> Now {
        let time = self
            .budget
            .store_time()
            .unwrap_or_else(|| self.slots.wall());
        Now::new(self.slots.age.elapsed(), time)
    }
}
