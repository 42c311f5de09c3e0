//! The dates of HTTP and of RFC 3339, and numbers as servers write them.
//!
//! All times are whole seconds from 1970 on, without a clock: what is "now" comes from
//! the answer itself.

use core::time::Duration;

/// Seconds since the beginning of 1970; negative before it.
pub(super) type Unix = i64;

/// White space of a header field, RFC 9110 section 5.6.3.
pub(super) fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// A number of digits only. A larger one than fits is the largest.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

/// Seconds, with or without decimals, as a wait. Rounds up to nanoseconds.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) => (whole, decimals),
        None => (text, "0"),
    };
    let whole = Duration::from_secs(digits(whole)?);
    digits(decimals)?;
    let mut nanos = 0;
    for index in 0..9 {
        let digit = decimals.as_bytes().get(index).map_or(0, |byte| byte - b'0');
        nanos = nanos * 10 + u64::from(digit);
    }
    let rest = decimals.bytes().skip(9).any(|byte| byte != b'0');
    Some(whole.saturating_add(Duration::from_nanos(nanos + u64::from(rest))))
}

/// A wait that is rounded up to whole seconds.
pub(super) fn round_up(wait: Duration) -> Duration {
    let rest = u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(wait.as_secs().saturating_add(rest))
}

/// An HTTP-date in one of its three forms (RFC 9110 section 5.6.7):
///
/// - `Sun, 06 Nov 1994 08:49:37 GMT`, what senders must write,
/// - `Sunday, 06-Nov-94 08:49:37 GMT`, of RFC 850. A year of two digits that would be
///   more than 50 years after `now` is in the century before. Without `now` it is a
///   year from 1970 to 2069.
/// - `Sun Nov  6 08:49:37 1994`, of C's asctime, in GMT.
///
/// The name of the day says nothing new, so it may be wrong. `UTC` and `+0000` count
/// as GMT; other zones make the date unreadable, for it would be hours off. A leap
/// second is the second after it.
pub(super) fn http_date(value: &str, now: Option<Unix>) -> Option<Unix> {
    let value = trim(value);
    if let Some((weekday, rest)) = value.split_once(',') {
        if !weekday.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        let mut words = rest.split_ascii_whitespace();
        let first = words.next()?;
        let (day, month, year) = match first.split_once('-') {
            Some((day, rest)) => {
                let (month, year) = rest.split_once('-')?;
                (day, month, year)
            }
            None => (first, words.next()?, words.next()?),
        };
        let time = words.next()?;
        let zone = words.next()?;
        if words.next().is_some() || !matches!(zone, "GMT" | "UTC" | "+0000") {
            return None;
        }
        return unix(year_of(year, now)?, month_of(month)?, day, time);
    }
    let mut words = value.split_ascii_whitespace();
    let _weekday = words.next()?;
    let (month, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || year.len() != 4 {
        return None;
    }
    unix(number(year)?, month_of(month)?, day, time)
}

/// A time of RFC 3339, such as `2025-01-01T00:01:00Z`. Fractions of seconds are cut.
pub(super) fn rfc3339(value: &str) -> Option<Unix> {
    let (date, rest) = trim(value).split_once(['T', 't', ' '])?;
    let (year, rest_of_date) = date.split_once('-')?;
    let (month, day) = rest_of_date.split_once('-')?;
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at_checked(at)?;
    let time = match time.split_once('.') {
        Some((time, fraction)) => digits(fraction).map(|_| time)?,
        None => time,
    };
    let east = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, offset) = zone.split_at_checked(1)?;
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes) = (two(hours, 23)?, two(minutes, 59)?);
            let seconds = hours * 3600 + minutes * 60;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    Some(unix(number(year)?, two(month, 12)?, day, time)? - east)
}

fn number(text: &str) -> Option<i64> {
    digits(text).and_then(|number| i64::try_from(number).ok())
}

/// A number of one or two digits up to a limit.
fn two(text: &str, limit: i64) -> Option<i64> {
    let number = if text.len() <= 2 {
        number(text)?
    } else {
        return None;
    };
    (number <= limit).then_some(number)
}

/// A year of four digits, or of two.
fn year_of(text: &str, now: Option<Unix>) -> Option<i64> {
    match (text.len(), number(text)?) {
        (4, year) => Some(year),
        (2, year) => {
            // 2069 is 50 years after 2019.
            let this_year = now.map_or(2019, year_at);
            let latest = this_year + 50;
            let year = latest - latest.rem_euclid(100) + year;
            Some(if year > latest { year - 100 } else { year })
        }
        _ => None,
    }
}

fn month_of(text: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let index = NAMES
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))?;
    i64::try_from(index + 1).ok()
}

