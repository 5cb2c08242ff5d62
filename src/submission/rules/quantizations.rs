//! The quantization entries against each other and against their format.

use super::Input;
use crate::submission::draft::DraftQuantization;
use crate::submission::finding::Code;
use crate::submission::model::Format;
use crate::submission::schema::closest;
use crate::submission::source::Findings;

/// What the engine (mistral.rs 0.8) quantizes to while loading, on every device.
const ISQ_NAMES: &[&str] =
    &["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2K", "Q3K", "Q4K", "Q5K", "Q6K", "Q8K", "HQQ4", "HQQ8", "FP8", "F8Q8", "MXFP4"];

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let mut names: Vec<String> = Vec::new();
    for quantization in &input.draft.quantizations {
        if let Some(name) = &quantization.name {
            let normal = normalised(&name.value);
            if names.contains(&normal) {
                let message = format!("`{}` names two quantizations", name.value);
                findings.error(
                    Code::ListedTwice,
                    Some(&name.field),
                    name.span,
                    message,
                    "give each entry a name of its own; each becomes a row",
                );
            }
            names.push(normal);
        }
        format_name(quantization, findings);
        isq_name(quantization, findings);
        source(quantization, findings);
    }
}

/// Names that differ in case or in the spelling of a floating-point type (`FP16`, `F16`) are the same row.
fn normalised(name: &str) -> String {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    match upper.as_str() {
        "F16" | "FLOAT16" => "FP16".to_owned(),
        "F32" | "FLOAT32" => "FP32".to_owned(),
        "BFLOAT16" => "BF16".to_owned(),
        _ => upper,
    }
}

fn format_name(quantization: &DraftQuantization, findings: &mut Findings) {
    if let (Some(format), Some("transformers")) = (&quantization.format, quantization.format_text.as_deref()) {
        findings.warning(
            Code::FormatOld,
            Some(&format.field),
            format.span,
            "`transformers` is read as `safetensors`",
            "write `format: safetensors`",
        );
    }
}

fn isq_name(quantization: &DraftQuantization, findings: &mut Findings) {
    let Some(name) = quantization.name.as_ref().filter(|_| quantization.has_format(Format::Isq)) else { return };
    if ISQ_NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name.value)) {
        return;
    }
    let near = closest(&name.value, ISQ_NAMES).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let message = format!("the engine cannot quantize to `{}`", name.value);
    findings.error(Code::QuantizationName, Some(&name.field), name.span, message, format!("{near}possible: {}", ISQ_NAMES.join(", ")));
}

fn source(quantization: &DraftQuantization, findings: &mut Findings) {
    let Some(source) = &quantization.source else { return };
    let Some(format) = quantization.format.as_ref() else { return };
    if format.value != Format::Gguf {
        let message = format!("`source` has no effect with `format: {}`", format.value.as_str());
        findings.warning(Code::SourceUnused, Some(&source.field), source.span, message, "remove it, or write `format: gguf`");
        return;
    }
    let file = source.value.path.rsplit('/').next().unwrap_or_default();
    if let (Some(name), Some(label)) = (&quantization.name, label_in(file))
        && normalised(&name.value) != normalised(&label)
    {
        let message = format!("the entry is named `{}`, its file `{label}`", name.value);
        findings.warning(
            Code::QuantizationLabel,
            Some(&name.field),
            name.span,
            message,
            format!("write `name: {label}`, or choose the other file"),
        );
    }
}

/// The quantization that a GGUF file's name states, such as `Q4_K_M` in `model-q4_k_m.gguf`.
fn label_in(file: &str) -> Option<String> {
    file.rsplit(['-', '.']).map(str::to_ascii_uppercase).find(|piece| is_label(piece))
}

fn is_label(piece: &str) -> bool {
    if matches!(piece, "F16" | "FP16" | "BF16" | "F32" | "FP32") {
        return true;
    }
    let rest = piece.strip_prefix("IQ").or_else(|| piece.strip_prefix('Q')).unwrap_or_default();
    let mut parts = rest.split('_');
    let bits = parts.next().is_some_and(|bits| bits.len() == 1 && bits.bytes().all(|byte| byte.is_ascii_digit()));
    let rest: Vec<&str> = parts.collect();
    bits && !rest.is_empty() && rest.iter().all(|part| matches!(*part, "0" | "1" | "K" | "S" | "M" | "L" | "XS" | "XXS" | "NL" | "XL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's own label is found where its name has one.
    #[test]
    fn labels_are_read_from_file_names() {
        for (file, label) in [
            ("smollm2-1.7b-instruct-q4_k_m.gguf", Some("Q4_K_M")),
            ("SmolLM2-135M.Q8_0.gguf", Some("Q8_0")),
            ("model-IQ3_XS.gguf", Some("IQ3_XS")),
            ("model.f16.gguf", Some("F16")),
            ("qwen2.5-0.5b.gguf", None),
            ("model-q7.gguf", None),
        ] {
            assert_eq!(label_in(file).as_deref(), label, "{file}");
        }
    }
}
