//! Renewal: a connection is replaced while it still serves.
//!
//! A connection ends at a time that is known: it reaches its
//! [`max_age`](Redial::max_age), or the server announces that it leaves. Then the driver
//! makes the next one beside it. All that a renewal knows is in a box of its own, which
//! the driver has only if it was asked for a renewal.
//!
//! ```text
//! Idle ---due---> Told ---> Paying ---> Flying ---> a new connection, Idle
//!  ^                                      |
//!  +------------ failed: the policy's wait
//! ```
//!
//! All this happens in `Phase::Up`, in which the driver's flight is free:
//!
//! - The attempt uses that flight. So there is one attempt at most, and if the connection
//!   is lost meanwhile, the attempt is already where that of the outage belongs:
//!   [`Core::adopt`].
//! - The waits are those of a history beside that of the outage
//!   ([`Outage::replaces`](crate::Outage)), so failures have no effect on the outage, and
//!   a short-lived successor waits as a client does that is accepted and dropped.
//! - Who owns the connection polls the renewal, and does what [`Turn`] says.

use alloc::boxed::Box;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::Redial;
use super::budget::Token;
use super::connect::Connect;
use super::event::Event;
use super::flight::Flight;
use super::state::{Core, Phase};
use crate::clock::{after, wall_nanos};
use crate::control::{AskedRenewal, Control, Ending, Grace};
use crate::nanos::{nanos, scale};
use crate::outage::{AttemptPhase, Next};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

/// The longest time that a connection lives after it was replaced. Fixed times of 15 s
/// have cut requests short (igrigorik/http-2 193), and without a limit some connections
/// stay forever (envoyproxy/envoy 34565).
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// The longest time from waking until a renewal notices that the device slept.
const NAP: u64 = nanos(Duration::from_secs(60));
/// A wall clock may be corrected by so much without being taken for a sleep.
const WALL_SLACK: u64 = nanos(Duration::from_secs(2));
/// A time that does not come.
pub(super) const NEVER: u64 = u64::MAX;

/// What a driver knows about the next renewal. Times are on the driver's stopwatch.
pub(super) struct Renewal {
    /// The most that a connection may live.
    max_age: u64,
    /// The server allows one connection at a time.
    pub(super) one_at_a_time: bool,
    pub(super) step: Step,
    /// When the next attempt is due.
    pub(super) due: u64,
    /// When the server ends the connection, if it said so.
    pub(super) end: u64,
    pub(super) series: Series,
    /// What the announcer gave for the next attempt.
    pub(super) hint: Option<Box<str>>,
    /// The last look at both clocks.
    looked: Option<(u64, u64)>,
    pub(super) attempt: Attempt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is due, or the renewal is held back.
    Idle,
    /// The observers know that an attempt is due.
    Told,
    /// The budget was asked for a token, and may take until then to answer.
    Asking(u64),
    /// The token is due then.
    Paying(u64),
    /// The attempt is in flight.
    Flying,
}

/// What `due` is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    /// The end of the connection's age, or nothing.
    Age,
    /// Chosen at random, so that a fleet is spread. Who asks for a renewal may bring it
    /// forward.
    Drawn,
    /// As the policy says.
    Policy,
    /// Another attempt cannot help.
    Over,
}

/// The attempt in flight.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) since: u64,
    pub(super) deadline: u64,
    pub(super) phase: AttemptPhase,
}

impl Attempt {
    pub(super) const NONE: Self = Self {
        since: 0,
        deadline: NEVER,
        phase: AttemptPhase::Unknown,
    };
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            max_age: NEVER,
            one_at_a_time: false,
            step: Step::Idle,
            due: NEVER,
            end: NEVER,
            series: Series::Age,
            hint: None,
            looked: None,
            attempt: Attempt::NONE,
        }
    }
}

impl Renewal {
    /// The present connection is gone, or it is a new one. What is settled for all
    /// connections stays, and so does the hint, until an attempt takes it.
    pub(super) fn rest(&mut self) {
        self.step = Step::Idle;
        (self.due, self.end) = (NEVER, NEVER);
        self.series = Series::Age;
        self.looked = None;
        self.attempt = Attempt::NONE;
    }

    /// The server has said when it ends the connection.
    pub(super) fn is_announced(&self) -> bool {
        self.end != NEVER
    }

    /// The device slept for so long, and what is due came nearer.
    fn slept(&mut self, time: u64) {
        for at in [&mut self.due, &mut self.end] {
            if *at != NEVER {
                *at = at.saturating_sub(time);
            }
        }
    }

    /// When something happens, other than in the attempt.
    fn next(&self) -> u64 {
        let step = match self.step {
            Step::Idle => self.due,
            Step::Told => NEVER,
            Step::Asking(at) | Step::Paying(at) => at,
            Step::Flying => self.attempt.deadline,
        };
        step.min(self.end)
    }
}

/// What the owner of the connection must do.
pub(crate) enum Turn<T> {
    /// This is the new connection. The present one still lives.
    Renewed(T),
    /// End the present connection so: it has come to its announced end, or the server
    /// allows no other beside it.
    End(Ending),
    /// Close the connection that was replaced before, because a third one is due.
    NeedsRoom,
}

