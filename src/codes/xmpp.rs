//! XMPP: stream errors, failures of SASL, and errors of the bind.
//!
//! RFC 6120 section 3.3 asks for a random first reconnect of up to a minute. A client
//! that follows `see-other-host` does so only over TLS with the name of its own domain,
//! and with a limit of hops.

use super::{Advice, BUSY, DOWN, LOGIN, STOP, TAKEN_OVER, TWICE, TWICE_THERE};

/// The name of the condition in a stream error.
///
/// `conflict` is another client with our resource. It also comes to our own old stream
/// after a resumption (XEP-0198).
///
/// Source: RFC 6120 section 4.9.3.
pub fn stream_error(condition: &str) -> Advice {
    match condition {
        // Our bug, or damage.
        "bad-format"
        | "bad-namespace-prefix"
        | "invalid-namespace"
        | "invalid-xml"
        | "not-well-formed"
        | "restricted-xml"
        | "unsupported-encoding"
        | "unsupported-stanza-type" => TWICE,
        "conflict" => TAKEN_OVER,
        // We were silent; new certificates or features; a shutdown.
        "connection-timeout" | "reset" | "system-shutdown" => DOWN,
        "see-other-host" => DOWN.elsewhere(),
        "host-gone" => TWICE_THERE,
        // A wrong domain, or its component is not up yet.
        "host-unknown" => TWICE,
        "not-authorized" => TWICE,
        "improper-addressing" | "invalid-from" => STOP,
        "unsupported-feature" | "unsupported-version" => STOP,
        // policy-violation is a limit of sessions or of the rate, or a slip of ours.
        // internal-server-error, remote-connection-failed, resource-constraint,
        // undefined-condition, and all others.
        _ => BUSY,
    }
}

/// The name of the condition in a failure of SASL.
///
/// Source: RFC 6120 section 6.5.
pub fn sasl_failure(condition: &str) -> Advice {
    match condition {
        // Some servers say it if their user database is down.
        "not-authorized" => LOGIN,
        // Disabled for a time, as the RFC says.
        "account-disabled" => TWICE_THERE,
        "credentials-expired"
        | "encryption-required"
        | "incorrect-encoding"
        | "invalid-authzid"
        | "invalid-mechanism"
        | "malformed-request"
        | "mechanism-too-weak" => STOP,
        // aborted, temporary-auth-failure, and all others.
        _ => BUSY,
    }
}

/// The name of the condition in an error of the resource binding. `None` for
/// `conflict` and `bad-request`: bind another resource on the same stream.
///
/// Source: RFC 6120 section 7.6.2 and 7.7.2.
pub fn bind_error(condition: &str) -> Option<Advice> {
    match condition {
        "conflict" | "bad-request" => None,
        // resource-constraint, and all others.
        _ => Some(BUSY),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::check;
    use super::*;

    #[test]
    fn each_stream_error_is_judged_as_its_row_says() {
        check(
            |condition| Some(stream_error(condition)),
            &[
                (
                    &[
                        "bad-format",
                        "bad-namespace-prefix",
                        "invalid-namespace",
                        "invalid-xml",
                        "not-well-formed",
                        "restricted-xml",
                        "unsupported-encoding",
                        "unsupported-stanza-type",
                    ],
                    "Stop(2)",
                ),
                (&["conflict"], "Stop(again)"),
                (&["connection-timeout", "reset", "system-shutdown"], "Down"),
                (&["host-gone"], "Stop(2) there"),
                (&["host-unknown"], "Stop(2)"),
                (&["improper-addressing", "invalid-from"], "Stop"),
                (&["internal-server-error"], "Busy"),
                (&["not-authorized"], "Stop(2)"),
                (&["policy-violation"], "Busy"),
                (
                    &[
                        "remote-connection-failed",
                        "resource-constraint",
                        "undefined-condition",
                    ],
                    "Busy",
                ),
                (&["see-other-host"], "Down next"),
                (&["unsupported-feature", "unsupported-version"], "Stop"),
                (&["", "new-condition", "CONFLICT"], "Busy"),
            ],
        );
    }

    #[test]
    fn each_failure_of_sasl_is_judged_as_its_row_says() {
        check(
            |condition| Some(sasl_failure(condition)),
            &[
                (&["aborted", "temporary-auth-failure"], "Busy"),
                (&["not-authorized"], "Login"),
                (&["account-disabled"], "Stop(2) there"),
                (
                    &[
                        "credentials-expired",
                        "encryption-required",
                        "invalid-authzid",
                        "invalid-mechanism",
                        "mechanism-too-weak",
                    ],
                    "Stop",
                ),
                (&["incorrect-encoding", "malformed-request"], "Stop"),
                (&["", "new-condition"], "Busy"),
            ],
        );
    }

    #[test]
    fn each_error_of_the_bind_is_judged_as_its_row_says() {
        check(
            bind_error,
            &[
                (&["resource-constraint", "", "new-condition"], "Busy"),
                (&["conflict", "bad-request"], "none"),
            ],
        );
    }
}
