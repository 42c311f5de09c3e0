//! What may a connector do, and what does a box change?

use std::future::ready;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redial::test::{Recorder, Script, Scripted, Server, Waits};
use redial::{
    AttemptInfo, BoxConnect, BoxRedial, Cause, Connect, Exponential, Jitter, Redial, Verdict,
    with_info,
};
use tokio::time::{Instant, timeout};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1, 2, 4, … 64 s: waits that differ from each other.
fn doubling() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

fn refused() -> io::Error {
    ErrorKind::ConnectionRefused.into()
}

/// A connector that fails for so many attempts, at once, and counts them.
fn after_failures(failures: u32) -> (Scripted<()>, Server<()>) {
    let script = Script::new().refuse().times(failures);
    script.connect().forever().connections(drop)
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The seconds, to the timer's millisecond, since an instant.
fn since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1000.0).floor() / 1000.0
}

// ---- connectors of one's own

/// Its attempts take three polls each, which the connector counts.
struct Numbered {
    attempts: u32,
    polls: u32,
}

impl Connect for Numbered {
    type Connection = u32;
    type Error = io::Error;
    /// The polls that are left.
    type Attempt = u32;

    fn connect(&mut self) -> u32 {
        self.attempts += 1;
        2
    }

    fn poll_attempt(
        &mut self,
        mut left: Pin<&mut u32>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<u32>> {
        self.polls += 1;
        if *left > 0 {
            *left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(if self.attempts > 2 {
            Ok(self.polls)
        } else {
            Err(refused())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_keeps_its_own_state_across_the_polls_of_an_attempt() {
    let numbered = || Numbered {
        attempts: 0,
        polls: 0,
    };
    let mut redial = Redial::new(numbered()).policy(doubling());
    assert_eq!(*redial.ready().await.unwrap(), 9);
    redial.lost();
    assert_eq!(redial.connect().await.unwrap(), 12);

    let mut redial = Redial::new(numbered()).policy(doubling());
    assert!(poll_once(&mut redial.ready()).is_pending());
    assert_eq!(redial.connect().await.unwrap(), 9, "the attempt goes on");
}

/// Its attempts never end, and it knows how many of them are alive.
struct Hanging(Arc<()>);

impl Connect for Hanging {
    type Connection = ();
    type Error = io::Error;
    type Attempt = Arc<()>;

    fn connect(&mut self) -> Arc<()> {
        self.0.clone()
    }

    fn poll_attempt(&mut self, _: Pin<&mut Arc<()>>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_dropped_when_it_times_out() {
    let alive = Arc::new(());
    let mut redial = Redial::new(Hanging(alive.clone()))
        .policy(doubling())
        .attempt_timeout(secs(13));
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(12), &mut future).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 3);
    assert!(
        timeout(Duration::from_millis(1500), &mut future)
            .await
            .is_err()
    );
    assert_eq!(Arc::strong_count(&alive), 2);
}

// ---- in a box

#[tokio::test(start_paused = true)]
async fn a_boxed_driver_does_what_it_did_before() {
    let numbered = Numbered {
        attempts: 0,
        polls: 0,
    };
    let mut redial: BoxRedial<u32, io::Error> = Redial::new(numbered).policy(doubling()).boxed();
    let start = Instant::now();
    assert_eq!(*redial.ready().await.unwrap(), 9, "with its own state");
    assert!((since(start) - 3.0).abs() < 0.01);

    // In the middle of a wait, and while it is up.
    let (connector, server) = after_failures(1);
    let mut redial = Redial::new(connector).policy(doubling());
    assert!(poll_once(&mut redial.ready()).is_pending());
    let start = Instant::now();
    let mut redial = redial.boxed();
    redial.ready().await.unwrap();
    assert!((since(start) - 1.0).abs() < 0.01);
    let mut redial = redial.boxed();
    redial.ready().await.unwrap();
    assert_eq!(server.attempts(), 2);
}

/// The waits of the first minutes, boxed after the first.
async fn waits(boxed: bool) -> Waits {
    let recorder = Recorder::new();
    let mut redial = Redial::new(after_failures(100).0)
        .seed(7)
        .observe(recorder.observer());
    assert!(poll_once(&mut redial.ready()).is_pending());
    if boxed {
        let _ = timeout(secs(300), redial.boxed().ready()).await;
    } else {
        let _ = timeout(secs(300), redial.ready()).await;
    }
    recorder.waits()
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_boxed_in_an_outage_goes_on_with_its_policy() {
    let plain = waits(false).await;
    assert!(plain.len() > 5, "{plain:?}");
    let boxed = waits(true).await;
    assert_eq!(boxed.len(), plain.len());
    for (boxed, plain) in boxed.iter().zip(plain) {
        assert!(boxed.abs_diff(plain) < Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_boxed_driver_drops_the_attempt_that_times_out() {
    let alive = Arc::new(());
    let mut redial = Redial::new(Hanging(alive.clone()))
        .policy(doubling())
        .attempt_timeout(secs(13))
        .boxed();
    let mut future = pin!(redial.ready());
    assert!(timeout(secs(12), &mut future).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 3);
    assert!(
        timeout(Duration::from_millis(1500), &mut future)
            .await
            .is_err()
    );
    assert_eq!(Arc::strong_count(&alive), 2);
}

#[tokio::test(start_paused = true)]
async fn boxing_a_driver_drops_its_attempt_which_has_stalled() {
    let alive = Arc::new(());
    let recorder = Recorder::new();
    let mut redial = Redial::new(Hanging(alive.clone())).observe(recorder.observer());
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    let mut redial = redial.boxed();
    assert_eq!(Arc::strong_count(&alive), 2);
    assert!(timeout(secs(0), redial.ready()).await.is_err());
    assert_eq!(recorder.verdicts(), [Verdict::Retry(Cause::Stalled)]);
}

#[test]
#[should_panic(expected = "an attempt is polled by its own connector")]
fn a_boxed_connector_refuses_the_attempt_of_another() {
    let mut one = BoxConnect::new(after_failures(0).0);
    let mut other = BoxConnect::new(|| ready(Ok::<(), io::Error>(())));
    let mut attempt = pin!(one.connect());
    let _ = other.poll_attempt(attempt.as_mut(), &mut Context::from_waker(Waker::noop()));
}

// ---- what a connector can know

type Told = Arc<Mutex<Vec<(u32, Option<&'static str>)>>>;

/// A connector that writes down what it is told, and whose attempts go like this.
fn told(
    answers: &'static [Option<Result<(), &'static str>>],
) -> (
    impl Connect<Connection = (), Error = &'static str, Attempt: Send> + Send + 'static,
    Told,
) {
    let told = Told::default();
    let log = told.clone();
    let connector = with_info(move |info: AttemptInfo<'_, &'static str>| {
        let mut log = log.lock().unwrap();
        log.push((info.number(), info.last_error().copied()));
        let answer = answers[log.len() - 1];
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    });
    (connector, told)
}

#[tokio::test(start_paused = true)]
async fn a_connector_can_know_the_number_of_its_attempt_and_the_last_error() {
    for boxed in [false, true] {
        let (connector, told) =
            told(&[Some(Err("refused")), None, Some(Err("again")), Some(Ok(()))]);
        let redial = Redial::new(connector);
        if boxed {
            redial.boxed().ready().await.unwrap();
        } else {
            let mut redial = redial;
            redial.ready().await.unwrap();
        }
        let expected = [
            (1, None),
            (2, Some("refused")),
            (3, None), // the one before timed out
            (4, Some("again")),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_can_know_the_error_of_a_loss_and_each_outage_counts_anew() {
    let (connector, told) = told(&[Some(Ok(())), Some(Ok(())), Some(Ok(())), Some(Ok(()))]);
    let mut redial = Redial::new(connector);
    redial.ready().await.unwrap();
    redial.lost_with("kicked");
    redial.ready().await.unwrap();
    redial.lost();
    redial.ready().await.unwrap();
    tokio::time::sleep(secs(60)).await;
    redial.lost_with("restart");
    redial.ready().await.unwrap();
    let expected = [
        (1, None),
        (1, Some("kicked")),
        (2, None),
        (1, Some("restart")),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

/// A connector that counts the changes of the network that it hears of.
struct Counts(Arc<AtomicU32>);

impl Connect for Counts {
    type Connection = ();
    type Error = io::Error;
    type Attempt = std::future::Ready<io::Result<()>>;

    fn connect(&mut self) -> Self::Attempt {
        ready(Err(ErrorKind::ConnectionRefused.into()))
    }

    fn network_changed(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        attempt.poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_hears_that_the_network_has_changed() {
    let changes = Arc::new(AtomicU32::new(0));
    let plain = Redial::new(Counts(changes.clone()));
    let boxed = Redial::new(Counts(changes.clone())).boxed();
    let handles = [plain.handle(), boxed.handle()];
    let (mut plain, mut boxed) = (plain, boxed);
    let living = async { tokio::join!(plain.ready(), boxed.ready()) };
    let mut living = pin!(living);
    assert!(timeout(secs(1), &mut living).await.is_err());
    for handle in &handles {
        handle.network_changed();
    }
    assert!(timeout(secs(1), &mut living).await.is_err());
    assert_eq!(changes.load(SeqCst), 2);
}
