//! The statistics that the spread tests share, each beside the bound that a
//! sound policy keeps.
//!
//! Every bound is a function of the sample's size and of [`ALPHA`], the chance
//! that a sound policy fails one assertion. The bounds for finite samples are
//! theorems (named where they stand); `tests/bounds.rs` checks them against
//! exact laws and by experiment. The one special function, erfc, is `statrs`'s.

// Each test file uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

use std::f64::consts::TAU;
use std::fmt;

use statrs::function::erf::erfc;

/// The chance that a sound policy fails one assertion.
///
/// A thousand assertions together raise a false alarm for one in a million
/// choices of seeds.
pub const ALPHA: f64 = 1e-9;

/// The mean load of the bins of a sample that should be uniform: that of 1e5
/// clients over a second, in bins of a millisecond.
pub const BIN_LOAD: usize = 100;

// ---- an assertion: a statistic and its limit

/// A statistic of a sample, and the most it may be if the law holds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a statistic asserts nothing until it holds or catches"]
pub struct Measured {
    pub statistic: &'static str,
    pub value: f64,
    pub limit: f64,
}

impl Measured {
    fn new(statistic: &'static str, value: f64, limit: f64) -> Self {
        assert!(value.is_finite(), "{statistic} is {value}");
        assert!(limit.is_finite(), "the limit of {statistic} is {limit}");
        Self {
            statistic,
            value,
            limit,
        }
    }

    pub fn is_sound(&self) -> bool {
        self.value <= self.limit
    }

    /// Fails the test if the statistic is above its limit.
    #[track_caller]
    pub fn holds(self, what: impl fmt::Display) {
        assert!(self.is_sound(), "{what}: {self}");
    }

    /// Fails the test if the statistic is within its limit: what is measured
    /// is broken, and must be seen to be.
    #[track_caller]
    pub fn catches(self, what: impl fmt::Display) {
        assert!(!self.is_sound(), "{what} was not caught: {self}");
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            statistic,
            value,
            limit,
        } = self;
        write!(f, "{statistic} is {value:.6}, and its limit {limit:.6}")
    }
}

// ---- a sample of what should be U(0, 1)

/// Independent draws of what the law says is uniform over 0..1.
#[derive(Clone, Debug)]
pub struct Uniform {
    sorted: Vec<f64>,
    /// The step of the draws: 1 ns over the width of their window.
    step: f64,
}

impl Uniform {
    /// Draws that may be any real number.
    pub fn new(draws: impl IntoIterator<Item = f64>) -> Self {
        Self::with_step(draws, 0.0)
    }

    /// Waits in whole nanoseconds out of `low + 1 ..= low + width`, as positions
    /// in that window.
    pub fn from_nanos(waits: impl IntoIterator<Item = u64>, low: u64, width: u64) -> Self {
        let width = width as f64;
        Self::with_step(
            waits.into_iter().map(|wait| position(wait, low, width)),
            1.0 / width,
        )
    }

    /// Draws that are multiples of `step`, give or take.
    pub fn with_step(draws: impl IntoIterator<Item = f64>, step: f64) -> Self {
        let mut sorted: Vec<f64> = draws.into_iter().collect();
        assert!(!sorted.is_empty(), "no draws, no law");
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted, step }
    }

    /// Kolmogorov-Smirnov's D: the farthest that the sample's distribution is
    /// from the uniform one, anywhere.
    pub fn ks(&self) -> Measured {
        let n = self.sorted.len() as f64;
        let distance = self
            .sorted
            .iter()
            .enumerate()
            .map(|(i, &u)| f64::max(u - i as f64 / n, (i + 1) as f64 / n - u))
            .fold(0.0, f64::max);
        Measured::new(
            "Kolmogorov-Smirnov's D",
            distance,
            ks_limit(self.sorted.len(), ALPHA) + self.step,
        )
    }

    /// Anderson and Darling's A², which looks at both ends more closely than D.
    pub fn anderson_darling(&self) -> Measured {
        let n = self.sorted.len();
        // A draw on an end itself, or beyond, would be infinitely far off;
        // half a step (or an ulp) inside is as near as the draws can tell.
        let margin = f64::max(self.step / 2.0, f64::EPSILON);
        let inside = |u: f64| u.clamp(margin, 1.0 - margin);
        let sum: f64 = (0..n)
            .map(|i| {
                let low = inside(self.sorted[i]);
                let high = inside(self.sorted[n - 1 - i]);
                (2 * i + 1) as f64 * (low.ln() + (-high).ln_1p())
            })
            .sum();
        Measured::new(
            "Anderson and Darling's A²",
            -(n as f64) - sum / n as f64,
            anderson_darling_limit(ALPHA),
        )
    }

    /// How many draws fall into each of `bins` equal bins. Those out of range
    /// count for the bin at that end.
    pub fn loads(&self, bins: usize) -> Vec<u64> {
        let mut loads = vec![0; bins];
        for &u in &self.sorted {
            loads[((u * bins as f64).max(0.0) as usize).min(bins - 1)] += 1;
        }
        loads
    }

    /// The load of the fullest of `bins` equal bins.
    pub fn fullest_bin(&self, bins: usize) -> Measured {
        fullest_bin(&self.loads(bins), self.sorted.len())
    }

    /// How far the emptiest of `bins` equal bins is below the mean load.
    pub fn emptiest_bin(&self, bins: usize) -> Measured {
        emptiest_bin(&self.loads(bins), self.sorted.len())
    }

    /// All of the above.
    #[track_caller]
    pub fn is_uniform(&self, what: impl fmt::Display) {
        let bins = (self.sorted.len() / BIN_LOAD).max(1);
        self.ks().holds(&what);
        self.anderson_darling().holds(&what);
        self.fullest_bin(bins).holds(&what);
        self.emptiest_bin(bins).holds(&what);
    }
}

