//! A connector whose attempts go as a test says.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;
use std::io;

use super::channel::Channel;
use super::faults::{Faults, When};
use super::faulty::{FaultyIo, FaultyItems};
use super::pipe::Pipe;
use super::scripted::Scripted;
use super::server::{Log, Server};
use crate::policy::Cause;
use crate::scripted_error::ScriptedError;
use crate::verdict::Verdict;

/// What happens to each attempt of a connector, and to each of its connections.
///
/// Each of [`refuse`](Self::refuse), [`fail`](Self::fail),
/// [`fail_with`](Self::fail_with), [`stall`](Self::stall) and
/// [`connect`](Self::connect) adds a step. The other methods change the latest step.
/// Every attempt uses one step. The last method makes the connector, and says what its
/// connections are: [`bytes`](Self::bytes), [`items`](Self::items) or
/// [`connections`](Self::connections) of your own.
///
/// ```
/// use redial::test::{Script, paused};
/// use redial::{Redial, Verdict};
/// use std::time::Duration;
///
/// let secs = Duration::from_secs;
/// paused(async {
///     let (connector, server) = Script::new()
///         .refuse().times(3)
///         .stall()
///         .fail(Verdict::RetryAfter(secs(60))).after(secs(1))
///         .connect().lose_after(secs(5))
///         .connect()
///         .bytes();
///     let mut redial = Redial::new(connector);
///     redial.ready().await.unwrap();
///     assert_eq!(server.attempts(), 6);
/// });
/// ```
///
/// # Errors
///
/// The connector's errors are [`io::Error`]s that a driver judges as the script says,
/// also if it has no classifier; see [`ScriptedError`]. To script errors of your own
/// type, begin with [`with_errors`](Self::with_errors), or add a step with
/// [`Connect::then`](crate::Connect::then), which converts them.
///
/// # Phases
///
/// The connector does not tell the phases of its attempts, as closures do not. So a
/// stall is [`Cause::Stalled`] after 13 s. As the first step of [`Connect::then`](crate::Connect::then), a
/// script is the dial: a stall there is [`Cause::Down`] after 5 s. To stall the second
/// step, let the script connect, and let the server say nothing.
#[must_use = "a script does nothing before its last method makes a connector"]
pub struct Script<E = io::Error> {
    steps: VecDeque<Step<E>>,
}

/// What happens to one attempt, or to several.
pub(super) struct Step<E> {
    pub(super) outcome: Outcome<E>,
    pub(super) after: Duration,
    pub(super) times: Times,
}

pub(super) enum Outcome<E> {
    Fail(Box<dyn FnMut() -> E + Send>),
    Stall,
    Connect(Faults),
}

#[derive(Clone, Copy)]
pub(super) enum Times {
    Left(u32),
    Forever,
}

