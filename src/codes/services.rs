//! Services on WebSocket with close codes and messages of their own.
//!
//! Codes from 4000 on are private: 4001 is "unauthorized", "timeout", "invalid opcode"
//! and "sent traffic" with four services. So each has its own table here. The codes
//! below 4000 that a service does not define are judged by
//! [`websocket::close`](super::websocket::close).

use core::time::Duration;

use super::text::begins;
use super::websocket::close;
use super::{
    Advice, BUSY, DOWN, LOGIN, STOP, STOP_THERE, TAKEN_OVER, TWICE, TWICE_EITHER, TWICE_THERE,
};

/// A close code of Discord's gateway.
///
/// A client that identifies a thousand times in a day loses its token, and one attempt
/// each 86 s reaches that. Resume where you can, and give identifies a budget, such as
/// a [`TokenBucket`](crate::TokenBucket).
///
/// Source: `developers/topics/opcodes-and-status-codes.mdx` in discord/discord-api-docs.
pub const fn discord(code: u16) -> Advice {
    match code {
        // Authentication failed; shards, version of the API, intents.
        4004 | 4010..=4014 => STOP,
        // The session timed out.
        4009 => DOWN,
        // Unknown error, we sent nonsense, bad sequence, too fast.
        4000..=4008 => BUSY,
        _ => close(code),
    }
}

/// An opcode of Discord's gateway by which the server ends a session: 7, reconnect, and
/// 9, invalid session, which may also mean too many identifies. `None` is all others.
///
/// Source: as [`discord`].
pub const fn discord_opcode(opcode: u8) -> Option<Advice> {
    match opcode {
        7 => Some(DOWN),
        9 => Some(BUSY),
        _ => None,
    }
}

/// A close code of Discord's voice servers. After 4011, ask the gateway for a voice
/// server again.
///
/// Source: as [`discord`].
pub const fn discord_voice(code: u16) -> Advice {
    match code {
        // Authentication, protocol, encryption; kicked, or the main session ended; too
        // many requests; the call is over. Discord asks for no reconnect.
        4004 | 4012 | 4014 | 4016 | 4017 | 4021 | 4022 => STOP,
        // The session is no longer valid, or timed out; the server crashed.
        4006 | 4009 | 4015 => DOWN,
        _ => close(code),
    }
}

/// The reason of a `disconnect` message of Slack's Socket Mode. Each attempt needs a new
/// URL from `apps.connections.open`.
///
/// Source: `packages/socket-mode` in slackapi/node-slack-sdk.
pub fn slack_disconnect(reason: &str) -> Advice {
    match reason {
        "warning" | "refresh_requested" => DOWN,
        // Socket Mode was switched off for the app.
        "link_disabled" => STOP_THERE,
        // too_many_websockets: more than ten connections of this app.
        _ => BUSY,
    }
}

/// The error of Slack's `apps.connections.open`. For a status that is not 200, use
/// [`http::response`](super::http::response).
///
/// Source: as [`slack_disconnect`]; slack-go/slack adds `token_revoked`.
pub fn slack_open(error: &str) -> Advice {
    match error {
        "not_authed"
        | "invalid_auth"
        | "account_inactive"
        | "user_removed_from_team"
        | "team_disabled"
        | "token_revoked" => STOP,
        _ => BUSY,
    }
}

/// A close code of Twitch's EventSub. After 4004 and 4007, begin with the base URL, not
/// with the URL of the reconnect message.
///
/// Source: Twitch's EventSub documentation, `SocketCloseReason.java` in twitch4j.
pub const fn twitch(code: u16) -> Advice {
    match code {
        // The client sent messages, which is not allowed.
        4001 => STOP,
        // No pong; too late for the new URL; network; the URL was invalid.
        4002 | 4004..=4007 => DOWN,
        // Server error; no subscription within 10 s.
        _ => close(code),
    }
}

/// The text of a `NOTICE *` of Twitch's IRC before the login is done. `None` is all but
/// a login that failed. Its command `RECONNECT` is `Retry(Down)`.
///
/// Source: Twitch's IRC documentation.
pub fn twitch_irc_notice(text: &str) -> Option<Advice> {
    (begins(text, "Login authentication failed") || begins(text, "Improperly formatted auth"))
        .then_some(LOGIN)
}

/// An error of Kraken, such as `EService:Busy`.
///
/// `None` is an error of an order or of a query.
///
/// Source: Kraken's API documentation of errors, ccxt's `kraken` for their meaning.
pub fn kraken(error: &str) -> Option<Advice> {
    match error {
        "EGeneral:Permission denied" | "EAPI:Invalid key" => Some(STOP),
        // A clock; a limit; the service.
        "EAPI:Invalid nonce"
        | "EAPI:Rate limit exceeded"
        | "Exceeded msg rate"
        | "EService:Unavailable"
        | "EService:Busy"
        | "EGeneral:Internal error" => Some(BUSY),
        _ => None,
    }
}

