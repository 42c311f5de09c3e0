//! What the crate refuses, and the words for it.

use core::fmt;
use core::time::Duration;

/// A value that a policy or a limit refuses, and the remedy.
///
/// The `try_` forms of constructors and setters return it; those without panic
/// with the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig(alloc::string::String);

impl InvalidConfig {
    pub(crate) fn new(message: impl Into<alloc::string::String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidConfig {}

/// The value, or the panic that the plain forms promise under `# Panics`.
#[track_caller]
pub(crate) fn expect<T>(result: Result<T, InvalidConfig>) -> T {
    match result {
        Ok(value) => value,
        Err(invalid) => panic!("{invalid}"),
    }
}

/// Refuses the bases and caps that no policy can work with.
pub(crate) fn check_range(base: Duration, cap: Duration) -> Result<(), InvalidConfig> {
    if base.is_zero() {
        return Err(InvalidConfig::new(
            "the base wait is 0 ns, which would retry in a hot loop: give it a length, such as 1 s",
        ));
    }
    if base > cap {
        return Err(InvalidConfig::new(alloc::format!(
            "the base wait {base:?} is above the cap {cap:?}: lower the base or raise the cap"
        )));
    }
    Ok(())
}

/// Refuses factors that shrink, overflow or are no number.
pub(crate) fn check_factor(name: &str, factor: f64) -> Result<(), InvalidConfig> {
    if factor.is_finite() && factor >= 1.0 {
        return Ok(());
    }
    Err(InvalidConfig::new(alloc::format!(
        "the {name} is {factor}, and must be a finite number of at least 1, such as 2"
    )))
}
