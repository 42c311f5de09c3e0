//! What does a connection cost at the first attempt and at the fifth, including the
//! driver?

use std::hint::black_box;
use std::time::Duration;

use backon::Retryable;
use criterion::{Criterion, criterion_group, criterion_main};
use redial::{Exponential, Jitter, Redial, Sequence};
use redial_benches::{attempts, complete};

/// Each iteration makes a new driver or retry. All use the same connector.
fn first_attempt(c: &mut Criterion) {
    let mut group = c.benchmark_group("connect at once");
    group.bench_function("limit", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(0));
            complete(async { connect().await })
        });
    });
    group.bench_function("redial", |bencher| {
        bencher.iter(|| {
            let mut redial = Redial::new(attempts(black_box(0)));
            complete(redial.connect()).unwrap()
        });
    });
    group.bench_function("tokio-retry", |bencher| {
        bencher.iter(|| {
            complete(tokio_retry::Retry::start(
                tokio_retry::strategy::ExponentialBackoff::from_millis(2)
                    .factor(500)
                    .map(tokio_retry::strategy::jitter),
                attempts(black_box(0)),
            ))
            .unwrap()
        });
    });
    group.bench_function("tokio-retry2", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(0));
            complete(tokio_retry2::Retry::spawn(
                tokio_retry2::strategy::ExponentialBackoff::from_millis(2)
                    .factor(500)
                    .map(tokio_retry2::strategy::jitter),
                move || {
                    let attempt = connect();
                    async { attempt.await.map_err(tokio_retry2::RetryError::transient) }
                },
            ))
            .unwrap()
        });
    });
    group.bench_function("backon", |bencher| {
        bencher.iter(|| {
            let backoff = backon::ExponentialBuilder::new().with_jitter();
            complete(attempts(black_box(0)).retry(backoff)).unwrap()
        });
    });
    group.bench_function("backoff", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(0));
            complete(backoff::future::retry(
                backoff::ExponentialBackoff::default(),
                move || {
                    let attempt = connect();
                    async { attempt.await.map_err(backoff::Error::transient) }
                },
            ))
            .unwrap()
        });
    });
    group.finish();
}

/// All waits are zero. Some crates use a timer that is due, others use no timer.
fn fifth_attempt_without_waits(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("connect after 4 failures, no waits");
    let policy = Sequence::new([Duration::ZERO]);
    group.bench_function("redial", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut redial = Redial::new(attempts(black_box(4))).policy(policy.clone());
                redial.connect().await.unwrap()
            })
        });
    });
    // The peers use a generator that was seeded when the thread began.
    let mut seed = 0;
    group.bench_function("redial, seeded", |bencher| {
        bencher.iter(|| {
            seed += 1;
            runtime.block_on(async {
                let redial = Redial::new(attempts(black_box(4)));
                let mut redial = redial.policy(policy.clone()).seed(seed);
                redial.connect().await.unwrap()
            })
        });
    });
    group.bench_function("tokio-retry", |bencher| {
        bencher.iter(|| {
            runtime.block_on(tokio_retry::Retry::start(
                std::iter::repeat(Duration::ZERO),
                attempts(black_box(4)),
            ))
        });
    });
    group.bench_function("tokio-retry2", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(4));
            runtime.block_on(tokio_retry2::Retry::spawn(
                std::iter::repeat(Duration::ZERO),
                move || {
                    let attempt = connect();
                    async { attempt.await.map_err(tokio_retry2::RetryError::transient) }
                },
            ))
        });
    });
    let constant = backon::ConstantBuilder::new()
        .with_delay(Duration::ZERO)
        .with_max_times(4);
    group.bench_function("backon", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(attempts(black_box(4)).retry(constant))
                .unwrap()
        });
    });
    group.bench_function("backoff", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(4));
            runtime
                .block_on(backoff::future::retry(
                    backoff::backoff::Zero {},
                    move || {
                        let attempt = connect();
                        async { attempt.await.map_err(backoff::Error::transient) }
                    },
                ))
                .unwrap()
        });
    });
    group.finish();
}

/// Waits of seconds with jitter. The paused clock skips them.
fn fifth_attempt(c: &mut Criterion) {
    let runtime = runtime();
    let second = Duration::from_secs(1);
    let mut group = c.benchmark_group("connect after 4 failures, paused clock");
    group.bench_function("redial", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut redial = Redial::new(attempts(black_box(4)));
                redial.connect().await.unwrap()
            })
        });
    });
    // As in the peers: the same rule, and a generator that was seeded when the
    // thread began.
    let exponential = Exponential::new(second, 60 * second).jitter(Jitter::Full);
    let mut seed = 0;
    group.bench_function("redial Exponential, seeded", |bencher| {
        bencher.iter(|| {
            seed += 1;
            runtime.block_on(async {
                let redial = Redial::new(attempts(black_box(4)));
                let mut redial = redial.policy(exponential).seed(seed);
                redial.connect().await.unwrap()
            })
        });
    });
    group.bench_function("tokio-retry", |bencher| {
        bencher.iter(|| {
            runtime.block_on(tokio_retry::Retry::start(
                tokio_retry::strategy::ExponentialBackoff::from_millis(2)
                    .factor(500)
                    .max_delay(60 * second)
                    .map(tokio_retry::strategy::jitter),
                attempts(black_box(4)),
            ))
        });
    });
    group.bench_function("tokio-retry2", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(4));
            runtime.block_on(tokio_retry2::Retry::spawn(
                tokio_retry2::strategy::ExponentialBackoff::from_millis(2)
                    .factor(500)
                    .max_delay(60 * second)
                    .map(tokio_retry2::strategy::jitter),
                move || {
                    let attempt = connect();
                    async { attempt.await.map_err(tokio_retry2::RetryError::transient) }
                },
            ))
        });
    });
    group.bench_function("backon", |bencher| {
        bencher.iter(|| {
            let backoff = backon::ExponentialBuilder::new()
                .with_jitter()
                .with_max_times(4);
            runtime
                .block_on(attempts(black_box(4)).retry(backoff))
                .unwrap()
        });
    });
    group.bench_function("backoff", |bencher| {
        bencher.iter(|| {
            let mut connect = attempts(black_box(4));
            let backoff = backoff::ExponentialBackoffBuilder::new()
                .with_initial_interval(second)
                .with_max_elapsed_time(None)
                .build();
            runtime
                .block_on(backoff::future::retry(backoff, move || {
                    let attempt = connect();
                    async { attempt.await.map_err(backoff::Error::transient) }
                }))
                .unwrap()
        });
    });
    group.finish();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = first_attempt, fifth_attempt_without_waits, fifth_attempt
}
criterion_main!(benches);
