//! Does a saved outage survive being written down?
#![cfg(feature = "serde")]

use std::time::Duration;

use redial::{Cause, Next, Outage, SavedOutage, Stratified, Verdict};

fn saved() -> SavedOutage {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let mut now = Duration::from_secs(5);
    for _ in 0..6 {
        let Next::Wait(wait) = outage.failed(now, Verdict::Retry(Cause::Stalled)) else {
            panic!("there is no limit");
        };
        now += wait;
    }
    outage.save(now - Duration::from_millis(1)).unwrap()
}

#[test]
fn what_was_written_down_is_read_again() {
    let written = serde_json::to_string(&saved()).unwrap();
    let read: SavedOutage = serde_json::from_str(&written).unwrap();
    assert_eq!(read, saved());
    let mut outage = Outage::from_seed(Stratified::default(), 2);
    let left = outage.restore(&read, Duration::ZERO, Duration::ZERO);
    assert_eq!(left, Next::Wait(Duration::from_millis(1)));
    assert_eq!(outage.attempts(), 6);
}

#[test]
fn a_field_that_was_not_written_yet_has_a_default() {
    let read: SavedOutage = serde_json::from_str(r#"{"attempts": 3}"#).unwrap();
    let mut outage = Outage::from_seed(Stratified::default(), 2);
    let _ = outage.restore(&read, Duration::ZERO, Duration::ZERO);
    assert_eq!(outage.attempts(), 3);
}
