//! Does a real fleet move to another server without a gap?
//!
//! Two thousand clients, each a session over a loopback TCP connection, are on a server that
//! announces its end in thirty seconds. It is gone by then.
#![cfg(feature = "tokio")]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use redial::{AttemptInfo, Redial, SessionEvent, with_info};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const CLIENTS: usize = 2_000;
const LEAD: Duration = Duration::from_secs(30);

type Lines = Framed<TcpStream, LinesCodec>;

/// What a server has seen.
#[derive(Default)]
struct Server {
    arrivals: Mutex<Vec<Instant>>,
    lines: AtomicU64,
}

impl Server {
    /// Tells its clients to leave for the address of `notice`, once there is one, and hangs
    /// up after the lead.
    fn run(listener: TcpListener, notice: watch::Receiver<Option<SocketAddr>>) -> Arc<Self> {
        let server = Arc::new(Self::default());
        let this = server.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                this.arrivals.lock().unwrap().push(Instant::now());
                let lines = Framed::new(stream, LinesCodec::new());
                tokio::spawn(this.clone().serve(lines, notice.clone()));
            }
        });
        server
    }

    async fn serve(
        self: Arc<Self>,
        mut client: Lines,
        mut notice: watch::Receiver<Option<SocketAddr>>,
    ) {
        let mut end = None;
        loop {
            tokio::select! {
                line = client.next() => match line {
                    Some(Ok(_)) => {
                        self.lines.fetch_add(1, SeqCst);
                    }
                    _ => return,
                },
                Ok(()) = notice.changed() => {
                    let Some(other) = *notice.borrow_and_update() else { continue };
                    end = Some(Instant::now() + LEAD);
                    let _ = client.send(other.to_string()).await;
                }
                () = sleep_until(end.unwrap_or_else(Instant::now).into()), if end.is_some() => {
                    return;
                }
            }
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4_096)
}

/// What a client has seen.
struct Seen {
    /// How long it had no connection.
    gap: Duration,
    sent: u64,
}

async fn client(number: usize, mut server: SocketAddr, all_up: Arc<Barrier>) -> Seen {
    sleep(Duration::from_millis(number as u64)).await;
    let mut session = Redial::new(with_info(move |info: AttemptInfo<'_, LinesCodecError>| {
        if let Some(hint) = info.hint() {
            server = hint.parse().expect("an address");
        }
        let dial = TcpStream::connect(server);
        async move { Ok(Framed::new(dial.await?, LinesCodec::new())) }
    }))
    .seed(number as u64)
    .into_session();
    assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    all_up.wait().await;

    let mut seen = Seen {
        gap: Duration::ZERO,
        sent: 0,
    };
    let mut down = None;
    let mut ticks = interval(Duration::from_millis(500));
    let end = Instant::now() + LEAD + Duration::from_secs(5);
    while Instant::now() < end {
        tokio::select! {
            event = session.next() => match event.expect("it goes on").expect("it goes on") {
                SessionEvent::Item(other) => session.renew_with_hint(LEAD, &other),
                SessionEvent::Down { .. } => down = Some(Instant::now()),
                SessionEvent::Up => {
                    if let Some(since) = down.take() {
                        seen.gap += since.elapsed();
                    }
                }
            },
            _ = ticks.tick() => {
                session.send("tick".to_owned()).await.expect("nothing is lost");
                seen.sent += 1;
            }
        }
    }
    SinkExt::<String>::close(&mut session)
        .await
        .expect("nothing is lost");
    seen
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "real time on a quiet machine, and 8 000 file descriptors"]
async fn two_thousand_clients_of_a_server_that_drains_see_no_gap() {
    let (leave, notice) = watch::channel(None);
    let (_stays, no_notice) = watch::channel(None);
    let (old, new) = (listen().unwrap(), listen().unwrap());
    let (address, other) = (old.local_addr().unwrap(), new.local_addr().unwrap());
    let (old, new) = (Server::run(old, notice), Server::run(new, no_notice));
    let all_up = Arc::new(Barrier::new(CLIENTS + 1));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, address, all_up.clone()));
    }
    all_up.wait().await;
    let announced = Instant::now();
    leave.send(Some(other)).unwrap();

    let seen = clients.join_all().await;
    sleep(Duration::from_secs(1)).await;
    let mut gaps: Vec<Duration> = seen.iter().map(|seen| seen.gap).collect();
    gaps.sort_unstable();
    let arrivals = new.arrivals.lock().unwrap();
    let mut per_second = [0u32; 32];
    for at in arrivals.iter() {
        per_second[(*at - announced).as_secs().min(31) as usize] += 1;
    }
    let most = f64::from(*per_second.iter().max().unwrap());
    let uniform = CLIENTS as f64 / 20.0;
    let sent: u64 = seen.iter().map(|seen| seen.sent).sum();
    let received = old.lines.load(SeqCst) + new.lines.load(SeqCst);
    println!(
        "gap: p99 {:?}, most {:?}; arrivals: {} of {CLIENTS}, at most {most} a second, {:.2} of \
         uniform; lines: {received} of {sent}",
        gaps[CLIENTS * 99 / 100 - 1],
        gaps[CLIENTS - 1],
        arrivals.len(),
        most / uniform,
    );
    assert_eq!(gaps[CLIENTS * 99 / 100 - 1], Duration::ZERO);
    // Each dials once. A second's share has a deviation of 9.7, so this is five of them.
    assert_eq!(arrivals.len(), CLIENTS);
    assert!(most <= 1.5 * uniform, "{per_second:?}");
    assert_eq!(received, sent);
}
