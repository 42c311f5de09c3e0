//! Comparing the texts of servers, without regard to ASCII case.

/// Whether the text begins with these ASCII characters.
pub(super) fn begins(text: &str, prefix: &str) -> bool {
    let start = text.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Whether the text has these ASCII characters somewhere.
pub(super) fn has(text: &str, part: &str) -> bool {
    let mut windows = text.as_bytes().windows(part.len().max(1));
    windows.any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// Whether the text has one of these somewhere.
pub(super) fn has_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| has(text, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter() {
        assert!(begins("WRONGPASS invalid", "wrongpass"));
        assert!(begins("x", ""));
        assert!(!begins("wrong", "wrongpass"));
        assert!(has("ERROR :Closing Link (K-Lined)", "k-lined"));
        assert!(!has("", "x"));
        assert!(!has("größer", "GROSS"));
        assert!(has_any("too FAST", &["slow", "fast"]));
    }

    #[test]
    fn a_cut_in_the_middle_of_a_character_does_not_panic() {
        assert!(!begins("ü", "u"));
        assert!(!begins("aü", "ab"));
    }
}
