//! Keeps each line until the server has it.

use std::collections::VecDeque;

use crate::irc::{Message, fit};

/// How many messages wait if a person types. The person sees when a line is refused.
pub(crate) const ROOM: usize = 100;

/// How many messages wait if the input is a pipe. At this number, reading stops, and
/// the end of the input is not noticed. So the number is large.
pub(crate) const PIPE_ROOM: usize = 10_000;

/// How many messages go out at a time. A server drops a client that sends faster
/// than the server reads, and by RFC 2812, section 5.8, it reads about five without
/// a pause.
const BATCH: usize = 5;

/// The bytes of text in one message. The server puts `:nick!user@host` in
/// front when it passes a message on, and cuts what then exceeds 512 bytes.
const TEXT: usize = 300;

/// The messages that may not have arrived yet, oldest first.
///
/// IRC confirms no message, but a server obeys in order. So each batch ends with
/// a PING, and the PONG confirms the batch. If the connection breaks before the
/// PONG, the batch may have arrived or not. Sending it again could say everything
/// twice, so only the person can decide that.
#[derive(Debug)]
pub(crate) struct Outbox {
    room: usize,
    waiting: VecDeque<String>,
    under_way: Vec<String>,
    /// The number of the latest batch, which its PING carries.
    number: u64,
}

impl Outbox {
    /// An outbox in which `room` messages can wait.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            number: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether messages were sent that the server has not confirmed.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < self.room
    }

    /// How many messages wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a line, as several messages if it is too long for one; `false` if there
    /// is no room.
    pub(crate) fn push(&mut self, line: &str) -> bool {
        if !self.has_room() {
            return false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let (text, after) = fit(rest, TEXT);
            self.waiting.push_back(text.to_owned());
            rest = after;
        }
        true
    }

    /// The messages to send now; none while a batch is under way.
    pub(crate) fn next_batch(&mut self, channel: &str) -> Vec<Message> {
        if self.waiting.is_empty() || !self.under_way.is_empty() {
            return Vec::new();
        }
        let size = self.waiting.len().min(BATCH);
        self.under_way.extend(self.waiting.drain(..size));
        self.number += 1;
        let texts = self.under_way.iter();
        texts
            .map(|text| Message::new("PRIVMSG", [channel, text]))
            .chain([Message::new("PING", [&self.number.to_string()])])
            .collect()
    }

    /// Records a PONG. The answer to any other PING changes nothing.
    pub(crate) fn confirm(&mut self, pong: &Message) {
        if pong.text() == self.number.to_string() {
            self.under_way.clear();
        }
    }

    /// Takes out the messages that may have arrived or not. Called when the
    /// connection is lost.
    pub(crate) fn doubtful(&mut self) -> Vec<String> {
        std::mem::take(&mut self.under_way)
    }

    /// Takes out the messages that were never sent. Called at the end of the
    /// program.
    pub(crate) fn unsent(&mut self) -> Vec<String> {
        self.waiting.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(messages: &[Message]) -> Vec<String> {
        messages.iter().map(ToString::to_string).collect()
    }

    fn pong(token: &str) -> Message {
        Message::new("PONG", ["server", token]).sent_by("server")
    }

    #[test]
    fn lines_go_out_in_order_a_batch_at_a_time() {
        let mut outbox = Outbox::new(ROOM);
        for line in ["1", "2", "3", "4", "5", "6"] {
            assert!(outbox.push(line));
        }
        assert_eq!(
            lines(&outbox.next_batch("#a")),
            [
                "PRIVMSG #a 1",
                "PRIVMSG #a 2",
                "PRIVMSG #a 3",
                "PRIVMSG #a 4",
                "PRIVMSG #a 5",
                "PING 1"
            ]
        );
        assert!(outbox.next_batch("#a").is_empty(), "not before the PONG");
        outbox.confirm(&pong("redial"));
        assert!(outbox.next_batch("#a").is_empty(), "that was another PONG");
        outbox.confirm(&pong("1"));
        assert_eq!(lines(&outbox.next_batch("#a")), ["PRIVMSG #a 6", "PING 2"]);
        assert!(!outbox.is_empty());
        outbox.confirm(&pong("2"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_batch_under_way_at_a_loss_is_not_sent_again() {
        let mut outbox = Outbox::new(ROOM);
        for number in 1..=7 {
            outbox.push(&number.to_string());
        }
        outbox.next_batch("#a");
        assert_eq!(outbox.doubtful(), ["1", "2", "3", "4", "5"]);
        assert_eq!(
            lines(&outbox.next_batch("#a")),
            ["PRIVMSG #a 6", "PRIVMSG #a 7", "PING 2"]
        );
        assert_eq!(outbox.doubtful(), ["6", "7"]);
        assert!(outbox.unsent().is_empty());
    }

    #[test]
    fn a_line_is_refused_if_there_is_no_room() {
        let mut outbox = Outbox::new(ROOM);
        for _ in 0..ROOM {
            assert!(outbox.push("x"));
        }
        assert!(!outbox.push("one too many"));
        outbox.next_batch("#a");
        assert!(outbox.push("room again"));
        assert_eq!(outbox.unsent().len(), ROOM - BATCH + 1);
    }

    proptest! {
        #[test]
        fn a_long_line_arrives_whole(line in "\\PC{1,2000}") {
            let mut outbox = Outbox::new(ROOM);
            outbox.push(&line);
            let mut arrived = String::new();
            while !outbox.is_empty() {
                for message in outbox.next_batch("#a") {
                    if message.command == "PING" {
                        outbox.confirm(&pong(message.text()));
                    } else {
                        let passed_on = message.clone().sent_by(&"n".repeat(105));
                        prop_assert_eq!(&passed_on.clone().cut(), &passed_on);
                        arrived += message.text();
                    }
                }
            }
            prop_assert_eq!(arrived, line);
        }
    }
}
