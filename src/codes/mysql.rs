//! MySQL and MariaDB: error numbers of the server (1xxx, 3xxx, 4xxx) and of the client
//! library (2xxx).
//!
//! Each attempt that is cut short counts towards 1129, which blocks the whole host
//! after a hundred of them (`max_connect_errors`). Give attempts the time that they
//! need.

use core::time::Duration;

use super::text::{begins, has, has_any};
use super::{Advice, BUSY, DOWN, FIVE_MINUTES, LOGIN, STOP, STOP_THERE, TWICE, TWICE_THERE};

/// An error of MySQL, with its message.
///
/// Ask this table about the errors of a connect, a login, and the statements by which a
/// connector prepares the connection. The same numbers of other statements may concern
/// the statement alone. `None` always does. 2013 within the handshake means that a server or
/// a balancer is full: make that `Busy`, if your driver tells. 2026 is a failure of
/// TLS; see [`tls`](super::tls).
///
/// The messages are read for three numbers that mean two things each: 1047, 1226 and
/// 3955. Without the English text each of them gets the milder meaning.
///
/// Source: MySQL's `share/messages_to_clients.txt` and `include/errmsg.h`.
pub fn error(number: u16, message: &str) -> Option<Advice> {
    Some(match number {
        3032 => DOWN,
        // Locked by an administrator.
        3118 => STOP_THERE,
        // Locked after failed logins: until somebody unlocks it, or for some days.
        3955 if has(message, "unlimited") => STOP_THERE,
        3955 => Advice::after(ONE_DAY),
        // TLS is required.
        3159 => STOP,
        // The session was killed; idle for too long.
        3169 | 4031 => DOWN,
        _ => return shared(number, message),
    })
}

/// An error of MariaDB, with its message. From 3000 on it numbers differently from
/// MySQL; the server's version text names the product.
///
/// Source: MariaDB's `sql/share/errmsg-utf8.txt`.
pub fn mariadb(number: u16, message: &str) -> Option<Advice> {
    match number {
        // The connection was killed.
        1927 | 3032 => Some(DOWN),
        // The account is locked.
        4151 => Some(STOP_THERE),
        _ => shared(number, message),
    }
}

const ONE_DAY: Duration = Duration::from_secs(86_400);

/// The numbers below 3000, which are the same.
fn shared(number: u16, message: &str) -> Option<Advice> {
    Some(match number {
        // Galera: the node has no quorum or no data yet.
        1047 if begins(message, "WSREP") => DOWN.elsewhere(),
        // No database selected, unknown command; lock wait, deadlock, query killed.
        1046 | 1047 | 1205 | 1213 | 1317 => return None,
        // No right to this database; this host may not connect.
        1044 | 1130 => TWICE_THERE,
        // Wrong user or password; no password, with the login of a Unix socket.
        1045 | 1698 => LOGIN,
        // Unknown database; a privilege is missing.
        1049 | 1227 => TWICE,
        // Shutting down.
        1053 | 1077 | 1079 => DOWN,
        // Too many broken handshakes from this host, until an operator flushes them.
        // The refusal is cheap.
        1129 => Advice::after(FIVE_MINUTES),
        // Settings of the account; an old client; the password must be changed.
        1131..=1133 | 1251 | 1820 | 1862 => STOP,
        // Aborted; network reads and writes that failed.
        1152 | 1158..=1161 | 1184 => DOWN,
        // The limits of an hour, not those of connections at once.
        1226 if has_any(
            message,
            &["max_connections_per_hour", "max_questions", "max_updates"],
        ) =>
        {
            Advice::after(FIVE_MINUTES)
        }
        // Read-only: a failover, as Aurora says it.
        1290 | 1792 | 1836 => DOWN.elsewhere(),
        // No connection, unknown host; gone away, lost.
        2002 | 2003 | 2005 | 2006 | 2013 | 2055 => DOWN,
        // The plug-in for the login is missing, or needs TLS.
        2054 | 2058 | 2059 | 2061 => STOP,
        // 1040 to 1043 full, out of memory, its DNS is down, bad handshake; 1105 a
        // proxy's text; 1203, 1226 connections at once; 2012, 2014, 2027 damage.
        _ => BUSY,
    })
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const SHARED: &[(&[u16], &str)] = &[
        (&[1040, 1041, 1042, 1043], "Busy"),
        (&[1044, 1130], "Stop(2) there"),
        (&[1045, 1698], "Login"),
        (&[1046, 1047], "none"),
        (&[1049, 1227], "Stop(2)"),
        (&[1053, 1077, 1079], "Down"),
        (&[1105], "Busy"),
        (&[1129], "After 300"),
        (&[1131, 1132, 1133], "Stop"),
        (&[1152, 1158, 1159, 1160, 1161, 1184], "Down"),
        (&[1203, 1226], "Busy"),
        (&[1205, 1213, 1317], "none"),
        (&[1251], "Stop"),
        (&[1290, 1792, 1836], "Down next"),
        (&[1820, 1862], "Stop"),
        (&[2002, 2003, 2005], "Down"),
        (&[2006, 2013, 2055], "Down"),
        (&[2012, 2014, 2026, 2027], "Busy"),
        (&[2054, 2058, 2059, 2061], "Stop"),
        (&[0, 999, 1999, 2999, u16::MAX], "Busy"),
    ];

    const MYSQL: &[(&[u16], &str)] = &[
        (&[3032], "Down"),
        (&[3118], "Stop there"),
        (&[3955], "After 86400"),
        (&[3159], "Stop"),
        (&[3169, 4031], "Down"),
        (&[1927, 3000, 4151], "Busy"),
    ];

    const MARIADB: &[(&[u16], &str)] = &[
        (&[1927, 3032], "Down"),
        (&[4151], "Stop there"),
        (&[3118, 3159, 3955], "Busy"),
    ];

    #[test]
    fn each_number_is_judged_as_its_row_says() {
        for (product, own) in [(error as fn(u16, &str) -> _, MYSQL), (mariadb, MARIADB)] {
            let judge = |number| product(number, "");
            check(judge, SHARED);
            check(judge, own);
            nothing_else_stops(judge, 0..=u16::MAX, &[SHARED, own].concat());
        }
    }

    #[test]
    fn a_message_tells_two_meanings_of_a_number_apart() {
        for (number, message, expected) in [
            (
                1047,
                "WSREP has not yet prepared node for application use",
                "Down next",
            ),
            (
                1226,
                "User 'x' has exceeded the 'max_user_connections' resource (current value: 1)",
                "Busy",
            ),
            (
                1226,
                "User 'x' has exceeded the 'max_connections_per_hour' resource (current value: 1)",
                "After 300",
            ),
            (
                1226,
                "User 'x' has exceeded the 'max_questions' resource (current value: 1)",
                "After 300",
            ),
            (
                1226,
                "User 'x' has exceeded the 'max_updates' resource (current value: 1)",
                "After 300",
            ),
        ] {
            assert_eq!(short(error(number, message)), expected, "{message}");
            assert_eq!(short(mariadb(number, message)), expected, "{message}");
        }
        let days = "Account is blocked for 3 day(s) (2 day(s) remaining) due to 3 consecutive failed logins.";
        assert_eq!(short(error(3955, days)), "After 86400");
        let forever = "Account is blocked for unlimited day(s) (unlimited day(s) remaining) due to 3 consecutive failed logins.";
        assert_eq!(short(error(3955, forever)), "Stop there");
    }
}
