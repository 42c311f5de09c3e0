//! HTTP: a request, or the upgrade to a WebSocket.
//!
//! [`response`] and [`upgrade_response`] read the status and the header fields of an
//! answer. Their parts can be used alone: [`status`], [`upgrade`], [`wait`],
//! [`retry_after`] and the others.

use core::time::Duration;

use super::date::{self, Unix, http_date, rfc3339, round_up, trim};
use super::{Advice, BUSY, DOWN, LOGIN, MISSING, STOP, STOP_THERE, TWICE, TWICE_THERE};

/// The status of an answer to a request.
///
/// `None` is success: 1xx, 2xx, and 304 to a conditional request. The class of an
/// unknown status says nothing about the next connection, so all of them are `Busy`.
///
/// Source: RFC 9110 section 15, but 402 and 428 to 511 from RFC 6585, 425 from RFC 8470
/// section 5.2, 451 from RFC 7725 section 3, 423 and 507 from RFC 4918 section 11, and
/// 521 to 530 from Cloudflare's documentation of its 5xx errors.
pub const fn status(code: u16) -> Option<Advice> {
    Some(match code {
        100..=299 | 304 => return None,
        // A redirect that leads nowhere: the client follows the others.
        300..=399 => BUSY,
        // Proxies answer 400 to a wrong host, too.
        400 => TWICE,
        // The server's login, and the proxy's.
        401 | 407 => LOGIN,
        402 => STOP,
        403 => TWICE_THERE,
        // A route that a deploy has not registered yet looks the same.
        404 => MISSING,
        // The method, or the form of the content, is not for this address.
        405 | 406 | 415 | 422 => TWICE,
        // Timed out; conflict with a state that changes.
        408 | 409 => BUSY,
        410 => STOP_THERE,
        // The same client makes the same mistake: length, precondition, too large.
        411..=414 | 417 | 428 | 431 => STOP,
        // Binance: the address is banned, and Retry-After says for how long.
        418 => STOP_THERE,
        // The wrong connection; locked; too early data; too many requests.
        421 | 423 | 425 | 429 => BUSY,
        // Another protocol, or another version of it.
        426 => STOP,
        451 => STOP_THERE,
        // The method, or the version of HTTP, is unknown to the server.
        501 | 505 => TWICE,
        // A captive portal: the server saw nothing.
        511 => DOWN,
        // The edge of a CDN did not reach the origin: refused, no route, no name. We
        // cannot flood an edge.
        521 | 523 | 530 => DOWN,
        // 500, 502, 503, 504, 507, 520, 522, 524 and all others. The patience of a
        // gateway ended, not ours, so 504 and 524 are no `Stalled`.
        _ => BUSY,
    })
}

/// The 1xxx code in the body of an error page of Cloudflare's, with a 403 or a 429.
///
/// `None` is another code: the status says enough.
///
/// Source: the pages of 1xxx errors in cloudflare/cloudflare-docs. They ask visitors who
/// are limited to wait, and not to repeat: that may make the block longer.
pub const fn cloudflare(code: u16) -> Option<Advice> {
    match code {
        // The site's owner has banned an address, a country, or a kind of client.
        1006..=1010 | 1020 | 1106 => Some(TWICE_THERE),
        // Too many requests.
        1015 => Some(BUSY),
        _ => None,
    }
}

/// The status of an answer to an upgrade. Only 101 is success. A fall-back page of a
/// deploy, with 200, is `Busy`.
///
/// Source: RFC 6455 section 4.1, and [`status`].
pub const fn upgrade(code: u16) -> Option<Advice> {
    match code {
        101 => None,
        100..=299 | 304 => Some(BUSY),
        _ => status(code),
    }
}

/// A status, together with the wait that the server asked for.
///
/// Who says when to come back has not banned us. So the wait counts instead of the
/// status with 3xx, 403, 404, 408, 413, 418, 425, 429 and all 5xx. RFC 9110 section
/// 10.2.3 names 503 and 3xx; the others send it as well. A wait of zero is no floor.
pub const fn status_and_wait(code: u16, wait: Option<Duration>) -> Option<Advice> {
    match (code, wait) {
        (304, _) => status(code),
        (300..=399 | 403 | 404 | 408 | 413 | 418 | 425 | 429 | 500..=599, Some(wait))
            if !wait.is_zero() =>
        {
            Some(Advice::after(wait))
        }
        _ => status(code),
    }
}

