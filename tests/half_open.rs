//! Is a real server that stops without a word noticed in time?
//!
//! The server is this test's own program, in a process of its own, and SIGSTOP stops
//! it. So its socket stays open, and the operating system goes on taking bytes for it.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Liveness, Redial, SessionEvent, tcp};
use tokio::time::Instant;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const SECOND: Duration = Duration::from_secs(1);

/// The server: answers each line, one connection a thread.
#[test]
#[ignore = "it is the server of the other tests"]
fn server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(stream, "{line} to you");
            }
        });
    }
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut process = Command::new(program)
            .args(["--ignored", "--exact", "server", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("port ")?.1.parse().ok())
            .expect("the server says where it listens");
        Self { process, port }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_stopped_server_is_noticed_within_silence_and_answer_time_and_a_second() {
    let server = Server::start();
    let (idle, grace) = (SECOND, SECOND);
    let dial = tcp::connect(format!("127.0.0.1:{}", server.port));
    let mut session = Redial::new(move || {
        let stream = dial.dial();
        async move { Ok::<_, LinesCodecError>(Framed::new(stream.await?, LinesCodec::new())) }
    })
    .attempt_timeout(SECOND)
    .into_session()
    .keep_alive(Liveness::new().idle(idle).grace(grace), || {
        "PING".to_string()
    });
    assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    // It lives for many silences.
    for _ in 0..4 {
        match session.next().await {
            Some(Ok(SessionEvent::Item(line))) => assert_eq!(line, "PING to you"),
            other => panic!("{other:?}"),
        }
    }
    server.signal("-STOP");
    let mut heard = Instant::now();
    // The operating system takes what is sent, so a send proves nothing.
    session.send("hello".to_string()).await.unwrap();
    // A signal stops the server's threads one after another. A thread that still runs
    // may answer this line and one ping.
    let mut answers = 0;
    let silent = loop {
        match session.next().await {
            Some(Ok(SessionEvent::Item(_))) if answers < 2 => {
                answers += 1;
                heard = Instant::now();
            }
            Some(Ok(SessionEvent::Down {
                silent: Some(silent),
                ..
            })) => break silent,
            other => panic!("{other:?}"),
        }
    };
    assert!(silent.duration() >= grace, "{silent}");
    let noticed = heard.elapsed();
    assert!(noticed <= idle + grace + SECOND, "{noticed:?}");
    println!("noticed after {noticed:?}");
    // The kernel still accepts connections for it, so the session is up, and down
    // again. Once the server goes on, it is up to stay.
    server.signal("-CONT");
    let mut answers = 0;
    while answers < 3 {
        match session.next().await.unwrap().unwrap() {
            SessionEvent::Item(_) => answers += 1,
            SessionEvent::Up | SessionEvent::Down { .. } => {}
        }
    }
}
