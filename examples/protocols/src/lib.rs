//! What the examples share: how they talk to a person, and the servers of those
//! protocols that come without one.

use std::error;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::{self, ExitCode};

use hyper::http::response::Parts;
use redial::{Error, Event};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// As `println!`. If nobody reads the output any more, such as after `head -1`, the program
/// ends.
#[macro_export]
macro_rules! show {
    ($($text:tt)*) => {
        $crate::print(format_args!($($text)*))
    };
}

/// What [`show!`] does.
pub fn print(line: fmt::Arguments<'_>) {
    if writeln!(io::stdout(), "{line}").is_err() {
        process::exit(0);
    }
}

mod servers;

pub use servers::{Mode, serve, server};

/// The argument at this place, or a default.
pub fn argument(place: usize, default: &str) -> String {
    std::env::args()
        .nth(place)
        .unwrap_or_else(|| default.to_owned())
}

/// The error of an example with several kinds of errors. The driver judges the `io::Error`
/// in one by itself.
pub type Failure = Box<dyn error::Error + Send + Sync>;

/// Prints what happens to a driver: its observer.
pub fn say(event: &Event<'_, Failure>) {
    match event {
        Event::Connected { elapsed, .. } if elapsed.is_zero() => show!("online"),
        Event::Connected { elapsed, .. } => {
            show!("online again, {elapsed:.1?} after the outage began");
        }
        Event::Failed { error, actor, .. } => {
            let error = error.map_or("no answer in time".to_owned(), text);
            // A dial says so by itself.
            let error = error.strip_prefix("cannot connect to ").unwrap_or(&error);
            match actor {
                Some(actor) => show!("cannot connect: {error} ({actor} must act)"),
                None => show!("cannot connect: {error}"),
            }
        }
        Event::Lost {
            error: Some(error), ..
        } => show!("offline: {}", text(error)),
        Event::Lost {
            silent: Some(silent),
            ..
        } => show!("offline: {silent}"),
        Event::Lost { .. } => show!("offline: the server ended the connection"),
        Event::Waiting { wait, .. } => show!("next attempt in {wait:.1?}"),
        _ => {}
    }
}

/// The texts of an error and its sources, which many libraries leave out of their own.
fn text(error: &Failure) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// Prints why no connection follows.
pub fn stopped(error: &Error<Failure>) -> ExitCode {
    match error.actor() {
        Some(actor) => show!("stopped: {actor} must act"),
        None => show!("stopped: {error}"),
    }
    ExitCode::FAILURE
}

/// A server's answer to a request that opens a stream, if it opens none.
#[derive(Debug)]
pub struct Refused(pub Parts);

impl error::Error for Refused {}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answers {}", self.0.status)
    }
}

/// The server has closed a WebSocket with this frame.
#[derive(Debug)]
pub struct Closed(pub CloseFrame);

impl error::Error for Closed {}

impl Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server closed the connection: {}", self.0)
    }
}

/// Prints why a driver's loop has ended, if it failed.
pub fn ended(end: Result<(), Error<Failure>>) -> ExitCode {
    end.map_or_else(|error| stopped(&error), |()| ExitCode::SUCCESS)
}

/// Takes the fields of the whole events out of what an event stream has sent. Lines end
/// with `\n`.
pub fn fields(received: &mut Vec<u8>) -> Vec<(String, String)> {
    let Some(end) = received.windows(2).rposition(|two| two == b"\n\n") else {
        return Vec::new();
    };
    let events: Vec<u8> = received.drain(..end + 2).collect();
    let events = String::from_utf8_lossy(&events);
    let fields = events.lines().filter_map(|line| line.split_once(':'));
    let owned = |(name, value): (&str, &str)| {
        let value = value.strip_prefix(' ').unwrap_or(value);
        (name.to_owned(), value.to_owned())
    };
    fields.map(owned).collect()
}

/// The programs of the page *Getting started*, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../../../src/docs/getting_started.md")]
mod getting_started {}
