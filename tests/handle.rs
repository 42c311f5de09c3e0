//! What does each press do, and what do handles and watchers show?

use std::future::{pending, ready};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use redial::policy::from_fn;
use redial::test::{Script, Scripted, Server, paused};
use redial::{Event, Exponential, Handle, Jitter, Redial, Status, TokenBucket, Verdict};
use tokio::io::duplex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1, 2, 4, … 64 s: waits that differ from each other.
fn doubling() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

fn refused() -> io::Error {
    ErrorKind::ConnectionRefused.into()
}

/// A connector that takes `time` and then fails, `failures` times, and counts.
fn after_failures(failures: u32, time: Duration) -> (Scripted<()>, Server<()>) {
    let script = Script::new().refuse().after(time).times(failures);
    script.connect().after(time).forever().connections(drop)
}

/// Anything that takes longer hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(10_000), future).await.expect("it hangs")
}

/// The present status, in a word.
fn word(status: &Status) -> &'static str {
    match status {
        Status::Idle => "idle",
        Status::Connecting { .. } => "connecting",
        Status::Waiting { .. } => "waiting",
        Status::Connected { .. } => "connected",
        Status::Paused { .. } => "paused",
        Status::GaveUp { .. } => "gave up",
        Status::Closed => "closed",
        _ => "unknown",
    }
}

// ---- retry_now

