//! Does a fleet stay spread throughout a long outage, and after what its server
//! tells it?
//!
//! Each statistic is held against the law of the policy, computed here; the
//! bounds stand in `tests/statistics`. `Stratified` has a file of its own.

mod fleet;
mod statistics;

use std::f64::consts::{PI, TAU};
use std::time::Duration;

use fleet::{ARRIVING, CLIENTS, Fleet, IN_STEP, SECOND, TENTHS, seconds};
use redial::{
    Cause, Decorrelated, Exponential, Jitter, Next, Outage, Policy, Stratified, TokenBucket,
    Verdict,
};
use statistics::*;

/// The base and cap of the policies here, in seconds.
const BASE: f64 = 1.0;
const CAP: f64 = 60.0;

fn minute(jitter: Jitter) -> Exponential {
    Exponential::new(seconds(BASE), seconds(CAP)).jitter(jitter)
}

fn decorrelated() -> Decorrelated {
    Decorrelated::new(seconds(BASE), seconds(CAP))
}

/// 1, 2, 4 … seconds, and then the cap.
fn ceilings(cap: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |n| f64::min(2_f64.powi(n), cap))
}

// ---- phase locking: is there a clock by which the fleet falls into step?

/// Clocks, in seconds: the cap, its half and its tenth, and no part of it.
const CLOCKS: [f64; 6] = [CAP, 30.0, 6.0, 1.0, 7.0, 0.1];

/// sin(pi x) / (pi x): the resultant length of phases uniform over x turns.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// Asserts that the fleet is never more in step than its law, by which round n
/// adds a wait uniform over `widths[n]` seconds; returns the law's resultant
/// length by `clock` after each round.
#[track_caller]
fn keeps_step_as_its_law_does(
    policy: &impl Policy,
    widths: impl Iterator<Item = f64>,
    clock: f64,
) -> Vec<f64> {
    let mut fleet = Fleet::of(policy, IN_STEP);
    let clocks: Vec<f64> = std::iter::once(clock).chain(CLOCKS).collect();
    let mut law = vec![1.0; clocks.len()];
    let mut by_the_clock = Vec::new();
    for (round, width) in widths.take(24).enumerate() {
        fleet.fails(Cause::Down);
        for (law, clock) in law.iter_mut().zip(&clocks) {
            *law *= sinc(width / clock).abs();
            let turns = fleet.instants().map(|at| at as f64 / 1e9 / clock);
            phase_locking(turns, *law).holds(format!("round {round}, a clock of {clock} s"));
        }
        by_the_clock.push(law[0]);
    }
    by_the_clock
}

#[test]
fn full_jitter_has_no_phase_once_its_ceiling_is_the_cap() {
    let law = keeps_step_as_its_law_does(&minute(Jitter::Full), ceilings(CAP), CAP);
    // 1, 2, 4 … 32 s, and from the seventh wait on the whole circle.
    assert!(law[6..].iter().all(|&length| length < 1e-15));
}

#[test]
fn equal_jitter_forgets_its_phase_by_a_third_each_round() {
    let widths = ceilings(CAP).map(|ceiling| ceiling / 2.0);
    let law = keeps_step_as_its_law_does(&minute(Jitter::Equal), widths, CAP);
    assert!((law[7] / law[6] - 2.0 / PI).abs() < 1e-12);
    assert!(law[23] < 0.001);
}

#[test]
fn proportional_jitter_keeps_its_phase_for_as_long_as_its_law_says() {
    for (j, kept_each_round) in [(0.2, 0.757), (0.1, 0.935)] {
        let held = CAP / (1.0 + j);
        let widths = ceilings(held).map(|ceiling| 2.0 * j * ceiling);
        let law = keeps_step_as_its_law_does(&minute(Jitter::Proportional(j)), widths, held);
        assert!((law[7] / law[6] - kept_each_round).abs() < 0.0005);
    }
}

#[test]
fn a_token_bucket_has_no_phase_within_its_period() {
    let period = seconds(10.0);
    let mut fleet = Fleet::of(&TokenBucket::new(1, period).as_policy(), IN_STEP);
    for token in 0..24 {
        fleet.fails(Cause::Down);
        for clock in [10.0, 5.0, 1.0, 0.1] {
            let turns = fleet.instants().map(|at| at as f64 / 1e9 / clock);
            phase_locking(turns, 0.0).holds(format!("token {token}, a clock of {clock} s"));
        }
    }
}

