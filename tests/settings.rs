//! Does the order of a driver's settings matter, and what do they change on a
//! driver that is in use?

mod paused;

use std::future::{pending, ready};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use redial::{
    Cause, Exponential, Jitter, Next, Outage, Redial, SavedOutage, Sequence, Status, TokenBucket,
    Verdict,
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
    ErrorKind::ConnectionRefused.into()
}

// ---- the order

type Connector = Box<dyn FnMut() -> BoxFuture<'static, io::Result<()>>>;
type Driver = Redial<Connector, Exponential>;
type Log = Arc<Mutex<Vec<String>>>;

/// What the settings of one run are about.
struct World {
    start: Instant,
    log: Log,
    bucket: TokenBucket,
}

/// A name, and a setting that makes a difference to the script.
type Setting = (&'static str, fn(Driver, &World) -> Driver);

const SETTINGS: &[Setting] = &[
    ("policy", |driver, _| {
        driver.policy(Exponential::new(secs(20), secs(200)).factor(3.0))
    }),
    ("budget", |driver, world| driver.budget(&world.bucket)),
    ("classify", |driver, _| {
        driver.classify(|error| match error.kind() {
            ErrorKind::TimedOut => Verdict::RetryAfter(secs(30)),
            _ => Verdict::Retry(Cause::Busy),
        })
    }),
    ("attempt_timeout", |driver, _| {
        driver.attempt_timeout(secs(7))
    }),
    ("patience", |driver, _| driver.patience(secs(15))),
    ("stable_after", |driver, _| driver.stable_after(secs(60))),
    ("max_attempts", |driver, _| driver.max_attempts(4)),
    ("max_elapsed", |driver, _| driver.max_elapsed(secs(90))),
    ("hint_cap", |driver, _| driver.hint_cap(secs(10))),
    ("seed", |driver, _| driver.seed(2)),
    ("observe", |driver, world| {
        let (log, mut events) = (world.log.clone(), 0);
        driver.observe(move |_| {
            events += 1;
            log.lock().unwrap().push(format!("event {events}"));
        })
    }),
    ("restore", |driver, _| driver.restore(&saved(), secs(5))),
    ("wall_clock", |driver, world| {
        // Runs twice as fast: half of each long wait was slept through.
        let start = world.start;
        driver.wall_clock(move || SystemTime::UNIX_EPOCH + 2 * start.elapsed())
    }),
];

/// Two refusals, and the last half second of the wait after them.
fn saved() -> SavedOutage {
    let mut outage = Outage::from_seed(doubling(), 1);
    let mut now = secs(0);
    for _ in 0..2 {
        let Next::Wait(wait) = outage.failed(now, Verdict::Retry(Cause::Down)) else {
            panic!("there is no limit");
        };
        now += wait;
    }
    outage.save(now - Duration::from_millis(500)).unwrap()
}

/// What a driver with these settings does in ten minutes, with a server that
/// refuses, stalls, fails slowly, accepts, and loses its clients.
fn script(settings: &[Setting]) -> Vec<String> {
    paused_runtime().block_on(async {
        let world = World {
            start: Instant::now(),
            log: Log::default(),
            bucket: TokenBucket::new(1, secs(100)),
        };
        let mut attempts = 0;
        let connector: Connector = Box::new(move || {
            attempts += 1;
            match attempts {
                2 | 3 => pending().boxed(),
                4 => ready(Err(ErrorKind::TimedOut.into())).boxed(),
                5 | 6 => sleep(secs(1)).map(Ok).boxed(),
                _ => ready(Err(refused())).boxed(),
            }
        });
        let (log, start) = (world.log.clone(), world.start);
        let mut driver = Redial::new(connector)
            .policy(Exponential::new(secs(2), secs(64)))
            .seed(1)
            .observe(move |event| {
                let at = start.elapsed();
                log.lock().unwrap().push(format!("{at:?} {event:?}"));
            });
        for (_, set) in settings {
            driver = set(driver, &world);
        }
        let life = async {
            loop {
                match driver.ready().await {
                    Ok(()) => sleep(secs(20)).await,
                    Err(_) => sleep(secs(100)).await,
                }
                driver.lost();
            }
        };
        let _ = timeout(secs(600), life).await;
        let log = world.log.lock().unwrap();
        log.clone()
    })
}

#[test]
fn every_setting_makes_a_difference_to_the_script() {
    let plain = script(&[]);
    assert!(plain.len() > 20, "{plain:?}");
    assert_eq!(plain, script(&[]), "and chance makes none");
    for setting in SETTINGS {
        if setting.0 == "hint_cap" {
            continue; // without a classifier nothing is a hint
        }
        assert_ne!(plain, script(&[*setting]), "{}", setting.0);
    }
    let [classify, cap] = ["classify", "hint_cap"]
        .map(|name| *SETTINGS.iter().find(|setting| setting.0 == name).unwrap());
    assert_ne!(script(&[classify]), script(&[classify, cap]));
}

#[test]
fn no_two_settings_depend_on_their_order() {
    for (i, &one) in SETTINGS.iter().enumerate() {
        for &other in &SETTINGS[i + 1..] {
            let (there, back) = (script(&[one, other]), script(&[other, one]));
            assert_eq!(there, back, "{} and {}", one.0, other.0);
        }
    }
}

// ---- restore

#[tokio::test(start_paused = true)]
async fn a_restored_outage_is_saved_again_before_it_goes_on() {
    let waits = Sequence::new([secs(20)]).jitter(Jitter::None);
    let mut first = Redial::new(|| ready(Err::<(), _>(refused()))).policy(waits.clone());
    assert!(timeout(secs(5), first.ready()).await.is_err());
    let saved = first.save().unwrap();

    let second = Redial::new(|| ready(Ok::<_, io::Error>(()))).restore(&saved, secs(3));
    assert_eq!(second.handle().status(), Status::Idle);
    sleep(secs(1000)).await; // nobody uses it
    let again = second.save().unwrap();
    let mut third = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(waits)
        .restore(&again, secs(4));
    let start = Instant::now();
    third.ready().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 20 - 5 - 3 - 4);

    // One that is closed instead still has it.
    let closed = Redial::new(|| ready(Ok::<_, io::Error>(()))).restore(&again, secs(4));
    let handle = closed.handle();
    handle.close();
    let mut closed = closed;
    let error = closed.ready().await.unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.attempts(), 1);
    assert!(closed.save().is_some());
}

