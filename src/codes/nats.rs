//! NATS: the texts of `-ERR`.
//!
//! A server that is full resets the connection right after its text, and the reset may
//! arrive first. `INFO` with `ldm: true` means that the server leaves soon: connect to
//! another one, then close this connection.

use super::text::begins;
use super::{Advice, BUSY, DOWN, LOGIN, STOP, STOP_THERE, TWICE};

/// The text of an `-ERR`, with or without its quotes. `None` if the connection lives.
///
/// An unknown text is `Busy`. (nats.go closes for good on one.)
///
/// Source: `server/client.go`, `server.go` and `errors.go` in nats-io/nats-server, and
/// `nats.go` in nats-io/nats.go.
pub fn error(text: &str) -> Option<Advice> {
    let text = text.trim().trim_matches('\'');
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| begins(text, prefix));
    // Said for every login that fails, whatever the cause.
    if is(&["authorization violation"]) {
        return Some(LOGIN);
    }
    // The connector must load new credentials.
    if is(&[
        "user authentication expired",
        "account authentication expired",
        "failed account registration",
    ]) {
        return Some(TWICE);
    }
    if is(&[
        "user authentication revoked",
        "proxy is not trusted",
        "proxy connection required",
    ]) {
        return Some(STOP_THERE);
    }
    if is(&[
        "secure connection - tls required",
        "invalid client protocol",
        "no responders requires headers support",
        "attempted to connect to ",
    ]) {
        return Some(STOP);
    }
    // Too many pings without an answer.
    if is(&["stale connection"]) {
        return Some(DOWN);
    }
    if is(&[
        "maximum subscriptions exceeded",
        "permissions violation",
        "invalid subject",
        "invalid publish subject",
    ]) {
        return None;
    }
    // Full, throttled, too slow with the login, a message that was too large, out of
    // step, and all others.
    Some(BUSY)
}

#[cfg(test)]
mod tests {
    use super::super::notation::check;
    use super::*;

    #[test]
    fn each_text_is_judged_as_its_row_says() {
        check(
            error,
            &[
                (
                    &["Authorization Violation", "'Authorization Violation'"],
                    "Login",
                ),
                (
                    &[
                        "User Authentication Expired",
                        "Account Authentication Expired",
                    ],
                    "Stop(2)",
                ),
                (&["User Authentication Revoked"], "Stop there"),
                (&["Authentication Timeout"], "Busy"),
                (
                    &[
                        "maximum connections exceeded",
                        "maximum account active connections exceeded",
                    ],
                    "Busy",
                ),
                (
                    &["Connection throttling is active. Please try again later."],
                    "Busy",
                ),
                (&["Secure Connection - TLS Required"], "Stop"),
                (&["Stale Connection"], "Down"),
                (
                    &["Maximum Payload Violation", "Maximum Control Line Exceeded"],
                    "Busy",
                ),
                (&["Unknown Protocol Operation", "Parser Error"], "Busy"),
                (
                    &[
                        "maximum subscriptions exceeded",
                        "Permissions Violation for Publish to \"a\"",
                        "Invalid Subject",
                        "Invalid Publish Subject",
                    ],
                    "none",
                ),
                (&["Failed Account Registration"], "Stop(2)"),
                (
                    &[
                        "invalid client protocol",
                        "no responders requires headers support",
                        "attempted to connect to route port",
                        "attempted to connect to leaf node port",
                    ],
                    "Stop",
                ),
                (
                    &["proxy is not trusted", "proxy connection required"],
                    "Stop there",
                ),
                (&["", "'", "something new", "ü"], "Busy"),
            ],
        );
    }
}
