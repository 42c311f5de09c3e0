//! The state that the guests of the embedded server share: nicks, channels and
//! turns to log in.

// The tests include this file by its path, so its module needs a path, too.
#[path = "moves.rs"]
mod moves;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use redial::TokenBucket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::moves::MOVED;
use crate::irc::{Message, fit};

/// The server's name, which is the prefix of its own replies.
const NAME: &str = "irc.redial.example";
/// A guest with this many unread messages is dropped.
const SEND_QUEUE: usize = 256;
/// A turn expires this long after it began.
const MISSED: Duration = Duration::from_secs(30);

/// Which guests the server lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The password that every guest must send (PASS).
    pub(crate) password: Option<String>,
    /// A nick that may not log in.
    pub(crate) banned: Option<String>,
    /// Limits the logins of all guests. If there is no token, the guest gets a turn.
    pub(crate) logins: Option<TokenBucket>,
}

pub(crate) type Id = u64;

#[derive(Debug)]
pub(crate) struct Hub {
    rules: Rules,
    last_id: Id,
    guests: HashMap<Id, Guest>,
    /// The members of each channel, by its name in lower case.
    channels: HashMap<String, BTreeSet<Id>>,
    /// The time of each guest's turn, by nick.
    turns: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Guest {
    /// Where the guest can go if it must leave this address.
    other: SocketAddr,
    nick: Option<String>,
    user: Option<String>,
    password: Option<String>,
    is_registered: bool,
    /// The guest was asked to move. So its next connection may log in with its nick.
    moves: bool,
    /// The connection that this one follows after a move.
    old: Option<Id>,
    /// The connection that has taken this one's place in the channels.
    next: Option<Id>,
    /// What waits until the old connection has read all that was sent to it, so that the
    /// guest reads everything in order.
    held: Option<Vec<Message>>,
    /// `None` after the last message.
    replies: Option<mpsc::Sender<Message>>,
    parting: String,
}

impl Guest {
    fn nick(&self) -> &str {
        self.nick.as_deref().unwrap_or("*")
    }

