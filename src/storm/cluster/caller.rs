//! The clients of a cluster: which server they try when.

use alloc::vec::Vec;
use core::time::Duration;

use super::agenda::What;
use super::run::Run;
use crate::nanos::nanos;
use crate::outage::{Config, Next};
use crate::policy::Cause;
use crate::roster::{End, Roster, SILENCE};
use crate::storm::fleet::{Fleet, Habits};
use crate::storm::limits;
use crate::storm::seat::{Client, Seat};
use crate::verdict::Verdict;

/// What a client of a cluster has besides that of one server.
pub(super) struct Caller {
    pub(super) roster: Roster,
    /// The attempts in flight, in the order in which they began.
    pub(super) flights: Vec<Flight>,
}

/// An attempt at one server.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) server: usize,
    pub(super) begins: u64,
    /// When it ends without an answer.
    pub(super) leaves: u64,
    /// When it arrived in the server's stack, if it did.
    pub(super) stacked: Option<u64>,
    /// When the client will hear how it ends, and what, if nothing comes before that.
    pub(super) outcome: Option<(u64, Outcome)>,
    /// The transport is established, as the client knows.
    pub(super) is_established: bool,
    pub(super) has_arrived: bool,
    /// What follows from silence is planned.
    pub(super) is_watched: bool,
    /// It has arrived before times began to count.
    pub(super) is_early: bool,
    /// The listen queue had room for its SYN, and has not taken it yet.
    pub(super) is_half_open: bool,
}

/// How an attempt ends.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Connected,
    Refused(Verdict),
}

impl Caller {
    pub(super) fn new(roster: Roster) -> Self {
        let flights = Vec::new();
        Self { roster, flights }
    }

    pub(super) fn flight(&mut self, id: u64) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.id == id)
    }

    /// Whether this is the attempt that began last.
    fn is_newest(&self, id: u64) -> bool {
        self.flights.last().is_some_and(|flight| flight.id == id)
    }

    /// Ends an attempt.
    fn end(&mut self, id: u64) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.id == id)?;
        Some(self.flights.remove(place))
    }

    /// Drops all attempts but this one.
    fn keep_only(&mut self, id: u64) {
        self.flights.retain(|flight| flight.id == id);
    }

    /// Whether a server knows of the client. Then no other is tried beside it.
    fn leads(&self) -> bool {
        self.flights.iter().any(|flight| flight.is_established)
    }
}

