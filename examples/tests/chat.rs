//! Does the chat example do what it says? Runs its program against a server that
//! crashes, refuses, is full, or has a certificate that ended in 2020.
//!
//! This file includes the modules of the example, so that their own tests run too.
#![allow(dead_code)] // the example uses the rest

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Redial, TokenBucket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::io::{BufReader, Lines, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_util::codec::Framed;

#[path = "../chat/hub.rs"]
mod hub;
#[path = "../chat/irc.rs"]
mod irc;
#[path = "../chat/link.rs"]
mod link;
#[path = "../chat/login.rs"]
mod login;
#[path = "../chat/outbox.rs"]
mod outbox;
#[path = "../chat/server.rs"]
mod server;
#[path = "../chat/terminal.rs"]
mod terminal;
#[path = "../chat/tls.rs"]
mod tls;
#[path = "../chat/trouble.rs"]
mod trouble;

use hub::Rules;
use irc::{IrcCodec, Message};
use login::{Account, connector};
use server::{ANY_PORT, Server};

/// The limit of each single step.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program of the example.
struct Chat {
    program: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    shown: Vec<String>,
}

impl Chat {
    fn start(args: &[&str]) -> Self {
        let mut program = Command::new(program())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = program.stdout.take().unwrap();
        Self {
            input: program.stdin.take(),
            output: BufReader::new(output).lines(),
            program,
            shown: Vec::new(),
        }
    }

    fn join(server: SocketAddr, nick: &str, args: &[&str]) -> Self {
        let server = server.to_string();
        let place = ["--server", &server, "--nick", nick, "--channel", "room"];
        Self::start(&[&place, args].concat())
    }

    async fn types(&mut self, lines: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(lines.as_bytes()).await.unwrap();
    }

    fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for a line that contains `words`.
    async fn shows(&mut self, words: &str) -> String {
        let line = timeout(PATIENCE, async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                self.shown.push(line.clone());
                if line.contains(words) {
                    return Some(line);
                }
            }
            None
        });
        let line = line.await.ok().flatten();
        line.unwrap_or_else(|| panic!("no {words:?} in {:#?}", self.shown))
    }

    fn has_shown(&self, words: &str) -> bool {
        self.shown.iter().any(|line| line.contains(words))
    }

    /// Interrupts the program, as Ctrl-C does.
    #[cfg(unix)]
    async fn interrupt(&self) {
        let id = self.program.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for the end of the program. Returns the exit status and the errors.
    async fn ends(mut self) -> (ExitStatus, String) {
        let end = timeout(PATIENCE, async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                self.shown.push(line);
            }
            let mut errors = String::new();
            let mut stderr = self.program.stderr.take().unwrap();
            stderr.read_to_string(&mut errors).await.unwrap();
            (self.program.wait().await.unwrap(), errors)
        });
        end.await
            .unwrap_or_else(|_| panic!("no end after {:#?}", self.shown))
    }
}

/// The path of the program. This test is target/debug/deps/chat-1234, and the program
/// is target/debug/examples/chat.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile
        .join("examples/chat")
        .with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "first: cargo build --example chat");
    program
}

/// Another client in the channel.
async fn listener(server: SocketAddr) -> link::Link {
    let account = Account {
        nick: "ear".into(),
        channel: "#room".into(),
        password: None,
        tls: None,
    };
    let dial = redial::tcp::connect(server);
    let mut redial = Redial::new(connector(dial, Arc::new(account)));
    redial.connect().await.unwrap()
}

/// The next words of `ann` that the other client hears.
async fn said(ear: &mut link::Link) -> String {
    timeout(PATIENCE, async {
        loop {
            let message = ear.next().await.unwrap().unwrap();
            if message.command == "PRIVMSG" && message.sender() == "ann" {
                return message.text().to_owned();
            }
        }
    })
    .await
    .expect("ann says something")
}

async fn serve(rules: Rules) -> Server {
    Server::start(ANY_PORT, rules).await.unwrap()
}

