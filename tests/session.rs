//! What does a `Session` carry over from one connection to the next?

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::FusedStream;
use futures::{Sink, SinkExt, StreamExt};
use redial::{
    Cause, Event, Exponential, Failed, Jitter, Policy, Redial, Rng, SessionEvent, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

type Lines = Framed<DuplexStream, LinesCodec>;

/// A connector, and the other ends of its connections.
fn server() -> (
    impl FnMut() -> std::future::Ready<Result<Lines, LinesCodecError>>,
    mpsc::UnboundedReceiver<DuplexStream>,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let connector = move || {
        let (ours, theirs) = duplex(1024);
        let _ = accept.send(theirs);
        std::future::ready(Ok(Framed::new(ours, LinesCodec::new())))
    };
    (connector, accepted)
}

fn waits() -> Exponential {
    Exponential::new(Duration::from_secs(1), Duration::from_secs(64)).jitter(Jitter::None)
}

/// An event in a word or two.
fn shown(
    event: Option<Result<SessionEvent<String, LinesCodecError>, redial::Error<LinesCodecError>>>,
) -> String {
    match event {
        Some(Ok(SessionEvent::Up)) => "up".into(),
        Some(Ok(SessionEvent::Item(line))) => line,
        Some(Ok(SessionEvent::Down { error: None, .. })) => "down".into(),
        Some(Ok(SessionEvent::Down {
            error: Some(error), ..
        })) => format!("down: {error}"),
        Some(Err(error)) => format!("error: {error}"),
        None => "end".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn up_and_down_enclose_the_items_of_each_connection() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    for round in 0..3 {
        assert_eq!(shown(session.next().await), "up");
        let mut server = accepted.recv().await.unwrap();
        server
            .write_all(format!("hello {round}\nbye\n").as_bytes())
            .await
            .unwrap();
        drop(server);
        assert_eq!(shown(session.next().await), format!("hello {round}"));
        assert_eq!(shown(session.next().await), "bye");
        assert_eq!(shown(session.next().await), "down");
    }
}

/// A policy whose wait shows the cause that it was given.
#[derive(Clone)]
struct ByCause;

impl Policy for ByCause {
    type State = ();

    fn begin(&self, _: &mut Rng) {}

    fn next_delay(&self, (): &mut (), _: &mut Rng, failed: &Failed) -> Option<Duration> {
        Some(Duration::from_secs(match failed.cause {
            Cause::Down => 1,
            Cause::Busy => 2,
            _ => 3,
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn down_carries_the_verdict_that_the_next_wait_obeys() {
    let hint = Verdict::RetryAfter(Duration::from_secs(10));
    let slot = Verdict::Slot(Duration::from_secs(7));
    let (down, busy, stalled) = (Cause::Down, Cause::Busy, Cause::Stalled);
    let (connector, mut accepted) = server();
    let mut judged = [hint, slot, Verdict::Retry(stalled)].into_iter();
    let mut session = Redial::new(connector)
        .policy(ByCause)
        .classify(move |_| judged.next().unwrap())
        .into_session();
    assert_eq!(shown(session.next().await), "up");
    for (loss, verdict, seconds) in [
        // The hint is a floor, and the wait ends within its length after it.
        ("lost_with", hint, 10..=20),
        ("lost_with", slot, 7..=7),
        ("error", Verdict::Retry(stalled), 3..=3),
        ("end", Verdict::Retry(busy), 2..=2),
        ("ended", Verdict::Retry(busy), 2..=2),
        ("lost", Verdict::Retry(down), 1..=1),
    ] {
        let mut server = accepted.recv().await.unwrap();
        match loss {
            "lost_with" => session.lost_with(LinesCodecError::MaxLineLengthExceeded),
            // This is not UTF-8.
            "error" => server.write_all(b"\xff\n").await.unwrap(),
            "end" => server.shutdown().await.unwrap(),
            "ended" => session.ended(),
            _ => session.lost(),
        }
        match session.next().await {
            Some(Ok(SessionEvent::Down { verdict: shown, .. })) => assert_eq!(shown, verdict),
            event => panic!("{loss}: {event:?}"),
        }
        let start = Instant::now();
        assert_eq!(shown(session.next().await), "up");
        let waited = start.elapsed();
        assert!(
            seconds.contains(&waited.as_secs()),
            "{loss}, {verdict:?}: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_with_a_stop_verdict_is_the_last() {
    let (connector, _accepted) = server();
    let mut session = Redial::new(connector)
        .classify(|_| Verdict::Stop)
        .into_session();
    assert_eq!(shown(session.next().await), "up");
    session.lost_with(LinesCodecError::MaxLineLengthExceeded);
    let event = session.next().await;
    assert!(matches!(
        event,
        Some(Ok(SessionEvent::Down {
            error: Some(_),
            verdict: Verdict::Stop,
            ..
        }))
    ));
    let error = session.next().await.unwrap().unwrap_err();
    assert!(error.is_stopped());
    assert!(error.last().is_none(), "the error of the loss was in Down");
    assert_eq!(shown(session.next().await), "end");
}

#[tokio::test(start_paused = true)]
async fn a_frame_cut_by_the_loss_is_not_resumed_on_the_next_connection() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"whole\nhal").await.unwrap();
    assert_eq!(shown(session.next().await), "whole");
    session.lost();
    assert_eq!(shown(session.next().await), "down");
    assert_eq!(shown(session.next().await), "up");
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"f\n").await.unwrap();
    assert_eq!(shown(session.next().await), "f");
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_the_next_connection_while_down() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    session.send("one".to_owned()).await.unwrap();
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "up");
    assert_eq!(shown(session.next().await), "down");
    session.send("two".to_owned()).await.unwrap();
    let mut server = accepted.recv().await.unwrap();
    let mut line = [0; 4];
    server.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"two\n");
    assert_eq!(shown(session.next().await), "up");
}

#[tokio::test(start_paused = true)]
async fn send_fails_while_down_if_so_configured() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector)
        .policy(waits())
        .into_session()
        .fail_while_down();
    // Connecting takes no time here, so nothing is down yet.
    session.send("one".to_owned()).await.unwrap();
    assert_eq!(shown(session.next().await), "up");
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "down");
    let error = session.send("two".to_owned()).await.unwrap_err();
    assert!(error.is_down() && !error.is_over());
    assert_eq!(error.lost(), 0);
    assert_eq!(error.to_string(), "not sent: there is no connection");
    assert_eq!(shown(session.next().await), "up");
    session.send("three".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failing_sends_bring_the_connection_up_without_a_reader() {
    let (mut connector, mut accepted) = server();
    let mut session = Redial::new(move || {
        let connection = connector();
        async move {
            sleep(Duration::from_secs(3)).await;
            connection.await
        }
    })
    .policy(waits())
    .into_session()
    .fail_while_down();
    let start = Instant::now();
    for round in 0..3 {
        let mut failed = 0;
        while let Err(error) = session.send("x".to_owned()).await {
            assert!(error.is_down() || error.lost() == 1, "{error}");
            failed += 1;
            sleep(Duration::from_millis(100)).await;
        }
        assert!(failed >= 30, "round {round}: {failed}");
        drop(accepted.recv().await.unwrap());
    }
    // Three attempts of 3 s each, and waits of 1 s and 2 s.
    assert_eq!(start.elapsed().as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn send_reports_the_end_if_it_does_not_wait() {
    let mut session = Redial::new(|| {
        std::future::ready(Err::<Framed<DuplexStream, LinesCodec>, _>(
            LinesCodecError::MaxLineLengthExceeded,
        ))
    })
    .max_attempts(1)
    .into_session()
    .fail_while_down();
    assert!(session.send("x".to_owned()).await.unwrap_err().is_over());
    assert!(shown(session.next().await).starts_with("error: gave up after 1 attempt"));
    assert!(session.is_terminated());
}

#[tokio::test(start_paused = true)]
async fn items_that_were_accepted_and_not_flushed_are_reported_once() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    session.feed("one".to_owned()).await.unwrap();
    session.feed("two".to_owned()).await.unwrap();
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "up");
    assert_eq!(shown(session.next().await), "down");
    let error = SinkExt::<String>::flush(&mut session).await.unwrap_err();
    assert_eq!(error.lost(), 2);
    assert_eq!(
        error.to_string(),
        "the connection was lost with 2 items not flushed"
    );
    SinkExt::<String>::flush(&mut session).await.unwrap();
    session.send("three".to_owned()).await.unwrap();
    let mut server = accepted.recv().await.unwrap();
    let mut line = [0; 6];
    server.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"three\n", "nothing was sent again");
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_had_arrived_before_a_write_failed() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"ERROR :closing link\n").await.unwrap();
    drop(server);
    assert_eq!(session.send("x".to_owned()).await.unwrap_err().lost(), 1);
    assert_eq!(shown(session.next().await), "ERROR :closing link");
    assert!(shown(session.next().await).starts_with("down: "));
}

#[tokio::test(start_paused = true)]
async fn close_while_down_completes_and_ends_the_stream() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "down");
    SinkExt::<String>::close(&mut session).await.unwrap();
    assert_eq!(shown(session.next().await), "end");
    assert!(session.send("x".to_owned()).await.unwrap_err().is_over());
}

