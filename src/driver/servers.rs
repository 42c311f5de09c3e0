//! Connectors with several servers: what they and the driver tell each other.

use core::fmt;
use core::time::Duration;

use super::connect::Connect;
use super::event::Event;
use super::outcome::{Failure, Last};
use super::state::Core;
use crate::clock::wall_nanos;
use crate::control::{Control, Ending};
use crate::outage::AttemptPhase;
use crate::policy::{Cause, Policy};
use crate::roster::Judged;
use crate::verdict::Verdict;

/// The servers of a connector that has several: what [`Connect::servers`] returns.
///
/// [`Endpoints`](crate::Endpoints) makes one. A connector that wraps another passes on
/// what that returns.
pub struct Servers<'a>(&'a mut dyn Rounds);

impl<'a> Servers<'a> {
    pub(crate) fn new(rounds: &'a mut dyn Rounds) -> Self {
        Self(rounds)
    }
}

impl fmt::Debug for Servers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").finish_non_exhaustive()
    }
}

/// A connector each of whose attempts is a round over several servers.
///
/// Each error of its attempt is that of one server. If [`failed`](Self::failed) then
/// says that the round goes on, the driver polls the same attempt again.
pub(crate) trait Rounds {
    /// A round begins with the attempt that is made next. `random` is the driver's own.
    fn prepare(&mut self, purpose: Purpose, limits: Limits, random: &mut dyn FnMut() -> u64);

    /// What happened in the last poll, one after another.
    fn take_news(&mut self) -> Option<News>;

    /// Whether no server is left, and no error says so.
    fn has_run_out(&self) -> bool;

    /// The attempt at the present server has failed.
    fn failed(&mut self, judged: Judged) -> Onward;

    /// What the failed round means for the next one.
    fn verdict(&mut self) -> Verdict;

    /// The attempt has succeeded. Returns the server. `wall` is the time of day, in
    /// nanoseconds.
    fn connected(&mut self, wall: u64) -> Option<usize>;

    /// The connection has ended. Returns what that means for the next attempt.
    fn ended(&mut self, end: Ended, wall: u64) -> Verdict;
}

/// What a round is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// There is no connection.
    Connection,
    /// The connection that is up is old.
    InsteadOfOld,
    /// The server of the connection that is up has announced that it leaves.
    InsteadOfLeaving,
}

/// The limits that apply to each server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) dial_timeout: Duration,
    pub(crate) stable_after: Duration,
}

/// What happened to one of the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    /// An attempt at it begins.
    Tries(usize),
    /// Its dial had no answer in this time.
    Silent(usize, Duration),
}

/// What follows from an error of an attempt.
pub(super) enum Outcome<E> {
    /// The attempt has failed.
    Failed(Failure<E>),
    /// It goes on.
    GoesOn,
    /// It goes on at its beginning, with another server.
    BeginsAnew,
}

/// What follows from the failure of an attempt at a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Onward {
    /// The server that failed.
    pub(crate) server: Option<usize>,
    /// Other servers are tried, or go on.
    pub(crate) goes_on: bool,
    /// All that go on are at their beginning.
    pub(crate) is_anew: bool,
    /// No attempt of this round got farther.
    pub(crate) is_farthest: bool,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    /// By the server or by the network between.
    Theirs(Judged),
    /// By this side.
    Ours,
}

impl<E, P: Policy> Core<E, P> {
    /// A round begins, if the connector has servers.
    #[inline]
    pub(super) fn begin_round<C: Connect<Error = E>>(&mut self, connector: &mut C) {
        self.begin_round_for(connector, Purpose::Connection);
    }

    /// As [`begin_round`](Self::begin_round), beside a connection that is up.
    #[inline]
    pub(super) fn begin_round_beside<C: Connect<Error = E>>(&mut self, connector: &mut C) {
        let purpose = self.purpose_beside();
        self.begin_round_for(connector, purpose);
    }

    /// Why the present connection is replaced.
    fn purpose_beside(&mut self) -> Purpose {
        if self.renewal().is_announced() {
            Purpose::InsteadOfLeaving
        } else {
            Purpose::InsteadOfOld
        }
    }

    #[inline]
    fn begin_round_for<C: Connect<Error = E>>(&mut self, connector: &mut C, purpose: Purpose) {
        if let Some(servers) = connector.servers() {
            let config = *self.outage.config_mut();
            let limits = Limits {
                dial_timeout: config.longest_dial(),
                stable_after: config.least_uptime(),
            };
            servers
                .0
                .prepare(purpose, limits, &mut || self.outage.random());
        }
    }

    /// Tells the observers what the servers did in the last poll.
    #[inline]
    pub(super) fn tell_news<C: Connect<Error = E>>(&mut self, connector: &mut C) {
        while let Some(news) = connector.servers().and_then(|it| it.0.take_news()) {
            let attempt = self.round_number();
            match news {
                News::Tries(server) => self.tell(&Event::Trying { attempt, server }),
                News::Silent(server, after) => {
                    self.tell_of_server(Some(server), None, Verdict::default());
                    // An error says more, if there is one.
                    let last = match self.take_last() {
                        Last::Unknown => Last::TimedOut(after),
                        before => before,
                    };
                    self.set_last(last);
                }
            }
        }
    }

    /// The number of the attempt in flight.
    fn round_number(&mut self) -> u32 {
        if self.flies_beside() {
            self.attempt_beside()
        } else {
            self.attempt_number()
        }
    }

