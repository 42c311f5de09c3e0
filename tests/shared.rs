//! Do all tasks that share a connection get it?

mod paused;

use std::future::{pending, poll_fn, ready};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::StreamExt;
use redial::policy::from_fn;
use redial::{Exponential, Jitter, Redial, Shared, Status, Verdict};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use paused::paused_runtime;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn waits() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

/// Panics if the future hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(1000), future).await.expect("it hangs")
}

type Attempt = BoxFuture<'static, io::Result<u32>>;

/// A connector whose attempts take `time`, and succeed with their number.
fn numbered(time: Duration) -> (impl FnMut() -> Attempt + Send, Arc<AtomicU32>) {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let connector = move || {
        let attempt = count.fetch_add(1, SeqCst) + 1;
        Box::pin(async move {
            sleep(time).await;
            Ok(attempt)
        }) as Attempt
    };
    (connector, attempts)
}

/// A connector, and a channel by which each of its attempts is answered.
fn answered() -> (
    impl FnMut() -> Attempt + Send,
    mpsc::UnboundedReceiver<oneshot::Sender<io::Result<u32>>>,
) {
    let (attempt, attempts) = mpsc::unbounded_channel();
    let connector = move || {
        let (answer, answered) = oneshot::channel();
        let _ = attempt.send(answer);
        Box::pin(async move { answered.await.expect("it is answered") }) as Attempt
    };
    (connector, attempts)
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}

// ---- one attempt for all

