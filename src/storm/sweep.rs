//! Many storms that differ in capacity and in the length of the outage.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::{Fleet, Report, Storm};
use crate::invalid::{InvalidConfig, expect};

/// Storms for each combination of several N/C and outages, run in parallel.
///
/// ```
/// use redial::Stratified;
/// use redial::storm::{Storm, Summary, Sweep};
/// use std::time::Duration;
///
/// let seconds = Duration::from_secs;
/// let sweep = Sweep::new(&Storm::new(1_000), &[seconds(5), seconds(50)], &[seconds(0), seconds(60)]);
/// let reports = sweep.run(&Stratified::default());
/// assert_eq!(reports.len(), 4);
/// assert_eq!(Summary::of(&reports).never, 0);
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    storms: Vec<Storm>,
}

impl Sweep {
    /// Copies of `storm` for each combination of an N/C and an outage, each with its
    /// own seed. The outage changes fastest.
    ///
    /// In a [`cluster`](Storm::cluster) N are the clients of the lost servers, and C is the
    /// capacity of those that are left. The outage is that of the lost servers; with
    /// [`Duration::MAX`] they are lost for good.
    ///
    /// # Panics
    ///
    /// If a limit is zero, or so long that the capacity is out of range;
    /// [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(storm: &Storm, limits: &[Duration], outages: &[Duration]) -> Self {
        expect(Self::try_new(storm, limits, outages))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If a limit is zero, or so long that the capacity is out of range; see
    /// [`Storm::try_capacity`].
    pub fn try_new(
        storm: &Storm,
        limits: &[Duration],
        outages: &[Duration],
    ) -> Result<Self, InvalidConfig> {
        let mut storms = Vec::with_capacity(limits.len() * outages.len());
        for limit in limits {
            for &outage in outages {
                let seed = storm.seed.wrapping_add(storms.len() as u64);
                let storm = storm.clone().outage(outage);
                let capacity = storm.capacity_for(limit.as_secs_f64());
                storms.push(storm.try_capacity(capacity)?.seed(seed));
            }
        }
        Ok(Self { storms })
    }

    /// The 91 storms that the figures in these docs come from: N/C from 0.5 s to 500 s
    /// in steps of the fourth root of 10, and outages of 0, 3, 10, 30, 100, 300 and
    /// 600 s.
    pub fn standard(storm: &Storm) -> Self {
        let limits: Vec<_> = (0..13)
            .map(|i| Duration::from_secs_f64(0.5 * FOURTH_ROOT_OF_10[i % 4] * POWER_OF_10[i / 4]))
            .collect();
        let outages = [0, 3, 10, 30, 100, 300, 600].map(Duration::from_secs);
        Self::new(storm, &limits, &outages)
    }

    /// How many storms there are.
    pub fn len(&self) -> usize {
        self.storms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.storms.is_empty()
    }

    /// Simulates all storms, on all cores. The reports are in the order of the
    /// storms.
    pub fn run<F: Fleet + Sync>(&self, fleet: &F) -> Vec<Report> {
        self.run_watched(fleet, |_| ())
    }

    /// As [`run`](Self::run), and calls `done` after each storm, for example for a
    /// progress bar. The calls come from any thread and in any order.
    pub fn run_watched<F: Fleet + Sync>(
        &self,
        fleet: &F,
        done: impl Fn(&Report) + Sync,
    ) -> Vec<Report> {
        let each = |storm: &Storm| {
            let report = storm.run(fleet);
            done(&report);
            report
        };
        // One storm at a time, because some take a hundred times as long as others.
        self.storms.par_iter().with_max_len(1).map(each).collect()
    }
}

// Constants, because the last digit of powf differs between platforms.
const FOURTH_ROOT_OF_10: [f64; 4] = [
    1.0,
    1.778_279_410_038_922_8,
    3.162_277_660_168_379_5,
    5.623_413_251_903_491,
];
const POWER_OF_10: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];

/// The results of a sweep in a few figures.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Summary {
    /// How many storms there were.
    pub storms: usize,
    /// How many of them did not end within the horizon.
    pub never: usize,
    /// The geometric mean of the time to 99 %, divided by its limit, over the storms
    /// without an outage and with N/C of at least 2 s in which 99 % came back. NaN if
    /// there is no such storm; JSON writes NaN as null, which cannot be read back.
    pub t_99: f64,
    /// The same mean for the time to all clients.
    pub t_full: f64,
    /// As [`t_99`](Self::t_99), but a storm in which 99 % do not come back within the
    /// horizon counts as [`NEVER`](Self::NEVER) times its limit.
    pub at_once: f64,
    /// The same mean over the storms with an outage and with N/C of at least 2 s.
    pub after_outage: f64,
    /// The attempts of a client after the server's return, on average over the storms
    /// without an outage and with N/C of at least 2 s, including storms that never
    /// ended.
    pub attempts: f64,
}

impl Summary {
    /// What a storm that does not end counts as in [`at_once`](Self::at_once) and
    /// [`after_outage`](Self::after_outage): 20 times its limit. The default
    /// [horizon](Storm::horizon) is as long.
    pub const NEVER: f64 = 20.0;

    /// Summarises the reports of a sweep.
    pub fn of(reports: &[Report]) -> Self {
        let of_size = |report: &&Report| report.limit() >= Duration::from_secs(2);
        let asked = || {
            let demanding = |report: &&Report| report.outage.is_zero() && of_size(report);
            reports.iter().filter(demanding)
        };
        let outages = reports.iter().filter(|report| !report.outage.is_zero());
        let counted = |report: &Report| report.t_99.map_or(Self::NEVER, |at| at.over_limit).ln();
        let over_limit = |times: &dyn Fn(&Report) -> Option<super::Recovery>| {
            let logs = asked().filter_map(times).map(|at| at.over_limit.ln());
            mean(logs).exp()
        };
        Self {
            storms: reports.len(),
            never: reports.iter().filter(|report| !report.recovered()).count(),
            t_99: over_limit(&|report| report.t_99),
            t_full: over_limit(&|report| report.t_full),
            at_once: mean(asked().map(counted)).exp(),
            after_outage: mean(outages.filter(of_size).map(counted)).exp(),
            attempts: mean(asked().map(|report| report.attempts.mean)),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "99 % at {:.2}, all at {:.2} times the limit; {:.1} attempts; {} of {} storms never end",
            self.t_99, self.t_full, self.attempts, self.never, self.storms
        )
    }
}
