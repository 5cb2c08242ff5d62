//! No code from the repository is run: a model that needs it cannot be evaluated.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let Some(repo) = &input.draft.hf_repo else { return };
    let Some(configuration) = input.contents(None).and_then(|facts| facts.config.as_ref()) else { return };
    let needs_code = match configuration.get("auto_map") {
        None | Some(serde_json::Value::Null) => false,
        Some(serde_json::Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    };
    if needs_code {
        let help =
            "only architectures that the engine knows itself are evaluated; if yours is one of them, remove `auto_map` from config.json";
        findings.error(Code::RemoteCode, Some(&repo.field), repo.span, "config.json asks for code from the repository (`auto_map`)", help);
    }
}