#[test]
fn decorrelated_jitter_forgets_its_phase() {
    let mut fleet = Fleet::of(&decorrelated(), IN_STEP);
    let mut last = vec![BASE; IN_STEP];
    for round in 0..30 {
        // Given the past, a client's next instant has the phase of the middle
        // of its window, and the window's resultant length.
        let given: Vec<(f64, f64)> = fleet
            .instants()
            .zip(&last)
            .map(|(now, last)| (now as f64 / 1e9, f64::min(3.0 * last, CAP)))
            .collect();
        last = fleet
            .fails(Cause::Down)
            .into_iter()
            .map(|wait| wait as f64 / 1e9)
            .collect();
        for clock in CLOCKS {
            let (mut cos, mut sin) = (0.0, 0.0);
            for &(now, most) in &given {
                let (s, c) = (TAU * (now + f64::midpoint(BASE, most)) / clock).sin_cos();
                let length = sinc((most - BASE) / clock);
                cos += length * c;
                sin += length * s;
            }
            let law = f64::hypot(cos, sin) / given.len() as f64;
            let turns: Vec<f64> = fleet.instants().map(|at| at as f64 / 1e9 / clock).collect();
            let what = format!("round {round}, a clock of {clock} s");
            phase_locking(turns.iter().copied(), law).holds(&what);
            if round >= 20 {
                // The law itself has forgotten all but a thousandth.
                phase_locking(turns, 0.001).holds(&what);
            }
        }
    }
}

// ---- arrivals in an outage that does not end

/// Seconds in a bin of arrivals.
const BIN: f64 = 0.1;

/// The rate of a renewal process, by bins: f is what arrived in each bin, and
/// the return value what a wait uniform over the bins below `width` later
/// arrives. The sum of two places within bins lies half in the next bin.
fn after_a_wait_below(f: &[f64], width: f64) -> Vec<f64> {
    let span = width / BIN; // at the cap, and at 1, 2, 4 … s, a whole number
    let before: Vec<f64> = std::iter::once(0.0)
        .chain(f.iter().scan(0.0, |sum, f| {
            *sum += f;
            Some(*sum)
        }))
        .collect();
    let window = |i: usize| before[i] - before[i.saturating_sub(span as usize)];
    (0..f.len())
        .map(|i| f64::midpoint(window(i), window(i + 1)) / span)
        .collect()
}

/// Arrivals by full jitter, in bins from the loss on.
fn law_of_full_jitter(bins: usize) -> Vec<f64> {
    let mut rates = vec![0.0; bins];
    // Wait 0 is uniform over the first second.
    let mut round = vec![0.0; bins];
    let first = (BASE / BIN) as usize;
    round[..first].fill(ARRIVING as f64 / first as f64);
    // After a hundred waits of 30 s on average nobody is left in these bins.
    for ceiling in ceilings(CAP).skip(1).take(100) {
        for (rate, arrived) in rates.iter_mut().zip(&round) {
            *rate += arrived;
        }
        round = after_a_wait_below(&round, ceiling);
    }
    rates
}

/// Arrivals by decorrelated jitter, in bins from the loss on.
fn law_of_decorrelated_jitter(bins: usize) -> Vec<f64> {
    // Waits are in cells of the same length: cell j is about j + 1/2 of it. So
    // three times as long is 3 j and a half cells, and another.
    let cells = (CAP / BIN) as usize;
    let base = (BASE / BIN) as usize;
    // What arrives in a bin, by its last wait, and what of it next waits for j.
    let mut arriving = vec![vec![0.0; cells]; bins + cells + 1];
    for (cell, by_wait) in arriving.iter_mut().enumerate().take(3 * base).skip(base) {
        by_wait[cell] = ARRIVING as f64 / (2 * base) as f64;
    }
    let mut rates = Vec::with_capacity(bins);
    for bin in 0..bins {
        let arrived = std::mem::take(&mut arriving[bin]);
        rates.push(arrived.iter().sum());
        // Each cell sends its arrivals evenly to all from the base up to its
        // most, the last of which gets half. Summed from the top.
        let mut up_to = vec![0.0; cells];
        for (cell, weight) in arrived.iter().enumerate().skip(base) {
            let most = 3 * cell + 1;
            if most < cells {
                let each = weight / (most as f64 + 0.5 - base as f64);
                up_to[most - 1] += each / 2.0;
                up_to[most] += each / 2.0;
            } else {
                up_to[cells - 1] += weight / (cells - base) as f64;
            }
        }
        let mut each = 0.0;
        for cell in (base..cells).rev() {
            each += up_to[cell];
            // Two places within bins: half of the sum lies in the next bin.
            arriving[bin + cell][cell] += each / 2.0;
            arriving[bin + cell + 1][cell] += each / 2.0;
        }
    }
    rates
}

