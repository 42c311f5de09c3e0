//! Prints for a reader that may leave, such as `head -1`.

/// As `println!`. If nobody reads the output any more, the program ends.
macro_rules! show {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($text)*).is_err() {
            std::process::exit(0);
        }
    }};
}

pub(crate) use show;
