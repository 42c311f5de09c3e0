//! The connector of the example: connects, logs in and joins the channel.

use std::net::Ipv6Addr;
use std::sync::Arc;

use futures::StreamExt;
use redial::Connect;
use redial::tcp::Dial;
use tokio::net::TcpStream;

use crate::irc::{Message, fit};
use crate::link::{Link, Wire};
use crate::tls::Tls;
use crate::trouble::ChatError;

/// The identity to log in with.
pub(crate) struct Account {
    pub(crate) nick: String,
    pub(crate) channel: String,
    pub(crate) password: Option<String>,
    pub(crate) tls: Option<Tls>,
}

/// `host:port`, with `port` if the text has none.
pub(crate) fn address(text: &str, port: u16) -> Result<String, String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]:{port}"));
    }
    let wrong = || Err(format!("{text:?} is no address, write host or host:port"));
    if text.is_empty() || text.contains(|c: char| c.is_control() || c == ' ') {
        return wrong();
    }
    match text.rsplit_once(':') {
        Some(_) if text.ends_with(']') => Ok(format!("{text}:{port}")),
        None => Ok(format!("{text}:{port}")),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        Some(_) => wrong(),
    }
}

/// Checks that a text can be a parameter in the middle of an IRC line.
pub(crate) fn word(text: &str) -> Result<String, String> {
    let is_wrong = |c: char| c.is_control() || c == ' ';
    if text.is_empty() || text.len() > 100 || text.starts_with(':') || text.contains(is_wrong) {
        return Err("must have 1 to 100 bytes, no space, and no colon in front".into());
    }
    Ok(text.to_owned())
}

/// A channel's name. The `#` is optional, because a shell may need quotes for it.
pub(crate) fn channel(text: &str) -> Result<String, String> {
    let text = word(text)?;
    if text.len() >= 50 || text.contains(',') {
        return Err("must have fewer than 50 bytes, and no comma".into());
    }
    let sign = if text.starts_with(['#', '&', '+', '!']) {
        ""
    } else {
        "#"
    };
    Ok(format!("{sign}{text}"))
}

/// Makes the connections: dials, and then logs in.
pub(crate) fn connector(
    dial: Dial,
    account: Arc<Account>,
) -> impl Connect<Connection = Link, Error = ChatError, Attempt: Send> {
    dial.then(move |stream| log_in(stream, account.clone()))
}

/// What follows the dial. It succeeds only when we are in the channel, because a
/// server that accepts connections but no logins is not up.
async fn log_in(stream: TcpStream, account: Arc<Account>) -> Result<Link, ChatError> {
    let server = stream.peer_addr().ok();
    let wire: Box<dyn Wire> = match &account.tls {
        Some(tls) => Box::new(tls.connect(stream).await?),
        None => Box::new(stream),
    };
    let mut link = register(wire, &account).await?;
    link.server = server;
    Ok(link)
}

/// How many nicks to try in a row if ours is taken. It may be taken by our own old
/// connection, if the server has not noticed that it is dead.
const NICKS: usize = 5;

/// The conversation at login (RFC 2812, section 3.1).
async fn register(wire: Box<dyn Wire>, account: &Account) -> Result<Link, ChatError> {
    let mut link = Link::new(wire, &account.nick, &account.channel);
    if let Some(password) = &account.password {
        link.say(Message::new("PASS", [password]))?;
    }
    link.say(Message::new("NICK", [&account.nick]))?;
    link.say(Message::new(
        "USER",
        [user_name(&account.nick), "0", "*", &account.nick],
    ))?;

    let mut refused = 0;
    let mut welcome = false;
    while let Some(message) = link.next().await {
        let message = message?;
        let text = || message.text().to_owned();
        match message.command.as_str() {
            "001" => {
                welcome = true;
                // The server may have shortened our nick.
                message.param(0).clone_into(&mut link.nick);
                link.say(Message::new("JOIN", [&account.channel]))?;
            }
            // The list of members ends, so we are in the channel.
            "366" if message.param(1).eq_ignore_ascii_case(&account.channel) => return Ok(link),
            "433" | "436" | "437" if !welcome => {
                refused += 1;
                if refused == NICKS {
                    return Err(ChatError::NickInUse);
                }
                link.nick = other_nick(&account.nick, refused);
                link.say(Message::new("NICK", [&link.nick]))?;
            }
            "432" | "468" => return Err(ChatError::Name(text())),
            "464" => return Err(ChatError::Password(text())),
            "463" | "465" => return Err(ChatError::Banned(text())),
            // The channel is full for now, or we have too many channels or targets.
            "405" | "407" | "437" | "471" => return Err(ChatError::TooFast(text())),
            "403" | "473" | "474" | "475" | "476" | "477" => {
                return Err(ChatError::Channel(text()));
            }
            _ => {}
        }
    }
    Err(ChatError::Closed)
}

