//! Which outage an event belongs to, and how long it lasts.

use core::time::Duration;

use crate::clock::Stopwatch;
use crate::driver::Event;

/// Follows the events of one driver.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// How many outages there have been.
    outages: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// No connection, and no outage.
    #[default]
    Idle,
    /// The first attempt is made, since this time.
    Trying(Stopwatch),
    Connected,
    /// An outage.
    Down {
        since: Stopwatch,
        /// An attempt has been made.
        tried: bool,
    },
    GaveUp,
}

/// What an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// An outage begins.
    Begins,
    /// The connection was lost before it was stable, so the outage before goes on.
    GoesOn,
    /// The first attempt of the outage is made, so long after its beginning.
    FirstAttempt(Duration),
    /// There is a connection, or there will be none. The client had none for so long.
    Ends(Duration),
}

impl Course {
    /// The number of the present outage, counted from 1, or of the latest one.
    #[cfg(feature = "tracing")]
    pub(super) fn outages(&self) -> u64 {
        self.outages
    }

    /// Whether there is a connection.
    #[cfg(feature = "metrics")]
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// Whether an outage goes on.
    #[cfg(feature = "metrics")]
    pub(super) fn down_for(&self) -> Option<Duration> {
        match &self.state {
            State::Down { since, .. } => Some(since.elapsed()),
            _ => None,
        }
    }

    pub(super) fn see<E>(&mut self, event: &Event<'_, E>) -> Change {
        match *event {
            Event::Connecting { attempt } => self.connecting(attempt),
            Event::Waiting { attempt, .. } => self.waiting(attempt),
            Event::Failed { .. } => match self.state {
                State::Down { .. } => Change::Nothing,
                State::Trying(since) => self.begin(since, true),
                _ => self.begin(Stopwatch::start(), true),
            },
            Event::Lost { attempts, .. } if attempts > 0 && self.outages > 0 => {
                let (since, tried) = (Stopwatch::start(), true);
                self.state = State::Down { since, tried };
                Change::GoesOn
            }
            Event::Lost { .. } => self.begin(Stopwatch::start(), false),
            Event::Connected { .. } => self.end(State::Connected),
            Event::GaveUp { .. } => self.end(State::GaveUp),
            Event::Closed => self.end(State::Idle),
            Event::Suspended => {
                // An outage goes on, but the end of a connection on purpose is none.
                if let State::Connected | State::Trying(_) = self.state {
                    self.state = State::Idle;
                }
                Change::Nothing
            }
            // A renewal is no outage, whatever becomes of it, and the servers of an attempt
            // are a matter within it.
            Event::Established { .. }
            | Event::Trying { .. }
            | Event::ServerFailed { .. }
            | Event::ServerConnected { .. }
            | Event::HintCut { .. }
            | Event::RenewalDue { .. }
            | Event::Renewed { .. }
            | Event::RenewalFailed { .. } => Change::Nothing,
        }
    }

    fn connecting(&mut self, attempt: u32) -> Change {
        let now = Stopwatch::start();
        match &mut self.state {
            // A program that goes on with the outage of its last run.
            State::Idle if attempt > 1 && self.outages == 0 => self.begin(now, true),
            State::Idle | State::Trying(_) => {
                self.state = State::Trying(now);
                Change::Nothing
            }
            State::Down { since, tried } if !*tried => {
                *tried = true;
                Change::FirstAttempt(since.elapsed())
            }
            State::Down { .. } => Change::Nothing,
            // The same, in a driver that was in use; or somebody asks again.
            State::Connected | State::GaveUp => self.begin(now, true),
        }
    }

    fn waiting(&mut self, attempt: u32) -> Change {
        let now = Stopwatch::start();
        match self.state {
            // The first wait of an app may also spread its first connect.
            State::Idle if attempt > 1 && self.outages == 0 => self.begin(now, true),
            State::Connected => self.begin(now, attempt > 1),
            State::GaveUp => self.begin(now, false),
            State::Idle | State::Trying(_) | State::Down { .. } => Change::Nothing,
        }
    }

    fn begin(&mut self, since: Stopwatch, tried: bool) -> Change {
        self.outages += 1;
        self.state = State::Down { since, tried };
        Change::Begins
    }

    fn end(&mut self, state: State) -> Change {
        match core::mem::replace(&mut self.state, state) {
            State::Down { since, .. } => Change::Ends(since.elapsed()),
            _ => Change::Nothing,
        }
    }
}
