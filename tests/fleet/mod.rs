//! A fleet that lost its server at one instant, for the spread tests.

// Each test file uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use redial::{Backoff, Cause, Failed, Policy, Rng};

pub const SECOND: u64 = 1_000_000_000;

/// Clients in most samples of one round's waits.
pub const CLIENTS: usize = 200_000;

/// Clients whose phases are looked at, round after round.
pub const IN_STEP: usize = 100_000;

/// Clients of an outage that does not end, and the tenths of a second over which
/// their arrivals are counted, or compared with those of the window before.
pub const ARRIVING: usize = 20_000;
pub const TENTHS: usize = 600;
pub const MIXING_TENTHS: usize = 3_000;

pub const ALL_CAUSES: [Cause; 3] = [Cause::Down, Cause::Busy, Cause::Stalled];

pub fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

/// Clients that lost their connections together and whose attempts all fail.
///
/// Client i has seed i: neighbouring seeds are what a careless application
/// hands out (its user's number), and the spread must not suffer by it.
pub struct Fleet<P: Policy> {
    clients: Vec<Client<P>>,
    waits_so_far: u32,
}

struct Client<P: Policy> {
    backoff: Backoff<P>,
    /// Nanoseconds since the loss: the instant of the latest attempt.
    now: u64,
}

impl<P: Policy> Fleet<P> {
    pub fn of(policy: &P, clients: usize) -> Self {
        Self {
            clients: (0..clients as u64)
                .map(|seed| Client {
                    backoff: policy.start(Rng::from_seed(seed)),
                    now: 0,
                })
                .collect(),
            waits_so_far: 0,
        }
    }

    /// What failed at every client (the connection at first, then an attempt
    /// each), and how long each now waits, in nanoseconds.
    pub fn fails(&mut self, cause: Cause) -> Vec<u64> {
        self.fails_after(0, cause)
    }

    /// As [`fails`](Self::fails), with attempts that take `nanos` to fail.
    pub fn fails_after(&mut self, nanos: u64, cause: Cause) -> Vec<u64> {
        let attempt = self.waits_so_far;
        self.waits_so_far += 1;
        self.clients
            .iter_mut()
            .map(|client| {
                client.now += nanos;
                let failed = Failed::new(attempt, Duration::from_nanos(client.now), cause);
                let wait = client.backoff.next_delay(&failed);
                let wait = wait.expect("no policy here gives up").as_nanos() as u64;
                client.now += wait;
                wait
            })
            .collect()
    }

    /// The instants of the attempts that end the present waits, in nanoseconds
    /// since the loss.
    pub fn instants(&self) -> impl Iterator<Item = u64> {
        self.clients.iter().map(|client| client.now)
    }

    /// How many attempts the fleet makes in each of the `bins` of `width`
    /// nanoseconds after `from`, in an outage that does not end.
    pub fn arrivals(mut self, from: u64, width: u64, bins: usize, cause: Cause) -> Vec<u64> {
        let end = from + width * bins as u64;
        let mut counts = vec![0; bins];
        for client in &mut self.clients {
            let mut attempt = self.waits_so_far;
            loop {
                let failed = Failed::new(attempt, Duration::from_nanos(client.now), cause);
                let wait = client.backoff.next_delay(&failed);
                client.now += wait.expect("no policy here gives up").as_nanos() as u64;
                attempt += 1;
                if client.now >= end {
                    break;
                }
                if client.now >= from {
                    counts[((client.now - from) / width) as usize] += 1;
                }
            }
        }
        counts
    }
}
