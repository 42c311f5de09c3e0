//! A chat client for one terminal that loses its server and comes back by
//! itself: IRC (RFC 2812) on top of [`Redial`].
//!
//! ```sh
//! cargo run --example chat                    # with a server of its own
//! cargo run --example chat -- --server irc.example --nick ann --channel tea
//! echo "it works" | cargo run --example chat -- --server irc.example
//! cargo run --example chat -- --storm-drill   # watch a fleet come back
//! ```
//!
//! The connector is in `login.rs`, the classifier in `trouble.rs`, and what
//! the program does about what happens in `app.rs`.

mod app;
mod drill;
mod irc;
mod link;
mod login;
mod outbox;
mod server;
mod terminal;
mod trouble;

use std::error::Error;
use std::future::pending;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use redial::{Connect, Redial};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, interval, sleep_until};

use app::{App, Heard};
use link::Link;
use login::{Account, log_in};
use terminal::{Screen, keyboard};
use trouble::ChatError;

/// A chat client that comes back by itself.
///
/// It leaves at the end of its input, once everything was delivered. The exit
/// status is 1 where that may not be so, or where it never came online.
#[derive(Debug, Parser)]
struct Args {
    /// An IRC server, as host or host:port; without it, one runs in this
    /// process
    #[arg(long, value_parser = login::word)]
    server: Option<String>,
    #[arg(long, default_value = "guest", value_parser = login::word)]
    nick: String,
    #[arg(long, default_value = "#redial", value_parser = login::channel)]
    channel: String,
    #[arg(long, value_parser = login::word)]
    password: Option<String>,
    /// Show several clients of a server that crashes every few seconds
    #[arg(long)]
    storm_drill: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = if args.storm_drill {
        drill::run().await
    } else {
        chat(args).await
    };
    result.unwrap_or_else(|error| {
        eprintln!("chat: {error}");
        ExitCode::FAILURE
    })
}

async fn chat(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut app = App::new();
    let account = Arc::new(Account {
        server: match args.server {
            Some(server) => login::address(&server, 6667)?,
            None => app.embed_server().await?,
        },
        nick: args.nick,
        channel: args.channel,
        password: args.password,
    });

    let mut redial = Redial::new(|| log_in(account.clone()))
        .attempt_timeout(Duration::from_secs(20))
        .classify(ChatError::verdict)
        .observe(app.observer());
    let handle = redial.handle();
    let mut statuses = handle.watch();

    let mut keyboard = keyboard();
    let mut seconds = interval(Duration::from_secs(1));
    let mut interrupt = pin!(ctrl_c());
    let mut stopped = None;
    while !app.is_done() {
        tokio::select! {
            heard = next(&mut redial, app.is_online()) => match heard {
                Ok(heard) => app.heard(heard, redial.get_mut())?,
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            },
            typed = keyboard.recv(), if app.listens() => {
                app.typed(typed, redial.get_mut(), &handle)?;
            }
            Some(status) = statuses.next() => app.show(status, Screen::status)?,
            _ = seconds.tick() => app.show(handle.status(), Screen::count_down)?,
            () = until(app.deadline()) => break,
            _ = &mut interrupt => break,
        }
    }
    let exit = app.leave(redial.get_mut(), keyboard).await;
    match stopped {
        Some(error) => Err(error.into_inner().map_or("closed".into(), Into::into)),
        None => Ok(exit),
    }
}

/// What happens next on the connection, and on all that follow it.
async fn next(
    chat: &mut Redial<impl Connect<Connection = Link, Error = ChatError>>,
    is_online: bool,
) -> Result<Heard, redial::Error<ChatError>> {
    let link = chat.ready().await?;
    if !is_online {
        return Ok(Heard::Up);
    }
    match link.next().await {
        Some(Ok(message)) => return Ok(Heard::Message(message)),
        Some(Err(error)) => chat.lost_to(error),
        None => chat.lost(),
    }
    Ok(Heard::Down)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