/// Where a wait stands in the window `low + 1 ..= low + width`: the middle of
/// its nanosecond, so that the whole window is symmetric within 0..1.
pub fn position(wait: u64, low: u64, width: f64) -> f64 {
    (wait as f64 - low as f64 - 0.5) / width
}

/// D of n draws stays below this: Dvoretzky, Kiefer and Wolfowitz's inequality
/// with Massart's constant (Ann. Probab. 18, 1990), for any n.
pub fn ks_limit(n: usize, alpha: f64) -> f64 {
    ((2.0 / alpha).ln() / (2.0 * n as f64)).sqrt()
}

/// A² stays below this.
///
/// In the limit A² is a sum of χ² variables with weights 1/2, 1/6, 1/12 …
/// (Anderson and Darling, Ann. Math. Statist. 23, 1952). The first one makes
/// the tail and the others multiply it: P(A² > z) -> √3 erfc(√z) (Zolotarev,
/// Theory Probab. Appl. 6, 1961). The next term of that expansion is a factor
/// of 1 + 11/(36 z); 1 + 1/z stands well above it. n matters little from a few
/// dozen on (Marsaglia and Marsaglia, J. Stat. Softw. 9, 2004).
pub fn anderson_darling_limit(alpha: f64) -> f64 {
    let tail = |z: f64| 3.0_f64.sqrt() * erfc(z.sqrt()) * (1.0 + 1.0 / z);
    bisect(1.0, 100.0, |z| tail(z) > alpha)
}

// ---- the load of bins

/// The load of the fullest bin, of bins that are equally likely.
pub fn fullest_bin(loads: &[u64], n: usize) -> Measured {
    let fullest = *loads.iter().max().expect("at least one bin");
    let mean = n as f64 / loads.len() as f64;
    let (_, limit) = load_limits(mean, loads.len(), ALPHA);
    Measured::new("the fullest bin", fullest as f64, limit)
}

/// How far the emptiest bin is below the mean, of bins that are equally likely.
pub fn emptiest_bin(loads: &[u64], n: usize) -> Measured {
    let emptiest = *loads.iter().min().expect("at least one bin");
    let mean = n as f64 / loads.len() as f64;
    let (limit, _) = load_limits(mean, loads.len(), ALPHA);
    Measured::new(
        "the emptiest bin's gap",
        mean - emptiest as f64,
        mean - limit,
    )
}

/// The least and the greatest load of `bins` bins that expect a load of `mean`
/// each; either is passed with a chance of at most `alpha`.
///
/// Bernstein's inequality above the mean and Chernoff's below it, for each bin's
/// binomial load, and the union bound over bins (Boucheron, Lugosi and Massart,
/// *Concentration Inequalities*, 2013, sections 2.4 and 2.8). They hold for any
/// n and however few draws a bin gets, where χ² does not.
pub fn load_limits(mean: f64, bins: usize, alpha: f64) -> (f64, f64) {
    let l = (bins as f64 / alpha).ln();
    let least = mean - (2.0 * mean * l).sqrt();
    let most = mean + l / 3.0 + (l * l / 9.0 + 2.0 * mean * l).sqrt();
    (least, most)
}

