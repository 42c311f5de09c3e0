//! No press and no status is lost, in any order of the threads' steps.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use loom::thread;

use futures_core::Stream;

use super::{Commands, Control, Ending, Handle, Hold, Status, WaitsFor, Why};
use crate::clock::Stopwatch;
use crate::outage::AttemptPhase;

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

fn waiting(seconds: u64) -> Status {
    // One zero for all orders of one model.
    static ZERO: std::sync::OnceLock<Stopwatch> = std::sync::OnceLock::new();
    let zero = ZERO.get_or_init(Stopwatch::start);
    Status::Waiting {
        attempt: 2,
        until: zero.instant(seconds * 1_000_000_000),
        by: WaitsFor::Policy,
        why: Why::default(),
    }
}

fn paused() -> Status {
    Status::Paused {
        why: Why::default(),
    }
}

fn connecting() -> Status {
    let Status::Waiting { until, why, .. } = waiting(0) else {
        unreachable!("it waits");
    };
    Status::Connecting {
        attempt: 2,
        phase: AttemptPhase::Unknown,
        since: until,
        why,
    }
}

fn connected() -> Status {
    let Status::Waiting { until, .. } = waiting(0) else {
        unreachable!("it waits");
    };
    Status::Connected {
        since: until,
        generation: 1,
    }
}

fn control(status: Status) -> (Arc<Control>, Handle) {
    let control = Arc::new(Control::new(status, 0));
    (control.clone(), Handle::new(control))
}

/// A driver's poll: it reads the commands, publishes its status and goes to
/// sleep.
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
fn retry_now_is_not_lost_between_the_drivers_look_and_its_sleep() {
    presses_are_not_lost(Handle::retry_now, |commands| commands.press.is_some());
}

#[test]
fn close_is_not_lost_between_the_drivers_look_and_its_sleep() {
    presses_are_not_lost(Handle::close, |commands| commands.closed);
}

#[test]
fn pause_is_not_lost_between_the_drivers_look_and_its_sleep() {
    presses_are_not_lost(Handle::pause, |commands| commands.hold == Hold::Paused);
}

#[test]
fn resume_is_not_lost_between_the_drivers_look_and_its_sleep() {
    loom::model(|| {
        let (control, handle) = control(waiting(0));
        handle.pause();
        let presser = thread::spawn(move || handle.resume());
        let (commands, count) = poll(&control, paused());
        let seen = commands.hold == Hold::Paused;
        presser.join().unwrap();
        let again = count.0.load(SeqCst) > 0;
        assert!(commands.hold == Hold::Nothing || again);
        let commands = if again {
            poll(&control, waiting(0)).0
        } else {
            commands
        };
        assert_eq!(commands.hold, Hold::Nothing);
        // A pause that the driver has not seen changes nothing.
        assert!(commands.press.is_some() || !seen);
    });
}

#[test]
fn a_reported_loss_is_not_lost_between_the_look_at_a_connection_and_its_sleep() {
    loom::model(|| {
        let control = Arc::new(Control::new(connected(), 1));
        let handle = Handle::new(control.clone());
        let presser = thread::spawn(move || handle.lost());
        let (count, waker) = woken();
        let disturbed = control.await_disturbance(&waker);
        presser.join().unwrap();
        assert!(disturbed || count.0.load(SeqCst) > 0);
        assert!(control.is_disturbed());
        assert!(matches!(control.take_ending(), Some(Ending::Lost(_))));
        assert!(!control.is_disturbed() && control.take_ending().is_none());
    });
}

#[test]
fn a_doubt_is_not_lost_between_the_look_at_a_connection_and_its_sleep() {
    loom::model(|| {
        let control = Arc::new(Control::new(connected(), 1));
        let handle = Handle::new(control.clone());
        let presser = thread::spawn(move || handle.network_changed());
        // The wrappers look after they have stored their waker.
        let (count, waker) = woken();
        control.await_disturbance(&waker);
        let seen = control.take_doubt();
        presser.join().unwrap();
        let again = count.0.load(SeqCst) > 0 && control.take_doubt();
        // Once, and only once.
        assert!(seen != again);
        assert!(!control.take_doubt());
    });
}

#[test]
fn a_loss_that_comes_late_does_not_end_the_next_connection() {
    loom::model(|| {
        let control = Arc::new(Control::new(connected(), 1));
        let handle = Handle::new(control.clone());
        let presser = thread::spawn(move || handle.lost_if(1, crate::Verdict::Stop));
        // The first connection is lost, and the second comes up.
        control.publish(waiting(0));
        control.connected();
        control.publish(connected());
        presser.join().unwrap();
        assert_eq!(control.take_ending(), None);
        assert!(!control.is_disturbed());
    });
}

#[test]
fn a_close_is_seen_however_the_connection_is_calmed() {
    loom::model(|| {
        let control = Arc::new(Control::new(connected(), 1));
        let handle = Handle::new(control.clone());
        handle.suspend();
        let presser = thread::spawn(move || handle.close());
        let other = Handle::new(control.clone());
        other.resume();
        let _ = control.take_ending();
        presser.join().unwrap();
        assert!(control.is_closed() && control.is_disturbed());
    });
}

#[test]
fn retry_now_is_not_stored_beyond_the_wait_that_it_ended() {
    loom::model(|| {
        let (control, handle) = control(waiting(0));
        let presser = thread::spawn(move || {
            handle.retry_now();
            handle.retry_now();
        });
        poll(&control, waiting(0));
        // The attempt begins, fails, and another wait begins.
        control.publish(connecting());
        presser.join().unwrap();
        control.publish(waiting(9));
        let (commands, _) = poll(&control, waiting(9));
        assert!(commands.press.is_none());
    });
}

#[test]
fn a_watcher_sees_the_last_status_and_the_end() {
    loom::model(|| {
        let (control, handle) = control(Status::Idle);
        let driver = thread::spawn(move || {
            control.publish(paused());
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
        let all = [Status::Idle, paused(), Status::Closed];
        assert!(!seen.is_empty() && all.ends_with(&seen), "{seen:?}");
        driver.join().unwrap();
    });
}

#[test]
fn watchers_come_and_go_while_the_driver_publishes() {
    loom::model(|| {
        let (control, handle) = control(Status::Idle);
        let mut stays = handle.watch();
        let goes = thread::spawn(move || drop(handle.watch()));
        control.publish(paused());
        goes.join().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        for status in [Status::Idle, paused()] {
            let next = Pin::new(&mut stays).poll_next(&mut cx);
            assert_eq!(next, Poll::Ready(Some(status)));
        }
    });
}
