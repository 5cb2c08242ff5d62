//! The declared context length against the model's window.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let Some(declared) = &input.draft.context_length else { return };
    let Some(configuration) = input.contents(None).and_then(|facts| facts.config.as_ref()) else { return };
    let window = ["max_position_embeddings", "n_positions", "max_sequence_length"]
        .iter()
        .find_map(|name| configuration.get(name).and_then(serde_json::Value::as_u64));
    let Some(window) = window else { return };
    if declared.value > window {
        let message = format!("{} tokens declared, but config.json allows {window}", declared.value);
        findings.warning(
            Code::ContextLengthMismatch,
            Some(&declared.field),
            declared.span,
            message,
            format!("write `context_length: {window}`"),
        );
    }
}
