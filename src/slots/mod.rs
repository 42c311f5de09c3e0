//! When does a server admit a client? It hands out slots, and takes tickets for them.

mod key;
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
mod shared;
mod spent;
mod ticket;
mod tickets;
mod times;

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use crate::bucket::TokenBucket;
use crate::clock::{self, Stopwatch, WallTime};
use crate::invalid::{InvalidConfig, expect};
use crate::number::Number;

use key::Keys;
use tickets::{Shown, Tickets};
use times::Now;

#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
pub use shared::SharedSlots;
pub use ticket::Ticket;

/// The server's side of [slots](crate::Verdict::Slot): admits clients at a rate, and
/// gives each other client an instant of its own and a ticket for it.
///
/// A server that comes back after an outage finds its whole fleet at the door. It asks
/// `Slots` about each client, before it does what is costly:
///
/// ```
/// use redial::{Admission, Slots};
/// use std::time::Duration;
///
/// # let secret = [7; 32];
/// // A server that takes 400 clients a second, and the secret of its fleet.
/// let slots = Slots::new(400, secret);
///
/// /// What to answer to this client, which showed this ticket.
/// fn answer(slots: &Slots, client: &str, ticket: Option<&str>) -> String {
///     match slots.admit(client, ticket) {
///         Admission::Now => "welcome".to_owned(),
///         Admission::Later { wait, ticket } => format!("come in {} ms with {ticket}", wait.as_millis()),
///     }
/// }
/// assert_eq!(answer(&slots, "ann", None), "welcome");
/// ```
///
/// A client obeys by [`Verdict::Slot`](crate::Verdict::Slot), and shows the ticket when
/// it comes back. The page [on slots](crate::_slots) shows both sides.
///
/// # Rules
///
/// - Slots are handed out at 1.25 times the capacity; see [`slot_rate`](Self::slot_rate).
///   A client without a ticket reserves the next slot. If the slot is now, the client is
///   admitted. In no span of time are there more slots than the [`burst`](Self::burst)
///   and those that the span earns.
/// - A ticket is honoured from a second and 2 % of its wait before its slot, until 60 s
///   after it, and once.
/// - A client that comes earlier gets the same ticket and the rest of its wait. It does
///   not reserve another slot, so an impatient client makes nobody wait longer.
/// - A ticket that is too late, of another client, forged or used counts as none. So does
///   one for a slot before the server began, because nobody knows whether it was used.
/// - A client that shows no ticket takes another slot each time. `Slots` does not know that
///   it is the same client.
///
/// Several front ends before one server count together with
/// [`shared`](#method.shared), which needs the feature `tokio`.
///
/// # The client
///
/// A ticket is made for one client, which the server names: by its account, for example.
/// Do not take its address, which may change. If a server cannot name its clients yet, an
/// empty name serves; then a ticket is worth something to whoever has it.
///
/// # Keys
///
/// Tickets are signed, so that clients cannot make them. All front ends of a server need
/// the same key. It must outlive a restart, because clients come back to the restarted
/// server with the tickets of the old one. Another server needs another key. The tickets
/// of each day are signed with a key of that day, which is derived from this one. To change
/// the key, see [`accept`](Self::accept).
///
/// # Time
///
/// [`admit`](Self::admit) and [`refuse`](Self::refuse) count on the clock of
/// [`TokenBucket`]. Tickets are on the wall clock, because they outlive a process and
/// go to other machines. Their clocks may differ by a second. If the wall clock jumps by
/// more than a second, tickets are honoured by both its times, until the last of those
/// that were given before has expired.
///
/// [`admit_at`](Self::admit_at) and [`refuse_at`](Self::refuse_at) take the time since
/// 1970, or since another instant that all front ends agree upon. A time that goes back
/// earns no slots. Use one pair or the other.
///
/// # Cost
///
/// To make or check a ticket takes some 5 µs. A used ticket is remembered until it
/// expires, in about 40 bytes: at 1000 clients a second that is 2.4 MB.
pub struct Slots {
    rate: Rate,
    bucket: TokenBucket,
    tickets: Tickets,
    lead: Duration,
    /// The age of the bucket.
    age: Stopwatch,
    /// Instead of the system's wall clock.
    wall: Option<Box<dyn WallClock>>,
}

/// A closure that reads the time of day.
trait WallClock: Fn() -> WallTime + Send + Sync {}
impl<F: Fn() -> WallTime + Send + Sync> WallClock for F {}

/// What the bucket is made of.
#[derive(Clone, Copy, Debug)]
struct Rate {
    capacity: f64,
    times: f64,
    burst: Option<u32>,
}

const RATE: f64 = 1.25;
/// The default burst are the slots of so many seconds.
const BURST: f64 = 0.1;
const LEAD: Duration = Duration::from_millis(500);

/// The answer to a client that wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// The server takes the client now.
    Now,
    /// The server takes the client later.
    Later {
        /// How long the client must wait, in whole ms, rounded up; never zero.
        wait: Duration,
        /// What the client must show then.
        ticket: Ticket,
    },
}