impl Script {
    /// A script without steps, whose errors are [`io::Error`]s.
    pub fn new() -> Self {
        Self::with_errors()
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Script<E> {
    /// A script without steps, whose errors are of another type.
    ///
    /// ```
    /// use redial::codes::{Advice, http};
    /// use redial::test::{Recorder, Script, paused};
    /// use redial::{Redial, Verdict};
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// enum Failure { Io(io::Error), Status(u16) }
    ///
    /// impl From<io::Error> for Failure {
    ///     fn from(error: io::Error) -> Self { Self::Io(error) }
    /// }
    ///
    /// fn advice(failure: &Failure) -> Option<Advice> {
    ///     match failure {
    ///         Failure::Io(error) => Some(error.into()),
    ///         Failure::Status(status) => http::upgrade_response(*status, |_| None),
    ///     }
    /// }
    ///
    /// paused(async {
    ///     let (connector, _server) = Script::<Failure>::with_errors()
    ///         .refuse()
    ///         .fail_with(|| Failure::Status(401))
    ///         .bytes();
    ///     let recorder = Recorder::new();
    ///     let mut redial = Redial::new(connector).advise(advice).observe(recorder.observer());
    ///     assert!(redial.ready().await.unwrap_err().is_stopped());
    ///     assert_eq!(recorder.verdicts(), [Verdict::default(), Verdict::Stop]);
    /// });
    /// ```
    pub fn with_errors() -> Self {
        Self {
            steps: VecDeque::new(),
        }
    }

    /// The next attempt fails at once: nobody listens. The verdict is `Retry(Down)`.
    pub fn refuse(self) -> Self
    where
        E: From<io::Error>,
    {
        self.fail(Verdict::Retry(Cause::Down))
    }

    /// The next attempt fails at once, with an error of this verdict.
    pub fn fail(self, verdict: Verdict) -> Self
    where
        E: From<io::Error>,
    {
        self.fail_with(move || io::Error::from(ScriptedError::new(verdict)).into())
    }

    /// The next attempt fails at once, with this error.
    pub fn fail_with(self, error: impl FnMut() -> E + Send + 'static) -> Self {
        self.step(Outcome::Fail(Box::new(error)))
    }

    /// The next attempt never ends.
    pub fn stall(self) -> Self {
        self.step(Outcome::Stall)
    }

    /// The next attempt connects at once. The connection stays, until one of its ends
    /// is dropped.
    pub fn connect(self) -> Self {
        self.step(Outcome::Connect(Faults::new()))
    }

    fn step(mut self, outcome: Outcome<E>) -> Self {
        self.steps.push_back(Step {
            outcome,
            after: Duration::ZERO,
            times: Times::Left(1),
        });
        self
    }

    /// The latest step is that of so many attempts, one after the other. If that is 0,
    /// the step is left out.
    ///
    /// # Panics
    ///
    /// If there is no step.
    #[track_caller]
    pub fn times(mut self, attempts: u32) -> Self {
        self.latest("times").times = Times::Left(attempts);
        self
    }

    /// The latest step is that of all attempts from there on.
    ///
    /// # Panics
    ///
    /// If there is no step.
    #[track_caller]
    pub fn forever(mut self) -> Self {
        self.latest("forever").times = Times::Forever;
        self
    }

    /// The attempt of the latest step fails or connects after so long, and not at
    /// once.
    ///
    /// # Panics
    ///
    /// If there is no step.
    #[track_caller]
    pub fn after(mut self, time: Duration) -> Self {
        self.latest("after").after = time;
        self
    }

    /// The connection of the latest step is lost when it has been up for so long; see
    /// [`Faults::lose`].
    ///
    /// # Panics
    ///
    /// If the latest step is not [`connect`](Self::connect).
    #[track_caller]
    pub fn lose_after(self, time: Duration) -> Self {
        self.change("lose_after", |faults| faults.lose(When::After(time)))
    }

    /// The connection of the latest step has these faults. If the step is that of
    /// several attempts, each connection draws other random numbers.
    ///
    /// ```
    /// use redial::Redial;
    /// use redial::test::{Faults, Script, When};
    ///
    /// // Every connection breaks somewhere in its first thousand bytes.
    /// let faults = Faults::new().seed(1).lose(When::ReadWithin(1000));
    /// let (connector, server) = Script::new().connect().faults(faults).forever().bytes();
    /// let mut redial = Redial::new(connector);
    /// ```
    ///
    /// # Panics
    ///
    /// If the latest step is not [`connect`](Self::connect).
    #[track_caller]
    pub fn faults(self, faults: Faults) -> Self {
        self.change("faults", |_| faults)
    }

    #[track_caller]
    fn change(mut self, what: &str, change: impl FnOnce(Faults) -> Faults) -> Self {
        match &mut self.latest(what).outcome {
            Outcome::Connect(faults) => *faults = change(core::mem::take(faults)),
            _ => panic!("{what}: the step before it must be `connect`"),
        }
        self
    }

    #[track_caller]
    fn latest(&mut self, what: &str) -> &mut Step<E> {
        match self.steps.back_mut() {
            Some(step) => step,
            None => panic!("{what}: there is no step before it"),
        }
    }

    // ---- the connector

    /// The connector, with connections of bytes, and the server that has their other
    /// ends.
    pub fn bytes(self) -> (Scripted<FaultyIo<Pipe>, E>, Server<Pipe>) {
        self.bytes_with(Pipe::pair)
    }

    /// As [`bytes`](Self::bytes), with connections in which a write waits while the
    /// other end has so many bytes unread; see [`Pipe::with_room`].
    pub fn bytes_with_room(self, bytes: usize) -> (Scripted<FaultyIo<Pipe>, E>, Server<Pipe>) {
        self.bytes_with(move || Pipe::with_room(bytes))
    }

    fn bytes_with(
        self,
        pair: impl Fn() -> (Pipe, Pipe) + Send + 'static,
    ) -> (Scripted<FaultyIo<Pipe>, E>, Server<Pipe>) {
        let log = Log::new();
        let server = Server(log.clone());
        let make = move |faults: Faults| {
            let (ours, theirs) = pair();
            log.connected(theirs);
            faults.on_bytes(ours)
        };
        (self.scripted(server.0.clone(), make), server)
    }

    /// The connector, with connections that are a stream of `In` and a sink of `Out`,
    /// and the server that has their other ends.
    ///
    /// ```
    /// use futures::{SinkExt, StreamExt};
    /// use redial::test::{Script, paused};
    /// use redial::{Redial, SessionEvent};
    ///
    /// paused(async {
    ///     let (connector, mut server) = Script::new().connect().items::<String, u32>();
    ///     let mut session = Redial::new(connector).into_session();
    ///     session.send(7).await.unwrap();
    ///     assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    ///     assert_eq!(server.accept().await.hear().await, Some(7));
    /// });
    /// ```
    #[allow(clippy::type_complexity)] // an alias would hide what a connection is
    pub fn items<In, Out>(
        self,
    ) -> (
        Scripted<FaultyItems<Channel<In, Out, E>>, E>,
        Server<Channel<Out, In, E>>,
    )
    where
        In: Send + 'static,
        Out: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let log = Log::new();
        let server = Server(log.clone());
        let make = move |faults: Faults| {
            let (ours, theirs) = Channel::pair();
            log.connected(theirs);
            faults.on_items(ours)
        };
        (self.scripted(server.0.clone(), make), server)
    }

    /// The connector, with connections that this closure makes: anything, such as a
    /// mock of a client library. The closure gets the faults of the step, and may
    /// apply them. [`Server::accept`] only says that there was a connection.
    ///
    /// ```
    /// use redial::Redial;
    /// use redial::test::{Script, paused};
    ///
    /// paused(async {
    ///     let mut number = 0;
    ///     let (connector, server) = Script::new().refuse().connect().forever().connections(move |_| {
    ///         number += 1;
    ///         number
    ///     });
    ///     let mut redial = Redial::new(connector);
    ///     assert_eq!(*redial.ready().await.unwrap(), 1);
    ///     redial.lost();
    ///     assert_eq!(*redial.ready().await.unwrap(), 2);
    ///     assert_eq!(server.attempts(), 3);
    /// });
    /// ```
    pub fn connections<T>(
        self,
        mut make: impl FnMut(Faults) -> T + Send + 'static,
    ) -> (Scripted<T, E>, Server<()>) {
        let log = Log::new();
        let server = Server(log.clone());
        let make = move |faults| {
            log.connected(());
            make(faults)
        };
        (self.scripted(server.0.clone(), make), server)
    }

    fn scripted<T, S: Send + 'static>(
        self,
        log: Arc<Log<S>>,
        make: impl FnMut(Faults) -> T + Send + 'static,
    ) -> Scripted<T, E> {
        Scripted::new(self.steps, move || log.attempted(), make)
    }
}

impl<E> fmt::Debug for Script<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}
