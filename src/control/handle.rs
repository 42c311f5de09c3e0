//! Presses from elsewhere in the program.

use alloc::sync::Arc;
use core::fmt;

use super::Control;
use super::status::Status;
use super::watch::Watch;
use crate::sync::lock;

/// Watches and controls a driver from elsewhere in the program: made by
/// [`Redial::handle`](crate::Redial::handle).
///
/// Clones are handles to the same [`Redial`](crate::Redial). All calls return
/// at once. They wake the task that polls the driver, and what they ask for
/// happens in that poll. A driver that no task polls does nothing.
#[derive(Clone)]
pub struct Handle {
    control: Arc<Control>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Ends the present wait, so that the next attempt begins now.
    ///
    /// It ends no other wait: a press is forgotten if nothing waits, and the
    /// waits to come are as long as before. The attempt still pays the
    /// [budget](crate::Redial::budget). While the driver is
    /// [paused](Self::pause) a press does nothing.
    pub fn retry_now(&self) {
        self.control.command(|state| {
            if matches!(state.status, Status::Waiting { .. }) && !state.paused {
                state.retry = true;
            }
        });
    }

    /// Holds back all attempts: for a device that knows that it is offline.
    ///
    /// A connection stays up, and an attempt in flight goes on.
    pub fn pause(&self) {
        self.control.command(|state| state.paused = true);
    }

    /// Ends a pause. An attempt that the pause held back begins at once, or
    /// when the [budget](crate::Redial::budget) has a token for it.
    pub fn resume(&self) {
        self.control.command(|state| {
            // A wait that the pause covered is over.
            state.retry |=
                state.paused && matches!(state.status, Status::Paused | Status::Waiting { .. });
            state.paused = false;
        });
    }

    /// Closes the driver for good.
    ///
    /// The driver drops its connection, unless it has handed that over. Every
    /// call that waits for a connection returns an [`Error`](crate::Error) that
    /// [`is_closed`](crate::Error::is_closed).
    pub fn close(&self) {
        self.control.close();
    }

    /// What the driver is doing.
    pub fn status(&self) -> Status {
        lock(&self.control.state).status
    }

    /// A stream of the present status, and then of each one that follows.
    ///
    /// Up to 64 unread statuses are kept; beyond that the oldest are dropped.
    /// So a reader always gets the last one. When the driver has been closed or
    /// dropped, the stream ends after [`Closed`](Status::Closed).
    pub fn watch(&self) -> Watch {
        Watch::new(self.control.clone())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
