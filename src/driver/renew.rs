//! The calls that ask for renewals, and the future that drives one.

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::Redial;
use super::connect::Connect;
use super::renewal::Turn;
use super::state::Phase;
use crate::control::AskedRenewal;
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::policy::Policy;

/// # Renewals
///
/// A renewal replaces a connection while it still serves, so that there is no instant
/// without one.
impl<C: Connect, P: Policy> Redial<C, P> {
    /// Replaces each connection before it is so old: for servers that cut connections at a
    /// known age, and for balancers. No limit by default.
    ///
    /// The age at which the attempt begins is drawn once for each connection, from four
    /// fifths of `age` to all of it. So connections that came up together are not replaced
    /// together, and none gets older than `age`, except by the time of the attempt. Give
    /// that some room: 23.5 hours for a server that cuts after 24. Time in which the
    /// device sleeps counts.
    ///
    /// # What a renewal does
    ///
    /// - The next connection is made while the present one serves. When it is up, it takes
    ///   the place of the present one. Its [generation](crate::Status::Connected) is
    ///   higher by 1. There is no outage.
    /// - An attempt that fails harms nothing. The next one follows after a wait of the
    ///   [policy](Self::policy), and the present connection serves on. Attempts pay the
    ///   [budget](Self::budget), and do not count for [`max_attempts`](Self::max_attempts)
    ///   and [`max_elapsed`](Self::max_elapsed). After a [`Stop`](crate::Verdict::Stop)
    ///   none follows. The [observers](Self::observe) are told.
    /// - If the present connection is lost meanwhile, the attempt in flight is the first
    ///   one of the outage: it is not begun anew, and there is no wait before it.
    /// - If the last renewal was less than [`stable_after`](Self::stable_after) ago, the
    ///   attempt waits as after a connection that was accepted and dropped.
    ///
    /// # Who drives it
    ///
    /// | | when it is polled | the old connection |
    /// |---|---|---|
    /// | [`Session`](crate::Session) | with each half that waits | is read for up to 30 s, see [there](crate::Session#renewal) |
    /// | [`Shared`](crate::Shared) | in `ready` and `watch` | stays with the tasks that have it, see [there](crate::Shared#renewal) |
    /// | [`run`](Self::run) | beside the session | stays with its session for up to 30 s |
    /// | [`renewed`](Self::renewed) | in that future | is handed back |
    /// | [`RedialIo`](crate::RedialIo) | never | |
    ///
    /// A `RedialIo` cannot know where a frame of its protocol ends, so it cannot move to
    /// another connection.
    ///
    /// Takes effect at once, also for the present connection, and replaces the age that was
    /// set before.
    ///
    /// # Panics
    ///
    /// If `age` is less than twice the [`attempt_timeout`](Self::attempt_timeout);
    /// [`try_max_age`](Self::try_max_age) does not.
    #[track_caller]
    pub fn max_age(self, age: Duration) -> Self {
        expect(self.try_max_age(age))
    }

    /// As [`max_age`](Self::max_age).
    ///
    /// # Errors
    ///
    /// If `age` is less than twice the [`attempt_timeout`](Self::attempt_timeout) that is
    /// set at the time of this call, or less than 26 s if none is: a slow server would be
    /// asked for connections all the time.
    pub fn try_max_age(mut self, age: Duration) -> Result<Self, InvalidConfig> {
        let least = self.core.outage.config_mut().least_age();
        if age < least {
            return Err(InvalidConfig::duration(
                "max_age",
                age,
                alloc::format!(
                    "a slow server would make connections all the time; allow at least \
                     {least:?}, twice the attempt_timeout"
                ),
            ));
        }
        self.core.set_max_age(nanos(age));
        Ok(self)
    }

    /// Closes a connection before its renewal makes the next one: for servers that allow a
    /// client one connection at a time. By default both are there for a moment.
    ///
    /// A server that ends the old connection when the new one logs in needs no such
    /// setting: that end is no loss.
    ///
    /// The present connection is then lost at the time at which its renewal is due, with
    /// [`Retry(Busy)`](crate::Cause::Busy), and the attempt follows at once. The connector
    /// can find out by itself, too: by advice with
    /// [`one_at_a_time`](crate::codes::Advice::one_at_a_time). If it does in a renewal, and
    /// the server announced when it ends the present connection, that one serves until
    /// then.
    ///
    /// Takes effect with the next attempt.
    pub fn one_at_a_time(mut self) -> Self {
        self.core.set_one_at_a_time();
        self
    }

