//! Many connections share one budget. If all are lost at once, the process still
//! makes at most ten attempts a second.
//!
//! ```sh
//! cargo run --example pool
//! ```

mod show;

use std::io;
use std::pin::pin;
use std::time::Duration;

use redial::{Redial, TokenBucket, tcp};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use show::show;

const CONNECTIONS: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let server = server_that_dies_after(Duration::from_secs(1)).await?;
    let budget = TokenBucket::new(1, Duration::from_millis(100));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=CONNECTIONS {
        let mut redial = Redial::new(tcp::connect(server)).budget(&budget);
        tasks.spawn(async move {
            // The first connect takes no token, so all connections are up at once.
            let stream = redial.ready().await?;
            let _ = stream.read_u8().await;
            redial.lost();
            redial.ready().await?;
            show!(
                "{:5.2} s  connection {number} is back",
                start.elapsed().as_secs_f64()
            );
            Ok::<_, redial::Error<io::Error>>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn server_that_dies_after(life: Duration) -> io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut clients = Vec::new();
        let mut dead = false;
        let mut death = pin!(sleep(life));
        loop {
            tokio::select! {
                Ok((client, _)) = listener.accept() => clients.push(client),
                () = &mut death, if !dead => {
                    show!("{:5.2} s  the server drops all {}", life.as_secs_f64(), clients.len());
                    clients.clear();
                    dead = true;
                }
            }
        }
    });
    Ok(address)
}
