//! `json.dumps` and `str` of Python, for the hashes of lm-evaluation-harness's sample logs.

use crate::benchmark::Document;
use serde_json::{Number, Value};
use std::fmt::Write;

/// `json.dumps(document, indent=2, ensure_ascii=False)`: the text that `doc_hash` hashes.
#[must_use]
pub fn document_json(document: &Document) -> String {
    let mut out = String::new();
    write_object(&mut out, document, 0);
    out
}

/// `str(target)`: the text that `target_hash` hashes. Targets are texts and integers.
#[must_use]
pub fn target_text(target: &Value) -> String {
    match target {
        Value::String(text) => text.clone(),
        Value::Number(number) => number_repr(number),
        other => other.to_string(),
    }
}

/// `repr` of a float: the shortest digits that give the number back, an exponent below 1e-4 and from 1e16 on.
#[must_use]
pub fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // Rust's `{:e}` has the same shortest digits: "1.5e-7".
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn number_repr(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_repr(float),
        _ => number.to_string(),
    }
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_repr(number)),
        Value::String(text) => write_string(out, text),
        Value::Array(list) if list.is_empty() => out.push_str("[]"),
        Value::Array(list) => {
            out.push('[');
            for (position, entry) in list.iter().enumerate() {
                new_line(out, position > 0, depth + 1);
                write_value(out, entry, depth + 1);
            }
            new_line(out, false, depth);
            out.push(']');
        }
        Value::Object(object) => write_object(out, object, depth),
    }
}

fn write_object(out: &mut String, object: &Document, depth: usize) {
    if object.is_empty() {
        out.push_str("{}");
        return;
    }
    out.push('{');
    for (position, (key, value)) in object.iter().enumerate() {
        new_line(out, position > 0, depth + 1);
        write_string(out, key);
        out.push_str(": ");
        write_value(out, value, depth + 1);
    }
    new_line(out, false, depth);
    out.push('}');
}

fn new_line(out: &mut String, comma: bool, depth: usize) {
    if comma {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Text of Python 3.11's `json.dumps(..., indent=2, ensure_ascii=False)`.
    #[test]
    fn documents_are_written_as_python_writes_them() {
        let document = json!({"a": "é\u{1}\"\\\n", "b": [], "c": {}, "d": [1, 2.0, null, true], "e": {"f": 1e-5}});
        let expected = "{\n  \"a\": \"é\\u0001\\\"\\\\\\n\",\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    1,\n    2.0,\n    null,\n    true\n  ],\n  \"e\": {\n    \"f\": 1e-05\n  }\n}";
        assert_eq!(document_json(document.as_object().unwrap()), expected);
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, expected) in [
            (5.0, "5.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (1.234e300, "1.234e+300"),
            (-0.0, "-0.0"),
            (123_456_789.125, "123456789.125"),
        ] {
            assert_eq!(float_repr(number), expected);
        }
    }

    proptest! {
        #[test]
        fn a_float_reads_back_as_itself(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            prop_assert_eq!(float_repr(number).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
