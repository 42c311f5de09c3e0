//! Values as files have them, and times for people.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::nanos::nanos;

/// A value of any type. Errors print it as it is in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(u64),
    /// A negative integer, or a number with a point.
    Float(f64),
    List(Vec<Value>),
    /// What no key takes.
    Other(String),
}

/// How the file says that there is no limit.
pub(super) const NONE: &str = "none";

impl Value {
    /// A time in nanoseconds, for a file. `u64::MAX` is no limit.
    pub(super) fn limit(nanoseconds: u64) -> Self {
        match nanoseconds {
            u64::MAX => Self::Text(NONE.into()),
            _ => Self::time(Duration::from_nanos(nanoseconds)),
        }
    }

    pub(super) fn time(time: Duration) -> Self {
        Self::Text(humantime::format_duration(time).to_string())
    }

    /// A time, or `Duration::MAX` for no limit.
    pub(super) fn as_limit(&self) -> Result<Duration, String> {
        match self {
            Self::Text(text) if text == NONE => Ok(Duration::MAX),
            _ => self.as_time(),
        }
    }

    pub(super) fn as_time(&self) -> Result<Duration, String> {
        match self {
            Self::Text(text) => parse(text),
            Self::Integer(_) | Self::Float(_) => Err(alloc::format!(
                "a time needs a unit, such as \"{self}s\" or \"{self}ms\""
            )),
            Self::List(_) | Self::Other(_) => Err(SUCH_AS.to_owned()),
        }
    }

    pub(super) fn as_number(&self) -> Result<f64, String> {
        match *self {
            Self::Integer(number) => Ok(number as f64),
            Self::Float(number) => Ok(number),
            _ => Err("it must be a number, such as 2".to_owned()),
        }
    }
}

const SUCH_AS: &str = "it must be a time, such as \"1s\", \"250ms\" or \"2m 30s\"";

/// Reads a time. Times of more than 584 years count as 584 years.
fn parse(text: &str) -> Result<Duration, String> {
    // More than anybody writes. It keeps the sums of the parser far from its limits.
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    if text.len() > 64 || numbers.any(|digits| digits.len() > 10) {
        return Err("it is too long; write a shorter time, such as \"1h 30m\"".to_owned());
    }
    match humantime::parse_duration(text) {
        Ok(time) => Ok(Duration::from_nanos(nanos(time))),
        Err(humantime::DurationError::UnknownUnit { unit, value, .. }) if unit.is_empty() => Err(
            alloc::format!("a time needs a unit, such as \"{value}s\" or \"{value}ms\""),
        ),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) => Err(alloc::format!(
            "there is no unit \"{unit}\"; the units are ns, us, ms, s, m, h and days"
        )),
        Err(_) => Err(SUCH_AS.to_owned()),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) | Self::Other(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::List(values) => serializer.collect_seq(values),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Integer(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(u64::try_from(number).map_or(Value::Float(number as f64), Value::Integer))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Float(number))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Other(value.to_string()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
                Ok(Value::Other("null".to_owned()))
            }

            fn visit_none<E: de::Error>(self) -> Result<Value, E> {
                self.visit_unit()
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
                Value::deserialize(inner)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<String, Value>()?.is_some() {}
                Ok(Value::Other("a table".to_owned()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
