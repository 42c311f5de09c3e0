//! Stratified: one attempt in each stratum of a geometric partition of time.

mod strata;

use core::fmt;
use core::time::Duration;

use super::check::{check_factor, check_range};
use super::{Failed, Policy};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::number::Number;
use crate::rng::Rng;

pub use strata::StratifiedState;
use strata::{MOST_WIDTH, Strata, width};

/// One attempt in each stratum of time: the default policy.
///
/// The time since the loss is cut into windows (strata) that grow geometrically.
/// A client makes one attempt in each window, at a position that is uniform over
/// the fleet. So a fleet of any size is spread evenly over every window, without
/// waves, gaps, or a pile-up at the cap.
///
/// - The schedule is absolute. The time of an attempt counts, so a timeout of ten
///   seconds does not shift all clients by ten seconds.
/// - From one window to the next, a client's position takes a random step of at
///   most a quarter of a window. So two clients do not stay in step, and no client
///   waits much longer than a window.
/// - The cap depends on what a failure cost the server; see
///   [`Cause`](crate::Cause). After costly failures the client waits longer.
///
/// # Defaults
///
/// | | default | bounds the wait |
/// |---|---|---|
/// | base | 1 s | before the first reconnect |
/// | [`growth`](Self::growth) | 1.6 | |
/// | cap | 37.5 s | while the server is [`Down`](crate::Cause::Down) |
/// | [`busy_cap`](Self::busy_cap) | 150 s, or the cap if that is longer | after [`Busy`](crate::Cause::Busy) |
/// | [`stalled_cap`](Self::stalled_cap) | 750 s, or the cap if that is longer | after [`Stalled`](crate::Cause::Stalled) |
///
/// A cap bounds the wait itself. Two attempts in neighbouring windows are at most
/// 5/4 of a window apart, so windows grow to 4/5 of the cap. Lengths of more than
/// 73 years count as 73 years.
///
/// If an attempt is made before its time (by `retry_now`, or by a timer that is
/// early) and fails, the rest of its wait stays, unless the cap for its cause is
/// shorter. Then the client waits within a window of that cap.
///
/// # Where it comes from
///
/// The rule is stratified sampling of the harmonic arrival curve. Within the
/// growing strata the density of a fleet's attempts falls as 1/t, which a server
/// that takes C clients a second can work off. The walk is reflected at both ends
/// of the window, so the position stays exactly uniform at every step.
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
    /// As given and in nanoseconds, for the checks of later setters.
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
        let strata = Strata::under(widest, width(DEFAULT_BUSY_CAP), width(DEFAULT_STALLED_CAP));
        let base = if first < widest { first } else { widest };
        Self {
            cap: nanos(cap),
            growth: DEFAULT_GROWTH,
            strata: strata.growing(base, DEFAULT_GROWTH),
        }
    }

    /// The default with a first window so wide that the first attempts of a
    /// whole fleet arrive at no more than twice `per_second`, the number of
    /// clients that the server takes in a second.
    ///
    /// If the first window is wider than the default caps, they rise with it.
    ///
    /// # Panics
    ///
    /// If `clients` is negative or `per_second` is not positive, or if one of them
    /// is infinite or NaN; [`try_for_fleet`](Self::try_for_fleet) does not.
    ///
    /// ```
    /// use redial::{Policy, Stratified};
    ///
    /// // A hundred thousand clients of a server that takes a thousand a second.
    /// let policy = Stratified::for_fleet(100_000, 1_000);
    /// assert!(policy.delays_from_seed(1).next().unwrap().as_secs() < 64);
    /// ```
    #[track_caller]
    pub fn for_fleet(clients: impl Number, per_second: impl Number) -> Self {
        expect(Self::try_for_fleet(clients, per_second))
    }

    /// As [`for_fleet`](Self::for_fleet).
    ///
    /// # Errors
    ///
    /// If `clients` is negative or `per_second` is not positive, or if one of them
    /// is infinite or NaN.
    pub fn try_for_fleet(
        clients: impl Number,
        per_second: impl Number,
    ) -> Result<Self, InvalidConfig> {
        let (clients, per_second) = (clients.as_f64(), per_second.as_f64());
        if !(clients.is_finite() && clients >= 0.0) {
            return Err(InvalidConfig::new(
                "clients",
                clients,
                "it must be a number of at least 0; give the size of the fleet",
            ));
        }
        if !(per_second.is_finite() && per_second > 0.0) {
            return Err(InvalidConfig::new(
                "per_second",
                per_second,
                "it must be a positive number of clients; give what the server was measured to take",
            ));
        }
        // At the start of the first window the density is highest: (g - 1) / ln g
        // clients per base. It must be at most 2 * per_second.
        let seconds = (DEFAULT_GROWTH - 1.0) / LN_GROWTH * clients / (2.0 * per_second);
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
            strata: self.strata.growing(self.strata.base(), growth),
            ..self
        })
    }

    /// Waits of at most `cap` after a [`Busy`](crate::Cause::Busy) failure: 150 s by
    /// default.
    ///
    /// # Panics
    ///
    /// If `cap` is below the cap for [`Down`](crate::Cause::Down);
    /// [`try_busy_cap`](Self::try_busy_cap) does not.
    #[track_caller]
    pub fn busy_cap(self, cap: Duration) -> Self {
        expect(self.try_busy_cap(cap))
    }

    /// As [`busy_cap`](Self::busy_cap).
    ///
    /// # Errors
    ///
    /// If `cap` is below the cap for [`Down`](crate::Cause::Down).
    pub fn try_busy_cap(self, cap: Duration) -> Result<Self, InvalidConfig> {
        self.check_cap("busy_cap", cap)?;
        Ok(Self {
            strata: self.strata.busy(width(cap)),
            ..self
        })
    }

    /// Waits of at most `cap` after a [`Stalled`](crate::Cause::Stalled) failure:
    /// 750 s by default.
    ///
    /// # Panics
    ///
    /// If `cap` is below the cap for [`Down`](crate::Cause::Down);
    /// [`try_stalled_cap`](Self::try_stalled_cap) does not.
    #[track_caller]
    pub fn stalled_cap(self, cap: Duration) -> Self {
        expect(self.try_stalled_cap(cap))
    }

    /// As [`stalled_cap`](Self::stalled_cap).
    ///
    /// # Errors
    ///
    /// If `cap` is below the cap for [`Down`](crate::Cause::Down).
    pub fn try_stalled_cap(self, cap: Duration) -> Result<Self, InvalidConfig> {
        self.check_cap("stalled_cap", cap)?;
        Ok(Self {
            strata: self.strata.stalled(width(cap)),
            ..self
        })
    }

    fn check_cap(&self, setting: &'static str, cap: Duration) -> Result<(), InvalidConfig> {
        if nanos(cap) >= self.cap {
            return Ok(());
        }
        Err(InvalidConfig::duration(
            setting,
            cap,
            alloc::format!(
                "it is below the cap of {:?}; a failure that costs the server more must not be \
                 retried sooner, so raise it or lower the cap",
                Duration::from_nanos(self.cap)
            ),
        ))
    }
}

