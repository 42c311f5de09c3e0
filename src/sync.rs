//! Types that threads share. Under `cfg(loom)` they are loom's, so that tests can
//! run every order of the threads' steps.

#[cfg(not(loom))]
pub(crate) use alloc::sync::Arc;
#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) use core::sync::atomic::AtomicBool;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(all(feature = "std", not(loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::Arc;
#[cfg(all(feature = "tokio", loom))]
pub(crate) use loom::sync::atomic::AtomicBool;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(all(feature = "std", loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Locks, also if another thread panicked while it held the lock: the data is
/// consistent between any two statements.
#[cfg(feature = "std")]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