#[tokio::test(start_paused = true)]
async fn one_attempt_serves_all_tasks_that_wait() {
    let (connector, attempts) = numbered(secs(5));
    let shared = Redial::new(connector).into_shared();
    let start = Instant::now();
    let tasks = (0..100).map(|_| {
        let shared = shared.clone();
        tokio::spawn(async move { soon(shared.ready()).await.unwrap().into_inner() })
    });
    for number in join_all(tasks).await {
        assert_eq!(number.unwrap(), 1);
    }
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_wakes_each_task_of_a_crowd_once() {
    const CROWD: u32 = 10_000;
    let (connector, mut attempts) = answered();
    let shared = Redial::new(connector).into_shared();
    let woken = Arc::new(Woken::default());
    let mut waiting: Vec<_> = (0..CROWD).map(|_| shared.ready()).collect();
    for ready in &mut waiting {
        assert!(poll(Pin::new(ready), &woken).is_pending());
    }
    attempts.recv().await.unwrap().send(Ok(7)).unwrap();
    for ready in &mut waiting {
        assert!(poll(Pin::new(ready), &woken).is_ready());
    }
    assert_eq!(woken.0.load(SeqCst), CROWD);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_polling_waiter_in_the_middle_of_a_connect_harms_no_other() {
    let (connector, mut attempts) = answered();
    let shared = Redial::new(connector).into_shared();
    let (one, two) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let mut first = pin!(shared.ready());
    assert!(poll(first.as_mut(), &one).is_pending());
    {
        // This task polls last.
        let mut second = pin!(shared.ready());
        assert!(poll(second.as_mut(), &two).is_pending());
    }
    attempts.recv().await.unwrap().send(Ok(7)).unwrap();
    assert_eq!((one.0.load(SeqCst), two.0.load(SeqCst)), (1, 0));
    assert!(matches!(poll(first, &one), Poll::Ready(Ok(lent)) if *lent == 7));
    assert!(attempts.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn one_attempt_serves_the_tasks_that_stay_when_others_are_dropped_at_random() {
    let (connector, attempts) = numbered(secs(5));
    let shared = Redial::new(connector).into_shared();
    let tasks = (0..50).map(|i| {
        let shared = shared.clone();
        tokio::spawn(async move {
            // Two thirds of the tasks give up, at different times.
            if i % 3 > 0 {
                let patience = Duration::from_millis(137 * i);
                let _ = timeout(patience, shared.ready()).await;
            } else {
                assert_eq!(*soon(shared.ready()).await.unwrap(), 1);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_all_tasks_left_goes_on_with_the_next_task() {
    let (connector, attempts) = numbered(secs(5));
    let shared = Redial::new(connector).into_shared();
    let start = Instant::now();
    assert!(timeout(secs(2), shared.ready()).await.is_err());
    sleep(secs(2)).await;
    assert_eq!(*soon(shared.ready()).await.unwrap(), 1);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(attempts.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn one_error_reaches_all_waiters_until_somebody_asks_for_an_attempt() {
    let (connector, mut attempts) = answered();
    let shared = Redial::new(connector)
        .policy(waits())
        .classify(|_| Verdict::Stop)
        .into_shared();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move { soon(shared.ready()).await.unwrap_err() })
        })
        .collect();
    let answer = attempts.recv().await.unwrap();
    tokio::task::yield_now().await;
    answer.send(Err(ErrorKind::Other.into())).unwrap();
    let mut errors = Vec::new();
    for task in tasks {
        errors.push(task.await.unwrap());
    }
    assert!(errors[0].is_stopped());
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));

    // A ban must not be answered by an attempt for each request.
    sleep(Duration::from_secs(60)).await;
    for _ in 0..1000 {
        let again = shared.ready().await.unwrap_err();
        assert!(Arc::ptr_eq(&again, &errors[0]));
    }
    assert!(attempts.try_recv().is_err());

    // A new outage begins, and its first attempt is spread.
    let start = Instant::now();
    shared.handle().resume();
    let later = tokio::spawn({
        let shared = shared.clone();
        async move { soon(shared.ready()).await.unwrap().into_inner() }
    });
    attempts.recv().await.unwrap().send(Ok(2)).unwrap();
    assert_eq!(later.await.unwrap(), 2);
    assert!(start.elapsed() <= Duration::from_secs(1));
}

// ---- losses

#[tokio::test(start_paused = true)]
async fn many_reports_of_a_dead_connection_make_one_loss() {
    let (connector, attempts) = numbered(Duration::ZERO);
    let shared = Redial::new(connector).policy(waits()).into_shared();
    let first = shared.ready().await.unwrap();
    assert_eq!((first.generation(), *first), (1, 1));
    let start = Instant::now();
    for _ in 0..100 {
        shared.lost(&first);
        shared.lost_with(&first, ErrorKind::ConnectionReset.into());
    }
    let second = soon(shared.ready()).await.unwrap();
    assert_eq!((second.generation(), *second), (2, 2));
    assert_eq!(start.elapsed().as_secs(), 1);
    // A task may find out late.
    shared.lost(&first);
    assert_eq!(shared.ready().await.unwrap().generation(), 2);
    assert_eq!(attempts.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lent_connection_reports_its_own_loss() {
    let (connector, attempts) = numbered(Duration::ZERO);
    let shared = Redial::new(connector).policy(waits()).into_shared();
    let mut last = shared.ready().await.unwrap();
    for generation in 2..=4 {
        let late = last.clone();
        for lent in [&last, &late] {
            match generation {
                2 => lent.lost(),
                3 => lent.lost_with(ErrorKind::ConnectionReset.into()),
                _ => lent.ended(),
            }
        }
        last = soon(shared.ready()).await.unwrap();
        assert_eq!(last.generation(), generation);
        // Another task finds the same loss later.
        late.lost();
        assert!(shared.get().is_some());
    }
    assert_eq!(attempts.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_another_shared_cannot_be_reported_here() {
    let new = || Redial::new(numbered(Duration::ZERO).0).into_shared();
    let (one, other) = (new(), new());
    let lent = one.ready().await.unwrap();
    // Both are the first of their kind.
    assert_eq!(other.ready().await.unwrap().generation(), lent.generation());
    other.lost(&lent);
    other.lost_with(&lent, ErrorKind::ConnectionReset.into());
    other.ended(&lent);
    assert!(other.get().is_some(), "a healthy connection was ended");
    assert!(one.get().is_some(), "the report took a way round");
    one.lost(&lent);
    assert!(one.get().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lent_connection_does_not_keep_the_driver() {
    let shared = Redial::new(numbered(Duration::ZERO).0).into_shared();
    let handle = shared.handle();
    let lent = shared.ready().await.unwrap();
    drop(shared);
    assert_eq!(handle.status(), Status::Closed);
    lent.lost();
    assert_eq!(lent.into_inner(), 1, "the connection is still there");
}

/// A connection that uses its `Shared` when it is dropped.
struct Nosy(Arc<std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Clone for Nosy {
    fn clone(&self) -> Self {
        Self(Arc::default())
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(look) = self.0.get() {
            look();
        }
    }
}

#[test]
fn a_connection_may_use_its_shared_while_it_is_dropped() {
    // In a thread of its own: the fault was a deadlock.
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for close in [false, true] {
            let look = Arc::<std::sync::OnceLock<_>>::default();
            let nosy = look.clone();
            let connect = move || ready(Ok::<_, io::Error>(Nosy(nosy.clone())));
            let shared = Redial::new(connect).into_shared();
            let lent = shared.ready().now_or_never().unwrap().unwrap();
            let uses = shared.clone();
            let _ = look.set(Box::new(move || drop(uses.get())) as Box<dyn Fn() + Send + Sync>);
            if close {
                shared.handle().close();
                assert!(shared.ready().now_or_never().unwrap().is_err());
            } else {
                lent.lost();
            }
        }
        done.send(()).unwrap();
    });
    let is_done = is_done.recv_timeout(secs(20));
    assert!(is_done.is_ok(), "a deadlock");
}

#[test]
fn a_connection_may_use_its_shared_if_the_classifier_panics_at_its_loss() {
    // In a thread of its own: the fault was a deadlock.
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let look = Arc::<std::sync::OnceLock<_>>::default();
        let nosy = look.clone();
        let connect = move || ready(Ok::<_, io::Error>(Nosy(nosy.clone())));
        let shared = Redial::new(connect)
            .classify(|_| panic!("in the classifier"))
            .into_shared();
        let lent = shared.ready().now_or_never().unwrap().unwrap();
        let uses = shared.clone();
        let _ = look.set(Box::new(move || drop(uses.get())) as Box<dyn Fn() + Send + Sync>);
        let report = std::panic::AssertUnwindSafe(|| lent.lost_with(ErrorKind::Other.into()));
        assert!(std::panic::catch_unwind(report).is_err());
        done.send(()).unwrap();
    });
    let is_done = is_done.recv_timeout(secs(20));
    assert!(is_done.is_ok(), "a deadlock");
}

#[tokio::test(start_paused = true)]
async fn a_present_connection_is_lent_without_waiting() {
    let shared = Redial::new(numbered(secs(1)).0)
        .policy(waits())
        .into_shared();
    assert!(shared.get().is_none(), "there is none yet");
    soon(shared.ready()).await.unwrap();
    let lent = shared.get().unwrap();
    assert_eq!((lent.generation(), *lent), (1, 1));
    lent.lost();
    assert!(shared.get().is_none());
    sleep(secs(1000)).await;
    assert!(shared.get().is_none(), "it made an attempt");
    soon(shared.ready()).await.unwrap();
    shared.handle().close();
    assert!(shared.get().is_none(), "a handle has closed the driver");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lent_before_is_the_first() {
    let (connector, attempts) = numbered(Duration::ZERO);
    let mut redial = Redial::new(connector).policy(waits());
    redial.ready().await.unwrap();
    let shared = redial.into_shared();
    let lent = shared.ready().await.unwrap();
    assert_eq!(lent.generation(), 1);
    shared.lost(&lent);
    assert_eq!(soon(shared.ready()).await.unwrap().generation(), 2);
    assert_eq!(attempts.load(SeqCst), 2);
}

// ---- threads

#[test]
fn tasks_on_many_threads_get_every_connection() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (connector, attempts) = numbered(Duration::from_millis(1));
        let shared = Redial::new(connector)
            .policy(from_fn(|_| std::iter::repeat(Duration::from_millis(1))))
            .into_shared();
        let tasks = (0..32).map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..50 {
                    let lent = soon(shared.ready()).await.unwrap();
                    assert!(lent.generation() >= last);
                    assert_eq!(u64::from(*lent), lent.generation());
                    last = lent.generation();
                    tokio::task::yield_now().await;
                    shared.lost(&lent);
                }
                last
            })
        });
        let last = join_all(tasks).await.into_iter().map(Result::unwrap).max();
        assert_eq!(u64::from(attempts.load(SeqCst)), last.unwrap());
    });
}

// ---- handles, panics, wakers

#[tokio::test(start_paused = true)]
async fn a_handle_reaches_tasks_that_waited_before_it_was_made() {
    let shared =
        Redial::new(|| ready(Err::<u32, _>(io::Error::from(ErrorKind::ConnectionRefused))))
            .policy(Exponential::new(secs(5000), secs(5000)).jitter(Jitter::None))
            .into_shared();
    let waiter = tokio::spawn({
        let shared: Shared<_, _> = shared.clone();
        async move { shared.ready().await.map(drop) }
    });
    sleep(secs(1)).await;
    let handle = shared.handle();
    let start = Instant::now();
    tokio::task::yield_now().await;
    handle.close();
    assert!(soon(waiter).await.unwrap().unwrap_err().is_closed());
    assert_eq!(start.elapsed(), Duration::ZERO, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_press_reaches_tasks_that_waited_before_the_handle_was_made() {
    let (connector, attempts) = numbered(Duration::ZERO);
    let shared = Redial::new(connector)
        .policy(Exponential::new(secs(5000), secs(5000)).jitter(Jitter::None))
        .into_shared();
    let lent = shared.ready().await.unwrap();
    shared.lost(&lent);
    let waiter = tokio::spawn({
        let shared = shared.clone();
        async move { shared.ready().await.map(drop) }
    });
    sleep(secs(1)).await;
    let start = Instant::now();
    shared.handle().retry_now();
    soon(waiter).await.unwrap().unwrap();
    assert!(start.elapsed() < secs(1), "at once");
    assert_eq!(attempts.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_other_tasks_go_on_after_an_attempt_panicked_in_one() {
    let mut attempts = 0;
    let shared = Redial::new(move || {
        attempts += 1;
        let (attempt, mut polls) = (attempts, 0);
        poll_fn(move |_| {
            polls += 1;
            match (attempt, polls) {
                (1, 1) => Poll::Pending,
                (1, _) => panic!("in the second poll of the first attempt"),
                _ => Poll::Ready(Ok::<_, io::Error>(attempt)),
            }
        })
    })
    .attempt_timeout(Duration::MAX)
    .policy(waits())
    .into_shared();
    let woken = Arc::new(Woken::default());
    let mut waiting = Box::pin(shared.ready());
    assert!(poll(waiting.as_mut(), &woken).is_pending());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        poll(pin!(shared.ready()), &Arc::default()).is_ready()
    }));
    assert!(panicked.is_err());
    assert_eq!(woken.0.load(SeqCst), 1);
    assert_eq!(*soon(waiting).await.unwrap(), 2);
}

/// A waker that holds a task, as in simple executors. The last one to be dropped
/// drops what the task holds.
struct Last(Box<dyn Fn() + Send + Sync>);

impl Wake for Last {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_waker_may_drop_a_task_that_shares_the_connection() {
    let shared = Redial::new(pending::<io::Result<u32>>).attempt_timeout(Duration::MAX);
    let shared = Arc::new(shared.into_shared());
    let handle = shared.handle();
    let drops = Arc::new(AtomicU32::new(0));
    let task = || {
        let (shared, handle, drops) = (shared.clone(), handle.clone(), drops.clone());
        Waker::from(Arc::new(Last(Box::new(move || {
            let mut ready = pin!(shared.ready());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(ready.as_mut().poll(&mut cx).is_pending());
            assert!(handle.watch().next().now_or_never().is_some());
            drops.fetch_add(1, SeqCst);
        }))))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let mut watch = handle.watch();
    let mut ready = Box::pin(shared.ready());
    for _ in 0..3 {
        // Each waiter takes the place of the one before.
        let (one, two) = (task(), task());
        assert!(
            ready
                .as_mut()
                .poll(&mut Context::from_waker(&one))
                .is_pending()
        );
        while watch
            .poll_next_unpin(&mut Context::from_waker(&two))
            .is_ready()
        {}
    }
    drop(ready);
    drop(watch);
    assert_eq!(drops.load(SeqCst), 6);
}

type Connector = Box<dyn FnMut() -> std::future::Ready<io::Result<u32>> + Send>;

/// A shared connection whose first attempt fails.
fn refused_once() -> Shared<Connector, Exponential> {
    let mut attempts = 0_u32;
    let connector = move || {
        attempts += 1;
        ready(match attempts {
            1 => Err(io::Error::from(ErrorKind::ConnectionRefused)),
            _ => Ok(attempts),
        })
    };
    Redial::new(Box::new(connector) as Connector)
        .policy(waits())
        .into_shared()
}

#[test]
fn a_wait_goes_on_in_another_runtime() {
    for first_goes_on in [true, false] {
        let shared = refused_once();
        let first = paused_runtime();
        assert!(first.block_on(async { timeout(secs(0), shared.ready()).await.is_err() }));
        let _first = first_goes_on.then_some(first);
        let waited = paused_runtime().block_on(async {
            let start = Instant::now();
            assert_eq!(*shared.ready().await.unwrap(), 2);
            start.elapsed()
        });
        assert!(waited > Duration::from_millis(900), "{waited:?}");
    }
}

/// One task waits. Another task comes and goes, with a runtime of its own or
/// without one.
#[test]
fn a_wait_goes_on_after_the_runtime_that_timed_it_ends() {
    for with_runtime in [true, false] {
        let shared = refused_once();
        let first = paused_runtime();
        let waits = {
            let shared = shared.clone();
            first.spawn(async move { *shared.ready().await.unwrap() })
        };
        first.block_on(tokio::task::yield_now());
        if with_runtime {
            let second = paused_runtime();
            assert!(second.block_on(async { timeout(secs(0), shared.ready()).await.is_err() }));
        } else {
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _ = pin!(shared.ready()).poll(&mut Context::from_waker(Waker::noop()));
            }));
            assert!(polled.is_err(), "it has no clock");
        }
        assert_eq!(first.block_on(soon(waits)).unwrap(), 2);
    }
}
