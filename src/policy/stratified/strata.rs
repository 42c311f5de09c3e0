//! The strata (windows of time) of [`Stratified`](super::Stratified), and the path
//! of one outage through them.

use core::time::Duration;

use crate::nanos::{nanos, scale};
use crate::policy::fixed_point::{NANOSECOND, ROUNDING, exp2, log2, log2_of_float};
use crate::policy::{Cause, Failed};
use crate::rng::Rng;

/// The longest stratum, 73 years. The sum of two of these and the longest elapsed
/// time fits a u64.
pub(super) const MOST_WIDTH: u64 = 1 << 61;
const MOST_ELAPSED: u64 = 1 << 62;

/// Below this growth strata count as flat. Otherwise A (see [`Strata`]) would be so
/// much longer than the strata that too few digits would be left for them.
const LEAST_GROWTH: f64 = 1.001;
/// Above this growth the second stratum is at the cap anyway.
const MOST_GROWTH: f64 = (1_u64 << 31) as f64;

/// The width of strata for a cap on waits. Waits are at most 5/4 of the width.
pub(super) const fn width(cap: Duration) -> u64 {
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

pub(super) const fn longest(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// A window of time since the outage began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stratum {
    /// The start: an instant, or the logarithm of an instant while strata grow.
    start: u64,
    /// The width, or 0 while strata grow.
    width: u64,
}

/// The state of [`Stratified`](super::Stratified).
#[derive(Clone, Copy, Debug)]
pub struct StratifiedState {
    /// The position within the stratum, as a fraction of 2^64.
    u: u64,
    /// The stratum of the latest attempt.
    stratum: Stratum,
    /// The instant of the latest attempt, counted from the start of the outage; 0
    /// before the first.
    at: u64,
}

/// The parameters of the strata, the same for every outage.
///
/// While strata grow, position u of stratum k lies at base * (g^(k + u) - 1) /
/// (g - 1). With A = base / (g - 1) this is 2^(log2 A + (k + u) log2 g) - A: one
/// power of two for any stratum. So the logarithm of its start describes a growing
/// stratum, and one addition leads to the next stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strata {
    // Widths in nanoseconds, each at most MOST_WIDTH.
    pub(super) cap: u64,
    pub(super) busy: u64,
    pub(super) stalled: u64,
    /// log2 g; 0 if strata do not grow.
    log2: u64,
    /// log2 A: the start of the first stratum. If that is flat: its width.
    first: u64,
    /// The logarithm of the end of the last growing stratum; 0 if no stratum grows.
    /// The next stratum is flat, because its successor would not fit under the cap if
    /// it were g times as wide. After that, strata are as wide as the cap.
    grown: u64,
    /// A in nanoseconds. A power of two minus A is an instant.
    origin: u64,
}

impl Strata {
    /// Sets the caps; [`growing`](Self::growing) sets the rest.
    pub(super) const fn under(cap: u64, busy: u64, stalled: u64) -> Self {
        Self {
            cap,
            busy: longest(cap, busy),
            stalled: longest(cap, stalled),
            log2: 0,
            first: 0,
            grown: 0,
            origin: 0,
        }
    }

    /// Sets the widest stratum after `Busy`.
    pub(super) const fn busy(self, busy: u64) -> Self {
        Self { busy, ..self }
    }

    /// Sets the widest stratum after `Stalled`.
    pub(super) const fn stalled(self, stalled: u64) -> Self {
        Self { stalled, ..self }
    }

    /// The width of the first stratum, in nanoseconds.
    pub(super) const fn base(&self) -> u64 {
        if self.grown == 0 {
            self.first
        } else {
            exp2(self.first + self.log2) - self.origin
        }
    }

