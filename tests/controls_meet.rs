//! What happens where two presses meet, or a press and what the program does in the
//! same moment?

mod quiet;

use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use redial::{
    Event, Handle, Jitter, Redial, Sequence, SessionEvent, Shared, Status, TokenBucket, Verdict,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use quiet::Quiet;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn denied() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

fn refused() -> io::Error {
    ErrorKind::ConnectionRefused.into()
}

fn hour() -> Sequence {
    Sequence::new([HOUR]).jitter(Jitter::None)
}

async fn run_for<F: Future + Unpin>(time: Duration, future: F) {
    assert!(timeout(time, future).await.is_err(), "it is not ready");
}

type Attempts = Arc<Mutex<Vec<Instant>>>;

/// A connector whose attempts are refused, and its attempts.
fn refusing() -> (impl FnMut() -> std::future::Ready<io::Result<()>>, Attempts) {
    let attempts = Attempts::default();
    let log = attempts.clone();
    let connector = move || {
        log.lock().unwrap().push(Instant::now());
        ready(Err(refused()))
    };
    (connector, attempts)
}

type FarEnds = Arc<Mutex<Vec<DuplexStream>>>;

fn bytes() -> (
    impl FnMut() -> std::future::Ready<io::Result<DuplexStream>>,
    FarEnds,
) {
    let far = FarEnds::default();
    let ends = far.clone();
    let connector = move || {
        let (near, far) = duplex(1000);
        ends.lock().unwrap().push(far);
        ready(Ok(near))
    };
    (connector, far)
}

type Lines = Framed<DuplexStream, LinesCodec>;

fn lines() -> (
    impl FnMut() -> std::future::Ready<Result<Lines, LinesCodecError>>,
    FarEnds,
) {
    let (mut bytes, far) = bytes();
    let connector = move || {
        let near = bytes().into_inner().expect("it connects");
        ready(Ok(Framed::new(near, LinesCodec::new())))
    };
    (connector, far)
}

// ---- a look at the connection

#[tokio::test(start_paused = true)]
async fn a_look_at_a_connection_that_a_handle_has_ended_hides_no_seam() {
    let (connector, far) = bytes();
    let mut io = Redial::new(connector).into_io();
    let handle = io.handle();
    io.write_all(b"abc").await.unwrap();
    handle.lost();
    assert!(io.get_mut().is_none());
    let error = io.write_all(b"def").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(far.lock().unwrap().len(), 1);

    let (connector, _far) = lines();
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    assert!(session.next().now_or_never().is_none());
    session.feed("x").await.unwrap();
    handle.lost();
    assert!(session.get_mut().is_none());
    let event = session.next().now_or_never();
    assert!(matches!(event, Some(Some(Ok(SessionEvent::Down { .. })))));
    assert_eq!(session.feed("y").await.unwrap_err().lost(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closing_session_whose_connection_a_handle_ends_does_not_dial_again() {
    let (connector, far) = lines();
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    session.next().await.unwrap().unwrap();
    SinkExt::<&str>::close(&mut session).await.unwrap();
    handle.lost();
    assert!(session.get_mut().is_none());
    while timeout(HOUR, session.next())
        .await
        .expect("it ends")
        .is_some()
    {}
    assert_eq!(far.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_driver_whose_connection_is_gone_is_not_up() {
    let (connector, far) = lines();
    let mut redial = Redial::new(connector);
    let _handle = redial.handle();
    drop(redial.connect().await.unwrap());
    redial.lost();
    let mut session = redial.into_session();
    assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    assert_eq!(far.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_takes_for_ever_ends_with_its_connection() {
    for end in [Handle::lost, Handle::suspend, Handle::close] {
        let polls = Arc::new(AtomicUsize::new(0));
        let quiet = Quiet::new((), &polls);
        let mut io = Redial::new(move || ready(Ok::<_, io::Error>(quiet.clone()))).into_io();
        let handle = io.handle();
        io.write_all(b"x").await.unwrap();
        let ending = async {
            sleep(millis(100)).await;
            end(&handle);
        };
        let both = timeout(HOUR, async { tokio::join!(io.shutdown(), ending) });
        let _ = both.await.expect("it ends");
        assert!(polls.load(SeqCst) < 10, "it does not spin");
    }
}

/// What the connection of a `Shared` does when it is dropped.
type OnDrop = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

struct Asks(OnDrop);

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(ask) = self.0.get() {
            ask();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_a_handle_ends_may_use_its_shared_while_it_is_dropped() {
    for end in [Handle::lost, Handle::suspend, Handle::reconnect] {
        let on_drop = OnDrop::default();
        let drops = on_drop.clone();
        let shared: Shared<_, _> =
            Redial::new(move || ready(Ok::<_, io::Error>(Arc::new(Asks(drops.clone())))))
                .policy(hour())
                .into_shared();
        let own = shared.clone();
        let ask: Box<dyn Fn() + Send + Sync> = Box::new(move || {
            let _ = own.save();
        });
        assert!(on_drop.set(ask).is_ok());
        drop(shared.ready().await.unwrap());
        end(&shared.handle());
        // It is pending now. It would hang if it dropped the connection under the
        // lock of the `Shared`.
        assert!(shared.ready().now_or_never().is_none());
    }
}

// ---- a driver that gives up

#[tokio::test(start_paused = true)]
async fn a_press_before_the_caller_is_told_that_the_driver_gave_up_is_kept() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())));
    let handle = redial.handle();
    redial.ready().await.unwrap();
    redial.lost_with(denied());
    assert!(matches!(handle.status(), Status::GaveUp { .. }));
    handle.retry_now();
    assert!(redial.ready().await.unwrap_err().is_stopped());
    redial.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_observer_can_ask_for_an_attempt_when_the_driver_gives_up() {
    let pressed = Arc::new(OnceLock::<Handle>::new());
    let handle = pressed.clone();
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        ready(if attempts == 1 { Err(denied()) } else { Ok(()) })
    })
    .observe(move |event| {
        if let Event::GaveUp { .. } = event {
            handle.get().unwrap().retry_now();
        }
    });
    pressed.set(redial.handle()).unwrap();
    assert!(redial.ready().await.unwrap_err().is_stopped());
    redial.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_asks_after_a_stop_lets_other_tasks_have_their_turn() {
    let shared = Redial::new(|| ready(Err::<u8, _>(denied()))).into_shared();
    let mut redial = Redial::new(|| ready(Err::<u8, _>(denied())));
    assert!(shared.ready().await.is_err() && redial.ready().await.is_err());
    let turns = Arc::new(AtomicUsize::new(0));
    let count = turns.clone();
    tokio::spawn(async move {
        loop {
            count.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..1000 {
        assert!(shared.ready().await.is_err());
    }
    assert!(turns.swap(0, SeqCst) >= 1000);
    for _ in 0..1000 {
        assert!(redial.ready().await.is_err());
    }
    assert!(turns.load(SeqCst) >= 1000);
}

#[tokio::test(start_paused = true)]
async fn the_reasons_of_an_outage_do_not_outlive_it() {
    let (connector, _) = refusing();
    let mut redial = Redial::new(connector).policy(hour()).max_attempts(1);
    let handle = redial.handle();
    assert!(redial.ready().await.is_err());
    sleep(HOUR).await;
    assert_eq!(handle.status().why().unwrap().elapsed(), secs(0));
    run_for(secs(1), pin!(redial.ready())).await;
    assert_eq!(handle.status().why().unwrap().elapsed(), secs(0));

    let (connector, _) = refusing();
    let mut redial = Redial::new(connector).policy(hour());
    let handle = redial.handle();
    run_for(secs(1), pin!(redial.ready())).await;
    let saved = redial.save().unwrap();
    sleep(secs(500)).await;
    let mut redial = redial.restore(&saved, secs(0));
    run_for(secs(1), pin!(redial.ready())).await;
    assert_eq!(handle.status().why().unwrap().elapsed(), secs(0));
}

// ---- losses

#[tokio::test(start_paused = true)]
async fn a_loss_by_the_program_keeps_what_a_handle_said_about_it() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())));
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.lost_as(Verdict::Stop);
    redial.lost();
    assert!(redial.ready().await.unwrap_err().is_stopped());

    let (connector, far) = lines();
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    session.next().await.unwrap().unwrap();
    handle.lost_as(Verdict::Stop);
    session.lost();
    while session.next().await.is_some() {}
    assert_eq!(far.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_a_handle_healed_is_not_saved() {
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        ready(if attempts == 1 {
            Err(refused())
        } else {
            Ok(())
        })
    });
    let handle = redial.handle();
    redial.ready().await.unwrap();
    assert!(redial.save().is_some());
    handle.healed();
    assert!(redial.save().is_none());
}

// ---- limits and budgets

#[tokio::test(start_paused = true)]
async fn a_press_does_not_give_up_while_time_is_left() {
    let mut redial = Redial::new(pending::<io::Result<()>>)
        .policy(Sequence::new([secs(20)]).jitter(Jitter::None))
        .attempt_timeout(secs(50))
        .max_elapsed(secs(60));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(45), &mut future).await;
    handle.retry_now();
    run_for(secs(14), &mut future).await;
    assert!(matches!(
        handle.status(),
        Status::Connecting { attempt: 2, .. }
    ));
    assert!(timeout(secs(2), future).await.unwrap().is_err());
}

/// An attempt that begins after the limit has its whole time, but no successor.
#[tokio::test(start_paused = true)]
async fn a_press_after_the_limit_of_the_outage_gives_up() {
    let mut redial = Redial::new(pending::<io::Result<()>>)
        .policy(Sequence::new([secs(20)]).jitter(Jitter::None))
        .attempt_timeout(secs(30))
        .max_elapsed(secs(60));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(40), &mut future).await;
    handle.pause();
    run_for(secs(40), &mut future).await;
    handle.resume();
    run_for(secs(10), &mut future).await;
    handle.retry_now();
    let error = timeout(secs(1), future).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(redial::Reason::MaxElapsed));
}

#[tokio::test(start_paused = true)]
async fn a_first_connect_that_pays_pays_after_each_suspension() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = attempts.clone();
    let bucket = TokenBucket::new(1, HOUR);
    let mut redial = Redial::new(move || {
        count.fetch_add(1, SeqCst);
        pending::<io::Result<()>>()
    })
    .budget(&bucket)
    .pay_first()
    .attempt_timeout(secs(100));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    for _ in 0..10 {
        run_for(secs(3), &mut future).await;
        handle.suspend();
        run_for(secs(1), &mut future).await;
        handle.resume();
    }
    assert_eq!(attempts.load(SeqCst), 1, "one token an hour");
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_presses_without_end_still_lets_a_suspended_driver_open_again() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(()))).press_interval(Duration::MAX);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.suspend();
    run_for(secs(1), pin!(redial.ready())).await;
    handle.resume();
    assert!(timeout(366 * 24 * HOUR, redial.ready()).await.is_ok());
}

