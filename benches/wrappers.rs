//! What do `Session` and `RedialIo` cost, beside the bare connection?

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use futures::{SinkExt, StreamExt};
use redial::{Connect, Redial, SessionEvent};
use stubborn_io::tokio::{StubbornIo, UnderlyingIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const SMALL: usize = 64;
const BULK: usize = 64 * 1024;

// ---- the other side, a task on the same thread

async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; SMALL];
    while io.read_exact(&mut buffer).await.is_ok() {
        if io.write_all(&buffer).await.is_err() {
            return;
        }
    }
}

async fn swallow(mut io: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; BULK];
    while io.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

// ---- this side

async fn echoes(io: &mut (impl AsyncRead + AsyncWrite + Unpin), count: u64) {
    let mut buffer = [7; SMALL];
    for _ in 0..count {
        io.write_all(&buffer).await.unwrap();
        io.read_exact(&mut buffer).await.unwrap();
    }
}

async fn bulk(io: &mut (impl AsyncWrite + Unpin), count: u64) {
    let buffer = vec![7; BULK];
    for _ in 0..count {
        io.write_all(&buffer).await.unwrap();
    }
}

/// A connector that has one connection.
fn once<T>(connection: T) -> impl Connect<Connection = T, Error = io::Error> {
    let mut connection = Some(connection);
    move || ready(connection.take().ok_or_else(|| io::Error::other("lost")))
}

/// What stubborn-io makes its one connection from.
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

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
    ours.set_nodelay(true).unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// Measures so many rounds over one connection that stays.
fn rounds<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    runtime: &Runtime,
    mut io: T,
    mut round: impl AsyncFnMut(&mut T, u64),
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let began = Instant::now();
                round(&mut io, count).await;
                began.elapsed()
            })
        });
    });
}

/// Bare, in `RedialIo` and in stubborn-io, each over a new pair from `pair`.
macro_rules! three_ways {
    ($connection:ty, $group:expr, $runtime:expr, $pair:expr, $theirs:expr, $round:expr) => {{
        let (group, runtime) = ($group, $runtime);
        let pair = || {
            runtime.block_on(async {
                let (ours, theirs) = $pair.await;
                tokio::spawn($theirs(theirs));
                ours
            })
        };
        rounds(group, "limit", runtime, pair(), $round);
        let io = Redial::new(once(pair())).into_io();
        rounds(group, "redial", runtime, io, $round);
        let io = runtime.block_on(StubbornIo::<$connection, _>::connect(Once::new(pair())));
        rounds(group, "stubborn-io", runtime, io.unwrap(), $round);
    }};
}

fn small(c: &mut Criterion) {
    let runtime = &runtime();
    let mut group = c.benchmark_group("64 B echo over a duplex");
    let pair = async || duplex(BULK);
    three_ways!(DuplexStream, &mut group, runtime, pair(), echo, echoes);
    group.finish();
    let mut group = c.benchmark_group("64 B echo over TCP");
    three_ways!(TcpStream, &mut group, runtime, tcp(), echo, echoes);
    group.finish();
}

fn large(c: &mut Criterion) {
    let runtime = &runtime();
    let mut group = c.benchmark_group("64 KiB over a duplex");
    group.throughput(Throughput::Bytes(BULK as u64));
    let pair = async || duplex(BULK);
    three_ways!(DuplexStream, &mut group, runtime, pair(), swallow, bulk);
    group.finish();
    let mut group = c.benchmark_group("64 KiB over TCP");
    group.throughput(Throughput::Bytes(BULK as u64));
    three_ways!(TcpStream, &mut group, runtime, tcp(), swallow, bulk);
    group.finish();
}

/// A line there and back.
fn items(c: &mut Criterion) {
    type Lines = Framed<DuplexStream, LinesCodec>;

    async fn bare(lines: &mut Lines, count: u64) {
        for _ in 0..count {
            lines.send("PRIVMSG #rust :hello").await.unwrap();
            lines.next().await.unwrap().unwrap();
        }
    }

    let runtime = runtime();
    let mut group = c.benchmark_group("line there and back");
    let pair = || -> Lines {
        let (ours, mut theirs) = duplex(BULK);
        runtime.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(&mut theirs);
            tokio::io::copy(&mut reader, &mut writer).await
        });
        Framed::new(ours, LinesCodec::new())
    };
    rounds(&mut group, "limit", &runtime, pair(), bare);

    let mut connection = Some(pair());
    let connect = move || {
        let connection = connection.take().ok_or(io::Error::other("lost"));
        ready(connection.map_err(LinesCodecError::from))
    };
    let mut session = Redial::new(connect).into_session();
    let up = runtime.block_on(session.next());
    assert!(matches!(up, Some(Ok(SessionEvent::Up))));
    rounds(
        &mut group,
        "redial",
        &runtime,
        session,
        async |session, count| {
            for _ in 0..count {
                session.send("PRIVMSG #rust :hello").await.unwrap();
                let event = session.next().await.unwrap().unwrap();
                assert!(matches!(event, SessionEvent::Item(_)));
            }
        },
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = items, small, large
}
criterion_main!(benches);
