//! What does it cost to wake all waiters of one connection?
//!
//! Each waiter registers. It is woken once during the attempt and registers again.
//! Then the connection wakes it. The time for each waiter must not grow with the
//! number of waiters.

use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use redial::Redial;
use redial::future::SharedReady;

/// The answer that the attempt waits for, and the waker of the attempt's last poll.
type Answer = Arc<Mutex<(Option<Waker>, bool)>>;

/// Wakes all waiters twice, and returns the time of all their polls.
fn crowd(waiters: usize) -> Duration {
    let answer = Answer::default();
    let asked = answer.clone();
    let shared = Redial::new(move || {
        let asked = asked.clone();
        poll_fn(move |cx| {
            let mut asked = asked.lock().unwrap();
            if asked.1 {
                return Poll::Ready(Ok::<_, io::Error>(7_u8));
            }
            asked.0 = Some(cx.waker().clone());
            Poll::Pending
        })
    })
    .attempt_timeout(Duration::MAX)
    .into_shared();
    let mut all: Vec<Pin<Box<SharedReady<'_, _, _>>>> =
        (0..waiters).map(|_| Box::pin(shared.ready())).collect();
    let mut context = Context::from_waker(Waker::noop());
    let began = Instant::now();
    for _ in 0..2 {
        for waiter in &mut all {
            assert!(waiter.as_mut().poll(&mut context).is_pending());
        }
        let waker = answer.lock().unwrap().0.take();
        waker.expect("the attempt is pending").wake();
    }
    answer.lock().unwrap().1 = true;
    for waiter in &mut all {
        assert!(black_box(waiter.as_mut().poll(&mut context)).is_ready());
    }
    began.elapsed()
}

fn wake_ups(c: &mut Criterion) {
    // The attempt's timeout needs a timer, although the timeout never expires.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let mut group = c.benchmark_group("waiters of one Shared, woken twice");
    group.sample_size(10);
    for waiters in [1_000, 10_000, 100_000] {
        group.throughput(Throughput::Elements(waiters as u64));
        group.bench_function(BenchmarkId::from_parameter(waiters), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| crowd(waiters)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, wake_ups);
criterion_main!(benches);
