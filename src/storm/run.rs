//! The simulation itself.

use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;

use super::queue::Queue;
use super::server::{Answer, Desk};
use super::{Attempts, Recovery, Report, Series, Storm};
use crate::nanos::{nanos, scale};
use crate::outage::{Ask, Next, Progress};
use crate::policy::{Cause, Failed, Policy};
use crate::rng::Rng;
use crate::verdict::Verdict;

/// The data of a client, besides its place in the queue. With a built-in policy this
/// is one cache line.
#[repr(align(64))]
struct Client<S> {
    progress: Progress,
    /// Attempts since the server's return.
    attempts: u32,
    state: S,
}

/// The source of a client's waits. All clients share the policy and one generator.
struct Seat<'a, P: Policy> {
    policy: &'a P,
    state: &'a mut P::State,
    rng: &'a mut Rng,
    /// For random numbers that are not the policy's.
    other: &'a mut Rng,
}

impl<P: Policy> Ask for Seat<'_, P> {
    /// Does nothing: a client has one outage, and its state is already made.
    fn begin(&mut self) {}

    #[inline]
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        self.policy.next_delay(self.state, self.rng, failed)
    }

    fn random(&mut self) -> u64 {
        self.other.next_u64()
    }
}

/// The most attempts for each client, on average. With waits of zero, simulated time
/// would stand still.
const MOST_ATTEMPTS: u64 = 10_000;

pub(super) fn run<P: Policy>(storm: &Storm, policy: &P) -> Report {
    let (mut rng, mut other) = (storm.generator(0), storm.generator(1));
    let (config, delay, end) = (storm.config, storm.delay, storm.end());
    let mut desk = Desk::new(storm);
    let mut queue = Queue::new();
    let mut tally = Tally::new(storm);

    // Each client has one event: the arrival of its next attempt at the server. At the
    // arrival the outcome is known, because the queue is first in, first out.
    let mut clients: Vec<Client<P::State>> = (0..storm.clients)
        .map(|client| {
            // A Weyl sequence: any consecutive clients are spread evenly over the span.
            let place = (client as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let lost = scale(place, storm.span);
            let mut progress = Progress::default();
            let mut state = policy.begin(&mut rng);
            let mut seat = Seat {
                policy,
                state: &mut state,
                rng: &mut rng,
                other: &mut other,
            };
            let down = Verdict::Retry(Cause::Down);
            match progress.lost(&config, lost, down, &mut seat) {
                Next::Wait(wait) => {
                    let arrival = lost.saturating_add(nanos(wait)).saturating_add(delay);
                    if arrival <= end {
                        queue.push(arrival, client);
                    }
                }
                Next::GiveUp(_) => tally.gave_up += 1,
            }
            Client {
                progress,
                attempts: 0,
                state,
            }
        })
        .collect();

    let mut room = [0; 64];
    let budget = MOST_ATTEMPTS * storm.clients as u64;
    while let Some((arrival, number)) = queue.pop() {
        // Fetches the data of the next clients while this client is simulated.
        for &client in queue.upcoming(&mut room) {
            black_box(clients[client as usize].attempts);
        }
        if tally.attempts == budget {
            break;
        }
        tally.arrivals.count(arrival, storm.outage);
        tally.attempts += 1;
        let client = &mut clients[number as usize];
        let begins = arrival - delay;
        client.progress.connecting(begins);
        let timeout = client
            .progress
            .timeout(&config, begins, || other.next_u64());
        let leaves = begins.saturating_add(timeout);
        client.attempts += (arrival >= storm.outage) as u32;

        let answer = desk.attempt(arrival, number);
        let (told, verdict) = match answer {
            // A handshake may take longer than any timeout.
            Answer::Served(done) if done.saturating_add(delay) <= leaves => {
                let back = done.saturating_add(delay);
                client.progress.connected(back);
                if back <= end && tally.returned(back) {
                    break;
                }
                continue;
            }
            Answer::Refused(verdict) if arrival + delay <= leaves => (arrival + delay, verdict),
            Answer::Served(_) | Answer::Refused(_) | Answer::Silence => {
                (leaves, Verdict::Retry(Cause::Stalled))
            }
        };
        let mut seat = Seat {
            policy,
            state: &mut client.state,
            rng: &mut rng,
            other: &mut other,
        };
        match client.progress.failed(&config, told, verdict, &mut seat) {
            Next::Wait(wait) => {
                let arrival = told.saturating_add(nanos(wait)).saturating_add(delay);
                if arrival <= end {
                    queue.push(arrival, number);
                }
            }
            Next::GiveUp(_) => tally.gave_up += 1,
        }
    }
    tally.report(&desk, clients.into_iter().map(|client| client.attempts))
}

/// The counts of a running storm.
struct Tally<'a> {
    storm: &'a Storm,
    arrivals: Series,
    returns: Series,
    attempts: u64,
    back: u32,
    gave_up: u32,
    t_50: Option<Recovery>,
    t_99: Option<Recovery>,
    t_full: Option<Recovery>,
    waited: f64,
    waited_squared: f64,
}

