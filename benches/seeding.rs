//! What does it cost to seed an outage from fresh entropy, and does a healthy
//! connection pay for it?

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use redial::{Exponential, Outage, Policy, Redial, Stratified};
use redial_benches::{attempts, complete};

fn seeding(c: &mut Criterion) {
    let second = Duration::from_secs(1);
    let mut group = c.benchmark_group("seeding");

    group.bench_function("redial, a given seed", |bencher| {
        let policy = Stratified::default();
        bencher.iter(|| policy.delays_from_seed(black_box(1)).next());
    });
    group.bench_function("redial, fresh entropy", |bencher| {
        let policy = Stratified::default();
        bencher.iter(|| policy.delays().next());
    });
    // Only the first outage of a client draws a seed. Later seeds derive from it.
    group.bench_function("redial, a client's first outage", |bencher| {
        bencher.iter(|| Outage::new(Stratified::default()).lost(black_box(second)));
    });
    group.bench_function("redial, a client's second outage", |bencher| {
        let mut outage = Outage::new(Stratified::default());
        let mut now = Duration::ZERO;
        bencher.iter(|| {
            outage.connected(now);
            now += 60 * second;
            outage.lost(now)
        });
    });
    group.bench_function("redial, no outage: the first connect", |bencher| {
        bencher.iter(|| {
            let mut redial = Redial::new(attempts(black_box(0)));
            let redial = &mut redial;
            complete(redial.connect()).unwrap()
        });
    });

    group.bench_function("redial Exponential, fresh entropy", |bencher| {
        let policy = Exponential::new(second, 60 * second);
        bencher.iter(|| policy.delays().next());
    });
    group.bench_function("backon", |bencher| {
        let policy = backon::ExponentialBuilder::new().with_jitter();
        bencher.iter(|| backon::BackoffBuilder::build(policy).next());
    });
    group.bench_function("exponential-backoff", |bencher| {
        let policy = exponential_backoff::Backoff::new(u32::MAX, second, 60 * second);
        bencher.iter(|| policy.iter().next());
    });
    group.bench_function("stubborn-io", |bencher| {
        bencher.iter(|| {
            stubborn_io::strategies::ExpBackoffStrategy::new(second, 2.0, 0.5)
                .into_iter()
                .next()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = seeding
}
criterion_main!(benches);
