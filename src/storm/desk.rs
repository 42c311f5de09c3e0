//! The running server of a storm.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::server::{Overflow, Refusal, Server};
use super::{Storm, spread};
use crate::bucket::TokenBucket;
use crate::nanos::nanos;
use crate::policy::Cause;
use crate::verdict::Verdict;

/// A running server. Times are in nanoseconds since the loss. The times of the queue
/// are fractional, because 1/C is.
pub(super) struct Desk {
    server: Server,
    /// When the server is back for good.
    back: u64,
    /// A time before that in which the server is up, too.
    glimpse: Option<Glimpse>,
    handshake: f64,
    queue: f64,
    /// When all queued work will be done.
    free: f64,
    /// The same, in the glimpse.
    early_free: f64,
    /// The next slots of each front end.
    slots: Vec<TokenBucket>,
    /// From when on a client that holds a slot is recognized, if the server recognizes
    /// them; otherwise empty. `NOBODY` for a client without a slot.
    holders: Vec<u64>,
    /// The handshakes accepted so far.
    served: u64,
    /// The cost of refusals so far, in handshakes.
    refused: f64,
}

const NOBODY: u64 = u64::MAX;

/// A slot is honoured a second and 2 % of its wait early: the client's clock is not
/// the server's.
const SECOND: u64 = 1_000_000_000;

/// A time in which the server is up, before it vanishes again.
#[derive(Clone, Copy)]
pub(super) struct Glimpse {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// The server's answer to an attempt.
pub(super) enum Answer {
    /// Served at this time, even if the client has left.
    Served(u64),
    /// Accepted, and then the server vanishes at this time.
    Cut(u64),
    Refused(Verdict),
    /// The SYN is lost. The client's kernel repeats it.
    Lost,
    /// The transport is not established, and nothing is sent again.
    Unanswered,
    /// The transport is established, and nothing follows.
    Silence,
    /// The attempt waits until others are served, or until it is dropped.
    Waits,
}

impl Desk {
    pub(super) fn new(storm: &Storm) -> Self {
        let (server, handshake) = (&storm.server, 1e9 / storm.capacity);
        let knows_holders = matches!(server.refusal, Refusal::Slots);
        let slots = server.slots;
        let period = handshake / slots.rate * slots.front_ends as f64;
        Self {
            server: server.clone(),
            back: storm.back(),
            glimpse: storm.glimpse(),
            handshake,
            queue: server.queue.unwrap_or(storm.backlog) as f64,
            free: 0.0,
            early_free: 0.0,
            // Rounded up, because slots must not be closer than handshakes. A clone
            // would share the counter.
            slots: (0..slots.front_ends)
                .map(|_| TokenBucket::new(1, Duration::from_nanos((period.ceil() as u64).max(1))))
                .collect(),
            holders: vec![NOBODY; storm.losers() as usize * usize::from(knows_holders)],
            served: 0,
            refused: 0.0,
        }
    }

    /// The same as one of several servers, which is lost or not, and silent if it is lost.
    pub(super) fn in_cluster(mut self, is_lost: bool, is_silent: bool) -> Self {
        if !is_lost {
            (self.back, self.glimpse) = (0, None);
        }
        self.server.black_hole |= is_silent;
        self
    }

    /// Answers an attempt of `client` that arrives now.
    #[inline]
    pub(super) fn attempt(&mut self, now: u64, client: u32) -> Answer {
        if now < self.back {
            return self.attempt_early(now, client);
        }
        if self.server.newest_first.is_some() {
            return Answer::Waits;
        }
        self.admit(now, client)
    }

    #[inline]
    fn admit(&mut self, now: u64, client: u32) -> Answer {
        let at = now as f64;
        let queue = match self.holders.get(client as usize) {
            Some(&from) if now < from => self.queue / 2.0,
            _ => self.queue,
        };
        if self.free - at < queue {
            self.free = self.free.max(at) + self.handshake;
            self.served += 1;
            return Answer::Served(self.free as u64);
        }
        self.refuse(now, client)
    }