impl<'a> Tally<'a> {
    fn new(storm: &'a Storm) -> Self {
        Self {
            storm,
            arrivals: Series::new(storm.outage),
            returns: Series::new(storm.outage),
            attempts: 0,
            back: 0,
            gave_up: 0,
            t_50: None,
            t_99: None,
            t_full: None,
            waited: 0.0,
            waited_squared: 0.0,
        }
    }

    /// Counts a client that is back. Returns true if it was the last one.
    #[inline]
    fn returned(&mut self, at: u64) -> bool {
        self.returns.count(at, self.storm.outage);
        self.back += 1;
        self.waited(at);
        // Clients are counted one by one, so no share is skipped.
        let (back, all) = (self.back, self.storm.clients);
        if back == share(all, 50) {
            self.t_50 = Some(self.recovery(at, 0.5));
        }
        if back == share(all, 99) {
            self.t_99 = Some(self.recovery(at, 0.99));
        }
        if back == all {
            self.t_full = Some(self.recovery(at, 1.0));
        }
        back + self.gave_up == all
    }

    fn waited(&mut self, until: u64) {
        let waited = until.saturating_sub(self.storm.outage) as f64;
        self.waited += waited;
        self.waited_squared += waited * waited;
    }

    fn recovery(&self, at: u64, share: f64) -> Recovery {
        let time = at.saturating_sub(self.storm.outage);
        Recovery {
            time: Duration::from_nanos(time),
            over_limit: time as f64 / (share * self.storm.limit()),
        }
    }

    fn report(mut self, desk: &Desk, attempts: impl Iterator<Item = u32>) -> Report {
        let storm = self.storm;
        let n = storm.clients as f64;
        let back = self.back as f64;
        for _ in self.back..storm.clients {
            self.waited(storm.end());
        }
        let mut attempts: Vec<u32> = attempts.collect();
        let after: u64 = attempts.iter().map(|&attempts| attempts as u64).sum();
        let rank = share(storm.clients, 99) as usize - 1;
        let (_, &mut p99, most) = attempts.select_nth_unstable(rank);
        let max = most.iter().copied().max().unwrap_or(p99);
        let of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        Report {
            clients: storm.clients,
            capacity: storm.capacity,
            outage: Duration::from_nanos(storm.outage),
            back: self.back,
            gave_up: self.gave_up,
            t_50: self.t_50,
            t_99: self.t_99,
            t_full: self.t_full,
            attempts: Attempts {
                mean: after as f64 / n,
                p99,
                max,
            },
            attempts_down: (self.attempts - after) as f64 / n,
            peak_second: self.arrivals.peak(10) as f64 / storm.capacity,
            peak_100ms: self.arrivals.peak(1) as f64 / (storm.capacity / 10.0),
            wasted: 1.0 - of(back, after as f64),
            goodput: of(back, desk.handshakes()),
            fairness: of(self.waited * self.waited, n * self.waited_squared),
            arrivals: self.arrivals,
            returns: self.returns,
        }
    }
}

/// The smallest number of clients that is at least `percent` of all.
fn share(all: u32, percent: u64) -> u32 {
    (all as u64 * percent).div_ceil(100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Decorrelated, Exponential, Sequence, Stratified};

    #[test]
    fn a_client_with_a_built_in_policy_is_64_bytes() {
        fn size<P: Policy>(_: &P) -> usize {
            size_of::<Client<P::State>>()
        }
        let second = Duration::from_secs(1);
        let sizes = [
            size(&Stratified::default()),
            size(&Exponential::new(second, second)),
            size(&Decorrelated::new(second, second)),
            size(&Sequence::new([second])),
        ];
        assert_eq!(sizes, [64; 4]);
    }

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!(
            [1, 2, 3, 100, 101].map(|all| share(all, 50)),
            [1, 1, 2, 50, 51]
        );
        assert_eq!([1, 2, 100, 101].map(|all| share(all, 99)), [1, 2, 99, 100]);
        assert_eq!(share(u32::MAX, 100), u32::MAX);
    }
}
