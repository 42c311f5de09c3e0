//! Looking on, and stepping in, from elsewhere in the program.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::clock::Instant;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, lock};

/// Where a [`Redial`](crate::Redial) stands.
///
/// Attempts are counted from 1 in each outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Nothing has been asked of it yet.
    Idle,
    /// An attempt is being made, or was until its future was dropped: what
    /// comes of it is told once the driver is asked again.
    #[non_exhaustive]
    Connecting {
        /// Its number.
        attempt: u32,
    },
    /// The next attempt is waited for.
    #[non_exhaustive]
    Waiting {
        /// Its number.
        attempt: u32,
        /// When it will be made: a deadline to count down to.
        until: Instant,
    },
    /// There is a connection.
    #[non_exhaustive]
    Connected {
        /// Since when. Of a connection that was handed over while there was no
        /// handle: since there is one.
        since: Instant,
    },
    /// Attempts are held by [`pause`](Handle::pause).
    Paused,
    /// It gave up, was closed, or is gone.
    Closed,
}

/// Looks on, and steps in: made by [`Redial::handle`](crate::Redial::handle).
///
/// Clones are handles to the same [`Redial`](crate::Redial). All calls return
/// at once; what they ask for happens when the driver is polled next, which
/// they see to.
#[derive(Clone)]
pub struct Handle {
    control: Arc<Control>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Ends the present wait, so that the next attempt is made now.
    ///
    /// Only that: it is not stored where nothing waits, it does not shorten
    /// the waits to come, it waits for the [budget](crate::Redial::budget) all
    /// the same, and does nothing while [paused](Self::pause).
    pub fn retry_now(&self) {
        self.control.command(|state| {
            if matches!(state.status, Status::Waiting { .. }) && !state.paused {
                state.retry = true;
            }
        });
    }

    /// Holds all attempts, for a device that knows itself offline.
    ///
    /// A connection, and an attempt that has begun, are left alone.
    pub fn pause(&self) {
        self.control.command(|state| state.paused = true);
    }

    /// Lets attempts go on, with one at once (or at its turn by the
    /// [budget](crate::Redial::budget)).
    pub fn resume(&self) {
        self.control.command(|state| {
            // A wait that the pause covered is over.
            state.retry |=
                state.paused && matches!(state.status, Status::Paused | Status::Waiting { .. });
            state.paused = false;
        });
    }

    /// Ends it for good: the connection is dropped, unless
    /// [`connect`](crate::Redial::connect) has handed it over, and whoever waits
    /// for one gets an [`Error`](crate::Error) that [`is_closed`](crate::Error::is_closed).
    pub fn close(&self) {
        // Before the driver is woken, which looks then.
        self.control.closed.store(true, Ordering::Release);
        self.control.command(|_| {});
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        lock(&self.control.state).status
    }

