//! The situations that dials have got wrong, on a network of fakes and a paused
//! clock.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::future::pending;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::sync::{Mutex, lock};
use crate::verdict::Verdict;

const ENETUNREACH: i32 = number(10_051, 101, 51);
const EADDRNOTAVAIL: i32 = number(10_049, 99, 49);

/// The number of an error on this system.
const fn number(windows: i32, linux: i32, apple: i32) -> i32 {
    if cfg!(windows) {
        windows
    } else if cfg!(target_vendor = "apple") {
        apple
    } else {
        linux
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// `6a` is an address of IPv6, and so on.
fn address(name: &str) -> SocketAddr {
    let text = match name.split_at(1) {
        ("6", name) => format!("[2001:db8::{name}]:80"),
        (_, name) => format!("192.0.2.{}:80", u32::from_str_radix(name, 16).unwrap()),
    };
    text.parse().unwrap()
}

fn addresses(names: &str) -> Vec<SocketAddr> {
    names.split(' ').map(address).collect()
}

/// What happens to an attempt, after some milliseconds.
#[derive(Clone, Copy)]
enum Fate {
    Hole,
    Refuses(u64),
    Fails(i32),
    Connects(u64),
}
use Fate::{Connects, Fails, Hole, Refuses};

/// A network of fakes. It knows which attempts began when, and how many attempts
/// and connections are there.
struct Net {
    fates: Vec<(SocketAddr, Fate)>,
    start: Instant,
    began: Mutex<Vec<(u64, SocketAddr)>>,
    sockets: Arc<()>,
}

/// Holds its socket.
#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    _socket: Arc<()>,
}

impl Net {
    fn new(fates: &[(&str, Fate)]) -> Self {
        Self {
            fates: fates
                .iter()
                .map(|(name, fate)| (address(name), *fate))
                .collect(),
            start: Instant::now(),
            began: Mutex::default(),
            sockets: Arc::new(()),
        }
    }

    /// A dial of all addresses, in this order.
    fn dial(&self) -> Dial {
        connect(
            self.fates
                .iter()
                .map(|(address, _)| *address)
                .collect::<Vec<_>>(),
        )
    }

    async fn attempt(&self, address: SocketAddr) -> io::Result<Connection> {
        lock(&self.began).push((self.now(), address));
        let socket = self.sockets.clone();
        let fate = self
            .fates
            .iter()
            .find(|(other, _)| *other == address)
            .unwrap()
            .1;
        match fate {
            Hole => pending().await,
            Fails(code) => Err(io::Error::from_raw_os_error(code)),
            Refuses(after) => {
                sleep(ms(after)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Connects(after) => {
                sleep(ms(after)).await;
                Ok(Connection {
                    address,
                    _socket: socket,
                })
            }
        }
    }

    /// A dial that starts now, whose times count from now.
    async fn run(&mut self, dial: &Dial) -> io::Result<Connection> {
        self.start = Instant::now();
        lock(&self.began).clear();
        dial.clone().run(|address| self.attempt(address)).await
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// When each attempt began.
    fn began(&self) -> Vec<(u64, SocketAddr)> {
        lock(&self.began).clone()
    }

    fn began_at(&self) -> Vec<u64> {
        self.began().iter().map(|(time, _)| *time).collect()
    }

    fn sockets(&self) -> usize {
        Arc::strong_count(&self.sockets) - 1
    }
}

fn schedule<const N: usize>(times: [(u64, &str); N]) -> Vec<(u64, SocketAddr)> {
    times.map(|(time, name)| (time, address(name))).into()
}

fn dial_error(error: &io::Error) -> &DialError {
    DialError::of(error).expect("each error of a dial has one")
}

fn is_down(error: &io::Error) -> bool {
    Verdict::from(error) == Verdict::default()
}

// ---- the race

#[tokio::test(start_paused = true)]
async fn four_addresses_of_two_families() {
    let mut net = Net::new(&[
        ("6a", Hole),
        ("6b", Refuses(10)),
        ("4a", Hole),
        ("4b", Connects(400)),
    ]);
    let dial = net.dial();
    let won = net.run(&dial).await.unwrap();
    assert_eq!(won.address, address("4b"));
    assert_eq!(
        net.began(),
        schedule([(0, "6a"), (250, "4a"), (500, "6b"), (510, "4b")])
    );
    assert_eq!(net.now(), 910);
    assert_eq!(net.sockets(), 1, "the others are gone");
    drop(won);

    // The second time, the address that worked comes first.
    let won = net.run(&dial).await.unwrap();
    assert_eq!((won.address, net.now()), (address("4b"), 400));
    assert_eq!(net.began_at(), [0, 250]);
}

#[tokio::test(start_paused = true)]
async fn four_addresses_without_a_route_for_ipv6() {
    let mut net = Net::new(&[
        ("6a", Fails(ENETUNREACH)),
        ("6b", Fails(ENETUNREACH)),
        ("4a", Hole),
        ("4b", Connects(400)),
    ]);
    net.run(&net.dial()).await.unwrap();
    // 6b is the third, and 4b starts when 6b fails.
    assert_eq!(
        net.began(),
        schedule([(0, "6a"), (0, "4a"), (250, "6b"), (250, "4b")])
    );
    assert_eq!((net.now(), net.sockets()), (650, 0));
}

#[tokio::test(start_paused = true)]
async fn a_new_attempt_never_ends_an_older_one() {
    let mut net = Net::new(&[("4a", Connects(2000)), ("4b", Connects(2000))]);
    let won = net.run(&net.dial()).await.unwrap();
    assert_eq!((won.address, net.now()), (address("4a"), 2000));
}

#[tokio::test(start_paused = true)]
async fn three_black_holes_cost_three_delays() {
    for family in ["4", "6"] {
        let names = ["a", "b", "c", "d"].map(|name| format!("{family}{name}"));
        let mut net = Net::new(&[
            (&names[0], Hole),
            (&names[1], Hole),
            (&names[2], Hole),
            (&names[3], Connects(30)),
        ]);
        net.run(&net.dial()).await.unwrap();
        assert_eq!(net.now(), 780);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_ipv6_costs_no_time() {
    let names: Vec<_> = (1..=10).map(|number| format!("6{number}")).collect();
    let mut fates: Vec<_> = names
        .iter()
        .map(|name| (&**name, Fails(ENETUNREACH)))
        .collect();
    fates.push(("4a", Connects(20)));
    fates.push(("4b", Connects(20)));
    let mut net = Net::new(&fates);
    net.run(&net.dial()).await.unwrap();
    assert_eq!(net.began()[1], (0, address("4a")));
    assert_eq!(net.now(), 20);

    // The same if all addresses of IPv6 come before the first of IPv4.
    let mut race = Net::new(&fates[..11]);
    race.start = Instant::now();
    let order = race.fates.iter().map(|(address, _)| *address).collect();
    let won = race::race(order, ms(12_000), |a| race.attempt(a), |_| {}).await;
    assert_eq!(won.unwrap().0, address("4a"));
    assert_eq!(race.now(), 20);
    assert_eq!(race.began().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn each_first_address_that_fails_hands_over() {
    for (fate, time) in [
        (Hole, 280),
        (Refuses(0), 30),
        (Refuses(70), 100),
        (Fails(ENETUNREACH), 30),
        (Fails(EADDRNOTAVAIL), 30),
    ] {
        let mut net = Net::new(&[("6a", fate), ("4a", Connects(30))]);
        net.run(&net.dial()).await.unwrap();
        // The clock of a timer counts milliseconds, and 0 ms is one of them.
        assert!(net.now() - time <= 1, "{} ms instead of {time}", net.now());
    }
}

#[tokio::test(start_paused = true)]
async fn each_address_has_five_seconds_from_its_own_start() {
    let mut net = Net::new(&[("4a", Hole), ("4b", Hole), ("4c", Hole)]);
    let error = net.run(&net.dial()).await.unwrap_err();
    assert_eq!(net.now(), 5500);
    assert_eq!(net.sockets(), 0);
    assert_eq!(
        error.to_string(),
        "cannot connect to 192.0.2.10:80, 192.0.2.11:80, 192.0.2.12:80: \
         192.0.2.10:80: no answer in 5s; 192.0.2.11:80: no answer in 5s; \
         192.0.2.12:80: no answer in 5s"
    );
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(is_down(&error), "a dropped packet cost the server nothing");

    let mut late = Net::new(&[("4a", Hole), ("4b", Connects(4990))]);
    late.run(&late.dial()).await.unwrap();
    assert_eq!(late.now(), 5240);
}

#[tokio::test(start_paused = true)]
async fn eight_addresses_take_less_time_than_the_driver_gives() {
    let names: Vec<_> = (1..=8).map(|number| format!("4{number}")).collect();
    let fates: Vec<_> = names.iter().map(|name| (&**name, Hole)).collect();
    let mut net = Net::new(&fates);
    net.run(&net.dial()).await.unwrap_err();
    assert_eq!(net.now(), 6750);
    let least = lookup::LIMIT + ms(net.now());
    assert!(least < Settings::new().dial_timeout);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_thirty_is_tried_to_its_end_with_eight_attempts_at_once() {
    let names: Vec<_> = (1..=30).map(|number| format!("4{number:x}")).collect();
    let mut fates: Vec<_> = names.iter().map(|name| (&**name, Hole)).collect();
    fates[29].1 = Connects(100);
    let mut net = Net::new(&fates);
    let sockets = net.sockets.clone();
    let most = AtomicU32::new(0);
    net.start = Instant::now();
    let won = net
        .dial()
        .run(|address| {
            // With the socket of the attempt that begins.
            let others = Arc::strong_count(&sockets) as u32 - 2;
            most.fetch_max(others + 1, SeqCst);
            net.attempt(address)
        })
        .await
        .unwrap();
    assert_eq!((won.address, net.now()), (address("41e"), 29 * 250 + 100));
    assert_eq!(most.load(SeqCst), 8);

    // If none works, each is named.
    fates[29].1 = Hole;
    let mut net = Net::new(&fates);
    let error = net.run(&net.dial()).await.unwrap_err();
    assert_eq!(dial_error(&error).attempts().len(), 30);
    assert_eq!(net.now(), 12_000, "the limit of a dial");
    assert_eq!(net.sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_short_limit_starts_the_first_address_of_each_family() {
    for (limit, second) in [(200, 100), (1000, 100), (3000, 142), (5250, 250)] {
        let mut net = Net::new(&[("6a", Hole), ("4a", Hole)]);
        let dial = net.dial().dial_timeout(ms(limit));
        let error = net.run(&dial).await.unwrap_err();
        let late = net.began()[1].0 - second;
        assert!(late <= 1, "{limit}: {late} ms late");
        assert_eq!(net.now(), limit);
        assert!(is_down(&error));
        assert_eq!(net.sockets(), 0);
    }
    // None starts when the time is up.
    let mut net = Net::new(&[("6a", Hole), ("4a", Hole), ("6b", Hole)]);
    let dial = net.dial().dial_timeout(ms(200));
    net.run(&dial).await.unwrap_err();
    assert_eq!(net.began_at(), [0, 100]);
}

#[tokio::test(start_paused = true)]
async fn two_that_are_ready_in_one_poll_make_one_connection() {
    let mut net = Net::new(&[("4a", Connects(350)), ("4b", Connects(100))]);
    for _ in 0..10_000 {
        let dial = net.dial();
        let won = net.run(&dial).await.unwrap();
        assert_eq!((won.address, net.now()), (address("4a"), 350));
        assert_eq!(net.sockets(), 1);
        drop(won);
        assert_eq!(net.sockets(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_dropped_leaves_nothing() {
    for end in (0..6000).step_by(50) {
        let mut net = Net::new(&[("6a", Hole), ("4a", Refuses(70)), ("6b", Hole)]);
        let names: Arc<[_]> = addresses("6a 4a 6b").into();
        let dial = connect("chat.example:80").resolve_with(move |_, _| {
            let names = names.clone();
            async move {
                sleep(ms(200)).await;
                Ok(names.to_vec())
            }
        });
        let _ = timeout(ms(end), net.run(&dial)).await;
        assert_eq!(net.sockets(), 0, "dropped after {end} ms");
    }
}

// ---- what is remembered

#[tokio::test(start_paused = true)]
async fn the_address_that_worked_is_forgotten_after_one_failure() {
    let mut net = Net::new(&[("4a", Hole), ("4b", Connects(20))]);
    let dial = net.dial();
    net.run(&dial).await.unwrap();
    assert_eq!(net.now(), 270);
    net.run(&dial.clone()).await.unwrap();
    assert_eq!(net.now(), 20, "a clone knows it");

    net.fates[1].1 = Refuses(10);
    net.run(&dial).await.unwrap_err();
    assert_eq!(net.began()[0].1, address("4b"));
    net.fates[1].1 = Connects(20);
    net.run(&dial).await.unwrap();
    assert_eq!(net.began()[0].1, address("4a"));

    dial.forget();
    net.run(&dial).await.unwrap();
    assert_eq!(net.began()[0].1, address("4a"), "the network has changed");
}

#[tokio::test(start_paused = true)]
async fn the_address_that_worked_is_forgotten_if_its_failing_attempt_is_not_the_last() {
    let mut net = Net::new(&[("4a", Connects(20)), ("4b", Connects(20))]);
    let dial = net.dial();
    net.run(&dial).await.unwrap();
    net.fates[0].1 = Refuses(10);
    // The dial is dropped after the failure.
    let _ = timeout(ms(15), net.run(&dial)).await;
    assert_eq!(dial.memory.address(), None);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_the_new_answer_lacks_is_not_tried() {
    let mut net = Net::new(&[("4a", Connects(20)), ("4b", Connects(20))]);
    let answers = Arc::new(Mutex::new(addresses("4b")));
    let answer = answers.clone();
    let dial = connect("chat.example:80").resolve_with(move |_, _| {
        let answer = lock(&answer).clone();
        async move { Ok(answer) }
    });
    net.run(&dial).await.unwrap();
    *lock(&answers) = addresses("4a");
    net.run(&dial).await.unwrap();
    assert_eq!(net.began(), schedule([(0, "4a")]));
}

// ---- errors

#[tokio::test(start_paused = true)]
async fn the_error_is_that_of_the_attempt_that_got_farthest() {
    use io::ErrorKind::{ConnectionRefused, NetworkUnreachable, TimedOut};
    for (first, second, kind) in [
        (Hole, Refuses(10), ConnectionRefused),
        (Refuses(10), Hole, ConnectionRefused),
        (Fails(ENETUNREACH), Refuses(10), ConnectionRefused),
        (Hole, Fails(ENETUNREACH), TimedOut),
        (Fails(ENETUNREACH), Fails(EADDRNOTAVAIL), NetworkUnreachable),
    ] {
        let mut net = Net::new(&[("6a", first), ("4a", second)]);
        let error = net.run(&net.dial()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let source = core::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), kind);
        let dial = dial_error(&error);
        assert_eq!(dial.attempts().len(), 2);
        assert!(!dial.is_lookup() && !dial.is_no_address());
        assert!(is_down(&error));
    }
}

#[tokio::test(start_paused = true)]
async fn no_code_of_a_local_failure_stops_a_client() {
    // Those of Windows begin at 10 000.
    for code in (1..134).chain(10_004..10_113) {
        let mut net = Net::new(&[("4a", Fails(code))]);
        let error = net.run(&net.dial()).await.unwrap_err();
        assert!(is_down(&error), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_has_an_error_of_its_own() {
    for answer in [Ok(vec![]), Err(io::ErrorKind::NotFound)] {
        let dial = connect("chat.example:80").resolve_with(move |_, _| {
            let answer = answer.clone();
            async move { Ok(answer?) }
        });
        let error = Net::new(&[]).run(&dial).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = "cannot connect to chat.example:80: no address found";
        assert_eq!(error.to_string(), text);
        let dial = dial_error(&error);
        assert!(dial.is_no_address() && !dial.is_lookup());
        assert!(is_down(&error), "the name may be there later");
    }
}

// ---- the look-up

/// A resolver that answers after a time which can be changed. It counts its calls.
struct Slow {
    calls: Arc<AtomicU32>,
    after: Arc<Mutex<Duration>>,
}

impl Slow {
    fn dial(after: Duration, answer: Result<&str, io::ErrorKind>) -> (Dial, Self) {
        let slow = Self {
            calls: Arc::default(),
            after: Arc::new(Mutex::new(after)),
        };
        let answer = answer.map(|names| match names {
            "" => Vec::new(),
            names => addresses(names),
        });
        let (calls, after) = (slow.calls.clone(), slow.after.clone());
        let dial = connect("chat.example:80").resolve_with(move |host, port| {
            assert_eq!((&*host, port), ("chat.example", 80));
            calls.fetch_add(1, SeqCst);
            let (after, answer) = (*lock(&after), answer.clone());
            async move {
                sleep(after).await;
                Ok(answer?)
            }
        });
        (dial, slow)
    }

    fn calls(&self) -> u32 {
        self.calls.load(SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_attempts_with_a_silent_resolver_make_one_look_up() {
    let (dial, slow) = Slow::dial(Duration::MAX, Ok("4a"));
    let mut net = Net::new(&[("4a", Connects(20))]);
    for _ in 0..50 {
        let error = net.run(&dial).await.unwrap_err();
        assert_eq!(net.now(), 5000);
        let text = "cannot connect to chat.example:80: look-up failed: no answer in 5s";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(dial_error(&error).is_lookup() && is_down(&error));
        // Dropped attempts, and those of a clone, join it too.
        assert!(timeout(ms(70), net.run(&dial.clone())).await.is_err());
    }
    assert_eq!(slow.calls(), 1);

    // Until the network changes.
    dial.forget();
    *lock(&slow.after) = ms(100);
    net.run(&dial).await.unwrap();
    assert_eq!((slow.calls(), net.now()), (2, 120));
}

#[tokio::test]
async fn the_look_ups_of_the_system_share_one_thread_for_a_name() {
    let lookups = lookup::LookUps::new();
    let threads = Arc::new(AtomicU32::new(0));
    let (answer, silent) = std::sync::mpsc::channel::<()>();
    let silent = Arc::new(Mutex::new(silent));
    for _ in 0..100 {
        let begin = || {
            let (threads, silent) = (threads.clone(), silent.clone());
            lookup::blocking(move || {
                threads.fetch_add(1, SeqCst);
                let _ = lock(&silent).recv();
                Ok(addresses("4a"))
            })
        };
        let find = lookups.find("chat.example", ms(1), begin);
        assert_eq!(find.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    // The thread's late answer is the next attempt's.
    drop(answer);
    let none = || unreachable!("one is running");
    let found = lookups.find("chat.example", ms(5000), none).await;
    assert_eq!(found.unwrap(), addresses("4a"));
    assert_eq!(threads.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_at_the_same_time_share_one_look_up() {
    let (dial, slow) = Slow::dial(ms(100), Ok("4a"));
    let net = Net::new(&[("4a", Connects(20))]);
    let dials = (0..10).map(|_| dial.clone().run(|address| net.attempt(address)));
    let won = futures::future::try_join_all(dials).await.unwrap();
    assert_eq!((won.len(), slow.calls(), net.now()), (10, 1, 120));
    // And none later: a name may move.
    dial.run(|address| net.attempt(address)).await.unwrap();
    assert_eq!(slow.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_serves_the_next_attempt_within_a_minute() {
    for (pause, calls) in [(60_500, 1), (62_000, 2)] {
        let (dial, slow) = Slow::dial(ms(6000), Ok("4a"));
        let mut net = Net::new(&[("4a", Connects(20))]);
        net.run(&dial).await.unwrap_err();
        *lock(&slow.after) = ms(0);
        sleep(ms(pause)).await;
        net.run(&dial).await.unwrap();
        assert_eq!(slow.calls(), calls, "after {pause} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_or_answer_of_another_network_serves_nobody() {
    for answer in [Err(io::ErrorKind::Other), Ok("4a")] {
        let (dial, slow) = Slow::dial(ms(6000), answer);
        let mut net = Net::new(&[("4a", Connects(20))]);
        net.run(&dial).await.unwrap_err();
        sleep(ms(2000)).await;
        dial.forget();
        let _ = net.run(&dial).await;
        assert_eq!(slow.calls(), 2);
    }
    for answer in [Err(io::ErrorKind::Other), Ok("")] {
        let (dial, slow) = Slow::dial(ms(6000), answer);
        let mut net = Net::new(&[]);
        net.run(&dial).await.unwrap_err();
        sleep(ms(2000)).await;
        let error = net.run(&dial).await.unwrap_err();
        assert_eq!((slow.calls(), net.now()), (2, 5000), "{error}");
    }
}

#[test]
fn a_look_up_whose_runtime_has_ended_is_begun_anew() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (dial, slow) = Slow::dial(ms(6000), Ok("4a"));
    let first = runtime();
    first.block_on(async {
        Net::new(&[]).run(&dial).await.unwrap_err();
    });
    drop(first);
    *lock(&slow.after) = ms(0);
    runtime().block_on(async {
        let mut net = Net::new(&[("4a", Connects(20))]);
        net.run(&dial).await.unwrap();
    });
    assert_eq!(slow.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_fails_or_panics_is_asked_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let dial = connect("chat.example:80").resolve_with(move |_, _| {
        let call = count.fetch_add(1, SeqCst);
        assert!(call != 0, "the first call panics, on purpose");
        async move {
            assert!(call != 1, "the second one panics later, on purpose");
            match call {
                2 => Err(io::ErrorKind::PermissionDenied.into()),
                _ => Ok(addresses("4a")),
            }
        }
    });
    let mut net = Net::new(&[("4a", Connects(20))]);
    for call in 0..3 {
        let error = net.run(&dial).await.unwrap_err();
        assert!(dial_error(&error).is_lookup());
        assert!(is_down(&error), "{error}");
        assert_eq!(error.to_string().contains("panicked"), call < 2, "{error}");
    }
    net.run(&dial).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_up_counts_towards_the_limit_of_the_dial() {
    let (dial, _) = Slow::dial(ms(900), Ok("4a"));
    let mut net = Net::new(&[("4a", Hole)]);
    let error = net
        .run(&dial.clone().dial_timeout(ms(500)))
        .await
        .unwrap_err();
    assert!(dial_error(&error).is_lookup());
    assert_eq!(net.now(), 500);
    net.run(&dial.dial_timeout(ms(2000))).await.unwrap_err();
    assert_eq!(net.now(), 2000);
}

#[test]
fn the_system_says_in_its_texts_that_a_name_has_no_address() {
    for (text, says_so) in [
        (
            "failed to lookup address information: Name or service not known",
            true,
        ),
        (
            "failed to lookup address information: No address associated with hostname",
            true,
        ),
        (
            "failed to lookup address information: Name does not resolve",
            true,
        ),
        (
            "failed to lookup address information: nodename nor servname provided, or not known",
            true,
        ),
        (
            "failed to lookup address information: hostname nor servname provided, or not known",
            true,
        ),
        (
            "failed to lookup address information: Temporary failure in name resolution",
            false,
        ),
        ("failed to lookup address information: Try again", false),
    ] {
        let error = io::Error::other(text);
        assert_eq!(lookup::says_no_address(&error), says_so, "{text}");
    }
}