#[track_caller]
fn arrives_evenly(policy: &impl Policy, law: &[f64]) {
    for after in [60, 300, 600] {
        let from = (after as f64 / BIN) as usize;
        let bin = (BIN * 1e9) as u64;
        let counts = Fleet::of(policy, ARRIVING).arrivals(after * SECOND, bin, TENTHS, Cause::Down);
        let what = format!("{after} s into the outage");
        fano_about(&counts, &law[from..from + TENTHS]).holds(&what);
        if after > 60 {
            // The rate has settled, and so there is no wave in it either.
            fano(&counts).holds(&what);
        }
    }
}

#[test]
fn full_jitter_arrives_as_evenly_as_if_clients_were_independent_of_time() {
    arrives_evenly(&minute(Jitter::Full), &law_of_full_jitter(6_600));
}

#[test]
fn decorrelated_jitter_arrives_as_evenly() {
    arrives_evenly(&decorrelated(), &law_of_decorrelated_jitter(6_600));
}

#[test]
fn a_token_bucket_arrives_as_evenly() {
    let policy = TokenBucket::new(1, seconds(10.0)).as_policy();
    let law = vec![ARRIVING as f64 / 100.0; 6_600];
    arrives_evenly(&policy, &law);
}

// ---- after what the server says

/// How long each client waits whose first reconnect got this answer, in
/// nanoseconds; and when it reconnected.
fn told(policy: &impl Policy, answer: Verdict, clients: u64) -> Vec<(u64, u64)> {
    let wait = |next| match next {
        Next::Wait(wait) => wait,
        Next::GiveUp(reason) => panic!("gave up: {reason}"),
    };
    (0..clients)
        .map(|seed| {
            let mut outage = Outage::from_seed(policy.clone(), seed);
            let now = wait(outage.lost(Duration::ZERO));
            outage.connecting(now);
            let wait = wait(outage.failed(now, answer));
            (wait.as_nanos() as u64, now.as_nanos() as u64)
        })
        .collect()
}

#[test]
fn a_hint_beyond_the_policys_wait_has_a_spread_of_its_own_length() {
    for hint in [2_500_000_000, 10 * SECOND] {
        let answer = Verdict::RetryAfter(Duration::from_nanos(hint));
        // The second wait is at most 2 s.
        let waits = told(&minute(Jitter::Full), answer, CLIENTS as u64);
        let above = waits
            .into_iter()
            .map(|(wait, _)| (wait - hint) as f64 / hint as f64);
        Uniform::with_step(above, 1.0 / hint as f64).is_uniform("above the hint");
    }
}

#[test]
fn a_hint_that_the_policys_wait_covers_leaves_its_spread() {
    let answer = Verdict::RetryAfter(Duration::from_nanos(1));
    let waits = told(&minute(Jitter::Full), answer, CLIENTS as u64);
    let waits = waits.into_iter().map(|(wait, _)| wait);
    Uniform::from_nanos(waits, 0, 2 * SECOND).is_uniform("the policy's");
}

#[test]
fn stratified_does_not_pile_up_behind_a_hint() {
    let answer = Verdict::RetryAfter(Duration::from_secs(10));
    let clients = 100_000;
    let told = told(&Stratified::default(), answer, clients);
    let instants: Vec<u64> = told.iter().map(|(wait, now)| wait + now).collect();
    // Each of them waits for the hint and up to 10 s more, from its own instant on.
    let densest = 0.1;
    commonest(instants.iter().copied(), densest * 1e-9).holds("no atom");
    let mut loads = vec![0_u64; 3_000];
    for at in instants {
        loads[(at / (SECOND / 100)) as usize] += 1;
    }
    let fullest = *loads.iter().max().unwrap() as f64;
    let (_, most) = load_limits(densest / 100.0 * clients as f64, loads.len(), ALPHA);
    assert!(fullest <= most, "{fullest} in 10 ms, above {most}");
    assert!(loads[..1_000].iter().all(|&load| load == 0), "too early");
}
