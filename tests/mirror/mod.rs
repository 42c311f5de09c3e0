//! A store in memory: it answers as a server that runs the script, on tokio's clock,
//! and fails as a server does.

// Each test file is a crate of its own, and uses what it needs.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redial::budget::{Call, Store, StoreError, StoreErrorKind};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// A value, and in how many milliseconds it expires.
pub type Written = (String, i64);

/// What the script does at `now` to a key that holds `state`: its answer, and what it
/// writes.
///
/// The script counts in doubles. They are exact up to 2^53, and so are these.
pub fn script(
    state: Option<&str>,
    now: i64,
    [period, burst, count, floor, deadline, keep]: [i64; 6],
) -> Result<([i64; 3], Option<Written>), &'static str> {
    if deadline > 0 && now > deadline {
        return Ok(([0, now, 0], None));
    }
    let full_at = match state {
        None => now + burst * period,
        Some(state) => {
            let (full_at, seen) = parse(state).ok_or("FOREIGN the key holds something else")?;
            full_at - (seen - now).max(0)
        }
    };
    let full_at = full_at.max(now + floor);
    let wait = full_at - (burst - 1) * period - now;
    let full_at = full_at + count * period;
    let expires = (full_at - now + 999).div_euclid(1000) + keep;
    Ok(([1, now, wait], Some((format!("{full_at} {now}"), expires))))
}

fn parse(state: &str) -> Option<(i64, i64)> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (full_at, seen) = state.split_once(' ')?;
    Some((number(full_at)?, number(seen)?))
}

/// How many more tokens came due than the burst and what is earned, in the worst of all
/// spans of time: zero or less is right. Instants and period are in microseconds.
pub fn excess(instants: impl IntoIterator<Item = i64>, burst: u32, period: i64) -> i64 {
    let mut instants: Vec<_> = instants.into_iter().collect();
    instants.sort_unstable();
    let mut full_at = i64::MIN;
    let levels = instants.into_iter().map(|at| {
        full_at = full_at.max(at) + period;
        // Of the tokens that the bucket would lack.
        (full_at - at + period - 1).div_euclid(period) - i64::from(burst)
    });
    levels.max().unwrap_or(-i64::from(burst))
}

/// What the server does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    Well,
    /// The server was killed: no connection.
    Gone,
    /// The server was stopped: no answer. Once it goes on, it runs all calls that it
    /// was sent, and those that nobody waits for any more as well.
    Stopped,
    /// An error reply.
    Replies(&'static str),
    /// The next call finds that its connection has broken. The one after that is well.
    Breaks {
        /// The server had run the script.
        after_it_ran: bool,
    },
}

/// What the server stores: the value of each key, and when it expires in milliseconds
/// of the server's time.
pub type Data = HashMap<String, (String, i64)>;

/// The store. Clones are connections to the same server.
#[derive(Clone)]
pub struct Mirror(Arc<Server>);

struct Server {
    state: Mutex<State>,
    goes_on: Notify,
}

struct State {
    began: Instant,
    /// Microseconds since 1970 when it began.
    clock: i64,
    mood: Mood,
    /// How long a call takes, there and back.
    way: Duration,
    data: Data,
    /// The calls that a stopped server was sent, and its answers.
    backlog: Vec<(Call, Option<Reply>)>,
    calls: Vec<[i64; 6]>,
    granted: Vec<i64>,
}

type Reply = Result<[i64; 3], &'static str>;

