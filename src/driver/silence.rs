//! What a driver does for those that watch whether its connection lives.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::time::Duration;

use super::Redial;
use super::connect::Connect;
use super::state::Core;
use crate::clock::wall_nanos;
use crate::control::{Control, Why};
use crate::liveness::Silent;
use crate::policy::Policy;
use crate::verdict::Verdict;

impl<C: Connect, P: Policy> Redial<C, P> {
    /// Whether there is a reason to doubt that the connection lives, since the last
    /// call.
    pub(crate) fn take_doubt(&self) -> bool {
        self.core.control().is_some_and(Control::take_doubt)
    }

    /// Whether [`take_doubt`](Self::take_doubt) would find a reason.
    #[inline]
    pub(crate) fn is_doubted(&self) -> bool {
        self.core.control().is_some_and(Control::is_doubted)
    }

    /// A random number for the jitter of pings.
    pub(crate) fn random(&mut self) -> u64 {
        self.core.outage.random()
    }

    /// The wall clock, in nanoseconds since 1970.
    pub(crate) fn wall_nanos(&mut self) -> u64 {
        wall_nanos(self.core.wall_time())
    }
}

impl<E, P: Policy> Core<E, P> {
    /// Keeps what went wrong for the statuses that follow, if anybody sees them.
    #[cold]
    pub(super) fn note_silence(&mut self, silent: Silent, verdict: Verdict) {
        if self.control().is_none() {
            return;
        }
        let now = Duration::from_nanos(self.now());
        let elapsed = self.outage.elapsed(now);
        if let Some(control) = self.control() {
            let text = Arc::from(silent.to_string());
            control.note(Why::new(Some(text), Some(verdict), None, elapsed));
        }
    }
}
