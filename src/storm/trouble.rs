//! What can go wrong in a storm besides one outage: a server that vanishes again, hosts
//! that restart one after the other, clocks that drift.

use core::time::Duration;

use super::cluster::{FOR_GOOD, NOT_ROLLING};
use super::desk::Glimpse;
use super::{LONGEST, Storm, spread};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::{nanos, scale};

/// The server is up for a while after its outage, and then down again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relapse {
    up: u64,
    down: u64,
}

/// The hosts of a server restart one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    pub(super) hosts: u32,
    pub(super) every: u64,
}

impl Storm {
    /// After the outage the server is up for a while, and then down again: it is up for
    /// good only after both. Not so by default.
    ///
    /// When it vanishes, it closes all connections that it has taken meanwhile, and its
    /// queue is lost. A [`black_hole`](super::Server::black_hole) does not answer those in its
    /// queue. Times of the [`Report`](super::Report) count from the last return.
    ///
    /// # Panics
    ///
    /// If `up` or `down` is zero; [`try_relapse`](Self::try_relapse) does not.
    #[track_caller]
    pub fn relapse(self, up: Duration, down: Duration) -> Self {
        expect(self.try_relapse(up, down))
    }

    /// As [`relapse`](Self::relapse).
    ///
    /// # Errors
    ///
    /// If `up` or `down` is zero: then the server does not return, or does not vanish.
    pub fn try_relapse(mut self, up: Duration, down: Duration) -> Result<Self, InvalidConfig> {
        for (setting, time) in [("up", up), ("down", down)] {
            if time.is_zero() {
                return Err(InvalidConfig::duration(
                    setting,
                    time,
                    "a server that is up again and then down needs some time for each; for one \
                     outage, set `outage` only",
                ));
            }
        }
        self.relapse = Some(Relapse {
            up: nanos(up).min(LONGEST),
            down: nanos(down).min(LONGEST),
        });
        Ok(self)
    }

    /// A rolling deployment: the server is a group of hosts, and one of them restarts
    /// each `every`, the first at once. Not so by default.
    ///
    /// A host that restarts closes its connections, an equal share of the fleet at the
    /// first host. Its clients come back to any host, at random, and lose their
    /// connection again if that host restarts later. Together the hosts always take C
    /// clients a second. [`Report::offline`](super::Report::offline) has the result.
    ///
    /// # Panics
    ///
    /// If `hosts` is 0, or if the server is a [`cluster`](Self::cluster);
    /// [`try_rolling`](Self::try_rolling) does not.
    #[track_caller]
    pub fn rolling(self, hosts: u32, every: Duration) -> Self {
        expect(self.try_rolling(hosts, every))
    }

    /// As [`rolling`](Self::rolling).
    ///
    /// # Errors
    ///
    /// If `hosts` is 0, or if the server is a [`cluster`](Self::cluster).
    pub fn try_rolling(mut self, hosts: u32, every: Duration) -> Result<Self, InvalidConfig> {
        if hosts == 0 {
            return Err(InvalidConfig::new(
                "hosts",
                hosts,
                "a server has at least 1 host",
            ));
        }
        if self.cluster.is_some() {
            return Err(InvalidConfig::new("hosts", hosts, NOT_ROLLING));
        }
        let every = nanos(every).min(LONGEST / hosts as u64);
        self.rolling = Some(Rolling { hosts, every });
        Ok(self)
    }

    /// By how much the clients' clocks are fast or slow at most, as a share: none by
    /// default. With 0.01, a wait of 100 s takes 99 s to 101 s, the same for all waits
    /// of a client.
    ///
    /// # Panics
    ///
    /// If `most` is not from 0 to 0.5; [`try_clock_drift`](Self::try_clock_drift) does
    /// not.
    #[track_caller]
    pub fn clock_drift(self, most: f64) -> Self {
        expect(self.try_clock_drift(most))
    }

    /// As [`clock_drift`](Self::clock_drift).
    ///
    /// # Errors
    ///
    /// If `most` is not from 0 to 0.5.
    pub fn try_clock_drift(mut self, most: f64) -> Result<Self, InvalidConfig> {
        if !(0.0..=0.5).contains(&most) {
            return Err(InvalidConfig::new(
                "most",
                most,
                "a clock drifts by a share from 0 to 0.5, such as 0.01",
            ));
        }
        self.drift = most;
        Ok(self)
    }

    /// When the server is back for good, in nanoseconds since the loss.
    pub(super) fn back(&self) -> u64 {
        let relapse = self.relapse.map_or(0, |relapse| relapse.up + relapse.down);
        self.first_back().saturating_add(relapse).min(LONGEST)
    }

    /// When the server is up before that.
    pub(super) fn glimpse(&self) -> Option<Glimpse> {
        let from = self.first_back();
        let until = |relapse: Relapse| from.saturating_add(relapse.up).min(LONGEST);
        self.relapse.map(|relapse| Glimpse {
            from,
            until: until(relapse),
        })
    }

    /// When the server is back, for good or not.
    fn first_back(&self) -> u64 {
        let default = if self.has_survivors() { FOR_GOOD } else { 0 };
        self.outage.unwrap_or(default)
    }

    /// Whether a queue may fill up between a SYN and the end of its handshake.
    pub(super) fn has_handshakes(&self) -> bool {
        self.server.drops_syns() && self.delay > 0
    }

    /// When a client loses its connection.
    pub(super) fn lost_at(&self, client: u32) -> u64 {
        let restart = |rolling: Rolling| (client % rolling.hosts) as u64 * rolling.every;
        self.rolling.map_or(0, restart) + scale(spread(client), self.span)
    }

    /// How long a wait takes on the clock of a client.
    #[inline]
    pub(super) fn on_clock_of(&self, client: u32, wait: u64) -> u64 {
        if self.drift == 0.0 {
            return wait;
        }
        let place = spread(!client) as f64 / u64::MAX as f64 * 2.0 - 1.0;
        (wait as f64 * (1.0 + self.drift * place)) as u64
    }
}
