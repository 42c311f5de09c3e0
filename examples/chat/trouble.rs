//! The errors of a chat connection, and the verdict on each.

use std::fmt;
use std::io;
use std::time::Duration;

use redial::{Cause, Silent, Verdict};

use crate::tls::is_wrong_certificate;

/// Why an attempt failed or a connection ended. The texts are the server's words.
#[derive(Debug)]
pub(crate) enum ChatError {
    Io(io::Error),
    /// The connection ended without a reason.
    Closed,
    /// The server ended the connection, with this reason.
    Ended(String),
    /// The server has not answered a PING, and has said nothing else.
    Silent(Silent),
    /// There were too many connects, by this client or by all clients.
    TooFast(String),
    /// The server is full. It lets this client in after the given wait.
    Slot(Duration),
    /// All nicks that the client tried are in use.
    NickInUse,
    Password(String),
    Banned(String),
    /// The channel refuses this client, or has removed it.
    Channel(String),
    /// The server does not accept the nick or the user's name.
    Name(String),
}

impl ChatError {
    /// The error behind the server's last line, `ERROR :reason`.
    ///
    /// The line has no numeric, so only its words tell the reasons apart. Most
    /// servers use similar words.
    pub(crate) fn farewell(text: &str) -> Self {
        // In `Closing Link: nick[host] (reason)`, skip the nick. It could contain
        // one of the words below.
        let reason = text.find('(').map_or(text, |start| &text[start..]);
        let lower = reason.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if let Some(wait) = slot(text) {
            Self::Slot(wait)
        } else if says(&["too fast", "throttle", "too many", "try again later"]) {
            Self::TooFast(text.to_owned())
        } else if says(&["password"]) {
            Self::Password(text.to_owned())
        } else if says(&["banned", "-line", ":line", "kline", "akill"]) {
            Self::Banned(text.to_owned())
        } else {
            Self::Ended(text.to_owned())
        }
    }

    /// The classifier of the example: whether to try again, and when.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Io(error) if is_wrong_certificate(error) => Verdict::Stop,
            Self::Io(error) => Verdict::from(error),
            Self::Closed => Verdict::Retry(Cause::Down),
            Self::Ended(_) | Self::TooFast(_) | Self::NickInUse => Verdict::Retry(Cause::Busy),
            Self::Silent(_) => Verdict::Retry(Cause::Stalled),
            Self::Slot(wait) => Verdict::Slot(*wait),
            Self::Password(_) | Self::Banned(_) | Self::Channel(_) | Self::Name(_) => Verdict::Stop,
        }
    }
}

/// The wait in `[retry-after-ms=1234]`, which the embedded server chooses for each
/// client.
fn slot(text: &str) -> Option<Duration> {
    let (_, token) = text.split_once("[retry-after-ms=")?;
    let (millis, _) = token.split_once(']')?;
    millis.parse().ok().map(Duration::from_millis)
}

/// Words for a person: `connection reset`, not `os error 104`.
impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset => f.write_str("connection reset"),
                io::ErrorKind::ConnectionRefused => f.write_str("connection refused"),
                io::ErrorKind::BrokenPipe => f.write_str("connection broken"),
                // TLS reports this if a connection ends without a close message.
                io::ErrorKind::UnexpectedEof => f.write_str("connection closed"),
                io::ErrorKind::TimedOut => f.write_str("no answer"),
                _ => error.fmt(f),
            },
            Self::Closed => f.write_str("connection closed"),
            Self::Ended(text) => write!(f, "the server says: {text}"),
            Self::Silent(silent) => write!(f, "the server was {silent}"),
            Self::TooFast(text) => write!(f, "the server is busy: {text}"),
            Self::Slot(_) => f.write_str("the server is full and gave us a slot"),
            Self::NickInUse => f.write_str("the nick is in use"),
            Self::Password(text) => write!(f, "wrong password: {text}"),
            Self::Banned(text) => write!(f, "banned: {text}"),
            Self::Channel(text) => write!(f, "the channel is closed to us: {text}"),
            Self::Name(text) => write!(f, "the server refuses the name: {text}"),
        }
    }
}

impl std::error::Error for ChatError {}

impl From<io::Error> for ChatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_real_servers_get_the_right_verdicts() {
        let busy = Verdict::Retry(Cause::Busy);
        for (text, verdict) in [
            (
                "Closing Link: [192.0.2.1] (Throttled: Reconnecting too fast)",
                busy,
            ),
            ("Trying to reconnect too fast.", busy),
            (
                "Your host is trying to (re)connect too fast -- throttled",
                busy,
            ),
            (
                "Closing Link: 192.0.2.1 (Too many host connections (local))",
                busy,
            ),
            (
                "Closing Link: ann[192.0.2.1] (Ping timeout: 240 seconds)",
                busy,
            ),
            (
                "Closing Link: throttle[192.0.2.1] (Server shutting down)",
                busy,
            ),
            (
                "Closing Link: banned[192.0.2.1] (Server shutting down)",
                busy,
            ),
            ("Closing Link: ann[192.0.2.1] (K-Lined)", Verdict::Stop),
            (
                "Closing Link: ann[192.0.2.1] (*** You are banned from here)",
                Verdict::Stop,
            ),
            ("Access denied: Bad server password", Verdict::Stop),
            (
                "Closing link: too many logins [retry-after-ms=1234]",
                Verdict::Slot(Duration::from_millis(1234)),
            ),
            ("Closing link: too many logins [retry-after-ms=soon]", busy),
        ] {
            assert_eq!(ChatError::farewell(text).verdict(), verdict, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_os_error_is_shown_in_plain_words() {
        let reset = io::Error::from_raw_os_error(104);
        assert_eq!(ChatError::from(reset).to_string(), "connection reset");
    }
}
