//! Redis and Valkey: error replies.
//!
//! A server that is full says so over plain TCP. Over TLS it writes nothing, and the
//! connection ends within the handshake. A wrong password passes as connected with
//! some clients, so let the connector send a `PING`.

use super::text::{begins, has};
use super::{Advice, BUSY, DOWN, LOGIN, STOP, STOP_THERE, TWICE};

/// An error reply, with or without its leading `-`. redis-rs splits it: give the code
/// and the detail, with a blank in between.
///
/// `None` is an error of a command. `MOVED` and `ASK` are among those, because a
/// client of a cluster handles them; if yours is none, it has the wrong server.
/// `HELLO` that is unknown, and `NOPROTO`, mean to speak RESP2 at once.
///
/// Source: `src/server.c`, `networking.c`, `acl.c`, `cluster.c` and `script.c` in
/// redis/redis.
pub fn error(reply: &str) -> Option<Advice> {
    let reply = reply.strip_prefix('-').unwrap_or(reply);
    let (prefix, text) = reply.split_once(' ').unwrap_or((reply, ""));
    Some(match prefix {
        // It reads its data from the disk. A server has few clients, and after a long
        // start they should be back soon, so this is no overload.
        "LOADING" => DOWN,
        // A replica without its master; a replica, after a failover.
        "MASTERDOWN" | "READONLY" => DOWN.elsewhere(),
        // An election takes seconds.
        "CLUSTERDOWN" | "NOMASTERLINK" => DOWN,
        // A sentinel does not know the master yet.
        "IDONTKNOW" => DOWN,
        // Of a command, not of the connection.
        "TRYAGAIN" | "MOVED" | "ASK" | "CROSSSLOT" | "OOM" | "MISCONF" | "NOREPLICAS"
        | "UNBLOCKED" | "EXECABORT" | "NOSCRIPT" | "BUSYKEY" | "WRONGTYPE" | "IOERR"
        | "NOTBUSY" | "UNKILLABLE" => return None,
        // No login was made, or it has no right to what the client did first.
        "NOAUTH" | "NOPERM" => TWICE,
        "WRONGPASS" => LOGIN,
        // Protected mode: not from another host without a password.
        "DENIED" => STOP_THERE,
        // No RESP3.
        "NOPROTO" => STOP,
        "ERR" => return Some(generic(text)),
        // BUSY: a script runs. And all others.
        _ => BUSY,
    })
}

/// The texts after `ERR`.
fn generic(text: &str) -> Advice {
    // We give a password, and the server has none: a wrong server, or one that has not
    // read its settings yet. Before version 6 it said so in other words.
    if begins(text, "AUTH <password> called without any password")
        || begins(text, "Client sent AUTH, but no password is set")
    {
        return TWICE;
    }
    // Before version 6.
    if begins(text, "invalid password") {
        return LOGIN;
    }
    if has(text, "DB index is out of range") {
        return STOP;
    }
    // "max number of clients reached", "Protocol error", and all others.
    BUSY
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, short};
    use super::*;

    #[test]
    fn each_reply_is_judged_as_its_row_says() {
        check(
            error,
            &[
                (&["LOADING Redis is loading the dataset in memory"], "Down"),
                (&["BUSY Redis is busy running a script."], "Busy"),
                (&["MASTERDOWN Link with MASTER is down"], "Down next"),
                (
                    &["READONLY You can't write against a read only replica."],
                    "Down next",
                ),
                (
                    &["CLUSTERDOWN The cluster is down", "NOMASTERLINK Can't SYNC"],
                    "Down",
                ),
                (&["IDONTKNOW"], "Down"),
                (
                    &[
                        "TRYAGAIN",
                        "MOVED 3999 127.0.0.1:6381",
                        "ASK 3999 127.0.0.1:6381",
                        "CROSSSLOT",
                    ],
                    "none",
                ),
                (&["NOAUTH Authentication required."], "Stop(2)"),
                (
                    &["WRONGPASS invalid username-password pair or user is disabled."],
                    "Login",
                ),
                (&["NOPERM User x has no permissions"], "Stop(2)"),
                (
                    &[
                        "ERR AUTH <password> called without any password configured for the default user.",
                        "ERR Client sent AUTH, but no password is set",
                    ],
                    "Stop(2)",
                ),
                (&["ERR invalid password"], "Login"),
                (
                    &[
                        "ERR max number of clients reached",
                        "ERR max number of clients + cluster connections reached",
                    ],
                    "Busy",
                ),
                (&["DENIED Redis is running in protected mode"], "Stop there"),
                (&["NOPROTO unsupported protocol version"], "Stop"),
                (
                    &["OOM command not allowed", "MISCONF", "NOREPLICAS"],
                    "none",
                ),
                (
                    &[
                        "UNBLOCKED",
                        "EXECABORT",
                        "NOSCRIPT",
                        "BUSYKEY",
                        "WRONGTYPE",
                        "IOERR",
                        "NOTBUSY",
                        "UNKILLABLE",
                    ],
                    "none",
                ),
                (&["ERR DB index is out of range"], "Stop"),
                (&["ERR Protocol error: invalid bulk length"], "Busy"),
                (
                    &[
                        "ERR unknown command 'HELLO'",
                        "ERR",
                        "",
                        "-",
                        "NEWCODE x",
                        "wrongpass x",
                    ],
                    "Busy",
                ),
            ],
        );
    }

    #[test]
    fn the_sign_of_an_error_is_no_part_of_it() {
        assert_eq!(short(error("-WRONGPASS invalid")), "Login");
    }
}
