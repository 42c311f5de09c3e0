//! Stratified: one attempt in each stratum of a geometric partition of time.

use core::fmt;
use core::time::Duration;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::{Cause, Failed, Rule, policy_from_rule};
use crate::invalid::{InvalidConfig, check_factor, check_range, expect};
use crate::nanos::{nanos, scale};

/// One attempt in each stratum of time: the default policy.
///
/// Time since the loss is cut into windows (strata) that grow geometrically.
/// A client makes one attempt in each, at a position that is uniform over the
/// fleet. So the fleet is spread evenly over every window, whatever its size:
/// no wave, no gap, no pile-up at the cap.
///
/// - The schedule is absolute: time spent inside an attempt counts, and a
///   timeout of ten seconds does not shift everybody by ten seconds.
/// - A client's position takes a random walk of at most a quarter of a window
///   from one stratum to the next, so that two clients never stay in step,
///   and no client waits much longer than its window.
/// - The cap depends on what a failure cost the server ([`Cause`]): a server
///   whose failures are dear is never held under.
///
/// # Defaults
///
/// | | default | bounds the wait |
/// |---|---|---|
/// | base | 1 s | before the first reconnect |
/// | [`growth`](Self::growth) | 1.6 | |
/// | cap | 37.5 s | while the server is [`Down`](Cause::Down) |
/// | [`busy_cap`](Self::busy_cap) | 150 s, or the cap if that is longer | after [`Busy`](Cause::Busy) |
/// | [`stalled_cap`](Self::stalled_cap) | 750 s, or the cap if that is longer | after [`Stalled`](Cause::Stalled) |
///
/// A cap bounds the wait itself: windows grow to 4/5 of it, as two attempts in
/// neighbouring windows lie at most 5/4 of a window apart. A window that has
/// begun is served to its end: a `Down` that follows many a `Stalled` may still
/// wait out what is left of the long one. Lengths of more than 73 years count
/// as 73 years.
///
/// # Where it comes from
///
/// Stratified sampling of the harmonic arrival curve: within the growing strata
/// the density of a fleet's attempts falls as 1/t, which is what a server that
/// takes C clients a second can work off. The walk is reflected at both ends of
/// the window, which keeps the position exactly uniform at every step.
///
/// ```
/// use redial::{Policy, Stratified};
/// use std::time::Duration;
///
/// let policy = Stratified::new(Duration::from_secs(1), Duration::from_secs(60));
/// let first = policy.delays_from_seed(42).next().unwrap();
/// assert!(first <= Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Stratified {
    /// The first width in nanoseconds, as all integers here.
    base: u64,
    /// As given, for the checks of later setters.
    cap: u64,
    growth: f64,
    strata: Strata,
}

const DEFAULT_BASE: Duration = Duration::from_secs(1);
const DEFAULT_CAP: Duration = Duration::from_millis(37_500);
const DEFAULT_BUSY_CAP: Duration = Duration::from_secs(150);
const DEFAULT_STALLED_CAP: Duration = Duration::from_secs(750);
const DEFAULT_GROWTH: f64 = 1.6;
/// Its natural logarithm: core has no `ln`.
const LN_GROWTH: f64 = 0.470_003_629_245_735_6;
// Computed by the compiler: every driver begins with it.
const DEFAULT: Stratified = Stratified::checked(DEFAULT_BASE, DEFAULT_CAP);

/// The longest stratum, 73 years: sums of two, and of the longest elapsed time,
/// stay within a u64.
const MOST_WIDTH: u64 = 1 << 61;
const MOST_ELAPSED: u64 = 1 << 62;

impl Default for Stratified {
    fn default() -> Self {
        DEFAULT
    }
}

impl Stratified {
    /// First window `base`, and waits of at most `cap` while the server is
    /// down.
    ///
    /// No window is wider than 4/5 of the cap, so neither is the first.
    ///
    /// # Panics
    ///
    /// If `base` is zero or above `cap`; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(base: Duration, cap: Duration) -> Self {
        expect(Self::try_new(base, cap))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `base` is zero or above `cap`.
    pub fn try_new(base: Duration, cap: Duration) -> Result<Self, InvalidConfig> {
        check_range(base, cap)?;
        Ok(Self::checked(base, cap))
    }

