//! One waker that wakes many.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

use crate::sync::{Mutex, lock};

/// Everybody who waits for one thing that can tell only one waker: two halves
/// of a stream, or many tasks that share a connection.
///
/// Whoever polled last may be gone when the thing happens, so it must not be
/// the only one to be told.
#[derive(Default)]
pub(crate) struct Wakers {
    waiting: Mutex<Vec<(u64, Waker)>>,
}

impl Wakers {
    /// Has `waker` woken, in place of what `id` waited with before.
    pub(crate) fn wait(&self, id: u64, waker: &Waker) {
        let mut waiting = lock(&self.waiting);
        let before = match waiting.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(mem::replace(known, waker.clone())),
            None => {
                waiting.push((id, waker.clone()));
                None
            }
        };
        // It may be the last to hold a task, and the task may hold anything, so
        // it is not dropped under the lock either.
        drop(waiting);
        drop(before);
    }

    /// `id` waits no more.
    pub(crate) fn forget(&self, id: u64) {
        let mut waiting = lock(&self.waiting);
        let known = waiting.iter().position(|(known, _)| *known == id);
        let before = known.map(|index| waiting.swap_remove(index));
        drop(waiting);
        drop(before);
    }

    /// Wakes all that wait, once.
    pub(crate) fn wake_all(&self) {
        // A waker may run anything, so not under the lock.
        let waiting = mem::take(&mut *lock(&self.waiting));
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
