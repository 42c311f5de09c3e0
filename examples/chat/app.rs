//! Handles the events of the session and the input.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Stdout, Write};
use std::mem;
use std::process::ExitCode;
use std::time::Duration;

use redial::{Endpoints, Event, Handle, InvalidConfig, SessionEvent, Status};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::embedded::{Embedded, Order};
use crate::irc::Message;
use crate::link::Link;
use crate::login;
use crate::outbox::{Outbox, PIPE_ROOM, ROOM};
use crate::terminal::{self, HELP, Screen, Typed};
use crate::trouble::ChatError;

/// How long the program waits for lines that are not delivered yet. After `/quit`
/// a person waits for it to end; after the end of a pipe no person does.
const AFTER_QUIT: Duration = Duration::from_secs(5);
const AFTER_INPUT: Duration = Duration::from_secs(60);

/// How long queued lines wait in a channel without other members. After a crash
/// the clients come back one by one, and the first would talk to nobody.
const ALONE: Duration = Duration::from_secs(30);

/// How soon to leave a server that names another one. All its clients hear of it at
/// once, and come to the other one in this time.
const LEAVING: Duration = Duration::from_secs(6);

/// How long the session reads the connection before the present one.
const OVERLAP: Duration = Duration::from_secs(30);

pub(crate) struct App {
    screen: Screen<Stdout>,
    /// A person types the input; otherwise it is a pipe or a file.
    is_person: bool,
    outbox: Outbox,
    /// Queued lines wait until then if the channel has no other members.
    hold: Option<Instant>,
    /// Why there is no connection, in words for a person. Empty while connected.
    cause: watch::Sender<String>,
    shown_cause: String,
    embedded: Option<Embedded>,
    is_online: bool,
    was_online: bool,
    /// Whether a line may not have been delivered.
    has_lost: bool,
    deadline: Option<Instant>,
    /// The servers to use, and the first one, if the present one may name another one.
    servers: Option<(Endpoints<String>, String)>,
    /// When the connection was replaced, while lines on the old one are not confirmed.
    moved: Option<Instant>,
    needs_no_old: bool,
}

