//! Models of the server.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::Storm;
use crate::bucket::TokenBucket;
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::policy::Cause;
use crate::verdict::Verdict;

/// A model of the server: what happens to attempts beyond its capacity.
///
/// Each model serves one client after the other, in the order of arrival, each in
/// 1/C s; C is the [`capacity`](super::Storm::capacity). The models differ in what
/// happens to an attempt that finds the queue full.
///
/// | model | an attempt that finds the queue full | cause |
/// |---|---|---|
/// | [`cheap`](Self::cheap) | is refused at once, at no cost | `Busy` |
/// | [`costly`](Self::costly) | is refused at once, which costs a part of a handshake | `Busy` |
/// | [`slow`](Self::slow) | gets no answer | `Stalled` |
/// | [`stale`](Self::stale) | gets no answer; the queue is so long that clients leave it, and the server still does their handshakes | `Stalled` |
/// | [`slots`](Self::slots) | gets a slot: an instant at which to come back. For clients without a slot the queue counts as full when it is half full | none: the slot sets the wait |
///
/// While the server is down, it refuses attempts at once (`Down`). A
/// [`black_hole`](Self::black_hole) does not answer while it is down. The cause is
/// `Stalled` then, because the client cannot see that the server is down.
#[derive(Clone)]
pub struct Server {
    /// The depth of the queue in nanoseconds; `None` for the storm's backlog.
    queue: Option<u64>,
    refusal: Refusal,
    black_hole: bool,
}

#[derive(Clone)]
enum Refusal {
    /// In handshakes.
    Costs(f64),
    Silent,
    Slots,
    Hints(Arc<dyn Fn(Duration) -> Verdict + Send + Sync>),
}

impl Server {
    /// Refusals cost nothing, for example because a load balancer, the kernel or a
    /// login server refuses.
    pub fn cheap() -> Self {
        Self::new(Refusal::Costs(0.0))
    }

    /// Each refusal costs as much work as `handshakes` handshakes, for example 0.1 if a
    /// TLS server resumes the session before it refuses.
    ///
    /// # Panics
    ///
    /// If `handshakes` is negative, infinite or NaN;
    /// [`try_costly`](Self::try_costly) does not.
    #[track_caller]
    pub fn costly(handshakes: f64) -> Self {
        expect(Self::try_costly(handshakes))
    }

    /// As [`costly`](Self::costly).
    ///
    /// # Errors
    ///
    /// If `handshakes` is negative, infinite or NaN.
    pub fn try_costly(handshakes: f64) -> Result<Self, InvalidConfig> {
        if handshakes.is_finite() && handshakes >= 0.0 {
            return Ok(Self::new(Refusal::Costs(handshakes)));
        }
        Err(InvalidConfig::new(
            "handshakes",
            handshakes,
            "a refusal must cost a finite number of at least 0, such as 0.1",
        ))
    }

    /// Attempts that find the queue full get no answer.
    pub fn slow() -> Self {
        Self::new(Refusal::Silent)
    }

    /// A queue so deep that clients leave it, while the server still does their
    /// handshakes: a listen queue whose server does not check how old an attempt is.
    /// When `queue` of work is queued, attempts get no answer.
    ///
    /// In this model a storm can become metastable: when the whole queue is older than
    /// the clients' patience, the server works at full load and connects nobody.
    pub fn stale(queue: Duration) -> Self {
        Self {
            queue: Some(nanos(queue)),
            ..Self::new(Refusal::Silent)
        }
    }

    /// Refusals cost nothing and hand out slots: the client comes back at an
    /// instant of its own ([`Verdict::Slot`]) and is admitted.
    ///
    /// The instants are 1/C apart, from a [`TokenBucket`]. The first slot is half a
    /// queue away, so that the queue neither runs dry nor overflows. A client without a
    /// slot is admitted only while the queue is less than half full.
    ///
    /// The fleet is back at the limit, with at most two attempts for each client, on
    /// two conditions:
    ///
    /// - The queue holds at least two handshakes.
    /// - Half a queue, two handshakes and one round trip together take no longer than
    ///   the clients' timeout.
    ///
    /// The server must recognize the clients that hold a slot, by name or by a ticket;
    /// [`_slots`](crate::_slots) has the recipe. `hints(Verdict::Slot)` models a server
    /// that cannot. It is as fast, but refuses a few clients again because newcomers
    /// have filled the queue.
    pub fn slots() -> Self {
        Self::new(Refusal::Slots)
    }

