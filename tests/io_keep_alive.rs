//! Does a `RedialIo` notice that its connection is dead, and only then, without a byte
//! of its own?

use std::future::Ready;
use std::io::{self, ErrorKind};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use redial::{Liveness, Monitor, Redial, RedialIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);
/// A timer of tokio's is up to a millisecond late.
const TICK: Duration = Duration::from_millis(3);

type Servers = mpsc::UnboundedReceiver<DuplexStream>;

fn io() -> (
    RedialIo<impl FnMut() -> Ready<io::Result<DuplexStream>> + Send>,
    Servers,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let connector = move || {
        let (ours, theirs) = duplex(64);
        let _ = accept.send(theirs);
        std::future::ready(Ok(ours))
    };
    (Redial::new(connector).into_io(), accepted)
}

#[track_caller]
fn is_silence(error: &io::Error, seconds: f64) {
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let text = error.to_string();
    let said = text.split("silent for ").nth(1).expect(&text);
    let said: f64 = said.split("s,").next().unwrap().parse().unwrap();
    assert!((said - seconds).abs() < 0.01, "{text}");
    assert!(text.ends_with(", and another one follows"), "{text}");
}

#[track_caller]
fn took(start: Instant, seconds: f64) {
    let time = start.elapsed();
    let least = Duration::from_secs_f64(seconds);
    assert!(
        time >= least && time < least + TICK,
        "{time:?} instead of {seconds} s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_a_loss_that_both_halves_hear_of() {
    let (io, mut servers) = io();
    let (mut read, mut write) = split(io.idle_timeout(LIMIT));
    write.write_all(b"hello").await.unwrap();
    let start = Instant::now();
    let mut server = servers.recv().await.unwrap();
    is_silence(&read.read_u8().await.unwrap_err(), 60.0);
    took(start, 60.0);
    is_silence(&write.write_all(b"more").await.unwrap_err(), 60.0);
    // The next connection is as good as the first, and speaks of no silence.
    write.write_all(b"more").await.unwrap();
    let second = servers.recv().await.unwrap();
    drop(second);
    let error = read.read_u8().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection 2 was lost, and another one follows"
    );
    let mut hello = Vec::new();
    server.read_to_end(&mut hello).await.unwrap();
    assert_eq!(hello, b"hello");
}

#[tokio::test(start_paused = true)]
async fn l1_and_trap_6_a_write_that_waits_finds_a_dead_peer_alone() {
    let (io, mut servers) = io();
    let mut io = io.idle_timeout(LIMIT);
    let start = Instant::now();
    is_silence(&io.write_all(&[0; 100]).await.unwrap_err(), 60.0);
    took(start, 60.0);
    drop(servers.recv().await);
}

