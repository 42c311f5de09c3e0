//! What a driver has only if it was asked for.

use alloc::boxed::Box;
use alloc::string::String;
use core::mem;
use core::time::Duration;

use super::advised::Advised;
use super::budget::Payer;
use super::event::Event;
use super::maybe_send::MaybeSend;
use super::outcome::Last;
use super::renewal::Renewal;
use super::state::Core;
use crate::advice::Actor;
use crate::clock::{self, WallTime};
use crate::outage::SavedOutage;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// What a driver has only if it was asked for. It is in a box of its own, so that
/// a driver without any of this is small.
pub(super) struct Extras<E> {
    /// In a box of its own, as few programs have it and it counts.
    pub(super) payer: Option<Box<Payer>>,
    /// The outage to go on with, until the driver is polled.
    pub(super) restored: Option<SavedOutage>,
    pub(super) classify: Option<Box<dyn Classify<E>>>,
    /// In a box of its own, too.
    pub(super) advised: Option<Box<Advised<E>>>,
    /// A stop that needs another side to act is a slow retry.
    pub(super) unattended: bool,
    /// Who must act, as the advice on the last error says.
    pub(super) actor: Option<Actor>,
    /// Another server can serve the client, as the advice on the last error says.
    pub(super) is_elsewhere: bool,
    /// The last error says something about the client: all servers would say the same.
    pub(super) is_for_all: bool,
    pub(super) wall_clock: Option<Box<dyn WallClock>>,
    pub(super) observe: Option<Box<dyn Observe<E>>>,
    pub(super) describe: Option<Box<dyn Describe<E>>>,
    /// Over how long the first connect is spread.
    pub(super) spread_first: Duration,
    /// The first connect pays the budget, too.
    pub(super) pay_first: bool,
    /// In a box of its own, as few programs have it.
    pub(super) renewal: Option<Box<Renewal>>,
    /// How the last attempt ended, for the caller that is told that the driver
    /// gave up.
    last: Last<E>,
}

impl<E> Default for Extras<E> {
    fn default() -> Self {
        Self {
            payer: None,
            restored: None,
            classify: None,
            advised: None,
            unattended: false,
            actor: None,
            is_elsewhere: false,
            is_for_all: false,
            wall_clock: None,
            observe: None,
            describe: None,
            spread_first: Duration::ZERO,
            pay_first: false,
            renewal: None,
            last: Last::Unknown,
        }
    }
}

/// A closure that judges errors.
pub(super) trait Classify<E>: FnMut(&E) -> Verdict + MaybeSend {}
impl<E, F: FnMut(&E) -> Verdict + MaybeSend> Classify<E> for F {}

/// A closure that sees events.
pub(super) trait Observe<E>: FnMut(&Event<'_, E>) + MaybeSend {}
impl<E, F: FnMut(&Event<'_, E>) + MaybeSend> Observe<E> for F {}

/// A closure that gives the text of an error.
pub(super) trait Describe<E>: FnMut(&E) -> String + MaybeSend {}
impl<E, F: FnMut(&E) -> String + MaybeSend> Describe<E> for F {}

/// A closure that says what time it is.
pub(super) trait WallClock: FnMut() -> WallTime + MaybeSend {}
impl<F: FnMut() -> WallTime + MaybeSend> WallClock for F {}

impl<E, P: Policy> Core<E, P> {
    /// Calls the observers.
    #[inline]
    pub(super) fn tell(&mut self, event: &Event<'_, E>) {
        if let Some(Extras {
            observe: Some(observe),
            ..
        }) = self.extras.as_deref_mut()
        {
            observe(event);
        }
    }

    /// Whether a handle or an observer sees what the driver does, or a count of stops,
    /// or the age of its connections.
    pub(super) fn is_watched(&self) -> bool {
        let extras = self.extras.as_ref();
        self.control().is_some()
            || extras.is_some_and(|extras| {
                extras.observe.is_some() || extras.advised.is_some() || extras.renewal.is_some()
            })
    }

    /// What an error means for the next attempt.
    pub(super) fn judge(&mut self, error: &E) -> Verdict {
        match self.extras.as_deref_mut() {
            Some(Extras {
                classify: Some(classify),
                ..
            }) => classify(error),
            Some(Extras {
                advised: Some(_), ..
            }) => self.judge_advised(error),
            _ => (self.judge)(error, None),
        }
    }

    /// The text of an error, if its type is known.
    #[cold]
    pub(super) fn text(&mut self, error: &E) -> Option<String> {
        if let Some(Extras {
            describe: Some(describe),
            ..
        }) = self.extras.as_deref_mut()
        {
            return Some(describe(error));
        }
        let mut text = String::new();
        (self.judge)(error, Some(&mut text));
        (!text.is_empty()).then_some(text)
    }

    /// Stores how the last attempt ended, for the caller.
    #[cold]
    pub(super) fn set_last(&mut self, last: Last<E>) {
        if self.extras.is_some() || !matches!(last, Last::Unknown) {
            self.extras().last = last;
        }
    }

    /// What was stored.
    pub(super) fn take_last(&mut self) -> Last<E> {
        self.extras.as_mut().map_or(Last::Unknown, |extras| {
            mem::replace(&mut extras.last, Last::Unknown)
        })
    }

    pub(super) fn extras(&mut self) -> &mut Extras<E> {
        self.extras.get_or_insert_default()
    }

    pub(super) fn wall_time(&mut self) -> WallTime {
        match self.extras.as_deref_mut() {
            Some(Extras {
                wall_clock: Some(clock),
                ..
            }) => clock(),
            _ => clock::wall(),
        }
    }
}
