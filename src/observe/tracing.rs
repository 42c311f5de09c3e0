//! Spans and events of outages.

use alloc::string::{String, ToString};
use core::fmt::Display;
use core::time::Duration;

use tracing::{Level, Span, event, span};

use super::course::{Change, Course};
use super::name;
use crate::bucket::Source;
use crate::driver::Event;
use crate::nanos::readable;
use crate::verdict::Verdict;

/// An observer that makes a span of each outage, with an event for what happens in it.
///
/// ```
/// use redial::{Redial, observe, tcp};
///
/// let redial = Redial::new(tcp::connect("chat.example:6667"))
///     .observe(observe::Tracing::new().observer());
/// ```
///
/// A subscriber that prints lines, here `tracing_subscriber::fmt()` with its default
/// level, then shows this for a server that restarts:
///
/// ```text
/// INFO redial: connected attempt=1
/// INFO outage{outage=1}: redial: connection lost cause="down" error="unexpected end of file"
/// INFO outage{outage=1}: redial: connected attempt=3 elapsed=3.408s
/// ```
///
/// # Events
///
/// All have the target `redial`.
///
/// | message | level | fields |
/// |---|---|---|
/// | `connection lost` | INFO, or DEBUG if an outage goes on | `cause`, `asked`, `error`, `actor` |
/// | `attempt failed` | DEBUG, or INFO if an outage begins with it | `attempt`, `cause`, `asked`, `error`, `actor` |
/// | `connecting`, `established` | DEBUG | `attempt` |
/// | `trying a server`, `a server took the client` | DEBUG | `attempt`, `server` |
/// | `server failed` | DEBUG | as `attempt failed`, and `server` |
/// | `waiting` | DEBUG | `attempt`, `wait`, `budget` |
/// | `hint cut` | DEBUG | `asked`, `cap` |
/// | `connected` | INFO | `attempt`, `elapsed` |
/// | `gave up` | WARN | `reason`, `actor` |
/// | `renewal due` | DEBUG | `attempt` |
/// | `renewed` | INFO | `attempt` |
/// | `renewal failed` | DEBUG | `attempt`, `cause`, `asked`, `error`, `actor` |
/// | `suspended`, `closed` | DEBUG | |
///
/// - `attempt` is the number of the attempt in its outage, counted from 1. A wait has the
///   number of the attempt that follows. A renewal counts on its own.
/// - `cause` is the verdict: `down`, `busy`, `stalled`, `retry_after`, `slot` or `stop`.
///   `asked` is the time that comes with `retry_after` and `slot`.
/// - `error` is the text of the error, as `{error:#}` prints it: anyhow's error then
///   prints its sources, too. A connection that was dropped because its peer was silent
///   has the text of [`Silent`](crate::Silent). An attempt without an answer has none.
/// - `actor` says who must act, if that is [known](crate::Redial::advise).
/// - `budget` says where the token comes from, if the wait is that of the
///   [budget](crate::Redial::budget): `local`, `shared` or `fallback`.
/// - `wait`, `asked`, `elapsed` and `cap` are times, such as `1.503s`.
///
/// # Spans
///
/// The span `outage` begins with the loss, or with the first connect that fails. It ends
/// when there is a connection, or when the driver gives up or is closed or dropped. Its
/// field `outage` counts the outages of this driver. If a connection is lost before it
/// was [stable](crate::Config::stable_after), its outage goes on: the next span has the
/// same number, and `attempts`, the number of attempts that the outage has had.
///
/// The span has the level WARN, so that a program that logs only warnings still sees
/// which outage it was that the driver gave up.
///
/// # Your own fields
///
/// What identifies the connection is best in a span of your own:
///
/// ```
/// use redial::{Redial, observe, tcp};
///
/// let server = "chat.example:6667";
/// let span = tracing::info_span!("connection", server);
/// let redial = Redial::new(tcp::connect(server))
///     .observe(observe::Tracing::new().parent(span).observer());
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is a builder, whose `observer` is what observes"]
pub struct Tracing {
    parent: Option<Span>,
}

impl Tracing {
    /// Spans that are children of the span in which the driver is polled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans that are children of this one, and so are events outside of outages.
    pub fn parent(self, span: Span) -> Self {
        Self { parent: Some(span) }
    }