#[tokio::test]
async fn lines_typed_offline_are_sent_after_the_reconnect() {
    let server = serve(Rules::default()).await;
    let address = server.address();
    let mut ear = listener(address).await;
    let mut chat = Chat::join(address, "ann", &[]);
    chat.shows("online: in #room as ann").await;
    chat.types("one\n").await;
    assert_eq!(said(&mut ear).await, "one");

    server.crash().await;
    chat.shows("offline: connection reset").await;
    chat.shows("next try in").await;
    chat.types("two\nthree\n").await;
    chat.shows("queued: two").await;
    chat.shows("queued: three").await;

    // The new server has another address, so a proxy serves the old one.
    let server = serve(Rules::default()).await;
    let mut ear = listener(server.address()).await;
    let door = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut guest, _) = door.accept().await?;
        let mut inside = TcpStream::connect(server.address()).await?;
        copy_bidirectional(&mut guest, &mut inside).await
    });
    chat.types("/now\n").await;
    chat.shows("online: in #room as ann").await;
    chat.types("four\n").await;
    for line in ["two", "three", "four"] {
        assert_eq!(said(&mut ear).await, line);
    }
    chat.end_input();
    let (status, errors) = chat.ends().await;
    assert!(status.success() && errors.is_empty(), "{errors}");
}

#[tokio::test]
async fn a_pipe_is_sent_completely_before_the_program_ends() {
    let server = serve(Rules::default()).await;
    let mut ear = listener(server.address()).await;
    let mut chat = Chat::join(server.address(), "ann", &[]);
    let lines: Vec<String> = (0..250).map(|n| format!("line {n}")).collect();
    let writing = async {
        chat.types(&lines.join("\n")).await;
        chat.end_input();
        chat.ends().await
    };
    let hearing = async {
        for line in &lines {
            assert_eq!(said(&mut ear).await, *line);
        }
    };
    let ((status, errors), ()) = futures::join!(writing, hearing);
    assert!(status.success() && errors.is_empty(), "{errors}");
}

#[tokio::test]
async fn without_the_option_server_the_program_starts_one() {
    let mut chat = Chat::start(&[]);
    chat.types("hi\n").await;
    chat.end_input();
    chat.shows("online: in #redial as guest").await;
    let (status, errors) = chat.ends().await;
    assert!(status.success() && errors.is_empty(), "{errors}");
}

#[tokio::test]
async fn a_wrong_password_and_a_ban_end_the_program_with_the_reason() {
    let server = serve(Rules {
        password: Some("sesame".into()),
        banned: Some("mallory".into()),
        ..Rules::default()
    })
    .await;
    for (nick, password, reason) in [
        ("ann", "wrong", "chat: wrong password: Password incorrect"),
        (
            "mallory",
            "sesame",
            "chat: banned: You are banned from this server",
        ),
    ] {
        let chat = Chat::join(server.address(), nick, &["--password", password]);
        let (status, errors) = chat.ends().await;
        assert_eq!((status.code(), errors.trim_end()), (Some(1), reason));
    }
}

#[tokio::test]
async fn lines_that_cannot_be_sent_are_reported() {
    // The listener is closed again, so no server has this address.
    let nobody = TcpListener::bind(ANY_PORT)
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut chat = Chat::join(nobody, "ann", &[]);
    chat.types("one\n/frobnicate\ntwo\n/quit\n").await;
    chat.shows("no such command: /frobnicate, see /help").await;
    let (status, errors) = chat.ends().await;
    assert_eq!(status.code(), Some(1));
    assert_eq!(errors, "not sent: one\nnot sent: two\n");
}

