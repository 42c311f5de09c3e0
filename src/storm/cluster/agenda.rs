//! What happens when in a cluster.

use alloc::collections::BinaryHeap;
use core::cmp::{Ordering, Reverse};

/// The events that are to come.
///
/// A client has several, so this is not the queue of a storm with one server.
pub(super) struct Agenda {
    events: BinaryHeap<Event>,
    /// A SYN that arrives at once. Most do, and a heap is slow.
    at_once: Option<Event>,
    now: u64,
    /// How many there were.
    planned: u64,
    end: u64,
}

impl Agenda {
    /// Until this time. What is later does not happen.
    pub(super) fn new(end: u64) -> Self {
        Self {
            events: BinaryHeap::new(),
            at_once: None,
            now: 0,
            planned: 0,
            end,
        }
    }

    pub(super) fn plan(&mut self, at: u64, client: u32, what: What) {
        if at <= self.end {
            self.planned += 1;
            let event = Event {
                at,
                order: self.planned,
                client,
                what,
            };
            if at == self.now && matches!(what, What::Syn(_)) && self.at_once.is_none() {
                self.at_once = Some(event);
            } else {
                self.events.push(event);
            }
        }
    }

    /// When the next event is, or the end.
    pub(super) fn next_at(&self) -> u64 {
        let next = self.at_once.as_ref().or_else(|| self.events.peek());
        next.map_or(self.end, |event| event.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let next = self.at_once.take().or_else(|| self.events.pop())?;
        self.now = next.at;
        Some(next)
    }
}

/// What happens next to a client. If several happen at the same time, the first of this
/// list comes first: an answer at the last moment is in time, and a dial that has taken
/// too long has one successor.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// A SYN arrives at the server.
    Syn(u64),
    /// The client's first data arrives at the server.
    Data(u64),
    /// The client hears that its transport is established.
    Established(u64),
    /// The client hears how the attempt ends.
    Outcome(u64),
    /// The wait is over, and a round begins.
    Round,
    /// The attempt may have taken too long.
    Leaves(u64),
    /// The dial was silent for a while.
    Silence(u64),
}

impl What {
    fn rank(&self) -> u8 {
        match self {
            Self::Syn(_) | Self::Data(_) => 0,
            Self::Established(_) => 1,
            Self::Outcome(_) => 2,
            Self::Round => 3,
            Self::Leaves(_) => 4,
            Self::Silence(_) => 5,
        }
    }
}

/// An event, in the order of a heap whose greatest is the first to happen.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) at: u64,
    /// Of those at the same time, the first that was planned.
    order: u64,
    pub(super) client: u32,
    pub(super) what: What,
}

impl Event {
    fn key(&self) -> Reverse<(u64, u8, u64)> {
        Reverse((self.at, self.what.rank(), self.order))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
