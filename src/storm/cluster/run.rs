//! The simulation of a cluster.
//!
//! A client may have several attempts in flight, and what it does next depends on all of
//! them. So each thing happens at its time here. With one server it can be foreseen when
//! an attempt begins, which is several times as fast.

use alloc::vec::Vec;

use super::Cluster;
use super::agenda::{Agenda, Event, What};
use super::caller::Caller;
use super::host::Host;
use crate::rng::Rng;
use crate::roster::Roster;
use crate::storm::fleet::Fleet;
use crate::storm::run::MOST_ATTEMPTS;
use crate::storm::seat::Client;
use crate::storm::tally::Tally;
use crate::storm::{Report, Storm};

pub(super) struct Run<'a, F: Fleet> {
    pub(super) storm: &'a Storm,
    pub(super) fleet: &'a F,
    /// The lost servers first.
    pub(super) hosts: Vec<Host>,
    pub(super) agenda: Agenda,
    pub(super) tally: Tally<'a>,
    pub(super) clients: Vec<Client<F::State>>,
    pub(super) callers: Vec<Caller>,
    /// How many attempts began.
    pub(super) flown: u64,
    pub(super) end: u64,
    pub(super) since: u64,
    pub(super) unit: u64,
    /// Whether the queue may fill up between a SYN and the end of its handshake.
    pub(super) has_handshakes: bool,
    pub(super) rng: Rng,
    pub(super) other: Rng,
}

pub(in crate::storm) fn run<F: Fleet>(storm: &Storm, cluster: Cluster, fleet: &F) -> Report {
    let mut run = Run::new(storm, cluster, fleet);
    let budget = MOST_ATTEMPTS * storm.losers() as u64;
    while let Some(event) = run.next_event() {
        if run.tally.attempts == budget || run.event(event) {
            break;
        }
    }
    let done = run.hosts.iter().map(Host::handshakes).sum();
    let left = if cluster.left() > 0 { cluster.lost } else { 0 };
    let taken = run.hosts[left as usize..].iter().map(|host| host.taken);
    run.tally.balance(taken);
    run.tally.report(done, &run.clients)
}

impl<'a, F: Fleet> Run<'a, F> {
    /// All clients of the lost servers lose their connections.
    fn new(storm: &'a Storm, cluster: Cluster, fleet: &'a F) -> Self {
        let clients = storm.losers();
        let host = |number| Host::new(storm, number < cluster.lost, number < cluster.silent);
        let mut run = Self {
            storm,
            fleet,
            hosts: (0..cluster.servers).map(host).collect(),
            agenda: Agenda::new(storm.end()),
            tally: Tally::new(storm),
            clients: Vec::with_capacity(clients as usize),
            callers: Vec::with_capacity(clients as usize),
            flown: 0,
            end: storm.end(),
            since: storm.since(),
            unit: storm.unit(),
            has_handshakes: storm.has_handshakes(),
            rng: storm.generator(0),
            other: storm.generator(1),
        };
        let mut lists = storm.generator(2);
        for number in 0..clients {
            let state = fleet.begin(&mut run.rng);
            run.clients.push(Client::new(state));
            let mut roster = Roster::new(cluster.servers as usize, &mut lists);
            roster.connected((number % cluster.lost) as usize);
            run.callers.push(Caller::new(roster));
            run.lose(number, storm.lost_at(number), true);
        }
        run
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            // What was served may be heard before the next event.
            if !self.serve(self.agenda.next_at()) {
                return self.agenda.pop();
            }
        }
    }

    /// Returns true if the storm is over.
    fn event(&mut self, event: Event) -> bool {
        let Event { at, client, .. } = event;
        match event.what {
            What::Syn(id) => return self.syn(client, id, at),
            What::Data(id) => self.data(client, id, at),
            What::Established(id) => self.established(client, id, at),
            What::Outcome(id) => return self.outcome(client, id),
            What::Round => self.round(client, at),
            What::Silence(id) => self.silence(client, id, at),
            What::Leaves(id) => self.leaves(client, id, at),
        }
        false
    }
}
