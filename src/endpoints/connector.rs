//! A round over the servers, as one attempt of the driver.

mod told;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use pin_project_lite::pin_project;

use super::list::List;
use crate::clock::{Sleep, Stopwatch};
use crate::driver::{AttemptInfo, AttemptKind, Connect, Limits, News, Servers};
use crate::entropy;
use crate::nanos::nanos;
use crate::outage::{AttemptPhase, Config};
use crate::policy::Cause;
use crate::rng::Rng;
use crate::roster::{Roster, SILENCE};
use crate::verdict::Verdict;

/// A connector of several servers: made by
/// [`Endpoints::connect_with`](crate::Endpoints::connect_with).
pub struct EndpointsConnector<S, C, F> {
    list: Arc<List<S>>,
    /// The place in the list of those that wait for its change.
    seat: usize,
    make: F,
    /// The list as this client knows it.
    version: u64,
    servers: Arc<[S]>,
    /// The connector of each server, once it was needed.
    connectors: Vec<Option<C>>,
    order: Option<Order>,
    clock: Stopwatch,
    limits: Limits,
    /// The number of the round.
    number: u32,
    kind: AttemptKind,
    /// What the announcer of a renewal gave, for one attempt.
    hint: Option<Box<str>>,
    /// Other steps follow, so an attempt that does not tell its phase dials.
    is_dial: bool,
    /// The connection that is up is being replaced.
    renews: bool,
    /// When the next server is tried beside those that dial.
    next_at: Duration,
    /// The round goes on with the next attempt that is asked for.
    goes_on: bool,
    flight: InFlight,
    /// No server is left in this round, and none is in flight.
    has_run_out: bool,
    /// Who is to blame if the attempt fails now, and how far it got.
    present: Option<(usize, AttemptPhase)>,
    /// How far the attempt got whose error the driver keeps.
    farthest: Option<AttemptPhase>,
    news: VecDeque<News>,
    up: Option<Up>,
    /// A stable connection to this server was lost, perhaps because of the network.
    lost: Option<usize>,
}

/// The order of the servers, with the random numbers that it was drawn from.
struct Order {
    roster: Roster,
    rng: Rng,
}

/// The connection that is up.
#[derive(Clone, Copy)]
struct Up {
    since: Duration,
    /// What the wall clock showed then, in nanoseconds.
    wall: u64,
}

/// The attempts in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InFlight {
    Nothing,
    /// All of them dial.
    Dials,
    /// A server may know of the client.
    Leads,
}

pin_project! {
    /// One attempt of an [`EndpointsConnector`]: a round over its servers.
    pub struct Round<A> {
        // In the order in which they began.
        live: Vec<Live<A>>,
        #[pin]
        sleep: Sleep,
    }
}

/// An attempt at one server.
struct Live<A> {
    server: usize,
    began: Duration,
    phase: AttemptPhase,
    attempt: Pin<Box<A>>,
}