    const fn checked(base: Duration, cap: Duration) -> Self {
        let (first, widest) = (nanos(base), width(cap));
        let strata = Strata {
            cap: widest,
            busy: longest(widest, width(DEFAULT_BUSY_CAP)),
            stalled: longest(widest, width(DEFAULT_STALLED_CAP)),
            log2: 0,
            first: 0,
            grown: 0,
            origin: 0,
        };
        let base = if first < widest { first } else { widest };
        Self {
            base,
            cap: nanos(cap),
            growth: DEFAULT_GROWTH,
            strata: strata.growing(base, DEFAULT_GROWTH),
        }
    }

    /// The default with a first window so wide that the first attempts of a
    /// whole fleet arrive at no more than twice `per_second`, the number of
    /// clients that the server takes in a second.
    ///
    /// The caps rise where the first window needs it.
    ///
    /// # Panics
    ///
    /// If `per_second` is not a positive, finite number;
    /// [`try_for_fleet`](Self::try_for_fleet) does not.
    ///
    /// ```
    /// use redial::{Policy, Stratified};
    ///
    /// // A hundred thousand clients of a server that takes a thousand a second.
    /// let policy = Stratified::for_fleet(100_000, 1_000);
    /// assert!(policy.delays_from_seed(1).next().unwrap().as_secs() < 64);
    /// ```
    #[track_caller]
    pub fn for_fleet(clients: u64, per_second: impl Into<f64>) -> Self {
        expect(Self::try_for_fleet(clients, per_second))
    }

    /// As [`for_fleet`](Self::for_fleet).
    ///
    /// # Errors
    ///
    /// If `per_second` is not a positive, finite number.
    pub fn try_for_fleet(clients: u64, per_second: impl Into<f64>) -> Result<Self, InvalidConfig> {
        let per_second = per_second.into();
        if !(per_second.is_finite() && per_second > 0.0) {
            return Err(InvalidConfig::new(alloc::format!(
                "the server's capacity is {per_second} clients a second, and must be a positive \
                 number: give what it was measured to take"
            )));
        }
        // (g - 1) / ln g clients per base arrive at the start of the first
        // window, where the density is highest; at most 2 * per_second shall.
        let seconds = (DEFAULT_GROWTH - 1.0) / LN_GROWTH * clients as f64 / (2.0 * per_second);
        // Saturates at 73 years, and is then far below f64's and Duration's ends.
        let base = DEFAULT_BASE.max(Duration::from_nanos(
            ((seconds * 1e9) as u64).min(MOST_WIDTH),
        ));
        Self::try_new(base, DEFAULT_CAP.max(base + base / 4))
    }

    /// Each window is so many times as wide as the one before: 1.6 by default.
    ///
    /// Less means more attempts and a shorter recovery of a server whose
    /// refusals are cheap; more means fewer attempts. 1 means that windows do
    /// not grow, and so does less than 1.001, which would take seven hundred
    /// attempts to double them.
    ///
    /// # Panics
    ///
    /// If `growth` is below 1, infinite or NaN;
    /// [`try_growth`](Self::try_growth) does not.
    #[track_caller]
    pub fn growth(self, growth: f64) -> Self {
        expect(self.try_growth(growth))
    }

    /// As [`growth`](Self::growth).
    ///
    /// # Errors
    ///
    /// If `growth` is below 1, infinite or NaN.
    pub fn try_growth(self, growth: f64) -> Result<Self, InvalidConfig> {
        check_factor("growth", growth)?;
        Ok(Self {
            growth,
            strata: self.strata.growing(self.base, growth),
            ..self
        })
    }

    /// Waits of at most `cap` after a [`Busy`](Cause::Busy) failure: 150 s by
    /// default.
    ///
    /// # Panics
    ///
    /// If `cap` is below the cap for [`Down`](Cause::Down);
    /// [`try_busy_cap`](Self::try_busy_cap) does not.
    #[track_caller]
    pub fn busy_cap(self, cap: Duration) -> Self {
        expect(self.try_busy_cap(cap))
    }

