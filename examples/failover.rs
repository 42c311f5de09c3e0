//! Two servers, each a process of its own. The one that the client uses is killed, again
//! and again, and the client goes on at the other.
//!
//! ```sh
//! cargo run --example failover
//! ```

mod show;

use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Connect, Endpoints, Event, Redial, SessionEvent, tcp};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, sleep};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use show::show;

/// How often a server is killed.
const KILLS: usize = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, port] = &arguments[..] {
        assert_eq!(serve, "serve", "usage: failover");
        return Ok(serve_on(port).await?);
    }
    let ports = free_ports().await?;
    let mut servers = Vec::new();
    for port in ports {
        servers.push(Server::start(port)?);
    }
    let endpoints = Endpoints::new(ports.map(|port| format!("127.0.0.1:{port}")));
    let names = endpoints.servers();
    let mut session =
        Redial::new(endpoints.connect_with(|server| tcp::connect(server.as_str()).then(log_in)))
            // Half a second is enough here to end an outage. So each loss begins a new one, whose
            // first wait is a second at most.
            .stable_after(Duration::from_millis(500))
            .observe(move |event| match event {
                Event::Trying { server, .. } => show!("  trying {}", names[*server]),
                Event::ServerFailed { server, .. } => show!("  {} is down", names[*server]),
                _ => {}
            })
            .into_session();

    let mut killed = Instant::now();
    let mut lines = 0;
    let mut kills = 0;
    while let Some(event) = session.next().await {
        match event? {
            SessionEvent::Up if kills == 0 => show!("online"),
            SessionEvent::Up => show!("online after {:?}", killed.elapsed()),
            SessionEvent::Down { .. } => show!("offline"),
            SessionEvent::Item(line) => {
                lines += 1;
                show!("{line}");
                if lines % 5 > 0 {
                    continue;
                }
                if kills == KILLS {
                    break;
                }
                // The last word of a line is the server's port.
                let used = line.rsplit(' ').next().and_then(|port| port.parse().ok());
                for server in &mut servers {
                    if Some(server.port) == used {
                        show!("killing {}", server.port);
                        server.process.kill()?;
                        server.process.wait()?;
                    } else if server.process.try_wait()?.is_some() {
                        show!("starting {} again", server.port);
                        *server = Server::start(server.port)?;
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                killed = Instant::now();
                kills += 1;
            }
        }
    }
    show!("heard {lines} lines, and {kills} servers were killed");
    Ok(())
}

/// The login: a hello, and the server's answer.
async fn log_in(stream: TcpStream) -> Result<Framed<TcpStream, LinesCodec>, LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new());
    lines.send("hello").await?;
    match lines.next().await {
        Some(Ok(_)) => Ok(lines),
        Some(Err(error)) => Err(error),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// A server in a process of its own. It ends with this one, also if this one is killed:
/// its standard input ends then.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start(port: u16) -> io::Result<Self> {
        let process = Command::new(std::env::current_exe()?)
            .args(["serve", &port.to_string()])
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self { port, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server's process does: it greets each client, and then sends it a line each
/// 200 ms.
async fn serve_on(port: &str) -> io::Result<()> {
    thread::spawn(|| {
        let _ = io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let port = port.to_string();
        tokio::spawn(async move {
            let mut lines = Framed::new(stream, LinesCodec::new());
            lines.next().await;
            lines.send(format!("welcome to {port}")).await?;
            let mut ticks = interval(Duration::from_millis(200));
            for number in 1.. {
                ticks.tick().await;
                lines.send(format!("line {number} of {port}")).await?;
            }
            Ok::<_, LinesCodecError>(())
        });
    }
}

/// Two ports on which nobody listens yet.
async fn free_ports() -> io::Result<[u16; 2]> {
    let one = TcpListener::bind("127.0.0.1:0").await?;
    let other = TcpListener::bind("127.0.0.1:0").await?;
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}
