//! When does a driver that is advised believe a stop? On tokio's paused clock.
#![cfg(feature = "tokio")]

mod paused;

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redial::codes::{Actor, Advice};
use redial::policy::from_fn;
use redial::{Cause, Connect, Event, Handle, Policy, Reason, Redial, Status, Verdict};
use tokio::time::{Instant, sleep, timeout};

use paused::paused_runtime;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What happened to an attempt or a connection.
#[derive(Clone, Debug, PartialEq)]
enum Failure {
    /// No answer.
    Dead,
    /// An answer that the table judges.
    Answer(Advice),
}

impl Failure {
    #[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option_ref)]
    fn advice(&self) -> Option<Advice> {
        match self {
            Self::Dead => None,
            Self::Answer(advice) => Some(*advice),
        }
    }
}

/// A refused login: once more after half a minute.
const LOGIN: Advice = TWICE.spaced();
const TWICE: Advice = Advice::stop(Actor::Here).if_repeated(2, Duration::from_secs(30));
const BANNED: Advice = Advice::stop(Actor::There);

type Outcomes = Arc<Mutex<VecDeque<Failure>>>;

/// A connector whose attempts fail with what is in the list, and succeed if it is empty.
fn server() -> (
    impl FnMut() -> Ready<Result<(), Failure>> + Send + 'static,
    Outcomes,
) {
    let outcomes = Outcomes::default();
    let list = Arc::clone(&outcomes);
    let connect = move || ready(list.lock().unwrap().pop_front().map_or(Ok(()), Err));
    (connect, outcomes)
}

fn then(outcomes: &Outcomes, failures: &[Failure]) {
    outcomes.lock().unwrap().extend(failures.iter().cloned());
}

/// A wait of a second, each time.
fn seconds() -> impl Policy {
    from_fn(|_| std::iter::repeat(secs(1)))
}

/// A driver that takes the advice of the answers.
fn advised<C>(connect: C) -> Redial<C, impl Policy>
where
    C: Connect<Error = Failure>,
{
    Redial::new(connect)
        .policy(seconds())
        .advise(Failure::advice)
}

fn on_paused_clock<F: Future>(test: F) -> F::Output {
    paused_runtime().block_on(test)
}

#[test]
fn a_stop_on_a_first_connect_counts_at_once() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &[Failure::Dead, Failure::Answer(LOGIN)]);
        let mut redial = advised(connect);
        let start = Instant::now();
        let error = redial.ready().await.unwrap_err();
        assert!(error.is_stopped());
        assert_eq!(error.actor(), Some(Actor::Here));
        assert_eq!(error.last(), Some(&Failure::Answer(LOGIN)));
        assert_eq!(start.elapsed(), secs(1));
        // It stays so, without the last error.
        let error = redial.ready().await.unwrap_err();
        assert_eq!((error.actor(), error.last()), (Some(Actor::Here), None));
    });
}

#[test]
fn a_login_that_is_refused_after_a_connection_is_tried_once_more() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        let mut redial = advised(connect);
        redial.ready().await.unwrap();
        sleep(secs(3600)).await;
        then(&outcomes, &[Failure::Answer(LOGIN), Failure::Answer(LOGIN)]);
        redial.lost();
        let start = Instant::now();
        let error = redial.ready().await.unwrap_err();
        assert!(error.is_stopped());
        assert_eq!(error.attempts(), 2);
        let took = start.elapsed();
        assert!((secs(31)..secs(62)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_secret_that_was_rotated_stops_nothing() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        let mut redial = advised(connect);
        let handle = redial.handle();
        for _ in 0..10 {
            redial.ready().await.unwrap();
            sleep(secs(60)).await;
            then(&outcomes, &[Failure::Answer(LOGIN)]);
            redial.lost();
        }
        redial.ready().await.unwrap();
        assert!(matches!(handle.status(), Status::Connected { .. }));
    });
}

#[test]
fn a_short_connection_does_not_clear_the_count_however_long_ago_it_was() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        let mut redial = advised(connect);
        redial.ready().await.unwrap();
        sleep(secs(60)).await;
        redial.lost_with(Failure::Answer(TWICE));
        redial.ready().await.unwrap();
        // Up for a moment, and then away for a minute.
        then(&outcomes, &vec![Failure::Dead; 60]);
        then(&outcomes, &[Failure::Answer(TWICE)]);
        redial.lost();
        assert!(redial.ready().await.unwrap_err().is_stopped());
    });
}

