//! Models of the server.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::number::Number;
use crate::verdict::Verdict;

/// A model of the server: what happens to attempts beyond its capacity.
///
/// Each model serves one client after the other, each in 1/C s; C is the
/// [`capacity`](super::Storm::capacity). All but [`lifo`](Self::lifo) serve in the
/// order of arrival. The models differ in what happens to an attempt that finds the
/// queue full.
///
/// | model | an attempt that finds the queue full | cause |
/// |---|---|---|
/// | [`cheap`](Self::cheap) | is refused at once, at no cost | `Busy` |
/// | [`costly`](Self::costly) | is refused at once, which costs a part of a handshake | `Busy` |
/// | [`slow`](Self::slow) | gets no answer | `Stalled`, or `Down` if the client knows its [phases](super::Storm::phases) |
/// | [`stale`](Self::stale) | gets no answer; the queue is so long that clients leave it, and the server still does their handshakes | the same |
/// | [`slots`](Self::slots) | gets a slot: an instant at which to come back. For clients without a slot the queue counts as full when it is half full | none: the slot sets the wait |
/// | [`lifo`](Self::lifo) | there is no such attempt: the newest is served first, and old ones are dropped | `Stalled` |
///
/// [`overflow`](Self::overflow) changes what happens to these attempts in each model.
///
/// While the server is down, it refuses attempts at once (`Down`). A
/// [`black_hole`](Self::black_hole) does not answer while it is down. A client that
/// does not know its phases cannot tell this from a server that is slow, so the cause
/// is `Stalled` then.
#[derive(Clone)]
pub struct Server {
    /// The depth of the queue in nanoseconds; `None` for the storm's backlog.
    pub(super) queue: Option<u64>,
    pub(super) refusal: Refusal,
    /// What a refusal costs, in handshakes.
    pub(super) cost: f64,
    /// When a newest-first queue drops an attempt, in nanoseconds.
    pub(super) newest_first: Option<u64>,
    pub(super) slots: Slots,
    pub(super) black_hole: bool,
}

/// What happens to an attempt that finds the server's queue full.
///
/// This is apart from how deep the queue is; see [`Server::overflow`].
///
/// Clients that know their [phases](super::Storm::phases) can tell some of these apart
/// that look alike to others. They call an attempt without an answer `Down` if its
/// transport was not established, and `Stalled` if it was. Clients that do not know
/// them call both `Stalled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// It is refused at once as `Down`: a load balancer at its maximum resets the
    /// connection, or nobody listens any more. For a kernel with
    /// `net.ipv4.tcp_abort_on_overflow`, see [`HandshakeReset`](Self::HandshakeReset).
    Reset,
    /// It is refused at once as `Busy`: a 503.
    Busy,
    /// The kernel drops its SYN because the listen queue is full, as Linux does. The
    /// client's kernel sends the SYN again after 1, 3, 7, 15, 31 and 63 s, while the
    /// attempt lasts; see [`Storm::syn_retries`](super::Storm::syn_retries). Each of
    /// them may find room.
    ///
    /// If the network has a [delay](super::Storm::network_delay), the queue may fill
    /// up before the handshake ends. The client then believes that it is connected,
    /// while the server does not know it. Its first data enters the queue when it
    /// finds room. The client's kernel sends the data again after one retransmission
    /// timeout, two, four and so on.
    ///
    /// In the model the client speaks first, as in TLS and HTTP. A client that waits
    /// for a greeting of the server sends nothing again, so it may wait for its whole
    /// patience: with SYN cookies, which Linux uses if the handshakes are many, the
    /// server forgets it.
    SynDropped,
    /// As [`SynDropped`](Self::SynDropped), but if the queue has filled up at the end
    /// of the handshake, the client is refused as `Down`: Linux with
    /// `net.ipv4.tcp_abort_on_overflow`. It still drops a SYN that finds the queue full.
    HandshakeReset,
    /// The transport is never established and nothing is sent again, as if a
    /// middlebox had forgotten the attempt.
    Unanswered,
    /// The transport is established, and then there is silence, as behind a load
    /// balancer that accepts for a server without room.
    Silent,
}

#[derive(Clone)]
pub(super) enum Refusal {
    Overflow(Overflow),
    Slots,
    Hints(Arc<dyn Fn(Duration) -> Verdict + Send + Sync>),
}

/// How slots are handed out.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    /// As a multiple of the capacity.
    pub(super) rate: f64,
    pub(super) front_ends: u32,
}