impl App {
    pub(crate) fn new() -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_person = io::stdin().is_terminal();
        Self {
            screen: Screen::new(io::stdout(), io::stdout().is_terminal() && !is_dumb),
            is_person,
            outbox: Outbox::new(if is_person { ROOM } else { PIPE_ROOM }),
            hold: None,
            cause: watch::Sender::default(),
            shown_cause: String::new(),
            embedded: None,
            is_online: false,
            was_online: false,
            has_lost: false,
            deadline: None,
            servers: None,
            moved: None,
            needs_no_old: false,
        }
    }

    /// Starts a server in this process, and returns its address.
    pub(crate) async fn embed_server(&mut self) -> io::Result<String> {
        let server = Embedded::start().await?;
        let address = server.address().to_owned();
        for line in [
            &format!("built-in chat server at {address}"),
            "to join it from another terminal:",
            &format!("  cargo run --example chat -- --server {address} --nick ann"),
            "/crash stops the server for a while",
            "/move moves all to its other address",
            "/help shows all commands",
        ] {
            self.screen.line(line)?;
        }
        self.embedded = Some(server);
        Ok(address)
    }

    /// Moves to another server if the present one names it, by this list.
    pub(crate) fn moves_by(&mut self, servers: Endpoints<String>) {
        let first = servers.servers()[0].clone();
        self.servers = Some((servers, first));
    }

    /// Whether the connection before the present one is not needed any more. Only the
    /// first call after a move says so.
    pub(crate) fn needs_no_old(&mut self) -> bool {
        mem::take(&mut self.needs_no_old)
    }

    /// Returns an observer that stores why attempts fail.
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

    /// Whether the program can end: everything is delivered and the input has
    /// ended, or the output has no reader any more.
    pub(crate) fn is_done(&self) -> bool {
        let is_delivered = self.was_online && self.outbox.is_empty();
        self.deadline.is_some() && is_delivered || self.screen.is_closed()
    }

    /// When the program leaves, even if lines are not delivered.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether to read more input. If the outbox is full, a pipe must wait, but a
    /// person can go on typing.
    pub(crate) fn listens(&self) -> bool {
        self.deadline.is_none() && (self.outbox.has_room() || self.is_person)
    }

    pub(crate) fn heard(
        &mut self,
        event: SessionEvent<Message, ChatError>,
        link: Option<&mut Link>,
        handle: &Handle,
    ) -> Result<(), Box<dyn Error>> {
        match event {
            SessionEvent::Up if self.is_online => {
                self.add_first_server()?;
                if let Some(link) = &link {
                    self.greet_elsewhere(link)?;
                }
            }
            SessionEvent::Up => {
                self.is_online = true;
                self.cause.send_replace(String::new());
                self.shown_cause.clear();
                let is_back = mem::replace(&mut self.was_online, true);
                if let Some(link) = &link {
                    self.greet(link, is_back)?;
                }
            }
            SessionEvent::Item(message) => {
                match message.command.as_str() {
                    "PONG" => {
                        self.outbox.confirm(&message);
                        self.look_at_old();
                    }
                    // The server leaves, and names another one (RPL_BOUNCE).
                    "010" => self.go_to(message.param(1), message.param(2), handle),
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
                self.doubt()?;
                self.add_first_server()?;
            }
        }
        self.send(link)
    }

    /// Shows the lines that may have been lost with a connection.
    fn doubt(&mut self) -> io::Result<()> {
        self.moved = None;
        for text in self.outbox.doubtful() {
            self.has_lost = true;
            self.screen
                .line(&format!("perhaps not delivered: {text}"))?;
        }
        Ok(())
    }

    /// Moves to another server, while the present one still serves.
    fn go_to(&mut self, host: &str, port: &str, handle: &Handle) {
        let Some((servers, _)) = &self.servers else {
            return;
        };
        let other = login::address(&format!("{host}:{port}"), 6667);
        if other.is_ok_and(|other| servers.replace([other]).is_ok()) {
            handle.renew_within(LEAVING);
        }
    }

    /// The move is over. If the other server is lost, the first one may be there again.
    fn add_first_server(&self) -> Result<(), InvalidConfig> {
        let Some((servers, first)) = &self.servers else {
            return Ok(());
        };
        let mut all = servers.servers().to_vec();
        if !all.contains(first) {
            all.push(first.clone());
        }
        servers.replace(all)
    }

    /// Shows that the connection was replaced.
    fn greet_elsewhere(&mut self, link: &Link) -> io::Result<()> {
        self.moved = Some(Instant::now());
        self.look_at_old();
        let server = link.server.map(|server| format!(" to {server}"));
        let server = server.unwrap_or_default();
        self.screen
            .status(&format!("moved{server} as {}", link.nick))
    }

    /// The old connection is not needed any more if all is confirmed that was sent on it.
    fn look_at_old(&mut self) {
        if !self.outbox.is_under_way() {
            self.needs_no_old |= self.moved.take().is_some();
        }
    }

    /// Shows that there is a connection.
    fn greet(&mut self, link: &Link, is_back: bool) -> io::Result<()> {
        let company = if link.is_alone { ", alone" } else { "" };
        let text = format!("online: in {} as {}{company}", link.channel, link.nick);
        self.screen.status(&text)?;
        let waits = is_back && self.outbox.waiting() > 0;
        self.hold = waits.then(|| Instant::now() + ALONE);
        if self.holds(link) {
            let seconds = ALONE.as_secs();
            let text = format!("queued lines wait up to {seconds} s for company");
            self.screen.line(&text)?;
            self.screen.line("/now sends them at once")?;
        }
        Ok(())
    }

    /// Takes a line of the input; `None` is the end of the input.
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
            Some(Typed::Text(text)) => {
                let is_held = link.as_deref().is_some_and(|link| self.holds(link));
                if is_held || !self.is_online {
                    self.screen.line(&format!("queued: {text}"))?;
                }
            }
            Some(Typed::Now) => {
                self.hold = None;
                handle.retry_now();
            }
            Some(Typed::Help) => {
                for line in HELP {
                    self.screen.line(line)?;
                }
            }
            Some(Typed::Crash) => self.order(Order::Crash)?,
            Some(Typed::Move) => self.order(Order::AskToMove)?,
            // A typing error is not a line that was lost.
            Some(Typed::Unknown(text)) => {
                self.screen
                    .line(&format!("no such command: {text}, see /help"))?;
            }
            None if !self.is_person => self.leave_within(AFTER_INPUT)?,
            Some(Typed::Quit) | None if self.outbox.is_empty() => {
                self.leave_within(Duration::ZERO)?;
            }
            Some(Typed::Quit) | None => self.leave_within(AFTER_QUIT)?,
        }
        // Show it now. A later status would erase what is typed next.
        self.show(&handle.status(), Screen::count_down)?;
        self.send(link)
    }

    fn order(&mut self, order: Order) -> io::Result<()> {
        let done = match &mut self.embedded {
            Some(server) => server.order(order),
            None => Err("this server is not built in"),
        };
        match done {
            Ok(text) => self.screen.line(&text),
            Err(reason) => self.refuse(order.command(), reason),
        }
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
        let text = format!("leaving when everything is delivered, or in {seconds} s");
        self.screen.line(&text)
    }

    /// Whether queued lines still wait for another member of the channel.
    fn holds(&self, link: &Link) -> bool {
        self.hold.is_some_and(|until| Instant::now() < until)
            && link.is_alone
            && self.deadline.is_none()
    }

    /// Sends the messages that may be sent now.
    fn send(&mut self, link: Option<&mut Link>) -> Result<(), Box<dyn Error>> {
        let Some(link) = link.filter(|_| self.is_online) else {
            return Ok(());
        };
        if self.holds(link) {
            return Ok(());
        }
        self.hold = None;
        for message in self.outbox.next_batch(&link.channel) {
            link.say(message)?;
        }
        Ok(())
    }

    /// Called each second: shows the countdown, and sends lines that waited.
    pub(crate) fn tick(
        &mut self,
        status: &Status,
        link: Option<&mut Link>,
    ) -> Result<(), Box<dyn Error>> {
        self.show(status, Screen::count_down)?;
        if self.moved.is_some_and(|moved| moved.elapsed() > OVERLAP) {
            self.doubt()?;
        }
        self.send(link)
    }

    /// Shows the state of the connection. While online, the session's `Up` has
    /// shown more already.
    pub(crate) fn show(
        &mut self,
        status: &Status,
        by: fn(&mut Screen<Stdout>, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.is_online || *status == Status::Idle {
            return Ok(());
        }
        let cause = self.cause();
        let text = terminal::state(status, cause.is_empty());
        if cause != self.shown_cause {
            self.screen.line(&format!("offline: {cause}"))?;
            self.shown_cause = cause;
        }
        by(&mut self.screen, &text)
    }

    /// Says goodbye, and reports what was not delivered.
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
            complain(&format!("perhaps not delivered: {text}"));
        }
        let mut unsent = self.outbox.unsent();
        while let Ok(typed) = keyboard.try_recv() {
            if let Typed::Text(text) = typed {
                unsent.push(text);
            }
        }
        for text in &unsent {
            complain(&format!("not sent: {text}"));
        }
        // If the program ends in the middle of a pipe, the pipe may hold more.
        let is_cut = !self.is_person && !keyboard.is_closed();
        if is_cut && self.deadline.is_none() && !unsent.is_empty() {
            complain("not sent: the rest of the input");
        }
        // Without a reader of the output, never coming online is no failure.
        let was_useful = self.was_online || self.screen.is_closed();
        if self.has_lost || !unsent.is_empty() || !was_useful {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// Writes to standard error, which may have no reader.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