/// The time of a day of the Gregorian calendar. `time` is `08:49:37`.
fn unix(year: i64, month: i64, day: &str, time: &str) -> Option<Unix> {
    let day = two(day, days_in(year, month)?)?;
    let mut parts = time.split(':');
    let hour = two(parts.next()?, 23)?;
    let minute = two(parts.next()?, 59)?;
    let second = two(parts.next()?, 60)?;
    if day == 0 || parts.next().is_some() {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    match month {
        2 if is_leap(year) => Some(29),
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from the beginning of 1970 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, the months have 31, 30, 31, 30, 31 days, again and again.
    let before_month = (153 * month + 2) / 5;
    // The days from March of the year 0 to 1970.
    365 * year + leap_days + before_month + day - 1 - 719_468
}

/// The year of a time.
fn year_at(unix: Unix) -> i64 {
    let day = unix.div_euclid(86_400);
    // Off by one at most: 400 years have 146 097 days.
    let guess = 1970 + day.saturating_mul(400).div_euclid(146_097);
    (guess - 1..=guess + 1)
        .rev()
        .find(|&year| days(year, 1, 1) <= day)
        .unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7.
    const EXAMPLE: Unix = 784_111_777;

    #[test]
    fn the_three_forms_of_the_rfc_are_the_same_time() {
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(form, None), Some(EXAMPLE), "{form}");
        }
    }

    #[test]
    fn known_times_are_read() {
        for (date, unix) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 2_147_483_648),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(http_date(date, None), Some(unix), "{date}");
        }
    }

    #[test]
    fn each_day_of_four_centuries_follows_the_day_before() {
        let mut expected = days(1600, 1, 1);
        for year in 1600..2000 {
            assert_eq!(year_at(expected * 86_400), year);
            assert_eq!(year_at(expected * 86_400 - 1), year - 1);
            for month in 1..=12 {
                for day in 1..=days_in(year, month).unwrap() {
                    assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
        assert_eq!(expected - days(1600, 1, 1), 146_097);
        assert_eq!(days(1970, 1, 1), 0);
    }

    #[test]
    fn two_digits_of_a_year_are_at_most_50_years_ahead() {
        let now = http_date("Fri, 27 Nov 2026 00:00:00 GMT", None);
        for (digits, year) in [
            ("76", 2076),
            ("77", 1977),
            ("94", 1994),
            ("26", 2026),
            ("00", 2000),
        ] {
            assert_eq!(year_of(digits, now), Some(year));
        }
        let in_1994 = Some(EXAMPLE);
        for (digits, year) in [("44", 2044), ("45", 1945), ("94", 1994), ("00", 2000)] {
            assert_eq!(year_of(digits, in_1994), Some(year));
        }
        assert_eq!(year_of("70", None), Some(1970));
        assert_eq!(year_of("69", None), Some(2069));
    }

    #[test]
    fn unreadable_dates_are_refused() {
        for date in [
            "",
            ",",
            "Sun,",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 06 Nov 1994 08:49:37 GMT, 60",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Tue, 29 Feb 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov  6 08:49:37 1994 GMT",
            "5 Nov 1994 08:49:37 GMT",
            "ü, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(http_date(date, None), None, "{date:?}");
        }
    }

    #[test]
    fn times_of_rfc_3339_are_read() {
        for (time, unix) in [
            ("1994-11-06T08:49:37Z", Some(EXAMPLE)),
            ("1994-11-06t08:49:37.999z", Some(EXAMPLE)),
            ("1994-11-06 09:49:37+01:00", Some(EXAMPLE)),
            ("1994-11-06T03:19:37-05:30", Some(EXAMPLE)),
            ("1994-11-06T08:49:37", None),
            ("1994-11-06", None),
            ("1994-11-06T08:49:37+01", None),
            ("1994-11-06T08:49:37+24:00", None),
            ("1994-11-06T08:49:37.Z", None),
            ("1994-13-06T08:49:37Z", None),
            ("94-11-06T08:49:37Z", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(time), unix, "{time}");
        }
    }

    #[test]
    fn numbers_saturate_and_round_up() {
        assert_eq!(digits("00120"), Some(120));
        assert_eq!(digits("99999999999999999999"), Some(u64::MAX));
        for text in ["", "-1", "+5", "1e3", "0x10", "١٢", " 1"] {
            assert_eq!(digits(text), None, "{text}");
        }
        assert_eq!(seconds("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(seconds("0.0000000001"), Some(Duration::from_nanos(1)));
        assert_eq!(seconds("1.999999999999"), Some(Duration::from_secs(2)));
        for text in ["1.", ".5", "1.-5", "1.2.3", "."] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(round_up(Duration::MAX).as_secs(), u64::MAX);
    }
}
