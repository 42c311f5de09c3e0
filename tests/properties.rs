//! What holds for all inputs, of every policy?
//!
//! Cases that once failed are kept in `properties.proptest-regressions` and run
//! first. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` choose others, or more.

mod literal;

use std::time::Duration;

use literal::Literal;
use proptest::prelude::*;
use proptest::sample::Index;
use redial::{
    Cause, Decorrelated, Exponential, Failed, InvalidConfig, Jitter, Next, Outage, Policy, Rng,
    Sequence, Stratified, TokenBucket, Verdict,
};

/// The most that a hint can ask for.
const HOUR: Duration = Duration::from_secs(3600);

const NANOSECOND: Duration = Duration::from_nanos(1);

/// What a policy counts in: longer times count as this one.
const MOST: Duration = Duration::from_nanos(u64::MAX);

// ---- all inputs

/// Any time but zero, of any order of magnitude.
fn any_length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => prop::sample::select(vec![
            NANOSECOND,
            2 * NANOSECOND,
            Duration::from_millis(999),
            Duration::from_secs(1),
            MOST - NANOSECOND,
            MOST,
            MOST + NANOSECOND,
            Duration::MAX,
        ]),
        2 => (0..64_u32, any::<u64>())
            .prop_map(|(shift, nanos)| Duration::from_nanos((nanos >> shift).max(1))),
        1 => (1..u64::MAX, 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![1 => Just(Duration::ZERO), 9 => any_length()]
}

/// A base, and a cap that is not below it.
fn any_range() -> impl Strategy<Value = (Duration, Duration)> {
    (any_length(), any_length()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

/// Any factor that is not refused.
fn any_factor() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(vec![1.0, 1.0 + f64::EPSILON, 1.6, 2.0, f64::MAX]),
        1.0..4.0,
        (0.0..1024.0)
            .prop_map(f64::exp2)
            .prop_filter("finite", |f| f.is_finite()),
    ]
}

/// Any factor that is refused.
fn no_factor() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            0.5
        ]),
        f64::MIN..1.0,
        0.0..1.0,
    ]
}

fn any_jitter() -> impl Strategy<Value = Jitter> {
    let j = prop_oneof![
        prop::sample::select(vec![0.0, f64::MIN_POSITIVE, 0.005, 0.2, 1.0]),
        0.0..=1.0,
    ];
    prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        j.prop_map(Jitter::Proportional),
    ]
}

fn any_cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![Cause::Down, Cause::Busy, Cause::Stalled])
}

/// Failures in no order at all, with any numbers.
fn any_failures() -> impl Strategy<Value = Vec<Failed>> {
    let attempt = prop_oneof![0..8_u32, any::<u32>(), Just(u32::MAX)];
    let failed = (attempt, any_time(), any_cause())
        .prop_map(|(attempt, elapsed, cause)| Failed::new(attempt, elapsed, cause));
    prop::collection::vec(failed, 1..40)
}

/// What fails one after the other: why, and after how long an attempt.
fn any_outage() -> impl Strategy<Value = Vec<(Cause, Duration)>> {
    let took = prop_oneof![Just(Duration::ZERO), any_time()];
    prop::collection::vec((any_cause(), took), 1..60)
}

/// The waits of an outage that is told the time in order, each with its
/// failure. The first failure is the loss itself, or a first attempt's that
/// took a while.
fn waits(policy: &impl Policy, seed: u64, outage: &[(Cause, Duration)]) -> Vec<(Failed, Duration)> {
    let mut backoff = policy.start(Rng::from_seed(seed));
    let mut now = Duration::ZERO;
    (0..)
        .zip(outage)
        .map(|(attempt, &(cause, took))| {
            now = now.saturating_add(took);
            let failed = Failed::new(attempt, now, cause);
            let wait = backoff.next_delay(&failed).expect("no policy gives up");
            now = now.saturating_add(wait);
            (failed, wait)
        })
        .collect()
}

