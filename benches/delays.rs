//! What does the next delay with jitter cost? Each outage has sixteen attempts, and
//! its start is included.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use redial::{Decorrelated, Exponential, Jitter, Policy, Rng, Sequence, Stratified, TokenBucket};

const ATTEMPTS: u32 = 16;
const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);

/// Measures outages. `start` begins each outage.
fn outages<I>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut start: impl FnMut() -> I)
where
    I: Iterator<Item = Duration>,
{
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for wait in start().take(ATTEMPTS as usize) {
                black_box(wait);
            }
        });
    });
}

/// Measures a policy of redial, with a new seed for each outage.
fn policy(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, policy: impl Policy) {
    let mut seed = 0;
    outages(group, name, || {
        seed += 1;
        policy.delays_from_seed(seed)
    });
}

fn delays(c: &mut Criterion) {
    let mut group = c.benchmark_group("delays");
    group.throughput(Throughput::Elements(ATTEMPTS.into()));
    let group = &mut group;

    // One draw and one multiplication for each wait: the cost if a policy were free.
    let mut seed = 0;
    outages(group, "limit", || {
        seed += 1;
        let mut rng = Rng::from_seed(seed);
        std::iter::repeat_with(move || {
            let nanos = (rng.next_u64() as u128 * BASE.as_nanos()) >> 64;
            Duration::from_nanos(nanos as u64)
        })
    });

    policy(group, "redial Stratified", Stratified::new(BASE, CAP));
    let exponential = Exponential::new(BASE, CAP);
    policy(group, "redial Exponential Full", exponential);
    policy(
        group,
        "redial Exponential Equal",
        exponential.jitter(Jitter::Equal),
    );
    policy(
        group,
        "redial Exponential Proportional",
        exponential.jitter(Jitter::Proportional(0.2)),
    );
    policy(group, "redial Decorrelated", Decorrelated::new(BASE, CAP));
    policy(
        group,
        "redial Sequence",
        Sequence::new([1, 2, 5, 10, 30, 60].map(Duration::from_secs)),
    );
    policy(
        group,
        "redial TokenBucket",
        TokenBucket::new(3, BASE).as_policy(),
    );

    let backon = backon::ExponentialBuilder::new()
        .with_jitter()
        .with_max_delay(CAP)
        .without_max_times();
    outages(group, "backon", || backon::BackoffBuilder::build(backon));

    let exponential_backoff = exponential_backoff::Backoff::new(u32::MAX, BASE, CAP);
    outages(group, "exponential-backoff", || {
        exponential_backoff.iter().flatten()
    });

    outages(group, "tokio-retry", || {
        tokio_retry::strategy::ExponentialBackoff::from_millis(2)
            .factor(500)
            .max_delay(CAP)
            .map(tokio_retry::strategy::jitter)
    });

    outages(group, "tokio-retry2", || {
        tokio_retry2::strategy::ExponentialBackoff::from_millis(2)
            .factor(500)
            .max_delay(CAP)
            .map(tokio_retry2::strategy::jitter)
    });

    let backoff = backoff::ExponentialBackoffBuilder::new()
        .with_initial_interval(BASE)
        .with_multiplier(2.0)
        .with_max_interval(CAP)
        .with_max_elapsed_time(None)
        .build();
    outages(group, "backoff", || {
        let mut backoff: backoff::ExponentialBackoff = backoff.clone();
        backoff::backoff::Backoff::reset(&mut backoff);
        std::iter::from_fn(move || backoff::backoff::Backoff::next_backoff(&mut backoff))
    });

    // This crate returns an instant, so it reads the system's clock.
    let retry_policies = retry_policies::policies::ExponentialBackoff::builder()
        .retry_bounds(BASE, CAP)
        .build_with_max_retries(u32::MAX);
    group.bench_function("retry-policies", |bencher| {
        bencher.iter(|| {
            for attempt in 0..ATTEMPTS {
                black_box(retry_policies::RetryPolicy::should_retry(
                    &retry_policies,
                    SystemTime::UNIX_EPOCH,
                    attempt,
                ));
            }
        });
    });

    // This crate returns a tokio timer, which is not polled here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    use tower::retry::backoff::{Backoff, ExponentialBackoffMaker, MakeBackoff};
    let mut tower =
        ExponentialBackoffMaker::new(BASE, CAP, 1.0, tower::util::rng::HasherRng::new()).unwrap();
    group.bench_function("tower", |bencher| {
        bencher.iter(|| {
            let mut backoff = tower.make_backoff();
            for _ in 0..ATTEMPTS {
                drop(black_box(backoff.next_backoff()));
            }
        });
    });

    outages(group, "stubborn-io", || {
        stubborn_io::strategies::ExpBackoffStrategy::new(BASE, 2.0, 0.5)
            .with_max(CAP)
            .into_iter()
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = delays
}
criterion_main!(benches);