// ---- several presses

#[tokio::test(start_paused = true)]
async fn repeated_presses_of_a_program_do_not_narrow_its_spread() {
    let (mut burst, mut again) = (Vec::new(), Vec::new());
    for seed in 0..200 {
        let (connector, attempts) = refusing();
        let mut redial = Redial::new(connector).policy(hour()).seed(seed);
        let handle = redial.handle();
        let mut future = pin!(redial.ready());
        run_for(secs(10), &mut future).await;
        let start = Instant::now();
        for _ in 0..40 {
            handle.network_changed();
            run_for(millis(100), &mut future).await;
        }
        run_for(secs(20), &mut future).await;
        burst.push(attempts.lock().unwrap()[2] - start);

        for _ in 0..10 {
            handle.reconnect();
            run_for(secs(0), &mut future).await;
        }
        let Status::Waiting { until, .. } = handle.status() else {
            panic!("{:?}", handle.status());
        };
        again.push(until.remaining());
    }
    // The median of 200 uniform draws is outside of the middle half with a probability
    // of 5e-14.
    for (mut times, from) in [(burst, secs(5)), (again, secs(0))] {
        times.sort_unstable();
        let median = times[100] - from;
        assert!((millis(250)..millis(750)).contains(&median), "{median:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_who_presses_after_a_resume_is_heard() {
    let (connector, attempts) = refusing();
    let mut redial = Redial::new(connector).classify(|_| Verdict::RetryAfter(secs(3000)));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(10), &mut future).await;
    handle.pause();
    run_for(secs(10), &mut future).await;
    handle.resume();
    handle.retry_now();
    run_for(secs(1), &mut future).await;
    assert_eq!(attempts.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resume_is_spread_although_nobody_polled_the_driver_meanwhile() {
    let mut at_once = 0;
    for seed in 0..50 {
        let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(()))).seed(seed);
        let handle = redial.handle();
        redial.ready().await.unwrap();
        handle.suspend();
        assert!(redial.get_mut().is_none());
        sleep(secs(100)).await;
        handle.resume();
        let start = Instant::now();
        redial.ready().await.unwrap();
        at_once += usize::from(start.elapsed() < millis(100));
    }
    // 5 are expected, and more than 20 have a probability below 1e-7.
    assert!(at_once <= 20, "{at_once} of 50");
}

#[tokio::test(start_paused = true)]
async fn a_pause_keeps_an_attempt_that_a_change_of_the_network_was_about_to_end() {
    let mut redial = Redial::new(|| async {
        sleep(secs(8)).await;
        Ok::<_, io::Error>(())
    });
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(3), &mut future).await;
    handle.network_changed();
    run_for(secs(0), &mut future).await;
    handle.pause();
    timeout(secs(20), future).await.unwrap().unwrap();
}

