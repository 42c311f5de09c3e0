//! A simulated client, and how it asks for its next wait.

use core::time::Duration;

use super::fleet::Fleet;
use crate::outage::{Ask, Progress};
use crate::policy::Failed;
use crate::rng::Rng;

/// The data of a client, besides its place in the queue. With a built-in policy this
/// is one cache line.
#[repr(align(64))]
pub(super) struct Client<S> {
    pub(super) progress: Progress,
    /// Attempts since the server's return.
    pub(super) attempts: u32,
    pub(super) offline: Offline,
    pub(super) state: S,
}

impl<S> Client<S> {
    pub(super) fn new(state: S) -> Self {
        Self {
            progress: Progress::default(),
            attempts: 0,
            offline: Offline::default(),
            state,
        }
    }
}

/// How long a client has been offline, in units of [`Storm::unit`].
///
/// The lowest bit is set while the client is online. The others are the time at which
/// it came back less the time at which it was lost, and the same for further losses.
/// While it is offline, the time at which it will be back is missing.
#[derive(Clone, Copy, Default)]
pub(super) struct Offline(u32);

impl Offline {
    pub(super) fn lost(&mut self, at: u64) {
        self.0 = (self.0 & !1).wrapping_sub((at as u32) << 1);
    }

    pub(super) fn back(&mut self, at: u64) {
        self.0 = self.0.wrapping_add((at as u32) << 1) | 1;
    }

    /// In all, at the end of the simulation.
    pub(super) fn until(mut self, end: u64) -> u32 {
        if self.0 & 1 == 0 {
            self.back(end);
        }
        self.0 >> 1
    }
}

/// The source of a client's waits. All clients share the policy and one generator.
///
/// `LOST` tells the losses from the failed attempts, which are far more: each has code of
/// its own, so that the compiler inlines that of the latter.
pub(super) struct Seat<'a, F: Fleet, const LOST: bool> {
    pub(super) fleet: &'a F,
    pub(super) state: &'a mut F::State,
    pub(super) rng: &'a mut Rng,
    /// For random numbers that are not the policy's.
    pub(super) other: &'a mut Rng,
    /// Whether the state was made for the outage that begins.
    pub(super) is_new: bool,
}

impl<F: Fleet, const LOST: bool> Ask for Seat<'_, F, LOST> {
    #[inline]
    fn begin(&mut self) {
        if !self.is_new {
            self.fleet.again(self.state, self.rng);
        }
    }

    #[inline]
    fn next_delay(&mut self, failed: &Failed) -> Option<Duration> {
        self.fleet.next_delay(self.state, self.rng, failed)
    }

    #[inline]
    fn random(&mut self) -> u64 {
        self.other.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Decorrelated, Exponential, Policy, Sequence, Stratified};

    #[test]
    fn a_client_with_a_built_in_policy_is_64_bytes() {
        fn size<P: Policy>(_: &P) -> usize {
            size_of::<Client<P::State>>()
        }
        let second = Duration::from_secs(1);
        let sizes = [
            size(&Stratified::default()),
            size(&Exponential::new(second, second)),
            size(&Decorrelated::new(second, second)),
            size(&Sequence::new([second])),
        ];
        assert_eq!(sizes, [64; 4]);
    }
}
