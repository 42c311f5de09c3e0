//! How a guest moves: its next connection takes the place of the present one.

use super::{Guest, Hub, Id, NAME};
use crate::irc::Message;

/// The answer to a PING with this text says that a guest has read all that came before.
pub(super) const MOVED: &str = "moved";

impl Hub {
    /// Asks each guest to move to another address (`RPL_BOUNCE`).
    pub(crate) fn ask_to_move(&mut self) {
        let guests = self.guests.iter();
        let here = guests.filter(|(_, guest)| guest.is_registered && guest.next.is_none());
        for id in here.map(|(&id, _)| id).collect::<Vec<_>>() {
            let guest = self.guest(id);
            guest.moves = true;
            let [host, port] = [guest.other.ip().to_string(), guest.other.port().to_string()];
            self.reply(id, "010", [&host, &port, "Please use this server"]);
        }
    }

    /// Puts a guest that has moved in its old place, in all channels. Returns whether it
    /// has just moved.
    ///
    /// Each line goes to one of its two connections, and those to the new one are held
    /// until the guest has read those to the old one.
    pub(super) fn take_over(&mut self, id: Id) -> bool {
        let old = self.guests[&id].old;
        let old = old.filter(|old| self.guests.get(old).is_some_and(|old| old.next.is_none()));
        let Some(old) = old else { return false };
        self.replace(old, id);
        self.guest(old).next = Some(id);
        self.guest(id).held = Some(Vec::new());
        self.send(old, Message::new("PING", [MOVED]));
        true
    }

    /// Sends what was held.
    pub(super) fn release(&mut self, id: Id) {
        let held = self.guests.get_mut(&id).and_then(|guest| guest.held.take());
        for message in held.into_iter().flatten() {
            self.send(id, message);
        }
    }

    /// If the new connection of a guest ends before the old one, the old one gets the
    /// place back, and the lines that the guest did not read.
    pub(super) fn give_back(&mut self, id: Id) {
        let old = self.guests[&id].old;
        let follows = |guest: &Guest| guest.next == Some(id);
        let old = old.filter(|old| self.guests.get(old).is_some_and(follows));
        let Some(old) = old else { return };
        self.replace(id, old);
        self.guest(old).next = None;
        let nick = self.guests[&id].nick().to_owned();
        let held = self.guest(id).held.take();
        // Not the answers to its login.
        let is_foreign = |message: &Message| ![NAME, &nick].contains(&message.sender());
        for message in held.into_iter().flatten().filter(is_foreign) {
            self.send(old, message);
        }
    }

    /// One guest takes the place of another one, in all channels.
    fn replace(&mut self, id: Id, by: Id) {
        for members in self.channels.values_mut() {
            if members.remove(&id) {
                members.insert(by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rules;
    use super::super::tests::{ELSEWHERE, join, log_in};
    use super::*;
    use tokio::sync::mpsc;

    fn say(hub: &mut Hub, id: Id, text: &str) {
        hub.obey(id, &Message::new("PRIVMSG", ["#room", text]));
    }

    fn unread(replies: &mut mpsc::Receiver<Message>) -> Vec<String> {
        let messages = std::iter::from_fn(|| replies.try_recv().ok());
        messages.map(|message| message.to_string()).collect()
    }

    /// Ann moves, as far as her new connection's JOIN. Returns its messages after the login.
    fn moving(hub: &mut Hub, old: &mut mpsc::Receiver<Message>) -> (Id, mpsc::Receiver<Message>) {
        hub.ask_to_move();
        assert_eq!(
            unread(old),
            [":irc.redial.example 010 ann 127.0.0.1 7001 :Please use this server"]
        );
        let (next, mut replies) = log_in(hub, "ann");
        while replies.try_recv().is_ok_and(|reply| reply.command != "422") {}
        say(hub, 1, "1");
        hub.obey(next, &Message::new("JOIN", ["#room"]));
        (next, replies)
    }

    #[test]
    fn a_guest_that_moves_reads_each_line_once_and_in_order_and_nobody_sees_it() {
        let mut hub = Hub::new(Rules::default());
        let (bob, mut bobs) = join(&mut hub, "bob");
        let (old, mut olds) = join(&mut hub, "ann");
        unread(&mut bobs);
        let (next, mut nexts) = moving(&mut hub, &mut olds);
        assert_eq!(unread(&mut bobs).len(), 1, "only the request to move");
        say(&mut hub, bob, "2");
        say(&mut hub, old, "on the old one");
        assert_eq!(
            unread(&mut olds),
            [":bob!u@127.0.0.1 PRIVMSG #room 1", "PING moved"]
        );
        assert!(unread(&mut nexts).is_empty(), "not before the PONG");
        hub.obey(old, &Message::new("PONG", ["moved"]));
        say(&mut hub, bob, "3");
        say(&mut hub, next, "on the new one");
        assert_eq!(
            unread(&mut nexts),
            [
                ":ann!u@127.0.0.1 JOIN #room",
                ":irc.redial.example 353 ann = #room :bob ann",
                ":irc.redial.example 366 ann #room :End of NAMES list",
                ":bob!u@127.0.0.1 PRIVMSG #room 2",
                ":bob!u@127.0.0.1 PRIVMSG #room 3",
            ]
        );
        hub.leave(old);
        assert_eq!(
            unread(&mut bobs),
            [
                ":ann!u@127.0.0.1 PRIVMSG #room :on the old one",
                ":ann!u@127.0.0.1 PRIVMSG #room :on the new one",
            ]
        );
        let (thief, mut answers) = hub.enter(ELSEWHERE);
        hub.obey(thief, &Message::new("NICK", ["ann"]));
        assert_eq!(answers.try_recv().unwrap().command, "433");
    }

    #[test]
    fn a_guest_whose_move_fails_reads_on_as_if_nothing_had_happened() {
        let mut hub = Hub::new(Rules::default());
        let (bob, mut bobs) = join(&mut hub, "bob");
        let (old, mut olds) = join(&mut hub, "ann");
        let (next, _) = moving(&mut hub, &mut olds);
        unread(&mut bobs);
        say(&mut hub, bob, "2");
        hub.leave(next);
        hub.obey(old, &Message::new("PONG", ["moved"]));
        say(&mut hub, bob, "3");
        let heard = unread(&mut olds).join(", ");
        let line = ":bob!u@127.0.0.1 PRIVMSG #room";
        assert_eq!(heard, format!("{line} 1, PING moved, {line} 2, {line} 3"));
        say(&mut hub, old, "still here");
        assert_eq!(
            unread(&mut bobs),
            [":ann!u@127.0.0.1 PRIVMSG #room :still here"]
        );
    }
}
