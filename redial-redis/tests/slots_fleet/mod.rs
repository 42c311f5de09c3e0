//! A fleet of real clients that comes back to one server through several front ends,
//! over loopback. The front ends hand out slots.

#![allow(unreachable_pub)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redial::{Admission, Redial, SharedSlots, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

pub const CLIENTS: u32 = 2_000;
/// Clients a second.
pub const CAPACITY: u32 = 200;
/// The most that the server queues: one second of work.
const QUEUE: usize = CAPACITY as usize;
const OUTAGE: Duration = Duration::from_secs(1);

/// A client in the queue, since when.
type Job = (TcpStream, Instant);

/// How a fleet came back.
pub struct Return {
    /// The time until the last client was back, over the least possible.
    pub time: f64,
    /// How many attempts reached a front end, for each client.
    pub attempts: f64,
}

/// Two thousand clients lose their server, and come back through these front ends.
pub async fn come_back(front_ends: Vec<SharedSlots>) -> Return {
    // All connect, to front ends that can take them.
    let mut easy = JoinSet::new();
    let mut addresses = Vec::new();
    for _ in &front_ends {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        addresses.push(listener.local_addr().unwrap());
        easy.spawn(welcome_all(listener));
    }
    let all_up = Arc::new(Barrier::new(CLIENTS as usize + 1));
    let (sender, mut back) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(
            number,
            addresses.clone(),
            all_up.clone(),
            sender.clone(),
        ));
    }
    all_up.wait().await;

    // The front ends die, and others take their place.
    easy.shutdown().await;
    tokio::time::sleep(OUTAGE).await;
    let returned = Instant::now();
    let (queue, jobs) = mpsc::channel(QUEUE);
    let accepted = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    tasks.spawn(shake_hands(jobs));
    for (slots, address) in front_ends.into_iter().zip(addresses) {
        let listener = listen(address).unwrap();
        tasks.spawn(accept(
            listener,
            Arc::new(slots),
            queue.clone(),
            accepted.clone(),
        ));
    }
    let mut last = returned;
    for _ in 0..CLIENTS {
        last = back.recv().await.expect("a sender is kept");
    }
    Return {
        time: (last - returned).as_secs_f64() * f64::from(CAPACITY) / f64::from(CLIENTS),
        attempts: f64::from(accepted.load(Relaxed)) / f64::from(CLIENTS),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

async fn welcome_all(listener: TcpListener) {
    let mut welcomed = Vec::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.write_all(b"WELCOME\n").await;
        welcomed.push(stream);
    }
}

/// A front end.
async fn accept(
    listener: TcpListener,
    slots: Arc<SharedSlots>,
    queue: mpsc::Sender<Job>,
    accepted: Arc<AtomicU32>,
) {
    let mut guests = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Relaxed);
        guests.spawn(greet(stream, slots.clone(), queue.clone()));
    }
}

async fn greet(stream: TcpStream, slots: Arc<SharedSlots>, queue: mpsc::Sender<Job>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.is_err() {
        return;
    }
    let mut words = line.split_whitespace();
    let (Some(name), ticket) = (words.next(), words.next()) else {
        return;
    };
    let place = queue.try_reserve();
    let admission = if place.is_ok() {
        slots.admit(name, ticket).await
    } else {
        slots.refuse(name, ticket).await
    };
    match (admission, place) {
        (Admission::Now, Ok(place)) => place.send((stream.into_inner(), Instant::now())),
        (Admission::Later { wait, ticket }, _) => {
            let answer = format!("LATER {} {ticket}\n", wait.as_millis());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        (Admission::Now, Err(_)) => panic!("a full queue admits nobody"),
    }
}

/// The server behind the front ends: one handshake after the other.
async fn shake_hands(mut jobs: mpsc::Receiver<Job>) {
    let mut welcomed = Vec::new();
    let mut free = Instant::now();
    while let Some((mut stream, arrived)) = jobs.recv().await {
        // Timers are late, and what they lose is made up for.
        free = free.max(arrived) + Duration::from_secs(1) / CAPACITY;
        sleep_until(free.into()).await;
        if stream.write_all(b"WELCOME\n").await.is_ok() {
            welcomed.push(stream);
        }
    }
}

/// Why an attempt failed.
enum Failed {
    Later(Duration),
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn log_in(
    number: u32,
    address: SocketAddr,
    kept: Arc<Mutex<String>>,
) -> Result<TcpStream, Failed> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let hello = format!("{number} {}\n", kept.lock().unwrap());
    stream.write_all(hello.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    let mut words = answer.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("WELCOME"), ..) => Ok(stream.into_inner()),
        (Some("LATER"), Some(millis), Some(ticket)) => {
            ticket.clone_into(&mut kept.lock().unwrap());
            let millis = millis.parse().expect("a front end writes a number");
            Err(Failed::Later(Duration::from_millis(millis)))
        }
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// Connects, waits for the loss, comes back, and says when. Each attempt goes to another
/// front end.
async fn client(
    number: u32,
    addresses: Vec<SocketAddr>,
    all_up: Arc<Barrier>,
    back: mpsc::UnboundedSender<Instant>,
) {
    tokio::time::sleep(Duration::from_millis(number.into())).await;
    let (mut attempt, kept) = (number as usize, Arc::default());
    let mut redial = Redial::new(move || {
        attempt += 3;
        log_in(
            number,
            addresses[attempt % addresses.len()],
            Arc::clone(&kept),
        )
    })
    .classify(|failed| match failed {
        Failed::Later(wait) => Verdict::Slot(*wait),
        Failed::Io(error) => Verdict::of(error),
    })
    .stable_after(Duration::ZERO)
    .seed(number.into());
    let Ok(stream) = redial.ready().await else {
        panic!("it never gives up");
    };
    all_up.wait().await;
    let _ = stream.read_u8().await;
    redial.lost();
    assert!(redial.ready().await.is_ok(), "it never gives up");
    let _ = back.send(Instant::now());
    std::future::pending::<()>().await;
}
