//! Do processes that share a bucket stay within it, whatever happens to the store?
#![cfg(all(feature = "tokio", not(loom)))]

mod mirror;
mod paused;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mirror::{Mirror, Mood, excess};
use paused::paused_runtime;
use redial::budget::BudgetEvent;
use redial::{Budget, SharedBudget, Source};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const PROCESSES: u32 = 8;

/// What came of a run.
#[derive(Default)]
struct Seen {
    /// When each token was due, since the run began, and where it came from.
    tokens: Vec<(i64, Source)>,
    slowest: Duration,
    /// When somebody got a local token last, since the run began.
    last_local: Duration,
    events: Vec<String>,
}

impl Seen {
    fn of(&self, source: Source) -> usize {
        self.tokens.iter().filter(|token| token.1 == source).count()
    }

    fn count(&self, event: &str) -> usize {
        self.events
            .iter()
            .filter(|it| it.starts_with(event))
            .count()
    }
}

/// The load of a run: 100 clients in each of 8 processes, which ask again as soon as
/// their token is due.
#[derive(Clone, Copy)]
struct Load {
    burst: u32,
    period: Duration,
    clients: usize,
    length: Duration,
}

/// The bucket is full of a queue of 4 s.
const QUEUE: Load = Load {
    burst: 100,
    period: Duration::from_millis(5),
    clients: 100,
    length: Duration::from_secs(12),
};

/// Runs the load, and `happens` to the store meanwhile.
fn run(load: Load, happens: impl AsyncFnOnce(&Mirror)) -> Seen {
    paused_runtime().block_on(async {
        let server = Mirror::new();
        server.way(MILLI);
        // A bucket that is full.
        let full = (format!("{0} {0}", server.now()), i64::MAX);
        server.set_data([("redial:{x}".to_owned(), full)].into());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..PROCESSES {
            let events = seen.clone();
            let budget = SharedBudget::new(server.clone(), "x", load.burst, load.period)
                .share(PROCESSES)
                .observe(move |event| events.lock().unwrap().events.push(name(event)));
            for client in 0..load.clients {
                let (budget, seen) = (budget.clone(), seen.clone());
                tasks.spawn(async move {
                    // So that the queue is of all processes in turn.
                    sleep(client as u32 * MILLI).await;
                    loop {
                        let asked = Instant::now();
                        let token = budget.reserve().await;
                        let now = Instant::now();
                        let due = now + token.due().map_or(Duration::ZERO, |due| due.remaining());
                        {
                            let mut seen = seen.lock().unwrap();
                            seen.slowest = seen.slowest.max(now - asked);
                            if token.source() == Source::Fallback {
                                seen.last_local = now - began;
                            }
                            let due = (due - began).as_micros() as i64;
                            seen.tokens.push((due, token.source()));
                        }
                        sleep_until(due).await;
                    }
                });
            }
        }
        happens(&server).await;
        sleep(SECOND).await;
        println!(
            "calls {:?}",
            server
                .calls()
                .iter()
                .rev()
                .take(300)
                .rev()
                .map(|c| (c[2], c[3]))
                .collect::<Vec<_>>()
        );
        sleep_until(began + load.length).await;
        tasks.shutdown().await;
        Arc::into_inner(seen).map_or_else(|| unreachable!(), |seen| seen.into_inner().unwrap())
    })
}

fn name(event: &BudgetEvent<'_>) -> String {
    format!("{event:?}")
}

/// How many tokens too many were granted, in the worst span of time; and how many in the
/// worst second, as a multiple of the rate.
fn worst(load: Load, seen: &Seen) -> (i64, f64) {
    let period = load.period.as_micros() as i64;
    let instants: Vec<_> = {
        let mut instants: Vec<_> = seen.tokens.iter().map(|token| token.0).collect();
        instants.sort_unstable();
        instants
    };
    let second = (0..instants.len())
        .map(|first| instants[first..].partition_point(|at| at - instants[first] < 1_000_000))
        .max()
        .unwrap_or(0);
    let excess = excess(instants, load.burst, period);
    (excess, second as f64 * load.period.as_secs_f64())
}

/// Four seconds of the load, and then a fault of this length.
fn fault(mood: Mood, length: Duration, loses_data: bool) -> Seen {
    run(QUEUE, async move |server: &Mirror| {
        sleep(4 * SECOND).await;
        server.mood(mood);
        sleep(length).await;
        if loses_data {
            server.set_data(HashMap::new());
        }
        if !length.is_zero() {
            server.mood(Mood::Well);
        }
    })
}

/// How many tokens are earned in this time.
fn earned(time: Duration) -> i64 {
    time.as_micros().div_ceil(QUEUE.period.as_micros()) as i64
}

/// So much of the queue is not remembered: the longest way to the store.
const MARGIN: Duration = Duration::from_millis(201);
/// How long the answer was away that a process remembers: it asks each 250 ms, and leaves
/// the store alone for 250 ms after the first error.
const SINCE_REFRESH: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_millis(202);

