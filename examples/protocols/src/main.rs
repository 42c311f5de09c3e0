//! The servers of the examples, as a process that can be killed.
//!
//! ```sh
//! cargo run --package redial-protocols -- sse 127.0.0.1:4000
//! cargo run --package redial-protocols -- sse 127.0.0.1:4000 refuse
//! ```

use redial_protocols::{Mode, argument, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mode = match argument(3, "stay").as_str() {
        "refuse" => Mode::Refuse,
        _ => Mode::Stay,
    };
    let listener = TcpListener::bind(argument(2, "127.0.0.1:4000")).await?;
    serve(&argument(1, "sse"), listener, mode).await
}
