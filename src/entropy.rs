//! Fresh seeds, from the operating system.

use std::hash::{BuildHasher, RandomState};

use rand::TryRng;
use rand::rngs::SysRng;

/// A seed that nobody else has.
///
/// Where the system cannot give entropy (an exotic platform, a sandbox), the
/// keys that std draws for each hash map stand in: spread matters here, not
/// secrecy, and a client that cannot reconnect helps nobody.
pub(crate) fn fresh() -> u64 {
    SysRng
        .try_next_u64()
        .unwrap_or_else(|_| RandomState::new().hash_one(std::process::id()))
}
