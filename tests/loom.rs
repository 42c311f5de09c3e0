//! Does a token bucket count right in every order of its threads' steps?
//!
//! RUSTFLAGS="--cfg loom" cargo test --package redial --target-dir target/loom --test loom
#![cfg(loom)]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use loom::thread;
use redial::TokenBucket;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(100);

/// What `job` returns in each of `N` threads that share the bucket, one of
/// them the caller's.
///
/// Three for a job of one step, two for a job of more: the orders grow with the
/// factorial of the steps.
fn in_threads<const N: usize, T: 'static>(
    bucket: &TokenBucket,
    job: impl Fn(&TokenBucket) -> T + Copy + 'static,
) -> [T; N] {
    let others: Vec<_> = (1..N)
        .map(|_| {
            let bucket = bucket.clone();
            thread::spawn(move || job(&bucket))
        })
        .collect();
    let own = job(bucket);
    let joined = others.into_iter().map(|thread| thread.join().unwrap());
    let mut results = joined.chain([own]);
    [(); N].map(|()| results.next().unwrap())
}

#[test]
fn threads_take_exactly_the_burst() {
    loom::model(|| {
        let bucket = TokenBucket::new(2, SECOND);
        let taken: [_; 3] = in_threads(&bucket, |bucket| bucket.try_take_at(NOW));
        assert_eq!(taken.iter().filter(|take| take.is_ok()).count(), 2);
        assert!(taken.contains(&Err(SECOND)));
        assert_eq!(bucket.try_take_at(NOW), Err(SECOND));
    });
}

#[test]
fn threads_that_take_twice_never_take_more_than_the_burst() {
    loom::model(|| {
        let bucket = TokenBucket::new(3, SECOND);
        let taken: [usize; 2] = in_threads(&bucket, |bucket| {
            (0..2).filter(|_| bucket.try_take_at(NOW).is_ok()).count()
        });
        assert_eq!(taken[0] + taken[1], 3);
    });
}

#[test]
fn threads_reserve_instants_of_their_own_a_period_apart() {
    loom::model(|| {
        let bucket = TokenBucket::new(1, SECOND);
        let mut waits: [_; 3] = in_threads(&bucket, |bucket| bucket.reserve_at(NOW).wait());
        waits.sort_unstable();
        assert_eq!(waits, [0, 1, 2].map(Duration::from_secs));
    });
}

#[test]
fn a_token_given_back_is_taken_at_once_or_left() {
    // Both must be seen: loom would not try the other order if the taker began,
    // as a refused take writes nothing.
    let ends = std::sync::Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let seen = ends.clone();
    loom::model(move || {
        let bucket = TokenBucket::new(1, SECOND);
        let reserved = bucket.reserve_at(NOW);
        let taker = {
            let bucket = bucket.clone();
            thread::spawn(move || bucket.try_take_at(NOW).is_ok())
        };
        bucket.give_back(reserved);
        let taken = taker.join().unwrap();
        assert_ne!(bucket.try_take_at(NOW).is_ok(), taken);
        assert_eq!(bucket.try_take_at(NOW), Err(SECOND));
        seen[usize::from(taken)].store(true, Relaxed);
    });
    assert!(ends.iter().all(|end| end.load(Relaxed)));
}

#[test]
fn threads_that_reserve_while_one_gives_back_get_instants_of_their_own() {
    loom::model(|| {
        let bucket = TokenBucket::new(1, SECOND);
        let _now = bucket.reserve_at(NOW);
        let unused = bucket.reserve_at(NOW);
        let _last = bucket.reserve_at(NOW);
        let newcomer = {
            let bucket = bucket.clone();
            thread::spawn(move || bucket.reserve_at(NOW).wait())
        };
        bucket.give_back(unused);
        let mut waits = [newcomer.join().unwrap(), bucket.reserve_at(NOW).wait()];
        waits.sort_unstable();
        assert_eq!(waits, [SECOND, 3 * SECOND]);
    });
}

#[test]
fn an_instant_given_back_goes_to_one_thread_only() {
    loom::model(|| {
        let bucket = TokenBucket::new(1, SECOND);
        let _now = bucket.reserve_at(NOW);
        let unused = bucket.reserve_at(NOW);
        let _last = bucket.reserve_at(NOW);
        bucket.give_back(unused);
        let mut waits: [_; 2] = in_threads(&bucket, |bucket| bucket.reserve_at(NOW).wait());
        waits.sort_unstable();
        assert_eq!(waits, [SECOND, 3 * SECOND]);
    });
}
