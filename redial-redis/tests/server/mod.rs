//! A redis-server on loopback, for a test.

// Each test file is a crate of its own, and uses what it needs.
#![allow(dead_code, unreachable_pub)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};

pub struct Server {
    pub port: u16,
    process: Option<Child>,
    dir: PathBuf,
}

impl Server {
    /// A new one, on a port that nobody listens on.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("redial-redis-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut server = Self {
            port,
            process: None,
            dir,
        };
        drop(listener);
        server.start_again();
        server
    }

    /// Starts it without data, and waits until it answers.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.dir)
            .stdout(Stdio::null());
        let process = command.spawn();
        self.process = Some(process.expect("these tests need redis-server: install it"));
        let began = Instant::now();
        while self.connect().is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "no redis-server");
            sleep(Duration::from_millis(2));
        }
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends it a signal: `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        let done = Command::new("kill").args(["-s", signal, &process]).status();
        assert!(done.unwrap().success());
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    /// A connection that does not wait.
    pub fn connect(&self) -> Option<Connection> {
        let mut connection = self.client().get_connection().ok()?;
        redis::cmd("PING")
            .query::<String>(&mut connection)
            .ok()
            .map(|_| connection)
    }

    /// The answer to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut connection = self.connect().expect("it answers");
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection).unwrap()
    }

    pub fn tell(&self, command: &str) {
        self.ask::<redis::Value>(command);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
