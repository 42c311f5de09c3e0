//! When a wrapper looks whether its connection lives.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::monitor::{Certificate, Monitor};
use super::wakers::Wakers;
use crate::clock::{Instant, Sleep, Stopwatch};
use crate::driver::{Connect, Redial};
use crate::liveness::{Heartbeat, Liveness, Pulse, Silent};
use crate::nanos::nanos;
use crate::policy::Policy;

/// A wall clock that is so much ahead of the monotonic one says that the device slept.
/// Less may be a correction.
const SLEPT: u64 = nanos(Duration::from_secs(5));

/// After so many looks that trusted the timer comes one that does not, so that a task
/// which never lets the timer go off is watched, too.
const MANY_LOOKS: u8 = 64;

/// No number of wake-ups.
const NOT_QUIET: u64 = u64::MAX;

/// What a wrapper has to watch its connection.
///
/// An item that is received only sets a flag. The clock is read in the next
/// [`look`](Self::look), if something was received. A timer that goes off wakes all who
/// wait, so nobody polls it while nobody was woken. It is set anew only then.
pub(super) struct Vitals {
    liveness: Liveness,
    /// That of the present connection. Until there is one, it is of no use.
    heartbeat: Heartbeat,
    monitor: Option<Monitor>,
    /// Something was received since the last look.
    pub(super) heard: bool,
    /// When something was received that the heartbeat does not know yet. What is rare
    /// turns it into a time of the heartbeat's.
    heard_at: Option<Instant>,
    /// The connection takes nothing that is written.
    pub(super) is_blocked: bool,
    /// A flush waits. More may still go into a buffer in front of it.
    pub(super) is_flushing: bool,
    /// It matters when something is sent.
    must_speak: bool,
    stopwatch: Stopwatch,
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off.
    armed: Option<Armed>,
    /// Those that wait. The timer has this as its waker: `waker`.
    waiting: Arc<Wakers>,
    waker: Waker,
    /// While those that wait were woken so often and no more, nothing is due, and no
    /// ping is out. Otherwise [`NOT_QUIET`].
    quiet_at: u64,
    /// How many looks have trusted that in a row.
    trusted: u8,
}

#[derive(Clone, Copy)]
struct Armed {
    at: u64,
    since: u64,
    /// What the wall clock showed then.
    wall: u64,
}

/// What a look has found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vital {
    /// A ping is due. Look again after it.
    Ping,
    /// The connection is dead, unless there is something to read.
    Dead(Silent),
}

impl Vitals {
    /// For a wrapper that watches nothing yet. All who poll it are in `waiting`.
    pub(super) fn new(waiting: Arc<Wakers>) -> Self {
        let off = Liveness::new().idle(Duration::MAX);
        Self {
            liveness: off,
            heartbeat: Heartbeat::from_seed(off, 0, Duration::ZERO),
            monitor: None,
            heard: false,
            heard_at: None,
            is_blocked: false,
            is_flushing: false,
            must_speak: false,
            stopwatch: Stopwatch::start(),
            timer: Box::pin(Sleep::unset()),
            armed: None,
            waker: Waker::from(waiting.clone()),
            waiting,
            quiet_at: NOT_QUIET,
            trusted: 0,
        }
    }

    pub(super) fn set_monitor(&mut self, monitor: &Monitor) {
        self.monitor = Some(monitor.clone());
    }

    /// Takes effect with the next [`begin`](Self::begin).
    pub(super) fn set(&mut self, liveness: Liveness) {
        self.liveness = liveness;
    }

    /// A connection has come up. `pings` says whether the wrapper can ping it.
    pub(super) fn begin<C: Connect, P: Policy>(&mut self, redial: &mut Redial<C, P>, pings: bool) {
        let own = self.monitor.as_ref().and_then(|monitor| {
            monitor.take_heard(); // during the handshake
            monitor.take_next()
        });
        // A ping that nobody sends has no answer.
        let own = own.filter(|own| pings || own.only_listens());
        let liveness = own.unwrap_or(self.liveness);
        self.heartbeat = Heartbeat::from_seed(liveness, redial.random(), self.stopwatch.elapsed());
        redial.take_doubt();
        self.must_speak = self.heartbeat.must_speak();
        (self.quiet_at, self.heard_at) = (NOT_QUIET, None);
        (self.heard, self.is_blocked, self.is_flushing) = (false, false, false);
    }