/// C5: after the call returns, the connector is not called.
#[tokio::test(start_paused = true)]
async fn an_observer_that_closes_or_suspends_at_an_attempt_prevents_it() {
    for end in [Handle::close, Handle::suspend] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let pressed = Arc::new(OnceLock::<Handle>::new());
        let handle = pressed.clone();
        let mut redial = Redial::new(move || {
            count.fetch_add(1, SeqCst);
            ready(Ok::<_, io::Error>(()))
        })
        .observe(move |event| {
            if let Event::Connecting { .. } = event {
                end(handle.get().unwrap());
            }
        });
        pressed.set(redial.handle()).unwrap();
        let _ = timeout(HOUR, redial.ready()).await;
        assert_eq!(calls.load(SeqCst), 0);
    }
}

// ---- waits that only a person ends

#[tokio::test(start_paused = true)]
async fn only_a_person_ends_the_spread_of_clients_that_start_together() {
    for press in [Handle::network_changed, |handle: &Handle| {
        handle.pause();
        let handle = handle.clone();
        tokio::spawn(async move {
            sleep(millis(10)).await;
            handle.resume();
        });
    }] {
        let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
            .spread_first(HOUR)
            .seed(3);
        let handle = redial.handle();
        let mut future = pin!(redial.ready());
        run_for(millis(10), &mut future).await;
        press(&handle);
        run_for(secs(2), &mut future).await;
        handle.retry_now();
        future.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_may_shorten_what_the_policy_waits_beyond_a_servers_time() {
    let (connector, attempts) = refusing();
    let mut redial = Redial::new(connector)
        .policy(hour())
        .classify(|_| Verdict::RetryAfter(secs(5)));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(2), &mut future).await;
    handle.network_changed();
    run_for(secs(8), &mut future).await;
    assert_eq!(attempts.lock().unwrap().len(), 1, "the server said 5 s");
    handle.network_changed();
    run_for(secs(2), &mut future).await;
    assert_eq!(attempts.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_program_shortens_a_restored_wait() {
    let (connector, _) = refusing();
    let mut redial = Redial::new(connector).classify(|_| Verdict::RetryAfter(secs(3000)));
    run_for(secs(1), pin!(redial.ready())).await;
    let saved = redial.save().unwrap();
    let (connector, attempts) = refusing();
    let mut redial = Redial::new(connector)
        .policy(hour())
        .restore(&saved, secs(1));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    run_for(secs(1), &mut future).await;
    handle.network_changed();
    run_for(secs(3), &mut future).await;
    assert!(attempts.lock().unwrap().is_empty());
    handle.retry_now();
    run_for(secs(1), &mut future).await;
    assert_eq!(attempts.lock().unwrap().len(), 1);
}
