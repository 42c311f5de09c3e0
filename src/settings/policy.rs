//! Policies in a file.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::table::{self, Keys, Table, remedy, sentence};
use super::value::Value;
use crate::invalid::{InvalidConfig, expect};
use crate::policy::{
    AnyPolicy, DEFAULT_BASE, DEFAULT_CAP, Decorrelated, Exponential, Jitter, Sequence, Stratified,
};

/// A policy, as a configuration file says it.
///
/// | `kind` | the policy | keys that it needs | more keys |
/// |---|---|---|---|
/// | `stratified` | [`Stratified`] | | `base` and `cap`, or `clients` and `per_second`; `growth`, `busy_cap`, `stalled_cap` |
/// | `exponential` | [`Exponential`] | `base`, `cap` | `factor`, `jitter` |
/// | `decorrelated` | [`Decorrelated`] | `base`, `cap` | |
/// | `sequence` | [`Sequence`] | `waits` | `jitter` |
///
/// - The keys are the names of constructors' arguments and of setters, with their rules
///   and defaults. `base`, the caps and the entries of `waits` are
///   [times](crate::Settings#times).
/// - `clients` and `per_second` are those of [`Stratified::for_fleet`].
/// - `jitter` is `"full"`, `"equal"`, `"none"`, or a number: 0.2 is
///   [`Jitter::Proportional`].
///
/// The default is `{ kind = "stratified" }`, which is [`Stratified::default()`].
///
/// ```
/// use redial::{Policy, PolicyConfig};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: PolicyConfig = serde_json::from_str(
///     r#"{ "kind": "sequence", "waits": ["1s", "5s", "30s"], "jitter": "none" }"#,
/// )?;
/// let waits = config.policy().delays_from_seed(1);
/// assert!(waits.take(4).eq([1, 5, 30, 30].map(Duration::from_secs)));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyConfig {
    kind: Kind,
    /// The values in the order of the file: valid ones for keys of this kind.
    values: Vec<(&'static str, Value)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Stratified,
    Exponential,
    Decorrelated,
    Sequence,
}

const KINDS: [Kind; 4] = [
    Kind::Stratified,
    Kind::Exponential,
    Kind::Decorrelated,
    Kind::Sequence,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Stratified => "stratified",
            Self::Exponential => "exponential",
            Self::Decorrelated => "decorrelated",
            Self::Sequence => "sequence",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Stratified => &[
                "base",
                "cap",
                "clients",
                "per_second",
                "growth",
                "busy_cap",
                "stalled_cap",
            ],
            Self::Exponential => &["base", "cap", "factor", "jitter"],
            Self::Decorrelated => &["base", "cap"],
            Self::Sequence => &["waits", "jitter"],
        }
    }

    /// The keys that must be there.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Stratified => &[],
            Self::Exponential | Self::Decorrelated => &["base", "cap"],
            Self::Sequence => &["waits"],
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Stratified => "{ kind = \"stratified\", base = \"1s\", cap = \"40s\" }",
            Self::Exponential => "{ kind = \"exponential\", base = \"1s\", cap = \"60s\" }",
            Self::Decorrelated => "{ kind = \"decorrelated\", base = \"1s\", cap = \"60s\" }",
            Self::Sequence => "{ kind = \"sequence\", waits = [\"1s\", \"5s\", \"30s\"] }",
        }
    }
}