/// An answer: its status, and its header fields by their lower-case names.
///
/// ```
/// use redial::Verdict;
/// use redial::codes::http;
/// use std::time::Duration;
///
/// let fields = [
///     ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
///     ("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT"),
/// ];
/// let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
/// let advice = http::response(503, field).unwrap();
/// assert_eq!(advice.verdict(), Verdict::RetryAfter(Duration::from_secs(120)));
/// ```
///
/// With the `http` crate, a field is
/// `|name| response.headers().get(name)?.to_str().ok()`.
pub fn response<'a>(code: u16, field: impl Fn(&str) -> Option<&'a str>) -> Option<Advice> {
    status_and_wait(code, wait(code, field))
}

/// An answer to an upgrade, as [`response`] and [`upgrade`] judge it.
pub fn upgrade_response<'a>(code: u16, field: impl Fn(&str) -> Option<&'a str>) -> Option<Advice> {
    match code {
        100..=299 | 304 => upgrade(code),
        _ => response(code, field),
    }
}

/// The longest wait that the header fields of an answer ask for; `None` if there is
/// none above zero.
///
/// | field | unit | read |
/// |---|---|---|
/// | `retry-after` | see [`retry_after`] | always |
/// | `retry-after-ms`, `x-ms-retry-after-ms` (Azure), `x-amz-retry-after` (AWS) | milliseconds | always |
/// | `x-ratelimit-reset-after` (Discord) | seconds | at the limit |
/// | `ratelimit-reset`, `x-ratelimit-reset`, `x-rate-limit-reset` | see [`rate_limit_reset`] | at the limit |
/// | `x-ratelimit-reset-requests`, `…-tokens` (OpenAI) | see [`duration`] | at the limit |
/// | `anthropic-ratelimit-…-reset` | RFC 3339 | at the limit |
/// | `x-mws-quota-resetson` (Amazon MWS) | an HTTP-date | at the limit |
/// | `ratelimit` (draft-ietf-httpapi-ratelimit-headers, 08 and later) | see [`rate_limit`] | of each policy at its limit |
///
/// Many servers send the reset of a limit with each answer. It counts only if the
/// matching `…-remaining` is 0, or if that field is missing and the status is 429.
///
/// Dates are compared with the answer's own `Date` plus its `Age`, so no clock of ours
/// is asked, and a client whose clock is wrong waits the right time. Without `Date`
/// there is nothing to compare with, and a date is ignored.
///
/// All clients of a key are told the same instant. Therefore these are floors for a
/// [`RetryAfter`](crate::Verdict::RetryAfter), never slots. A server of yours that
/// [hands out slots](crate::_slots) does so by an agreement with your classifier.
pub fn wait<'a>(code: u16, field: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let now = field("date").and_then(|value| http_date(value, None));
    let age = field("age").and_then(|value| date::digits(trim(value)));
    let age = age.map_or(0, |age| i64::try_from(age).unwrap_or(i64::MAX));
    let now = now.map(|now| now.saturating_add(age));

    let is_at_limit = |remaining: Option<&str>| match remaining {
        Some(left) => date::seconds(trim(left)).is_some_and(|left| left.is_zero()),
        None => code == 429,
    };
    let mut longest = None;
    let mut add =
        |wait: Option<Duration>| longest = longest.max(wait.filter(|wait| !wait.is_zero()));

    add(field("retry-after").and_then(|value| retry_after_from(value, now)));
    for name in ["retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after"] {
        add(field(name).and_then(milliseconds));
    }
    if is_at_limit(field("x-ratelimit-remaining")) {
        add(field("x-ratelimit-reset-after").and_then(|value| date::seconds(trim(value))));
    }
    for (reset, remaining) in [
        ("ratelimit-reset", "ratelimit-remaining"),
        ("x-ratelimit-reset", "x-ratelimit-remaining"),
        ("x-rate-limit-reset", "x-rate-limit-remaining"),
    ] {
        if is_at_limit(field(remaining)) {
            add(field(reset).and_then(|value| rate_limit_reset_at(value, now)));
        }
    }
    for (reset, remaining) in [
        (
            "x-ratelimit-reset-requests",
            "x-ratelimit-remaining-requests",
        ),
        ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ] {
        if is_at_limit(field(remaining)) {
            add(field(reset).and_then(duration));
        }
    }
    for (reset, remaining) in [
        (
            "anthropic-ratelimit-requests-reset",
            "anthropic-ratelimit-requests-remaining",
        ),
        (
            "anthropic-ratelimit-tokens-reset",
            "anthropic-ratelimit-tokens-remaining",
        ),
        (
            "anthropic-ratelimit-input-tokens-reset",
            "anthropic-ratelimit-input-tokens-remaining",
        ),
        (
            "anthropic-ratelimit-output-tokens-reset",
            "anthropic-ratelimit-output-tokens-remaining",
        ),
    ] {
        if is_at_limit(field(remaining)) {
            add(field(reset).and_then(|value| until(rfc3339(value)?, now?)));
        }
    }
    if is_at_limit(field("x-mws-quota-remaining")) {
        add(field("x-mws-quota-resetson").and_then(|value| until(http_date(value, now)?, now?)));
    }
    add(field("ratelimit").and_then(rate_limit));
    longest
}

