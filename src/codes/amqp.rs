//! AMQP 0-9-1: reply codes of `connection.close`.
//!
//! RabbitMQ closes without a word after a refused login, unless the client has
//! declared `authentication_failure_close`. Declare it.

use super::text::has;
use super::{Advice, BUSY, DOWN, LOGIN, STOP, TWICE, TWICE_THERE};

/// A reply code of `connection.close`, with its text. `None` is a code of a channel,
/// on which the connection lives.
///
/// RabbitMQ says 530 both for a limit that is reached and for a vhost that does not
/// exist, so that text is read. Another text of 530 is `Busy`.
///
/// Source: AMQP 0-9-1 section 1.1, and `rabbit_reader.erl` in rabbitmq/rabbitmq-server.
pub fn connection_close(code: u16, text: &str) -> Option<Advice> {
    Some(match code {
        // An orderly end. 320: a shutdown or an operator, who may mean to move us.
        200 | 320 => DOWN,
        // No route, no consumers, not found, locked, precondition: of a channel.
        311..=313 | 404..=406 => return None,
        // No such vhost.
        402 => TWICE,
        403 => LOGIN,
        530 if has(text, "connection limit") => BUSY,
        530 if has(text, "not found") || has(text, "refused") || has(text, "negotiated") => {
            TWICE_THERE
        }
        540 => STOP,
        // 501 to 505 frames out of order, 506 resources, 541 internal.
        _ => BUSY,
    })
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops};
    use super::*;

    const CODES: &[(&[u16], &str)] = &[
        (&[200, 320], "Down"),
        (&[311, 312, 313, 404, 405, 406], "none"),
        (&[402], "Stop(2)"),
        (&[403], "Login"),
        (&[501, 502, 503, 504, 505, 506, 530], "Busy"),
        (&[540], "Stop"),
        (&[541], "Busy"),
        (&[0, 100, 599, u16::MAX], "Busy"),
    ];

    #[test]
    fn each_code_is_judged_as_its_row_says() {
        let close = |code| connection_close(code, "");
        check(close, CODES);
        nothing_else_stops(close, 0..=u16::MAX, CODES);
    }

    #[test]
    fn the_text_tells_a_full_server_from_a_missing_vhost() {
        check(
            |text| connection_close(530, text),
            &[
                (
                    &[
                        "NOT_ALLOWED - access to vhost 'x' refused for user 'u': connection limit (1) is reached",
                        "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached",
                        "NOT_ALLOWED - node connection limit (1) is reached",
                    ],
                    "Busy",
                ),
                (
                    &[
                        "NOT_ALLOWED - vhost x not found",
                        "NOT_ALLOWED - access to vhost 'x' refused for user 'u'",
                        "NOT_ALLOWED - negotiated channel_max = 0 is too low",
                    ],
                    "Stop(2) there",
                ),
                (
                    &[
                        "NOT_ALLOWED - limits cannot be queried, timeout",
                        "something new",
                    ],
                    "Busy",
                ),
            ],
        );
    }
}