#[tokio::test(start_paused = true)]
async fn close_while_up_lets_the_rest_be_read_and_makes_no_connection() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    let mut server = accepted.recv().await.unwrap();
    SinkExt::<String>::close(&mut session).await.unwrap();
    server.write_all(b"last words\n").await.unwrap();
    drop(server);
    assert_eq!(shown(session.next().await), "last words");
    assert_eq!(shown(session.next().await), "down");
    assert_eq!(shown(session.next().await), "end");
    assert!(accepted.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn both_halves_wake_whichever_of_them_drives_the_attempt() {
    let (connector, mut accepted) = server();
    let (mut sink, mut stream) = Redial::new(connector)
        .policy(waits())
        .into_session()
        .split::<String>();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 9 {
            seen.push(shown(stream.next().await));
        }
        seen
    });
    let writer = tokio::spawn(async move {
        for round in 0..3 {
            while sink.send(format!("ping {round}")).await.is_err() {}
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    for round in 0..3 {
        let server = timeout(Duration::from_secs(60), accepted.recv())
            .await
            .unwrap()
            .unwrap();
        let mut server = Framed::new(server, LinesCodec::new());
        assert_eq!(
            server.next().await.unwrap().unwrap(),
            format!("ping {round}")
        );
        server.send("pong").await.unwrap();
    }
    let seen = timeout(Duration::from_secs(60), reader)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        seen,
        [
            "up", "pong", "down", "up", "pong", "down", "up", "pong", "down"
        ]
    );
    timeout(Duration::from_secs(60), writer)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_while_it_connects_does_not_keep_the_reader_asleep() {
    let (attempt, mut attempts) = mpsc::unbounded_channel();
    let mut session = Redial::new(move || {
        let (done, result) = tokio::sync::oneshot::channel();
        let _ = attempt.send(done);
        async move {
            result.await.map_err(io::Error::other)?;
            let (ours, theirs) = duplex(64);
            std::mem::forget(theirs);
            Ok::<_, LinesCodecError>(Framed::new(ours, LinesCodec::new()))
        }
    })
    .into_session();
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    // The reader waits with a waker of its own, and then the writer waits.
    let (woken, waker) = counting_waker();
    assert!(
        session
            .poll_next_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(Sink::<String>::poll_ready(Pin::new(&mut session), &mut cx).is_pending());
    // The writer is gone when the connection comes.
    attempts.recv().await.unwrap().send(()).unwrap();
    assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(matches!(
        session.poll_next_unpin(&mut cx),
        Poll::Ready(Some(Ok(SessionEvent::Up)))
    ));
}

fn counting_waker() -> (
    std::sync::Arc<std::sync::atomic::AtomicU32>,
    std::task::Waker,
) {
    struct Count(std::sync::Arc<std::sync::atomic::AtomicU32>);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let count = std::sync::Arc::default();
    let waker = std::task::Waker::from(std::sync::Arc::new(Count(std::sync::Arc::clone(&count))));
    (count, waker)
}

#[tokio::test(start_paused = true)]
async fn an_item_for_a_connection_that_has_gone_since_poll_ready_is_not_accepted() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    std::future::poll_fn(|cx| Sink::<String>::poll_ready(Pin::new(&mut session), cx))
        .await
        .unwrap();
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "up");
    assert_eq!(shown(session.next().await), "down");
    assert_eq!(shown(session.next().await), "up");
    // The connection before this one was ready, and this one was not asked.
    let error = Pin::new(&mut session)
        .start_send("x".to_owned())
        .unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn close_by_a_handle_wakes_the_reader_of_an_idle_connection() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    assert_eq!(shown(session.next().await), "up");
    let _server = accepted.recv().await.unwrap();
    let reader = tokio::spawn(async move {
        let event = session.next().await;
        (shown(event), shown(session.next().await))
    });
    tokio::task::yield_now().await;
    handle.close();
    let (error, end) = timeout(Duration::from_secs(5), reader)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((error.as_str(), end.as_str()), ("error: closed", "end"));
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_made_late_reaches_a_half_that_is_pending() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    for connected in [true, false] {
        let (woken, waker) = counting_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(session.poll_next_unpin(&mut cx).is_pending());
        let handle = session.handle();
        assert!(woken.load(SeqCst) > 0, "connected: {connected}");
        assert!(session.poll_next_unpin(&mut cx).is_pending());
        let before = woken.load(SeqCst);
        handle.pause();
        assert!(woken.load(SeqCst) > before);
        handle.resume();
        if connected {
            drop(accepted.recv().await.unwrap());
            assert_eq!(shown(session.next().await), "down");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn observers_get_the_same_error_as_the_reader() {
    let (connector, mut accepted) = server();
    let (tell, mut observed) = mpsc::unbounded_channel();
    let mut session = Redial::new(connector)
        .policy(waits())
        .observe(move |event| {
            if let Event::Lost { error, .. } = event {
                let _ = tell.send(error.map(ToString::to_string));
            }
        })
        .into_session();
    // An error: this is not UTF-8.
    assert_eq!(shown(session.next().await), "up");
    let mut server = accepted.recv().await.unwrap();
    server.write_all(&[0xff, b'\n']).await.unwrap();
    let down = shown(session.next().await);
    assert_eq!(
        down,
        format!("down: {}", observed.recv().await.unwrap().unwrap())
    );
    // The end of a connection has no error.
    assert_eq!(shown(session.next().await), "up");
    drop(accepted.recv().await.unwrap());
    assert_eq!(shown(session.next().await), "down");
    assert_eq!(observed.recv().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pending_flush_fails_when_the_reader_finds_the_loss() {
    let (mut session, mut accepted) = small();
    let long = "x".repeat(100);
    session.feed(long.clone()).await.unwrap();
    let server = accepted.recv().await.unwrap();
    let (mut sink, mut stream) = session.split::<String>();
    let writer = tokio::spawn(async move { sink.flush().await });
    tokio::task::yield_now().await;
    drop(server);
    assert_eq!(shown(stream.next().await), "up");
    let down = shown(stream.next().await);
    assert!(down.starts_with("down"), "{down}");
    let error = timeout(Duration::from_secs(5), writer)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.lost(), 1);
}

type Dial = Box<dyn FnMut() -> std::future::Ready<Result<Lines, LinesCodecError>> + Send>;

/// A session whose connections hold eight bytes, so that a flush has to wait.
fn small() -> (
    redial::Session<Dial, Exponential>,
    mpsc::UnboundedReceiver<DuplexStream>,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let connector: Dial = Box::new(move || {
        let (ours, theirs) = duplex(8);
        let _ = accept.send(theirs);
        std::future::ready(Ok(Framed::new(ours, LinesCodec::new())))
    });
    (
        Redial::new(connector).policy(waits()).into_session(),
        accepted,
    )
}

#[tokio::test(start_paused = true)]
async fn items_that_were_not_flushed_before_a_close_are_reported_once() {
    for call in ["send", "flush", "close", "next"] {
        let (mut session, mut accepted) = small();
        let handle = session.handle();
        session.feed("a long line".to_owned()).await.unwrap();
        session.feed("another one".to_owned()).await.unwrap();
        let _server = accepted.recv().await.unwrap();
        handle.close();
        if call == "next" {
            assert_eq!(shown(session.next().await), "up");
            assert_eq!(shown(session.next().await), "error: closed");
        }
        let error = match call {
            "send" => session.send("x".to_owned()).await,
            "close" => SinkExt::<String>::close(&mut session).await,
            _ => SinkExt::<String>::flush(&mut session).await,
        };
        assert_eq!(error.unwrap_err().lost(), 2, "{call}");
        assert!(session.send("x".to_owned()).await.unwrap_err().is_over());
        SinkExt::<String>::flush(&mut session).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_after_a_failed_send_goes_to_the_next_connection() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector).policy(waits()).into_session();
    assert_eq!(shown(session.next().await), "up");
    drop(accepted.recv().await.unwrap());
    let error = session.send("into a dead stream".to_owned()).await;
    assert_eq!(error.unwrap_err().lost(), 1, "not silently swallowed");
    session.send("again".to_owned()).await.unwrap();
    let mut server = accepted.recv().await.unwrap();
    let mut line = [0; 6];
    server.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"again\n");
}

#[tokio::test(start_paused = true)]
async fn unread_losses_take_bounded_memory() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector)
        .policy(Exponential::new(
            Duration::from_millis(1),
            Duration::from_millis(1),
        ))
        .into_session();
    for _ in 0..1000 {
        std::future::poll_fn(|cx| Sink::<String>::poll_ready(Pin::new(&mut session), cx))
            .await
            .unwrap();
        drop(accepted.recv().await.unwrap());
        session.lost();
    }
    let mut events = Vec::new();
    while let Some(event) = session.next().now_or_never() {
        events.push(shown(event));
    }
    assert_eq!(events.len(), 128);
    assert_eq!(events, ["up", "down"].repeat(64), "still in order");
}

#[tokio::test(start_paused = true)]
async fn the_stream_is_fused_after_its_end() {
    let (connector, _accepted) = server();
    let mut session = Redial::new(connector).into_session();
    assert!(!session.is_terminated());
    SinkExt::<String>::close(&mut session).await.unwrap();
    assert!(session.is_terminated());
    for _ in 0..3 {
        assert_eq!(shown(session.next().await), "end");
    }
}

/// The program's own code runs while a connection is dropped. If that code
/// panics, the other half must not believe that the connection is still there.
#[tokio::test(start_paused = true)]
async fn both_halves_go_on_after_an_observer_panicked_at_a_loss() {
    let (connector, mut accepted) = server();
    let mut losses = 0;
    let mut session = Redial::new(connector)
        .policy(waits())
        .observe(move |event| {
            if let Event::Lost { .. } = event {
                losses += 1;
                assert!(losses > 1, "the observer panics at the first loss");
            }
        })
        .into_session();
    assert_eq!(shown(session.next().await), "up");
    session.send("one".to_owned()).await.unwrap();
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"hello\n").await.unwrap();
    assert_eq!(shown(session.next().await), "hello"); // both halves are settled

    drop(server);
    let panicked = std::panic::AssertUnwindSafe(session.next()).catch_unwind();
    assert!(panicked.await.is_err());
    session.send("two".to_owned()).await.unwrap();
    let mut line = [0; 4];
    let mut server = accepted.recv().await.unwrap();
    server.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"two\n");
    assert_eq!(shown(session.next().await), "up");
}