impl Slots {
    /// The slots of a server that takes `per_second` clients a second, signed with
    /// `key`: at least 16 random bytes, the same at each front end and after each
    /// restart.
    ///
    /// # Panics
    ///
    /// If the rate of slots is not between one a day and a million a second, or if the
    /// key has less than 16 bytes; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(per_second: impl Number, key: impl AsRef<[u8]>) -> Self {
        expect(Self::try_new(per_second, key))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If the rate of slots is not between one a day and a million a second, or if the
    /// key has less than 16 bytes.
    pub fn try_new(per_second: impl Number, key: impl AsRef<[u8]>) -> Result<Self, InvalidConfig> {
        let capacity = per_second.as_f64();
        let rate = Rate {
            capacity,
            times: RATE,
            burst: None,
        };
        if !rate.is_possible() {
            return Err(InvalidConfig::new(
                "per_second",
                capacity,
                "it must be a number of clients a second, and from 0.00001 to 800 000; give the \
                 rate that you measured at the server",
            ));
        }
        Ok(Self {
            rate,
            bucket: rate.bucket()?,
            tickets: Tickets::new(Keys::new(key.as_ref())?),
            lead: LEAD,
            age: Stopwatch::start(),
            wall: None,
        })
    }

    /// The rate of slots, as a multiple of the capacity: 1.25 by default.
    ///
    /// Some clients never come to their slots, and a server can often take more than it
    /// thinks. A client that comes to its slot and finds the server [full](Self::refuse)
    /// gets another one, which costs little. If a refusal is costly, take 1. If many
    /// clients do not come back, take 1.5.
    ///
    /// # Panics
    ///
    /// If the rate of slots is not between one a day and a million a second;
    /// [`try_slot_rate`](Self::try_slot_rate) does not.
    #[track_caller]
    pub fn slot_rate(self, times: impl Number) -> Self {
        expect(self.try_slot_rate(times))
    }

    /// As [`slot_rate`](Self::slot_rate).
    ///
    /// # Errors
    ///
    /// If the rate of slots is not between one a day and a million a second.
    pub fn try_slot_rate(mut self, times: impl Number) -> Result<Self, InvalidConfig> {
        self.rate.times = times.as_f64();
        if !self.rate.is_possible() {
            return Err(InvalidConfig::new(
                "times",
                self.rate.times,
                "times the capacity it must be a rate of slots, from one a day to a million a \
                 second; take a number such as 1.25",
            ));
        }
        self.bucket = self.rate.bucket()?;
        Ok(self)
    }

    /// How many slots are saved while nobody comes: by default those of 0.1 s, and at
    /// least 1.
    ///
    /// So many clients are admitted at once. In normal life clients come in small groups,
    /// and a burst spares them a second attempt. The server must be able to queue so many
    /// before its clients' timeouts.
    ///
    /// # Panics
    ///
    /// If `slots` is 0, or if it takes more than 584 years to earn them;
    /// [`try_burst`](Self::try_burst) does not.
    #[track_caller]
    pub fn burst(self, slots: u32) -> Self {
        expect(self.try_burst(slots))
    }

    /// As [`burst`](Self::burst).
    ///
    /// # Errors
    ///
    /// If `slots` is 0, or if it takes more than 584 years to earn them.
    pub fn try_burst(mut self, slots: u32) -> Result<Self, InvalidConfig> {
        self.rate.burst = Some(slots);
        self.bucket = self.rate.bucket()?;
        Ok(self)
    }

    /// Another key whose tickets are honoured, too: none by default. It signs nothing.
    ///
    /// To replace a key while front ends are restarted one after the other, go in two
    /// steps. First let all of them accept the new key. Then let all of them sign with the
    /// new one and accept the old one.
    ///
    /// # Panics
    ///
    /// If the key has less than 16 bytes; [`try_accept`](Self::try_accept) does not.
    #[track_caller]
    pub fn accept(self, key: impl AsRef<[u8]>) -> Self {
        expect(self.try_accept(key))
    }

    /// As [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// If the key has less than 16 bytes.
    pub fn try_accept(mut self, key: impl AsRef<[u8]>) -> Result<Self, InvalidConfig> {
        self.tickets.keys.accept(key.as_ref())?;
        Ok(self)
    }

    /// How far away the slot of a [refused](Self::refuse) client is at least: half a
    /// second by default.
    ///
    /// Take about the time in which the server does half of its queue.
    pub fn lead(mut self, time: Duration) -> Self {
        self.lead = time;
        self
    }

    /// Another clock for the time of day than the system's: for tests on tokio's paused
    /// clock, where the system's would stand still, and seem to jump back.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// # use redial::Slots;
    /// # fn doc(slots: Slots) -> Slots {
    /// use std::time::SystemTime;
    /// use tokio::time::Instant;
    ///
    /// let (noon, start) = (SystemTime::now(), Instant::now());
    /// let slots = slots.wall_clock(move || noon + start.elapsed());
    /// # slots
    /// # }
    /// # }
    /// ```
    pub fn wall_clock(mut self, clock: impl Fn() -> WallTime + Send + Sync + 'static) -> Self {
        self.wall = Some(Box::new(clock));
        self
    }

