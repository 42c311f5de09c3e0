//! What a reservation costs, beside a limiter of `INCRBY` and `EXPIRE` in the same run.
//!
//! ```sh
//! redis-server --port 6399 --save '' &
//! cargo run --release --package redial-redis --example figures -- redis://127.0.0.1:6399
//! ```
//!
//! A limiter that counts refuses who comes too late, and says nothing of when to come
//! again. It is the least that a limiter on Redis does.
//!
//! The processor time of the server is what a busy machine changes least.

use std::time::{Duration, Instant};

use redial::budget::{Call, Store};
use redial::{Budget, SharedBudget, Source};
use redial_redis::RedisStore;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

/// How long each line is measured, after a tenth of that to warm up.
const LENGTH: Duration = Duration::from_secs(3);
const MICRO: Duration = Duration::from_micros(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> redis::RedisResult<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let client = redis::Client::open(address)?;
    let connection = client.get_multiplexed_async_connection().await?;
    let server = Server(client.clone());
    // On a busy machine an answer may take longer than a budget waits for it.
    let store = RedisStore::connecting(move || {
        let client = client.clone();
        async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(LENGTH))
                .set_response_timeout(Some(LENGTH));
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        }
    });
    let call = Call::new("figures", 1000, MICRO);

    for tasks in [1, 128] {
        let naive = {
            let connection = connection.clone();
            measure(&server, tasks, 1, move || count(connection.clone())).await
        };
        let one = {
            let (store, call) = (store.clone(), call.clone());
            measure(&server, tasks, 1, move || {
                reserve(store.clone(), call.clone())
            })
            .await
        };
        let eight = {
            let (store, call) = (store.clone(), call.clone().count(8));
            measure(&server, tasks, 8, move || {
                reserve(store.clone(), call.clone())
            })
            .await
        };
        let budget = SharedBudget::new(store.clone(), "figures", 1000, MICRO)
            .share(1)
            .bound(LENGTH);
        let shared = measure(&server, tasks, 1, move || {
            let question = budget.reserve();
            async { assert_eq!(question.await.source(), Source::Shared) }
        })
        .await;
        println!("{tasks} in flight");
        naive.print("INCRBY + EXPIRE", &naive);
        one.print("the script", &naive);
        eight.print("the script, 8 tokens", &naive);
        shared.print("SharedBudget", &naive);
    }
    Ok(())
}

async fn reserve(store: RedisStore, call: Call) {
    store.run(&call).await.expect("the server answers");
}

/// A limiter of one window.
async fn count(mut connection: MultiplexedConnection) {
    let answer: redis::RedisResult<(i64, i64)> = redis::pipe()
        .cmd("INCRBY")
        .arg("figures:window")
        .arg(1)
        .cmd("EXPIRE")
        .arg("figures:window")
        .arg(60)
        .query_async(&mut connection)
        .await;
    answer.expect("the server answers");
}

/// The server that is measured.
struct Server(redis::Client);

impl Server {
    /// The processor time that it has used.
    fn busy(&self) -> redis::RedisResult<Duration> {
        let mut connection = self.0.get_connection()?;
        let info: String = redis::cmd("INFO").arg("cpu").query(&mut connection)?;
        let seconds = info.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_it = name == "used_cpu_sys" || name == "used_cpu_user";
            value.trim().parse::<f64>().ok().filter(|_| is_it)
        });
        Ok(Duration::from_secs_f64(seconds.sum()))
    }
}

struct Figures {
    per_second: f64,
    /// The processor time of the server, for one token.
    busy: Duration,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn print(&self, name: &str, naive: &Self) {
        let times = |mine: Duration, other: Duration| mine.as_secs_f64() / other.as_secs_f64();
        println!(
            "  {name:22} {:8.0} tokens/s ({:.2} x)   server {:6.2?} a token ({:.2} x)   \
             p50 {:7.0?} ({:.2} x)   p99 {:7.0?} ({:.2} x)",
            self.per_second,
            self.per_second / naive.per_second,
            self.busy,
            times(self.busy, naive.busy),
            self.p50,
            times(self.p50, naive.p50),
            self.p99,
            times(self.p99, naive.p99),
        );
    }
}

/// Asks from so many tasks, each again as soon as it has its answer.
async fn measure<F>(
    server: &Server,
    tasks: usize,
    tokens: usize,
    ask: impl Fn() -> F + Clone + 'static,
) -> Figures
where
    F: Future<Output = ()>,
{
    let busy = server.busy().expect("it answers");
    let local = tokio::task::LocalSet::new();
    let began = Instant::now() + LENGTH / 10;
    let asking: Vec<_> = (0..tasks)
        .map(|_| {
            let ask = ask.clone();
            local.spawn_local(async move {
                let (mut took, mut all) = (Vec::new(), 0);
                while began.elapsed() < LENGTH {
                    let asked = Instant::now();
                    ask().await;
                    all += 1;
                    if asked >= began {
                        took.push(asked.elapsed());
                    }
                }
                (took, all)
            })
        })
        .collect();
    local.await;
    let busy = server.busy().expect("it answers") - busy;
    let (mut took, mut all) = (Vec::new(), 0);
    for task in asking {
        let (more, of) = task.await.expect("it has ended");
        took.extend(more);
        all += of;
    }
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 100];
    Figures {
        per_second: (took.len() * tokens) as f64 / LENGTH.as_secs_f64(),
        busy: busy / (all * tokens as u32),
        p50: at(50),
        p99: at(99),
    }
}