    /// As [`busy_cap`](Self::busy_cap).
    ///
    /// # Errors
    ///
    /// If `cap` is below the cap for [`Down`](Cause::Down).
    pub fn try_busy_cap(self, cap: Duration) -> Result<Self, InvalidConfig> {
        self.check_cap("busy", cap)?;
        Ok(Self {
            strata: Strata {
                busy: width(cap),
                ..self.strata
            },
            ..self
        })
    }

    /// Waits of at most `cap` after a [`Stalled`](Cause::Stalled) failure:
    /// 750 s by default.
    ///
    /// # Panics
    ///
    /// If `cap` is below the cap for [`Down`](Cause::Down);
    /// [`try_stalled_cap`](Self::try_stalled_cap) does not.
    #[track_caller]
    pub fn stalled_cap(self, cap: Duration) -> Self {
        expect(self.try_stalled_cap(cap))
    }

    /// As [`stalled_cap`](Self::stalled_cap).
    ///
    /// # Errors
    ///
    /// If `cap` is below the cap for [`Down`](Cause::Down).
    pub fn try_stalled_cap(self, cap: Duration) -> Result<Self, InvalidConfig> {
        self.check_cap("stalled", cap)?;
        Ok(Self {
            strata: Strata {
                stalled: width(cap),
                ..self.strata
            },
            ..self
        })
    }

    fn check_cap(&self, name: &str, cap: Duration) -> Result<(), InvalidConfig> {
        if nanos(cap) >= self.cap {
            return Ok(());
        }
        Err(InvalidConfig::new(alloc::format!(
            "the {name} cap {cap:?} is below the cap {:?}: a failure that costs the server more \
             must not be retried sooner; raise it or lower the cap",
            Duration::from_nanos(self.cap)
        )))
    }
}

impl fmt::Debug for Stratified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in force, and caps to a nanosecond.
        let cap = |width| Duration::from_nanos(width + width / 4);
        f.debug_struct("Stratified")
            .field("base", &Duration::from_nanos(self.base))
            .field("growth", &self.growth)
            .field("cap", &Duration::from_nanos(self.cap))
            .field("busy_cap", &cap(self.strata.busy))
            .field("stalled_cap", &cap(self.strata.stalled))
            .finish()
    }
}

/// The width of strata under a cap on waits, which are at most 5/4 of it.
const fn width(cap: Duration) -> u64 {
    let cap = nanos(cap);
    let width = cap - cap / 5 - (cap % 5 != 0) as u64; // floor(4/5 cap)
    if width == 0 {
        1
    } else if width > MOST_WIDTH {
        MOST_WIDTH
    } else {
        width
    }
}

const fn longest(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// A window of time since the outage began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stratum {
    /// Where it begins: an instant, or while strata grow its logarithm.
    start: u64,
    /// Its width, or 0 while strata grow.
    width: u64,
}

/// What one outage remembers of [`Stratified`].
#[derive(Clone, Copy, Debug, Default)]
#[allow(unnameable_types)] // seen only through the sealed Rule
pub struct Place {
    /// The position within the stratum, as a fraction of 2^64.
    u: u64,
    /// The stratum of the latest attempt.
    stratum: Stratum,
    /// The instant of the latest attempt, since the outage began; 0 before the
    /// first.
    at: u64,
}

/// What the strata of every outage have in common.
///
/// While strata grow, position u of stratum k lies at base * (g^(k + u) - 1) /
/// (g - 1). With A = base / (g - 1) that is 2^(log2 A + (k + u) log2 g) - A: one
/// power of two, whatever the stratum. So a growing stratum is known by the
/// logarithm of its start, and the next one is a sum away.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(unnameable_types)] // seen only through the sealed Rule
pub struct Strata {
    // Widths in nanoseconds, each at most MOST_WIDTH.
    cap: u64,
    busy: u64,
    stalled: u64,
    /// log2 g; 0 where strata do not grow.
    log2: u64,
    /// log2 A, where the first stratum starts; its width, where it is flat.
    first: u64,
    /// Where the last growing stratum ends, in logarithms; 0 where there is
    /// none. The next one would have none after it that is g times as wide and
    /// fits under the cap: it is flat, and after it come those at the cap.
    grown: u64,
    /// A in nanoseconds: what is taken off a power of two to get an instant.
    origin: u64,
}

