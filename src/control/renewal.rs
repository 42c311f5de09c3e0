//! What a handle asks about the replacement of a connection that is up.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::task::Waker;
use core::time::Duration;

use super::handle::Handle;
use super::status::Status;
use super::{Control, Hold, State, replace};
use crate::clock::Instant;
use crate::sync::lock;

/// A renewal that was asked for.
#[derive(Debug, Default)]
pub(crate) struct AskedRenewal {
    now: bool,
    /// When it was announced that the connection ends, and how long before.
    within: Option<(Instant, Duration)>,
    /// For the attempt.
    pub(crate) hint: Option<Box<str>>,
}

/// How much time there is for a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    /// The connection ends after so long. `Duration::MAX` if nobody knows when.
    Within(Duration),
    /// The program wants it now.
    Now,
}

impl AskedRenewal {
    pub(crate) fn now() -> Self {
        Self {
            now: true,
            ..Self::default()
        }
    }

    pub(crate) fn within(grace: Duration, hint: Option<Box<str>>) -> Self {
        Self {
            now: false,
            within: Some((Instant::now(), grace)),
            hint,
        }
    }

    /// What was asked for, by now.
    pub(crate) fn graces(&self) -> [Option<Grace>; 2] {
        let within = self.within.map(|within| Grace::Within(left(within)));
        [within, self.now.then_some(Grace::Now)]
    }

    /// Both this and what was asked for before.
    fn and(self, before: Option<Box<Self>>) -> Self {
        let Some(before) = before else { return self };
        let earliest = [self.within, before.within].into_iter().flatten();
        Self {
            now: self.now || before.now,
            within: earliest.min_by_key(|&within| left(within)),
            hint: self.hint.or(before.hint),
        }
    }
}

/// What is left of an announced time.
fn left((at, grace): (Instant, Duration)) -> Duration {
    match grace {
        Duration::MAX => grace,
        _ => grace.saturating_sub(at.elapsed()),
    }
}

/// Holds renewals back until it is dropped; made by [`Handle::hold_renewal`].
#[must_use = "renewals are held back until it is dropped"]
pub struct RenewalHold {
    control: Arc<Control>,
}

impl Handle {
    /// Replaces the connection that is up, without an instant without one: the next one
    /// is made while this one still serves.
    ///
    /// Use it at a quiet time, so that a renewal which must come anyway does not come at
    /// peak time. The attempt begins when the driver is polled next. But if the last
    /// renewal was less than [`stable_after`](crate::Config::stable_after) ago, or if
    /// attempts have failed, it waits as the [policy](crate::Redial::policy) says.
    ///
    /// Does nothing if there is no connection. See
    /// [`Redial::max_age`](crate::Redial::max_age) for what follows, and for who drives it.
    pub fn renew_now(&self) {
        self.ask(AskedRenewal::now());
    }

    /// Replaces the connection that is up before it ends: the server announced that it
    /// leaves, and closes the connection after `grace`.
    ///
    /// The attempt begins at a random time in the first two thirds of `grace`, because all
    /// clients of the server hear of this in the same second. The last third is for the
    /// attempt itself. If no new connection is up by the end of `grace`, the present one
    /// ends as one that was closed in good order, with
    /// [`Retry(Busy)`](crate::Cause::Busy), and an attempt that is in flight goes on.
    ///
    /// `Duration::MAX` says that nobody knows when the connection ends. The attempt then
    /// begins after the policy's first wait, and the connection stays until it ends by
    /// itself.
    ///
    /// Further calls for the same connection count if they name an earlier end. All else
    /// is as for [`renew_now`](Self::renew_now).
    pub fn renew_within(&self, grace: Duration) {
        self.ask(AskedRenewal::within(grace, None));
    }

    /// As [`renew_within`](Self::renew_within), with something that the announcer gave for
    /// the next connection: a URL, or a ticket. Exactly one attempt gets it, as its
    /// [`AttemptInfo::hint`](crate::AttemptInfo::hint). If that attempt fails, the next
    /// one comes without it.
    pub fn renew_with_hint(&self, grace: Duration, hint: &str) {
        self.ask(AskedRenewal::within(grace, Some(hint.into())));
    }

    /// Holds back renewals until the guard is dropped: for a turn of a protocol that must
    /// not be split over two connections.
    ///
    /// A renewal that is due meanwhile begins when the guard is dropped. An attempt that
    /// is in flight goes on. If the server announced when it closes the connection, the
    /// connection ends then, also under a guard.
    ///
    /// ```
    /// # async fn doc(handle: redial::Handle) {
    /// let turn = handle.hold_renewal();
    /// // Ask, and read the answer.
    /// drop(turn);
    /// # }
    /// ```
    pub fn hold_renewal(&self) -> RenewalHold {
        let control = self.control.clone();
        lock(&control.state).renewal_holds += 1;
        RenewalHold { control }
    }

    fn ask(&self, asked: AskedRenewal) {
        self.control.disturb(|state| state.ask(asked));
    }
}

impl State {
    fn ask(&mut self, asked: AskedRenewal) {
        if let Status::Connected { .. } = self.status {
            let before = self.asked.take();
            let before = before.filter(|&(generation, _)| generation == self.generation);
            let asked = asked.and(before.map(|(_, before)| before));
            self.asked = Some((self.generation, Box::new(asked)));
        }
    }
}

impl Control {
    /// The renewal of the present connection that handles ask for.
    pub(crate) fn take_renewal(&self) -> Option<Box<AskedRenewal>> {
        if !self.is_disturbed() {
            return None;
        }
        let mut state = lock(&self.state);
        let (generation, asked) = state.asked.take()?;
        self.flag(&state);
        (generation == state.generation).then_some(asked)
    }

    /// Whether renewals are held back, or all attempts are. If so, `waker` is woken when
    /// that changes.
    pub(crate) fn holds_renewal(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.renewal_holds == 0 && state.hold == Hold::Nothing {
            return false;
        }
        let before = replace(&mut state.driver, waker);
        drop(state);
        drop(before);
        true
    }
}

impl Drop for RenewalHold {
    fn drop(&mut self) {
        self.control.command(|state| state.renewal_holds -= 1);
    }
}

impl fmt::Debug for RenewalHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewalHold").finish_non_exhaustive()
    }
}