impl Server {
    /// Refusals cost nothing, for example because a load balancer, the kernel or a
    /// login server refuses.
    pub fn cheap() -> Self {
        Self::new(Refusal::Overflow(Overflow::Busy))
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
        Self::cheap().try_refusal_cost(handshakes)
    }

    /// Attempts that find the queue full get no answer.
    pub fn slow() -> Self {
        Self::new(Refusal::Overflow(Overflow::Unanswered))
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
            ..Self::new(Refusal::Overflow(Overflow::Unanswered))
        }
    }

    /// The server takes the newest attempt first, and drops attempts that are older
    /// than `most`, without an answer and without work.
    ///
    /// There is no limit to its queue, so [`overflow`](Self::overflow) and
    /// [`Storm::backlog`](super::Storm::backlog) have no effect.
    ///
    /// # Panics
    ///
    /// If `most` is zero; [`try_lifo`](Self::try_lifo) does not.
    #[track_caller]
    pub fn lifo(most: Duration) -> Self {
        expect(Self::try_lifo(most))
    }

    /// As [`lifo`](Self::lifo).
    ///
    /// # Errors
    ///
    /// If `most` is zero: the server would serve nobody.
    pub fn try_lifo(most: Duration) -> Result<Self, InvalidConfig> {
        if most.is_zero() {
            return Err(InvalidConfig::duration(
                "most",
                most,
                "the server would drop every attempt; let it keep them for a while, such as 10 s",
            ));
        }
        Ok(Self {
            newest_first: Some(nanos(most)),
            ..Self::new(Refusal::Overflow(Overflow::Silent))
        })
    }

    /// Refusals hand out slots: the client comes back at an instant of its own
    /// ([`Verdict::Slot`]) and is admitted.
    ///
    /// The instants come from a [`TokenBucket`](crate::TokenBucket), by default at 1.25
    /// times the capacity; see [`slot_rate`](Self::slot_rate). The first slot is half a
    /// queue away, so that the queue neither runs dry nor overflows. A client without a
    /// slot is admitted only while the queue is less than half full.
    ///
    /// With a rate of 1, the fleet is back at the limit with at most two attempts for
    /// each client, on three conditions:
    ///
    /// - The queue holds at least two handshakes.
    /// - Half a queue, two handshakes and one round trip together take no longer than
    ///   the clients' timeout.
    /// - All clients come at their slots, and the server knows its capacity.
    ///
    /// The server must recognize the clients that hold a slot, by name or by a ticket;
    /// [`_slots`](crate::_slots) has the recipe. `hints(Verdict::Slot)` models a server
    /// that cannot. It is as fast, but refuses a few clients again because newcomers
    /// have filled the queue.
    pub fn slots() -> Self {
        Self::new(Refusal::Slots)
    }

    /// Refusals have an answer: `hint` makes it from the time until the client's slot.
    /// The slots are as those of [`slots`](Self::slots) at a rate of 1. Use it to try out the answers of your own server.
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
        Self {
            slots: Slots {
                rate: 1.0,
                front_ends: 1,
            },
            ..Self::new(Refusal::Hints(Arc::new(hint)))
        }
    }

    /// What happens to an attempt that finds the queue full, however deep the queue is.
    ///
    /// ```
    /// use redial::Stratified;
    /// use redial::storm::{Overflow, Server, Storm};
    /// use std::time::Duration;
    ///
    /// // Clients may queue for half a minute, and are answered 503 beyond that.
    /// let server = Server::stale(Duration::from_secs(30)).overflow(Overflow::Busy);
    /// let report = Storm::new(1_000).server(server).run(&Stratified::default());
    /// assert!(report.recovered());
    /// ```
    pub fn overflow(self, overflow: Overflow) -> Self {
        Self {
            refusal: Refusal::Overflow(overflow),
            ..self
        }
    }

    /// Each refusal costs as much work as `handshakes` handshakes: none by default.
    ///
    /// This holds for each refusal of an attempt that finds the queue full, also for
    /// slots and hints. Silence costs nothing.
    ///
    /// # Panics
    ///
    /// If `handshakes` is negative, infinite or NaN;
    /// [`try_refusal_cost`](Self::try_refusal_cost) does not.
    #[track_caller]
    pub fn refusal_cost(self, handshakes: f64) -> Self {
        expect(self.try_refusal_cost(handshakes))
    }

    /// As [`refusal_cost`](Self::refusal_cost).
    ///
    /// # Errors
    ///
    /// If `handshakes` is negative, infinite or NaN.
    pub fn try_refusal_cost(self, handshakes: f64) -> Result<Self, InvalidConfig> {
        if handshakes.is_finite() && handshakes >= 0.0 {
            return Ok(Self {
                cost: handshakes,
                ..self
            });
        }
        Err(InvalidConfig::new(
            "handshakes",
            handshakes,
            "a refusal must cost a finite number of at least 0, such as 0.1",
        ))
    }

    /// The rate at which [`slots`](Self::slots) are handed out, as a multiple of the
    /// capacity: 1.25 by default.
    ///
    /// The rate is a multiple of the real capacity. So a server that hands out at 1.25
    /// times of what it believes its capacity to be, and can take 1.3 times as much,
    /// has a rate of 1.25 / 1.3.
    ///
    /// # Panics
    ///
    /// If `times` is not a positive, finite number;
    /// [`try_slot_rate`](Self::try_slot_rate) does not.
    #[track_caller]
    pub fn slot_rate(self, times: impl Number) -> Self {
        expect(self.try_slot_rate(times))
    }

    /// As [`slot_rate`](Self::slot_rate).
    ///
    /// # Errors
    ///
    /// If `times` is not a positive, finite number.
    pub fn try_slot_rate(mut self, times: impl Number) -> Result<Self, InvalidConfig> {
        let times = times.as_f64();
        if !(times.is_finite() && times > 0.0) {
            return Err(InvalidConfig::new(
                "times",
                times,
                "slots need a rate above 0, such as 1.25 times the capacity",
            ));
        }
        self.slots.rate = times;
        Ok(self)
    }

    /// How many front ends hand out [`slots`](Self::slots), each with a counter of its
    /// own and its share of the [rate](Self::slot_rate): 1 by default.
    ///
    /// Clients come to a front end at random, and all share the queue of one server.
    /// To model `n` front ends that each count at the whole capacity, give a rate that
    /// is `n` times as high.
    ///
    /// # Panics
    ///
    /// If `front_ends` is 0; [`try_front_ends`](Self::try_front_ends) does not.
    #[track_caller]
    pub fn front_ends(self, front_ends: u32) -> Self {
        expect(self.try_front_ends(front_ends))
    }

    /// As [`front_ends`](Self::front_ends).
    ///
    /// # Errors
    ///
    /// If `front_ends` is 0.
    pub fn try_front_ends(mut self, front_ends: u32) -> Result<Self, InvalidConfig> {
        if front_ends == 0 {
            return Err(InvalidConfig::new(
                "front_ends",
                front_ends,
                "nobody would hand out slots; give at least 1",
            ));
        }
        self.slots.front_ends = front_ends;
        Ok(self)
    }

    /// While the server is down, attempts get no answer instead of a refusal, as if
    /// the host or the network were gone and not only the process.
    ///
    /// The client's kernel sends the SYN of an attempt again while it lasts; see
    /// [`Storm::syn_retries`](super::Storm::syn_retries). So an attempt in flight when
    /// the server returns can still succeed.
    pub fn black_hole(self) -> Self {
        Self {
            black_hole: true,
            ..self
        }
    }

    pub(super) fn drops_syns(&self) -> bool {
        use Overflow::{HandshakeReset, SynDropped};

        matches!(self.refusal, Refusal::Overflow(SynDropped | HandshakeReset))
    }

    pub(super) fn resets_handshakes(&self) -> bool {
        matches!(self.refusal, Refusal::Overflow(Overflow::HandshakeReset))
    }

    fn new(refusal: Refusal) -> Self {
        Self {
            queue: None,
            refusal,
            cost: 0.0,
            newest_first: None,
            slots: Slots {
                rate: 1.25,
                front_ends: 1,
            },
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

// The slots are of no use to a server that hands out none.
#[allow(clippy::missing_fields_in_debug)]
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        if let Some(queue) = self.queue {
            server.field("queue", &Duration::from_nanos(queue));
        }
        match self.refusal {
            Refusal::Overflow(_) if self.newest_first.is_some() => &mut server,
            Refusal::Overflow(overflow) => server.field("overflow", &overflow),
            Refusal::Slots => server
                .field("overflow", &format_args!("a slot"))
                .field("slot_rate", &self.slots.rate)
                .field("front_ends", &self.slots.front_ends),
            Refusal::Hints(_) => server.field("overflow", &format_args!("a hint")),
        };
        if let Some(most) = self.newest_first {
            server.field("newest_first", &Duration::from_nanos(most));
        }
        let server = server.field("refusal_cost", &self.cost);
        server.field("black_hole", &self.black_hole).finish()
    }
}
