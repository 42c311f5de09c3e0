//! A small IRC server in this process, so that the example runs anywhere: it
//! can crash as a real one does, and start again on the same port.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::TokenBucket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::Framed;

use crate::irc::{IrcCodec, Message, fit};

/// The name that stands before the server's own replies.
const NAME: &str = "irc.redial.example";
/// How long a guest may take to log in.
const LOGIN_TIME: Duration = Duration::from_secs(10);
/// A guest who is silent for this long is pinged, after twice as long dropped.
const SILENCE: Duration = Duration::from_secs(60);
/// A guest who does not come for this long after their turn has missed it.
const MISSED: Duration = Duration::from_secs(30);
/// A guest who leaves this many messages unread is dropped.
const SEND_QUEUE: usize = 256;

/// Any free port that only this machine reaches.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Whom the server lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Asked of everyone (PASS).
    pub(crate) password: Option<String>,
    /// A nick that is not wanted here.
    pub(crate) banned: Option<String>,
    /// How often somebody may log in. Who comes in between is told when it is
    /// their turn.
    pub(crate) logins: Option<TokenBucket>,
}

/// A running server; dropping it is a crash, too.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    /// Dropped to end every task.
    alive: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts a server on `address`; port 0 takes a free one.
    pub(crate) async fn start(address: SocketAddr, rules: Rules) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (alive, end) = watch::channel(());
        let hub = Arc::new(Hub::new(rules));
        Ok(Self {
            address,
            alive,
            accepting: tokio::spawn(accept(listener, hub, end)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Crashes, and is back after `pause`.
    pub(crate) async fn restart(self, pause: Duration, rules: Rules) -> io::Result<Self> {
        let address = self.address;
        self.crash().await;
        sleep(pause).await;
        Self::start(address, rules).await
    }

    /// Crashes at each request, and is back five seconds later.
    pub(crate) async fn crash_at_will(
        mut self,
        mut requests: mpsc::Receiver<()>,
    ) -> io::Result<()> {
        while requests.recv().await.is_some() {
            self = self
                .restart(Duration::from_secs(5), Rules::default())
                .await?;
        }
        Ok(())
    }

    /// Ends the server without a word: every connection is reset, and the port
    /// is free again when this returns.
    pub(crate) async fn crash(self) {
        drop(self.alive);
        // It fails only where a task panicked, which the tests would show.
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, hub: Arc<Hub>, mut end: watch::Receiver<()>) {
    let mut guests = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.changed() => break,
            Some(_) = guests.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    guests.spawn(serve(stream, from, hub.clone(), end.clone()));
                }
                // Out of file descriptors: some guest will leave.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    guests.join_all().await;
}

async fn serve(stream: TcpStream, from: SocketAddr, hub: Arc<Hub>, mut end: watch::Receiver<()>) {
    let mut lines = Framed::new(stream, IrcCodec);
    let (id, replies) = hub.enter(from);
    let reason = tokio::select! {
        reason = converse(&mut lines, &hub, id, replies) => reason,
        _ = end.changed() => {
            // Closing now sends a reset instead of an orderly end.
            let _ = lines.get_ref().set_zero_linger();
            return;
        }
    };
    hub.leave(id, &reason);
    // Whoever closes with unread input resets the connection, and takes the
    // last words with it: so the guest's end is waited for, but not for long.
    let _ = timeout(Duration::from_secs(1), async {
        let last = Message::new("ERROR", [&format!("Closing link: {reason}")]).cut();
        if lines.send(last).await.is_ok() && lines.close().await.is_ok() {
            while let Some(Ok(_)) = lines.next().await {}
        }
    })
    .await;
}

/// Serves a guest until there is a reason to part.
async fn converse(
    lines: &mut Framed<TcpStream, IrcCodec>,
    hub: &Hub,
    id: Id,
    mut replies: mpsc::Receiver<Message>,
) -> String {
    let mut deadline = Instant::now() + LOGIN_TIME;
    let mut may_ping = false;
    loop {
        tokio::select! {
            // Answers first, so that a guest who parts has them all.
            biased;
            reply = replies.recv() => match reply {
                Some(reply) => match timeout(SILENCE, lines.send(reply)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "Write timeout".into(),
                },
                None => return "SendQ exceeded".into(),
            },
            heard = timeout_at(deadline, lines.next()) => match heard {
                Ok(Some(Ok(message))) => match hub.obey(id, &message) {
                    ControlFlow::Break(reason) => {
                        while let Ok(reply) = replies.try_recv() {
                            if lines.feed(reply).await.is_err() {
                                break;
                            }
                        }
                        return reason;
                    }
                    ControlFlow::Continue(Registered(true)) => {
                        deadline = Instant::now() + SILENCE;
                        may_ping = true;
                    }
                    ControlFlow::Continue(Registered(false)) => {}
                },
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(None) => return "Connection closed".into(),
                Err(_) if may_ping => {
                    hub.ping(id);
                    deadline += SILENCE;
                    may_ping = false;
                }
                Err(_) => return "Ping timeout".into(),
            },
        }
    }
}

type Id = u64;

/// Whether a guest has logged in by now.
struct Registered(bool);

/// What the guests share.
struct Hub(Mutex<State>);

struct State {
    rules: Rules,
    next_id: Id,
    guests: HashMap<Id, Guest>,
    /// The members of each channel, by its name in lower case.
    channels: HashMap<String, BTreeSet<Id>>,
    /// Whose turn it is when, by nick.
    turns: HashMap<String, Instant>,
}

struct Guest {
    nick: Option<String>,
    user: Option<String>,
    host: String,
    password: Option<String>,
    registered: bool,
    /// Gone where the guest reads too slowly.
    replies: Option<mpsc::Sender<Message>>,
}

impl Guest {
    fn nick(&self) -> &str {
        self.nick.as_deref().unwrap_or("*")
    }

    fn prefix(&self) -> String {
        let user = self.user.as_deref().unwrap_or("*");
        format!("{}!{user}@{}", self.nick(), self.host)
    }
}

impl Hub {
    fn new(rules: Rules) -> Self {
        Self(Mutex::new(State {
            rules,
            next_id: 0,
            guests: HashMap::new(),
            channels: HashMap::new(),
            turns: HashMap::new(),
        }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, from: SocketAddr) -> (Id, mpsc::Receiver<Message>) {
        let (replies, receiver) = mpsc::channel(SEND_QUEUE);
        let guest = Guest {
            nick: None,
            user: None,
            host: from.ip().to_string(),
            password: None,
            registered: false,
            replies: Some(replies),
        };
        let id = self.with(|state| {
            state.next_id += 1;
            state.guests.insert(state.next_id, guest);
            state.next_id
        });
        (id, receiver)
    }

    fn obey(&self, id: Id, message: &Message) -> ControlFlow<String, Registered> {
        self.with(|state| {
            state.obey(id, message)?;
            ControlFlow::Continue(Registered(state.guests[&id].registered))
        })
    }

    fn ping(&self, id: Id) {
        self.with(|state| state.send(id, Message::new("PING", [NAME])));
    }

    fn leave(&self, id: Id, reason: &str) {
        self.with(|state| {
            let message = state.by_guest(id, "QUIT", [reason]);
            let witnesses = state.witnesses(id);
            state.guests.remove(&id);
            for members in state.channels.values_mut() {
                members.remove(&id);
            }
            state.channels.retain(|_, members| !members.is_empty());
            for witness in witnesses {
                state.send(witness, message.clone());
            }
        });
    }
}

impl State {
    fn obey(&mut self, id: Id, message: &Message) -> ControlFlow<String> {
        let registered = self.guests[&id].registered;
        match message.command.as_str() {
            "PING" => {
                let pong = Message::new("PONG", [NAME, message.text()]).sent_by(NAME);
                self.send(id, pong);
            }
            "PONG" => {}
            "QUIT" => return ControlFlow::Break(format!("Quit: {}", message.text())),
            "NICK" => return self.nick(id, message.param(0)),
            "PASS" | "USER" if registered => {
                self.reply(id, "462", ["You have logged in already"]);
            }
            "PASS" => self.guest(id).password = Some(message.param(0).to_owned()),
            "USER" if message.params.len() < 4 => {
                self.reply(id, "461", ["USER", "Not enough parameters"]);
            }
            "USER" => {
                let user = fit(message.param(0), 10).0.to_owned();
                self.guest(id).user = Some(user);
                return self.welcome(id);
            }
            _ if !registered => self.reply(id, "451", ["You have not logged in"]),
            "JOIN" | "PART" | "NAMES" if message.params.is_empty() => {
                self.reply(id, "461", [&message.command, "Not enough parameters"]);
            }
            "JOIN" => message.param(0).split(',').for_each(|c| self.join(id, c)),
            "PART" => message.param(0).split(',').for_each(|c| self.part(id, c)),
            "NAMES" => self.names(id, &message.param(0).to_ascii_lowercase()),
            "PRIVMSG" | "NOTICE" => self.pass_on(id, message),
            _ => self.reply(id, "421", [&message.command, "Unknown command"]),
        }
        ControlFlow::Continue(())
    }

    fn nick(&mut self, id: Id, nick: &str) -> ControlFlow<String> {
        if nick.is_empty() {
            self.reply(id, "431", ["No nickname given"]);
        } else if !is_nick(nick) {
            self.reply(id, "432", [nick, "Erroneous nickname"]);
        } else if self.find(nick).is_some_and(|owner| owner != id) {
            self.reply(id, "433", [nick, "Nickname is already in use"]);
        } else if self.guests[&id].registered {
            let message = self.by_guest(id, "NICK", [nick]);
            for witness in self.witnesses(id) {
                self.send(witness, message.clone());
            }
            self.send(id, message);
            self.guest(id).nick = Some(nick.to_owned());
        } else {
            self.guest(id).nick = Some(nick.to_owned());
            return self.welcome(id);
        }
        ControlFlow::Continue(())
    }

    /// Lets a guest in who has said NICK and USER, or sends them away.
    fn welcome(&mut self, id: Id) -> ControlFlow<String> {
        let guest = &self.guests[&id];
        let (Some(nick), Some(_)) = (guest.nick.clone(), &guest.user) else {
            return ControlFlow::Continue(());
        };
        if self.rules.password.is_some() && guest.password != self.rules.password {
            self.reply(id, "464", ["Password incorrect"]);
            return ControlFlow::Break("Bad password".into());
        }
        if self.rules.banned.as_ref() == Some(&nick) {
            self.reply(id, "465", ["You are banned from this server"]);
            return ControlFlow::Break("Banned".into());
        }
        if let Some(wait) = self.turn(&nick) {
            let millis = wait.as_micros().div_ceil(1000);
            let reason = format!("Too many logins [retry-after-ms={millis}]");
            return ControlFlow::Break(reason);
        }
        self.guest(id).registered = true;
        self.reply(id, "001", [&format!("Welcome, {nick}")]);
        self.reply(id, "002", [&format!("Your host is {NAME}")]);
        self.reply(id, "003", ["This server began with this process"]);
        self.reply(id, "004", [NAME, "redial-example", "o", "n"]);
        self.reply(id, "422", ["There is no message of the day"]);
        ControlFlow::Continue(())
    }

    /// How long this guest has to wait for their turn, if at all.
    ///
    /// A turn is a token that is taken in advance, so that no two guests have
    /// the same, and who keeps to it finds it kept.
    fn turn(&mut self, nick: &str) -> Option<Duration> {
        let logins = self.rules.logins.as_ref()?;
        let now = Instant::now();
        self.turns.retain(|_, turn| *turn + MISSED > now);
        let turn = self.turns.entry(nick.to_ascii_lowercase());
        let turn = *turn.or_insert_with(|| now + logins.reserve());
        if turn > now {
            return Some(turn - now);
        }
        self.turns.remove(&nick.to_ascii_lowercase());
        None
    }

    fn join(&mut self, id: Id, channel: &str) {
        let name = channel.to_ascii_lowercase();
        let is_name = name.len() <= 50 && name.len() > 1 && name.starts_with('#');
        if !is_name || name.contains(|c: char| c.is_control() || c == ' ') {
            return self.reply(id, "403", [channel, "No such channel"]);
        }
        if !self.channels.entry(name.clone()).or_default().insert(id) {
            return;
        }
        let message = self.by_guest(id, "JOIN", [&name]);
        self.tell(&name, &message, None);
        self.names(id, &name);
    }

    fn part(&mut self, id: Id, channel: &str) {
        let name = channel.to_ascii_lowercase();
        if !self.is_member(id, &name) {
            return self.reply(id, "442", [channel, "You are not on that channel"]);
        }
        let message = self.by_guest(id, "PART", [&name]);
        self.tell(&name, &message, None);
        if let Some(members) = self.channels.get_mut(&name) {
            members.remove(&id);
        }
        self.channels.retain(|_, members| !members.is_empty());
    }

    fn names(&mut self, id: Id, name: &str) {
        let members = self.channels.get(name).into_iter().flatten();
        let nicks: Vec<String> = members.map(|m| self.guests[m].nick().to_owned()).collect();
        // Ten nicks of at most 30 bytes fit into a line.
        for some in nicks.chunks(10) {
            self.reply(id, "353", ["=", name, &some.join(" ")]);
        }
        self.reply(id, "366", [name, "End of NAMES list"]);
    }

    fn pass_on(&mut self, id: Id, message: &Message) {
        let [target, text] = [message.param(0), message.param(1)];
        if text.is_empty() {
            return self.reply(id, "412", ["No text to send"]);
        }
        let name = target.to_ascii_lowercase();
        let copy = self.by_guest(id, &message.command, [target, text]);
        if self.is_member(id, &name) {
            self.tell(&name, &copy, Some(id));
        } else if target.starts_with('#') {
            self.reply(id, "404", [target, "Cannot send to channel"]);
        } else if let Some(reader) = self.find(target) {
            self.send(reader, copy);
        } else {
            self.reply(id, "401", [target, "No such nick"]);
        }
    }

    fn guest(&mut self, id: Id) -> &mut Guest {
        self.guests.get_mut(&id).expect("a guest stays until leave")
    }

    fn find(&self, nick: &str) -> Option<Id> {
        let has_it = |guest: &Guest| guest.nick().eq_ignore_ascii_case(nick);
        let mut guests = self.guests.iter();
        guests.find(|(_, guest)| has_it(guest)).map(|(&id, _)| id)
    }

    fn is_member(&self, id: Id, name: &str) -> bool {
        self.channels.get(name).is_some_and(|m| m.contains(&id))
    }

    /// Who shares a channel with a guest.
    fn witnesses(&self, id: Id) -> BTreeSet<Id> {
        let shared = self.channels.values().filter(|m| m.contains(&id));
        shared.flatten().copied().filter(|&m| m != id).collect()
    }

    fn by_guest<const N: usize>(&self, id: Id, command: &str, params: [&str; N]) -> Message {
        Message::new(command, params).sent_by(&self.guests[&id].prefix())
    }

    fn reply<const N: usize>(&mut self, id: Id, numeric: &str, params: [&str; N]) {
        let mut message = Message::new(numeric, params).sent_by(NAME);
        // All but the last may be the guest's own words, which need not be fit
        // to stand there.
        for param in message.params.iter_mut().rev().skip(1) {
            let word = fit(param, 50).0.replace([' ', ':'], "_");
            *param = if word.is_empty() { "*".into() } else { word };
        }
        message.params.insert(0, self.guests[&id].nick().to_owned());
        self.send(id, message);
    }

    fn tell(&mut self, channel: &str, message: &Message, except: Option<Id>) {
        let members = self.channels.get(channel).cloned().unwrap_or_default();
        for member in members.into_iter().filter(|&m| Some(m) != except) {
            self.send(member, message.clone());
        }
    }

    /// Queues a message; the prefix that it got here may have made it too long.
    fn send(&mut self, id: Id, message: Message) {
        let guest = self.guest(id);
        if let Some(replies) = &guest.replies {
            if replies.try_send(message.cut()).is_err() {
                guest.replies = None;
            }
        }
    }
}

/// RFC 2812, section 2.3.1, but up to 30 bytes.
fn is_nick(nick: &str) -> bool {
    let special = |c: char| "[]\\`_^{|}".contains(c);
    nick.len() <= 30
        && nick.starts_with(|c: char| c.is_ascii_alphabetic() || special(c))
        && nick
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || special(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep_until;

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
    async fn members_see_each_other_come_talk_and_go() {
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
        bob.say("NICK rob").await;
        ann.hears(":bob!u@127.0.0.1 NICK rob").await;
        bob.hears(":bob!u@127.0.0.1 NICK rob").await;
        bob.say("PART #room").await;
        ann.hears(":rob!u@127.0.0.1 PART #room").await;
        bob.hears(":rob!u@127.0.0.1 PART #room").await;
        bob.say("PRIVMSG #room :still there?").await;
        bob.hears(":irc.redial.example 404 rob #room :Cannot send to channel")
            .await;
        bob.say("JOIN #room").await;
        ann.hears(":rob!u@127.0.0.1 JOIN #room").await;
        bob.say("QUIT :good night").await;
        ann.hears(":rob!u@127.0.0.1 QUIT :Quit: good night").await;
    }

    #[tokio::test]
    async fn a_nick_belongs_to_one_guest_until_they_leave() {
        let server = start(Rules::default()).await;
        let mut ann = Client::join(&server, "ann").await;
        let mut other = Client::join(&server, "other").await;
        ann.hears(":other!u@127.0.0.1 JOIN #room").await;
        other.say("NICK ANN").await;
        other
            .hears(":irc.redial.example 433 other ANN :Nickname is already in use")
            .await;
        drop(ann);
        other
            .hears(":ann!u@127.0.0.1 QUIT :Connection closed")
            .await;
        other.say("NICK ANN").await;
        other.hears(":other!u@127.0.0.1 NICK ANN").await;
    }

    #[tokio::test]
    async fn a_wrong_password_and_a_banned_nick_are_told_why() {
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
    async fn a_full_server_gives_each_guest_a_turn_and_keeps_it() {
        let period = Duration::from_millis(400);
        let server = start(Rules {
            logins: Some(TokenBucket::new(1, period)),
            ..Rules::default()
        })
        .await;
        Client::log_in(&server, "ann").await;
        let mut turns = Vec::new();
        for nick in ["bob", "cat", "bob"] {
            let mut client = Client::connect(&server).await;
            client.say(&format!("NICK {nick}")).await;
            client.say("USER u 0 * :someone").await;
            let last = client.hear().await;
            let (_, token) = last.text().split_once("[retry-after-ms=").unwrap();
            let wait = token.strip_suffix(']').unwrap().parse().unwrap();
            turns.push(Instant::now() + Duration::from_millis(wait));
        }
        let apart = turns[1] - turns[0];
        assert!(
            apart.abs_diff(period) < period / 4,
            "a period apart: {apart:?}"
        );
        assert!(turns[2] < turns[1], "asked again, bob has the same turn");
        sleep_until(turns[2]).await;
        Client::log_in(&server, "bob").await;
        sleep_until(turns[1]).await;
        Client::log_in(&server, "cat").await;
    }

    #[tokio::test]
    async fn strange_input_is_answered_and_does_no_harm() {
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
            "cut, but whole characters"
        );
    }

    #[tokio::test]
    async fn who_does_not_log_in_or_answer_is_dropped() {
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
