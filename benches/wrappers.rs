//! What do `Session` and `RedialIo` cost, compared with the bare connection?
//!
//! The difference is a few nanoseconds, and the speed of a machine changes by more
//! than that from one second to the next. Criterion measures one function after the
//! other, so it would measure that change. Here the compared functions take turns of
//! some hundred microseconds, and each turn is compared with the turn of the bare
//! connection beside it. The results are stored in criterion's folder and form.

use std::future::ready;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io};

use futures::{SinkExt, StreamExt};
use redial::{Connect, Liveness, Redial, SessionEvent};
use redial_benches::median;
use serde_json::json;
use stubborn_io::tokio::{StubbornIo, UnderlyingIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const SMALL: usize = 64;
const BULK: usize = 64 * 1024;
const PAGE: usize = 4096;
/// The step between the places of two rounds within a page. In the end the rounds
/// have used every place that an allocation can have.
const PLACE: usize = 17 * 16;
/// No silence lasts so long.
const LIMIT: Duration = Duration::from_secs(3600);
const BULK_TURN: u64 = PAGE as u64 / 16;

/// The other side of an echo: a task on the same thread.
async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; SMALL];
    while io.read_exact(&mut buffer).await.is_ok() {
        if io.write_all(&buffer).await.is_err() {
            return;
        }
    }
}

async fn echoes((io, ()): &mut (impl AsyncRead + AsyncWrite + Unpin, ()), count: u64) {
    let mut buffer = [7; SMALL];
    for _ in 0..count {
        io.write_all(&buffer).await.unwrap();
        io.read_exact(&mut buffer).await.unwrap();
    }
}

/// Copies from one side to the other. Both sides run in one task, so the scheduler
/// and the fill of the buffers do not affect the result.
///
/// A copy takes more than ten times as long if the destination lies 16 bytes behind
/// the source within their pages, which depends on the allocator. So the places change
/// from round to round, and a turn goes through all of them.
async fn bulk((ours, theirs): &mut (impl AsyncWrite + Unpin, impl AsyncRead + Unpin), count: u64) {
    let from = vec![7; BULK + PAGE];
    let mut to = vec![0; BULK + PAGE];
    for round in 0..count as usize {
        let at = round * PLACE % PAGE;
        let (sent, received) = futures::join!(
            ours.write_all(&from[at..at + BULK]),
            theirs.read_exact(&mut to[at..at + BULK]),
        );
        sent.unwrap();
        received.unwrap();
    }
}

/// A connector that has one connection.
fn once<T>(connection: T) -> impl Connect<Connection = T, Error = io::Error> {
    let mut connection = Some(connection);
    move || ready(connection.take().ok_or_else(|| io::Error::other("lost")))
}

/// The source of the one connection of stubborn-io.
struct Once<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Once<T> {
    fn new(connection: T) -> Self {
        Self(Arc::new(Mutex::new(Some(connection))))
    }

    async fn take(self) -> io::Result<T> {
        let connection = self.0.lock().unwrap().take();
        connection.ok_or_else(|| io::Error::other("lost"))
    }
}

type Establishing<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl UnderlyingIo<Once<DuplexStream>> for DuplexStream {
    fn establish(once: Once<DuplexStream>) -> Establishing<Self> {
        Box::pin(once.take())
    }
}

impl UnderlyingIo<Once<TcpStream>> for TcpStream {
    fn establish(once: Once<TcpStream>) -> Establishing<Self> {
        Box::pin(once.take())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Two connected sockets, with buffers that do not grow during the measurement.
async fn tcp() -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4 * BULK as u32).unwrap();
        socket.set_recv_buffer_size(4 * BULK as u32).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    };
    let listener = socket();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(socket().connect(address), listener.accept());
    let (theirs, _) = theirs.unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours.unwrap(), theirs)
}

/// Runs the given number of rounds, and returns how long they took.
type Rounds<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// Rounds over one lasting connection.
fn rounds<'a, T: 'a>(
    runtime: &'a Runtime,
    mut io: T,
    mut round: impl AsyncFnMut(&mut T, u64) + 'a,
) -> Rounds<'a> {
    Box::new(move |count| {
        runtime.block_on(async {
            let began = Instant::now();
            round(&mut io, count).await;
            began.elapsed()
        })
    })
}

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(4);

