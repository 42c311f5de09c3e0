//! Does a real fleet do what the simulator said, if packets are lost?
//!
//! Two thousand clients, each a `Redial` around a real TCP connection, in a network
//! namespace of their own. Either the network loses all packets for a minute, without
//! a word, or the kernel's listen queue overflows. The simulator is given the same
//! figures.
#![cfg(all(target_os = "linux", feature = "storm", feature = "tokio"))]

mod namespace;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{FutureExt, TryFutureExt};
use namespace::{Namespace, in_namespace};
use redial::storm::{Overflow, Report, Server, Storm};
use redial::{Connect, Redial, Stratified};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

const CLIENTS: u32 = 2_000;
const HOST: &str = "127.0.0.2";
const ADDRESS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2)),
    7_000,
);
/// A queue with room for all clients.
const DEEP: u32 = 4_000;
/// A run in which the machine stood still for so long says nothing.
const STALL: Duration = Duration::from_millis(300);

/// How the clients connect.
#[derive(Clone, Copy)]
enum Connector {
    /// A dial, `then` a login.
    Phased,
    /// One closure, whose phases the driver does not know.
    Opaque,
}

/// What the server does with clients beyond its queue.
#[derive(Clone, Copy)]
enum Beyond {
    /// The kernel drops their SYN, because the listen queue is full.
    Dropped,
    /// It accepts them and resets their connection, as a balancer at its maximum.
    Reset,
}

#[derive(Clone, Copy)]
struct Scene {
    connector: Connector,
    beyond: Beyond,
    /// Handshakes a second.
    capacity: u32,
    /// How many clients may wait, besides the client that is being served.
    queue: u32,
    outage: Duration,
    /// Whether packets are lost in the outage. If not, the host refuses.
    is_silent: bool,
    /// How many more SYNs follow the first, a second apart, before the distances double.
    linear_syns: u8,
    abort_on_overflow: bool,
    /// Whether SYNs arrive one by one, as from clients that do not share a machine.
    is_paced: bool,
}

const SILENT: Scene = Scene {
    connector: Connector::Phased,
    beyond: Beyond::Dropped,
    capacity: 100,
    queue: DEEP,
    outage: Duration::from_secs(60),
    is_silent: true,
    linear_syns: 0,
    abort_on_overflow: false,
    is_paced: true,
};

const OVERFLOW: Scene = Scene {
    connector: Connector::Phased,
    beyond: Beyond::Dropped,
    capacity: 100,
    queue: 100,
    outage: Duration::from_secs(4),
    is_silent: false,
    linear_syns: 0,
    abort_on_overflow: false,
    is_paced: true,
};

/// A dial, from its first SYN to its end.
#[derive(Clone, Copy)]
struct Dial {
    begun: Instant,
    ended: Instant,
    has_connected: bool,
}

type Dials = Arc<Mutex<Vec<Dial>>>;

/// Notes a dial when it ends, also if it is cut short.
struct Note {
    dials: Dials,
    begun: Instant,
    has_connected: bool,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.dials.lock().unwrap().push(Dial {
            begun: self.begun,
            ended: Instant::now(),
            has_connected: self.has_connected,
        });
    }
}

async fn dial(dials: Dials) -> io::Result<TcpStream> {
    let mut note = Note {
        dials,
        begun: Instant::now(),
        has_connected: false,
    };
    let connected = TcpStream::connect(ADDRESS).await;
    note.has_connected = connected.is_ok();
    connected
}

