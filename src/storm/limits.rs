//! When an attempt must have got how far: the calls of [`Progress`] that begin an
//! attempt.

use super::fleet::Habits;
use crate::outage::Progress;
use crate::rng::Rng;

/// An attempt begins. Returns when it ends without an answer.
#[inline]
pub(super) fn begin(progress: &mut Progress, habits: &Habits, now: u64, other: &mut Rng) -> u64 {
    if habits.phases {
        progress.dialing(now);
        return ends(progress, habits, now, other);
    }
    progress.connecting(now);
    let timeout = progress.timeout(&habits.config, now, || other.next_u64());
    now.saturating_add(timeout)
}

/// The transport is established. Returns when the attempt ends without an answer.
pub(super) fn established(
    progress: &mut Progress,
    habits: &Habits,
    now: u64,
    other: &mut Rng,
) -> u64 {
    progress.established(now);
    ends(progress, habits, now, other)
}

// Not inlined, so that the call in `begin` is.
#[inline(never)]
fn ends(progress: &Progress, habits: &Habits, now: u64, other: &mut Rng) -> u64 {
    let timeout = progress.timeout(&habits.config, now, || other.next_u64());
    now.saturating_add(timeout)
}