impl Strata {
    /// The same under the same caps, growing from `base`.
    const fn growing(self, base: u64, growth: f64) -> Self {
        let mut flat = Self {
            log2: 0,
            first: base,
            grown: 0,
            origin: 0,
            ..self
        };
        if growth < LEAST_GROWTH {
            return flat;
        }
        let growth = growth.min(MOST_GROWTH);
        let log2_growth = log2_of_float(growth) as u64; // positive, as growth is above 1
        // In 128 bits, as A may be more than time has nanoseconds.
        let first = (NANOSECOND + log2(base)) as i128 - log2_of_float(growth - 1.0) as i128;
        let last = (NANOSECOND + log2(MOST_ELAPSED)) as i128;
        flat.log2 = log2_growth;
        if first > last {
            return flat;
        }
        let first = first as u64;
        // As many as fit under the cap, and into time. A cap that is a power of
        // the growth shall not be missed by the rounding of a logarithm.
        let fit = (log2(self.cap) - log2(base) + ROUNDING) / log2_growth;
        let room = (last as u64 - first) / log2_growth;
        let strata = if fit < room { fit } else { room };
        if strata == 0 {
            return flat;
        }
        Self {
            log2: log2_growth,
            first,
            grown: first + strata * log2_growth,
            // So that the first stratum ends at `base` to the nanosecond.
            origin: exp2(first + log2_growth).saturating_sub(base),
            ..self
        }
    }

    /// The next stratum.
    #[inline]
    fn advance(&self, stratum: &mut Stratum, cause: Cause) {
        if stratum.width == 0 {
            stratum.start += self.log2;
            if stratum.start >= self.grown {
                *stratum = self.flat();
            }
        } else {
            stratum.start += stratum.width;
            stratum.width = self.next_width(stratum.width, cause);
        }
    }

    /// The first stratum after those that grow.
    #[cold]
    fn flat(&self) -> Stratum {
        let start = exp2(self.grown);
        let end = exp2(self.grown.saturating_add(self.log2));
        Stratum {
            // Less the nanosecond that flat instants are rounded up by, or the
            // wait into this stratum could be one longer than the cap.
            start: start.saturating_sub(self.origin + 1),
            width: (end - start).clamp(1, self.cap),
        }
    }

    /// The width of the stratum after a flat one.
    #[inline]
    fn next_width(&self, width: u64, cause: Cause) -> u64 {
        if width < self.cap {
            return if self.log2 == 0 { width } else { self.cap };
        }
        match cause {
            Cause::Down => self.cap,
            Cause::Busy => (width + width.div_ceil(4)).min(self.busy),
            Cause::Stalled => (2 * width).min(self.stalled),
        }
    }

    /// The instant of the attempt at `u`: at least 1 ns.
    #[inline]
    fn instant(&self, u: u64, stratum: Stratum) -> u64 {
        if stratum.width == 0 {
            let grown = exp2(stratum.start + scale(u, self.log2));
            grown.saturating_sub(self.origin).max(1)
        } else {
            stratum.start + scale(u, stratum.width) + 1
        }
    }

    /// Moves on to the first stratum whose attempt lies after `elapsed`: those
    /// in between went by while an attempt was in flight.
    ///
    /// By value, so that the common path can keep the place in registers.
    #[cold]
    fn catch_up(&self, mut place: Place, cause: Cause, elapsed: u64) -> Place {
        let mut strata = 0;
        while place.at <= elapsed {
            if strata == FAR {
                self.skip(&mut place.stratum, cause, elapsed);
            } else {
                self.advance(&mut place.stratum, cause);
            }
            strata += 1;
            place.at = self.instant(place.u, place.stratum);
        }
        place
    }

    /// Moves on to the stratum that `elapsed` lies in, without visiting each
    /// before it: a laptop may have slept for a week.
    fn skip(&self, stratum: &mut Stratum, cause: Cause, elapsed: u64) {
        if stratum.width == 0 {
            let now = NANOSECOND + log2(elapsed.saturating_add(self.origin).max(1));
            let strata = now.saturating_sub(stratum.start) / self.log2;
            stratum.start += strata * self.log2;
            if stratum.start < self.grown {
                return;
            }
            *stratum = self.flat();
        }
        while stratum.start + stratum.width < elapsed {
            let next = self.next_width(stratum.width, cause);
            if next == stratum.width {
                // Once widths are constant, a division.
                stratum.start += (elapsed - stratum.start) / next * next;
                return;
            }
            // Beyond the cap by 1.25 or 2, up to 2^61: a few dozen steps.
            stratum.start += stratum.width;
            stratum.width = next;
        }
    }
}

