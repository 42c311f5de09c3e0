//! IMAP: response codes of a login that was refused.
//!
//! A `BYE` of the server is the end of a connection, so it is `Retry(Down)`.

use super::{Advice, BUSY, LOGIN, STOP};

/// The response code of a `NO` to LOGIN or AUTHENTICATE, without its brackets. Use an
/// empty string if there is none.
///
/// Source: RFC 5530 section 3.
pub fn login_no(code: &str) -> Advice {
    let is = |name: &str| code.eq_ignore_ascii_case(name);
    if is("AUTHENTICATIONFAILED") || is("AUTHORIZATIONFAILED") {
        LOGIN
    } else if is("EXPIRED") || is("CONTACTADMIN") || is("PRIVACYREQUIRED") {
        STOP
    } else {
        // UNAVAILABLE, INUSE, LIMIT and all others.
        BUSY
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::check;
    use super::*;

    #[test]
    fn each_response_code_is_judged_as_its_row_says() {
        check(
            |code| Some(login_no(code)),
            &[
                (&["UNAVAILABLE", "INUSE", "LIMIT"], "Busy"),
                (
                    &[
                        "AUTHENTICATIONFAILED",
                        "authenticationfailed",
                        "AUTHORIZATIONFAILED",
                    ],
                    "Login",
                ),
                (&["EXPIRED", "CONTACTADMIN", "PRIVACYREQUIRED"], "Stop"),
                (&["", "NEWCODE", "SERVERBUG"], "Busy"),
            ],
        );
    }
}
