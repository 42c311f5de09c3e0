//! Can any order of presses make two attempts at once, two connections, or one
//! that nobody asked for? Random presses on all of the drivers, on a paused clock.

mod paused;
mod quiet;

use std::future::{Future, pending};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use proptest::prelude::*;
use redial::{Connect, Handle, Jitter, Redial, Sequence, Status, Verdict};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use paused::paused_runtime;
use quiet::Quiet;

/// The policy's wait, and the least time between two attempts.
const WAIT: Duration = Duration::from_secs(1);
/// Tokio's timers are rounded to this.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Press {
    RetryNow,
    Pause,
    Resume,
    Suspend,
    SuspendAndResume,
    Reconnect,
    NetworkChanged,
    Lost,
    LostIf(u64),
    Healed,
}

fn press(handle: &Handle, press: Press) {
    match press {
        Press::RetryNow => handle.retry_now(),
        Press::Pause => handle.pause(),
        Press::Resume => handle.resume(),
        Press::Suspend => handle.suspend(),
        Press::SuspendAndResume => {
            handle.suspend();
            handle.resume();
        }
        Press::Reconnect => handle.reconnect(),
        Press::NetworkChanged => handle.network_changed(),
        Press::Lost => handle.lost(),
        Press::LostIf(generation) => handle.lost_if(generation, Verdict::default()),
        Press::Healed => handle.healed(),
    }
}

/// Who drives.
#[derive(Clone, Copy, Debug)]
enum Driver {
    Ready,
    Connect,
    Run,
    Session,
    Io,
    Shared,
}

#[derive(Clone, Debug)]
struct Schedule {
    driver: Driver,
    /// What is pressed, and how many milliseconds after the press before.
    presses: Vec<(u64, Press)>,
    /// How many milliseconds the attempts take, and whether they succeed.
    attempts: Vec<(u64, bool)>,
    closes: bool,
}

fn schedule(driver: Driver) -> impl Strategy<Value = Schedule> {
    let press = prop_oneof![
        4 => Just(Press::RetryNow),
        1 => Just(Press::Pause),
        4 => Just(Press::Resume),
        2 => Just(Press::Suspend),
        1 => Just(Press::SuspendAndResume),
        2 => Just(Press::Reconnect),
        2 => Just(Press::NetworkChanged),
        2 => Just(Press::Lost),
        1 => (0..5_u64).prop_map(Press::LostIf),
        1 => Just(Press::Healed),
    ];
    let gap = prop_oneof![3 => Just(0), 2 => 0..50_u64, 3 => 0..2500_u64, 1 => Just(1000_u64)];
    let time = prop_oneof![2 => Just(0), 2 => 0..3000_u64, 1 => Just(1000_u64)];
    (
        prop::collection::vec((gap, press), 0..40),
        prop::collection::vec((time, any::<bool>()), 1..8),
        any::<bool>(),
    )
        .prop_map(move |(presses, attempts, closes)| Schedule {
            driver,
            presses,
            attempts,
            closes,
        })
}

/// What a server saw.
#[derive(Clone, Default)]
struct Seen {
    attempts: Arc<Mutex<Vec<Instant>>>,
    flying: Arc<AtomicUsize>,
    up: Arc<AtomicUsize>,
    /// How many connections came up.
    came_up: Arc<AtomicUsize>,
}

/// One more of something that is alive, until it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        assert_eq!(count.fetch_add(1, SeqCst), 0, "two at once");
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A connection that is counted.
type Counted = Quiet<Arc<Alive>>;

type Living = Pin<Box<dyn Future<Output = ()>>>;

/// A client that lives until it is closed.
fn client(schedule: &Schedule, seen: &Seen) -> (Handle, Living) {
    let (server, mut answers) = (seen.clone(), schedule.attempts.clone().into_iter().cycle());
    let redial = Redial::new(move || {
        server.attempts.lock().unwrap().push(Instant::now());
        let flying = Alive::one_more(&server.flying);
        let (time, succeeds) = answers.next().expect("a cycle");
        let (up, came_up) = (server.up.clone(), server.came_up.clone());
        async move {
            let flying = flying;
            if time > 0 {
                sleep(Duration::from_millis(time)).await;
            }
            drop(flying);
            if !succeeds {
                return Err(io::Error::from(ErrorKind::ConnectionRefused));
            }
            came_up.fetch_add(1, SeqCst);
            Ok(Counted::new(
                Arc::new(Alive::one_more(&up)),
                &Arc::default(),
            ))
        }
    })
    .policy(Sequence::new([WAIT]).jitter(Jitter::None))
    .seed(1);
    let handle = redial.handle();
    (handle, drive(schedule.driver, redial))
}

