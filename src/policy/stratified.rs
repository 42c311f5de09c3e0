//! Stratified: one attempt in each stratum of a geometric partition of time.

use core::time::Duration;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::{
    Cause, Failed, InvalidPolicy, Rule, check_factor, check_range, expect, nanos, policy_from_rule,
    scale,
};

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratified {
    // Widths of strata in nanoseconds, each at most MOST_WIDTH.
    base: u64,
    cap: u64,
    busy: u64,
    stalled: u64,
    /// The widest stratum that another, g times as wide, can follow under the
    /// cap: strata up to here grow.
    growing: u64,
    /// What the user gave, in nanoseconds, for the checks of later setters.
    public_cap: u64,
    curve: Curve,
}

const DEFAULT_BASE: Duration = Duration::from_secs(1);
const DEFAULT_CAP: Duration = Duration::from_millis(37_500);
const DEFAULT_BUSY_CAP: Duration = Duration::from_secs(150);
const DEFAULT_STALLED_CAP: Duration = Duration::from_secs(750);
const DEFAULT_GROWTH: f64 = 1.6;
const DEFAULT_CURVE: Curve = Curve::new(DEFAULT_GROWTH);
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
    pub fn try_new(base: Duration, cap: Duration) -> Result<Self, InvalidPolicy> {
        check_range(base, cap)?;
        Ok(Self::checked(base, cap))
    }

    const fn checked(base: Duration, cap: Duration) -> Self {
        let (first, widest) = (nanos(base), width(cap));
        Self {
            base: if first < widest { first } else { widest },
            cap: widest,
            busy: longest(widest, width(DEFAULT_BUSY_CAP)),
            stalled: longest(widest, width(DEFAULT_STALLED_CAP)),
            growing: DEFAULT_CURVE.grows_within(widest),
            public_cap: nanos(cap),
            curve: DEFAULT_CURVE,
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
    pub fn try_for_fleet(clients: u64, per_second: impl Into<f64>) -> Result<Self, InvalidPolicy> {
        let per_second = per_second.into();
        if !(per_second.is_finite() && per_second > 0.0) {
            return Err(InvalidPolicy::new(alloc::format!(
                "the server's capacity is {per_second} clients a second, and must be a positive \
                 number: give what it was measured to take"
            )));
        }
        // (g - 1) / ln g clients per base arrive at the start of the first
        // window, where the density is highest; at most 2 * per_second shall.
        let ln_growth = DEFAULT_CURVE.log2() * core::f64::consts::LN_2;
        let seconds = (DEFAULT_GROWTH - 1.0) / ln_growth * clients as f64 / (2.0 * per_second);
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
    /// not grow.
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
    pub fn try_growth(self, growth: f64) -> Result<Self, InvalidPolicy> {
        check_factor("growth", growth)?;
        let curve = Curve::new(growth);
        Ok(Self {
            growing: curve.grows_within(self.cap),
            curve,
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
    pub fn try_busy_cap(self, cap: Duration) -> Result<Self, InvalidPolicy> {
        self.check_cap("busy", cap)?;
        Ok(Self {
            busy: width(cap),
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
    pub fn try_stalled_cap(self, cap: Duration) -> Result<Self, InvalidPolicy> {
        self.check_cap("stalled", cap)?;
        Ok(Self {
            stalled: width(cap),
            ..self
        })
    }

    fn check_cap(&self, name: &str, cap: Duration) -> Result<(), InvalidPolicy> {
        if nanos(cap) >= self.public_cap {
            return Ok(());
        }
        Err(InvalidPolicy::new(alloc::format!(
            "the {name} cap {cap:?} is below the cap {:?}: a failure that costs the server more \
             must not be retried sooner; raise it or lower the cap",
            Duration::from_nanos(self.public_cap)
        )))
    }

    /// The width of the stratum after one of `width`.
    #[inline]
    fn next_width(&self, width: u64, cause: Cause) -> u64 {
        if width <= self.growing {
            return self.curve.grow(width) as u64; // at most the cap
        }
        if width < self.cap {
            return self.cap;
        }
        match cause {
            Cause::Down => self.cap,
            Cause::Busy => (width + width.div_ceil(4)).min(self.busy),
            Cause::Stalled => (2 * width).min(self.stalled),
        }
    }

    /// Where in a stratum of `width` the position `u` lies, in 1..=width.
    #[inline]
    fn offset(&self, u: u64, width: u64) -> u64 {
        // Flat where the next stratum could not be g times as wide. A growing
        // density in front of a narrower stratum would leave gaps of more
        // than 5/4 of a width, and so waits above the cap.
        let at = if width <= self.growing {
            self.curve.position(u)
        } else {
            u
        };
        1 + scale(at, width)
    }

    /// Moves over the strata that lie before `elapsed` without visiting each,
    /// up to the last few: a laptop may have slept for a week.
    fn skip(&self, at: &mut Stratum, cause: Cause, elapsed: u64) {
        // While widths grow geometrically: binary lifting over sums of 2^j
        // strata, relative to the first, from the largest that fits downwards.
        let mut spans = [(1.0_f64, 1.0_f64); 64]; // (sum of 2^j widths, growth over them)
        spans[0].1 = self.curve.growth();
        for j in 1..spans.len() {
            let (sum, growth) = spans[j - 1];
            spans[j] = (sum + sum * growth, growth * growth);
        }
        for (sum, growth) in spans.into_iter().rev() {
            let past = at.start as f64 + at.width as f64 * sum;
            let width = at.width as f64 * growth;
            // False for the sums that overflowed. The cast saturates nowhere:
            // both are below the u64 that they are compared with.
            if past < elapsed as f64 && width < self.cap as f64 {
                at.start = (past as u64).min(elapsed);
                at.width = (width as u64).max(at.width);
            }
        }
        // The last strata of growth, and the growth beyond the cap: a few
        // dozen steps at most, by 1.25 or 2 up to 2^61.
        while at.start + at.width < elapsed {
            let next = self.next_width(at.width, cause);
            if next == at.width {
                // And once widths are constant, a division.
                at.start += (elapsed - at.start) / next * next;
                return;
            }
            at.start += at.width;
            at.width = next;
        }
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
#[derive(Clone, Copy, Debug, Default)]
struct Stratum {
    start: u64,
    width: u64,
}

/// What one outage remembers of [`Stratified`].
#[derive(Clone, Copy, Debug, Default)]
#[allow(unnameable_types)] // seen only through the sealed Rule
pub struct Place {
    /// The position within the stratum, as a fraction of 2^64.
    u: u64,
    /// The stratum of the latest attempt; width 0 before the first.
    stratum: Stratum,
    /// The instant of the latest attempt, since the outage began.
    at: u64,
}

impl Rule for Stratified {
    type State = Place;

    #[inline(always)]
    #[allow(clippy::inline_always)] // see Seeded
    fn wait(&self, place: &mut Place, rng: &mut Xoshiro256PlusPlus, failed: &Failed) -> Duration {
        let elapsed = nanos(failed.elapsed).min(MOST_ELAPSED);
        if place.stratum.width == 0 {
            place.u = rng.next_u64();
            place.stratum.width = self.base;
        } else if elapsed < place.at {
            // An attempt out of turn (retry now) failed: the stratum keeps
            // the attempt that it was given.
            return Duration::from_nanos(place.at - elapsed);
        } else {
            place.u = walk(place.u, rng.next_u64());
            self.advance(&mut place.stratum, failed.cause);
        }
        self.settle(place);
        if place.at <= elapsed {
            *place = self.catch_up(*place, failed.cause, elapsed);
        }
        Duration::from_nanos(place.at - elapsed)
    }
}

impl Stratified {
    #[inline]
    fn advance(&self, at: &mut Stratum, cause: Cause) {
        at.start += at.width;
        at.width = self.next_width(at.width, cause);
    }

    /// The instant of the attempt in the present stratum.
    #[inline]
    fn settle(&self, place: &mut Place) {
        place.at = place.stratum.start + self.offset(place.u, place.stratum.width);
    }

    /// Moves on to the first stratum whose attempt lies after `elapsed`: those
    /// in between went by while an attempt was in flight.
    ///
    /// By value, so that the common path can keep the place in registers.
    #[cold]
    fn catch_up(&self, mut place: Place, cause: Cause, elapsed: u64) -> Place {
        while place.at <= elapsed {
            if (elapsed - place.at) / 8 > place.stratum.width {
                self.skip(&mut place.stratum, cause, elapsed);
            } else {
                self.advance(&mut place.stratum, cause);
            }
            self.settle(&mut place);
        }
        place
    }
}

policy_from_rule!(Stratified);

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

/// Growth by a constant factor, in fixed point: the same on every platform,
/// which `powf` and `exp2` are not.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Curve {
    /// The factor g, in units of 2^-32.
    growth: u64,
    /// log2 g, in units of 2^-58 (so that up to 2^31 fits).
    log2: u64,
    /// 1/g, in units of 2^-63.
    least: u64,
    /// 1/(1 - 1/g), in units of 2^-53, or 0 where growth is too small to
    /// tell the curve from a straight line.
    stretch: u64,
}

/// Beyond this factor the second stratum is the cap in all but name.
const MOST_GROWTH: f64 = (1_u64 << 31) as f64;

impl Curve {
    const fn new(growth: f64) -> Self {
        // Rounded to the nearest; exact bounds are the caller's.
        let growth = (growth.min(MOST_GROWTH) * (1_u64 << 32) as f64 + 0.5) as u64;
        let log2 = log2(growth);
        let mut curve = Self {
            growth,
            log2,
            least: 0,
            stretch: 0,
        };
        curve.least = curve.falling(0);
        // Below 1.001 the curve leaves a straight line by less than 0.013 %.
        if growth > (1.001 * (1_u64 << 32) as f64) as u64 {
            curve.stretch = ((1_u128 << 116) / ((1 << 63) - curve.least) as u128) as u64;
        }
        curve
    }

    fn growth(&self) -> f64 {
        self.growth as f64 / (1_u64 << 32) as f64
    }

    fn log2(&self) -> f64 {
        self.log2 as f64 / (1_u64 << 58) as f64
    }

    /// g times `width`, rounded up so that a growing width never stands
    /// still.
    #[inline]
    fn grow(&self, width: u64) -> u128 {
        (width as u128 * self.growth as u128 + 0xffff_ffff) >> 32
    }

    /// The greatest width that still fits under `cap` when it has grown.
    const fn grows_within(&self, cap: u64) -> u64 {
        // floor(cap / g): `grow` rounds a product of integers up, and `cap`
        // is one. At most `cap`, as g is at least 1, so the cast keeps it.
        (((cap as u128) << 32) / self.growth as u128) as u64
    }

    /// (g^u - 1)/(g - 1), for `u` and the result as fractions of 2^64.
    #[inline]
    fn position(&self, u: u64) -> u64 {
        if self.stretch == 0 {
            return u;
        }
        let above = self.falling(u).saturating_sub(self.least);
        // 2^-63 * 2^-53 to 2^-64; a rounding above 1 saturates.
        let position = (above as u128 * self.stretch as u128) >> 52;
        if position > u64::MAX as u128 {
            u64::MAX
        } else {
            position as u64
        }
    }

    /// g^(u - 1) = 2^-(log2 g * (1 - u)), in units of 2^-63.
    #[inline]
    const fn falling(&self, u: u64) -> u64 {
        let y = scale(!u, self.log2); // in units of 2^-58
        let power = POWERS[(y >> 51) as usize & 127];
        // e^-x for the rest of y, x < ln 2 / 128: its cubic is exact to 4e-11.
        let x = scale(y & ((1 << 51) - 1), LN_2) << 6;
        let x2 = scale(x, x);
        let fall = x - x2 / 2 + scale(x2, x) / 6;
        (power - scale(fall, power)) >> (y >> 58)
    }
}

/// ln 2, in units of 2^-64.
const LN_2: u64 = 0xb172_17f7_d1cf_79ac;

/// 2^(-i/128), in units of 2^-63, by square roots of integers.
const POWERS: [u64; 128] = {
    let one = 1_u128 << 63;
    let mut root = one / 2;
    let mut halvings = 0;
    while halvings < 7 {
        root = (root << 63).isqrt();
        halvings += 1;
    }
    let mut powers = [0; 128];
    let mut power = one;
    let mut i = 0;
    while i < 128 {
        powers[i] = power as u64;
        power = (power * root) >> 63;
        i += 1;
    }
    powers
};

/// log2 of `x`, given in units of 2^-32 and at least 1, in units of 2^-58:
/// bit by bit, by squaring.
const fn log2(x: u64) -> u64 {
    let whole = x.ilog2() - 32;
    let mut log = (whole as u64) << 58;
    let mut mantissa = (x as u128) << (31 - whole); // in 1..2, in units of 2^-63
    let mut bit = 1 << 57;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_curve_is_the_exponential_to_nine_digits() {
        extern crate std;
        for g in [1.002, 1.1, 1.6, 2.0, 3.7, 10.0, 1e6] {
            let curve = Curve::new(g);
            assert!((curve.log2() - g.log2()).abs() < 1e-9 * g.log2().max(1.0));
            let mut before = 0;
            for i in 0..=10_000_u64 {
                let u = i * (u64::MAX / 10_000);
                let x = u as f64 / 2_f64.powi(64);
                let exact = (g.powf(x) - 1.0) / (g - 1.0);
                let ours = curve.position(u);
                assert!(
                    (ours as f64 / 2_f64.powi(64) - exact).abs() < 1e-9 + 1e-10 / (g - 1.0),
                    "g {g}, u {x}"
                );
                assert!(ours >= before, "the curve rises");
                before = ours;
            }
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
        assert_eq!(default.cap, 30_000_000_000);
        assert_eq!(default.busy, 120_000_000_000);
        assert_eq!(default.stalled, 600_000_000_000);
        for cap in 1..1000 {
            let w = width(Duration::from_nanos(cap));
            assert!(w >= 1 && w + w.div_ceil(4) <= cap.max(2), "{cap}");
        }
    }

    #[test]
    fn strata_grow_up_to_the_last_whose_successor_fits_under_the_cap() {
        for growth in [1.0, 1.000_000_001, 1.001, 1.6, 2.0, 1e6, f64::MAX] {
            let curve = Curve::new(growth);
            for cap in [1, 2, 3, 30_000_000_000, MOST_WIDTH - 1, MOST_WIDTH] {
                let most = curve.grows_within(cap);
                assert!(curve.grow(most) <= cap as u128, "{growth}, {cap} ns");
                assert!(curve.grow(most + 1) > cap as u128, "{growth}, {cap} ns");
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

    /// The strata that `skip` jumps to are those that a walk over each finds,
    /// to the rounding of a second's growth to whole nanoseconds.
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
            let policy = Stratified::default().growth(growth);
            for seconds in [20, 100, 1_000, 10_000, 86_400 * 7] {
                let elapsed = seconds * 1_000_000_000;
                let mut jumped = Stratum {
                    start: 0,
                    width: policy.base,
                };
                let mut walked = jumped;
                policy.skip(&mut jumped, cause, elapsed);
                while jumped.start + jumped.width <= elapsed {
                    policy.advance(&mut jumped, cause);
                }
                while walked.start + walked.width <= elapsed {
                    policy.advance(&mut walked, cause);
                }
                let apart = jumped.start.abs_diff(walked.start);
                let rounding = elapsed / 1_000_000;
                assert!(
                    apart < rounding,
                    "{growth} {cause:?} {seconds} s: {apart} ns"
                );
                assert!(jumped.width.abs_diff(walked.width) < rounding);
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
        let policy = Stratified::default();
        let mut place = Place::default();
        let mut rng = rand::SeedableRng::seed_from_u64(1);
        let first = policy.wait(
            &mut place,
            &mut rng,
            &Failed::new(0, Duration::ZERO, Cause::Down),
        );
        let early = first / 3;
        let rest = policy.wait(&mut place, &mut rng, &Failed::new(1, early, Cause::Down));
        assert_eq!(early + rest, first);
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
