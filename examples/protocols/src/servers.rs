//! Servers of a few lines: each one counts aloud, and can refuse all logins.

use std::io::{self, ErrorKind};
use std::time::Duration;

use futures::SinkExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Server, server::TcpIncoming};

/// How a server treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It ends each connection after three seconds.
    Demo,
    /// It keeps them.
    Stay,
    /// It refuses their login.
    Refuse,
}

const SECOND: Duration = Duration::from_secs(1);

/// In seconds.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// Starts a server that ends each connection after some seconds. Returns its address.
///
/// # Errors
///
/// If no port is free.
pub async fn server(protocol: &'static str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { serve(protocol, listener, Mode::Demo).await });
    Ok(address)
}

/// Runs the server of a protocol: `websocket`, `sse` or `grpc`.
///
/// # Errors
///
/// If there is no such server, or if its port is lost.
pub async fn serve(protocol: &str, listener: TcpListener, mode: Mode) -> io::Result<()> {
    if protocol == "grpc" {
        return serve_grpc(listener, mode).await;
    }
    for connection in 0_usize.. {
        let (tcp, _) = listener.accept().await?;
        match protocol {
            "websocket" => drop(tokio::spawn(serve_websocket(tcp, mode))),
            "sse" => drop(tokio::spawn(serve_events(tcp, mode, connection % 2 == 1))),
            _ => return Err(ErrorKind::Unsupported.into()),
        }
    }
    Ok(())
}

/// How many seconds a connection lasts.
fn seconds(mode: Mode) -> u64 {
    if mode == Mode::Demo { 3 } else { YEAR }
}

async fn serve_websocket(tcp: TcpStream, mode: Mode) -> Option<()> {
    #[allow(clippy::result_large_err, reason = "the library says so")]
    let answer = |_: &Request, response: Response| {
        if mode != Mode::Refuse {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tonic::codegen::http::StatusCode::UNAUTHORIZED;
        Err(refusal)
    };
    let mut socket = accept_hdr_async(tcp, answer).await.ok()?;
    for number in 1..=seconds(mode) {
        socket
            .send(Message::from(format!("number {number}")))
            .await
            .ok()?;
        // It must be polled to answer pings.
        let _ = timeout(SECOND, futures::StreamExt::count(&mut socket)).await;
    }
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "a deployment".into(),
    };
    socket.close(Some(frame)).await.ok()
}

/// Goes on where the client left off. In the demo, every other request is too many.
async fn serve_events(tcp: TcpStream, mode: Mode, is_busy: bool) -> Option<()> {
    let mut tcp = BufReader::new(tcp);
    let (mut line, mut last) = (String::new(), 0);
    while tcp.read_line(&mut line).await.ok()? > 2 {
        if let Some(id) = line.to_lowercase().strip_prefix("last-event-id:") {
            last = id.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let head: &[u8] = match mode {
        Mode::Refuse => b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        Mode::Demo if is_busy => {
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
        }
        _ => b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    };
    tcp.write_all(head).await.ok()?;
    if !head.starts_with(b"HTTP/1.1 200") {
        return None;
    }
    for id in last + 1..=last + seconds(mode) {
        let event = format!("id: {id}\ndata: number {id}\n\n");
        tcp.write_all(event.as_bytes()).await.ok()?;
        sleep(SECOND).await;
    }
    None
}

async fn serve_grpc(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut listener = Some(listener);
    loop {
        let (_reporter, health) = tonic_health::server::health_reporter();
        let service = InterceptedService::new(health, move |request| match mode {
            Mode::Refuse => Err(tonic::Status::unauthenticated("unknown token")),
            Mode::Demo | Mode::Stay => Ok(request),
        });
        let listener = match listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(address).await?,
        };
        let life = sleep(Duration::from_secs(seconds(mode)));
        // At its end it tells its clients to go.
        Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), life)
            .await
            .map_err(io::Error::other)?;
        sleep(SECOND).await;
    }
}