/// A close code of graphql-ws, the protocol `graphql-transport-ws`.
///
/// Its own client ends for good at 4500, 1011 and others that pass.
///
/// Source: `src/common.ts` and `src/client.ts` in enisdenjo/graphql-ws.
pub const fn graphql_ws(code: u16) -> Advice {
    match code {
        // Bad request, bad response, client error.
        4400 | 4004 | 4005 => TWICE,
        4401 => LOGIN,
        // The subprotocol is not acceptable.
        4406 => STOP,
        // The subscriber exists already; too many initialisations.
        4409 | 4429 => TWICE,
        // The client ended a frozen connection.
        4499 => DOWN,
        // 4403 forbidden, which its own client retries; timeouts; 4500.
        _ => close(code),
    }
}

/// The `Close` message of SignalR, by its `allowReconnect`; it is false if it is absent.
///
/// A lost socket without a `Close` is `Retry(Down)`. A handshake response with an error
/// is a stop.
///
/// Source: `src/SignalR/docs/specs/HubProtocol.md` in dotnet/aspnetcore.
pub const fn signalr_close(allow_reconnect: bool) -> Advice {
    if allow_reconnect { DOWN } else { TWICE_EITHER }
}

/// The body of a 404 that SignalR answers to a connection, not to a negotiation.
///
/// The server was started again, or a balancer chose another one. Negotiate anew.
/// `None` is another 404: that of an address where no hub is.
///
/// Source: `HttpConnectionDispatcher.cs` in dotnet/aspnetcore.
pub fn signalr_not_found(body: &str) -> Option<Advice> {
    begins(body, "No Connection with that ID").then_some(DOWN)
}

/// The `code` in the body of a 400 of engine.io, the transport of socket.io.
///
/// Source: `packages/engine.io/lib/server.ts` in socketio/socket.io.
pub const fn engine_io(code: u16) -> Advice {
    match code {
        // The session is unknown: a restart, or a balancer without sticky sessions.
        1 => DOWN,
        // Unknown transport, bad handshake method, unsupported version.
        0 | 2 | 5 => STOP,
        3 => TWICE,
        4 => TWICE_THERE,
        _ => BUSY,
    }
}

/// The reason of a `disconnect` event of socket.io. The reason of `connect_error` from
/// a middleware is the application's own.
///
/// Source: `packages/socket.io-client/lib/socket.ts` in socketio/socket.io.
pub fn socket_io_disconnect(reason: &str) -> Advice {
    match reason {
        // The server called `disconnect()`.
        "io server disconnect" => TAKEN_OVER,
        // "ping timeout", "transport close", "transport error".
        _ => DOWN,
    }
}

/// A close code of Centrifugo. The ranges are the protocol's own: clients come back
/// after 3000 to 3499, 4000 to 4499 and from 5000 on, and not after the others.
///
/// 3502 (stale) and 3504 (connection limit) are in a range that stops, although both
/// may pass; the table follows the protocol.
///
/// Source: `disconnect.go` in centrifugal/centrifuge.
pub const fn centrifugo(code: u16) -> Advice {
    match code {
        0..=2999 => close(code),
        // Slow.
        3008 => BUSY,
        3500..=3999 | 4500..=4999 => STOP_THERE,
        _ => DOWN,
    }
}

