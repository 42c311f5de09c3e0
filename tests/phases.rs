//! Does a driver treat a dial and what follows it as the two things that they are?

use std::future::{pending, poll_fn, ready};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use redial::{
    AttemptInfo, AttemptPhase, Cause, Connect, Event, Handle, Jitter, Next, Outage, Redial,
    Sequence, Status, Stratified, Verdict, with_info,
};
use tokio::time::{Instant, Interval, interval, sleep, timeout};

const DOWN: Verdict = Verdict::Retry(Cause::Down);
const STALLED: Verdict = Verdict::Retry(Cause::Stalled);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn one_second() -> Sequence {
    Sequence::new([secs(1)]).jitter(Jitter::None)
}

/// How long a step takes, and whether it fails then. `None` is for ever.
type Step = Option<(u64, bool)>;

async fn step(step: Step) -> io::Result<()> {
    let Some((seconds, succeeds)) = step else {
        return pending().await;
    };
    sleep(secs(seconds)).await;
    if succeeds {
        Ok(())
    } else {
        Err(ErrorKind::ConnectionReset.into())
    }
}

/// A connector whose attempts take these times for dial and login; the last repeats.
fn two_steps(
    attempts: &[(Step, Step)],
) -> impl Connect<Connection = (), Error = io::Error, Attempt: Send> + use<> {
    let attempts = attempts.to_vec();
    let login = Arc::new(Mutex::new(None));
    let mut number = 0;
    let dial = {
        let login = login.clone();
        move || {
            let (dial, next) = attempts[number.min(attempts.len() - 1)];
            number += 1;
            *login.lock().unwrap() = next;
            step(dial)
        }
    };
    dial.then(move |()| step(*login.lock().unwrap()))
}

/// Which attempts failed when, in milliseconds since the beginning, and why.
type Failures = Arc<Mutex<Vec<(u128, Verdict)>>>;

fn watched<C: Connect>(connector: C) -> (Redial<C, Sequence>, Failures)
where
    C::Error: 'static,
{
    let failures = Failures::default();
    let (seen, start) = (failures.clone(), Instant::now());
    let redial = Redial::new(connector)
        .policy(one_second())
        .observe(move |event| {
            if let Event::Failed { verdict, .. } = event {
                let at = start.elapsed().as_millis();
                seen.lock().unwrap().push((at, *verdict));
            }
        });
    (redial, failures)
}

const HANGS: Step = None;
const AT_ONCE: Step = Some((0, true));

// ---- deadlines

