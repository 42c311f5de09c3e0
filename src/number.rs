//! Counts and rates that users write in whatever type they have.

/// A primitive number: any integer, or a float.
///
/// Rates and sizes of fleets are computed in `f64`. So an integer above
/// 2<sup>53</sup> is rounded.
pub trait Number: Copy {
    /// The number as a float.
    fn as_f64(self) -> f64;
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Number for $number {
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    )+};
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
