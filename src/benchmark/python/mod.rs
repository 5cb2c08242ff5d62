//! What the reference implementation takes from Python, character for character: random sampling, white space, letter case, JSON text, hashes.

mod json;
mod sample;
mod text;

pub use json::{document_json, float_repr, target_text};
pub use sample::sample_indices;
pub use text::{capitalize, is_space, rstrip, split_space, strip};

use sha2::{Digest, Sha256};

/// SHA-256 of a text's UTF-8 bytes, in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