fn drive<C>(driver: Driver, mut redial: Redial<C, Sequence>) -> Living
where
    C: Connect<Connection = Counted, Error = io::Error> + 'static,
{
    match driver {
        Driver::Ready => Box::pin(async move {
            while redial.ready().await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        }),
        Driver::Connect => Box::pin(async move {
            while let Ok(connection) = redial.connect().await {
                sleep(Duration::from_millis(700)).await;
                drop(connection);
            }
        }),
        Driver::Run => Box::pin(async move {
            let _ = redial
                .run(async |_connection| pending::<Result<ControlFlow<()>, _>>().await)
                .await;
        }),
        Driver::Session => Box::pin(async move {
            let mut session = redial.into_session();
            while let Some(Ok(_)) = session.next().await {}
        }),
        Driver::Io => Box::pin(async move {
            let mut io = redial.into_io();
            while io.error().is_none() {
                let _ = io.read_u8().await;
            }
        }),
        Driver::Shared => Box::pin(async move {
            let shared = redial.into_shared();
            while shared.ready().await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        }),
    }
}

async fn run(schedule: &Schedule) {
    let seen = Seen::default();
    let (handle, living) = client(schedule, &seen);
    let attempts = || seen.attempts.lock().unwrap().len();
    // A connection that was handed over is its owner's to drop.
    let owned = matches!(schedule.driver, Driver::Connect);
    let pressing = async {
        let mut suspended = None;
        for &(gap, what) in &schedule.presses {
            sleep(Duration::from_millis(gap)).await;
            if let Some(before) = suspended {
                assert_eq!(attempts(), before, "an attempt while suspended");
            }
            press(&handle, what);
            match what {
                Press::Resume | Press::SuspendAndResume | Press::Pause => suspended = None,
                Press::Suspend => suspended = Some(attempts()),
                _ => {}
            }
        }
        handle.suspend();
        let before = attempts();
        sleep(2 * WAIT).await;
        let up = if owned { 0 } else { seen.up.load(SeqCst) };
        assert_eq!((attempts(), seen.flying.load(SeqCst), up), (before, 0, 0));
        if schedule.closes {
            handle.close();
            handle.resume();
            sleep(10 * WAIT).await;
            assert_eq!(attempts(), before, "an attempt after the close");
            assert_eq!(handle.status(), Status::Closed);
            pending::<()>().await;
        }
        let came_up = seen.came_up.load(SeqCst);
        handle.resume();
        // It opens again: within a second, then each attempt takes three at most.
        sleep(3 * WAIT).await;
        assert!(attempts() > before, "{:?}", handle.status());
        let succeeds = schedule.attempts.iter().any(|(_, succeeds)| *succeeds);
        for _ in 0..60 {
            if seen.came_up.load(SeqCst) > came_up {
                return;
            }
            sleep(WAIT).await;
        }
        assert!(!succeeds, "it is stuck: {:?}", handle.status());
    };
    tokio::select! {
        () = pressing => {}
        () = living => assert!(schedule.closes, "it ended"),
    }
    for pair in seen.attempts.lock().unwrap().windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap + TICK >= WAIT, "{gap:?} between two attempts");
    }
}

/// No presses make two attempts or two connections at once, or one that is held. Each
/// driver has a test of its own, so that they run at the same time.
macro_rules! no_presses_break {
    ($($test:ident: $driver:ident,)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(417))]
            $(
                #[test]
                fn $test(schedules in prop::collection::vec(schedule(Driver::$driver), 4)) {
                    for schedule in &schedules {
                        paused_runtime().block_on(run(schedule));
                    }
                }
            )+
        }
    };
}

no_presses_break! {
    no_presses_break_ready: Ready,
    no_presses_break_connect: Connect,
    no_presses_break_run: Run,
    no_presses_break_a_session: Session,
    no_presses_break_io: Io,
    no_presses_break_shared: Shared,
}
