//! Attempts beside a connection that is up: the same rules as those of an outage, in a
//! history of their own.
//!
//! A connection that is about to end is replaced while it still serves. Such an attempt
//! may fail, and its successor may be short-lived, too. So attempts of this kind wait as
//! those of an outage do. But there is no outage, and the limits of one do not apply.

use super::progress::Progress;
use crate::policy::Policy;
use crate::rng::Rng;

/// What a client remembers of its attempts beside a connection.
pub(super) struct Beside<P: Policy> {
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    progress: Progress,
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    memory: Option<(P::State, Rng)>,
}

impl<P: Policy> Default for Beside<P> {
    fn default() -> Self {
        Self {
            progress: Progress::default(),
            memory: None,
        }
    }
}

#[cfg(feature = "tokio")]
mod with_driver {
    use core::time::Duration;

    use super::Beside;
    use crate::outage::progress::Progress;
    use crate::outage::{AttemptPhase, Config, Next, Outage, Own};
    use crate::policy::{Cause, Policy};
    use crate::rng::Rng;
    use crate::verdict::Verdict;

    impl<P: Policy> Beside<P> {
        #[allow(clippy::type_complexity)] // it is what `Outage` has, too
        pub(in crate::outage) fn with_memory<Q: Policy>(
            self,
            change: impl FnOnce(Option<(P::State, Rng)>) -> Option<(Q::State, Rng)>,
        ) -> Beside<Q> {
            Beside {
                progress: self.progress,
                memory: change(self.memory),
            }
        }
    }

    impl<P: Policy> Outage<P> {
        /// A connection is to be replaced while it serves. The wait before the attempt,
        /// as after a loss; and whether the last replacement was long enough ago, so that
        /// the caller may choose a time of its own.
        pub(crate) fn replaces(&mut self, now: Duration) -> (Next, bool) {
            self.beside(now, |progress, config, now, own| {
                let verdict = Verdict::Retry(Cause::Busy);
                let is_fresh = !progress.is_ongoing() || progress.has_healed(config, now);
                (progress.lost(config, now, verdict, own), is_fresh)
            })
        }

        /// The attempt beside the connection begins, or enters a phase. Returns its
        /// timeout.
        pub(crate) fn replacing(&mut self, now: Duration, phase: AttemptPhase) -> Duration {
            let timeout = self.beside(now, |progress, config, now, own| {
                match phase {
                    AttemptPhase::Unknown => progress.connecting(now),
                    AttemptPhase::Dialing => progress.dialing(now),
                    AttemptPhase::Established => progress.established(now),
                }
                progress.timeout(config, now, || own.seeds.random())
            });
            Duration::from_nanos(timeout)
        }

        /// The attempt beside the connection failed.
        pub(crate) fn not_replaced(&mut self, now: Duration, verdict: Verdict) -> Next {
            self.beside(now, |progress, config, now, own| {
                progress.failed(config, now, verdict, own)
            })
        }

        /// The attempt beside the connection succeeded: its connection is the present one
        /// from now on.
        pub(crate) fn replaced(&mut self, now: Duration) {
            let at = self.clock(now);
            let config = self.config;
            self.progress.replaced(&config, at);
            self.beside(now, |progress, _, now, _| progress.connected(now));
        }

        /// A connection has come up that was not made beside another one.
        pub(crate) fn not_beside(&mut self, now: Duration) {
            self.beside(now, |progress, _, now, _| progress.connected(now));
        }

        /// How many attempts there were beside connections, since one was stable.
        pub(crate) fn attempts_beside(&self) -> u32 {
            let rare = self.rare.as_ref();
            rare.map_or(0, |rare| rare.beside.progress.attempts)
        }

        fn beside<R>(
            &mut self,
            now: Duration,
            event: impl FnOnce(&mut Progress, &Config, u64, &mut Own<'_, P>) -> R,
        ) -> R {
            let now = self.clock(now);
            let config = self.config.without_limits();
            let beside = &mut self.rare.get_or_insert_default().beside;
            let mut own = Own {
                policy: &self.policy,
                memory: &mut beside.memory,
                shift: None,
                seeds: &mut self.seeds,
            };
            event(&mut beside.progress, &config, now, &mut own)
        }
    }

    impl Config {
        /// The least [`max_age`](crate::Redial::max_age) of a connection whose attempts
        /// may take so long.
        pub(crate) fn least_age(&self) -> Duration {
            match self.whole_attempt() {
                u64::MAX => Duration::from_secs(26),
                timeout => Duration::from_nanos(timeout.saturating_mul(2)),
            }
        }
    }
}
