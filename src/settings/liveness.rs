//! [`Liveness`] in a file.

use alloc::string::String;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::table::{self, Keys, Table, remedy, sentence};
use super::value::Value;
use crate::liveness::Liveness;

/// What a file has said.
#[derive(Default)]
pub(super) struct Read {
    liveness: Liveness,
    /// The first of the keys that belong to pings.
    pings: Option<(&'static str, Value)>,
    listen_only: Option<Duration>,
}

impl Keys for Read {
    fn set(&mut self, key: &'static str, value: &Value) -> Result<(), String> {
        let time = value.as_limit()?;
        let changed = match key {
            "idle" => self.liveness.try_idle(time),
            "grace" => self.liveness.try_grace(time),
            "speak_every" => self.liveness.try_speak_every(time),
            _ => Liveness::try_listen_only(time),
        };
        let changed = changed.map_err(|refused| remedy(&refused))?;
        if key == "listen_only" {
            self.listen_only = Some(time);
        } else {
            self.liveness = changed;
            self.pings.get_or_insert((key, value.clone()));
        }
        Ok(())
    }
}

impl Table for Read {
    type Done = Liveness;
    const KEYS: &'static [&'static str] = &["idle", "grace", "speak_every", "listen_only"];
    const EXPECTED: &'static str = "a table, such as { idle = \"25s\", grace = \"15s\" }";

    fn finish(self) -> Result<Liveness, String> {
        match (self.listen_only, self.pings) {
            (None, _) => Ok(self.liveness),
            (Some(limit), None) => Liveness::try_listen_only(limit).map_err(|it| remedy(&it)),
            (Some(_), Some((key, value))) => Err(sentence(
                key,
                &value,
                "a connection that is never pinged has no such key; leave out this key or \
                 listen_only",
            )),
        }
    }
}

/// A table with the names of the setters as keys; see `Settings`, with the feature
/// `config`.
impl<'de> Deserialize<'de> for Liveness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table::read::<Read, D>(deserializer)
    }
}

/// Writes all times, or `listen_only` alone.
impl Serialize for Liveness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let times = self.times().into_iter();
        let times = times.filter_map(|(key, time)| Some((key, Value::limit(time?))));
        serializer.collect_map(times)
    }
}
