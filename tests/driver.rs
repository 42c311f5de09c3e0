//! What does the driver do, and when? On tokio's paused clock.

mod paused;

use std::future::{Future, pending, poll_fn, ready};
use std::io;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures::future::{BoxFuture, LocalBoxFuture};
use futures::{FutureExt, StreamExt};
use redial::policy::from_fn;
use redial::{
    Cause, Connect, Event, Exponential, Jitter, Next, Outage, Policy, Reason, Redial, Sequence,
    Status, TokenBucket, Verdict,
};
use tokio::time::{Instant, sleep, timeout};

use paused::paused_runtime;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1, 2, 4, … 64 s: waits that differ from each other.
fn doubling() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// A connector that fails for so many attempts, at once, and counts them.
fn after_failures(
    failures: u32,
) -> (
    impl FnMut() -> std::future::Ready<io::Result<u32>>,
    Arc<AtomicU32>,
) {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let connector = move || {
        let attempt = count.fetch_add(1, SeqCst) + 1;
        ready(if attempt > failures {
            Ok(attempt)
        } else {
            Err(refused())
        })
    };
    (connector, attempts)
}

/// A connector whose attempts take five seconds, and are counted.
fn in_five_seconds() -> (
    impl FnMut() -> BoxFuture<'static, io::Result<()>>,
    Arc<AtomicU32>,
) {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let connector = move || {
        count.fetch_add(1, SeqCst);
        async {
            sleep(secs(5)).await;
            Ok(())
        }
        .boxed()
    };
    (connector, attempts)
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The seconds, to the timer's millisecond, since an instant.
fn since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1000.0).floor() / 1000.0
}

// ---- ready and lost

#[test]
fn the_first_connect_is_immediate_and_needs_no_runtime() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector);
    assert!(matches!(
        poll_once(&mut redial.ready()),
        Poll::Ready(Ok(&mut 1))
    ));
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_reconnect_is_spread() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(()))).seed(seed);
        redial.ready().await.unwrap();
        redial.lost();
        let start = Instant::now();
        redial.ready().await.unwrap();
        waits.push(start.elapsed());
    }
    assert!(
        waits
            .iter()
            .all(|&d| d > Duration::ZERO && d <= secs(1) + Duration::from_millis(1))
    );
    waits.sort();
    waits.dedup();
    assert!(
        waits.len() > 100,
        "milliseconds of a second: {}",
        waits.len()
    );
}

