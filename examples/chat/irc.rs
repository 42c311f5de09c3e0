//! IRC messages (RFC 2812, section 2.3) and their codec.

use std::fmt;
use std::io;

use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// The longest line that may be sent, CR LF included (RFC 2812, section 2.3).
pub(crate) const LONGEST: usize = 512;

/// The longest line that is read. `IRCv3` allows 8191 bytes of tags before the
/// message. A longer line is an error, so that a peer cannot fill the memory.
const LONGEST_READ: usize = 8191 + LONGEST;

/// The most parameters of a message; the last one takes the rest of the line.
const MOST_PARAMS: usize = 15;

/// One message: its sender, its command and its parameters.
///
/// Only the last parameter can be empty, contain a space or start with a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `nick!user@host`, or a server's name.
    pub(crate) prefix: Option<String>,
    /// In capitals, or the three digits of a numeric reply.
    pub(crate) command: String,
    pub(crate) params: Vec<String>,
}

impl Message {
    pub(crate) fn new<const N: usize>(command: &str, params: [&str; N]) -> Self {
        Self {
            prefix: None,
            command: command.to_owned(),
            params: params.map(str::to_owned).to_vec(),
        }
    }

    /// Adds the sender, as a server does when it passes a message on.
    pub(crate) fn sent_by(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Reads a line without its end; `None` if it has no command.
    ///
    /// Skips `IRCv3` tags, because this client does not use them.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut rest = line.trim_start_matches(' ');
        if rest.starts_with('@') {
            rest = word(rest).1;
        }
        let mut prefix = None;
        if let Some(prefixed) = rest.strip_prefix(':') {
            let (sender, message) = word(prefixed);
            prefix = (!sender.is_empty()).then(|| sender.to_owned());
            rest = message;
        }
        let (command, mut rest) = word(rest);
        if !is_command(command) {
            return None;
        }
        let mut params = Vec::new();
        while !rest.is_empty() {
            let trailing = rest.strip_prefix(':');
            if trailing.is_some() || params.len() + 1 == MOST_PARAMS {
                params.push(trailing.unwrap_or(rest).to_owned());
                break;
            }
            let (param, after) = word(rest);
            params.push(param.to_owned());
            rest = after;
        }
        Some(Self {
            prefix,
            command: command.to_ascii_uppercase(),
            params,
        })
    }

    /// The parameter at `index`, or an empty text.
    pub(crate) fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    /// The last parameter, which is the text of a message.
    pub(crate) fn text(&self) -> &str {
        self.params.last().map_or("", String::as_str)
    }

    /// The sender's nick, or the server's name.
    pub(crate) fn sender(&self) -> &str {
        let prefix = self.prefix.as_deref().unwrap_or("");
        prefix.split('!').next().unwrap_or(prefix)
    }

    /// Shortens the words at the end if the line would be too long to send.
    pub(crate) fn cut(mut self) -> Self {
        let excess = (self.to_string().len() + 2).saturating_sub(LONGEST);
        if let Some(last) = self.params.last_mut() {
            let room = last.len().saturating_sub(excess);
            last.truncate(fit(last, room).0.len());
        }
        self
    }

    /// Whether a peer would parse the line into this same message.
    fn is_well_formed(&self) -> bool {
        let is_word = |s: &str| !s.is_empty() && !s.contains(' ') && !s.starts_with(':');
        let middle = self.params.split_last().map_or(&[][..], |(_, rest)| rest);
        self.prefix.as_deref().is_none_or(is_word)
            && is_command(&self.command)
            && middle.iter().all(|param| is_word(param))
            && self.params.len() <= MOST_PARAMS
    }
}

