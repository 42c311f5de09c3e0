//! The settings of a driver, in any order and at any time.

use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use super::Redial;
use super::budget::Payer;
use super::connect::Connect;
use super::event::Event;
use super::maybe_send::MaybeSend;
use super::state::Phase;
use crate::advice::Advice;
use crate::budget::AnyBudget;
use crate::clock::WallTime;
use crate::outage::{SavedOutage, config_setters};
use crate::policy::Policy;
use crate::verdict::Verdict;

/// Settings. Their order does not matter. On a driver that is in use, each one
/// takes effect when its description says. Of the limits, `attempt_timeout` and
/// `patience` take effect with the next attempt, `max_attempts`, `max_elapsed` and
/// `hint_cap` when the next attempt fails or the connection is lost, and
/// `stable_after` at once, also for a present connection. `max_elapsed` also limits
/// the attempt that begins next. Closures must be `Send`, except on
/// wasm32; see [`MaybeSend`], also for drivers in a `LocalSet`.
impl<C: Connect, P: Policy> Redial<C, P> {
    /// Waits as `policy` says.
    ///
    /// Takes effect with the next wait. An outage that goes on keeps its
    /// attempts and its time, and the new policy begins with its first wait.
    pub fn policy<Q: Policy>(self, policy: Q) -> Redial<C, Q> {
        Redial {
            connector: self.connector,
            connection: self.connection,
            flight: self.flight,
            core: self.core.with_outage(|outage| outage.with_policy(policy)),
        }
    }

    /// Takes a token from `budget` for each attempt but the first. So the
    /// budget limits how often all drivers that share it reconnect: a
    /// [`TokenBucket`](crate::TokenBucket) those of one process, or any other
    /// [`Budget`](crate::Budget).
    ///
    /// ```
    /// # async fn log_in() -> Result<(), std::io::Error> { Ok(()) }
    /// use redial::{Redial, TokenBucket};
    /// use std::time::Duration;
    ///
    /// let bucket = TokenBucket::new(1, Duration::from_millis(100));
    /// let one = Redial::new(log_in).budget(&bucket);
    /// let another = Redial::new(log_in).budget(&bucket);
    /// ```
    ///
    /// If there is no token, the attempt waits for its own after the policy's
    /// wait, even if the server gave it a [slot](Verdict::Slot). The first
    /// connect is free.
    ///
    /// A budget beyond this process must be asked. It has some 200 ms for its
    /// answer; without one the attempt is made without a token
    /// ([`Budget::bound`](crate::Budget::bound)).
    /// [`Handle::retry_now`](crate::Handle::retry_now) ends neither the question nor
    /// the wait. A pause ends both, and gives the token back.
    ///
    /// Takes effect at the end of the present wait. If the driver already waits
    /// for a token of another budget, it gives that back and asks the new one at
    /// once.
    pub fn budget(mut self, budget: impl Into<AnyBudget>) -> Self {
        if let Phase::Asking | Phase::Paying { .. } = self.core.phase {
            self.core.pay_anew();
        }
        self.core.extras().payer = Some(Box::new(Payer::new(budget.into())));
        self
    }

    /// Judges errors: `classify` says what each one means for the next attempt.
    ///
    /// By default an `io::Error` is judged by its kind (see [`Verdict`]), also
    /// if it is inside of a boxed error. An error of any other type means
    /// `Retry(Down)`. So if a wrong password is an error type of yours, it stops
    /// nothing unless this closure says so. [`codes`](crate::codes) has tables for the
    /// codes of well-known protocols.
    ///
    /// An attempt that times out has no error of the connector's. It is
    /// [`Cause::Stalled`](crate::Cause::Stalled), or [`Cause::Down`](crate::Cause::Down)
    /// if the connector tells that it still dials.
    ///
    /// Replaces [`advise`](Self::advise). Takes effect with the next error.
    pub fn classify(
        mut self,
        classify: impl FnMut(&C::Error) -> Verdict + MaybeSend + 'static,
    ) -> Self {
        let extras = self.core.extras();
        extras.advised = None;
        extras.classify = Some(Box::new(classify));
        self
    }

