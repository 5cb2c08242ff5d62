//! String methods of Python 3, whose notions of white space and letter case differ from Rust's.

/// `str.isspace` of one character: Unicode white space and the four separators U+001C to U+001F, which Rust does not count.
#[must_use]
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.rstrip()`.
#[must_use]
pub fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// The head and the last piece of `str.split(" ")`: everything before the last space, and what follows it.
/// A text without a space has an empty head.
#[must_use]
pub fn split_space(text: &str) -> (&str, &str) {
    text.rsplit_once(' ').unwrap_or(("", text))
}

/// `str.capitalize()`: the first character in title case, **all others in lower case**.
#[must_use]
pub fn capitalize(text: &str) -> String {
    let Some(first) = text.chars().next() else {
        return String::new();
    };
    // The whole text is lowered, as a capital sigma's lower case depends on its neighbours; then the first character's part is cut off.
    let lowered = text.to_lowercase();
    let cut: usize = first.to_lowercase().map(char::len_utf8).sum();
    let mut capitalised = title(first);
    capitalised.push_str(&lowered[cut..]);
    capitalised
}

/// Title case of one character, where it is not the upper case (Unicode `SpecialCasing.txt` and `UnicodeData.txt`).
fn title(character: char) -> String {
    let fixed = match character {
        'ß' => "Ss",
        'Ǆ'..='ǆ' => "ǅ",
        'Ǉ'..='ǉ' => "ǈ",
        'Ǌ'..='ǌ' => "ǋ",
        'Ǳ'..='ǳ' => "ǲ",
        'և' => "Եւ",
        'ᾲ' => "Ὰ\u{345}",
        'ᾴ' => "Ά\u{345}",
        'ᾷ' => "ᾼ\u{342}",
        'ῂ' => "Ὴ\u{345}",
        'ῄ' => "Ή\u{345}",
        'ῇ' => "ῌ\u{342}",
        'ῲ' => "Ὼ\u{345}",
        'ῴ' => "Ώ\u{345}",
        'ῷ' => "ῼ\u{342}",
        'ᾳ' | 'ᾼ' => "ᾼ",
        'ῃ' | 'ῌ' => "ῌ",
        'ῳ' | 'ῼ' => "ῼ",
        'ﬀ' => "Ff",
        'ﬁ' => "Fi",
        'ﬂ' => "Fl",
        'ﬃ' => "Ffi",
        'ﬄ' => "Ffl",
        'ﬅ' | 'ﬆ' => "St",
        'ﬓ' => "Մն",
        'ﬔ' => "Մե",
        'ﬕ' => "Մի",
        'ﬖ' => "Վն",
        'ﬗ' => "Մխ",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.to_owned();
    }
    match character {
        // Georgian letters have an upper case, but titles keep the common form.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => character.to_string(),
        // Greek vowels with iota: blocks of eight small letters, followed by the eight title-case ones.
        'ᾀ'..='ᾯ' => char::from_u32(u32::from(character) | 8).unwrap_or(character).to_string(),
        _ => character.to_uppercase().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of Python 3.11.
    #[test]
    fn capitalize_equals_python() {
        for (text, expected) in [
            ("the NASA chef", "The nasa chef"),
            ("ßtraße", "Sstraße"),
            ("ǆungla", "ǅungla"),
            ("éCOLE", "École"),
            ("1ST Place", "1st place"),
            ("", ""),
            ("İstanbul", "İstanbul"),
            ("ᾀΣ", "ᾈς"),
            ("ﬁN", "Fin"),
            ("აბ", "აბ"),
            ("ΣΑΣ", "Σας"),
        ] {
            assert_eq!(capitalize(text), expected, "{text}");
        }
    }

    #[test]
    fn strip_takes_the_separators_that_rust_leaves() {
        assert_eq!(strip("\u{1f}\u{a0} a\u{200b}\u{3000}\n"), "a\u{200b}");
        assert_eq!(rstrip(" a\u{1c}"), " a");
        assert_eq!(split_space("a b  c"), ("a b ", "c"));
        assert_eq!(split_space("abc"), ("", "abc"));
    }

    proptest! {
        #[test]
        fn capitalize_never_panics(text in any::<String>()) {
            let _ = capitalize(&text);
        }
    }
}