    /// The closure for [`Redial::observe`](crate::Redial::observe).
    pub fn observer<E: Display + 'static>(
        self,
    ) -> impl FnMut(&Event<'_, E>) + Send + Sync + use<E> + 'static {
        self.observer_with(|error: &E| alloc::format!("{error:#}"))
    }

    /// As [`observer`](Self::observer), with a closure that says how to print an error:
    /// for errors without `Display`, or to add their sources.
    ///
    /// ```
    /// # use redial::{Redial, observe};
    /// # async fn log_in() -> std::io::Result<()> { Ok(()) }
    /// use std::error::Error;
    /// use std::io;
    ///
    /// let tracing = observe::Tracing::new();
    /// let redial = Redial::new(log_in).observe(tracing.observer_with(|error: &io::Error| {
    ///     match error.source() {
    ///         Some(source) => format!("{error}: {source}"),
    ///         None => error.to_string(),
    ///     }
    /// }));
    /// ```
    pub fn observer_with<E, D>(self, mut describe: D) -> impl FnMut(&Event<'_, E>) + use<E, D>
    where
        D: FnMut(&E) -> String,
    {
        let mut course = Course::default();
        let mut outage = Span::none();
        move |event| {
            let change = course.see(event);
            if let Change::Begins | Change::GoesOn = change {
                outage = self.span(course.outages(), event);
            }
            let parent = outage
                .id()
                .or_else(|| self.parent.as_ref().and_then(Span::id))
                .or_else(|| Span::current().id());
            log(event, change, parent, &mut describe);
            if let Change::Ends(_) = change {
                outage = Span::none();
            }
        }
    }

    fn span<E>(&self, number: u64, event: &Event<'_, E>) -> Span {
        let parent = match &self.parent {
            Some(parent) => parent.id(),
            None => Span::current().id(),
        };
        let attempts = match event {
            Event::Lost { attempts, .. } if *attempts > 0 => Some(*attempts),
            _ => None,
        };
        span!(target: "redial", parent: parent, Level::WARN, "outage", outage = number, attempts)
    }
}

/// Makes the event of tracing.
#[allow(clippy::too_many_lines)] // an arm for each event
fn log<E>(
    event: &Event<'_, E>,
    change: Change,
    parent: Option<tracing::Id>,
    describe: &mut impl FnMut(&E) -> String,
) {
    // A macro, because the level of an event must be a constant.
    macro_rules! log {
        ($level:ident, $($fields:tt)+) => {
            event!(target: "redial", parent: parent, Level::$level, $($fields)+)
        };
    }
    macro_rules! first_or_later {
        ($($fields:tt)+) => {
            if change == Change::Begins {
                log!(INFO, $($fields)+);
            } else {
                log!(DEBUG, $($fields)+);
            }
        };
    }
    match *event {
        Event::Connecting { attempt } => log!(DEBUG, attempt, "connecting"),
        Event::Established { attempt } => log!(DEBUG, attempt, "established"),
        Event::Trying { attempt, server } => log!(DEBUG, attempt, server, "trying a server"),
        Event::ServerFailed {
            attempt,
            server,
            error,
            verdict,
            actor,
        } => log!(
            DEBUG,
            attempt,
            server,
            cause = name(verdict),
            asked = asked(verdict).map(tracing::field::debug),
            error = error.map(&mut *describe),
            actor = actor.map(tracing::field::display),
            "server failed"
        ),
        Event::ServerConnected { attempt, server } => {
            log!(DEBUG, attempt, server, "a server took the client");
        }
        Event::Connected { attempt, elapsed } => {
            let elapsed = (!elapsed.is_zero()).then(|| readable(elapsed));
            log!(
                INFO,
                attempt,
                elapsed = elapsed.map(tracing::field::debug),
                "connected"
            );
        }
        Event::Failed {
            attempt,
            error,
            verdict,
            actor,
        } => first_or_later!(
            attempt,
            cause = name(verdict),
            asked = asked(verdict).map(tracing::field::debug),
            error = error.map(&mut *describe),
            actor = actor.map(tracing::field::display),
            "attempt failed"
        ),
        Event::Lost {
            error,
            verdict,
            silent,
            actor,
            ..
        } => first_or_later!(
            cause = name(verdict),
            asked = asked(verdict).map(tracing::field::debug),
            error = error
                .map(&mut *describe)
                .or_else(|| silent.map(|it| it.to_string())),
            actor = actor.map(tracing::field::display),
            "connection lost"
        ),
        Event::HintCut { asked, cap } => log!(
            DEBUG,
            asked = ?readable(asked),
            cap = ?readable(cap),
            "hint cut"
        ),
        Event::Waiting {
            attempt,
            wait,
            source,
        } => log!(
            DEBUG,
            attempt,
            wait = ?readable(wait),
            budget = source.map(budget),
            "waiting"
        ),
        Event::GaveUp { reason, actor } => log!(
            WARN,
            %reason,
            actor = actor.map(tracing::field::display),
            "gave up"
        ),
        Event::RenewalDue { attempt } => log!(DEBUG, attempt, "renewal due"),
        Event::Renewed { attempt } => log!(INFO, attempt, "renewed"),
        Event::RenewalFailed {
            attempt,
            error,
            verdict,
            actor,
        } => log!(
            DEBUG,
            attempt,
            cause = name(verdict),
            asked = asked(verdict).map(tracing::field::debug),
            error = error.map(&mut *describe),
            actor = actor.map(tracing::field::display),
            "renewal failed"
        ),
        Event::Suspended => log!(DEBUG, "suspended"),
        Event::Closed => log!(DEBUG, "closed"),
    }
}

/// What a source of tokens is called in a field.
fn budget(source: Source) -> &'static str {
    match source {
        Source::Local => "local",
        Source::Shared => "shared",
        Source::Fallback => "fallback",
    }
}

/// The time that the server asked for.
fn asked(verdict: Verdict) -> Option<Duration> {
    match verdict {
        Verdict::RetryAfter(time) | Verdict::Slot(time) => Some(readable(time)),
        Verdict::Retry(_) | Verdict::Stop => None,
    }
}
