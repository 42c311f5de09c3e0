//! When a wrapper looks whether its connection lives.

use alloc::boxed::Box;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::monitor::{Certificate, Monitor};
use crate::clock::{Sleep, Stopwatch};
use crate::driver::{Connect, Redial};
use crate::liveness::{Heartbeat, Liveness, Pulse, Silent};
use crate::nanos::nanos;
use crate::policy::Policy;

/// A wall clock that is so much ahead of the monotonic one says that the device slept.
/// Less may be a correction.
const SLEPT: u64 = nanos(Duration::from_secs(5));

/// What a wrapper has to watch its connection.
///
/// An item that is received only sets a flag. The clock is read in a
/// [`look`](Self::look), which follows when the connection has nothing more, and the
/// timer is set anew only once it has gone off.
pub(super) struct Vitals {
    liveness: Liveness,
    /// That of the present connection. Until there is one, it is of no use.
    heartbeat: Heartbeat,
    monitor: Option<Monitor>,
    /// Something was received since the last look.
    pub(super) heard: bool,
    /// The connection takes nothing that is written.
    pub(super) is_blocked: bool,
    /// A flush waits. More may still go into a buffer in front of it.
    pub(super) is_flushing: bool,
    stopwatch: Stopwatch,
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off.
    armed: Option<Armed>,
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
    /// For a wrapper that watches nothing yet.
    pub(super) fn new() -> Self {
        let off = Liveness::new().idle(Duration::MAX);
        Self {
            liveness: off,
            heartbeat: Heartbeat::from_seed(off, 0, Duration::ZERO),
            monitor: None,
            heard: false,
            is_blocked: false,
            is_flushing: false,
            stopwatch: Stopwatch::start(),
            timer: Box::pin(Sleep::unset()),
            armed: None,
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
        (self.heard, self.is_blocked, self.is_flushing) = (false, false, false);
    }

    /// A write was not blocked any more, or never. Something was sent if `sent`.
    pub(super) fn wrote(&mut self, sent: bool) {
        // The time matters, and a look may not follow for long. Both are rare.
        if mem::take(&mut self.is_blocked) {
            self.heartbeat.heard(self.stopwatch.elapsed());
        }
        if sent && self.heartbeat.must_speak() {
            self.heartbeat.sent(self.stopwatch.elapsed());
        }
    }

    /// A flush was not blocked any more, or never. Something was sent if `sent`.
    pub(super) fn flushed(&mut self, sent: bool) {
        self.is_blocked |= mem::take(&mut self.is_flushing);
        self.wrote(sent);
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
        self.heartbeat.doubt(self.stopwatch.elapsed());
    }

    /// Forgets in which runtime the timer is.
    pub(super) fn disarm(&mut self) {
        self.timer.set(Sleep::unset());
        self.armed = None;
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

    /// Pending while nothing is to be done. `waker` is woken when that changes.
    pub(super) fn look<C: Connect, P: Policy>(
        &mut self,
        redial: &mut Redial<C, P>,
        waker: &Waker,
    ) -> Poll<Vital> {
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
                Pulse::Sleep(Duration::MAX) => return Poll::Pending,
                Pulse::Sleep(until) => nanos(until),
            };
            // Items move the deadline with each look. The timer goes off too early
            // then, and not too late.
            let armed = match self.armed {
                Some(armed) if armed.at <= until => armed,
                _ => self.arm(redial, nanos(now), until),
            };
            let deadline = self.stopwatch.instant(armed.at);
            let mut cx = Context::from_waker(waker);
            if self
                .timer
                .as_mut()
                .poll_until(deadline, &mut cx)
                .is_pending()
            {
                return Poll::Pending;
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

    /// Whether a reader that has just found nothing can be believed. If not, `waker` is
    /// woken at once.
    ///
    /// Tokio lets a task read only so much in one poll. After that, everything looks
    /// pending, also this timer, whose time has long come.
    pub(super) fn is_certain(&mut self, waker: &Waker) -> bool {
        self.armed = None;
        let past = self.stopwatch.instant(0);
        let mut cx = Context::from_waker(waker);
        self.timer.as_mut().poll_until(past, &mut cx).is_ready()
    }
}