    fn has_nick(&self, nick: &str) -> bool {
        self.nick().eq_ignore_ascii_case(nick)
    }
}

impl Hub {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            last_id: 0,
            guests: HashMap::new(),
            channels: HashMap::new(),
            turns: HashMap::new(),
        }
    }

    /// Adds a guest that has connected, and can move to the `other` address. The receiver
    /// yields the messages for the guest.
    pub(crate) fn enter(&mut self, other: SocketAddr) -> (Id, mpsc::Receiver<Message>) {
        let (replies, receiver) = mpsc::channel(SEND_QUEUE);
        let guest = Guest {
            other,
            nick: None,
            user: None,
            password: None,
            is_registered: false,
            moves: false,
            old: None,
            next: None,
            held: None,
            replies: Some(replies),
            parting: "Connection closed".to_owned(),
        };
        self.last_id += 1;
        self.guests.insert(self.last_id, guest);
        (self.last_id, receiver)
    }

    /// Removes a guest whose connection has ended.
    pub(crate) fn leave(&mut self, id: Id) {
        self.give_back(id);
        if let Some(next) = self.guests[&id].next {
            self.release(next);
        }
        // A guest that has moved is in no channel here, so nobody hears of its end.
        let message = self.by_guest(id, "QUIT", [&self.guests[&id].parting]);
        for witness in self.witnesses(id) {
            self.send(witness, message.clone());
        }
        self.guests.remove(&id);
        self.channels.retain(|_, members| {
            members.remove(&id);
            !members.is_empty()
        });
    }

    /// Sends a guest the reason as its last message. Then the connection ends.
    pub(crate) fn dismiss(&mut self, id: Id, reason: &str) {
        let last = Message::new("ERROR", [&format!("Closing link: {reason}")]);
        self.send(id, last);
        let guest = self.guest(id);
        guest.replies = None;
        reason.clone_into(&mut guest.parting);
    }

    pub(crate) fn ping(&mut self, id: Id) {
        self.send(id, Message::new("PING", [NAME]));
    }

    /// Obeys a message of a guest. Returns whether the guest is logged in.
    pub(crate) fn obey(&mut self, id: Id, message: &Message) -> bool {
        let is_registered = self.guests[&id].is_registered;
        match message.command.as_str() {
            "PING" => {
                let pong = Message::new("PONG", [NAME, message.text()]);
                self.send(id, pong.sent_by(NAME));
            }
            "PONG" => {
                let next = self.guests[&id].next;
                if let Some(next) = next.filter(|_| message.text() == MOVED) {
                    self.release(next);
                }
            }
            "QUIT" => self.dismiss(id, &format!("Quit: {}", message.text())),
            "PASS" | "NICK" | "USER" if is_registered => {
                self.reply(id, "462", ["You have logged in already"]);
            }
            "PASS" => self.guest(id).password = Some(message.param(0).to_owned()),
            "NICK" => self.nick(id, message.param(0)),
            "USER" if message.params.len() < 4 => {
                self.reply(id, "461", ["USER", "Not enough parameters"]);
            }
            "USER" => {
                self.guest(id).user = Some(fit(message.param(0), 10).0.to_owned());
                self.welcome(id);
            }
            _ if !is_registered => self.reply(id, "451", ["You have not logged in"]),
            "JOIN" | "PART" | "NAMES" if message.params.is_empty() => {
                self.reply(id, "461", [&message.command, "Not enough parameters"]);
            }
            "JOIN" => message.param(0).split(',').for_each(|c| self.join(id, c)),
            "PART" => message.param(0).split(',').for_each(|c| self.part(id, c)),
            "NAMES" => self.names(id, &message.param(0).to_ascii_lowercase()),
            "PRIVMSG" | "NOTICE" => self.pass_on(id, message),
            _ => self.reply(id, "421", [&message.command, "Unknown command"]),
        }
        self.guests[&id].is_registered
    }

    fn nick(&mut self, id: Id, nick: &str) {
        if nick.is_empty() {
            self.reply(id, "431", ["No nickname given"]);
        } else if !is_nick(nick) {
            self.reply(id, "432", [nick, "Erroneous nickname"]);
        } else if self.is_taken(nick, id) {
            self.reply(id, "433", [nick, "Nickname is already in use"]);
        } else {
            self.guest(id).nick = Some(nick.to_owned());
            self.welcome(id);
        }
    }

    /// Lets a guest in after NICK and USER, or sends the guest away.
    fn welcome(&mut self, id: Id) {
        let guest = &self.guests[&id];
        let (Some(nick), Some(_)) = (guest.nick.clone(), &guest.user) else {
            return;
        };
        if self.rules.password.is_some() && guest.password != self.rules.password {
            self.reply(id, "464", ["Password incorrect"]);
            return self.dismiss(id, "Bad password");
        }
        if self.rules.banned.as_ref() == Some(&nick) {
            self.reply(id, "465", ["You are banned from this server"]);
            return self.dismiss(id, "Banned");
        }
        if let Some(wait) = self.turn(&nick) {
            // Rounded up, so that no guest comes before its turn.
            let millis = wait.as_micros().div_ceil(1000);
            let reason = format!("Too many logins [retry-after-ms={millis}]");
            return self.dismiss(id, &reason);
        }
        // The nick was not taken, so whoever has it was asked to move.
        let old = self.find(&nick);
        let guest = self.guest(id);
        guest.is_registered = true;
        guest.old = old;
        self.reply(id, "001", [&format!("Welcome, {nick}")]);
        self.reply(id, "002", [&format!("Your host is {NAME}")]);
        self.reply(id, "003", ["This server began with this process"]);
        self.reply(id, "004", [NAME, "redial-example", "o", "n"]);
        self.reply(id, "422", ["There is no message of the day"]);
    }

    /// How long this guest must wait for its turn; `None` if it may log in now.
    ///
    /// A turn is a reserved token. So each guest has its own turn, and a guest that
    /// comes at its turn can log in.
    fn turn(&mut self, nick: &str) -> Option<Duration> {
        let logins = self.rules.logins.as_ref()?;
        let now = Instant::now();
        self.turns.retain(|_, turn| *turn + MISSED > now);
        let nick = nick.to_ascii_lowercase();
        let turn = self.turns.remove(&nick);
        let turn = turn.unwrap_or_else(|| now + logins.reserve().wait());
        if turn <= now {
            return None;
        }
        self.turns.insert(nick, turn);
        Some(turn - now)
    }

    fn join(&mut self, id: Id, channel: &str) {
        let name = channel.to_ascii_lowercase();
        let is_name = name.len() <= 50 && name.len() > 1 && name.starts_with('#');
        if !is_name || name.contains(|c: char| c.is_control() || c == ' ') {
            return self.reply(id, "403", [channel, "No such channel"]);
        }
        let has_moved = self.take_over(id);
        let message = self.by_guest(id, "JOIN", [&name]);
        if self.channels.entry(name.clone()).or_default().insert(id) {
            self.tell(&name, &message, None);
            self.names(id, &name);
        } else if has_moved {
            // The others have seen this guest all the time.
            self.send(id, message);
            self.names(id, &name);
        }
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
        let name = target.to_ascii_lowercase();
        let copy = self.by_guest(id, &message.command, [target, text]);
        // A guest that moves may still speak on its old connection.
        let id = self.guests[&id].next.unwrap_or(id);
        if text.is_empty() {
            self.reply(id, "412", ["No text to send"]);
        } else if self.is_member(id, &name) {
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

    /// The guest with a nick, by its newest connection.
    fn find(&self, nick: &str) -> Option<Id> {
        let is_here = |guest: &Guest| guest.is_registered && guest.next.is_none();
        let mut guests = self.guests.iter();
        guests
            .find(|(_, guest)| is_here(guest) && guest.has_nick(nick))
            .map(|(&id, _)| id)
    }

    /// Whether another guest has a nick, and was not asked to move.
    fn is_taken(&self, nick: &str, id: Id) -> bool {
        let mut others = self.guests.iter().filter(|&(&other, _)| other != id);
        others.any(|(_, other)| other.has_nick(nick) && !other.moves)
    }

    fn is_member(&self, id: Id, name: &str) -> bool {
        self.channels.get(name).is_some_and(|m| m.contains(&id))
    }

    /// The guests that share a channel with this guest.
    fn witnesses(&self, id: Id) -> BTreeSet<Id> {
        let shared = self.channels.values().filter(|m| m.contains(&id));
        shared.flatten().copied().filter(|&m| m != id).collect()
    }

    fn by_guest<const N: usize>(&self, id: Id, command: &str, params: [&str; N]) -> Message {
        let guest = &self.guests[&id];
        let user = guest.user.as_deref().unwrap_or("*");
        Message::new(command, params).sent_by(&format!("{}!{user}@127.0.0.1", guest.nick()))
    }

    fn reply<const N: usize>(&mut self, id: Id, numeric: &str, params: [&str; N]) {
        let mut message = Message::new(numeric, params).sent_by(NAME);
        // The parameters before the last may repeat the guest's own words. These
        // may be illegal in the middle of a line.
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

    /// Queues a message, and cuts it if the server's prefix has made it too long.
    fn send(&mut self, id: Id, message: Message) {
        let guest = self.guest(id);
        let queue = guest.replies.as_ref();
        let is_full = match (queue, &mut guest.held) {
            (Some(_), Some(held)) => {
                held.push(message);
                held.len() > SEND_QUEUE
            }
            (Some(queue), None) => queue.try_send(message.cut()).is_err(),
            (None, _) => false,
        };
        if is_full {
            guest.replies = None;
            "SendQ exceeded".clone_into(&mut guest.parting);
        }
    }
}

/// Whether a nick is valid by RFC 2812, section 2.3.1, but with up to 30 bytes.
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
    use std::net::Ipv4Addr;
    use tokio::time::advance;

    pub(super) const ELSEWHERE: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7001);

    pub(super) fn log_in(hub: &mut Hub, nick: &str) -> (Id, mpsc::Receiver<Message>) {
        let (id, replies) = hub.enter(ELSEWHERE);
        for line in [&format!("NICK {nick}"), "USER u 0 * :x"] {
            hub.obey(id, &Message::parse(line).unwrap());
        }
        (id, replies)
    }

    pub(super) fn join(hub: &mut Hub, nick: &str) -> (Id, mpsc::Receiver<Message>) {
        let (id, mut replies) = log_in(hub, nick);
        hub.obey(id, &Message::new("JOIN", ["#room"]));
        while replies.try_recv().is_ok_and(|reply| reply.command != "366") {}
        (id, replies)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_server_gives_each_guest_a_turn_and_keeps_it() {
        let mut hub = Hub::new(Rules {
            logins: Some(TokenBucket::new(1, Duration::from_secs(1))),
            ..Rules::default()
        });
        let mut answer = |nick: &str| {
            let (id, mut replies) = log_in(&mut hub, nick);
            hub.leave(id);
            replies.try_recv().unwrap().text().to_owned()
        };
        let turn = |millis| format!("Closing link: Too many logins [retry-after-ms={millis}]");
        assert_eq!(answer("ann"), "Welcome, ann");
        assert_eq!(answer("bob"), turn(1000));
        assert_eq!(answer("cat"), turn(2000));
        advance(Duration::from_micros(999_500)).await;
        assert_eq!(answer("bob"), turn(1), "the same turn, rounded up");
        advance(Duration::from_millis(1)).await;
        assert_eq!(answer("dan"), turn(2000), "bob's place is kept");
        assert_eq!(answer("bob"), "Welcome, bob");
        advance(Duration::from_secs(1) + MISSED).await;
        assert_eq!(answer("cat"), "Welcome, cat", "the bucket is full again");
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped_and_delays_no_other() {
        let mut hub = Hub::new(Rules::default());
        let (deaf, mut unread) = join(&mut hub, "deaf");
        let (ann, mut replies) = join(&mut hub, "ann");
        for _ in 0..2 * SEND_QUEUE {
            hub.obey(ann, &Message::new("PRIVMSG", ["#room", "hello"]));
        }
        let mut kept = 0;
        while unread.try_recv().is_ok() {
            kept += 1;
        }
        assert_eq!(kept, SEND_QUEUE);
        assert!(unread.is_closed(), "so the connection ends");
        hub.leave(deaf);
        let quit = replies.try_recv().unwrap();
        assert_eq!(quit.to_string(), ":deaf!u@127.0.0.1 QUIT :SendQ exceeded");
    }
}