    /// A write was not blocked any more, or never. Something was sent if `sent`.
    #[inline]
    pub(super) fn wrote(&mut self, sent: bool) {
        // The time matters, and a look may not follow for long. Both are rare.
        if self.is_blocked || (sent && self.must_speak) {
            self.date_write(sent);
        }
    }

    #[cold]
    fn date_write(&mut self, sent: bool) {
        self.settle();
        if mem::take(&mut self.is_blocked) {
            self.heartbeat.heard(self.stopwatch.elapsed());
        }
        if sent && self.must_speak {
            self.heartbeat.sent(self.stopwatch.elapsed());
        }
    }

    /// A flush was not blocked any more, or never. Something was sent if `sent`.
    #[inline]
    pub(super) fn flushed(&mut self, sent: bool) {
        self.is_blocked |= mem::take(&mut self.is_flushing);
        self.wrote(sent);
    }

    /// Tells the heartbeat what it does not know yet.
    fn settle(&mut self) {
        if let Some(at) = self.heard_at.take() {
            self.heartbeat.heard(self.stopwatch.shown_at(at));
        }
    }

    pub(super) fn stopwatch(&self) -> Stopwatch {
        self.stopwatch
    }

    pub(super) fn now(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    /// A ping that is due could not be sent so far.
    pub(super) fn put_off(&mut self, delay: Duration) {
        self.heartbeat.put_off(delay);
    }

    /// Whether a ping is out.
    pub(super) fn is_asked(&self) -> bool {
        self.heartbeat.is_asked()
    }

    /// There is a reason to doubt that the connection lives.
    pub(super) fn doubt(&mut self) {
        self.quiet_at = NOT_QUIET;
        self.settle();
        self.heartbeat.doubt(self.stopwatch.elapsed());
    }

    /// Forgets in which runtime the timer is.
    pub(super) fn disarm(&mut self) {
        self.timer.set(Sleep::unset());
        self.armed = None;
        self.quiet_at = NOT_QUIET;
    }

    /// The certificate of the connection that is up now, if its connector gave one.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.monitor.as_ref().and_then(Monitor::take_certificate)
    }

    /// Whether something was received since the last look.
    pub(super) fn has_heard(&mut self) -> bool {
        self.heard |= self.monitor.as_ref().is_some_and(Monitor::take_heard);
        self.heard
    }

    /// What was received since the last look says nothing: it may be old.
    pub(super) fn forget_heard(&mut self) {
        self.has_heard();
        self.heard = false;
    }

    /// Something was received since a ping was asked for. If nothing was, false.
    pub(super) fn has_answer(&mut self) -> bool {
        let heard = self.has_heard();
        if heard {
            self.heard = false;
            self.heartbeat.heard_since_ping(self.stopwatch.elapsed());
        }
        heard
    }

    /// Whether a look would find that nothing is to be done. It reads the clock only if
    /// something was received.
    ///
    /// A task that waits must be among those that are woken before it asks.
    #[inline]
    pub(super) fn is_quiet<C: Connect, P: Policy>(&mut self, redial: &Redial<C, P>) -> bool {
        // The timer counts, too, if the task had used up its share of the present poll:
        // tokio does not register the waker then, but wakes it.
        if self.quiet_at != self.waiting.wakes() || redial.is_doubted() {
            return false;
        }
        self.trusted += 1;
        if self.trusted == MANY_LOOKS {
            self.quiet_at = NOT_QUIET;
            return false;
        }
        if self.has_heard() {
            self.heard = false;
            // It moves what is due only to later, as no ping is out. So the timer goes
            // off too early then, and not too late.
            self.heard_at = Some(Instant::now());
        }
        true
    }