/// How many strata to visit one by one, before a logarithm is worth its cost.
const FAR: u32 = 8;

impl Rule for Strata {
    type State = Place;

    #[inline]
    fn begin(&self) -> Place {
        let stratum = if self.grown == 0 {
            Stratum {
                start: 0,
                width: self.first,
            }
        } else {
            Stratum {
                start: self.first,
                width: 0,
            }
        };
        Place {
            u: 0,
            stratum,
            at: 0,
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // see Seeded
    fn wait(&self, place: &mut Place, rng: &mut Xoshiro256PlusPlus, failed: &Failed) -> Duration {
        let elapsed = nanos(failed.elapsed).min(MOST_ELAPSED);
        if place.at == 0 {
            place.u = rng.next_u64();
        } else if elapsed < place.at {
            // An attempt out of turn (retry now) failed: the stratum keeps
            // the attempt that it was given.
            return Duration::from_nanos(place.at - elapsed);
        } else {
            place.u = walk(place.u, rng.next_u64());
            self.advance(&mut place.stratum, failed.cause);
        }
        place.at = self.instant(place.u, place.stratum);
        if place.at <= elapsed {
            *place = self.catch_up(*place, failed.cause, elapsed);
        }
        Duration::from_nanos(place.at - elapsed)
    }
}

policy_from_rule!(Stratified, Strata, |policy| &policy.strata);

/// One step of the walk: at most a quarter of the window, reflected at its ends.
///
/// A symmetric step with reflection keeps the uniform law exactly.
#[inline]
const fn walk(u: u64, random: u64) -> u64 {
    // Uniform over -2^62 ..= 2^62 - 1, in units of 2^-64 of the window.
    let step = (random >> 1) as i64 - (1 << 62);
    let (moved, passed_an_end) = u.overflowing_add_signed(step);
    // Having passed 2^64 by k leaves `moved` = k; its mirror image is !k. The
    // same holds below 0.
    if passed_an_end { !moved } else { moved }
}

// ---- powers and logarithms of two, in fixed point: the same on every
// platform, which `exp2` and `log2` of floats are not

/// Below this growth strata count as not growing: A would be so much longer
/// than they are that too few digits would be left for them.
const LEAST_GROWTH: f64 = 1.001;
/// Beyond this growth the second stratum is the cap in all but name.
const MOST_GROWTH: f64 = (1_u64 << 31) as f64;

/// Bits of a logarithm behind the point, which leaves seven before it.
const FRACTION: u32 = 57;
/// The logarithm of a nanosecond in our count, in which none is negative.
const NANOSECOND: u64 = 64 << FRACTION;
/// A logarithm that is as good as none, about 1e-12.
const ROUNDING: u64 = 1 << (FRACTION - 40);

/// The power of two in nanoseconds, rounded down. Monotonic.
#[inline]
const fn exp2(log: u64) -> u64 {
    // 2^(i/512) from a table, times 2^t for the rest t of less than 1/512, by
    // the parabola through its ends and its middle: exact to 2e-11.
    let power = POWERS[(log >> (FRACTION - 9)) as usize % POWERS.len()];
    let t = log << (64 - FRACTION + 9); // as a fraction of 2^64
    let rise = scale(t, SLOPE + scale(t, BEND));
    let power = power + scale(rise, power);
    match power.checked_shr(127 - (log >> FRACTION) as u32) {
        Some(nanoseconds) => nanoseconds,
        None => 0,
    }
}

/// 2^(i/512), in units of 2^-63.
const POWERS: [u64; 512] = {
    let mut powers = [1 << 63; 512];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = ((powers[i - 1] as u128 * ROOT as u128) >> 63) as u64;
        i += 1;
    }
    powers
};

/// 2^(1/512), in units of 2^-63.
const ROOT: u64 = root(9);
/// The parabola from 0 at t = 0, through 2^(1/1024) - 1, to 2^(1/512) - 1 at
/// t = 1, in units of 2^-64. It rises to a little less than the table does, or
/// the roundings of both might make a step down.
const SLOPE: u64 = 8 * (root(10) - (1 << 63)) - 2 * (ROOT - (1 << 63)) - 64;
const BEND: u64 = 4 * (ROOT - (1 << 63)) - 8 * (root(10) - (1 << 63));

/// 2^(2^-n), in units of 2^-63, by square roots of integers.
const fn root(n: u32) -> u64 {
    let mut root = 1_u128 << 64;
    let mut i = 0;
    while i < n {
        root = (root << 63).isqrt();
        i += 1;
    }
    root as u64
}

/// log2 of `x`, which is at least 1, rounded down: bit by bit, by squaring.
const fn log2(x: u64) -> u64 {
    let whole = x.ilog2();
    let mut log = (whole as u64) << FRACTION;
    let mut mantissa = (x as u128) << (63 - whole); // in 1..2, in units of 2^-63
    let mut bit = 1 << (FRACTION - 1);
    while bit > 0 {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= bit;
        }
        bit >>= 1;
    }
    log
}