// ---- atoms

/// How many of the draws share the commonest value; `peak` is the most that the
/// law gives to any one value (1 ns over the width of a uniform window).
pub fn commonest(draws: impl IntoIterator<Item = u64>, peak: f64) -> Measured {
    let mut sorted: Vec<u64> = draws.into_iter().collect();
    sorted.sort_unstable();
    let most = sorted
        .chunk_by(u64::eq)
        .map(<[u64]>::len)
        .max()
        .expect("at least one draw");
    Measured::new(
        "the draws of the commonest value",
        most as f64,
        commonest_limit(sorted.len(), peak, ALPHA) as f64,
    )
}

/// How many of n draws may share one value where none is likelier than `peak`.
///
/// The union bound over all sets of k draws, as in the birthday problem:
/// P(some k draws agree) <= C(n, k) peak^(k-1).
pub fn commonest_limit(n: usize, peak: f64, alpha: f64) -> usize {
    // ln C(n, 1) for k = 1; each further draw multiplies by (n - k + 1) / k * peak.
    let mut ln_chance = (n as f64).ln();
    let mut k = 1;
    while k < n {
        k += 1;
        ln_chance += ((n - k + 1) as f64 / k as f64 * peak).ln();
        if ln_chance <= alpha.ln() {
            return k - 1;
        }
    }
    n
}

// ---- two clients

/// The correlation of what two clients draw, where each is uniform over 0..1.
pub fn correlation(pairs: impl IntoIterator<Item = (f64, f64)>) -> Measured {
    let mut n = 0;
    let mut sum = 0.0;
    for (u, v) in pairs {
        sum += 12.0 * (u - 0.5) * (v - 0.5);
        n += 1;
    }
    Measured::new(
        "the correlation",
        (sum / n as f64).abs(),
        correlation_limit(n, ALPHA),
    )
}

/// Two clients' draws tell nothing of each other: no correlation, and their sum
/// and difference, taken around the circle, are uniform as well.
#[track_caller]
pub fn are_independent(pairs: &[(f64, f64)], what: impl fmt::Display) {
    let around = |turn: fn(&(f64, f64)) -> f64| Uniform::new(pairs.iter().map(turn));
    correlation(pairs.iter().copied()).holds(&what);
    around(|(u, v)| (u + v).rem_euclid(1.0)).ks().holds(&what);
    around(|(u, v)| (u - v).rem_euclid(1.0)).ks().holds(&what);
}

/// The correlation of n independent pairs stays below this, either way.
///
/// Bernstein's inequality for 12 (u - 1/2) (v - 1/2), which has variance 1 and
/// is at most 3.
pub fn correlation_limit(n: usize, alpha: f64) -> f64 {
    let n = n as f64;
    let l = (2.0 / alpha).ln();
    (l + (l * l + 2.0 * n * l).sqrt()) / n
}

/// How far the share of `hits` among n independent trials is from `chance`.
pub fn share(statistic: &'static str, hits: usize, n: usize, chance: f64) -> Measured {
    Measured::new(
        statistic,
        (hits as f64 / n as f64 - chance).abs(),
        share_limit(n, chance, ALPHA),
    )
}

/// The share of hits among n trials stays this close to `chance`.
///
/// Bernstein's inequality for trials of variance chance (1 - chance).
pub fn share_limit(n: usize, chance: f64, alpha: f64) -> f64 {
    let n = n as f64;
    let l = (2.0 / alpha).ln();
    (l / 3.0 + (l * l / 9.0 + 2.0 * n * chance * (1.0 - chance) * l).sqrt()) / n
}

/// How far the mean of draws that lie within `range` is from `expected`.
pub fn mean(draws: impl IntoIterator<Item = f64>, expected: f64, range: f64) -> Measured {
    let mut n = 0;
    let mut sum = 0.0;
    for draw in draws {
        sum += draw;
        n += 1;
    }
    Measured::new(
        "the mean's distance",
        (sum / n as f64 - expected).abs(),
        mean_limit(n, range, ALPHA),
    )
}

/// The mean of n draws that lie within `range` stays this close to its
/// expectation (Hoeffding, J. Am. Stat. Assoc. 58, 1963).
pub fn mean_limit(n: usize, range: f64, alpha: f64) -> f64 {
    range * ((2.0 / alpha).ln() / (2.0 * n as f64)).sqrt()
}

// ---- a fleet in time

