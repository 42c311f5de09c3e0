//! The input and the output: plain lines, which also work in a pipe or a file.

use std::io::{self, BufRead, Read, Write};
use std::mem;
use std::thread;
use std::time::Duration;

use redial::{AttemptPhase, Event, Status};
use tokio::sync::mpsc;

use crate::irc::Message;
use crate::trouble::ChatError;

/// The answer to `/help`. Each line fits into 40 columns.
pub(crate) const HELP: [&str; 6] = [
    "/now     do now what is waiting",
    "/quit    leave; so does Ctrl-D",
    "/crash   crash the built-in server",
    "/move    move all to its other address",
    "//hi     send a line that starts with /",
    "Ctrl-R   show again what you are typing",
];

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Text(String),
    Now,
    Quit,
    /// Both work only with the embedded server.
    Crash,
    Move,
    Help,
    Unknown(String),
}

impl From<&str> for Typed {
    fn from(line: &str) -> Self {
        // A message must not contain these.
        let line = line.replace(['\r', '\n', '\0'], "");
        match line.trim_end().strip_prefix('/') {
            None => Self::Text(line),
            Some(text) if text.starts_with('/') => Self::Text(text.to_owned()),
            Some("now") => Self::Now,
            Some("quit") => Self::Quit,
            Some("crash") => Self::Crash,
            Some("move") => Self::Move,
            Some("help") => Self::Help,
            Some(_) => Self::Unknown(line),
        }
    }
}

/// The lines of standard input. The channel closes at the end of the input.
///
/// A thread of its own reads them, and the program ends without waiting for it.
/// With tokio's stdin the program could not end before the next line.
pub(crate) fn keyboard() -> mpsc::Receiver<Typed> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let mut lines = Lines::new(io::stdin().lock());
        // An error of standard input counts as its end.
        while let Ok(Some(typed)) = lines.next() {
            if sender.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The longest line, in bytes. A longer line is read in parts.
const LONGEST_LINE: usize = 4096;

/// Reads lines of bounded length, in any encoding.
struct Lines<R> {
    input: R,
    /// The first bytes of a character at which a long line was cut.
    rest: Vec<u8>,
    is_cut: bool,
    has_ended: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            rest: Vec::new(),
            is_cut: false,
            has_ended: false,
        }
    }

    fn next(&mut self) -> io::Result<Option<Typed>> {
        if self.has_ended {
            return Ok(None);
        }
        let mut line = mem::take(&mut self.rest);
        let room = (LONGEST_LINE - line.len()) as u64;
        let mut input = self.input.by_ref().take(room);
        input.read_until(b'\n', &mut line)?;
        let is_full = line.len() == LONGEST_LINE;
        // A terminal reports each Ctrl-D only once. If the end is inside a
        // line, reading again would wait for another Ctrl-D.
        self.has_ended = !is_full && !line.ends_with(b"\n");
        if line.is_empty() {
            return Ok(None);
        }
        let continues = mem::replace(&mut self.is_cut, is_full && !line.ends_with(b"\n"));
        if self.is_cut {
            // In UTF-8, a character is one byte that is not 10xxxxxx and at most
            // three bytes that are.
            let start = line.iter().rposition(|byte| byte & 0xC0 != 0x80);
            if let Some(start) = start.filter(|start| line.len() - start <= 4) {
                self.rest = line.split_off(start);
            }
        }
        let text = String::from_utf8_lossy(&line);
        Ok(Some(if continues {
            Typed::Text(text.replace(['\r', '\n', '\0'], ""))
        } else {
            Typed::from(text.as_ref())
        }))
    }
}

/// Shows lines, with the status below them.
pub(crate) struct Screen<W> {
    out: W,
    /// Whether the output is a terminal, on which a line can be overwritten.
    is_live: bool,
    /// Whether the status is in the line above the cursor.
    has_status: bool,
    is_closed: bool,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, is_live: bool) -> Self {
        Self {
            out,
            is_live,
            has_status: false,
            is_closed: false,
        }
    }

    /// Whether the reader of the output is gone, such as `head -1`.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn put(&mut self, bytes: &str) -> io::Result<()> {
        let written = self.out.write_all(bytes.as_bytes());
        match written.and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            written => written,
        }
    }

    /// Shows a line that stays.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.has_status = false;
        // The text would otherwise follow what is being typed.
        let erase = if self.is_live { "\r\x1b[2K" } else { "" };
        self.put(&format!("{erase}{}\n", printable(text)))
    }

    /// Shows a new status.
    pub(crate) fn status(&mut self, text: &str) -> io::Result<()> {
        if self.has_status {
            return self.count_down(text);
        }
        self.line(text)?;
        self.has_status = self.is_live;
        Ok(())
    }

    /// Shows the same status with a new time, on a terminal only. A file has it
    /// already.
    pub(crate) fn count_down(&mut self, text: &str) -> io::Result<()> {
        if !self.is_live {
            return Ok(());
        }
        if !self.has_status {
            return self.status(text);
        }
        // Save the cursor, go up one line, write without a line break at the
        // edge, and go back. The line that is being typed stays as it is.
        let text = printable(text);
        self.put(&format!("\x1b7\x1b[1A\r\x1b[2K\x1b[?7l{text}\x1b[?7h\x1b8"))
    }

    /// Records that Enter has moved the cursor.
    pub(crate) fn moved(&mut self) {
        self.has_status = false;
    }
}

