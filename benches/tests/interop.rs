//! Do the waits of redial drive the retries of other crates, and theirs redial?

use std::future::ready;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use backon::{BackoffBuilder, Retryable};
use redial::{Exponential, Jitter, Policy, Redial, Stratified, policy};
use tokio::time::Instant;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An operation that fails, and counts how often it was tried.
fn failing() -> (
    Arc<AtomicU32>,
    impl FnMut() -> std::future::Ready<io::Result<()>>,
) {
    let tries = Arc::new(AtomicU32::new(0));
    let count = tries.clone();
    let operation = move || {
        count.fetch_add(1, SeqCst);
        ready(Err(ErrorKind::ConnectionRefused.into()))
    };
    (tries, operation)
}

/// What twenty waits last together: those that the other crate must have waited.
fn length(policy: &impl Policy) -> Duration {
    policy.delays_from_seed(1).take(20).sum()
}

/// Tokio's timer rounds each wait up to a millisecond.
fn is_about(measured: Duration, expected: Duration) {
    let rounding = Duration::from_millis(20);
    let range = expected..=expected + rounding;
    assert!(range.contains(&measured), "{measured:?}, {expected:?}");
}

// ---- ours drive theirs

#[tokio::test(start_paused = true)]
async fn delays_drive_backon() {
    let policy = Stratified::default();
    let (tries, operation) = failing();
    let start = Instant::now();
    // An iterator of waits is a backoff of backon by itself.
    let waits = policy.delays_from_seed(1).take(20);
    operation.retry(Ready(waits)).await.unwrap_err();
    assert_eq!(tries.load(SeqCst), 21);
    is_about(start.elapsed(), length(&policy));
}

/// Builds the iterator that it holds.
struct Ready<I>(I);

impl<I: Iterator<Item = Duration> + Send + Sync + Unpin> BackoffBuilder for Ready<I> {
    type Backoff = I;

    fn build(self) -> I {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn delays_drive_tokio_retry() {
    let policy = Stratified::default();
    let (tries, operation) = failing();
    let start = Instant::now();
    let waits = policy.delays_from_seed(1).take(20);
    let outcome = tokio_retry::Retry::start(waits, operation).await;
    outcome.unwrap_err();
    assert_eq!(tries.load(SeqCst), 21);
    is_about(start.elapsed(), length(&policy));
}

#[tokio::test(start_paused = true)]
async fn delays_drive_tokio_retry2() {
    let policy = Stratified::default();
    let (tries, mut operation) = failing();
    let start = Instant::now();
    let waits = policy.delays_from_seed(1).take(20);
    let outcome = tokio_retry2::Retry::spawn(waits, || {
        let attempt = operation();
        async { attempt.await.map_err(tokio_retry2::RetryError::transient) }
    });
    outcome.await.unwrap_err();
    assert_eq!(tries.load(SeqCst), 21);
    is_about(start.elapsed(), length(&policy));
}

// ---- theirs drive ours

/// How long a driver tries with a policy that gives up.
async fn tries_for(policy: impl Policy) -> (u32, Duration) {
    let (tries, operation) = failing();
    let start = Instant::now();
    let mut redial = Redial::new(operation).policy(policy);
    redial.ready().await.unwrap_err();
    (tries.load(SeqCst), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_backoff_of_backon_drives_redial() {
    let builder = backon::ExponentialBuilder::new()
        .with_min_delay(secs(1))
        .with_max_delay(secs(8))
        .with_max_times(5);
    let policy = policy::from_fn(move |_| builder.build());
    assert_eq!(tries_for(policy).await, (6, secs(1 + 2 + 4 + 8 + 8)));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_of_tokio_retry_drives_redial() {
    use tokio_retry::strategy::ExponentialBackoff;

    let strategy = ExponentialBackoff::from_millis(2)
        .factor(500)
        .max_delay(secs(8));
    let policy = policy::from_fn(move |_| strategy.clone().take(5));
    assert_eq!(tries_for(policy).await, (6, secs(1 + 2 + 4 + 8 + 8)));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_of_tokio_retry2_drives_redial() {
    use tokio_retry2::strategy::ExponentialBackoff;

    let strategy = ExponentialBackoff::from_millis(2)
        .factor(500)
        .max_delay(secs(8));
    let policy = policy::from_fn(move |_| strategy.clone().take(5));
    assert_eq!(tries_for(policy).await, (6, secs(1 + 2 + 4 + 8 + 8)));
}

#[tokio::test(start_paused = true)]
async fn the_same_waits_come_from_either_side() {
    let ours = Exponential::new(secs(1), secs(8)).jitter(Jitter::None);
    let theirs = backon::ExponentialBuilder::new()
        .with_min_delay(secs(1))
        .with_max_delay(secs(8))
        .without_max_times();
    assert!(ours.delays_from_seed(1).take(9).eq(theirs.build().take(9)));
}
