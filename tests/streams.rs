//! Does each outage have a stream of random numbers of its own?

mod statistics;

use std::time::Duration;

use redial::{
    Cause, Decorrelated, Exponential, Failed, Next, Outage, Policy, Sequence, Stratified,
    TokenBucket, Verdict,
};
use statistics::*;

const SECOND: Duration = Duration::from_secs(1);

/// The first eight waits of an outage. Two outages of any policy here have the
/// same eight with a probability below 1e-72.
fn first_eight(delays: impl Iterator<Item = Duration>) -> Vec<Duration> {
    delays.take(8).collect()
}

/// Runs a test for each policy that draws random numbers.
macro_rules! for_each_policy {
    ($test:ident) => {
        $test(&Stratified::default());
        $test(&Exponential::new(SECOND, 60 * SECOND));
        $test(&Decorrelated::new(SECOND, 60 * SECOND));
        $test(&Sequence::new([SECOND, 10 * SECOND]));
        $test(&TokenBucket::new(2, 10 * SECOND).as_policy());
    };
}

// ---- a policy

fn a_seed_means_the_same_waits_each_time(policy: &impl Policy) {
    let waits = first_eight(policy.delays_from_seed(7));
    assert_eq!(first_eight(policy.delays_from_seed(7)), waits);
    assert_eq!(first_eight(policy.clone().delays_from_seed(7)), waits);
    assert_ne!(first_eight(policy.delays_from_seed(8)), waits);
}

#[test]
fn a_seed_means_the_same_waits_for_a_policy_and_its_clone() {
    for_each_policy!(a_seed_means_the_same_waits_each_time);
}

fn no_two_outages_agree(policy: &impl Policy) {
    let other = policy.clone();
    let mut all: Vec<Vec<Duration>> = (0..100)
        .map(|i| first_eight(if i % 2 == 0 { policy } else { &other }.delays()))
        .collect();
    all.sort();
    assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
}

#[test]
fn no_two_outages_of_a_policy_or_its_clones_agree() {
    for_each_policy!(no_two_outages_agree);
}

/// The waits of an outage do not depend on what another outage of the same policy
/// has drawn.
fn an_outage_leaves_its_policy_as_it_was(policy: &impl Policy) {
    let fresh = first_eight(policy.delays_from_seed(1));
    let mut used = policy.delays_from_seed(2);
    for _ in 0..5 {
        used.next();
    }
    assert_eq!(first_eight(policy.delays_from_seed(1)), fresh);
    assert_eq!(first_eight(policy.clone().delays_from_seed(1)), fresh);
}

#[test]
fn an_outage_does_not_change_its_policy() {
    for_each_policy!(an_outage_leaves_its_policy_as_it_was);
}

/// Two outages that take turns wait as they do one after the other.
fn two_outages_by_turns(policy: &impl Policy) {
    let alone = [1, 2].map(|seed| first_eight(policy.delays_from_seed(seed)));
    let mut by_turns = [1, 2].map(|seed| policy.delays_from_seed(seed));
    for (first, second) in alone[0].iter().zip(&alone[1]) {
        assert_eq!(by_turns[0].next(), Some(*first));
        assert_eq!(by_turns[1].next(), Some(*second));
    }
}

#[test]
fn two_outages_do_not_touch_each_other() {
    for_each_policy!(two_outages_by_turns);
}

#[test]
fn a_closure_gets_a_generator_of_its_own_for_each_outage() {
    let policy = redial::policy::from_fn(|mut rng| {
        std::iter::repeat_with(move || Duration::from_nanos(rng.next_u64() >> 30))
    });
    a_seed_means_the_same_waits_each_time(&policy);
    no_two_outages_agree(&policy);
}

#[test]
fn a_clone_of_a_backoff_waits_as_its_original() {
    fn clones_agree<P: Policy<State: Clone>>(policy: &P) {
        let mut delays = policy.delays_from_seed(7);
        let _ = delays.by_ref().take(5).count();
        assert!(delays.clone().take(50).eq(delays.take(50)));
    }
    for_each_policy!(clones_agree);
}

// ---- an outage

fn wait(next: Next) -> Duration {
    match next {
        Next::Wait(wait) => wait,
        Next::GiveUp(reason) => panic!("gave up: {reason}"),
    }
}

/// The first waits of consecutive outages of one connection. Between two outages
/// the connection is up for long enough to end the outage.
fn first_waits<P: Policy>(mut outage: Outage<P>, outages: usize) -> Vec<Duration> {
    let mut now = Duration::ZERO;
    (0..outages)
        .map(|_| {
            let wait = wait(outage.lost(now));
            now += wait;
            outage.connecting(now);
            outage.connected(now);
            now += Duration::from_secs(60);
            wait
        })
        .collect()
}