#[tokio::test(start_paused = true)]
async fn l2_a_writer_alone_reads_before_it_judges_and_keeps_the_bytes() {
    let (io, mut servers) = io();
    let mut io = io.idle_timeout(LIMIT);
    io.write_all(b"x").await.unwrap();
    let mut server = servers.recv().await.unwrap();
    let echo = tokio::spawn(async move {
        let mut byte = [0];
        while server.read_exact(&mut byte).await.is_ok() {
            if byte == *b"?" {
                server.write_all(b"here").await.unwrap();
            }
        }
    });
    for second in 0..200 {
        io.write_all(if second % 50 == 0 { b"?" } else { b"." })
            .await
            .unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(io.generation(), 1);
    let mut bytes = [0; 16];
    io.read_exact(&mut bytes).await.unwrap();
    assert_eq!(
        &bytes,
        b"hereherehere\
here"
    );
    echo.abort();
}

#[tokio::test(start_paused = true)]
async fn l4_and_l5_each_byte_counts() {
    let (io, mut servers) = io();
    let mut io = io.idle_timeout(LIMIT);
    io.write_all(b"x").await.unwrap();
    let mut server = servers.recv().await.unwrap();
    let start = Instant::now();
    let server = tokio::spawn(async move {
        for _ in 0..10 {
            sleep(59 * SECOND).await;
            server.write_all(b".").await.unwrap();
        }
        server
    });
    let mut bytes = [0; 10];
    io.read_exact(&mut bytes).await.unwrap();
    let _half_open = server.await.unwrap();
    is_silence(&io.read_u8().await.unwrap_err(), 60.0);
    took(start, 650.0);
}

#[tokio::test(start_paused = true)]
async fn l8_a_late_look_waits_a_little_for_what_may_have_come() {
    let (io, mut servers) = io();
    let mut io = io.idle_timeout(LIMIT);
    io.write_all(b"x").await.unwrap();
    let mut server = servers.recv().await.unwrap();
    sleep(90 * SECOND).await;
    let start = Instant::now();
    tokio::spawn(async move {
        sleep(SECOND).await;
        server.write_all(b".").await.unwrap();
        sleep(1000 * SECOND).await;
    });
    assert_eq!(io.read_u8().await.unwrap(), b'.');
    is_silence(&io.read_u8().await.unwrap_err(), 60.0);
    took(start, 61.0);
}

#[tokio::test(start_paused = true)]
async fn trap_3_it_asks_for_pings_and_writes_nothing_by_itself() {
    let (io, mut servers) = io();
    let (mut io, mut pings) = io.keep_alive(Liveness::new());
    let mut server = None;
    let (mut asked, start) = (0, Instant::now());
    while start.elapsed() < 600 * SECOND {
        tokio::select! {
            _ = io.read_u8() => {}
            request = pings.next() => {
                request.unwrap();
                asked += 1;
                let server = match &mut server {
                    Some(server) => server,
                    none => none.insert(servers.recv().await.unwrap()),
                };
                assert_eq!(server.read_u8().now_or_never().map(Result::ok), None);
                io.write_all(b"?").await.unwrap();
                assert_eq!(server.read_u8().await.unwrap(), b'?');
                server.write_all(b"!").await.unwrap();
            }
        }
    }
    assert!((24..=32).contains(&asked), "{asked}");
    assert_eq!(io.generation(), 1);
    drop(io);
    assert_eq!(pings.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn trap_4_a_request_that_nobody_takes_ends_no_connection() {
    let (io, _servers) = io();
    let (mut io, mut pings) = io.keep_alive(Liveness::new());
    assert!(timeout(3600 * SECOND, io.read_u8()).await.is_err());
    // Now it is taken, and not answered.
    let start = Instant::now();
    assert_eq!(pings.next().now_or_never(), Some(Some(())));
    assert_eq!(pings.next().now_or_never(), None);
    assert_eq!(
        io.read_u8().await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    took(start, 15.0);
}

#[tokio::test(start_paused = true)]
async fn trap_4_a_write_that_waits_counts_as_a_request_that_was_taken() {
    let (io, mut servers) = io();
    let (mut io, _pings) = io.keep_alive(Liveness::new());
    let start = Instant::now();
    assert!(io.write_all(&[0; 100]).await.is_err());
    let time = start.elapsed();
    assert!(
        (27 * SECOND..=40 * SECOND + TICK).contains(&time),
        "{time:?}"
    );
    drop(servers.recv().await);
    // A write that begins to wait after the ping was due has the whole time.
    let (io, mut servers) = self::io();
    let (mut io, _pings) = io.keep_alive(Liveness::new());
    assert!(timeout(26 * SECOND, io.read_u8()).await.is_err());
    let start = Instant::now();
    assert!(io.write_all(&[0; 100]).await.is_err());
    took(start, 15.0);
    drop(servers.recv().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_a_request_needless() {
    let (io, mut servers) = io();
    let (mut io, mut pings) = io.keep_alive(Liveness::new());
    assert!(timeout(26 * SECOND, io.read_u8()).await.is_err());
    let mut server = servers.recv().await.unwrap();
    server.write_all(b".").await.unwrap();
    io.read_u8().await.unwrap();
    assert!(timeout(SECOND, io.read_u8()).await.is_err());
    assert_eq!(pings.next().now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn l12_the_connector_sets_the_limit_of_one_connection() {
    let monitor = Monitor::new();
    let mut announced = [true, false].into_iter();
    let (accept, mut accepted) = mpsc::unbounded_channel();
    let mut io = Redial::new({
        let monitor = monitor.clone();
        move || {
            if announced.next() == Some(true) {
                monitor.set(Liveness::listen_only(5 * SECOND));
            }
            let (ours, theirs) = duplex(64);
            accept.send(theirs).unwrap();
            std::future::ready(Ok::<_, io::Error>(ours))
        }
    })
    .into_io()
    .idle_timeout(LIMIT)
    .monitor(&monitor);
    io.write_all(b"x").await.unwrap();
    for limit in [5.0, 60.0] {
        let _server = accepted.recv().await.unwrap();
        let start = Instant::now();
        is_silence(&io.read_u8().await.unwrap_err(), limit);
        took(start, limit);
        io.flush().await.unwrap_err();
        io.write_all(b"x").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l17_a_slow_link_that_takes_something_is_not_dead() {
    let (io, mut servers) = io();
    let (mut read, mut write) = split(io.idle_timeout(LIMIT));
    write.write_all(b"x").await.unwrap();
    let mut server = servers.recv().await.unwrap();
    // 64 bytes fit, and the server takes as many each 50 s. It never says a word.
    let writer = tokio::spawn(async move { write.write_all(&[0; 64 * 40]).await });
    let slow = tokio::spawn(async move {
        let mut bytes = [0; 64];
        for _ in 0..40 {
            sleep(50 * SECOND).await;
            server.read_exact(&mut bytes).await.unwrap();
        }
        (server, Instant::now())
    });
    let mut reader = tokio::spawn(async move { read.read_u8().await });
    let (_half_open, stopped) = slow.await.unwrap();
    assert!((&mut reader).now_or_never().is_none());
    writer.await.unwrap().unwrap();
    // The last write that it let through was a sign of life. It counts from the next
    // look on, which the deadline of the one before brings 10 s later.
    is_silence(&reader.await.unwrap().unwrap_err(), 60.0);
    took(stopped, 70.0);
}

#[tokio::test(start_paused = true)]
async fn l17_a_link_that_stops_within_a_write_is_dead() {
    let (io, mut servers) = io();
    let mut io = io.idle_timeout(LIMIT);
    let slow = tokio::spawn(async move {
        let mut server = servers.recv().await.unwrap();
        let mut bytes = [0; 64];
        for _ in 0..10 {
            sleep(50 * SECOND).await;
            server.read_exact(&mut bytes).await.unwrap();
        }
        (server, Instant::now())
    });
    is_silence(&io.write_all(&[0; 64 * 40]).await.unwrap_err(), 60.0);
    let (_half_open, stopped) = slow.await.unwrap();
    took(stopped, 60.0);
}

/// The bytes go into a buffer, behind a flush that is blocked. No acknowledgement has
/// made room for them.
#[tokio::test(start_paused = true)]
async fn bytes_behind_a_blocked_flush_are_no_sign_of_life() {
    let mut peers = Vec::new();
    let mut io = Redial::new(move || {
        let (ours, theirs) = duplex(16);
        peers.push(theirs);
        std::future::ready(Ok::<_, io::Error>(BufStream::new(ours)))
    })
    .into_io()
    .idle_timeout(LIMIT);
    let start = Instant::now();
    while start.elapsed() < 3 * LIMIT {
        if io.write_all(b"more").await.is_err() || io.write_all(b"of it").await.is_err() {
            break;
        }
        if let Ok(Err(_)) = timeout(SECOND, io.flush()).await {
            break;
        }
    }
    let time = start.elapsed();
    assert!((LIMIT..LIMIT + 3 * SECOND).contains(&time), "{time:?}");
}

/// Nobody reads what the peer says, also the answers to the pings. The last one may have
/// come long before the writer looks for it.
#[tokio::test(start_paused = true)]
async fn a_writer_alone_notices_a_dead_peer_in_time() {
    for dies_at in (60..110).step_by(2) {
        let (io, mut servers) = io();
        let (mut io, mut pings) = io.keep_alive(Liveness::new());
        io.write_all(b"x").await.unwrap();
        let mut server = servers.recv().await.unwrap();
        let start = Instant::now();
        let mut died = None;
        while io.write_all(b"x").await.is_ok() {
            let pinged = pings.next().now_or_never().is_some();
            let alive = start.elapsed() < dies_at * SECOND;
            let mut bytes = [0; 64];
            let _ = server.read(&mut bytes).await.unwrap();
            if alive && pinged {
                server.write_all(b".").await.unwrap();
            }
            if !alive && died.is_none() {
                server.write_all(b"!").await.unwrap();
                died = Some(Instant::now());
            }
            sleep(SECOND / 10).await;
        }
        let time = died.unwrap().elapsed();
        let least = Duration::from_secs_f64(14.8);
        assert!(
            (least..=40 * SECOND + SECOND / 5 + TICK).contains(&time),
            "{time:?}"
        );
    }
}
