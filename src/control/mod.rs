//! What a driver and its handles share: presses go in, statuses come out.
//!
//! "A waker was lost" is a fault of this folder: [`Control::commands`] stores
//! the waker of the task that polls the driver, and every press takes and wakes
//! it. [`watch`] has the wakers of those who read the statuses.

mod handle;
#[cfg(all(test, loom))]
mod interleavings;
mod status;
mod watch;

use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Waker};

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, lock};

use watch::Watcher;

pub use handle::Handle;
pub use status::Status;
pub use watch::Watch;

/// What a driver and its handles share.
pub(crate) struct Control {
    state: Mutex<State>,
    /// A handle has closed the driver. It is not under the lock, because every
    /// call on a connection that is up reads it.
    closed: AtomicBool,
}

struct State {
    status: Status,
    /// The present wait is to end. True only while there is one.
    retry: bool,
    paused: bool,
    /// No status will follow.
    over: bool,
    /// The task that polls the driver.
    driver: Option<Waker>,
    watchers: Vec<Watcher>,
    next_watcher: u64,
}

/// What the handles ask of the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commands {
    pub(crate) retry: bool,
    pub(crate) paused: bool,
    pub(crate) closed: bool,
}

impl Control {
    pub(crate) fn new(status: Status) -> Self {
        Self {
            state: Mutex::new(State {
                status,
                retry: false,
                paused: false,
                over: false,
                driver: None,
                watchers: Vec::new(),
                next_watcher: 0,
            }),
            closed: AtomicBool::new(false),
        }
    }

    /// What is asked of the driver. Stores the waker of its task, so that the
    /// next press wakes it.
    pub(crate) fn commands(&self, cx: &Context<'_>) -> Commands {
        let mut state = lock(&self.state);
        let before = replace(&mut state.driver, cx.waker());
        let commands = Commands {
            retry: mem::take(&mut state.retry),
            paused: state.paused,
            closed: self.is_closed(),
        };
        drop(state);
        drop(before);
        commands
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the driver, which notices when it is polled next.
    fn close(&self) {
        // Before the driver is woken, because it looks then.
        self.closed.store(true, Ordering::Release);
        self.command(|_| {});
    }

    /// Changes the status and wakes the watchers.
    pub(crate) fn publish(&self, status: Status) {
        let state = lock(&self.state);
        if state.status != status && !state.over {
            Self::tell(state, status);
        }
    }

    /// Publishes the last status.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        if !state.over {
            state.over = true;
            Self::tell(state, Status::Closed);
        }
    }

    fn tell(mut state: MutexGuard<'_, State>, status: Status) {
        // A press belongs to one wait. It stays if that wait only gets a new
        // deadline, and if it was resumed while the driver was about to
        // publish that it is paused.
        state.retry &= matches!(status, Status::Waiting { .. } | Status::Paused);
        let is_new = state.status != status;
        state.status = status;
        let mut wakers = Vec::new();
        for watcher in &mut state.watchers {
            if is_new {
                watcher.push(status);
            }
            wakers.extend(watcher.waker.take());
        }
        // A waker may run anything, so it is not woken under the lock.
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Changes what is asked of the driver and wakes its task.
    fn command(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waker = state.driver.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Puts `waker` in `place`, and returns what was there.
///
/// That waker may be the last to hold a task, and the task may hold anything.
/// So the caller must not drop it under a lock.
#[must_use]
fn replace(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}