impl Mirror {
    /// A server without data, whose time began in 2026.
    pub fn new() -> Self {
        Self(Arc::new(Server {
            state: Mutex::new(State {
                began: Instant::now(),
                clock: 1_795_729_960_366_700,
                mood: Mood::Well,
                way: Duration::ZERO,
                data: HashMap::new(),
                backlog: Vec::new(),
                calls: Vec::new(),
                granted: Vec::new(),
            }),
            goes_on: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Changes what the server does from now on.
    pub fn mood(&self, mood: Mood) {
        let mut state = self.state();
        let was_stopped = state.mood == Mood::Stopped;
        state.mood = mood;
        if was_stopped && mood == Mood::Well {
            for at in 0..state.backlog.len() {
                let call = state.backlog[at].0.clone();
                let reply = state.run(&call);
                state.backlog[at].1 = Some(reply);
            }
            self.0.goes_on.notify_waiters();
        }
    }

    /// How long each call takes, there and back.
    pub fn way(&self, way: Duration) {
        self.state().way = way;
    }

    /// What the server stores.
    pub fn data(&self) -> Data {
        self.state().data.clone()
    }

    /// Lets the server store this: nothing, if it was flushed, or what it stored some
    /// time ago, if a replica takes over.
    pub fn set_data(&self, data: Data) {
        self.state().data = data;
    }

    /// The server's time, in microseconds since 1970.
    pub fn now(&self) -> i64 {
        self.state().now()
    }

    /// Sets the server's clock, by so many microseconds.
    pub fn move_clock(&self, by: i64) {
        self.state().clock += by;
    }

    /// The arguments of all calls that the server ran.
    pub fn calls(&self) -> Vec<[i64; 6]> {
        self.state().calls.clone()
    }

    /// When the tokens come due that the server granted, in microseconds of tokio's
    /// clock since the server began.
    pub fn granted(&self) -> Vec<i64> {
        self.state().granted.clone()
    }

    /// The time on tokio's clock since the server began, in microseconds.
    pub fn age(&self) -> i64 {
        self.state().age()
    }
}

impl State {
    fn age(&self) -> i64 {
        self.began.elapsed().as_micros() as i64
    }

    fn now(&self) -> i64 {
        self.clock + self.age()
    }

    fn run(&mut self, call: &Call) -> Reply {
        let (now, arguments) = (self.now(), call.arguments());
        self.calls.push(arguments);
        let state = self.data.get(call.key());
        let state = state.filter(|(_, expires)| now / 1000 < *expires);
        let (answer, written) = script(state.map(|(value, _)| &**value), now, arguments)?;
        if let Some((value, expires)) = written {
            let value = (value, now / 1000 + expires);
            self.data.insert(call.key().to_owned(), value);
            let (age, [period, _, count, ..], wait) = (self.age(), arguments, answer[2]);
            let due = (0..count).map(|i| age + (wait + i * period).max(0));
            self.granted.extend(due);
        }
        Ok(answer)
    }
}

impl Store for Mirror {
    async fn run(&self, call: &Call) -> Result<[i64; 3], StoreError> {
        let way = self.state().way / 2;
        if !way.is_zero() {
            sleep(way).await;
        }
        let reply = self.answer(call).await;
        if !way.is_zero() {
            sleep(way).await;
        }
        reply?.map_err(StoreError::reply)
    }
}

impl Mirror {
    async fn answer(&self, call: &Call) -> Result<Reply, StoreError> {
        let at = {
            let mut state = self.state();
            match state.mood {
                Mood::Well => return Ok(state.run(call)),
                Mood::Replies(error) => return Ok(Err(error)),
                Mood::Gone => return Err(StoreError::new(StoreErrorKind::Unreachable, "refused")),
                Mood::Breaks { after_it_ran } => {
                    state.mood = Mood::Well;
                    if after_it_ran {
                        let _ = state.run(call);
                    }
                    return Err(StoreError::new(StoreErrorKind::Unreachable, "broken pipe"));
                }
                Mood::Stopped => {
                    state.backlog.push((call.clone(), None));
                    state.backlog.len() - 1
                }
            }
        };
        loop {
            let goes_on = self.0.goes_on.notified();
            if let Some(reply) = self.state().backlog[at].1 {
                return Ok(reply);
            }
            goes_on.await;
        }
    }
}
