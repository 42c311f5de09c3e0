//! The simulation itself.

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

use super::desk::{Answer, Desk};
use super::fleet::Fleet;
use super::queue::Queue;
use super::seat::{Client, Seat};
use super::stack::Stack;
use super::tally::Tally;
use super::{Report, Storm, kernel, limits};
use crate::nanos::{nanos, scale};
use crate::outage::Next;
use crate::policy::Cause;
use crate::rng::Rng;
use crate::verdict::Verdict;

/// The most attempts for each client, on average. With waits of zero, simulated time
/// would stand still.
pub(super) const MOST_ATTEMPTS: u64 = 10_000;

/// An attempt in flight that is not decided when it begins. Only some server models
/// have such attempts.
#[derive(Clone, Copy, Default)]
struct Flight {
    stage: Stage,
    /// The attempt began before the server's return, and so is not counted yet.
    is_early: bool,
    begins: u64,
    /// When the attempt came into the stack.
    arrived: u64,
    /// When the attempt ends without an answer.
    leaves: u64,
    /// When an event of an attempt that was served meanwhile is still due.
    void: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// The next event is the first SYN of an attempt.
    #[default]
    None,
    /// The next event is a repeated SYN.
    Dialing,
    /// The next event is the arrival of the client's first data, which ends the
    /// handshake.
    Opening,
    /// The next event is the end of the client's patience.
    Waiting,
}

pub(super) fn run<F: Fleet>(storm: &Storm, fleet: &F) -> Report {
    let mut run = Run::new(storm, fleet);
    let mut room = [0; 64];
    let budget = MOST_ATTEMPTS * storm.clients as u64;
    while let Some((time, number)) = run.queue.pop() {
        // Fetches the data of the next clients while this client is simulated.
        for &client in run.queue.upcoming(&mut room) {
            black_box(run.clients[client as usize].attempts);
        }
        if run.tally.attempts == budget || run.event(time, number) {
            break;
        }
    }
    if run.stack.is_some() {
        run.serve(storm.end());
    }
    let served = run.stack.map_or(0, |stack| stack.served);
    let done = run.desk.handshakes() + served as f64;
    run.tally.report(done, &run.clients)
}

struct Run<'a, F: Fleet> {
    storm: &'a Storm,
    fleet: &'a F,
    desk: Desk,
    stack: Option<Stack>,
    queue: Queue,
    tally: Tally<'a>,
    clients: Vec<Client<F::State>>,
    /// One for each client, if the server model needs them; otherwise empty.
    flights: Vec<Flight>,
    rng: Rng,
    other: Rng,
    end: u64,
    back: u64,
    unit: u64,
    /// No event may be earlier.
    now: u64,
    /// Whether connections may be lost again.
    is_rough: bool,
    /// Whether the queue may fill up between a SYN and the end of its handshake.
    has_handshakes: bool,
}

impl<'a, F: Fleet> Run<'a, F> {
    /// All clients lose the server.
    ///
    /// Each client has one event: the arrival of its next attempt at the server. If the
    /// queue is first in, first out, the outcome is known at the arrival.
    fn new(storm: &'a Storm, fleet: &'a F) -> Self {
        let server = &storm.server;
        let has_flights = server.black_hole || server.newest_first.is_some() || server.drops_syns();
        let mut run = Self {
            storm,
            fleet,
            desk: Desk::new(storm),
            stack: Stack::of(storm),
            queue: Queue::new(),
            tally: Tally::new(storm),
            clients: Vec::with_capacity(storm.clients as usize),
            flights: vec![Flight::default(); storm.clients as usize * has_flights as usize],
            end: storm.end(),
            back: storm.back(),
            unit: storm.unit(),
            has_handshakes: storm.has_handshakes(),
            is_rough: storm.relapse.is_some() || storm.rolling.is_some(),
            now: 0,
            rng: storm.generator(0),
            other: storm.generator(1),
        };
        for client in 0..storm.clients {
            let state = fleet.begin(&mut run.rng);
            run.clients.push(Client::new(state));
            run.lose(client, storm.lost_at(client), true);
        }
        run
    }

