//! A separate task keeps the connection up. The rest of the program uses the
//! connection through channels.
//!
//! ```sh
//! cargo run --example supervised
//! ```

mod show;

use std::io;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use redial::{Connect, Redial, SessionEvent, tcp};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use show::show;

/// The task. It ends when all senders are dropped.
async fn supervise(
    server: String,
    mut to_send: mpsc::Receiver<String>,
    heard: mpsc::Sender<String>,
) {
    let mut session = Redial::new(
        tcp::connect(server)
            .then(async |stream| Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))),
    )
    .into_session();
    loop {
        tokio::select! {
            event = session.next() => match event {
                Some(Ok(SessionEvent::Up)) => show!("online"),
                Some(Ok(SessionEvent::Item(line))) => drop(heard.send(line).await),
                Some(Ok(SessionEvent::Down { .. })) => show!("offline"),
                Some(Err(error)) => return show!("{error}"),
                None => return,
            },
            line = to_send.recv() => match line {
                Some(line) => {
                    if let Err(error) = session.send(line).await {
                        show!("{error}");
                    }
                }
                None => return,
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let (send, to_send) = mpsc::channel(16);
    let (heard, mut hear) = mpsc::channel(16);
    let task = tokio::spawn(supervise(echo_server().await?, to_send, heard));
    for number in 1..=4 {
        // This part need not know whether the connection is up. But a line can be
        // lost with a connection, and only the program knows whether sending the
        // line twice is safe.
        loop {
            drop(send.send(format!("line {number}")).await);
            if let Ok(line) = timeout(Duration::from_secs(2), hear.recv()).await {
                show!("heard: {}", line.unwrap_or_default());
                break;
            }
            show!("no answer to line {number}: asking again");
        }
    }
    drop(send);
    task.await.map_err(io::Error::other)
}

/// A server that echoes each line, and drops each client after two lines.
async fn echo_server() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut client = Framed::new(stream, LinesCodec::new());
            for _ in 0..2 {
                if let Some(Ok(line)) = client.next().await {
                    let _ = client.send(line).await;
                }
            }
            // Gives the client time to read the last line.
            sleep(Duration::from_millis(100)).await;
        }
    });
    Ok(address)
}