    /// Admits a client, or tells it when to come back. `ticket` is what it showed,
    /// whatever that is.
    pub fn admit(&self, client: impl AsRef<[u8]>, ticket: Option<&str>) -> Admission {
        self.admit_now(self.age.elapsed(), self.wall(), client.as_ref(), ticket)
    }

    /// As [`admit`](Self::admit), at `now`: the time since 1970.
    pub fn admit_at(
        &self,
        now: Duration,
        client: impl AsRef<[u8]>,
        ticket: Option<&str>,
    ) -> Admission {
        self.admit_now(now, now, client.as_ref(), ticket)
    }

    /// Tells a client when to come back, because the server has no room for it. The
    /// answer is [`Later`](Admission::Later), if the client has a ticket, too.
    ///
    /// Ask this instead of [`admit`](Self::admit) if the server's queue is full. A ticket
    /// whose slot has come is spent, and replaced by one for another slot. A ticket whose
    /// slot is still to come stays.
    ///
    /// ```
    /// use redial::{Admission, Slots};
    /// # fn answer(slots: &Slots, queue: &std::sync::mpsc::SyncSender<String>, client: String, ticket: Option<&str>) {
    /// # let queue_is_full = false;
    /// let admission = if queue_is_full {
    ///     slots.refuse(&client, ticket)
    /// } else {
    ///     slots.admit(&client, ticket)
    /// };
    /// # }
    /// ```
    pub fn refuse(&self, client: impl AsRef<[u8]>, ticket: Option<&str>) -> Admission {
        self.refuse_now(self.age.elapsed(), self.wall(), client.as_ref(), ticket)
    }

    /// As [`refuse`](Self::refuse), at `now`: the time since 1970.
    pub fn refuse_at(
        &self,
        now: Duration,
        client: impl AsRef<[u8]>,
        ticket: Option<&str>,
    ) -> Admission {
        self.refuse_now(now, now, client.as_ref(), ticket)
    }

    fn admit_now(
        &self,
        ticks: Duration,
        time: Duration,
        client: &[u8],
        ticket: Option<&str>,
    ) -> Admission {
        let now = Now::new(ticks, time);
        match self.show(now, client, ticket) {
            Shown::Due => Admission::Now,
            Shown::Early(later) => later,
            Shown::Void | Shown::Nothing => match self.bucket.reserve_at(ticks).wait() {
                Duration::ZERO => Admission::Now,
                wait => self.tickets.give(now, client, wait),
            },
        }
    }

    fn refuse_now(
        &self,
        ticks: Duration,
        time: Duration,
        client: &[u8],
        ticket: Option<&str>,
    ) -> Admission {
        let now = Now::new(ticks, time);
        match self.show(now, client, ticket) {
            Shown::Early(later) => later,
            Shown::Due | Shown::Void | Shown::Nothing => {
                let wait = self.bucket.reserve_at(ticks).wait();
                self.give_refused(now, client, wait)
            }
        }
    }

    fn show(&self, now: Now, client: &[u8], ticket: Option<&str>) -> Shown {
        let most = self.rate.most_spent();
        self.tickets.show(now, client, ticket, most)
    }

    /// The time of day since 1970.
    fn wall(&self) -> Duration {
        self.wall
            .as_ref()
            .map_or_else(clock::wall, |wall| wall())
            .duration_since(WallTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    /// The answer to a client that is refused, if its slot comes after `wait`.
    fn give_refused(&self, now: Now, client: &[u8], wait: Duration) -> Admission {
        // A wait of zero would make a client that is refused again and again spin.
        const SHORTEST: Duration = Duration::from_millis(1);
        let wait = wait.max(self.lead).max(SHORTEST);
        self.tickets.refuse(now, client, wait, self.rate.period())
    }
}

impl Rate {
    /// Slots a second.
    fn slots(self) -> f64 {
        self.capacity * self.times
    }

    fn is_possible(self) -> bool {
        self.capacity > 0.0 && (1.0 / 86_400.0..=1e6).contains(&self.slots())
    }

    fn burst(self) -> u32 {
        let default = (self.slots() * BURST) as u32;
        self.burst.unwrap_or(default.max(1))
    }

    fn period(self) -> Duration {
        // Rounded up, so that slots are not closer than asked for.
        Duration::from_nanos((1e9 / self.slots()).ceil() as u64)
    }

    /// A full bucket.
    fn bucket(self) -> Result<TokenBucket, InvalidConfig> {
        TokenBucket::try_new(self.burst(), self.period())
    }

    /// How many used tickets there can be that have not expired: those of a minute, and
    /// of the time that they are honoured early. The rest is for waits of up to 24
    /// minutes.
    fn most_spent(self) -> usize {
        (self.slots() * 90.0) as usize + 1
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("capacity", &self.rate.capacity)
            .field("slot_rate", &self.rate.times)
            .field("bucket", &self.bucket)
            .field("keys", &self.tickets.keys)
            .finish_non_exhaustive()
    }
}
