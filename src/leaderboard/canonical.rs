//! Canonical JSON: the same value gives the same bytes on every machine, so digests and committed files can be compared.
//!
//! Objects are sorted by key (code points), numbers have the shortest text that reads back to the same `f64`, no white space
//! stands between tokens ([`to_string`]) or two spaces of indentation are used ([`to_pretty`]), text is UTF-8 without
//! unnecessary escapes, and NaN and infinities become `null` (JSON has no text for them).

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The value as a JSON tree whose objects are sorted by key, at every depth.
///
/// # Errors
/// Where the value cannot be JSON (a map whose keys are not text).
pub fn to_value(value: &impl Serialize) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(value)
}

/// Canonical text on one line, without a line feed at its end.
///
/// # Errors
/// As [`to_value`].
pub fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(&to_value(value)?)
}

/// Canonical text for files that people read and `git` compares: indented, with a line feed at its end.
///
/// # Errors
/// As [`to_value`].
pub fn to_pretty(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&to_value(value)?)?;
    text.push('\n');
    Ok(text)
}

/// SHA-256 of the canonical text, in lower-case hexadecimal.
///
/// # Errors
/// As [`to_value`].
pub fn digest(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(hex::encode(Sha256::digest(to_string(value)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_change_the_text() {
        let one = json!({"b": {"y": 1, "x": [{"q": 1, "p": 2}]}, "a": 1.5});
        let other = json!({"a": 1.5, "b": {"x": [{"p": 2, "q": 1}], "y": 1}});
        assert_eq!(to_string(&one).unwrap(), to_string(&other).unwrap());
        assert_eq!(to_string(&one).unwrap(), r#"{"a":1.5,"b":{"x":[{"p":2,"q":1}],"y":1}}"#);
        assert_eq!(digest(&one).unwrap(), digest(&other).unwrap());
        assert_eq!(digest(&json!({})).unwrap(), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }

    proptest! {
        #[test]
        fn every_finite_number_reads_back_to_itself(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let back: f64 = serde_json::from_str(&to_string(&number).unwrap()).unwrap();
            prop_assert_eq!(number.to_bits(), back.to_bits());
        }
    }
}
