//! What is lost if a future is dropped, at any point at which it waits?
//!
//! Each public future is polled k times and dropped, for every k until it is
//! ready sooner; then the state must be whole.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use redial::{Exponential, Jitter, Redial, SessionEvent, Status, TokenBucket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a future comes to be dropped.
#[derive(Clone, Copy, Debug)]
enum Drop {
    /// When it was pending.
    Pending,
    /// When it was woken after that, and before it could hear why.
    Woken,
}

/// Polls so many times and drops; or what the future returned before.
async fn dropped_after<F: Future>(polls: u32, how: Drop, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match (future.as_mut().poll(cx), how) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Drop::Pending) if left == 0 => Poll::Ready(None),
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}

/// Every way to drop a future. The test says when there were enough of them.
fn every_drop() -> impl Iterator<Item = (u32, Drop)> {
    (0..).flat_map(|polls| [(polls, Drop::Pending), (polls, Drop::Woken)])
}

/// Anything that takes longer hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(100_000), future).await.expect("it hangs")
}

// ---- the driver

const PERIOD: Duration = Duration::from_secs(100);

/// A driver whose first attempt fails and whose second has to pay, with some
/// places to wait on the way; its bucket; and the number of its attempts.
struct Outage {
    redial: Redial<Connector, Exponential>,
    bucket: TokenBucket,
    attempts: Arc<AtomicU32>,
    start: Instant,
}

type Connector = Box<dyn FnMut() -> BoxFuture<'static, io::Result<u32>> + Send>;

fn outage() -> Outage {
    let bucket = TokenBucket::new(1, PERIOD);
    bucket.try_take().unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let connector: Connector = Box::new(move || {
        let attempt = count.fetch_add(1, SeqCst) + 1;
        Box::pin(async move {
            sleep(secs(1)).await;
            yield_now().await;
            if attempt == 1 {
                Err(ErrorKind::ConnectionRefused.into())
            } else {
                Ok(attempt)
            }
        })
    });
    Outage {
        redial: Redial::new(connector)
            .policy(Exponential::new(secs(2), secs(2)).jitter(Jitter::None))
            .budget(&bucket),
        bucket,
        attempts,
        start: Instant::now(),
    }
}

impl Outage {
    fn attempts(&self) -> u32 {
        self.attempts.load(SeqCst)
    }

