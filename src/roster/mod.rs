//! Which of several servers does a client try next?
//!
//! A [`Roster`] is one client's list of servers. It reads no clock and makes no
//! connection: the driver and the storm run the same code. Servers are numbers, from 0
//! to the length of the list.
//!
//! # How to drive it
//!
//! One attempt of the client's outage is a **round** over the servers:
//!
//! 1. [`begin`](Roster::begin): a round begins.
//! 2. [`next`](Roster::next): the server to try now. If it answers `None`, and no
//!    attempt is in flight, the round has failed: give
//!    [`verdict`](Roster::verdict) to the outage as one failure, do the wait that the
//!    outage asks for, and begin a new round.
//! 3. [`failed`](Roster::failed): the attempt at a server has failed. If it answers
//!    true, ask for the next server at once.
//! 4. [`connected`](Roster::connected): the attempt at a server has succeeded. Drop all
//!    others.
//! 5. [`lost`](Roster::lost): the connection is gone. Give the verdict that it returns to
//!    the outage, do the wait, and begin a round.
//!
//! If an attempt is silent for [`SILENCE`] while it dials, the caller asks for the next
//! server, and lets both go on. `next` may be called at any time, and never returns a
//! server twice in a round.
//!
//! # The rule
//!
//! - After `Down` the next server is tried at once, without spread, until each was tried
//!   once. So each server sees the arrivals of a fleet that has one server.
//! - After `Busy`, `Stalled` and a hint comes the policy's wait, and then the next server.
//! - A hint binds the server that gave it, for as long as it says. Only if all servers are
//!   bound, the client waits for the first of them, and the outage spreads that wait. A
//!   spread of each hint would be added to it, and to the policy's waits.
//! - A hint about the client itself, after a password that was refused, binds all.
//! - "Not here, elsewhere" tries the next server at once, and puts this one last for 30 s
//!   or for one round, whichever is longer.
//! - After a connection that the server ended, its server is the last of the round. After
//!   one that ended on the client's side, its server is the first, if the connection was
//!   stable.
//! - Only [`replace`](Roster::replace) removes a server.

#[cfg(test)]
mod model;

use alloc::vec::Vec;
use core::time::Duration;

use crate::policy::Cause;
use crate::rng::Rng;
use crate::verdict::Verdict;

/// How long a server may be silent while it is dialled, before the next one is dialled
/// beside it: RFC 8305's habit for addresses, across servers.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// How long a server that sent the client elsewhere is the last, at least.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// What an error means for the next attempt, and whether another server can serve the
/// client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) is_elsewhere: bool,
    /// It is about the client, and another server would say the same: a password that
    /// was refused.
    pub(crate) is_for_all: bool,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            is_elsewhere: false,
            is_for_all: false,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the server or by the network between.
    Theirs(Judged),
    /// By the client: it slept, changed its network, or wants a younger connection. The
    /// server is still good, if the connection was up for `stable_after`.
    Ours { was_stable: bool },
}

/// One client's servers, in its own order.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    entries: Vec<Entry>,
    /// The place from which the next server is looked for.
    cursor: usize,
    round: u32,
    /// No other server is tried in this round.
    is_closed: bool,
    /// The worst failure of this round.
    worst: Option<Verdict>,
    /// The worst answer of this round that sent the client elsewhere.
    worst_elsewhere: Option<Verdict>,
    /// The server of the connection, or of the last one.
    current: Option<usize>,
    /// The server that is tried first, whoever's turn it is.
    first: Option<usize>,
}

/// What a client remembers of a server.
#[derive(Clone, Copy, Debug)]
struct Entry {
    server: usize,
    /// The round in which it was last tried; 0 for none.
    tried: u32,
    /// It asked the client not to come before.
    not_before: Option<Bound>,
    last: Option<Last>,
}

/// What a server asked for.
#[derive(Clone, Copy, Debug)]
struct Bound {
    until: Duration,
    /// It is the client's own instant, and needs no spread.
    is_slot: bool,
}

/// A server is the last of each round until this time, and in the round after this one.
#[derive(Clone, Copy, Debug)]
struct Last {
    until: Duration,
    round: u32,
}

impl Entry {
    const fn new(server: usize) -> Self {
        Self {
            server,
            tried: 0,
            not_before: None,
            last: None,
        }
    }

    fn is_bound(&self, now: Duration) -> bool {
        self.not_before.is_some_and(|bound| now < bound.until)
    }
}

impl Roster {
    /// The servers from 0 to `servers`, in an order of this client's own, which it keeps.
    pub(crate) fn new(servers: usize, rng: &mut Rng) -> Self {
        let mut roster = Self {
            entries: Vec::with_capacity(servers),
            cursor: 0,
            round: 0,
            is_closed: false,
            worst: None,
            worst_elsewhere: None,
            current: None,
            first: None,
        };
        for server in 0..servers {
            roster.insert(server, rng);
        }
        roster
    }