/// A close code of the Pusher protocol. The ranges are the protocol's own: do not come
/// back unchanged after 4000 to 4099, wait a second after 4100 to 4199, and come back
/// at once after 4200 to 4299, which redial spreads nevertheless.
///
/// Source: Pusher Channels Protocol, section on error codes.
pub const fn pusher(code: u16) -> Advice {
    match code {
        // Disabled; over the quota of connections.
        4003 | 4004 => STOP_THERE,
        4000..=4099 => STOP,
        4100..=4199 => Advice::after(Duration::from_secs(1)),
        4200..=4299 => DOWN,
        _ => close(code),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    type Rows = &'static [(&'static [u16], &'static str)];

    const DISCORD: Rows = &[
        (&[4000, 4001, 4002, 4003, 4005, 4007, 4008], "Busy"),
        (&[4004, 4010, 4011, 4012, 4013, 4014], "Stop"),
        (&[4009], "Down"),
        (&[4006, 4015, 4999], "Busy"),
    ];
    const DISCORD_VOICE: Rows = &[
        (&[4001, 4002, 4003, 4005, 4011], "Busy"),
        (&[4004, 4012, 4014, 4016, 4017, 4021, 4022], "Stop"),
        (&[4006, 4009, 4015], "Down"),
        (&[4013, 4020], "Busy"),
    ];
    const TWITCH: Rows = &[
        (&[4000, 4003], "Busy"),
        (&[4001], "Stop"),
        (&[4002, 4004, 4005, 4006, 4007], "Down"),
        (&[4008], "Busy"),
    ];
    const GRAPHQL_WS: Rows = &[
        (&[4400, 4004, 4005], "Stop(2)"),
        (&[4401], "Login"),
        (&[4403], "Busy"),
        (&[4406], "Stop"),
        (&[4408, 4504], "Busy"),
        (&[4409, 4429], "Stop(2)"),
        (&[4499], "Down"),
        (&[4500], "Busy"),
        (&[1002, 1003, 1007, 1008, 1009, 1011, 1015], "Busy"),
    ];
    const CENTRIFUGO: Rows = &[
        (&[1000, 1006], "Down"),
        (&[1011], "Busy"),
        (&[3000, 3001, 3499, 4000, 4499, 5000, u16::MAX], "Down"),
        (&[3008], "Busy"),
        (&[3500, 3502, 3504, 3999, 4500, 4999], "Stop there"),
    ];
    const PUSHER: Rows = &[
        (&[4000, 4001, 4005, 4006, 4007, 4008, 4009, 4099], "Stop"),
        (&[4003, 4004], "Stop there"),
        (&[4100, 4199], "After 1"),
        (&[4200, 4201, 4202, 4299], "Down"),
        (&[4300, 4301], "Busy"),
    ];
    /// What all of them take from `websocket::close`.
    const SHARED: Rows = &[
        (&[1000, 1001, 1005], "Down"),
        (&[1010], "Stop"),
        (&[1012], "After 5"),
    ];

    #[test]
    fn each_close_code_is_judged_as_its_row_says() {
        for (service, rows) in [
            (discord as fn(u16) -> Advice, DISCORD),
            (discord_voice, DISCORD_VOICE),
            (twitch, TWITCH),
            (graphql_ws, GRAPHQL_WS),
        ] {
            let service = |code| Some(service(code));
            check(service, rows);
            check(service, SHARED);
            nothing_else_stops(service, 0..=u16::MAX, &[rows, SHARED].concat());
        }
    }

    /// These protocols give a meaning to whole ranges.
    #[test]
    fn a_range_is_judged_as_its_row_says() {
        for (service, rows, stops) in [
            (
                centrifugo as fn(u16) -> Advice,
                CENTRIFUGO,
                &[3500..=3999, 4500..=4999][..],
            ),
            (pusher, PUSHER, &[4000..=4099][..]),
        ] {
            check(|code| Some(service(code)), rows);
            check(|code| Some(service(code)), SHARED);
            for code in (0..=u16::MAX).filter(|code| *code != 1010) {
                let is_stop = short(Some(service(code))).starts_with("Stop");
                assert_eq!(
                    is_stop,
                    stops.iter().any(|range| range.contains(&code)),
                    "{code}"
                );
            }
        }
    }

    #[test]
    fn each_message_is_judged_as_its_row_says() {
        check(
            |reason| Some(slack_disconnect(reason)),
            &[
                (&["warning", "refresh_requested"], "Down"),
                (&["too_many_websockets"], "Busy"),
                (&["link_disabled"], "Stop there"),
                (&["", "something_new"], "Busy"),
            ],
        );
        check(
            |error| Some(slack_open(error)),
            &[
                (
                    &[
                        "not_authed",
                        "invalid_auth",
                        "account_inactive",
                        "user_removed_from_team",
                        "team_disabled",
                        "token_revoked",
                    ],
                    "Stop",
                ),
                (&["internal_error", ""], "Busy"),
            ],
        );
        check(
            twitch_irc_notice,
            &[
                (
                    &["Login authentication failed", "Improperly formatted auth"],
                    "Login",
                ),
                (&["", "Hello"], "none"),
            ],
        );
        check(
            kraken,
            &[
                (&["EGeneral:Permission denied", "EAPI:Invalid key"], "Stop"),
                (&["EAPI:Invalid nonce", "Exceeded msg rate"], "Busy"),
                (
                    &[
                        "EService:Unavailable",
                        "EService:Busy",
                        "EGeneral:Internal error",
                    ],
                    "Busy",
                ),
                (&["EOrder:Insufficient funds", ""], "none"),
            ],
        );
        check(
            |reason| Some(socket_io_disconnect(reason)),
            &[
                (&["io server disconnect"], "Stop(again)"),
                (
                    &["ping timeout", "transport close", "transport error", ""],
                    "Down",
                ),
            ],
        );
        check(
            discord_opcode,
            &[
                (&[7], "Down"),
                (&[9], "Busy"),
                (&[0, 1, 10, 11, u8::MAX], "none"),
            ],
        );
        check(
            |code| Some(engine_io(code)),
            &[
                (&[1], "Down"),
                (&[0, 2, 5], "Stop"),
                (&[3], "Stop(2)"),
                (&[4], "Stop(2) there"),
                (&[6, u16::MAX], "Busy"),
            ],
        );
        assert_eq!(short(Some(signalr_close(true))), "Down");
        assert_eq!(short(Some(signalr_close(false))), "Stop(2) either");
        assert_eq!(
            short(signalr_not_found("No Connection with that ID")),
            "Down"
        );
        assert_eq!(short(signalr_not_found("Not Found")), "none");
    }
}