    fn tell_of_server(&mut self, server: Option<usize>, error: Option<&E>, verdict: Verdict) {
        let (attempt, actor) = (self.round_number(), self.actor());
        if let Some(server) = server {
            self.tell(&Event::ServerFailed {
                attempt,
                server,
                error,
                verdict,
                actor,
            });
        }
    }

    /// An error of the attempt: that of the whole, or that of one server. In that case
    /// the round may go on.
    #[inline]
    pub(super) fn server_failed<C>(&mut self, connector: &mut C, error: E) -> Outcome<E>
    where
        C: Connect<Error = E>,
    {
        let Some(servers) = connector.servers() else {
            return Outcome::Failed(Failure::Error(error));
        };
        let verdict = self.judge(&error);
        let onward = servers.0.failed(self.judged(verdict, true));
        self.tell_of_server(onward.server, Some(&error), verdict);
        self.tell_of_cut(verdict);
        if onward.goes_on {
            if onward.is_farthest {
                self.set_last(Last::Error(error));
            }
            return if onward.is_anew {
                Outcome::BeginsAnew
            } else {
                Outcome::GoesOn
            };
        }
        let last = match self.take_last() {
            Last::Unknown => Last::Error(error),
            _ if onward.is_farthest => Last::Error(error),
            before => before,
        };
        Outcome::Failed(round_failed(connector, last))
    }

    /// The attempt took too long: so has that at the server that got farthest. It has
    /// cost that server so much.
    #[inline]
    pub(super) fn server_timed_out<C>(
        &mut self,
        connector: &mut C,
        limit: Duration,
        cost: Cause,
    ) -> Failure<E>
    where
        C: Connect<Error = E>,
    {
        let Some(servers) = connector.servers() else {
            return Failure::TimedOut(limit);
        };
        let verdict = Verdict::Retry(cost);
        let onward = servers.0.failed(verdict.into());
        self.clear_actor();
        self.tell_of_server(onward.server, None, verdict);
        round_failed(connector, Last::TimedOut(limit))
    }

    /// Whether the connector has no server left to try, and so the attempt is over.
    #[inline]
    pub(super) fn servers_ran_out<C>(&mut self, connector: &mut C) -> Option<Failure<E>>
    where
        C: Connect<Error = E>,
    {
        if !connector.servers()?.0.has_run_out() {
            return None;
        }
        let last = self.take_last();
        Some(round_failed(connector, last))
    }

    /// The attempt has succeeded, at one of the servers if the connector has several.
    #[inline]
    pub(super) fn server_connected<C: Connect<Error = E>>(&mut self, connector: &mut C) {
        if let Some(servers) = connector.servers() {
            let server = servers.0.connected(wall_nanos(self.wall_time()));
            // The errors of the other servers are nobody's business any more.
            self.set_last(Last::Unknown);
            let attempt = self.round_number();
            if let Some(server) = server {
                self.tell(&Event::ServerConnected { attempt, server });
            }
        }
    }

    /// What the end of a connection means, if the connector has several servers.
    #[inline]
    pub(super) fn server_ended<C>(
        &mut self,
        connector: &mut C,
        ending: Ending,
        has_error: bool,
    ) -> Ending
    where
        C: Connect<Error = E>,
    {
        let Some(servers) = connector.servers() else {
            return ending;
        };
        if let Ending::Lost(verdict) = ending {
            // The servers do not return all of it.
            self.tell_of_cut(verdict);
        }
        let by_network = self.control().is_some_and(Control::has_changed_while_up);
        let judged = match ending {
            Ending::Lost(verdict) => Some(self.judged(verdict, has_error)),
            Ending::Silent(_) => Some(Verdict::default().into()),
            Ending::MakesRoom if self.purpose_beside() == Purpose::InsteadOfLeaving => {
                Some(Verdict::Retry(Cause::Busy).into())
            }
            Ending::MakesRoom | Ending::Reconnect | Ending::Suspend => None,
        };
        let end = match judged {
            Some(judged) if !by_network || judged != Judged::default() => Ended::Theirs(judged),
            _ => Ended::Ours,
        };
        let verdict = servers.0.ended(end, wall_nanos(self.wall_time()));
        match ending {
            Ending::Lost(_) => Ending::Lost(verdict),
            ending => ending,
        }
    }

    /// The verdict as the servers take it. `is_of_error` says that the last judged error
    /// got it.
    fn judged(&self, verdict: Verdict, is_of_error: bool) -> Judged {
        let cap = self.outage.most_of_a_hint();
        let verdict = match verdict {
            Verdict::RetryAfter(asked) => Verdict::RetryAfter(asked.min(cap)),
            // It is not the client's own instant any more.
            Verdict::Slot(asked) if asked > cap => Verdict::RetryAfter(cap),
            verdict => verdict,
        };
        let extras = self.extras.as_ref();
        let advised = extras.filter(|it| is_of_error && it.advised.is_some());
        Judged {
            verdict,
            is_elsewhere: advised.is_some_and(|extras| extras.is_elsewhere),
            is_for_all: advised.is_some_and(|extras| extras.is_for_all),
        }
    }
}

/// Whether the attempt is led by another server than before, whose phases have deadlines of
/// their own: the one that led has left the list, or only dials beside one that does not
/// tell its phases.
#[inline]
pub(super) fn is_led_anew<C>(connector: &mut C, before: AttemptPhase, now: AttemptPhase) -> bool
where
    C: Connect,
{
    before.is_beyond(now) && connector.servers().is_some()
}

fn round_failed<C: Connect>(connector: &mut C, last: Last<C::Error>) -> Failure<C::Error> {
    let verdict = connector.servers().map(|servers| servers.0.verdict());
    Failure::Round(last, verdict.unwrap_or_default())
}
