//! Does each policy draw its waits from the law that its documentation states,
//! and each client apart from the others?
//!
//! The bounds stand in `tests/statistics`. `Stratified` has a file of its own,
//! and so have fleets in a long outage.

mod fleet;
mod statistics;

use std::time::Duration;

use fleet::{ALL_CAUSES, CLIENTS, Fleet, SECOND};
use redial::{Cause, Decorrelated, Exponential, Jitter, Policy, Sequence, TokenBucket};
use statistics::*;

/// Waits out of `low + 1 ..= low + width`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Window {
    low: u64,
    width: u64,
}

/// The window that a jitter draws from below, or about, a ceiling.
fn window(jitter: Jitter, ceiling: f64) -> Window {
    let (low, width) = match jitter {
        Jitter::None => (ceiling - 1.0, 1.0),
        Jitter::Full => (0.0, ceiling),
        Jitter::Equal => (ceiling / 2.0, ceiling / 2.0),
        Jitter::Proportional(j) => (ceiling * (1.0 - j), 2.0 * ceiling * j),
    };
    Window {
        low: low as u64,
        width: width as u64,
    }
}

/// The jitter's part of the longest wait that is not above its ceiling.
fn above(jitter: Jitter) -> f64 {
    match jitter {
        Jitter::Proportional(j) => 1.0 + j,
        _ => 1.0,
    }
}

/// What one round's draws, as positions over 0..1, must satisfy: the uniform
/// law, no value that is met too often, and no word of the neighbour's draw nor
/// of one's own before.
#[track_caller]
fn is_spread(us: &[f64], before: Option<&[f64]>, step: f64, what: &str) {
    Uniform::with_step(us.iter().copied(), step).is_uniform(what);
    let neighbours: Vec<_> = us.chunks_exact(2).map(|two| (two[0], two[1])).collect();
    are_independent(&neighbours, format!("{what}, two clients"));
    if let Some(before) = before {
        let rounds: Vec<_> = us.iter().copied().zip(before.iter().copied()).collect();
        are_independent(&rounds, format!("{what}, two rounds"));
        // What a client draws now, its neighbour shall not have drawn before.
        let shifted: Vec<_> = neighbours
            .iter()
            .zip(before.chunks_exact(2))
            .map(|(now, before)| (now.0, before[1]))
            .collect();
        are_independent(&shifted, format!("{what}, a neighbour's last round"));
    }
}

/// Asserts that wait n of each client is uniform over `windows`' n-th, whatever
/// failed.
#[track_caller]
fn draws_from(policy: &impl Policy, what: &str, windows: impl IntoIterator<Item = Window>) {
    let mut fleet = Fleet::of(policy, CLIENTS);
    let mut before = None;
    for (n, Window { low, width }) in windows.into_iter().enumerate() {
        let what = format!("{what}, wait {n}");
        let waits = fleet.fails(ALL_CAUSES[n % 3]);
        commonest(waits.iter().copied(), 1.0 / width as f64).holds(&what);
        let us: Vec<f64> = waits
            .iter()
            .map(|&wait| position(wait, low, width as f64))
            .collect();
        is_spread(&us, before.as_deref(), 1.0 / width as f64, &what);
        before = Some(us);
    }
}

// ---- Exponential

fn exponential_draws_from_its_law(base: u64, cap: u64, factor: f64, jitter: Jitter) {
    let policy = Exponential::new(Duration::from_nanos(base), Duration::from_nanos(cap))
        .factor(factor)
        .jitter(jitter);
    let held = cap as f64 / above(jitter);
    let ceilings =
        std::iter::successors(Some(base as f64), |c| Some(c * factor)).map(|c| c.min(held));
    draws_from(
        &policy,
        &format!("{policy:?}"),
        ceilings.map(|c| window(jitter, c)).take(9),
    );
}

#[test]
fn full_jitter_is_uniform_up_to_the_ceiling() {
    exponential_draws_from_its_law(SECOND, 60 * SECOND, 2.0, Jitter::Full);
    exponential_draws_from_its_law(SECOND / 2, 120 * SECOND, 1.6, Jitter::Full);
}

#[test]
fn full_jitter_is_uniform_to_the_nanosecond_over_five_milliseconds() {
    let five = 5_000_000;
    exponential_draws_from_its_law(five, five, 2.0, Jitter::Full);
}