#[tokio::test]
async fn lines_that_may_be_lost_are_reported_and_not_sent_again() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let mut chat = Chat::join(listener.local_addr().unwrap(), "ann", &[]);
    // This connection reads a line and breaks before it answers.
    let mut first = welcome(&listener).await;
    chat.types("once\n").await;
    while first.next().await.unwrap().unwrap().command != "PRIVMSG" {}
    first.get_ref().set_zero_linger().unwrap();
    drop(first);
    chat.shows("perhaps not delivered: once").await;
    // This connection answers.
    let mut second = welcome(&listener).await;
    chat.types("twice\n/quit\n").await;
    let mut heard = Vec::new();
    while let Some(Ok(message)) = second.next().await {
        if message.command == "PING" {
            let pong = Message::new("PONG", ["s", message.text()]);
            second.send(pong).await.unwrap();
        }
        heard.push(message.to_string());
    }
    assert_eq!(
        heard,
        [
            "JOIN #room",
            "PRIVMSG #room twice",
            "PING 2",
            "QUIT good-bye"
        ]
    );
    let (status, _) = chat.ends().await;
    assert_eq!(status.code(), Some(1), "a script can notice it");
}

/// Lets `ann` in. The caller reads her JOIN.
async fn welcome(listener: &TcpListener) -> Framed<TcpStream, IrcCodec> {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut lines = Framed::new(stream, IrcCodec);
    while lines.next().await.unwrap().unwrap().command != "USER" {}
    for line in [":s 001 ann :Welcome", ":s 366 ann #room :End"] {
        lines.send(Message::parse(line).unwrap()).await.unwrap();
    }
    lines
}

#[tokio::test]
async fn the_client_comes_back_at_the_slot_of_a_full_server() {
    let period = Duration::from_secs(3);
    let logins = TokenBucket::new(1, period);
    let server = serve(Rules {
        logins: Some(logins),
        ..Rules::default()
    })
    .await;
    let began = Instant::now();
    let _ear = listener(server.address()).await;
    let mut chat = Chat::join(server.address(), "ann", &[]);
    chat.shows("offline: the server is full and gave us a slot")
        .await;
    chat.shows("next try in").await;
    // The server would refuse an attempt before the slot.
    chat.shows("online").await;
    assert!(began.elapsed() >= period, "{:?}", began.elapsed());
    let waits = chat
        .shown
        .iter()
        .filter(|line| line.contains("next try in"));
    assert_eq!(waits.count(), 1, "{:#?}", chat.shown);
}

