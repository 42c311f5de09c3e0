//! A simulator of a whole fleet and its server.
//!
//! "N of my clients lose the server at once. The server comes back after D
//! seconds, and can take C clients a second. How long does it take until all
//! clients are back? How hard is the server hit? Can it stay down for good?"
//!
//! A discrete-event simulator answers these questions before you ship. It runs the
//! same code as production: the policies, the rules of [`Outage`](crate::Outage) with its
//! patience and the server's hints, and the order in which several servers are tried.
//!
//! ```
//! use redial::Stratified;
//! use redial::storm::Storm;
//! use std::time::Duration;
//!
//! let storm = Storm::new(20_000)
//!     .capacity(1_000) // N/C = 20 s
//!     .outage(Duration::from_secs(30));
//! let report = storm.run(&Stratified::default());
//! println!("{report}");
//!
//! // A test for your CI: it fails if the policy would overload the server.
//! assert!(report.recovered());
//! assert!(report.t_99.unwrap().over_limit < 2.0, "recovery takes too long");
//! assert!(report.attempts.mean < 10.0, "the server is hit too often");
//! ```
//!
//! # What is modelled
//!
//! - **The loss.** All clients lose the server at the same instant, over a
//!   [span](Storm::lost_over), or host by host in a
//!   [rolling deployment](Storm::rolling).
//! - **The outage.** While the server is down, attempts are refused at once, or get no
//!   answer ([`Server::black_hole`]). It may [vanish again](Storm::relapse).
//! - **The server.** It serves one client after the other in 1/C s each, in the order of
//!   arrival. A [`Server`] model says what happens to attempts beyond its capacity, and
//!   an [`Overflow`] what a full queue does. If an attempt times out in the queue, the
//!   server still does its handshake.
//! - **Several servers.** In a [`Cluster`] some servers are lost, and their clients come
//!   back to any server, by the rule of redial's endpoints.
//! - **The clients.** They run a [`Fleet`]: one policy, a [`Client`] with limits of its
//!   own, or a [`Mix`]. They may know the [phases](Storm::phases) of an attempt. Their
//!   kernels [repeat SYNs](Storm::syn_retries).
//!
//! Not modelled: clients that start during the storm, a network delay that varies,
//! packets that are lost while the server is up, and clusters whose servers differ. The
//! same seed gives the same storm on every platform.
//!
//! # How it was checked
//!
//! Fleets of real clients, each a [`Redial`](crate::Redial) and a TCP connection, were
//! compared with the mean of ten simulations. The largest difference in two or more
//! runs:
//!
//! | | half back | 99 % back | attempts |
//! |---|---|---|---|
//! | 5 000 clients, a server that restarts and answers its overflow | | 2 % | 2 % |
//! | 2 000 clients, a silent minute: one opaque step | 1 % | 3 % | 3 % |
//! | the same, with [phases](Storm::phases) | 5 % | 2 % | 1 % |
//! | the same, with [more SYNs](Storm::syn_linear_timeouts) | 5 % | 2 % | 1 % |
//! | 2 000 clients, a listen queue that [drops SYNs](Overflow::SynDropped) | 0 % | 7 % | 3 % |
//! | the same, with `tcp_abort_on_overflow` | 0 % | 6 % | 6 % |
//! | 2 000 clients, a balancer that [resets](Overflow::Reset) | 0 % | 4 % | 2 % |
//!
//! The tests `tests/storm_reality.rs` and `tests/storm_network.rs` allow 10 %. With a
//! round trip of 100 ms, which the tests do not have, a queue with
//! `tcp_abort_on_overflow` was 1 % off ([`Overflow::HandshakeReset`]). Without it, the
//! clients made 10 % more attempts than simulated, and 99 % were back after 23 s
//! instead of 27 s.
//!
//! A real kernel surprises in these points:
//!
//! - Linux drops a SYN that finds the listen queue full, also with
//!   `tcp_abort_on_overflow`. That setting matters only if the queue fills up during the
//!   handshake.
//! - A client whose handshake ends at a full queue believes that it is connected. If
//!   handshakes are many, the server uses SYN cookies and forgets the client. A client
//!   that speaks first is found again, because its kernel repeats its first data. A
//!   client that waits for a greeting waits in vain, until its patience ends. In one
//!   run half of such a fleet was back after 59 s, instead of 10 s.
//! - The clients of one machine share its coarse timers, so their SYNs come in clumps.
//!   `tests/storm_network.rs` takes them apart.
//!
//! # Cost
//!
//! With a built-in policy, a storm takes 64 bytes for each client, besides the
//! client's place in the queue, and 160 bytes for each simulated second. Servers that
//! drop SYNs or serve the newest first, and black holes, take 56 bytes more. A million
//! clients with six attempts each take about a second. A fleet of ten times the size
//! takes 6 % more instructions for each client, and still more time if it no longer
//! fits a cache. In a [`Cluster`], a client takes some 600 bytes and 64 for each server,
//! and an attempt three times as many instructions.
//!
#![doc = include_str!("../docs/storm.md")]