    /// The client loses its connection.
    #[inline(never)]
    fn lose(&mut self, number: u32, at: u64, is_new: bool) {
        let client = &mut self.clients[number as usize];
        client.offline.lost(at / self.unit);
        let own = self.fleet.habits(&client.state);
        let config = &own.as_ref().unwrap_or(&self.storm.habits).config;
        let mut seat = Seat::<F, true> {
            fleet: self.fleet,
            state: &mut client.state,
            rng: &mut self.rng,
            other: &mut self.other,
            is_new,
        };
        let down = Verdict::Retry(Cause::Down);
        let next = client.progress.lost(config, at, down, &mut seat);
        self.next(number, at, next);
    }

    #[inline]
    fn next(&mut self, number: u32, now: u64, next: Next) {
        let Next::Wait(wait) = next else {
            self.tally.gave_up += 1;
            return;
        };
        let wait = self.storm.on_clock_of(number, nanos(wait));
        let arrival = now.saturating_add(wait).saturating_add(self.storm.delay);
        if arrival <= self.end {
            self.queue.push(arrival.max(self.now), number);
        }
    }

    /// The next event of a client. Returns true if the storm is over.
    // What most servers need is inlined into one loop: a third fewer instructions.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn event(&mut self, time: u64, number: u32) -> bool {
        if self.flights.is_empty() {
            self.attempt(time, number)
        } else {
            self.flight(time, number)
        }
    }

    #[inline(never)]
    fn flight(&mut self, time: u64, number: u32) -> bool {
        if self.serve(time) {
            return true;
        }
        let flight = &mut self.flights[number as usize];
        if flight.void == Some(time) {
            flight.void = None;
            return false;
        }
        let Flight { begins, leaves, .. } = *flight;
        match core::mem::take(&mut flight.stage) {
            Stage::None => self.attempt(time, number),
            Stage::Dialing => {
                let is_first_seen = flight.is_early && time >= self.back;
                flight.is_early &= !is_first_seen;
                self.clients[number as usize].attempts += is_first_seen as u32;
                self.arrive_again(time, number, begins, leaves)
            }
            Stage::Opening => self.open(time, number, begins, leaves),
            Stage::Waiting => {
                self.stall(number, leaves);
                false
            }
        }
    }

    /// An attempt begins, and its first packet arrives.
    #[inline(always)]
    #[allow(clippy::inline_always)] // see `event`
    fn attempt(&mut self, arrival: u64, number: u32) -> bool {
        self.tally.arrivals.count(arrival, self.back);
        self.tally.attempts += 1;
        let begins = arrival - self.storm.delay;
        let client = &mut self.clients[number as usize];
        client.attempts += (arrival >= self.back) as u32;
        let leaves = if let Some(timeout) = self.fleet.timeout(&client.state) {
            client.progress.connecting(begins);
            begins.saturating_add(timeout)
        } else {
            let own = self.fleet.habits(&client.state);
            let habits = own.as_ref().unwrap_or(&self.storm.habits);
            limits::begin(&mut client.progress, habits, begins, &mut self.other)
        };
        self.arrive(arrival, number, begins, leaves)
    }

    /// A repeated SYN arrives at the server.
    #[inline(never)]
    fn arrive_again(&mut self, arrival: u64, number: u32, begins: u64, leaves: u64) -> bool {
        self.arrive(arrival, number, begins, leaves)
    }

    /// A client leaves the stack.
    #[inline(never)]
    fn stall(&mut self, number: u32, now: u64) {
        self.fail(number, now, Verdict::Retry(Cause::Stalled));
    }

    /// A packet that opens the transport arrives at the server.
    #[inline(always)]
    #[allow(clippy::inline_always)] // see `event`
    fn arrive(&mut self, arrival: u64, number: u32, begins: u64, mut leaves: u64) -> bool {
        if self.has_handshakes && self.desk.has_room(arrival) {
            self.answer_syn(arrival, number, leaves);
            return false;
        }
        let delay = self.storm.delay;
        let heard = arrival.saturating_add(delay);
        let client = &mut self.clients[number as usize];
        let own = self.fleet.habits(&client.state);
        let habits = own.as_ref().unwrap_or(&self.storm.habits);
        let has_phases = habits.phases && self.fleet.timeout(&client.state).is_none();
        let answer = self.desk.attempt(arrival, number);
        let mut timed_out = Cause::Stalled;
        if has_phases {
            timed_out = Cause::Down;
            let is_accepted = match answer {
                Answer::Served(_) | Answer::Cut(_) | Answer::Silence | Answer::Waits => true,
                Answer::Refused(_) | Answer::Lost | Answer::Unanswered => false,
            };
            if is_accepted && heard <= leaves {
                timed_out = Cause::Stalled;
                leaves = limits::established(&mut client.progress, habits, heard, &mut self.other);
            }
        }
        let (told, verdict) = match answer {
            // A handshake may take longer than any timeout.
            Answer::Served(done) if done.saturating_add(delay) <= leaves => {
                return self.connected(number, done.saturating_add(delay));
            }
            Answer::Refused(verdict) if heard <= leaves => (heard, verdict),
            Answer::Cut(at) if !self.storm.server.black_hole && at + delay <= leaves => {
                (at + delay, Verdict::Retry(Cause::Down))
            }
            Answer::Lost if self.repeats(arrival, number, begins, leaves) => return false,
            Answer::Waits => {
                self.wait(arrival, number, begins, leaves);
                return false;
            }
            _ => (leaves, Verdict::Retry(timed_out)),
        };
        self.fail(number, told, verdict);
        false
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // see `event`
    fn fail(&mut self, number: u32, told: u64, verdict: Verdict) {
        let client = &mut self.clients[number as usize];
        let own = self.fleet.habits(&client.state);
        let config = &own.as_ref().unwrap_or(&self.storm.habits).config;
        let mut seat = Seat::<F, false> {
            fleet: self.fleet,
            state: &mut client.state,
            rng: &mut self.rng,
            other: &mut self.other,
            is_new: false,
        };
        let next = client.progress.failed(config, told, verdict, &mut seat);
        self.next(number, told, next);
    }

    /// The client is connected. Returns true if all are.
    #[inline]
    fn connected(&mut self, number: u32, back: u64) -> bool {
        let client = &mut self.clients[number as usize];
        client.progress.connected(back);
        if back > self.end {
            return false;
        }
        client.offline.back(back / self.unit);
        if self.is_rough {
            if let Some(lost) = self.lost_again(back) {
                self.tally.returned_for_a_while(back);
                self.lose(number, lost, false);
                return false;
            }
        }
        self.tally.returned(back)
    }

    /// When a connection that is made now is lost again, if it is.
    #[cold]
    fn lost_again(&mut self, now: u64) -> Option<u64> {
        if let Some(glimpse) = self.storm.glimpse() {
            if now < self.back {
                return Some(glimpse.until.max(now));
            }
        }
        let rolling = self.storm.rolling?;
        let host = scale(self.other.next_u64(), rolling.hosts as u64);
        let restarts = host * rolling.every;
        (restarts > now).then_some(restarts)
    }

    /// Whether the client's kernel sends the SYN again. This is its next event then.
    #[cold]
    fn repeats(&mut self, lost: u64, number: u32, begins: u64, leaves: u64) -> bool {
        let next = kernel::next_syn(self.storm, &self.desk, lost, begins, leaves);
        let Some(arrives) = next else { return false };
        let flight = &mut self.flights[number as usize];
        flight.stage = Stage::Dialing;
        flight.is_early = lost < self.back;
        (flight.begins, flight.leaves) = (begins, leaves);
        if arrives <= self.end {
            self.queue.push(arrives, number);
        }
        true
    }

    /// The listen queue has room for a SYN. It is asked again when the handshake ends.
    #[cold]
    fn answer_syn(&mut self, arrival: u64, number: u32, mut leaves: u64) {
        let heard = arrival.saturating_add(self.storm.delay);
        let client = &mut self.clients[number as usize];
        let own = self.fleet.habits(&client.state);
        let habits = own.as_ref().unwrap_or(&self.storm.habits);
        let has_phases = habits.phases && self.fleet.timeout(&client.state).is_none();
        if heard > leaves {
            // The client has left, so its kernel resets the handshake.
            let cause = if has_phases {
                Cause::Down
            } else {
                Cause::Stalled
            };
            return self.fail(number, leaves, Verdict::Retry(cause));
        }
        if has_phases {
            leaves = limits::established(&mut client.progress, habits, heard, &mut self.other);
        }
        self.send(heard, number, heard, leaves);
    }

    /// The client has sent its first data, first at `begins` and now at `sent`.
    #[cold]
    fn send(&mut self, sent: u64, number: u32, begins: u64, leaves: u64) {
        let flight = &mut self.flights[number as usize];
        flight.stage = Stage::Opening;
        (flight.begins, flight.leaves) = (begins, leaves);
        let arrives = sent.saturating_add(self.storm.delay);
        if arrives <= self.end {
            self.queue.push(arrives, number);
        }
    }

    /// The client's first data arrives. Returns true if the storm is over.
    #[cold]
    fn open(&mut self, arrival: u64, number: u32, begins: u64, leaves: u64) -> bool {
        let delay = self.storm.delay;
        let heard = arrival.saturating_add(delay);
        let (told, verdict) = match self.desk.attempt(arrival, number) {
            Answer::Served(done) if done.saturating_add(delay) <= leaves => {
                return self.connected(number, done.saturating_add(delay));
            }
            Answer::Lost if self.storm.server.resets_handshakes() && heard <= leaves => {
                (heard, Verdict::Retry(Cause::Down))
            }
            Answer::Lost => {
                let sent = kernel::next_data(delay, begins, arrival);
                if sent < leaves {
                    self.send(sent, number, begins, leaves);
                    return false;
                }
                (leaves, Verdict::Retry(Cause::Stalled))
            }
            _ => (leaves, Verdict::Retry(Cause::Stalled)),
        };
        self.fail(number, told, verdict);
        false
    }

    /// The attempt waits in the stack. If it is not served, the client's next event is
    /// the end of its patience.
    #[cold]
    fn wait(&mut self, arrival: u64, number: u32, begins: u64, leaves: u64) {
        if let Some(stack) = &mut self.stack {
            stack.push(arrival, number);
        }
        let flight = &mut self.flights[number as usize];
        flight.stage = Stage::Waiting;
        flight.arrived = arrival;
        (flight.begins, flight.leaves) = (begins, leaves);
        if leaves <= self.end {
            self.queue.push(leaves, number);
        }
    }

    /// Serves the stack up to now. Returns true if the storm is over.
    fn serve(&mut self, now: u64) -> bool {
        self.now = now;
        while let Some(stack) = &mut self.stack {
            let Some((arrived, number, done)) = stack.serve(now) else {
                break;
            };
            let back = done.saturating_add(self.storm.delay);
            let flight = &mut self.flights[number as usize];
            let has_left = flight.stage != Stage::Waiting || flight.arrived != arrived;
            if has_left || back > flight.leaves {
                continue;
            }
            flight.stage = Stage::None;
            flight.void = Some(flight.leaves);
            if self.connected(number, back) {
                return true;
            }
        }
        false
    }
}