/// The waits after failures in no order.
fn answers(policy: &impl Policy, seed: u64, failures: &[Failed]) -> Vec<Duration> {
    let mut backoff = policy.start(Rng::from_seed(seed));
    let answer = |failed| backoff.next_delay(failed).expect("no policy gives up");
    failures.iter().map(answer).collect()
}

/// A number whose decimal logarithm is uniform.
fn decades(range: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    range.prop_map(|log| 10_f64.powf(log))
}

/// A time, give or take what f64 may be wrong by.
fn about(wait: Duration) -> f64 {
    wait.as_nanos() as f64 * (1.0 - 1e-12) - 1.0
}

fn nanos(time: Duration) -> f64 {
    time.min(MOST).as_nanos() as f64
}

/// The refusal names the value that it refuses.
fn names(refused: Result<impl Sized, InvalidConfig>, value: &str) -> Result<(), TestCaseError> {
    let Err(invalid) = refused else {
        return Err(TestCaseError::fail(format!("{value} was accepted")));
    };
    let message = invalid.to_string();
    prop_assert!(message.contains(value), "{message} does not name {value}");
    Ok(())
}

// ---- Exponential

proptest! {
    #[test]
    fn exponential_waits_within_its_ceiling_and_cap(
        (base, cap) in any_range(),
        factor in any_factor(),
        jitter in any_jitter(),
        seed: u64,
        failures in any_failures(),
    ) {
        let policy = Exponential::new(base, cap).factor(factor).jitter(jitter);
        let (above, below) = match jitter {
            Jitter::None => (1.0, 1.0),
            Jitter::Full => (1.0, 0.0),
            Jitter::Equal => (1.0, 0.5),
            Jitter::Proportional(j) => (1.0 + j, 1.0 - j),
        };
        for (failed, wait) in failures.iter().zip(answers(&policy, seed, &failures)) {
            prop_assert!(Duration::ZERO < wait && wait <= cap);
            let grown = nanos(base) * factor.powf(failed.attempt as f64);
            let ceiling = f64::min(grown, nanos(cap) / above);
            // The ceiling is rounded down, and the part of it that is j (a
            // multiple of 2^-32) to the nearest: less than 1.5 ns in all.
            // powf loses digits where its exponent is large.
            let most = ceiling * above * (1.0 + 1e-6) + 1.5;
            let least = ceiling * below * (1.0 - 1e-6) - ceiling * 1e-9 - 1.5;
            prop_assert!(about(wait) <= most, "{wait:?} after {failed:?} is above {most}");
            prop_assert!(nanos(wait) >= least, "{wait:?} after {failed:?} is below {least}");
        }
    }

    #[test]
    fn exponential_begins_with_at_most_its_base(
        (base, cap) in any_range(),
        factor in any_factor(),
        jitter in any_jitter(),
        seed: u64,
    ) {
        let policy = Exponential::new(base, cap).factor(factor).jitter(jitter);
        let first = policy.delays_from_seed(seed).next().unwrap();
        match jitter {
            // j above it, by its law.
            Jitter::Proportional(j) => prop_assert!(about(first) <= nanos(base) * (1.0 + j) + 1.0),
            _ => prop_assert!(first <= base),
        }
    }

    #[test]
    fn exponential_refuses_nonsense_by_its_value(
        (base, cap) in any_range(),
        factor in no_factor(),
        above in 1.0..f64::MAX,
    ) {
        names(Exponential::try_new(Duration::ZERO, cap), "0ns")?;
        if base < cap {
            let swapped = Exponential::try_new(cap, base);
            names(swapped.clone(), &format!("{base:?}"))?;
            names(swapped, &format!("{cap:?}"))?;
        }
        let policy = Exponential::new(base, cap);
        names(policy.try_factor(factor), &factor.to_string())?;
        for j in [-above, above + above * f64::EPSILON, f64::NAN, f64::INFINITY] {
            names(policy.try_jitter(Jitter::Proportional(j)), &j.to_string())?;
        }
    }

    // ---- Sequence

    #[test]
    fn a_sequence_waits_within_its_entry_and_only_an_entry_of_zero_means_no_wait(
        entries in prop::collection::vec(any_time(), 1..12),
        jitter in any_jitter(),
        seed: u64,
        failures in any_failures(),
    ) {
        let policy = Sequence::new(entries.clone()).jitter(jitter);
        let longest = *entries.iter().max().unwrap();
        for (failed, wait) in failures.iter().zip(answers(&policy, seed, &failures)) {
            let entry = entries[(failed.attempt as usize).min(entries.len() - 1)];
            prop_assert_eq!(wait.is_zero(), entry.is_zero());
            prop_assert!(wait <= longest);
            match jitter {
                Jitter::Proportional(j) => {
                    prop_assert!(about(wait) <= nanos(entry) * (1.0 + j) * (1.0 + 1e-9) + 1.0);
                }
                _ => prop_assert!(wait <= entry),
            }
        }
    }

    // ---- Decorrelated

    #[test]
    fn decorrelated_waits_lie_between_the_base_and_three_times_the_last(
        (base, cap) in any_range(),
        seed: u64,
        outage in any_outage(),
    ) {
        let mut last = base.min(MOST);
        for (_, wait) in waits(&Decorrelated::new(base, cap), seed, &outage) {
            prop_assert!(base.min(MOST) <= wait && wait <= cap);
            prop_assert!(wait <= last.saturating_mul(3));
            last = wait;
        }
    }

    #[test]
    fn decorrelated_waits_lie_between_base_and_cap_in_any_order(
        (base, cap) in any_range(),
        seed: u64,
        failures in any_failures(),
    ) {
        for wait in answers(&Decorrelated::new(base, cap), seed, &failures) {
            prop_assert!(base.min(MOST) <= wait && wait <= cap);
        }
    }

    #[test]
    fn decorrelated_refuses_nonsense_by_its_value((base, cap) in any_range()) {
        names(Decorrelated::try_new(Duration::ZERO, cap), "0ns")?;
        if base < cap {
            let swapped = Decorrelated::try_new(cap, base);
            names(swapped.clone(), &format!("{base:?}"))?;
            names(swapped, &format!("{cap:?}"))?;
        }
    }

    // ---- TokenBucket

    #[test]
    fn a_token_bucket_waits_for_two_periods_at_most(
        burst in prop_oneof![1..10_u32, any::<u32>()],
        period in any_length(),
        seed: u64,
        failures in any_failures(),
    ) {
        let burst = burst.max(1);
        // The longest that goes with this burst.
        let period = period.min(Duration::from_nanos(u64::MAX / burst as u64));
        let policy = TokenBucket::new(burst, period).as_policy();
        for wait in answers(&policy, seed, &failures) {
            prop_assert!(Duration::ZERO < wait && wait <= period.saturating_mul(2));
        }
    }

    #[test]
    fn a_token_bucket_keeps_its_rate_whatever_its_attempts_take(
        burst in 1..10_u32,
        period in (1..1_000_000_000_u64).prop_map(Duration::from_nanos),
        seed: u64,
        outage in any_outage(),
    ) {
        // Attempt n (from 0) is paid with token n, which is there from
        // (n - burst + 1) periods on.
        for (failed, wait) in waits(&TokenBucket::new(burst, period).as_policy(), seed, &outage) {
            let due = period * (failed.attempt + 1).saturating_sub(burst);
            prop_assert!(failed.elapsed.saturating_add(wait) > due);
        }
    }

    // ---- Stratified

    #[test]
    fn stratified_waits_within_its_caps(
        (base, cap) in any_range(),
        growth in any_factor(),
        (busy, stalled) in (any_length(), any_length()),
        seed: u64,
        outage in any_outage(),
    ) {
        let policy = Stratified::new(base, cap)
            .growth(growth)
            .busy_cap(busy.max(cap))
            .stalled_cap(stalled.max(cap));
        let mut most = cap;
        for (failed, wait) in waits(&policy, seed, &outage) {
            most = match failed.cause {
                Cause::Busy => most.max(busy),
                Cause::Stalled => most.max(stalled),
                _ => most,
            };
            prop_assert!(Duration::ZERO < wait && wait <= most, "{wait:?} after {failed:?}");
        }
    }

    #[test]
    fn stratified_waits_after_any_failures_in_any_order(
        (base, cap) in any_range(),
        growth in any_factor(),
        seed: u64,
        failures in any_failures(),
    ) {
        for wait in answers(&Stratified::new(base, cap).growth(growth), seed, &failures) {
            prop_assert!(wait > Duration::ZERO);
        }
    }

    #[test]
    fn stratified_begins_with_at_most_its_base(
        (base, cap) in any_range(),
        growth in any_factor(),
        seed: u64,
    ) {
        let policy = Stratified::new(base, cap).growth(growth);
        prop_assert!(policy.delays_from_seed(seed).next().unwrap() <= base);
    }

    #[test]
    fn stratified_follows_the_literal_rule_whatever_its_numbers(
        base in decades(6.0..10.0),
        cap in decades(0.0..3.0),
        (busy, stalled) in (decades(0.0..2.0), decades(0.0..2.0)),
        growth in prop_oneof![Just(1.0), 1.001..10.0],
        seed: u64,
        outage in prop::collection::vec(
            (any_cause(), prop_oneof![Just(0), 0..100_000_000_000_u64]),
            1..60,
        ),
    ) {
        let times = |a: f64, b: f64| Duration::from_nanos((a * b) as u64);
        let public = [times(base, cap), times(base, cap * busy), times(base, cap * stalled)];
        let policy = Stratified::new(times(base, 1.0), public[0])
            .growth(growth)
            .busy_cap(public[1])
            .stalled_cap(public[2]);
        let width = |public: Duration| (nanos(public) / 1.25).floor();
        let rule = Literal {
            base: f64::min(base.floor(), width(public[0])),
            growth,
            cap: width(public[0]),
            busy_cap: width(public[1]),
            stalled_cap: width(public[2]),
            ..Literal::default()
        };
        let outage: Vec<_> = outage
            .into_iter()
            .map(|(cause, took)| (cause, Duration::from_nanos(took)))
            .collect();
        // While windows grow, an instant is the difference of two powers of two. Each is
        // at most the instant and A = base / (growth - 1), and wrong by 2e-11 at most.
        // Beyond the cap, widths are whole nanoseconds, rounded up: after j windows by
        // 4 (1.25^j - 1) at most, which is below 4 / cap of the width.
        let (powers, origin) = if growth > 1.0 {
            (4e-11, rule.base / (growth - 1.0))
        } else {
            (0.0, 0.0)
        };
        let mut literal = rule.outage(Rng::from_seed(seed));
        for (failed, wait) in waits(&policy, seed, &outage) {
            let (_, stratum, at) = literal.next_attempt(nanos(failed.elapsed), failed.cause);
            let rounding = powers * (at + origin) + 4.0 * at / rule.cap + 4.0;
            // On either side of a border, rounding decides.
            let border = (stratum.width * growth / rule.cap - 1.0).abs() < 1e-6;
            if literal.nearest() < rounding || border {
                break;
            }
            let ours = nanos(failed.elapsed + wait);
            prop_assert!((ours - at).abs() < rounding, "{ours} against {at} after {failed:?}");
        }
    }

    #[test]
    fn stratified_refuses_nonsense_by_its_value(
        (base, cap) in any_range(),
        growth in no_factor(),
        per_second in no_factor(),
    ) {
        names(Stratified::try_new(Duration::ZERO, cap), "0ns")?;
        names(Stratified::new(base, cap).try_growth(growth), &growth.to_string())?;
        if base < cap {
            let swapped = Stratified::try_new(cap, base);
            names(swapped, &format!("{base:?}"))?;
        }
        // Caps beyond 584 years are all alike.
        let end = Duration::from_nanos(u64::MAX);
        if base.min(end) < cap.min(end) {
            let policy = Stratified::new(cap, cap);
            names(policy.try_busy_cap(base), &format!("{base:?}"))?;
            names(policy.try_stalled_cap(base), &format!("{base:?}"))?;
        }
        if per_second <= 0.0 || !per_second.is_finite() {
            names(Stratified::try_for_fleet(1, per_second), &per_second.to_string())?;
        }
    }

    #[test]
    fn stratified_for_any_fleet_is_a_policy(
        clients: u64,
        per_second in prop_oneof![f64::MIN_POSITIVE..1e-200, 1e-9..1e9, 1e200..f64::MAX],
        seed: u64,
    ) {
        let policy = Stratified::for_fleet(clients, per_second);
        for wait in policy.delays_from_seed(seed).take(50) {
            prop_assert!(wait > Duration::ZERO);
        }
    }

    // ---- seeds

    #[test]
    fn the_same_seed_means_the_same_waits_for_every_policy(
        (base, cap) in any_range(),
        factor in any_factor(),
        jitter in any_jitter(),
        seed: u64,
        outage in any_outage(),
    ) {
        fn same(policy: &impl Policy, seed: u64, outage: &[(Cause, Duration)]) -> bool {
            waits(policy, seed, outage) == waits(&policy.clone(), seed, outage)
        }
        prop_assert!(same(&Stratified::new(base, cap).growth(factor), seed, &outage));
        prop_assert!(same(&Exponential::new(base, cap).jitter(jitter), seed, &outage));
        prop_assert!(same(&Decorrelated::new(base, cap), seed, &outage));
        prop_assert!(same(&Sequence::new([base, cap]).jitter(jitter), seed, &outage));
        prop_assert!(same(&TokenBucket::new(1, base).as_policy(), seed, &outage));
    }

    #[test]
    fn two_seeds_mean_two_streams(a: u64, b: u64) {
        prop_assume!(a != b);
        // Eight waits of nine digits each agree with a chance of 1e-72.
        let policy = Exponential::new(Duration::from_secs(1), Duration::from_secs(1));
        let first_eight = |seed| policy.delays_from_seed(seed).take(8).collect::<Vec<_>>();
        prop_assert_ne!(first_eight(a), first_eight(b));
    }

    // ---- Outage

    #[test]
    fn an_outage_answers_any_events_in_any_order(
        seed: u64,
        events in prop::collection::vec((any::<Index>(), any_time(), any_time(), any_cause()), 1..60),
        stable_after in any_time(),
        (timeout, patience) in (any_length(), any_time()),
    ) {
        let policy = Stratified::default();
        let mut outage = Outage::from_seed(policy, seed)
            .stable_after(stable_after)
            .attempt_timeout(timeout)
            .patience(patience);
        for (event, now, hint, cause) in events {
            let (answer, verdict) = match event.index(9) {
                0 => {
                    let limit = outage.connecting(now);
                    prop_assert!(limit.min(MOST) >= timeout.min(MOST));
                    prop_assert!(limit.min(MOST) <= timeout.max(patience));
                    continue;
                }
                1 => {
                    outage.connected(now);
                    continue;
                }
                2 => {
                    outage.reset();
                    prop_assert_eq!(outage.attempts(), 0);
                    continue;
                }
                3 => (outage.lost(now), Verdict::Retry(Cause::Down)),
                4 => (outage.ended(now), Verdict::Retry(Cause::Busy)),
                5 => (outage.failed(now, Verdict::Retry(cause)), Verdict::Retry(cause)),
                6 => (outage.failed(now, Verdict::Slot(hint)), Verdict::Slot(hint)),
                7 => (outage.failed(now, Verdict::RetryAfter(hint)), Verdict::RetryAfter(hint)),
                _ => (outage.lost_with(now, Verdict::RetryAfter(hint)), Verdict::RetryAfter(hint)),
            };
            let Next::Wait(wait) = answer else {
                return Err(TestCaseError::fail(format!("{answer:?}, without a limit")));
            };
            match verdict {
                Verdict::Slot(slot) if slot <= HOUR => prop_assert_eq!(wait, slot),
                Verdict::RetryAfter(hint) | Verdict::Slot(hint) => {
                    prop_assert!(wait >= hint.min(HOUR) && wait > Duration::ZERO);
                }
                _ => prop_assert!(wait > Duration::ZERO),
            }
        }
    }
}
