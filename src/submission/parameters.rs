//! Numbers of parameters as people write them.

use serde::{Deserialize, Serialize};

/// A number of parameters and how its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Parameters {
    text: String,
    count: u64,
}

impl Parameters {
    /// The number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// As it was written, such as `1.7B`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl TryFrom<String> for Parameters {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let count = parse_parameters(&text).ok_or_else(|| format!("`{text}` is not a number of parameters such as 135M or 1.7B"))?;
        Ok(Self { text, count })
    }
}

impl From<Parameters> for String {
    fn from(parameters: Parameters) -> Self {
        parameters.text
    }
}

/// Reads `1.7B`, `135M`, `900k` or a whole number, exactly: decimal digits, no binary fractions on the way.
/// `None` where the text is something else, has more decimals than its unit has digits, or does not fit.
#[must_use]
pub fn parse_parameters(text: &str) -> Option<u64> {
    let text = text.trim();
    let last = text.chars().last()?;
    let decimals: u32 = match last.to_ascii_uppercase() {
        'K' => 3,
        'M' => 6,
        'B' => 9,
        _ => 0,
    };
    let number = if decimals == 0 { text } else { text[..text.len() - 1].trim_end() };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || !digits_only(whole) || !digits_only(fraction) {
        return None;
    }
    let significant = fraction.trim_end_matches('0');
    let missing = decimals.checked_sub(u32::try_from(significant.len()).ok()?)?;
    format!("{whole}{significant}").parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(missing)?)
}

/// A number of parameters for people: three significant digits with K, M or B.
#[must_use]
pub fn format_parameters(count: u64) -> String {
    let (unit, name) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (1e3, "K"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "B"),
    };
    let value = count as f64 / unit;
    let decimals: usize = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{name}")
}

/// A number with its thousands set apart, such as `134,515,008`.
#[must_use]
pub fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms that people write are read exactly; anything else is refused.
    #[test]
    fn parameters_are_read_exactly() {
        for (text, count) in [
            ("1.7B", 1_700_000_000),
            ("135M", 135_000_000),
            ("0.5b", 500_000_000),
            ("1.26272 M", 1_262_720),
            ("900k", 900_000),
            ("3B", 3_000_000_000),
            ("3.000000B", 3_000_000_000),
            ("134515008", 134_515_008),
        ] {
            assert_eq!(parse_parameters(text), Some(count), "{text}");
        }
        for text in ["", "B", "1.B", ".5B", "1.7", "-1B", "1e9", "1,7B", "1.7T", "1_000", "0.1234K", "99999999999999B", "１B", "1.7 BB"] {
            assert_eq!(parse_parameters(text), None, "{text}");
        }
    }

    /// Numbers are shown as people write them.
    #[test]
    fn parameters_are_shown_short() {
        for (count, text) in [
            (12, "12"),
            (1_262_720, "1.26M"),
            (134_515_008, "135M"),
            (1_700_000_000, "1.7B"),
            (3_000_000_000, "3B"),
            (70_553_706_496, "70.6B"),
        ] {
            assert_eq!(format_parameters(count), text);
        }
    }

    /// Thousands are set apart.
    #[test]
    fn digits_are_grouped() {
        let texts: Vec<String> = [0, 999, 1_000, 134_515_008].into_iter().map(group_digits).collect();
        assert_eq!(texts, ["0", "999", "1,000", "134,515,008"]);
    }
}
