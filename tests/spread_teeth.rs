//! Would the spread tests notice a broken policy?
//!
//! Each policy here is broken on purpose, and the statistic that is meant to
//! catch it must do so, at the sample sizes of the spread tests. A statistic
//! that cannot see the fault is shown to be blind to it, where that is why
//! another one is needed.

mod fleet;
mod literal;
mod statistics;

use std::iter::repeat_with;
use std::time::Duration;

use fleet::{ARRIVING, CLIENTS, Fleet, IN_STEP, MIXING_TENTHS, SECOND, TENTHS, seconds};
use literal::Literal;
use redial::policy::from_fn;
use redial::{Backoff, Cause, Exponential, Failed, Jitter, Policy, Rng, Stratified};
use statistics::*;

/// U[0, 1).
fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// 1, 2, 4, … seconds without end.
fn doubling() -> impl Iterator<Item = f64> {
    (0..).map(|n| 2_f64.powi(n))
}

/// The fleet after so many rounds, and its latest waits.
fn after_rounds<P: Policy>(policy: &P, clients: usize, rounds: usize) -> (Fleet<P>, Vec<u64>) {
    let mut fleet = Fleet::of(policy, clients);
    for _ in 1..rounds {
        fleet.fails(Cause::Down);
    }
    let waits = fleet.fails(Cause::Down);
    (fleet, waits)
}

fn turns<P: Policy>(fleet: &Fleet<P>, clock: f64) -> impl Iterator<Item = f64> {
    fleet.instants().map(move |at| at as f64 / 1e9 / clock)
}

/// Arrivals per tenth of a second over a minute.
fn a_minute(policy: &impl Policy, after: u64) -> Vec<u64> {
    Fleet::of(policy, ARRIVING).arrivals(after * SECOND, SECOND / 10, TENTHS, Cause::Down)
}

fn neighbours(us: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    us.chunks_exact(2).map(|two| (two[0], two[1]))
}

// ---- nothing is drawn

#[test]
fn no_jitter_is_caught_by_everything() {
    let bare = Exponential::new(seconds(1.0), seconds(60.0)).jitter(Jitter::None);
    for (round, ceiling) in [(1, SECOND), (9, 60 * SECOND)] {
        let (fleet, waits) = after_rounds(&bare, CLIENTS, round);
        let what = format!("no jitter, round {round}");
        commonest(waits.iter().copied(), 1.0 / ceiling as f64).catches(&what);
        phase_locking(turns(&fleet, 60.0), 0.0).catches(&what);
        let sample = Uniform::from_nanos(waits, 0, ceiling);
        sample.ks().catches(&what);
        sample.anderson_darling().catches(&what);
        sample.fullest_bin(2_000).catches(&what);
        sample.emptiest_bin(2_000).catches(&what);
    }
    // 31 s and then each minute: the bins of a minute hold one wave.
    for after in [60, 300, 600] {
        let fano = fano(&a_minute(&bare, after));
        fano.catches("no jitter");
        assert!(fano.value > 19_000.0, "{fano}");
    }
}

#[test]
fn the_constant_two_seconds_of_hipchat_are_caught() {
    // The web client of March 2015, whose fleet came back as one after the loss
    // of a node ("HipChat connections", Atlassian Developer Blog).
    let constant = from_fn(|_| std::iter::repeat(Duration::from_secs(2)));
    let (fleet, waits) = after_rounds(&constant, CLIENTS, 1);
    commonest(waits.iter().copied(), 0.5e-9).catches("two seconds");
    Uniform::from_nanos(waits, 0, 2 * SECOND)
        .fullest_bin(2_000)
        .catches("two seconds");
    phase_locking(turns(&fleet, 2.0), 0.0).catches("two seconds");
    for after in [60, 300, 600] {
        fano(&a_minute(&constant, after)).catches("two seconds");
    }
}

// ---- drawn, and then lost again

