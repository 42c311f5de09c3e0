//! Do eight processes stay within one bucket on a real server, whatever happens to it?
//!
//! Each process is this test binary, started again to run `worker` alone.

#[path = "../../tests/mirror/mod.rs"]
mod mirror;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mirror::excess;
use redial::budget::{Call, Store, StoreError};
use redial::{Budget, SharedBudget, Source};
use redial_redis::RedisStore;
use server::Server;

const PROCESSES: u32 = 8;
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// What each client of a process does.
#[derive(Clone, Copy)]
struct Load {
    burst: u32,
    period: Duration,
    /// How many clients each process has. A client asks as soon as its token is due.
    clients: u32,
    length: Duration,
}

/// Microseconds since 1970: by the clock that a server on this machine reads, too.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_micros() as i64
}

// ---- in a process of the fleet

/// A store that notes the tokens that the server grants, by the server's clock.
#[derive(Clone)]
struct Noted {
    store: RedisStore,
    log: Arc<Mutex<String>>,
}

impl Store for Noted {
    async fn run(&self, call: &Call) -> Result<[i64; 3], StoreError> {
        let answer = self.store.run(call).await?;
        let ([period, _, count, ..], [granted, now, wait]) = (call.arguments(), answer);
        let mut log = self.log.lock().unwrap();
        for place in 0..count * granted {
            writeln!(log, "granted {}", now + (wait + place * period).max(0)).unwrap();
        }
        Ok(answer)
    }
}

#[test]
#[ignore = "a process of the fleet: the other tests start it"]
fn worker() {
    let settings = std::env::var("REDIAL_WORKER").expect("the other tests start it");
    let mut settings = settings.split(' ');
    let mut next = || settings.next().unwrap().parse::<u64>().unwrap();
    let load = Load {
        burst: next() as u32,
        period: Duration::from_micros(next()),
        clients: next() as u32,
        length: Duration::from_millis(next()),
    };
    let paths = std::env::var("REDIAL_PATHS").unwrap();
    let (port, log) = paths.split_once(' ').unwrap();
    let lines = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work(load, port.into()));
    std::fs::write(log, lines).unwrap();
}