#[test]
fn equal_jitter_is_uniform_over_the_upper_half() {
    exponential_draws_from_its_law(SECOND, 60 * SECOND, 2.0, Jitter::Equal);
}

#[test]
fn proportional_jitter_is_uniform_about_a_ceiling_that_leaves_it_room() {
    exponential_draws_from_its_law(SECOND, 60 * SECOND, 2.0, Jitter::Proportional(0.2));
    exponential_draws_from_its_law(SECOND, 60 * SECOND, 3.0, Jitter::Proportional(1.0));
}

#[test]
fn a_million_clients_fill_the_first_second_and_the_last_minute_alike() {
    let policy = Exponential::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut fleet = Fleet::of(&policy, 1_000_000);
    let first = fleet.fails(Cause::Down);
    Uniform::from_nanos(first, 0, SECOND).is_uniform("the first second");
    for _ in 1..8 {
        fleet.fails(Cause::Down);
    }
    let last = fleet.fails(Cause::Down);
    Uniform::from_nanos(last, 0, 60 * SECOND).is_uniform("the last minute");
}

// ---- Sequence

#[test]
fn a_sequence_is_spread_below_each_of_its_entries() {
    let entries = [2, 1, 10, 30];
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Proportional(0.5)] {
        let policy = Sequence::new(entries.map(Duration::from_secs)).jitter(jitter);
        let held = 30e9 / above(jitter);
        let ceilings = entries.map(|s| f64::min(s as f64 * 1e9, held));
        let last = ceilings[3];
        draws_from(
            &policy,
            &format!("{policy:?}"),
            ceilings
                .into_iter()
                .chain([last; 2])
                .map(|c| window(jitter, c)),
        );
    }
}

// ---- Decorrelated

/// The window of the wait after one of `last`.
fn after(last: u64, base: u64, cap: u64) -> Window {
    Window {
        low: base - 1,
        width: (3 * last).min(cap) - base + 1,
    }
}

#[test]
fn decorrelated_jitter_is_uniform_up_to_three_times_the_last_wait() {
    for (base, cap) in [(SECOND, 60 * SECOND), (SECOND, 10 * SECOND)] {
        let policy = Decorrelated::new(Duration::from_nanos(base), Duration::from_nanos(cap));
        let mut fleet = Fleet::of(&policy, CLIENTS);
        let mut last = vec![base; CLIENTS];
        let mut before = None;
        for n in 0..14 {
            let what = format!("{policy:?}, wait {n}");
            let waits = fleet.fails(ALL_CAUSES[n % 3]);
            let us: Vec<f64> = waits
                .iter()
                .zip(&last)
                .map(|(&wait, &last)| {
                    let Window { low, width } = after(last, base, cap);
                    position(wait, low, width as f64)
                })
                .collect();
            // No window is narrower than the first.
            commonest(waits.iter().copied(), 0.5 / base as f64).holds(&what);
            is_spread(&us, before.as_deref(), 0.5 / base as f64, &what);
            before = Some(us);
            last = waits;
        }
    }
}

#[test]
fn decorrelated_waits_grow_by_half_on_average() {
    // Far from the cap: base * (2 * 1.5^k - 1).
    let policy = Decorrelated::new(Duration::from_secs(1), Duration::from_secs(1 << 30));
    let mut fleet = Fleet::of(&policy, 1_000_000);
    for k in 1..=6 {
        let waits = fleet.fails(Cause::Down);
        let seconds = waits.into_iter().map(|wait| wait as f64 / 1e9);
        let expected = 2.0 * 1.5_f64.powi(k) - 1.0;
        mean(seconds, expected, 3_f64.powi(k) - 1.0).holds(format!("wait {k}"));
    }
}

// ---- TokenBucket

#[test]
fn a_token_is_used_at_any_instant_of_its_period() {
    // At burst 1, attempt k is in period k, wherever in it.
    let period = 10 * SECOND;
    let policy = TokenBucket::new(1, Duration::from_nanos(period)).as_policy();
    let mut fleet = Fleet::of(&policy, CLIENTS);
    let mut before = None;
    for k in 0..6 {
        let what = format!("token {k}");
        fleet.fails(ALL_CAUSES[k % 3]);
        let due = k as u64 * period;
        commonest(fleet.instants(), 1.0 / period as f64).holds(&what);
        let us: Vec<f64> = fleet
            .instants()
            .map(|at| position(at, due, period as f64))
            .collect();
        is_spread(&us, before.as_deref(), 1.0 / period as f64, &what);
        before = Some(us);
    }
}

