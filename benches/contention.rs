//! A second comparison: many clients write one row with optimistic locking.
//!
//! The model of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015)
//! and of its simulator. N clients start together. Each client reads the row's
//! version and writes with it. If the version has changed, the write fails, and the
//! client backs off and reads again. Each way through the network takes 10 ms, with
//! a deviation of 2 ms. Waits grow from 5 ms to 2 s.
//!
//! Prints the writes and the completion time, each the mean over 100 runs.

use redial::{Cause, Decorrelated, Exponential, Failed, Jitter, Policy, Rng, Sequence, Stratified};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

const BASE: Duration = Duration::from_millis(5);
const CAP: Duration = Duration::from_secs(2);
const RUNS: u64 = 100;

/// A message of a client, when it arrives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    /// At the server: a request for the version.
    Read,
    /// At the client: the version.
    Version(u64),
    /// At the server: a write, with the version that the client has read.
    Write(u64),
    /// At the client: the write has failed.
    Failed,
}

/// The time of one way through the network, in nanoseconds. The sum of twelve uniform
/// numbers approximates a normal distribution, which is enough for this model.
fn network(rng: &mut Rng) -> u64 {
    let uniform = |rng: &mut Rng| rng.next_u64() as f64 / 2_f64.powi(64);
    let normal = (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0;
    ((10.0 + 2.0 * normal).abs() * 1e6) as u64
}

/// The number of writes, and the time until the last client has succeeded.
fn contend<P: Policy>(policy: &P, clients: usize, seed: u64) -> (u64, Duration) {
    let rng = &mut Rng::from_seed(seed);
    let mut backoffs: Vec<_> = (0..clients).map(|_| policy.start(rng.fork())).collect();
    let mut failures = vec![0; clients];
    let mut began = vec![0; clients];
    let mut queue: BinaryHeap<_> = (0..clients)
        .map(|client| Reverse((network(rng), client, Message::Read)))
        .collect();
    let (mut version, mut writes, mut last) = (0, 0, 0);
    while let Some(Reverse((now, client, message))) = queue.pop() {
        let (wait, next) = match message {
            Message::Read => (0, Message::Version(version)),
            Message::Version(read) => (0, Message::Write(read)),
            Message::Write(read) => {
                writes += 1;
                if read == version {
                    version += 1;
                    last = now + network(rng);
                    continue;
                }
                (0, Message::Failed)
            }
            Message::Failed => {
                if failures[client] == 0 {
                    began[client] = now;
                }
                let elapsed = Duration::from_nanos(now - began[client]);
                let failed = Failed::new(failures[client], elapsed, Cause::Busy);
                failures[client] += 1;
                let wait = backoffs[client].next_delay(&failed);
                let wait = wait.expect("these policies never give up");
                (wait.as_nanos() as u64, Message::Read)
            }
        };
        queue.push(Reverse((now + wait + network(rng), client, next)));
    }
    (writes, Duration::from_nanos(last))
}

fn row<P: Policy>(name: &str, policy: &P) {
    print!("{name:22}");
    for clients in [10, 20, 50, 100, 200] {
        let runs: Vec<_> = (0..RUNS)
            .map(|seed| contend(policy, clients, seed))
            .collect();
        let writes = runs.iter().map(|run| run.0).sum::<u64>() as f64 / RUNS as f64;
        let seconds = runs.iter().map(|run| run.1.as_secs_f64()).sum::<f64>() / RUNS as f64;
        print!(" |{writes:>8.0} {seconds:>6.2} s");
    }
    println!();
}

fn main() {
    println!("writes and time to completion, by the number of clients");
    print!("{:22}", "");
    for clients in [10, 20, 50, 100, 200] {
        print!(" |{clients:>17}");
    }
    println!();
    let exponential = |jitter| Exponential::new(BASE, CAP).jitter(jitter);
    row("none", &Sequence::new([Duration::ZERO]));
    row("exponential", &exponential(Jitter::None));
    row("equal jitter", &exponential(Jitter::Equal));
    row("full jitter", &exponential(Jitter::Full));
    row("decorrelated", &Decorrelated::new(BASE, CAP));
    let stratified = Stratified::new(BASE, CAP).busy_cap(CAP);
    row("stratified", &stratified);
    row("stratified, growth 2", &stratified.growth(2.0));
    row("stratified, growth 3", &stratified.growth(3.0));
}
