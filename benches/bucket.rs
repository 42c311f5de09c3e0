//! What does a token cost, granted or denied, with one thread or many?

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use redial::TokenBucket;
use tower::retry::budget::{Budget, TpsBudget};

/// A period so long that no sample earns a token, and a burst so large that no
/// sample empties the bucket.
const DAY: Duration = Duration::from_secs(86_400);
const ENDLESS: u32 = u32::MAX;

/// The time of one call while several threads make as many calls as they can.
fn threads<B: Sync>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    new: impl Fn() -> B,
    call: impl Fn(&B) + Sync,
) {
    for threads in [1, 2, 4, 8] {
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|calls| {
                let bucket = new();
                let each = calls.div_ceil(threads);
                let barrier = Barrier::new(threads as usize);
                // The time from the first start to the last end. The threads read
                // the clock, because a watching thread may not be running.
                let total = thread::scope(|scope| {
                    let run = || {
                        barrier.wait();
                        let began = Instant::now();
                        for _ in 0..each {
                            call(&bucket);
                        }
                        (began, Instant::now())
                    };
                    let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
                    let (mut first, mut last) = run();
                    for other in others {
                        let (began, ended) = other.join().unwrap();
                        (first, last) = (first.min(began), last.max(ended));
                    }
                    last - first
                });
                // There were `each * threads` calls, which is `calls` rounded up.
                total.mul_f64(calls as f64 / (each * threads) as f64)
            });
        });
    }
}

fn governor_quota(burst: u32, period: Duration) -> Quota {
    Quota::with_period(period)
        .unwrap()
        .allow_burst(NonZeroU32::new(burst).unwrap())
}

fn granted(c: &mut Criterion) {
    let mut group = c.benchmark_group("token granted");
    // Both crates can represent this period times the burst: 4 seconds.
    let period = Duration::from_nanos(1);
    let now = Duration::from_secs(60);
    threads(
        &mut group,
        "redial",
        || TokenBucket::new(ENDLESS, period),
        |bucket| {
            black_box(bucket.try_take_at(black_box(now))).unwrap();
        },
    );
    threads(
        &mut group,
        "redial, reading the clock",
        || TokenBucket::new(ENDLESS, period),
        |bucket| {
            black_box(bucket.try_take()).unwrap();
        },
    );
    threads(
        &mut group,
        "governor",
        || RateLimiter::direct(governor_quota(ENDLESS, period)),
        |limiter| {
            black_box(limiter.check()).unwrap();
        },
    );
    // In governor, this comes closest to passing the time in.
    threads(
        &mut group,
        "governor, fake clock",
        || {
            let clock = FakeRelativeClock::default();
            RateLimiter::direct_with_clock(governor_quota(ENDLESS, period), clock)
        },
        |limiter| {
            black_box(limiter.check()).unwrap();
        },
    );
    threads(
        &mut group,
        "tower",
        || TpsBudget::new(Duration::from_secs(60), 1_000_000, 1.0),
        |budget| {
            budget.deposit();
            assert!(black_box(budget.withdraw()));
        },
    );
    group.finish();
}

fn denied(c: &mut Criterion) {
    let mut group = c.benchmark_group("token denied");
    let now = Duration::from_secs(60);
    threads(
        &mut group,
        "redial",
        || {
            let bucket = TokenBucket::new(1, DAY);
            bucket.try_take_at(now).unwrap();
            bucket
        },
        |bucket| {
            black_box(bucket.try_take_at(black_box(now))).unwrap_err();
        },
    );
    threads(
        &mut group,
        "redial, reading the clock",
        || {
            let bucket = TokenBucket::new(1, DAY);
            bucket.try_take().unwrap();
            bucket
        },
        |bucket| {
            black_box(bucket.try_take()).unwrap_err();
        },
    );
    threads(
        &mut group,
        "governor",
        || {
            let limiter = RateLimiter::direct(governor_quota(1, DAY));
            limiter.check().unwrap();
            limiter
        },
        |limiter| {
            black_box(limiter.check()).unwrap_err();
        },
    );
    threads(
        &mut group,
        "governor, fake clock",
        || {
            let clock = FakeRelativeClock::default();
            let limiter = RateLimiter::direct_with_clock(governor_quota(1, DAY), clock);
            limiter.check().unwrap();
            limiter
        },
        |limiter| {
            black_box(limiter.check()).unwrap_err();
        },
    );
    threads(
        &mut group,
        "tower",
        || TpsBudget::new(Duration::from_secs(60), 0, 0.0),
        |budget| assert!(!black_box(budget.withdraw())),
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = granted, denied
}
criterion_main!(benches);
