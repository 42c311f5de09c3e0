//! An [`Outage`] without a runtime: plain threads and blocking sockets.
//!
//! ```sh
//! cargo run --no-default-features --features std --example blocking
//! ```

mod show;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use redial::{Next, Outage, Stratified, Verdict};

use show::show;

fn main() -> io::Result<()> {
    let server = serve()?;
    let start = Instant::now();
    let mut outage = Outage::new(Stratified::default()).max_elapsed(Duration::from_secs(60));
    loop {
        let timeout = outage.connecting(start.elapsed());
        let next = match TcpStream::connect_timeout(&server, timeout) {
            Ok(stream) => {
                outage.connected(start.elapsed());
                show!("{:5.2} s  online", start.elapsed().as_secs_f64());
                match session(stream) {
                    Ok(()) => return Ok(()),
                    Err(error) => {
                        show!("{:5.2} s  lost: {error}", start.elapsed().as_secs_f64());
                        outage.lost(start.elapsed())
                    }
                }
            }
            Err(error) => {
                show!("{:5.2} s  {error}", start.elapsed().as_secs_f64());
                outage.failed(start.elapsed(), Verdict::from(&error))
            }
        };
        match next {
            Next::Wait(wait) => sleep(wait),
            Next::GiveUp(reason) => return Err(io::Error::other(reason.to_string())),
        }
    }
}

/// Reads lines until the server says goodbye.
fn session(stream: TcpStream) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        show!("         {line}");
        if line == "goodbye" {
            return Ok(());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// A server that drops its first client and goes down for a second. Then it says
/// goodbye to its second client.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    spawn(move || -> io::Result<()> {
        listener.accept()?.0.write_all(b"hello\n")?;
        drop(listener);
        sleep(Duration::from_secs(1));
        TcpListener::bind(address)?
            .accept()?
            .0
            .write_all(b"hello again\ngoodbye\n")
    });
    Ok(address)
}