    /// Judges errors by advice: `advise` finds the code in an error, and asks a table of
    /// [`codes`](crate::codes) for it.
    ///
    /// `None` means that the error has no code, or none that concerns the connection. It
    /// is judged as if there were no closure; for an error type of your own, that is
    /// `Retry(Down)`. If such a type has an `io::Error` among its sources,
    /// `Some(Verdict::of(error).into())` is the advice.
    ///
    /// ```
    /// use redial::codes::{Advice, redis};
    /// use redial::Redial;
    /// use std::io;
    ///
    /// enum Failure {
    ///     Io(io::Error),
    ///     /// The server answers with an error, such as `WRONGPASS`.
    ///     Refused(String),
    /// }
    ///
    /// impl Failure {
    ///     fn advice(&self) -> Option<Advice> {
    ///         match self {
    ///             Self::Io(error) => Some(error.into()),
    ///             Self::Refused(reply) => redis::error(reply),
    ///         }
    ///     }
    /// }
    ///
    /// async fn log_in() -> Result<(), Failure> {
    ///     // …
    /// #   Ok(())
    /// }
    ///
    /// let redial = Redial::new(log_in).advise(Failure::advice);
    /// ```
    ///
    /// # Stops that must come twice
    ///
    /// Most stops of the tables [need a second answer](Advice::needs_repeat). The driver
    /// counts them, as [`StopOnRepeat`](crate::codes::StopOnRepeat) describes:
    ///
    /// - On a client that was never connected, the first one stops the driver.
    /// - On a client that was connected, the first one is a retry. An outage that was
    ///   [restored](Self::restore) counts as one of such a client, and so does one that
    ///   goes on when this setting is made.
    /// - A person at a button watches. So in an attempt that follows
    ///   [`Handle::retry_now`](crate::Handle::retry_now), or
    ///   [`Handle::reconnect`](crate::Handle::reconnect) after settings have changed, the
    ///   first one stops the driver, too. A later attempt is again as before.
    ///
    /// Who must act is in [`Error::actor`](crate::Error::actor), in
    /// [`Why::actor`](crate::Why::actor) of the status, and in the events. The status has
    /// it also while the driver tries again.
    ///
    /// Replaces [`classify`](Self::classify). Takes effect with the next error.
    pub fn advise(
        mut self,
        advise: impl FnMut(&C::Error) -> Option<Advice> + MaybeSend + 'static,
    ) -> Self {
        self.core.advise(Box::new(advise));
        self
    }

    /// Never stops for what the other side must mend: for a program that nobody watches.
    ///
    /// An [advised](Self::advise) stop becomes a retry after five minutes, unless only
    /// this side can act; see [`Advice::unattended`]. A server's operator mends an expired
    /// certificate at night, and the clients come back by themselves.
    ///
    /// Verdicts of [`classify`](Self::classify) do not say who must act, so without
    /// `advise` this does nothing. Takes effect with the next error.
    pub fn unattended(mut self) -> Self {
        self.core.extras().unattended = true;
        self
    }

    config_setters!(this => *this.core.outage.config_mut());

    /// Says how to print an error, for [`Why::error`](crate::Why::error) in the
    /// status.
    ///
    /// By default the driver prints `io::Error`, `Box<dyn Error>`, `String` and
    /// `&str`, with the feature `codec` also the errors of tokio-util's codecs, and no
    /// other type. An error whose text does not repeat that of its
    /// source needs both:
    ///
    /// ```
    /// # use redial::Redial;
    /// # async fn log_in() -> Result<(), redial::Error<std::io::Error>> { Ok(()) }
    /// use std::error::Error;
    ///
    /// let redial = Redial::new(log_in).describe(|error| match error.source() {
    ///     Some(source) => format!("{error}: {source}"),
    ///     None => error.to_string(),
    /// });
    /// ```
    ///
    /// Takes effect with the next error.
    pub fn describe(
        mut self,
        describe: impl FnMut(&C::Error) -> String + MaybeSend + 'static,
    ) -> Self {
        self.core.extras().describe = Some(Box::new(describe));
        self
    }

