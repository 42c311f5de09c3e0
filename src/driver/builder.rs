//! The settings of a driver.

use alloc::boxed::Box;
use core::time::Duration;

use super::Redial;
use super::connect::Connect;
use super::event::Event;
use super::phases::{Core, Phase};
use crate::bucket::TokenBucket;
use crate::clock::WallTime;
use crate::invalid::expect;
use crate::outage::SavedOutage;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// The builder's part: to be called before the driver is used.
impl<C: Connect, P: Policy> Redial<C, P> {
    /// Waits as `policy` says.
    pub fn policy<Q: Policy>(self, policy: Q) -> Redial<C, Q> {
        let core = self.core;
        Redial {
            connector: self.connector,
            connection: self.connection,
            flight: self.flight,
            core: Core {
                phase: core.phase,
                outage: core.outage.with_policy(policy),
                timers: core.timers,
                watch: core.watch,
                last: core.last,
                judge: core.judge,
                extras: core.extras,
                control: core.control,
            },
        }
    }

    /// Takes a token from `bucket` for each attempt but the first: the limit
    /// on how often all that share it try to reconnect.
    ///
    /// Where none is left the attempt waits for its own, after the policy's
    /// wait, be that a slot of the server's. The first connect is free.
    pub fn budget(mut self, bucket: &TokenBucket) -> Self {
        self.core.extras().budget.bucket = Some(bucket.clone());
        self
    }

    /// Judges errors: what each means for the next attempt.
    ///
    /// By default an `io::Error` is judged by its kind (see [`Verdict`]), also
    /// inside of a boxed error. Any other type means `Retry(Down)`: a wrong
    /// password in an error of yours stops nothing unless this says so.
    ///
    /// An attempt that times out is not an error of the connector; it is
    /// always [`Cause::Stalled`].
    pub fn classify(mut self, classify: impl FnMut(&C::Error) -> Verdict + Send + 'static) -> Self {
        self.core.extras().classify = Some(Box::new(classify));
        self
    }

    /// An attempt that takes longer has stalled, and is dropped: 13 s by
    /// default, and longer after attempts that stalled; see
    /// [`patience`](Self::patience). `Duration::MAX` lets an attempt take for
    /// ever.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero, in which no attempt could succeed.
    #[track_caller]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        expect(self.core.outage.rules().set_attempt_timeout(timeout));
        self
    }

    /// The most that the attempt timeout grows to: 120 s by default. See
    /// [`Outage::patience`].
    pub fn patience(mut self, most: Duration) -> Self {
        self.core.outage = self.core.outage.patience(most);
        self
    }

    /// A connection that has been up for so long ends the outage before it;
    /// see [`Outage::stable_after`].
    pub fn stable_after(mut self, uptime: Duration) -> Self {
        self.core.outage = self.core.outage.stable_after(uptime);
        self
    }

    /// Gives up after so many attempts in one outage; see
    /// [`Outage::max_attempts`].
    ///
    /// # Panics
    ///
    /// If `attempts` is 0, which would never connect at all.
    #[track_caller]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        expect(self.core.outage.rules().set_max_attempts(attempts));
        self
    }

    /// Gives up rather than wait beyond this time since the outage began; see
    /// [`Outage::max_elapsed`].
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.core.outage = self.core.outage.max_elapsed(elapsed);
        self
    }

    /// The same waits for the same seed: for tests.
    ///
    /// Clients that share a seed retry in lockstep, so a fleet must not.
    pub fn seed(mut self, seed: u64) -> Self {
        self.core.outage = self.core.outage.seed(seed);
        self
    }

    /// Calls `observe` at each [`Event`]: for logs and metrics.
    ///
    /// Observers stack: each one is called, in the order in which they were
    /// added. An observer runs inside the poll, so it must not block.
    pub fn observe(mut self, mut observe: impl FnMut(&Event<'_, C::Error>) + Send + 'static) -> Self
    where
        C::Error: 'static,
    {
        let extras = self.core.extras();
        extras.observe = Some(match extras.observe.take() {
            // A driver with one observer pays for no list.
            None => Box::new(observe),
            Some(mut before) => Box::new(move |event| {
                before(event);
                observe(event);
            }),
        });
        self
    }

    /// Goes on with an outage that was [saved](Self::save), `away` ago; see
    /// [`Outage::restore`].
    ///
    /// To be called last: what had been connected counts as lost now, by the
    /// policy and the limits that are set by then. What is left of a wait
    /// runs from the first poll.
    pub fn restore(mut self, saved: &SavedOutage, away: Duration) -> Self {
        let next = self.core.outage.restore(saved, away, Duration::ZERO);
        self.core.phase = Phase::Restored(next);
        self
    }

    /// The clock that shows when the device slept: [`SystemTime::now`](std::time::SystemTime::now) by
    /// default.
    ///
    /// On Linux, Android, macOS and iOS the monotonic clock stops while the
    /// device is suspended, and on Windows it does not. So a wait that has more
    /// than fifteen seconds to go is looked at every fifteen seconds: where the
    /// wall clock has moved two seconds more than the monotonic one, what it
    /// moved is taken off the wait, and an attempt that would be overdue is
    /// made within a second. At worst, a client whose wall clock was corrected
    /// tries once out of turn.
    pub fn wall_clock(mut self, clock: impl FnMut() -> WallTime + Send + 'static) -> Self {
        self.core.extras().wall_clock = Some(Box::new(clock));
        self
    }
}
