//! [`Config`] in a file.

use alloc::borrow::ToOwned;
use alloc::string::String;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::table::{self, Keys, Table, remedy};
use super::value::{NONE, Value};
use crate::outage::Config;

pub(super) const KEYS: &[&str] = &[
    "dial_timeout",
    "attempt_timeout",
    "patience",
    "stable_after",
    "max_attempts",
    "max_elapsed",
    "hint_cap",
];

impl Keys for Config {
    fn set(&mut self, key: &'static str, value: &Value) -> Result<(), String> {
        let changed = match key {
            "dial_timeout" => self.try_dial_timeout(value.as_limit()?),
            "attempt_timeout" => self.try_attempt_timeout(value.as_limit()?),
            "patience" => Ok(self.patience(value.as_limit()?)),
            "stable_after" => Ok(self.stable_after(value.as_limit()?)),
            "max_elapsed" => Ok(self.max_elapsed(value.as_limit()?)),
            "hint_cap" => Ok(self.hint_cap(value.as_limit()?)),
            _ => self.try_max_attempts(attempts(value)?),
        };
        *self = changed.map_err(|refused| remedy(&refused))?;
        Ok(())
    }
}

fn attempts(value: &Value) -> Result<u32, String> {
    match value {
        Value::Text(text) if text == NONE => Ok(u32::MAX),
        // So many attempts take thousands of years.
        Value::Integer(attempts) => Ok(u32::try_from(*attempts).unwrap_or(u32::MAX)),
        _ => Err("it must be a whole number, such as 100, or \"none\" for no limit".to_owned()),
    }
}

impl Table for Config {
    type Done = Self;
    const KEYS: &'static [&'static str] = KEYS;
    const EXPECTED: &'static str = "a table of limits, such as { attempt_timeout = \"20s\" }";

    fn finish(self) -> Result<Self, String> {
        Ok(self)
    }
}

impl Config {
    /// What a file says.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let attempts = match self.max_attempts {
            u32::MAX => Value::Text(NONE.into()),
            attempts => Value::Integer(attempts.into()),
        };
        let times = self.times().into_iter();
        let times = times.filter_map(|(key, time)| Some((key, Value::limit(time?))));
        times.chain([("max_attempts", attempts)])
    }
}

/// A table with the names of the setters as keys; see `Settings`, with the feature
/// `config`.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table::read::<Self, D>(deserializer)
    }
}

/// Writes all limits but those whose default depends on the attempt.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values())
    }
}