async fn log_in(mut stream: TcpStream) -> io::Result<TcpStream> {
    // As in TLS and HTTP, the client speaks first.
    stream.write_all(b"L").await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// Connects, loses its connection, reconnects, and says when.
async fn client<C>(
    number: u32,
    connector: C,
    all_up: Arc<Barrier>,
    mut told: watch::Receiver<bool>,
    back: mpsc::UnboundedSender<Instant>,
) where
    C: Connect<Connection = TcpStream, Error = io::Error>,
{
    // One after the other, and healed at once, whatever the first connect took.
    sleep(Duration::from_millis(number.into())).await;
    let mut redial = Redial::new(connector)
        .stable_after(Duration::ZERO)
        .seed(number.into());
    let stream = redial.ready().await.expect("it never gives up");
    all_up.wait().await;
    // All are told at the same instant, as by a liveness timeout. The server would
    // be late with its farewell, or it would be lost.
    let _ = told.wait_for(|&is_lost| is_lost).await;
    let _ = stream.set_zero_linger();
    redial.lost();
    let _stream = redial.ready().await.expect("it never gives up");
    let _ = back.send(Instant::now());
    std::future::pending::<()>().await;
}

fn listen(queue: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(ADDRESS).unwrap();
    // Linux takes one more than it is told.
    socket.listen(queue - 1).unwrap()
}

/// Welcomes everyone at once.
async fn welcome_all(listener: TcpListener) {
    let mut welcomed = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        // One byte fits into the buffer of a new socket.
        stream.write_all(b"W").await.unwrap();
        // The end of the connection is immediate on both sides. A socket that lingers
        // at the server would answer the SYN of a client that has got its port.
        stream.set_zero_linger().unwrap();
        welcomed.push(stream);
    }
}

/// Does one handshake after the other, with the clients that the kernel keeps in its
/// listen queue.
async fn serve(listener: TcpListener, handshake: Duration) {
    let mut welcomed = Vec::new();
    let mut free = Instant::now();
    loop {
        let (mut stream, begun) = match listener.accept().now_or_never() {
            // It waited. Timers are late, and what they lose is made up for.
            Some(accepted) => (accepted.unwrap().0, free),
            None => (listener.accept().await.unwrap().0, Instant::now()),
        };
        free = begun + handshake;
        sleep_until(free.into()).await;
        // The client may have left.
        let _ = stream.write_all(b"W").await;
        welcomed.push(stream);
    }
}

/// The same with a queue of its own.
async fn serve_or_reset(listener: TcpListener, queue: u32, handshake: Duration) {
    let (sender, mut jobs) = mpsc::channel::<(TcpStream, Instant)>(queue as usize);
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Err(mpsc::error::TrySendError::Full((stream, _))) =
                sender.try_send((stream, Instant::now()))
            {
                stream.set_zero_linger().unwrap();
            }
        }
    };
    let shake_hands = async {
        let mut welcomed = Vec::new();
        let mut free = Instant::now();
        while let Some((mut stream, arrived)) = jobs.recv().await {
            free = free.max(arrived) + handshake;
            sleep_until(free.into()).await;
            let _ = stream.write_all(b"W").await;
            welcomed.push(stream);
        }
    };
    tokio::join!(accept, shake_hands);
}

/// The longest time by which a timer was late.
async fn heartbeat(worst: watch::Sender<Duration>) {
    let beat = Duration::from_millis(10);
    loop {
        let due = Instant::now() + beat;
        sleep_until(due.into()).await;
        let late = due.elapsed();
        worst.send_if_modified(|worst| {
            let is_worse = late > *worst;
            *worst = late.max(*worst);
            is_worse
        });
    }
}

/// In seconds since the return, and attempts for each client.
#[derive(Clone, Copy)]
struct Figures {
    t_50: f64,
    t_99: f64,
    attempts_down: f64,
    attempts: f64,
}

impl Figures {
    fn of(report: &Report) -> Self {
        let seconds = |recovery: Option<redial::storm::Recovery>| {
            recovery.expect("all come back").time.as_secs_f64()
        };
        Self {
            t_50: seconds(report.t_50),
            t_99: seconds(report.t_99),
            attempts_down: report.attempts_down,
            attempts: report.attempts.mean,
        }
    }

