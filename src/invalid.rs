//! The error for a setting that cannot work.

use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// A setting was refused: a policy, a limit, a bucket or a storm cannot work
/// with its value.
///
/// Each constructor and setter that can refuse a value has two forms. The plain
/// form panics; the form whose name begins with `try_` returns this error. Both
/// give the same words: the setting, its value, and what to do about it.
///
/// ```
/// use redial::Stratified;
///
/// let refused = Stratified::default().try_growth(0.5).unwrap_err();
/// assert_eq!((refused.setting(), refused.value()), ("growth", "0.5"));
/// assert_eq!(
///     refused.to_string(),
///     "growth is 0.5: it must be a finite number of at least 1, such as 2"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    setting: &'static str,
    value: String,
    remedy: String,
}

impl InvalidConfig {
    /// The remedy completes "`setting` is `value`: …".
    #[cold]
    pub(crate) fn new(
        setting: &'static str,
        value: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            setting,
            value: alloc::format!("{value}"),
            remedy: remedy.into(),
        }
    }

    /// As [`new`](Self::new), for a length of time.
    #[cold]
    pub(crate) fn duration(
        setting: &'static str,
        value: Duration,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(setting, alloc::format!("{value:?}"), remedy)
    }

    /// The name of the setting, as its setter or parameter is called: `growth`,
    /// `max_attempts`.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// What is wrong with the value, and what to do about it.
    #[cfg(feature = "config")]
    pub(crate) fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The value that was refused, as text: `0.5`, `0ns`, `NaN`.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: {}", self.setting, self.value, self.remedy)
    }
}

impl Error for InvalidConfig {}

/// The value, or the panic that the plain forms document under `# Panics`.
#[track_caller]
pub(crate) fn expect<T>(result: Result<T, InvalidConfig>) -> T {
    match result {
        Ok(value) => value,
        Err(invalid) => panic!("{invalid}"),
    }
}
