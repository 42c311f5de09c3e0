//! How fast is the simulation of a storm, and how does its time grow with the fleet?
//!
//! An element is an event of a client's outage: the loss, the start of an attempt, or
//! its end with the policy's next wait. N/C is always 60 s. The policy is Stratified,
//! so a client makes about six attempts.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use redial::Stratified;
use redial::storm::{Report, Storm};

fn attempts(report: &Report) -> u64 {
    report.arrivals.counts().iter().sum()
}

fn events(report: &Report) -> u64 {
    u64::from(report.clients) + 2 * attempts(report)
}

fn storm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storm");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500));
    for clients in [10_000, 100_000, 1_000_000] {
        let storm = Storm::new(clients);
        let report = storm.run(&Stratified::default());
        group.throughput(Throughput::Elements(events(&report)));
        group.bench_function(BenchmarkId::from_parameter(clients), |bencher| {
            bencher.iter(|| storm.run(&Stratified::default()));
        });
    }
    group.finish();
}

/// Prints the speed of the fastest of three runs for each size, up to ten million
/// clients, and its time divided by N log N.
fn growth(_: &mut Criterion) {
    println!("  clients   seconds   M attempts/s   M events/s   ns per N log2 N");
    for clients in [100_000, 1_000_000, 10_000_000] {
        let storm = Storm::new(clients);
        let run = || {
            let start = Instant::now();
            let report = storm.run(&Stratified::default());
            (start.elapsed().as_secs_f64(), report)
        };
        let runs = [run(), run(), run()];
        let (seconds, report) = runs.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let rate = |count: u64| count as f64 / seconds / 1e6;
        let (attempts, events) = (rate(attempts(report)), rate(events(report)));
        let n = f64::from(clients);
        let unit = seconds * 1e9 / (n * n.log2());
        println!("{clients:>9} {seconds:>9.3} {attempts:>14.1} {events:>12.1} {unit:>17.2}");
    }
}

criterion_group!(benches, storm, growth);
criterion_main!(benches);
