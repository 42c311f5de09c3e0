//! Does `Stratified` spread a fleet as its rule says?
//!
//! The rule stands in `tests/literal`, in floating point; the bounds in
//! `tests/statistics`. Positions `u` within strata are recovered from the waits.

mod fleet;
mod literal;
mod statistics;

use std::time::Duration;

use fleet::{ALL_CAUSES, ARRIVING, CLIENTS, Fleet, IN_STEP, MIXING_TENTHS, SECOND, TENTHS};
use literal::{Literal, Stratum};
use redial::{Cause, Failed, Policy, Rng, Stratified};
use statistics::*;

/// Enough for the widths to reach each cause's cap, and to stay there.
const ROUNDS: usize = 18;

/// Strata that grow or are flat before the cap, which are the same for every
/// cause: what is asserted of them once need not be three times.
const BEFORE_THE_CAP: usize = 8;

fn is_new(cause: Cause, stratum: usize) -> bool {
    cause == Cause::Down || stratum > BEFORE_THE_CAP
}

/// What the fixed-point curve and rounding to whole nanoseconds may move an
/// instant by, in nanoseconds.
fn rounding(at: f64) -> f64 {
    2.0 + 1e-10 * at
}

fn positions(fleet: &Fleet<impl Policy>, stratum: Stratum) -> Vec<f64> {
    let rule = Literal::default();
    fleet
        .instants()
        .map(|at| rule.u(at as f64 - 0.5, stratum))
        .collect()
}

