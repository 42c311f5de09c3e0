//! Is a connection replaced while it serves, and when?

mod script;

use std::cell::Cell;
use std::future::{poll_fn, ready};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use redial::codes::{Actor, Advice};
use redial::policy::from_fn;
use redial::{
    AttemptInfo, AttemptKind, Cause, Connect, Event, Exponential, Jitter, Redial, Status,
    TokenBucket, Verdict, with_info,
};
use script::Script;
use tokio::time::{sleep, timeout};

const REFUSED: ErrorKind = ErrorKind::ConnectionRefused;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1, 2, 4, … 64 s.
fn doubling() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

/// The events in a few words.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn observer(&self) -> impl FnMut(&Event<'_, io::Error>) + Send + use<> {
        let log = self.clone();
        move |event| log.note(event)
    }

    fn note(&self, event: &Event<'_, io::Error>) {
        self.0.lock().unwrap().push(match event {
            Event::Connecting { attempt, .. } => format!("connecting {attempt}"),
            Event::Connected {
                attempt, elapsed, ..
            } => format!("connected {attempt}, {elapsed:?}"),
            Event::Lost { .. } => "lost".into(),
            Event::Waiting { wait, .. } => format!("waits {wait:?}"),
            Event::RenewalDue { attempt, .. } => format!("due {attempt}"),
            Event::Renewed { attempt, .. } => format!("renewed {attempt}"),
            Event::RenewalFailed {
                attempt, verdict, ..
            } => format!("not renewed {attempt}, {verdict:?}"),
            other => format!("{other:?}"),
        });
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_there_until_the_new_one_is_and_the_generation_grows_by_one() {
    let script = Script::new([(secs(0), Ok(())), (secs(2), Ok(()))]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    assert_eq!(redial.ready().await.unwrap().number, 1);
    handle.renew_now();
    let mut renewed = Box::pin(redial.renewed());
    assert!(timeout(secs(1), &mut renewed).await.is_err());
    // The present connection is lent while the attempt is in flight.
    drop(renewed);
    assert_eq!(redial.get_mut().unwrap().number, 1);
    assert!(matches!(
        handle.status(),
        Status::Connected { generation: 1, .. }
    ));
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(redial.ready().await.unwrap().number, 2);
    assert!(matches!(
        handle.status(),
        Status::Connected { generation: 2, .. }
    ));
    assert_eq!((script.most_connections(), script.connections()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_failed_renewals_harm_nothing_wait_by_the_policy_and_pay_the_budget() {
    let failures = (0..10).map(|_| (secs(0), Err(REFUSED)));
    let script = Script::new([(secs(0), Ok(()))].into_iter().chain(failures));
    let log = Log::default();
    let bucket = TokenBucket::new(100, secs(3600));
    let mut redial = Redial::new(script.connector())
        .policy(doubling())
        .max_attempts(3)
        .max_elapsed(secs(1))
        .budget(&bucket)
        .observe(log.observer());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    log.take();
    handle.renew_now();
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(
        script.dialed(),
        [
            0, 0, 2000, 6000, 14_000, 30_000, 62_000, 126_000, 190_000, 254_000, 318_000, 382_000
        ]
        .map(|at| at - at % 1000)
    );
    let log = log.take();
    assert_eq!(log[..2], ["due 1", "not renewed 1, Retry(Down)"]);
    assert_eq!(log.last().unwrap(), "renewed 11");
    assert!(
        log.iter()
            .all(|event| event.contains("due") || event.contains("renewed"))
    );
    assert!(matches!(
        handle.status(),
        Status::Connected { generation: 2, .. }
    ));
    // The eleven attempts took a token each.
    let taken = (0..200).take_while(|_| bucket.try_take().is_ok()).count();
    assert_eq!(taken, 100 - 11);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_follows_a_stop_and_the_connection_stays() {
    let script = Script::new([
        (secs(0), Ok(())),
        (secs(0), Err(ErrorKind::PermissionDenied)),
    ]);
    let log = Log::default();
    let mut redial = Redial::new(script.connector())
        .classify(|_| Verdict::Stop)
        .observe(log.observer());
    redial.ready().await.unwrap();
    redial.renew_within(Duration::MAX);
    assert!(timeout(secs(100_000), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 2);
    assert_eq!(log.take().last().unwrap(), "not renewed 1, Stop");
    assert_eq!(redial.ready().await.unwrap().number, 1);
}

/// The first part of scenario "renewal while all goes wrong".
#[tokio::test(start_paused = true)]
async fn a_loss_makes_the_attempt_in_flight_that_of_the_outage() {
    let script = Script::new([
        (secs(0), Ok(())),
        (Duration::from_millis(100), Err(REFUSED)),
        (secs(3), Ok(())),
    ]);
    let log = Log::default();
    let waits = Exponential::new(Duration::from_millis(2900), secs(64)).jitter(Jitter::None);
    let mut redial = Redial::new(script.connector())
        .policy(waits.factor(1.0))
        .observe(log.observer());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    sleep(secs(60)).await;
    log.take();
    handle.renew_now();
    // Refused at 0.1, dialed again at 3, and reset at 4.
    assert!(timeout(secs(4), redial.renewed()).await.is_err());
    assert_eq!(log.take(), ["due 1", "not renewed 1, Retry(Down)", "due 2"]);
    assert_eq!(script.attempts(), 1);
    redial.lost();
    assert_eq!(log.take(), ["lost", "connecting 1"]);
    assert!(matches!(
        handle.status(),
        Status::Connecting { attempt: 1, .. }
    ));
    assert_eq!(redial.ready().await.unwrap().number, 3);
    assert_eq!(log.take(), ["connected 1, 2s"]);
    assert_eq!(script.dialed(), [0, 60_000, 63_000]);
    assert!(matches!(
        handle.status(),
        Status::Connected { generation: 2, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_becomes_that_of_the_outage_is_as_far_as_it_was() {
    let mut number = 0;
    let dial = move || {
        number += 1;
        std::future::ready(Ok::<_, io::Error>(number))
    };
    let connector = dial.then(|number| async move {
        sleep(secs(10 * (number - 1))).await;
        Ok::<_, io::Error>(())
    });
    let log = Log::default();
    let mut redial = Redial::new(connector).observe(log.observer());
    redial.ready().await.unwrap();
    redial.renew_now();
    assert!(timeout(secs(4), redial.renewed()).await.is_err());
    log.take();
    redial.lost();
    redial.ready().await.unwrap();
    assert_eq!(
        log.take(),
        [
            "lost",
            "connecting 1",
            "Established { attempt: 1 }",
            "connected 1, 6s"
        ]
    );
}

/// The loss comes three seconds after the attempt began. Dials have five, and attempts
/// that do not tell their phases ten.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_becomes_that_of_the_outage_keeps_its_beginning_and_its_deadline() {
    for (tells_phases, ends) in [(true, 5), (false, 10)] {
        let script = Script::new([(secs(0), Ok(())), (secs(1000), Ok(()))]);
        let redial = if tells_phases {
            let connector = script.connector();
            Redial::new(connector.then(|line| ready(Ok::<_, io::Error>(line)))).boxed()
        } else {
            Redial::new(script.connector()).boxed()
        };
        let mut redial = redial.policy(doubling()).attempt_timeout(secs(10));
        let handle = redial.handle();
        redial.ready().await.unwrap();
        sleep(secs(60)).await;
        redial.renew_now();
        let began = tokio::time::Instant::now();
        assert!(timeout(secs(3), redial.renewed()).await.is_err());
        redial.lost();
        let Status::Connecting { since, .. } = handle.status() else {
            panic!("the attempt goes on");
        };
        assert_eq!(since.elapsed(), secs(3));
        redial.ready().await.unwrap();
        // The policy waits for two seconds.
        assert_eq!(began.elapsed().as_secs(), ends + 2);
    }
}

/// With `RetryAfter` as with any other refusal, the connection serves on.
#[tokio::test(start_paused = true)]
async fn a_hint_for_a_renewal_has_its_limit_which_is_told() {
    let years = secs(9_999_999_999);
    let script = Script::new([(secs(0), Ok(())), (secs(0), Err(REFUSED))]);
    let log = Log::default();
    let mut redial = Redial::new(script.connector())
        .classify(move |_| Verdict::RetryAfter(years))
        .hint_cap(secs(60))
        .observe(log.observer());
    redial.ready().await.unwrap();
    log.take();
    redial.renew_now();
    redial.renewed().await.unwrap();
    let log = log.take();
    assert_eq!(
        log[1..3],
        [
            format!("not renewed 1, RetryAfter({years:?})"),
            format!("HintCut {{ asked: {years:?}, cap: 60s }}"),
        ]
    );
    let last = script.dials().last().unwrap().at;
    assert!((secs(60)..=secs(122)).contains(&last), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_leaves_the_connection_and_a_third_attempt_follows() {
    let script = Script::new([
        (secs(0), Ok(())),
        (secs(0), Err(REFUSED)),
        (secs(1), Err(REFUSED)),
        (secs(0), Ok(())),
    ]);
    let mut redial = Redial::new(script.connector()).policy(doubling());
    redial.ready().await.unwrap();
    redial.renew_now();
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(redial.ready().await.unwrap().number, 4);
    assert_eq!(script.dialed(), [0, 0, 2000, 7000]);
}

#[tokio::test(start_paused = true)]
async fn at_the_announced_end_an_outage_begins_with_the_attempt_in_flight() {
    let script = Script::new([(secs(0), Ok(())), (secs(60), Ok(()))]);
    let log = Log::default();
    let mut redial = Redial::new(script.connector())
        .attempt_timeout(secs(100))
        .observe(log.observer());
    redial.ready().await.unwrap();
    redial.renew_within(secs(30));
    let began = tokio::time::Instant::now();
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(began.elapsed().as_secs(), 30);
    log.take();
    assert_eq!(redial.ready().await.unwrap().number, 2);
    assert_eq!(script.dials().len(), 2);
    assert!(log.take()[0].starts_with("connected 1"));
    assert_eq!(script.dials()[1].kind, AttemptKind::Renewal);
}

#[tokio::test(start_paused = true)]
async fn an_announced_end_without_a_renewal_in_flight_is_a_plain_loss() {
    let refusals = (0..100).map(|_| (secs(0), Err(REFUSED)));
    let script = Script::new([(secs(0), Ok(()))].into_iter().chain(refusals));
    let mut redial = Redial::new(script.connector()).policy(doubling());
    redial.ready().await.unwrap();
    redial.renew_within(secs(30));
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert!(timeout(secs(10), redial.ready()).await.is_err());
    let dials = script.dials();
    let kinds = dials
        .iter()
        .filter(|dial| dial.at > secs(30))
        .map(|dial| dial.kind);
    assert!(kinds.into_iter().all(|kind| kind == AttemptKind::AfterLoss));
    assert_eq!(
        dials
            .iter()
            .find(|dial| dial.at > secs(30))
            .unwrap()
            .at
            .as_secs(),
        31
    );
}

#[tokio::test(start_paused = true)]
async fn the_policy_and_the_limits_of_an_outage_know_nothing_of_renewals() {
    let script = Script::new([
        (secs(0), Ok(())),
        (secs(0), Err(REFUSED)),
        (secs(0), Err(REFUSED)),
        (secs(0), Err(REFUSED)),
        (secs(0), Err(REFUSED)),
    ]);
    let mut redial = Redial::new(script.connector())
        .policy(doubling())
        .max_attempts(2);
    redial.ready().await.unwrap();
    sleep(secs(100)).await;
    redial.renew_now();
    assert!(timeout(secs(10), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 4);
    redial.lost();
    assert_eq!(redial.ready().await.unwrap().number, 6);
    // 1 s after the loss, and 2 s after the first failure.
    assert_eq!(script.dialed()[4..], [111_000, 113_000]);
}

/// Neither has been up for 10 s, although both together have.
#[tokio::test(start_paused = true)]
async fn a_successor_must_be_stable_itself_to_end_the_outage() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector()).policy(doubling());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    redial.lost();
    redial.ready().await.unwrap();
    sleep(secs(6)).await;
    handle.renew_now();
    redial.renewed().await.unwrap();
    sleep(secs(6)).await;
    redial.lost();
    redial.ready().await.unwrap();
    // After 1 s, and after 2 s.
    assert_eq!(script.dialed(), [0, 1_000, 7_000, 15_000]);
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_are_forgotten_once_another_connection_was_stable() {
    let failures = (0..3).map(|_| (secs(0), Err(REFUSED)));
    let script = Script::new([(secs(0), Ok(()))].into_iter().chain(failures));
    let mut redial = Redial::new(script.connector()).policy(doubling());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.renew_now();
    // Refused at 0, 2 and 6 s. The next one would be at 14 s.
    assert!(timeout(secs(7), redial.renewed()).await.is_err());
    redial.lost();
    redial.ready().await.unwrap();
    sleep(secs(12)).await;
    handle.renew_now();
    redial.renewed().await.unwrap();
    let last = &script.dials()[5];
    assert_eq!((last.at.as_secs(), last.number), (20, 1));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_soon_after_another_waits_as_the_policy_says() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector()).policy(doubling());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    for pause in [0, 3, 10] {
        sleep(secs(pause)).await;
        handle.renew_now();
        redial.renewed().await.unwrap();
    }
    // The second one was asked for at 3 s. The third one follows a stable connection.
    assert_eq!(script.dialed(), [0, 0, 5_000, 15_000]);
}

#[tokio::test(start_paused = true)]
async fn an_age_that_is_over_before_a_connection_was_stable_is_followed_by_the_policys_wait() {
    let script = Script::new([]);
    let minute = Exponential::new(secs(60), secs(60)).jitter(Jitter::None);
    let mut redial = Redial::new(script.connector())
        .policy(minute)
        .stable_after(secs(3600))
        .max_age(secs(30));
    redial.ready().await.unwrap();
    redial.renewed().await.unwrap();
    redial.renewed().await.unwrap();
    let dialed = script.dialed();
    assert!(dialed[1] <= 30_000, "{dialed:?}");
    let after = dialed[2] - dialed[1];
    assert!((84_000..=90_000).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn no_renewal_follows_once_the_policy_gave_up() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector())
        .policy(from_fn(|_| [secs(1)]))
        .stable_after(secs(3600))
        .max_age(secs(30));
    redial.ready().await.unwrap();
    // The policy's only wait is that of the first renewal.
    redial.renewed().await.unwrap();
    assert!(timeout(secs(1_000), redial.renewed()).await.is_err());
    redial.renew_within(Duration::MAX);
    assert!(timeout(secs(1_000), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_an_earlier_end_or_a_program_brings_an_announced_renewal_forward() {
    for (first, second, latest) in [
        (3_000, Some(30), 20),
        (30, Some(3_000), 20),
        (30, Some(30), 20),
        (3_000, None, 0),
    ] {
        for seed in 0..50 {
            let script = Script::new([]);
            let mut redial = Redial::new(script.connector()).seed(seed);
            let handle = redial.handle();
            redial.ready().await.unwrap();
            handle.renew_within(secs(first));
            assert!(timeout(Duration::ZERO, redial.renewed()).await.is_err());
            match second {
                Some(end) => handle.renew_within(secs(end)),
                None => handle.renew_now(),
            }
            redial.renewed().await.unwrap();
            let at = script.dials()[1].at.as_millis() as u64;
            // Tokio's timer rounds up to a millisecond.
            assert!(at <= 1_000 * latest + 1, "{first} {second:?}: {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_only_the_program_asks_for_another_renewal() {
    let script = Script::new([(secs(0), Ok(())), (secs(0), Err(REFUSED))]);
    let mut redial = Redial::new(script.connector()).classify(|_| Verdict::Stop);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.renew_now();
    assert!(timeout(secs(1), redial.renewed()).await.is_err());
    handle.renew_within(Duration::MAX);
    assert!(timeout(secs(1_000), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 2);
    handle.renew_now();
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(script.dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_is_told_of_a_renewal_can_hold_it() {
    let script = Script::new([]);
    let hold = Arc::new(Mutex::new(None));
    let redial = Redial::new(script.connector());
    let handle = redial.handle();
    let mut redial = redial.observe({
        let (hold, handle) = (hold.clone(), handle.clone());
        move |event| {
            if let Event::RenewalDue { .. } = event {
                hold.lock()
                    .unwrap()
                    .get_or_insert_with(|| handle.hold_renewal());
            }
        }
    });
    redial.ready().await.unwrap();
    handle.renew_now();
    assert!(timeout(secs(100), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 1);
}

/// A token a minute. The renewal reserves that of the first minute.
#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_its_token_and_a_loss_gives_that_back() {
    for is_lost in [false, true] {
        let script = Script::new([]);
        let bucket = TokenBucket::new(1, secs(60));
        bucket.try_take().unwrap();
        let mut redial = Redial::new(script.connector())
            .policy(doubling())
            .budget(&bucket);
        let handle = redial.handle();
        redial.ready().await.unwrap();
        handle.renew_now();
        if is_lost {
            assert!(timeout(secs(30), redial.renewed()).await.is_err());
            redial.lost();
            redial.ready().await.unwrap();
        } else {
            redial.renewed().await.unwrap();
        }
        assert_eq!(script.dialed(), [0, 60_000], "lost: {is_lost}");
    }
}

/// A token a minute. Nobody polls when that of the renewal comes due, and others have
/// reserved those of the next three minutes.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_polled_late_keeps_its_token_for_a_period() {
    for (late, dialed) in [(59, 119), (61, 300)] {
        let script = Script::new([]);
        let bucket = TokenBucket::new(1, secs(60));
        bucket.try_take().unwrap();
        let mut redial = Redial::new(script.connector()).budget(&bucket);
        redial.ready().await.unwrap();
        redial.renew_now();
        assert!(timeout(secs(30), redial.renewed()).await.is_err());
        let _others = [(); 3].map(|()| bucket.reserve());
        sleep(secs(30 + late)).await;
        redial.renewed().await.unwrap();
        assert_eq!(script.dialed(), [0, dialed * 1000], "{late} s late");
    }
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_closes_first_and_dials_at_once() {
    for by_advice in [false, true] {
        let script = Script::new([(secs(0), Ok(()))]);
        let redial = Redial::new(script.connector());
        let mut redial = if by_advice {
            redial.advise(|_| Some(Advice::retry(Cause::Busy).one_at_a_time()))
        } else {
            redial.one_at_a_time()
        };
        redial.ready().await.unwrap();
        if by_advice {
            let script = script.clone();
            script.refuses_next();
            redial.renew_within(secs(30));
            // It serves until its announced end.
            let began = tokio::time::Instant::now();
            drop(redial.renewed().await.unwrap());
            assert_eq!(began.elapsed().as_secs(), 30);
            redial.ready().await.unwrap();
            sleep(secs(60)).await;
        }
        let dials = script.dials().len();
        redial.renew_within(secs(30));
        let began = tokio::time::Instant::now();
        drop(redial.renewed().await.unwrap());
        // At the time that was drawn for the renewal.
        assert!(began.elapsed() < secs(20));
        assert_eq!((script.connections(), script.dials().len()), (0, dials));
        redial.ready().await.unwrap();
        assert!(began.elapsed() < secs(20));
        assert_eq!(script.dials().last().unwrap().kind, AttemptKind::AfterLoss);
        assert_eq!(script.most_connections(), 1);
    }
}

/// A token a minute.
#[tokio::test(start_paused = true)]
async fn one_at_a_time_pays_one_token_for_a_renewal() {
    let script = Script::new([]);
    let bucket = TokenBucket::new(1, secs(60));
    let mut redial = Redial::new(script.connector())
        .one_at_a_time()
        .budget(&bucket);
    redial.ready().await.unwrap();
    redial.renew_now();
    drop(redial.renewed().await.unwrap());
    redial.ready().await.unwrap();
    assert_eq!(script.dialed(), [0, 0]);
    assert!(bucket.try_take().is_err());
}

#[tokio::test(start_paused = true)]
async fn advice_of_one_at_a_time_without_an_announced_end_closes_after_the_policys_wait() {
    let script = Script::new([(secs(0), Ok(()))]);
    let mut redial = Redial::new(script.connector())
        .policy(doubling())
        .advise(|_| Some(Advice::retry(Cause::Busy).one_at_a_time()));
    redial.ready().await.unwrap();
    script.refuses_next();
    redial.renew_now();
    let began = tokio::time::Instant::now();
    let old = timeout(secs(100), redial.renewed()).await.unwrap();
    assert_eq!((old.unwrap().number, script.dials().len()), (1, 2));
    assert_eq!(began.elapsed().as_secs(), 2);
    redial.ready().await.unwrap();
    assert_eq!(script.dialed(), [0, 0, 2000]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_of_one_age_are_renewed_over_ten_minutes_or_more() {
    let script = Script::new([]);
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..1000 {
        let mut redial = Redial::new(script.connector())
            .seed(seed)
            .max_age(secs(3600));
        tasks.spawn(async move {
            redial.ready().await.unwrap();
            redial.renewed().await.unwrap();
        });
    }
    tasks.join_all().await;
    let mut dialed: Vec<u128> = script.dialed()[1000..].to_vec();
    dialed.sort_unstable();
    // The jitter only shortens, and takes away a fifth at most.
    assert!(dialed[0] >= 2_880_000 && *dialed.last().unwrap() <= 3_600_001);
    assert!(dialed.last().unwrap() - dialed[0] >= 600_000);
}

#[tokio::test(start_paused = true)]
async fn the_age_is_drawn_once_however_often_it_is_polled() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector()).max_age(secs(3600)).seed(7);
    redial.ready().await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        assert!(redial.poll_renewed(&mut cx).is_pending());
    }
    redial.renewed().await.unwrap();
    let polled = script.dialed()[1];
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector()).max_age(secs(3600)).seed(7);
    redial.ready().await.unwrap();
    redial.renewed().await.unwrap();
    assert_eq!(script.dialed()[1], polled);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_asleep_past_its_age_is_renewed_at_the_first_look() {
    let script = Script::new([]);
    let wall = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + secs(1_000_000)));
    let mut redial = Redial::new(script.connector())
        .max_age(secs(23 * 3600 + 1800))
        .wall_clock({
            let wall = wall.clone();
            move || *wall.lock().unwrap()
        });
    redial.ready().await.unwrap();
    assert!(timeout(secs(3600), redial.renewed()).await.is_err());
    // The monotonic clock stands still for ten hours, and the wall clock does not.
    *wall.lock().unwrap() += secs(3600 + 23 * 3600);
    let slept = tokio::time::Instant::now();
    redial.renewed().await.unwrap();
    assert!(slept.elapsed() < secs(1));
    // The next one has an age of its own.
    assert!(timeout(secs(18 * 3600), redial.renewed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_or_a_little_forward_changes_no_age() {
    let script = Script::new([]);
    let ahead = Arc::new(Mutex::new(secs(1_000_000)));
    let began = tokio::time::Instant::now();
    let mut redial = Redial::new(script.connector())
        .max_age(secs(100))
        .wall_clock({
            let ahead = ahead.clone();
            move || SystemTime::UNIX_EPOCH + *ahead.lock().unwrap() + began.elapsed()
        });
    redial.ready().await.unwrap();
    assert!(timeout(secs(10), redial.renewed()).await.is_err());
    *ahead.lock().unwrap() -= secs(5000);
    assert!(timeout(secs(10), redial.renewed()).await.is_err());
    *ahead.lock().unwrap() += secs(1);
    redial.renewed().await.unwrap();
    assert!(script.dialed()[1] >= 80_000, "{:?}", script.dialed());
}

#[tokio::test(start_paused = true)]
async fn an_announced_end_is_spread_over_two_thirds_of_its_lead() {
    const CLIENTS: usize = 10_000;
    let script = Script::new([]);
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..CLIENTS as u64 {
        let mut redial = Redial::new(script.connector()).seed(seed);
        tasks.spawn(async move {
            redial.ready().await.unwrap();
            redial.renew_within(secs(30));
            assert!(redial.renewed().await.is_some());
        });
    }
    tasks.join_all().await;
    let mut per_second = [0u32; 30];
    for at in &script.dialed()[CLIENTS..] {
        per_second[(at / 1000) as usize] += 1;
    }
    // A second has its share of 500, with a deviation of 21.8 (the binomial's). Six
    // deviations are exceeded once in 10⁹ seconds.
    let share = CLIENTS as f64 / 20.0;
    let most = share + 6.0 * (share * (1.0 - 1.0 / 20.0)).sqrt();
    assert!(most < 700.0);
    assert!(
        per_second[..20].iter().all(|&dials| (dials as f64) < most),
        "{per_second:?}"
    );
    assert!(per_second[20..].iter().sum::<u32>() <= 20, "{per_second:?}"); // timers round up
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_known_time_is_spread_over_the_first_wait_of_the_policy() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector()).policy(doubling());
    redial.ready().await.unwrap();
    redial.renew_within(Duration::MAX);
    redial.renewed().await.unwrap();
    assert_eq!(script.dialed(), [0, 1000]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_announces_its_end_each_second_is_dialed_no_more_than_one_that_drops() {
    let time = secs(600);
    // Accepts, and drops after a second.
    let dropping = Script::new([]);
    let mut redial = Redial::new(dropping.connector()).seed(1).policy(doubling());
    let _ = timeout(time, async {
        loop {
            redial.ready().await.unwrap();
            sleep(secs(1)).await;
            redial.lost();
        }
    })
    .await;
    // Accepts, and announces its end after a second.
    let leaving = Script::new([]);
    let mut redial = Redial::new(leaving.connector()).seed(1).policy(doubling());
    let _ = timeout(time, async {
        redial.ready().await.unwrap();
        loop {
            let _ = timeout(secs(1), redial.renewed()).await;
            redial.renew_within(Duration::MAX);
        }
    })
    .await;
    let (dropping, leaving) = (dropping.dials().len(), leaving.dials().len());
    assert!(leaving <= dropping, "{leaving} {dropping}");
    assert!(leaving > 5);
}

#[test]
fn an_age_of_less_than_two_attempts_is_refused() {
    let redial = || Redial::new(async || Ok::<_, io::Error>(()));
    let refused = redial()
        .attempt_timeout(secs(30))
        .try_max_age(secs(59))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "max_age is 59s: a slow server would make connections all the time; allow at least 60s, \
         twice the attempt_timeout"
    );
    assert!(
        redial()
            .attempt_timeout(secs(30))
            .try_max_age(secs(60))
            .is_ok()
    );
    assert!(redial().try_max_age(secs(25)).is_err());
    assert!(redial().try_max_age(secs(26)).is_ok());
    assert!(
        redial()
            .attempt_timeout(Duration::MAX)
            .try_max_age(secs(26))
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_held_renewal_comes_when_the_last_guard_is_dropped() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    let guards = (handle.hold_renewal(), handle.hold_renewal());
    handle.renew_now();
    assert!(timeout(secs(1000), redial.renewed()).await.is_err());
    drop(guards.0);
    assert!(timeout(secs(1000), redial.renewed()).await.is_err());
    let guard = guards.1;
    tokio::spawn(async move {
        sleep(secs(10)).await;
        drop(guard);
    });
    redial.renewed().await.unwrap();
    assert_eq!(script.dialed(), [0, 2_010_000]);
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_the_announced_end() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    let _guard = handle.hold_renewal();
    handle.renew_within(secs(30));
    assert_eq!(redial.renewed().await.unwrap().number, 1);
    assert_eq!(script.dials().len(), 1);
    redial.ready().await.unwrap();
    assert_eq!(script.dials()[1].at.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_renewals_too() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.pause();
    handle.renew_now();
    assert!(timeout(secs(10), redial.renewed()).await.is_err());
    handle.resume();
    redial.renewed().await.unwrap();
    assert_eq!(script.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_a_renewal_one_poll_before_its_attempt() {
    let script = Script::new([]);
    let log = Log::default();
    let mut redial = Redial::new(script.connector()).observe(log.observer());
    redial.ready().await.unwrap();
    log.take();
    redial.renew_now();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(redial.poll_renewed(&mut cx).is_pending());
    assert_eq!(
        (log.take(), script.dials().len()),
        (vec!["due 1".into()], 1)
    );
    assert!(redial.poll_renewed(&mut cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_connector_knows_the_kind_of_its_attempt_and_one_attempt_gets_the_hint() {
    let script = Script::new([
        (secs(0), Err(REFUSED)),
        (secs(0), Ok(())),
        (secs(0), Err(REFUSED)),
        (secs(0), Ok(())),
        (secs(0), Err(REFUSED)),
        (secs(0), Ok(())),
    ]);
    let mut redial = Redial::new(script.connector()).policy(doubling());
    redial.ready().await.unwrap();
    sleep(secs(60)).await;
    redial.renew_with_hint(secs(30), "b.example");
    redial.renewed().await.unwrap();
    redial.lost();
    redial.ready().await.unwrap();
    let told: Vec<_> = script
        .dials()
        .into_iter()
        .map(|dial| (dial.kind, dial.number, dial.hint))
        .collect();
    assert_eq!(
        told,
        [
            (AttemptKind::First, 1, None),
            (AttemptKind::First, 2, None),
            (AttemptKind::Renewal, 1, Some("b.example".into())),
            (AttemptKind::Renewal, 2, None),
            (AttemptKind::AfterLoss, 1, None),
            (AttemptKind::AfterLoss, 2, None),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_came_too_late_for_a_renewal_is_for_the_first_attempt_of_the_outage() {
    for by_handle in [false, true] {
        let script = Script::new([]);
        let mut redial = Redial::new(script.connector());
        let handle = redial.handle();
        redial.ready().await.unwrap();
        if by_handle {
            handle.renew_with_hint(secs(30), "b.example");
        } else {
            redial.renew_with_hint(secs(30), "b.example");
        }
        redial.lost();
        redial.ready().await.unwrap();
        redial.lost();
        redial.ready().await.unwrap();
        let hints: Vec<_> = script.dials().into_iter().map(|dial| dial.hint).collect();
        assert_eq!(hints, [None, Some("b.example".into()), None]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_for_a_connection_that_is_gone_does_nothing() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    handle.renew_now();
    redial.ready().await.unwrap();
    assert!(timeout(secs(100), redial.renewed()).await.is_err());
    handle.renew_now();
    redial.lost();
    handle.renew_now();
    redial.ready().await.unwrap();
    assert!(timeout(secs(100), redial.renewed()).await.is_err());
    assert_eq!(script.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_report_about_the_connection_before_does_not_end_its_successor() {
    let script = Script::new([]);
    let mut redial = Redial::new(script.connector());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.renew_now();
    let mut cx = Context::from_waker(Waker::noop());
    while redial.poll_renewed(&mut cx).is_pending() {}
    handle.lost_if(1, Verdict::default());
    assert_eq!(redial.ready().await.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn close_suspend_and_reconnect_end_the_attempt_of_a_renewal() {
    let flying = || async {
        let script = Script::new([(secs(0), Ok(())), (secs(5), Ok(()))]);
        let mut redial = Redial::new(script.connector());
        let handle = redial.handle();
        redial.ready().await.unwrap();
        handle.renew_now();
        assert!(timeout(secs(1), redial.renewed()).await.is_err());
        assert_eq!(script.attempts(), 1);
        (script, redial, handle)
    };
    let (script, mut redial, handle) = flying().await;
    handle.close();
    assert!(redial.renewed().await.is_some());
    assert!(redial.ready().await.unwrap_err().is_closed());
    assert_eq!(
        (
            script.attempts(),
            script.connections(),
            script.dials().len()
        ),
        (0, 0, 2)
    );

    let (script, mut redial, handle) = flying().await;
    handle.suspend();
    assert!(redial.renewed().await.is_some());
    assert!(timeout(secs(100), redial.ready()).await.is_err());
    assert_eq!(
        (
            script.attempts(),
            script.connections(),
            script.dials().len()
        ),
        (0, 0, 2)
    );

    let (script, mut redial, handle) = flying().await;
    handle.reconnect();
    drop(redial.renewed().await);
    redial.ready().await.unwrap();
    // It may have been made with the old settings.
    assert_eq!((script.attempts(), script.dials().len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_a_loss_reaches_ends_the_attempt_of_a_renewal() {
    let script = Script::new([(secs(0), Ok(())), (secs(5), Ok(()))]);
    let mut redial = Redial::new(script.connector()).classify(|_| Verdict::Stop);
    redial.ready().await.unwrap();
    redial.renew_now();
    assert!(timeout(secs(1), redial.renewed()).await.is_err());
    redial.lost_with(ErrorKind::PermissionDenied.into());
    assert!(redial.ready().await.unwrap_err().is_stopped());
    assert_eq!(script.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_goes_on_when_the_connection_was_handed_over() {
    let script = Script::new([(secs(0), Ok(())), (secs(2), Ok(()))]);
    let mut redial = Redial::new(script.connector());
    redial.ready().await.unwrap();
    let own = redial.take().unwrap();
    redial.renew_now();
    assert!(redial.renewed().await.is_none());
    assert_eq!((own.number, redial.take().unwrap().number), (1, 2));
    // To ask for another one says that this one is lost.
    redial.ready().await.unwrap();
    assert_eq!(script.dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn to_ask_for_another_connection_during_a_renewal_goes_on_with_its_attempt() {
    let script = Script::new([(secs(0), Ok(())), (secs(2), Ok(()))]);
    let mut redial = Redial::new(script.connector());
    redial.ready().await.unwrap();
    drop(redial.take());
    redial.renew_now();
    assert!(timeout(secs(1), redial.renewed()).await.is_err());
    assert_eq!(redial.connect().await.unwrap().number, 2);
    assert_eq!(script.dialed(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_and_its_connection_stays() {
    let script = Script::new([(secs(0), Ok(())), (secs(1000), Ok(()))]);
    let log = Log::default();
    let mut redial = Redial::new(script.connector())
        .policy(doubling())
        .attempt_timeout(secs(10))
        .observe(log.observer());
    redial.ready().await.unwrap();
    log.take();
    redial.renew_now();
    redial.renewed().await.unwrap();
    assert_eq!(log.take()[..2], ["due 1", "not renewed 1, Retry(Stalled)"]);
    assert_eq!(script.dialed()[2], 12_000);
}

/// A dial of four seconds may take five, and a login of four more has its own time.
#[tokio::test(start_paused = true)]
async fn each_phase_of_a_renewal_has_its_own_time() {
    let step = || async {
        sleep(secs(4)).await;
        Ok::<_, io::Error>(())
    };
    let mut redial = Redial::new(step.then(move |()| step()));
    redial.ready().await.unwrap();
    redial.renew_now();
    let in_time = timeout(secs(9), redial.renewed()).await;
    in_time.expect("the dial and the login together").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_dial_has_no_answer_finds_its_server_down() {
    let dials = Cell::new(0);
    let log = Log::default();
    let dial = || {
        dials.set(dials.get() + 1);
        let hangs = dials.get() == 2;
        poll_fn(move |_| {
            if hangs {
                return Poll::Pending;
            }
            Poll::Ready(Ok::<_, io::Error>(()))
        })
    };
    let mut redial = Redial::new(dial.then(|()| ready(Ok::<_, io::Error>(()))))
        .policy(doubling())
        .observe(log.observer());
    redial.ready().await.unwrap();
    log.take();
    redial.renew_now();
    redial.renewed().await.unwrap();
    assert_eq!(log.take()[..2], ["due 1", "not renewed 1, Retry(Down)"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_a_renewal_knows_the_error_of_the_one_before() {
    let told = Mutex::new(Vec::new());
    let connector = with_info(|info: AttemptInfo<'_, io::Error>| {
        let mut told = told.lock().unwrap();
        told.push(info.last_error().map(io::Error::kind));
        ready(if told.len() == 2 {
            Err(io::Error::from(REFUSED))
        } else {
            Ok(())
        })
    });
    let mut redial = Redial::new(connector).policy(doubling());
    redial.ready().await.unwrap();
    redial.renew_now();
    redial.renewed().await.unwrap();
    assert_eq!(*told.lock().unwrap(), [None, None, Some(REFUSED)]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_leaves_the_connection() {
    let dials = Cell::new(0);
    let mut redial = Redial::new(|| {
        dials.set(dials.get() + 1);
        let panics = dials.get() == 2;
        poll_fn(move |_| {
            assert!(!panics, "an attempt panics");
            Poll::Ready(Ok::<_, io::Error>(()))
        })
    })
    .policy(doubling());
    redial.ready().await.unwrap();
    redial.renew_now();
    let mut cx = Context::from_waker(Waker::noop());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = redial.poll_renewed(&mut cx);
        let _ = redial.poll_renewed(&mut cx);
    }));
    assert!(panicked.is_err() && redial.get_mut().is_some());
    redial.renewed().await.unwrap();
    assert_eq!(dials.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn run_begins_the_next_session_when_the_present_one_returns_or_has_had_its_time() {
    for returns in [true, false] {
        let script = Script::new([]);
        let log = Log::default();
        let mut redial = Redial::new(script.connector()).observe(log.observer());
        let handle = redial.handle();
        let began = tokio::time::Instant::now();
        let number = redial
            .run(async |line| {
                if line.number == 2 {
                    return Ok(ControlFlow::Break(line.number));
                }
                sleep(secs(5)).await;
                handle.renew_now();
                sleep(if returns { secs(10) } else { secs(1000) }).await;
                Err(REFUSED.into())
            })
            .await
            .unwrap();
        assert_eq!((number, script.most_connections()), (2, 2));
        assert_eq!(began.elapsed().as_secs(), if returns { 15 } else { 35 });
        assert_eq!(
            log.take(),
            ["connecting 1", "connected 1, 0ns", "due 1", "renewed 1"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_advice_names_who_must_act_and_the_status_does_not() {
    let script = Script::new([(secs(0), Ok(())), (secs(0), Err(REFUSED))]);
    let actors = Arc::new(Mutex::new(Vec::new()));
    let mut redial = Redial::new(script.connector())
        .advise(|_| Some(Advice::stop(Actor::There)))
        .observe({
            let actors = actors.clone();
            move |event| {
                if let Event::RenewalFailed { actor, .. } = event {
                    actors.lock().unwrap().push(*actor);
                }
            }
        });
    let handle = redial.handle();
    redial.ready().await.unwrap();
    redial.renew_now();
    assert!(timeout(secs(1000), redial.renewed()).await.is_err());
    assert_eq!(*actors.lock().unwrap(), [Some(Actor::There)]);
    assert!(handle.status().why().is_none());
}
