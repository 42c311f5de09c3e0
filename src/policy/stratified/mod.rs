//! Stratified: one attempt in each window of time, and windows that grow.

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

/// The default policy: one attempt in each window of time, and windows that grow.
///
/// The time since the loss is divided into windows (strata) that grow
/// geometrically. A client makes one attempt in each window, at a random position.
/// Over a fleet that lost its server together the positions are uniform, so the
/// fleet's attempts fill every window and do not pile up at the cap.
///
/// - The schedule counts from the loss, and attempts count as time. A timeout of ten
///   seconds does not shift all clients by ten seconds. If an attempt takes so long
///   that windows pass, the client makes no attempts in those.
/// - From one window to the next, a client's position moves by a random step of at
///   most a quarter of a window. So two clients do not stay in step, and attempts in
///   neighbouring windows of equal width are at most 5/4 of a window apart.
/// - Windows grow up to a cap. The cap is higher after failures that cost the server
///   more; see [`Cause`](crate::Cause). Beyond the cap for `Down`, each window is 1.25
///   times as wide as the one before.
/// - Windows never get narrower without a connection. A refusal after a stall says
///   nothing new about the queue in which the client stalled.
///
/// # Defaults
///
/// | | default | the longest wait |
/// |---|---|---|
/// | base | 1 s | after the loss |
/// | [`growth`](Self::growth) | 1.6 | |
/// | cap | 37.5 s | while all failures are [`Down`](crate::Cause::Down) |
/// | [`busy_cap`](Self::busy_cap) | 750 s, or the cap if that is longer | after [`Busy`](crate::Cause::Busy) |
/// | [`stalled_cap`](Self::stalled_cap) | 750 s, or the cap if that is longer | after [`Stalled`](crate::Cause::Stalled) |
///
/// Windows grow to 4/5 of the cap, so that waits stay within the cap. If the cause
/// changes to one with a lower cap, windows keep their width. Lengths of more than 73
/// years count as 73 years.
///
/// If an attempt is made early (by `retry_now`) and fails, the client waits for the
/// rest of its time. An attempt that is early by less than 20 ms, or by less than a
/// 64th of its window, counts as made in its turn: some timers are early. If the rest is
/// longer than the cap of the cause, the client draws a new wait instead, of at most 4/5
/// of the cap for `Down`. After a connection the cap for `Down` holds for each cause.
///
/// # Where it comes from
///
/// The rule is stratified sampling. While windows grow, the density of a fleet's
/// attempts falls about as 1/t, within each window as well. The random step is
/// reflected at both ends of the window, which keeps positions uniform.
/// [`_spread`](crate::_spread) states the exact law and how it is tested.
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
    /// In nanoseconds, for the checks of later setters.
    cap: u64,
    growth: f64,
    strata: Strata,
}

pub(crate) const DEFAULT_BASE: Duration = Duration::from_secs(1);
pub(crate) const DEFAULT_CAP: Duration = Duration::from_millis(37_500);
// A server whose refusals cost r handshakes can stay down for good if r N/C is more than
// about the widest window: with 120 s that is so in 7 of the 91 storms of r = 0.3, with
// 600 s in none.
const DEFAULT_BUSY_CAP: Duration = Duration::from_secs(750);
const DEFAULT_STALLED_CAP: Duration = Duration::from_secs(750);
const DEFAULT_GROWTH: f64 = 1.6;
/// The natural logarithm of the growth: core has no `ln`.
const LN_GROWTH: f64 = 0.470_003_629_245_735_6;
// Computed at compile time, because every driver starts with this policy.
const DEFAULT: Stratified = Stratified::checked(DEFAULT_BASE, DEFAULT_CAP);

impl Default for Stratified {
    fn default() -> Self {
        DEFAULT
    }
}

impl Stratified {
    /// A first window of `base`, and waits of at most `cap` while the server is
    /// down.
    ///
    /// The first window is at most 4/5 of the cap.
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