#[tokio::test(start_paused = true)]
async fn a_press_while_idle_connecting_or_up_does_not_skip_the_next_wait() {
    let (connector, server) = after_failures(1, secs(1));
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let start = Instant::now();
    handle.retry_now(); // idle
    {
        let mut future = pin!(redial.ready());
        assert!(timeout(secs(0), &mut future).await.is_err());
        handle.retry_now(); // connecting
        soon(future).await.unwrap();
    }
    // An attempt of 1 s, the whole wait of 1 s, an attempt of 1 s.
    assert_eq!(start.elapsed().as_secs(), 3);
    handle.retry_now(); // up
    redial.lost();
    let lost = Instant::now();
    soon(redial.ready()).await.unwrap();
    assert_eq!(lost.elapsed().as_secs(), 3, "the wait of 2 s, then 1 s");
    assert_eq!(server.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_press_at_the_end_of_a_wait_does_not_skip_the_next_wait() {
    let (connector, _) = after_failures(0, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    for _ in 0..5 {
        redial.ready().await.unwrap();
        sleep(secs(20)).await;
        redial.lost();
        let lost = Instant::now();
        // Two presses in the instant in which the wait ends by itself.
        let (connected, ()) = tokio::join!(soon(redial.ready()), async {
            sleep(secs(1)).await;
            handle.retry_now();
            handle.retry_now();
        });
        connected.unwrap();
        assert_eq!(lost.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_press_between_the_loss_and_the_next_poll_ends_that_wait() {
    let (connector, _) = after_failures(0, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    sleep(secs(1)).await;
    redial.lost();
    assert_eq!(word(&handle.status()), "waiting");
    handle.retry_now();
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_presses_makes_one_attempt_at_a_time_and_pays_for_each() {
    let bucket = TokenBucket::new(3, secs(10));
    let (alive, most, attempts) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
    );
    let (now, top, count) = (alive.clone(), most.clone(), attempts.clone());
    let mut redial = Redial::new(move || {
        struct Alive(Arc<AtomicU32>);
        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        count.fetch_add(1, SeqCst);
        top.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        let alive = Alive(now.clone());
        async move {
            let _alive = alive;
            sleep(Duration::from_millis(100)).await;
            Err::<(), _>(refused())
        }
    })
    .policy(doubling())
    .budget(&bucket);
    let handle = redial.handle();
    let press = async {
        loop {
            handle.retry_now(); // a thousand times a second
            sleep(Duration::from_millis(1)).await;
        }
    };
    let storm = async { tokio::join!(redial.ready(), press) };
    assert!(timeout(secs(100), storm).await.is_err());
    assert_eq!(most.load(SeqCst), 1);
    // The first is free, three were saved, one each 10 s since they were
    // taken: at 10.1 s and so on, up to 90.1 s and then 100.1 s.
    assert_eq!(attempts.load(SeqCst), 1 + 3 + 9);
}

#[tokio::test(start_paused = true)]
async fn a_press_while_paused_does_nothing_then_or_later() {
    let (connector, server) = after_failures(9, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(0), &mut future).await.is_err());
    handle.pause();
    for _ in 0..10 {
        handle.retry_now();
        assert!(timeout(secs(1), &mut future).await.is_err());
    }
    assert_eq!(server.attempts(), 1);
    handle.resume();
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(server.attempts(), 2, "resuming makes one");
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(server.attempts(), 2, "and the next wait is whole");
}

// ---- pause

#[tokio::test(start_paused = true)]
async fn a_pause_while_connecting_leaves_the_attempt_and_holds_the_next() {
    let (connector, server) = after_failures(1, secs(2));
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(1), &mut future).await.is_err());
    handle.pause();
    assert!(
        timeout(Duration::from_millis(500), &mut future)
            .await
            .is_err()
    );
    assert_eq!(word(&handle.status()), "connecting");
    assert!(timeout(secs(1000), &mut future).await.is_err());
    assert_eq!(word(&handle.status()), "paused");
    assert_eq!(server.attempts(), 1);
    handle.resume();
    soon(future).await.unwrap();
    assert_eq!(server.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_connecting_lets_a_connection_come_up() {
    let (connector, _) = after_failures(0, secs(2));
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(1), &mut future).await.is_err());
    handle.pause();
    soon(future).await.unwrap();
    assert_eq!(word(&handle.status()), "connected");
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_the_wait_for_the_budget_shows_its_deadline_again() {
    let bucket = TokenBucket::new(1, secs(100));
    bucket.try_take().unwrap();
    let (connector, server) = after_failures(1, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling()).budget(&bucket);
    let handle = redial.handle();
    let start = Instant::now();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(2), &mut future).await.is_err());
    let paying = handle.status();
    assert!(matches!(paying, Status::Waiting { until, .. } if until.remaining() == secs(98)));
    handle.pause();
    assert!(timeout(secs(2), &mut future).await.is_err());
    assert_eq!(word(&handle.status()), "paused");
    handle.resume();
    assert!(timeout(secs(2), &mut future).await.is_err());
    assert_eq!(handle.status(), paying);
    soon(future).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 100, "a resume pays, too");
    assert_eq!(server.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn clients_that_resume_together_saved_no_tokens_in_the_pause() {
    let bucket = TokenBucket::new(2, secs(10));
    let mut handles = Vec::new();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
                .policy(doubling())
                .budget(&bucket);
            handles.push(redial.handle());
            tokio::spawn(async move {
                redial.ready().await.unwrap();
                redial.lost();
                redial.ready().await.unwrap();
                Instant::now()
            })
        })
        .collect();
    // All but two wait for the budget by now.
    sleep(secs(2)).await;
    handles.iter().for_each(Handle::pause);
    sleep(secs(1000)).await;
    let resumed = Instant::now();
    handles.iter().for_each(Handle::resume);
    let mut back = Vec::new();
    for client in clients {
        let at = soon(client).await.unwrap();
        back.push(at.saturating_duration_since(resumed).as_secs());
    }
    back.sort_unstable();
    // Two were back before, two have saved tokens, and the others earn theirs.
    assert_eq!(back, [0, 0, 0, 0, 10, 20, 30, 40, 50, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_a_resume_in_one_instant_change_nothing() {
    let (connector, server) = after_failures(1, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling());
    let handle = redial.handle();
    let start = Instant::now();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(0), &mut future).await.is_err());
    handle.pause();
    handle.resume();
    soon(future).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1, "the policy's wait");
    assert_eq!(server.attempts(), 2);
}

// ---- close

/// Runs `client` until it ends by a close in each of the phases of a driver.
async fn closed_in_each_phase<T, F: Future<Output = T>>(
    mut client: impl FnMut(Redial<Stage, Exponential>) -> F,
    mut check: impl FnMut(&str, T),
) {
    for phase in [
        "idle",
        "connecting",
        "waiting",
        "paying",
        "paused",
        "connected",
    ] {
        let bucket = TokenBucket::new(1, secs(3000));
        if phase == "paying" {
            bucket.try_take().unwrap();
        }
        let stage = Stage(phase);
        let redial = Redial::new(stage)
            .attempt_timeout(Duration::MAX)
            .policy(Exponential::new(secs(2000), secs(2000)).jitter(Jitter::None))
            .budget(&bucket);
        let handle = redial.handle();
        let watch = handle.watch();
        if phase == "idle" {
            handle.close();
        }
        if phase == "paused" {
            handle.pause();
        }
        let mut client = Box::pin(client(redial));
        let after = if phase == "paying" { 2500 } else { 1500 };
        if phase != "idle" {
            assert!(
                timeout(secs(after), &mut client).await.is_err(),
                "{phase}: nothing ends before it is closed"
            );
            let status = word(&handle.status());
            let expected = if phase == "paying" { "waiting" } else { phase };
            assert_eq!(status, expected);
        }
        handle.close();
        let start = Instant::now();
        check(phase, soon(client).await);
        assert_eq!(start.elapsed(), Duration::ZERO, "{phase}: at once");
        assert_eq!(handle.status(), Status::Closed, "{phase}");
        let last = soon(watch.collect::<Vec<_>>()).await;
        assert_eq!(last.last(), Some(&Status::Closed), "{phase}");
        if phase == "paying" {
            let wait = bucket.try_take().unwrap_err();
            assert!(wait <= secs(500), "its token is given back: {wait:?}");
        }
    }
}

/// A connector that gets as far as its name says.
struct Stage(&'static str);

type Lines = Framed<tokio::io::DuplexStream, LinesCodec>;

impl redial::Connect for Stage {
    type Connection = Lines;
    type Error = LinesCodecError;
    type Attempt = futures::future::BoxFuture<'static, Result<Lines, LinesCodecError>>;

    fn connect(&mut self) -> Self::Attempt {
        match self.0 {
            "connecting" => Box::pin(pending()),
            "connected" => Box::pin(async {
                let (ours, theirs) = duplex(64);
                std::mem::forget(theirs); // it neither reads nor ends
                Ok(Framed::new(ours, LinesCodec::new()))
            }),
            _ => Box::pin(ready(Err(LinesCodecError::Io(refused())))),
        }
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Lines, LinesCodecError>> {
        attempt.poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn close_ends_run_in_every_phase() {
    closed_in_each_phase(
        async |mut redial: Redial<_, _>| {
            redial
                .run(async |mut lines: Lines| {
                    lines.next().await;
                    Ok(ControlFlow::Break(()))
                })
                .await
        },
        |phase, result| assert!(result.unwrap_err().is_closed(), "{phase}"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_session_that_reads_in_every_phase() {
    closed_in_each_phase(
        async |redial: Redial<_, _>| {
            let mut session = redial.into_session();
            loop {
                if let Err(error) = session.next().await.unwrap() {
                    assert!(session.next().await.is_none());
                    return error;
                }
            }
        },
        |phase, error| assert!(error.is_closed(), "{phase}"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_session_that_writes_in_every_phase() {
    closed_in_each_phase(
        async |redial: Redial<_, _>| {
            let mut session = redial.into_session();
            loop {
                if let Err(error) = session.send("x".to_owned()).await {
                    return error;
                }
            }
        },
        |phase, error| match phase {
            "connected" => assert_eq!(error.lost(), 1),
            _ => assert!(error.is_over(), "{phase}: {error}"),
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_ends_every_task_that_shares_in_every_phase() {
    #[derive(Clone)]
    struct Client;
    for phase in ["connecting", "waiting", "paused"] {
        let shared = Redial::new(move || async move {
            match phase {
                "connecting" => pending().await,
                _ => Err::<Client, _>(refused()),
            }
        })
        .attempt_timeout(Duration::MAX)
        .policy(Exponential::new(secs(2000), secs(2000)).jitter(Jitter::None))
        .into_shared();
        let handle = shared.handle();
        if phase == "paused" {
            handle.pause();
        }
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move { shared.ready().await.map(drop) })
            })
            .collect();
        sleep(secs(1)).await;
        assert_eq!(word(&handle.status()), phase);
        handle.close();
        for waiter in waiters {
            assert!(soon(waiter).await.unwrap().unwrap_err().is_closed());
        }
        assert!(shared.ready().await.map(drop).unwrap_err().is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn close_drops_the_session_of_a_run_and_its_connection() {
    let token = Arc::new(());
    let inside = token.clone();
    let mut redial = Redial::new(move || ready(Ok::<_, io::Error>(inside.clone())));
    let handle = redial.handle();
    let mut future = Box::pin(redial.run(async |connection| {
        pending::<()>().await;
        drop(connection);
        Ok(ControlFlow::Break(()))
    }));
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(Arc::strong_count(&token), 3);
    handle.close();
    assert!(soon(&mut future).await.unwrap_err().is_closed());
    assert_eq!(Arc::strong_count(&token), 2);
}

// ---- watch

/// What is there to read now.
fn read(watch: &mut redial::Watch) -> Vec<Status> {
    let mut seen = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(status)) = watch.poll_next_unpin(&mut cx) {
        seen.push(status);
    }
    seen
}

/// A driver whose status changes with each call: a loss, and a connection.
fn flapping() -> (impl FnMut(u32), Handle) {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(from_fn(|_| std::iter::repeat(Duration::ZERO)));
    let handle = redial.handle();
    let flap = move |times: u32| {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..times {
            while redial.poll_ready(&mut cx).is_pending() {}
            redial.lost();
        }
    };
    (flap, handle)
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_keeps_up_misses_nothing() {
    let (mut flap, handle) = flapping();
    let mut watch = handle.watch();
    assert_eq!(read(&mut watch), [Status::Idle]);
    flap(21); // three statuses each: connecting, connected, waiting
    let words: Vec<_> = read(&mut watch).iter().map(word).collect();
    assert_eq!(words, ["connecting", "connected", "waiting"].repeat(21));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_lags_sees_the_latest_sixty_four() {
    let (mut flap, handle) = flapping();
    let mut watch = handle.watch();
    flap(1000);
    let last = handle.status();
    let seen = read(&mut watch);
    assert_eq!(seen.len(), 64);
    assert_eq!(seen.last(), Some(&last));
    drop(flap);
    assert_eq!(read(&mut watch), [Status::Closed]);
}

#[tokio::test(start_paused = true)]
async fn watchers_do_not_take_from_each_other() {
    let (mut flap, handle) = flapping();
    let (mut one, mut two) = (handle.watch(), handle.watch());
    flap(3);
    let seen = read(&mut one);
    assert_eq!(seen.len(), 10);
    drop(one);
    assert_eq!(read(&mut two), seen);
    assert_eq!(read(&mut handle.watch()), [handle.status()]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_in_a_task_of_its_own_wakes_for_each_status() {
    let (mut flap, handle) = flapping();
    let watch = handle.watch();
    let watching = tokio::spawn(watch.map(|status| word(&status)).collect::<Vec<_>>());
    for _ in 0..100 {
        flap(1);
        tokio::task::yield_now().await;
    }
    drop(flap);
    let mut expected = vec!["idle"];
    expected.extend(["connecting", "connected", "waiting"].repeat(100));
    expected.push("closed");
    assert_eq!(soon(watching).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_driver_is_closed() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())));
    let handle = redial.handle();
    let watch = handle.watch();
    redial.ready().await.unwrap();
    handle.close();
    assert!(redial.ready().await.unwrap_err().is_closed());
    let seen: Vec<_> = soon(watch.map(|status| word(&status)).collect()).await;
    assert_eq!(seen, ["idle", "connecting", "connected", "closed"]);
    assert_eq!(
        soon(handle.watch().collect::<Vec<_>>()).await,
        [Status::Closed],
        "also one that came late"
    );
    drop(redial);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_a_driver_that_gave_up_and_is_asked_again() {
    let (connector, _) = after_failures(1, Duration::ZERO);
    let mut redial = Redial::new(connector).policy(doubling()).max_attempts(1);
    let mut watch = redial.handle().watch();
    assert!(redial.ready().await.unwrap_err().is_exhausted());
    redial.ready().await.unwrap();
    let seen: Vec<_> = read(&mut watch).iter().map(word).collect();
    assert_eq!(
        seen,
        [
            "idle",
            "connecting",
            "gave up",
            "waiting",
            "connecting",
            "connected"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_handle_outlives_its_driver() {
    let redial = Redial::new(pending::<io::Result<()>>);
    let handle = redial.handle();
    drop(redial);
    handle.retry_now();
    handle.pause();
    handle.resume();
    handle.close();
    assert_eq!(handle.status(), Status::Closed);
    assert_eq!(handle.watch().collect::<Vec<_>>().await, [Status::Closed]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_made_late_shows_what_the_driver_does() {
    let (connector, _) = after_failures(1, secs(2));
    let mut redial = Redial::new(connector).policy(doubling());
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    let status = redial.handle().status();
    assert!(matches!(status, Status::Connecting { attempt: 1, .. }));

    let (connector, _) = after_failures(1, secs(0));
    let mut redial = Redial::new(connector).policy(doubling());
    assert!(timeout(secs(0), redial.ready()).await.is_err());
    let Status::Waiting {
        attempt: 2, until, ..
    } = redial.handle().status()
    else {
        panic!("{:?}", redial.handle().status());
    };
    assert_eq!(until.remaining(), secs(1));

    let (connector, _) = after_failures(0, secs(0));
    let mut redial = Redial::new(connector);
    redial.ready().await.unwrap();
    sleep(secs(5)).await;
    let Status::Connected { since, .. } = redial.handle().status() else {
        panic!("{:?}", redial.handle().status());
    };
    assert_eq!(since.elapsed(), secs(5));
}

/// One driver after the first so many steps of its life, and what a handle that
/// was made after that many says.
async fn status_after(steps: usize, handle_after: usize) -> Status {
    let bucket = TokenBucket::new(1, secs(10));
    bucket.try_take().unwrap();
    let (connector, _) = after_failures(1, secs(1));
    let mut redial = Redial::new(connector)
        .policy(doubling())
        .budget(&bucket)
        .classify(|error| match error.kind() {
            ErrorKind::PermissionDenied => Verdict::Stop,
            _ => Verdict::default(),
        });
    let mut handle = None;
    for step in 0..=steps {
        let millis = Duration::from_millis;
        match step {
            0 => {}
            1 => drop(timeout(millis(500), redial.ready()).await),
            2 => drop(timeout(millis(1000), redial.ready()).await),
            3 => drop(timeout(millis(3000), redial.ready()).await),
            4 => drop(timeout(millis(6000), redial.ready()).await),
            5 | 7 => drop(redial.ready().await.unwrap()),
            6 => redial.lost(),
            8 => redial.lost_with(ErrorKind::PermissionDenied.into()),
            9 => drop(redial.ready().await.unwrap_err()),
            _ => drop(timeout(secs(0), redial.ready()).await),
        }
        if step == handle_after {
            handle = Some(redial.handle());
        }
    }
    handle.unwrap_or_else(|| redial.handle()).status()
}

#[test]
fn a_handle_says_the_same_whenever_it_was_made() {
    let mut words = Vec::new();
    for steps in 0..=10 {
        // Each on a clock of its own, from the same instant on.
        let statuses: Vec<_> = (0..=steps)
            .map(|handle_after| {
                paused(async {
                    let zero = Instant::now();
                    let status = status_after(steps, handle_after).await;
                    let at = Instant::now() - zero;
                    // Instants by their distance from the start.
                    match status {
                        Status::Waiting { attempt, until, .. } => {
                            (word(&status), attempt, at + until.remaining())
                        }
                        Status::Connecting { attempt, .. } => (word(&status), attempt, secs(0)),
                        Status::Connected { since, .. } => (word(&status), 0, at - since.elapsed()),
                        _ => (word(&status), 0, secs(0)),
                    }
                })
            })
            .collect();
        assert!(
            statuses.iter().all(|status| status.1 == statuses[0].1
                && status.0 == statuses[0].0
                && status.2.abs_diff(statuses[0].2) < Duration::from_millis(2)),
            "after {steps} steps: {statuses:?}"
        );
        words.push(statuses[0].0);
    }
    let expected = [
        "idle",
        "connecting",
        "waiting", // for the policy
        "waiting", // for the budget
        "connecting",
        "connected",
        "waiting", // of a loss that nobody acts on yet
        "connected",
        "gave up", // and the caller has not been told yet
        "gave up",
        "gave up", // for good, until somebody asks for an attempt
    ];
    assert_eq!(words, expected);
}

#[tokio::test(start_paused = true)]
async fn an_observer_can_end_the_wait_that_it_learns_of() {
    let pressed: Arc<OnceLock<Handle>> = Arc::default();
    let handle = pressed.clone();
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        ready(if attempts > 5 { Ok(()) } else { Err(refused()) })
    })
    .policy(doubling())
    .observe(move |event| {
        if let (Event::Waiting { .. }, Some(handle)) = (event, handle.get()) {
            handle.retry_now();
        }
    });
    pressed.set(redial.handle()).unwrap();
    let start = Instant::now();
    redial.ready().await.unwrap();
    // The waits would be 31 s long together.
    assert_eq!(start.elapsed().as_secs(), 5, "an attempt each second");
}

#[tokio::test(start_paused = true)]
async fn a_handle_shows_that_the_driver_gave_up_although_the_observer_panics_at_it() {
    let mut redial = Redial::new(|| ready(Err::<(), _>(refused())))
        .policy(doubling())
        .max_attempts(1)
        .observe(|event| assert!(!matches!(event, Event::GaveUp { .. }), "on purpose"));
    let handle = redial.handle();
    let outcome = AssertUnwindSafe(redial.ready()).catch_unwind().await;
    assert!(outcome.is_err(), "the observer panicked");
    assert_eq!(word(&handle.status()), "gave up");
}
