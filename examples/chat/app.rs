//! What the program does about what happens.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Stdout};
use std::process::ExitCode;
use std::time::Duration;

use redial::{Event, Handle, SessionEvent, Status};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::hub::Rules;
use crate::irc::Message;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::server::{ANY_PORT, Server};
use crate::terminal::{self, HELP, Screen, Typed};
use crate::trouble::ChatError;

/// How long the program waits for lines that are not delivered yet. After `/quit`
/// a person waits for it to end; after the end of a pipe no person does.
const AFTER_QUIT: Duration = Duration::from_secs(5);
const AFTER_INPUT: Duration = Duration::from_secs(60);

/// How long `/crash` takes the embedded server down for.
const DOWN: Duration = Duration::from_secs(5);

pub(crate) struct App {
    screen: Screen<Stdout>,
    outbox: Outbox,
    /// Why there is no connection, in a person's words.
    cause: watch::Sender<String>,
    /// Takes the embedded server down.
    crash: Option<mpsc::Sender<()>>,
    is_online: bool,
    was_online: bool,
    /// Something may not have been delivered.
    has_lost: bool,
    deadline: Option<Instant>,
}

impl App {
    pub(crate) fn new() -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            screen: Screen::new(io::stdout(), io::stdout().is_terminal() && !is_dumb),
            outbox: Outbox::default(),
            cause: watch::Sender::default(),
            crash: None,
            is_online: false,
            was_online: false,
            has_lost: false,
            deadline: None,
        }
    }

    /// Starts a server in this process, and returns its address.
    pub(crate) async fn embed_server(&mut self) -> io::Result<String> {
        let server = Server::start(ANY_PORT, Rules::default()).await?;
        let address = server.address().to_string();
        for line in [
            &format!("an IRC server runs in here, at {address}; join it from another terminal:"),
            &format!("  cargo run --example chat -- --server {address} --nick ann"),
            "/crash takes it down for five seconds, /help tells the rest",
        ] {
            self.screen.line(line)?;
        }
        let (crash, mut crashes) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut server = server;
            while crashes.recv().await.is_some() {
                server = server.restart(DOWN, Rules::default()).await?;
            }
            io::Result::Ok(())
        });
        self.crash = Some(crash);
        Ok(address)
    }

    /// Keeps the reasons for which attempts fail.
    pub(crate) fn observer(&self) -> impl FnMut(&Event<'_, ChatError>) + Send + 'static {
        let cause = self.cause.clone();
        move |event| {
            if let Some(words) = terminal::cause(event) {
                cause.send_replace(words);
            }
        }
    }

    /// Why there is no connection.
    pub(crate) fn cause(&self) -> String {
        self.cause.borrow().clone()
    }

    /// Everything was delivered, and nothing more will come.
    pub(crate) fn is_done(&self) -> bool {
        self.deadline.is_some() && self.was_online && self.outbox.is_empty()
    }

    /// When the program leaves, even if lines are not delivered.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether to read on. If the outbox is full, a pipe must wait, but a person can
    /// go on typing.
    pub(crate) fn listens(&self) -> bool {
        self.deadline.is_none() && (self.outbox.has_room() || io::stdin().is_terminal())
    }

    pub(crate) fn heard(
        &mut self,
        event: SessionEvent<Message, ChatError>,
        link: Option<&mut Link>,
    ) -> Result<(), Box<dyn Error>> {
        match event {
            SessionEvent::Up => {
                self.is_online = true;
                self.was_online = true;
                if let Some(link) = &link {
                    let text = format!("online: in {} as {}", link.channel, link.nick);
                    self.screen.status(&text)?;
                }
            }
            SessionEvent::Item(message) => {
                match message.command.as_str() {
                    "PONG" => self.outbox.confirm(&message),
                    // No such nick or channel, or we may not speak there.
                    "401" | "403" | "404" => self.has_lost = true,
                    _ => {}
                }
                if let Some(text) = terminal::shown(&message) {
                    self.screen.line(&text)?;
                }
            }
            SessionEvent::Down { error, .. } => {
                self.is_online = false;
                if let Some(error) = error {
                    self.cause.send_replace(error.to_string());
                }
                for text in self.outbox.doubtful() {
                    self.has_lost = true;
                    self.screen
                        .line(&format!("perhaps not delivered: {text}"))?;
                }
            }
        }
        self.send(link)
    }

    /// `None` is the end of the input.
    pub(crate) fn typed(
        &mut self,
        typed: Option<Typed>,
        link: Option<&mut Link>,
        handle: &Handle,
    ) -> Result<(), Box<dyn Error>> {
        self.screen.moved();
        match typed {
            Some(Typed::Text(text)) if text.trim().is_empty() => {}
            Some(Typed::Text(text)) if !self.outbox.push(&text) => {
                self.refuse(&text, "too many are waiting")?;
            }
            Some(Typed::Text(text)) if !self.is_online => {
                let text = format!("queued: {text}; will be sent when online");
                self.screen.line(&text)?;
            }
            Some(Typed::Text(_)) => {}
            Some(Typed::Now) => handle.retry_now(),
            Some(Typed::Help) => self.screen.line(HELP)?,
            Some(Typed::Crash) => match &self.crash {
                // If the channel is full, the server is down already.
                Some(crash) => drop(crash.try_send(())),
                None => self.refuse("/crash", "the server is not ours")?,
            },
            Some(Typed::Unknown(text)) => self.refuse(&text, "no such command, see /help")?,
            Some(Typed::Quit) if self.outbox.is_empty() => self.leave_within(Duration::ZERO)?,
            Some(Typed::Quit) => self.leave_within(AFTER_QUIT)?,
            None => self.leave_within(AFTER_INPUT)?,
        }
        self.send(link)
    }

    fn refuse(&mut self, text: &str, reason: &str) -> io::Result<()> {
        self.has_lost = true;
        self.screen.line(&format!("not sent: {text} ({reason})"))
    }

    fn leave_within(&mut self, patience: Duration) -> io::Result<()> {
        self.deadline = Some(Instant::now() + patience);
        if self.is_online || patience.is_zero() {
            return Ok(());
        }
        let seconds = patience.as_secs();
        let text = format!("leaving once everything is delivered, or in {seconds} s");
        self.screen.line(&text)
    }

    /// Sends what may be sent now.
    fn send(&mut self, link: Option<&mut Link>) -> Result<(), Box<dyn Error>> {
        if let Some(link) = link.filter(|_| self.is_online) {
            for message in self.outbox.next_batch(&link.channel) {
                link.say(message)?;
            }
        }
        Ok(())
    }

    /// Shows how the connection stands; the session's `Up` tells more than `online`.
    pub(crate) fn show(
        &mut self,
        status: Status,
        by: fn(&mut Screen<Stdout>, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.is_online || status == Status::Idle {
            return Ok(());
        }
        let text = terminal::state(status, &self.cause());
        by(&mut self.screen, &text)
    }

    /// Says good-bye, and what was not delivered.
    pub(crate) async fn leave(
        mut self,
        link: Option<&mut Link>,
        mut keyboard: mpsc::Receiver<Typed>,
    ) -> ExitCode {
        if let Some(link) = link {
            // This is only a courtesy, so its errors and its time do not matter.
            let _ = timeout(Duration::from_secs(1), link.quit()).await;
        }
        for text in self.outbox.doubtful() {
            self.has_lost = true;
            eprintln!("perhaps not delivered: {text}");
        }
        let mut unsent = self.outbox.unsent();
        while let Ok(typed) = keyboard.try_recv() {
            if let Typed::Text(text) = typed {
                unsent.push(text);
            }
        }
        for text in &unsent {
            eprintln!("not sent: {text}");
        }
        // Stopped amid a pipe, which may hold more.
        let is_pipe = !io::stdin().is_terminal() && !keyboard.is_closed();
        if is_pipe && self.deadline.is_none() && !unsent.is_empty() {
            eprintln!("not sent: what follows in the input");
        }
        if self.has_lost || !unsent.is_empty() || !self.was_online {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}
