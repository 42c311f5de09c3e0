//! What is allocated on the heap, and when?
//!
//! An outage and an item allocate nothing, with the built-in policies.
//!
//! These allocate once: a bucket (its shared word), a sequence (its list), a driver
//! (the place of `ready()`'s attempt and timer, the place of its last error, the
//! state that its handles share), and a wrapper (room for wakers and events). Each
//! error that says that the driver gave up allocates, too.
#![cfg(feature = "tokio")]

mod paused;

use std::future::{Ready, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use futures::{Sink, SinkExt, Stream, StreamExt};
use redial::{
    AnyBudget, Budget, Cause, Connect, Decorrelated, Exponential, Jitter, Next, Outage, Policy,
    Redial, Sequence, SessionEvent, Stratified, TokenBucket, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use paused::paused_runtime;

const SECOND: Duration = Duration::from_secs(1);

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

/// The output of a future that is ready whenever it is polled, or wakes itself.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn the_measure_sees_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn an_outage_of_any_policy_allocates_nothing() {
    fn outage(policy: &impl Policy) {
        let waited = |seed| policy.delays_from_seed(seed).take(100).sum::<Duration>();
        assert_eq!(allocations(|| assert!(waited(1) > SECOND)), 0);
    }
    outage(&Stratified::default());
    let exponential = Exponential::new(SECOND, 60 * SECOND);
    outage(&exponential);
    outage(&exponential.jitter(Jitter::Proportional(0.2)));
    outage(&Decorrelated::new(SECOND, 60 * SECOND));
    outage(&Sequence::new([1, 2, 10, 30].map(Duration::from_secs)));
    outage(&TokenBucket::new(3, SECOND).as_policy());
}

#[test]
fn the_machine_allocates_nothing_from_its_making_to_its_tenth_outage() {
    let whole = || {
        // This includes fresh entropy.
        let mut outage = Outage::new(Stratified::default());
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            outage.connected(now);
            now += 60 * SECOND;
            let mut next = outage.lost(now);
            for verdict in [
                Verdict::Retry(Cause::Down),
                Verdict::Retry(Cause::Stalled),
                Verdict::RetryAfter(5 * SECOND),
                Verdict::Slot(SECOND),
            ] {
                let Next::Wait(wait) = next else {
                    panic!("there is no limit");
                };
                now += wait;
                outage.connecting(now);
                next = outage.failed(now, verdict);
            }
        }
    };
    assert_eq!(allocations(whole), 0);
}

#[test]
fn a_token_allocates_nothing_and_its_bucket_once() {
    let mut bucket = None;
    let made = allocations(|| bucket = Some(TokenBucket::new(2, SECOND)));
    assert_eq!(made, 1);
    let bucket = bucket.unwrap();
    let taken = allocations(|| {
        let mine = bucket.clone();
        for _ in 0..10 {
            let _ = mine.try_take();
            let reserved = mine.reserve();
            mine.give_back(reserved);
        }
    });
    assert_eq!(taken, 0);
}

#[test]
fn a_token_of_a_bucket_behind_any_budget_allocates_nothing() {
    let bucket = TokenBucket::new(2, SECOND);
    let any = AnyBudget::from(&bucket);
    let taken = allocations(|| {
        for _ in 0..100 {
            let reserved = now(Budget::reserve(&bucket));
            bucket.give_back(reserved);
            let reserved = now(any.reserve());
            any.give_back(reserved);
        }
    });
    assert_eq!(taken, 0);
}

type Attempt = Ready<Result<u32, &'static str>>;

#[test]
fn the_first_connection_of_a_driver_allocates_nothing() {
    let first = || {
        let mut redial = Redial::new(|| -> Attempt { ready(Ok(1)) });
        assert!(now(redial.connect()).is_ok());
    };
    assert_eq!(allocations(first), 0);
}

#[test]
fn the_steps_of_an_attempt_allocate_nothing() {
    let runtime = paused_runtime();
    let mut logins = 0;
    let connector = (|| -> Attempt { ready(Ok(1)) })
        .then(|one| async move {
            tokio::time::sleep(SECOND).await;
            Ok::<_, &'static str>(one + 1)
        })
        .then(move |two| -> Attempt {
            logins += 1;
            ready(if logins == 1 { Err("refused") } else { Ok(two) })
        });
    let mut redial = Redial::new(connector);
    let outage = || assert_eq!(runtime.block_on(redial.connect()).unwrap(), 2);
    assert_eq!(allocations(outage), 0);
}

