//! A login server crashes, and all its clients want in again at once. It gives each of
//! them an instant of its own, and a ticket for it. So each client makes two attempts, and
//! the server is never idle.
//!
//! ```sh
//! cargo run --features slots --example slots
//! ```
//!
//! The protocol has one line each way. A client says `LOGIN name` or `LOGIN name ticket`.
//! The server says `WELCOME`, or `LATER ms ticket` and hangs up.

mod show;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Admission, Redial, Slots, Verdict};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use show::show;

const CLIENTS: u32 = 400;
/// Logins a second: of a server whose caches are warm, and after the crash.
const WARM: u32 = 1000;
const COLD: u32 = 50;
/// How many the server lets wait. It must be done with them before they lose patience.
const QUEUE: usize = 50;
/// A real server reads its key from its configuration: the same after each restart.
const KEY: &str = "at least 16 random bytes";

type Lines = Framed<TcpStream, LinesCodec>;

/// What happened since somebody last looked.
#[derive(Default)]
struct Counts {
    welcomed: AtomicU32,
    sent_away: AtomicU32,
}

struct Server {
    slots: Slots,
    queue: mpsc::Sender<Lines>,
    counts: Arc<Counts>,
}

impl Server {
    /// Its tasks. Dropping them crashes the server.
    async fn start(
        address: SocketAddr,
        capacity: u32,
        counts: Arc<Counts>,
    ) -> io::Result<(SocketAddr, JoinSet<()>)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (queue, logins) = mpsc::channel(QUEUE);
        let server = Arc::new(Self {
            slots: Slots::new(capacity, KEY),
            queue,
            counts: counts.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(log_in_one_after_the_other(logins, capacity, counts));
        tasks.spawn(async move {
            // They end with this task.
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                guests.spawn(
                    server
                        .clone()
                        .greet(Framed::new(stream, LinesCodec::new_with_max_length(200))),
                );
            }
        });
        Ok((address, tasks))
    }

    /// Lets a client into the queue, or tells it when to come back.
    async fn greet(self: Arc<Self>, mut lines: Lines) {
        let Some(Ok(line)) = lines.next().await else {
            return;
        };
        let mut words = line.split(' ');
        let (Some("LOGIN"), Some(name), ticket) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let place = self.queue.try_reserve();
        let admission = if place.is_ok() {
            self.slots.admit(name, ticket)
        } else {
            self.slots.refuse(name, ticket)
        };
        match (admission, place) {
            (Admission::Now, Ok(place)) => place.send(lines),
            (Admission::Later { wait, ticket }, _) => {
                self.counts.sent_away.fetch_add(1, Relaxed);
                let _ = lines
                    .send(format!("LATER {} {ticket}", wait.as_millis()))
                    .await;
            }
            (Admission::Now, Err(_)) => {} // a full queue admits nobody
        }
    }
}

async fn log_in_one_after_the_other(
    mut logins: mpsc::Receiver<Lines>,
    capacity: u32,
    counts: Arc<Counts>,
) {
    let mut online = Vec::new();
    let mut free = Instant::now();
    while let Some(mut lines) = logins.recv().await {
        // Timers are late, and what they lose is made up for.
        free = free.max(Instant::now() - Duration::from_millis(50))
            + Duration::from_secs(1) / capacity;
        sleep_until(free).await;
        if lines.send("WELCOME").await.is_ok() {
            counts.welcomed.fetch_add(1, Relaxed);
            online.push(lines);
        }
    }
}

/// Why a client is not online.
#[derive(Debug)]
enum Failed {
    Later(Duration),
    Lines(LinesCodecError),
}