/// log2 of a float from 2^-12 up to 2^63.
const fn log2_of_float(x: f64) -> i64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA) as i64 - 1023;
    let mantissa = bits & ((1 << MANTISSA) - 1) | 1 << MANTISSA;
    log2(mantissa) as i64 + ((exponent - MANTISSA as i64) << FRACTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn powers_are_exact_to_ten_digits_and_logarithms_to_sixteen() {
        extern crate std;
        let unit = 2_f64.powi(-(FRACTION as i32));
        for i in 0..100_000_u64 {
            let log = NANOSECOND + i * ((62 << FRACTION) / 100_000);
            let exact = ((log - NANOSECOND) as f64 * unit).exp2();
            let ours = exp2(log) as f64;
            assert!((ours - exact).abs() <= 1.0 + 3e-11 * exact, "2^{log}");
            if ours > 1e12 {
                let back = log2(exp2(log)) as f64;
                assert!((back - (log - NANOSECOND) as f64).abs() * unit < 1e-10);
            }
        }
        for x in [1, 2, 3, 1_000_000_000, 6_871_947_674, u64::MAX] {
            assert!(
                (log2(x) as f64 * unit - (x as f64).log2()).abs() < 1e-14,
                "{x}"
            );
        }
        assert_eq!(log2(1 << 62), 62 << FRACTION);
        for x in [0.001, 0.6, 1.0, 1.001, 1.6, 2.0, 1e9] {
            assert!(
                (log2_of_float(x) as f64 * unit - x.log2()).abs() < 1e-14,
                "{x}"
            );
        }
        assert_eq!([exp2(0), exp2(NANOSECOND - 1), exp2(NANOSECOND)], [0, 0, 1]);
    }

    #[test]
    fn powers_do_not_fall_where_one_cell_of_the_table_ends() {
        for cell in 1..=512_u64 {
            // The most digits there are, so that a step of one would show.
            let log = NANOSECOND + (62 << FRACTION) + (cell << (FRACTION - 9));
            assert!(exp2(log - 1) <= exp2(log), "{cell}");
        }
    }

    #[test]
    fn a_walk_that_passes_an_end_is_reflected() {
        assert_eq!(walk(5, 0), (1 << 62) - 6); // 5 - 2^62, and its image
        assert_eq!(walk(u64::MAX, u64::MAX), u64::MAX - ((1 << 62) - 2));
        assert_eq!(walk(1 << 63, 1 << 63), 1 << 63); // a step of zero
    }

    #[test]
    fn caps_bound_the_wait_and_not_the_window() {
        let default = Stratified::default();
        assert_eq!(default.strata.cap, 30_000_000_000);
        assert_eq!(default.strata.busy, 120_000_000_000);
        assert_eq!(default.strata.stalled, 600_000_000_000);
        for cap in 1..1000 {
            let w = width(Duration::from_nanos(cap));
            assert!(w >= 1 && w + w.div_ceil(4) <= cap.max(2), "{cap}");
        }
    }

    /// The strata of an outage whose attempts fail at once.
    fn strata(policy: Stratified) -> impl Iterator<Item = Stratum> {
        let mut stratum = policy.strata.begin().stratum;
        core::iter::from_fn(move || {
            let now = stratum;
            policy.strata.advance(&mut stratum, Cause::Down);
            Some(now)
        })
    }

    #[test]
    fn strata_grow_up_to_the_last_whose_successor_fits_under_the_cap() {
        for (growth, cap, growing) in [
            (1.0, 1_000, 0),
            (1.0009, 1_000, 0),
            (1.6, 30, 7), // 1.6^7 is 26.8
            (2.0, 31, 4),
            (2.0, 32, 5),
            (2.0, 33, 5),
            (10.0, 9, 0),
            (10.0, 1_000, 3),
            (1.001, 32, 3_467), // ln 32 / ln 1.001
            (f64::MAX, 1_000_000, 0),
        ] {
            let policy = Stratified::new(SECOND, SECOND * cap * 5 / 4).growth(growth);
            let mut strata = strata(policy);
            for i in 0..growing {
                assert_eq!(strata.next().unwrap().width, 0, "{growth}, {cap} s: {i}");
            }
            let flat = strata.next().unwrap();
            let exact = growth.min(MOST_GROWTH).powi(growing);
            assert!(
                (flat.width as f64 / 1e9 - exact).abs() < 1e-5 * exact,
                "{flat:?}"
            );
            if growth >= LEAST_GROWTH {
                let start = (exact - 1.0) / (growth.min(MOST_GROWTH) - 1.0);
                assert!(
                    (flat.start as f64 / 1e9 - start).abs() <= 1e-5 * start,
                    "{flat:?}"
                );
            }
            let next = strata.next().unwrap();
            assert_eq!(next.start, flat.start + flat.width);
            let cap = if growth < LEAST_GROWTH { 1 } else { cap };
            assert_eq!(next.width, u64::from(cap) * 1_000_000_000, "{growth}");
        }
    }

    #[test]
    fn the_first_stratum_ends_at_the_base() {
        for growth in [1.001, 1.6, 2.0, 1_000.0, 2e9] {
            for base in [1, 2, 3, 1_000, 999_999_937, 30_000_000_000, 1 << 50] {
                let policy = Stratified::new(Duration::from_nanos(base), Duration::MAX);
                let strata = policy.growth(growth).strata;
                let first = strata.begin().stratum;
                let at = |u| strata.instant(u, first);
                // A part in 1e10 of A, which is 1000 times the base at most.
                let rounding = 2 + base / 10_000_000;
                assert!(
                    (1..=rounding).contains(&at(0)),
                    "{growth}, {base}: {}",
                    at(0)
                );
                assert!(at(u64::MAX) <= base && at(u64::MAX) + rounding >= base);
            }
        }
    }

    #[test]
    fn a_fleet_of_known_size_begins_at_twice_what_its_server_takes() {
        // 0.6 / ln 1.6 * 100 000 / 2 000 = 63.83 s
        let base = Stratified::for_fleet(100_000, 1_000).base as f64 / 1e9;
        assert!((base - 63.829).abs() < 0.001, "{base}");
        assert_eq!(Stratified::for_fleet(1, 1_000), Stratified::default());
        assert_eq!(Stratified::for_fleet(0, 0.1), Stratified::default());
        let huge = Stratified::for_fleet(u64::MAX, 1e-300);
        assert!(
            huge.delays_from_seed(3)
                .take(100)
                .all(|d| d > Duration::ZERO)
        );
    }

    /// The strata that `skip` jumps to are those that a walk over each finds.
    #[test]
    fn skipping_strata_ends_where_visiting_each_ends() {
        for (growth, cause) in [
            (1.0, Cause::Down),
            (1.01, Cause::Down),
            (1.6, Cause::Down),
            (1.6, Cause::Busy),
            (1.6, Cause::Stalled),
            (50.0, Cause::Down),
        ] {
            let strata = Stratified::default().growth(growth).strata;
            for seconds in [20, 100, 1_000, 10_000, 86_400 * 7] {
                let elapsed = seconds * 1_000_000_000;
                let is_over = |stratum| strata.instant(u64::MAX, stratum) <= elapsed;
                let mut walked = strata.begin().stratum;
                let mut jumped = walked;
                strata.skip(&mut jumped, cause, elapsed);
                if is_over(jumped) {
                    strata.advance(&mut jumped, cause); // a logarithm was rounded
                }
                while is_over(walked) {
                    strata.advance(&mut walked, cause);
                }
                assert_eq!(jumped, walked, "{growth} {cause:?} {seconds} s");
            }
        }
    }

    #[test]
    fn any_elapsed_time_is_constant_work() {
        for growth in [1.0, 1.000_000_001, 1.6, 1e300] {
            for cause in [Cause::Down, Cause::Busy, Cause::Stalled] {
                for (base, cap) in [(1, 1), (1, u64::MAX), (1_000_000_000, 37_500_000_000)] {
                    let policy =
                        Stratified::new(Duration::from_nanos(base), Duration::from_nanos(cap))
                            .growth(growth);
                    let mut backoff = policy.start(rand::SeedableRng::seed_from_u64(9));
                    let mut elapsed = Duration::ZERO;
                    for attempt in 0..200 {
                        let failed = Failed::new(attempt, elapsed, cause);
                        let wait = crate::Backoff::next_delay(&mut backoff, &failed).unwrap();
                        assert!(wait > Duration::ZERO);
                        elapsed = elapsed * 2 + wait + Duration::from_nanos(1);
                        elapsed = elapsed.min(Duration::MAX / 4);
                    }
                }
            }
        }
    }

    #[test]
    fn an_attempt_out_of_turn_leaves_the_schedule_alone() {
        let strata = Stratified::default().strata;
        let mut place = strata.begin();
        let mut rng = rand::SeedableRng::seed_from_u64(1);
        let first = strata.wait(
            &mut place,
            &mut rng,
            &Failed::new(0, Duration::ZERO, Cause::Down),
        );
        let early = first / 3;
        let rest = strata.wait(&mut place, &mut rng, &Failed::new(1, early, Cause::Down));
        assert_eq!(early + rest, first);
    }

    /// The step from the last stratum that grows into the first flat one.
    #[test]
    fn no_wait_is_a_nanosecond_longer_than_the_cap() {
        let nanos = Duration::from_nanos;
        for (base, cap, growth) in [
            (16, 25, 1.01),
            (2, 4, 1.1),
            (3, 5, 1.005),
            (700, 744, 1.001),
        ] {
            let policy = Stratified::new(nanos(base), nanos(cap)).growth(growth);
            for seed in 0..2_000 {
                let waits = policy.delays_from_seed(seed).take(80);
                let longest = waits.max().unwrap();
                assert!(
                    longest <= nanos(cap),
                    "seed {seed}: {longest:?} of {policy:?}"
                );
            }
        }
    }

    #[test]
    fn what_was_set_before_leaves_no_trace() {
        let default = Stratified::default();
        for growth in [1.0, 1.6, 1e9] {
            assert_eq!(default.growth(2.0).growth(growth), default.growth(growth));
        }
        assert_eq!(default.growth(1.6), default);
    }

    #[test]
    fn debug_shows_what_is_in_force() {
        assert_eq!(
            alloc::format!("{:?}", Stratified::default()),
            "Stratified { base: 1s, growth: 1.6, cap: 37.5s, busy_cap: 150s, stalled_cap: 750s }"
        );
    }

    #[test]
    fn nonsense_is_refused_by_its_value() {
        let refused: Vec<_> = [
            Stratified::try_new(Duration::ZERO, SECOND),
            Stratified::try_new(2 * SECOND, SECOND),
            Stratified::default().try_growth(f64::NAN),
            Stratified::default().try_growth(f64::INFINITY),
            Stratified::default().try_growth(0.5),
            Stratified::default().try_busy_cap(SECOND),
            Stratified::default().try_stalled_cap(SECOND),
            Stratified::try_for_fleet(5, 0.0),
            Stratified::try_for_fleet(5, f64::NAN),
        ]
        .into_iter()
        .map(|built| built.unwrap_err().to_string())
        .collect();
        for (message, value) in refused.iter().zip([
            "0 ns",
            "2s",
            "NaN",
            "inf",
            "0.5",
            "1s",
            "1s",
            "0 clients",
            "NaN",
        ]) {
            assert!(message.contains(value), "{message}");
        }
    }
}
