//! What does a `RedialIo` carry over from one connection to the next?

use std::future::{Ready, ready};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use redial::test::{FaultyIo, Pipe, Recorder, Script, Scripted, Server};
use redial::{Cause, Exponential, Jitter, Redial, Status, Verdict};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A connector of connections that hold `size` bytes in each direction, and
/// their other ends.
fn server(size: usize) -> (Scripted<FaultyIo<Pipe>>, Server<Pipe>) {
    Script::new().connect().forever().bytes_with_room(size)
}

/// A connector that makes one connection, and then fails.
fn only<T>(connection: T) -> impl FnMut() -> Ready<io::Result<T>> {
    let mut connection = Some(connection);
    move || ready(connection.take().ok_or(ErrorKind::ConnectionRefused.into()))
}

fn waits() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Panics if the future hangs. No wait in these tests is as long as this timeout.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(1000), future).await.expect("it hangs")
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

async fn read(io: &mut (impl AsyncRead + Unpin), bytes: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; bytes];
    soon(io.read_exact(&mut buf)).await.map(|_| buf)
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

// ---- the seam

#[tokio::test(start_paused = true)]
async fn each_half_gets_one_reset_for_each_loss_and_then_the_next_connection() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    assert_eq!(io.generation(), 0);
    for generation in 1..=3 {
        soon(io.write_all(b"ping")).await.unwrap();
        assert_eq!(io.generation(), generation);
        let mut server = accepted.accept().await;
        assert_eq!(read(&mut server, 4).await.unwrap(), b"ping");
        server.write_all(b"pong").await.unwrap();
        assert_eq!(read(&mut io, 4).await.unwrap(), b"pong");
        drop(server);
        assert_eq!(kind(read(&mut io, 1).await), ErrorKind::ConnectionReset);
        assert_eq!(kind(io.write_all(b"x").await), ErrorKind::ConnectionReset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_that_did_not_poll_gets_one_reset_for_each_lost_connection() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.write_all(b"ping")).await.unwrap();
    for _ in 0..3 {
        drop(accepted.accept().await);
        assert_eq!(kind(read(&mut io, 1).await), ErrorKind::ConnectionReset);
        assert!(timeout(secs(100), io.read_u8()).await.is_err());
    }
    assert_eq!(io.generation(), 4);
    for _ in 0..3 {
        assert_eq!(kind(io.write_all(b"x").await), ErrorKind::ConnectionReset);
    }
    io.write_all(b"four").await.unwrap();
    let mut server = accepted.accept().await;
    assert_eq!(read(&mut server, 4).await.unwrap(), b"four");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_is_a_reset_and_not_the_end_of_the_stream() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    let mut text = String::new();
    let mut reader = pin!(io.read_to_string(&mut text));
    assert!(timeout(secs(0), &mut reader).await.is_err());
    let mut server = accepted.accept().await;
    server.write_all(b"all of it").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(kind(soon(reader).await), ErrorKind::ConnectionReset);
    assert_eq!(text, "", "read_to_string keeps nothing on an error");
}

#[tokio::test(start_paused = true)]
async fn a_reset_says_which_connection_it_was() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.write_all(b"x")).await.unwrap();
    drop(accepted.accept().await);
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection 1 was lost, and another one follows"
    );
}

// ---- what other wrappers get wrong