    /// Replaces the present connection before it ends; see
    /// [`Handle::renew_within`](crate::Handle::renew_within).
    pub fn renew_within(&mut self, grace: Duration) {
        self.core.ask_for_renewal(AskedRenewal::within(grace, None));
    }

    /// As [`renew_within`](Self::renew_within), with a hint for one attempt; see
    /// [`Handle::renew_with_hint`](crate::Handle::renew_with_hint).
    pub fn renew_with_hint(&mut self, grace: Duration, hint: &str) {
        self.core
            .ask_for_renewal(AskedRenewal::within(grace, Some(hint.into())));
    }

    /// Replaces the present connection now; see
    /// [`Handle::renew_now`](crate::Handle::renew_now).
    pub fn renew_now(&mut self) {
        self.core.ask_for_renewal(AskedRenewal::now());
    }

    /// Drives the renewals of the present connection, and waits until it has a successor.
    ///
    /// Returns the connection before, if the driver still has it, so that it can be closed
    /// in good order. If it was [taken](Self::take), its owner has it, and this returns
    /// `None`. The successor is lent by [`ready`](Self::ready) and handed over by
    /// [`take`](Self::take).
    ///
    /// It also returns if the connection ends without a successor: at its announced end, or
    /// because the server allows [one at a time](Self::one_at_a_time). `ready` then waits
    /// for the next one. The same holds if a handle ends it, and if there is none.
    ///
    /// Without a renewal that was asked for, it waits forever.
    ///
    /// ```
    /// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
    /// use redial::{Redial, tcp};
    /// use std::time::Duration;
    /// use tokio::io::{AsyncBufReadExt, BufReader};
    ///
    /// let mut redial = Redial::new(tcp::connect("news.example:119"))
    ///     .max_age(Duration::from_secs(3600));
    /// loop {
    ///     redial.ready().await?;
    ///     let Some(stream) = redial.take() else { continue };
    ///     let mut lines = BufReader::new(stream).lines();
    ///     loop {
    ///         tokio::select! {
    ///             line = lines.next_line() => match line {
    ///                 Ok(Some(line)) => println!("{line}"),
    ///                 _ => break, // the next `ready` knows that it is lost
    ///             },
    ///             _ = redial.renewed() => break, // the next `ready` is ready
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If it must wait for a renewal outside of a tokio runtime with a time driver.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the attempt in flight and the place in a wait
    /// stay in the driver.
    pub fn renewed(&mut self) -> Renewed<'_, C, P> {
        Renewed {
            redial: self,
            waits: false,
        }
    }

    /// As [`renewed`](Self::renewed), for futures that are written by hand.
    ///
    /// # Panics
    ///
    /// As [`renewed`](Self::renewed).
    pub fn poll_renewed(&mut self, cx: &mut Context<'_>) -> Poll<Option<C::Connection>> {
        if let Some(gone) = self.obey() {
            return Poll::Ready(Some(gone));
        }
        if self.core.is_closed() || !matches!(self.core.phase, Phase::Up { .. }) {
            return Poll::Ready(None);
        }
        if self.await_disturbance(cx.waker()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match ready!(self.poll_renewal(cx, true)) {
            Turn::Renewed(connection) => {
                // One that was handed over is with its owner.
                Poll::Ready(self.connection.replace(connection))
            }
            Turn::End(ending) => {
                let gone = self.connection.take();
                self.end(ending, None);
                Poll::Ready(gone)
            }
            // There is room.
            Turn::NeedsRoom => Poll::Pending,
        }
    }

    /// Drops the attempt that flies beside the connection, if there is one.
    pub(super) fn end_flight(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.as_mut().end();
            flight.as_mut().disarm();
        }
    }
}

/// The future that [`Redial::renewed`] returns.
///
/// # Cancel safety
///
/// Dropping it loses nothing; see [`Redial::renewed`].
#[must_use = "futures do nothing unless polled"]
pub struct Renewed<'a, C: Connect, P: Policy> {
    redial: &'a mut Redial<C, P>,
    /// It was polled, and was not ready.
    waits: bool,
}

impl<C: Connect, P: Policy> Future for Renewed<'_, C, P> {
    type Output = Option<C::Connection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !mem::replace(&mut self.waits, true) {
            // A timer belongs to the runtime in which it was made.
            self.redial.disarm();
        }
        self.redial.poll_renewed(cx)
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Renewed<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Renewed").field(&self.redial).finish()
    }
}