    /// Sets the first stratum and the growth; keeps the caps.
    pub(super) const fn growing(self, base: u64, growth: f64) -> Self {
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
        // In 128 bits, because A may not fit a u64 of nanoseconds.
        let first = (NANOSECOND + log2(base)) as i128 - log2_of_float(growth - 1.0) as i128;
        let last = (NANOSECOND + log2(MOST_ELAPSED)) as i128;
        flat.log2 = log2_growth;
        if first > last {
            return flat;
        }
        let first = first as u64;
        // As many as fit under the cap and before MOST_ELAPSED. `ROUNDING` is for a
        // cap that is exactly a power of the growth.
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

    /// Moves to the next stratum.
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

    /// The first stratum that does not grow.
    #[cold]
    fn flat(&self) -> Stratum {
        let start = exp2(self.grown);
        let end = exp2(self.grown.saturating_add(self.log2));
        Stratum {
            // Instants in flat strata are rounded up by a nanosecond. Without this
            // nanosecond, the wait into this stratum could be longer than the cap.
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
        // Never narrower: a refusal in between says nothing new about the queue behind
        // it, and clients that come back sooner would fill that queue again.
        if width >= self.widest(cause) {
            width
        } else {
            (width + width.div_ceil(4)).min(self.widest(cause))
        }
    }

    /// The instant of the attempt at position `u`: at least 1 ns.
    #[inline]
    fn instant(&self, u: u64, stratum: Stratum) -> u64 {
        if stratum.width == 0 {
            let grown = exp2(stratum.start + scale(u, self.log2));
            grown.saturating_sub(self.origin).max(1)
        } else {
            stratum.start + scale(u, stratum.width) + 1
        }
    }

    /// Moves to the first stratum whose attempt is after `elapsed`. The strata in
    /// between have passed while an attempt was in flight.
    ///
    /// The state is passed by value, so that the common path can keep it in
    /// registers.
    #[cold]
    fn catch_up(&self, mut place: StratifiedState, cause: Cause, elapsed: u64) -> StratifiedState {
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

    /// Moves to the stratum of `elapsed` without visiting each stratum in between: a
    /// laptop may have slept for a week.
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
                // From here on widths are constant: a division is enough.
                stratum.start += (elapsed - stratum.start) / next * next;
                return;
            }
            // Above the cap, widths grow by 1.25 up to 2^61: a few hundred steps.
            stratum.start += stratum.width;
            stratum.width = next;
        }
    }
}

/// How many strata to visit one by one. Beyond that, a logarithm costs less.
const FAR: u32 = 8;

impl Strata {
    /// The state before the first wait.
    #[inline]
    pub(super) fn begin(&self) -> StratifiedState {
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
        StratifiedState {
            u: 0,
            stratum,
            at: 0,
        }
    }

    /// The wait after `failed`.
    // Inlined so that the conversions between nanoseconds and `Duration` here and in
    // the caller cancel out.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) fn wait(
        &self,
        place: &mut StratifiedState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Duration {
        let elapsed = nanos(failed.elapsed).min(MOST_ELAPSED);
        if failed.after_connection && place.stratum.width > self.cap {
            self.narrow(place);
        }
        let is_early = elapsed < place.at;
        if place.at == 0 {
            place.u = rng.next_u64();
        } else if is_early && place.at - elapsed >= self.slack(place.stratum) {
            return self.out_of_turn(place, rng, cause_before(failed), elapsed);
        } else {
            place.u = walk(place.u, rng.next_u64());
            self.advance(&mut place.stratum, failed.cause);
        }
        place.at = self.instant(place.u, place.stratum);
        if place.at <= elapsed {
            *place = self.catch_up(*place, cause_before(failed), elapsed);
        }
        if is_early {
            return self.wait_after_early(place, failed.cause, elapsed);
        }
        Duration::from_nanos(place.at - elapsed)
    }
}

impl Strata {
    /// Makes the stratum no wider than the cap: the server took this client, and that
    /// is news, also if the connection did not last.
    #[cold]
    fn narrow(&self, place: &mut StratifiedState) {
        let since_start = scale(place.u, self.cap) + 1;
        place.stratum = Stratum {
            start: place.at.saturating_sub(since_start),
            width: self.cap,
        };
    }