#[test]
fn jitter_before_the_cap_is_caught_at_the_cap() {
    let before = from_fn(|mut rng| {
        doubling()
            .map(move |ceiling| seconds(f64::min(ceiling * (0.5 + 0.5 * unit(&mut rng)), 60.0)))
    });
    // Far from the cap nothing is wrong …
    let (_, waits) = after_rounds(&before, CLIENTS, 1);
    Uniform::from_nanos(waits, SECOND / 2, SECOND / 2).is_uniform("before the cap");
    // … and there it is no jitter at all.
    for round in [7, 8, 12] {
        let (_, waits) = after_rounds(&before, CLIENTS, round);
        let what = format!("jitter before the cap, round {round}");
        commonest(waits.iter().copied(), 1.0 / 30e9).catches(&what);
        let sample = Uniform::from_nanos(waits, 30 * SECOND, 30 * SECOND);
        sample.ks().catches(&what);
        sample.fullest_bin(2_000).catches(&what);
    }
}

/// "Decorrelated jitter" as everybody writes it: the draw is clamped.
fn clamped(cap: f64) -> impl Policy {
    from_fn(move |rng| Clamped {
        rng,
        last: 1.0,
        cap,
    })
}

struct Clamped {
    rng: Rng,
    last: f64,
    cap: f64,
}

impl Iterator for Clamped {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let drawn = 1.0 + unit(&mut self.rng) * (3.0 * self.last - 1.0);
        self.last = f64::min(drawn, self.cap);
        Some(seconds(self.last))
    }
}

#[test]
fn clamped_decorrelated_jitter_is_caught_by_its_atom() {
    // And the atom is the known one: the fault that is caught is the fault
    // that is out there.
    for (cap, atom) in [
        (10.0, 0.483),
        (20.0, 0.413),
        (60.0, 0.339),
        (100.0, 0.315),
        (600.0, 0.260),
    ] {
        let (_, waits) = after_rounds(&clamped(cap), CLIENTS, 60);
        commonest(waits.iter().copied(), 0.5e-9).catches("a clamped draw");
        let at_the_cap = waits
            .iter()
            .filter(|&&wait| wait == (cap * 1e9) as u64)
            .count();
        let share = share("the share at the cap", at_the_cap, CLIENTS, atom);
        // The figures have three digits.
        assert!(share.value <= share.limit + 0.0005, "{cap}: {share}");
    }
}

#[test]
fn clients_that_met_at_a_clamped_cap_stay_together_and_are_caught() {
    // Of those at the cap together, two thirds are so in the next round too.
    let (mut fleet, waits) = after_rounds(&clamped(60.0), CLIENTS, 60);
    let capped = |wait: &u64| *wait == 60 * SECOND;
    let mut together: Vec<bool> = waits.iter().map(capped).collect();
    let burst = together.iter().filter(|&&client| client).count();
    for kept in [0.67, 0.45, 0.30, 0.20] {
        let waits = fleet.fails(Cause::Down);
        for (client, now) in together.iter_mut().zip(waits.iter().map(capped)) {
            *client &= now;
        }
        let still = together.iter().filter(|&&client| client).count();
        let share = share("the share in lockstep", still, burst, kept);
        // The figures have two digits.
        assert!(share.value <= share.limit + 0.005, "{share}");
        commonest(waits, 0.5e-9).catches("a burst in lockstep");
    }
}

#[test]
fn whole_milliseconds_are_caught_in_a_window_of_five() {
    let truncated = from_fn(|mut rng| {
        repeat_with(move || Duration::from_millis((5.0 * unit(&mut rng)) as u64 + 1))
    });
    let (_, waits) = after_rounds(&truncated, CLIENTS, 1);
    commonest(waits.iter().copied(), 1.0 / 5e6).catches("whole milliseconds");
    let sample = Uniform::from_nanos(waits, 0, 5_000_000);
    sample.ks().catches("whole milliseconds");
    sample.anderson_darling().catches("whole milliseconds");
    sample.fullest_bin(2_000).catches("whole milliseconds");
    sample.emptiest_bin(2_000).catches("whole milliseconds");
}