/// The text without control characters, because strangers must not control the
/// terminal.
fn printable(text: &str) -> String {
    let text = text.chars().map(|c| if c == '\t' { ' ' } else { c });
    text.filter(|c| !c.is_control()).collect()
}

/// The reason why there is no connection, if the event has one.
pub(crate) fn cause(event: &Event<'_, ChatError>) -> Option<String> {
    match event {
        Event::Failed { error, .. } => {
            Some(error.map_or("no answer in time".to_owned(), ToString::to_string))
        }
        Event::Lost { error, .. } => {
            Some(error.map_or("connection lost".to_owned(), ToString::to_string))
        }
        _ => None,
    }
}

/// The state of the connection; `is_first` until an attempt has failed. The
/// important words come first, because a narrow terminal cuts the last ones.
pub(crate) fn state(status: &Status, is_first: bool) -> String {
    match status {
        Status::Waiting { attempt, until, .. } => next_try(until.remaining(), *attempt),
        Status::Connecting { attempt, phase, .. } => {
            let what = match phase {
                AttemptPhase::Established => "logging in",
                _ => "connecting",
            };
            if is_first {
                what.to_owned()
            } else {
                format!("{what} (attempt {attempt})")
            }
        }
        Status::Connected { .. } => "online".to_owned(),
        _ => "offline".to_owned(),
    }
}

fn next_try(left: Duration, attempt: u32) -> String {
    let left = whole_seconds(left);
    format!("next try in {left} (attempt {attempt}), or /now")
}

