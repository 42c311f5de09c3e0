//! PostgreSQL: SQLSTATE codes.

use super::text::has;
use super::{Advice, BUSY, DOWN, LOGIN, STOP, TWICE, TWICE_THERE};

/// An error that ends the connection: its severity is `FATAL` or `PANIC`. With
/// tokio-postgres the code is `db.code().code()`, and the message `db.message()`.
///
/// The message decides only whether a standby will ever serve. It may be translated, so
/// without the English text the code alone counts.
///
/// PgBouncer says 08P01 for nearly everything: full, shutting down, and also a wrong
/// password. Poolers put texts of their own into XX000. Neither code stops a client.
///
/// Source: appendix A of PostgreSQL's manual (`errcodes.txt`), `postinit.c` and
/// `backend_startup.c`.
pub fn fatal(code: &str, message: &str) -> Advice {
    match code {
        // Connection failures, mostly made by drivers. 08007: the outcome of the last
        // transaction is unknown.
        "08000" | "08001" | "08003" | "08006" | "08007" => DOWN,
        // An option or a version of the protocol that the server does not have.
        "0A000" => STOP,
        // Read-only: this is a standby now.
        "25006" => DOWN.elsewhere(),
        // Idle in a transaction, idle.
        "25P03" | "57P05" => DOWN,
        // No entry in pg_hba.conf, or no right to log in.
        "28000" => TWICE_THERE,
        "28P01" => LOGIN,
        // No such database or schema; an unknown setting in the options.
        "3D000" | "3F000" | "42704" => TWICE,
        // No privilege; older servers also say it while a database shuts down.
        "42501" => TWICE_THERE,
        // The database takes no connections, or was dropped.
        "55000" | "57P04" => TWICE_THERE,
        // Shut down by an administrator; another backend crashed.
        "57P01" | "57P02" => DOWN,
        // "Hot standby mode is disabled" lasts until somebody promotes the server.
        "57P03" if has(message, "hot standby mode is disabled") => DOWN.elsewhere(),
        // Starting, stopping or recovering. That is no overload: a server has some
        // hundred clients, and after a long recovery they should be back soon.
        "57P03" => DOWN,
        // 08004 rejected, 08P01 protocol, 53xxx resources, 55006 in use, 55P03 locked,
        // 58xxx and XXxxx trouble of the server.
        _ => BUSY,
    }
}

/// An error of a statement: its severity is `ERROR`. `None` is all but a server that
/// has become a standby, and the failures of connections that drivers report so.
///
/// 40001 and 40P01 mean to repeat the transaction.
pub fn error(code: &str) -> Option<Advice> {
    match code {
        "08000" | "08001" | "08003" | "08006" | "08007" | "25006" => Some(fatal(code, "")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, short};
    use super::*;

    #[test]
    fn each_sqlstate_is_judged_as_its_row_says() {
        check(
            |code| Some(fatal(code, "")),
            &[
                (&["08000", "08001", "08003", "08006", "08007"], "Down"),
                (&["08004", "08P01"], "Busy"),
                (&["0A000"], "Stop"),
                (&["25006"], "Down next"),
                (&["25P03", "57P05"], "Down"),
                (&["28000"], "Stop(2) there"),
                (&["28P01"], "Login"),
                (&["3D000", "3F000", "42704"], "Stop(2)"),
                (&["42501"], "Stop(2) there"),
                (&["53000", "53100", "53200", "53300", "53400"], "Busy"),
                (&["55000", "57P04"], "Stop(2) there"),
                (&["55006", "55P03"], "Busy"),
                (&["57000", "57014"], "Busy"),
                (&["57P01", "57P02", "57P03"], "Down"),
                (&["58000", "58030", "58P01", "F0000", "F0001"], "Busy"),
                (&["XX000", "XX001", "XX002"], "Busy"),
                (&["", "99999", "57P99", "28p01", "28P011"], "Busy"),
            ],
        );
    }

    #[test]
    fn an_error_of_a_statement_says_nothing_unless_the_server_is_a_standby_now() {
        check(
            error,
            &[
                (&["25006"], "Down next"),
                (&["08006"], "Down"),
                // "cached plan must not change result type", no privilege on a table.
                (&["0A000", "42501", "42704", "3F000"], "none"),
                (&["40001", "40P01", "57014", "57000", "23505", ""], "none"),
            ],
        );
    }

    #[test]
    fn a_standby_that_never_serves_sends_the_client_elsewhere() {
        let disabled =
            "the database system is not accepting connections: Hot standby mode is disabled.";
        assert_eq!(short(Some(fatal("57P03", disabled))), "Down next");
        let starting = "the database system is starting up";
        assert_eq!(short(Some(fatal("57P03", starting))), "Down");
    }
}