impl<F: Fleet> Run<'_, F> {
    fn habits(&self, client: u32) -> Habits {
        let state = &self.clients[client as usize].state;
        self.fleet.habits(state).unwrap_or(self.storm.habits)
    }

    /// Whether the client knows when its transport is established.
    pub(super) fn has_phases(&self, client: u32) -> bool {
        let state = &self.clients[client as usize].state;
        self.habits(client).phases && self.fleet.timeout(state).is_none()
    }

    pub(super) fn flight(&mut self, client: u32, id: u64) -> Option<&mut Flight> {
        self.callers[client as usize].flight(id)
    }

    /// The client loses its connection.
    pub(super) fn lose(&mut self, number: u32, at: u64, is_new: bool) {
        let config = self.habits(number).config;
        let caller = &mut self.callers[number as usize];
        let end = End::Theirs(Verdict::default().into());
        let now = Duration::from_nanos(at);
        let verdict = caller.roster.lost(end, now);
        let client = &mut self.clients[number as usize];
        client.offline.lost(at / self.unit);
        let mut seat = Seat::<F, true> {
            fleet: self.fleet,
            state: &mut client.state,
            rng: &mut self.rng,
            other: &mut self.other,
            is_new,
        };
        let next = client.progress.lost(&config, at, verdict, &mut seat);
        self.next(number, at, next);
    }

    fn next(&mut self, client: u32, now: u64, next: Next) {
        let Next::Wait(wait) = next else {
            self.tally.gave_up += 1;
            return;
        };
        let wait = self.storm.on_clock_of(client, nanos(wait));
        self.agenda
            .plan(now.saturating_add(wait), client, What::Round);
    }

    pub(super) fn round(&mut self, client: u32, now: u64) {
        let roster = &mut self.callers[client as usize].roster;
        roster.begin(Duration::from_nanos(now));
        self.try_next(client, now);
    }

    /// Tries the next server of the round, if there is one.
    fn try_next(&mut self, client: u32, now: u64) -> bool {
        let roster = &mut self.callers[client as usize].roster;
        let Some(server) = roster.next(Duration::from_nanos(now)) else {
            return false;
        };
        let habits = self.habits(client);
        let Client {
            progress, state, ..
        } = &mut self.clients[client as usize];
        let leaves = if let Some(timeout) = self.fleet.timeout(state) {
            progress.connecting(now);
            now.saturating_add(timeout)
        } else {
            limits::begin(progress, &habits, now, &mut self.other)
        };
        self.flown += 1;
        let id = self.flown;
        self.callers[client as usize].flights.push(Flight {
            id,
            server,
            begins: now,
            leaves,
            stacked: None,
            outcome: None,
            is_established: false,
            has_arrived: false,
            is_watched: false,
            is_early: false,
            is_half_open: false,
        });
        let arrives = now.saturating_add(self.storm.delay);
        self.agenda.plan(arrives, client, What::Syn(id));
        self.watch(client, id, Some(arrives.saturating_add(self.storm.delay)));
        true
    }

    /// Plans what follows if the client hears nothing before that time. Most attempts are
    /// answered at once, and need no such events.
    pub(super) fn watch(&mut self, client: u32, id: u64, heard: Option<u64>) {
        let has_phases = self.has_phases(client);
        let Some(flight) = self.flight(client, id).filter(|it| !it.is_watched) else {
            return;
        };
        let silent = flight.begins.saturating_add(nanos(SILENCE));
        let leaves = flight.leaves;
        let first = if has_phases {
            silent.min(leaves)
        } else {
            leaves
        };
        if heard.is_some_and(|heard| heard <= first) {
            return;
        }
        flight.is_watched = true;
        self.agenda.plan(leaves, client, What::Leaves(id));
        if has_phases {
            self.agenda.plan(silent, client, What::Silence(id));
        }
    }

    /// A dial was silent for a while. If it is the newest, the next begins beside it.
    pub(super) fn silence(&mut self, client: u32, id: u64, now: u64) {
        let caller = &self.callers[client as usize];
        if caller.is_newest(id) && !caller.leads() {
            self.try_next(client, now);
        }
    }

    pub(super) fn established(&mut self, client: u32, id: u64, now: u64) {
        let (habits, has_phases) = (self.habits(client), self.has_phases(client));
        let caller = &mut self.callers[client as usize];
        let Some(flight) = caller.flight(id) else {
            return;
        };
        if has_phases {
            flight.is_established = true;
            let progress = &mut self.clients[client as usize].progress;
            flight.leaves = limits::established(progress, &habits, now, &mut self.other);
            let (leaves, outcome) = (flight.leaves, flight.outcome);
            if outcome.is_none_or(|(at, _)| at > leaves) {
                self.agenda.plan(leaves, client, What::Leaves(id));
            }
        }
        if let Some(flight) = self.flight(client, id).filter(|it| it.is_half_open) {
            // Its first data is on its way since now.
            flight.begins = now;
            self.agenda
                .plan(now.saturating_add(self.storm.delay), client, What::Data(id));
        }
    }

    pub(super) fn leaves(&mut self, client: u32, id: u64, now: u64) {
        let Some(&mut flight) = self.flight(client, id) else {
            return;
        };
        if flight.leaves != now {
            return;
        }
        let cause = if self.has_phases(client) && !flight.is_established {
            Cause::Down
        } else {
            // The time was that of the whole attempt.
            self.callers[client as usize].keep_only(id);
            Cause::Stalled
        };
        self.failed(client, id, now, Verdict::Retry(cause));
    }

    /// Returns true if the storm is over.
    pub(super) fn outcome(&mut self, client: u32, id: u64) -> bool {
        let Some((at, outcome)) = self.flight(client, id).and_then(|it| it.outcome) else {
            return false;
        };
        let Outcome::Refused(verdict) = outcome else {
            return self.connected(client, id, at);
        };
        self.failed(client, id, at, verdict);
        false
    }

    /// The attempt at a server has failed.
    fn failed(&mut self, number: u32, id: u64, now: u64, verdict: Verdict) {
        let at = Duration::from_nanos(now);
        let config = self.habits(number).config;
        let caller = &mut self.callers[number as usize];
        let Some(flight) = caller.end(id) else {
            return;
        };
        let verdict = capped(verdict, &config);
        let goes_on = caller.roster.failed(flight.server, verdict.into(), at);
        if !caller.leads() {
            if goes_on && self.try_next(number, now) {
                return;
            }
            // If the round is over, so are the dials beside it.
            self.callers[number as usize].flights.retain(|_| goes_on);
        }
        let caller = &mut self.callers[number as usize];
        if !caller.flights.is_empty() {
            return;
        }
        let verdict = caller.roster.verdict(at);
        let client = &mut self.clients[number as usize];
        let mut seat = Seat::<F, false> {
            fleet: self.fleet,
            state: &mut client.state,
            rng: &mut self.rng,
            other: &mut self.other,
            is_new: false,
        };
        let next = client.progress.failed(&config, now, verdict, &mut seat);
        self.next(number, now, next);
    }

    /// The client is connected. Returns true if all are.
    fn connected(&mut self, number: u32, id: u64, back: u64) -> bool {
        let caller = &mut self.callers[number as usize];
        let Some(flight) = caller.end(id) else {
            return false;
        };
        caller.flights.clear();
        caller.roster.connected(flight.server);
        let client = &mut self.clients[number as usize];
        client.progress.connected(back);
        if back > self.end {
            return false;
        }
        client.offline.back(back / self.unit);
        let host = &mut self.hosts[flight.server];
        if let Some(lost) = host.desk.vanishes(back) {
            self.tally.returned_for_a_while(back);
            self.lose(number, lost, false);
            return false;
        }
        host.taken += 1;
        self.tally.returned(back)
    }
}

/// A server's hint is obeyed up to the client's limit only.
fn capped(verdict: Verdict, config: &Config) -> Verdict {
    let cap = config.most_of_a_hint();
    match verdict {
        Verdict::RetryAfter(hint) => Verdict::RetryAfter(hint.min(cap)),
        // It is not the client's own instant any more.
        Verdict::Slot(hint) if hint > cap => Verdict::RetryAfter(cap),
        verdict => verdict,
    }
}
