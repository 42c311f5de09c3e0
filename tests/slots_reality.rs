//! Does a fleet of real clients come back at the limit, if the front ends of its server
//! hand out slots from one counter?
#![cfg(all(feature = "slots", feature = "tokio", not(loom)))]

mod mirror;
mod slots_fleet;

use mirror::Mirror;
use redial::Slots;
use slots_fleet::{CAPACITY, come_back};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "real time on a quiet machine, and 4 100 file descriptors"]
async fn two_thousand_clients_come_back_at_the_limit_in_two_attempts() {
    let store = Mirror::new();
    store.way(Duration::from_millis(1));
    let front_ends = (0..8)
        .map(|_| Slots::new(CAPACITY, "the key of a test").shared(store.clone(), "logins", 8))
        .collect();
    let back = come_back(front_ends).await;
    println!(
        "{:.3} times the limit, {:.2} attempts",
        back.time, back.attempts
    );
    assert!(back.time <= 1.05 && back.attempts <= 2.2);
}
