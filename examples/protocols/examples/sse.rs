//! An event stream that goes on where it left off.
//!
//! ```sh
//! cargo run --package redial-protocols --example sse    # with a server of its own
//! ```
//!
//! - **In the connector**: TCP is the dial. The request with its `Last-Event-ID` follows,
//!   until the head of the response is there.
//! - **Verdicts**: the status, and `Retry-After`. A browser ends after one 502 of a deploy.
//! - **To be told to the library**: nothing. A connection of hyper's never retries. Of a
//!   client with a pool, turn off retries, and the timeout of a whole request.
//! - **Half-open connections**: this side cannot ping, so the server must, by comments.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::http::response::Parts;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use redial::codes::{self, Advice};
use redial::{Connect, Redial, tcp};
use redial_protocols::{Failure, Refused, argument, ended, fields, say, server, show};
use tokio::time::timeout;

const SILENCE: Duration = Duration::from_secs(10);
static LAST_ID: Mutex<String> = Mutex::new(String::new());

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let address = argument(1, &server("sse").await?);
    let mut redial = Redial::new(tcp::connect(&address).then(async |tcp| {
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(connection);
        let request = Request::get("/events")
            .header(header::HOST, &address)
            .header(header::ACCEPT, "text/event-stream")
            .header("last-event-id", LAST_ID.lock().unwrap().as_str())
            .body(Empty::<Bytes>::new())?;
        let (head, stream) = sender.send_request(request).await?.into_parts();
        match judge(&head) {
            Some(_) => Err(Refused(head).into()),
            None => Ok::<_, Failure>(stream),
        }
    }))
    .advise(|error| judge(&error.downcast_ref::<Refused>()?.0))
    .observe(say);
    Ok(ended(redial.run(read).await))
}

/// `None` if it is an event stream.
fn judge(head: &Parts) -> Option<Advice> {
    let field = |name: &str| head.headers.get(name)?.to_str().ok();
    match head.status.as_u16() {
        status @ ..300 => codes::sse::response(status, field("content-type")),
        status => codes::http::response(status, field),
    }
}

async fn read(mut stream: Incoming) -> Result<ControlFlow<()>, Failure> {
    let mut received = Vec::new();
    loop {
        let frame = timeout(SILENCE, stream.frame()).await;
        let Some(frame) = frame.map_err(|_| "nothing received for 10 s")? else {
            return Ok(ControlFlow::Continue(()));
        };
        received.extend(frame?.into_data().unwrap_or_default());
        for (name, value) in fields(&mut received) {
            match name.as_str() {
                "id" => *LAST_ID.lock().unwrap() = value,
                "data" => show!("{value}"),
                _ => {}
            }
        }
    }
}