mod cluster;
mod desk;
mod fleet;
mod kernel;
mod limits;
mod mix;
mod queue;
mod report;
mod run;
mod seat;
mod server;
mod stack;
mod sweep;
mod tally;
mod trouble;

use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::number::Number;
use crate::outage::config_setters;
use crate::rng::Rng;

use fleet::Habits;
use trouble::{Relapse, Rolling};

pub use cluster::Cluster;
pub use fleet::{Client, Fleet};
pub use mix::Mix;
pub use report::{Attempts, Balance, Offline, Recovery, Report, Series};
pub use server::{Overflow, Server};
pub use sweep::{Summary, Sweep};

/// A fleet that loses its server.
///
/// # Defaults
///
/// | | |
/// |---|---|
/// | [`capacity`](Self::capacity) | N/60 a second, and at least 1 |
/// | [`outage`](Self::outage) | none: the connections are lost, but the server is up |
/// | [`server`](Self::server) | [`Server::cheap`] |
/// | [`backlog`](Self::backlog) | 1 s of work |
/// | [`lost_over`](Self::lost_over) | one instant |
/// | [`relapse`](Self::relapse), [`rolling`](Self::rolling), [`cluster`](Self::cluster) | none |
/// | [`network_delay`](Self::network_delay), [`clock_drift`](Self::clock_drift) | none |
/// | [`syn_retries`](Self::syn_retries) | 6 |
/// | [`syn_linear_timeouts`](Self::syn_linear_timeouts) | 0 |
/// | [`phases`](Self::phases) | not known |
/// | [`attempt_timeout`](Self::attempt_timeout), [`patience`](Self::patience) | as in production, see [`Config`](crate::Config) |
/// | [`horizon`](Self::horizon) | 20 times the longer of N/C and a minute |
/// | [`seed`](Self::seed) | 0 |
#[derive(Clone, Debug)]
pub struct Storm {
    clients: u32,
    capacity: f64,
    /// `None` for the default.
    outage: Option<u64>,
    server: Server,
    backlog: u64,
    span: u64,
    delay: u64,
    /// By how much a client's clock is fast or slow at most, as a share.
    drift: f64,
    relapse: Option<Relapse>,
    rolling: Option<Rolling>,
    cluster: Option<Cluster>,
    syn_retries: u8,
    syn_linear: u8,
    habits: Habits,
    horizon: Option<u64>,
    seed: u64,
}

impl Storm {
    /// A fleet of `clients` connected clients that is about to lose its server.
    ///
    /// # Panics
    ///
    /// If `clients` is 0; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(clients: u32) -> Self {
        expect(Self::try_new(clients))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `clients` is 0.
    pub fn try_new(clients: u32) -> Result<Self, InvalidConfig> {
        if clients == 0 {
            return Err(InvalidConfig::new(
                "clients",
                clients,
                "a storm needs a fleet of at least 1",
            ));
        }
        Ok(Self {
            clients,
            // A server that takes a minute for a client would have no
            // backlog at all.
            capacity: (clients as f64 / 60.0).max(1.0),
            outage: None,
            server: Server::default(),
            backlog: 1_000_000_000,
            span: 0,
            delay: 0,
            drift: 0.0,
            relapse: None,
            rolling: None,
            cluster: None,
            syn_retries: 6,
            syn_linear: 0,
            habits: Habits::default(),
            horizon: None,
            seed: 0,
        })
    }

    /// How many clients the server takes in a second: a sixtieth of the fleet
    /// by default. In a [`cluster`](Self::cluster), how many each server takes.
    ///
    /// # Panics
    ///
    /// If `per_second` is not a finite number above 1e-16;
    /// [`try_capacity`](Self::try_capacity) does not.
    #[track_caller]
    pub fn capacity(self, per_second: impl Number) -> Self {
        expect(self.try_capacity(per_second))
    }

    /// As [`capacity`](Self::capacity).
    ///
    /// # Errors
    ///
    /// If `per_second` is not a finite number above 1e-16. At that rate a handshake
    /// takes 300 million years.
    pub fn try_capacity(mut self, per_second: impl Number) -> Result<Self, InvalidConfig> {
        let per_second = per_second.as_f64();
        if !(per_second.is_finite() && per_second > 1e-16) {
            return Err(InvalidConfig::new(
                "capacity",
                per_second,
                "it must be a finite number of clients a second, above 1e-16; give the rate \
                 that you measured at the server",
            ));
        }
        self.capacity = per_second;
        Ok(self)
    }