fn is_command(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The first word, and the text after the spaces behind it.
fn word(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    (first, rest.trim_start_matches(' '))
}

impl fmt::Display for Message {
    /// The line without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = &self.prefix {
            write!(f, ":{prefix} ")?;
        }
        f.write_str(&self.command)?;
        let Some((last, middle)) = self.params.split_last() else {
            return Ok(());
        };
        for param in middle {
            write!(f, " {param}")?;
        }
        let colon = last.is_empty() || last.contains(' ') || last.starts_with(':');
        write!(f, " {}{last}", if colon { ":" } else { "" })
    }
}

/// Splits `text` into a part of at most `room` bytes and the rest. Does not split a
/// character.
pub(crate) fn fit(text: &str, room: usize) -> (&str, &str) {
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end)
}

/// Converts lines to messages and messages to lines.
#[derive(Debug)]
pub(crate) struct IrcCodec;

impl Decoder for IrcCodec {
    type Item = Message;
    type Error = io::Error;

    /// Skips lines without a command. Bytes that are not UTF-8 become U+FFFD, because
    /// another encoding should not end the connection.
    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            if line.len() >= LONGEST_READ {
                return Err(too_long());
            }
            // A line must not contain a CR or NUL, and `encode` would refuse them.
            let text = String::from_utf8_lossy(&line).replace(['\r', '\0'], "");
            if let Some(message) = Message::parse(&text) {
                return Ok(Some(message));
            }
        }
        if buffer.len() >= LONGEST_READ {
            return Err(too_long());
        }
        Ok(None)
    }

    /// Ignores an incomplete line at the end of the stream.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        let message = self.decode(buffer)?;
        if message.is_none() {
            buffer.clear();
        }
        Ok(message)
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the peer's line is too long")
}

impl Encoder<Message> for IrcCodec {
    type Error = io::Error;

