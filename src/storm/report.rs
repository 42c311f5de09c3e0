//! The result of a storm.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// The result of one storm.
///
/// Times count from the server's return, or from the loss if some servers of a
/// [`Cluster`](super::Cluster) are left. `Display` prints a row under
/// [`Report::HEADER`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// How many clients lost the server: N.
    pub clients: u32,
    /// How many clients the server takes in a second: C. In a
    /// [`Cluster`](super::Cluster), how many all servers take that are left, or that come
    /// back if none is left. If the lost servers come back later than others, C is such
    /// that N/C is the limit.
    pub capacity: f64,
    /// How long the server was gone: from the loss to its last return. Zero if some
    /// servers of a [`Cluster`](super::Cluster) are left.
    pub outage: Duration,
    /// How many clients came back within the horizon.
    pub back: u32,
    /// How many clients gave up.
    pub gave_up: u32,
    /// When half of the clients were back; `None` if that did not happen.
    pub t_50: Option<Recovery>,
    /// When 99 % of the clients were back.
    pub t_99: Option<Recovery>,
    /// When all clients were back.
    pub t_full: Option<Recovery>,
    /// The attempts of each client after the server's return.
    pub attempts: Attempts,
    /// Attempts while the server was down, on average for each client.
    pub attempts_down: f64,
    /// Attempts at lost servers of a [`Cluster`](super::Cluster) after that, which are
    /// part of [`attempts`](Self::attempts), on average for each client.
    #[cfg_attr(feature = "serde", serde(default))]
    pub attempts_gone: f64,
    /// The most attempts that arrived in any second after the server's return, divided
    /// by C. Attempts at lost servers of a [`Cluster`](super::Cluster) do not count.
    pub peak_second: f64,
    /// The most attempts that arrived in any 100 ms after the server's return, divided
    /// by C/10.
    pub peak_100ms: f64,
    /// The share of the attempts after the server's return that did not connect.
    pub wasted: f64,
    /// The share of the server's work that connected a client. The rest went into
    /// refusals and into handshakes of clients that had left.
    pub goodput: f64,
    /// Jain's index of the times that clients waited after the server's return: 1 if
    /// all waited equally long, 0.75 if they came back evenly at C a second, 1/N if only
    /// one client waited.
    pub fairness: f64,
    /// How long a client was offline since it lost the server.
    pub offline: Offline,
    /// How evenly the clients came back to the servers of a [`Cluster`](super::Cluster).
    #[cfg_attr(feature = "serde", serde(default))]
    pub balance: Balance,
    /// The attempts, without those at lost servers of a [`Cluster`](super::Cluster) while
    /// others were up.
    pub arrivals: Series,
    /// The clients that came back.
    pub returns: Series,
}

/// When a share of the fleet was back.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Recovery {
    /// The time since the server's return, or since the loss if other servers were left.
    pub time: Duration,
    /// That time divided by the least time that the server's capacity allows, which is
    /// the share times N/C. If the lost servers of a [`Cluster`](super::Cluster) come back
    /// later than others, it is more for a small share.
    pub over_limit: f64,
}

/// How many attempts each client made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Attempts {
    /// The mean over all clients.
    pub mean: f64,
    /// 99 % of the clients made at most this number.
    pub p99: u32,
    /// The most attempts that any client made.
    pub max: u32,
}

/// How evenly clients came back to the servers that were left, or to all if none was
/// left. Both figures are 1 for one server.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Balance {
    /// The clients of the server to which the most came back, divided by the mean.
    pub busiest: f64,
    /// The clients of the server to which the fewest came back, divided by the mean.
    pub idlest: f64,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            busiest: 1.0,
            idlest: 1.0,
        }
    }
}

/// How long clients were offline, from the loss of their connections on, in whole
/// milliseconds (more coarse if the simulation is longer than 24 days).
///
/// If a client lost its connection again, all its losses count. A client that did not
/// come back was offline until the horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Offline {
    /// The mean over all clients.
    pub mean: Duration,
    /// Half of the clients were offline for at most this long.
    pub p50: Duration,
    /// 99 % of the clients were offline for at most this long.
    pub p99: Duration,
}

