//! Who gets the tokens of a shared budget, and when is its store asked?
#![cfg(all(feature = "tokio", not(loom)))]

mod mirror;
mod paused;

use std::collections::HashMap;
use std::future::{Future, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use mirror::{Mirror, Mood, excess};
use paused::paused_runtime;
use proptest::prelude::*;
use redial::budget::{BudgetEvent, Call, Store, StoreError, StoreErrorKind};
use redial::{Budget, Jitter, Redial, Reserved, Sequence, SharedBudget, Source};
use tokio::time::{Instant, sleep, timeout};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// There and back.
const WAY: Duration = Duration::from_millis(2);

/// A server that is far enough that others can ask meanwhile.
fn server() -> Mirror {
    let server = Mirror::new();
    server.way(WAY);
    server
}

/// One token each second; of two processes.
fn budget(server: &Mirror) -> SharedBudget {
    SharedBudget::new(server.clone(), "x", 1, SECOND).share(2)
}

/// The counts of the calls that the server ran.
fn counts(server: &Mirror) -> Vec<i64> {
    server.calls().iter().map(|call| call[2]).collect()
}

fn remaining(token: &Reserved) -> Duration {
    token.due().map_or(Duration::ZERO, |due| due.remaining())
}

// ---- one question at a time

#[tokio::test(start_paused = true)]
async fn those_who_wait_together_share_a_question() {
    let server = server();
    let budget = budget(&server);
    let tokens = join_all((0..8).map(|_| budget.reserve())).await;
    let waits: Vec<_> = tokens.iter().map(Reserved::wait).collect();
    // A new bucket begins empty. The answer came a millisecond after it was given.
    assert_eq!(waits, [1, 2, 3, 4, 5, 6, 7, 8].map(|n| n * SECOND));
    assert!(tokens.iter().all(|token| token.source() == Source::Shared));
    assert_eq!(counts(&server), [8]);
}

#[tokio::test(start_paused = true)]
async fn those_who_come_during_a_question_share_the_next() {
    let server = server();
    let budget = budget(&server);
    let first = budget.reserve();
    sleep(MILLI / 2).await;
    let later = join_all([(); 3].map(|()| budget.reserve()));
    let began = Instant::now();
    let (first, later) = tokio::join!(first, later);
    assert!(first.wait() < later[0].wait());
    assert_eq!(counts(&server), [1, 3]);
    assert!(began.elapsed() <= 3 * WAY, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_asked_for_in_questions_of_1024() {
    let server = server();
    let budget = SharedBudget::new(server.clone(), "x", 1, MILLI).share(1);
    join_all((0..1500).map(|_| budget.reserve())).await;
    assert_eq!(counts(&server), [1024, 476]);
}

// ---- tokens that nobody uses

#[tokio::test(start_paused = true)]
async fn a_waiter_that_left_before_the_question_is_not_asked_for() {
    let server = server();
    let budget = budget(&server);
    drop(budget.reserve());
    sleep(10 * MILLI).await;
    assert_eq!(counts(&server), []);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_read_goes_to_the_next() {
    let server = server();
    let budget = budget(&server);
    // Dropped while the question was under way.
    let question = budget.reserve();
    sleep(MILLI).await;
    drop(question);
    sleep(10 * MILLI).await;
    assert_eq!(counts(&server), [1]);
    // It is there without a question. And it is there again, if it is not read.
    for _ in 0..2 {
        drop(budget.reserve());
    }
    let token = budget.reserve().now_or_never().expect("it was given back");
    assert_eq!(token.source(), Source::Shared);
    // Dropped while it was waited for.
    budget.give_back(token);
    let token = budget.reserve().now_or_never().expect("it was given back");
    // Nobody else gets it meanwhile.
    assert!(budget.reserve().await.wait() > token.wait());
    assert_eq!(counts(&server), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_token_that_was_given_back_is_taken_first() {
    let server = server();
    let budget = budget(&server);
    let tokens = join_all([(); 3].map(|()| budget.reserve())).await;
    for token in tokens {
        budget.give_back(token);
    }
    for n in 1..=3 {
        let token = budget.reserve().now_or_never().unwrap();
        assert_eq!(token.wait(), n * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_due_is_not_given_again() {
    let server = server();
    let budget = budget(&server);
    let token = budget.reserve().await;
    let another = budget.reserve().await;
    budget.give_back(another);
    sleep(3 * SECOND).await;
    budget.give_back(token);
    assert!(budget.reserve().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_token_of_another_budget_is_ignored() {
    let server = server();
    let (one, another) = (budget(&server), budget(&server));
    another.give_back(one.reserve().await);
    another.give_back(Reserved::after(SECOND, Source::Shared));
    assert!(another.reserve().now_or_never().is_none());
}

#[derive(Clone, Debug)]
enum Move {
    /// So many milliseconds.
    Pass(u64),
    /// In this process.
    Ask(usize),
    /// Of the questions that were asked, drops the one at this place, answered or not.
    Drop(prop::sample::Index),
    /// Reads all answers that came.
    Read,
    /// Of the tokens that are held, gives back the one at this place, due or not.
    GiveBack(prop::sample::Index),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any span of time, over two processes, whoever leaves at whatever moment.
    #[test]
    fn no_span_holds_more_than_the_burst_and_what_it_earns(
        burst in 1..4_u32,
        moves in prop::collection::vec(prop_oneof![
            2 => (0..10_u64).prop_map(Move::Pass),
            1 => (0..1000_u64).prop_map(Move::Pass),
            5 => (0..2_usize).prop_map(Move::Ask),
            1 => any::<prop::sample::Index>().prop_map(Move::Drop),
            2 => Just(Move::Read),
            2 => any::<prop::sample::Index>().prop_map(Move::GiveBack),
        ], 1..200),
    ) {
        const PERIOD: Duration = Duration::from_millis(100);
        let used = paused_runtime().block_on(async {
            // At no distance, as a wait counts from the arrival of the answer.
            let server = Mirror::new();
            let budgets = [(); 2].map(|()| {
                SharedBudget::new(server.clone(), "x", burst, PERIOD).share(2)
            });
            let (mut questions, mut held) = (Vec::new(), Vec::new());
            for step in moves {
                match step {
                    Move::Pass(time) => sleep(Duration::from_millis(time)).await,
                    Move::Ask(process) => {
                        questions.push((process, server.age(), budgets[process].reserve()));
                    }
                    Move::Drop(place) if !questions.is_empty() => {
                        drop(questions.swap_remove(place.index(questions.len())));
                    }
                    Move::Read => questions.retain_mut(|(process, asked, question)| {
                        let Some(token) = question.now_or_never() else {
                            return true;
                        };
                        // It may be read long after it was due, or was there at once.
                        let due = token.due().map_or(*asked, |due| {
                            let (ahead, ago) = (due.remaining(), due.elapsed());
                            server.age() + ahead.as_micros() as i64 - ago.as_micros() as i64
                        });
                        held.push((*process, due, token));
                        false
                    }),
                    Move::GiveBack(place) if !held.is_empty() => {
                        let (process, _, token) = held.swap_remove(place.index(held.len()));
                        budgets[process].give_back(token);
                    }
                    Move::Drop(_) | Move::GiveBack(_) => {}
                }
            }
            held.into_iter().map(|(_, due, _)| due).collect::<Vec<_>>()
        });
        let most = excess(used.iter().copied(), burst, PERIOD.as_micros() as i64);
        prop_assert!(most <= 0, "{most} too many in {used:?}");
    }
}

// ---- the agent

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_each_250_ms_while_somebody_waits_and_not_later() {
    let server = server();
    let budget = budget(&server);
    let token = budget.reserve().await;
    sleep(remaining(&token)).await;
    assert_eq!(counts(&server), [1, 0, 0, 0, 0]);
    sleep(10 * SECOND).await;
    assert_eq!(counts(&server).len(), 5);
    // And not if all have left.
    let token = budget.reserve().await;
    budget.give_back(token);
    sleep(10 * SECOND).await;
    assert_eq!(counts(&server).len(), 6);
    // Or as often as it is set.
    let budget = budget.refresh(SECOND / 2);
    let token = join_all([(); 2].map(|()| budget.reserve())).await.remove(1);
    sleep(remaining(&token)).await;
    assert_eq!(counts(&server)[6..], [2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_store_is_dropped_with_the_last_handle_of_its_budget() {
    struct Counted {
        _alive: Arc<()>,
    }
    impl Store for Counted {
        async fn run(&self, _: &Call) -> Result<[i64; 3], StoreError> {
            sleep(WAY).await;
            Ok([1, 1_795_729_960_366_700, 60_000_000])
        }
    }

    let alive = Arc::new(());
    let budget = SharedBudget::new(
        Counted {
            _alive: alive.clone(),
        },
        "x",
        1,
        SECOND,
    )
    .share(1);
    let token = budget.reserve().await;
    let question = budget.reserve();
    sleep(MILLI).await;
    assert_eq!(Arc::strong_count(&alive), 2);
    drop((budget, token, question));
    sleep(10 * MILLI).await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_budget_outlives_the_runtime_that_asked_first() {
    let first = paused_runtime();
    let server = first.block_on(async { server() });
    let budget = budget(&server);
    let (question,) = first.block_on(async {
        let question = budget.reserve();
        tokio::task::yield_now().await;
        (question,)
    });
    drop(first);
    let second = paused_runtime();
    // The answer will not come.
    let token = second.block_on(question);
    assert_eq!(token.source(), Source::Fallback);
    let token = second.block_on(async { budget.reserve().await });
    assert_eq!(token.source(), Source::Shared);
}

#[test]
fn without_a_runtime_the_local_bucket_answers() {
    let server = paused_runtime().block_on(async { server() });
    let budget = budget(&server);
    let token = budget.reserve().now_or_never().unwrap();
    assert_eq!(
        (token.wait(), token.source()),
        (Duration::ZERO, Source::Fallback)
    );
    let token = budget.reserve().now_or_never().unwrap();
    assert!(token.wait() > SECOND, "of two processes: {token:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_is_away() {
    struct Broken(Arc<Mutex<u32>>);
    impl Store for Broken {
        async fn run(&self, _: &Call) -> Result<[i64; 3], StoreError> {
            *self.0.lock().unwrap() += 1;
            panic!("broken");
        }
    }

    let calls = Arc::default();
    let budget = SharedBudget::new(Broken(Arc::clone(&calls)), "x", 1, SECOND).share(1);
    for _ in 0..10 {
        assert_eq!(budget.reserve().await.source(), Source::Fallback);
    }
    assert_eq!(*calls.lock().unwrap(), 1);
}

// ---- a store that is away

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_asked_ever_less_often() {
    struct Away(Arc<Mutex<Vec<u128>>>, Instant);
    impl Store for Away {
        async fn run(&self, _: &Call) -> Result<[i64; 3], StoreError> {
            let at = self.1.elapsed().as_millis();
            self.0.lock().unwrap().push(at);
            Err(StoreError::reply("OOM command not allowed"))
        }
    }

    let asked = Arc::new(Mutex::new(Vec::new()));
    let store = Away(asked.clone(), Instant::now());
    // Somebody waits all the time.
    let budget = SharedBudget::new(store, "x", 1, 60 * SECOND).share(1);
    for _ in 0..2 {
        assert_eq!(budget.reserve().await.source(), Source::Fallback);
    }
    sleep(10 * SECOND).await;
    assert_eq!(
        *asked.lock().unwrap(),
        [0, 250, 750, 1750, 3750, 5750, 7750, 9750]
    );
}

#[tokio::test(start_paused = true)]
async fn one_caller_asks_whether_the_store_is_back_and_the_others_do_not_wait() {
    let server = server();
    let budget = SharedBudget::new(server.clone(), "x", 100, MILLI).share(2);
    server.mood(Mood::Stopped);
    let began = Instant::now();
    let _ = budget.reserve().await;
    assert_eq!(began.elapsed(), 200 * MILLI);
    sleep(251 * MILLI).await;
    let asks = tokio::spawn(budget.reserve());
    tokio::task::yield_now().await;
    sleep(5 * MILLI).await;
    for _ in 0..10 {
        let token = budget.reserve().now_or_never().expect("it is local");
        assert_eq!(token.source(), Source::Fallback);
    }
    server.mood(Mood::Well);
    assert_eq!(asks.await.unwrap().source(), Source::Shared);
    assert_eq!(budget.reserve().await.source(), Source::Shared);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_not_away_and_keeps_nobody_waiting() {
    let server = server();
    server.way(150 * MILLI);
    let events = Arc::new(Mutex::new(0));
    let counted = events.clone();
    let budget = SharedBudget::new(server.clone(), "x", 100, MILLI)
        .share(2)
        .observe(move |_| *counted.lock().unwrap() += 1);
    let ask = async |after: u32| {
        sleep(after * MILLI).await;
        let began = Instant::now();
        let token = budget.reserve().await;
        (token.source(), began.elapsed().as_millis())
    };
    // The second comes just after the first question has left.
    let (first, second) = tokio::join!(ask(0), ask(10));
    assert_eq!(first, (Source::Shared, 150));
    assert_eq!(second, (Source::Fallback, 200));
    sleep(SECOND).await;
    assert_eq!(ask(0).await.0, Source::Shared);
    assert_eq!(*events.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_decision_takes_as_long_as_is_set() {
    let server = server();
    server.mood(Mood::Stopped);
    let budget = budget(&server).bound(30 * MILLI);
    let began = Instant::now();
    assert_eq!(budget.reserve().await.source(), Source::Fallback);
    assert_eq!(began.elapsed(), 30 * MILLI);
    assert_eq!(Budget::bound(&budget), 60 * MILLI, "for a driver");
}

#[tokio::test(start_paused = true)]
async fn the_local_bucket_is_the_share_of_this_process() {
    let waits = async |budget: SharedBudget| {
        let tokens = join_all((0..5).map(|_| budget.reserve())).await;
        assert!(
            tokens
                .iter()
                .all(|token| token.source() == Source::Fallback)
        );
        tokens.iter().map(Reserved::wait).collect::<Vec<_>>()
    };
    let server = server();
    server.mood(Mood::Gone);
    let needs = || SharedBudget::new(server.clone(), "x", 7, SECOND);
    assert_eq!(
        waits(needs().share(3)).await,
        [0, 0, 3, 6, 9].map(|n| n * SECOND)
    );
    assert_eq!(
        waits(needs().share(100)).await,
        [0, 100, 200, 300, 400].map(|n| n * SECOND)
    );
    assert_eq!(
        waits(needs().alone(3, MILLI)).await,
        [0, 0, 0, 1, 2].map(|n| n * MILLI)
    );
}

#[tokio::test(start_paused = true)]
async fn the_local_bucket_goes_on_where_the_shared_one_was() {
    let server = server();
    let budget = budget(&server);
    let tokens = join_all((0..5).map(|_| budget.reserve())).await;
    server.mood(Mood::Gone);
    let local = [(); 2].map(|()| budget.reserve().now_or_never());
    assert!(local.iter().all(Option::is_none));
    let local = budget.reserve().await;
    // The queue of five tokens ends in 5 s. Local tokens come each two seconds.
    let after = |token: &Reserved| remaining(token) - remaining(&tokens[4]);
    assert_eq!(after(&local), SECOND);
    assert_eq!(after(&budget.reserve().await), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_is_charged_with_the_local_tokens_that_are_to_come() {
    let server = server();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = seen.clone();
    let budget = budget(&server).observe(move |event| {
        events.lock().unwrap().push(match event {
            BudgetEvent::Away { error, .. } => error.to_string(),
            BudgetEvent::Back { away, granted, .. } => {
                assert!(away.as_millis().abs_diff(3750) < 50, "{away:?}");
                format!("{granted} granted")
            }
            other => format!("{other:?}"),
        });
    });
    server.mood(Mood::Gone);
    // At once, and in 2, 4 and 6 s.
    let local = join_all((0..4).map(|_| budget.reserve())).await;
    assert_eq!(local.iter().map(|it| it.wait().as_secs()).sum::<u64>(), 12);
    sleep(3 * SECOND).await;
    server.mood(Mood::Well);
    sleep(SECOND).await;
    // Asked at 0.25, 0.75, 1.75 and 3.75 s. Then two are to come.
    assert_eq!(counts(&server)[0], 2);
    // A new bucket is empty: 3.75 + 1, + 2 s are lost; and this is the next.
    let token = budget.reserve().await;
    assert_eq!(token.source(), Source::Shared);
    let due = 4000 + remaining(&token).as_millis();
    assert!((6750..6800).contains(&due), "{due}");
    assert_eq!(*seen.lock().unwrap(), ["refused", "4 granted"]);
}

// ---- deadlines and clocks

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_on_wastes_no_token_on_those_who_left() {
    let server = server();
    let budget = budget(&server);
    let _ = budget.reserve().await;
    server.mood(Mood::Stopped);
    for _ in 0..3 {
        assert_eq!(budget.reserve().await.source(), Source::Fallback);
        sleep(2 * SECOND).await;
    }
    server.mood(Mood::Well);
    sleep(3 * SECOND).await;
    let token = budget.reserve().await;
    assert_eq!(token.source(), Source::Shared);
    // The store refused the three that nobody waited for any more.
    let asked = counts(&server).iter().filter(|count| **count > 0).count();
    assert_eq!(server.granted().len(), 2);
    assert!(asked >= 2 + 3, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_ahead_costs_one_refusal_and_no_token() {
    let server = server();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = seen.clone();
    let budget = SharedBudget::new(server.clone(), "x", 3, SECOND)
        .share(2)
        .observe(move |event| {
            if let BudgetEvent::ClockMoved { by, back, .. } = event {
                events.lock().unwrap().push((by.as_secs(), *back));
            }
        });
    join_all((0..6).map(|_| budget.reserve())).await;
    for (by, waits) in [(3600, 7), (-3600, 8)] {
        server.move_clock(by * 1_000_000);
        let token = budget.reserve().await;
        assert_eq!(token.source(), Source::Shared);
        // As if the clock had not been set: but for the 200 ms that may be the way, if it
        // went ahead, and for a thousandth.
        let waits = Duration::from_secs(waits);
        let wait = remaining(&token);
        assert!(wait <= waits && wait + 220 * MILLI > waits, "{wait:?}");
    }
    assert_eq!(*seen.lock().unwrap(), [(3599, false), (3599, true)]);
}

// ---- answers that are none

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_is_an_error() {
    struct Odd([i64; 3]);
    impl Store for Odd {
        async fn run(&self, _: &Call) -> Result<[i64; 3], StoreError> {
            Ok(self.0)
        }
    }

    for odd in [
        [2, 0, 0],
        [-1, 0, 0],
        [1, -1, 0],
        [1, i64::MAX, 0],
        [1, 0, i64::MAX],
        [1, 0, i64::MIN],
        // It is always late.
        [0, 1_795_729_960_366_700, 0],
    ] {
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let events = kinds.clone();
        let budget = SharedBudget::new(Odd(odd), "x", 1, SECOND)
            .share(1)
            .observe(move |event| {
                if let BudgetEvent::Away { error, .. } = event {
                    events.lock().unwrap().push(error.kind());
                }
            });
        assert_eq!(budget.reserve().await.source(), Source::Fallback);
        let kind = if odd[0] == 0 {
            StoreErrorKind::Slow
        } else {
            StoreErrorKind::Other
        };
        assert_eq!(*kinds.lock().unwrap(), [kind], "{odd:?}");
    }
}

// ---- settings, and the driver

#[test]
fn what_cannot_work_is_refused() {
    let runtime = paused_runtime();
    let server = runtime.block_on(async { server() });
    let needs = |name, burst, period| SharedBudget::try_new(server.clone(), name, burst, period);
    for (refused, setting) in [
        (needs("", 1, SECOND).map(drop), "name"),
        (needs("x", 0, SECOND).map(drop), "burst"),
        (needs("x", 1, Duration::ZERO).map(drop), "period"),
        (
            needs("x", 1, SECOND).unwrap().try_share(0).map(drop),
            "processes",
        ),
        (
            needs("x", 1, SECOND)
                .unwrap()
                .try_alone(0, SECOND)
                .map(drop),
            "burst",
        ),
    ] {
        assert_eq!(refused.unwrap_err().setting(), setting);
    }
    assert_eq!(
        format!("{:?}", needs("x", 1, SECOND).unwrap().share(8)),
        r#"SharedBudget { key: "redial:{x}", burst: 1, period: 1s, .. }"#
    );
}

#[tokio::test(start_paused = true)]
async fn two_processes_reconnect_at_the_rate_of_one_bucket() {
    let server = server();
    let full = format!("{0} {0}", server.now());
    server.set_data(HashMap::from([("redial:{x}".to_owned(), (full, i64::MAX))]));
    let began = Instant::now();
    let clients = (0..2).flat_map(|_| {
        let budget = SharedBudget::new(server.clone(), "x", 5, SECOND / 10).share(2);
        (0..50).map(move |_| {
            let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
                .policy(Sequence::new([MILLI]).jitter(Jitter::None))
                .budget(&budget);
            async move {
                redial.ready().await.unwrap();
                redial.lost();
                redial.ready().await.unwrap();
                began.elapsed()
            }
        })
    });
    let mut back = join_all(clients).await;
    back.sort_unstable();
    for (place, back) in back.into_iter().enumerate() {
        let due = (place as u32).saturating_sub(4) * (SECOND / 10);
        let late = back.checked_sub(due).expect("no sooner than its token");
        assert!(late <= 10 * MILLI, "{place}: {back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_leaves_its_token_to_another() {
    let server = server();
    let budget = budget(&server);
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(Sequence::new([MILLI]).jitter(Jitter::None))
        .budget(&budget);
    redial.ready().await.unwrap();
    redial.lost();
    assert!(timeout(10 * MILLI, redial.ready()).await.is_err());
    assert!(budget.reserve().now_or_never().is_none());
    drop(redial);
    assert!(budget.reserve().now_or_never().is_some());
}

fn is_send<T: Future + Send>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn a_question_may_cross_threads() {
    let budget = budget(&server());
    is_send(&budget.reserve());
}