    /// A round begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.round = self.round.wrapping_add(1).max(1);
        self.is_closed = false;
        (self.worst, self.worst_elsewhere) = (None, None);
        let round = self.round;
        for entry in &mut self.entries {
            if !entry.is_bound(now) {
                entry.not_before = None;
            }
            entry.last = entry
                .last
                .filter(|last| now < last.until || round.wrapping_sub(last.round) <= 1);
        }
    }

    /// The next server to try in this round. `None` if each was tried that may be tried
    /// now, or after an answer that the client must wait for.
    pub(crate) fn next(&mut self, now: Duration) -> Option<usize> {
        let place = self.next_place(now)?;
        let entry = &mut self.entries[place];
        entry.tried = self.round;
        let server = entry.server;
        self.cursor = self.after(place);
        self.first = None;
        Some(server)
    }

    /// Whether [`next`](Self::next) would return a server.
    pub(crate) fn has_next(&self, now: Duration) -> bool {
        self.next_place(now).is_some()
    }

    fn next_place(&self, now: Duration) -> Option<usize> {
        if self.is_closed {
            return None;
        }
        let is_free = |&place: &usize| {
            let entry = &self.entries[place];
            entry.tried != self.round && !entry.is_bound(now)
        };
        let in_turn = |&place: &usize| self.entries[place].last.is_none();
        let first = self.first.and_then(|server| self.place(server));
        let place = first
            .filter(is_free)
            .or_else(|| self.turns().find(|place| is_free(place) && in_turn(place)))
            .or_else(|| self.turns().find(is_free));
        if place.is_some() {
            return place;
        }
        // All are bound, and the client comes nevertheless: a person asked for it.
        let is_fresh = self.entries.iter().all(|entry| entry.tried != self.round);
        let until = |place: &usize| self.entries[*place].not_before.map(|bound| bound.until);
        self.turns().filter(|_| is_fresh).min_by_key(until)
    }

    /// All places, in the order in which their turn comes.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let (cursor, places) = (self.cursor, self.entries.len());
        (0..places).map(move |step| (cursor + step) % places)
    }

    /// The place after this one.
    fn after(&self, place: usize) -> usize {
        (place + 1) % self.entries.len().max(1)
    }

    /// The attempt at this server has failed. Returns whether the round goes on with the
    /// next server at once.
    pub(crate) fn failed(&mut self, server: usize, judged: Judged, now: Duration) -> bool {
        let is_elsewhere = judged.is_elsewhere && self.entries.len() > 1;
        let verdict = self.take_hint(server, judged, now);
        if is_elsewhere {
            self.worst_elsewhere = Some(match self.worst_elsewhere {
                // Another server did not say so.
                Some(Verdict::Stop) => verdict,
                Some(before) if verdict == Verdict::Stop => before,
                before => worse(before, verdict),
            });
        } else {
            self.worst = Some(worse(self.worst, verdict));
            self.is_closed |= verdict != Verdict::Retry(Cause::Down);
        }
        !self.is_closed
    }

    /// What the failed round means for the client: the worst of its failures. Answers that
    /// sent the client elsewhere count only if there is nothing else.
    pub(crate) fn verdict(&self, now: Duration) -> Verdict {
        let verdict = match (self.worst, self.worst_elsewhere) {
            (Some(verdict), _) => verdict,
            (None, Some(Verdict::Stop)) if self.is_any_untried() => Verdict::Retry(Cause::Busy),
            (None, verdict) => verdict.unwrap_or_default(),
        };
        self.for_all(verdict, now)
    }

    fn is_any_untried(&self) -> bool {
        self.entries.iter().any(|entry| entry.tried != self.round)
    }

    /// The attempt at this server has succeeded.
    pub(crate) fn connected(&mut self, server: usize) {
        self.current = Some(server);
    }

    /// The connection is replaced, or gone. Whether its server is the first of the next
    /// round, or the last.
    pub(crate) fn stays(&mut self, is_first: bool) {
        if let Some(place) = self.current.and_then(|server| self.place(server)) {
            self.cursor = self.after(place);
            self.first = self.current.filter(|_| is_first);
        }
    }

    /// The connection is gone. Returns what that means for the client.
    pub(crate) fn lost(&mut self, end: End, now: Duration) -> Verdict {
        let Some(place) = self.current.and_then(|server| self.place(server)) else {
            // It is on the list no more.
            let verdict = match end {
                End::Theirs(judged) => unhinted(judged.verdict),
                End::Ours { .. } => Verdict::default(),
            };
            return self.for_all(verdict, now);
        };
        let server = self.entries[place].server;
        self.stays(matches!(end, End::Ours { was_stable: true }));
        match end {
            End::Ours { .. } => Verdict::default(),
            End::Theirs(judged) => {
                let verdict = self.take_hint(server, judged, now);
                let others_serve = judged.is_elsewhere && self.entries.len() > 1;
                match verdict {
                    Verdict::Stop if others_serve => Verdict::Retry(Cause::Busy),
                    verdict => self.for_all(verdict, now),
                }
            }
        }
    }

    /// The server of the connection, or of the last one, if it is on the list.
    pub(crate) fn current(&self) -> Option<usize> {
        self.current
    }

    /// This server is tried first in the next round.
    pub(crate) fn prefer(&mut self, server: usize) {
        self.first = Some(server);
    }

    /// The list was replaced by one of so many servers. `became` says which number each
    /// server has now; `None` if it was removed.
    ///
    /// A server that stays keeps its place and its history. The others get random places.
    pub(crate) fn replace(&mut self, became: &[Option<usize>], servers: usize, rng: &mut Rng) {
        let number = |server: usize| became.get(server).copied().flatten();
        let turns: Vec<Entry> = self.turns().map(|place| self.entries[place]).collect();
        self.entries.clear();
        // The turn is at the first place again.
        self.cursor = 0;
        for entry in turns {
            if let Some(server) = number(entry.server) {
                self.entries.push(Entry { server, ..entry });
            }
        }
        self.current = self.current.and_then(number);
        self.first = self.first.and_then(number);
        for server in 0..servers {
            if self.place(server).is_none() {
                self.insert(server, rng);
            }
        }
    }

    /// Gives a new server a random place. The turn must be at the first place, so that
    /// each server is as likely to be the next.
    fn insert(&mut self, server: usize, rng: &mut Rng) {
        let place = rng.below(self.entries.len() as u64 + 1) as usize;
        self.entries.insert(place, Entry::new(server));
    }

    fn place(&self, server: usize) -> Option<usize> {
        self.entries.iter().position(|entry| entry.server == server)
    }

    /// Keeps what the server asked for. Returns the rest of its verdict: a hint of one of
    /// several servers says that it is busy, and no more.
    ///
    /// Nothing is added to a hint here. A round begins after a wait, which the policy or
    /// the outage has spread.
    fn take_hint(&mut self, server: usize, judged: Judged, now: Duration) -> Verdict {
        let round = self.round;
        let others = self.entries.len() > 1;
        if judged.is_for_all || !others {
            return judged.verdict;
        }
        let Some(place) = self.place(server) else {
            return unhinted(judged.verdict);
        };
        let entry = &mut self.entries[place];
        if judged.is_elsewhere {
            let until = now.saturating_add(ELSEWHERE);
            entry.last = Some(Last { until, round });
        }
        let (wait, is_slot) = match judged.verdict {
            Verdict::RetryAfter(hint) => (hint, false),
            Verdict::Slot(wait) => (wait, true),
            Verdict::Retry(_) | Verdict::Stop => return judged.verdict,
        };
        entry.not_before = Some(Bound {
            until: now.saturating_add(wait),
            is_slot,
        });
        Verdict::Retry(Cause::Busy)
    }

    /// The verdict, or a hint if all servers are bound by their own.
    fn for_all(&self, verdict: Verdict, now: Duration) -> Verdict {
        if verdict == Verdict::Stop || !self.entries.iter().all(|entry| entry.is_bound(now)) {
            return verdict;
        }
        let bounds = self.entries.iter().filter_map(|entry| entry.not_before);
        match bounds.min_by_key(|bound| bound.until) {
            Some(Bound { until, is_slot }) if is_slot => Verdict::Slot(until - now),
            Some(Bound { until, .. }) => Verdict::RetryAfter(until - now),
            None => verdict,
        }
    }
}

/// The worse of two verdicts.
fn worse(before: Option<Verdict>, verdict: Verdict) -> Verdict {
    let rank = |verdict| match verdict {
        Verdict::Retry(Cause::Down) => 0,
        Verdict::Retry(Cause::Busy) | Verdict::RetryAfter(_) | Verdict::Slot(_) => 1,
        Verdict::Retry(Cause::Stalled) => 2,
        Verdict::Stop => 3,
    };
    match before {
        Some(before) if rank(before) > rank(verdict) => before,
        _ => verdict,
    }
}

/// The verdict without what the server asked for.
fn unhinted(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::RetryAfter(_) | Verdict::Slot(_) => Verdict::Retry(Cause::Busy),
        Verdict::Retry(_) | Verdict::Stop => verdict,
    }
}
