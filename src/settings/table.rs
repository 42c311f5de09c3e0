//! Tables whose keys are known.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::value::{NONE, Value};
use crate::invalid::InvalidConfig;

/// What takes the values of a table.
pub(super) trait Keys {
    /// Takes the value of one of the keys. The error completes "key is value: …".
    fn set(&mut self, key: &'static str, value: &Value) -> Result<(), String>;
}

/// A table that is read by itself.
pub(super) trait Table: Keys + Default {
    type Done;
    const KEYS: &'static [&'static str];
    /// For "expected …".
    const EXPECTED: &'static str;

    /// All values are there. The error is a whole sentence.
    fn finish(self) -> Result<Self::Done, String>;
}

/// The keys of a table, and those that have come.
pub(super) struct Known {
    keys: Vec<&'static str>,
    seen: Vec<&'static str>,
}

impl Known {
    pub(super) fn new(keys: &[&'static str]) -> Self {
        Self {
            keys: keys.to_vec(),
            seen: Vec::new(),
        }
    }

    /// A key that is known and new. The error has the key, and completes
    /// "key is value: …".
    pub(super) fn check(&mut self, key: String) -> Result<&'static str, (String, String)> {
        let Some(&found) = self.keys.iter().find(|known| **known == key) else {
            let remedy = self.remedy(&key);
            return Err((key, format!("there is no such key; {remedy}")));
        };
        if self.seen.contains(&found) {
            return Err((key, "it is the second value of this key; keep one".into()));
        }
        self.seen.push(found);
        Ok(found)
    }

    fn remedy(&self, key: &str) -> String {
        let nearest = self.keys.iter().map(|known| (distance(known, key), known));
        match nearest.min() {
            Some((distance, known)) if distance <= 2 => format!("did you mean {known}?"),
            _ => format!("the keys are {}", self.keys.join(", ")),
        }
    }
}

/// Reads the value of a key that was checked, and reports what is wrong with it.
pub(super) fn read_value<'de, A: MapAccess<'de>>(
    key: Result<&'static str, (String, String)>,
    map: &mut A,
    table: &mut impl Keys,
) -> Result<(), A::Error> {
    map.next_value_seed(Entry { key, table })
}

/// A value, which is judged while it is read: so formats that know where they are say
/// where it is.
struct Entry<'a, T> {
    key: Result<&'static str, (String, String)>,
    table: &'a mut T,
}

impl<'de, T: Keys> DeserializeSeed<'de> for Entry<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let value = Value::deserialize(deserializer)?;
        let refuse = |key: &str, why: String| D::Error::custom(format!("{key} is {value}: {why}"));
        match self.key {
            Ok(key) => self.table.set(key, &value).map_err(|why| refuse(key, why)),
            Err((key, why)) => Err(refuse(&key, why)),
        }
    }
}

/// Reads a table.
pub(super) fn read<'de, T: Table, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T::Done, D::Error> {
    struct Reader<T>(PhantomData<T>);

    impl<'de, T: Table> Visitor<'de> for Reader<T> {
        type Value = T::Done;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T::Done, A::Error> {
            let mut table = T::default();
            let mut known = Known::new(T::KEYS);
            while let Some(key) = map.next_key()? {
                let key = known.check(key);
                read_value(key, &mut map, &mut table)?;
            }
            table.finish().map_err(A::Error::custom)
        }
    }

    deserializer.deserialize_map(Reader(PhantomData::<T>))
}

/// What is wrong with a value, in the words of a file.
pub(super) fn remedy(refused: &InvalidConfig) -> String {
    refused
        .remedy()
        .replace("Duration::MAX", &format!("{NONE:?}"))
}

/// How many letters differ: added, left out, or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// A sentence for a value that was fine by itself.
pub(super) fn sentence(key: &str, value: &Value, why: &str) -> String {
    format!("{key} is {value}: {why}")
}