async fn work(load: Load, port: PathBuf) -> String {
    let log = Arc::new(Mutex::new(String::new()));
    // As behind a name: whoever is the master now.
    let store = RedisStore::connecting(move || {
        let port = std::fs::read_to_string(&port).unwrap();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        async move {
            let config = redis::AsyncConnectionConfig::new()
                .set_connection_timeout(Some(200 * MILLI))
                .set_response_timeout(Some(200 * MILLI));
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        }
    });
    let store = Noted {
        store,
        log: log.clone(),
    };
    let events = log.clone();
    let budget = SharedBudget::new(store, "x", load.burst, load.period)
        .share(PROCESSES)
        .observe(move |event| writeln!(events.lock().unwrap(), "event {event:?}").unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..load.clients {
        let (budget, log) = (budget.clone(), log.clone());
        tasks.spawn(async move {
            tokio::time::sleep(client * MILLI).await;
            loop {
                let asked = Instant::now();
                let token = budget.reserve().await;
                let took = asked.elapsed().as_micros();
                let wait = token.due().map_or(Duration::ZERO, |due| due.remaining());
                let source = match token.source() {
                    Source::Shared => "shared",
                    _ => "local",
                };
                let due = now() + wait.as_micros() as i64;
                writeln!(log.lock().unwrap(), "{source} {due} {took}").unwrap();
                tokio::time::sleep(wait).await;
            }
        });
    }
    // How late this process is because the machine is busy.
    tasks.spawn({
        let log = log.clone();
        async move {
            loop {
                let asked = Instant::now();
                tokio::time::sleep(5 * MILLI).await;
                let late = (asked.elapsed() - 5 * MILLI).as_micros();
                writeln!(log.lock().unwrap(), "late {late} 0").unwrap();
            }
        }
    });
    tokio::time::sleep(load.length).await;
    tasks.shutdown().await;
    std::mem::take(&mut *log.lock().unwrap())
}

// ---- in the test

/// What came of a run. Times are in microseconds.
#[derive(Default)]
struct Seen {
    /// Tokens that the server granted, in each process.
    granted: Vec<Vec<i64>>,
    /// Tokens that a client got, and when they were due.
    used: Vec<i64>,
    local: usize,
    slowest: i64,
    late: i64,
    events: Vec<String>,
}

impl Seen {
    fn count(&self, event: &str) -> usize {
        let is_it = |it: &&String| it.starts_with(event);
        self.events.iter().filter(is_it).count()
    }
}

struct Fleet {
    dir: PathBuf,
    processes: Vec<Child>,
}

impl Fleet {
    fn start(load: Load, server: &Server) -> Self {
        let dir = std::env::temp_dir().join(format!("redial-fleet-{}", server.port));
        std::fs::create_dir_all(&dir).unwrap();
        let mut fleet = Self {
            dir,
            processes: Vec::new(),
        };
        fleet.use_server(server);
        for process in 0..PROCESSES {
            let (micros, millis) = (load.period.as_micros(), load.length.as_millis());
            let settings = format!("{} {micros} {} {millis}", load.burst, load.clients);
            let log = fleet.dir.join(process.to_string());
            let paths = format!("{} {}", fleet.port_file().display(), log.display());
            let process = Command::new(std::env::current_exe().unwrap())
                .args(["worker", "--exact", "--ignored"])
                .env("REDIAL_WORKER", settings)
                .env("REDIAL_PATHS", paths)
                .stdout(Stdio::null())
                .spawn();
            fleet.processes.push(process.unwrap());
        }
        fleet
    }

    fn port_file(&self) -> PathBuf {
        self.dir.join("port")
    }

    /// All new connections go to this server.
    fn use_server(&self, server: &Server) {
        std::fs::write(self.port_file(), server.port.to_string()).unwrap();
    }

    fn end(mut self) -> Seen {
        let mut seen = Seen::default();
        for (place, mut process) in self.processes.drain(..).enumerate() {
            assert!(process.wait().unwrap().success());
            read(&self.dir.join(place.to_string()), &mut seen);
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        seen
    }
}

fn read(log: &Path, seen: &mut Seen) {
    let mut granted = Vec::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "event" {
            seen.events.push(rest.to_owned());
            continue;
        }
        let mut numbers = rest.split(' ').map(|number| number.parse::<i64>().unwrap());
        let first = numbers.next().unwrap();
        match kind {
            "granted" => granted.push(first),
            "late" => seen.late = seen.late.max(first),
            _ => {
                seen.used.push(first);
                seen.local += usize::from(kind == "local");
                seen.slowest = seen.slowest.max(numbers.next().unwrap());
            }
        }
    }
    seen.granted.push(granted);
}

/// A bucket that is full.
fn fill(server: &Server) {
    let now = now();
    let mut connection = server.connect().unwrap();
    let state = format!("{now} {now}");
    redis::cmd("SET")
        .arg("redial:{x}")
        .arg(state)
        .exec(&mut connection)
        .unwrap();
}

/// Runs the load, and `happens` to the server after two seconds.
fn run(load: Load, happens: impl FnOnce(&mut Server, &Fleet)) -> Seen {
    let mut server = Server::start();
    fill(&server);
    let fleet = Fleet::start(load, &server);
    thread::sleep(2 * SECOND);
    happens(&mut server, &fleet);
    fleet.end()
}

/// So many tokens are earned in this time.
fn earned(load: Load, time: Duration) -> i64 {
    time.as_micros().div_ceil(load.period.as_micros()) as i64
}

// ---- a server that is well

#[test]
fn eight_processes_use_one_bucket_and_no_more() {
    for load in [
        // Always asking.
        Load {
            burst: 50,
            period: MILLI,
            clients: 16,
            length: 8 * SECOND,
        },
        // A bucket of few tokens, which are rare.
        Load {
            burst: 3,
            period: 50 * MILLI,
            clients: 2,
            length: 8 * SECOND,
        },
    ] {
        let seen = run(load, |_, _| {});
        let granted: Vec<_> = seen.granted.concat();
        let most = excess(
            granted.iter().copied(),
            load.burst,
            load.period.as_micros() as i64,
        );
        let (first, last) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
        let span = Duration::from_micros((last - first) as u64);
        let all = i64::from(load.burst) + earned(load, span);
        let use_of_it = granted.len() as f64 / all as f64;
        let counts = || seen.granted.iter().map(Vec::len);
        let (idlest, busiest) = (counts().min().unwrap(), counts().max().unwrap());
        println!(
            "{} tokens in {span:?}: excess {most}, use {use_of_it:.4}, a process {idlest} to \
             {busiest}, slowest {} us, late {} us",
            granted.len(),
            seen.slowest,
            seen.late,
        );
        assert!(most <= 0, "{most} tokens too many");
        assert!(use_of_it >= 0.99, "{use_of_it}");
        // A process may miss a turn of its clients at each end.
        let turn = 2 * load.clients as usize;
        assert!(
            100 * busiest <= 115 * idlest + 100 * turn,
            "{idlest}..{busiest}"
        );
        assert_eq!((seen.local, seen.events.len()), (0, 0), "{:?}", seen.events);
    }
}

// ---- faults

/// 800 clients, and a queue of 3.5 s.
const QUEUE: Load = Load {
    burst: 100,
    period: Duration::from_millis(5),
    clients: 100,
    length: Duration::from_secs(7),
};

/// So much of the queue is not remembered: the longest way to the server.
const MARGIN: Duration = Duration::from_millis(201);
/// A process with somebody waiting asks so often. What others took since its last answer
/// is not in its memory.
const REFRESH: Duration = Duration::from_millis(250);
/// How long the answer was away that a process remembers: it asks each 250 ms, and leaves
/// the server alone for 250 ms after the first error.
const SINCE_REFRESH: Duration = Duration::from_millis(500);

/// There were at most so many tokens too many, and each decision took at most 210 ms.
/// Both hold but for the time that the machine itself was late.
fn holds(name: &str, seen: &Seen, of_the_server: Duration, of_all: Duration) {
    let period = QUEUE.period.as_micros() as i64;
    let granted = excess(seen.granted.concat(), QUEUE.burst, period);
    let all = excess(seen.used.iter().copied(), QUEUE.burst, period);
    println!(
        "{name}: excess {granted} / {all}, {} local of {}, slowest {} us, late {} us, events {:?}",
        seen.local,
        seen.used.len(),
        seen.slowest,
        seen.late,
        ["Away", "Back", "Forgot", "ClockMoved"].map(|event| seen.count(event)),
    );
    let late = Duration::from_micros(seen.late as u64);
    let limit = earned(QUEUE, of_the_server + late);
    assert!(
        granted <= limit,
        "{name}: {granted} of the server, of {limit}"
    );
    let limit = earned(QUEUE, of_all + 2 * late);
    assert!(all <= limit, "{name}: {all} with local ones, of {limit}");
    assert!(
        seen.slowest <= 210_000 + 2 * seen.late,
        "{name}: {} us",
        seen.slowest
    );
    assert_eq!(seen.count("Away"), seen.count("Back"), "{name}");
}

#[test]
fn a_server_that_is_killed_or_loses_its_data_is_told_the_queue() {
    let seen = run(QUEUE, |server, _| server.tell("FLUSHALL"));
    let lost = MARGIN + REFRESH;
    holds("flushed", &seen, lost, lost);
    assert_eq!(seen.local, 0);

    let seen = run(QUEUE, |server, _| {
        server.kill();
        server.start_again();
    });
    let lost = MARGIN + SINCE_REFRESH;
    holds("killed, back at once", &seen, lost, lost + SINCE_REFRESH);

    let seen = run(QUEUE, |server, _| {
        server.kill();
        thread::sleep(2 * SECOND);
        server.start_again();
    });
    holds("killed for 2 s", &seen, lost, lost + SINCE_REFRESH);
    assert_eq!(seen.count("Away"), PROCESSES as usize);
}

#[test]
fn a_server_that_stands_still_is_replaced_by_each_share() {
    let (none, shares) = (Duration::ZERO, MARGIN + SINCE_REFRESH);
    let seen = run(QUEUE, |server, _| {
        server.signal("STOP");
        thread::sleep(2 * SECOND);
        server.signal("CONT");
    });
    holds("stopped for 2 s", &seen, none, shares);
    let seen = run(QUEUE, |server, _| {
        server.signal("STOP");
        thread::sleep(SECOND / 2);
        server.signal("CONT");
    });
    holds("stopped for 0.5 s", &seen, none, shares);
    let seen = run(QUEUE, |server, _| server.tell("CLIENT PAUSE 2000 ALL"));
    holds("paused for 2 s", &seen, none, shares);
    assert_eq!(seen.count("Away"), PROCESSES as usize);
}

#[test]
fn a_server_that_refuses_is_replaced_by_each_share() {
    let (none, shares) = (Duration::ZERO, SINCE_REFRESH);
    let seen = run(QUEUE, |server, _| {
        server.tell("CONFIG SET maxmemory 1");
        thread::sleep(2 * SECOND);
        server.tell("CONFIG SET maxmemory 0");
    });
    holds("out of memory for 2 s", &seen, none, shares);
    assert_eq!(seen.count("Away"), PROCESSES as usize);

    let seen = run(QUEUE, |server, _| {
        server.tell("REPLICAOF 127.0.0.1 1");
        thread::sleep(2 * SECOND);
        server.tell("REPLICAOF NO ONE");
    });
    holds("a replica for 2 s", &seen, none, shares);
    assert_eq!(seen.count("Away"), PROCESSES as usize);

    let seen = run(QUEUE, |server, _| {
        server.tell("DEL redial:{x}");
        // Somebody may be faster.
        server.tell("EVAL redis.call('DEL',KEYS[1]);redis.call('LPUSH',KEYS[1],1) 1 redial:{x}");
        thread::sleep(2 * SECOND);
        server.tell("DEL redial:{x}");
    });
    let lost = MARGIN + SINCE_REFRESH;
    holds("a wrong type for 2 s", &seen, lost, lost + SINCE_REFRESH);
    assert_eq!(seen.count("Away"), PROCESSES as usize);
}

#[test]
fn a_script_or_a_connection_that_is_lost_is_not_noticed() {
    let seen = run(QUEUE, |server, _| {
        for _ in 0..3 {
            server.tell("SCRIPT FLUSH");
            thread::sleep(SECOND / 2);
        }
    });
    holds(
        "scripts flushed thrice",
        &seen,
        Duration::ZERO,
        Duration::ZERO,
    );
    assert_eq!((seen.local, seen.events.len()), (0, 0), "{:?}", seen.events);

    let seen = run(QUEUE, |server, _| {
        for _ in 0..3 {
            server.tell("CLIENT KILL TYPE normal");
            thread::sleep(SECOND / 2);
        }
    });
    holds(
        "connections killed thrice",
        &seen,
        Duration::ZERO,
        Duration::ZERO,
    );
    assert_eq!((seen.local, seen.events.len()), (0, 0), "{:?}", seen.events);
}

#[test]
fn a_replica_that_lags_by_a_second_is_told_the_queue() {
    let replica = Server::start();
    let seen = run(QUEUE, |master, fleet| {
        master.tell("CONFIG SET repl-diskless-sync-delay 0");
        replica.tell(&format!("REPLICAOF 127.0.0.1 {}", master.port));
        while !replica
            .ask::<String>("INFO replication")
            .contains("link_status:up")
        {
            thread::sleep(5 * MILLI);
        }
        replica.tell("REPLICAOF NO ONE");
        thread::sleep(SECOND);
        fleet.use_server(&replica);
        master.kill();
    });
    let lost = MARGIN + SINCE_REFRESH;
    holds(
        "failover, a second behind",
        &seen,
        lost,
        lost + SINCE_REFRESH,
    );
}
