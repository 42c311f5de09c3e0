//! Fresh seeds.

use std::hash::{BuildHasher, RandomState};

use crate::clock;

/// A seed that differs from the seeds of other clients.
///
/// The seed is a hash of the time under the keys that std draws for hash maps. Std
/// asks the operating system for keys once in each thread, and changes them for each
/// map. A process and its fork, or a virtual machine and its clone, have the same
/// keys; the time distinguishes them. The purpose is spread, not secrecy, so a system
/// call for each client or a dependency would cost too much.
pub(crate) fn fresh() -> u64 {
    RandomState::new().hash_one(clock::wall())
}
