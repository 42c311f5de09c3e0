//! A small IRC server in this process, so that the example runs anywhere. It can
//! crash like a real server, and start again on the same port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::Framed;

use crate::hub::{Hub, Id, Rules};
use crate::irc::{IrcCodec, Message};

/// Any free port. Only this machine can reach it.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long a guest may take to log in.
const LOGIN_TIME: Duration = Duration::from_secs(10);
/// After this long without a message, the server sends a guest a PING. After twice as
/// long, it drops the guest.
const SILENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping the value also crashes the server.
#[derive(Debug)]
pub(crate) struct Server {
    addresses: Vec<SocketAddr>,
    hub: Arc<Mutex<Hub>>,
    /// Dropping this ends every task.
    alive: watch::Sender<()>,
    accepting: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on `address`. Port 0 means any free port.
    pub(crate) async fn start(address: SocketAddr, rules: Rules) -> io::Result<Self> {
        Self::start_at(&[address], rules).await
    }

    /// Starts a server on several addresses. They are like the servers of an IRC network:
    /// whichever a guest uses, it is in the same channels.
    pub(crate) async fn start_at(addresses: &[SocketAddr], rules: Rules) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(TcpListener::bind(address).await?);
        }
        let local = listeners.iter().map(TcpListener::local_addr);
        let addresses = local.collect::<io::Result<Vec<_>>>()?;
        let (alive, end) = watch::channel(());
        let hub = Arc::new(Mutex::new(Hub::new(rules)));
        let others = addresses.iter().cycle().skip(1);
        let doors = listeners.into_iter().zip(others);
        let accepting = doors
            .map(|(door, &other)| tokio::spawn(accept(door, other, hub.clone(), end.clone())))
            .collect();
        Ok(Self {
            addresses,
            hub,
            alive,
            accepting,
        })
    }

    /// The first of its addresses.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Asks each guest to move to the next address.
    pub(crate) fn ask_to_move(&self) {
        lock(&self.hub).ask_to_move();
    }

    /// Ends the server without a message to its guests. Resets every connection. When
    /// this returns, the port is free again.
    pub(crate) async fn crash(self) {
        drop(self.alive);
        // This fails only if a task has panicked, and the tests would show that.
        for accepting in self.accepting {
            let _ = accepting.await;
        }
    }

    /// Crashes the server, and starts it again after `pause`, on the same
    /// addresses.
    pub(crate) async fn restart(self, pause: Duration, rules: Rules) -> io::Result<Self> {
        let addresses = self.addresses.clone();
        self.crash().await;
        sleep(pause).await;
        Self::start_at(&addresses, rules).await
    }
}

async fn accept(
    listener: TcpListener,
    other: SocketAddr,
    hub: Arc<Mutex<Hub>>,
    mut end: watch::Receiver<()>,
) {
    let mut guests = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.changed() => break,
            Some(_) = guests.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    guests.spawn(serve(stream, other, hub.clone(), end.clone()));
                }
                // There are no file descriptors left. Wait until a guest leaves.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    guests.join_all().await;
}

async fn serve(
    stream: TcpStream,
    other: SocketAddr,
    hub: Arc<Mutex<Hub>>,
    mut end: watch::Receiver<()>,
) {
    let mut lines = Framed::new(stream, IrcCodec);
    let (id, replies) = lock(&hub).enter(other);
    tokio::select! {
        () = converse(&mut lines, &hub, id, replies) => lock(&hub).leave(id),
        _ = end.changed() => {
            // With this setting, closing sends a reset instead of an orderly end.
            let _ = lines.get_ref().set_zero_linger();
            return;
        }
    }
    // Closing with unread input resets the connection, and the guest would lose
    // the last messages. So wait a short time for the guest to close.
    let _ = timeout(Duration::from_secs(1), async {
        if lines.close().await.is_ok() {
            while let Some(Ok(_)) = lines.next().await {}
        }
    })
    .await;
}

