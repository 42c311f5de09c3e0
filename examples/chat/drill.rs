//! The storm drill: a small fleet and a server that crashes every few seconds. It
//! needs no input.

use std::error::Error;
use std::io::{self, Write};
use std::mem;
use std::ops::ControlFlow;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use redial::tcp::Dial;
use redial::{Event, Redial, TokenBucket};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::hub::Rules;
use crate::link::Link;
use crate::login::{Account, connector};
use crate::server::{ANY_PORT, Server};
use crate::terminal::cause;
use crate::trouble::ChatError;

const NICKS: [&str; 8] = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"];
/// The server accepts three logins at once, then one every quarter of a second.
const BURST: u32 = 3;
const PERIOD: Duration = Duration::from_millis(250);
/// How long the server is down, and how long it is up after all clients are back.
const DOWN: Duration = Duration::from_secs(1);
const LIFE: Duration = Duration::from_secs(3);

fn rules() -> Rules {
    Rules {
        logins: Some(TokenBucket::new(BURST, PERIOD)),
        ..Rules::default()
    }
}

/// Runs until Ctrl-C.
pub(crate) async fn run() -> Result<ExitCode, Box<dyn Error>> {
    tokio::select! {
        result = storms() => result.map(|()| ExitCode::SUCCESS),
        interrupt = ctrl_c() => Ok(interrupt.map(|()| ExitCode::SUCCESS)?),
    }
}

async fn storms() -> Result<(), Box<dyn Error>> {
    let mut server = Server::start(ANY_PORT, rules()).await?;
    let fleet = NICKS.len();
    let clock = Clock(Instant::now());
    clock.say("----", &format!("{fleet} clients; Ctrl-C ends the drill"));
    clock.say(
        "----",
        &format!("the server takes {BURST} logins at once, then one every {PERIOD:?}"),
    );
    let (back, mut backs) = mpsc::channel(fleet);
    for nick in NICKS {
        let account = Account {
            nick: nick.to_owned(),
            channel: "#storm".to_owned(),
            password: None,
            tls: None,
        };
        let dial = redial::tcp::connect(server.address()).nodelay(true);
        tokio::spawn(client(dial, account, back.clone(), clock));
    }
    loop {
        let began = Instant::now();
        for _ in 0..fleet {
            backs.recv().await;
        }
        clock.say(
            "----",
            &format!("all {fleet} are here after {:.1?}", began.elapsed()),
        );
        sleep(LIFE).await;
        clock.say(
            "----",
            &format!("the server crashes, and starts again in {DOWN:?}"),
        );
        server = server.restart(DOWN, rules()).await?;
        clock.say("----", "the server is up again");
    }
}

/// One client of the fleet. It joins, reports that, and listens.
async fn client(dial: Dial, account: Account, back: mpsc::Sender<()>, clock: Clock) {
    let nick = account.nick.clone();
    let account = Arc::new(account);
    let name = nick.clone();
    let mut reason = String::new();
    let mut redial = Redial::new(connector(dial, account))
        .classify(ChatError::verdict)
        // The crashes are less than the default of ten seconds apart. They must
        // not count as one long outage.
        .stable_after(LIFE / 2)
        .observe(move |event| match event {
            Event::Connected { attempt, .. } => {
                clock.say(&nick, &format!("is here (attempt {attempt})"));
            }
            Event::Waiting { wait, .. } => {
                let seconds = wait.as_secs_f64();
                clock.say(&nick, &format!("{reason}; tries again in {seconds:.1} s"));
            }
            _ => reason = cause(event).unwrap_or(mem::take(&mut reason)),
        });
    let end = redial.run(move |link| listen(link, back.clone())).await;
    if let Err(error) = end {
        clock.say(&name, &error.to_string());
    }
}

/// Uses one connection until it ends.
async fn listen(mut link: Link, back: mpsc::Sender<()>) -> Result<ControlFlow<()>, ChatError> {
    if back.send(()).await.is_err() {
        // The counter is gone, so the drill is over.
        return Ok(ControlFlow::Break(()));
    }
    while let Some(message) = link.next().await {
        message?;
    }
    Ok(ControlFlow::Continue(()))
}

/// Writes lines that begin with the seconds since the drill began.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn say(self, who: &str, what: &str) {
        let seconds = self.0.elapsed().as_secs_f64();
        if writeln!(io::stdout(), "{seconds:5.1} s  {who:4} {what}").is_err() {
            // The reader is gone: `head`, for example.
            process::exit(0);
        }
    }
}