/// One attempt. It shows the ticket that the server gave to the one before.
async fn log_in(
    server: SocketAddr,
    name: u32,
    kept: Arc<Mutex<String>>,
) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(server)
        .await
        .map_err(|error| Failed::Lines(error.into()))?;
    let mut lines = Framed::new(stream, LinesCodec::new());
    let ticket = kept.lock().expect("no panic").clone();
    lines
        .send(format!("LOGIN {name} {ticket}"))
        .await
        .map_err(Failed::Lines)?;
    let answer = lines
        .next()
        .await
        .unwrap_or(Ok(String::new()))
        .map_err(Failed::Lines)?;
    let mut words = answer.split(' ');
    match (words.next(), words.next().map(str::parse), words.next()) {
        (Some("WELCOME"), ..) => {
            kept.lock().expect("no panic").clear();
            Ok(lines.into_inner())
        }
        (Some("LATER"), Some(Ok(millis)), Some(ticket)) => {
            ticket.clone_into(&mut kept.lock().expect("no panic"));
            Err(Failed::Later(Duration::from_millis(millis)))
        }
        _ => Err(Failed::Lines(
            io::Error::from(io::ErrorKind::UnexpectedEof).into(),
        )),
    }
}

fn verdict(failed: &Failed) -> Verdict {
    match failed {
        Failed::Later(wait) => Verdict::Slot(*wait),
        Failed::Lines(LinesCodecError::Io(error)) => Verdict::of(error),
        Failed::Lines(_) => Verdict::default(),
    }
}

/// Logs in, waits for the crash, and logs in again.
async fn client(server: SocketAddr, name: u32, all_up: Arc<Barrier>, back: mpsc::Sender<()>) {
    let kept = Arc::default();
    let mut redial = Redial::new(move || log_in(server, name, Arc::clone(&kept))).classify(verdict);
    for is_back in [false, true] {
        let Ok(stream) = redial.ready().await else {
            return;
        };
        if is_back {
            let _ = back.send(()).await;
        } else {
            all_up.wait().await;
        }
        let _ = stream.read_u8().await;
        redial.lost();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let counts = Arc::new(Counts::default());
    let (address, tasks) = Server::start(([127, 0, 0, 1], 0).into(), WARM, counts.clone()).await?;
    show!("{CLIENTS} clients log in to a server that takes {WARM} a second.");
    let all_up = Arc::new(Barrier::new(CLIENTS as usize + 1));
    let (back, mut are_back) = mpsc::channel(1);
    let mut clients = JoinSet::new();
    for name in 0..CLIENTS {
        clients.spawn(client(address, name, all_up.clone(), back.clone()));
    }
    all_up.wait().await;

    show!("It crashes. A second later it is back, with cold caches: it takes {COLD} a second.");
    drop(tasks);
    sleep(Duration::from_secs(1)).await;
    let counts = Arc::new(Counts::default());
    let (_, _tasks) = Server::start(address, COLD, counts.clone()).await?;
    let start = Instant::now();
    let (mut online, mut sent_away, mut are_done) = (0, 0, 0);
    let mut look = interval(Duration::from_millis(500));
    look.tick().await; // the first is at once
    while are_done < CLIENTS {
        tokio::select! {
            Some(()) = are_back.recv() => are_done += 1,
            _ = look.tick() => {
                let welcomed = counts.welcomed.swap(0, Relaxed);
                let sent = counts.sent_away.swap(0, Relaxed);
                (online, sent_away) = (online + welcomed, sent_away + sent);
                let (time, bar) = (start.elapsed().as_secs_f64(), "#".repeat(online as usize / 10));
                show!("{time:5.1} s  {welcomed:3} logged in  {sent:3} sent away  {bar}");
            }
        }
    }
    sent_away += counts.sent_away.load(Relaxed);
    show!(
        "All are back after {:.1} s. No server of that speed takes less than {:.1} s. \
         A client made {:.1} attempts.",
        start.elapsed().as_secs_f64(),
        f64::from(CLIENTS) / f64::from(COLD),
        f64::from(CLIENTS + sent_away) / f64::from(CLIENTS),
    );
    Ok(())
}
