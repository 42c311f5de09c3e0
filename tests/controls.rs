//! Does each control do what a person presses it for: in every phase, for every
//! wrapper, and not more than that?

mod statistics;

use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use redial::{
    Event, Handle, Jitter, Next, Outage, Reason, Redial, Sequence, SessionEvent, Status,
    TokenBucket, Verdict, WaitsFor,
};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use statistics::Uniform;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn refused() -> io::Error {
    ErrorKind::ConnectionRefused.into()
}

/// Anything that takes longer hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(100_000), future).await.expect("it hangs")
}

/// Lets `future` run for so long.
async fn run_for<F: Future + Unpin>(time: Duration, future: F) {
    assert!(timeout(time, future).await.is_err(), "it is not ready");
}

/// How an attempt goes.
#[derive(Clone, Copy)]
enum Answer {
    Up,
    Refused,
    /// Until it is dropped.
    Hangs,
    After(Duration),
}
use Answer::{After, Hangs, Refused, Up};

/// What a server saw.
#[derive(Clone, Default)]
struct Seen {
    attempts: Arc<Mutex<Vec<Instant>>>,
    /// The attempts that are in flight.
    flying: Arc<AtomicUsize>,
    /// The connections that are up.
    up: Arc<AtomicUsize>,
}

impl Seen {
    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }

    /// When the last attempt began.
    fn last(&self) -> Instant {
        *self.attempts.lock().unwrap().last().unwrap()
    }

    fn alive(&self) -> (usize, usize) {
        (self.flying.load(SeqCst), self.up.load(SeqCst))
    }
}

/// One more of something that is alive, until it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// A connector whose attempts go like this; the last answer repeats.
fn server(answers: &[Answer]) -> (impl FnMut() -> Attempt<Arc<Alive>> + use<>, Seen) {
    let seen = Seen::default();
    let (server, answers) = (seen.clone(), answers.to_vec());
    let connector = move || {
        let number = server.attempts();
        server.attempts.lock().unwrap().push(Instant::now());
        let answer = answers[number.min(answers.len() - 1)];
        let flying = Alive::one_more(&server.flying);
        assert_eq!(server.flying.load(SeqCst), 1, "two attempts at once");
        let up = server.up.clone();
        Box::pin(async move {
            let _flying = flying;
            match answer {
                Up => {}
                Refused => return Err(refused()),
                Hangs => pending().await,
                After(time) => sleep(time).await,
            }
            Ok(Arc::new(Alive::one_more(&up)))
        }) as _
    };
    (connector, seen)
}

/// Always the same wait: longer than any test of one press.
fn long_waits() -> Sequence {
    Sequence::new([HOUR]).jitter(Jitter::None)
}

fn waits(handle: &Handle) -> WaitsFor {
    let Status::Waiting { by, .. } = handle.status() else {
        panic!("{:?}", handle.status());
    };
    by
}

// ---- an attempt that is stuck