#[tokio::test(start_paused = true)]
async fn the_connector_is_called_at_the_end_of_each_wait() {
    let start = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let mut redial = Redial::new(move || {
        seen.lock().unwrap().push(since(start));
        ready(if seen.lock().unwrap().len() < 5 {
            Err(refused())
        } else {
            Ok(())
        })
    })
    .policy(doubling());
    redial.ready().await.unwrap();
    let times = times.lock().unwrap();
    for (time, expected) in times.iter().zip([0.0, 1.0, 3.0, 7.0, 15.0]) {
        assert!((time - expected).abs() < 0.01, "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_connected_ready_lends_the_same_connection() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector);
    for _ in 0..10 {
        assert_eq!(*redial.ready().await.unwrap(), 1);
    }
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_drops_is_not_hammered() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector).policy(doubling());
    let minute = async {
        loop {
            redial.ready().await.unwrap();
            redial.lost();
        }
    };
    let _ = timeout(secs(60), minute).await;
    // At 0, 1, 3, 7, 15 and 31 s.
    assert_eq!(attempts.load(SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stayed_up_ends_the_outage() {
    let (connector, _) = after_failures(0);
    let mut redial = Redial::new(connector).policy(doubling());
    for uptime in [0, 5, 9, 10, 0] {
        redial.ready().await.unwrap();
        sleep(secs(uptime)).await;
        redial.lost();
    }
    let start = Instant::now();
    redial.ready().await.unwrap();
    // 1, 2, 4 s in one outage; up for 10 s; 1 s; and now the next.
    assert!((since(start) - 2.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn lost_without_a_connection_does_nothing() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector);
    redial.lost();
    redial.ended();
    redial.lost_with(refused());
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    redial.lost();
    redial.lost();
    redial.ready().await.unwrap();
    assert_eq!(attempts.load(SeqCst), 2);
}

// ---- timeouts

#[tokio::test(start_paused = true)]
async fn patience_grows_with_each_stall_and_no_other_failure_sets_it_back() {
    let start = Instant::now();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        let attempt = attempts;
        async move {
            match attempt {
                5 => Err(refused()),
                7 => Ok(()),
                _ => pending().await,
            }
        }
    })
    .policy(doubling())
    .seed(1)
    .observe(move |event| {
        if let Event::Failed { error, verdict, .. } = event {
            seen.lock()
                .unwrap()
                .push((since(start), error.is_none(), *verdict));
        }
    });
    redial.ready().await.unwrap();
    let stalled = Verdict::Retry(Cause::Stalled);
    // The wait before each attempt, and how long it may take: 13 s, doubled by each
    // stall, by a factor of up to exp(0.27).
    let expected = [
        (0.0, 13.0, stalled),
        (1.0, 26.0, stalled),
        (2.0, 52.0, stalled),
        (4.0, 104.0, stalled),
        (8.0, 0.0, Verdict::Retry(Cause::Down)),
        (16.0, 120.0, stalled),
    ];
    let events = events.lock().unwrap();
    assert_eq!(events.len(), expected.len());
    let factor = 0.27_f64.exp();
    let mut before = 0.0;
    for (&(at, silent, verdict), (wait, timeout, expected)) in events.iter().zip(expected) {
        let took = at - before - wait;
        let (least, most) = (timeout / factor, (timeout * factor).min(120.0));
        assert!(least - 0.02 < took && took < most + 0.02, "{events:?}");
        assert_eq!((silent, verdict), (verdict == stalled, expected));
        before = at;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_timeout_lets_an_attempt_take_for_ever() {
    let mut redial = Redial::new(|| async {
        sleep(secs(100_000_000)).await;
        Ok::<_, io::Error>(())
    })
    .attempt_timeout(Duration::MAX);
    redial.ready().await.unwrap();
}

// ---- polls

#[tokio::test(start_paused = true)]
async fn a_connector_that_fails_at_once_yields_between_attempts() {
    let (connector, attempts) = after_failures(1000);
    let mut redial = Redial::new(connector).policy(Sequence::new([Duration::ZERO]));
    let mut future = pin!(redial.ready());
    for polls in 1..=1000 {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(attempts.load(SeqCst), polls);
        assert_eq!(woken.0.load(SeqCst), 1, "and asks to be polled again");
    }
    assert_eq!(*future.await.unwrap(), 1001);
}

#[derive(Default)]
struct Woken(AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_dropped_in_the_middle_of_an_attempt_loses_nothing() {
    let (connector, attempts) = in_five_seconds();
    let mut redial = Redial::new(connector);
    let start = Instant::now();
    for _ in 0..4 {
        assert!(timeout(secs(1), redial.ready()).await.is_err());
    }
    redial.ready().await.unwrap();
    assert!((since(start) - 5.0).abs() < 0.01);
    assert_eq!(attempts.load(SeqCst), 1);
}

/// That nothing wakes a task in the next minute.
async fn rests(woken: &Woken) {
    let before = woken.0.load(SeqCst);
    sleep(secs(60)).await;
    assert_eq!(woken.0.load(SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn no_timer_outlives_what_it_was_for() {
    type Ask = fn(&mut Redial<Slow>, &mut Context<'_>) -> bool;
    type Slow = fn() -> BoxFuture<'static, io::Result<()>>;
    let succeeds: Slow = || sleep(secs(1)).map(Ok).boxed();
    let fails: Slow = || sleep(secs(1)).map(|()| Err(refused())).boxed();
    let ready: Ask = |redial, cx| pin!(redial.ready()).poll(cx).is_ready();
    let connect: Ask = |redial, cx| pin!(redial.connect()).poll(cx).is_ready();
    for connector in [succeeds, fails] {
        for then in [ready, connect] {
            let mut redial = Redial::new(connector).max_attempts(1);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            let mut context = Context::from_waker(&waker);
            assert!(!ready(&mut redial, &mut context));
            sleep(secs(2)).await;
            assert!(then(&mut redial, &mut context));
            rests(&woken).await;
        }
    }
}

/// A wait of `ready()`, or of an attempt that it began, which `connect()` then
/// ends early: nothing is left that would wake its task.
#[tokio::test(start_paused = true)]
async fn no_wait_outlives_its_end() {
    for attempt in [secs(0), secs(1)] {
        let mut attempts = 0;
        let mut redial = Redial::new(move || {
            attempts += 1;
            let succeeds = attempts > 1;
            sleep(if succeeds { secs(0) } else { attempt })
                .map(move |()| succeeds.then_some(()).ok_or_else(refused))
        })
        .policy(Sequence::new([secs(14)]).jitter(Jitter::None));
        let handle = redial.handle();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        assert!(pin!(redial.ready()).poll(&mut context).is_pending());
        sleep(secs(2)).await;
        {
            let mut connect = pin!(redial.connect());
            assert!(connect.as_mut().poll(&mut context).is_pending());
            handle.retry_now();
            assert!(connect.as_mut().poll(&mut context).is_ready());
        }
        rests(&woken).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_driver_sets_no_timer() {
    let (connector, _) = after_failures(1);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(redial.ready());
    assert!(future.as_mut().poll(&mut context).is_pending());
    handle.pause();
    assert!(future.as_mut().poll(&mut context).is_pending());
    rests(&woken).await;
}

#[test]
fn a_wait_goes_on_in_another_runtime() {
    type Failing = Box<dyn FnMut() -> std::future::Ready<io::Result<u32>>>;
    type Ask = fn(&mut Redial<Failing, Exponential>) -> LocalBoxFuture<'_, u32>;
    let ready: Ask = |redial| async { *redial.ready().await.unwrap() }.boxed_local();
    let connect: Ask = |redial| async { redial.connect().await.unwrap() }.boxed_local();
    let run: Ask = |redial| {
        let session = async |connection| Ok(ControlFlow::Break(connection));
        async move { redial.run(session).await.unwrap() }.boxed_local()
    };
    for ask in [ready, connect, run] {
        for first_goes_on in [true, false] {
            let (connector, attempts) = after_failures(2);
            let connector: Failing = Box::new(connector);
            let mut redial = Redial::new(connector).policy(doubling());
            let first = paused_runtime();
            let in_time = first.block_on(async { timeout(secs(0), redial.ready()).await });
            assert!(in_time.is_err());
            assert_eq!(attempts.load(SeqCst), 1);
            let _first = first_goes_on.then_some(first);
            paused_runtime().block_on(async {
                let start = Instant::now();
                assert_eq!(ask(&mut redial).await, 3);
                // What is left of the first wait, by a clock of its own, and 2 s.
                let waited = since(start);
                assert!((2.5..3.1).contains(&waited), "{waited}");
            });
        }
    }
}

#[test]
fn another_runtime_may_ask_after_giving_up() {
    let (connector, _) = after_failures(2);
    let mut redial = Redial::new(connector).policy(doubling()).max_attempts(2);
    paused_runtime().block_on(async { redial.ready().await.unwrap_err() });
    let connected = paused_runtime().block_on(async { *redial.ready().await.unwrap() });
    assert_eq!(connected, 3);
}

#[tokio::test(start_paused = true)]
async fn a_ready_dropped_in_the_middle_of_a_wait_keeps_its_place() {
    let (connector, attempts) = after_failures(1);
    let mut redial = Redial::new(connector).policy(Sequence::new([secs(8)]).jitter(Jitter::None));
    let start = Instant::now();
    for _ in 0..7 {
        assert!(timeout(secs(1), redial.ready()).await.is_err());
        assert_eq!(attempts.load(SeqCst), 1);
    }
    redial.ready().await.unwrap();
    assert!((since(start) - 8.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "polled after it was ready")]
async fn a_future_polled_after_it_was_ready_panics() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())));
    let mut future = pin!(redial.connect());
    assert!(poll_once(&mut future).is_ready());
    let _ = poll_once(&mut future);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panicked_is_a_stalled_attempt() {
    let mut calls = 0;
    let mut redial = Redial::new(move || {
        calls += 1;
        assert!(calls > 1, "the first attempt panics");
        ready(Ok::<_, io::Error>(()))
    })
    .policy(doubling());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        poll_once(&mut redial.ready()).is_ready()
    }));
    assert!(panicked.is_err());
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert!((since(start) - 1.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_at_the_end_leaves_the_status_right() {
    let (connector, _) = after_failures(100);
    let mut redial = Redial::new(connector).max_attempts(1).observe(|event| {
        if let Event::GaveUp { .. } = event {
            panic!("it cannot bear to give up");
        }
    });
    let handle = redial.handle();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        poll_once(&mut redial.ready()).is_ready()
    }));
    assert!(panicked.is_err());
    assert!(matches!(
        handle.status(),
        Status::GaveUp {
            reason: Reason::MaxAttempts,
            ..
        }
    ));
    assert!(redial.ready().await.unwrap_err().is_exhausted());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panicked_is_not_polled_again_and_has_stalled() {
    let mut calls = 0;
    let mut redial = Redial::new(move || {
        calls += 1;
        let call = calls;
        async move {
            assert!(call > 1, "the first attempt panics");
            Ok::<_, io::Error>(call)
        }
    })
    .policy(doubling());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        poll_once(&mut redial.ready()).is_ready()
    }));
    assert!(panicked.is_err());
    let start = Instant::now();
    assert_eq!(*redial.ready().await.unwrap(), 2);
    assert!((since(start) - 1.0).abs() < 0.01);
}

// ---- errors

#[tokio::test(start_paused = true)]
async fn after_a_stop_the_answer_stays_the_same_until_a_handle_asks_for_an_attempt() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let mut redial = Redial::new(move || {
        ready(if count.fetch_add(1, SeqCst) == 0 {
            Err("wrong password")
        } else {
            Ok(())
        })
    })
    .policy(doubling())
    .classify(|_| Verdict::Stop);
    let error = redial.ready().await.unwrap_err();
    assert!(error.is_stopped() && !error.is_exhausted() && !error.is_closed());
    assert_eq!(error.last(), Some(&"wrong password"));
    assert_eq!(
        error.to_string(),
        "gave up after 1 attempt in 0ms: trying again cannot help"
    );
    assert_eq!(error.into_inner(), Some("wrong password"));
    sleep(secs(60)).await;
    for _ in 0..1000 {
        let again = redial.ready().await.unwrap_err();
        assert!(again.is_stopped() && again.last().is_none());
        assert_eq!((again.attempts(), again.elapsed()), (1, secs(0)));
    }
    assert_eq!(attempts.load(SeqCst), 1);
    redial.handle().retry_now();
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert!(since(start) < 0.01, "a person asked for it");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_limit_says_how_many_attempts_and_how_long() {
    let (connector, attempts) = after_failures(100);
    let mut redial = Redial::new(connector).policy(doubling()).max_attempts(4);
    let error = redial.ready().await.unwrap_err();
    assert!(error.is_exhausted() && !error.is_stopped());
    assert_eq!(error.attempts(), 4);
    assert_eq!(error.elapsed().as_secs(), 7);
    assert_eq!(attempts.load(SeqCst), 4);
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<io::Error>().is_some());

    let (connector, _) = after_failures(100);
    let mut redial = Redial::new(connector)
        .policy(doubling())
        .max_elapsed(secs(60));
    let error = redial.ready().await.unwrap_err();
    assert!(error.is_exhausted());
    assert_eq!(error.elapsed().as_secs(), 31);
}

/// The texts of an error and of all its sources.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_every_connector_fit_a_question_mark() {
    use std::error::Error as StdError;

    const GAVE_UP: &str = "gave up after 1 attempt in 0ms: no attempts are left";

    async fn anyhow() -> anyhow::Result<()> {
        let log_in = || async {
            let refused: anyhow::Result<()> = Err(refused().into());
            anyhow::Context::context(refused, "cannot log in")
        };
        let mut redial = Redial::new(log_in).max_attempts(1);
        redial.ready().await.map_err(redial::Error::boxed)?;
        Ok(())
    }
    async fn sendable() -> Result<(), Box<dyn StdError + Send + Sync>> {
        let log_in = || ready(Err::<(), Box<dyn StdError + Send + Sync>>(refused().into()));
        let mut redial = Redial::new(log_in).max_attempts(1);
        redial.ready().await.map_err(redial::Error::boxed)?;
        Ok(())
    }
    async fn local() -> Result<(), Box<dyn StdError>> {
        let log_in = || ready(Err::<(), Box<dyn StdError>>(refused().into()));
        let mut redial = Redial::new(log_in).max_attempts(1);
        redial.ready().await.map_err(redial::Error::boxed_local)?;
        Ok(())
    }

    let texts = chain(anyhow().await.unwrap_err().as_ref());
    assert_eq!(texts, [GAVE_UP, "cannot log in", "connection refused"]);
    let error = sendable().await.unwrap_err();
    assert_eq!(chain(error.as_ref()), [GAVE_UP, "connection refused"]);
    let error = error.downcast::<redial::Error<redial::BoxError>>().unwrap();
    let inside = error.last().unwrap().get_ref();
    assert!(inside.downcast_ref::<io::Error>().is_some());
    let inside = error.into_inner().unwrap().into_inner();
    assert!(inside.is::<io::Error>());
    let error = local().await.unwrap_err();
    assert_eq!(chain(error.as_ref()), [GAVE_UP, "connection refused"]);

    // What the error says is the same in the box.
    let mut redial = Redial::new(|| ready(Err::<(), _>("wrong password".to_owned())))
        .classify(|_| Verdict::Stop);
    let error = redial.ready().await.unwrap_err().boxed();
    assert!(error.is_stopped());
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.last().unwrap().to_string(), "wrong password");
}

#[tokio::test(start_paused = true)]
async fn without_a_classifier_io_errors_are_judged_by_their_kind() {
    let mut redial = Redial::new(|| {
        ready(Err::<(), _>(io::Error::from(
            io::ErrorKind::PermissionDenied,
        )))
    });
    assert!(redial.ready().await.unwrap_err().is_stopped());
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_came_with_a_loss_is_kept() {
    let mut redial =
        Redial::new(|| ready(Ok::<_, Duration>(()))).classify(|&slot| Verdict::Slot(slot));
    redial.ready().await.unwrap();
    redial.lost_with(Duration::from_millis(4321));
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 4321);
}

// ---- connect

#[tokio::test(start_paused = true)]
async fn connecting_again_reports_the_previous_connection_as_lost() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector).policy(doubling());
    let start = Instant::now();
    for expected in [0.0, 1.0, 3.0, 7.0] {
        redial.connect().await.unwrap();
        assert!((since(start) - expected).abs() < 0.01);
    }
    assert_eq!(attempts.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lent_is_handed_over() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector);
    redial.ready().await.unwrap();
    assert_eq!(redial.connect().await.unwrap(), 1);
    assert_eq!(attempts.load(SeqCst), 1);
    assert_eq!(*redial.ready().await.unwrap(), 2, "and is then gone");
}

