//! Fresh seeds.

use std::hash::{BuildHasher, RandomState};

use crate::clock;

/// A seed that nobody else has.
///
/// The keys that std draws for hash maps: from the operating system once for a
/// thread, and others each time. The clock tells a process from its fork, and a
/// virtual machine from its clone, which have the same keys. Spread matters
/// here, not secrecy, so this needs neither a system call for each client nor a
/// dependency.
pub(crate) fn fresh() -> u64 {
    RandomState::new().hash_one(clock::wall())
}