    /// The present status, and then each that follows.
    ///
    /// No state is missed between two reads, unless the reader falls more than
    /// 64 behind: then the oldest of them are. The last state is always seen;
    /// after the [`Closed`](Status::Closed) of a driver that was closed or
    /// dropped the stream ends.
    pub fn watch(&self) -> Watch {
        let mut state = lock(&self.control.state);
        let id = state.next_watcher;
        state.next_watcher += 1;
        let present = state.status;
        state.watchers.push(Watcher {
            id,
            unread: VecDeque::from([present]),
            waker: None,
        });
        drop(state);
        Watch {
            control: self.control.clone(),
            id,
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

/// The statuses of a [`Redial`](crate::Redial) as they come: the stream
/// behind [`Handle::watch`].
///
/// # Cancel safety
///
/// To drop a future that waits for the next status loses none.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    control: Arc<Control>,
    id: u64,
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
        drop(state);
        drop(watcher);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Puts `waker` in its place, and returns what was there.
///
/// That may be the last to hold a task, and the task may hold anything: it must
/// not be dropped under a lock.
#[must_use]
fn replace(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}

/// How many statuses a watcher may lag behind: twenty outages of a second each.
const MOST_UNREAD: usize = 64;

/// What a driver and its handles share.
pub(crate) struct Control {
    state: Mutex<State>,
    /// A handle has closed the driver. Not under the lock: every call on a
    /// connection that is up asks.
    closed: AtomicBool,
}

struct State {
    status: Status,
    /// The present wait is to end. Only ever true while there is one.
    retry: bool,
    paused: bool,
    /// No status will follow.
    over: bool,
    /// Whoever polls the driver.
    driver: Option<Waker>,
    watchers: Vec<Watcher>,
    next_watcher: u64,
}

struct Watcher {
    id: u64,
    unread: VecDeque<Status>,
    waker: Option<Waker>,
}

impl State {
    fn watcher(&mut self, id: u64) -> &mut Watcher {
        self.watchers
            .iter_mut()
            .find(|watcher| watcher.id == id)
            .expect("a watcher is listed until its Watch is dropped")
    }
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

    /// What is asked of the driver, and whom to wake when that changes.
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

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Changes the status, and tells the watchers.
    pub(crate) fn publish(&self, status: Status) {
        let state = lock(&self.state);
        if state.status != status && !state.over {
            Self::tell(state, status);
        }
    }

    /// The last status.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        if !state.over {
            state.over = true;
            Self::tell(state, Status::Closed);
        }
    }

    fn tell(mut state: MutexGuard<'_, State>, status: Status) {
        // It was meant for a wait. One that gets a new deadline goes on, and so
        // does one that was resumed while the driver was about to say that it
        // is paused.
        state.retry &= matches!(status, Status::Waiting { .. } | Status::Paused);
        let news = state.status != status;
        state.status = status;
        let mut wakers = Vec::new();
        for watcher in &mut state.watchers {
            if news {
                if watcher.unread.len() == MOST_UNREAD {
                    watcher.unread.pop_front();
                }
                watcher.unread.push_back(status);
            }
            wakers.extend(watcher.waker.take());
        }
        // A waker may run anything, so it is not woken under the lock.
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

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

#[cfg(all(test, loom))]
mod interleavings {
    use super::*;
    use alloc::task::Wake;
    use core::time::Duration;
    use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use loom::thread;

    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn woken() -> (Arc<Woken>, Waker) {
        let count = Arc::new(Woken(AtomicU32::new(0)));
        (count.clone(), Waker::from(count))
    }

    fn waiting(after: u64) -> Status {
        // One zero for all orders of one model.
        static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let zero = *ZERO.get_or_init(Instant::now);
        Status::Waiting {
            attempt: 2,
            until: zero.after(Duration::from_secs(after)),
        }
    }

    fn control(status: Status) -> (Arc<Control>, Handle) {
        let control = Arc::new(Control::new(status));
        (control.clone(), Handle::new(control))
    }

    /// A driver's poll: it looks at the commands, tells where it stands, and
    /// goes to sleep.
    fn poll(control: &Control, status: Status) -> (Commands, Arc<Woken>) {
        let (count, waker) = woken();
        let commands = control.commands(&Context::from_waker(&waker));
        control.publish(status);
        (commands, count)
    }

    fn presses_are_not_lost(press: fn(&Handle), heard: fn(Commands) -> bool) {
        loom::model(move || {
            let (control, handle) = control(waiting(0));
            let presser = thread::spawn(move || press(&handle));
            // The second poll is that of a wait whose deadline has moved.
            let (mut seen, mut last) = (false, None);
            for after in [0, 1] {
                let (commands, count) = poll(&control, waiting(after));
                seen |= heard(commands);
                last = Some(count);
            }
            presser.join().unwrap();
            // It sleeps now, unless it was woken: then it looks again.
            if last.unwrap().0.load(SeqCst) > 0 {
                seen |= heard(poll(&control, waiting(1)).0);
            }
            assert!(seen);
        });
    }

    #[test]
    fn a_retry_between_the_drivers_look_and_its_sleep_is_not_lost() {
        presses_are_not_lost(Handle::retry_now, |commands| commands.retry);
    }

    #[test]
    fn a_close_between_the_drivers_look_and_its_sleep_is_not_lost() {
        presses_are_not_lost(Handle::close, |commands| commands.closed);
    }

    #[test]
    fn a_pause_between_the_drivers_look_and_its_sleep_is_not_lost() {
        presses_are_not_lost(Handle::pause, |commands| commands.paused);
    }

    #[test]
    fn a_resume_between_the_drivers_look_and_its_sleep_is_not_lost() {
        loom::model(|| {
            let (control, handle) = control(waiting(0));
            handle.pause();
            let presser = thread::spawn(move || handle.resume());
            let (commands, count) = poll(&control, Status::Paused);
            presser.join().unwrap();
            let again = count.0.load(SeqCst) > 0;
            assert!(!commands.paused || again);
            let commands = if again {
                poll(&control, waiting(0)).0
            } else {
                commands
            };
            assert!(commands.retry && !commands.paused);
        });
    }

    #[test]
    fn a_retry_is_not_stored_past_the_wait_that_it_ended() {
        loom::model(|| {
            let (control, handle) = control(waiting(0));
            let presser = thread::spawn(move || {
                handle.retry_now();
                handle.retry_now();
            });
            poll(&control, waiting(0));
            // The attempt begins, fails, and another wait begins.
            control.publish(Status::Connecting { attempt: 2 });
            presser.join().unwrap();
            control.publish(waiting(9));
            let (commands, _) = poll(&control, waiting(9));
            assert!(!commands.retry);
        });
    }

    #[test]
    fn a_watcher_sees_the_last_status_and_the_end() {
        loom::model(|| {
            let (control, handle) = control(Status::Idle);
            let driver = thread::spawn(move || {
                control.publish(Status::Paused);
                control.finish();
            });
            let mut watch = handle.watch();
            let mut seen = Vec::new();
            loop {
                let (count, waker) = woken();
                match Pin::new(&mut watch).poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(status)) => seen.push(status),
                    Poll::Ready(None) => break,
                    // It is woken, or it would hang: loom would say so.
                    Poll::Pending => {
                        while count.0.load(SeqCst) == 0 {
                            thread::yield_now();
                        }
                    }
                }
            }
            let all = [Status::Idle, Status::Paused, Status::Closed];
            assert!(!seen.is_empty() && all.ends_with(&seen), "{seen:?}");
            driver.join().unwrap();
        });
    }

    #[test]
    fn watchers_come_and_go_while_the_driver_tells() {
        loom::model(|| {
            let (control, handle) = control(Status::Idle);
            let mut stays = handle.watch();
            let goes = thread::spawn(move || drop(handle.watch()));
            control.publish(Status::Paused);
            goes.join().unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            for status in [Status::Idle, Status::Paused] {
                let next = Pin::new(&mut stays).poll_next(&mut cx);
                assert_eq!(next, Poll::Ready(Some(status)));
            }
        });
    }
}