#[test]
fn whole_milliseconds_are_caught_even_in_a_minute() {
    let truncated = from_fn(|mut rng| {
        repeat_with(move || Duration::from_millis((60_000.0 * unit(&mut rng)) as u64 + 1))
    });
    let (_, waits) = after_rounds(&truncated, CLIENTS, 1);
    // Too fine to show in the distribution, but not in what agrees exactly.
    commonest(waits.iter().copied(), 1.0 / 60e9).catches("whole milliseconds");
    Uniform::from_nanos(waits, 0, 60 * SECOND)
        .ks()
        .holds("whole milliseconds");
}

// ---- drawn by all alike

/// Each outage clones the generator that the policy was built with.
#[derive(Clone)]
struct OwnsItsGenerator(Rng);

impl Policy for OwnsItsGenerator {
    type State = Backoff<Exponential>;

    fn begin(&self, _: &mut Rng) -> Self::State {
        Exponential::new(seconds(1.0), seconds(60.0)).start(self.0.clone())
    }

    fn next_delay(&self, own: &mut Self::State, _: &mut Rng, failed: &Failed) -> Option<Duration> {
        own.next_delay(failed)
    }
}

#[test]
fn a_generator_that_clones_share_is_caught_across_clients() {
    let shared = OwnsItsGenerator(Rng::from_seed(1));
    // One client alone looks perfect …
    let alone = shared.delays_from_seed(0).skip(6).take(CLIENTS);
    Uniform::from_nanos(alone.map(|wait| wait.as_nanos() as u64), 0, 60 * SECOND)
        .is_uniform("one client");
    // … and all of them are one.
    let (fleet, waits) = after_rounds(&shared, CLIENTS, 9);
    commonest(waits.iter().copied(), 1.0 / 60e9).catches("a shared generator");
    phase_locking(turns(&fleet, 60.0), 0.0).catches("a shared generator");
    let sample = Uniform::from_nanos(waits, 0, 60 * SECOND);
    sample.ks().catches("a shared generator");
    sample.fullest_bin(2_000).catches("a shared generator");
}

#[test]
fn a_generator_shared_by_two_clients_is_caught_by_their_correlation() {
    // The lowest bit of each seed is lost. Hardly a value agrees more often
    // than chance has it, and the fleet looks sound.
    let us: Vec<f64> = (0..CLIENTS as u64)
        .map(|client| unit(&mut Rng::from_seed(client / 2)))
        .collect();
    Uniform::new(us.iter().copied()).is_uniform("pairs that share a generator");
    correlation(neighbours(&us)).catches("pairs that share a generator");
}

#[test]
fn a_stream_that_a_neighbour_has_one_step_later_is_caught() {
    // Client i's draw n is draw 0 of client i + n: each round is perfect.
    let draw = |client: u64, n: u64| unit(&mut Rng::from_seed(client + n));
    let round =
        |n: u64| -> Vec<f64> { (0..CLIENTS as u64).map(|client| draw(client, n)).collect() };
    let (first, second) = (round(0), round(1));
    Uniform::new(second.iter().copied()).is_uniform("a stream one step on");
    correlation(neighbours(&second)).holds("within a round");
    let shifted = second.chunks_exact(2).zip(first.chunks_exact(2));
    correlation(shifted.map(|(now, before)| (now[0], before[1]))).catches("a stream one step on");
}

#[test]
fn opposite_draws_are_caught_by_their_sum() {
    // Antithetic neighbours: each uniform, no value twice.
    let us: Vec<f64> = (0..CLIENTS as u64 / 2)
        .flat_map(|pair| {
            let u = unit(&mut Rng::from_seed(pair));
            [u, 1.0 - u]
        })
        .collect();
    Uniform::new(us.iter().copied())
        .ks()
        .holds("antithetic clients");
    correlation(neighbours(&us)).catches("antithetic clients");
    Uniform::new(neighbours(&us).map(|(u, v)| (u + v).rem_euclid(1.0)))
        .ks()
        .catches("antithetic clients");
}