#[tokio::test(start_paused = true)]
async fn connect_goes_on_with_the_attempt_that_ready_began() {
    let (connector, attempts) = in_five_seconds();
    let mut redial = Redial::new(connector);
    let start = Instant::now();
    assert!(timeout(secs(2), redial.ready()).await.is_err());
    redial.connect().await.unwrap();
    assert!((since(start) - 5.0).abs() < 0.01);
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connect_dropped_in_the_middle_of_an_attempt_counts_as_stalled() {
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let seen = verdicts.clone();
    let mut redial = Redial::new(in_five_seconds().0)
        .policy(doubling())
        .observe(move |event| {
            if let Event::Failed { verdict, .. } = event {
                seen.lock().unwrap().push(*verdict);
            }
        });
    let start = Instant::now();
    assert!(timeout(secs(2), redial.connect()).await.is_err());
    redial.connect().await.unwrap();
    assert!((since(start) - 8.0).abs() < 0.01); // 2 s, a wait of 1 s, 5 s
    assert_eq!(*verdicts.lock().unwrap(), [Verdict::Retry(Cause::Stalled)]);
}

#[tokio::test(start_paused = true)]
async fn a_connect_dropped_in_the_middle_of_a_wait_keeps_its_place() {
    let (connector, attempts) = after_failures(1);
    let mut redial = Redial::new(connector).policy(Sequence::new([secs(8)]).jitter(Jitter::None));
    let start = Instant::now();
    for _ in 0..7 {
        assert!(timeout(secs(1), redial.connect()).await.is_err());
    }
    redial.connect().await.unwrap();
    assert!((since(start) - 8.0).abs() < 0.01);
    assert_eq!(attempts.load(SeqCst), 2);
}

/// A connector whose handshakes take a second and a half.
fn slow_handshake() -> (
    impl FnMut() -> BoxFuture<'static, io::Result<()>>,
    Arc<AtomicU32>,
) {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let connector = move || {
        count.fetch_add(1, SeqCst);
        sleep(Duration::from_millis(1500)).map(Ok).boxed()
    };
    (connector, attempts)
}

#[tokio::test(start_paused = true)]
async fn a_tick_beside_a_slow_handshake_delays_ready_and_take_by_nothing() {
    let (connector, attempts) = slow_handshake();
    let mut redial = Redial::new(connector);
    let start = Instant::now();
    let mut tick = tokio::time::interval(secs(1));
    let mut ticks = 0;
    let () = loop {
        tokio::select! {
            ready = redial.ready() => {
                ready.unwrap();
                break redial.take().expect("it is ready");
            }
            _ = tick.tick() => ticks += 1,
        }
    };
    assert_eq!((ticks, attempts.load(SeqCst)), (2, 1));
    assert_eq!(start.elapsed(), Duration::from_millis(1500));

    // What its docs warn of: `connect` loses its attempt at each tick.
    let (connector, attempts) = slow_handshake();
    let mut redial = Redial::new(connector).policy(doubling());
    let mut tick = tokio::time::interval(secs(1));
    for _ in 0..100 {
        tokio::select! {
            _ = redial.connect() => panic!("then the docs need no warning"),
            _ = tick.tick() => {}
        }
    }
    assert!(attempts.load(SeqCst) > 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_taken_once_and_only_while_it_is_there() {
    let (connector, _) = after_failures(0);
    let mut redial = Redial::new(connector).policy(doubling());
    assert_eq!(redial.take(), None, "nothing is made for it");
    redial.ready().await.unwrap();
    assert_eq!(redial.take(), Some(1));
    assert_eq!(redial.take(), None);
    let start = Instant::now();
    assert_eq!(*redial.ready().await.unwrap(), 2);
    assert!((since(start) - 1.0).abs() < 0.01, "spread like a loss");
    redial.handle().close();
    assert_eq!(redial.take(), None, "closed");
}

// ---- observers

#[tokio::test(start_paused = true)]
async fn every_observer_is_called_in_the_order_in_which_they_were_added() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |name| {
        let seen = seen.clone();
        move |event: &Event<'_, io::Error>| {
            let what = match event {
                Event::Connecting { .. } => "connecting",
                Event::Failed { .. } => "failed",
                Event::Waiting { .. } => "waiting",
                _ => "other",
            };
            seen.lock().unwrap().push((name, what));
        }
    };
    let mut redial = Redial::new(after_failures(9).0)
        .observe(note("first"))
        .observe(note("second"))
        .observe(note("third"));
    assert!(poll_once(&mut redial.ready()).is_pending());
    let all = ["connecting", "failed", "waiting"]
        .map(|what| ["first", "second", "third"].map(|name| (name, what)));
    assert_eq!(*seen.lock().unwrap(), all.concat());
}

// ---- run

#[tokio::test(start_paused = true)]
async fn run_goes_on_until_a_session_breaks_the_loop() {
    let (connector, _) = after_failures(0);
    let start = Instant::now();
    let mut redial = Redial::new(connector).policy(doubling());
    let answer = redial
        .run(async |number| match number {
            1 => Err(refused()),
            2 => Ok(ControlFlow::Continue(())),
            number => Ok(ControlFlow::Break(number * 14)),
        })
        .await
        .unwrap();
    assert_eq!(answer, 42);
    assert!((since(start) - 3.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn run_gives_up_if_the_error_of_a_session_is_a_stop() {
    let mut redial = Redial::new(|| ready(Ok::<_, &str>(()))).classify(|_| Verdict::Stop);
    let error = redial
        .run(async |()| Err::<ControlFlow<()>, _>("banned"))
        .await
        .unwrap_err();
    assert!(error.is_stopped());
    assert_eq!(error.into_inner(), Some("banned"));
}

// ---- budget

#[tokio::test(start_paused = true)]
async fn reconnects_wait_for_the_budget_and_first_connects_do_not() {
    let bucket = TokenBucket::new(1, secs(10));
    let waits = Sequence::new([secs(1)]).jitter(Jitter::None);
    let start = Instant::now();
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            Redial::new(|| ready(Ok::<_, io::Error>(())))
                .policy(waits.clone())
                .budget(&bucket)
        })
        .collect();
    for client in &mut clients {
        client.ready().await.unwrap();
        client.lost();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let back = futures::future::join_all(clients.iter_mut().map(|client| async {
        client.ready().await.unwrap();
        since(start).round() as u64
    }))
    .await;
    assert_eq!(back, [1, 11, 21, 31], "each at an instant of its own");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_budget_that_is_dropped_gives_its_token_back() {
    let bucket = TokenBucket::new(1, secs(100));
    bucket.try_take().unwrap();
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(doubling())
        .budget(&bucket);
    redial.ready().await.unwrap();
    redial.lost();
    assert!(timeout(secs(2), redial.ready()).await.is_err());
    drop(redial);
    let wait = bucket.try_take().unwrap_err();
    assert!(
        wait <= secs(98),
        "the token of the present period: {wait:?}"
    );
}

// ---- seeds

#[tokio::test(start_paused = true)]
async fn a_seed_is_reproducible_and_without_one_two_clients_differ() {
    let outage = async |mut redial: Redial<_>| {
        let start = Instant::now();
        redial.ready().await.unwrap();
        start.elapsed()
    };
    let client = || Redial::new(after_failures(12).0);
    assert_eq!(
        outage(client().seed(5)).await,
        outage(client().seed(5)).await
    );
    assert_ne!(
        outage(client().seed(5)).await,
        outage(client().seed(6)).await
    );
    assert_ne!(outage(client()).await, outage(client()).await);
}

// ---- handles

#[tokio::test(start_paused = true)]
async fn retry_now_ends_the_present_wait_and_no_other() {
    let (connector, attempts) = after_failures(100);
    let mut redial = Redial::new(connector)
        .policy(doubling())
        .press_interval(Duration::ZERO);
    let handle = redial.handle();
    handle.retry_now(); // nothing waits yet: not stored
    let start = Instant::now();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(0), &mut future).await.is_err());
    assert!((since(start)).abs() < 0.01);
    assert_eq!(attempts.load(SeqCst), 1);
    for _ in 0..1000 {
        handle.retry_now(); // one attempt, however often it is pressed
    }
    assert!(
        timeout(Duration::from_millis(1500), &mut future)
            .await
            .is_err()
    );
    assert_eq!(attempts.load(SeqCst), 2);
    // The history goes on: the next wait was the second, of 2 s.
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_now_pays_the_budget() {
    let bucket = TokenBucket::new(1, secs(50));
    bucket.try_take().unwrap();
    let (connector, attempts) = after_failures(1);
    let mut redial = Redial::new(connector).policy(doubling()).budget(&bucket);
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(
        timeout(Duration::from_millis(100), &mut future)
            .await
            .is_err()
    );
    handle.retry_now();
    for _ in 0..40 {
        assert!(timeout(secs(1), &mut future).await.is_err());
        handle.retry_now();
    }
    assert_eq!(attempts.load(SeqCst), 1);
    future.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_attempts_and_resuming_makes_one() {
    let (connector, attempts) = after_failures(2);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    handle.pause();
    assert!(timeout(secs(500), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 0);
    assert!(matches!(handle.status(), Status::Paused { .. }));
    handle.retry_now();
    assert!(timeout(secs(5), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 0, "not while paused");
    handle.resume();
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 1);
    assert!(matches!(
        handle.status(),
        Status::Waiting { attempt: 2, .. }
    ));
    handle.pause();
    assert!(timeout(secs(500), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 1);
    let resumed = Instant::now();
    handle.resume();
    assert_eq!(*future.await.unwrap(), 3);
    assert!(
        (2.0..3.01).contains(&since(resumed)),
        "one within a second, then as before"
    );
}

#[tokio::test(start_paused = true)]
async fn close_ends_it_for_good() {
    let mut redial = Redial::new(pending::<io::Result<()>>);
    let handle = redial.handle();
    let mut watch = handle.watch();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(1), &mut future).await.is_err());
    handle.close();
    assert!(future.await.unwrap_err().is_closed());
    assert!(redial.ready().await.unwrap_err().is_closed());
    assert!(redial.connect().await.unwrap_err().is_closed());
    drop(redial);
    let mut seen = Vec::new();
    while let Some(status) = watch.next().await {
        seen.push(status);
    }
    assert_eq!(seen.first(), Some(&Status::Idle));
    assert!(matches!(seen[1], Status::Connecting { .. }));
    assert_eq!(seen[2..], [Status::Closed]);
}

#[tokio::test(start_paused = true)]
async fn close_drops_a_connection_that_is_up() {
    let token = Arc::new(());
    let inside = token.clone();
    let mut redial = Redial::new(move || ready(Ok::<_, io::Error>(inside.clone())));
    let handle = redial.handle();
    redial.ready().await.unwrap();
    assert_eq!(Arc::strong_count(&token), 3);
    handle.close();
    assert!(redial.ready().await.unwrap_err().is_closed());
    assert_eq!(Arc::strong_count(&token), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_every_status_and_the_last() {
    let (connector, _) = after_failures(2);
    let mut redial = Redial::new(connector).policy(doubling());
    let watch = redial.handle().watch();
    redial.ready().await.unwrap();
    drop(redial);
    let names: Vec<_> = watch
        .map(|status| match status {
            Status::Idle => "idle",
            Status::Connecting { .. } => "connecting",
            Status::Waiting { .. } => "waiting",
            Status::Connected { .. } => "connected",
            Status::GaveUp { .. } => "gave up",
            Status::Closed => "closed",
            _ => "other",
        })
        .collect()
        .await;
    assert_eq!(
        names,
        [
            "idle",
            "connecting",
            "waiting",
            "connecting",
            "waiting",
            "connecting",
            "connected",
            "closed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_status_is_a_deadline() {
    let (connector, _) = after_failures(1);
    let mut redial = Redial::new(connector).policy(Sequence::new([secs(8)]).jitter(Jitter::None));
    let handle = redial.handle();
    assert!(timeout(secs(3), redial.ready()).await.is_err());
    let Status::Waiting { attempt, until, .. } = handle.status() else {
        panic!("{:?}", handle.status());
    };
    assert_eq!(attempt, 2);
    assert_eq!(until.remaining(), secs(5));
    assert_eq!(until.elapsed(), Duration::ZERO);
    sleep(secs(6)).await;
    assert_eq!(until.remaining(), Duration::ZERO);
    assert_eq!(until.elapsed(), secs(1));
}

// ---- sleep

/// When a client is back whose device sleeps for `asleep` after it was awake for
/// `awake`. Meanwhile the wall goes on, and the monotonic clock stands still.
async fn back_after_a_sleep<C: Connect<Connection = u32, Error = io::Error>, P: Policy>(
    redial: Redial<C, P>,
    awake: Duration,
    asleep: Duration,
) -> f64 {
    let slept = Arc::new(AtomicU32::new(0));
    let (wall, start) = (slept.clone(), Instant::now());
    let epoch = SystemTime::UNIX_EPOCH;
    let mut redial =
        redial.wall_clock(move || epoch + start.elapsed() + secs(wall.load(SeqCst).into()));
    assert!(timeout(awake, redial.ready()).await.is_err());
    slept.store(asleep.as_secs() as u32, SeqCst);
    redial.ready().await.unwrap();
    since(start)
}

/// Its first attempt is refused, and then it waits for 100 s.
fn sleeper() -> Redial<impl Connect<Connection = u32, Error = io::Error>, Sequence> {
    Redial::new(after_failures(1).0).policy(Sequence::new([secs(100)]).jitter(Jitter::None))
}

#[tokio::test(start_paused = true)]
async fn a_device_that_slept_through_its_wait_tries_soon() {
    let took = back_after_a_sleep(sleeper(), secs(20), secs(3600)).await;
    // It looks at the wall every 15 s.
    assert!((30.0..31.01).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_slept_through_its_wait_for_the_budget_tries_soon() {
    let hour = secs(3600);
    // Awake for a minute, of which the policy's wait takes a second. In a sleep of
    // eight hours the hour of its token passes, in half an hour it does not.
    for (asleep, back) in [(8 * hour, 61.0..62.01), (hour / 2, 1799.99..1800.01)] {
        let bucket = TokenBucket::new(1, hour);
        bucket.try_take().unwrap();
        let redial = sleeper().policy(doubling()).budget(&bucket);
        let took = back_after_a_sleep(redial, secs(60), asleep).await;
        assert!(back.contains(&took), "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_whose_host_slept_through_their_waits_are_spread_over_a_second() {
    let mut back = Vec::new();
    for seed in 0..20 {
        back.push(back_after_a_sleep(sleeper().seed(seed), secs(20), secs(3600)).await);
    }
    back.sort_by(f64::total_cmp);
    // Twenty uniform draws span less than half a second with a probability of 2e-5.
    assert!(back[19] - back[0] > 0.5, "{back:?}");
    assert!(back[19] - back[0] < 1.01, "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_sleep_is_taken_off_the_wait() {
    let took = back_after_a_sleep(sleeper(), secs(20), secs(40)).await;
    assert!((took - 60.0).abs() < 0.01, "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_goes_back_changes_nothing() {
    let start = Instant::now();
    let epoch = SystemTime::UNIX_EPOCH + secs(1_000_000);
    let mut redial = Redial::new(after_failures(1).0)
        .policy(Sequence::new([secs(100)]).jitter(Jitter::None))
        .wall_clock(move || epoch - 2 * start.elapsed());
    redial.ready().await.unwrap();
    assert!((since(start) - 100.0).abs() < 0.01);
}

// ---- policies

#[tokio::test(start_paused = true)]
async fn a_policy_may_give_up_by_itself() {
    let mut redial = Redial::new(after_failures(100).0).policy(from_fn(|_| [secs(1)]));
    let error = redial.ready().await.unwrap_err();
    assert!(error.is_exhausted());
    assert_eq!(error.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_driver_waits_as_the_policy_says() {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = waits.clone();
    let policy = redial::Stratified::default();
    let mut redial = Redial::new(|| {
        let refused = Err::<(), _>(refused());
        async move {
            poll_fn(|_| Poll::Ready(())).await;
            refused
        }
    })
    .seed(3)
    .max_attempts(8)
    .observe(move |event| {
        if let Event::Waiting { wait, .. } = event {
            seen.lock().unwrap().push(*wait);
        }
    });
    let _ = redial.ready().await.unwrap_err();
    let waits = waits.lock().unwrap();
    assert_eq!(waits.len(), 7);
    // The driver's clock runs in whole milliseconds here, the policy's in
    // nanoseconds: attempts are late by up to one, and the next wait shorter.
    let (mut at, mut expected) = (Duration::ZERO, Duration::ZERO);
    for (wait, exact) in waits.iter().zip(policy.delays_from_seed(3)) {
        at = Duration::from_millis((at + *wait).as_micros().div_ceil(1000) as u64);
        expected += exact;
        assert!(at.abs_diff(expected) <= Duration::from_millis(1));
    }
}

// ---- restarts

#[tokio::test(start_paused = true)]
async fn a_driver_goes_on_with_a_wait_that_was_saved() {
    let waits = Sequence::new([secs(20)]).jitter(Jitter::None);
    let mut redial = Redial::new(after_failures(1).0).policy(waits.clone());
    assert_eq!(redial.save(), None);
    assert!(timeout(secs(5), redial.ready()).await.is_err());
    let saved = redial.save().unwrap();
    drop(redial);
    let start = Instant::now();
    let mut redial = Redial::new(after_failures(0).0)
        .policy(waits)
        .restore(&saved, secs(3));
    redial.ready().await.unwrap();
    assert!((since(start) - 12.0).abs() < 0.01, "{}", since(start));
}

#[tokio::test(start_paused = true)]
async fn the_time_between_two_launches_counts_for_the_limit_of_an_outage() {
    for (away, is_over) in [(70, false), (90, true)] {
        let launch = || {
            Redial::new(after_failures(u32::MAX).0)
                .policy(Sequence::new([secs(20)]).jitter(Jitter::None))
                .max_elapsed(secs(100))
        };
        let mut redial = launch();
        assert!(timeout(secs(5), redial.ready()).await.is_err());
        let saved = redial.save().unwrap();
        // Of the wait nothing is left, so the attempt is made at once.
        let mut redial = launch().restore(&saved, secs(away));
        let ended = timeout(secs(1), redial.ready()).await;
        assert_eq!(ended.is_ok(), is_over, "{away} s away");
        if let Ok(Err(error)) = ended {
            assert_eq!(error.reason(), Some(Reason::MaxElapsed));
            assert_eq!(error.elapsed().as_secs(), 5 + away);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_killed_in_its_attempts_reaches_the_limit() {
    // Each launch is killed eight seconds into its first attempt.
    let attempts = Arc::new(AtomicU32::new(0));
    let launch = || {
        let attempts = attempts.clone();
        Redial::new(move || {
            attempts.fetch_add(1, SeqCst);
            pending::<io::Result<()>>()
        })
        .policy(Sequence::new([secs(1)]).jitter(Jitter::None))
        .max_attempts(3)
    };
    let mut redial = launch();
    for number in 1..=3 {
        let killed = timeout(secs(9), redial.ready()).await;
        assert!(killed.is_err(), "launch {number} is still in its attempt");
        assert_eq!(attempts.load(SeqCst), number);
        let saved = redial.save().expect("an attempt is in flight");
        redial = launch().restore(&saved, Duration::ZERO);
    }
    // The launches have used the limit up: one more attempt, and it gives up.
    let error = redial.ready().await.unwrap_err();
    assert_eq!(error.reason(), Some(redial::Reason::MaxAttempts));
    assert_eq!(attempts.load(SeqCst), 4);
    assert_eq!(redial.save(), None, "the next launch begins afresh");
}

#[tokio::test(start_paused = true)]
async fn a_loss_may_be_reported_outside_of_the_runtime() {
    let (connector, _) = after_failures(0);
    let mut redial = Redial::new(connector).policy(doubling());
    redial.ready().await.unwrap();
    let mut redial = std::thread::spawn(move || {
        redial.lost();
        redial
    })
    .join()
    .unwrap();
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert!(since(start) >= 0.99, "{}", since(start));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_at_once_yields_before_the_next_one() {
    let (connector, attempts) = after_failures(0);
    let mut redial = Redial::new(connector).policy(Sequence::new([Duration::ZERO]));
    let mut future = pin!(redial.run(async |_| Ok(ControlFlow::<()>::Continue(()))));
    for polls in 1..100 {
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(attempts.load(SeqCst), polls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_without_a_later_call_takes_no_token() {
    let bucket = TokenBucket::new(1, secs(1000));
    let mut redial = Redial::new(after_failures(0).0)
        .policy(Sequence::new([Duration::ZERO]))
        .budget(&bucket);
    redial.ready().await.unwrap();
    redial.lost();
    drop(redial);
    bucket.try_take().unwrap();
}

#[tokio::test(start_paused = true)]
async fn clients_that_pause_while_they_wait_for_the_budget_do_not_resume_at_once() {
    let bucket = TokenBucket::new(1, secs(1));
    let attempts = Arc::new(AtomicU32::new(0));
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let attempts = attempts.clone();
            Redial::new(move || {
                attempts.fetch_add(1, SeqCst);
                ready(Ok::<_, io::Error>(()))
            })
            .policy(Sequence::new([Duration::from_millis(1)]))
            .budget(&bucket)
        })
        .collect();
    let handles: Vec<_> = clients.iter().map(Redial::handle).collect();
    for client in &mut clients {
        client.ready().await.unwrap();
        client.lost();
    }
    let all = async {
        futures::future::join_all(clients.iter_mut().map(Redial::ready)).await;
    };
    let mut all = pin!(all);
    assert!(timeout(Duration::from_millis(500), &mut all).await.is_err());
    handles.iter().for_each(redial::Handle::pause);
    assert!(timeout(secs(1000), &mut all).await.is_err());
    let before = attempts.load(SeqCst);
    handles.iter().for_each(redial::Handle::resume);
    assert!(timeout(Duration::from_millis(500), &mut all).await.is_err());
    assert!(
        attempts.load(SeqCst) - before <= 2,
        "the burst, and no more"
    );
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_polled_late_take_another_token() {
    let bucket = TokenBucket::new(1, secs(10));
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            Redial::new(after_failures(0).0)
                .policy(Sequence::new([Duration::from_millis(1)]))
                .budget(&bucket)
        })
        .collect();
    for client in &mut clients {
        client.ready().await.unwrap();
        client.lost();
        let _ = timeout(Duration::from_millis(100), client.ready()).await;
    }
    sleep(secs(1000)).await;
    let start = Instant::now();
    let mut back = Vec::new();
    for client in &mut clients {
        client.ready().await.unwrap();
        back.push(since(start).round() as u64);
    }
    assert_eq!(back, [0, 0, 10], "the first was back before; one a period");
}

#[tokio::test(start_paused = true)]
async fn no_poll_makes_two_attempts_however_short_the_wait() {
    for wait in [0, 1, 1_000, 1_000_000].map(Duration::from_nanos) {
        let (connector, attempts) = after_failures(50);
        let mut redial = Redial::new(connector).policy(Sequence::new([wait]));
        let mut future = pin!(redial.ready());
        poll_fn(|cx| {
            let before = attempts.load(SeqCst);
            let polled = future.as_mut().poll(cx).map(drop);
            assert!(attempts.load(SeqCst) <= before + 1, "{wait:?}");
            polled
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_connect_leaves_nothing_to_save() {
    let mut redial = Redial::new(|| sleep(secs(1)).map(Ok::<_, io::Error>));
    redial.ready().await.unwrap();
    assert_eq!(redial.save(), None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_budget_is_saved_with_what_is_left_of_it() {
    let bucket = TokenBucket::new(1, secs(100));
    bucket.try_take().unwrap();
    let mut redial = Redial::new(after_failures(1).0)
        .policy(doubling())
        .budget(&bucket);
    // The policy's wait is over after a second, and the token is due at 100 s.
    assert!(timeout(secs(40), redial.ready()).await.is_err());
    let saved = redial.save().unwrap();
    let mut outage = Outage::from_seed(doubling(), 1);
    let next = outage.restore(&saved, Duration::ZERO, Duration::ZERO);
    assert_eq!(next, Next::Wait(secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_boxed_driver_keeps_its_seed() {
    let new = || Redial::new(after_failures(5).0).seed(7);
    let start = Instant::now();
    new().ready().await.unwrap();
    let plain = start.elapsed();
    let start = Instant::now();
    new().boxed().ready().await.unwrap();
    assert_eq!(start.elapsed(), plain);
}
