//! Is a client as small as a client of the peers?

use std::future::{Ready, ready};
use std::iter::Map;
use std::time::Duration;

use redial::policy::BucketPolicy;
use redial::{Decorrelated, Exponential, Policy, Redial, Rng, Sequence, Stratified};
use tokio_retry::strategy::ExponentialBackoff as TokioRetryBackoff;

type Attempt = Ready<Result<u32, &'static str>>;

fn size<T>(_: &T) -> usize {
    size_of::<T>()
}

fn attempt() -> Attempt {
    ready(Ok(1))
}

/// The size of a task while it waits for a connection.
#[test]
fn the_future_of_a_connection_is_smaller_than_the_peers() {
    let mut redial = Redial::new(attempt);
    let ours = size(&redial.connect());
    let waits = TokioRetryBackoff::from_millis(2).map(tokio_retry::strategy::jitter);
    let tokio_retry = size(&tokio_retry::Retry::start(waits, attempt));
    let backon = {
        use backon::Retryable;
        size(&attempt.retry(backon::ExponentialBuilder::new().with_jitter()))
    };
    println!("redial {ours}, tokio-retry {tokio_retry}, backon {backon}");
    println!("with the driver: redial {}", ours + size(&redial));
    assert!(ours <= tokio_retry && ours <= backon);
}

/// Each outage of redial has a generator of 32 bytes. In tokio-retry the thread
/// shares one generator; in backon a generator has 8 bytes.
#[test]
fn the_state_of_an_outage_is_no_larger_than_backons() {
    fn outage<P: Policy>() -> usize {
        size_of::<(P::State, Rng)>()
    }
    let backon = size_of::<backon::ExponentialBackoff>();
    let tokio_retry = size_of::<Map<TokioRetryBackoff, fn(Duration) -> Duration>>();
    println!("backon {backon}, tokio-retry {tokio_retry}");
    for (name, ours) in [
        ("Exponential", outage::<Exponential>()),
        ("Decorrelated", outage::<Decorrelated>()),
        ("Sequence", outage::<Sequence>()),
        ("Stratified", outage::<Stratified>()),
        ("TokenBucket", outage::<BucketPolicy>()),
    ] {
        println!("{name} {ours}");
        assert!(ours <= backon, "{name}");
    }
}