    /// Each attempt but the first has taken one token, and nothing else did.
    fn check_bucket(bucket: &TokenBucket, start: Instant, attempts: u32) {
        let taken = 1 + attempts.saturating_sub(1);
        let next = start.elapsed() + bucket.try_take().err().unwrap_or_default();
        let error = next.abs_diff(taken * PERIOD);
        assert!(error < secs(1), "{taken} tokens, and the next at {next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ready_loses_nothing_wherever_it_is_dropped() {
    let mut undisturbed = outage();
    soon(undisturbed.redial.ready()).await.unwrap();
    let took = undisturbed.start.elapsed().as_secs();
    let mut points = 0;
    for (polls, how) in every_drop() {
        let mut it = outage();
        let cut = dropped_after(polls, how, it.redial.ready()).await;
        let was_ready = cut.is_some();
        assert_eq!(*soon(it.redial.ready()).await.unwrap(), 2);
        assert_eq!(it.attempts(), 2, "{polls} polls, {how:?}");
        assert_eq!(it.start.elapsed().as_secs(), took, "{polls} polls, {how:?}");
        Outage::check_bucket(&it.bucket, it.start, 2);
        if was_ready {
            break;
        }
        points += 1;
    }
    assert!(points >= 12, "{points}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_gives_its_token_back_wherever_it_is_dropped() {
    for (polls, how) in every_drop() {
        let mut it = outage();
        let ready = dropped_after(polls, how, it.redial.ready()).await.is_some();
        let attempts = it.attempts();
        drop(it.redial);
        Outage::check_bucket(&it.bucket, it.start, attempts);
        if ready {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connect_loses_at_most_its_attempt_wherever_it_is_dropped() {
    for (polls, how) in every_drop() {
        let mut it = outage();
        let handle = it.redial.handle();
        let cut = dropped_after(polls, how, it.redial.connect()).await;
        let wasted = matches!(handle.status(), Status::Connecting { attempt: 2, .. });
        let was_ready = cut.is_some();
        let connection = match cut {
            Some(connected) => connected,
            None => soon(it.redial.connect()).await,
        };
        let expected = 2 + u32::from(wasted);
        assert_eq!(connection.unwrap(), expected);
        assert_eq!(it.attempts(), expected, "{polls} polls, {how:?}");
        Outage::check_bucket(&it.bucket, it.start, expected);
        if was_ready {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn run_loses_at_most_its_session_wherever_it_is_dropped() {
    for (polls, how) in every_drop() {
        let mut it = outage();
        let handle = it.redial.handle();
        let mut sessions = 0;
        let cut = dropped_after(
            polls,
            how,
            it.redial.run(async |_| {
                sessions += 1;
                sleep(secs(1)).await;
                yield_now().await;
                Ok(match sessions {
                    1 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break("done"),
                })
            }),
        )
        .await;
        let before = it.attempts();
        let up = matches!(handle.status(), Status::Connected { .. });
        soon(it.redial.ready()).await.unwrap();
        // A session that was cut counts as a loss; an attempt goes on.
        let attempts = it.attempts();
        assert_eq!(
            attempts,
            before.max(if up { before + 1 } else { 2 + sessions })
        );
        Outage::check_bucket(&it.bucket, it.start, attempts);
        if let Some(done) = cut {
            assert_eq!(done.unwrap(), "done");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_shares_takes_nothing_from_others_wherever_it_is_dropped() {
    for (polls, how) in every_drop() {
        let it = outage();
        let shared = it.redial.into_shared();
        let other = tokio::spawn({
            let shared = shared.clone();
            async move { soon(shared.ready()).await.unwrap().into_inner() }
        });
        let cut = dropped_after(polls, how, shared.ready()).await;
        assert_eq!(other.await.unwrap(), 2);
        assert_eq!(*soon(shared.ready()).await.unwrap(), 2);
        assert_eq!(it.attempts.load(SeqCst), 2);
        assert_eq!(it.start.elapsed().as_secs(), 101);
        Outage::check_bucket(&it.bucket, it.start, 2);
        if cut.is_some() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_misses_no_status_wherever_its_future_is_dropped() {
    let mut all = None;
    for (polls, how) in [(9, Drop::Pending), (1, Drop::Pending), (1, Drop::Woken)] {
        let mut it = outage();
        let mut watch = it.redial.handle().watch();
        let watching = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                match dropped_after(polls, how, watch.next()).await {
                    Some(Some(status)) => seen.push(std::mem::discriminant(&status)),
                    Some(None) => return seen,
                    None => sleep(Duration::from_millis(10)).await,
                }
                if seen.len() == 6 {
                    return seen; // idle, and five until it is connected
                }
            }
        });
        soon(it.redial.ready()).await.unwrap();
        let seen = watching.await.unwrap();
        assert_eq!(*all.get_or_insert(seen.clone()), seen);
    }
}

// ---- the wrappers

type Lines = Framed<DuplexStream, LinesCodec>;
type Dial<T, E> = Box<dyn FnMut() -> BoxFuture<'static, Result<T, E>>>;

/// A server of two connections that hold `size` bytes, each of which says
/// something, bit by bit, goes on listening, and ends; and what it got on each.
fn server(
    size: usize,
    says: &'static [&'static str],
) -> (Dial<DuplexStream, io::Error>, JoinHandle<[Vec<u8>; 2]>) {
    let (accept, mut accepted) = tokio::sync::mpsc::unbounded_channel::<DuplexStream>();
    let connector = Box::new(move || {
        let accept = accept.clone();
        Box::pin(async move {
            sleep(secs(1)).await;
            let (ours, theirs) = duplex(size);
            accept.send(theirs).map_err(io::Error::other)?;
            Ok(ours)
        }) as _
    });
    let serving = tokio::spawn(async move {
        let mut got = [vec![], vec![]];
        for (number, got) in got.iter_mut().enumerate() {
            let Some(mut stream) = accepted.recv().await else {
                break;
            };
            for part in says {
                sleep(secs(1)).await;
                if stream.write_all(part.as_bytes()).await.is_err() {
                    break;
                }
            }
            // The server takes a while to read what the client writes.
            let mut buf = [0; 4];
            while let Ok(Ok(n @ 1..)) = timeout(secs(20), stream.read(&mut buf)).await {
                got.extend(&buf[..n]);
                sleep(Duration::from_millis(300)).await;
            }
            if number == 1 {
                // The last one stays, for as long as anybody is there.
                let _ = stream.read_to_end(got).await;
            }
        }
        got
    });
    (connector, serving)
}

fn lines(mut connector: Dial<DuplexStream, io::Error>) -> Dial<Lines, LinesCodecError> {
    Box::new(move || {
        let stream = connector();
        Box::pin(async move { Ok(Framed::new(stream.await?, LinesCodec::new())) })
    })
}

const LINES: [&str; 3] = ["one\ntw", "o\n", "three\n"];

fn waits() -> Exponential {
    Exponential::new(secs(1), secs(1)).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn next_loses_no_event_wherever_it_is_dropped() {
    for (polls, how) in [(1, Drop::Pending), (1, Drop::Woken)] {
        let (connector, _serving) = server(64, &LINES);
        let mut session = Redial::new(lines(connector)).policy(waits()).into_session();
        let mut seen = Vec::new();
        let mut drops = 0;
        while seen.len() < 9 {
            match dropped_after(polls, how, soon(session.next())).await {
                Some(Some(Ok(SessionEvent::Item(line)))) => seen.push(line),
                Some(Some(Ok(SessionEvent::Up))) => seen.push("up".into()),
                Some(Some(Ok(SessionEvent::Down { error: None, .. }))) => seen.push("down".into()),
                Some(other) => panic!("{other:?}"),
                None => {
                    drops += 1;
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
        let once = ["up", "one", "two", "three", "down"];
        assert_eq!(seen, [&once[..], &once[..4]].concat());
        assert!(drops > 1, "{drops}");
    }
}

#[tokio::test(start_paused = true)]
async fn send_sends_once_or_not_at_all_wherever_it_is_dropped() {
    let mut outcomes = Vec::new();
    for (polls, how) in every_drop() {
        let (connector, serving) = server(8, &[]);
        let mut session = Redial::new(lines(connector)).policy(waits()).into_session();
        let cut = dropped_after(polls, how, session.send("a long first line".to_owned())).await;
        soon(session.send("second".to_owned())).await.unwrap();
        soon(SinkExt::<String>::close(&mut session)).await.unwrap();
        drop(session);
        let [got, none] = soon(serving).await.unwrap();
        let got = String::from_utf8(got).unwrap();
        assert_eq!(none, b"");
        let whole = "a long first line\nsecond\n";
        assert!(
            got == whole || got == "second\n" && cut.is_none(),
            "{got:?}"
        );
        outcomes.push(got == whole);
        if cut.is_some() {
            break;
        }
    }
    // Not taken at first, then taken.
    assert!(outcomes.is_sorted() && !outcomes[0], "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn flush_and_close_can_be_repeated_wherever_they_are_dropped() {
    for close in [false, true] {
        for (polls, how) in every_drop() {
            let (connector, serving) = server(8, &[]);
            let mut session = Redial::new(lines(connector)).policy(waits()).into_session();
            let line = "a line that takes a while".to_owned();
            soon(session.feed(line)).await.unwrap();
            let cut = if close {
                dropped_after(polls, how, SinkExt::<String>::close(&mut session)).await
            } else {
                dropped_after(polls, how, SinkExt::<String>::flush(&mut session)).await
            };
            soon(SinkExt::<String>::flush(&mut session)).await.unwrap();
            soon(SinkExt::<String>::close(&mut session)).await.unwrap();
            drop(session);
            let [got, _] = soon(serving).await.unwrap();
            assert_eq!(got, b"a line that takes a while\n");
            if let Some(done) = cut {
                done.unwrap();
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn read_loses_no_byte_wherever_it_is_dropped() {
    for (polls, how) in [(1, Drop::Pending), (1, Drop::Woken)] {
        let (connector, _serving) = server(64, &LINES);
        let mut io = Redial::new(connector).policy(waits()).into_io();
        let (mut got, mut drops) = (Vec::new(), 0);
        while got.len() < 29 {
            match dropped_after(polls, how, soon(io.read_u8())).await {
                Some(Ok(byte)) => got.push(byte),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    got.push(b'|');
                }
                None => {
                    drops += 1;
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
        assert_eq!(got, b"one\ntwo\nthree\n|one\ntwo\nthree\n");
        assert!(drops > 1, "{drops}");
    }
}

#[tokio::test(start_paused = true)]
async fn write_has_not_happened_wherever_it_is_dropped() {
    for (polls, how) in [(1, Drop::Pending), (1, Drop::Woken)] {
        let (connector, serving) = server(8, &[]);
        let mut io = Redial::new(connector).policy(waits()).into_io();
        let text = b"written through a keyhole, with many a cut";
        let (mut written, mut drops) = (0, 0);
        while written < text.len() {
            let cut = dropped_after(polls, how, soon(io.write(&text[written..]))).await;
            drops += u32::from(cut.is_none());
            written += cut.transpose().unwrap().unwrap_or(0);
            sleep(Duration::from_millis(10)).await;
        }
        for polls in 0..4 {
            let _ = dropped_after(polls, how, io.flush()).await;
        }
        for polls in 0..4 {
            let _ = dropped_after(polls, how, io.shutdown()).await;
        }
        soon(io.shutdown()).await.unwrap();
        drop(io);
        let [got, _] = soon(serving).await.unwrap();
        assert_eq!(got, text);
        assert!(drops > 1, "{drops}");
    }
}
