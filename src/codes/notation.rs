//! The notation that the tests of the tables are written in, so that a row of a test
//! does not repeat the code of the table.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Debug;

use super::{Actor, Advice};
use crate::advice::Proof;
use crate::policy::Cause;
use crate::verdict::Verdict;

/// An advice in short.
///
/// `Stop(2)` must come twice, `Login` is the same with one spaced attempt, `Stop(3)`
/// must come three times, and `Stop(again)` twice across connections. `there` or
/// `either` must act; nothing means this side. `next` is another server.
pub(super) fn short(advice: Option<Advice>) -> String {
    let Some(advice) = advice else {
        return "none".to_string();
    };
    let mut short = match advice.verdict() {
        Verdict::Retry(Cause::Down) => "Down".to_string(),
        Verdict::Retry(Cause::Busy) => "Busy".to_string(),
        Verdict::Retry(Cause::Stalled) => "Stalled".to_string(),
        Verdict::RetryAfter(floor) => format!("After {}", floor.as_secs_f64()),
        Verdict::Slot(slot) => format!("Slot {}", slot.as_secs_f64()),
        Verdict::Stop => match advice.proof() {
            Proof::Once => "Stop".to_string(),
            Proof::Repeated {
                is_spaced: true, ..
            } => "Login".to_string(),
            Proof::Repeated { times, .. } => format!("Stop({times})"),
            Proof::AgainWithin(_) => "Stop(again)".to_string(),
        },
    };
    match advice.actor() {
        Some(Actor::There) => short.push_str(" there"),
        Some(Actor::Either) => short.push_str(" either"),
        Some(Actor::Here) | None => {}
    }
    if advice.is_elsewhere() {
        short.push_str(" next");
    }
    short
}

/// Checks one table, row by row.
pub(super) fn check<C: Copy + Debug>(table: impl Fn(C) -> Option<Advice>, rows: &[(&[C], &str)]) {
    for (codes, expected) in rows {
        for code in *codes {
            assert_eq!(short(table(*code)), *expected, "{code:?}");
        }
    }
}

/// Checks that no code but those of the rows stops a client.
pub(super) fn nothing_else_stops<C: Copy + Debug + PartialEq>(
    table: impl Fn(C) -> Option<Advice>,
    all: impl IntoIterator<Item = C>,
    rows: &[(&[C], &str)],
) {
    for code in all {
        let is_stop = table(code).is_some_and(|advice| advice.verdict() == Verdict::Stop);
        let is_known = rows.iter().any(|(codes, _)| codes.contains(&code));
        assert!(!is_stop || is_known, "{code:?} stops, and no row says so");
    }
}
