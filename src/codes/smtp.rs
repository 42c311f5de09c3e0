//! SMTP: reply codes at the connect and the login.
//!
//! Each phase has its own function, because the same code means different things: 550
//! is of a recipient, 554 as the greeting is a block list.

use super::{Advice, BUSY, LOGIN, STOP, STOP_THERE, TWICE, TWICE_EITHER, TWICE_THERE};

/// The greeting of a server. `None` is 2xx.
///
/// Source: RFC 5321 sections 3.1 and 4.2; 521 and 556 are of RFC 7504.
pub const fn greeting(code: u16) -> Option<Advice> {
    Some(match code {
        200..=299 => return None,
        521 | 556 => STOP_THERE,
        // No service for us, mostly by a block list.
        554 => TWICE_THERE,
        // 421 and all other 4yz are transient by definition.
        _ => BUSY,
    })
}

/// A reply to EHLO, STARTTLS or AUTH. `None` is 2xx and 3xx.
///
/// Source: RFC 5321 section 4.2, RFC 4954 section 6 and RFC 3207 section 4.
pub const fn login(code: u16) -> Option<Advice> {
    Some(match code {
        200..=399 => return None,
        // A transition of the password is needed.
        432 => STOP,
        // The server does not know the command, or not here.
        500..=504 => TWICE,
        521 | 556 => STOP_THERE,
        // Log in or encrypt first; the mechanism is too weak.
        530 | 534 | 538 => STOP,
        535 => LOGIN,
        // Permanent by definition, but providers err.
        550..=555 => TWICE_EITHER,
        // 421, 454 and all other 4yz are transient by definition.
        _ => BUSY,
    })
}

/// A reply to MAIL, RCPT, DATA or a message. `None` if it is of the message or of a
/// recipient, such as 550, 452 or the 451 of a greylist: keep the connection.
///
/// Source: RFC 5321 section 3.8 for 421, and RFC 7504 for 521.
pub const fn mail(code: u16) -> Option<Advice> {
    match code {
        421 => Some(BUSY),
        521 => Some(STOP_THERE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops};
    use super::*;

    const GREETING: &[(&[u16], &str)] = &[
        (&[220], "none"),
        (&[421, 450, 499], "Busy"),
        (&[521, 556], "Stop there"),
        (&[554], "Stop(2) there"),
        (&[0, 100, 354, 500, 550, 599, u16::MAX], "Busy"),
    ];

    const LOGIN_CODES: &[(&[u16], &str)] = &[
        (&[220, 235, 250, 334], "none"),
        (&[421, 450, 454], "Busy"),
        (&[432], "Stop"),
        (&[500, 501, 502, 503, 504], "Stop(2)"),
        (&[521, 556], "Stop there"),
        (&[530, 534, 538], "Stop"),
        (&[535], "Login"),
        (&[550, 551, 552, 553, 554, 555], "Stop(2) either"),
        (&[0, 100, 520, 536, 599, u16::MAX], "Busy"),
    ];

    const MAIL: &[(&[u16], &str)] = &[
        (&[250, 354, 450, 451, 452, 550, 551, 552, 553, 554], "none"),
        (&[421], "Busy"),
        (&[521], "Stop there"),
    ];

    #[test]
    fn each_reply_is_judged_as_its_row_says() {
        check(greeting, GREETING);
        check(login, LOGIN_CODES);
        check(mail, MAIL);
        nothing_else_stops(greeting, 0..=u16::MAX, GREETING);
        nothing_else_stops(login, 0..=u16::MAX, LOGIN_CODES);
        nothing_else_stops(mail, 0..=u16::MAX, MAIL);
    }
}
