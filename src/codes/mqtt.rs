//! MQTT 3.1.1 and 5: the codes of CONNACK and DISCONNECT.
//!
//! Mosquitto 2.0 sends no DISCONNECT, not even for a takeover or at its shutdown, so
//! the end of a connection is often without a code. A broker that is full closes
//! without a CONNACK: that is `Busy`. A persistent session whose first message crashes
//! the client loops, so a CONNACK alone does not end an outage.

use super::{Advice, BUSY, DOWN, LOGIN, STOP, STOP_THERE, TAKEN_OVER, TWICE};

/// A return code of a CONNACK in MQTT 3.1.1. `None` is 0, accepted.
///
/// 5 is what Mosquitto says for a wrong password. The protocol has no other word for
/// bans and quotas either.
///
/// Source: MQTT 3.1.1 section 3.2.2.3.
pub const fn connack3(code: u8) -> Option<Advice> {
    Some(match code {
        0 => return None,
        // Another version; the client's identifier is not allowed.
        1 | 2 => STOP,
        4 | 5 => LOGIN,
        // 3 is unavailable. A fleet of devices is large, so this is no `Down`.
        _ => BUSY,
    })
}

/// A reason code of a CONNACK in MQTT 5, with the server reference of its properties.
/// `None` is 0, success.
///
/// Follow a reference no further than you trust the first server: the same rules for
/// names in TLS, and a limit of hops.
///
/// Source: MQTT 5 section 3.2.2.2.
pub const fn connack5(code: u8, server_reference: Option<&str>) -> Option<Advice> {
    Some(match code {
        0x00 => return None,
        // Version, client identifier, authentication method.
        0x84 | 0x85 | 0x8c => STOP,
        0x8a => STOP_THERE,
        // Topic name, packet size, retain, QoS: all of the will.
        0x90 | 0x95 | 0x9a | 0x9b => STOP,
        // Those of a DISCONNECT only are unknown here.
        0x8b | 0x8d | 0x8e | 0x98 | 0x9e | 0xa0..=0xa2 => BUSY,
        _ => both(code, server_reference.is_some()),
    })
}

/// A reason code of a DISCONNECT from the server in MQTT 5, with the server reference
/// of its properties.
///
/// The first takeover after a change of network is our own old connection; see
/// [`StopOnRepeat`](super::StopOnRepeat).
///
/// Source: MQTT 5 section 3.14.2.1.
pub const fn disconnect5(code: u8, server_reference: Option<&str>) -> Advice {
    match code {
        // Normal, shutting down, we were silent, the time of a token is over.
        0x00 | 0x8b | 0x8d | 0xa0 => DOWN,
        0x8e => TAKEN_OVER,
        // Retain, QoS, and three kinds of subscriptions that it does not have.
        0x9a | 0x9b | 0x9e | 0xa1 | 0xa2 => STOP,
        // Those of a CONNACK only, but 0x9c and 0x9d, are unknown here.
        0x84..=0x86 | 0x88 | 0x8a | 0x8c => BUSY,
        // One message was wrong, or an administrator acted, which may be to move us.
        _ => both(code, server_reference.is_some()),
    }
}

/// The codes that both packets have.
const fn both(code: u8, has_reference: bool) -> Advice {
    match code {
        // Malformed, protocol error: our bug, or damage.
        0x81 | 0x82 => TWICE,
        0x86 | 0x87 => LOGIN,
        // Use another server; the server has moved for good.
        0x9c => DOWN.elsewhere(),
        0x9d if has_reference => DOWN.elsewhere(),
        0x9d => STOP_THERE,
        _ => BUSY,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const CONNACK_3: &[(&[u8], &str)] = &[
        (&[0], "none"),
        (&[1, 2], "Stop"),
        (&[3], "Busy"),
        (&[4, 5], "Login"),
        (&[6, 16, u8::MAX], "Busy"),
    ];

    const CONNACK_5: &[(&[u8], &str)] = &[
        (&[0x00], "none"),
        (&[0x80, 0x83, 0x88, 0x89], "Busy"),
        (&[0x81, 0x82], "Stop(2)"),
        (&[0x84, 0x85, 0x8c], "Stop"),
        (&[0x86, 0x87], "Login"),
        (&[0x8a, 0x9d], "Stop there"),
        (&[0x90, 0x95, 0x9a, 0x9b], "Stop"),
        (&[0x97, 0x99, 0x9f], "Busy"),
        (&[0x9c], "Down next"),
        (&[0x01, 0x8e, 0xa3, u8::MAX], "Busy"),
    ];

    const DISCONNECT_5: &[(&[u8], &str)] = &[
        (&[0x00, 0x8b, 0x8d, 0xa0], "Down"),
        (&[0x80, 0x83, 0x89], "Busy"),
        (&[0x81, 0x82], "Stop(2)"),
        (&[0x87], "Login"),
        (&[0x8e], "Stop(again)"),
        (&[0x8f, 0x90, 0x93, 0x94, 0x95, 0x99], "Busy"),
        (&[0x96, 0x97, 0x98, 0x9f], "Busy"),
        (&[0x9a, 0x9b, 0x9e, 0xa1, 0xa2], "Stop"),
        (&[0x9c], "Down next"),
        (&[0x9d], "Stop there"),
        (&[0x01, 0x85, 0x8a, 0xa3, u8::MAX], "Busy"),
    ];

    #[test]
    fn each_code_is_judged_as_its_row_says() {
        let connack5 = |code| connack5(code, None);
        let disconnect5 = |code| Some(disconnect5(code, None));
        check(connack3, CONNACK_3);
        check(connack5, CONNACK_5);
        check(disconnect5, DISCONNECT_5);
        nothing_else_stops(connack3, 0..=u8::MAX, CONNACK_3);
        nothing_else_stops(connack5, 0..=u8::MAX, CONNACK_5);
        nothing_else_stops(disconnect5, 0..=u8::MAX, DISCONNECT_5);
    }

    #[test]
    fn a_server_that_has_moved_sends_the_client_to_its_reference() {
        let reference = Some("broker2.example");
        assert_eq!(short(connack5(0x9d, reference)), "Down next");
        assert_eq!(short(Some(disconnect5(0x9d, reference))), "Down next");
    }
}