    /// Pending while nothing is to be done. Those that wait are woken when that changes.
    pub(super) fn look<C: Connect, P: Policy>(&mut self, redial: &mut Redial<C, P>) -> Poll<Vital> {
        (self.quiet_at, self.trusted) = (NOT_QUIET, 0);
        self.settle();
        let mut now = self.stopwatch.elapsed();
        if self.has_heard() {
            self.heard = false;
            self.heartbeat.heard(now);
        }
        if redial.take_doubt() {
            self.heartbeat.doubt(now);
        }
        loop {
            let until = match self.heartbeat.poll(now) {
                Pulse::Ping => return Poll::Ready(Vital::Ping),
                Pulse::Dead => {
                    let silent = Silent::new(self.heartbeat.silent_for(now));
                    return Poll::Ready(Vital::Dead(silent));
                }
                Pulse::Sleep(until) => until,
            };
            // Before the timer is polled, which may go off in the same moment.
            let wakes = self.waiting.wakes();
            if until == Duration::MAX {
                return self.nothing_until(wakes);
            }
            let until = nanos(until);
            let armed = match self.armed {
                Some(armed) if armed.at <= until => armed,
                _ => self.arm(redial, nanos(now), until),
            };
            let deadline = self.stopwatch.instant(armed.at);
            let mut cx = Context::from_waker(&self.waker);
            if self
                .timer
                .as_mut()
                .poll_until(deadline, &mut cx)
                .is_pending()
            {
                return self.nothing_until(wakes);
            }
            self.armed = None;
            now = self.stopwatch.elapsed();
            let by_wall = redial.wall_nanos().saturating_sub(armed.wall);
            let slept = by_wall.saturating_sub(nanos(now) - armed.since);
            if slept >= SLEPT {
                self.heartbeat.doubt(now);
            }
        }
    }

    /// Nothing is to be done until those that wait are woken more often.
    fn nothing_until(&mut self, wakes: u64) -> Poll<Vital> {
        if !self.heartbeat.is_asked() {
            self.quiet_at = wakes;
        }
        Poll::Pending
    }

    fn arm<C: Connect, P: Policy>(
        &mut self,
        redial: &mut Redial<C, P>,
        now: u64,
        at: u64,
    ) -> Armed {
        // A deadline that is beyond tokio's timer is as good as none.
        const YEAR: u64 = nanos(Duration::from_secs(365 * 24 * 60 * 60));
        let armed = Armed {
            at: at.min(now.saturating_add(YEAR)),
            since: now,
            wall: redial.wall_nanos(),
        };
        self.armed = Some(armed);
        armed
    }

    /// Whether a reader that has just found nothing can be believed. If not, those that
    /// wait are woken at once.
    ///
    /// Tokio lets a task read only so much in one poll. After that, everything looks
    /// pending, also this timer, whose time has long come.
    pub(super) fn is_certain(&mut self) -> bool {
        self.armed = None;
        let past = self.stopwatch.instant(0);
        let mut cx = Context::from_waker(&self.waker);
        self.timer.as_mut().poll_until(past, &mut cx).is_ready()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_never_goes_off_is_trusted_for_so_long_only() {
        let mut redial = Redial::new(|| async { Ok::<_, ()>(()) });
        let mut vitals = Vitals::new(Arc::default());
        vitals.set(Liveness::new());
        vitals.begin(&mut redial, true);
        for _ in 0..3 {
            assert!(!vitals.is_quiet(&redial));
            assert!(vitals.look(&mut redial).is_pending());
            for _ in 1..MANY_LOOKS {
                assert!(vitals.is_quiet(&redial));
            }
        }
        // A wake-up, whatever its cause, makes it look, too.
        assert!(vitals.look(&mut redial).is_pending());
        assert!(vitals.is_quiet(&redial));
        vitals.waiting.wake_all();
        assert!(!vitals.is_quiet(&redial));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_counts_from_the_quiet_look_after_it() {
        let second = Duration::from_secs(1);
        let mut redial = Redial::new(|| async { Ok::<_, ()>(()) });
        let mut vitals = Vitals::new(Arc::default());
        vitals.set(Liveness::listen_only(60 * second));
        vitals.begin(&mut redial, false);
        assert!(vitals.look(&mut redial).is_pending());
        tokio::time::sleep(10 * second).await;
        vitals.heard = true;
        assert!(vitals.is_quiet(&redial));
        tokio::time::sleep(59 * second).await;
        assert!(!vitals.is_quiet(&redial), "its timer has gone off");
        assert!(vitals.look(&mut redial).is_pending());
        tokio::time::sleep(second).await;
        assert!(
            matches!(vitals.look(&mut redial), Poll::Ready(Vital::Dead(silent))
            if silent.duration() == 60 * second)
        );
    }
}
