//! What the handles ask of a driver, and what they are shown.

use alloc::sync::Arc;
use core::task::Context;
use core::time::Duration;

use super::state::{Core, Phase};
use crate::clock::Instant;
use crate::control::{Commands, Control, Status};
use crate::policy::Policy;

impl<E, P: Policy> Core<E, P> {
    /// What the driver shares with its handles, if it has any.
    #[inline]
    pub(super) fn control(&self) -> Option<&Control> {
        self.control.0.get().map(Arc::as_ref)
    }

    /// Whether a handle has closed the driver.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.control().is_some_and(Control::is_closed)
    }

    /// What the handles ask, if there are any.
    pub(super) fn commands(&self, cx: &Context<'_>) -> Commands {
        self.control()
            .map_or_else(Commands::default, |control| control.commands(cx))
    }

    /// Shows a status to the handles.
    #[inline]
    pub(super) fn publish(&self, status: Status) {
        if let Some(control) = self.control() {
            control.publish(status);
        }
    }

    /// Shows the present phase to the handles.
    #[inline]
    pub(super) fn publish_phase(&self) {
        if let Some(control) = self.control() {
            control.publish(self.status());
        }
    }

    /// The status of the present phase.
    pub(super) fn status(&self) -> Status {
        let attempt = self.attempt_number();
        match self.phase {
            Phase::Due | Phase::Restored => Status::Idle,
            Phase::Connecting => Status::Connecting { attempt },
            Phase::Yielding { .. } | Phase::Waiting { .. } | Phase::Paying => Status::Waiting {
                attempt,
                until: self
                    .wait_ends()
                    .map_or_else(Instant::now, |at| self.instant(at)),
            },
            Phase::Up { since } => Status::Connected {
                since: since.map_or_else(Instant::now, |at| self.instant(at)),
            },
            Phase::GivingUp(reason) | Phase::GaveUp(reason) => Status::GaveUp { reason },
            Phase::Closed => Status::Closed,
        }
    }

    /// Whether a pause holds back what comes next. A pause holds back attempts,
    /// not those in flight.
    pub(super) fn holds(&mut self) -> bool {
        match self.phase {
            Phase::Due | Phase::Yielding { .. } | Phase::Waiting { .. } => {}
            Phase::Paying => self.leave_queue(),
            _ => return false,
        }
        self.publish(Status::Paused);
        true
    }

    /// Ends the driver: there will be no attempt any more.
    pub(super) fn close(&mut self) {
        self.refund();
        if let Some(saved) = self.take_restored() {
            // For those who save it once more.
            let now = self.now();
            let _ = self
                .outage
                .restore(&saved, Duration::ZERO, Duration::from_nanos(now));
        }
        self.enter(Phase::Closed);
        if let Some(control) = self.control() {
            control.finish();
        }
    }
}