#[test]
fn an_outage_of_a_driver_allocates_nothing() {
    let runtime = paused_runtime();
    let mut attempts = 0;
    let mut redial = Redial::new(move || -> Attempt {
        attempts += 1;
        ready(if attempts % 5 == 0 {
            Ok(1)
        } else {
            Err("refused")
        })
    });
    // The first outage has four waits. Each later one has five: the first of them
    // follows the loss.
    for _ in 0..10 {
        let outage = || assert!(runtime.block_on(redial.connect()).is_ok());
        assert_eq!(allocations(outage), 0);
        runtime.block_on(async { tokio::time::sleep(60 * SECOND).await });
    }
}

#[test]
fn giving_up_allocates_its_error_and_once_a_place_for_it() {
    let runtime = paused_runtime();
    let mut redial = Redial::new(|| -> Attempt { ready(Err("refused")) }).max_attempts(1);
    let mut give_up = || {
        let asked = || assert!(runtime.block_on(redial.connect()).is_err());
        allocations(asked)
    };
    assert_eq!(give_up(), 2);
    assert_eq!(give_up(), 1);
}

#[test]
fn ready_allocates_a_place_for_its_attempt_once() {
    let mut redial = Redial::new(|| -> Attempt { ready(Ok(1)) });
    assert_eq!(allocations(|| assert!(now(redial.ready()).is_ok())), 1);
    let lent = || {
        for _ in 0..10 {
            assert!(now(redial.ready()).is_ok());
        }
    };
    assert_eq!(allocations(lent), 0);
}

/// A connection that yields and takes numbers.
#[derive(Default)]
struct Numbers(u64);

impl Stream for Numbers {
    type Item = io::Result<u64>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 += 1;
        Poll::Ready(Some(Ok(self.0)))
    }
}

impl Sink<u64> for Numbers {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, number: u64) -> io::Result<()> {
        self.0 = number;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn an_item_through_a_session_allocates_nothing() {
    let mut session = Redial::new(|| ready(Ok::<_, io::Error>(Numbers::default()))).into_session();
    assert!(matches!(now(session.next()), Some(Ok(SessionEvent::Up))));
    let items = || {
        for number in 0..100 {
            now(session.send(number)).unwrap();
            let heard = now(session.next()).unwrap().unwrap();
            assert!(matches!(heard, SessionEvent::Item(heard) if heard == number + 1));
        }
    };
    assert_eq!(allocations(items), 0);
}

#[test]
fn bytes_through_redial_io_allocate_nothing() {
    let connect = || {
        ready(Ok::<_, io::Error>(tokio::io::join(
            tokio::io::repeat(7),
            tokio::io::sink(),
        )))
    };
    let mut io = Redial::new(connect).into_io();
    now(io.write_all(b"hello")).unwrap(); // this connects
    let bytes = || {
        let mut buffer = [0; 64];
        for _ in 0..100 {
            now(io.write_all(&buffer)).unwrap();
            now(io.flush()).unwrap();
            now(io.read_exact(&mut buffer)).unwrap();
        }
    };
    assert_eq!(allocations(bytes), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_session_allocates_nothing() {
    use std::future::poll_fn;

    let mut attempts = 0;
    let connect = move || {
        attempts += 1;
        ready(if attempts % 3 == 1 {
            Ok(Ends)
        } else {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused))
        })
    };
    let mut session = Redial::new(connect).into_session();
    let mut outages = 0;
    while outages < 10 {
        let mut event = None;
        let made = poll_fn(|cx| {
            let made = allocations(|| {
                if let Poll::Ready(next) = session.poll_next_unpin(cx) {
                    event = next;
                }
            });
            Poll::Ready(made)
        })
        .await;
        match event {
            Some(Ok(SessionEvent::Up)) => outages += 1,
            Some(_) => {}
            None => tokio::time::sleep(SECOND / 10).await,
        }
        // The first outage makes room for the events.
        assert!(made == 0 || outages < 2, "{made}");
    }
}

/// A connection that ends at once.
struct Ends;

impl Stream for Ends {
    type Item = io::Result<u64>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}