#[tokio::test(start_paused = true)]
async fn a_press_begins_a_stuck_attempt_anew() {
    for press in [
        Handle::retry_now,
        Handle::resume,
        Handle::network_changed,
        Handle::reconnect,
    ] {
        let (connector, seen) = server(&[Hangs, Up]);
        let mut redial = Redial::new(connector).policy(long_waits());
        let handle = redial.handle();
        let mut future = pin!(redial.ready());
        run_for(secs(7), &mut future).await;
        press(&handle);
        let pressed = Instant::now();
        soon(future).await.unwrap();
        assert!(pressed.elapsed() <= millis(1001), "{:?}", pressed.elapsed());
        assert_eq!((seen.attempts(), seen.alive()), (2, (0, 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_who_presses_waits_for_nothing() {
    let (connector, _) = server(&[Hangs, Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(1), &mut future).await;
    handle.retry_now();
    let pressed = Instant::now();
    future.await.unwrap();
    assert_eq!(pressed.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_press_leaves_an_attempt_that_has_just_begun() {
    let (connector, seen) = server(&[After(millis(1900))]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(millis(900), &mut future).await;
    for _ in 0..1000 {
        handle.retry_now();
        handle.resume();
    }
    soon(future).await.unwrap();
    assert_eq!(seen.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_ready_when_the_press_is_seen_is_kept() {
    let (connector, seen) = server(&[After(secs(5))]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    {
        let mut future = pin!(redial.ready());
        run_for(secs(4), &mut future).await;
    }
    // Nobody polls it while it gets ready.
    sleep(secs(2)).await;
    handle.retry_now();
    redial.ready().await.unwrap();
    assert_eq!(seen.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_press_ended_is_counted() {
    let (connector, _) = server(&[Hangs]);
    let mut redial = Redial::new(connector).max_attempts(2);
    let handle = redial.handle();
    let pressing = async {
        loop {
            sleep(millis(100)).await;
            handle.retry_now();
        }
    };
    let error = tokio::select! {
        result = redial.ready() => result.map(drop).unwrap_err(),
        () = pressing => unreachable!("it presses for ever"),
    };
    assert_eq!(
        (error.attempts(), error.reason()),
        (2, Some(Reason::MaxAttempts))
    );
}

// ---- how often

#[tokio::test(start_paused = true)]
async fn presses_at_each_wait_make_one_attempt_a_second() {
    for press in [
        Handle::retry_now,
        Handle::network_changed,
        Handle::reconnect,
    ] {
        let (connector, seen) = server(&[Refused]);
        let mut redial = Redial::new(connector).policy(long_waits());
        let (handle, mut watch) = (redial.handle(), redial.handle().watch());
        let pressing = async {
            while let Some(status) = watch.next().await {
                if let Status::Waiting { .. } = status {
                    press(&handle);
                }
            }
        };
        let living = async { tokio::join!(redial.ready(), pressing) };
        assert!(timeout(millis(9999), living).await.is_err());
        // At 0, 1, 2, … 9 s, or later.
        assert!((2..=10).contains(&seen.attempts()), "{}", seen.attempts());
    }
}

#[tokio::test(start_paused = true)]
async fn the_interval_of_presses_can_be_set() {
    let (connector, seen) = server(&[Refused]);
    let mut redial = Redial::new(connector)
        .policy(long_waits())
        .press_interval(millis(250));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    for _ in 0..100 {
        run_for(millis(20), &mut future).await;
        handle.retry_now();
    }
    // At 0, 250, 500, … 2000 ms.
    assert_eq!(seen.attempts(), 9);
}

// ---- resume

#[tokio::test(start_paused = true)]
async fn clients_that_resume_together_are_spread_over_a_second() {
    const CLIENTS: usize = 2000;
    for hold in [Handle::pause, Handle::suspend] {
        let came = Arc::new(Mutex::new(Vec::new()));
        let mut handles = Vec::new();
        for seed in 0..CLIENTS {
            let came = came.clone();
            let mut redial = Redial::new(move || {
                came.lock().unwrap().push(Instant::now());
                ready(Ok::<(), io::Error>(()))
            })
            .seed(seed as u64 * 7919);
            handles.push(redial.handle());
            tokio::spawn(async move { redial.ready().await.map(drop) });
        }
        handles.iter().for_each(hold);
        sleep(secs(60)).await;
        assert!(came.lock().unwrap().is_empty(), "they are held");
        let resumed = Instant::now();
        handles.iter().for_each(Handle::resume);
        sleep(secs(2)).await;
        let came = came.lock().unwrap();
        assert_eq!(came.len(), CLIENTS);
        // Tokio's timer rounds up to a millisecond.
        let draws = came.iter().map(|at| (*at - resumed).as_secs_f64() / 1.001);
        Uniform::with_step(draws, 0.001)
            .ks()
            .holds("resumed together");
    }
}

#[tokio::test(start_paused = true)]
async fn resuming_keeps_the_time_that_the_server_asked_for() {
    for verdict in [Verdict::RetryAfter(HOUR), Verdict::Slot(HOUR)] {
        for hold in [Handle::pause, Handle::suspend] {
            let (connector, seen) = server(&[Refused, Up]);
            let mut redial = Redial::new(connector)
                .policy(Sequence::new([millis(1)]))
                .classify(move |_| verdict);
            let handle = redial.handle();
            let start = Instant::now();
            let mut future = pin!(redial.ready());
            for _ in 0..20 {
                run_for(secs(10), &mut future).await;
                hold(&handle);
                run_for(secs(10), &mut future).await;
                handle.resume();
                handle.network_changed();
                handle.reconnect();
            }
            assert_eq!(seen.attempts(), 1, "twenty presses");
            soon(future).await.unwrap();
            let spread = match verdict {
                Verdict::Slot(_) => secs(1),
                _ => HOUR,
            };
            let took = start.elapsed();
            assert!(took >= HOUR && took < HOUR + spread, "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_need_not_wait_for_the_server() {
    let (connector, seen) = server(&[Refused, Up]);
    let mut redial = Redial::new(connector).classify(|_| Verdict::RetryAfter(HOUR));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(10), &mut future).await;
    assert_eq!(waits(&handle), WaitsFor::Server);
    handle.retry_now();
    future.await.unwrap();
    assert_eq!(seen.attempts(), 2);
}

/// C5: a hold that nobody noticed changes nothing, not even a server's time.
#[tokio::test(start_paused = true)]
async fn held_and_resumed_in_one_poll_keeps_the_place_in_the_wait() {
    for hold in [Handle::pause, Handle::suspend] {
        let (connector, seen) = server(&[Refused, Up]);
        let mut redial = Redial::new(connector).policy(long_waits());
        let handle = redial.handle();
        let start = Instant::now();
        let mut future = pin!(redial.ready());
        for _ in 0..100 {
            run_for(secs(1), &mut future).await;
            hold(&handle);
            handle.resume();
        }
        soon(future).await.unwrap();
        assert_eq!((seen.attempts(), start.elapsed().as_secs()), (2, 3600));
    }
}

// ---- the network has changed

/// C3: events come in bursts.
#[tokio::test(start_paused = true)]
async fn a_burst_of_network_changes_makes_two_attempts() {
    let (connector, seen) = server(&[Refused]);
    let mut redial = Redial::new(connector).policy(long_waits());
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(60), &mut future).await;
    let burst = Instant::now();
    for _ in 0..100 {
        handle.network_changed();
        run_for(millis(40), &mut future).await;
    }
    assert_eq!(seen.attempts(), 2, "one within a second");
    assert!(seen.last() - burst <= millis(1001));
    run_for(secs(60), &mut future).await;
    assert_eq!(seen.attempts(), 3, "and one after the burst");
    let second = seen.last() - burst;
    assert!((secs(5)..=millis(6001)).contains(&second), "{second:?}");
    // Later changes are not folded into that.
    handle.network_changed();
    run_for(secs(2), &mut future).await;
    assert_eq!(seen.attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_an_attempt_began_ends_that_attempt() {
    // Wi-Fi goes down: an attempt, which hangs. Two seconds later mobile data is
    // there.
    let (connector, seen) = server(&[Refused, Hangs, Up]);
    let mut redial = Redial::new(connector).policy(long_waits());
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(60), &mut future).await;
    let down = Instant::now();
    handle.network_changed();
    run_for(secs(2), &mut future).await;
    assert_eq!(seen.alive(), (1, 0));
    handle.network_changed();
    soon(future).await.unwrap();
    assert!(down.elapsed() <= millis(6001), "{:?}", down.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_network_change_leaves_a_connection_alone() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector).policy(long_waits());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    for _ in 0..100 {
        handle.network_changed();
        redial.ready().await.unwrap();
    }
    assert_eq!((seen.attempts(), seen.alive()), (1, (0, 1)));
    // Nor is it stored for the next outage.
    redial.lost();
    let mut future = pin!(redial.ready());
    run_for(secs(1), &mut future).await;
    assert_eq!(handle.status().why().unwrap().elapsed(), secs(1));
}

#[test]
fn the_policy_begins_anew_after_a_network_change_and_the_limits_go_on() {
    let at = Duration::from_secs;
    let waits = Sequence::new([at(1), at(10), at(100)]).jitter(Jitter::None);
    let mut outage = Outage::from_seed(waits, 7).max_attempts(6);
    let down = Verdict::default();
    assert_eq!(outage.lost(at(1000)), Next::Wait(at(1)));
    assert_eq!(outage.failed(at(1001), down), Next::Wait(at(10)));
    assert_eq!(outage.failed(at(1011), down), Next::Wait(at(100)));
    outage.network_changed(at(1050));
    assert_eq!(outage.failed(at(1051), down), Next::Wait(at(1)));
    assert_eq!(outage.failed(at(1052), down), Next::Wait(at(10)));
    // In the middle of an attempt, too.
    outage.connecting(at(1060));
    outage.network_changed(at(1061));
    assert_eq!(outage.failed(at(1062), down), Next::Wait(at(1)));
    assert_eq!((outage.attempts(), outage.elapsed(at(1062))), (5, at(62)));
    assert_eq!(
        outage.failed(at(1063), down),
        Next::GiveUp(Reason::MaxAttempts)
    );
    // A new outage begins at its own beginning.
    outage.reset();
    assert_eq!(outage.lost(at(2000)), Next::Wait(at(1)));
    outage.network_changed(at(2001));
    outage.connected(at(2002));
    assert_eq!(outage.lost(at(3000)), Next::Wait(at(1)));
    assert_eq!(outage.failed(at(3001), down), Next::Wait(at(10)));
}

// ---- losses from elsewhere

#[tokio::test(start_paused = true)]
async fn a_loss_that_a_handle_reports_ends_the_present_connection() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    for generation in 1..=5 {
        redial.ready().await.unwrap();
        let Status::Connected {
            generation: present,
            ..
        } = handle.status()
        else {
            panic!("{:?}", handle.status());
        };
        assert_eq!(present, generation);
        handle.lost();
        assert!(redial.get_mut().is_none());
        assert_eq!(seen.alive(), (0, 0));
    }
}

/// C2: news from the past.
#[tokio::test(start_paused = true)]
async fn a_late_report_of_a_loss_does_nothing() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.lost(); // of the first connection, which is lost before anybody looks
    redial.lost();
    soon(redial.ready()).await.unwrap();
    for stale in [0, 1, 3] {
        handle.lost_if(stale, Verdict::Stop);
        redial.ready().await.unwrap();
    }
    assert_eq!((seen.attempts(), seen.alive()), (2, (0, 1)));
    handle.lost_if(2, Verdict::default());
    soon(redial.ready()).await.unwrap();
    assert_eq!(seen.attempts(), 3);
    // Without a connection there is nothing to lose.
    redial.lost();
    handle.lost_as(Verdict::Stop);
    soon(redial.ready()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_report_of_a_loss_can_say_what_it_means() {
    let (connector, _) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.lost_as(Verdict::Stop);
    assert!(redial.ready().await.map(drop).unwrap_err().is_stopped());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_handed_over_can_be_reported_too() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    let _taken = redial.connect().await.unwrap();
    handle.lost_as(Verdict::Slot(secs(77)));
    let lost = Instant::now();
    let _taken = soon(redial.connect()).await.unwrap();
    assert_eq!((lost.elapsed().as_secs(), seen.attempts()), (77, 2));
}

// ---- reconnect

#[tokio::test(start_paused = true)]
async fn reconnecting_replaces_a_connection_within_a_second() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector).policy(long_waits());
    let handle = redial.handle();
    for attempts in 2..20 {
        redial.ready().await.unwrap();
        sleep(secs(2)).await;
        handle.reconnect();
        let pressed = Instant::now();
        soon(redial.ready()).await.unwrap();
        assert!(pressed.elapsed() <= millis(1001));
        assert_eq!((seen.attempts(), seen.alive()), (attempts, (0, 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn reconnecting_while_paused_drops_the_connection_and_holds_the_attempt() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.pause();
    handle.reconnect();
    let mut future = pin!(redial.ready());
    run_for(HOUR, &mut future).await;
    assert_eq!((seen.attempts(), seen.alive()), (1, (0, 0)));
    handle.resume();
    soon(future).await.unwrap();
}

// ---- suspend

/// C5: in each phase of a driver.
#[tokio::test(start_paused = true)]
async fn a_suspended_driver_holds_nothing_and_opens_again() {
    for answers in [
        &[Hangs, Up][..],
        &[Refused, Up],
        &[Up, Up],
        &[After(secs(2)), Up],
    ] {
        for at in [millis(0), millis(1), millis(1500), secs(3)] {
            let (connector, seen) = server(answers);
            let mut redial = Redial::new(connector).policy(long_waits());
            let handle = redial.handle();
            let mut living = pin!(async move {
                loop {
                    redial.ready().await.unwrap();
                    // As a user who polls it now and then.
                    sleep(millis(10)).await;
                }
            });
            run_for(at, living.as_mut()).await;
            let attempts = seen.attempts();
            handle.suspend();
            run_for(HOUR, living.as_mut()).await;
            assert_eq!((seen.attempts(), seen.alive()), (attempts, (0, 0)));
            assert!(matches!(handle.status(), Status::Suspended { .. }));
            handle.retry_now();
            handle.network_changed();
            handle.reconnect();
            handle.lost();
            run_for(HOUR, living.as_mut()).await;
            assert_eq!(seen.attempts(), attempts, "only resume opens it");
            let resumed = Instant::now();
            handle.resume();
            run_for(secs(10), living.as_mut()).await;
            assert_eq!((seen.attempts(), seen.alive()), (attempts + 1, (0, 1)));
            assert!(seen.last() - resumed <= millis(1001));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspension_is_no_loss_and_its_attempt_is_not_counted() {
    let (connector, _) = server(&[Hangs, Hangs, Hangs, Up]);
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = events.clone();
    let mut redial = Redial::new(connector)
        .max_attempts(1)
        .observe(move |event| {
            log.lock().unwrap().push(match event {
                Event::Connecting { attempt, .. } => format!("attempt {attempt}"),
                Event::Suspended => "suspended".into(),
                other => format!("{other:?}"),
            });
        });
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    for _ in 0..3 {
        run_for(secs(3), &mut future).await;
        handle.suspend();
        run_for(secs(3), &mut future).await;
        handle.resume();
    }
    soon(future).await.unwrap();
    let mut expected = ["attempt 1", "suspended"].repeat(3);
    expected.push("attempt 1");
    expected.push("Connected { attempt: 1, elapsed: 0ns }");
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn closing_a_suspended_driver_is_final() {
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.suspend();
    handle.close();
    handle.resume();
    assert!(redial.ready().await.map(drop).unwrap_err().is_closed());
    assert_eq!((seen.attempts(), seen.alive()), (1, (0, 0)));
}

// ---- the wrappers

/// What ends a connection from a handle.
const ENDINGS: [fn(&Handle); 3] = [Handle::lost, Handle::reconnect, |handle| {
    handle.suspend();
    let handle = handle.clone();
    tokio::spawn(async move {
        sleep(secs(1)).await;
        handle.resume();
    });
}];

#[tokio::test(start_paused = true)]
async fn a_run_gets_another_session_when_a_handle_ends_the_present_one() {
    for end in ENDINGS {
        let (connector, seen) = server(&[Up]);
        let mut redial = Redial::new(connector);
        let handle = redial.handle();
        let mut sessions = 0;
        let running = redial.run(async |_alive| {
            sessions += 1;
            if sessions < 5 {
                pending::<()>().await;
            }
            Ok(ControlFlow::Break(sessions))
        });
        let pressing = async {
            loop {
                sleep(secs(60)).await;
                end(&handle);
            }
        };
        let sessions = tokio::select! {
            result = running => result.unwrap(),
            () = pressing => unreachable!("it presses for ever"),
        };
        assert_eq!((sessions, seen.attempts(), seen.alive()), (5, 5, (0, 0)));
    }
}

type Lines = Framed<DuplexStream, LinesCodec>;
type FarEnds = Arc<Mutex<Vec<DuplexStream>>>;

/// A connector, and the far ends of its connections.
fn lines() -> (
    impl FnMut() -> std::future::Ready<Result<Lines, LinesCodecError>>,
    FarEnds,
) {
    let far = FarEnds::default();
    let ends = far.clone();
    let connector = move || {
        let (near, far) = duplex(64);
        ends.lock().unwrap().push(far);
        ready(Ok(Framed::new(near, LinesCodec::new())))
    };
    (connector, far)
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_down_and_up_when_a_handle_ends_its_connection() {
    for end in ENDINGS {
        let (connector, far) = lines();
        let mut session = Redial::new(connector).into_session();
        let handle = session.handle();
        for connections in 1..5 {
            let event = soon(session.next()).await.unwrap().unwrap();
            assert!(matches!(event, SessionEvent::Up), "{event:?}");
            let reader = tokio::spawn(async move {
                let event = soon(session.next()).await.unwrap().unwrap();
                (event, session)
            });
            sleep(secs(60)).await;
            end(&handle);
            let (event, back) = reader.await.unwrap();
            session = back;
            assert!(
                matches!(event, SessionEvent::Down { error: None, .. }),
                "{event:?}"
            );
            assert_eq!(far.lock().unwrap().len(), connections);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_bytes_gets_a_reset_when_a_handle_ends_its_connection() {
    for end in ENDINGS {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let far = ends.clone();
        let mut io = Redial::new(move || {
            let (near, far_end) = duplex(64);
            far.lock().unwrap().push(far_end);
            ready(Ok::<_, io::Error>(near))
        })
        .into_io();
        let handle = io.handle();
        for connections in 1..5 {
            let reader = tokio::spawn(async move {
                let error = soon(io.read_u8()).await.unwrap_err();
                (error.kind(), io)
            });
            sleep(secs(60)).await;
            end(&handle);
            let (kind, back) = reader.await.unwrap();
            io = back;
            assert_eq!(kind, ErrorKind::ConnectionReset);
            assert_eq!(
                (io.generation(), ends.lock().unwrap().len()),
                (connections, connections as usize)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_is_replaced_when_a_handle_ends_it() {
    for end in ENDINGS {
        let (connector, seen) = server(&[Up]);
        let shared = Redial::new(connector).into_shared();
        let handle = shared.handle();
        for generation in 1..5 {
            let lent = soon(shared.ready()).await.unwrap();
            assert_eq!(lent.generation(), generation);
            drop(lent);
            sleep(secs(60)).await;
            end(&handle);
            assert!(shared.get().is_none());
            assert_eq!(seen.alive(), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_and_its_wrapper_count_connections_alike() {
    let generation = |handle: &Handle| match handle.status() {
        Status::Connected { generation, .. } => generation,
        status => panic!("{status:?}"),
    };
    // The handle is made late.
    let (connector, _) = server(&[Up]);
    let shared = Redial::new(connector).into_shared();
    for _ in 0..3 {
        soon(shared.ready()).await.unwrap().lost();
    }
    let lent = soon(shared.ready()).await.unwrap();
    assert_eq!((lent.generation(), generation(&shared.handle())), (4, 4));
    // The wrapper is made late.
    let (connector, _) = server(&[Up]);
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    for _ in 0..3 {
        soon(redial.ready()).await.unwrap();
        redial.lost();
    }
    soon(redial.ready()).await.unwrap();
    let shared = redial.into_shared();
    assert_eq!(shared.get().unwrap().generation(), 4);
    shared.get().unwrap().lost();
    let lent = soon(shared.ready()).await.unwrap();
    assert_eq!((lent.generation(), generation(&handle)), (5, 5));
}

// ---- healed

#[tokio::test(start_paused = true)]
async fn sessions_that_did_their_work_are_followed_by_first_waits() {
    let mut lasted = Vec::new();
    for say_so in [true, false] {
        let mut redial = Redial::new(|| ready(Ok::<(), io::Error>(()))).seed(5);
        let handle = redial.handle();
        let start = Instant::now();
        let mut sessions = 0;
        redial
            .run(async |()| {
                sessions += 1;
                sleep(secs(1)).await;
                if say_so {
                    handle.healed();
                }
                Ok(if sessions == 15 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })
            .await
            .unwrap();
        lasted.push(start.elapsed());
    }
    // Fifteen sessions of a second, and waits of at most a second between them.
    assert!(lasted[0] <= secs(15 + 14) + millis(14), "{lasted:?}");
    assert!(lasted[1] > secs(100), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_healed_by_its_own_report_only() {
    let waits = Sequence::new([secs(1), secs(50)]).jitter(Jitter::None);
    let (connector, _) = server(&[Up]);
    let mut redial = Redial::new(connector).policy(waits);
    let handle = redial.handle();
    handle.healed(); // nothing is up
    redial.ready().await.unwrap();
    redial.lost();
    redial.healed(); // nothing is up
    soon(redial.ready()).await.unwrap();
    let lost = Instant::now();
    redial.lost();
    soon(redial.ready()).await.unwrap();
    assert_eq!(lost.elapsed().as_secs(), 50, "the outage went on");
    handle.healed();
    let lost = Instant::now();
    redial.lost();
    soon(redial.ready()).await.unwrap();
    assert_eq!(lost.elapsed().as_secs(), 1, "it was over");
    redial.healed();
    let lost = Instant::now();
    redial.lost();
    soon(redial.ready()).await.unwrap();
    assert_eq!(lost.elapsed().as_secs(), 1);
}

// ---- what is shown

#[tokio::test(start_paused = true)]
async fn the_status_says_why_there_is_no_connection() {
    let bucket = TokenBucket::new(1, HOUR);
    bucket.try_take().unwrap();
    let (connector, _) = server(&[Refused, Hangs, Refused]);
    let mut attempts = 0;
    let mut redial = Redial::new(connector)
        .policy(Sequence::new([secs(10)]).jitter(Jitter::None))
        .attempt_timeout(secs(7))
        .classify(move |_| {
            attempts += 1;
            if attempts == 1 {
                Verdict::Slot(secs(20))
            } else {
                Verdict::Stop
            }
        });
    let handle = redial.handle();
    assert_eq!(handle.status(), Status::Idle);
    {
        let mut future = pin!(redial.ready());
        run_for(secs(5), &mut future).await;
    }
    let status = handle.status();
    let why = status.why().unwrap();
    assert_eq!(waits(&handle), WaitsFor::Server);
    assert_eq!(why.error(), Some("connection refused"));
    assert_eq!(why.verdict(), Some(Verdict::Slot(secs(20))));
    assert_eq!(why.elapsed(), secs(5));
    // The next attempt hangs.
    {
        let mut future = pin!(redial.ready());
        run_for(secs(25), &mut future).await;
    }
    let status = handle.status();
    assert_eq!(waits(&handle), WaitsFor::Policy);
    assert_eq!(status.why().unwrap().error(), Some("timed out after 7s"));
    let mut redial = redial.budget(&bucket);
    {
        let mut future = pin!(redial.ready());
        run_for(secs(10), &mut future).await;
        assert_eq!(waits(&handle), WaitsFor::Budget);
        handle.pause();
        run_for(secs(1), &mut future).await;
        let status = handle.status();
        assert!(matches!(status, Status::Paused { .. }));
        assert_eq!(status.why().unwrap().elapsed(), secs(41));
        handle.resume();
    }
    let error = soon(redial.ready()).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Stopped));
    sleep(HOUR).await;
    let status = handle.status();
    assert!(status.why().unwrap().elapsed() < 2 * HOUR, "it is over");
    assert!(matches!(
        status,
        Status::GaveUp {
            reason: Reason::Stopped,
            ..
        }
    ));
    assert_eq!(status.why().unwrap().error(), Some("connection refused"));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_any_type_can_be_described() {
    struct Opaque(u8);
    let mut redial = Redial::new(|| ready(Err::<(), _>(Opaque(7))));
    let handle = redial.handle();
    {
        let mut future = pin!(redial.ready());
        run_for(millis(1), &mut future).await;
    }
    assert_eq!(handle.status().why().unwrap().error(), None);
    let mut redial = redial.describe(|error| format!("code {}", error.0));
    {
        let mut future = pin!(redial.ready());
        run_for(secs(60), &mut future).await;
    }
    assert_eq!(handle.status().why().unwrap().error(), Some("code 7"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_says_how_long_the_outage_was_and_how_many_attempts_it_took() {
    let (connector, _) = server(&[Refused, Refused, After(secs(3))]);
    let seen = Arc::new(Mutex::new(None));
    let log = seen.clone();
    let mut redial = Redial::new(connector)
        .policy(Sequence::new([secs(10)]).jitter(Jitter::None))
        .observe(move |event| {
            if let Event::Connected {
                attempt, elapsed, ..
            } = event
            {
                *log.lock().unwrap() = Some((*attempt, elapsed.as_secs()));
            }
        });
    redial.ready().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some((3, 23)));
}

// ---- a deadline

#[tokio::test(start_paused = true)]
async fn an_attempt_in_flight_ends_at_the_limit_of_the_outage() {
    let (connector, seen) = server(&[Hangs]);
    let start = Instant::now();
    let mut redial = Redial::new(connector).max_elapsed(secs(30)).seed(3);
    let error = soon(redial.ready()).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::MaxElapsed));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!((error.elapsed().as_secs(), seen.alive()), (30, (0, 0)));
    // And so says the error.
    let last = error.timed_out().unwrap();
    assert!(last > Duration::ZERO && last < secs(21), "{last:?}");
    let text = error.to_string();
    assert!(
        text.contains(": no time is left; the last attempt timed out after "),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_after_the_limit_has_its_whole_time() {
    let (connector, seen) = server(&[Refused, After(secs(10))]);
    let mut redial = Redial::new(connector)
        .max_elapsed(secs(30))
        .policy(Sequence::new([secs(5)]).jitter(Jitter::None));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(1), &mut future).await;
    handle.pause();
    run_for(secs(60), &mut future).await;
    handle.resume();
    soon(future).await.unwrap();
    assert_eq!(seen.attempts(), 2);
}

#[test]
fn the_timeout_of_an_attempt_is_what_is_left_of_the_outage() {
    let at = Duration::from_secs;
    let waits = Sequence::new([at(1)]).jitter(Jitter::None);
    let mut outage = Outage::from_seed(waits, 1)
        .attempt_timeout(at(13))
        .max_elapsed(at(30));
    assert_eq!(outage.connecting(at(100)), at(13));
    let _ = outage.failed(at(113), Verdict::default());
    assert_eq!(outage.connecting(at(114)), at(13));
    let _ = outage.failed(at(120), Verdict::default());
    assert_eq!(outage.connecting(at(121)), at(9));
    assert_eq!(
        outage.failed(at(130), Verdict::Slot(at(0))),
        Next::GiveUp(Reason::MaxElapsed)
    );
    assert_eq!(outage.elapsed(at(500)), at(30), "it stands still");
}

/// A dial that ends with the outage leaves no time for the login.
#[test]
fn a_limit_that_is_over_when_the_phase_changes_ends_the_attempt() {
    let at = Duration::from_secs;
    let new = || {
        Outage::from_seed(Sequence::new([at(1)]), 1)
            .attempt_timeout(at(13))
            .max_elapsed(at(10))
    };
    let mut first = new();
    assert_eq!(first.dialing(at(100)), at(5));
    assert_eq!(first.established(at(110)), at(0));
    let mut later = new();
    let _ = later.failed(at(0), Verdict::default());
    assert_eq!(later.dialing(at(8)), at(2));
    assert_eq!(later.established(at(12)), at(0));
    // An attempt that begins after the limit has its whole time.
    let mut late = new();
    let _ = late.failed(at(0), Verdict::default());
    assert_eq!(late.dialing(at(10)), at(5));
    assert_eq!(late.established(at(12)), at(13));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_can_be_seen_in_the_final_error() {
    let (connector, _) = server(&[Hangs]);
    let mut redial = Redial::new(connector)
        .attempt_timeout(secs(13))
        .max_attempts(1);
    let error = soon(redial.ready()).await.map(drop).unwrap_err();
    assert_eq!(error.timed_out(), Some(secs(13)));
    assert_eq!(
        error.to_string(),
        "gave up after 1 attempt in 13s: no attempts are left; the last attempt timed out after 13s"
    );
}

// ---- the first connect

/// C6: starting together is a storm, too.
#[tokio::test(start_paused = true)]
async fn clients_that_start_together_can_be_spread() {
    const CLIENTS: usize = 2000;
    let came = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    for seed in 0..CLIENTS {
        let came = came.clone();
        let mut redial = Redial::new(move || {
            came.lock().unwrap().push(Instant::now());
            ready(Ok::<(), io::Error>(()))
        })
        .spread_first(secs(60))
        .seed(seed as u64 * 7919);
        tokio::spawn(async move { redial.ready().await.map(drop) });
    }
    sleep(secs(61)).await;
    let came = came.lock().unwrap();
    let draws = came.iter().map(|at| (*at - start).as_secs_f64() / 60.001);
    Uniform::with_step(draws, 0.001 / 60.0)
        .ks()
        .holds("started together");
    assert_eq!(came.len(), CLIENTS);
}

#[tokio::test(start_paused = true)]
async fn the_wait_before_the_first_connect_is_shown_and_a_press_ends_it() {
    let bucket = TokenBucket::new(1, HOUR);
    let (connector, seen) = server(&[Up]);
    let mut redial = Redial::new(connector)
        .spread_first(HOUR)
        .max_elapsed(secs(1))
        .budget(&bucket);
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(10), &mut future).await;
    assert_eq!(waits(&handle), WaitsFor::Spread);
    assert_eq!(seen.attempts(), 0);
    handle.retry_now();
    let pressed = Instant::now();
    future.await.unwrap();
    assert_eq!(pressed.elapsed(), Duration::ZERO);
    bucket.try_take().expect("the first connect is free");
}

#[tokio::test(start_paused = true)]
async fn the_first_connect_can_pay_the_budget() {
    let bucket = TokenBucket::new(10, secs(1));
    let start = Instant::now();
    let clients = (0..30).map(|_| {
        let mut redial = Redial::new(|| ready(Ok::<(), io::Error>(())))
            .budget(&bucket)
            .pay_first();
        async move {
            redial.ready().await.unwrap();
            start.elapsed().as_secs()
        }
    });
    let mut came = futures::future::join_all(clients).await;
    came.sort_unstable();
    let expected: Vec<u64> = [0; 10].into_iter().chain(1..=20).collect();
    assert_eq!(came, expected);
}
