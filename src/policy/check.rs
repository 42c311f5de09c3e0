//! What several policies refuse.

use core::time::Duration;

use crate::invalid::InvalidConfig;

/// Refuses the bases and caps that no policy can work with.
pub(super) fn check_range(base: Duration, cap: Duration) -> Result<(), InvalidConfig> {
    if base.is_zero() {
        return Err(InvalidConfig::duration(
            "base",
            base,
            "it would retry in a hot loop; give it a length, such as 1 s",
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

/// Refuses factors that shrink, overflow or are no number.
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
