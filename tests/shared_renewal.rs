//! Do tasks that share a connection get its successor, and do they keep theirs?

#[allow(dead_code)] // it serves other files, too
mod script;

use std::future::ready;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redial::{Connect, Exponential, Jitter, Redial, Shared, Status};
use script::{Line, Script};
use tokio::time::{Instant, sleep, timeout};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Dial = Box<dyn FnMut() -> BoxFuture<'static, io::Result<Arc<Line>>> + Send>;

fn shared(script: &Script) -> Shared<Dial> {
    Redial::new(lines(script)).into_shared()
}

fn lines(script: &Script) -> Dial {
    let mut connector = script.connector();
    Box::new(move || {
        let attempt = connector.connect();
        async move { Ok(Arc::new(attempt.await?)) }.boxed()
    })
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_lent_until_the_new_one_is_up_and_stays_with_those_that_have_it() {
    let script = Script::new([(secs(0), Ok(())), (secs(2), Ok(()))]);
    let shared = shared(&script);
    let handle = shared.handle();
    let first = shared.ready().await.unwrap();
    shared.renew_now();
    // The event that the renewal is due, and the attempt in the next poll.
    for _ in 0..3 {
        assert_eq!(shared.ready().await.unwrap().generation(), 1);
    }
    assert_eq!(script.dials().len(), 2);
    sleep(secs(3)).await;
    let second = shared.ready().await.unwrap();
    assert_eq!((second.generation(), second.number), (2, 2));
    assert!(matches!(
        handle.status(),
        Status::Connected { generation: 2, .. }
    ));
    assert_eq!((first.number, script.connections()), (1, 2));
    // The loss of the old one is none.
    first.lost();
    assert_eq!(shared.ready().await.unwrap().generation(), 2);
    drop(first);
    assert_eq!(script.connections(), 1);
    assert_eq!(script.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_leaves_is_not_lent_if_another_can_be_had_within_the_lead() {
    let script = Script::new([(secs(0), Ok(())), (secs(1), Ok(()))]);
    let shared = shared(&script);
    let lent = shared.ready().await.unwrap();
    lent.leaves_within(secs(30));
    assert!(shared.get().is_none());
    let began = Instant::now();
    let next = shared.ready().await.unwrap();
    assert_eq!((next.generation(), script.dials().len()), (2, 2));
    // Within two thirds of the lead, and the second that the attempt takes.
    assert!(began.elapsed() >= secs(1) && began.elapsed() <= secs(22));
    assert_eq!(shared.get().unwrap().generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_successor_of_a_connection_that_leaves_waits_until_its_end_at_most() {
    let refusals = (0..100).map(|_| (secs(0), Err(ErrorKind::ConnectionRefused)));
    let script = Script::new([(secs(0), Ok(()))].into_iter().chain(refusals));
    let shared = Redial::new(lines(&script))
        .policy(Exponential::new(secs(1), secs(8)).jitter(Jitter::None))
        .max_attempts(1)
        .into_shared();
    let lent = shared.ready().await.unwrap();
    lent.leaves_within(secs(30));
    let began = Instant::now();
    assert!(shared.ready().await.unwrap_err().is_exhausted());
    assert_eq!(began.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_known_end_is_lent_until_the_new_one_is_up() {
    let script = Script::new([(secs(0), Ok(())), (secs(1000), Ok(()))]);
    let shared = shared(&script);
    let lent = shared.ready().await.unwrap();
    lent.leaves_within(Duration::MAX);
    assert_eq!(
        shared.ready().now_or_never().unwrap().unwrap().generation(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn watch_renews_a_connection_that_nobody_asks_for_and_gone_leaves_its_task_thirty_seconds() {
    let script = Script::new([(secs(0), Ok(())), (secs(5), Ok(()))]);
    let shared = Redial::new(lines(&script))
        .max_age(secs(1000))
        .into_shared();
    tokio::spawn(shared.watch());
    let lent = shared.ready().await.unwrap();
    let began = Instant::now();
    lent.gone().await;
    let dialed = script.dials()[1].at;
    assert!(dialed >= secs(800) && dialed <= secs(1000));
    let gone = began.elapsed() - dialed;
    assert!(gone >= secs(35) && gone < secs(36), "{gone:?}");
    assert_eq!(shared.get().unwrap().generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_third_connection_ends_the_wait_of_those_that_have_the_oldest() {
    let script = Script::new([]);
    let shared = Redial::new(lines(&script))
        .stable_after(Duration::ZERO)
        .into_shared();
    tokio::spawn(shared.watch());
    let lent = shared.ready().await.unwrap();
    shared.renew_now();
    assert!(timeout(secs(1), lent.gone()).await.is_err());
    shared.renew_now();
    timeout(secs(1), lent.gone()).await.unwrap();
    assert_eq!(shared.ready().await.unwrap().generation(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_connection_is_gone_when_the_attempt_for_a_third_one_begins() {
    let script = Script::new([(secs(0), Ok(())), (secs(0), Ok(())), (secs(10), Ok(()))]);
    let shared = Redial::new(lines(&script))
        .stable_after(Duration::ZERO)
        .into_shared();
    tokio::spawn(shared.watch());
    let oldest = shared.ready().await.unwrap();
    shared.renew_now();
    assert!(timeout(secs(1), oldest.gone()).await.is_err());
    let present = shared.ready().await.unwrap();
    shared.renew_now();
    timeout(secs(1), oldest.gone()).await.unwrap();
    assert_eq!((present.generation(), script.attempts()), (2, 1));
    assert!(present.gone().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_that_wait_get_the_successor_of_one_attempt() {
    let script = Script::new([(secs(0), Ok(())), (secs(1), Ok(()))]);
    let shared = shared(&script);
    shared.ready().await.unwrap().leaves_within(secs(3));
    let tasks = (0..100).map(|_| {
        let shared = shared.clone();
        tokio::spawn(async move { shared.ready().await.unwrap().generation() })
    });
    for task in futures::future::join_all(tasks).await {
        assert_eq!(task.unwrap(), 2);
    }
    assert_eq!(script.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_connection_may_use_its_shared_when_it_is_dropped() {
    #[derive(Clone)]
    struct Client(Arc<dyn Fn() + Send + Sync>);
    impl Drop for Client {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let at_drop: Arc<std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>> = Arc::default();
    let connector = {
        let at_drop = at_drop.clone();
        move || {
            let at_drop = at_drop.clone();
            let call = move || {
                if let Some(call) = at_drop.get() {
                    call();
                }
            };
            ready(Ok::<_, io::Error>(Client(Arc::new(call))))
        }
    };
    let shared = Redial::new(connector).into_shared();
    drop(shared.ready().await.unwrap());
    let handle = shared.handle();
    let weak = shared.clone();
    let _ = at_drop.set(Box::new(move || drop((handle.status(), weak.save()))));
    shared.renew_now();
    for _ in 0..3 {
        drop(shared.ready().await.unwrap());
    }
    assert_eq!(shared.ready().await.unwrap().generation(), 2);
}
