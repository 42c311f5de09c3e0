//! A server that is several servers, of which some are lost.

mod agenda;
mod caller;
mod host;
mod run;

use super::{LONGEST, Storm};
use crate::invalid::{InvalidConfig, expect};

pub(super) use run::run;

/// Several servers, of which some are lost: [`Storm::cluster`].
///
/// Each client has a connection to one of the servers, and the list of all. The clients
/// of the lost servers come back to any server, by the rule that clients of `redial` keep
/// to:
///
/// - If a server refuses an attempt ([`Down`](crate::Cause::Down)), the next one on the
///   client's list is tried at once, until each was tried. This is a round. It counts as
///   one failed attempt, and the policy's wait follows.
/// - If a server answers that it is busy, or stalls, the policy's wait follows at once.
///   Then comes the next server. A server's hint binds only that server.
/// - A client that knows its [phases](Storm::phases) dials the next server beside one that
///   is silent for 1 s. The first connection wins. A client that does not know them waits
///   for a silent server until its attempt ends, which is slow.
/// - Each client has an order of its own. The server that it has lost comes last.
///
/// ```
/// use redial::Stratified;
/// use redial::storm::{Cluster, Storm};
///
/// // One of five servers dies. Each takes 200 clients a second.
/// let storm = Storm::new(20_000).capacity(200).cluster(Cluster::new(5).lost(1)).phases();
/// let report = storm.run(&Stratified::default());
/// // Its 4 000 clients come back to the other four.
/// assert_eq!((report.clients, report.capacity), (4_000, 800.0));
/// assert!(report.t_99.unwrap().over_limit < 1.2);
/// assert!(report.balance.busiest < 1.1);
/// ```
///
/// # Defaults
///
/// | | |
/// |---|---|
/// | [`lost`](Self::lost) | all |
/// | [`silent`](Self::silent) | as the [`Server`](super::Server) says: none, or all that are lost if it is a [`black_hole`](super::Server::black_hole) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    servers: u32,
    lost: u32,
    silent: u32,
}

/// The most servers of a cluster. Each client remembers something of each.
const MOST_SERVERS: u32 = 1_000;

impl Cluster {
    /// So many servers, which are all lost.
    ///
    /// # Panics
    ///
    /// If `servers` is not from 1 to 1000; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(servers: u32) -> Self {
        expect(Self::try_new(servers))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `servers` is not from 1 to 1000.
    pub fn try_new(servers: u32) -> Result<Self, InvalidConfig> {
        if !(1..=MOST_SERVERS).contains(&servers) {
            return Err(InvalidConfig::new(
                "servers",
                servers,
                "a cluster has from 1 to 1000 servers",
            ));
        }
        Ok(Self {
            servers,
            lost: servers,
            silent: 0,
        })
    }

    /// How many of the servers are lost: all by default.
    ///
    /// If some are left, the lost servers are lost for good, unless the storm has an
    /// [`outage`](Storm::outage).
    ///
    /// # Panics
    ///
    /// If there are fewer servers, if it is 0, or if more are [`silent`](Self::silent);
    /// [`try_lost`](Self::try_lost) does not.
    #[track_caller]
    pub fn lost(self, servers: u32) -> Self {
        expect(self.try_lost(servers))
    }

    /// As [`lost`](Self::lost).
    ///
    /// # Errors
    ///
    /// If there are fewer servers, if it is 0, or if more are [`silent`](Self::silent).
    pub fn try_lost(self, servers: u32) -> Result<Self, InvalidConfig> {
        let remedy = if servers == 0 {
            "no client would lose its connection; lose at least 1".into()
        } else if servers > self.servers {
            alloc::format!("the cluster has only {}", self.servers)
        } else if servers < self.silent {
            alloc::format!("{} of them are silent; lose these, too", self.silent)
        } else {
            return Ok(Self {
                lost: servers,
                ..self
            });
        };
        Err(InvalidConfig::new("lost", servers, remedy))
    }

    /// How many of the lost servers do not answer, instead of refusing, because their
    /// hosts or networks are gone: none by default. If the server of the storm is a
    /// [`black_hole`](super::Server::black_hole), all are silent.
    ///
    /// # Panics
    ///
    /// If fewer servers are [`lost`](Self::lost); [`try_silent`](Self::try_silent) does
    /// not.
    #[track_caller]
    pub fn silent(self, servers: u32) -> Self {
        expect(self.try_silent(servers))
    }