// ---- what was not flushed

/// A connection that takes items, and flushes when it is told to.
struct Held {
    flushes: bool,
    fails: bool,
}

impl futures::Stream for Held {
    type Item = Result<u32, io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<u32> for Held {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: u32) -> io::Result<()> {
        if self.fails {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fails {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.flushes {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_says_whether_the_present_item_was_accepted() {
    let held = || {
        std::future::ready(Ok::<_, io::Error>(Held {
            flushes: true,
            fails: false,
        }))
    };
    let mut session = Redial::new(held).policy(waits()).into_session();
    // Lost before the item was there: it is not among the lost ones.
    session.feed(1).await.unwrap();
    session.lost();
    let error = session.send(2).await.unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (1, false));
    assert_eq!(
        error.to_string(),
        "the connection was lost with 1 item not flushed, and this item was not sent"
    );
    // Lost in its own flush.
    session.feed(3).await.unwrap();
    session.get_mut().unwrap().flushes = false;
    let mut sending = session.send(4);
    assert!(timeout(Duration::from_secs(1), &mut sending).await.is_err());
    drop(sending);
    session.get_mut().unwrap().fails = true;
    let error = session.flush().await.unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (2, true));
    assert_eq!(
        error.to_string(),
        "the connection was lost with 2 items not flushed"
    );
    // By the connection itself, as it is given the item.
    session.feed(5).await.unwrap();
    session.get_mut().unwrap().fails = true;
    let error = session.feed(6).await.unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (2, true));
    // Between the promise of a slot and the item.
    std::future::poll_fn(|cx| session.poll_ready_unpin(cx))
        .await
        .unwrap();
    session.lost();
    let error = session.start_send_unpin(7).unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (0, false));
    assert_eq!(error.to_string(), "not sent: the connection was lost");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_flushed_can_be_had_back_in_order_and_is_not_sent_again() {
    let (connector, mut accepted) = server();
    let mut session = Redial::new(connector)
        .policy(waits())
        .into_session()
        .keep_unsent::<String>();
    let line = |n: u32| n.to_string();
    session.feed(line(1)).await.unwrap();
    session.flush().await.unwrap();
    session.feed(line(2)).await.unwrap();
    session.feed(line(3)).await.unwrap();
    assert!(
        session.take_unsent().is_empty(),
        "they can still be flushed"
    );
    session.lost();
    // At once, before the sink has reported anything.
    assert_eq!(session.take_unsent(), ["2", "3"]);
    assert!(session.take_unsent().is_empty());
    // Dropped while it waits for a connection: the session never had it.
    assert_eq!(
        session
            .send(line(4))
            .now_or_never()
            .unwrap()
            .unwrap_err()
            .lost(),
        2
    );
    assert!(session.send(line(4)).now_or_never().is_none());
    assert!(session.take_unsent().is_empty());
    // Those of two connections, while a third has some of its own.
    session.feed(line(5)).await.unwrap();
    session.lost();
    assert!(session.feed(line(0)).await.is_err());
    session.feed(line(6)).await.unwrap();
    session.lost();
    assert!(session.feed(line(0)).await.is_err());
    session.feed(line(7)).await.unwrap();
    assert_eq!(session.take_unsent(), ["5", "6"]);
    session.flush().await.unwrap();
    assert!(session.take_unsent().is_empty());
    // The servers got what was flushed, and nothing twice.
    session.close().await.unwrap();
    drop(session);
    let mut got = Vec::new();
    while let Ok(mut server) = accepted.try_recv() {
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        got.push(text);
    }
    assert_eq!(got, ["1\n", "", "", "7\n"]);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_its_connection_refuses_is_kept_too() {
    let held = || {
        std::future::ready(Ok::<_, io::Error>(Held {
            flushes: true,
            fails: false,
        }))
    };
    let mut session = Redial::new(held)
        .policy(waits())
        .into_session()
        .keep_unsent::<u32>();
    session.feed(1).await.unwrap();
    session.get_mut().unwrap().fails = true;
    assert!(session.send(2).await.unwrap_err().was_accepted());
    assert_eq!(session.take_unsent(), [1, 2]);
    // Without a slot it is not accepted, and not kept.
    assert!(!session.start_send_unpin(3).unwrap_err().was_accepted());
    assert!(session.take_unsent().is_empty());
}

/// On a runtime of one thread, whose timers and sockets wait for their turn.
#[tokio::test]
async fn a_loop_that_sends_again_at_once_gets_its_connection() {
    let mut attempts = 0;
    let mut session = Redial::new(move || {
        attempts += 1;
        let fails = attempts == 1;
        async move {
            // The other side is a task, which needs its turn.
            tokio::task::yield_now().await;
            if fails {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            Ok(Held {
                flushes: true,
                fails: false,
            })
        }
    })
    .policy(redial::Sequence::new([Duration::from_millis(5)]))
    .into_session()
    .fail_while_down();
    // A timeout of the runtime would not get its turn either.
    let start = std::time::Instant::now();
    while session.send(1).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it never connects"
        );
    }
}
