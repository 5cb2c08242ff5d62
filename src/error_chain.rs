//! An error in words, for the rooms that speak to servers.

use std::error::Error;

/// An error and its causes on one line; a cause that its effect has repeated already is left out.
pub(crate) fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
