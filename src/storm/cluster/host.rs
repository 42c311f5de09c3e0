//! The servers of a cluster: how they answer.

use super::agenda::What;
use super::caller::{Flight, Outcome};
use super::run::Run;
use crate::policy::Cause;
use crate::storm::desk::{Answer, Desk};
use crate::storm::fleet::Fleet;
use crate::storm::stack::Stack;
use crate::storm::{Storm, kernel};
use crate::verdict::Verdict;

const DOWN: Outcome = Outcome::Refused(Verdict::Retry(Cause::Down));

/// One of the servers.
pub(super) struct Host {
    pub(super) desk: Desk,
    stack: Option<Stack>,
    /// How many clients came back to it.
    pub(super) taken: u32,
}

impl Host {
    pub(super) fn new(storm: &Storm, is_lost: bool, is_silent: bool) -> Self {
        Self {
            desk: Desk::new(storm).in_cluster(is_lost, is_silent),
            stack: Stack::of(storm),
            taken: 0,
        }
    }

    /// All accepted work.
    pub(super) fn handshakes(&self) -> f64 {
        let stacked = self.stack.as_ref().map_or(0, |stack| stack.served);
        self.desk.handshakes() + stacked as f64
    }
}

impl<F: Fleet> Run<'_, F> {
    /// A SYN arrives at a server: the first of an attempt, or one that is repeated. Returns
    /// true if the storm is over.
    pub(super) fn syn(&mut self, client: u32, id: u64, now: u64) -> bool {
        let (since, has_handshakes) = (self.since, self.has_handshakes);
        let Some(flight) = self.callers[client as usize].flight(id) else {
            // The client has left, so its kernel resets the handshake.
            return false;
        };
        let is_first = !flight.has_arrived;
        flight.has_arrived = true;
        let is_first_seen = (is_first || flight.is_early) && now >= since;
        flight.is_early = now < since;
        let Flight {
            server,
            begins,
            leaves,
            ..
        } = *flight;
        let desk = &mut self.hosts[server].desk;
        self.clients[client as usize].attempts += is_first_seen as u32;
        if is_first {
            self.tally.knocked(now, desk.is_up(now));
        }
        let heard = now.saturating_add(self.storm.delay);
        if has_handshakes && desk.has_room(now) {
            flight.is_half_open = true;
            let told = self.has_phases(client).then_some(heard);
            self.watch(client, id, told);
            self.agenda.plan(heard, client, What::Established(id));
            return false;
        }
        let answer = desk.attempt(now, client);
        let (told, is_accepted) = match answer {
            Answer::Served(done) => (Some((done, Outcome::Connected)), true),
            Answer::Cut(at) if !desk.is_black_hole() => (Some((at, DOWN)), true),
            Answer::Refused(verdict) => (Some((now, Outcome::Refused(verdict))), false),
            Answer::Cut(_) | Answer::Silence | Answer::Waits => (None, true),
            Answer::Lost | Answer::Unanswered => (None, false),
        };
        match answer {
            Answer::Lost => {
                if let Some(at) = kernel::next_syn(self.storm, desk, now, begins, leaves) {
                    self.agenda.plan(at, client, What::Syn(id));
                }
            }
            Answer::Waits => {
                flight.stacked = Some(now);
                if let Some(stack) = &mut self.hosts[server].stack {
                    stack.push(now, client);
                }
            }
            _ => {}
        }
        let told = told.map(|(at, outcome)| self.tells(client, id, at, outcome));
        if is_accepted && self.has_phases(client) {
            self.watch(client, id, Some(heard));
            if heard == now {
                self.established(client, id, now);
            } else {
                self.agenda.plan(heard, client, What::Established(id));
            }
        } else {
            self.watch(client, id, told);
        }
        match told {
            // Most are, and the agenda is slow.
            Some(at) if at == now => return self.outcome(client, id),
            Some(at) => self.agenda.plan(at, client, What::Outcome(id)),
            None => {}
        }
        false
    }

    /// The first data of a client arrives at a server whose queue had room for its SYN.
    pub(super) fn data(&mut self, client: u32, id: u64, now: u64) {
        let Some(&mut flight) = self.flight(client, id) else {
            return;
        };
        match self.hosts[flight.server].desk.attempt(now, client) {
            Answer::Served(done) => self.tells_later(client, id, done, Outcome::Connected),
            Answer::Lost if self.storm.server.resets_handshakes() => {
                self.tells_later(client, id, now, DOWN);
            }
            Answer::Lost => {
                let delay = self.storm.delay;
                let sent = kernel::next_data(delay, flight.begins, now);
                if sent < flight.leaves {
                    self.agenda
                        .plan(sent.saturating_add(delay), client, What::Data(id));
                }
            }
            _ => {}
        }
    }

    /// As [`tells`](Self::tells), and plans that the client hears it.
    fn tells_later(&mut self, client: u32, id: u64, at: u64, outcome: Outcome) {
        let heard = self.tells(client, id, at, outcome);
        self.agenda.plan(heard, client, What::Outcome(id));
    }

    /// The server tells the client how its attempt ends, at this time. Returns when the
    /// client hears it.
    fn tells(&mut self, client: u32, id: u64, at: u64, outcome: Outcome) -> u64 {
        let heard = at.saturating_add(self.storm.delay);
        if let Some(flight) = self.flight(client, id) {
            flight.outcome = Some((heard, outcome));
        }
        heard
    }

    /// Serves the stacks up to now. Returns true if a client hears of it.
    pub(super) fn serve(&mut self, now: u64) -> bool {
        let mut is_heard = false;
        if self.storm.server.newest_first.is_none() {
            return is_heard;
        }
        for server in 0..self.hosts.len() {
            while let Some((arrived, client, done)) = self.serve_one(server, now) {
                let flights = &self.callers[client as usize].flights;
                let served = flights
                    .iter()
                    .find(|flight| flight.server == server && flight.stacked == Some(arrived));
                if let Some(&Flight { id, .. }) = served {
                    self.tells_later(client, id, done, Outcome::Connected);
                    is_heard = true;
                }
            }
        }
        is_heard
    }

    fn serve_one(&mut self, server: usize, now: u64) -> Option<(u64, u32, u64)> {
        self.hosts[server].stack.as_mut()?.serve(now)
    }
}