    /// As [`silent`](Self::silent).
    ///
    /// # Errors
    ///
    /// If fewer servers are [`lost`](Self::lost).
    pub fn try_silent(self, servers: u32) -> Result<Self, InvalidConfig> {
        if servers > self.lost {
            return Err(InvalidConfig::new(
                "silent",
                servers,
                alloc::format!("only {} of the servers are lost", self.lost),
            ));
        }
        Ok(Self {
            silent: servers,
            ..self
        })
    }

    /// How many servers are left.
    pub(super) fn left(&self) -> u32 {
        self.servers - self.lost
    }

    /// How many of so many clients lose their server. They are spread evenly.
    fn losers(&self, clients: u32) -> u32 {
        let (of_each, more) = (clients / self.servers, clients % self.servers);
        of_each * self.lost + more.min(self.lost)
    }
}

impl Storm {
    /// The server is a cluster of several: one server by default.
    ///
    /// The clients are spread over all servers evenly, and those of the lost servers come
    /// back. Of all other settings, [`capacity`](Self::capacity), [`server`](Self::server)
    /// and [`backlog`](Self::backlog) are those of each server, and
    /// [`outage`](Self::outage) and [`relapse`](Self::relapse) those of the servers that
    /// are lost.
    ///
    /// If some servers are left, times count from the loss. If none is, they count from
    /// the servers' return, as with one server.
    ///
    /// # Panics
    ///
    /// If the storm is a [`rolling`](Self::rolling) deployment;
    /// [`try_cluster`](Self::try_cluster) does not.
    #[track_caller]
    pub fn cluster(self, cluster: Cluster) -> Self {
        expect(self.try_cluster(cluster))
    }

    /// As [`cluster`](Self::cluster).
    ///
    /// # Errors
    ///
    /// If the storm is a [`rolling`](Self::rolling) deployment.
    pub fn try_cluster(mut self, cluster: Cluster) -> Result<Self, InvalidConfig> {
        if self.rolling.is_some() {
            return Err(InvalidConfig::new("cluster", cluster.servers, NOT_ROLLING));
        }
        self.cluster = Some(cluster);
        Ok(self)
    }

    /// How many clients lose their server: N.
    pub(super) fn losers(&self) -> u32 {
        self.cluster
            .map_or(self.clients, |cluster| cluster.losers(self.clients))
    }

    /// Whether some servers are left, so that the clients need not wait for those that
    /// are lost.
    pub(super) fn has_survivors(&self) -> bool {
        self.cluster.is_some_and(|cluster| cluster.left() > 0)
    }

    /// When times begin to count, in nanoseconds since the loss.
    pub(super) fn since(&self) -> u64 {
        if self.has_survivors() { 0 } else { self.back() }
    }

    /// The time from [`since`](Self::since) on that it takes at least until this share of
    /// the clients is back, in nanoseconds.
    pub(super) fn least(&self, share: f64) -> f64 {
        let clients = self.losers() as f64;
        let Some(cluster) = self.cluster else {
            return share * (clients / self.capacity * 1e9);
        };
        let all = cluster.servers as f64 * self.capacity;
        if cluster.left() == 0 {
            return share * (clients / all * 1e9);
        }
        let left = share * (clients / (cluster.left() as f64 * self.capacity) * 1e9);
        let back = self.back() as f64;
        if left <= back {
            return left;
        }
        // What the servers that come back could not do before.
        let missed = cluster.lost as f64 * self.capacity * (back / 1e9);
        (share * clients + missed) / all * 1e9
    }

    /// How many clients all servers take in a second. If some are back later, so many that
    /// N/C is the limit.
    pub(super) fn whole_capacity(&self) -> f64 {
        let Some(cluster) = self.cluster else {
            return self.capacity;
        };
        let servers = if cluster.left() == 0 {
            cluster.servers
        } else {
            cluster.left()
        };
        let limit = self.least(1.0);
        if self.since() + limit as u64 <= self.back() || cluster.left() == 0 {
            return servers as f64 * self.capacity;
        }
        self.losers() as f64 / limit * 1e9
    }

    /// The capacity with which [`least`](Self::least) of all clients takes so many
    /// seconds.
    pub(super) fn capacity_for(&self, limit: f64) -> f64 {
        let clients = self.losers() as f64;
        let servers = self.cluster.map_or(1.0, |cluster| {
            let back = self.back().saturating_sub(self.since()) as f64 / 1e9;
            let share = (1.0 - back / limit).max(0.0);
            cluster.left() as f64 + cluster.lost as f64 * share
        });
        clients / (servers * limit)
    }
}

/// Why there is no rolling deployment of a cluster.
pub(super) const NOT_ROLLING: &str = "the hosts of a rolling deployment are behind one address, \
     and the servers of a cluster are not; leave out one of the two";

/// How long servers are lost of which some are left.
pub(super) const FOR_GOOD: u64 = LONGEST;