impl Policy for Stratified {
    type State = StratifiedState;

    #[inline]
    fn begin(&self, _: &mut Rng) -> StratifiedState {
        self.strata.begin()
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // see Strata::wait
    fn next_delay(
        &self,
        state: &mut StratifiedState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        Some(self.strata.wait(state, rng, failed))
    }
}

impl fmt::Debug for Stratified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in force, and caps to a nanosecond.
        let cap = |width| Duration::from_nanos(width + width / 4);
        f.debug_struct("Stratified")
            .field("base", &Duration::from_nanos(self.strata.base()))
            .field("growth", &self.growth)
            .field("cap", &Duration::from_nanos(self.cap))
            .field("busy_cap", &cap(self.strata.busy))
            .field("stalled_cap", &cap(self.strata.stalled))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Cause;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

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

    #[test]
    fn a_fleet_of_known_size_begins_at_twice_what_its_server_takes() {
        // 0.6 / ln 1.6 * 100 000 / 2 000 = 63.83 s
        let base = Stratified::for_fleet(100_000, 1_000).strata.base() as f64 / 1e9;
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

    #[test]
    fn any_elapsed_time_is_constant_work() {
        for growth in [1.0, 1.000_000_001, 1.6, 1e300] {
            for cause in [Cause::Down, Cause::Busy, Cause::Stalled] {
                for (base, cap) in [(1, 1), (1, u64::MAX), (1_000_000_000, 37_500_000_000)] {
                    let policy =
                        Stratified::new(Duration::from_nanos(base), Duration::from_nanos(cap))
                            .growth(growth);
                    let mut backoff = policy.start(Rng::from_seed(9));
                    let mut elapsed = Duration::ZERO;
                    for attempt in 0..200 {
                        let failed = Failed::new(attempt, elapsed, cause);
                        let wait = backoff.next_delay(&failed).unwrap();
                        assert!(wait > Duration::ZERO);
                        elapsed = elapsed * 2 + wait + Duration::from_nanos(1);
                        elapsed = elapsed.min(Duration::MAX / 4);
                    }
                }
            }
        }
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
            "base is 0ns",
            "base is 2s",
            "NaN",
            "inf",
            "growth is 0.5",
            "busy_cap is 1s",
            "stalled_cap is 1s",
            "per_second is 0",
            "NaN",
        ]) {
            assert!(message.contains(value), "{message}");
        }
    }
}