impl<S, C, F> EndpointsConnector<S, C, F>
where
    F: FnMut(&S) -> C,
    C: Connect,
{
    pub(super) fn new(list: Arc<List<S>>, make: F) -> Self {
        let (version, servers) = list.look();
        let config = Config::new();
        Self {
            seat: list.take_seat(),
            list,
            make,
            version,
            connectors: servers.iter().map(|_| None).collect(),
            servers,
            order: None,
            clock: Stopwatch::start(),
            limits: Limits {
                dial_timeout: config.longest_dial(),
                stable_after: config.least_uptime(),
            },
            number: 1,
            kind: AttemptKind::First,
            hint: None,
            is_dial: false,
            renews: false,
            next_at: Duration::ZERO,
            goes_on: false,
            flight: InFlight::Nothing,
            has_run_out: false,
            present: None,
            farthest: None,
            news: VecDeque::new(),
            up: None,
            lost: None,
        }
    }

    /// The order, drawn if it was not yet.
    fn order(&mut self, seed: impl FnOnce() -> u64) -> &mut Order {
        let servers = self.servers.len();
        self.order.get_or_insert_with(|| {
            let mut rng = Rng::from_seed(seed());
            Order {
                roster: Roster::new(servers, &mut rng),
                rng,
            }
        })
    }

    /// Whether the connection has been up for long enough to say something for its server.
    fn was_stable(&self) -> bool {
        let now = self.clock.elapsed();
        let uptime = self.up.map(|up| now.saturating_sub(up.since));
        uptime.is_some_and(|uptime| uptime >= self.limits.stable_after)
    }

    /// An attempt at this server begins.
    fn begin(&mut self, server: usize, now: Duration) -> Live<C::Attempt> {
        let connector = &mut self.connectors[server];
        let connector = connector.get_or_insert_with(|| (self.make)(&self.servers[server]));
        self.news.push_back(News::Tries(server));
        self.next_at = now.saturating_add(SILENCE);
        let hint = self.hint.take();
        let info = AttemptInfo::new(self.number, self.kind, None, hint.as_deref());
        Live {
            server,
            began: now,
            phase: AttemptPhase::Unknown,
            attempt: Box::pin(connector.connect_with(info)),
        }
    }

    /// Polls the attempts. The first that is ready leaves.
    fn poll_live(
        &mut self,
        live: &mut Vec<Live<C::Attempt>>,
        now: Duration,
        cx: &mut Context<'_>,
    ) -> Option<Result<C::Connection, C::Error>> {
        let mut place = 0;
        while let Some(one) = live.get_mut(place) {
            let connector = self.connectors[one.server].as_mut();
            let connector = connector.expect("it has made this attempt");
            let polled = connector.poll_attempt(one.attempt.as_mut(), cx);
            let phase = match connector.phase(&one.attempt) {
                AttemptPhase::Unknown if self.is_dial => AttemptPhase::Dialing,
                phase => phase,
            };
            if phase.is_beyond(one.phase) {
                one.phase = phase;
            }
            let (server, phase) = (one.server, one.phase);
            match polled {
                Poll::Ready(outcome) => {
                    live.remove(place);
                    self.next_at = now;
                    self.present = Some((server, phase));
                    self.flight = in_flight(live);
                    return Some(outcome);
                }
                Poll::Pending if self.is_silent(one, now) => {
                    let after = now.saturating_sub(one.began);
                    live.remove(place);
                    self.next_at = now;
                    self.news.push_back(News::Silent(server, after));
                    if let Some(Order { roster, .. }) = &mut self.order {
                        roster.failed(server, Verdict::Retry(Cause::Down).into(), now);
                    }
                }
                Poll::Pending => place += 1,
            }
        }
        self.flight = in_flight(live);
        let leader = live.iter().find(|one| leads(one.phase)).or(live.last());
        self.present = leader.map(|one| (one.server, one.phase));
        None
    }

    /// When this attempt's dial takes too long.
    fn dial_ends(&self, one: &Live<C::Attempt>) -> Option<Duration> {
        let limits_itself = self.connectors[one.server]
            .as_ref()
            .is_some_and(Connect::limits_its_dial);
        let is_limited = one.phase == AttemptPhase::Dialing && !limits_itself;
        is_limited.then(|| one.began.saturating_add(self.limits.dial_timeout))
    }

    fn is_silent(&self, one: &Live<C::Attempt>, now: Duration) -> bool {
        self.dial_ends(one).is_some_and(|ends| now >= ends)
    }

    /// The server to try now, beside those that are silent.
    fn next(&mut self, now: Duration) -> Option<usize> {
        let is_due = match self.flight {
            InFlight::Nothing => true,
            InFlight::Dials => now >= self.next_at,
            InFlight::Leads => false,
        };
        self.order.as_mut().filter(|_| is_due)?.roster.next(now)
    }

    /// When there is something to do although no attempt is ready.
    fn deadline(&self, live: &[Live<C::Attempt>], now: Duration) -> Option<Duration> {
        let has_next = self
            .order
            .as_ref()
            .is_some_and(|it| it.roster.has_next(now));
        let next = (self.flight == InFlight::Dials && has_next).then_some(self.next_at);
        let ends = live.iter().filter_map(|one| self.dial_ends(one));
        ends.chain(next).min()
    }
}

impl<S, C, F> EndpointsConnector<S, C, F>
where
    S: PartialEq,
{
    /// Takes the list over, if it was replaced. Returns what became of each server.
    fn sync(&mut self, waker: Option<&Waker>) -> Option<Vec<Option<usize>>> {
        let (version, servers) = self.list.await_change(self.version, self.seat, waker)?;
        let same = |server| servers.iter().position(|other| other == server);
        let became: Vec<_> = self.servers.iter().map(same).collect();
        let mut connectors: Vec<_> = servers.iter().map(|_| None).collect();
        for (connector, place) in self.connectors.drain(..).zip(&became) {
            if let Some(place) = *place {
                connectors[place] = connector;
            }
        }
        self.connectors = connectors;
        (self.version, self.servers) = (version, servers);
        if let Some(Order { roster, rng }) = &mut self.order {
            roster.replace(&became, self.servers.len(), rng);
        }
        let number = |server: usize| became[server];
        self.present = self
            .present
            .and_then(|(server, phase)| Some((number(server)?, phase)));
        self.lost = self.lost.and_then(number);
        Some(became)
    }
}