    /// Refusals cost nothing, and `hint` turns the time until the client's slot into the
    /// server's answer. Use it to try out the answers of your own server.
    ///
    /// ```
    /// use redial::Verdict;
    /// use redial::storm::Server;
    /// use std::time::Duration;
    ///
    /// // "Retry-After: 10", to all clients alike.
    /// let server = Server::hints(|_slot| Verdict::RetryAfter(Duration::from_secs(10)));
    /// ```
    pub fn hints(hint: impl Fn(Duration) -> Verdict + Send + Sync + 'static) -> Self {
        Self::new(Refusal::Hints(Arc::new(hint)))
    }

    /// While the server is down, attempts get no answer instead of a refusal, as if
    /// the host were gone and not only the process.
    pub fn black_hole(self) -> Self {
        Self {
            black_hole: true,
            ..self
        }
    }

    fn new(refusal: Refusal) -> Self {
        Self {
            queue: None,
            refusal,
            black_hole: false,
        }
    }
}

impl Default for Server {
    /// [`cheap`](Self::cheap).
    fn default() -> Self {
        Self::cheap()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        if let Some(queue) = self.queue {
            server.field("queue", &Duration::from_nanos(queue));
        }
        match self.refusal {
            Refusal::Costs(handshakes) => server.field("refusal_costs", &handshakes),
            Refusal::Silent => server.field("refusal", &format_args!("silence")),
            Refusal::Slots => server.field("refusal", &format_args!("a slot")),
            Refusal::Hints(_) => server.field("refusal", &format_args!("a hint")),
        };
        server.field("black_hole", &self.black_hole).finish()
    }
}

/// A running server. Times are in nanoseconds since the loss. The times of the queue
/// are fractional, because 1/C is.
pub(super) struct Desk {
    server: Server,
    back: u64,
    handshake: f64,
    queue: f64,
    /// When all queued work will be done.
    free: f64,
    /// The next slots.
    slots: TokenBucket,
    /// Which clients hold a slot, if the server recognizes them; otherwise empty.
    holders: Vec<bool>,
    /// The handshakes accepted so far.
    served: u64,
    /// The cost of refusals so far, in handshakes.
    refused: f64,
}

/// The server's answer to an attempt.
pub(super) enum Answer {
    /// Served at this time, even if the client has left.
    Served(u64),
    Refused(Verdict),
    Silence,
}

impl Desk {
    pub(super) fn new(storm: &Storm) -> Self {
        let (server, handshake) = (&storm.server, 1e9 / storm.capacity);
        let knows_holders = matches!(server.refusal, Refusal::Slots);
        Self {
            server: server.clone(),
            back: storm.outage,
            handshake,
            queue: server.queue.unwrap_or(storm.backlog) as f64,
            free: storm.outage as f64,
            // Rounded up, because slots must not be closer than handshakes.
            slots: TokenBucket::new(1, Duration::from_nanos(handshake.ceil() as u64)),
            holders: vec![false; storm.clients as usize * usize::from(knows_holders)],
            served: 0,
            refused: 0.0,
        }
    }

    /// Answers an attempt of `client` that arrives now.
    #[inline]
    pub(super) fn attempt(&mut self, now: u64, client: u32) -> Answer {
        if now < self.back {
            return if self.server.black_hole {
                Answer::Silence
            } else {
                Answer::Refused(Verdict::Retry(Cause::Down))
            };
        }
        let at = now as f64;
        let queue = match self.holders.get(client as usize) {
            Some(false) => self.queue / 2.0,
            _ => self.queue,
        };
        if self.free - at < queue {
            self.free = self.free.max(at) + self.handshake;
            self.served += 1;
            return Answer::Served(self.free as u64);
        }
        match &self.server.refusal {
            Refusal::Costs(handshakes) => {
                self.free += handshakes * self.handshake;
                self.refused += handshakes;
                Answer::Refused(Verdict::Retry(Cause::Busy))
            }
            Refusal::Silent => Answer::Silence,
            Refusal::Slots => {
                self.holders[client as usize] = true;
                Answer::Refused(Verdict::Slot(self.slot(now)))
            }
            Refusal::Hints(hint) => Answer::Refused(hint(self.slot(now))),
        }
    }

    /// The wait until the next slot.
    fn slot(&self, now: u64) -> Duration {
        let half = self.queue as u64 / 2;
        Duration::from_nanos(half)
            + self
                .slots
                .reserve_at(Duration::from_nanos(now + half))
                .wait()
    }

    /// All accepted work, in handshakes.
    pub(super) fn handshakes(&self) -> f64 {
        self.served as f64 + self.refused
    }
}
