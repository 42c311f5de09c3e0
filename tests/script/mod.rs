//! A connector whose attempts follow a script, and what they were told.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use redial::{AttemptInfo, AttemptKind, Connect, with_info};
use tokio::time::{Instant, sleep};

/// What an attempt does: it takes so long, and then connects or fails.
pub(crate) type Outcome = (Duration, Result<(), ErrorKind>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dial {
    /// Since the script was made.
    pub(crate) at: Duration,
    pub(crate) kind: AttemptKind,
    pub(crate) number: u32,
    pub(crate) hint: Option<String>,
}

#[derive(Default)]
struct State {
    outcomes: VecDeque<Outcome>,
    dials: Vec<Dial>,
    /// Those that exist now, and the most that there were at once.
    attempts: (usize, usize),
    connections: (usize, usize),
}

/// The attempts that were made, and the connections that there are.
#[derive(Clone)]
pub(crate) struct Script {
    began: Instant,
    state: Arc<Mutex<State>>,
}

/// A connection: the number of the dial that made it, from 1.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    _open: Open,
}

/// Something that is counted while it exists.
struct Open(Script, Count);

type Count = fn(&mut State) -> &mut (usize, usize);

impl Open {
    fn new(script: &Script, of: Count) -> Self {
        let mut state = script.state.lock().unwrap();
        let (open, most) = of(&mut state);
        *open += 1;
        *most = (*most).max(*open);
        drop(state);
        Self(script.clone(), of)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.1(&mut self.0.state.lock().unwrap()).0 -= 1;
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}

impl Script {
    /// Attempts beyond the script connect at once.
    pub(crate) fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let state = State {
            outcomes: outcomes.into_iter().collect(),
            ..State::default()
        };
        Self {
            began: Instant::now(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn connector(
        &self,
    ) -> impl Connect<
        Connection = Line,
        Error = io::Error,
        Attempt = BoxFuture<'static, io::Result<Line>>,
    > + use<> {
        let script = self.clone();
        with_info(
            move |info: AttemptInfo<'_, io::Error>| -> BoxFuture<'static, io::Result<Line>> {
                let mut state = script.state.lock().unwrap();
                state.dials.push(Dial {
                    at: script.began.elapsed(),
                    kind: info.kind(),
                    number: info.number(),
                    hint: info.hint().map(String::from),
                });
                let number = state.dials.len();
                let (time, outcome) = state
                    .outcomes
                    .pop_front()
                    .unwrap_or((Duration::ZERO, Ok(())));
                drop(state);
                let attempt = Open::new(&script, |state| &mut state.attempts);
                let script = script.clone();
                Box::pin(async move {
                    let _attempt = attempt;
                    if !time.is_zero() {
                        sleep(time).await;
                    }
                    outcome?;
                    Ok(Line {
                        number,
                        _open: Open::new(&script, |state| &mut state.connections),
                    })
                })
            },
        )
    }

    /// The next attempt is refused.
    pub(crate) fn refuses_next(&self) {
        let refused = (Duration::ZERO, Err(ErrorKind::ConnectionRefused));
        self.state.lock().unwrap().outcomes.push_front(refused);
    }

    pub(crate) fn dials(&self) -> Vec<Dial> {
        self.state.lock().unwrap().dials.clone()
    }

    /// The instants of the dials, in milliseconds.
    pub(crate) fn dialed(&self) -> Vec<u128> {
        self.dials()
            .iter()
            .map(|dial| dial.at.as_millis())
            .collect()
    }

    pub(crate) fn attempts(&self) -> usize {
        self.state.lock().unwrap().attempts.0
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections.0
    }

    pub(crate) fn most_connections(&self) -> usize {
        self.state.lock().unwrap().connections.1
    }
}
