//! Counts and lengths of outages.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use metrics::{Label, Unit};

use super::course::{Change, Course};
use super::name;
use crate::driver::Event;
use crate::outage::Reason;

/// An observer that counts attempts and outages, for any exporter of the crate
/// [`metrics`](https://docs.rs/metrics).
///
/// ```
/// use redial::{Redial, observe, tcp};
///
/// let redial = Redial::new(tcp::connect("chat.example:6667"))
///     .observe(observe::Metrics::new().label("server", "chat.example").observer());
/// ```
///
/// # Metrics
///
/// Names and units follow OpenTelemetry. Prometheus writes them as in the second column,
/// if its exporter follows the
/// [recommended naming](https://prometheus.io/docs/practices/naming/).
///
/// | metric | Prometheus | kind | what it is |
/// |---|---|---|---|
/// | `redial.attempts` | `redial_attempts_total` | counter | attempts that have ended, by `redial.outcome` |
/// | `redial.outages` | `redial_outages_total` | counter | outages that have begun |
/// | `redial.outage.duration` | `redial_outage_duration_seconds` | histogram, s | how long a client had no connection, by `redial.outcome` |
/// | `redial.outage.time_to_first_attempt` | `redial_outage_time_to_first_attempt_seconds` | histogram, s | from the loss to the first attempt |
/// | `redial.give_ups` | `redial_give_ups_total` | counter | outages that the driver has given up, by `redial.reason` |
/// | `redial.connection.count` | `redial_connection_count` | gauge | connections that are up |
///
/// | label | of | values |
/// |---|---|---|
/// | `redial.outcome` | attempts | `connected`, or why not: `down`, `busy`, `stalled`, `retry_after`, `slot`, `stop` |
/// | `redial.outcome` | lengths of outages | `connected`, `gave_up`, or `closed` if the driver was closed or dropped |
/// | `redial.reason` | `redial.give_ups` | `stopped`, `max_attempts`, `max_elapsed`, `policy` |
///
/// The example
/// [`observed`](https://github.com/redial-rs/redial/tree/main/examples/observed) serves
/// them, and has a dashboard for Grafana. Some facts that queries need:
///
/// - Attempts of [renewals](crate::Redial::max_age) are counted, too. A renewal is no
///   outage.
/// - An attempt that a handle [suspends](crate::Handle::suspend) has no outcome, and is
///   not counted.
/// - If a connection is lost before it was [stable](crate::Config::stable_after), its
///   outage goes on. Then `redial.outages` does not rise, and `redial.outage.duration`
///   gets one more length. So its sum is the time without a connection.
/// - A first connect that succeeds is no outage.
/// - Drivers with the same labels share their metrics. The gauge then is the number of
///   them that are connected. A driver that is dropped is subtracted.
///
/// The observer asks for the recorder at each event. So install the recorder whenever you
/// like. The counters begin at 0 with the first event, so that a rate sees the first
/// outage, too.
#[derive(Clone, Debug, Default)]
#[must_use = "it is a builder, whose `observer` is what observes"]
pub struct Metrics {
    labels: Vec<Label>,
}

const ATTEMPTS: &str = "redial.attempts";
const OUTAGES: &str = "redial.outages";
const DURATION: &str = "redial.outage.duration";
const TO_FIRST: &str = "redial.outage.time_to_first_attempt";
const GIVE_UPS: &str = "redial.give_ups";
const CONNECTIONS: &str = "redial.connection.count";

const OUTCOME: &str = "redial.outcome";

impl Metrics {
    /// Metrics without labels of your own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a label to all metrics, such as the name of the server.
    ///
    /// Each value makes a series of its own, so a label should have few values. The
    /// number of a client is none.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value): (String, String) = (name.into(), value.into());
        self.labels.push(Label::new(name, value));
        self
    }

    /// The closure for [`Redial::observe`](crate::Redial::observe).
    pub fn observer<E>(self) -> impl FnMut(&Event<'_, E>) + Send + Sync + use<E> + 'static {
        let mut meter = Meter {
            labels: self.labels,
            course: Course::default(),
            is_described: false,
        };
        move |event: &Event<'_, E>| meter.see(event)
    }
}

/// The metrics of one driver.
struct Meter {
    labels: Vec<Label>,
    course: Course,
    is_described: bool,
}

impl Meter {
    fn see<E>(&mut self, event: &Event<'_, E>) {
        if !self.is_described {
            self.is_described = true;
            self.describe();
        }
        let was_connected = self.course.is_connected();
        let change = self.course.see(event);
        match (was_connected, self.course.is_connected()) {
            (false, true) => self.gauge().increment(1.0),
            (true, false) => self.gauge().decrement(1.0),
            _ => {}
        }
        match change {
            Change::Begins => metrics::counter!(OUTAGES, self.labels.iter()).increment(1),
            Change::FirstAttempt(after) => {
                metrics::histogram!(TO_FIRST, self.labels.iter()).record(after);
            }
            Change::Ends(after) => self.ended(after, event),
            Change::GoesOn | Change::Nothing => {}
        }
        match event {
            Event::Connected { .. } | Event::Renewed { .. } => self.attempted("connected"),
            Event::Failed { verdict, .. } | Event::RenewalFailed { verdict, .. } => {
                self.attempted(name(*verdict));
            }
            Event::GaveUp { reason, .. } => {
                let labels = self.with("redial.reason", reason_name(*reason));
                metrics::counter!(GIVE_UPS, labels).increment(1);
            }
            _ => {}
        }
    }

    fn attempted(&self, outcome: &'static str) {
        metrics::counter!(ATTEMPTS, self.with(OUTCOME, outcome)).increment(1);
    }

    fn ended<E>(&self, after: Duration, event: &Event<'_, E>) {
        let outcome = match event {
            Event::Connected { .. } => "connected",
            Event::GaveUp { .. } => "gave_up",
            _ => "closed",
        };
        self.lasted(after, outcome);
    }

    fn lasted(&self, time: Duration, outcome: &'static str) {
        metrics::histogram!(DURATION, self.with(OUTCOME, outcome)).record(time);
    }

    fn gauge(&self) -> metrics::Gauge {
        metrics::gauge!(CONNECTIONS, self.labels.iter())
    }

    /// The labels, and one more.
    fn with(&self, name: &'static str, value: &'static str) -> Vec<Label> {
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts(name, value));
        labels
    }

    fn describe(&self) {
        // A macro, because the facade takes a name and a text for each kind.
        macro_rules! describe {
            ($($describe:ident $name:ident $unit:ident $text:literal;)+) => {
                $(metrics::$describe!($name, Unit::$unit, $text);)+
            };
        }
        describe! {
            describe_counter ATTEMPTS Count "Attempts to connect that have ended";
            describe_counter OUTAGES Count "Outages that have begun";
            describe_histogram DURATION Seconds "How long a client had no connection";
            describe_histogram TO_FIRST Seconds "From the loss to the first attempt";
            describe_counter GIVE_UPS Count "Outages that the client has given up";
            describe_gauge CONNECTIONS Count "Connections that are up";
        }
        metrics::counter!(OUTAGES, self.labels.iter()).increment(0);
        self.gauge().increment(0.0);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.course.is_connected() {
            self.gauge().decrement(1.0);
        }
        if let Some(time) = self.course.down_for() {
            self.lasted(time, "closed");
        }
    }
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Stopped => "stopped",
        Reason::MaxAttempts => "max_attempts",
        Reason::MaxElapsed => "max_elapsed",
        Reason::Policy => "policy",
    }
}