impl<E, P: Policy> Core<E, P> {
    /// What the renewals have, made if there is nothing yet.
    pub(super) fn renewal(&mut self) -> &mut Renewal {
        self.extras().renewal.get_or_insert_default()
    }

    /// The same, if there is something.
    #[inline]
    fn known_renewal(&mut self) -> Option<&mut Renewal> {
        self.extras.as_mut()?.renewal.as_deref_mut()
    }

    #[inline]
    pub(super) fn renews(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.renewal.is_some())
    }

    pub(super) fn flies_beside(&mut self) -> bool {
        let renewal = self.known_renewal();
        renewal.is_some_and(|renewal| renewal.step == Step::Flying)
    }

    /// Connections that come up from now on are so old at most. Also the present one.
    pub(super) fn set_max_age(&mut self, age: u64) {
        self.renewal().max_age = age;
        if let Phase::Up { since } = self.phase {
            let since = since.get().unwrap_or_else(|| self.now());
            if self.renewal().series == Series::Age {
                self.draw_age(since);
            }
        }
    }

    /// From now on a connection is closed before the next one is made.
    pub(super) fn set_one_at_a_time(&mut self) {
        self.renewal().one_at_a_time = true;
    }

    /// Draws the age of a connection, once.
    ///
    /// The age is never longer than the limit, because some servers cut at theirs. A
    /// fifth of it is enough to tell connections apart that came up together (1,500
    /// clients with ±10 % of ten minutes still moved as one, grpc/grpc-java 5366).
    pub(super) fn draw_age(&mut self, since: u64) {
        let max_age = self.renewal().max_age;
        if max_age == NEVER {
            return;
        }
        let less = scale(self.outage.random(), max_age / 5);
        let age = Duration::from_nanos(max_age - less);
        self.renewal().due = after(since, age);
    }

    /// A connection has come up in an outage, or at first.
    pub(super) fn begin_age(&mut self) {
        if !self.renews() {
            return;
        }
        let now = self.now();
        self.outage.not_beside(Duration::from_nanos(now));
        self.renewal().rest();
        self.draw_age(now);
    }

    /// The connection is gone. An attempt that flies beside it must be ended, too.
    pub(super) fn end_renewal(&mut self) {
        if let Some(renewal) = self.known_renewal() {
            renewal.rest();
            self.refund();
        }
    }

    /// The hint for an attempt that begins.
    #[inline]
    pub(super) fn take_hint(&mut self) -> Option<Box<str>> {
        self.known_renewal()?.hint.take()
    }

    /// A renewal of the present connection is asked for.
    pub(super) fn ask_for_renewal(&mut self, asked: AskedRenewal) {
        if !matches!(self.phase, Phase::Up { .. }) {
            return;
        }
        let now = self.look_at_clocks();
        let renewal = self.renewal();
        let is_under_way = renewal.step != Step::Idle;
        let graces = asked.graces();
        if asked.hint.is_some() {
            renewal.hint = asked.hint;
        }
        for grace in graces.into_iter().flatten() {
            let end = match grace {
                Grace::Within(lead) if lead != Duration::MAX => after(now, lead),
                _ => NEVER,
            };
            self.renewal().end = end.min(self.renewal().end);
            if !is_under_way {
                self.bring_forward(now, end, grace);
            }
        }
    }

    /// Chooses when the attempt is due, after somebody asked for it.
    fn bring_forward(&mut self, now: u64, end: u64, grace: Grace) {
        let due = match self.renewal().series {
            Series::Over if grace != Grace::Now => return,
            // It has failed, or the last renewal was a moment ago.
            Series::Policy => return,
            Series::Drawn if grace == Grace::Now => now,
            Series::Drawn => {
                // An end that is no earlier than the known one says nothing new.
                let spread = end.saturating_sub(now) / 3 * 2;
                if self.renewal().due <= now.saturating_add(spread) {
                    return;
                }
                now + scale(self.outage.random(), spread)
            }
            Series::Age | Series::Over => match self.replaces(now) {
                // One third of the lead is left for the attempt.
                Some(wait) if self.renewal().series == Series::Drawn => match grace {
                    Grace::Now => now,
                    Grace::Within(Duration::MAX) => after(now, wait),
                    Grace::Within(_) => {
                        now + scale(self.outage.random(), end.saturating_sub(now) / 3 * 2)
                    }
                },
                Some(wait) => after(now, wait),
                None => NEVER,
            },
        };
        self.renewal().due = due;
    }

    /// A series of attempts begins: the policy's wait before the first one. The series
    /// says whether it counts.
    fn replaces(&mut self, now: u64) -> Option<Duration> {
        let (next, is_fresh) = self.outage.replaces(Duration::from_nanos(now));
        let (series, wait) = match next {
            Next::Wait(wait) if is_fresh => (Series::Drawn, Some(wait)),
            Next::Wait(wait) => (Series::Policy, Some(wait)),
            Next::GiveUp(_) => (Series::Over, None),
        };
        self.renewal().series = series;
        wait
    }

    /// Reads both clocks, and brings forward what is due if the device slept.
    fn look_at_clocks(&mut self) -> u64 {
        let now = self.now();
        let wall = wall_nanos(self.wall_time());
        let renewal = self.renewal();
        if let Some((then, wall_then)) = renewal.looked {
            let slept = wall.saturating_sub(wall_then).saturating_sub(now - then);
            if slept > WALL_SLACK {
                renewal.slept(slept);
            }
        }
        renewal.looked = Some((now, wall));
        now
    }

    /// Drives the renewal of a connection that is up. `has_room` if no connection from
    /// before it is left.
    pub(super) fn poll_renewal<C>(
        &mut self,
        connector: &mut C,
        mut flight: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
        has_room: bool,
    ) -> Poll<Turn<C::Connection>>
    where
        C: Connect<Error = E>,
    {
        loop {
            let now = self.look_at_clocks();
            if self.renewal().end <= now {
                let verdict = Verdict::Retry(Cause::Busy);
                return Poll::Ready(Turn::End(Ending::Lost(verdict)));
            }
            let mut next = None;
            let Renewal { step, due, .. } = *self.renewal();
            match step {
                Step::Idle if due > now => {}
                // Until whoever holds it lets go.
                Step::Idle if self.is_renewal_held(cx) => next = Some(self.renewal().end),
                Step::Idle => {
                    if self.renewal().series == Series::Age {
                        let wait = self.replaces(now);
                        if self.renewal().series != Series::Drawn {
                            self.renewal().due = wait.map_or(NEVER, |wait| after(now, wait));
                            continue;
                        }
                    }
                    self.renewal().step = Step::Told;
                    let attempt = self.attempt_beside();
                    self.tell(&Event::RenewalDue { attempt });
                    // The observers may close the driver or hold the renewal.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Told if self.is_renewal_held(cx) => {
                    self.renewal().step = Step::Idle;
                    continue;
                }
                Step::Told if !has_room => return Poll::Ready(Turn::NeedsRoom),
                Step::Told => {
                    let token = self.pay_beside(now);
                    if let Some(turn) = self.has_token(now, token, connector, flight.as_mut()) {
                        return Poll::Ready(turn);
                    }
                    continue;
                }
                Step::Asking(until) => {
                    let answer = self.poll_asked_beside(now, cx);
                    let token = match answer {
                        Poll::Ready(token) => Some(token),
                        Poll::Pending if until <= now => {
                            self.refund();
                            Some(Token::There)
                        }
                        Poll::Pending => None,
                    };
                    if let Some(token) = token {
                        if let Some(turn) = self.has_token(now, token, connector, flight.as_mut()) {
                            return Poll::Ready(turn);
                        }
                        continue;
                    }
                }
                Step::Paying(at) if at > now => {}
                Step::Paying(at) => {
                    if !self.spend_token(at) {
                        self.renewal().step = Step::Told;
                        continue;
                    }
                    if let Some(turn) = self.begin_beside(now, connector, flight.as_mut()) {
                        return Poll::Ready(turn);
                    }
                    continue;
                }
                Step::Flying => match self.poll_beside(now, connector, flight.as_mut(), cx) {
                    Poll::Ready(Ok(connection)) => {
                        flight.disarm();
                        self.renewed(now);
                        return Poll::Ready(Turn::Renewed(connection));
                    }
                    Poll::Ready(Err(failure)) => {
                        self.not_renewed(now, failure, connector.wants_last_error());
                        continue;
                    }
                    Poll::Pending => {}
                },
            }
            let next = next.unwrap_or_else(|| self.renewal().next());
            if next == NEVER {
                flight.disarm();
                return Poll::Pending;
            }
            let until = self.instant(next.min(now.saturating_add(NAP)));
            if flight.as_mut().poll_sleep(until, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whether a handle holds renewals back. It wakes the task when it lets go.
    fn is_renewal_held(&self, cx: &Context<'_>) -> bool {
        self.control()
            .is_some_and(|control| control.holds_renewal(cx.waker()))
    }
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// Whether renewals were ever asked for.
    #[inline]
    pub(crate) fn renews(&self) -> bool {
        self.core.renews()
    }

    /// Drives the renewal of the connection that is up, if one was asked for. `has_room`
    /// if no connection from before it is left.
    #[cold]
    pub(crate) fn poll_renewal(
        &mut self,
        cx: &mut Context<'_>,
        has_room: bool,
    ) -> Poll<Turn<C::Connection>> {
        if !matches!(self.core.phase, Phase::Up { .. }) {
            return Poll::Pending;
        }
        self.take_asked();
        if !self.core.renews() {
            return Poll::Pending;
        }
        let flight = self.flight.get_or_insert_with(|| Box::pin(Flight::none()));
        self.core
            .poll_renewal(&mut self.connector, flight.as_mut(), cx, has_room)
    }

    /// Notes what a handle asks for.
    pub(super) fn take_asked(&mut self) {
        let asked = self.core.control().and_then(Control::take_renewal);
        if let Some(asked) = asked {
            self.core.ask_for_renewal(*asked);
        }
    }
}
