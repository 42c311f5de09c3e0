//! Presses from elsewhere in the program.

use alloc::sync::Arc;
use core::fmt;
use core::mem;

use super::status::Status;
use super::watch::Watch;
use super::{Control, Ending, Hold, Press, State};
use crate::sync::{Ordering, lock};
use crate::verdict::Verdict;

/// Watches and controls a driver from elsewhere in the program: made by
/// [`Redial::handle`](crate::Redial::handle).
///
/// Clones are handles to the same [`Redial`](crate::Redial). All calls return
/// at once. They wake the task that polls the driver, and what they ask for
/// happens in that poll. A driver that no task polls does nothing.
///
/// # To attempt now
///
/// | | for | when the attempt begins | a time that the server asked for | the policy |
/// |---|---|---|---|---|
/// | [`retry_now`](Self::retry_now) | a person at a button | at once, or a second after the last attempt began | is ignored | goes on |
/// | [`resume`](Self::resume) | the end of a pause | within a second | is kept | goes on |
/// | [`network_changed`](Self::network_changed) | an interface that comes up | within a second | is kept | begins anew |
/// | [`reconnect`](Self::reconnect) | new settings | within a second | is kept | goes on |
///
/// "Within a second" is spread: a network comes back for a whole office at once. Only
/// a person ends the spread of [`spread_first`](crate::Redial::spread_first), or a
/// wait that was [restored](crate::Redial::restore).
///
/// If an attempt has been in flight for a second, it is dropped and begun anew: it
/// may be stuck in a network that is gone. It counts as one that took too long, so it uses
/// up one of [`max_attempts`](crate::Config::max_attempts).
///
/// Presses make at most one attempt a second (see
/// [`press_interval`](crate::Redial::press_interval)), and each attempt pays the
/// [budget](crate::Redial::budget). The limits of the outage go on in all cases.
///
/// # To replace a connection that is about to end
///
/// [`renew_within`](Self::renew_within) makes the next connection while this one still
/// serves, and [`renew_now`](Self::renew_now) does so at a time that the program chooses.
///
/// # To hold
///
/// | | [`pause`](Self::pause) | [`suspend`](Self::suspend) | [`close`](Self::close) |
/// |---|---|---|---|
/// | a connection | stays | is dropped | is dropped |
/// | an attempt in flight | goes on | is dropped | is dropped |
/// | a wait | is held | is held | ends |
/// | calls that wait for a connection | wait | wait | fail |
/// | [`resume`](Self::resume) | goes on | opens again | does nothing |
/// | for | a device that is offline | an app in the background | the end |
#[derive(Clone)]
pub struct Handle {
    pub(super) control: Arc<Control>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Makes an attempt now: for a button that a person presses.
    ///
    /// - It ends the present wait. The waits to come are as long as before.
    /// - If an attempt has been in flight for a second, it drops that and starts
    ///   another.
    /// - After the driver [gave up](Status::GaveUp), the next call that waits for
    ///   a connection begins a new outage, and this attempt.
    ///
    /// In any other state it does nothing, and the press is not kept. An attempt
    /// starts at once, but not within a second of the start of the last one.
    pub fn retry_now(&self) {
        self.control.command(|state| state.press(Press::Now));
    }

    /// Ends a [pause](Self::pause) or a [suspension](Self::suspend).
    ///
    /// The attempt that was held back begins within a second: at a random time,
    /// because a network comes back for a whole office at once. If the server
    /// asked the client to come back later, the attempt waits until then. If the
    /// driver has not noticed that it was held, it goes on as before.
    ///
    /// A connection that stayed up during a pause of 20 s or more is doubted, as after
    /// [`network_changed`](Self::network_changed).
    ///
    /// If nothing is held, it acts like [`retry_now`](Self::retry_now) during an
    /// attempt or after giving up, at a random time within a second. In a wait it does
    /// nothing.
    pub fn resume(&self) {
        self.control.disturb(|state| {
            if state.held_long() {
                self.control.doubted.store(true, Ordering::Release);
            }
            state.hold = Hold::Nothing;
            let held = mem::take(&mut state.hold_seen);
            match state.status {
                // Unless the driver is about to publish that it is held.
                Status::Waiting { .. } if !held => {}
                _ => state.press(Press::Spread),
            }
        });
    }