#[tokio::test(start_paused = true)]
async fn restoring_a_driver_in_use_drops_its_connection_and_its_outage() {
    let alive = Arc::new(());
    let inside = alive.clone();
    let mut redial = Redial::new(move || ready(Ok::<_, io::Error>(inside.clone())))
        .policy(Sequence::new([secs(20)]).jitter(Jitter::None));
    let handle = redial.handle();
    redial.ready().await.unwrap();
    assert_eq!(Arc::strong_count(&alive), 3);

    let mut redial = redial.restore(&saved(), secs(0));
    assert_eq!(Arc::strong_count(&alive), 2);
    assert_eq!(redial.get_mut(), None);
    assert_eq!(redial.take(), None);
    assert_eq!(handle.status(), Status::Idle);
    assert_eq!(redial.save(), Some(saved()));
    redial.lost(); // there is none
    let start = Instant::now();
    assert!(timeout(secs(0), redial.ready()).await.is_err());
    assert!(matches!(
        handle.status(),
        Status::Waiting { attempt: 3, .. }
    ));
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn restoring_a_driver_in_use_drops_its_attempt_and_its_token() {
    let alive = Arc::new(());
    let inside = alive.clone();
    let mut redial = Redial::new(move || {
        let inside = inside.clone();
        async move {
            pending::<()>().await;
            drop(inside);
            Ok::<_, io::Error>(())
        }
    });
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 3);
    let redial = redial.restore(&saved(), secs(0));
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(redial);

    let bucket = TokenBucket::new(1, secs(1000));
    bucket.try_take().unwrap();
    let mut redial = Redial::new(|| ready(Err::<(), _>(refused())))
        .policy(doubling())
        .budget(&bucket);
    assert!(timeout(secs(2), redial.ready()).await.is_err());
    let _redial = redial.restore(&saved(), secs(0));
    let wait = bucket.try_take().unwrap_err();
    assert!(wait <= secs(1000), "it was given back: {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_driver_is_not_restored() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())));
    redial.handle().close();
    assert!(redial.ready().await.unwrap_err().is_closed());
    let mut redial = redial.restore(&saved(), secs(0));
    assert_eq!(redial.handle().status(), Status::Closed);
    assert!(redial.ready().await.unwrap_err().is_closed());
}

// ---- on a driver in use

#[tokio::test(start_paused = true)]
async fn a_new_policy_says_the_next_wait() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let mut redial = Redial::new(move || {
        count.fetch_add(1, SeqCst);
        ready(Err::<(), _>(refused()))
    })
    .policy(Sequence::new([secs(10)]).jitter(Jitter::None));
    assert!(timeout(secs(3), redial.ready()).await.is_err());
    let mut redial = redial.policy(Sequence::new([secs(100)]).jitter(Jitter::None));
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(8), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 2, "the old wait was of 10 s");
    assert!(timeout(secs(98), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 2);
    assert!(timeout(secs(2), &mut future).await.is_err());
    assert_eq!(attempts.load(SeqCst), 3, "the new one is of 100 s");
}

#[tokio::test(start_paused = true)]
async fn another_bucket_is_asked_at_once_and_the_old_token_is_given_back() {
    let (slow, fast) = (
        TokenBucket::new(1, secs(1000)),
        TokenBucket::new(1, secs(10)),
    );
    slow.try_take().unwrap();
    fast.try_take().unwrap();
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        ready(if attempts > 1 { Ok(()) } else { Err(refused()) })
    })
    .policy(doubling())
    .budget(&slow);
    let start = Instant::now();
    assert!(timeout(secs(5), redial.ready()).await.is_err());
    let mut redial = redial.budget(&fast);
    let wait = slow.try_take().unwrap_err();
    assert!(wait < secs(1000), "given back: {wait:?}");
    redial.ready().await.unwrap();
    assert_eq!(
        start.elapsed().as_secs(),
        10,
        "when the fast one has a token"
    );
}

#[tokio::test(start_paused = true)]
async fn another_wall_clock_in_the_middle_of_a_wait_is_no_sleep() {
    let mut attempts = 0;
    let mut redial = Redial::new(move || {
        attempts += 1;
        ready(if attempts > 1 { Ok(()) } else { Err(refused()) })
    })
    .policy(Sequence::new([secs(100)]).jitter(Jitter::None));
    let start = Instant::now();
    assert!(timeout(secs(20), redial.ready()).await.is_err());
    // A day ahead of the system's.
    let ahead = SystemTime::now() + secs(24 * 60 * 60);
    let mut redial = redial.wall_clock(move || ahead + start.elapsed());
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_from_the_next_failure_on() {
    let mut redial = Redial::new(|| ready(Err::<(), _>(refused()))).policy(doubling());
    assert!(timeout(secs(2), redial.ready()).await.is_err()); // two attempts
    let mut redial = redial.max_attempts(1);
    let error = redial.ready().await.unwrap_err();
    assert_eq!(error.attempts(), 3);
}
