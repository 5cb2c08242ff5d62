//! Size: declared and measured, each at most 3B and in agreement within 10 %.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::model::Format;
use crate::submission::source::{Findings, Span};
use crate::submission::{MAX_PARAMETERS, format_parameters, group_digits};

/// Below this the suite says little about a model.
const FEW_PARAMETERS: u64 = 1_000_000;

pub(super) fn check_declared(input: &Input<'_>, findings: &mut Findings) {
    let Some(declared) = &input.draft.parameters else { return };
    let count = declared.value.count();
    let field = Some(declared.field.as_str());
    if count > MAX_PARAMETERS {
        let message =
            format!("{} parameters; the leaderboard takes at most {}", format_parameters(count), format_parameters(MAX_PARAMETERS));
        findings.error(
            Code::TooManyParameters,
            field,
            declared.span,
            message,
            "submit a smaller model; this one belongs on a leaderboard for larger models",
        );
    } else if count < FEW_PARAMETERS {
        let help = "check the unit (K, M, B); a model this small is evaluated, and scores near chance are to be expected";
        findings.warning(Code::FewParameters, field, declared.span, format!("only {} parameters", format_parameters(count)), help);
    }
}

pub(super) fn check_measured(input: &Input<'_>, findings: &mut Findings) {
    let mut compared = Vec::new();
    if let Some(facts) = input.contents(None).filter(|_| input.uses_safetensors()) {
        let repo = input.draft.hf_repo.as_ref();
        let (field, span) = repo.map_or((None, Span::START), |repo| (Some(repo.field.as_str()), repo.span));
        match facts.safetensors_parameters {
            Some(measured) => {
                compared.push(measured);
                compare(measured, "the safetensors headers say", (field, span), input, findings);
            }
            None if facts.files.iter().any(|file| super::weights::is_weight_file(&file.path)) => {
                unmeasured("the safetensors files", (field, span), findings);
            }
            None => {}
        }
    }
    for quantization in input.draft.quantizations.iter().filter(|quantization| quantization.has_format(Format::Gguf)) {
        let Some(source) = &quantization.source else { continue };
        let Some(facts) = input.contents(source.value.repository.as_ref()) else { continue };
        let place = (Some(source.field.as_str()), source.span);
        match facts.gguf_parameters.get(&source.value.path) {
            // Several files of one model agree with each other; one finding is enough.
            Some(measured) if compared.contains(measured) => {}
            Some(&measured) => {
                compared.push(measured);
                compare(measured, "the GGUF header says", place, input, findings);
            }
            None if facts.files.iter().any(|file| file.path == source.value.path) => unmeasured("the GGUF file", place, findings),
            None => {}
        }
    }
}

fn unmeasured(what: &str, (field, span): (Option<&str>, Span), findings: &mut Findings) {
    let message = format!("the number of parameters cannot be read from {what}");
    findings.error(
        Code::ParametersUnmeasured,
        field,
        span,
        message,
        "check that the upload is complete; the header at the beginning of each file must be readable",
    );
}

fn compare(measured: u64, by: &str, place: (Option<&str>, Span), input: &Input<'_>, findings: &mut Findings) {
    let shown = format_parameters(measured);
    if measured > MAX_PARAMETERS {
        let message = format!(
            "{by} {} parameters ({shown}); the leaderboard takes at most {}",
            group_digits(measured),
            format_parameters(MAX_PARAMETERS)
        );
        findings.error(Code::TooManyParameters, place.0, place.1, message, "submit a smaller model");
    } else if measured < FEW_PARAMETERS && input.draft.parameters.as_ref().is_some_and(|declared| declared.value.count() >= FEW_PARAMETERS)
    {
        let message = format!("{by} only {} parameters", group_digits(measured));
        findings.warning(Code::FewParameters, place.0, place.1, message, "scores near chance are to be expected");
    }
    let Some(declared) = &input.draft.parameters else { return };
    let count = declared.value.count();
    if u128::from(count.abs_diff(measured)) * 10 > u128::from(measured) {
        let message = format!("{} declared, but {by} {} ({shown}); they may differ by 10 %", declared.value, group_digits(measured));
        let help = format!(
            "write `parameters: \"{shown}\"` (every stored parameter counts, embeddings too; tied weights once), or correct the repository or file"
        );
        findings.error(Code::ParametersMismatch, Some(&declared.field), declared.span, message, help);
    }
}
