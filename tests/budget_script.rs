//! What does the script of a shared bucket answer?
//!
//! These are facts of its mirror. That the script answers the same on a real server is
//! tested in `redial-redis`.
#![cfg(all(feature = "tokio", not(loom)))]

mod mirror;

use std::time::Duration;

use mirror::{Mirror, Mood, excess, script};
use proptest::prelude::*;
use redial::budget::{Call, Store, StoreErrorKind};

const SECOND: i64 = 1_000_000;
const NOW: i64 = 1_795_729_960_366_700;

/// A key on a server whose clock the test sets.
#[derive(Default)]
struct Key {
    state: Option<String>,
    now: i64,
}

impl Key {
    /// The wait for the first of `count` tokens of a bucket of 3, one each second.
    fn wait(&mut self, count: i64, floor: i64) -> i64 {
        let arguments = [SECOND, 3, count, floor, 0, 1000];
        let (answer, written) = script(self.state.as_deref(), self.now, arguments).unwrap();
        self.state = written.map(|(state, _)| state);
        answer[2]
    }
}

#[test]
fn a_key_that_is_missing_is_a_bucket_that_was_just_emptied() {
    let mut key = Key {
        now: NOW,
        ..Key::default()
    };
    assert_eq!(
        [0; 3].map(|_| key.wait(1, 0)),
        [1, 2, 3].map(|n| n * SECOND)
    );
    key.now += 10 * SECOND;
    assert_eq!(
        [0; 4].map(|_| key.wait(1, 0)),
        [-2, -1, 0, 1].map(|n| n * SECOND)
    );
}

#[test]
fn a_question_for_no_token_takes_none() {
    let mut key = Key {
        now: NOW,
        ..Key::default()
    };
    key.wait(2, 0);
    assert_eq!(key.wait(0, 0), 3 * SECOND);
    assert_eq!(key.wait(1, 0), 3 * SECOND);
}

#[test]
fn what_a_caller_remembers_restores_the_queue() {
    let mut key = Key {
        now: NOW,
        ..Key::default()
    };
    assert_eq!(key.wait(1, 9 * SECOND), 7 * SECOND);
    // And what it remembers less of changes nothing.
    assert_eq!(key.wait(1, 5 * SECOND), 8 * SECOND);
}

#[test]
fn a_clock_that_goes_back_earns_nothing_and_costs_nothing() {
    let mut key = Key {
        now: NOW,
        ..Key::default()
    };
    key.wait(4, 0);
    assert_eq!(key.wait(0, 0), 5 * SECOND);
    key.now -= 3600 * SECOND;
    assert_eq!(key.wait(0, 0), 5 * SECOND);
    key.now += SECOND / 2;
    assert_eq!(key.wait(0, 0), 9 * SECOND / 2);
    key.now -= 10 * SECOND;
    assert_eq!(key.wait(0, 0), 9 * SECOND / 2);
}

#[test]
fn a_caller_that_waits_no_longer_takes_no_token() {
    let late = [SECOND, 3, 5, 0, NOW - 1, 1000];
    assert_eq!(script(None, NOW, late), Ok(([0, NOW, 0], None)));
    let (answer, written) = script(None, NOW, [SECOND, 3, 5, 0, NOW, 1000]).unwrap();
    assert!(answer[0] == 1 && written.is_some());
}

#[test]
fn a_key_expires_after_the_bucket_is_full() {
    // Full in 3.0000001 s, rounded up to a millisecond, and kept for one second.
    let (_, written) = script(None, NOW, [SECOND, 3, 0, 3_000_001, 0, 1000]).unwrap();
    assert_eq!(written.unwrap().1, 4001);
}

#[test]
fn a_key_that_holds_something_else_is_an_error() {
    for state in ["", "17", "1 2 3", "1.5 2", "-1 2", "1 x", " 2", "1 "] {
        let foreign = script(Some(state), NOW, [SECOND, 3, 1, 0, 0, 1000]);
        assert!(foreign.unwrap_err().starts_with("FOREIGN"), "{state}");
    }
}

proptest! {
    /// In any span of time, by the server's clock, there are at most the burst and what
    /// it earns; whatever callers remember, and although the clock goes back.
    #[test]
    fn no_span_holds_more_than_the_burst_and_what_it_earns(
        burst in 1_u32..5,
        period in 1_i64..1000,
        calls in prop::collection::vec((0_i64..3, 0_i64..2000, 0_i64..5000, any::<bool>()), 1..100),
    ) {
        let (mut now, mut state, mut moved) = (NOW, None, 0);
        let mut granted = Vec::new();
        for (count, pass, floor, back) in calls {
            now += pass;
            if back {
                now -= floor;
                moved += floor;
            }
            let arguments = [period, i64::from(burst), count, floor, 0, 1000];
            let (answer, written) = script(state.as_deref(), now, arguments).unwrap();
            state = written.map(|(state, _)| state);
            // On a clock that does not go back.
            granted.extend((0..count).map(|i| now + moved + (answer[2] + i * period).max(0)));
        }
        let excess = excess(granted.iter().copied(), burst, period);
        prop_assert!(excess <= 0, "{excess} too many in {granted:?}");
    }
}

#[test]
fn the_measure_counts_what_is_too_much() {
    assert_eq!(excess([], 3, SECOND), -3);
    assert_eq!(excess([0, 0, 0], 3, SECOND), 0);
    assert_eq!(excess([0, 0, 0, SECOND - 1], 3, SECOND), 1);
    assert_eq!(excess([0, 0, 0, SECOND], 3, SECOND), 0);
    assert_eq!(excess([5, 5, 0, 0, 0], 3, SECOND), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_fails_as_a_server_does() {
    let server = Mirror::new();
    let call = Call::new("x", 3, Duration::from_secs(1));
    server.way(Duration::from_millis(2));
    let began = server.now();
    assert_eq!(server.run(&call).await.unwrap(), [1, began + 1000, SECOND]);
    assert_eq!(server.now(), began + 2000);

    server.mood(Mood::Gone);
    assert_eq!(
        server.run(&call).await.unwrap_err().kind(),
        StoreErrorKind::Unreachable
    );
    server.mood(Mood::Replies("READONLY You can't write"));
    assert_eq!(
        server.run(&call).await.unwrap_err().kind(),
        StoreErrorKind::ReadOnly
    );

    // Nobody waits for the first call when the server goes on.
    server.mood(Mood::Stopped);
    let abandoned = tokio::time::timeout(Duration::from_secs(1), server.run(&call));
    assert!(abandoned.await.is_err());
    let waits = tokio::spawn({
        let (server, call) = (server.clone(), call.clone());
        async move { server.run(&call).await.unwrap()[2] }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.mood(Mood::Well);
    // 1.5 s have passed since the first token was taken, and one more is taken.
    let waited = waits.await.unwrap();
    assert!((waited - 3 * SECOND / 2).abs() <= 20_000, "{waited}");
    assert_eq!(server.calls().len(), 3);

    server.mood(Mood::Breaks { after_it_ran: true });
    assert!(server.run(&call).await.is_err());
    assert!(server.run(&call).await.is_ok());
    assert_eq!(server.calls().len(), 5);
}