    #[inline]
    fn refuse(&mut self, now: u64, client: u32) -> Answer {
        let verdict = match &self.server.refusal {
            Refusal::Overflow(Overflow::SynDropped | Overflow::HandshakeReset) => {
                return Answer::Lost;
            }
            Refusal::Overflow(Overflow::Unanswered) => return Answer::Unanswered,
            Refusal::Overflow(Overflow::Silent) => return Answer::Silence,
            Refusal::Overflow(Overflow::Reset) => Verdict::Retry(Cause::Down),
            Refusal::Overflow(Overflow::Busy) => Verdict::Retry(Cause::Busy),
            Refusal::Slots => {
                let wait = self.slot(now, client);
                let exactly = nanos(wait);
                let early = (SECOND + exactly / 50).min(exactly);
                self.holders[client as usize] = now.saturating_add(exactly - early);
                Verdict::Slot(wait)
            }
            Refusal::Hints(hint) => hint(self.slot(now, client)),
        };
        self.free += self.server.cost * self.handshake;
        self.refused += self.server.cost;
        Answer::Refused(verdict)
    }

    /// Answers an attempt that arrives before the server is back for good.
    #[cold]
    fn attempt_early(&mut self, now: u64, client: u32) -> Answer {
        match self.glimpse {
            Some(Glimpse { from, until }) if (from..until).contains(&now) => {
                mem::swap(&mut self.free, &mut self.early_free);
                let answer = self.admit(now, client);
                mem::swap(&mut self.free, &mut self.early_free);
                // What it did before it vanishes does not count.
                (self.served, self.refused) = (0, 0.0);
                match answer {
                    Answer::Served(done) if done > until => Answer::Cut(until),
                    answer => answer,
                }
            }
            _ if self.server.black_hole => Answer::Lost,
            _ => Answer::Refused(Verdict::Retry(Cause::Down)),
        }
    }

    /// Whether the kernel answers a SYN that arrives now.
    pub(super) fn has_room(&self, now: u64) -> bool {
        now >= self.back && self.free - (now as f64) < self.queue
    }

    /// Whether a SYN that arrives then is lost for certain.
    pub(super) fn is_gone(&self, at: u64) -> bool {
        self.server.black_hole && !self.is_up(at)
    }

    pub(super) fn is_up(&self, at: u64) -> bool {
        let is_within = |glimpse: Glimpse| (glimpse.from..glimpse.until).contains(&at);
        at >= self.back || self.glimpse.is_some_and(is_within)
    }

    pub(super) fn is_black_hole(&self) -> bool {
        self.server.black_hole
    }

    /// When the server vanishes again, and with it a connection that it has made by now.
    pub(super) fn vanishes(&self, now: u64) -> Option<u64> {
        let glimpse = self.glimpse.filter(|_| now < self.back)?;
        Some(glimpse.until.max(now))
    }

    /// The wait until the next slot, at the front end that the client came to.
    fn slot(&self, now: u64, client: u32) -> Duration {
        let half = self.queue as u64 / 2;
        let front_end = (spread(client) >> 40) as usize % self.slots.len();
        Duration::from_nanos(half)
            + self.slots[front_end]
                .reserve_at(Duration::from_nanos(now + half))
                .wait()
    }

    /// All accepted work, in handshakes.
    pub(super) fn handshakes(&self) -> f64 {
        self.served as f64 + self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> u64 {
        seconds * SECOND
    }

    /// A slot of each second, and a queue of ten seconds.
    fn one_a_second() -> Desk {
        let storm = Storm::new(200)
            .capacity(1)
            .backlog(Duration::from_secs(10))
            .server(Server::slots().slot_rate(1));
        Desk::new(&storm)
    }

    /// Fills the half of the queue that is for clients without a slot. Returns the
    /// number of the next client, and its slot.
    fn fill(desk: &mut Desk, now: u64, mut client: u32) -> (u32, Duration) {
        loop {
            let answer = desk.attempt(now, client);
            client += 1;
            match answer {
                Answer::Served(_) => {}
                Answer::Refused(Verdict::Slot(wait)) => return (client, wait),
                _ => panic!("the server answers"),
            }
        }
    }

    #[test]
    fn a_slot_is_honoured_a_second_and_2_percent_of_its_wait_early() {
        // 100 s - 1 s - 2 s.
        for (now, is_honoured) in [(secs(97) - 1, false), (secs(97), true)] {
            let mut desk = one_a_second();
            let (mut holder, mut wait) = fill(&mut desk, 0, 0);
            while wait < Duration::from_secs(100) {
                (holder, wait) = fill(&mut desk, 0, holder);
            }
            assert_eq!(wait, Duration::from_secs(100));
            fill(&mut desk, now, holder);
            let answer = desk.attempt(now, holder - 1);
            assert_eq!(matches!(answer, Answer::Served(_)), is_honoured, "{now}");
        }
    }
}