/// The resultant length of phases, in turns: 0 where they are spread around the
/// circle, 1 where all are the same. `expected` is the law's own.
pub fn phase_locking(turns: impl IntoIterator<Item = f64>, expected: f64) -> Measured {
    let (mut n, mut cos, mut sin) = (0, 0.0, 0.0);
    for turn in turns {
        let (s, c) = (TAU * turn).sin_cos();
        cos += c;
        sin += s;
        n += 1;
    }
    Measured::new(
        "the resultant length",
        f64::hypot(cos, sin) / n as f64,
        expected + resultant_limit(n, ALPHA),
    )
}

/// The resultant length of n independent phases stays within this of its
/// expectation: Hoeffding's inequality for the cosines and for the sines.
pub fn resultant_limit(n: usize, alpha: f64) -> f64 {
    (4.0 * (4.0 / alpha).ln() / n as f64).sqrt()
}

/// The Fano factor of the counts: their variance over their mean, 1 for
/// arrivals that are independent of each other.
pub fn fano(counts: &[u64]) -> Measured {
    Measured::new(
        "the Fano factor",
        fano_factor(counts),
        fano_limit(counts.len(), ALPHA),
    )
}

/// Variance over mean, of a fleet of independent arrivals at a constant rate.
pub fn fano_factor(counts: &[u64]) -> f64 {
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<u64>() as f64 / n;
    let squares: f64 = counts.iter().map(|&c| (c as f64 - mean).powi(2)).sum();
    squares / (n - 1.0) / mean
}

/// The Fano factor about a rate that the law gives for each bin: the mean of
/// (count - rate)² / rate.
pub fn fano_about(counts: &[u64], rates: &[f64]) -> Measured {
    assert_eq!(counts.len(), rates.len());
    let off: f64 = counts
        .iter()
        .zip(rates)
        .map(|(&count, rate)| (count as f64 - rate).powi(2) / rate)
        .sum();
    Measured::new(
        "the Fano factor about the law",
        off / counts.len() as f64,
        fano_limit(counts.len() + 1, ALPHA),
    )
}

/// How far any count is from the rate that the law gives for it, in units of
/// what [`load_limits`] allows.
pub fn intensity(counts: &[u64], rates: &[f64]) -> Measured {
    assert_eq!(counts.len(), rates.len());
    let bins = counts.len();
    let worst = counts.iter().zip(rates).map(|(&count, &rate)| {
        let (least, most) = load_limits(rate, bins, ALPHA / 2.0);
        let count = count as f64;
        f64::max(
            (count - rate) / (most - rate),
            (rate - count) / (rate - least),
        )
    });
    Measured::new(
        "the intensity's distance over its limit",
        worst.fold(0.0, f64::max),
        1.0,
    )
}

/// The Fano factor of `bins` independent counts stays below this.
///
/// (bins - 1) times it is χ² (Fisher's index of dispersion, for counts of five
/// or more), whose tail Laurent and Massart bound (Ann. Statist. 28, 2000,
/// lemma 1).
pub fn fano_limit(bins: usize, alpha: f64) -> f64 {
    let freedom = (bins - 1) as f64;
    let l = (1.0 / alpha).ln();
    1.0 + 2.0 * (l / freedom).sqrt() + 2.0 * l / freedom
}

/// The correlation of counts with those `lag` bins later: 1 where the pattern
/// repeats itself, 0 where the fleet has forgotten it.
pub fn autocorrelation(counts: &[u64], lag: usize) -> Measured {
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<u64>() as f64 / n;
    let off = |count: u64| count as f64 - mean;
    let shared: f64 = counts
        .iter()
        .zip(&counts[lag..])
        .map(|(&a, &b)| off(a) * off(b))
        .sum();
    let all: f64 = counts.iter().map(|&c| off(c).powi(2)).sum();
    Measured::new(
        "the autocorrelation",
        shared / all,
        autocorrelation_limit(counts.len(), ALPHA),
    )
}

/// The autocorrelation of `bins` independent counts stays below this: it is
/// normal with variance 1/bins (Bartlett, J. R. Stat. Soc. Suppl. 8, 1946), and
/// the normal tail is at most exp(-z²/2).
pub fn autocorrelation_limit(bins: usize, alpha: f64) -> f64 {
    (2.0 * (1.0 / alpha).ln() / bins as f64).sqrt()
}

/// Where `above` turns from true to false, between the two.
fn bisect(mut low: f64, mut high: f64, above: impl Fn(f64) -> bool) -> f64 {
    assert!(above(low) && !above(high), "nothing to find");
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if above(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