#[tokio::test]
async fn the_storm_drill_shows_reconnects_within_ten_seconds() {
    let began = Instant::now();
    let mut drill = Chat::start(&["--storm-drill"]);
    drill.shows("the server crashes").await;
    drill.shows("connection reset; tries again in").await;
    drill.shows("is here").await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    drill.shows("all 8 are here").await;
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_says_goodbye_to_the_channel() {
    let server = serve(Rules::default()).await;
    let mut ear = listener(server.address()).await;
    let mut chat = Chat::join(server.address(), "ann", &[]);
    chat.shows("online").await;
    chat.interrupt().await;
    let (status, errors) = chat.ends().await;
    assert!(status.success() && errors.is_empty(), "{errors}");
    timeout(PATIENCE, async {
        while ear.next().await.unwrap().unwrap().text() != "Quit: good-bye" {}
    })
    .await
    .expect("the others hear it");
}

#[tokio::test]
async fn queued_lines_wait_for_company_after_a_reconnect() {
    let server = serve(Rules::default()).await;
    let address = server.address();
    let mut chat = Chat::join(address, "ann", &[]);
    chat.shows("online: in #room as ann").await;
    server.crash().await;
    chat.shows("next try in").await;
    chat.types("hello\n").await;
    chat.shows("queued: hello").await;

    let _server = Server::start(address, Rules::default()).await.unwrap();
    chat.types("/now\n").await;
    chat.shows("online: in #room as ann, alone").await;
    chat.shows("queued lines wait").await;
    let mut ear = listener(address).await;
    assert_eq!(said(&mut ear).await, "hello");
}

#[tokio::test]
async fn now_sends_queued_lines_to_an_empty_channel() {
    let server = serve(Rules::default()).await;
    let address = server.address();
    let mut chat = Chat::join(address, "ann", &[]);
    chat.shows("online: in #room as ann").await;
    server.crash().await;
    chat.shows("next try in").await;
    chat.types("hello\n").await;
    chat.shows("queued: hello").await;

    let _server = Server::start(address, Rules::default()).await.unwrap();
    chat.types("/now\n").await;
    chat.shows("queued lines wait").await;
    chat.types("/now\nbye\n").await;
    chat.end_input();
    let (status, errors) = chat.ends().await;
    assert!(status.success() && errors.is_empty(), "{errors}");
}

#[tokio::test]
async fn crash_says_how_long_the_server_is_down() {
    let mut chat = Chat::start(&[]);
    chat.shows("online: in #redial as guest").await;
    chat.types("/crash\n").await;
    chat.shows("the server is down for 5 s").await;
    chat.types("/crash\n").await;
    chat.shows("the server is down already, for 5 s more").await;
    chat.shows("online: in #redial as guest").await;
}

#[tokio::test]
async fn two_people_who_type_see_no_gap_when_their_server_asks_them_to_move() {
    let mut ann = Chat::start(&["--nick", "ann", "--channel", "room"]);
    let greeting = ann.shows("built-in chat server at ").await;
    let address = greeting.rsplit(' ').next().unwrap();
    let server: SocketAddr = address.parse().unwrap();
    ann.shows("online: in #room as ann").await;
    let mut bob = Chat::join(server, "bob", &[]);
    bob.shows("online: in #room as bob").await;
    ann.shows("bob is here").await;
    let (at_first_ann, at_first_bob) = (ann.shown.len(), bob.shown.len());

    // More lines in a round than go out at a time. So some are under way all the time.
    let rounds_after_the_move = 20;
    let (mut said, mut rounds) = (0, 0);
    while rounds < rounds_after_the_move {
        let lines: Vec<_> = (said..said + 7).map(|n| format!("line {n}")).collect();
        let lines = lines.join("\n") + "\n";
        said += 7;
        let last = format!("line {}", said - 1);
        if said == 70 {
            bob.types("/move\n").await;
            bob.shows("not sent: /move").await;
            ann.types("/move\n").await;
        }
        ann.types(&lines).await;
        bob.types(&lines).await;
        ann.shows(&format!("<bob> {last}")).await;
        bob.shows(&format!("<ann> {last}")).await;
        let have_moved = [&ann, &bob].iter().all(|chat| chat.has_shown("moved to "));
        rounds += i32::from(have_moved);
        // They type for the seconds that a move may take.
        sleep(Duration::from_millis(5)).await;
    }

    for (chat, from, other, nick) in [
        (&ann, at_first_ann, "bob", "ann"),
        (&bob, at_first_bob, "ann", "bob"),
    ] {
        let shown = &chat.shown[from..];
        let (heard, notices): (Vec<_>, Vec<_>) = shown
            .iter()
            .cloned()
            .partition(|line| line.starts_with('<'));
        let all: Vec<_> = (0..said).map(|n| format!("<{other}> line {n}")).collect();
        assert_eq!(heard, all, "each line once, and in order");
        let request = if nick == "ann" {
            "the server asks all to move"
        } else {
            "not sent: /move (this server is not built in)"
        };
        assert_eq!(notices.len(), 2, "{notices:#?}");
        assert_eq!(notices[0], request);
        let words = notices[1].strip_prefix("moved to 127.0.0.1:").unwrap();
        let port = words.strip_suffix(&format!(" as {nick}")).unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), server.port());
    }
    ann.end_input();
    let (status, errors) = ann.ends().await;
    assert!(status.success() && errors.is_empty(), "{errors}");
}

/// More lines than a person may queue, and no server.
#[cfg(unix)]
#[tokio::test]
async fn the_end_of_a_long_input_is_noticed_without_a_server() {
    let nobody = TcpListener::bind(ANY_PORT)
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut chat = Chat::join(nobody, "ann", &[]);
    let lines: Vec<String> = (0..250).map(|n| format!("line {n}")).collect();
    chat.types(&lines.join("\n")).await;
    chat.end_input();
    chat.shows("leaving when everything is delivered, or in 60 s")
        .await;
    chat.interrupt().await;
    let (status, errors) = chat.ends().await;
    assert_eq!(status.code(), Some(1));
    let unsent: Vec<_> = lines
        .iter()
        .map(|line| format!("not sent: {line}"))
        .collect();
    assert_eq!(errors.lines().collect::<Vec<_>>(), unsent);
}