/// The wait of a `Retry-After` field (RFC 9110 section 10.2.3). `date` is the `Date`
/// field of the same answer. `None` means no floor: a wait of zero, a date in the
/// past, and all that cannot be read.
///
/// - Seconds: digits only. Decimals are read, and rounded up, although the grammar has
///   none, because other fields of the same servers have them. A duration such as
///   `1m0s` is not read.
/// - A date in one of the three forms of RFC 9110 section 5.6.7. It is compared with
///   `date`. Without one it is ignored; see [`retry_after_at`].
/// - Several numbers with commas, which is what some clients make of repeated fields:
///   the largest.
///
/// The wait is not cut. An outage cuts it to [`hint_cap`](crate::Config::hint_cap).
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    retry_after_from(value, date.and_then(|date| http_date(date, None)))
}

/// As [`retry_after`], by this host's clock: the time since the beginning of 1970.
///
/// Use it only if the answer has no `Date`. If the clock is wrong by an hour, so is the
/// wait.
pub fn retry_after_at(value: &str, now: Duration) -> Option<Duration> {
    retry_after_from(
        value,
        Some(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)),
    )
}

fn retry_after_from(value: &str, now: Option<Unix>) -> Option<Duration> {
    let mut numbers = value.split(',').map(|part| date::seconds(trim(part)));
    let number = numbers.try_fold(Duration::ZERO, |largest, number| Some(largest.max(number?)));
    let wait = match number {
        Some(seconds) => round_up(seconds),
        None => until(http_date(value, now)?, now?)?,
    };
    (!wait.is_zero()).then_some(wait)
}

/// The time from `now` until then, if that is later.
fn until(then: Unix, now: Unix) -> Option<Duration> {
    let seconds = u64::try_from(then.saturating_sub(now)).ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The wait of a `RateLimit-Reset` or `X-RateLimit-Reset` field. `date` is the `Date`
/// field of the same answer.
///
/// The same name means seconds from now on with some servers (the IETF's drafts up to
/// 06, Envoy, Kong), and an instant with others (GitHub, GitLab, Discord with decimals).
/// A number above 10⁹ is the seconds since 1970, above 10¹² the milliseconds, and a
/// smaller one the seconds from now on.
///
/// `None` means no floor.
pub fn rate_limit_reset(value: &str, date: Option<&str>) -> Option<Duration> {
    rate_limit_reset_at(value, date.and_then(|date| http_date(date, None)))
}

fn rate_limit_reset_at(value: &str, now: Option<Unix>) -> Option<Duration> {
    const FIRST_MILLIS: u64 = 1_000_000_000_000;
    const FIRST_EPOCH: u64 = 1_000_000_000;
    let value = date::seconds(trim(value))?;
    let instant = match value.as_secs() {
        FIRST_MILLIS.. => value / 1000,
        FIRST_EPOCH.. => value,
        _ => return (!value.is_zero()).then_some(value),
    };
    let now = Duration::from_secs(u64::try_from(now?).ok()?);
    instant.checked_sub(now).filter(|wait| !wait.is_zero())
}

/// The longest wait of a `RateLimit` field, such as `"default";r=0;t=30`, among the
/// policies with nothing left.
///
/// `r` is what is left, and `t` the seconds until there is more
/// (draft-ietf-httpapi-ratelimit-headers, from draft 08 on). `None` means no floor.
pub fn rate_limit(value: &str) -> Option<Duration> {
    let waits = value.split(',').filter_map(|policy| {
        let parameter = |name: &str| {
            let mut parameters = policy.split(';').map(trim);
            parameters.find_map(|text| date::digits(text.strip_prefix(name)?))
        };
        (parameter("r=") == Some(0)).then(|| parameter("t="))?
    });
    let longest = waits.max().filter(|&seconds| seconds > 0)?;
    Some(Duration::from_secs(longest))
}

/// A duration as text, such as `6m0s` or `12ms`, as OpenAI sends it in
/// `x-ratelimit-reset-requests`. The units are those of Go: h, m, s, ms, us, µs and ns.
pub fn duration(value: &str) -> Option<Duration> {
    let mut rest = trim(value);
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at_checked(number)?;
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, next) = unit.split_at_checked(end.unwrap_or(unit.len()))?;
        let number = date::seconds(number)?;
        sum = sum.saturating_add(match unit {
            "h" => number.saturating_mul(3600),
            "m" => number.saturating_mul(60),
            "s" => number,
            "ms" => number / 1000,
            "us" | "µs" | "μs" => number / 1_000_000,
            "ns" => number / 1_000_000_000,
            _ => return None,
        });
        rest = next;
    }
    Some(sum)
}