/// Events counted in steps of 100 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Series {
    counts: Vec<u64>,
    /// How many steps are before the server's return.
    before: usize,
}

const STEP: u64 = 100_000_000;
const STEPS_A_SECOND: usize = 10;

impl Series {
    /// For a server that returns at `back`, in nanoseconds since the loss.
    pub(super) fn new(back: u64) -> Self {
        Self {
            counts: Vec::new(),
            before: back.div_ceil(STEP) as usize,
        }
    }

    #[inline]
    pub(super) fn count(&mut self, time: u64, back: u64) {
        let step = if time >= back {
            self.before + ((time - back) / STEP) as usize
        } else {
            self.before - (back - time).div_ceil(STEP) as usize
        };
        if step >= self.counts.len() {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
    }

    /// The counts of each 100 ms, from the loss on.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The counts of each 100 ms, from the server's return on.
    pub fn since_return(&self) -> &[u64] {
        self.counts.get(self.before..).unwrap_or_default()
    }

    /// The start of each step in seconds since the server's return (negative while the
    /// server was down), and the count of the step.
    pub fn iter(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let start = |step| (step as f64 - self.before as f64) / STEPS_A_SECOND as f64;
        let counts = self.counts.iter().enumerate();
        counts.map(move |(step, &count)| (start(step), count))
    }

    /// As [`iter`](Self::iter), for whole seconds. The server's return is a border
    /// between two seconds.
    pub fn seconds(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let (before, since) = self.counts.split_at(self.before.min(self.counts.len()));
        let before = before.rchunks(STEPS_A_SECOND).rev();
        let start = -(before.len() as f64);
        before
            .chain(since.chunks(STEPS_A_SECOND))
            .enumerate()
            .map(move |(second, counts)| (start + second as f64, counts.iter().sum()))
    }

    /// The largest sum of `steps` consecutive counts since the server's return.
    pub(super) fn peak(&self, steps: usize) -> u64 {
        let counts = self.since_return();
        let mut sum = counts.iter().take(steps).sum::<u64>();
        let mut peak = sum;
        for (enters, leaves) in counts.iter().skip(steps).zip(counts) {
            sum = sum + enters - leaves;
            peak = peak.max(sum);
        }
        peak
    }
}

impl Report {
    /// The names of the columns that `Display` prints.
    pub const HEADER: &str = "  clients     N/C    down |     half     99 % (limit)      all (limit) | tries   p99   max | peak/s  /100ms | wasted goodput fair";

    /// Whether all clients that did not give up were back within the horizon.
    ///
    /// If not, the storm sustains itself (it is metastable), or the horizon is too
    /// short.
    pub fn recovered(&self) -> bool {
        self.back + self.gave_up == self.clients
    }

    /// The least time in which the server can take all clients: N/C.
    pub fn limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.clients as f64 / self.capacity).unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |f: &mut fmt::Formatter<'_>, at: Option<Recovery>| match at {
            Some(at) => write!(f, " {:>6.1} s", at.time.as_secs_f64()),
            None => write!(f, "   never "),
        };
        let ratio = |f: &mut fmt::Formatter<'_>, at: Option<Recovery>| match at {
            Some(at) => write!(f, " {:>7.2}", at.over_limit),
            None => write!(f, "       -"),
        };
        write!(
            f,
            "{:>9} {:>5.1} s {:>5.0} s |",
            self.clients,
            self.limit().as_secs_f64(),
            self.outage.as_secs_f64(),
        )?;
        time(f, self.t_50)?;
        time(f, self.t_99)?;
        ratio(f, self.t_99)?;
        time(f, self.t_full)?;
        ratio(f, self.t_full)?;
        write!(
            f,
            " | {:>5.1} {:>5} {:>5} | {:>6.2} {:>7.2} | {:>4.0} % {:>5.0} % {:.2}",
            self.attempts.mean,
            self.attempts.p99,
            self.attempts.max,
            self.peak_second,
            self.peak_100ms,
            self.wasted * 100.0,
            self.goodput * 100.0,
            self.fairness,
        )
    }
}
