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
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    waiting: Vec<(u64, Waker)>,
    /// Empty: the room for those who wait while others are woken.
    spare: Vec<(u64, Waker)>,
}

impl Wakers {
    /// Has `waker` woken, in place of what `id` waited with before.
    pub(crate) fn wait(&self, id: u64, waker: &Waker) {
        let mut lists = lock(&self.lists);
        let waiting = &mut lists.waiting;
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
        drop(lists);
        drop(before);
    }

    /// `id` waits no more.
    pub(crate) fn forget(&self, id: u64) {
        let mut lists = lock(&self.lists);
        let waiting = &mut lists.waiting;
        let known = waiting.iter().position(|(known, _)| *known == id);
        let before = known.map(|index| waiting.swap_remove(index));
        drop(lists);
        drop(before);
    }

    /// Wakes all that wait, once.
    pub(crate) fn wake_all(&self) {
        // A waker may run anything, so not under the lock.
        let mut lists = lock(&self.lists);
        let spare = mem::take(&mut lists.spare);
        let mut woken = mem::replace(&mut lists.waiting, spare);
        drop(lists);
        for (_, waker) in woken.drain(..) {
            waker.wake();
        }
        // Their room is used again.
        lock(&self.lists).spare = woken;
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

#[cfg(all(test, loom))]
mod interleavings {
    use super::*;
    use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
    use loom::thread;

    /// Counts its wakes. Loom's own Arc is no `Wake`.
    struct Woken(Arc<AtomicU32>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn woken() -> (Arc<AtomicU32>, Waker) {
        let count = Arc::new(AtomicU32::new(0));
        (count.clone(), Waker::from(Arc::new(Woken(count))))
    }

    #[test]
    fn whoever_registers_and_then_looks_misses_no_event() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let happened = Arc::new(AtomicBool::new(false));
            let threads = [1, 2].map(|id| {
                let (wakers, happened) = (wakers.clone(), happened.clone());
                thread::spawn(move || {
                    let (count, waker) = woken();
                    wakers.wait(id, &waker);
                    let seen = happened.load(SeqCst);
                    (seen, count)
                })
            });
            happened.store(true, SeqCst);
            Waker::from(wakers.clone()).wake();
            for thread in threads {
                let (seen, count) = thread.join().unwrap();
                assert!(seen || count.load(SeqCst) == 1, "it would sleep for ever");
            }
        });
    }

    #[test]
    fn one_that_leaves_takes_no_other_with_it() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let (stays, waker) = woken();
            wakers.wait(1, &waker);
            let leaver = {
                let wakers = wakers.clone();
                thread::spawn(move || {
                    let (_, waker) = woken();
                    wakers.wait(2, &waker);
                    wakers.forget(2);
                })
            };
            wakers.wake_all();
            leaver.join().unwrap();
            assert_eq!(stays.load(SeqCst), 1);
        });
    }
}
