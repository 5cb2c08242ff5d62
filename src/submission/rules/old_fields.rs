//! Fields of older submissions: accepted, without effect.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    for (name, span) in &input.draft.old_fields {
        let help = match name.as_str() {
            "context_window" => "write `context_length` with the number of tokens",
            "submitted_date" => "remove it; the date of the issue counts",
            "testing" => "remove it; every model gets the same tests, and `categories` chooses the pillars",
            "skip_quantization" => "remove it; exactly the listed quantizations are evaluated",
            _ => "remove it; the suite is chosen by the operator",
        };
        findings.warning(Code::FieldIgnored, Some(&format!("model.{name}")), *span, format!("`{name}` has no effect"), help);
    }
}
