//! What do random presses of the buttons do to the waits and to the budget? Random schedules on a paused clock.

mod paused;

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use redial::{Event, Handle, Jitter, Redial, Sequence, TokenBucket};
use tokio::time::{Instant, sleep};

use paused::paused_runtime;

const WAIT: Duration = Duration::from_secs(1);
const BURST: usize = 3;
const PERIOD: Duration = Duration::from_secs(2);
/// The resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Press {
    RetryNow,
    Pause,
    Resume,
    PauseAndResume,
}

/// What happens, and when; attempts and uptimes last so many milliseconds.
#[derive(Clone, Debug)]
struct Schedule {
    presses: Vec<(u64, Press)>,
    attempts: Vec<(u64, bool)>,
    uptimes: Vec<u64>,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let press = prop_oneof![
        8 => Just(Press::RetryNow),
        1 => Just(Press::Pause),
        2 => Just(Press::Resume),
        1 => Just(Press::PauseAndResume),
    ];
    // Storms, and the instants at which waits and attempts end.
    let gap = prop_oneof![
        4 => 0..3_u64,
        2 => 0..700_u64,
        1 => Just(500_u64),
        1 => Just(1000_u64),
    ];
    let latency = prop_oneof![2 => Just(0), 1 => 0..700_u64, 1 => Just(500_u64)];
    let uptime = prop_oneof![1 => Just(0), 1 => 0..2000_u64, 1 => Just(1000_u64)];
    (
        prop::collection::vec((gap, press), 0..300),
        prop::collection::vec((latency, any::<bool>()), 1..20),
        prop::collection::vec(uptime, 1..5),
    )
        .prop_map(|(presses, attempts, uptimes)| Schedule {
            presses,
            attempts,
            uptimes,
        })
}

/// What was seen, with its instant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Waiting(Duration),
    Connecting,
    Lost,
}

type Log = Arc<Mutex<Vec<(Instant, Seen)>>>;

fn client(
    schedule: &Schedule,
    bucket: &TokenBucket,
    log: &Log,
) -> (Handle, impl Future<Output = ()> + use<>) {
    let (seen, alive) = (log.clone(), Arc::new(AtomicUsize::new(0)));
    let (mut attempts, uptimes) = (
        schedule.attempts.clone().into_iter().cycle(),
        schedule.uptimes.clone(),
    );
    let mut redial = Redial::new(move || {
        let (latency, succeeds) = attempts.next().expect("a cycle");
        assert_eq!(alive.fetch_add(1, SeqCst), 0, "two connects at once");
        let alive = alive.clone();
        async move {
            if latency > 0 {
                sleep(Duration::from_millis(latency)).await;
            }
            alive.fetch_sub(1, SeqCst);
            if succeeds {
                Ok(())
            } else {
                Err(io::Error::from(ErrorKind::ConnectionRefused))
            }
        }
    })
    .policy(Sequence::new([WAIT]).jitter(Jitter::None))
    .budget(bucket)
    .observe(move |event| {
        let event = match event {
            Event::Waiting { wait, .. } => Seen::Waiting(*wait),
            Event::Connecting { .. } => Seen::Connecting,
            Event::Lost { .. } => Seen::Lost,
            _ => return,
        };
        seen.lock().unwrap().push((Instant::now(), event));
    });
    let handle = redial.handle();
    let living = async move {
        for uptime in uptimes.into_iter().cycle() {
            redial.ready().await.expect("it does not give up");
            sleep(Duration::from_millis(uptime)).await;
            redial.lost();
        }
    };
    (handle, living)
}

fn check(log: &[(Instant, Seen)], presses: &[(Instant, Press)]) {
    // No wait ends early unless something was pressed during it. A wait for the
    // budget does not end early even then, unless the driver was paused: it then
    // pays again, perhaps with a token that somebody gave back.
    let mut of_budget = false;
    for (i, &(at, seen)) in log.iter().enumerate() {
        let (until, then) = log.get(i + 1).copied().unwrap_or((at, Seen::Lost));
        match seen {
            Seen::Waiting(wait) if !of_budget => {
                of_budget = true;
                let ended = presses
                    .iter()
                    .any(|(at_press, _)| (at..=until).contains(at_press));
                let whole = until + TICK >= at + wait;
                assert!(then == Seen::Lost || whole || ended, "a wait was skipped");
            }
            Seen::Waiting(wait) => {
                let paused = presses
                    .iter()
                    .any(|(press, kind)| *kind != Press::RetryNow && (at..=until).contains(press));
                assert!(then != Seen::Connecting || until >= at + wait || paused);
            }
            Seen::Connecting | Seen::Lost => of_budget = false,
        }
    }

    // Between two losses there are at most as many attempts as presses and waits
    // that ended by themselves.
    for outage in log.split(|(_, seen)| *seen == Seen::Lost).skip(1) {
        let (Some((first, _)), Some((last, _))) = (outage.first(), outage.last()) else {
            continue;
        };
        let connects = outage.iter().filter(|(_, seen)| *seen == Seen::Connecting);
        let passed = (*last - *first + TICK).as_nanos() / WAIT.as_nanos();
        let ended = presses
            .iter()
            .filter(|(at, _)| (*first..=*last).contains(at));
        assert!(connects.count() <= passed as usize + ended.count());
    }
}

/// Of any of the attempts, but the first of each client, not more than the
/// budget has.
fn check_budget(mut paid: Vec<Instant>) {
    paid.sort();
    for (i, first) in paid.iter().enumerate() {
        for (more, last) in paid[i..].iter().enumerate() {
            let earned = (*last - *first + TICK).as_nanos() / PERIOD.as_nanos();
            assert!(more < BURST + earned as usize, "above the budget");
        }
    }
}

fn run(schedules: &[Schedule]) {
    let runtime = paused_runtime();
    runtime.block_on(async {
        let bucket = TokenBucket::new(BURST as u32, PERIOD);
        let clients = schedules.iter().map(|schedule| {
            let log = Log::default();
            let (handle, living) = client(schedule, &bucket, &log);
            async move {
                let pressing = async {
                    let mut pressed = Vec::new();
                    for &(gap, press) in &schedule.presses {
                        sleep(Duration::from_millis(gap)).await;
                        match press {
                            Press::RetryNow => handle.retry_now(),
                            Press::Pause => handle.pause(),
                            Press::Resume => handle.resume(),
                            Press::PauseAndResume => {
                                handle.pause();
                                handle.resume();
                            }
                        }
                        pressed.push((Instant::now(), press));
                    }
                    handle.resume();
                    pressed.push((Instant::now(), Press::Resume));
                    sleep(20 * WAIT).await;
                    pressed
                };
                let pressed = tokio::select! {
                    pressed = pressing => pressed,
                    () = living => unreachable!("it lives for ever"),
                };
                (log, pressed)
            }
        });
        let mut paid = Vec::new();
        for (log, presses) in futures::future::join_all(clients).await {
            let log = log.lock().unwrap();
            check(&log, &presses);
            let connects = log.iter().filter(|(_, seen)| *seen == Seen::Connecting);
            paid.extend(connects.skip(1).map(|(at, _)| *at));
        }
        check_budget(paid);
    });
}

proptest! {
    #[test]
    fn presses_skip_no_wait_but_their_own_and_pay_for_each_attempt(
        schedules in prop::collection::vec(schedule(), 1..4)
    ) {
        run(&schedules);
    }
}