    /// How early an attempt in this stratum can be and still be the attempt of its
    /// turn: some timers truncate to a tick, of 16 ms at worst. If such an attempt
    /// were out of turn, it would be made again a moment later.
    #[cold]
    fn slack(&self, stratum: Stratum) -> u64 {
        const TICK: u64 = nanos(Duration::from_millis(20));
        let width = if stratum.width == 0 {
            exp2(stratum.start + self.log2) - exp2(stratum.start)
        } else {
            stratum.width
        };
        longest(TICK, width / 64)
    }

    /// The wait after an attempt that was early and still in turn. It began early, too,
    /// and must not be longer than the cap for that. The next attempt is in turn at its
    /// end, or it would be early twice.
    #[cold]
    fn wait_after_early(
        &self,
        place: &mut StratifiedState,
        cause: Cause,
        elapsed: u64,
    ) -> Duration {
        let width = longest(self.widest(cause), place.stratum.width);
        let wait = (place.at - elapsed).min(width + width / 4);
        place.at = elapsed + wait;
        Duration::from_nanos(wait)
    }

    /// The widest stratum after this cause.
    fn widest(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Down => self.cap,
            Cause::Busy => self.busy,
            Cause::Stalled => self.stalled,
        }
    }

    /// The wait after an attempt that was made early.
    ///
    /// The scheduled instant stays. But the rest of the wait may be longer than the
    /// cap of this cause: the wait for a server's hint was skipped, or the server
    /// stalled before and is down now. Then the client gets a wait within the cap for
    /// `Down`, this once: the window is as wide as before.
    #[cold]
    fn out_of_turn(
        &self,
        place: &mut StratifiedState,
        rng: &mut Rng,
        cause: Cause,
        elapsed: u64,
    ) -> Duration {
        let widest = self.widest(cause);
        if place.at - elapsed > widest + widest / 4 {
            place.u = walk(place.u, rng.next_u64());
            place.at = elapsed + scale(place.u, self.cap) + 1;
            let width = longest(self.cap, place.stratum.width);
            place.stratum = Stratum {
                start: place.at.saturating_sub(scale(place.u, width) + 1),
                width,
            };
        }
        Duration::from_nanos(place.at - elapsed)
    }
}

/// What the strata and the wait before this failure are for. Of those before a
/// connection nothing counts, as in [`narrow`](Strata::narrow), and while it was up
/// nothing failed.
#[cold]
fn cause_before(failed: &Failed) -> Cause {
    if failed.after_connection {
        Cause::Down
    } else {
        failed.cause
    }
}

/// One step of the walk: at most a quarter of the window, reflected at the ends.
///
/// A symmetric step with reflection keeps positions exactly uniform.
#[inline]
const fn walk(u: u64, random: u64) -> u64 {
    // Uniform over -2^62 ..= 2^62 - 1, in units of 2^-64 of the window.
    let step = (random >> 1) as i64 - (1 << 62);
    let (moved, passed_an_end) = u.overflowing_add_signed(step);
    // A step that passes 2^64 by k gives `moved` = k, and the mirror image of k is
    // !k. The same holds below 0.
    if passed_an_end { !moved } else { moved }
}

