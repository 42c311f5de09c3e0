//! Does a client get from real servers that refuse, or that are silent, to one that
//! works?
//!
//! On Linux, where a full queue makes a server silent, and all of 127.0.0.0/8 is this
//! machine.
#![cfg(all(feature = "tokio", target_os = "linux"))]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use redial::{Connect, Endpoints, Event, Jitter, Redial, Sequence, tcp};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// More than any answer on this machine takes, and much less than the wait.
const SOON: Duration = Duration::from_millis(700);

/// A server that takes each client, and greets it with its own port.
async fn good() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let greeting = address.port().to_be_bytes();
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(&greeting).unwrap(), 2);
            tokio::spawn(async move {
                let mut stream = stream;
                let _ = stream.read_u8().await;
            });
        }
    });
    address
}

/// An address at which nobody listens any more.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A server whose queue is full, so its kernel drops the packets of all others.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Silent {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = timeout(SOON / 2, TcpStream::connect(address)).await {
            queue.push(stream.unwrap());
        }
        Self {
            address,
            _listener: listener,
            _queue: queue,
        }
    }
}

async fn greeted(mut stream: TcpStream) -> io::Result<(u16, TcpStream)> {
    Ok((stream.read_u16().await?, stream))
}

fn one_second() -> Sequence {
    Sequence::new([SECOND]).jitter(Jitter::None)
}

#[tokio::test]
async fn a_client_gets_past_refusing_servers_without_a_wait() {
    let good = good().await;
    let mut servers = vec![good];
    for _ in 0..4 {
        servers.push(refusing().await);
    }
    for seed in 0..10 {
        let endpoints = Endpoints::new(servers.clone());
        let mut redial = Redial::new(tcp::connect(endpoints).then(greeted))
            .policy(one_second())
            .seed(seed);
        let start = Instant::now();
        let (port, _) = redial.ready().await.unwrap();
        assert_eq!(*port, good.port());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_client_of_a_lost_server_is_at_another_after_the_first_wait() {
    let (a, b) = (good().await, good().await);
    let endpoints = Endpoints::new([a, b]);
    let mut redial =
        Redial::new(endpoints.connect_with(|&server| tcp::connect(server).then(greeted)))
            .policy(one_second());
    let (before, _) = redial.connect().await.unwrap();
    let start = Instant::now();
    let (after, _) = redial.connect().await.unwrap();
    assert_ne!(before, after);
    assert!(start.elapsed() < SECOND + SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_gets_past_silent_servers_in_a_second_each() {
    let silent = [Silent::new().await, Silent::new().await];
    let good = good().await;
    let servers = [silent[0].address, silent[1].address, good];
    let tried = Arc::new(AtomicUsize::new(0));
    let clients = (0..12).map(|seed| {
        let endpoints = Endpoints::new(servers);
        let tried = tried.clone();
        async move {
            let number = Arc::new(AtomicUsize::new(0));
            let count = number.clone();
            let mut redial = Redial::new(tcp::connect(endpoints).then(greeted))
                .policy(one_second())
                .seed(seed)
                .observe(move |event| {
                    if let Event::Trying { attempt: 1, .. } = event {
                        count.fetch_add(1, SeqCst);
                    }
                });
            let start = Instant::now();
            let (port, _) = redial.ready().await.unwrap();
            assert_eq!(*port, good.port());
            let number = number.load(SeqCst);
            tried.fetch_max(number, SeqCst);
            let limit = SECOND * (number as u32 - 1) + SOON;
            assert!(start.elapsed() < limit, "{number} {:?}", start.elapsed());
        }
    });
    futures::future::join_all(clients).await;
    // The odds that no client has it last are below 1 %, and the seeds are fixed.
    assert_eq!(tried.load(SeqCst), 3);
}

// ---- names

#[tokio::test]
async fn a_name_is_looked_up_anew_by_each_dial() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let look_ups = Arc::new(AtomicUsize::new(0));
    let count = look_ups.clone();
    let endpoints = Endpoints::new([("moves.example", port)]);
    let mut redial = Redial::new(endpoints.connect_with(|&server| {
        let count = count.clone();
        tcp::connect(server).resolve_with(move |_, port| {
            // At first there is no such name, then it has an address where nobody
            // listens, and then it moves.
            let answer = match count.fetch_add(1, SeqCst) {
                0 => Vec::new(),
                1 => vec![SocketAddr::from(([127, 0, 0, 1], port))],
                _ => vec![SocketAddr::from(([127, 0, 0, 2], port))],
            };
            async move { Ok(answer) }
        })
    }))
    .policy(Sequence::new([Duration::from_millis(10)]));
    let connected = redial.ready().await.unwrap();
    assert_eq!(connected.peer_addr().unwrap().ip().to_string(), "127.0.0.2");
    assert_eq!(look_ups.load(SeqCst), 3);
}
