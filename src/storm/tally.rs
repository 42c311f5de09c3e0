//! The counts of a running storm, and the report that is made of them.

use alloc::vec::Vec;
use core::time::Duration;

use super::seat::Client;
use super::{Attempts, Balance, Offline, Recovery, Report, Series, Storm};

/// The counts of a running storm.
pub(super) struct Tally<'a> {
    storm: &'a Storm,
    clients: u32,
    /// When times begin to count: when the server is back.
    since: u64,
    pub(super) arrivals: Series,
    pub(super) returns: Series,
    pub(super) attempts: u64,
    /// The attempts since then at servers that were gone.
    gone: u64,
    back: u32,
    pub(super) gave_up: u32,
    t_50: Option<Recovery>,
    t_99: Option<Recovery>,
    t_full: Option<Recovery>,
    waited: f64,
    waited_squared: f64,
    balance: Balance,
}

impl<'a> Tally<'a> {
    pub(super) fn new(storm: &'a Storm) -> Self {
        Self {
            storm,
            clients: storm.losers(),
            since: storm.since(),
            arrivals: Series::new(storm.since()),
            returns: Series::new(storm.since()),
            attempts: 0,
            gone: 0,
            back: 0,
            gave_up: 0,
            t_50: None,
            t_99: None,
            t_full: None,
            waited: 0.0,
            waited_squared: 0.0,
            balance: Balance::default(),
        }
    }

    /// Counts an attempt at one of several servers, which is up or not.
    pub(super) fn knocked(&mut self, at: u64, is_up: bool) {
        self.attempts += 1;
        if is_up || at < self.since {
            self.arrivals.count(at, self.since);
        } else {
            self.gone += 1;
        }
    }

    /// How many clients came back to each of several servers.
    pub(super) fn balance(&mut self, taken: impl ExactSizeIterator<Item = u32> + Clone) {
        let all: u64 = taken.clone().map(u64::from).sum();
        let even = all as f64 / taken.len() as f64;
        let most = taken.clone().max().unwrap_or_default() as f64;
        let least = taken.min().unwrap_or_default() as f64;
        if all > 0 {
            self.balance = Balance {
                busiest: most / even,
                idlest: least / even,
            };
        }
    }

    /// Counts a client that is back, and will lose its connection again.
    pub(super) fn returned_for_a_while(&mut self, at: u64) {
        self.returns.count(at, self.since);
    }

    /// Counts a client that is back. Returns true if it was the last one.
    #[inline]
    pub(super) fn returned(&mut self, at: u64) -> bool {
        self.returns.count(at, self.since);
        self.back += 1;
        self.waited(at);
        // Clients are counted one by one, so no share is skipped.
        let (back, all) = (self.back, self.clients);
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
        let waited = until.saturating_sub(self.since) as f64;
        self.waited += waited;
        self.waited_squared += waited * waited;
    }

    fn recovery(&self, at: u64, share: f64) -> Recovery {
        let time = at.saturating_sub(self.since);
        Recovery {
            time: Duration::from_nanos(time),
            over_limit: time as f64 / self.storm.least(share),
        }
    }

    /// `work` is all that the server did since, in handshakes.
    pub(super) fn report<S>(mut self, work: f64, clients: &[Client<S>]) -> Report {
        let storm = self.storm;
        let n = self.clients as f64;
        let (back, capacity) = (self.back as f64, storm.whole_capacity());
        for _ in self.back..self.clients {
            self.waited(storm.end());
        }
        let mut attempts: Vec<u32> = clients.iter().map(|client| client.attempts).collect();
        let after: u64 = attempts.iter().map(|&attempts| attempts as u64).sum();
        let rank = share(self.clients, 99) as usize - 1;
        let (_, &mut p99, most) = attempts.select_nth_unstable(rank);
        let max = most.iter().copied().max().unwrap_or(p99);
        let of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        Report {
            clients: self.clients,
            capacity,
            outage: Duration::from_nanos(self.since),
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
            attempts_gone: self.gone as f64 / n,
            peak_second: self.arrivals.peak(10) as f64 / capacity,
            peak_100ms: self.arrivals.peak(1) as f64 / (capacity / 10.0),
            wasted: 1.0 - of(back, after as f64),
            goodput: of(back, work),
            offline: offline(storm, clients),
            fairness: of(self.waited * self.waited, n * self.waited_squared),
            balance: self.balance,
            arrivals: self.arrivals,
            returns: self.returns,
        }
    }
}

/// How long clients were offline.
fn offline<S>(storm: &Storm, clients: &[Client<S>]) -> Offline {
    let (unit, end) = (storm.unit(), storm.end() / storm.unit());
    let of_client = |client: &Client<S>| client.offline.until(end);
    let mut all: Vec<u32> = clients.iter().map(of_client).collect();
    let sum: u64 = all.iter().map(|&units| units as u64).sum();
    let time = |units: u64| Duration::from_nanos(units.saturating_mul(unit));
    let mut rank = |percent| {
        let rank = share(clients.len() as u32, percent) as usize - 1;
        *all.select_nth_unstable(rank).1
    };
    Offline {
        mean: Duration::from_nanos((sum as f64 / clients.len() as f64 * unit as f64) as u64),
        p50: time(rank(50) as u64),
        p99: time(rank(99) as u64),
    }
}

/// The smallest number of clients that is at least `percent` of all.
fn share(all: u32, percent: u64) -> u32 {
    (all as u64 * percent).div_ceil(100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

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
