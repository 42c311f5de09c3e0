//! Does a `Shared` lend no dead connection, and notice that an idle one has died?

use std::future::Ready;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use redial::{Jitter, Liveness, Monitor, Redial, Sequence, Shared, Status};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// A timer of tokio's is up to a millisecond late.
const TICK: Duration = Duration::from_millis(3);

/// A client whose server a test controls.
#[derive(Clone, Debug)]
struct Client {
    number: u32,
    server: Arc<Server>,
}

#[derive(Debug, Default)]
struct Server {
    silent: AtomicBool,
    fails: AtomicBool,
    pings: Mutex<Vec<Instant>>,
    dies: Notify,
}

impl Client {
    async fn ping(self) -> io::Result<()> {
        self.server.pings.lock().unwrap().push(Instant::now());
        sleep(SECOND / 10).await;
        if self.server.silent.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.server.fails.load(SeqCst) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn is_silent(&self) {
        self.server.silent.store(true, SeqCst);
    }

    fn pings(&self) -> usize {
        self.server.pings.lock().unwrap().len()
    }
}

type Attempt = Ready<io::Result<Client>>;

fn connector(monitor: &Monitor) -> impl FnMut() -> Attempt + Send + use<> {
    let (count, monitor) = (AtomicU32::new(0), monitor.clone());
    move || {
        let client = Client {
            number: count.fetch_add(1, SeqCst) + 1,
            server: Arc::default(),
        };
        let server = client.server.clone();
        monitor.ends_with(async move { server.dies.notified().await });
        std::future::ready(Ok(client))
    }
}

fn shared() -> Shared<impl FnMut() -> Attempt + Send> {
    let monitor = Monitor::new();
    Redial::new(connector(&monitor))
        .into_shared()
        .monitor(&monitor)
        .keep_alive(Liveness::new(), Client::ping)
}

#[track_caller]
fn took(start: Instant, least: f64, most: f64) {
    let time = start.elapsed();
    let range = Duration::from_secs_f64(least)..=Duration::from_secs_f64(most) + TICK;
    assert!(range.contains(&time), "{time:?} is not within {range:?}");
}

#[tokio::test(start_paused = true)]
async fn l13_a_connection_that_was_idle_is_asked_before_it_is_lent() {
    let shared = shared();
    let first = shared.ready().await.unwrap();
    let start = Instant::now();
    shared.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "it is young");
    assert_eq!(first.pings(), 0);
    sleep(100 * SECOND).await;
    let start = Instant::now();
    assert_eq!(shared.ready().await.unwrap().number, 1);
    took(start, 0.1, 0.1);
    assert_eq!(first.pings(), 1);
    // It has answered, so the next task need not ask.
    let start = Instant::now();
    shared.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn l13_a_dead_connection_costs_five_seconds_and_is_replaced() {
    let shared = shared();
    let first = shared.ready().await.unwrap();
    first.is_silent();
    sleep(3600 * SECOND).await;
    let start = Instant::now();
    let (one, two) = tokio::join!(shared.ready(), shared.ready());
    assert_eq!((one.unwrap().number, two.unwrap().number), (2, 2));
    took(start, 5.0, 6.0); // and a second for the wait
    assert_eq!(first.pings(), 1);
}

#[tokio::test(start_paused = true)]
async fn l13_and_trap_6_a_watch_notices_a_dead_connection_without_a_request() {
    let shared = shared();
    let first = shared.ready().await.unwrap();
    let handle = shared.handle();
    tokio::spawn(shared.watch());
    sleep(3600 * SECOND).await;
    assert!((140..=190).contains(&first.pings()), "{}", first.pings());
    let start = Instant::now();
    first.is_silent();
    let gone = first.gone();
    gone.await;
    // Up to 25 s of silence, and the time for the answer.
    took(start, 14.9, 40.1);
    match handle.status() {
        Status::Waiting { why, .. } => {
            let text = why.error().unwrap().to_string();
            assert!(text.starts_with("silent for "), "{text}");
        }
        status => panic!("{status:?}"),
    }
    assert!(shared.get().is_none());
    assert_eq!(shared.ready().await.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_ping_is_the_loss() {
    let shared = shared();
    let first = shared.ready().await.unwrap();
    first.server.fails.store(true, SeqCst);
    let handle = shared.handle();
    first.gone().await;
    match handle.status() {
        Status::Waiting { why, .. } => assert_eq!(why.error(), Some("broken pipe")),
        status => panic!("{status:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn l14_gone_resolves_at_every_end_and_only_then() {
    let shared = shared();
    for end in 0..4 {
        let lent = shared.ready().await.unwrap();
        let mut gone = tokio::spawn(lent.gone());
        assert!(timeout(100 * SECOND, &mut gone).await.is_err());
        match end {
            0 => lent.lost(),
            1 => shared.handle().lost(),
            2 => lent.server.dies.notify_one(),
            _ => shared.handle().reconnect(),
        }
        timeout(SECOND, gone).await.expect("it is gone").unwrap();
        assert_eq!(lent.gone().now_or_never(), Some(()), "it stays gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_corpse_is_never_lent() {
    let monitor = Monitor::new();
    // Its death is certified, and nothing is pinged.
    let shared = Redial::new(connector(&monitor))
        .into_shared()
        .monitor(&monitor);
    for number in 1..=10 {
        let lent = shared.ready().await.unwrap();
        assert_eq!(lent.number, number);
        assert_eq!(shared.get().unwrap().number, number);
        lent.server.dies.notify_one();
        if number % 2 == 0 {
            assert!(shared.get().is_none());
        }
    }
    assert_eq!(shared.ready().await.unwrap().pings(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_a_death_in_the_status_at_once() {
    let shared = shared();
    let lent = shared.ready().await.unwrap();
    let handle = shared.handle();
    tokio::spawn(shared.watch());
    sleep(SECOND).await;
    lent.server.dies.notify_one();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(
        matches!(handle.status(), Status::Waiting { .. }),
        "{handle:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_with_each_connection_and_ends_with_the_last_shared() {
    let shared = shared();
    let watch = tokio::spawn(shared.watch());
    for _ in 0..3 {
        let lent = shared.ready().await.unwrap();
        lent.is_silent();
        let start = Instant::now();
        lent.gone().await;
        took(start, 27.5, 40.1);
    }
    drop(shared);
    timeout(SECOND, watch).await.expect("it ends").unwrap();
    let closed = self::shared();
    let watch = tokio::spawn(closed.watch());
    tokio::task::yield_now().await;
    closed.handle().close();
    timeout(SECOND, watch).await.expect("it ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_monitor_hears_spares_the_pings() {
    let monitor = Monitor::new();
    let shared = Redial::new(connector(&monitor))
        .into_shared()
        .monitor(&monitor)
        .keep_alive(Liveness::new(), Client::ping);
    let lent = shared.ready().await.unwrap();
    tokio::spawn(shared.watch());
    for _ in 0..1000 {
        monitor.heard();
        sleep(SECOND).await;
    }
    assert_eq!(lent.pings(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_liveness_a_connection_is_lent_unasked() {
    let monitor = Monitor::new();
    let shared = Redial::new(connector(&monitor)).into_shared();
    let lent = shared.ready().await.unwrap();
    lent.is_silent();
    sleep(3600 * SECOND).await;
    let start = Instant::now();
    assert_eq!(shared.ready().await.unwrap().number, 1);
    assert_eq!((start.elapsed(), lent.pings()), (Duration::ZERO, 0));
}

/// An attempt that hangs, and then a wait, each with a timer of the task that waits.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_begins_leaves_the_timer_of_a_task_that_waits() {
    let mut number = 0;
    let shared = Redial::new(move || {
        number += 1;
        let number = number;
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, io::Error>(number)
        }
    })
    .attempt_timeout(5 * SECOND)
    .policy(Sequence::new([5 * SECOND]).jitter(Jitter::None))
    .into_shared();
    let waits = {
        let shared = shared.clone();
        tokio::spawn(async move { *shared.ready().await.unwrap() })
    };
    let start = Instant::now();
    for at in [1, 6] {
        sleep(at * SECOND - start.elapsed()).await;
        assert!(shared.watch().now_or_never().is_none());
    }
    let number = timeout(60 * SECOND, waits).await.expect("it goes on");
    assert_eq!(number.unwrap(), 2);
    took(start, 10.0, 10.0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_connection_leaves_the_timer_of_a_wait() {
    let monitor = Monitor::new();
    let shared = Redial::new(connector(&monitor))
        .policy(Sequence::new([5 * SECOND]).jitter(Jitter::None))
        .into_shared();
    let old = shared.ready().await.unwrap();
    old.lost();
    let waits = {
        let shared = shared.clone();
        tokio::spawn(async move { shared.ready().await.unwrap().number })
    };
    sleep(SECOND).await;
    old.gone().await;
    let number = timeout(60 * SECOND, waits).await.expect("it goes on");
    assert_eq!(number.unwrap(), 2);
}