#[cfg(test)]
mod tests {
    use super::super::Stratified;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_step_that_passes_an_end_is_reflected() {
        assert_eq!(walk(5, 0), (1 << 62) - 6); // 5 - 2^62, reflected
        assert_eq!(walk(u64::MAX, u64::MAX), u64::MAX - ((1 << 62) - 2));
        assert_eq!(walk(1 << 63, 1 << 63), 1 << 63); // a step of zero
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
    fn strata_grow_as_long_as_the_next_one_fits_under_the_cap() {
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
    fn a_stratum_as_wide_as_the_cap_fits_also_if_its_logarithm_was_rounded() {
        // 1.6^9, to the nanosecond. As a float, 1.6 is a little more than 1.6.
        let widest = 68_719_476_736;
        let cap = Duration::from_nanos(widest + widest / 4);
        let strata = strata(Stratified::new(SECOND, cap));
        assert_eq!(strata.take_while(|stratum| stratum.width == 0).count(), 9);
    }

    #[test]
    fn the_first_stratum_ends_at_the_base() {
        for growth in [1.001, 1.6, 2.0, 1_000.0, 2e9] {
            for base in [1, 2, 3, 1_000, 999_999_937, 30_000_000_000, 1 << 50] {
                let policy = Stratified::new(Duration::from_nanos(base), Duration::MAX);
                let strata = policy.growth(growth).strata;
                let first = strata.begin().stratum;
                let at = |u| strata.instant(u, first);
                // 1e-10 of A, which is at most 1000 times the base.
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
    fn skipping_strata_ends_in_the_same_stratum_as_visiting_each_of_them() {
        for (growth, cause) in [
            (1.0, Cause::Down),
            (1.01, Cause::Down),
            (1.6, Cause::Down),
            (1.6, Cause::Busy),
            (1.6, Cause::Stalled),
            (50.0, Cause::Down),
        ] {
            let strata = Stratified::default().growth(growth).strata;
            // With a growth of 1.6, 50 s lie in the first flat stratum.
            for seconds in [20, 50, 100, 1_000, 10_000, 86_400 * 7] {
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
    fn strata_that_are_too_long_for_their_growth_are_flat() {
        // With this growth, A is a thousand times as long as the first stratum.
        let widest = Duration::from_nanos(1 << 55);
        let strata = Stratified::new(widest, Duration::MAX).growth(1.001).strata;
        assert_eq!(strata.begin().stratum.width, 1 << 55);
    }

    #[test]
    fn only_a_rest_that_is_longer_than_the_cap_of_its_cause_is_drawn_anew() {
        let strata = Stratified::default().strata;
        let second = 1_000_000_000;
        let elapsed = 1_000 * second;
        for (cause, cap) in [
            (Cause::Down, 37 * second + second / 2),
            (Cause::Busy, 750 * second),
            (Cause::Stalled, 750 * second),
        ] {
            let wait = |rest| {
                let failed = Failed::new(9, Duration::from_nanos(elapsed), cause);
                let mut place = StratifiedState {
                    at: elapsed + rest,
                    ..strata.begin()
                };
                strata.wait(&mut place, &mut Rng::from_seed(1), &failed)
            };
            assert_eq!(wait(cap), Duration::from_nanos(cap), "{cause:?}");
            // At most 4/5 of the cap for `Down`.
            assert!(wait(cap + 1) <= 30 * SECOND, "{cause:?}");
        }
    }

    #[test]
    fn an_attempt_is_in_turn_if_it_is_early_by_less_than_a_tick_or_a_64th_of_its_window() {
        let strata = Stratified::new(64 * SECOND, 3_600 * SECOND).strata;
        let second = 1_000_000_000;
        let flat = |width| Stratum { start: 0, width };
        for (stratum, most) in [
            (strata.begin().stratum, second),
            (flat(640 * second), 10 * second),
            (flat(second), second / 50),
        ] {
            let is_in_turn = |early| {
                let at = 1_000 * second;
                let elapsed = Duration::from_nanos(at - early);
                let mut place = StratifiedState {
                    stratum,
                    at,
                    ..strata.begin()
                };
                let failed = Failed::new(9, elapsed, Cause::Down);
                strata.wait(&mut place, &mut Rng::from_seed(1), &failed);
                place.stratum != stratum
            };
            // A growing window is exact to ten digits.
            assert!(is_in_turn(most - 10), "{stratum:?}");
            assert!(!is_in_turn(most + 10), "{stratum:?}");
        }
    }

    #[test]
    fn an_early_attempt_does_not_change_the_schedule() {
        let strata = Stratified::default().strata;
        let mut place = strata.begin();
        let mut rng = Rng::from_seed(1);
        let first = strata.wait(
            &mut place,
            &mut rng,
            &Failed::new(0, Duration::ZERO, Cause::Down),
        );
        let early = first / 3;
        let rest = strata.wait(&mut place, &mut rng, &Failed::new(1, early, Cause::Down));
        assert_eq!(early + rest, first);
    }
}