fn pairs(us: &[f64]) -> Vec<(f64, f64)> {
    us.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn zipped(us: &[f64], vs: &[f64]) -> Vec<(f64, f64)> {
    us.iter().copied().zip(vs.iter().copied()).collect()
}

// ---- the rule

#[test]
fn the_fixed_point_policy_follows_the_literal_rule() {
    let mut dice = Rng::from_seed(1);
    for seed in 0..2_000 {
        let rng = Rng::from_seed(seed);
        let mut ours = Stratified::default().start(rng.clone());
        let mut literal = Literal::default().outage(rng);
        let mut elapsed = 0_u64;
        for attempt in 0..40 {
            let cause = ALL_CAUSES[dice.next_u64() as usize % 3];
            let failed = Failed::new(attempt, Duration::from_nanos(elapsed), cause);
            let wait = ours.next_delay(&failed).unwrap().as_nanos() as u64;
            let (_, _, at) = literal.next_attempt(elapsed as f64, cause);
            assert!(
                ((elapsed + wait) as f64 - at).abs() < rounding(at),
                "seed {seed}, attempt {attempt}: {} against {at}",
                elapsed + wait
            );
            elapsed += wait;
            // Half of the attempts take a while to fail: up to 17 s, 17 min
            // or 300 h.
            elapsed += match dice.next_u64() % 6 {
                0 => dice.next_u64() >> 30,
                1 => dice.next_u64() >> 24,
                2 if attempt % 10 == 9 => dice.next_u64() >> 14,
                _ => 0,
            };
        }
    }
}

#[test]
fn a_window_that_stops_growing_is_flat_or_waits_would_pass_the_cap() {
    let longest =
        |policy: &dyn Fn(u64) -> Vec<Duration>| (0..20_000).flat_map(policy).max().expect("waits");
    let cap = Duration::from_millis(37_500);
    let to_the_letter = Literal {
        flat_before_the_cap: false,
        ..Literal::default()
    };
    let literal = longest(&|seed| to_the_letter.delays_from_seed(seed).take(12).collect());
    let ours = longest(&|seed| {
        Stratified::default()
            .delays_from_seed(seed)
            .take(12)
            .collect()
    });
    assert!(literal > cap, "{literal:?}");
    assert!(ours <= cap, "{ours:?}");
}

// ---- positions

#[test]
fn u_is_uniform_in_every_stratum_whatever_the_cause() {
    for cause in ALL_CAUSES {
        let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
        for (k, stratum) in Literal::default().strata(cause).take(ROUNDS).enumerate() {
            let what = format!("{cause:?}, stratum {k}");
            fleet.fails(cause);
            if !is_new(cause, k) {
                continue;
            }
            let us = positions(&fleet, stratum);
            are_independent(&pairs(&us), &what);
            Uniform::with_step(us, 1.0 / stratum.width).is_uniform(&what);
            // The density is highest at the start of a stratum that grows:
            // (g - 1) / ln g = 1.28 times that of a flat one.
            commonest(fleet.instants(), 1.28 / stratum.width).holds(&what);
        }
    }
}

#[test]
fn the_first_window_of_a_million_clients_is_uniform() {
    let mut fleet = Fleet::of(&Stratified::default(), 1_000_000);
    fleet.fails(Cause::Down);
    let us = positions(&fleet, Literal::default().first());
    Uniform::with_step(us, 1e-9).is_uniform("the first window");
}

/// The share of steps from `u` that end at or below `v`, for a step of U(-e, e)
/// that is reflected at 0 and 1.
fn step_below(u: f64, v: f64, e: f64) -> f64 {
    let overlap = |low: f64, high: f64| (high.min(u + e) - low.max(u - e)).max(0.0);
    (overlap(-v, v) + overlap(2.0 - v, 2.0 + v)) / (2.0 * e)
}

#[test]
fn u_walks_by_at_most_a_quarter_and_by_the_reflected_law() {
    for cause in ALL_CAUSES {
        let rule = Literal::default();
        let strata: Vec<_> = rule.strata(cause).take(ROUNDS).collect();
        let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
        fleet.fails(cause);
        let mut before = positions(&fleet, strata[0]);
        for (k, &stratum) in strata.iter().enumerate().skip(1) {
            let what = format!("{cause:?}, into stratum {k}");
            fleet.fails(cause);
            let after = positions(&fleet, stratum);
            if !is_new(cause, k) {
                before = after;
                continue;
            }
            let steps = zipped(&before, &after);
            let longest = steps.iter().map(|(u, v)| (v - u).abs()).fold(0.0, f64::max);
            assert!(longest < 0.25 + 1e-6, "{what}: {longest}");
            let placed: Vec<f64> = steps.iter().map(|&(u, v)| step_below(u, v, 0.25)).collect();
            are_independent(&zipped(&before, &placed), &what);
            Uniform::new(placed).is_uniform(&what);
            before = after;
        }
    }
}

#[test]
fn u_stays_uniform_if_attempts_take_time() {
    for (cause, seconds) in [(Cause::Down, 3), (Cause::Busy, 1), (Cause::Stalled, 10)] {
        let rule = Literal::default();
        let strata: Vec<_> = rule.strata(cause).take(100).collect();
        let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
        for round in 0..12 {
            let what = format!("{cause:?} after {seconds} s, round {round}");
            // The first failure is the loss, which takes no time.
            fleet.fails_after(if round == 0 { 0 } else { seconds * SECOND }, cause);
            let us = fleet.instants().map(|at| {
                let at = at as f64 - 0.5;
                let k = strata.partition_point(|stratum| stratum.start < at) - 1;
                rule.u(at, strata[k])
            });
            Uniform::with_step(us, 1e-9).is_uniform(&what);
        }
    }
}

#[test]
fn after_a_long_sleep_the_wait_is_uniform_over_one_window() {
    let hour = 3_600 * SECOND;
    for (cause, window) in [
        (Cause::Down, 30 * SECOND),
        (Cause::Busy, 600 * SECOND),
        (Cause::Stalled, 600 * SECOND),
    ] {
        for slept in [hour, 7 * 24 * hour + 1, 50 * 365 * 24 * hour + 12_345] {
            let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
            let waits = fleet.fails_after(slept, cause);
            let what = format!("{cause:?} after {slept} ns");
            commonest(waits.iter().copied(), 1.0 / window as f64).holds(&what);
            Uniform::from_nanos(waits, 0, window).is_uniform(&what);
        }
    }
}

// ---- instants

#[test]
fn there_is_one_attempt_in_each_stratum_and_each_is_later_than_the_last() {
    for cause in ALL_CAUSES {
        let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
        for (k, stratum) in Literal::default().strata(cause).take(ROUNDS).enumerate() {
            assert!(fleet.fails(cause).into_iter().all(|wait| wait > 0));
            let end = stratum.start + stratum.width;
            for at in fleet.instants() {
                let at = at as f64;
                assert!(
                    at > stratum.start - rounding(at) && at <= end + rounding(at),
                    "{cause:?}, stratum {k}: {at} is not in {stratum:?}"
                );
            }
        }
    }
}

#[test]
fn attempts_are_at_least_seven_tenths_of_the_base_apart() {
    // A step back by e from anywhere: g^(1-e) - 1 over g - 1, of the base. But
    // from below e it is reflected, which leaves g - g^e over g - 1.
    let (g, e) = (1.6_f64, 0.25);
    let anywhere = (g.powf(1.0 - e) - 1.0) / (g - 1.0) * 1e9;
    let least = (g - g.powf(e)) / (g - 1.0) * 1e9;
    assert!(0.70e9 < anywhere && anywhere < least);
    let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
    fleet.fails(Cause::Down);
    let mut shortest = u64::MAX;
    for _ in 1..ROUNDS {
        let waits = fleet.fails(Cause::Down);
        shortest = shortest.min(waits.into_iter().min().unwrap());
    }
    let shortest = shortest as f64;
    assert!(shortest >= least - rounding(1e9), "{shortest}");
    // And the bound is no loose one.
    assert!(shortest < 1.01 * least, "{shortest}");
}

#[test]
fn waits_at_a_cap_are_within_a_quarter_of_the_window() {
    for (cause, window) in [
        (Cause::Down, 30.0),
        (Cause::Busy, 600.0),
        (Cause::Stalled, 600.0),
    ] {
        let rule = Literal::default();
        let mut fleet = Fleet::of(&Stratified::default(), CLIENTS / 10);
        let mut before = 0.0;
        for stratum in rule.strata(cause).take(ROUNDS + 10) {
            let waits = fleet.fails(cause);
            if before >= window * 1e9 {
                let (least, most) = (0.75 * before, 1.25 * before);
                for wait in waits {
                    let wait = wait as f64;
                    assert!(wait > least - 1e3 && wait <= most, "{cause:?}: {wait}");
                }
            }
            before = stratum.width;
        }
        assert!(
            (before - window * 1e9).abs() < 1.0,
            "{cause:?} is at its cap"
        );
    }
}

#[test]
fn the_fleets_intensity_is_the_harmonic_curve() {
    // N (g - 1) / (ln g (base + (g - 1) t)), integrated over each of 25 bins
    // of each stratum that grows.
    const BINS: usize = 25;
    const GROWING: usize = 7;
    let g = 1.6_f64;
    let before = |t: f64| (1.0 + (g - 1.0) * t / 1e9).ln() / g.ln();
    let clients = 500_000;
    let mut fleet = Fleet::of(&Stratified::default(), clients);
    let mut counts = Vec::new();
    let mut rates = Vec::new();
    for stratum in Literal::default().strata(Cause::Down).take(GROWING) {
        assert!(!stratum.flat);
        fleet.fails(Cause::Down);
        let places = fleet
            .instants()
            .map(|at| (at as f64 - stratum.start) / stratum.width);
        counts.extend(Uniform::new(places).loads(BINS));
        let edge = |i: usize| before(stratum.start + stratum.width * i as f64 / BINS as f64);
        rates.extend((0..BINS).map(|i| clients as f64 * (edge(i + 1) - edge(i))));
    }
    intensity(&counts, &rates).holds("the strata that grow");
    // As a ratio, which is how the rule's simulation states it.
    for (k, (counts, rates)) in counts.chunks(BINS).zip(rates.chunks(BINS)).enumerate() {
        for half in [0..BINS / 2, BINS / 2..BINS] {
            let measured = counts[half.clone()].iter().sum::<u64>() as f64;
            let ratio = measured / rates[half].iter().sum::<f64>();
            assert!((0.98..1.02).contains(&ratio), "stratum {k}: {ratio}");
        }
    }
}

#[test]
fn a_fleet_of_known_size_begins_at_no_more_than_twice_its_servers_rate() {
    // The second fleet's first window is the cap at once, and flat.
    for (clients, per_second) in [(10_000, 1_000.0), (100_000, 1_000.0)] {
        let policy = Stratified::for_fleet(clients, per_second);
        let mut fleet = Fleet::of(&policy, clients as usize);
        let mut counts = vec![0_u64; 64];
        for wait in fleet.fails(Cause::Down) {
            counts[(wait / SECOND) as usize] += 1;
        }
        let (_, most) = load_limits(2.0 * per_second, counts.len(), ALPHA);
        let busiest = *counts.iter().max().unwrap();
        assert!(busiest as f64 <= most, "{clients}: {busiest} in a second");
    }
}

#[test]
fn a_fleet_of_known_size_wastes_little_of_its_servers_rate() {
    let (clients, per_second) = (10_000, 1_000.0);
    let mut fleet = Fleet::of(
        &Stratified::for_fleet(clients, per_second),
        clients as usize,
    );
    let waits = fleet.fails(Cause::Down);
    let base = 0.6 / 1.6_f64.ln() * clients as f64 / (2.0 * per_second);
    // The harmonic curve over the first tenth of a second: 2000 a second,
    // less half of what the tenth takes from it.
    let rate = (1.0 + 0.6 * 0.1 / base).ln() / 1.6_f64.ln() * clients as f64;
    assert!((rate - 199.0).abs() < 1.0, "{rate}");
    let count = waits.iter().filter(|&&wait| wait <= SECOND / 10).count();
    intensity(&[count as u64], &[rate]).holds("the first tenth of a second");
}

// ---- a fleet in a long outage

#[test]
fn no_phase_is_locked_in_any_flat_window() {
    for (cause, window) in [
        (Cause::Down, 30.0),
        (Cause::Busy, 600.0),
        (Cause::Stalled, 600.0),
    ] {
        let mut fleet = Fleet::of(&Stratified::default(), IN_STEP);
        for (k, stratum) in Literal::default().strata(cause).take(30).enumerate() {
            fleet.fails(cause);
            if stratum.flat {
                let turns = |period: f64| fleet.instants().map(move |at| at as f64 / period);
                let what = format!("{cause:?}, stratum {k}");
                phase_locking(turns(stratum.width), 0.0).holds(&what);
                if stratum.width > window * 1e9 - 1.0 {
                    // Any part of the window is as good a clock as the whole.
                    for parts in [2.0, 3.0, 10.0, 30.0] {
                        phase_locking(turns(stratum.width / parts), 0.0).holds(&what);
                    }
                }
            }
        }
    }
}

/// Attempts in each of `bins` tenths of a second from `from`, as the law has
/// them: a stratum's clients, spread by its curve.
fn rates(clients: usize, from: u64, bins: usize, cause: Cause) -> Vec<f64> {
    let rule = Literal::default();
    let strata: Vec<_> = rule.strata(cause).take(200).collect();
    let before = |t: f64| -> f64 {
        let shares = strata.iter().map(|&stratum| rule.share_before(t, stratum));
        shares.sum::<f64>() * clients as f64
    };
    let edge = |i: usize| before(from as f64 + i as f64 * SECOND as f64 / 10.0);
    (0..bins).map(|i| edge(i + 1) - edge(i)).collect()
}

#[test]
fn arrivals_in_a_permanent_outage_are_as_even_as_independent_ones() {
    for cause in ALL_CAUSES {
        for seconds in [60, 300, 600, 3_600] {
            let from = seconds * SECOND;
            let fleet = Fleet::of(&Stratified::default(), ARRIVING);
            let counts = fleet.arrivals(from, SECOND / 10, TENTHS, cause);
            let rates = rates(ARRIVING, from, TENTHS, cause);
            let what = format!("{cause:?} after {seconds} s");
            fano_about(&counts, &rates).holds(&what);
            if rates.iter().all(|rate| (rate - rates[0]).abs() < 1e-6) {
                fano(&counts).holds(&what);
            }
        }
    }
}

/// Arrivals per tenth of a second over five minutes, five minutes in.
fn five_minutes(policy: &impl Policy) -> Vec<u64> {
    Fleet::of(policy, ARRIVING).arrivals(300 * SECOND, SECOND / 10, MIXING_TENTHS, Cause::Down)
}

#[test]
fn the_walk_mixes_the_pattern_of_arrivals_that_would_freeze_without_it() {
    let lag = 300; // 30 s, the window
    autocorrelation(&five_minutes(&Stratified::default()), lag).holds("Stratified");
    autocorrelation(&five_minutes(&Literal::default()), lag).holds("the literal rule");
    let frozen = Literal {
        walk: 0.0,
        ..Literal::default()
    };
    let frozen = autocorrelation(&five_minutes(&frozen), lag);
    frozen.catches("no walk");
    // All but the tenth of the window that has no partner 30 s later.
    assert!(frozen.value > 0.85, "{frozen}");
}

#[test]
fn two_clients_that_met_do_not_stay_together() {
    // Pairs that attempt within 0.1 s of each other at the cap; both then take
    // steps of their own over half a window, so they meet again by chance only.
    const NEAR: u64 = SECOND / 10;
    let mut fleet = Fleet::of(&Stratified::default(), CLIENTS);
    let mut met: Vec<(usize, usize)> = Vec::new();
    for round in 0..20 {
        fleet.fails(Cause::Down);
        let instants: Vec<u64> = fleet.instants().collect();
        let near = |&&(a, b): &&(usize, usize)| instants[a].abs_diff(instants[b]) <= NEAR;
        if round > 10 {
            // Within 1/300 of a window, either way, of steps uniform over half
            // a window: 4/300 at most, and twice that where a reflected step
            // comes back.
            let chance = 8.0 / 300.0;
            let again = met.iter().filter(near).count() as f64 / met.len() as f64;
            let limit = chance + share_limit(met.len(), chance, ALPHA);
            assert!(again <= limit, "round {round}: {again} above {limit}");
        }
        let mut order: Vec<usize> = (0..CLIENTS).collect();
        order.sort_unstable_by_key(|&client| instants[client]);
        let neighbours: Vec<(usize, usize)> = order
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        met = neighbours.iter().filter(near).copied().collect();
        assert!(met.len() > CLIENTS / 4, "hardly anybody met");
    }
}
