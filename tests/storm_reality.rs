//! Does a real fleet do what the simulator said?
//!
//! Five thousand clients, each a `Redial` around a TCP connection over
//! loopback, lose a real server of limited capacity, and it comes back. The
//! simulator is given the same figures.
#![cfg(all(feature = "storm", feature = "tokio"))]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redial::storm::Storm;
use redial::{Redial, Stratified};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

const CLIENTS: u32 = 5_000;
/// Handshakes a second: N/C is 12.5 s.
const CAPACITY: u32 = 400;
const OUTAGE: Duration = Duration::from_secs(4);
/// A run in which the machine stood still for so long says nothing.
const STALL: Duration = Duration::from_millis(300);
/// The last run counts, whatever the machine did.
const RUNS: u32 = 3;

const WELCOME: u8 = b'W';
const BUSY: u8 = b'B';

/// A client in the queue, since when.
type Job = (TcpStream, Instant);

/// A server that does one handshake after the other, keeps those it has
/// welcomed, and refuses whom it would have to keep waiting for a second.
#[derive(Default)]
struct Server {
    welcomed: Mutex<Vec<TcpStream>>,
    accepted: AtomicU32,
}

impl Server {
    fn run(listener: TcpListener, per_second: u32) -> (Arc<Self>, JoinSet<()>) {
        let server = Arc::new(Self::default());
        let (queue, jobs) = mpsc::channel(per_second as usize);
        let mut tasks = JoinSet::new();
        tasks.spawn(server.clone().accept(listener, queue));
        tasks.spawn(
            server
                .clone()
                .shake_hands(jobs, Duration::from_secs(1) / per_second),
        );
        (server, tasks)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, queue: mpsc::Sender<Job>) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            self.accepted.fetch_add(1, Relaxed);
            if let Err(TrySendError::Full((mut stream, _))) =
                queue.try_send((stream, Instant::now()))
            {
                // One byte fits into the buffer of a new socket.
                let _ = stream.write_all(&[BUSY]).await;
            }
        }
    }

    async fn shake_hands(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>, handshake: Duration) {
        let mut free = Instant::now();
        while let Some((mut stream, arrived)) = jobs.recv().await {
            // Timers are late, and what they lose is made up for.
            free = free.max(arrived) + handshake;
            sleep_until(free.into()).await;
            if stream.write_all(&[WELCOME]).await.is_ok() {
                self.welcomed.lock().unwrap().push(stream);
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if stream.read_u8().await? == WELCOME {
        Ok(stream)
    } else {
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

/// Connects, waits for the loss, reconnects, and says when.
async fn client(
    number: u32,
    address: SocketAddr,
    all_up: Arc<Barrier>,
    back: mpsc::UnboundedSender<Instant>,
) {
    // One after the other, and healed at once, whatever the first connect took.
    tokio::time::sleep(Duration::from_millis(number.into())).await;
    let mut redial = Redial::new(move || connect(address))
        .stable_after(Duration::ZERO)
        .seed(number.into());
    let stream = redial.ready().await.expect("it never gives up");
    all_up.wait().await;
    let _ = stream
        .read_u8()
        .await
        .expect_err("the server only hangs up");
    redial.lost();
    redial.ready().await.expect("it never gives up");
    let _ = back.send(Instant::now());
    std::future::pending::<()>().await;
}

/// The longest time by which a timer was late.
async fn heartbeat(worst: watch::Sender<Duration>) {
    loop {
        let due = Instant::now() + Duration::from_millis(10);
        sleep_until(due.into()).await;
        let late = due.elapsed();
        worst.send_modify(|worst| *worst = late.max(*worst));
    }
}

/// What a run brought.
struct Outcome {
    t_99: f64,
    attempts: f64,
    outage: Duration,
    /// For how long the machine stood still.
    stall: Duration,
}

async fn play() -> Outcome {
    // All connect, to a server that can take them.
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (easy, mut tasks) = Server::run(listener, 100_000);
    let all_up = Arc::new(Barrier::new(CLIENTS as usize + 1));
    let (sender, mut back) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, address, all_up.clone(), sender.clone()));
    }
    all_up.wait().await;
    let (beat, worst) = watch::channel(Duration::ZERO);
    clients.spawn(heartbeat(beat));

    // It dies, and so do its connections.
    tasks.shutdown().await;
    let lost = Instant::now();
    drop(std::mem::take(&mut *easy.welcomed.lock().unwrap()));

    // Another takes its place.
    sleep_until((lost + OUTAGE).into()).await;
    let returned = Instant::now();
    let (server, _tasks) = Server::run(listen(address).unwrap(), CAPACITY);
    let mut times = Vec::new();
    while times.len() < CLIENTS as usize {
        let at = back.recv().await.expect("a sender is kept");
        times.push((at - returned).as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let outcome = Outcome {
        t_99: times[CLIENTS as usize * 99 / 100 - 1],
        attempts: f64::from(server.accepted.load(Relaxed)) / f64::from(CLIENTS),
        outage: returned - lost,
        stall: *worst.borrow(),
    };
    clients.shutdown().await;
    outcome
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "real time on a quiet machine, and 11 000 file descriptors"]
async fn five_thousand_clients_come_back_as_predicted() {
    let mut outcome = play().await;
    for _ in 1..RUNS {
        if outcome.stall > STALL {
            println!("the machine stood still for {:?}", outcome.stall);
            outcome = play().await;
        }
    }
    let Outcome {
        t_99,
        attempts,
        outage,
        ..
    } = outcome;

    // The same in the simulator: the mean over ten seeds.
    let storm = Storm::new(CLIENTS).capacity(CAPACITY).outage(outage);
    let reports: Vec<_> = (0..10)
        .map(|seed| storm.clone().seed(seed).run(&Stratified::default()))
        .collect();
    let mean = |of: &dyn Fn(&redial::storm::Report) -> f64| {
        reports.iter().map(of).sum::<f64>() / reports.len() as f64
    };
    let predicted_t_99 = mean(&|report| report.t_99.unwrap().time.as_secs_f64());
    let predicted_attempts = mean(&|report| report.attempts.mean);
    println!(
        "99 % back after {t_99:.2} s, predicted {predicted_t_99:.2} s; \
         {attempts:.3} attempts, predicted {predicted_attempts:.3}; \
         the machine stood still for {:?}",
        outcome.stall
    );
    assert!((t_99 / predicted_t_99 - 1.0).abs() < 0.1);
    assert!((attempts / predicted_attempts - 1.0).abs() < 0.1);
}