/// Passes messages between a guest and the hub, until the hub has no more.
async fn converse(
    lines: &mut Framed<TcpStream, IrcCodec>,
    hub: &Mutex<Hub>,
    id: Id,
    mut replies: mpsc::Receiver<Message>,
) {
    let mut deadline = Instant::now() + LOGIN_TIME;
    let mut may_ping = false;
    loop {
        tokio::select! {
            // Replies come first, because the last reply may hold the reason for the end.
            biased;
            reply = replies.recv() => {
                let Some(reply) = reply else { return };
                let Ok(Ok(())) = timeout(SILENCE, lines.send(reply)).await else { return };
            }
            heard = timeout_at(deadline, lines.next()) => match heard {
                Ok(Some(Ok(message))) => {
                    may_ping = lock(hub).obey(id, &message);
                    if may_ping {
                        deadline = Instant::now() + SILENCE;
                    }
                }
                Ok(Some(Err(error))) => lock(hub).dismiss(id, &error.to_string()),
                Ok(None) => return,
                Err(_) if may_ping => {
                    lock(hub).ping(id);
                    deadline += SILENCE;
                    may_ping = false;
                }
                Err(_) => lock(hub).dismiss(id, "Ping timeout"),
            },
        }
    }
}

fn lock(hub: &Mutex<Hub>) -> MutexGuard<'_, Hub> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Client(Framed<TcpStream, IrcCodec>);

    impl Client {
        async fn connect(server: &Server) -> Self {
            let stream = TcpStream::connect(server.address()).await.unwrap();
            Self(Framed::new(stream, IrcCodec))
        }

        async fn log_in(server: &Server, nick: &str) -> Self {
            let mut client = Self::connect(server).await;
            client.say(&format!("NICK {nick}")).await;
            client.say("USER u 0 * :someone").await;
            for numeric in ["001", "002", "003", "004", "422"] {
                assert_eq!(client.hear().await.command, numeric);
            }
            client
        }

        async fn join(server: &Server, nick: &str) -> Self {
            let mut client = Self::log_in(server, nick).await;
            client.say("JOIN #room").await;
            while client.hear().await.command != "366" {}
            client
        }

        async fn say(&mut self, line: &str) {
            self.0.send(Message::parse(line).unwrap()).await.unwrap();
        }

        async fn hear(&mut self) -> Message {
            let heard = timeout(Duration::from_secs(5), self.0.next()).await;
            heard
                .expect("in time")
                .expect("not closed")
                .expect("a line")
        }

        async fn hears(&mut self, line: &str) {
            assert_eq!(self.hear().await.to_string(), line);
        }
    }

    async fn start(rules: Rules) -> Server {
        Server::start(ANY_PORT, rules).await.unwrap()
    }

    #[tokio::test]
    async fn members_see_each_other_join_talk_and_leave() {
        let server = start(Rules::default()).await;
        let mut ann = Client::join(&server, "ann").await;
        let mut bob = Client::log_in(&server, "bob").await;
        bob.say("JOIN #Room").await;
        bob.hears(":bob!u@127.0.0.1 JOIN #room").await;
        bob.hears(":irc.redial.example 353 bob = #room :ann bob")
            .await;
        bob.hears(":irc.redial.example 366 bob #room :End of NAMES list")
            .await;
        ann.hears(":bob!u@127.0.0.1 JOIN #room").await;
        ann.say("PRIVMSG #room :hello, bob").await;
        bob.hears(":ann!u@127.0.0.1 PRIVMSG #room :hello, bob")
            .await;
        bob.say("PRIVMSG Ann psst").await;
        ann.hears(":bob!u@127.0.0.1 PRIVMSG Ann psst").await;
        bob.say("PART #room").await;
        ann.hears(":bob!u@127.0.0.1 PART #room").await;
        bob.hears(":bob!u@127.0.0.1 PART #room").await;
        bob.say("PRIVMSG #room :still there?").await;
        bob.hears(":irc.redial.example 404 bob #room :Cannot send to channel")
            .await;
        bob.say("JOIN #room").await;
        ann.hears(":bob!u@127.0.0.1 JOIN #room").await;
        bob.say("QUIT :good night").await;
        ann.hears(":bob!u@127.0.0.1 QUIT :Quit: good night").await;
    }

    #[tokio::test]
    async fn a_nick_is_free_again_when_its_guest_has_left() {
        let server = start(Rules::default()).await;
        let ann = Client::join(&server, "ann").await;
        let mut bob = Client::join(&server, "bob").await;
        let mut other = Client::connect(&server).await;
        other.say("NICK ANN").await;
        other
            .hears(":irc.redial.example 433 * ANN :Nickname is already in use")
            .await;
        drop(ann);
        let quit = bob.hear().await;
        assert_eq!((quit.command.as_str(), quit.sender()), ("QUIT", "ann"));
        Client::log_in(&server, "ANN").await;
    }

    #[tokio::test]
    async fn a_wrong_password_and_a_banned_nick_get_a_reason() {
        let server = start(Rules {
            password: Some("sesame".into()),
            banned: Some("mallory".into()),
            logins: None,
        })
        .await;
        for (nick, password, numeric, error) in [
            ("ann", "wrong", "464", "Closing link: Bad password"),
            ("mallory", "sesame", "465", "Closing link: Banned"),
        ] {
            let mut client = Client::connect(&server).await;
            client.say(&format!("PASS {password}")).await;
            client.say(&format!("NICK {nick}")).await;
            client.say("USER u 0 * :someone").await;
            assert_eq!(client.hear().await.command, numeric);
            let last = client.hear().await;
            assert_eq!((last.command.as_str(), last.text()), ("ERROR", error));
            assert!(client.0.next().await.is_none(), "an orderly end");
        }
    }

    #[tokio::test]
    async fn strange_input_gets_an_error_and_does_no_harm() {
        let server = start(Rules::default()).await;
        let mut ann = Client::connect(&server).await;
        for (line, numeric) in [
            ("JOIN #room", "451"),
            ("NICK", "431"),
            ("NICK 1x", "432"),
            ("NICK :a b", "432"),
            ("USER u", "461"),
        ] {
            ann.say(line).await;
            assert_eq!(ann.hear().await.command, numeric, "{line}");
        }
        let mut ann = Client::log_in(&server, "ann").await;
        for (line, numeric) in [
            ("PASS late", "462"),
            ("NICK bob", "462"),
            ("JOIN", "461"),
            ("JOIN room", "403"),
            ("JOIN :#a b", "403"),
            ("PART #room", "442"),
            ("PRIVMSG #room", "412"),
            ("PRIVMSG nobody :hi", "401"),
            ("NAMES :a b", "366"),
            ("DANCE", "421"),
        ] {
            ann.say(line).await;
            assert_eq!(ann.hear().await.command, numeric, "{line}");
        }
        let long = format!("PRIVMSG ann :{}\r\n", "ü".repeat(240));
        ann.0.get_mut().write_all(long.as_bytes()).await.unwrap();
        let text = ann.hear().await.text().to_owned();
        assert!(
            text.len() > 400 && text.chars().all(|c| c == 'ü'),
            "the text is cut between characters"
        );
    }

    #[tokio::test]
    async fn a_client_that_does_not_log_in_or_answer_is_dropped() {
        let server = start(Rules::default()).await;
        let newcomer = Client::connect(&server).await;
        let guest = Client::log_in(&server, "ann").await;
        // Whole minutes pass within a second.
        tokio::time::pause();
        for (mut mute, heard) in [(newcomer, "ERROR"), (guest, "PING ERROR")] {
            let mut commands = Vec::new();
            while let Some(Ok(message)) = mute.0.next().await {
                commands.push(message.command);
            }
            assert_eq!(commands.join(" "), heard);
        }
    }

    #[tokio::test]
    async fn a_crash_resets_every_connection_and_frees_the_port() {
        let server = start(Rules::default()).await;
        let address = server.address();
        let mut ann = Client::join(&server, "ann").await;
        server.crash().await;
        let error = ann.0.get_mut().read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let server = Server::start(address, Rules::default()).await.unwrap();
        Client::join(&server, "ann").await;
    }
}
