//! The weights: in the declared format, never pickled.

use super::Input;
use crate::hub::ModelFacts;
use crate::submission::draft::DraftQuantization;
use crate::submission::finding::Code;
use crate::submission::model::Format;
use crate::submission::schema::closest;
use crate::submission::source::Findings;

/// A safetensors file that holds the model's weights: at the top of the repository, and not an adapter's.
pub(super) fn is_weight_file(path: &str) -> bool {
    has_extension(path, &["safetensors"]) && !path.contains('/') && !path.starts_with("adapter_")
}

fn is_pickle(path: &str) -> bool {
    has_extension(path, &["bin", "pt", "pth", "ckpt", "pkl", "pickle"])
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| extensions.iter().any(|extension| end.eq_ignore_ascii_case(extension)))
}

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    if let Some(facts) = input.contents(None).filter(|_| input.uses_safetensors()) {
        safetensors(facts, input, findings);
    }
    for quantization in input.draft.quantizations.iter().filter(|quantization| quantization.has_format(Format::Gguf)) {
        gguf(quantization, input, findings);
    }
}

fn safetensors(facts: &ModelFacts, input: &Input<'_>, findings: &mut Findings) {
    let Some(repo) = &input.draft.hf_repo else { return };
    let field = Some(repo.field.as_str());
    if !facts.files.iter().any(|file| is_weight_file(&file.path)) {
        if facts.files.iter().any(|file| is_pickle(&file.path)) {
            let help = "pickled files can run code when they are opened; convert them to safetensors (`save_pretrained(…, safe_serialization=True)`) and upload those";
            findings.error(Code::WeightsPickled, field, repo.span, "the repository has only pickled weights (.bin, .pt)", help);
        } else if facts.files.iter().any(|file| has_extension(&file.path, &["gguf"])) {
            let help = "for each file write an entry with `format: gguf` and `source: <file>.gguf`";
            findings.error(Code::WeightsMissing, field, repo.span, "the repository has GGUF files and no safetensors weights", help);
        } else {
            let help = "upload model.safetensors (or its shards) at the top of the repository; an adapter must be merged into its base model first";
            findings.error(Code::WeightsMissing, field, repo.span, "the repository has no safetensors weights", help);
        }
        return;
    }
    if !facts.files.iter().any(|file| file.path == "tokenizer.json") {
        let help = "upload tokenizer.json (`AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes it)";
        findings.error(Code::ConfigurationMissing, field, repo.span, "the repository has no tokenizer.json", help);
    }
}

fn gguf(quantization: &DraftQuantization, input: &Input<'_>, findings: &mut Findings) {
    let Some(source) = &quantization.source else { return };
    let Some(facts) = input.contents(source.value.repository.as_ref()) else { return };
    if facts.files.iter().any(|file| file.path == source.value.path) {
        return;
    }
    let present: Vec<&str> = facts.files.iter().map(|file| file.path.as_str()).filter(|path| has_extension(path, &["gguf"])).collect();
    let help = match closest(&source.value.path, &present) {
        Some(near) => format!("did you mean `{near}`?"),
        None if present.is_empty() => {
            "the repository has no GGUF file; name a file in another repository as owner/name:file.gguf".to_owned()
        }
        None => format!("its GGUF files are {}", present.iter().take(10).copied().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("{} has no file `{}`", facts.repo, source.value.path);
    findings.error(Code::WeightsMissing, Some(&source.field), source.span, message, help);
}
