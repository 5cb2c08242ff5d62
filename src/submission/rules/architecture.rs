//! The architecture: one that the engine loads, and the one that was declared.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::source::{Findings, shortened};

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let Some(facts) = input.contents(None) else { return };
    let Some(repo) = &input.draft.hf_repo else { return };
    let field = Some(repo.field.as_str());
    let Some(configuration) = facts.config.as_ref() else {
        if input.uses_safetensors() {
            let help = "upload the config.json that belongs to the weights (`save_pretrained` writes it)";
            findings.error(Code::ConfigurationMissing, field, repo.span, "the repository has no config.json", help);
        }
        return;
    };
    let class = configuration.get("architectures").and_then(|list| list.get(0)).and_then(serde_json::Value::as_str);
    let model_type = facts.model_type();
    if input.uses_safetensors() {
        loadable(model_type, class, input, findings);
    }
    if let (Some(declared), Some(model_type)) = (&input.draft.architecture, model_type)
        && !declared.value.eq_ignore_ascii_case(model_type)
    {
        let model_type = shortened(model_type, 60);
        let message = format!("`{}` declared, but config.json says `{model_type}`", declared.value);
        findings.warning(
            Code::ArchitectureMismatch,
            Some(&declared.field),
            declared.span,
            message,
            format!("write `architecture: {model_type}`"),
        );
    }
}

fn loadable(model_type: Option<&str>, class: Option<&str>, input: &Input<'_>, findings: &mut Findings) {
    let (Some(list), Some(repo)) = (input.context.loadable, &input.draft.hf_repo) else { return };
    // The engine decides by the class name; `model_type` alone also stands for models without a language model's head.
    let fits = class.is_some_and(|class| list.iter().any(|known| known.class == class));
    if fits {
        return;
    }
    let place = input.draft.architecture.as_ref().unwrap_or(repo);
    let found = match (class, model_type) {
        (Some(class), _) => format!("the architecture `{}`", shortened(class, 60)),
        (None, Some(model_type)) => format!("a config.json without `architectures` (model_type `{}`)", shortened(model_type, 60)),
        (None, None) => "a config.json without `architectures`".to_owned(),
    };
    let known: Vec<&str> = list.iter().map(|known| known.class).collect();
    let message = format!("the engine does not load {found}");
    findings.error(Code::ArchitectureNotLoadable, Some(&place.field), place.span, message, format!("it loads {}", known.join(", ")));
}
