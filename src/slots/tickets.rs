//! The tickets of a server: made, checked, and spent.

use core::time::Duration;

use super::Admission;
use super::key::Keys;
use super::spent::Spent;
use super::ticket::{Claim, Ticket};
use super::times::{Judged, Now, Times};
use crate::sync::{Mutex, lock};

/// What a server knows of the tickets that it gives and takes.
#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) keys: Keys,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    times: Times,
    spent: Spent,
}

/// What a ticket is worth.
pub(super) enum Shown {
    /// Its slot has come. It is spent now.
    Due,
    /// Its slot is still to come: the client keeps it.
    Early(Admission),
    /// As much as none, by the time that tickets are on.
    Void,
    /// As much as none.
    Nothing,
}

impl Tickets {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            state: Mutex::new(State::default()),
        }
    }

    /// Takes a ticket. Of those that are spent, `most` are remembered.
    pub(super) fn show(&self, now: Now, client: &[u8], ticket: Option<&str>, most: usize) -> Shown {
        lock(&self.state).times.set(now);
        let bytes = ticket.and_then(Ticket::bytes);
        let Some(bytes) = bytes.filter(|bytes| self.keys.signed(bytes, client)) else {
            return Shown::Nothing;
        };
        let claim = Claim::read(&bytes);
        let mut state = lock(&self.state);
        match state.times.judge(now, claim) {
            Judged::Due => {
                let expired = state.times.expired(now);
                if state.spent.spend(&bytes, expired, most) {
                    Shown::Due
                } else {
                    Shown::Nothing
                }
            }
            Judged::Early(left) => Shown::Early(Admission::Later {
                wait: Duration::from_millis(left),
                // The same, or it could be spent twice.
                ticket: Ticket::from_bytes(&bytes),
            }),
            Judged::Void => Shown::Void,
        }
    }

    /// Gives a client a ticket for the slot after `wait`.
    pub(super) fn give(&self, now: Now, client: &[u8], wait: Duration) -> Admission {
        self.give_later(client, now, |_| wait)
    }

    /// Gives a client that is refused a ticket for the slot after `wait`, or for the one
    /// after that of the last. So those that are refused together do not come back
    /// together.
    pub(super) fn refuse(
        &self,
        now: Now,
        client: &[u8],
        wait: Duration,
        period: Duration,
    ) -> Admission {
        self.give_later(client, now, |times| times.refuse(now, wait, period))
    }

    fn give_later(
        &self,
        client: &[u8],
        now: Now,
        wait: impl FnOnce(&mut Times) -> Duration,
    ) -> Admission {
        let claim = {
            let times = &mut lock(&self.state).times;
            times.set(now);
            let wait = wait(times);
            times.claim(now, wait)
        };
        Admission::Later {
            wait: Duration::from_millis(claim.wait.into()),
            ticket: self.keys.sign(claim, client),
        }
    }
}
