//! A server that is to be restarted asks its clients to leave. They move to another server
//! while everybody goes on talking, and nobody sees a gap.
//!
//! ```sh
//! cargo run --example drain
//! ```
//!
//! Lines that you type are said in the room, too.

mod show;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{AttemptInfo, Event, Redial, SessionEvent, with_info};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use show::show;

/// How many lines Ann says.
const LINES: u64 = 40;
/// So long before its end the first server tells its clients.
const LEAD: Duration = Duration::from_secs(6);

type Lines = Framed<TcpStream, LinesCodec>;

/// Both servers are doors to the same room. It numbers what is said.
#[derive(Clone)]
struct Room {
    said: Arc<Mutex<u64>>,
    lines: broadcast::Sender<String>,
}

impl Room {
    fn say(&self, line: &str) {
        let mut said = self.said.lock().unwrap();
        *said += 1;
        let _ = self.lines.send(format!("{said} {line}"));
    }
}

/// Where the clients of a server are to go, once it leaves.
type Notice = watch::Receiver<Option<SocketAddr>>;

async fn server(listener: TcpListener, room: Room, notice: Notice) {
    while let Ok((stream, _)) = listener.accept().await {
        let lines = Framed::new(stream, LinesCodec::new());
        tokio::spawn(serve(lines, room.clone(), notice.clone()));
    }
}

async fn serve(mut client: Lines, room: Room, mut notice: Notice) {
    let mut heard = room.lines.subscribe();
    let mut end = None;
    loop {
        let line = tokio::select! {
            Some(Ok(line)) = client.next() => {
                room.say(&line);
                continue;
            }
            Ok(line) = heard.recv() => line,
            Ok(()) = notice.changed() => {
                let Some(other) = *notice.borrow_and_update() else { continue };
                end = Some(Instant::now() + LEAD);
                format!("LEAVING {} {other}", LEAD.as_millis())
            }
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
            else => return,
        };
        if client.send(line).await.is_err() {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let room = Room {
        said: Arc::default(),
        lines: broadcast::channel(64).0,
    };
    let (first, other) = (listen().await?, listen().await?);
    let (leave, notice) = watch::channel(None);
    let (_stays, no_notice) = watch::channel(None);
    let (first_address, other_address) = (first.local_addr()?, other.local_addr()?);
    let serving = tokio::spawn(server(first, room.clone(), notice));
    tokio::spawn(server(other, room.clone(), no_notice));

    let start = Instant::now();
    let say = move |what: &str| show!("{:5.2} s  {what}", start.elapsed().as_secs_f64());
    let mut server = first_address;
    let mut session = Redial::new(with_info(move |info: AttemptInfo<'_, LinesCodecError>| {
        // The attempt of the renewal is told where to go.
        if let Some(hint) = info.hint().and_then(|hint| hint.parse().ok()) {
            server = hint;
        }
        let dial = TcpStream::connect(server);
        async move { Ok(Framed::new(dial.await?, LinesCodec::new())) }
    }))
    .observe(move |event: &Event<'_, LinesCodecError>| match event {
        Event::RenewalDue { .. } => say("-- dials the other server --"),
        Event::Lost { .. } => say("-- lost --"),
        _ => {}
    })
    .into_session();
    session.next().await.ok_or("the session ends")??;
    say("-- in the room, by the first server --");

    // The first server leaves after two seconds, and Ann talks all the time.
    tokio::spawn(async move {
        sleep(Duration::from_secs(2)).await;
        let _ = leave.send(Some(other_address));
        sleep(LEAD).await;
        serving.abort();
    });
    let ann = room.clone();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(250));
        for number in 1..=LINES {
            ticks.tick().await;
            ann.say(&format!("<ann> line {number} of {LINES}"));
        }
    });

    let (type_line, mut typed) = mpsc::unbounded_channel();
    // In a thread of its own, which ends with the program.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if type_line.send(line).is_err() {
                return;
            }
        }
    });
    let (mut last, mut losses) = (0, 0);
    let (mut heard_at, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let event = tokio::select! {
            event = session.next() => event.ok_or("the session ends")??,
            Some(line) = typed.recv() => {
                session.send(format!("<you> {line}")).await?;
                continue;
            }
        };
        match event {
            SessionEvent::Up => say("-- in the room, by the other server --"),
            SessionEvent::Down { .. } => losses += 1,
            SessionEvent::Item(line) => {
                let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
                if first == "LEAVING" {
                    let (millis, other) = rest.split_once(' ').ok_or("no address")?;
                    say("-- the first server leaves in six seconds --");
                    session.renew_with_hint(Duration::from_millis(millis.parse()?), other);
                    continue;
                }
                // While both connections are there, each brings the line.
                let number: u64 = first.parse()?;
                if number <= last {
                    continue;
                }
                let missed = number - last - 1;
                if missed > 0 {
                    say(&format!("-- {missed} lines are missing --"));
                    losses += missed;
                }
                last = number;
                longest = longest.max(heard_at.elapsed());
                heard_at = Instant::now();
                say(rest);
                if rest.ends_with(&format!("{LINES} of {LINES}")) {
                    break;
                }
            }
        }
    }
    show!(
        "the longest pause was {} ms, and {losses} lines or connections were lost",
        longest.as_millis()
    );
    Ok(if losses == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}
