//! In-situ quantization: what becomes of a level on a model whose rows it does not fit.
//!
//! mistral.rs quantizes a matrix in blocks along its rows. A row that is no multiple of the level's block gets the next level with
//! smaller blocks, and one that fits none stays as it is, silently. Which rows there are follows from the configuration, so that it can be
//! said before a number is published under the level's name.

use serde_json::{Map, Value};

/// Block of the levels `Q*K`.
const K_BLOCK: u64 = 256;
/// Block of the levels `Q*_0` and `Q*_1`.
const PLAIN_BLOCK: u64 = 32;

/// Block of a level and the level that takes its place where a row does not fit (mistralrs-quant 0.8.1, `utils/isq.rs`); `None` for
/// levels without blocks along the row.
fn block_of(level: &str) -> Option<(u64, Option<&'static str>)> {
    Some(match level.to_ascii_uppercase().as_str() {
        "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q8_0" | "Q8_1" => (PLAIN_BLOCK, None),
        "Q2K" | "Q3K" => (K_BLOCK, Some("Q4_0")),
        "Q4K" => (K_BLOCK, Some("Q4_1")),
        "Q5K" => (K_BLOCK, Some("Q5_0")),
        "Q6K" => (K_BLOCK, Some("Q5_1")),
        "Q8K" => (K_BLOCK, Some("Q8_1")),
        _ => return None,
    })
}

/// What a level makes of a model with this configuration: a remark for the run's record where it departs from the level's name.
///
/// # Errors
/// No row of the model fits: nothing would be quantized. The text says which rows there are.
pub(super) fn departures(level: &str, config: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some((block, fallback)) = block_of(level) else { return Ok(None) };
    let rows = row_lengths(config);
    let fits = |block: u64| rows.iter().filter(|length| length.is_multiple_of(block)).count();
    let listed = rows.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if rows.is_empty() || fits(block) == rows.len() {
        return Ok(None);
    }
    if fits(PLAIN_BLOCK) == 0 {
        return Err(format!(
            "{level} cannot be made: the rows of this model's matrices ({listed}) are no multiples of {PLAIN_BLOCK}, so nothing would be quantized"
        ));
    }
    let rest = match fallback {
        Some(fallback) => format!("get {fallback} instead"),
        None => "stay as they are".to_owned(),
    };
    Ok(Some(format!("{level}: of the matrices with rows of {listed} weights, those whose rows are no multiple of {block} {rest}")))
}

/// Lengths of the rows of a decoder's matrices, ascending: input of the attention and of the feed-forward part, and their inner widths.
fn row_lengths(config: &Map<String, Value>) -> Vec<u64> {
    let number = |name: &str| config.get(name).and_then(Value::as_u64);
    let hidden = number("hidden_size");
    let heads = number("num_attention_heads");
    let head_width = number("head_dim").or_else(|| hidden?.checked_div(heads?));
    let inner = heads.zip(head_width).map(|(heads, width)| heads * width);
    let mut lengths: Vec<u64> = [hidden, inner, number("intermediate_size")].into_iter().flatten().collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn departures_of(level: &str, hidden: u64, intermediate: u64) -> Result<Option<String>, String> {
        let config = json!({"hidden_size": hidden, "num_attention_heads": 4, "intermediate_size": intermediate});
        departures(level, config.as_object().expect("an object"))
    }

    /// A level that fits is as it is called; one that does not says what it becomes, and one that would do nothing is refused.
    #[test]
    fn levels_say_what_becomes_of_them() {
        assert_eq!(departures_of("Q4K", 512, 1024), Ok(None));
        assert_eq!(departures_of("Q8_0", 128, 352), Ok(None));
        assert_eq!(departures_of("HQQ4", 100, 100), Ok(None));
        assert!(departures_of("q4k", 128, 352).unwrap().unwrap().contains("Q4_1"));
        assert!(departures_of("Q4K", 512, 352).unwrap().unwrap().contains("352, 512"));
        assert!(departures_of("Q8_0", 64, 100).unwrap().unwrap().contains("stay as they are"));
        assert!(departures_of("Q8_0", 100, 100).unwrap_err().contains("nothing would be quantized"));
    }
}
