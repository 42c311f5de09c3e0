//! The standard library's clock. It has no timer.

pub(super) use std::time::Instant as Moment;

#[inline]
pub(super) fn now() -> Moment {
    Moment::now()
}