    /// Reports that the network of the device has changed: an interface came up, or
    /// the device moved from Wi-Fi to mobile data.
    ///
    /// The policy begins anew with its first wait, and an attempt is made within a
    /// second, unless the server asked for a later time. The limits of the outage
    /// go on. While the driver is held, only the policy begins anew.
    ///
    /// A connection that is up stays. Platforms report changes of the signal, too,
    /// and a connection that works must not be cut for that. If its wrapper
    /// [watches](crate::Session::keep_alive) whether it lives, it is pinged at once,
    /// and is dropped after five seconds without an answer.
    ///
    /// Platforms report changes in bursts. So the first report leads to an
    /// attempt, and all reports in the next five seconds lead to one more after
    /// them.
    ///
    /// For a button that a person presses there is [`retry_now`](Self::retry_now).
    pub fn network_changed(&self) {
        self.control.command(|state| {
            self.control.doubted.store(true, Ordering::Release);
            state.changed_while_up |= matches!(state.status, Status::Connected { .. });
            state.changed = !matches!(
                state.status,
                Status::Connected { .. } | Status::Idle | Status::GaveUp { .. } | Status::Closed
            );
        });
    }

    /// Abandons the present connection or attempt, and begins again within a
    /// second: for settings that have changed.
    ///
    /// To the driver, the connection was lost. In a wait it ends the wait within a
    /// second. The policy does not begin anew. While the driver is
    /// [paused](Self::pause), the connection is dropped, and the attempt is held back.
    pub fn reconnect(&self) {
        self.control.disturb(|state| match state.status {
            Status::Connected { .. } => state.end(Ending::Reconnect),
            _ => state.press(Press::Reconnect),
        });
    }

    /// Reports that the present connection is lost: a heartbeat in another task
    /// found that it is dead.
    ///
    /// It applies only to the connection that is up at the time of the call. If that
    /// is gone before the driver looks, it does nothing. So a late report cannot end
    /// a newer connection.
    pub fn lost(&self) {
        self.lost_as(Verdict::default());
    }

    /// As [`lost`](Self::lost), with what the loss means for the next attempt.
    pub fn lost_as(&self, verdict: Verdict) {
        self.control
            .disturb(|state| state.end(Ending::Lost(verdict)));
    }

    /// As [`lost_as`](Self::lost_as), if the present connection still is that of
    /// this [`generation`](Status::Connected).
    pub fn lost_if(&self, generation: u64, verdict: Verdict) {
        self.control.disturb(|state| {
            if state.generation == generation {
                state.end(Ending::Lost(verdict));
            }
        });
    }

    /// Reports that the present connection did its work: see
    /// [`Redial::healed`](crate::Redial::healed).
    pub fn healed(&self) {
        self.control.command(|state| {
            if let Status::Connected { .. } = state.status {
                state.healed = state.generation;
            }
        });
    }

    /// Holds back all attempts: for a device that knows that it is offline.
    ///
    /// A connection stays up, and an attempt in flight goes on; but
    /// [`resume`](Self::resume) begins it anew if it is a second old. See the
    /// [table](Self#to-hold).
    pub fn pause(&self) {
        self.control.disturb(|state| {
            state.hold = Hold::Paused;
            state.hold();
        });
    }

    /// Disconnects, and stays so until [`resume`](Self::resume): for an app that
    /// goes to the background.
    ///
    /// The driver drops its connection and its attempt when it is polled next, and
    /// calls the connector no more. A connection that was handed over is its
    /// owner's to drop; [`run`](crate::Redial::run) drops its session. An attempt
    /// that is dropped is not counted.
    ///
    /// A present outage continues, and the suspended time counts for its limits. To
    /// say goodbye to the server, do so before. See the [table](Self#to-hold).
    pub fn suspend(&self) {
        self.control.disturb(|state| state.hold = Hold::Suspended);
    }

    /// Closes the driver for good.
    ///
    /// The driver drops its connection, unless it has handed that over. Every
    /// call that waits for a connection returns an [`Error`](crate::Error) that
    /// [`is_closed`](crate::Error::is_closed). See the [table](Self#to-hold).
    pub fn close(&self) {
        self.control.close();
    }

    /// What the driver is doing.
    pub fn status(&self) -> Status {
        lock(&self.control.state).status.clone()
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

impl State {
    /// Presses on what the driver does now.
    fn press(&mut self, press: Press) {
        let heard = match &self.status {
            Status::Waiting { .. } | Status::Paused { .. } | Status::Suspended { .. } => {
                self.hold == Hold::Nothing
            }
            Status::Connecting { since, .. } => {
                press == Press::Reconnect || since.elapsed() >= self.press_interval
            }
            Status::GaveUp { .. } => true,
            _ => false,
        };
        // A person's press is the strongest.
        if heard && self.press != Some(Press::Now) {
            self.press = Some(press);
        }
    }

    /// Ends the present connection.
    fn end(&mut self, ending: Ending) {
        if let Status::Connected { .. } = self.status {
            self.ending = Some((self.generation, ending));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