#[test]
fn a_connection_that_lasts_clears_the_count() {
    on_paused_clock(async {
        let (connect, _) = server();
        let mut redial = advised(connect);
        for _ in 0..5 {
            redial.ready().await.unwrap();
            sleep(secs(31)).await;
            redial.lost_with(Failure::Answer(TWICE));
        }
        redial.ready().await.unwrap();
        sleep(secs(1)).await;
        redial.lost_with(Failure::Answer(TWICE));
        redial.ready().await.unwrap();
        sleep(secs(29)).await;
        // The third within 30 s of the second, which the lasting one did not clear.
        redial.lost_with(Failure::Answer(TWICE));
        assert!(redial.ready().await.unwrap_err().is_stopped());
    });
}

#[test]
fn a_takeover_is_remembered_across_connections() {
    on_paused_clock(async {
        let taken = Advice::stop(Actor::Here).if_again_within(secs(600));
        let (connect, _) = server();
        let mut redial = advised(connect);
        redial.ready().await.unwrap();
        redial.lost_with(Failure::Answer(taken));
        redial.ready().await.unwrap();
        sleep(secs(300)).await;
        redial.lost_with(Failure::Answer(taken));
        assert!(redial.ready().await.unwrap_err().is_stopped());
    });
}

#[test]
fn a_restored_outage_is_one_of_a_client_that_was_connected_in_any_order_of_the_settings() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &vec![Failure::Dead; 100]);
        let mut redial = Redial::new(connect).policy(seconds());
        let _ = timeout(secs(3), redial.ready()).await;
        let saved = redial.save().unwrap();
        for restore_first in [true, false] {
            let (connect, outcomes) = server();
            then(&outcomes, &[Failure::Answer(LOGIN)]);
            let redial = Redial::new(connect).policy(seconds());
            let mut redial = if restore_first {
                redial.restore(&saved, secs(1)).advise(Failure::advice)
            } else {
                redial.advise(Failure::advice).restore(&saved, secs(1))
            };
            redial.ready().await.unwrap();
        }
    });
}

#[test]
fn advice_on_a_driver_that_is_up_knows_that_it_was_connected() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        let mut redial = Redial::new(connect).policy(seconds());
        redial.ready().await.unwrap();
        let mut redial = redial.advise(Failure::advice);
        then(&outcomes, &[Failure::Answer(LOGIN)]);
        redial.lost();
        redial.ready().await.unwrap();
    });
}

/// Connected for a minute, then refused once, and waiting for half a minute.
async fn refused_once() -> (
    Redial<impl redial::Connect<Connection = (), Error = Failure>, impl Policy>,
    Outcomes,
) {
    let (connect, outcomes) = server();
    let mut redial = advised(connect);
    redial.handle();
    redial.ready().await.unwrap();
    sleep(secs(60)).await;
    then(&outcomes, &[Failure::Answer(LOGIN)]);
    redial.lost();
    assert!(timeout(secs(5), redial.ready()).await.is_err());
    (redial, outcomes)
}

#[test]
fn the_status_says_who_must_act_while_the_driver_tries_again() {
    on_paused_clock(async {
        let (mut redial, _) = refused_once().await;
        let handle = redial.handle();
        let status = handle.status();
        let why = status.why().unwrap();
        assert_eq!(why.actor(), Some(Actor::Here));
        assert!(matches!(why.verdict(), Some(Verdict::RetryAfter(_))));
        redial.ready().await.unwrap();
        assert_eq!(handle.status().why(), None);
        // The next loss has nothing to do with it.
        redial.lost();
        assert!(timeout(Duration::ZERO, redial.ready()).await.is_err());
        assert_eq!(handle.status().why().unwrap().actor(), None);
    });
}

#[test]
fn in_the_attempt_of_a_person_at_a_button_the_first_stop_counts() {
    on_paused_clock(async {
        // New settings wait until the half minute is over.
        let presses = [
            (Handle::retry_now as fn(&Handle), 1),
            (Handle::reconnect, 62),
        ];
        for (press, limit) in presses {
            let (mut redial, outcomes) = refused_once().await;
            then(&outcomes, &[Failure::Answer(LOGIN)]);
            let start = Instant::now();
            press(&redial.handle());
            let error = redial.ready().await.unwrap_err();
            assert!(error.is_stopped());
            assert_eq!(error.actor(), Some(Actor::Here));
            assert!(start.elapsed() <= secs(limit), "{:?}", start.elapsed());
            assert_eq!(error.attempts(), 2);
        }
    });
}

