//! One waker that wakes many tasks.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The tasks that wait for one event whose source can wake only one waker: the
/// two halves of a stream, or many tasks that share a connection.
///
/// The source holds this as its waker, and all tasks are woken. The task that
/// polled last may be gone by then, so it must not be the only one.
///
/// Each task holds a [`Seat`]. To wait, to wait again and to leave take a
/// constant number of steps, and to wake takes one step for each task.
#[derive(Default)]
pub(crate) struct Wakers {
    hall: Mutex<Hall>,
    /// How often all were woken.
    wakes: AtomicU64,
}

/// A task's place among those that wait; empty until it first waits.
///
/// It must [leave](Wakers::leave) before it is dropped, or its place is lost.
#[derive(Debug, Default)]
pub(crate) struct Seat(Option<usize>);

#[derive(Default)]
struct Hall {
    places: Vec<Place>,
    /// The places without a task.
    vacant: Vec<usize>,
    /// The places that have, or had, a waker since the last wake-up.
    waiting: Vec<usize>,
    /// Empty. It keeps the room for the wakers of the next wake-up.
    spare: Vec<Waker>,
}

#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    /// Whether `waiting` has this place.
    is_listed: bool,
}

impl Wakers {
    /// Registers `waker` to be woken once, in place of the waker that this seat
    /// waited with before.
    pub(crate) fn wait(&self, seat: &mut Seat, waker: &Waker) {
        let mut guard = lock(&self.hall);
        let hall = &mut *guard;
        let index = *seat.0.get_or_insert_with(|| hall.take_place());
        let place = &mut hall.places[index];
        if !mem::replace(&mut place.is_listed, true) {
            hall.waiting.push(index);
        }
        let before = match &mut place.waker {
            Some(known) if known.will_wake(waker) => None,
            known => known.replace(waker.clone()),
        };
        // It may be the last to hold a task, and the task may hold anything, so
        // it is not dropped under the lock.
        drop(guard);
        drop(before);
    }

    /// This seat waits no more.
    pub(crate) fn leave(&self, seat: &mut Seat) {
        let Some(index) = seat.0.take() else { return };
        let mut hall = lock(&self.hall);
        let before = hall.places[index].waker.take();
        hall.vacant.push(index);
        drop(hall);
        drop(before);
    }

    /// How often all were woken. While this does not change, who waits need not wait
    /// again, and no source of events that has this as its waker has called.
    ///
    /// A task that was woken sees the change in the poll that follows. If a task that
    /// waits sees an older number, it is woken after that.
    #[inline]
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Acquire)
    }

    /// Wakes all that wait, once.
    pub(crate) fn wake_all(&self) {
        // A waker may run anything, so it is not woken under the lock.
        let mut hall = lock(&self.hall);
        self.wakes.fetch_add(1, Ordering::Release);
        let mut woken = hall.take_wakers();
        drop(hall);
        woken.drain(..).for_each(Waker::wake);
        // The room is used again.
        lock(&self.hall).spare = woken;
    }
}

