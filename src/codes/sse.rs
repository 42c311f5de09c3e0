//! Server-sent events: the statuses of an event stream, and its `retry` field.

use core::time::Duration;

use super::date::digits;
use super::text::begins;
use super::{Advice, BUSY, STOP, http};

/// An answer to the request of an event stream, by its status and `Content-Type`.
///
/// - 200 with `text/event-stream` is success.
/// - 200 with another type is a deploy or a captive portal, so `Busy`.
/// - 204 is the agreed sign that the stream is over for good.
/// - Other statuses are judged as [`http::status`] does. The standard ends the stream
///   for good, so browsers stay offline after one 502 of a deploy.
///
/// The end of a stream that was open is no answer. It is `Retry(Down)`.
///
/// Source: HTML standard section 9.2.
pub fn response(code: u16, content_type: Option<&str>) -> Option<Advice> {
    match code {
        200 if content_type.is_some_and(is_event_stream) => None,
        204 => Some(STOP),
        100..=299 => Some(BUSY),
        _ => http::status(code),
    }
}

fn is_event_stream(content_type: &str) -> bool {
    const TYPE: &str = "text/event-stream";
    let rest = content_type.trim_start().get(TYPE.len()..);
    begins(content_type.trim_start(), TYPE)
        && rest
            .is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with(';'))
}

/// The floor of a stream's `retry` field, in milliseconds. It holds for all waits from
/// now on, until the server sends another one.
///
/// `None` for all that is not digits only, which the standard ignores. A zero is no
/// floor. The number is not cut; [`hint_cap`](crate::Config::hint_cap) does that.
///
/// Source: HTML standard section 9.2.6.
pub fn retry(value: &str) -> Option<Duration> {
    digits(value).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, short};
    use super::*;

    #[test]
    fn an_event_stream_needs_its_content_type() {
        for content_type in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            " text/event-stream ;x",
        ] {
            assert_eq!(response(200, Some(content_type)), None, "{content_type}");
        }
        for content_type in ["text/html", "", "text/event-streams", "text/event-stream2"] {
            assert_eq!(
                short(response(200, Some(content_type))),
                "Busy",
                "{content_type}"
            );
        }
        assert_eq!(short(response(200, None)), "Busy");
    }

    #[test]
    fn each_status_is_judged_as_its_row_says() {
        check(
            |code| response(code, Some("text/event-stream")),
            &[
                (&[200], "none"),
                (&[204], "Stop"),
                (&[205, 301, 307, 500, 502, 503, 504], "Busy"),
                (&[401], "Login"),
                (&[404], "Stop(3) there"),
            ],
        );
    }

    #[test]
    fn a_retry_is_digits_only() {
        for (value, millis) in [
            ("3000", Some(3000)),
            ("0", Some(0)),
            ("99999999999", Some(99_999_999_999)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            (" 5", None),
            ("", None),
        ] {
            assert_eq!(retry(value), millis.map(Duration::from_millis), "{value}");
        }
    }
}
