//! Policies, limits and keep-alives from a file.

mod limits;
mod liveness;
mod policy;
mod table;
mod value;

use alloc::string::String;
use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::liveness::Liveness;
use crate::outage::Config;
use crate::policy::AnyPolicy;
use table::{Known, read_value};

pub use policy::PolicyConfig;

/// How a program reconnects, from its configuration file: the policy, the limits, and
/// the keep-alive.
///
/// Any self-describing format of serde will do, such as TOML, JSON or YAML. In TOML:
///
/// ```
/// use redial::{Redial, Settings, tcp};
///
/// #[derive(serde::Deserialize)]
/// struct AppConfig {
///     server: String,
///     #[serde(default)]
///     reconnect: Settings,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = r#"
///     server = "chat.example:6667"
///
///     [reconnect]
///     policy = { kind = "stratified", base = "1s", cap = "40s" }
///     attempt_timeout = "20s"
///     max_elapsed = "2h 30m"
///     keep_alive = { idle = "25s", grace = "15s" }
/// "#;
/// let AppConfig { server, reconnect } = toml::from_str(file)?;
/// # #[cfg(feature = "tokio")]
/// let redial = Redial::new(tcp::connect(server))
///     .policy(reconnect.policy())
///     .config(reconnect.config());
/// // For a session: `session.keep_alive(liveness, ping)`.
/// let liveness = reconnect.keep_alive().unwrap_or_default();
/// # Ok(()) }
/// ```
///
/// # Keys
///
/// | key | value | default |
/// |---|---|---|
/// | `policy` | a table, see [`PolicyConfig`] | `{ kind = "stratified" }` |
/// | `dial_timeout`, `attempt_timeout`, `patience`, `stable_after`, `max_elapsed`, `hint_cap` | a time, or `"none"` for no limit | see [`Config`] |
/// | `max_attempts` | a number, or `"none"` for no limit | `"none"` |
/// | `keep_alive` | a table: `idle`, `grace` and `speak_every`, or `listen_only` alone; each a time, or `"none"` for never | no keep-alive; inside of the table see [`Liveness`] |
///
/// All keys are optional. `Config` and `Liveness` can be read on their own, too.
///
/// # Times
///
/// A time is a text with a unit, such as `"1s"`, `"250ms"`, `"1.5h"` or `"2m 30s"`; the
/// units are those of the crate [humantime](https://docs.rs/humantime). A bare number is
/// refused, because it does not say whether it means seconds or milliseconds.
///
/// # Errors
///
/// A key that does not exist and a value that makes no sense are errors, which name the
/// key, the value and the remedy:
///
/// ```
/// # use redial::Settings;
/// let refused = toml::from_str::<Settings>(r#"atempt_timeout = "20s""#).unwrap_err();
/// assert_eq!(
///     refused.message(),
///     "atempt_timeout is \"20s\": there is no such key; did you mean attempt_timeout?"
/// );
/// let refused = toml::from_str::<Settings>("attempt_timeout = 20").unwrap_err();
/// assert_eq!(
///     refused.message(),
///     "attempt_timeout is 20: a time needs a unit, such as \"20s\" or \"20ms\""
/// );
/// ```
///
/// # Writing
///
/// `Settings` can be written, too, with all its keys. What was written reads back as the
/// same value. So `toml::to_string(&Settings::default())` is a file to begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    policy: PolicyConfig,
    config: Config,
    keep_alive: Option<Liveness>,
}

impl Settings {
    /// The policy, for [`Redial::policy`](crate::Redial::policy).
    ///
    /// Each outage then allocates once, see [`AnyPolicy`].
    pub fn policy(&self) -> AnyPolicy {
        self.policy.policy()
    }

    /// The limits, for [`Redial::config`](crate::Redial::config).
    pub fn config(&self) -> Config {
        self.config
    }

    /// The keep-alive, if there is one: for `Session::keep_alive` and its likes.
    pub fn keep_alive(&self) -> Option<Liveness> {
        self.keep_alive
    }
}

/// The keys that hold tables.
const TABLES: [&str; 2] = ["policy", "keep_alive"];

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, such as { attempt_timeout = \"20s\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = Settings::default();
                let mut known = Known::new(&[&TABLES[..], limits::KEYS].concat());
                while let Some(key) = map.next_key::<String>()? {
                    match known.check(key) {
                        Ok("policy") => settings.policy = map.next_value()?,
                        Ok("keep_alive") => settings.keep_alive = Some(map.next_value()?),
                        key => read_value(key, &mut map, &mut settings.config)?,
                    }
                }
                Ok(settings)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // Values before tables, as TOML wants it.
        for (key, value) in self.config.values() {
            map.serialize_entry(key, &value)?;
        }
        map.serialize_entry("policy", &self.policy)?;
        if let Some(keep_alive) = &self.keep_alive {
            map.serialize_entry("keep_alive", keep_alive)?;
        }
        map.end()
    }
}
