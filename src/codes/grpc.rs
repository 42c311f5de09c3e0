//! gRPC: status codes, and the pushback of a server.
//!
//! The codes are of one call. Judge that call by which a client finds out whether it
//! is connected: the first one, or a stream that should live.

use core::time::Duration;

use super::{Advice, BUSY, DOWN, LOGIN, MISSING, STALLED, STOP, TWICE, TWICE_THERE};

/// A status that came from the server or from a proxy. With tonic it is
/// `status.code() as i32`.
///
/// `RESOURCE_EXHAUSTED` is a quota, but also a message above the limit, which does not
/// get smaller. It is one call, so it is `Busy`.
///
/// Source: `doc/statuscodes.md` in grpc/grpc.
pub const fn status(code: i32) -> Advice {
    match code {
        // OK on a stream that should live; CANCELLED.
        0 | 1 => DOWN,
        // INVALID_ARGUMENT, OUT_OF_RANGE.
        3 | 11 => STOP,
        // NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, of the application.
        5 | 6 | 9 => TWICE,
        // PERMISSION_DENIED.
        7 => TWICE_THERE,
        // UNIMPLEMENTED: the method is missing, or an ingress has no route yet.
        12 => MISSING,
        // UNAUTHENTICATED: also if a token service on our side is down.
        16 => LOGIN,
        // UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL,
        // UNAVAILABLE, DATA_LOSS.
        _ => BUSY,
    }
}

/// A status that the library on this side made, before any answer: no connection, or
/// our own deadline.
pub const fn local(code: i32) -> Advice {
    match code {
        // Our deadline ended a first call on a connection.
        4 => STALLED,
        // UNAVAILABLE: nobody was there.
        14 => DOWN,
        _ => status(code),
    }
}

/// A status of HTTP in an answer without `grpc-status`, which means that a proxy
/// answered. `None` is 1xx and 2xx.
///
/// Source: `doc/http-grpc-status-mapping.md` in grpc/grpc.
pub const fn http_status(code: u16) -> Option<Advice> {
    Some(match code {
        100..=299 => return None,
        // INTERNAL
        400 => status(13),
        401 => status(16),
        403 => status(7),
        404 => status(12),
        // A captive portal, which the mapping does not name: the server saw nothing.
        511 => DOWN,
        429 | 502..=504 => status(14),
        _ => status(2),
    })
}

/// The `grpc-retry-pushback-ms` of an answer.
///
/// A positive number is a floor. gRPC waits for exactly that long, but all calls may be
/// told the same, so redial adds a spread. Zero is no floor. A negative number, or one
/// that is not in the grammar, means that there should be no more retries; as it may
/// also be damage, that is believed at the second answer.
///
/// Source: A6-client-retries.md in grpc/proposal: a signed number of 32 bits without
/// leading zeros.
pub fn pushback(value: &str) -> Advice {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_in_grammar = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    match value.parse::<i32>() {
        Ok(millis) if is_in_grammar => match u64::try_from(millis) {
            Ok(millis) => Advice::after(Duration::from_millis(millis)),
            Err(_) => TWICE_THERE,
        },
        _ => TWICE_THERE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const STATUS: &[(&[i32], &str)] = &[
        (&[0, 1], "Down"),
        (&[2, 4, 8, 10, 13, 14, 15], "Busy"),
        (&[3, 11], "Stop"),
        (&[5, 6, 9], "Stop(2)"),
        (&[7], "Stop(2) there"),
        (&[12], "Stop(3) there"),
        (&[16], "Login"),
        (&[17, 100, -1, i32::MIN, i32::MAX], "Busy"),
    ];

    #[test]
    fn each_status_is_judged_as_its_row_says() {
        check(|code| Some(status(code)), STATUS);
        nothing_else_stops(|code| Some(status(code)), -70_000..70_000, STATUS);
    }

    #[test]
    fn a_status_of_this_side_tells_whether_anybody_was_there() {
        check(
            |code| Some(local(code)),
            &[(&[4], "Stalled"), (&[14], "Down"), (&[13], "Busy")],
        );
    }

    const HTTP: &[(&[u16], &str)] = &[
        (&[200], "none"),
        (&[400, 429, 502, 503, 504], "Busy"),
        (&[401], "Login"),
        (&[403], "Stop(2) there"),
        (&[404], "Stop(3) there"),
        (&[511], "Down"),
        (&[301, 405, 410, 418, 500, 0, u16::MAX], "Busy"),
    ];

    #[test]
    fn an_answer_of_a_proxy_is_mapped_as_grpc_does() {
        check(http_status, HTTP);
        nothing_else_stops(http_status, 0..=u16::MAX, HTTP);
    }

    #[test]
    fn each_pushback_is_judged_as_its_row_says() {
        for (value, expected) in [
            ("1500", "After 1.5"),
            ("2147483647", "After 2147483.647"),
            ("0", "Busy"),
            ("-1", "Stop(2) there"),
            ("2147483648", "Stop(2) there"),
            ("01", "Stop(2) there"),
            ("+5", "Stop(2) there"),
            ("1.5", "Stop(2) there"),
            ("", "Stop(2) there"),
            ("soon", "Stop(2) there"),
        ] {
            assert_eq!(short(Some(pushback(value))), expected, "{value:?}");
        }
    }
}
