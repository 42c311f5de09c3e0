//! What does `ready()` cost while connected, compared with a bare `&mut`?

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use redial::Redial;
use redial_benches::{attempts, complete};

fn while_connected(c: &mut Criterion) {
    let mut group = c.benchmark_group("ready while connected");

    let mut bare = 1_u32;
    group.bench_function("limit", |bencher| {
        bencher.iter(|| *complete(std::future::ready(black_box(&mut bare))) += 1);
    });

    let mut redial = Redial::new(attempts(0));
    group.bench_function("redial", |bencher| {
        bencher.iter(|| *complete(black_box(&mut redial).ready()).unwrap() += 1);
    });

    // If there is a handle, each call checks for a command.
    let mut redial = Redial::new(attempts(0));
    let _handle = redial.handle();
    group.bench_function("redial with a handle", |bencher| {
        bencher.iter(|| *complete(black_box(&mut redial).ready()).unwrap() += 1);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = while_connected
}
criterion_main!(benches);
