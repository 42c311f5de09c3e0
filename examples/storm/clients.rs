//! The clients of other libraries, as they are: their waits, when they first try, and
//! how long they give an attempt.

use std::iter;
use std::time::Duration;

use redial::policy::from_fn;
use redial::storm::{Client, Fleet, Mix};
use redial::{Failed, Jitter, Policy, Rng, Sequence};

const SECOND: Duration = Duration::from_secs(1);

/// The clients with this name.
pub(crate) fn named(name: &str) -> Option<Mix> {
    Some(match name {
        "grpc" => one(grpc()),
        "aws" => one(aws()),
        "gcm" => one(gcm()),
        "ably" => one(ably()),
        "phoenix" => one(phoenix()),
        _ => return None,
    })
}

fn one<F: Fleet<State: 'static> + Send + Sync + 'static>(clients: F) -> Mix {
    Mix::new(1.0, clients)
}

/// Uniform over 0..1.
fn uniform(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// gRPC: an attempt at once, then 1 s times 1.6 up to 120 s, each but the first a fifth
/// shorter or longer. They count from the start of an attempt, which has 20 s at least.
///
/// Source: `doc/connection-backoff.md` of grpc/grpc.
fn grpc() -> Client<impl Policy<State: 'static> + Send + Sync + 'static> {
    let waits = |mut rng: Rng| {
        let mut backoff = 1.0_f64;
        let later = iter::repeat_with(move || {
            backoff = (backoff * 1.6).min(120.0);
            Duration::from_secs_f64(backoff * (0.8 + 0.4 * uniform(&mut rng)))
        });
        [Duration::ZERO, SECOND].into_iter().chain(later)
    };
    Client::new(from_fn(waits)).from_start(20 * SECOND)
}

/// The standard retry mode of the AWS SDKs: an attempt at once, then a random part of
/// 1 s, 2 s, 4 s and so on, at most 20 s. An attempt has 60 s.
///
/// The SDK gives up after three attempts. Here the app sets no limit (`max_attempts`).
///
/// Source: `ExponentialBackoff` in `botocore/retries/standard.py` of boto/botocore (its
/// waits before version 2.1 of the mode, which are those that the guide documents), and
/// the default `read_timeout` of its `Config`.
fn aws() -> Client<impl Policy<State: 'static> + Send + Sync + 'static> {
    let waits = |mut rng: Rng| {
        let mut most = 0.5_f64;
        let later = iter::repeat_with(move || {
            most = (most * 2.0).min(1e9);
            Duration::from_secs_f64(most.min(20.0) * uniform(&mut rng))
        });
        iter::once(Duration::ZERO).chain(later)
    };
    with_timeout(from_fn(waits), 60)
}

/// Chromium's connection to Google's cloud messaging: 10 s, doubled up to 5 minutes,
/// each up to a half shorter before the cap applies. An attempt has 30 s.
///
/// Source: `kConnectionBackoffPolicy` and `kReadTimeoutMs` in
/// `google_apis/gcm/engine/connection_factory_impl.cc` of Chromium, and
/// `net::BackoffEntry`, which applies the cap last.
fn gcm() -> Client<impl Policy<State: 'static> + Send + Sync + 'static> {
    let waits = |mut rng: Rng| {
        let mut backoff = 5.0_f64;
        iter::repeat_with(move || {
            backoff = (backoff * 2.0).min(1e9);
            let jittered = backoff * (1.0 - 0.5 * uniform(&mut rng));
            Duration::from_secs_f64(jittered.min(300.0))
        })
    };
    with_timeout(from_fn(waits), 30)
}

/// Ably: an attempt at once, then 15 s (`disconnectedRetryTimeout`) times 1, 4/3, 5/3
/// and from then on 2, each up to a fifth shorter. After two minutes
/// (`connectionStateTtl`) every 30 s (`suspendedRetryTimeout`). An attempt has 10 s
/// (`realtimeRequestTimeout`).
///
/// Source: `RTN15a` and `RTB1` of the feature specification, and ably/ably-js issue 997.
fn ably() -> Client<Ably> {
    with_timeout(Ably, 10)
}

/// The rule of [`ably`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ably;

impl Policy for Ably {
    /// How many waits there were.
    type State = u32;

    fn begin(&self, _: &mut Rng) -> u32 {
        0
    }

    fn next_delay(&self, waits: &mut u32, rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        let n = f64::from(*waits);
        *waits += 1;
        if n == 0.0 {
            return Some(Duration::ZERO);
        }
        if failed.elapsed >= 120 * SECOND {
            return Some(30 * SECOND);
        }
        let backoff = ((n + 2.0) / 3.0).min(2.0);
        let jitter = 1.0 - 0.2 * uniform(rng);
        Some(Duration::from_secs_f64(15.0 * backoff * jitter))
    }
}

/// Phoenix's socket: 10 ms to 2 s from a table, then 5 s, without jitter. An attempt has
/// 10 s here, the timeout of its messages; its own is that of the browser.
///
/// Source: `reconnectAfterMs` in `assets/js/phoenix/socket.js` of phoenixframework/phoenix,
/// and `DEFAULT_TIMEOUT` beside it.
fn phoenix() -> Client<Sequence> {
    let table = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000, 5_000];
    let table = Sequence::new(table.map(Duration::from_millis));
    with_timeout(table.jitter(Jitter::None), 10)
}

fn with_timeout<P: Policy>(policy: P, seconds: u32) -> Client<P> {
    Client::new(policy)
        .attempt_timeout(seconds * SECOND)
        .patience(Duration::ZERO)
}
