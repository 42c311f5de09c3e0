//! Servers of a test, which do what it says.

// Each test file is a crate of its own, and none needs all of this.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redial::codes::Advice;
use redial::{Cause, Connect, Endpoints, Jitter, Redial, Sequence, Verdict};
use tokio::time::{Instant, sleep};

pub const DOWN: Verdict = Verdict::Retry(Cause::Down);
pub const BUSY: Verdict = Verdict::Retry(Cause::Busy);

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a server does with a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Does {
    /// Takes the client after so many milliseconds.
    Serves(u64),
    Refuses,
    /// Never answers a packet.
    IsSilent,
    /// Accepts, and never answers the login.
    Hangs,
    /// Accepts, and answers the login with this after so many milliseconds.
    Answers(u64, Fault),
}

/// An error of an attempt or of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub verdict: Verdict,
    pub is_elsewhere: bool,
}

impl Fault {
    pub const fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            is_elsewhere: false,
        }
    }

    pub const fn elsewhere(verdict: Verdict) -> Self {
        Self {
            verdict,
            is_elsewhere: true,
        }
    }

    pub fn advice(&self) -> Advice {
        let advice = Advice::from(self.verdict);
        if self.is_elsewhere {
            advice.elsewhere()
        } else {
            advice
        }
    }
}

/// The servers, by name, and what they have seen.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

pub struct State {
    pub does: Vec<Does>,
    start: Instant,
    /// When each dial began, in milliseconds, and at which server.
    pub dials: Vec<(u64, usize)>,
    /// The servers that were ever dialled.
    pub seen: BTreeSet<usize>,
    pub attempts: usize,
    pub connections: usize,
    /// The most that there were at once.
    pub most_connections: usize,
}

/// A connection to this server.
pub struct Connection {
    pub server: usize,
    _count: Counted,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a connection to {}", self.server)
    }
}

/// Counts itself as an attempt or as a connection.
struct Counted {
    net: Net,
    of: fn(&mut State) -> &mut usize,
}

impl Counted {
    fn new(net: &Net, of: fn(&mut State) -> &mut usize) -> Self {
        *of(&mut net.state()) += 1;
        Self {
            net: net.clone(),
            of,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *(self.of)(&mut self.net.state()) -= 1;
    }
}

impl Net {
    pub fn new(does: impl IntoIterator<Item = Does>) -> Self {
        Self(Arc::new(Mutex::new(State {
            does: does.into_iter().collect(),
            start: Instant::now(),
            dials: Vec::new(),
            seen: BTreeSet::new(),
            attempts: 0,
            connections: 0,
            most_connections: 0,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn set(&self, server: usize, does: Does) {
        self.state().does[server] = does;
    }

    pub fn set_all(&self, does: Does) {
        self.state().does.fill(does);
    }

    /// The dials since the last call: in milliseconds, and at which server.
    pub fn dials(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.state().dials)
    }

    /// As [`dials`](Self::dials), without their times.
    pub fn dialled(&self) -> Vec<usize> {
        self.dials().into_iter().map(|(_, server)| server).collect()
    }

    pub fn now(&self) -> u64 {
        self.state().start.elapsed().as_millis() as u64
    }

    async fn dial(self, server: usize) -> Result<Self, Fault> {
        let _count = Counted::new(&self, |state| &mut state.attempts);
        let now = self.now();
        self.state().dials.push((now, server));
        self.state().seen.insert(server);
        let does = self.state().does[server];
        match does {
            Does::Refuses => Err(Fault::of(DOWN)),
            Does::IsSilent => pending().await,
            Does::Serves(rtt) => {
                sleep(millis(rtt)).await;
                Ok(self.clone())
            }
            Does::Hangs | Does::Answers(..) => Ok(self.clone()),
        }
    }

    async fn log_in(self, server: usize) -> Result<Connection, Fault> {
        let _count = Counted::new(&self, |state| &mut state.attempts);
        let does = self.state().does[server];
        match does {
            Does::Hangs => pending().await,
            Does::Answers(after, fault) => {
                sleep(millis(after)).await;
                Err(fault)
            }
            _ => {
                let count = Counted::new(&self, |state| &mut state.connections);
                let mut state = self.state();
                state.most_connections = state.most_connections.max(state.connections);
                drop(state);
                Ok(Connection {
                    server,
                    _count: count,
                })
            }
        }
    }

    /// A connector of one server, which tells its phases.
    pub fn connector(
        &self,
        server: usize,
    ) -> impl Connect<Connection = Connection, Error = Fault, Attempt: Send> + Send + use<> {
        let (dial, login) = (self.clone(), self.clone());
        (move || dial.clone().dial(server)).then(move |_| login.clone().log_in(server))
    }
}

/// A driver of these servers, with a wait of one second between rounds.
pub fn redial(
    net: &Net,
    endpoints: &Endpoints<usize>,
) -> Redial<
    impl Connect<Connection = Connection, Error = Fault, Attempt: Send> + Send + use<>,
    Sequence,
> {
    let net = net.clone();
    Redial::new(endpoints.connect_with(move |&server| net.connector(server)))
        .policy(Sequence::new([secs(1)]).jitter(Jitter::None))
        .advise(|fault| Some(fault.advice()))
        .seed(1)
}
