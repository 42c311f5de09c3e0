//! What a client's kernel sends again.

use super::Storm;
use super::desk::Desk;

const SECOND: u64 = 1_000_000_000;

/// When the SYN of an attempt arrives that follows the one that was `lost`, if the client
/// waits that long and the server may answer it then.
#[cold]
pub(super) fn next_syn(
    storm: &Storm,
    desk: &Desk,
    lost: u64,
    begins: u64,
    leaves: u64,
) -> Option<u64> {
    let (doubled, linear) = (storm.syn_retries, storm.syn_linear);
    let sent =
        (0..doubled + linear).map(|nth| begins.saturating_add(syn_repeat(nth, linear) * SECOND));
    let mut sent = sent.take_while(|&sent| sent < leaves);
    sent.find_map(|sent| {
        let arrives = sent.saturating_add(storm.delay);
        (arrives > lost && !desk.is_gone(arrives)).then_some(arrives)
    })
}

/// When a SYN is sent for the nth time again, in seconds after the first: a second later
/// each time at first, then after a timeout that doubles (RFC 6298).
fn syn_repeat(nth: u8, linear: u8) -> u64 {
    match nth.checked_sub(linear) {
        Some(doubled) => linear as u64 + (2 << doubled) - 1,
        None => nth as u64 + 1,
    }
}

/// When the client's first data is sent again that was sent first at `begins`, and has
/// just arrived in vain.
pub(super) fn next_data(delay: u64, begins: u64, arrived: u64) -> u64 {
    // The sample of the handshake, and its variance: RFC 6298, with the 200 ms of Linux.
    // The first repeat is a loss probe (RFC 8985).
    let round_trip = 2 * delay;
    let mut after = round_trip + (2 * round_trip).max(SECOND / 5);
    while begins.saturating_add(after).saturating_add(delay) <= arrived {
        after = after.saturating_mul(2);
    }
    begins.saturating_add(after)
}
