//! WebSocket close codes, as the end of a connection that was up.
//!
//! An upgrade that was refused has a status of HTTP; see [`http::upgrade`](super::http::upgrade).

use core::time::Duration;

use super::{Advice, BUSY, DOWN, LOGIN, STOP, TWICE_THERE};

/// A close code. Use 1005 for a close without a code, and 1006 for the end of the
/// connection without a close.
///
/// Codes from 3000 on belong to frameworks and applications, which use the same number
/// for different things. So all of them are `Busy`; [`services`](super::services) has
/// those of some services, and [`registered`] believes the registered ones.
///
/// If a server of yours says 1000 only when there is nothing more to come, make it a
/// stop before you ask this table: balancers close with 1000, too.
///
/// Source: RFC 6455 section 7.4.1, and IANA's WebSocket Close Code Number Registry for
/// 1012 to 1014. The registration of 1012 asks for a random wait of 5 to 30 s.
pub const fn close(code: u16) -> Advice {
    match code {
        // Done with this connection; going away; no code; lost.
        1000 | 1001 | 1005 | 1006 => DOWN,
        // This client closed, because an extension that it demands is missing.
        1010 => STOP,
        1012 => Advice::after(Duration::from_secs(5)),
        1013 => BUSY.elsewhere(),
        // 1008 ends bad logins, floods and slow readers alike. 1003, 1007 and 1009 are
        // about one message, which the next session need not repeat.
        _ => BUSY,
    }
}

/// As [`close`], for a server that uses the registered meaning of 3000 (unauthorized)
/// and 3003 (forbidden). Centrifugo, for one, says 3000 for an ordinary end.
///
/// Source: IANA's registry.
pub const fn registered(code: u16) -> Advice {
    match code {
        3000 => LOGIN,
        3003 => TWICE_THERE,
        _ => close(code),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops};
    use super::*;

    const CLOSE: &[(&[u16], &str)] = &[
        (&[1000, 1001, 1005, 1006], "Down"),
        (
            &[1002, 1003, 1004, 1007, 1008, 1009, 1011, 1014, 1015],
            "Busy",
        ),
        (&[1010], "Stop"),
        (&[1012], "After 5"),
        (&[1013], "Busy next"),
        (&[0, 999, 1016, 2999], "Busy"),
        (
            &[3000, 3003, 3008, 3999, 4000, 4001, 4999, u16::MAX],
            "Busy",
        ),
    ];

    #[test]
    fn each_close_code_is_judged_as_its_row_says() {
        check(|code| Some(close(code)), CLOSE);
        nothing_else_stops(|code| Some(close(code)), 0..=u16::MAX, CLOSE);
    }

    #[test]
    fn registered_codes_are_believed_if_the_server_means_them() {
        const REGISTERED: &[(&[u16], &str)] = &[
            (&[1010], "Stop"),
            (&[3000], "Login"),
            (&[3003], "Stop(2) there"),
            (&[3008, 4001], "Busy"),
            (&[1001], "Down"),
        ];
        check(|code| Some(registered(code)), REGISTERED);
        nothing_else_stops(|code| Some(registered(code)), 0..=u16::MAX, REGISTERED);
    }
}
