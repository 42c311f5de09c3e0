//! What a driver has only if it was asked for.

use alloc::boxed::Box;

use super::budget::Budget;
use super::event::Event;
use super::phases::Core;
use crate::clock::{self, WallTime};
use crate::outage::SavedOutage;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// What a driver has only where it was asked for: a fleet of those that have
/// none is smaller.
pub(super) struct Extras<E> {
    pub(super) budget: Budget,
    /// The outage to go on with, until the driver is polled.
    pub(super) restored: Option<SavedOutage>,
    pub(super) classify: Option<Classifier<E>>,
    pub(super) wall_clock: Option<Box<dyn FnMut() -> WallTime + Send>>,
    pub(super) observe: Option<Observer<E>>,
}

impl<E> Default for Extras<E> {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            restored: None,
            classify: None,
            wall_clock: None,
            observe: None,
        }
    }
}

type Classifier<E> = Box<dyn FnMut(&E) -> Verdict + Send>;
type Observer<E> = Box<dyn FnMut(&Event<'_, E>) + Send>;

impl<E, P: Policy> Core<E, P> {
    pub(super) fn tell(&mut self, event: &Event<'_, E>) {
        if let Some(Extras {
            observe: Some(observe),
            ..
        }) = self.extras.as_deref_mut()
        {
            observe(event);
        }
    }

    /// Somebody is to be told what it does.
    pub(super) fn is_watched(&self) -> bool {
        let extras = self.extras.as_ref();
        self.control().is_some() || extras.is_some_and(|extras| extras.observe.is_some())
    }

    pub(super) fn judge(&mut self, error: &E) -> Verdict {
        match self.extras.as_deref_mut() {
            Some(Extras {
                classify: Some(classify),
                ..
            }) => classify(error),
            _ => (self.judge)(error),
        }
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