impl<S, C, F> Connect for EndpointsConnector<S, C, F>
where
    S: PartialEq,
    F: FnMut(&S) -> C,
    C: Connect,
{
    type Connection = C::Connection;
    type Error = C::Error;
    type Attempt = Round<C::Attempt>;

    fn connect(&mut self) -> Self::Attempt {
        self.connect_with(AttemptInfo::first(1))
    }

    fn connect_with(&mut self, info: AttemptInfo<'_, C::Error>) -> Self::Attempt {
        if !core::mem::take(&mut self.goes_on) {
            self.sync(None);
            let now = self.clock.elapsed();
            (self.number, self.kind) = (info.number(), info.kind());
            self.hint = info.hint().map(Box::from);
            self.is_dial = info.is_dial();
            self.farthest = None;
            self.lost = None;
            self.news.clear();
            self.order(entropy::fresh).roster.begin(now);
        }
        self.flight = InFlight::Nothing;
        self.has_run_out = false;
        self.present = None;
        Round {
            live: Vec::new(),
            sleep: Sleep::unset(),
        }
    }

    fn network_changed(&mut self) {
        for connector in self.connectors.iter_mut().flatten() {
            connector.network_changed();
        }
        if let (Some(server), Some(order)) = (self.lost.take(), &mut self.order) {
            order.roster.prefer(server);
        }
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, C::Error>> {
        let mut this = attempt.project();
        let live = this.live;
        self.goes_on = false;
        if let Some(became) = self.sync(Some(cx.waker())) {
            live.retain_mut(|one| match became[one.server] {
                Some(server) => {
                    one.server = server;
                    true
                }
                None => false,
            });
            self.flight = in_flight(live);
        }
        loop {
            let now = self.clock.elapsed();
            if let Some(outcome) = self.poll_live(live, now, cx) {
                if outcome.is_ok() {
                    live.clear();
                    this.sleep.set(Sleep::unset());
                    self.list.await_nothing(self.seat);
                    // What follows the dial may still fail, and then this server has.
                    self.flight = InFlight::Nothing;
                    let winner = self.present.map(|(server, _)| server);
                    self.present = winner.map(|server| (server, AttemptPhase::Established));
                }
                return Poll::Ready(outcome);
            }
            if let Some(server) = self.next(now) {
                let one = self.begin(server, now);
                live.push(one);
                continue;
            }
            self.has_run_out = live.is_empty();
            let Some(deadline) = self.deadline(live, now) else {
                return Poll::Pending;
            };
            let deadline = self.clock.instant(nanos(deadline));
            if this.sleep.as_mut().poll_until(deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn phase(&self, attempt: &Self::Attempt) -> AttemptPhase {
        let mut phases = attempt.live.iter().map(|one| one.phase);
        match phases.clone().find(|&phase| leads(phase)) {
            Some(_) if phases.any(|phase| phase == AttemptPhase::Established) => {
                AttemptPhase::Established
            }
            Some(phase) => phase,
            None => AttemptPhase::Dialing,
        }
    }

    /// Each server has its own limit.
    fn limits_its_dial(&self) -> bool {
        true
    }

    fn servers(&mut self) -> Option<Servers<'_>> {
        Some(Servers::new(self))
    }
}

impl<S, C, F> Drop for EndpointsConnector<S, C, F> {
    fn drop(&mut self) {
        self.list.leave_seat(self.seat);
    }
}

/// Whether a server may know of an attempt in this phase.
fn leads(phase: AttemptPhase) -> bool {
    phase != AttemptPhase::Dialing
}

fn in_flight<A>(live: &[Live<A>]) -> InFlight {
    if live.is_empty() {
        InFlight::Nothing
    } else if live.iter().any(|one| leads(one.phase)) {
        InFlight::Leads
    } else {
        InFlight::Dials
    }
}

impl<S: fmt::Debug, C, F> fmt::Debug for EndpointsConnector<S, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointsConnector")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Round<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.live.iter().map(|one| one.server).collect();
        f.debug_struct("Round")
            .field("servers", &servers)
            .finish_non_exhaustive()
    }
}