#[test]
fn the_first_outage_of_a_seed_waits_as_its_policy_does_for_the_seed() {
    let policy = Stratified::default();
    for seed in [0, 1, u64::MAX] {
        let mut outage = Outage::from_seed(policy, seed);
        let mut backoff_by_hand = policy.delays_from_seed(seed);
        let mut now = Duration::ZERO;
        let mut next = outage.lost(now);
        for _ in 0..20 {
            let wait = wait(next);
            assert_eq!(backoff_by_hand.next(), Some(wait));
            now += wait;
            outage.connecting(now);
            next = outage.failed(now, Verdict::Retry(Cause::Down));
        }
    }
}

#[test]
fn outages_without_a_seed_differ() {
    let policy = Exponential::new(SECOND, 60 * SECOND);
    let mut all: Vec<_> = (0..100)
        .map(|_| first_waits(Outage::new(policy), 4))
        .collect();
    all.sort();
    assert!(all.windows(2).all(|two| two[0] != two[1]));
}

/// Client i has seed i, and each client has four outages. The draws of two
/// neighbours, and those of two outages, are independent.
#[test]
fn outages_of_neighbouring_seeds_are_independent() {
    const OUTAGES: usize = 4;
    let policy = Exponential::new(SECOND, 60 * SECOND);
    let us: Vec<Vec<f64>> = (0..100_000)
        .map(|seed| {
            first_waits(Outage::from_seed(policy, seed), OUTAGES)
                .into_iter()
                .map(|wait| position(wait.as_nanos() as u64, 0, 1e9))
                .collect()
        })
        .collect();
    for outage in 0..OUTAGES {
        Uniform::with_step(us.iter().map(|u| u[outage]), 1e-9)
            .is_uniform(format!("outage {outage}"));
        for other in 0..OUTAGES {
            let neighbours: Vec<_> = us
                .chunks_exact(2)
                .map(|two| (two[0][outage], two[1][other]))
                .collect();
            are_independent(
                &neighbours,
                format!("outage {outage} and the neighbour's {other}"),
            );
            if outage < other {
                let own: Vec<_> = us.iter().map(|u| (u[outage], u[other])).collect();
                are_independent(&own, format!("outages {outage} and {other}"));
            }
        }
    }
}

#[test]
fn the_spread_of_a_hint_is_independent_of_the_waits() {
    // A client that was hinted and one that was not must not be in step, nor must the
    // same client be, from one attempt to the next.
    let fixed = Exponential::new(SECOND, SECOND);
    let pairs: Vec<(f64, f64)> = (0..100_000)
        .map(|seed| {
            let mut backoff = fixed.start(redial::Rng::from_seed(seed));
            let mut draw = |attempt| {
                let failed = Failed::new(attempt, Duration::ZERO, Cause::Busy);
                backoff.next_delay(&failed).unwrap()
            };
            let first = draw(0);
            let second = draw(1);
            let mut outage = Outage::from_seed(fixed, seed);
            assert_eq!(wait(outage.lost(Duration::ZERO)), first);
            outage.connecting(first);
            let hinted = wait(outage.failed(first, Verdict::RetryAfter(10 * SECOND)));
            let above = hinted - 10 * SECOND;
            let unit = |wait: Duration, width| position(wait.as_nanos() as u64, 0, width);
            (unit(second, 1e9), unit(above, 1e10))
        })
        .collect();
    are_independent(&pairs, "wait and spread of a hint");
}

// ---- a driver

#[cfg(feature = "tokio")]
mod driver {
    use std::sync::{Arc, Mutex};

    use redial::{Event, Redial};

    use super::*;

    /// The waits of one outage of five failed attempts.
    async fn waits<P: Policy>(
        build: impl FnOnce(
            Redial<fn() -> std::future::Ready<Result<(), u32>>>,
        ) -> Redial<fn() -> std::future::Ready<Result<(), u32>>, P>,
    ) -> Vec<Duration> {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let seen = waits.clone();
        let refuse: fn() -> _ = || std::future::ready(Err(111));
        let mut redial = build(Redial::new(refuse))
            .max_attempts(6)
            .observe(move |event| {
                if let Event::Waiting { wait, .. } = event {
                    seen.lock().unwrap().push(*wait);
                }
            });
        assert!(redial.ready().await.unwrap_err().is_exhausted());
        let waits = waits.lock().unwrap().clone();
        assert_eq!(waits.len(), 5);
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn two_drivers_of_one_policy_differ() {
        let policy = Stratified::default();
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(waits(|redial| redial.policy(policy)).await);
            all.push(waits(|redial| redial).await);
        }
        all.sort();
        assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_seeded_driver_waits_as_its_policy_does_for_the_seed() {
        let policy = Exponential::new(SECOND, 60 * SECOND);
        let expected: Vec<_> = policy.delays_from_seed(7).take(5).collect();
        let before = waits(|redial| redial.seed(7).policy(policy)).await;
        let after = waits(|redial| redial.policy(policy).seed(7)).await;
        assert_eq!(before, expected);
        assert_eq!(after, expected);
        assert_ne!(
            waits(|redial| redial.policy(policy).seed(8)).await,
            expected
        );
    }
}