#[tokio::test(start_paused = true)]
async fn a_dial_without_an_answer_is_down_after_five_seconds() {
    let (mut redial, failures) = watched(two_steps(&[(HANGS, HANGS), (AT_ONCE, AT_ONCE)]));
    redial.ready().await.unwrap();
    assert_eq!(*failures.lock().unwrap(), [(5_000, DOWN)]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_begins_anew_when_the_dial_ends() {
    // Each step alone is within its own limit.
    let (redial, failures) = watched(two_steps(&[(Some((4, true)), Some((44, true)))]));
    let mut redial = redial;
    let start = Instant::now();
    redial.ready().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 48);
    assert!(failures.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_login_without_an_answer_has_stalled() {
    let steps = [(Some((2, true)), HANGS), (AT_ONCE, AT_ONCE)];
    let (redial, failures) = watched(two_steps(&steps));
    let mut redial = redial.attempt_timeout(secs(60));
    redial.ready().await.unwrap();
    assert_eq!(*failures.lock().unwrap(), [(62_000, STALLED)]);
}

#[tokio::test(start_paused = true)]
async fn by_default_a_login_has_a_minute_and_each_attempt_draws_its_own() {
    let mut drawn = Vec::new();
    for seed in 0..100 {
        let (redial, failures) = watched(two_steps(&[(AT_ONCE, HANGS), (AT_ONCE, AT_ONCE)]));
        redial.seed(seed).ready().await.unwrap();
        drawn.push(failures.lock().unwrap()[0].0);
    }
    // 60 s by a factor of up to exp(0.27).
    drawn.sort_unstable();
    assert!(drawn[0] >= 45_802 && drawn[0] < 48_000, "{drawn:?}");
    assert!(drawn[99] <= 78_599 && drawn[99] > 76_000, "{drawn:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_grows_by_stalls_of_the_login_and_not_of_the_dial() {
    let steps = [
        (HANGS, HANGS),
        (HANGS, HANGS),
        (AT_ONCE, HANGS),
        (HANGS, HANGS),
        (AT_ONCE, Some((1, false))),
        (AT_ONCE, HANGS),
        (AT_ONCE, AT_ONCE),
    ];
    let (redial, failures) = watched(two_steps(&steps));
    let mut redial = redial.attempt_timeout(secs(20)).patience(secs(40));
    redial.ready().await.unwrap();
    let failures = failures.lock().unwrap();
    assert_eq!(
        failures[..5],
        [
            (5_000, DOWN),
            (11_000, DOWN),
            (32_000, STALLED),
            (38_000, DOWN),
            (40_000, DOWN)
        ]
    );
    // A refused dial and a refused login in between do not set it back.
    let (last, verdict) = failures[5];
    let took = last - 41_000;
    assert!(took > 30_500 && took <= 40_000, "{took}");
    assert_eq!(verdict, STALLED);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_dial_can_be_set_and_switched_off() {
    let (redial, failures) = watched(two_steps(&[(HANGS, HANGS), (AT_ONCE, AT_ONCE)]));
    let mut redial = redial.dial_timeout(Duration::from_millis(700));
    redial.ready().await.unwrap();
    assert_eq!(*failures.lock().unwrap(), [(700, DOWN)]);

    let (redial, failures) = watched(two_steps(&[(Some((100_000, true)), AT_ONCE)]));
    let mut redial = redial.dial_timeout(Duration::MAX);
    redial.ready().await.unwrap();
    assert!(failures.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_outage_also_ends_a_dial() {
    let (redial, failures) = watched(two_steps(&[(HANGS, HANGS)]));
    let start = Instant::now();
    let mut redial = redial.max_elapsed(secs(8));
    let error = redial.ready().await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 8);
    assert_eq!(error.timed_out(), Some(secs(2)));
    assert_eq!(*failures.lock().unwrap(), [(5_000, DOWN), (8_000, DOWN)]);
}

/// The first attempt begins the outage, so both of its phases count.
#[tokio::test(start_paused = true)]
async fn the_limit_of_an_outage_spans_the_phases_of_its_first_attempt() {
    let (redial, failures) = watched(two_steps(&[(Some((4, true)), HANGS)]));
    let start = Instant::now();
    let mut redial = redial.max_elapsed(secs(10));
    redial.ready().await.unwrap_err();
    assert_eq!(start.elapsed(), secs(10));
    assert_eq!(*failures.lock().unwrap(), [(10_000, STALLED)]);
}

/// Also if the dial ends in that same poll.
#[tokio::test(start_paused = true)]
async fn no_login_begins_when_the_limit_of_the_outage_is_over() {
    let (redial, failures) = watched(two_steps(&[(Some((4, true)), HANGS)]));
    let mut redial = redial.max_elapsed(secs(4));
    redial.ready().await.unwrap_err();
    let (at, verdict) = failures.lock().unwrap()[0];
    assert!((4_000..=4_001).contains(&at), "{at}");
    assert_eq!(verdict, STALLED);
}

/// An attempt that hangs, is polled each second, and is in another phase each time.
struct Flips {
    phases: &'static [AttemptPhase],
    polls: usize,
}

impl Connect for Flips {
    type Connection = ();
    type Error = io::Error;
    type Attempt = Interval;

    fn connect(&mut self) -> Interval {
        interval(secs(1))
    }

    fn poll_attempt(
        &mut self,
        mut attempt: Pin<&mut Interval>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while attempt.poll_tick(cx).is_ready() {
            self.polls += 1;
        }
        Poll::Pending
    }

    fn phase(&self, _: &Interval) -> AttemptPhase {
        self.phases[self.polls % self.phases.len()]
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_goes_back_has_no_new_time() {
    use AttemptPhase::{Dialing, Established, Unknown};
    for phases in [
        &[Dialing, Established][..],
        &[Unknown, Dialing],
        &[Unknown, Established],
        &[Established, Unknown, Dialing],
    ] {
        let (redial, failures) = watched(Flips { phases, polls: 0 });
        let established = Arc::new(Mutex::new(0));
        let seen = established.clone();
        let mut redial = redial.max_attempts(1).observe(move |event| {
            if let Event::Established { .. } = event {
                *seen.lock().unwrap() += 1;
            }
        });
        let outcome = timeout(secs(100), redial.ready()).await;
        outcome.expect("it ends").unwrap_err();
        let is_established = phases.contains(&Established);
        assert_eq!(*established.lock().unwrap(), u32::from(is_established));
        let cause = if is_established { STALLED } else { DOWN };
        assert_eq!(failures.lock().unwrap()[0].1, cause, "{phases:?}");
    }
}

/// A connector that panics when it is asked how far its first attempt is.
struct Panics(u32);

impl Connect for Panics {
    type Connection = ();
    type Error = io::Error;
    type Attempt = u32;

    fn connect(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut u32>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if *attempt > 1 {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn phase(&self, _: &u32) -> AttemptPhase {
        panic!("it does not know")
    }
}

/// Otherwise such an attempt would have neither a deadline nor somebody to wake it.
#[tokio::test(start_paused = true)]
async fn an_attempt_whose_phase_panics_is_dropped_and_has_stalled() {
    let (mut redial, failures) = watched(Panics(0));
    let panicked = AssertUnwindSafe(redial.ready()).catch_unwind().await;
    assert!(panicked.is_err());
    redial.ready().await.unwrap();
    assert_eq!(*failures.lock().unwrap(), [(0, STALLED)]);
}

/// Otherwise the attempt would go on without a deadline, and without anybody to wake it.
#[tokio::test(start_paused = true)]
async fn a_driver_goes_on_after_an_observer_panicked_at_a_phase() {
    let mut panics = true;
    let (redial, failures) = watched(two_steps(&[(AT_ONCE, HANGS), (AT_ONCE, AT_ONCE)]));
    let mut redial = redial.attempt_timeout(secs(20)).observe(move |event| {
        if let Event::Established { .. } = event {
            assert!(!std::mem::take(&mut panics), "the observer");
        }
    });
    // As in a task whose executor catches panics, and polls it again when it is woken.
    let ready = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| redial.poll_ready(cx).map_ok(drop)));
        polled.unwrap_or(Poll::Pending)
    });
    timeout(secs(60), ready)
        .await
        .expect("it is woken")
        .unwrap();
    assert_eq!(*failures.lock().unwrap(), [(20_000, STALLED)]);
}

/// A dial that limits itself, as `redial::tcp` does.
struct Slow<C>(C);

impl<C: Connect> Connect for Slow<C> {
    type Connection = C::Connection;
    type Error = C::Error;
    type Attempt = C::Attempt;

    fn connect(&mut self) -> C::Attempt {
        self.0.connect()
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut C::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, C::Error>> {
        self.0.poll_attempt(attempt, cx)
    }

    fn phase(&self, _: &C::Attempt) -> AttemptPhase {
        AttemptPhase::Dialing
    }

    fn limits_its_dial(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_limits_itself_is_not_cut_short() {
    let dial = Slow(|| step(Some((11, false))));
    let (redial, failures) = watched(dial.then(|()| step(AT_ONCE)));
    let mut redial = redial.attempt_timeout(secs(1)).max_attempts(1).boxed();
    redial.ready().await.unwrap_err();
    assert_eq!(*failures.lock().unwrap(), [(11_000, DOWN)]);
}

// ---- connectors

#[tokio::test(start_paused = true)]
async fn steps_nest_and_the_first_one_is_the_dial() {
    let connector = (|| step(Some((3, true))))
        .then(|()| step(Some((7, true))))
        .then(|()| step(HANGS));
    let (redial, failures) = watched(connector);
    let mut redial = redial.attempt_timeout(secs(20)).max_attempts(1).boxed();
    redial.ready().await.unwrap_err();
    // The second step has begun the deadline, and the third does not begin it anew.
    assert_eq!(*failures.lock().unwrap(), [(23_000, STALLED)]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_ready_at_once_leaves_a_whole_login() {
    let connector = (|| ready(Ok::<_, io::Error>(7))).then(|seven| async move {
        sleep(secs(40)).await;
        Ok::<_, io::Error>(seven)
    });
    let mut redial = Redial::new(connector);
    assert_eq!(*redial.ready().await.unwrap(), 7);
}

#[derive(Debug, PartialEq)]
enum ChatError {
    Io(ErrorKind),
    Banned,
}

impl From<io::Error> for ChatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_dial_becomes_one_of_the_whole() {
    let mut answers = [Some((1, false)), AT_ONCE].into_iter();
    let connector =
        (move || step(answers.next().unwrap())).then(async |()| Err::<(), _>(ChatError::Banned));
    let errors = Arc::new(Mutex::new(Vec::new()));
    let seen = errors.clone();
    let mut redial = Redial::new(connector)
        .policy(one_second())
        .max_attempts(2)
        .observe(move |event| {
            if let Event::Failed { error, .. } = event {
                seen.lock().unwrap().push(format!("{error:?}"));
            }
        });
    let error = redial.ready().await.unwrap_err();
    assert_eq!(error.last(), Some(&ChatError::Banned));
    assert_eq!(
        *errors.lock().unwrap(),
        ["Some(Io(ConnectionReset))", "Some(Banned)"]
    );
}

#[tokio::test(start_paused = true)]
async fn one_closure_may_mark_the_end_of_its_dial() {
    let mut number = 0;
    let connector = with_info(move |info: AttemptInfo<'_, io::Error>| {
        number += 1;
        let (number, established) = (number, info.mark());
        async move {
            // The first dial hangs, and the first login.
            step(if number == 1 { HANGS } else { AT_ONCE }).await?;
            established.set();
            step(if number == 2 { HANGS } else { AT_ONCE }).await
        }
    });
    let (redial, failures) = watched(connector);
    let mut redial = redial.attempt_timeout(secs(20)).boxed();
    redial.ready().await.unwrap();
    assert_eq!(
        *failures.lock().unwrap(),
        [(5_000, DOWN), (26_000, STALLED)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_marks_nothing_has_no_phases() {
    let connector = with_info(|_: AttemptInfo<'_, io::Error>| step(HANGS));
    let (redial, failures) = watched(connector);
    let mut redial = redial.attempt_timeout(secs(13)).max_attempts(1);
    redial.ready().await.unwrap_err();
    assert_eq!(*failures.lock().unwrap(), [(13_000, STALLED)]);
}

/// A change of the network reaches the dial through `then`.
#[test]
fn then_forwards_what_concerns_its_dial() {
    struct Dial(Arc<Mutex<u32>>);
    impl Connect for Dial {
        type Connection = ();
        type Error = io::Error;
        type Attempt = ();
        fn connect(&mut self) {}
        fn network_changed(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
        fn poll_attempt(&mut self, _: Pin<&mut ()>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn limits_its_dial(&self) -> bool {
            true
        }
    }
    let changes = Arc::new(Mutex::new(0));
    let mut connector = Dial(changes.clone()).then(|()| step(AT_ONCE));
    connector.network_changed();
    assert_eq!(*changes.lock().unwrap(), 1);
    assert!(connector.limits_its_dial());
}

// ---- what people see

fn phase(handle: &Handle) -> Option<AttemptPhase> {
    match handle.status() {
        Status::Connecting { phase, .. } => Some(phase),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn status_and_events_tell_connecting_from_logging_in() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = seen.clone();
    let connector = two_steps(&[(Some((2, true)), Some((2, true)))]);
    let mut redial = Redial::new(connector).observe(move |event| {
        let name = format!("{event:?}");
        let name = name.split(' ').next().unwrap().to_owned();
        events.lock().unwrap().push(name);
    });
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(phase(&handle), Some(AttemptPhase::Dialing));
    assert!(timeout(secs(2), &mut future).await.is_err());
    assert_eq!(phase(&handle), Some(AttemptPhase::Established));
    let Status::Connecting { since, .. } = handle.status() else {
        unreachable!()
    };
    assert_eq!(since.elapsed(), secs(3), "the attempt, and not its phase");
    future.await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["Connecting", "Established", "Connected"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_tell_is_of_unknown_phase() {
    let mut redial = Redial::new(|| step(HANGS));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(1), &mut future).await.is_err());
    assert_eq!(phase(&handle), Some(AttemptPhase::Unknown));
}

/// A press ends a dial that hangs: it has cost nothing, and patience does not grow.
#[tokio::test(start_paused = true)]
async fn a_press_on_a_dial_is_no_stall() {
    let steps = [(HANGS, HANGS), (AT_ONCE, HANGS), (AT_ONCE, AT_ONCE)];
    let (redial, failures) = watched(two_steps(&steps));
    let mut redial = redial.attempt_timeout(secs(30));
    let handle = redial.handle();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(2), &mut future).await.is_err());
    handle.retry_now();
    future.await.unwrap();
    let failures = failures.lock().unwrap();
    assert_eq!(failures[0], (2_000, DOWN));
    assert_eq!(failures[1].1, STALLED);
    // 30 s, and not the doubled time.
    assert_eq!((failures[1].0 - failures[0].0) / 1_000, 30);
}

// ---- without a driver

#[test]
fn an_outage_begins_an_attempt_that_is_established_at_once() {
    let mut outage = Outage::from_seed(one_second(), 1).attempt_timeout(secs(30));
    assert_eq!(outage.established(secs(10)), secs(30));
    assert_eq!(outage.failed(secs(12), STALLED), Next::Wait(secs(1)));
    // It has lasted as long as its first attempt.
    assert_eq!(outage.elapsed(secs(12)), secs(2));
}

#[test]
fn a_dial_is_saved_as_a_failure_that_cost_nothing() {
    let mut outage = Outage::from_seed(one_second(), 1).attempt_timeout(secs(30));
    let timeout_after = |saved| {
        let mut outage = Outage::from_seed(one_second(), 1).attempt_timeout(secs(30));
        let _ = outage.restore(&saved, Duration::ZERO, Duration::ZERO);
        assert_eq!(outage.attempts(), 1);
        outage.connecting(secs(5))
    };
    assert_eq!(outage.dialing(secs(10)), secs(5));
    let dialing = outage.save(secs(11)).unwrap();
    assert_eq!(timeout_after(dialing), secs(30));
    outage.established(secs(11));
    let established = outage.save(secs(12)).unwrap();
    assert!(timeout_after(established) > secs(45), "patience has grown");
}

/// The outage of a client that stalled for hours, and the time.
fn stalled_for_hours(seed: u64) -> (Outage<Stratified>, Duration) {
    let mut outage = Outage::from_seed(Stratified::default(), seed);
    let mut now = Duration::ZERO;
    while now < secs(3 * 3600) {
        let Next::Wait(wait) = outage.failed(now, STALLED) else {
            unreachable!()
        };
        now += wait;
    }
    (outage, now)
}

/// The windows of a client that stalled for an hour are ten minutes wide. A restart of
/// its program does not make them half a minute again.
#[test]
fn a_restart_does_not_make_windows_narrower() {
    let mut longest = Duration::ZERO;
    for seed in 0..20 {
        let mut outage = Outage::from_seed(Stratified::default(), seed + 100);
        let (before, now) = stalled_for_hours(seed);
        let saved = before.save(now).unwrap();
        let Next::Wait(left) = outage.restore(&saved, Duration::ZERO, Duration::ZERO) else {
            unreachable!()
        };
        let mut now = left;
        for _ in 0..3 {
            outage.connecting(now);
            let Next::Wait(wait) = outage.failed(now, DOWN) else {
                unreachable!()
            };
            longest = longest.max(wait);
            now += wait;
        }
    }
    assert!(longest > secs(300), "{longest:?}");
}

/// Unless the network has changed since: the policy began anew before the restart.
#[test]
fn a_restart_does_not_bring_back_the_windows_of_another_network() {
    for seed in 0..100 {
        let (mut before, now) = stalled_for_hours(seed);
        before.network_changed(now);
        before.connecting(now);
        let _ = before.failed(now, DOWN);
        let saved = before.save(now).unwrap();
        let mut outage = Outage::from_seed(Stratified::default(), seed + 100);
        let Next::Wait(left) = outage.restore(&saved, Duration::ZERO, Duration::ZERO) else {
            unreachable!()
        };
        outage.connecting(left);
        let Next::Wait(wait) = outage.failed(left, DOWN) else {
            unreachable!()
        };
        assert!(wait <= Duration::from_millis(37_500), "{wait:?}");
    }
}

/// Neither on the first attempt after the restart, nor on the last one before it.
#[test]
fn a_connection_beside_a_restart_makes_windows_narrow_again() {
    for seed in 0..100 {
        let (mut before, mut now) = stalled_for_hours(seed);
        let stalled = before.save(now).unwrap();
        before.connecting(now);
        before.connected(now);
        now += secs(5);
        let connected = before.save(now).unwrap();

        let mut outage = Outage::from_seed(Stratified::default(), seed + 100);
        let Next::Wait(left) = outage.restore(&stalled, Duration::ZERO, Duration::ZERO) else {
            unreachable!()
        };
        outage.connecting(left);
        outage.connected(left);
        // Whatever ends it.
        let verdict = [DOWN, STALLED, Verdict::Retry(Cause::Busy)][seed as usize % 3];
        let after = outage.lost_with(left + secs(5), verdict);
        let before = outage.restore(&connected, Duration::ZERO, Duration::ZERO);
        for next in [after, before] {
            let Next::Wait(wait) = next else {
                unreachable!()
            };
            assert!(wait <= Duration::from_millis(37_500), "{wait:?}");
        }
    }
}

#[test]
fn an_attempt_that_turns_out_to_dial_has_begun_before() {
    let mut outage = Outage::from_seed(one_second(), 1);
    outage.connecting(secs(10));
    outage.dialing(secs(12));
    let _ = outage.failed(secs(14), DOWN);
    assert_eq!(outage.elapsed(secs(14)), secs(4));
}

/// What 0.1 wrote has no cost: it is read as before.
#[cfg(feature = "serde")]
#[test]
fn an_outage_that_an_older_version_wrote_is_read() {
    let written = r#"{"elapsed":{"secs":100,"nanos":0},"attempts":3,"stalled":2,"eager":false,
        "wait":{"secs":4,"nanos":0}}"#;
    let saved: redial::SavedOutage = serde_json::from_str(written).unwrap();
    let mut outage = Outage::from_seed(one_second(), 1);
    assert_eq!(
        outage.restore(&saved, secs(1), secs(0)),
        Next::Wait(secs(3))
    );
    assert!(
        outage.connecting(secs(3)) >= secs(39),
        "13 s, doubled twice"
    );
}

#[test]
fn windows_never_get_narrower_within_an_outage() {
    for seed in 0..50 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let mut now = Duration::ZERO;
        let mut fail = |now: &mut Duration, verdict| {
            let Next::Wait(wait) = outage.failed(*now, verdict) else {
                unreachable!()
            };
            *now += wait;
            wait.as_secs_f64()
        };
        while now < secs(7200) {
            fail(&mut now, STALLED);
        }
        let waits: Vec<f64> = (0..50).map(|_| fail(&mut now, DOWN)).collect();
        // Windows of 600 s: waits of 450 s to 750 s, and 600 s on average.
        let mean = waits.iter().sum::<f64>() / 50.0;
        assert!((mean - 600.0).abs() < 20.0, "{mean}");
        assert!(waits.iter().all(|wait| (449.9..=750.0).contains(wait)));
    }
}

/// A server that takes a client and drops it after a few seconds has told it something
/// new: the wait is no longer one of a black hole.
#[test]
fn a_connection_makes_windows_narrow_again_and_keeps_the_outage() {
    for seed in 0..1_000 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let mut now = Duration::ZERO;
        while now < secs(3600) {
            now += outage.connecting(now);
            let Next::Wait(wait) = outage.failed(now, STALLED) else {
                unreachable!()
            };
            now += wait;
        }
        let attempts = outage.attempts();
        for round in 1..4 {
            outage.connecting(now);
            outage.connected(now);
            let Next::Wait(wait) = outage.lost(now + secs(5)) else {
                unreachable!()
            };
            assert!(wait <= Duration::from_millis(37_500), "{wait:?}");
            assert_eq!(outage.attempts(), attempts + round);
            now += secs(5) + wait;
        }
    }
}