/// The fleet used all that it was allowed, and no more than `excess` tokens beyond.
fn holds(seen: &Seen, excess: i64) {
    let (most, _) = worst(QUEUE, seen);
    assert!(most <= excess, "{most} tokens too many, of {excess}");
    assert!(seen.slowest <= SLOWEST, "{:?}", seen.slowest);
    let due_in_time = seen
        .tokens
        .iter()
        .filter(|token| Duration::from_micros(token.0 as u64) <= QUEUE.length);
    let used = due_in_time.count() as i64;
    let all = i64::from(QUEUE.burst) + earned(QUEUE.length);
    assert!(100 * used >= 99 * all, "{used} of {all}");
}

/// Each process was away once, and came back within two seconds and the time of a
/// question.
fn was_away_and_came_back(seen: &Seen, length: Duration) {
    let processes = seen.count("Away");
    assert_eq!(seen.count("Back"), processes);
    if length >= SECOND / 2 {
        assert_eq!(processes, PROCESSES as usize);
    }
    let end = 4 * SECOND + length + 2 * SECOND + SLOWEST;
    assert!(seen.last_local <= end, "{:?}", seen.last_local);
}

#[test]
fn a_store_that_is_well_grants_each_token_and_none_twice() {
    let seen = run(QUEUE, async |_: &Mirror| {});
    holds(&seen, 0);
    assert_eq!((seen.of(Source::Fallback), seen.events.len()), (0, 0));
}

#[test]
fn a_store_that_is_flushed_is_told_its_queue() {
    let seen = fault(Mood::Well, Duration::ZERO, true);
    holds(&seen, earned(MARGIN));
    assert_eq!(seen.of(Source::Fallback), 0);
    assert!(seen.count("Forgot") >= 1);
}

#[test]
fn a_store_that_is_killed_and_is_back_at_once_is_told_its_queue() {
    for length in [20, 50, 100, 200] {
        let seen = fault(Mood::Gone, length * MILLI, true);
        holds(&seen, earned(MARGIN + SINCE_REFRESH));
        was_away_and_came_back(&seen, length * MILLI);
    }
}

#[test]
fn a_store_that_is_gone_for_three_seconds_is_replaced_by_each_share() {
    for (mood, loses_data) in [
        (Mood::Gone, true),
        (Mood::Gone, false),
        (Mood::Replies("OOM command not allowed"), false),
        (Mood::Replies("READONLY You can't write"), false),
        (Mood::Replies("WRONGTYPE Operation against a key"), true),
    ] {
        let seen = fault(mood, 3 * SECOND, loses_data);
        let lost = if loses_data {
            earned(MARGIN + SINCE_REFRESH)
        } else {
            0
        };
        // A local token takes the place of one that the store would have granted. They
        // overlap while some processes are back, and others are not.
        holds(&seen, lost + earned(SINCE_REFRESH));
        was_away_and_came_back(&seen, 3 * SECOND);
        assert!(seen.of(Source::Fallback) as i64 >= earned(2 * SECOND));
    }
}

#[test]
fn a_store_that_is_stopped_costs_200_ms_and_not_the_tokens_of_who_has_gone() {
    for length in [SECOND / 2, 3 * SECOND] {
        let seen = fault(Mood::Stopped, length, false);
        holds(&seen, earned(MARGIN + SINCE_REFRESH));
        was_away_and_came_back(&seen, length);
    }
}

#[test]
fn a_connection_that_breaks_is_not_noticed() {
    for after_it_ran in [false, true] {
        let seen = fault(Mood::Breaks { after_it_ran }, Duration::ZERO, false);
        holds(&seen, 0);
        assert_eq!((seen.of(Source::Fallback), seen.events.len()), (0, 0));
    }
}

#[test]
fn a_replica_that_lags_by_two_seconds_is_told_the_queue() {
    let seen = run(QUEUE, async |server: &Mirror| {
        sleep(2 * SECOND).await;
        let replica = server.data();
        sleep(2 * SECOND).await;
        server.mood(Mood::Gone);
        sleep(SECOND / 5).await;
        server.set_data(replica);
        server.mood(Mood::Well);
    });
    holds(&seen, earned(MARGIN + SINCE_REFRESH));
    was_away_and_came_back(&seen, SECOND / 5);
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    const HOUR: i64 = 3_600_000_000;
    for (by, excess) in [(-HOUR, 0), (HOUR, earned(MARGIN))] {
        let seen = run(QUEUE, async move |server: &Mirror| {
            sleep(4 * SECOND).await;
            server.move_clock(by);
        });
        holds(&seen, excess);
        assert_eq!(seen.of(Source::Fallback), 0);
        assert_eq!(seen.count("ClockMoved"), PROCESSES as usize);
    }
}
