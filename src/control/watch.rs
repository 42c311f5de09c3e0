//! The statuses of a driver, one after the other.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::status::Status;
use super::{Control, replace};
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
    id: usize,
}

/// How many statuses are kept for a watcher that does not read: those of
/// twenty outages with one attempt each.
const MOST_UNREAD: usize = 64;

/// The driver's side of all [`Watch`]es.
///
/// A watcher's id is its place, so that it is found without a search.
#[derive(Default)]
pub(super) struct Watchers {
    places: Vec<Option<Watcher>>,
    /// The places without a watcher.
    vacant: Vec<usize>,
}

struct Watcher {
    unread: VecDeque<Status>,
    waker: Option<Waker>,
}

impl Watchers {
    /// Gives `status` to all watchers, if it is a new one. Takes their wakers.
    pub(super) fn tell(&mut self, status: Option<&Status>, wakers: &mut Vec<Waker>) {
        for watcher in self.places.iter_mut().flatten() {
            if let Some(status) = status {
                if watcher.unread.len() == MOST_UNREAD {
                    watcher.unread.pop_front();
                }
                watcher.unread.push_back(status.clone());
            }
            wakers.extend(watcher.waker.take());
        }
    }

    fn add(&mut self, present: Status) -> usize {
        let watcher = Some(Watcher {
            unread: VecDeque::from([present]),
            waker: None,
        });
        if let Some(id) = self.vacant.pop() {
            self.places[id] = watcher;
            return id;
        }
        self.places.push(watcher);
        self.places.len() - 1
    }

    fn remove(&mut self, id: usize) -> Option<Watcher> {
        self.vacant.push(id);
        self.places[id].take()
    }

    fn get(&mut self, id: usize) -> &mut Watcher {
        let watcher = self.places[id].as_mut();
        watcher.expect("a watcher is listed until its Watch is dropped")
    }
}

impl Watch {
    pub(super) fn new(control: Arc<Control>) -> Self {
        let mut state = lock(&control.state);
        let present = state.status.clone();
        let id = state.watchers.add(present);
        drop(state);
        Self { control, id }
    }
}

impl Stream for Watch {
    type Item = Status;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        let mut state = lock(&self.control.state);
        let over = state.over;
        let watcher = state.watchers.get(self.id);
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
        let watcher = state.watchers.remove(self.id);
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