#[test]
fn a_press_covers_one_attempt() {
    on_paused_clock(async {
        let other = TWICE.elsewhere();
        for first in [Failure::Dead, Failure::Answer(Advice::retry(Cause::Busy))] {
            let (mut redial, outcomes) = refused_once().await;
            then(&outcomes, &[first, Failure::Answer(other)]);
            redial.handle().retry_now();
            redial.ready().await.unwrap();
            assert!(outcomes.lock().unwrap().is_empty());
        }
    });
}

#[test]
fn a_press_of_a_program_leaves_the_count_as_it_is() {
    on_paused_clock(async {
        let (mut redial, outcomes) = refused_once().await;
        then(&outcomes, &[Failure::Answer(TWICE)]);
        redial.handle().network_changed();
        redial.ready().await.unwrap();
        assert!(outcomes.lock().unwrap().is_empty());
    });
}

#[test]
fn after_a_stop_a_press_makes_one_attempt_and_the_next_stop_counts() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &vec![Failure::Answer(LOGIN); 2]);
        let mut redial = advised(connect);
        let handle = redial.handle();
        assert!(redial.ready().await.unwrap_err().is_stopped());
        let status = handle.status();
        assert_eq!(status.why().unwrap().actor(), Some(Actor::Here));
        handle.retry_now();
        assert!(redial.ready().await.unwrap_err().is_stopped());
        assert!(outcomes.lock().unwrap().is_empty());
        handle.retry_now();
        redial.ready().await.unwrap();
    });
}

#[test]
fn unattended_programs_come_back_after_five_minutes_unless_only_this_side_can_act() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &[Failure::Answer(BANNED)]);
        let mut redial = Redial::new(connect)
            .unattended()
            .policy(seconds())
            .advise(Failure::advice);
        let handle = redial.handle();
        let start = Instant::now();
        assert!(timeout(secs(299), redial.ready()).await.is_err());
        let status = handle.status();
        assert_eq!(status.why().unwrap().actor(), Some(Actor::There));
        redial.ready().await.unwrap();
        assert!((secs(300)..secs(601)).contains(&start.elapsed()));
        then(&outcomes, &[Failure::Answer(LOGIN), Failure::Answer(LOGIN)]);
        redial.lost();
        let error = redial.ready().await.unwrap_err();
        assert_eq!(error.actor(), Some(Actor::Here));
    });
}

#[test]
fn the_later_of_classify_and_advise_judges() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &vec![Failure::Answer(BANNED); 2]);
        let mut redial = Redial::new(connect)
            .policy(seconds())
            .advise(Failure::advice)
            .classify(|_| Verdict::default())
            .unattended();
        redial.ready().await.unwrap();
        then(&outcomes, &[Failure::Answer(BANNED)]);
        let mut redial = redial
            .classify(|_| Verdict::default())
            .advise(Failure::advice);
        redial.lost();
        assert!(timeout(secs(60), redial.ready()).await.is_err());
    });
}

#[test]
fn an_error_without_advice_is_judged_as_if_nobody_gave_any() {
    on_paused_clock(async {
        let connect = || {
            ready(Err::<(), _>(io::Error::from(
                io::ErrorKind::PermissionDenied,
            )))
        };
        let mut redial = Redial::new(connect).advise(|_| None);
        let error = redial.ready().await.unwrap_err();
        assert_eq!((error.is_stopped(), error.actor()), (true, None));
    });
}

#[test]
fn the_events_say_who_must_act() {
    on_paused_clock(async {
        let (connect, outcomes) = server();
        then(&outcomes, &[Failure::Dead, Failure::Answer(BANNED)]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut redial = Redial::new(connect)
            .policy(seconds())
            .advise(Failure::advice)
            .observe({
                let seen = Arc::clone(&seen);
                move |event| match event {
                    Event::Failed { actor, .. } => seen.lock().unwrap().push(*actor),
                    Event::GaveUp { actor, reason, .. } => {
                        assert_eq!(*reason, Reason::Stopped);
                        seen.lock().unwrap().push(*actor);
                    }
                    _ => {}
                }
            });
        redial.ready().await.unwrap_err();
        let there = Some(Actor::There);
        assert_eq!(*seen.lock().unwrap(), [None, there, there]);
    });
}