impl Hall {
    fn take_place(&mut self) -> usize {
        self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        })
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = mem::take(&mut self.spare);
        for index in self.waiting.drain(..) {
            let place = &mut self.places[index];
            place.is_listed = false;
            wakers.extend(place.waker.take());
        }
        wakers
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

    /// Counts its wakes.
    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[derive(Default)]
    struct Waiter {
        task: Arc<Task>,
        seat: Seat,
    }

    impl Waiter {
        fn waits(&mut self, wakers: &Wakers) {
            wakers.wait(&mut self.seat, &Waker::from(self.task.clone()));
        }

        fn leaves(&mut self, wakers: &Wakers) {
            wakers.leave(&mut self.seat);
        }

        fn wakes(&self) -> u32 {
            self.task.0.load(SeqCst)
        }
    }

    #[test]
    fn each_task_is_woken_once_for_each_time_that_it_waits() {
        let wakers = Wakers::default();
        let mut waiters: Vec<Waiter> = (0..3).map(|_| Waiter::default()).collect();
        for round in 1..=3 {
            for waiter in &mut waiters {
                waiter.waits(&wakers);
            }
            waiters[0].waits(&wakers);
            wakers.wake_all();
            wakers.wake_all();
            assert!(waiters.iter().all(|waiter| waiter.wakes() == round));
        }
    }

    #[test]
    fn a_task_that_leaves_is_not_woken_and_frees_its_place() {
        let wakers = Wakers::default();
        let [mut stays, mut leaves, mut comes] = [(); 3].map(|()| Waiter::default());
        leaves.waits(&wakers);
        stays.waits(&wakers);
        leaves.leaves(&wakers);
        leaves.leaves(&wakers);
        comes.waits(&wakers);
        wakers.wake_all();
        let woken = [&stays, &leaves, &comes].map(Waiter::wakes);
        assert_eq!(woken, [1, 0, 1]);
    }

    #[test]
    fn only_the_last_waker_of_a_task_is_woken_and_no_other_is_kept() {
        let wakers = Wakers::default();
        let mut waiter = Waiter::default();
        waiter.waits(&wakers);
        let before = mem::take(&mut waiter.task);
        waiter.waits(&wakers);
        assert_eq!(Arc::strong_count(&before), 1);
        wakers.wake_all();
        assert_eq!((before.0.load(SeqCst), waiter.wakes()), (0, 1));
    }

    /// The work of a wake-up is the length of the list `waiting`.
    #[test]
    fn the_lists_are_never_longer_than_the_crowd_that_waited_at_once() {
        let wakers = Wakers::default();
        let mut crowd: Vec<Waiter> = (0..100).map(|_| Waiter::default()).collect();
        for round in 0..1000 {
            // In each round other tasks leave, and tasks come in another order.
            for i in 0..100 {
                crowd[i * 7 % 100].waits(&wakers);
            }
            for i in 0..round % 100 {
                crowd[i * 13 % 100].leaves(&wakers);
            }
            let hall = lock(&wakers.hall);
            assert_eq!((hall.places.len(), hall.waiting.len()), (100, 100));
        }
        wakers.wake_all();
        assert_eq!(lock(&wakers.hall).waiting.len(), 0);
    }
}