    fn each(self) -> [(&'static str, f64); 4] {
        [
            ("half back, s", self.t_50),
            ("99 % back, s", self.t_99),
            ("attempts while down", self.attempts_down),
            ("attempts", self.attempts),
        ]
    }
}

/// What a scene brought.
struct Outcome {
    figures: Figures,
    outage: Duration,
    /// For how long the machine stood still.
    stall: Duration,
}

impl Scene {
    async fn play(self, namespace: &Namespace) -> Outcome {
        // A kernel without the setting does as if it were 0.
        let is_set = namespace.set_tcp("syn_linear_timeouts", self.linear_syns.into());
        assert!(is_set || self.linear_syns == 0);
        assert!(namespace.set_tcp("abort_on_overflow", self.abort_on_overflow.into()));

        if self.is_paced {
            namespace.pace_syns(HOST);
        }
        // All connect, to a server that can take them.
        let mut easy = JoinSet::new();
        easy.spawn(welcome_all(listen(DEEP)));
        let all_up = Arc::new(Barrier::new(CLIENTS as usize + 1));
        let (tell, told) = watch::channel(false);
        let (sender, mut back) = mpsc::unbounded_channel();
        let dials: Vec<Dials> = (0..CLIENTS).map(|_| Dials::default()).collect();
        for (number, dials) in (0..).zip(&dials) {
            let dials = dials.clone();
            let dial = move || dial(dials.clone());
            let (all_up, told, sender) = (all_up.clone(), told.clone(), sender.clone());
            match self.connector {
                Connector::Phased => {
                    tokio::spawn(client(number, dial.then(log_in), all_up, told, sender))
                }
                Connector::Opaque => {
                    let connect = move || dial().and_then(log_in);
                    tokio::spawn(client(number, connect, all_up, told, sender))
                }
            };
        }
        all_up.wait().await;
        let (beat, worst) = watch::channel(Duration::ZERO);
        tokio::spawn(heartbeat(beat));

        // The server dies, or nobody can reach it. The clients do not look.
        easy.shutdown().await;
        if self.is_silent {
            namespace.cut(HOST);
        }
        let lost = Instant::now();
        tell.send(true).unwrap();

        // It is back.
        let handshake = Duration::from_secs(1) / self.capacity;
        sleep_until((lost + self.outage).into()).await;
        let listener = listen(self.queue);
        if self.is_silent {
            namespace.mend();
        }
        let returned = Instant::now();
        match self.beyond {
            Beyond::Dropped => tokio::spawn(serve(listener, handshake)),
            Beyond::Reset => tokio::spawn(serve_or_reset(listener, self.queue, handshake)),
        };
        let mut times = Vec::new();
        while times.len() < CLIENTS as usize {
            let at: Instant = back.recv().await.expect("a sender is kept");
            times.push(at.saturating_duration_since(returned).as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let rank = |percent: u32| times[(CLIENTS * percent).div_ceil(100) as usize - 1];

        let all: Vec<Dial> = dials
            .iter()
            .flat_map(|dials| dials.lock().unwrap().clone())
            .filter(|dial| dial.begun >= lost)
            .collect();
        let seen = all.iter().filter(|dial| self.saw(dial, returned)).count();
        let of_each = |dials: usize| dials as f64 / f64::from(CLIENTS);
        Outcome {
            figures: Figures {
                t_50: rank(50),
                t_99: rank(99),
                attempts_down: of_each(all.len() - seen),
                attempts: of_each(seen),
            },
            outage: returned - lost,
            stall: *worst.borrow(),
        }
    }

    /// Whether a SYN of a dial met the server after its return.
    fn saw(self, dial: &Dial, returned: Instant) -> bool {
        // The kernel's timers are late, so a SYN that is due at the end is not sent.
        let sent = self.syns().map(|after| dial.begun + after);
        let mut sent = sent.take_while(|&at| at + Duration::from_millis(20) < dial.ended);
        dial.has_connected || dial.begun >= returned || sent.any(|at| at >= returned)
    }

    /// When the kernel sends the SYNs of a dial.
    fn syns(self) -> impl Iterator<Item = Duration> {
        let linear = self.linear_syns;
        let mut distance = 1;
        (0..).scan(0, move |after, number| {
            let at = *after;
            *after += distance;
            if number >= linear {
                distance *= 2;
            }
            Some(Duration::from_secs(at)).filter(|_| number < 7 + linear)
        })
    }

    /// The same scene for the simulator.
    fn storm(self, outage: Duration) -> Storm {
        let work = Duration::from_secs(1) * self.queue / self.capacity;
        let server = Server::stale(work).overflow(match self.beyond {
            Beyond::Dropped if self.abort_on_overflow => Overflow::HandshakeReset,
            Beyond::Dropped => Overflow::SynDropped,
            Beyond::Reset => Overflow::Reset,
        });
        let storm = Storm::new(CLIENTS)
            .capacity(self.capacity)
            .outage(outage)
            .syn_linear_timeouts(self.linear_syns)
            .server(if self.is_silent {
                server.black_hole()
            } else {
                server
            });
        match self.connector {
            Connector::Phased => storm.phases(),
            Connector::Opaque => storm,
        }
    }

    /// Plays the scene, and compares it with the mean over ten simulations.
    fn agrees(self, name: &str) {
        in_namespace(name, |namespace| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            let outcome = runtime.block_on(self.play(namespace));
            let storm = self.storm(outcome.outage);
            let simulated: Vec<_> = (0..10)
                .map(|seed| Figures::of(&storm.clone().seed(seed).run(&Stratified::default())))
                .map(Figures::each)
                .collect();
            let measured = outcome.figures.each();
            let mut is_off = false;
            println!(
                "{name}\n    the machine stood still for {:?}, {} packets met a full queue",
                outcome.stall,
                namespace.counter("ListenOverflows"),
            );
            for (row, (figure, is)) in measured.into_iter().enumerate() {
                let expected = simulated.iter().map(|each| each[row].1).sum::<f64>() / 10.0;
                let off = (is - expected) / expected.max(f64::MIN_POSITIVE);
                println!(
                    "    {figure:20} {is:8.3}, simulated {expected:8.3}: {:+.1} %",
                    off * 100.0
                );
                is_off |= off.abs() > 0.1;
            }
            if outcome.stall > STALL {
                namespace.run_again();
            }
            assert!(!is_off, "off by more than 10 %: {name}");
        });
    }
}

#[test]
#[ignore = "real time, a network namespace, nftables"]
fn a_silent_minute_of_clients_that_know_their_phases() {
    SILENT.agrees("a_silent_minute_of_clients_that_know_their_phases");
}

#[test]
#[ignore = "real time, a network namespace, nftables, Linux 6.5"]
fn a_silent_minute_with_more_syns() {
    let scene = Scene {
        capacity: 400,
        linear_syns: 4,
        ..SILENT
    };
    scene.agrees("a_silent_minute_with_more_syns");
}

#[test]
#[ignore = "real time, a network namespace, nftables"]
fn a_silent_minute_of_clients_that_do_not() {
    let scene = Scene {
        connector: Connector::Opaque,
        capacity: 200,
        ..SILENT
    };
    scene.agrees("a_silent_minute_of_clients_that_do_not");
}

#[test]
#[ignore = "real time, a network namespace"]
fn a_listen_queue_overflows() {
    OVERFLOW.agrees("a_listen_queue_overflows");
}

#[test]
#[ignore = "real time, a network namespace"]
fn a_listen_queue_overflows_and_resets() {
    let scene = Scene {
        abort_on_overflow: true,
        ..OVERFLOW
    };
    scene.agrees("a_listen_queue_overflows_and_resets");
}

#[test]
#[ignore = "real time, a network namespace"]
fn a_balancer_at_its_maximum_resets() {
    let scene = Scene {
        beyond: Beyond::Reset,
        ..OVERFLOW
    };
    scene.agrees("a_balancer_at_its_maximum_resets");
}