impl PolicyConfig {
    /// The policy.
    pub fn policy(&self) -> AnyPolicy {
        // It was made once, when the values were read.
        expect(self.build())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let found = self.values.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value)
    }

    fn time(&self, key: &str, default: Duration) -> Duration {
        let time = self.get(key).and_then(|value| value.as_time().ok());
        time.unwrap_or(default)
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_number().ok()
    }

    fn jitter(&self) -> Jitter {
        let jitter = self.get("jitter").and_then(|value| jitter(value).ok());
        jitter.unwrap_or_default()
    }

    fn build(&self) -> Result<AnyPolicy, InvalidConfig> {
        let (base, cap) = (
            self.time("base", DEFAULT_BASE),
            self.time("cap", DEFAULT_CAP),
        );
        Ok(match self.kind {
            Kind::Stratified => AnyPolicy::new(self.stratified(base, cap)?),
            Kind::Exponential => {
                let policy = Exponential::try_new(base, cap)?.try_jitter(self.jitter())?;
                AnyPolicy::new(match self.number("factor") {
                    Some(factor) => policy.try_factor(factor)?,
                    None => policy,
                })
            }
            Kind::Decorrelated => AnyPolicy::new(Decorrelated::try_new(base, cap)?),
            Kind::Sequence => {
                let waits = self.get("waits").and_then(|value| times(value).ok());
                let policy = Sequence::try_new(waits.unwrap_or_default())?;
                AnyPolicy::new(policy.try_jitter(self.jitter())?)
            }
        })
    }

    fn stratified(&self, base: Duration, cap: Duration) -> Result<Stratified, InvalidConfig> {
        let fleet = (self.number("clients"), self.number("per_second"));
        let mut policy = match fleet {
            (Some(clients), Some(per_second)) => Stratified::try_for_fleet(clients, per_second)?,
            _ => Stratified::try_new(base, cap)?,
        };
        if let Some(growth) = self.number("growth") {
            policy = policy.try_growth(growth)?;
        }
        if self.get("busy_cap").is_some() {
            policy = policy.try_busy_cap(self.time("busy_cap", cap))?;
        }
        if self.get("stalled_cap").is_some() {
            policy = policy.try_stalled_cap(self.time("stalled_cap", cap))?;
        }
        Ok(policy)
    }

    /// What is wrong with the values together, as a sentence. `written` is what the file
    /// has.
    fn check(&self, written: &[(&'static str, Value)]) -> Result<(), String> {
        let (kind, keys) = (self.kind.name(), self.kind.keys());
        let find = |key: &str| written.iter().find(|(name, _)| *name == key);
        let refuse = |(key, value): &(&str, Value), why: &str| Err(sentence(key, value, why));
        if let Some(entry) = written.iter().find(|(key, _)| !keys.contains(key)) {
            let keys = keys.join(", ");
            let why = format!("the policy \"{kind}\" has no such key; its keys are {keys}");
            return refuse(entry, &why);
        }
        if let Some(key) = self.kind.needs().iter().find(|key| find(key).is_none()) {
            let example = self.kind.example();
            return Err(format!(
                "{key} is missing: the policy \"{kind}\" needs it; write for example {example}"
            ));
        }
        for (one, other) in [("clients", "per_second"), ("per_second", "clients")] {
            let Some(entry) = find(one) else { continue };
            if find(other).is_none() {
                let why = format!("it says nothing without {other}; add that, or leave out {one}");
                return refuse(entry, &why);
            }
            if let Some(entry) = find("base").or_else(|| find("cap")) {
                let why = "clients and per_second already set it; leave out this key or those";
                return refuse(entry, why);
            }
        }
        let Err(refused) = self.build() else {
            return Ok(());
        };
        match find(refused.setting()) {
            Some(entry) => refuse(entry, &remedy(&refused)),
            None => Err(refused.to_string()),
        }
    }
}

impl From<PolicyConfig> for AnyPolicy {
    fn from(config: PolicyConfig) -> Self {
        config.policy()
    }
}

fn jitter(value: &Value) -> Result<Jitter, String> {
    match value {
        Value::Text(text) if text == "full" => Ok(Jitter::Full),
        Value::Text(text) if text == "equal" => Ok(Jitter::Equal),
        Value::Text(text) if text == "none" => Ok(Jitter::None),
        Value::Integer(_) | Value::Float(_) => Ok(Jitter::Proportional(value.as_number()?)),
        _ => Err(
            "it must be \"full\", \"equal\", \"none\", or a number such as 0.2 for 20 % either way"
                .to_owned(),
        ),
    }
}

fn times(value: &Value) -> Result<Vec<Duration>, String> {
    match value {
        Value::List(times) => times
            .iter()
            .map(|time| time.as_time().map_err(|why| format!("of {time}, {why}")))
            .collect(),
        _ => Err("it must be a list of times, such as [\"1s\", \"5s\", \"30s\"]".to_owned()),
    }
}

/// What a file has said.
#[derive(Default)]
pub(super) struct Read {
    kind: Option<Kind>,
    values: Vec<(&'static str, Value)>,
    /// The same values, as they were written.
    written: Vec<(&'static str, Value)>,
}

impl Keys for Read {
    fn set(&mut self, key: &'static str, value: &Value) -> Result<(), String> {
        let valid = match key {
            "kind" => {
                let kinds = KINDS.map(Kind::name).join(", ");
                let is_named = |kind: &Kind| matches!(value, Value::Text(it) if it == kind.name());
                let kind = KINDS.into_iter().find(is_named);
                self.kind =
                    Some(kind.ok_or_else(|| {
                        format!("there is no such policy; the kinds are {kinds}")
                    })?);
                return Ok(());
            }
            "growth" | "factor" | "clients" | "per_second" => Value::Float(value.as_number()?),
            "jitter" => match jitter(value)? {
                Jitter::Proportional(j) => Value::Float(j),
                _ => value.clone(),
            },
            "waits" => Value::List(times(value)?.into_iter().map(Value::time).collect()),
            _ => Value::time(value.as_time()?),
        };
        self.values.push((key, valid));
        self.written.push((key, value.clone()));
        Ok(())
    }
}

impl Table for Read {
    type Done = PolicyConfig;
    const KEYS: &'static [&'static str] = &[
        "kind",
        "base",
        "cap",
        "clients",
        "per_second",
        "growth",
        "busy_cap",
        "stalled_cap",
        "factor",
        "jitter",
        "waits",
    ];
    const EXPECTED: &'static str =
        "a table, such as { kind = \"stratified\", base = \"1s\", cap = \"40s\" }";

    fn finish(mut self) -> Result<PolicyConfig, String> {
        let Some(kind) = self.kind else {
            return Err(format!(
                "kind is missing: it says which policy; write for example {}",
                Kind::Stratified.example()
            ));
        };
        // The same in any order.
        let place = |key: &str| Self::KEYS.iter().position(|known| *known == key);
        self.values.sort_by_key(|(key, _)| place(key));
        let values = self.values;
        let config = PolicyConfig { kind, values };
        config.check(&self.written)?;
        Ok(config)
    }
}

/// Refuses unknown keys and values that the policy's constructors refuse.
impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table::read::<Read, D>(deserializer)
    }
}

/// Writes the keys that were read.
impl Serialize for PolicyConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 1))?;
        map.serialize_entry("kind", self.kind.name())?;
        for (key, value) in &self.values {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
