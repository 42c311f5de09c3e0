//! The statuses of a driver, one after the other.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::status::Status;
use super::{Control, State, replace};
use crate::sync::lock;

/// The statuses of a [`Redial`](crate::Redial) as they change: the stream
/// that [`Handle::watch`](crate::Handle::watch) returns.
///
/// # Cancel safety
///
/// Dropping a future that waits for the next status loses no status.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    control: Arc<Control>,
    id: u64,
}

/// How many statuses are kept for a watcher that does not read: those of
/// twenty outages with one attempt each.
const MOST_UNREAD: usize = 64;

/// The driver's side of a [`Watch`].
pub(super) struct Watcher {
    id: u64,
    unread: VecDeque<Status>,
    pub(super) waker: Option<Waker>,
}

impl Watcher {
    pub(super) fn push(&mut self, status: Status) {
        if self.unread.len() == MOST_UNREAD {
            self.unread.pop_front();
        }
        self.unread.push_back(status);
    }
}

impl State {
    fn watcher(&mut self, id: u64) -> &mut Watcher {
        self.watchers
            .iter_mut()
            .find(|watcher| watcher.id == id)
            .expect("a watcher is listed until its Watch is dropped")
    }
}

impl Watch {
    pub(super) fn new(control: Arc<Control>) -> Self {
        let mut state = lock(&control.state);
        let id = state.next_watcher;
        state.next_watcher += 1;
        let present = state.status;
        state.watchers.push(Watcher {
            id,
            unread: VecDeque::from([present]),
            waker: None,
        });
        drop(state);
        Self { control, id }
    }
}

impl Stream for Watch {
    type Item = Status;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        let mut state = lock(&self.control.state);
        let over = state.over;
        let watcher = state.watcher(self.id);
        if let Some(status) = watcher.unread.pop_front() {
            return Poll::Ready(Some(status));
        }
        if over {
            return Poll::Ready(None);
        }
        let before = replace(&mut watcher.waker, cx.waker());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.control.state);
        let index = state.watchers.iter().position(|it| it.id == self.id);
        let watcher = index.map(|index| state.watchers.swap_remove(index));
        // Its waker may run anything when it is dropped.
        drop(state);
        drop(watcher);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