/// A number of seconds as JSON has it, such as `retry_after` in a body of Discord or
/// Telegram. `None` means no floor.
pub fn seconds(value: f64) -> Option<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(wait) => (!wait.is_zero()).then_some(wait),
        Err(_) if value > 0.0 => Some(Duration::MAX),
        // Not a number, or negative.
        Err(_) => None,
    }
}

fn milliseconds(value: &str) -> Option<Duration> {
    Some(date::seconds(trim(value))? / 1000)
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const STATUS: &[(&[u16], &str)] = &[
        (&[100, 101, 200, 201, 204, 206, 299, 304], "none"),
        (&[300, 301, 302, 303, 307, 308], "Busy"),
        (&[400], "Stop(2)"),
        (&[401, 407], "Login"),
        (&[402], "Stop"),
        (&[403], "Stop(2) there"),
        (&[404], "Stop(3) there"),
        (&[405, 406, 415, 422], "Stop(2)"),
        (&[408, 409], "Busy"),
        (&[410], "Stop there"),
        (&[411, 412, 413, 414, 417, 428, 431], "Stop"),
        (&[418], "Stop there"),
        (&[421, 423, 425, 429], "Busy"),
        (&[426], "Stop"),
        (&[451], "Stop there"),
        (&[500, 502, 503, 504], "Busy"),
        (&[501, 505], "Stop(2)"),
        (&[506, 507, 508, 509, 510, 529, 598, 599], "Busy"),
        (&[511], "Down"),
        (&[520, 522, 524, 525, 526, 527], "Busy"),
        (&[521, 523, 530], "Down"),
        (&[0, 99, 416, 424, 444, 499, 600, u16::MAX], "Busy"),
    ];

    #[test]
    fn each_status_is_judged_as_its_row_says() {
        check(status, STATUS);
        nothing_else_stops(status, 0..=u16::MAX, STATUS);
    }

    #[test]
    fn only_101_answers_an_upgrade() {
        check(
            upgrade,
            &[(&[101], "none"), (&[100, 200, 204, 304], "Busy")],
        );
        for code in 305..=u16::MAX {
            assert_eq!(upgrade(code), status(code));
        }
    }

    #[test]
    fn each_code_of_cloudflare_is_judged_as_its_row_says() {
        check(
            cloudflare,
            &[
                (&[1006, 1007, 1008, 1009, 1010, 1020, 1106], "Stop(2) there"),
                (&[1015], "Busy"),
                (&[0, 1000, 1005, 1011, 1016, u16::MAX], "none"),
            ],
        );
    }

    #[test]
    fn a_wait_of_the_server_beats_its_status() {
        let with_wait = |code| status_and_wait(code, Some(Duration::from_secs(7)));
        check(
            with_wait,
            &[
                (&[301, 403, 404, 408, 413, 418, 425, 429], "After 7"),
                (&[500, 501, 502, 503, 504, 521, 529], "After 7"),
                (&[200, 304], "none"),
                (&[401], "Login"),
                (&[410, 451], "Stop there"),
            ],
        );
        check(
            |code| status_and_wait(code, Some(Duration::ZERO)),
            &[(&[429, 503], "Busy"), (&[403], "Stop(2) there")],
        );
    }

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// RFC 9110 section 10.2.3, and what servers send instead.
    #[test]
    fn a_retry_after_is_read_as_its_row_says() {
        const FORTY_DIGITS: &str = "9999999999999999999999999999999999999999";
        for (value, seconds) in [
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("\t120\t", Some(120)),
            ("0", None),
            ("00120", Some(120)),
            ("-1", None),
            ("+5", None),
            ("1e3", None),
            ("0x10", None),
            ("١٢", None),
            ("1.5", Some(2)),
            ("0.001", Some(1)),
            ("1m0s", None),
            ("9999999999", Some(9_999_999_999)),
            (FORTY_DIGITS, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Mon, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:49:60 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:51:37 +0000", Some(120)),
            ("Sun, 06 Nov 1994 08:51:37 UTC", Some(120)),
            ("Sun, 06 Nov 1994 08:51:37 PST", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            (
                "Fri, 31 Dec 9999 23:59:59 GMT",
                Some(253_402_300_799 - 784_111_777),
            ),
            ("Sat, 01 Jan 0000 00:00:00 GMT", None),
            ("", None),
            ("soon", None),
            (",", None),
            ("5, 60", Some(60)),
            ("60,5", Some(60)),
            ("5, soon", None),
            ("Sun, 06 Nov 1994 08:51:37 GMT, 60", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, Some(NOW)), expected, "{value:?}");
        }
    }

    #[test]
    fn a_date_without_a_date_to_compare_with_is_ignored() {
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:51:37 GMT", None), None);
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:51:37 GMT", Some("soon")),
            None
        );
        assert_eq!(retry_after("120", None), Some(Duration::from_secs(120)));
    }

    #[test]
    fn a_date_can_be_compared_with_the_clock_of_this_host() {
        let date = "Sun, 06 Nov 1994 08:51:37 GMT";
        let at = |seconds| retry_after_at(date, Duration::from_secs(seconds));
        assert_eq!(at(784_111_777), Some(Duration::from_secs(120)));
        assert_eq!(at(784_111_897), None);
        assert_eq!(at(0), Some(Duration::from_secs(784_111_897)));
        assert_eq!(at(u64::MAX), None);
    }

    #[test]
    fn seconds_of_a_body_saturate() {
        for (value, wait) in [
            (64.57, Some(Duration::from_millis(64_570))),
            (30.0, Some(Duration::from_secs(30))),
            (0.0, None),
            (-1.0, None),
            (f64::NAN, None),
            (f64::NEG_INFINITY, None),
            (1e300, Some(Duration::MAX)),
            (f64::INFINITY, Some(Duration::MAX)),
        ] {
            assert_eq!(seconds(value), wait, "{value}");
        }
    }

    #[test]
    fn a_reset_is_an_instant_or_a_time_from_now() {
        for (value, seconds) in [
            ("30", Some(30.0)),
            ("1.5", Some(1.5)),
            ("0", None),
            // 120 s after NOW would be below 10⁹, so take a later date.
            ("1700000120", Some(120.0)),
            ("1700000000.25", Some(0.25)),
            ("1700000120000", Some(120.0)),
            ("1699999999", None),
            ("-5", None),
            ("soon", None),
        ] {
            let now = Some("Tue, 14 Nov 2023 22:13:20 GMT");
            let expected = seconds.map(Duration::from_secs_f64);
            assert_eq!(rate_limit_reset(value, now), expected, "{value}");
        }
        assert_eq!(rate_limit_reset("1700000120", None), None);
        assert_eq!(
            rate_limit_reset("1700000120", Some("Wed, 31 Dec 1969 23:59:59 GMT")),
            None
        );
    }

    #[test]
    fn a_rate_limit_counts_if_nothing_is_left() {
        for (value, seconds) in [
            (r#""default";r=0;t=30"#, Some(30)),
            (r#""default";r=0; t=30"#, Some(30)),
            (r#""default";r=50;t=30"#, None),
            (r#""minute";r=0;t=50,"burst";r=0;t=1"#, Some(50)),
            (r#""minute";r=3;t=50, "burst";r=0;t=1"#, Some(1)),
            (r#""default";r=0"#, None),
            (r#""default";r=0;t=0"#, None),
            ("", None),
        ] {
            assert_eq!(
                rate_limit(value),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (value, millis) in [
            ("6m0s", Some(360_000)),
            ("12ms", Some(12)),
            ("1h2m3.5s", Some(3_723_500)),
            ("1500us", Some(1)),
            ("", None),
            ("6", None),
            ("s", None),
            ("6x", None),
            ("-6s", None),
        ] {
            let wait = duration(value).map(|wait| wait.as_millis());
            assert_eq!(wait, millis, "{value}");
        }
        assert_eq!(duration("99999999999999999999h"), Some(Duration::MAX));
    }

    type Fields = &'static [(&'static str, &'static str)];

    /// The wait of an answer of this status and these fields.
    fn wait_of(code: u16, fields: &[(&str, &'static str)]) -> Option<f64> {
        let field = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        wait(code, field).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn the_longest_wait_of_an_answer_counts() {
        let rows: &[(u16, Fields, Option<f64>)] = &[
            (503, &[], None),
            (503, &[("retry-after", "7")], Some(7.0)),
            (
                429,
                &[("retry-after-ms", "1234"), ("retry-after", "2")],
                Some(2.0),
            ),
            (
                429,
                &[("retry-after-ms", "2500.0"), ("retry-after", "2")],
                Some(2.5),
            ),
            (429, &[("x-ms-retry-after-ms", "250")], Some(0.25)),
            (503, &[("x-amz-retry-after", "1500")], Some(1.5)),
            (
                403,
                &[
                    ("x-ratelimit-remaining", "9"),
                    ("x-ratelimit-reset-after", "64.57"),
                ],
                None,
            ),
            (429, &[("x-ratelimit-reset-after", "64.57")], Some(64.57)),
            (429, &[("ratelimit-reset", "30")], Some(30.0)),
            (403, &[("ratelimit-reset", "30")], None),
            (
                403,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")],
                Some(30.0),
            ),
            (
                403,
                &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "30")],
                None,
            ),
            (
                429,
                &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "30")],
                None,
            ),
            (429, &[("x-rate-limit-reset", "30")], Some(30.0)),
            (429, &[("x-ratelimit-reset-requests", "6m0s")], Some(360.0)),
            (
                429,
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "9ms"),
                ],
                Some(0.009),
            ),
            (503, &[("ratelimit", "\"a\";r=0;t=8")], Some(8.0)),
        ];
        for (code, fields, expected) in rows {
            assert_eq!(wait_of(*code, fields), *expected, "{code} {fields:?}");
        }
        let reset = ("anthropic-ratelimit-tokens-reset", "1994-11-06T08:50:00Z");
        assert_eq!(wait_of(429, &[("date", NOW), reset]), Some(23.0));
        assert_eq!(wait_of(429, &[reset]), None);
        let quota = [
            ("date", NOW),
            ("x-mws-quota-remaining", "0.0"),
            ("x-mws-quota-resetson", "Sun, 06 Nov 1994 08:50:00 GMT"),
        ];
        assert_eq!(wait_of(503, &quota), Some(23.0));
    }

    #[test]
    fn an_answer_from_a_cache_is_as_much_later_as_it_is_old() {
        let at = ("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT");
        assert_eq!(
            wait_of(503, &[("date", NOW), ("age", "100"), at]),
            Some(20.0)
        );
        assert_eq!(wait_of(503, &[("date", NOW), ("age", "120"), at]), None);
        let ages = "99999999999999999999";
        assert_eq!(wait_of(503, &[("date", NOW), ("age", ages), at]), None);
    }

    #[test]
    fn a_403_with_a_limit_is_no_ban() {
        let github = |name: &str| match name {
            "date" => Some("Tue, 14 Nov 2023 22:13:20 GMT"),
            "x-ratelimit-remaining" => Some("0"),
            "x-ratelimit-reset" => Some("1700000060"),
            _ => None,
        };
        assert_eq!(short(response(403, github)), "After 60");
        assert_eq!(short(response(403, |_| None)), "Stop(2) there");
        assert_eq!(short(response(429, |_| None)), "Busy");
        assert_eq!(short(upgrade_response(403, github)), "After 60");
        assert_eq!(short(upgrade_response(200, github)), "Busy");
        assert_eq!(short(upgrade_response(101, github)), "none");
    }
}
