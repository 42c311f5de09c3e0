//! How many instructions does each hot path take? Noise does not change the count.
//!
//! Without arguments, lists the paths. With a path and a number, only runs that path
//! that many times. `.ci/instructions` runs each path with two numbers under
//! valgrind. The difference of the counts is the cost of the path.

use std::fmt::Debug;
use std::future::{poll_fn, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use futures::{Sink, SinkExt, Stream, StreamExt, TryStreamExt};
use redial::{
    Cause, Connect, Decorrelated, Exponential, Jitter, Liveness, Next, Outage, Policy, Redial,
    Sequence, Session, SessionEvent, Stratified, TokenBucket, Verdict,
};
use redial_benches::{Loopback, attempts, complete};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const SECOND: Duration = Duration::from_secs(1);

/// A path's name, and a function that runs the path the given number of times.
type Path = (&'static str, fn(u64));

const PATHS: &[Path] = &[
    ("outage of 16 delays, Stratified", |n| {
        delays(n, Stratified::default());
    }),
    ("outage of 16 delays, Exponential Full", |n| {
        delays(n, exponential());
    }),
    ("outage of 16 delays, Exponential Equal", |n| {
        delays(n, exponential().jitter(Jitter::Equal));
    }),
    ("outage of 16 delays, Exponential Proportional", |n| {
        delays(n, exponential().jitter(Jitter::Proportional(0.2)));
    }),
    ("outage of 16 delays, Decorrelated", |n| {
        delays(n, Decorrelated::new(SECOND, 60 * SECOND));
    }),
    ("outage of 16 delays, Sequence", |n| {
        delays(n, Sequence::new([1, 2, 5, 10, 30].map(Duration::from_secs)));
    }),
    ("outage of 16 delays, TokenBucket", |n| {
        delays(n, TokenBucket::new(3, SECOND).as_policy());
    }),
    ("outage of 4 failures, sans-IO, Stratified", outage),
    ("bucket take, granted", |n| {
        let bucket = TokenBucket::new(u32::MAX, SECOND);
        for _ in 0..n {
            black_box(bucket.try_take_at(black_box(SECOND))).unwrap();
        }
    }),
    ("bucket take, denied", |n| {
        let bucket = TokenBucket::new(1, SECOND);
        bucket.try_take_at(SECOND).unwrap();
        for _ in 0..n {
            black_box(bucket.try_take_at(black_box(SECOND))).unwrap_err();
        }
    }),
    ("bucket reserve", |n| {
        let bucket = TokenBucket::new(1, SECOND);
        for _ in 0..n {
            let _ = black_box(bucket.reserve_at(black_box(SECOND)));
        }
    }),
    ("connect, at once", |n| {
        for _ in 0..n {
            let mut redial = Redial::new(attempts(black_box(0)));
            black_box(complete(redial.connect())).unwrap();
        }
    }),
    ("connect, after 4 failures without waits", |n| {
        let policy = Sequence::new([Duration::ZERO]);
        for seed in 0..n {
            let redial = Redial::new(attempts(black_box(4)));
            let mut redial = redial.policy(policy.clone()).seed(seed);
            black_box(complete(redial.connect())).unwrap();
        }
    }),
    ("ready, while connected", |n| {
        let mut redial = Redial::new(attempts(0));
        for _ in 0..n {
            *complete(black_box(&mut redial).ready()).unwrap() += 1;
        }
    }),
    ("item received, bare", |n| {
        let mut bare = Loopback::default();
        for _ in 0..n {
            black_box(complete(black_box(&mut bare).next()));
        }
    }),
    ("item received, Session", |n| {
        let mut session = Redial::new(loopback()).into_session();
        for _ in 0..n {
            black_box(complete(black_box(&mut session).next()));
        }
    }),
    ("item sent, bare", |n| {
        let mut bare = Loopback::default();
        for item in 0..n {
            complete(black_box(&mut bare).send(item)).unwrap();
        }
    }),
    ("item sent, Session", |n| {
        let mut session = Redial::new(loopback()).into_session();
        assert!(matches!(
            complete(session.next()),
            Some(Ok(SessionEvent::Up))
        ));
        for item in 0..n {
            complete(black_box(&mut session).send(item)).unwrap();
        }
    }),
    ("item received, Session kept alive", |n| {
        in_a_runtime(|| {
            let mut session = kept_alive();
            for _ in 0..n {
                black_box(complete(black_box(&mut session).next()));
            }
        });
    }),
    ("item sent, Session kept alive", |n| {
        in_a_runtime(|| {
            let mut session = kept_alive();
            let up = complete(session.next());
            assert!(matches!(up, Some(Ok(SessionEvent::Up))));
            for item in 0..n {
                complete(black_box(&mut session).send(item)).unwrap();
            }
        });
    }),
    ("8 B written and read, bare", |n| {
        written_and_read(n, Loopback::default());
    }),
    ("8 B written and read, RedialIo", |n| {
        written_and_read(n, Redial::new(loopback()).into_io());
    }),
    // The figure is the work for each waiting task, and so for one more of them.
    ("task of a crowd woken twice, Shared", crowd),
    // How much of a whole round trip is the wrapper?
    ("64 B echo over a duplex, bare", |n| {
        echo(n, |io| io);
    }),
    ("64 B echo over a duplex, RedialIo", |n| {
        echo(n, |io| Redial::new(once::<_, std::io::Error>(io)).into_io());
    }),
    ("line there and back, bare", |n| {
        lines(n, |framed| framed.map_ok(SessionEvent::<_, ()>::Item));
    }),
    ("line there and back, Session", |n| {
        lines(n, |framed| {
            Redial::new(once::<_, LinesCodecError>(framed)).into_session()
        });
    }),
];

fn exponential() -> Exponential {
    Exponential::new(SECOND, 60 * SECOND)
}

fn delays(n: u64, policy: impl Policy) {
    for seed in 0..n {
        for wait in policy.delays_from_seed(black_box(seed)).take(16) {
            black_box(wait);
        }
    }
}

/// An outage: connected, lost, four refusals, and connected for long.
fn outage(n: u64) {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let mut now = Duration::ZERO;
    outage.connected(now);
    for _ in 0..n {
        now += 60 * SECOND;
        let mut next = outage.lost(now);
        for _ in 0..4 {
            let Next::Wait(wait) = black_box(next) else {
                unreachable!("there is no limit");
            };
            now += wait;
            black_box(outage.connecting(now));
            next = outage.failed(now, black_box(Verdict::Retry(Cause::Down)));
        }
        outage.connected(now);
    }
}

fn loopback() -> impl Connect<Connection = Loopback, Error = std::io::Error> {
    || ready(Ok(Loopback::default()))
}

/// Its type is its own, so that the compiler still inlines the others.
fn kept_alive() -> Session<impl Connect<Connection = Loopback, Error = std::io::Error>> {
    let connect = || ready(Ok(Loopback::default()));
    let session = Redial::new(connect).into_session();
    session.keep_alive(Liveness::new(), || 0)
}

/// Timers need one.
fn in_a_runtime(path: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    path();
}

fn written_and_read(n: u64, mut io: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut buffer = [0; 8];
    for _ in 0..n {
        complete(black_box(&mut io).write_all(black_box(&buffer))).unwrap();
        complete(black_box(&mut io).read_exact(black_box(&mut buffer))).unwrap();
    }
}

/// A crowd begins to wait for a connection, is woken while the attempt goes on,
/// waits again, and is woken by the connection.
fn crowd(n: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let succeeds = Arc::new(AtomicBool::new(false));
    let attempt = Arc::new(AtomicWaker::new());
    let (succeeded, registered) = (succeeds.clone(), attempt.clone());
    let shared = Redial::new(move || {
        let (succeeded, registered) = (succeeded.clone(), registered.clone());
        poll_fn(move |cx| {
            registered.register(cx.waker());
            if succeeded.load(Ordering::Relaxed) {
                Poll::Ready(Ok::<_, std::io::Error>(()))
            } else {
                Poll::Pending
            }
        })
    })
    .attempt_timeout(Duration::MAX)
    .into_shared();
    let mut waiting: Vec<_> = (0..n).map(|_| shared.ready()).collect();
    let mut cx = Context::from_waker(Waker::noop());
    for is_up in [false, false, true] {
        succeeds.store(is_up, Ordering::Relaxed);
        attempt.wake();
        for ready in &mut waiting {
            assert_eq!(Pin::new(ready).poll(&mut cx).is_ready(), is_up);
        }
    }
}

/// A connector that has one connection.
fn once<T, E: From<std::io::Error>>(connection: T) -> impl Connect<Connection = T, Error = E> {
    let mut connection = Some(connection);
    move || {
        ready(
            connection
                .take()
                .ok_or_else(|| std::io::Error::other("lost").into()),
        )
    }
}

/// Runs both sides in one task, so that the scheduler does not affect the count.
fn echo<T: AsyncRead + AsyncWrite + Unpin>(n: u64, wrap: impl FnOnce(DuplexStream) -> T) {
    let (ours, mut theirs) = duplex(1024);
    let mut ours = wrap(ours);
    let mut buffer = [7; 64];
    for _ in 0..n {
        complete(async {
            ours.write_all(&buffer).await.unwrap();
            theirs.read_exact(&mut buffer).await.unwrap();
            theirs.write_all(&buffer).await.unwrap();
            ours.read_exact(&mut buffer).await.unwrap();
        });
    }
}

type Lines = Framed<DuplexStream, LinesCodec>;

fn lines<T, E: Debug, F: Debug>(n: u64, wrap: impl FnOnce(Lines) -> T)
where
    T: Stream<Item = Result<SessionEvent<String, E>, F>> + for<'a> Sink<&'a str, Error: Debug>,
    T: Unpin,
{
    let (ours, mut theirs) = duplex(1024);
    let mut ours = wrap(Framed::new(ours, LinesCodec::new()));
    let mut buffer = [0; 21];
    for _ in 0..n {
        complete(async {
            ours.send("PRIVMSG #rust :hello").await.unwrap();
            theirs.read_exact(&mut buffer).await.unwrap();
            theirs.write_all(&buffer).await.unwrap();
            while !matches!(ours.next().await, Some(Ok(SessionEvent::Item(_)))) {}
        });
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            for (name, _) in PATHS {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        [wanted, n] => {
            let path = PATHS.iter().find(|(name, _)| name == wanted);
            let (Some((_, run)), Ok(n)) = (path, n.parse()) else {
                eprintln!("no such path, or no number: {wanted:?} {n:?}");
                return ExitCode::FAILURE;
            };
            run(n);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: instructions [PATH NUMBER]");
            ExitCode::FAILURE
        }
    }
}