#[test]
fn token_buckets_in_step_are_caught() {
    // The wait until the next token, and no more.
    let bucket = from_fn(|_| std::iter::repeat(Duration::from_secs(10)));
    let (fleet, waits) = after_rounds(&bucket, CLIENTS, 3);
    commonest(waits, 1.0 / 10e9).catches("tokens in step");
    phase_locking(turns(&fleet, 10.0), 0.0).catches("tokens in step");
}

// ---- drawn from too little

/// A ceiling of 1.6^n s and at most two minutes, of which j either way is
/// jitter, with the first retry at once: gRPC's (j = 0.2), if it counts from
/// the loss.
fn grpc(j: f64) -> impl Policy {
    from_fn(move |mut rng| {
        let ceilings = (0..).map(|n| f64::min(1.6_f64.powi(n), 120.0));
        ceilings.map(move |c| seconds(c * (1.0 - j + 2.0 * j * unit(&mut rng))))
    })
}

#[test]
fn proportional_jitter_of_a_tenth_is_sound_by_its_law_and_caught_by_its_waves() {
    let tenth = Exponential::new(seconds(1.0), seconds(60.0)).jitter(Jitter::Proportional(0.1));
    let held = 60.0 / 1.1;
    let (fleet, waits) = after_rounds(&tenth, IN_STEP, 16);
    let low = (held * 0.9 * 1e9) as u64;
    let width = (held * 0.2 * 1e9) as u64;
    Uniform::from_nanos(waits, low, width).is_uniform("a tenth either way");
    // After sixteen rounds the fleet still goes round the clock together.
    phase_locking(turns(&fleet, held), 0.0).catches("a tenth either way");
    for after in [60, 300, 600] {
        fano(&a_minute(&tenth, after)).catches("a tenth either way");
    }
}

#[test]
fn the_waves_of_grpc_are_caught_and_fade_as_measured() {
    for (after, measured) in [(60, 57.0), (300, 17.0), (600, 3.3)] {
        let fano = fano(&a_minute(&grpc(0.2), after));
        fano.catches("gRPC's jitter");
        // One sample of 600 bins against another one's.
        assert!((fano.value / measured - 1.0).abs() < 0.25, "{fano}");
    }
}

#[test]
fn a_floor_of_two_hundredths_is_caught_by_the_distribution() {
    // Full jitter, were it "never less than 2 % of the ceiling".
    let floored = from_fn(|mut rng| repeat_with(move || seconds(0.02 + 0.98 * unit(&mut rng))));
    let (_, waits) = after_rounds(&floored, CLIENTS, 1);
    let sample = Uniform::from_nanos(waits, 0, SECOND);
    sample.ks().catches("a floor");
    sample.emptiest_bin(2_000).catches("a floor");
}

#[test]
fn an_end_that_is_missing_is_caught_by_anderson_and_darling() {
    // The first 0.55 % of the window is never drawn; D's limit is 0.73 %.
    let cut = from_fn(|mut rng| repeat_with(move || seconds(0.0055 + 0.9945 * unit(&mut rng))));
    let (_, waits) = after_rounds(&cut, CLIENTS, 1);
    let sample = Uniform::from_nanos(waits, 0, SECOND);
    sample.ks().holds("too small for D");
    sample.anderson_darling().catches("a missing end");
}

#[test]
fn one_wait_in_ten_thousand_that_is_exactly_the_base_is_caught() {
    let atom = from_fn(|mut rng| {
        repeat_with(move || {
            let rare = unit(&mut rng) < 1e-4;
            seconds(if rare { 1.0 } else { unit(&mut rng) })
        })
    });
    let (_, waits) = after_rounds(&atom, CLIENTS, 1);
    commonest(waits.iter().copied(), 1e-9).catches("a small atom");
    // Nothing else can see it.
    Uniform::from_nanos(waits, 0, SECOND)
        .ks()
        .holds("a small atom");
}

