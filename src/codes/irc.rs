//! IRC: numerics of the registration, and the text of `ERROR`.
//!
//! A server says why in numerics or notices *before* it sends `ERROR :Closing Link`,
//! so keep the last ones. Throttles count refused attempts, too.

use core::time::Duration;

use super::text::{has, has_any};
use super::{Advice, BUSY, DOWN, LOGIN, STOP, STOP_THERE, TWICE_THERE};

const A_MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A numeric before the end of the registration, with its text. `None` if the numeric
/// is no error.
///
/// A nick that is in use (433, 436, 437) is `Busy`: first try other nicks on the same
/// connection. It is often the ghost of this client, which leaves with its ping timeout.
///
/// Source: RFC 2812 section 5.2; RFC 1459 section 6.1 for 466; UnrealIRCd and hybrid for
/// 010; IRCv3's SASL extension for 902 to 907; InspIRCd's `connectban` for 465.
pub fn numeric(code: u16, text: &str) -> Option<Advice> {
    Some(match code {
        // RPL_REDIR or RPL_BOUNCE: use another server.
        10 => DOWN.elsewhere(),
        // No nick, or an impossible one.
        431 | 432 => STOP,
        // In use; collision; unavailable. Not registered: our order was wrong. You will
        // be banned.
        433 | 436 | 437 | 451 | 466 => BUSY,
        // No permission for this host.
        463 => TWICE_THERE,
        // The server's password.
        464 => LOGIN,
        // A ban that a throttle made clears itself.
        465 if is_throttle(text) => Advice::after(TEN_MINUTES),
        465 => STOP_THERE,
        // The nick is locked; SASL failed; the response was too long.
        902 | 904 | 905 => LOGIN,
        _ => return None,
    })
}

/// The text of an `ERROR`, of UnrealIRCd, InspIRCd, ngIRCd and the hybrid family.
///
/// The texts are free, so an unknown one is `Busy`.
///
/// Source: `quit.c`, `conf.c`, `connect-flood.c` and `connthrottle.c` in
/// unrealircd/unrealircd; `listener.c` of hybrid; `inspircd.cpp` in inspircd/inspircd.
pub fn error(text: &str) -> Advice {
    // Bans by an operator come before the words that a ban's reason may have.
    if has_any(
        text,
        &["K-Lined", "G-Lined", "Z-Lined", "D-lined", "Banned ("],
    ) {
        return if is_throttle(text) {
            Advice::after(TEN_MINUTES)
        } else {
            STOP_THERE
        };
    }
    // The whole network is under a flood.
    if has(text, "too many users trying to connect") {
        return BUSY;
    }
    if has_any(
        text,
        &[
            "reconnecting too fast",
            "reconnect too fast",
            "(re)connect too fast",
        ],
    ) {
        return Advice::after(A_MINUTE);
    }
    // Our ghosts, or neighbours behind one address.
    if has(text, "too many connections from your IP") {
        return Advice::after(A_MINUTE);
    }
    if has(text, "server is full") {
        return BUSY.elsewhere();
    }
    if has(text, "bad password") {
        return LOGIN;
    }
    // We were silent; ngIRCd or InspIRCd shuts down.
    if has_any(
        text,
        &["ping timeout", "server going down", "server shutdown"],
    ) {
        return DOWN;
    }
    // Floods, kills (an operator, or services that free a nick), and all others.
    BUSY
}

/// Whether a ban is one of too many attempts, which ends by itself.
fn is_throttle(text: &str) -> bool {
    has_any(text, &["throttl", "too fast", "too many", "wait"])
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const NUMERICS: &[(&[u16], &str)] = &[
        (&[10], "Down next"),
        (&[431, 432], "Stop"),
        (&[433, 436, 437, 451, 466], "Busy"),
        (&[1, 372, 462, 900, 903, 907, 908], "none"),
        (&[463], "Stop(2) there"),
        (&[464, 902, 904, 905], "Login"),
        (&[465], "Stop there"),
        (&[0, 999, u16::MAX], "none"),
    ];

    #[test]
    fn each_numeric_is_judged_as_its_row_says() {
        let numeric = |code| numeric(code, "You are banned from this server");
        check(numeric, NUMERICS);
        nothing_else_stops(numeric, 0..=u16::MAX, NUMERICS);
    }

    #[test]
    fn a_ban_of_a_throttle_ends_by_itself() {
        for text in [
            "Your IP has connected too many times",
            "Throttled",
            "Please wait a while",
        ] {
            assert_eq!(short(numeric(465, text)), "After 600", "{text}");
        }
    }

    #[test]
    fn each_text_of_an_error_is_judged_as_its_row_says() {
        check(
            |text| Some(error(text)),
            &[
                (
                    &[
                        "Closing Link: [192.0.2.1] (Throttled: Reconnecting too fast) - Email x for more information.",
                        "Trying to reconnect too fast.",
                        "Your host is trying to (re)connect too fast -- throttled.",
                    ],
                    "After 60",
                ),
                (
                    &[
                        "Throttled: Too many users trying to connect, please wait a while and try again",
                    ],
                    "Busy",
                ),
                (
                    &[
                        "Closing Link: [192.0.2.1] (Too many connections from your IP)",
                        "Connection refused, too many connections from your IP address",
                    ],
                    "After 60",
                ),
                (
                    &["Closing Link: [192.0.2.1] (This server is full)"],
                    "Busy next",
                ),
                (
                    &[
                        "Closing Link: x[192.0.2.1] (K-Lined)",
                        "Closing Link: x[192.0.2.1] (G-Lined)",
                        "Closing Link: x[192.0.2.1] (Z-Lined)",
                        "Closing Link: x[192.0.2.1] (Banned (spam))",
                        "You have been D-lined.",
                    ],
                    "Stop there",
                ),
                (
                    &["Closing Link: x[192.0.2.1] (Z-Lined: Your IP has connected too many times)"],
                    "After 600",
                ),
                (
                    &[
                        "Access denied: Bad password?",
                        "Closing Link: x (Bad Password)",
                    ],
                    "Login",
                ),
                (&["Closing Link: x (Ping timeout: 120 seconds)"], "Down"),
                (
                    &[
                        "Closing Link: x (Excess Flood)",
                        "Closing Link: x (SendQ exceeded)",
                    ],
                    "Busy",
                ),
                (
                    &[
                        "Server going down",
                        "Closing link: (x@192.0.2.1) [Server shutdown]",
                    ],
                    "Down",
                ),
                (&["Closing Link: x (Killed (op (reason)))"], "Busy"),
                (&["", "something new", "ü"], "Busy"),
            ],
        );
    }
}