/// Rounded up, because `0 s` would mean now.
fn whole_seconds(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    match (seconds / 60, seconds % 60) {
        (0 | 1, _) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// The text that shows a message; `None` if it is not shown.
pub(crate) fn shown(message: &Message) -> Option<String> {
    let (sender, text) = (message.sender(), message.text());
    let reason = |at| match message.param(at) {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    Some(match message.command.as_str() {
        "PRIVMSG" => match text.strip_prefix("\x01ACTION ") {
            Some(action) => format!("* {sender} {action}"),
            None => format!("<{sender}> {text}"),
        },
        "NOTICE" => format!("-{sender}- {text}"),
        "JOIN" => format!("{sender} is here"),
        "PART" => format!("{sender} has left{}", reason(1)),
        "QUIT" => format!("{sender} has left{}", reason(0)),
        "KICK" => format!("{sender} has kicked {}{}", message.param(1), reason(2)),
        "NICK" => format!("{sender} is now {text}"),
        "TOPIC" => format!("{sender} sets the topic: {text}"),
        // Numerics from 400 to 599 are errors.
        number if number.len() == 3 && ("400".."600").contains(&number) => {
            format!("the server says: {text}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &[u8]) -> Vec<Typed> {
        let mut lines = Lines::new(input);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn text(text: &str) -> Typed {
        Typed::Text(text.to_owned())
    }

    #[test]
    fn lines_are_read_in_any_encoding_and_with_any_line_end() {
        assert_eq!(
            read_all(b"hi\r\ncaf\xe9 \x00\n\nlast"),
            [text("hi"), text("caf\u{fffd} "), text(""), text("last")]
        );
    }

    #[test]
    fn one_slash_begins_a_command_and_two_begin_a_text() {
        assert_eq!(
            read_all(b"/now\n/quit \n/help\n//etc\n/etc\n /now\n"),
            [
                Typed::Now,
                Typed::Quit,
                Typed::Help,
                text("/etc"),
                Typed::Unknown("/etc".into()),
                text(" /now")
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_read_in_parts_and_loses_nothing() {
        for shift in 0..4 {
            let line = "x".repeat(shift) + &"€".repeat(3000) + "/quit";
            let parts = read_all(line.as_bytes());
            let whole: String = parts
                .iter()
                .map(|part| match part {
                    Typed::Text(text) if text.len() <= LONGEST_LINE => text.as_str(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(whole, line);
            assert_eq!(parts.len(), 3);
        }
        let parts = read_all(&[0x80; 3 * LONGEST_LINE]);
        assert_eq!(parts.len(), 3, "no characters at all");
        let mut lines = vec![b'x'; LONGEST_LINE - 1];
        lines.extend(b"\n/quit");
        assert_eq!(read_all(&lines)[1], Typed::Quit, "that line was not cut");
        let lines = "x".repeat(LONGEST_LINE) + "/quit";
        assert_ne!(read_all(lines.as_bytes())[1], Typed::Quit);
    }

    #[test]
    fn the_second_ctrl_d_after_a_partial_line_ends_the_input() {
        /// A terminal: each Ctrl-D ends one read, with or without bytes.
        struct Terminal(std::vec::IntoIter<&'static [u8]>);
        impl Read for Terminal {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let mut bytes = self.0.next().expect("a third Ctrl-D is asked for");
                bytes.read(buffer)
            }
        }
        let presses = vec![&b"one\n"[..], b"two", b""];
        let mut lines = Lines::new(io::BufReader::new(Terminal(presses.into_iter())));
        assert_eq!(lines.next().unwrap(), Some(text("one")));
        assert_eq!(lines.next().unwrap(), Some(text("two")));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn the_countdown_and_the_help_fit_into_40_columns() {
        let longest = next_try(Duration::from_secs(119), 99);
        assert_eq!(longest, "next try in 119 s (attempt 99), or /now");
        for text in HELP.iter().copied().chain([longest.as_str()]) {
            assert!(text.len() <= 40, "{text}");
        }
    }

    #[test]
    fn a_screen_without_a_reader_is_closed_without_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut screen = Screen::new(Gone, false);
        assert!(!screen.is_closed());
        screen.line("hello").unwrap();
        assert!(screen.is_closed());
    }

    fn written(is_live: bool, act: impl FnOnce(&mut Screen<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        act(&mut Screen::new(&mut out, is_live));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_file_gets_each_state_once() {
        let file = written(false, |screen| {
            screen.status("in 2 s").unwrap();
            screen.count_down("in 1 s").unwrap();
            screen.status("online").unwrap();
        });
        assert_eq!(file, "in 2 s\nonline\n");
    }

    #[test]
    fn a_terminal_counts_down_in_place_until_the_cursor_moves() {
        let fresh = |text: &str| format!("\r\x1b[2K{text}\n");
        let again = |text: &str| format!("\x1b7\x1b[1A\r\x1b[2K\x1b[?7l{text}\x1b[?7h\x1b8");
        let terminal = written(true, |screen| {
            screen.status("in 3 s").unwrap();
            screen.count_down("in 2 s").unwrap();
            screen.moved();
            screen.count_down("in 1 s").unwrap();
            screen.status("now").unwrap();
            screen.line("hello").unwrap();
        });
        let expected = [
            fresh("in 3 s"),
            again("in 2 s"),
            fresh("in 1 s"),
            again("now"),
            fresh("hello"),
        ];
        assert_eq!(terminal, expected.concat());
    }

    #[test]
    fn control_characters_are_not_shown() {
        let terminal = written(false, |screen| {
            screen.line("a\x1b[2Jb\r\nc\u{9b}d").unwrap();
        });
        assert_eq!(terminal, "a[2Jbcd\n");
    }

    #[test]
    fn a_time_is_rounded_up_and_shown_in_minutes_from_two_minutes_on() {
        for (millis, words) in [
            (0, "0 s"),
            (1, "1 s"),
            (11_001, "12 s"),
            (119_000, "119 s"),
            (185_000, "3 min 5 s"),
        ] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), words);
        }
    }

    #[test]
    fn messages_are_shown_in_plain_words() {
        for (line, words) in [
            (":ann!a@h PRIVMSG #room :hello", Some("<ann> hello")),
            (
                ":ann!a@h PRIVMSG #room :\x01ACTION waves\x01",
                Some("* ann waves\x01"),
            ),
            (":ann!a@h JOIN #room", Some("ann is here")),
            (":ann!a@h PART #room", Some("ann has left")),
            (":ann!a@h PART #room :lunch", Some("ann has left (lunch)")),
            (
                ":ann!a@h QUIT :Ping timeout",
                Some("ann has left (Ping timeout)"),
            ),
            (
                ":op!o@h KICK #room bob :spam",
                Some("op has kicked bob (spam)"),
            ),
            (
                ":s 404 me #room :Cannot send",
                Some("the server says: Cannot send"),
            ),
            (":s 372 me :- message of the day", None),
            (":s PONG s :1", None),
        ] {
            assert_eq!(shown(&Message::parse(line).unwrap()).as_deref(), words);
        }
    }
}
