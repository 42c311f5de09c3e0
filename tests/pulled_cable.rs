//! Is a pulled cable noticed in time?
//!
//! The connections are real TCP in a network namespace of the test's own, which loses
//! all packets from one moment on. Nothing resets the connections, and the kernel goes
//! on taking bytes. TCP alone would notice after some 15 minutes.
#![cfg(target_os = "linux")]

mod namespace;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use futures::{Sink, SinkExt, Stream, StreamExt};
use redial::{Error, Liveness, Redial, SendError, Sequence, SessionEvent, Silent, tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use namespace::in_namespace;

const HOST: &str = "127.0.0.2";
const SECOND: Duration = Duration::from_secs(1);
/// From the last packet to the end of the connection: silence, and time to answer.
const LIMIT: Duration = Duration::from_secs(2);

type Event = SessionEvent<String, LinesCodecError>;

/// A server that answers each line, and its port.
fn server() -> u16 {
    let listener = TcpListener::bind((HOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for _ in lines.map_while(Result::ok) {
                    let _ = (&stream).write_all(b"PONG\n");
                }
            });
        }
    });
    port
}

fn liveness() -> Liveness {
    Liveness::new().idle(SECOND).grace(SECOND)
}

/// Attempts in the dark end after a second, and the next one follows soon.
fn soon() -> Sequence {
    Sequence::new([SECOND / 5])
}

fn session(
    port: u16,
) -> impl Stream<Item = Result<Event, Error<LinesCodecError>>> + Sink<String, Error = SendError> + Unpin
{
    let dial = tcp::connect(format!("{HOST}:{port}"));
    Redial::new(move || {
        let stream = dial.dial();
        async move { Ok::<_, LinesCodecError>(Framed::new(stream.await?, LinesCodec::new())) }
    })
    .policy(soon())
    .attempt_timeout(SECOND)
    .into_session()
    .keep_alive(liveness(), || "PING".to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn run(test: impl AsyncFnOnce()) {
    timeout(60 * SECOND, test()).await.expect("it hangs");
}

/// For how long this thread could have run and had to wait, says the kernel. Zero if it
/// does not count that.
fn waited_for_a_core() -> Duration {
    let counts = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = counts
        .split(' ')
        .nth(1)
        .and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

#[track_caller]
fn is_in_time(noticed: Duration, silent: Silent) {
    println!("noticed after {noticed:?}, {silent}");
    assert!(silent.to_string().starts_with("silent for "));
    assert!(silent.duration() <= LIMIT + SECOND, "{silent}");
    assert!(noticed <= LIMIT + SECOND, "{noticed:?}");
}

#[test]
#[ignore = "it needs a network namespace and nftables; see .ci/network"]
fn a_pulled_cable_is_noticed_within_silence_and_answer_time_and_a_second() {
    let test = "a_pulled_cable_is_noticed_within_silence_and_answer_time_and_a_second";
    in_namespace(test, |network| {
        run(async || {
            let mut session = session(server());
            for _ in 0..2 {
                assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
                // It lives for several silences.
                for _ in 0..3 {
                    let pong = session.next().await;
                    assert!(matches!(pong, Some(Ok(SessionEvent::Item(_)))), "{pong:?}");
                }
                network.cut(HOST);
                let cut = Instant::now();
                match session.next().await.unwrap().unwrap() {
                    SessionEvent::Down {
                        silent: Some(silent),
                        ..
                    } => is_in_time(cut.elapsed(), silent),
                    other => panic!("{other:?}"),
                }
                // Nothing gets through, and nobody says so.
                let in_the_dark = timeout(3 * SECOND, session.next()).await;
                assert!(in_the_dark.is_err(), "{in_the_dark:?}");
                network.mend();
                let mended = Instant::now();
                let sent = timeout(3 * SECOND, session.send("hello".into())).await;
                sent.expect("it comes back").unwrap();
                println!("up after {:?}", mended.elapsed());
            }
        });
    });
}

#[test]
#[ignore = "it needs a network namespace and nftables; see .ci/network"]
fn l1_a_send_of_much_does_not_hide_a_pulled_cable() {
    in_namespace(
        "l1_a_send_of_much_does_not_hide_a_pulled_cable",
        |network| {
            run(async || {
                let mut session = session(server());
                session.send("hello".into()).await.unwrap();
                for _ in 0..2 {
                    session.next().await.unwrap().unwrap(); // Up, and the answer
                }
                // More than the buffers of the kernel.
                let much = "x".repeat(64 << 20);
                network.cut(HOST);
                let cut = Instant::now();
                let before = waited_for_a_core();
                // The only task that polls is in here.
                let error = session.send(much).await.unwrap_err();
                let noticed = cut.elapsed();
                // To copy so much takes longer on a busy machine.
                let late = waited_for_a_core() - before;
                println!("noticed after {noticed:?}, of which {late:?} waited: {error}");
                assert_eq!(error.lost(), 1);
                assert!(noticed <= LIMIT + SECOND + late, "{noticed:?}, {late:?}");
            });
        },
    );
}

#[test]
#[ignore = "it needs a network namespace and nftables; see .ci/network"]
fn bytes_without_pings_end_by_their_idle_timeout() {
    in_namespace("bytes_without_pings_end_by_their_idle_timeout", |network| {
        run(async || {
            let redial = Redial::new(tcp::connect(format!("{HOST}:{}", server())));
            let redial = redial.policy(soon()).attempt_timeout(SECOND);
            let mut io = redial.into_io().idle_timeout(LIMIT);
            let mut pong = [0; 5];
            for _ in 0..2 {
                for _ in 0..3 {
                    io.write_all(b"PING\n").await.unwrap();
                    io.read_exact(&mut pong).await.unwrap();
                }
                network.cut(HOST);
                let cut = Instant::now();
                io.write_all(b"PING\n").await.unwrap();
                let error = io.read_exact(&mut pong).await.unwrap_err();
                let noticed = cut.elapsed();
                println!("noticed after {noticed:?}: {error}");
                assert!(error.to_string().contains(", silent for 2"), "{error}");
                assert!(noticed <= LIMIT + SECOND, "{noticed:?}");
                // The writer hears of it, too.
                io.flush().await.unwrap_err();
                network.mend();
            }
        });
    });
}
