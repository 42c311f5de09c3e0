//! A runtime on a clock that leaps over waits, for tests in which
//! `#[tokio::test(start_paused = true)]` is not enough.

// Each test file is a crate of its own.
#![allow(unreachable_pub)]

use tokio::runtime::{Builder, Runtime};

pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}