#[cfg(all(test, loom))]
mod interleavings {
    use super::*;
    use loom::sync::atomic::Ordering::{Acquire, Release, SeqCst};
    use loom::sync::atomic::{AtomicBool, AtomicU32};
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
    fn a_task_that_registers_and_then_looks_misses_no_event() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let happened = Arc::new(AtomicBool::new(false));
            let threads = [(); 2].map(|()| {
                let (wakers, happened) = (wakers.clone(), happened.clone());
                thread::spawn(move || {
                    let (count, waker) = woken();
                    let mut seat = Seat::default();
                    wakers.wait(&mut seat, &waker);
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

    /// As much of a timer as matters here.
    #[derive(Default)]
    struct Timer {
        is_over: AtomicBool,
        waker: Mutex<Option<Waker>>,
    }

    impl Timer {
        fn goes_off(&self) {
            self.is_over.store(true, Release);
            let waker = lock(&self.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }

        /// Whether it has gone off. If not, `waker` is woken when it does.
        fn poll(&self, waker: &Waker) -> bool {
            *lock(&self.waker) = Some(waker.clone());
            self.is_over.load(Acquire)
        }
    }

    /// A task that is one of those that wait for a timer.
    struct Half {
        seat: Seat,
        count: Arc<AtomicU32>,
        waker: Waker,
        /// The number of wake-ups when it began to wait.
        seated: u64,
    }

    impl Half {
        fn new() -> Self {
            let (count, waker) = woken();
            Self {
                seat: Seat::default(),
                count,
                waker,
                seated: u64::MAX,
            }
        }

        fn waits(&mut self, wakers: &Wakers) {
            let wakes = wakers.wakes();
            if self.seated != wakes {
                wakers.wait(&mut self.seat, &self.waker);
                self.seated = wakes;
            }
        }
    }

    /// A look at the timer: ready, or the number of wake-ups until which nobody needs to
    /// look again.
    fn look(wakers: &Arc<Wakers>, timer: &Timer) -> Option<u64> {
        let wakes = wakers.wakes();
        let is_over = timer.poll(&Waker::from(wakers.clone()));
        (!is_over).then_some(wakes)
    }

    fn timer_goes_off(timer: &Arc<Timer>) -> thread::JoinHandle<()> {
        let timer = timer.clone();
        thread::spawn(move || timer.goes_off())
    }

    #[test]
    fn a_task_that_looks_only_after_wake_ups_misses_no_timer() {
        loom::model(|| {
            let (wakers, timer) = (Arc::new(Wakers::default()), Arc::new(Timer::default()));
            let mut half = Half::new();
            let thread = timer_goes_off(&timer);
            half.waits(&wakers);
            let mut quiet_at = look(&wakers, &timer);
            // Two polls for another reason.
            for _ in 0..2 {
                half.waits(&wakers);
                if quiet_at.is_some_and(|quiet_at| quiet_at != wakers.wakes()) {
                    quiet_at = look(&wakers, &timer);
                }
            }
            thread.join().unwrap();
            let seen = quiet_at.is_none();
            assert!(
                seen || half.count.load(SeqCst) > 0,
                "it would sleep for ever"
            );
            // The poll that follows sees it.
            assert!(seen || quiet_at != Some(wakers.wakes()));
            assert!(look(&wakers, &timer).is_none());
        });
    }

    #[test]
    fn whichever_half_waits_last_is_woken_by_the_timer() {
        loom::model(|| {
            let (wakers, timer) = (Arc::new(Wakers::default()), Arc::new(Timer::default()));
            let mut halves = [Half::new(), Half::new()];
            halves[0].waits(&wakers);
            let quiet_at = look(&wakers, &timer);
            let thread = timer_goes_off(&timer);
            // Another task has the first half now, and the second half comes.
            let (count, waker) = woken();
            (halves[0].count, halves[0].waker) = (count, waker);
            halves[0].seated = u64::MAX;
            let sees = [0, 1].map(|i| {
                halves[i].waits(&wakers);
                quiet_at != Some(wakers.wakes())
            });
            thread.join().unwrap();
            for (half, sees) in halves.iter().zip(sees) {
                assert!(sees || half.count.load(SeqCst) == 1);
            }
        });
    }

    #[test]
    fn a_task_that_stays_because_nobody_was_woken_misses_no_event() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let happened = Arc::new(AtomicBool::new(false));
            let mut half = Half::new();
            half.waits(&wakers);
            let source = {
                let (wakers, happened) = (wakers.clone(), happened.clone());
                thread::spawn(move || {
                    // An event of no importance, and then the one that matters.
                    wakers.wake_all();
                    happened.store(true, SeqCst);
                    wakers.wake_all();
                })
            };
            // A poll for another reason.
            let polls = half.count.load(SeqCst);
            half.waits(&wakers);
            let seen = happened.load(SeqCst);
            source.join().unwrap();
            // It is polled again if it was woken since.
            assert!(
                seen || half.count.load(SeqCst) > polls,
                "it would sleep for ever"
            );
        });
    }

    #[test]
    fn a_task_that_leaves_removes_no_other() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let (stays, waker) = woken();
            let mut seat = Seat::default();
            wakers.wait(&mut seat, &waker);
            let leaver = {
                let wakers = wakers.clone();
                thread::spawn(move || {
                    let (_, waker) = woken();
                    let mut seat = Seat::default();
                    wakers.wait(&mut seat, &waker);
                    wakers.leave(&mut seat);
                })
            };
            wakers.wake_all();
            leaver.join().unwrap();
            assert_eq!(stays.load(SeqCst), 1);
        });
    }

    #[test]
    fn a_task_that_takes_a_vacated_place_is_woken() {
        loom::model(|| {
            let wakers = Arc::new(Wakers::default());
            let mut seat = Seat::default();
            wakers.wait(&mut seat, &woken().1);
            wakers.leave(&mut seat);
            let (count, waker) = woken();
            let waits = {
                let wakers = wakers.clone();
                thread::spawn(move || {
                    let mut seat = Seat::default();
                    wakers.wait(&mut seat, &waker);
                })
            };
            wakers.wake_all();
            waits.join().unwrap();
            wakers.wake_all();
            assert_eq!(count.load(SeqCst), 1);
        });
    }
}
