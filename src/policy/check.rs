//! Checks that several policies share.

use core::time::Duration;

use crate::invalid::InvalidConfig;

/// Refuses a base of zero, and a base above the cap.
pub(super) fn check_range(base: Duration, cap: Duration) -> Result<(), InvalidConfig> {
    if base.is_zero() {
        return Err(InvalidConfig::duration(
            "base",
            base,
            "the client would retry in a hot loop; give a longer time, such as 1 s",
        ));
    }
    if base > cap {
        return Err(InvalidConfig::duration(
            "base",
            base,
            alloc::format!("it is above the cap of {cap:?}; lower the base or raise the cap"),
        ));
    }
    Ok(())
}

/// Refuses factors below 1, infinite factors and NaN.
pub(super) fn check_factor(setting: &'static str, factor: f64) -> Result<(), InvalidConfig> {
    if factor.is_finite() && factor >= 1.0 {
        return Ok(());
    }
    Err(InvalidConfig::new(
        setting,
        factor,
        "it must be a finite number of at least 1, such as 2",
    ))
}