    /// Spreads the first connect over this time: for apps that start together,
    /// after a power cut or when a release is rolled out. Zero by default.
    ///
    /// The wait is random, and shown as [`Waiting`](crate::Status::Waiting). Of a
    /// [`Handle`](crate::Handle)'s presses only
    /// [`retry_now`](crate::Handle::retry_now) ends it. It does not count for
    /// [`max_elapsed`](Self::max_elapsed).
    ///
    /// Takes effect with the first attempt; later it does nothing.
    pub fn spread_first(mut self, over: Duration) -> Self {
        self.core.extras().spread_first = over;
        self.core.first_is_special();
        self
    }

    /// Makes the first connect pay the [budget](Self::budget), too: for programs
    /// that start many clients at once. By default it is free.
    ///
    /// Takes effect with the first attempt; later it does nothing.
    pub fn pay_first(mut self) -> Self {
        self.core.extras().pay_first = true;
        self.core.first_is_special();
        self
    }

    /// The least time between the beginning of an attempt and the next one that a
    /// [`Handle`](crate::Handle) asks for: 1 s by default.
    ///
    /// So a press that is repeated, or a program that presses at each wait, makes at
    /// most one attempt in this time.
    ///
    /// Takes effect with the next press.
    pub fn press_interval(self, interval: Duration) -> Self {
        self.core_control().set_press_interval(interval);
        self
    }

    /// Makes the waits the same for the same seed: for tests.
    ///
    /// Clients that share a seed retry in lockstep, so a fleet must not share
    /// one.
    ///
    /// Takes effect with the next outage.
    pub fn seed(mut self, seed: u64) -> Self {
        self.core.outage = self.core.outage.seed(seed);
        self
    }

    /// Calls `observe` at each [`Event`]: for logs and metrics.
    ///
    /// Observers stack: each one is called, in the order in which they were
    /// added. An observer runs inside the poll, so it must not block.
    ///
    /// Takes effect with the next event.
    pub fn observe(
        mut self,
        mut observe: impl FnMut(&Event<'_, C::Error>) + MaybeSend + 'static,
    ) -> Self
    where
        C::Error: 'static,
    {
        let extras = self.core.extras();
        extras.observe = Some(match extras.observe.take() {
            // A driver with one observer pays for no list.
            None => Box::new(observe),
            Some(mut before) => Box::new(move |event| {
                before(event);
                observe(event);
            }),
        });
        self
    }

    /// Goes on with an outage that was [saved](Self::save) `away` ago; see
    /// [`Outage::restore`](crate::Outage::restore).
    ///
    /// Takes effect when the driver is used next: the rest of the saved wait
    /// runs from then on. If the outage was saved during an attempt or a
    /// connection, these count as lost then, and the policy says how long to
    /// wait.
    ///
    /// A driver that is in use drops its connection and its attempt, and forgets
    /// its own outage. A driver that was closed stays closed.
    pub fn restore(mut self, saved: &SavedOutage, away: Duration) -> Self {
        if !matches!(self.core.phase, Phase::Closed) {
            self.connection = None;
            self.flight = None;
            self.core.restore(saved.later(away));
        }
        self
    }

    /// The clock that shows that the device slept: the system's by default.
    ///
    /// On Linux, Android, macOS and iOS the monotonic clock stops while the
    /// device is suspended; on Windows it goes on. So the driver looks at a wait
    /// every fifteen seconds if more than that is left. If the wall clock has
    /// moved two seconds more than the monotonic clock, the difference is taken
    /// off the wait. An attempt that would be overdue is made within a second.
    /// At worst, a client whose wall clock was corrected tries once out of turn.
    ///
    /// Takes effect at once: the driver reads the new clock if it waits.
    pub fn wall_clock(mut self, clock: impl FnMut() -> WallTime + MaybeSend + 'static) -> Self {
        self.core.extras().wall_clock = Some(Box::new(clock));
        self.core.nap_anew();
        self
    }
}