/// The nick with underscores, in the nine characters that every server allows.
fn other_nick(nick: &str, refused: usize) -> String {
    fit(nick, 9 - refused).0.to_owned() + &"_".repeat(refused)
}

/// The user name for a nick. Many servers allow fewer characters in it.
fn user_name(nick: &str) -> &str {
    let end = nick.find(|c: char| !c.is_ascii_alphanumeric());
    match &nick[..end.unwrap_or(nick.len())] {
        "" => "redial",
        name => fit(name, 9).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::IrcCodec;
    use futures::SinkExt;
    use std::time::Duration;
    use tokio::io::{DuplexStream, duplex};
    use tokio_util::codec::Framed;

    #[test]
    fn a_port_and_the_sign_of_a_channel_may_be_left_out() {
        for (given, meant) in [
            ("irc.example:6697", Some("irc.example:6697")),
            ("irc.example", Some("irc.example:6667")),
            ("[::1]:7000", Some("[::1]:7000")),
            ("[::1]", Some("[::1]:6667")),
            ("::1", Some("[::1]:6667")),
            ("irc.example:x", None),
            (":7000", None),
            ("", None),
            ("irc example", None),
        ] {
            assert_eq!(address(given, 6667).ok().as_deref(), meant, "{given}");
        }
        assert_eq!(channel("room").unwrap(), "#room");
        assert_eq!(channel("&room").unwrap(), "&room");
        assert!(channel("a,b").is_err());
    }

    type Server = Framed<DuplexStream, IrcCodec>;

    fn account() -> Account {
        Account {
            nick: "alexandria".into(),
            channel: "#room".into(),
            password: Some("sesame".into()),
            tls: None,
        }
    }

    fn pair() -> (Box<dyn Wire>, Server) {
        let (client, server) = duplex(1024);
        (Box::new(client), Framed::new(server, IrcCodec))
    }

    async fn expect(server: &mut Server, lines: &[&str]) {
        for line in lines {
            let heard = server.next().await.unwrap().unwrap();
            assert_eq!(heard.to_string(), *line);
        }
    }

    async fn say(server: &mut Server, lines: &[&str]) {
        for line in lines {
            server.send(Message::parse(line).unwrap()).await.unwrap();
        }
    }

    const HELLO: [&str; 3] = [
        "PASS sesame",
        "NICK alexandria",
        "USER alexandri 0 * alexandria",
    ];
    const WELCOME: [&str; 2] = [":s 001 alexandria :Welcome", ":s 366 alexandria #ROOM :End"];

    /// A login to a server that answers with `lines`.
    async fn log_in_to(lines: &[&str]) -> Result<(Link, Server), ChatError> {
        let (wire, mut server) = pair();
        let account = account();
        let (link, ()) = futures::join!(register(wire, &account), async {
            expect(&mut server, &HELLO).await;
            say(&mut server, lines).await;
        });
        link.map(|link| (link, server))
    }

    #[tokio::test]
    async fn the_login_ends_when_the_client_is_in_the_channel() {
        let (wire, mut server) = pair();
        let account = account();
        let (link, ()) = futures::join!(register(wire, &account), async {
            expect(&mut server, &HELLO).await;
            say(&mut server, &["PING :cookie"]).await;
            expect(&mut server, &["PONG cookie"]).await;
            say(
                &mut server,
                &[":s 001 alexandri :Welcome", ":s 422 alexandri :-"],
            )
            .await;
            expect(&mut server, &["JOIN #room"]).await;
            say(
                &mut server,
                &[
                    ":s 366 alexandri #other :End",
                    ":s 366 alexandri #Room :End",
                ],
            )
            .await;
        });
        assert_eq!(
            link.unwrap().nick,
            "alexandri",
            "the server's form of the nick"
        );
    }

    #[tokio::test]
    async fn a_nick_in_use_gets_underscores_a_few_times() {
        let (wire, mut server) = pair();
        let account = account();
        let (link, ()) = futures::join!(register(wire, &account), async {
            expect(&mut server, &HELLO).await;
            for nick in ["alexandr_", "alexand__", "alexan___", "alexa____"] {
                say(&mut server, &[":s 433 * x :in use"]).await;
                expect(&mut server, &[&format!("NICK {nick}")]).await;
            }
            say(&mut server, &[":s 433 * x :in use"]).await;
        });
        assert!(matches!(link, Err(ChatError::NickInUse)));
    }

    #[tokio::test]
    async fn each_refusal_has_its_own_error() {
        for (line, words) in [
            (
                ":s 464 * :Password incorrect",
                "wrong password: Password incorrect",
            ),
            (":s 465 * :You are banned", "banned: You are banned"),
            (
                ":s 432 * x :Erroneous",
                "the server refuses the name: Erroneous",
            ),
            (":s 471 x #room :Full", "the server is busy: Full"),
            (
                ":s 474 x #room :Banned",
                "the channel is closed to us: Banned",
            ),
            (
                "ERROR :Reconnecting too fast",
                "the server is busy: Reconnecting too fast",
            ),
        ] {
            let error = log_in_to(&[line]).await.err().expect(line);
            assert_eq!(error.to_string(), words);
        }
    }

    #[tokio::test]
    async fn a_kick_ends_the_connection() {
        let (mut link, mut server) = log_in_to(&WELCOME).await.unwrap();
        say(
            &mut server,
            &[":op KICK #room ann :bye", ":op KICK #room Alexandria :bye"],
        )
        .await;
        assert_eq!(link.next().await.unwrap().unwrap().param(1), "ann");
        let error = link.next().await.unwrap().unwrap_err();
        assert!(matches!(error, ChatError::Channel(reason) if reason == "op has kicked us: bye"));
    }

    #[tokio::test]
    async fn the_servers_reason_is_read_even_if_a_write_has_failed() {
        let (mut link, mut server) = log_in_to(&WELCOME).await.unwrap();
        say(&mut server, &["ERROR :(K-Lined)"]).await;
        drop(server);
        link.say(Message::new("PRIVMSG", ["#room", "hello"]))
            .unwrap();
        let error = link.next().await.unwrap().unwrap_err();
        assert!(matches!(error, ChatError::Banned(_)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_gets_a_ping_and_is_then_given_up() {
        let (mut link, mut server) = log_in_to(&WELCOME).await.unwrap();
        expect(&mut server, &["JOIN #room"]).await;
        let began = tokio::time::Instant::now();
        let answering = async {
            expect(&mut server, &["PING redial"]).await;
            say(&mut server, &[":s PONG s :redial"]).await;
            expect(&mut server, &["PING redial"]).await;
            server
        };
        let hearing = async {
            assert_eq!(link.next().await.unwrap().unwrap().command, "PONG");
            link.next().await.unwrap().unwrap_err()
        };
        let (_server, error) = futures::join!(answering, hearing);
        assert!(matches!(error, ChatError::Silent(_)));
        // Two silences, of which the first PING ends a shorter one, and no answer.
        let seconds = began.elapsed().as_secs_f64();
        assert!((47.5..65.1).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_stops_reading_if_the_server_takes_no_answers() {
        const PATIENCE: Duration = Duration::from_secs(12);
        let (mut link, mut server) = log_in_to(&WELCOME).await.unwrap();
        expect(&mut server, &["JOIN #room"]).await;
        let flood = async {
            let mut pings = 0;
            // The test reads no answers, so the link stops reading in the end.
            while tokio::time::timeout(PATIENCE, say(&mut server, &["PING flood"]))
                .await
                .is_ok()
            {
                pings += 1;
            }
            pings
        };
        let hearing = async { link.next().await.unwrap().unwrap_err() };
        let (pings, error) = futures::join!(flood, hearing);
        // 8 KiB in the link, 1 KiB in each of two pipes, and one read of 8 KiB.
        assert!(pings < 3000, "{pings}");
        assert!(matches!(error, ChatError::Silent(_)), "{error}");
    }
}