#[tokio::test(start_paused = true)]
async fn a_reader_and_a_writer_that_wait_at_once_are_both_woken() {
    let (connector, mut accepted) = server(64);
    let io = Redial::new(connector).policy(waits()).into_io();
    let (mut reader, mut writer) = tokio::io::split(io);
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 6 {
            seen.push(soon(reader.read_u8()).await.map_err(|error| error.kind()));
        }
        seen
    });
    let writing = tokio::spawn(async move {
        for round in b'1'..=b'3' {
            // The connection is full, so the writer waits when it is lost.
            let _ = soon(writer.write_all(&[round; 100])).await;
        }
    });
    for round in b'1'..=b'3' {
        let mut server = soon(accepted.accept()).await;
        tokio::time::sleep(secs(1)).await;
        server.write_all(&[round]).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        drop(server);
    }
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(
        soon(reading).await.unwrap(),
        [Ok(b'1'), reset, Ok(b'2'), reset, Ok(b'3'), reset]
    );
    soon(writing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_halves_wake_whichever_of_them_drives_the_attempt() {
    let (attempt, mut attempts) = mpsc::unbounded_channel();
    let io = Redial::new(move || {
        let (accept, accepted) = oneshot::channel();
        let _ = attempt.send(accept);
        async move { accepted.await.map_err(io::Error::other) }
    })
    .attempt_timeout(Duration::MAX)
    .into_io();
    let (mut reader, mut writer) = tokio::io::split(io);
    let reading = tokio::spawn(async move { reader.read_u8().await });
    tokio::task::yield_now().await;
    let writing = tokio::spawn(async move { writer.write_u8(2).await });
    tokio::task::yield_now().await;
    let (ours, mut server) = duplex(64);
    attempts.recv().await.unwrap().send(ours).unwrap();
    server.write_u8(1).await.unwrap();
    assert_eq!(soon(reading).await.unwrap().unwrap(), 1);
    soon(writing).await.unwrap().unwrap();
    assert_eq!(server.read_u8().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_half_that_is_dropped_while_it_connects_does_not_keep_the_other_asleep() {
    let (attempt, mut attempts) = mpsc::unbounded_channel();
    let mut io = Redial::new(move || {
        let (accept, accepted) = oneshot::channel::<DuplexStream>();
        let _ = attempt.send(accept);
        async move { accepted.await.map_err(io::Error::other) }
    })
    .into_io();
    let (reader, writer) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let mut buf = [0; 8];
    let waker = Waker::from(reader.clone());
    assert!(
        Pin::new(&mut io)
            .poll_read(
                &mut Context::from_waker(&waker),
                &mut ReadBuf::new(&mut buf)
            )
            .is_pending()
    );
    // The writer polls last, and then never again.
    let waker = Waker::from(writer.clone());
    assert!(
        Pin::new(&mut io)
            .poll_write(&mut Context::from_waker(&waker), b"x")
            .is_pending()
    );
    let (ours, _server) = duplex(64);
    attempts.recv().await.unwrap().send(ours).unwrap();
    assert_eq!(reader.0.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_zero_length_read_is_not_the_end_of_the_stream() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    assert_eq!(io.read(&mut []).await.unwrap(), 0);
    assert_eq!(io.generation(), 0, "an empty read does not connect");
    soon(io.write_all(b"x")).await.unwrap();
    for _ in 0..100 {
        assert_eq!(io.read(&mut []).await.unwrap(), 0);
    }
    let mut server = accepted.accept().await;
    server.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut io, 10).await.unwrap(), b"still here");
    assert_eq!(io.generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_zero_length_write_does_not_connect() {
    let (connector, _accepted) = server(64);
    let mut io = Redial::new(connector).into_io();
    assert_eq!(io.write(&[]).await.unwrap(), 0);
    assert_eq!(io.write_vectored(&[IoSlice::new(&[])]).await.unwrap(), 0);
    assert_eq!(io.generation(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_makes_no_connection() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.write_all(b"bye")).await.unwrap();
    let mut server = accepted.accept().await;
    soon(io.shutdown()).await.unwrap();
    assert_eq!(kind(io.write_all(b"x").await), ErrorKind::BrokenPipe);

    // The other side reads the end, and can still answer.
    let mut got = String::new();
    server.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "bye");
    server.write_all(b"farewell").await.unwrap();
    drop(server);
    let mut got = String::new();
    soon(io.read_to_string(&mut got)).await.unwrap();
    assert_eq!(got, "farewell");
    for _ in 0..3 {
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0, "the end, for good");
        assert_eq!(kind(io.write_all(b"x").await), ErrorKind::BrokenPipe);
        io.flush().await.unwrap();
        io.shutdown().await.unwrap();
    }
    assert!(accepted.try_accept().is_none());
    assert_eq!(io.generation(), 1);
    // Closing changes nothing after a shutdown.
    io.handle().close();
    io.flush().await.unwrap();
    io.shutdown().await.unwrap();
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_while_down_completes_and_does_not_connect() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.shutdown()).await.unwrap();
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(kind(io.write(b"x").await), ErrorKind::BrokenPipe);
    assert!(accepted.try_accept().is_none());
}

#[tokio::test(start_paused = true)]
async fn shutdown_while_down_ends_a_pending_read() {
    let (connector, mut accepted) = server(64);
    let io = Redial::new(connector).policy(waits()).into_io();
    let handle = io.handle();
    let (mut reader, mut writer) = tokio::io::split(io);
    writer.write_all(b"x").await.unwrap();
    drop(accepted.accept().await);
    assert_eq!(kind(reader.read_u8().await), ErrorKind::ConnectionReset);
    let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    assert!(matches!(handle.status(), Status::Waiting { .. }));
    // The shutdown reports the loss, and still shuts down.
    assert_eq!(kind(writer.shutdown().await), ErrorKind::ConnectionReset);
    assert_eq!(soon(reading).await.unwrap().unwrap(), 0);
    assert_eq!(handle.status(), Status::Closed);
    assert!(accepted.try_accept().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_frame_cut_by_the_loss_is_not_resumed_on_the_new_connection() {
    let (connector, mut accepted) = server(8);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    {
        let mut writing = pin!(io.write_all(b"0123456789abcdef"));
        assert!(timeout(secs(1), &mut writing).await.is_err());
        let mut server = accepted.accept().await;
        assert_eq!(read(&mut server, 4).await.unwrap(), b"0123");
        drop(server);
        assert_eq!(kind(soon(writing).await), ErrorKind::ConnectionReset);
    }
    soon(io.write_all(b"new")).await.unwrap();
    io.shutdown().await.unwrap();
    let mut got = Vec::new();
    let mut server = accepted.accept().await;
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"new");
}

#[tokio::test(start_paused = true)]
async fn a_pending_write_does_not_continue_on_the_next_connection() {
    // The reader finds the loss. The writer fails for it before it may go on.
    let (connector, mut accepted) = server(4);
    let io = Redial::new(connector).policy(waits()).into_io();
    let (mut reader, mut writer) = tokio::io::split(io);
    let writing = tokio::spawn(async move { writer.write_all(b"0123456789").await });
    let server = accepted.accept().await;
    let reading = tokio::spawn(async move {
        let first = kind(reader.read_u8().await);
        (first, reader.read_u8().await.unwrap())
    });
    tokio::time::sleep(secs(1)).await;
    drop(server);
    assert_eq!(
        kind(soon(writing).await.unwrap()),
        ErrorKind::ConnectionReset
    );
    let mut server = soon(accepted.accept()).await;
    server.write_u8(7).await.unwrap();
    assert_eq!(
        soon(reading).await.unwrap(),
        (ErrorKind::ConnectionReset, 7)
    );
    let mut rest = Vec::new();
    soon(server.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

// ---- what a writer gets

#[tokio::test(start_paused = true)]
async fn the_next_call_of_the_writer_reports_a_loss() {
    for call in ["write", "vectored", "flush", "shutdown"] {
        let (connector, mut accepted) = server(64);
        let mut io = Redial::new(connector).policy(waits()).into_io();
        soon(io.write_all(b"lost")).await.unwrap();
        drop(accepted.accept().await);
        assert_eq!(kind(read(&mut io, 1).await), ErrorKind::ConnectionReset);
        // The reader has made the next connection.
        assert!(timeout(secs(10), io.read_u8()).await.is_err());
        assert_eq!(io.generation(), 2);
        let outcome = match call {
            "write" => io.write(b"x").await.map(drop),
            "vectored" => io.write_vectored(&[IoSlice::new(b"x")]).await.map(drop),
            "flush" => io.flush().await,
            _ => io.shutdown().await,
        };
        assert_eq!(kind(outcome), ErrorKind::ConnectionReset, "{call}");
        let mut got = Vec::new();
        let mut server = accepted.accept().await;
        let end = timeout(secs(1), server.read_to_end(&mut got)).await;
        assert_eq!(end.is_ok(), call == "shutdown", "a shutdown also closes");
        assert_eq!(got, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn flush_while_down_does_nothing() {
    let (connector, _accepted) = server(64);
    let mut io = Redial::new(connector).into_io();
    soon(io.flush()).await.unwrap();
    assert_eq!(io.generation(), 0);
}

#[tokio::test(start_paused = true)]
async fn flush_fails_after_a_close() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).into_io();
    let handle = io.handle();
    soon(io.write_all(b"x")).await.unwrap();
    let _server = accepted.accept().await;
    handle.close();
    assert_eq!(kind(io.flush().await), ErrorKind::NotConnected);
    assert_eq!(kind(io.shutdown().await), ErrorKind::NotConnected);
}

/// A connection that may be at its end for readers, and whose shutdown takes three
/// polls.
struct Slow {
    eof: bool,
    shut: Arc<AtomicU32>,
}

impl AsyncRead for Slow {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.eof {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shut.fetch_add(1, SeqCst) < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_pending_flush_and_a_pending_shutdown() {
    for shutdown in [false, true] {
        let shut = Arc::new(AtomicU32::new(0));
        let mut io = Redial::new(only(Slow { eof: false, shut })).into_io();
        let handle = io.handle();
        soon(io.write_all(b"x")).await.unwrap();
        let closing = tokio::spawn(async move {
            if shutdown {
                io.shutdown().await
            } else {
                io.flush().await
            }
        });
        if !shutdown {
            tokio::task::yield_now().await;
        }
        handle.close();
        assert_eq!(kind(soon(closing).await.unwrap()), ErrorKind::NotConnected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_completes_after_the_other_side_has_ended() {
    let shut = Arc::new(AtomicU32::new(0));
    let slow = Slow {
        eof: true,
        shut: shut.clone(),
    };
    let mut io = Redial::new(only(slow)).into_io();
    let handle = io.handle();
    soon(io.write_all(b"x")).await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut io).poll_shutdown(&mut cx).is_pending());
    assert_eq!(
        io.read(&mut [0; 8]).await.unwrap(),
        0,
        "the other side is done"
    );
    io.shutdown().await.unwrap();
    assert_eq!(shut.load(SeqCst), 3, "this side has shut down, too");
    assert_eq!(handle.status(), Status::Closed);
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_loss_after_a_shutdown_is_a_reset_and_then_the_end() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).into_io();
    soon(io.write_all(b"x")).await.unwrap();
    let _server = accepted.accept().await;
    soon(io.shutdown()).await.unwrap();
    io.lost();
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(error.to_string(), "connection 1 was lost");
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_reported_as_ended_is_busy_and_followed_by_another() {
    let (connector, mut accepted) = server(64);
    let recorder = Recorder::new();
    let mut io = Redial::new(connector)
        .policy(waits())
        .observe(recorder.observer())
        .into_io();
    io.ended(); // without a connection it does nothing
    soon(io.write_all(b"x")).await.unwrap();
    let _first = accepted.accept().await;
    io.ended();
    assert_eq!(kind(io.write_all(b"y").await), ErrorKind::ConnectionReset);
    soon(io.write_all(b"y")).await.unwrap();
    assert_eq!(io.generation(), 2);
    assert_eq!(recorder.verdicts(), [Verdict::Retry(Cause::Busy)]);
}

/// A connection that sends nothing, and gives the same answer to each write.
struct Mute(fn() -> io::Result<usize>);

fn mute(answer: fn() -> io::Result<usize>) -> impl FnMut() -> Ready<io::Result<Mute>> {
    move || ready(Ok(Mute(answer)))
}

impl AsyncRead for Mute {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Mute {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready((self.0)())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_more_bytes_is_lost() {
    let mut io = Redial::new(mute(|| Ok(0))).policy(waits()).into_io();
    for generation in 1..=3 {
        assert_eq!(
            kind(soon(io.write_all(b"x")).await),
            ErrorKind::ConnectionReset
        );
        assert_eq!(io.generation(), generation);
        let outcome = timeout(secs(0), io.read_u8()).await;
        assert_eq!(kind(outcome.unwrap()), ErrorKind::ConnectionReset);
    }
}

// ---- the end

#[tokio::test(start_paused = true)]
async fn both_halves_fail_for_good_after_the_driver_gave_up() {
    let script = Script::new().connect().fail(Verdict::Stop);
    let (connector, mut accepted) = script.bytes();
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.write_all(b"x")).await.unwrap();
    drop(accepted.accept().await);
    assert_eq!(kind(read(&mut io, 1).await), ErrorKind::ConnectionReset);
    let denied = ErrorKind::PermissionDenied;
    assert_eq!(kind(read(&mut io, 1).await), denied);
    assert_eq!(kind(io.write(b"x").await), ErrorKind::ConnectionReset);
    for _ in 0..3 {
        assert_eq!(kind(read(&mut io, 1).await), denied);
        assert_eq!(kind(io.write(b"x").await), denied);
        assert_eq!(kind(io.flush().await), denied);
        assert_eq!(kind(io.shutdown().await), denied);
    }
    assert!(io.error().unwrap().is_stopped());
    assert_eq!(
        io.write(b"x").await.unwrap_err().to_string(),
        "gave up after 1 attempt in 1s: trying again cannot help"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loss_with_a_stop_error_is_the_last() {
    let mut io = Redial::new(mute(|| Err(ErrorKind::PermissionDenied.into()))).into_io();
    assert_eq!(kind(io.write(b"x").await), ErrorKind::ConnectionReset);
    assert_eq!(kind(io.write(b"x").await), ErrorKind::PermissionDenied);
    let error = io.error().unwrap();
    assert!(error.is_stopped());
    assert_eq!(error.last().unwrap().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_pending_read_of_an_idle_connection() {
    let (connector, mut accepted) = server(64);
    let io = Redial::new(connector).into_io();
    let handle = io.handle();
    let (mut reader, mut writer) = tokio::io::split(io);
    writer.write_all(b"x").await.unwrap();
    let mut server = accepted.accept().await;
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    let reading = tokio::spawn(async move { reader.read_u8().await });
    tokio::task::yield_now().await;
    handle.close();
    assert_eq!(kind(soon(reading).await.unwrap()), ErrorKind::NotConnected);
    assert_eq!(
        server.read(&mut [0; 8]).await.unwrap(),
        0,
        "the connection is dropped"
    );
    assert_eq!(kind(writer.write(b"x").await), ErrorKind::NotConnected);
}

// ---- what passes through

#[tokio::test(start_paused = true)]
async fn a_vectored_write_reaches_the_connection_in_one_call() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    let bufs = [IoSlice::new(b"head "), IoSlice::new(b"body")];
    let written = soon(io.write_vectored(&bufs)).await.unwrap();
    assert_eq!(written, 9, "in one call");
    assert!(io.is_write_vectored());
    let mut server = accepted.accept().await;
    assert_eq!(read(&mut server, 9).await.unwrap(), b"head body");
    io.lost();
    assert!(io.is_write_vectored(), "as the previous connection");
}

#[tokio::test(start_paused = true)]
async fn vectored_writes_are_not_announced_if_the_connection_has_none() {
    let mut io = Redial::new(mute(|| Ok(0))).into_io();
    assert!(!io.is_write_vectored());
    assert!(io.write(b"x").await.is_err());
    assert!(!io.is_write_vectored());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lent_before_is_the_first() {
    let (connector, mut accepted) = server(64);
    let mut redial = Redial::new(connector);
    redial.ready().await.unwrap().write_u8(1).await.unwrap();
    let mut io = redial.into_io();
    assert_eq!(io.generation(), 1);
    assert!(io.is_write_vectored());
    io.write_u8(2).await.unwrap();
    let mut server = accepted.accept().await;
    assert_eq!(read(&mut server, 2).await.unwrap(), [1, 2]);
    io.lost();
    assert!(io.is_write_vectored());
}

#[tokio::test(start_paused = true)]
async fn a_read_appends_to_the_buffer() {
    let (connector, mut accepted) = server(64);
    let mut io = Redial::new(connector).policy(waits()).into_io();
    soon(io.write_all(b"x")).await.unwrap();
    let mut server = accepted.accept().await;
    server.write_all(b"world").await.unwrap();
    let mut buf = b"hello ".to_vec();
    assert_eq!(io.read_buf(&mut buf).await.unwrap(), 5);
    assert_eq!(buf, b"hello world");
    // A read into a filled buffer notices the end as well.
    drop(server);
    assert_eq!(
        kind(io.read_buf(&mut buf).await),
        ErrorKind::ConnectionReset
    );
    assert_eq!(buf, b"hello world");
}

// ---- why it ended

#[tokio::test(start_paused = true)]
async fn the_final_error_has_the_kind_and_the_source_of_the_last_error() {
    let mut io = Redial::new(|| {
        let wrong = io::Error::new(ErrorKind::PermissionDenied, "wrong password");
        ready(Err::<DuplexStream, _>(wrong))
    })
    .into_io();
    for _ in 0..3 {
        for error in [
            io.read_u8().await.unwrap_err(),
            io.write(b"x").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let text = "gave up after 1 attempt in 0ms: trying again cannot help";
            assert_eq!(error.to_string(), text);
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), "wrong password");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_error_keeps_the_code_of_the_operating_system() {
    let mut io = Redial::new(|| {
        let boxed: Box<dyn std::error::Error + Send + Sync> =
            Box::new(io::Error::from_raw_os_error(111));
        ready(Err::<DuplexStream, _>(boxed))
    })
    .max_attempts(1)
    .into_io();
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(111));
}

/// A reader goes on after these kinds, and would never end.
#[tokio::test(start_paused = true)]
async fn a_final_error_is_never_taken_for_one_that_passes() {
    for kind in [
        ErrorKind::ConnectionReset,
        ErrorKind::Interrupted,
        ErrorKind::WouldBlock,
    ] {
        let mut io = Redial::new(move || ready(Err::<DuplexStream, _>(io::Error::from(kind))))
            .max_attempts(1)
            .into_io();
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_promises_no_other_connection_after_a_stop() {
    let (connector, _accepted) = server(64);
    let mut io = Redial::new(connector).classify(|_| Verdict::Stop).into_io();
    io.write_all(b"x").await.unwrap();
    io.lost_with(ErrorKind::PermissionDenied.into());
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(error.to_string(), "connection 1 was lost");
}
