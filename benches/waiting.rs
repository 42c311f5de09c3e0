//! What do 100 000 clients that wait in one runtime cost? Measures the memory of
//! each, the wake-ups and the busiest tick of the timer.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use backon::Retryable;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redial::{Exponential, Policy, Redial, Stratified};
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};

const CLIENTS: u32 = 100_000;
/// The number of waits before a client is connected.
const WAITS: u32 = 4;
const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);

/// The server's side: counts attempts.
type Server = Arc<AtomicU32>;

/// One client. It makes its own policy, as the clients of the peers do. Its first
/// connection is lost at once. After each wait it makes an attempt, and the last
/// attempt succeeds.
async fn redial<P: Policy>(server: Server, policy: impl Fn() -> P, seed: u64) {
    let mut made = 0;
    let mut redial = Redial::new(move || {
        server.fetch_add(1, Ordering::Relaxed);
        made += 1;
        ready(if made == 1 || made > WAITS {
            Ok(())
        } else {
            Err("refused")
        })
    })
    .policy(policy())
    .seed(seed);
    redial.connect().await.unwrap();
    redial.connect().await.unwrap();
}

/// Fails once for each wait.
fn failures(server: Server) -> impl FnMut() -> std::future::Ready<Result<(), &'static str>> {
    let mut connect = redial_benches::attempts(WAITS);
    move || {
        server.fetch_add(1, Ordering::Relaxed);
        ready(connect().into_inner().map(drop))
    }
}

async fn tokio_retry(server: Server) {
    let waits = tokio_retry::strategy::ExponentialBackoff::from_millis(2)
        .factor(500)
        .max_delay(CAP)
        .map(tokio_retry::strategy::jitter);
    let retry = tokio_retry::Retry::start(waits, failures(server));
    retry.await.unwrap();
}

async fn backon(server: Server) {
    let waits = backon::ExponentialBuilder::new()
        .with_jitter()
        .with_max_delay(CAP)
        .with_max_times(WAITS as usize);
    failures(server).retry(waits).await.unwrap();
}

/// A fleet in which every client waits.
struct Waiting {
    runtime: Runtime,
    clients: JoinSet<()>,
    /// The heap bytes of the fleet, including its tasks.
    bytes: i64,
}

fn fleet<F>(mut client: impl FnMut(Server, u32) -> F) -> Waiting
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let server = Server::default();
    let mut clients = JoinSet::new();
    let heap = measure(|| {
        runtime.block_on(async {
            for n in 0..CLIENTS {
                clients.spawn(client(server.clone(), n));
            }
            // The poll that makes the first attempt also starts the wait.
            while server.load(Ordering::Relaxed) < CLIENTS {
                yield_now().await;
            }
        });
    });
    Waiting {
        runtime,
        clients,
        bytes: heap.bytes_current,
    }
}

impl Waiting {
    /// Runs until all clients are connected. The paused clock skips the waits, so only
    /// the work takes time.
    fn run(mut self) -> Duration {
        let began = Instant::now();
        self.runtime.block_on(async {
            while let Some(client) = self.clients.join_next().await {
                client.unwrap();
            }
        });
        began.elapsed()
    }
}

fn stratified(server: Server, n: u32) -> impl Future<Output = ()> {
    redial(server, Stratified::default, n.into())
}

fn exponential(server: Server, n: u32) -> impl Future<Output = ()> {
    redial(server, || Exponential::new(BASE, CAP), n.into())
}

fn wake_ups(c: &mut Criterion) {
    let mut group = c.benchmark_group("wake-ups of 100 000 clients");
    group.throughput(Throughput::Elements((CLIENTS * WAITS).into()));
    group.sample_size(10);
    macro_rules! measure {
        ($name:literal, $client:expr) => {
            group.bench_function($name, |bencher| {
                bencher.iter_custom(|fleets| (0..fleets).map(|_| fleet($client).run()).sum());
            });
        };
    }
    measure!("redial", stratified);
    measure!("redial Exponential", exponential);
    measure!("tokio-retry", |server, _| tokio_retry(server));
    measure!("backon", |server, _| backon(server));
    group.finish();
}

fn memory() {
    let each = |fleet: Waiting| fleet.bytes / i64::from(CLIENTS);
    println!("heap of a waiting client, including its task:");
    println!("  redial             {} B", each(fleet(stratified)));
    println!("  redial Exponential {} B", each(fleet(exponential)));
    println!(
        "  tokio-retry        {} B",
        each(fleet(|s, _| tokio_retry(s)))
    );
    println!("  backon             {} B", each(fleet(|s, _| backon(s))));
}

/// Counts the first reconnects of a fleet by the tick of tokio's timer (1 ms) that
/// wakes them. All clients lose the server in one instant. No tick may exceed its
/// share of the first stratum by more than chance.
fn ticks() {
    let ticks: Arc<Vec<AtomicU32>> = Arc::new((0..=1_000).map(|_| AtomicU32::new(0)).collect());
    let began = tokio::time::Instant::now;
    let fleet = fleet(|server, n| {
        let ticks = ticks.clone();
        async move {
            let lost = began();
            let mut made = 0;
            let mut redial = Redial::new(move || {
                server.fetch_add(1, Ordering::Relaxed);
                made += 1;
                if made == 2 {
                    ticks[lost.elapsed().as_millis() as usize].fetch_add(1, Ordering::Relaxed);
                }
                ready(Ok::<_, &str>(()))
            })
            .seed(n.into());
            redial.connect().await.unwrap();
            redial.connect().await.unwrap();
        }
    });
    fleet.run();

    // The share of the first stratum before the time t, for a growth of 1.6.
    let before = |t: f64| (1.0 + 0.6 * t).ln() / 1.6_f64.ln();
    let mut busiest = (0, 0, 0.0);
    for (tick, count) in ticks.iter().enumerate().skip(1) {
        let count = count.load(Ordering::Relaxed);
        let share = before(tick as f64 / 1e3) - before((tick - 1) as f64 / 1e3);
        let mean = f64::from(CLIENTS) * share;
        // A Poisson variable exceeds its mean by 7 deviations with probability 1e-9.
        assert!(
            f64::from(count) < mean + 7.0 * mean.sqrt(),
            "tick {tick} woke {count} clients, but its share is {mean:.1}"
        );
        if count > busiest.1 {
            busiest = (tick, count, mean);
        }
    }
    let (tick, count, mean) = busiest;
    println!(
        "busiest of 1000 ticks: number {tick} woke {count} clients; its share is {mean:.0} +- {:.0}",
        mean.sqrt()
    );
}

fn waiting(c: &mut Criterion) {
    ticks();
    memory();
    wake_ups(c);
}

criterion_group!(benches, waiting);
criterion_main!(benches);