/// Measures `variants` in turns of `turn` rounds. The first variant is bare.
fn in_turns(group: &str, turn: u64, mut variants: Vec<(&str, Rounds<'_>)>) {
    let mut times = vec![Vec::new(); variants.len()];
    let began = Instant::now();
    for lead in 0.. {
        let elapsed = began.elapsed();
        if elapsed > WARM_UP + MEASURED {
            break;
        }
        // Each variant goes first equally often.
        for place in 0..variants.len() {
            let index = (lead + place) % variants.len();
            let took = (variants[index].1)(turn).as_nanos() as u64;
            if elapsed > WARM_UP {
                times[index].push(took);
            }
        }
    }
    for ((name, _), took) in variants.iter().zip(&times) {
        let ratios = took.iter().zip(&times[0]);
        let ratio = median(ratios.map(|(ours, bare)| *ours as f64 / *bare as f64));
        let each = median(took.iter().map(|took| *took as f64 / turn as f64));
        println!("{group}: {name:12} {each:8.1} ns, {ratio:.4} of bare");
        leave(group, name, turn, took);
    }
}

fn leave(group: &str, name: &str, turn: u64, times: &[u64]) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let place = target.join("criterion").join(group).join(name).join("new");
    fs::create_dir_all(&place).unwrap();
    let benchmark = json!({ "group_id": group, "function_id": name });
    fs::write(place.join("benchmark.json"), benchmark.to_string()).unwrap();
    let sample = json!({ "iters": vec![turn; times.len()], "times": times });
    fs::write(place.join("sample.json"), sample.to_string()).unwrap();
}

/// Measures a bare connection, `RedialIo`, the same with an idle timeout, and stubborn-io. Each uses a new pair from
/// `pair`, and `theirs` runs the other side of the pair.
macro_rules! three_ways {
    ($connection:ty, $group:expr, $runtime:expr, $turn:expr, $pair:expr, $theirs:expr, $round:expr) => {{
        let runtime = $runtime;
        let pair = || {
            runtime.block_on(async {
                let (ours, theirs) = $pair.await;
                (ours, $theirs(theirs))
            })
        };
        let bare = pair();
        let (ours, theirs) = pair();
        let redial = (Redial::new(once(ours)).into_io(), theirs);
        let (ours, theirs) = pair();
        let watched = Redial::new(once(ours)).into_io().idle_timeout(LIMIT);
        let watched = (watched, theirs);
        let (ours, theirs) = pair();
        let stubborn = runtime.block_on(StubbornIo::<$connection, _>::connect(Once::new(ours)));
        let stubborn = (stubborn.unwrap(), theirs);
        let variants = vec![
            ("limit", rounds(runtime, bare, $round)),
            ("redial", rounds(runtime, redial, $round)),
            ("watched", rounds(runtime, watched, $round)),
            ("stubborn-io", rounds(runtime, stubborn, $round)),
        ];
        in_turns($group, $turn, variants);
    }};
}

fn small(runtime: &Runtime) {
    let spawned = |theirs| drop(tokio::spawn(echo(theirs)));
    three_ways!(
        DuplexStream,
        "64 B echo over a duplex",
        runtime,
        200,
        async { duplex(BULK) },
        spawned,
        echoes
    );
    let spawned = |theirs| drop(tokio::spawn(echo(theirs)));
    three_ways!(
        TcpStream,
        "64 B echo over TCP",
        runtime,
        10,
        tcp(),
        spawned,
        echoes
    );
}

fn large(runtime: &Runtime) {
    three_ways!(
        DuplexStream,
        "64 KiB over a duplex",
        runtime,
        BULK_TURN,
        async { duplex(BULK) },
        |theirs| theirs,
        bulk
    );
    three_ways!(
        TcpStream,
        "64 KiB over TCP",
        runtime,
        BULK_TURN,
        tcp(),
        |theirs| theirs,
        bulk
    );
}

/// Sends a line there and back. Each variant uses a new pair.
fn items<T>(group: &str, runtime: &Runtime, turn: u64, mut pair: impl AsyncFnMut() -> (T, T))
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    const LINE: &str = "PRIVMSG #rust :hello";

    let mut lines = || {
        runtime.block_on(async {
            let (ours, theirs) = pair().await;
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(theirs);
                tokio::io::copy(&mut reader, &mut writer).await
            });
            Framed::new(ours, LinesCodec::new())
        })
    };

    let mut wrapped = |is_kept_alive: bool| {
        let mut connection = Some(lines());
        let connect = move || {
            let connection = connection.take().ok_or(io::Error::other("lost"));
            ready(connection.map_err(LinesCodecError::from))
        };
        let mut session = Redial::new(connect).into_session();
        if is_kept_alive {
            session = session.keep_alive(Liveness::new(), || String::from("PING"));
        }
        let up = runtime.block_on(session.next());
        assert!(matches!(up, Some(Ok(SessionEvent::Up))));
        rounds(runtime, session, async |session, count| {
            for _ in 0..count {
                session.send(LINE).await.unwrap();
                let event = session.next().await.unwrap().unwrap();
                assert!(matches!(event, SessionEvent::Item(_)));
            }
        })
    };
    let (redial, kept_alive) = (wrapped(false), wrapped(true));
    let bare = rounds(runtime, lines(), async |lines, count| {
        for _ in 0..count {
            lines.send(LINE).await.unwrap();
            lines.next().await.unwrap().unwrap();
        }
    });
    let variants = vec![
        ("limit", bare),
        ("redial", redial),
        ("kept alive", kept_alive),
    ];
    in_turns(group, turn, variants);
}

fn main() {
    let runtime = &runtime();
    items("line over a duplex", runtime, 100, async || duplex(BULK));
    items("line over TCP", runtime, 10, tcp);
    small(runtime);
    large(runtime);
}
