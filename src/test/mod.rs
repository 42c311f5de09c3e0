//! A kit for the tests of programs that reconnect (feature `test-util`).
//!
//! | | what it does |
//! |---|---|
//! | [`Script`] | a connector whose attempts and connections go as the test says |
//! | [`Server`] | the other ends of its connections |
//! | [`Faults`] | loses, silences, delays and cuts any stream, sink or bytes |
//! | [`Recorder`] | an observer that keeps what the driver did |
//! | [`Waits`] | waits, and assertions on them |
//! | [`paused`] | runs a test on a clock that leaps over waits |
//!
//! ```
//! use redial::Redial;
//! use redial::test::{Recorder, Script, paused};
//! use std::time::Duration;
//!
//! paused(async {
//!     let (connector, mut server) = Script::new()
//!         .refuse()
//!         .times(3)
//!         .connect()
//!         .lose_after(Duration::from_secs(5))
//!         .connect()
//!         .bytes();
//!     let recorder = Recorder::new();
//!     let mut redial = Redial::new(connector).observe(recorder.observer());
//!
//!     redial.ready().await.unwrap();
//!     assert_eq!(server.attempts(), 4);
//!     assert_eq!(recorder.waits().len(), 3);
//!
//!     let mut end = server.accept().await;
//!     end.say(b"hello\n");
//! });
//! ```
//!
//! Only tests need this module. So enable the feature in `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! redial = { version = "0.1", features = ["test-util"] }
//! ```

mod channel;
mod faults;
mod faulty;
mod pipe;
mod recorder;
mod script;
mod scripted;
mod server;
mod waits;

pub use crate::scripted_error::ScriptedError;
pub use channel::Channel;
pub use faults::{Faults, When};
pub use faulty::{FaultyIo, FaultyItems};
pub use pipe::Pipe;
pub use recorder::{Record, Recorder, What};
pub use script::Script;
pub use scripted::{Scripted, ScriptedAttempt};
pub use server::Server;
pub use waits::{Waits, most_within};

/// Runs a future on a clock of its own, which stands still while the future works,
/// and leaps over its waits: hours take milliseconds.
///
/// The same as the attribute `#[tokio::test(start_paused = true)]`, for tests that
/// run the same future several times, such as property tests. The runtime has a
/// clock and no sockets. A future that waits for something real, such as another
/// thread, sees the clock leap meanwhile.
///
/// ```
/// use redial::test::paused;
/// use std::time::Duration;
///
/// paused(async {
///     tokio::time::sleep(Duration::from_secs(3600)).await;
/// });
/// ```
///
/// # Panics
///
/// If it is called inside of a runtime, or if the system has no room for one.
pub fn paused<F: Future>(future: F) -> F::Output {
    crate::clock::on_paused_clock(future)
}