    /// How long the server is down after the loss: 0 by default, as if a load
    /// balancer dropped all connections. Of a [`cluster`](Self::cluster) of which some
    /// servers are left, the others are down for good by default.
    pub fn outage(mut self, duration: Duration) -> Self {
        self.outage = Some(nanos(duration).min(LONGEST));
        self
    }

    /// What the server does with attempts beyond its capacity: [`Server::cheap`] by
    /// default.
    pub fn server(mut self, server: Server) -> Self {
        self.server = server;
        self
    }

    /// How much work may queue at the server: 1 s by default, which is C clients.
    ///
    /// [`Server::stale`] has its own depth.
    pub fn backlog(mut self, work: Duration) -> Self {
        self.backlog = nanos(work);
        self
    }

    /// The time over which the clients lose their connections, evenly: one instant by
    /// default. Use it if, for example, keep-alives discover the loss.
    pub fn lost_over(mut self, span: Duration) -> Self {
        self.span = nanos(span).min(LONGEST);
        self
    }

    /// The delay of the network, one way: none by default.
    pub fn network_delay(mut self, one_way: Duration) -> Self {
        self.delay = nanos(one_way).min(LONGEST);
        self
    }

    config_setters!(timeouts: this => this.habits.config);

    /// How many times a client's kernel sends a SYN again that got no answer, as long as
    /// its attempt lasts: 6 by default, as on Linux (`net.ipv4.tcp_syn_retries`). They
    /// are sent 1, 3, 7, 15, 31 and 63 s after the first. More than 6 count as 6.
    ///
    /// They matter for a [`black_hole`](Server::black_hole) and for
    /// [`Overflow::SynDropped`]. With 0, an attempt whose SYN is lost has failed, though
    /// the client does not know it yet.
    pub fn syn_retries(mut self, most: u8) -> Self {
        self.syn_retries = most.min(6);
        self
    }

    /// How many more SYNs a client's kernel sends, a second apart, before the distances
    /// double: none by default. Linux has `net.ipv4.tcp_syn_linear_timeouts` since
    /// version 6.5, where it is 4: the SYNs are sent 1, 2, 3, 4, 5, 7, 11 … s after the
    /// first. More than 127 count as 127.
    pub fn syn_linear_timeouts(mut self, more: u8) -> Self {
        self.syn_linear = more.min(127);
        self
    }

    /// The clients know when their transport is established. By default they do not,
    /// as with a connector that is one opaque step.
    ///
    /// Such a client gives its transport 5 s ([`dial_timeout`](Self::dial_timeout)), and
    /// calls an attempt that gets no further `Down`, because the server has seen nothing
    /// of it. An attempt that is accepted is established after one round trip, and the
    /// rest of it has a longer timeout of its own.
    pub fn phases(mut self) -> Self {
        self.habits.phases = true;
        self
    }

    /// How long the simulation continues after the server's return: by default 20
    /// times N/C, or 20 minutes if that is longer. A client that is not back by then
    /// counts as never back.
    ///
    /// The simulation also ends after 10 000 attempts for each client, on average.
    pub fn horizon(mut self, after_return: Duration) -> Self {
        self.horizon = Some(nanos(after_return));
        self
    }

    /// The seed of the random numbers: 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Simulates the storm.
    pub fn run<F: Fleet>(&self, fleet: &F) -> Report {
        match self.cluster {
            Some(cluster) => cluster::run(self, cluster, fleet),
            None => run::run(self, fleet),
        }
    }

    /// The generator with this number: 0 for the policies, 1 for other numbers.
    fn generator(&self, stream: u64) -> Rng {
        let mut rng = Rng::from_seed(self.seed);
        for _ in 0..stream {
            rng = rng.fork();
        }
        rng
    }

    /// When the simulation ends, in nanoseconds since the loss.
    fn end(&self) -> u64 {
        let after = self
            .horizon
            .unwrap_or((20.0 * self.least(1.0).max(60e9)) as u64);
        let restarts = self
            .rolling
            .map_or(0, |rolling| rolling.hosts as u64 * rolling.every);
        self.since()
            .saturating_add(restarts)
            .saturating_add(after)
            .min(LONGEST)
    }

    /// The unit of the times that clients are offline: all of them are below 2^31.
    fn unit(&self) -> u64 {
        (self.end() >> 31).max(1_000_000)
    }
}

/// A Weyl sequence: any consecutive clients are spread evenly over 2^64.
fn spread(client: u32) -> u64 {
    (client as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A century. The sum of two times stays below 2^63, and the server's clock, a
/// float, is exact to half a microsecond.
const LONGEST: u64 = 100 * 366 * 86_400 * 1_000_000_000;