    /// Refuses a message that the peer would read differently: one with a line break
    /// or a misplaced space, or one that is too long.
    fn encode(&mut self, message: Message, buffer: &mut BytesMut) -> io::Result<()> {
        let line = message.to_string();
        let fits = line.len() + 2 <= LONGEST && !line.contains(['\r', '\n', '\0']);
        if !fits || !message.is_well_formed() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not an IRC line: {line:?}"),
            ));
        }
        buffer.extend_from_slice(line.as_bytes());
        buffer.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(chunks: &[&[u8]]) -> io::Result<Vec<Message>> {
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(message) = IrcCodec.decode(&mut buffer)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn every_part_of_a_line_is_read() {
        let message =
            Message::parse("@time=12:00;x :ann!a@host.example  privmsg #room  :hello, : world ")
                .unwrap();
        assert_eq!(message.prefix.as_deref(), Some("ann!a@host.example"));
        assert_eq!(message.command, "PRIVMSG");
        assert_eq!(message.params, ["#room", "hello, : world "]);
        assert_eq!(message.sender(), "ann");
        assert_eq!(message.text(), "hello, : world ");
    }

    #[test]
    fn the_fifteenth_parameter_takes_the_rest() {
        let message = Message::parse("X 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17").unwrap();
        assert_eq!(message.params.len(), MOST_PARAMS);
        assert_eq!(message.text(), "15 16 17");
    }

    #[test]
    fn lines_without_a_command_are_skipped() {
        let messages =
            decode_all(&[b"\r\n", b"   \r\n:only-a-prefix\r\n@tag\r\n", b"PING x\n"]).unwrap();
        assert_eq!(messages, [Message::new("PING", ["x"])]);
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_end_the_connection() {
        let messages = decode_all(&[b"PRIVMSG #a :caf\xe9\r\n"]).unwrap();
        assert_eq!(messages, [Message::new("PRIVMSG", ["#a", "caf\u{fffd}"])]);
    }

    #[test]
    fn tags_may_be_as_long_as_ircv3_allows() {
        let line = format!("@{} PING x\r\n", "t".repeat(8189));
        assert_eq!(
            decode_all(&[line.as_bytes()]).unwrap(),
            [Message::new("PING", ["x"])]
        );
    }

    #[test]
    fn a_line_that_is_too_long_to_read_is_an_error() {
        let chunk: &[u8] = &[b'x'; 1000];
        assert!(decode_all(&[chunk; 8]).unwrap().is_empty());
        let error = decode_all(&[chunk; 9]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut whole = vec![b'x'; LONGEST_READ];
        whole.push(b'\n');
        assert!(decode_all(&[&whole]).is_err(), "in one chunk");
    }

    #[test]
    fn half_a_line_at_the_end_of_the_stream_is_dropped() {
        let mut buffer = BytesMut::from(&b"PING 1\r\nPRIVMSG #a :I never"[..]);
        let first = IrcCodec.decode_eof(&mut buffer).unwrap();
        assert_eq!(first, Some(Message::new("PING", ["1"])));
        assert_eq!(IrcCodec.decode_eof(&mut buffer).unwrap(), None);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_message_that_the_peer_would_misread_is_refused() {
        let long = "x".repeat(LONGEST);
        for message in [
            Message::new("PRIVMSG", ["#a", "one\r\nQUIT"]),
            Message::new("PRIVMSG", ["#a", "one\0two"]),
            Message::new("PRIVMSG", ["#a", &long]),
            Message::new("USER", ["two words", "0", "*", "name"]),
            Message::new("USER", ["", "0", "*", "name"]),
            Message::new("USER", [":u", "0", "*", "name"]),
            Message::new("", []),
            Message::new("@X", []),
            Message::new("X", ["y"; 16]),
            Message::new("X", []).sent_by("a b"),
        ] {
            let mut buffer = BytesMut::new();
            let error = IrcCodec
                .encode(message.clone(), &mut buffer)
                .expect_err(&format!("{message:?}"));
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_cut_message_just_fits() {
        let message = Message::new("PRIVMSG", ["#a", &format!(" {}", "ü".repeat(400))]);
        let cut = message.cut();
        assert!((LONGEST - 3..=LONGEST - 2).contains(&cut.to_string().len()));
        assert_eq!(cut.clone().cut(), cut);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(fit("grün", 3), ("gr", "ün"));
        assert_eq!(fit("grün", 4), ("grü", "n"));
        assert_eq!(fit("grün", 99), ("grün", ""));
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let word = "[^: \r\n\0][^ \r\n\0]{0,12}";
        (
            proptest::option::of(word),
            "[A-Z]{1,9}|[0-9]{3}",
            proptest::collection::vec(word, 0..MOST_PARAMS - 1),
            proptest::option::of("[^\r\n\0]{0,30}"),
        )
            .prop_map(|(prefix, command, mut params, last)| {
                params.extend(last);
                Message {
                    prefix,
                    command,
                    params,
                }
            })
            .prop_filter("fits into a line", |m| m.to_string().len() + 2 <= LONGEST)
    }

    proptest! {
        #[test]
        fn an_encoded_message_is_decoded_to_the_same_message(message in any_message()) {
            let mut buffer = BytesMut::new();
            IrcCodec.encode(message.clone(), &mut buffer).unwrap();
            prop_assert!(buffer.ends_with(b"\r\n"));
            prop_assert_eq!(IrcCodec.decode(&mut buffer).unwrap(), Some(message));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn a_decoded_message_can_be_encoded(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut line = bytes;
            line.push(b'\n');
            for message in decode_all(&[&line]).unwrap() {
                if message.to_string().len() + 2 <= LONGEST {
                    IrcCodec.encode(message, &mut BytesMut::new()).unwrap();
                }
            }
        }

        #[test]
        fn messages_do_not_depend_on_how_the_bytes_arrive(
            messages in proptest::collection::vec(any_message(), 0..5),
            cut in 1..40_usize,
        ) {
            let mut wire = BytesMut::new();
            for message in &messages {
                IrcCodec.encode(message.clone(), &mut wire).unwrap();
            }
            let chunks: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(decode_all(&chunks).unwrap(), messages);
        }
    }
}
