//! Names that are safe as one component of a path, a branch or an address.

use sha2::{Digest, Sha256};

/// Longest slug in characters.
pub const MAX_SLUG_LENGTH: usize = 100;
/// Hexadecimal digits of the digest that keeps two texts apart.
const DIGEST_LENGTH: usize = 12;

/// One path component for a text: lower-case letters, digits and `. _ -`, at most [`MAX_SLUG_LENGTH`] characters.
///
/// `owner/name` becomes `owner--name`. Only the case of ASCII letters is lost (the hub, too, treats names that differ in case as the same);
/// wherever more would be lost, twelve hexadecimal digits of the text's SHA-256 are appended, so that two texts share a slug only where
/// they differ in case alone. The result never begins with `.` or `-`, never ends with `.`, never contains `..`, and is
/// never empty or a device name of Windows.
#[must_use]
pub fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let plain = is_plain(&lower);
    let base: String = if plain { lower.replace('/', "--") } else { lossy(&lower) };
    if plain && base.len() <= MAX_SLUG_LENGTH && !is_reserved(&base) && !ends_like_digest(&base) {
        return base;
    }
    let digest = hex::encode(Sha256::digest(lower.as_bytes()));
    let kept: String = base.chars().take(MAX_SLUG_LENGTH - DIGEST_LENGTH - 1).collect();
    let kept = kept.trim_end_matches(['-', '.', '_']);
    let separator = if kept.is_empty() { "model" } else { kept };
    format!("{separator}-{}", &digest[..DIGEST_LENGTH])
}

/// Parts of letters, digits and `. _ -` around at most one slash, each beginning and ending with a letter, digit or `_`, without `--` and `..`.
fn is_plain(lower: &str) -> bool {
    let mut parts = lower.split('/');
    let part_is_plain = |part: &str| {
        let edge = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        edge(part.chars().next())
            && edge(part.chars().last())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            && !part.contains("--")
            && !part.contains("..")
    };
    parts.clone().count() <= 2 && parts.all(part_is_plain)
}

fn lossy(lower: &str) -> String {
    let mut result = String::new();
    for character in lower.chars() {
        let character = if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') { character } else { '-' };
        let repeated = matches!(character, '-' | '.') && result.ends_with(['-', '.']);
        if !(repeated || result.is_empty() && matches!(character, '-' | '.')) {
            result.push(character);
        }
    }
    result
}

/// A plain text that ends like a slug with a digest gets a digest of its own, or it could be taken for another text's slug.
fn ends_like_digest(base: &str) -> bool {
    base.rsplit_once('-').is_some_and(|(_, end)| end.len() == DIGEST_LENGTH && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_reserved(base: &str) -> bool {
    let stem = base.split('.').next().unwrap_or_default();
    let numbered =
        |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()));
    matches!(stem, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A repository's slug is readable and keeps owner and name apart.
    #[test]
    fn repositories_keep_their_names() {
        assert_eq!(slug("HuggingFaceTB/SmolLM2-1.7B"), "huggingfacetb--smollm2-1.7b");
        assert_eq!(slug("slm-benchmark/demo-1m"), "slm-benchmark--demo-1m");
        assert_eq!(slug("SmolLM2-1.7B"), "smollm2-1.7b");
    }

    /// Texts that lose something in the slug are told apart by a digest.
    #[test]
    fn lossy_names_get_a_digest() {
        let names =
            ["a b", "a-b", "a/b", "a--b", "a\\b", "../a/b", "a..b", "/a/b", "", ".", "..", "con", "con.txt", "名", "字", "a b.", "a\0b"];
        let slugs: std::collections::BTreeSet<String> = names.iter().map(|name| slug(name)).collect();
        assert_eq!(slugs.len(), names.len(), "{slugs:?}");
    }

    proptest! {
        /// Whatever the text, the slug is one harmless path component.
        #[test]
        fn a_slug_is_one_safe_component(text in "\\PC{0,200}|[./\\\\a-zA-Z -]{0,150}") {
            let slug = slug(&text);
            prop_assert!(!slug.is_empty() && slug.len() <= MAX_SLUG_LENGTH, "{slug}");
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)), "{slug}");
            prop_assert!(!slug.starts_with(['.', '-']) && !slug.ends_with('.') && !slug.contains(".."), "{slug}");
        }

        /// Two texts that differ in more than case have different slugs, even if one imitates the other's slug.
        #[test]
        fn slugs_do_not_collide(first in "[a-c./ -]{0,6}", second in "[a-c./ -]{0,6}") {
            prop_assume!(first != second);
            prop_assert_ne!(slug(&first), slug(&second));
            let imitation = slug(&first);
            prop_assert!(imitation == first || slug(&imitation) != imitation || is_plain(&first));
        }
    }
}