#[tokio::test]
async fn the_program_ends_quietly_when_its_output_has_no_reader() {
    for args in [&[][..], &["--storm-drill"]] {
        let mut chat = Chat::start(args);
        chat.shows("").await;
        let Chat {
            mut program,
            mut input,
            output,
            ..
        } = chat;
        drop(output);
        // The next write notices that the output has no reader.
        let _ = input.as_mut().unwrap().write_all(b"/help\n").await;
        let mut errors = String::new();
        let mut stderr = program.stderr.take().unwrap();
        let end = timeout(PATIENCE, stderr.read_to_string(&mut errors));
        end.await.expect("the program ends").unwrap();
        let status = program.wait().await.unwrap();
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn an_address_without_brackets_will_do_and_nonsense_ends_the_program() {
    Chat::start(&["--server", "::1"]).shows("").await;
    for (nonsense, words) in [
        ("", "is no address, write host or host:port"),
        ("irc example", "is no address, write host or host:port"),
        ("irc.example:x", "is no address, write host or host:port"),
        ("127.0.0.1:0", "no server listens on port 0"),
    ] {
        let (status, errors) = Chat::start(&["--server", nonsense]).ends().await;
        assert_eq!(status.code(), Some(1), "{nonsense:?}");
        assert!(errors.contains(words), "{nonsense:?}: {errors}");
    }
}

#[tokio::test]
async fn the_storm_drill_refuses_other_options() {
    let chat = Chat::start(&["--storm-drill", "--server", "irc.example"]);
    let (status, errors) = chat.ends().await;
    assert_eq!(status.code(), Some(2));
    assert!(
        errors.contains("'--storm-drill' cannot be used with"),
        "{errors}"
    );
}

/// A certificate authority, and the key of a server.
struct Pki {
    authority: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    key: rcgen::KeyPair,
}

impl Pki {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            authority: rcgen::CertifiedIssuer::self_signed(params, key).unwrap(),
            key: rcgen::KeyPair::generate().unwrap(),
        }
    }

    fn certify(&self, name: &str, last_year: i32) -> TlsAcceptor {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&self.key, &self.authority).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        Arc::new(config).into()
    }
}

#[tokio::test]
async fn a_wrong_certificate_ends_the_program_and_a_right_one_does_not() {
    let pki = Pki::new();
    let roots = env::temp_dir().join(format!("redial-chat-{}.pem", std::process::id()));
    std::fs::write(&roots, pki.authority.pem()).unwrap();
    let running = serve(Rules::default()).await;
    let server = running.address();
    let trusting = ["--tls-ca", roots.to_str().unwrap()];
    for (name, last_year, args, reason) in [
        ("127.0.0.1", 2999, &trusting[..], None),
        ("127.0.0.1", 2020, &trusting, Some("certificate expired")),
        (
            "irc.example",
            2999,
            &trusting,
            Some("certificate not valid for name"),
        ),
        ("127.0.0.1", 2999, &["--tls"], Some("UnknownIssuer")),
    ] {
        let acceptor = pki.certify(name, last_year);
        let door = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = door.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = door.accept().await?;
            let mut guest = acceptor.accept(stream).await?;
            let mut inside = TcpStream::connect(server).await?;
            copy_bidirectional(&mut guest, &mut inside).await
        });
        let mut chat = Chat::join(address, "ann", args);
        if reason.is_none() {
            chat.shows("online: in #room as ann").await;
            chat.end_input();
        }
        let (status, errors) = chat.ends().await;
        assert_eq!(status.success(), reason.is_none(), "{errors}");
        let said = errors.contains(reason.unwrap_or_default());
        assert!(said, "{errors}, and not {reason:?}");
    }
    std::fs::remove_file(&roots).unwrap();
}