#[test]
fn a_ceiling_that_is_one_step_behind_is_caught() {
    let behind = Exponential::new(seconds(1.0), seconds(60.0));
    let (_, waits) = after_rounds(&behind, CLIENTS, 4);
    let sample = Uniform::from_nanos(waits, 0, 16 * SECOND); // the fifth wait's
    sample.ks().catches("one step behind");
    sample.anderson_darling().catches("one step behind");
}

// ---- Stratified, one part of its rule left out

/// The positions of the attempts in stratum k.
fn positions(policy: &impl Policy, k: usize) -> Vec<f64> {
    let rule = Literal::default();
    let stratum = rule.strata(Cause::Down).nth(k).expect("endless");
    let (fleet, _) = after_rounds(policy, CLIENTS, k + 1);
    fleet
        .instants()
        .map(|at| rule.u(at as f64 - 0.5, stratum))
        .collect()
}

#[test]
fn a_position_that_does_not_walk_is_caught_by_the_pattern_that_repeats() {
    let frozen = Literal {
        walk: 0.0,
        ..Literal::default()
    };
    // Every stratum is uniform, and arrivals are even …
    Uniform::with_step(positions(&frozen, 12), 1e-9).is_uniform("frozen");
    let five_minutes = Fleet::of(&frozen, ARRIVING).arrivals(
        300 * SECOND,
        SECOND / 10,
        MIXING_TENTHS,
        Cause::Down,
    );
    fano(&five_minutes).holds("frozen");
    // … by the same clients at the same place, each time.
    autocorrelation(&five_minutes, 300).catches("frozen");
    let (before, after) = (positions(&frozen, 12), positions(&frozen, 13));
    correlation(before.into_iter().zip(after)).catches("frozen");
}

#[test]
fn a_walk_that_stops_at_the_ends_is_caught_by_its_atoms() {
    let clamped = Literal {
        bound: |u| u.clamp(0.0, 1.0),
        ..Literal::default()
    };
    let us = positions(&clamped, 12);
    let instants = us.iter().map(|u| (u * 30e9).round() as u64);
    commonest(instants, 1.0 / 30e9).catches("a clamped walk");
    let sample = Uniform::with_step(us, 1e-9);
    sample.ks().catches("a clamped walk");
    sample.anderson_darling().catches("a clamped walk");
    sample.fullest_bin(2_000).catches("a clamped walk");
}

#[test]
fn a_walk_that_goes_round_is_caught_by_the_gaps_it_leaves() {
    let round = Literal {
        bound: |u| u.rem_euclid(1.0),
        ..Literal::default()
    };
    // Uniform as well, so no law of one stratum sees it.
    Uniform::with_step(positions(&round, 12), 1e-9).is_uniform("round the clock");
    let (_, waits) = after_rounds(&round, CLIENTS, 14);
    let within = |wait: u64| (22_500_000_000..=37_500_000_000).contains(&wait);
    assert!(!waits.into_iter().all(within));
    let (_, waits) = after_rounds(&Stratified::default(), CLIENTS, 14);
    assert!(waits.into_iter().all(within));
}

#[test]
fn strata_that_grow_and_are_flat_are_caught() {
    // Uniform in time where the density should fall: a step at each border.
    let flat = Literal {
        growth: 1.6,
        cap: f64::INFINITY,
        flat_before_the_cap: true,
        ..Literal::default()
    };
    let evenly = from_fn(|mut rng| {
        let strata: Vec<_> = flat.strata(Cause::Down).take(7).collect();
        let mut now = 0.0;
        strata.into_iter().map(move |stratum| {
            let at = stratum.start + unit(&mut rng) * stratum.width;
            let wait = at - now;
            now = at;
            Duration::from_nanos(wait as u64)
        })
    });
    let sample = Uniform::with_step(positions(&evenly, 5), 1e-9);
    sample.ks().catches("flat strata");
    sample.anderson_darling().catches("flat strata");
    // In bins that are wide enough for a quarter more to show.
    sample.fullest_bin(20).catches("flat strata");
}