#[test]
fn a_burst_of_tokens_is_spread_too() {
    let (burst, period) = (3, SECOND);
    let policy = TokenBucket::new(burst, Duration::from_nanos(period)).as_policy();
    let mut fleet = Fleet::of(&policy, CLIENTS);
    let mut before = None;
    for k in 0..9_u64 {
        let what = format!("wait {k} of a burst of {burst}");
        // Until the burst is spent a token is there; then they come one a period.
        let due = (k + 1).saturating_sub(burst as u64) * period;
        let starts: Vec<u64> = fleet.instants().map(|now| now.max(due)).collect();
        fleet.fails(ALL_CAUSES[k as usize % 3]);
        let us: Vec<f64> = fleet
            .instants()
            .zip(starts)
            .map(|(at, start)| position(at, start, period as f64))
            .collect();
        is_spread(&us, before.as_deref(), 1.0 / period as f64, &what);
        before = Some(us);
    }
}

// ---- what a server sees of a fleet's first second

#[test]
fn a_hundred_thousand_clients_load_no_millisecond_with_more_than_184() {
    fn first_second(policy: &impl Policy, what: &str) {
        let waits = Fleet::of(policy, 100_000).fails(Cause::Down);
        let second = Uniform::from_nanos(waits, 0, SECOND);
        for bins in [1_000, 100, 10] {
            second.fullest_bin(bins).holds(what);
            second.emptiest_bin(bins).holds(what);
        }
    }
    let second = Duration::from_secs(1);
    first_second(&Exponential::new(second, 60 * second), "Exponential");
    first_second(&Sequence::new([second, 10 * second]), "Sequence");
    first_second(&TokenBucket::new(5, second).as_policy(), "TokenBucket");
}

// ---- two clients

/// The share of pairs of clients whose attempts are within `delta`, in a window
/// of `width` that both are uniform over.
#[track_caller]
fn meet_by_chance_only<P: Policy>(fleet: &Fleet<P>, width: u64, what: &str) {
    let instants: Vec<u64> = fleet.instants().collect();
    for delta in [width / 1_000, width / 100, width / 10] {
        let met = instants
            .chunks_exact(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) < delta)
            .count();
        let r = delta as f64 / width as f64;
        let chance = 2.0 * r - r * r;
        share("pairs that meet", met, instants.len() / 2, chance).holds(what);
    }
}

#[test]
fn two_clients_meet_no_more_often_than_chance_has_it() {
    let second = Duration::from_secs(1);

    let mut full = Fleet::of(&Exponential::new(second, 60 * second), CLIENTS);
    full.fails(Cause::Down);
    meet_by_chance_only(&full, SECOND, "Exponential");

    let mut bucket = Fleet::of(&TokenBucket::new(1, second).as_policy(), CLIENTS);
    for k in 0..20 {
        bucket.fails(Cause::Down);
        meet_by_chance_only(&bucket, SECOND, &format!("TokenBucket, token {k}"));
    }

    let mut chain = Fleet::of(&Decorrelated::new(second, 60 * second), CLIENTS);
    chain.fails(Cause::Down);
    meet_by_chance_only(&chain, 2 * SECOND, "Decorrelated");
}

/// What a timer that rounds deadlines up to whole milliseconds leaves of the
/// spread: clients that lost their server at one instant, anywhere in a tick,
/// share one in proportion to what it covers of their window.
#[test]
fn two_clients_share_a_tick_of_a_millisecond_by_chance_only() {
    const TICK: u64 = 1_000_000;
    for (window, published) in [(5, 0.19), (10, 0.097), (100, 0.01)] {
        let width = Duration::from_millis(window);
        let waits = Fleet::of(&Exponential::new(width, width), CLIENTS).fails(Cause::Down);
        let lost = (0..).map(|pair: u64| pair * 618_034 % TICK); // evenly over a tick
        let shared = waits
            .chunks_exact(2)
            .zip(lost)
            .filter(|(pair, lost)| {
                (lost + pair[0]).div_ceil(TICK) == (lost + pair[1]).div_ceil(TICK)
            })
            .count();
        let w = window as f64;
        let chance = (w - 1.0 / 3.0) / (w * w);
        assert!((chance - published).abs() < 0.005, "{chance}");
        share("pairs in one tick", shared, CLIENTS / 2, chance).holds(format!("{window} ms"));
    }
}
