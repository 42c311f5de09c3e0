//! A chat client for the terminal that reconnects by itself: IRC (RFC 2812) on top
//! of [`Redial`].
//!
//! ```sh
//! cargo run --example chat                    # with an embedded server
//! cargo run --example chat -- --server irc.example --nick ann --channel tea
//! echo "it works" | cargo run --example chat -- --server irc.example
//! cargo run --example chat -- --storm-drill   # watch a fleet come back
//! ```
//!
//! `login.rs` contains the connector and `trouble.rs` the classifier. `app.rs`
//! handles the events.

mod app;
mod drill;
mod embedded;
mod hub;
mod irc;
mod link;
mod login;
mod outbox;
mod server;
mod terminal;
mod tls;
mod trouble;

use std::error::Error;
use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use redial::{Endpoints, Redial, tcp};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, interval, sleep_until};

use app::{App, complain};
use login::{Account, connector};
use terminal::{Screen, keyboard};
use tls::Tls;
use trouble::ChatError;

/// A chat client that reconnects by itself
#[derive(Debug, Parser)]
#[command(name = "chat", after_help = EXIT)]
struct Args {
    /// The IRC server [default: a server in this process]
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<String>,
    /// The name to chat with
    #[arg(long, default_value = "guest", value_parser = login::word)]
    nick: String,
    /// The channel, with or without #
    #[arg(long, default_value = "#redial", value_parser = login::channel)]
    channel: String,
    /// The password of the server
    #[arg(long, value_parser = login::word)]
    password: Option<String>,
    /// Use TLS
    #[arg(long, requires = "server")]
    tls: bool,
    /// Use TLS, and trust only these certificates (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    tls_ca: Option<PathBuf>,
    /// Show a fleet whose server crashes every few seconds
    #[arg(long, exclusive = true)]
    storm_drill: bool,
}

const EXIT: &str = "\
At the end of its input, the program leaves when everything is delivered. The
exit status is 1 if something may not have been delivered, or if the program
never came online.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = if args.storm_drill {
        drill::run().await
    } else {
        chat(args).await
    };
    result.unwrap_or_else(|error| {
        complain(&format!("chat: {error}"));
        ExitCode::FAILURE
    })
}

async fn chat(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut app = App::new();
    let has_tls = args.tls || args.tls_ca.is_some();
    let server = match args.server {
        Some(server) => login::address(&server, if has_tls { 6697 } else { 6667 })?,
        None => app.embed_server().await?,
    };
    let account = Account {
        tls: has_tls
            .then(|| Tls::new(&server, args.tls_ca.as_deref()))
            .transpose()?,
        nick: args.nick,
        channel: args.channel,
        password: args.password,
    };
    let servers = Endpoints::new([server]);
    // The certificate of another server would have another name.
    if !has_tls {
        app.moves_by(servers.clone());
    }
    let account = Arc::new(account);
    let connector = servers.connect_with(|server| {
        let dial = tcp::connect(server.as_str()).nodelay(true);
        connector(dial, account.clone())
    });

    let mut session = Redial::new(connector)
        .classify(ChatError::verdict)
        .observe(app.observer())
        .into_session();
    let handle = session.handle();
    let mut statuses = handle.watch();
    let mut keyboard = keyboard();
    let mut seconds = interval(Duration::from_secs(1));
    let mut interrupt = pin!(ctrl_c());
    let mut stopped = None;
    while !app.is_done() {
        tokio::select! {
            Some(event) = session.next() => {
                let Ok(event) = event else {
                    stopped = Some(app.cause());
                    break;
                };
                app.heard(event, session.get_mut(), &handle)?;
                if app.needs_no_old() {
                    session.close_old();
                }
            }
            typed = keyboard.recv(), if app.listens() => {
                app.typed(typed, session.get_mut(), &handle)?;
            }
            Some(status) = statuses.next() => if status == handle.status() {
                app.show(&status, Screen::status)?;
            },
            _ = seconds.tick() => app.tick(&handle.status(), session.get_mut())?,
            () = until(app.deadline()) => break,
            _ = &mut interrupt => break,
        }
    }
    let exit = app.leave(session.get_mut(), keyboard).await;
    stopped.map_or(Ok(exit), |error| Err(error.into()))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