    /// The default policy with a first window for a fleet of known size.
    ///
    /// `per_second` is the number of clients that the server takes in a second. The
    /// first window is so wide that the first attempts of the whole fleet arrive at
    /// twice that rate at most, on average. If the window does not fit under the
    /// default caps, the caps rise.
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
                "it must be a positive number; give the rate of clients that you measured at the server",
            ));
        }
        // The density is highest at the start of the first window: (g - 1) / ln g
        // of the clients per base. It must be at most 2 * per_second.
        let seconds = (DEFAULT_GROWTH - 1.0) / LN_GROWTH * clients / (2.0 * per_second);
        // Saturates at 73 years, which is far below the limits of f64 and Duration.
        let base = DEFAULT_BASE.max(Duration::from_nanos(
            ((seconds * 1e9) as u64).min(MOST_WIDTH),
        ));
        Self::try_new(base, DEFAULT_CAP.max(base + base / 4))
    }

    /// The factor between the width of a window and of the next one: 1.6 by default.
    ///
    /// With a lower factor clients make more attempts, and a server whose refusals are
    /// cheap recovers sooner. With a higher factor they make fewer attempts. With 1
    /// windows do not grow. Factors below 1.001 count as 1: windows would take seven
    /// hundred attempts to double.
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

    /// The longest wait after a [`Busy`](crate::Cause::Busy) failure: 750 s by
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

    /// The longest wait after a [`Stalled`](crate::Cause::Stalled) failure: 750 s by
    /// default.
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
        // The values in force. Caps are exact to a nanosecond.
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
    fn a_cap_limits_the_wait_and_not_the_window() {
        let default = Stratified::default();
        assert_eq!(default.strata.cap, 30_000_000_000);
        assert_eq!(default.strata.busy, 600_000_000_000);
        assert_eq!(default.strata.stalled, 600_000_000_000);
        for cap in 1..1000 {
            let w = width(Duration::from_nanos(cap));
            assert!(w >= 1 && w + w.div_ceil(4) <= cap.max(2), "{cap}");
        }
    }

    #[test]
    fn a_cap_above_those_for_busy_and_stalled_raises_them() {
        for (cap, busy, stalled) in [(100, 750, 750), (200, 750, 750), (1_000, 1_000, 1_000)] {
            let policy = Stratified::new(SECOND, cap * SECOND);
            assert_eq!(policy.strata.busy, width(busy * SECOND), "{cap} s");
            assert_eq!(policy.strata.stalled, width(stalled * SECOND), "{cap} s");
        }
    }

    #[test]
    fn a_fleet_of_known_size_begins_at_twice_the_rate_of_its_server() {
        // 0.6 / ln 1.6 * 100 000 / 2 000 = 63.83 s
        let base = Stratified::for_fleet(100_000, 1_000).strata.base() as f64 / 1e9;
        assert!((base - 63.829).abs() < 0.001, "{base}");
        // The caps rise only as far as the first window needs.
        let Strata { cap, busy, .. } = Stratified::for_fleet(100_000, 1_000).strata;
        assert!((cap as f64 / 1e9 - base).abs() < 1e-8, "{cap}");
        assert_eq!(busy, Stratified::default().strata.busy);
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
    fn a_wait_after_any_elapsed_time_is_found_in_constant_time() {
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

    /// The step from the last growing stratum into the first flat stratum.
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
    fn a_later_growth_replaces_the_growth_before() {
        let default = Stratified::default();
        for growth in [1.0, 1.6, 1e9] {
            assert_eq!(default.growth(2.0).growth(growth), default.growth(growth));
        }
        assert_eq!(default.growth(1.6), default);
    }

    #[test]
    fn debug_shows_the_values_in_force() {
        assert_eq!(
            alloc::format!("{:?}", Stratified::default()),
            "Stratified { base: 1s, growth: 1.6, cap: 37.5s, busy_cap: 750s, stalled_cap: 750s }"
        );
        let other = Stratified::new(2 * SECOND, 10 * SECOND).growth(3.0);
        assert_eq!(
            alloc::format!("{:?}", other.busy_cap(20 * SECOND).stalled_cap(40 * SECOND)),
            "Stratified { base: 2s, growth: 3.0, cap: 10s, busy_cap: 20s, stalled_cap: 40s }"
        );
    }

    #[test]
    fn invalid_settings_are_refused_with_their_values() {
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
            Stratified::try_for_fleet(5, f64::INFINITY),
            Stratified::try_for_fleet(-5, 1),
            Stratified::try_for_fleet(f64::NAN, 1),
            Stratified::try_for_fleet(f64::INFINITY, 1),
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
            "per_second is NaN",
            "per_second is inf",
            "clients is -5",
            "clients is NaN",
            "clients is inf",
        ]) {
            assert!(message.contains(value), "{message}");
        }
    }
}
