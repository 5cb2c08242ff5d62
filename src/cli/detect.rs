//! `slm-bench detect`: a submission YAML from what the hub knows, ready to check and paste.

use super::{InvalidInput, Outcome, UsageError};
use crate::hub::{GgufFiles, GgufSummary, Hub, HubConfig, HubError, ModelFacts};
use crate::submission::format_parameters;
use serde_json::Value;
use std::fmt::Write;

/// Most entries of `quantizations` that a submission may have.
const MAX_QUANTIZATIONS: usize = 8;
/// GGUF quantizations that are proposed first when a repository has more than fit.
const USUAL: &[&str] = &["F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"];

/// Arguments of `detect`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Model repository on the hub, as owner/name.
    hf_repo: String,
    /// Branch, tag or commit; it is pinned to the commit that it names.
    #[arg(long, default_value = "main")]
    revision: String,
    /// GitHub login to write in `submitted_by`.
    #[arg(long, value_name = "LOGIN")]
    submitted_by: Option<String>,
}

/// Prints the YAML on standard output.
///
/// # Errors
/// [`InvalidInput`] when the repository cannot be used as it is, [`UsageError`] for names that no repository can have; the hub's own failures otherwise.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let hub = Hub::new(&HubConfig::from_env()?)?;
    print!("{}", detect(&hub, arguments).map_err(classified)?);
    Ok(Outcome::Done)
}

fn classified(error: HubError) -> anyhow::Error {
    match error {
        HubError::Invalid { .. } => UsageError(error.to_string()).into(),
        error if error.is_about_the_repository() => InvalidInput(error.to_string()).into(),
        error => error.into(),
    }
}

fn detect(hub: &Hub, arguments: &Arguments) -> Result<String, HubError> {
    let mut facts = hub.model_facts(&arguments.hf_repo, Some(&arguments.revision), GgufFiles::None)?;
    let mut summary = None;
    let quantizations = quantizations_of(&facts);
    let first_gguf = quantizations.proposed.iter().find_map(|entry| entry.source.clone());
    if let Some(path) = first_gguf.filter(|_| facts.safetensors_parameters.is_none()) {
        // Without safetensors the GGUF header is the only place that tells size, architecture and window.
        facts = hub.model_facts(&arguments.hf_repo, Some(&facts.commit), GgufFiles::Only(std::slice::from_ref(&path)))?;
        summary = Some(hub.gguf_summary(&facts.repo, &facts.commit, &path)?);
    }
    Ok(submission_yaml(&facts, summary.as_ref(), &quantizations, arguments.submitted_by.as_deref()))
}

/// One entry of `quantizations`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    format: &'static str,
    source: Option<String>,
}

/// What the repository's files offer.
#[derive(Debug, Default)]
struct Quantizations {
    proposed: Vec<Entry>,
    /// GGUF files beyond those that fit in a submission.
    left_out: Vec<String>,
}

fn quantizations_of(facts: &ModelFacts) -> Quantizations {
    let mut all = Quantizations::default();
    let ends_with = |path: &str, end: &str| path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case(end));
    let weights = |path: &str| ends_with(path, "safetensors") && !path.contains('/') && !path.starts_with("adapter");
    if facts.files.iter().any(|file| weights(&file.path)) {
        all.proposed.push(Entry { name: stored_type(facts.config.as_ref()), format: "safetensors", source: None });
    }
    let mut ggufs: Vec<Entry> = facts
        .files
        .iter()
        .filter(|file| ends_with(&file.path, "gguf") && is_plain_path(&file.path))
        .filter_map(|file| Some(Entry { name: gguf_label(&file.path)?, format: "gguf", source: Some(file.path.clone()) }))
        .collect();
    ggufs.sort_by_key(|entry| (USUAL.iter().position(|usual| *usual == entry.name).unwrap_or(USUAL.len()), entry.source.clone()));
    ggufs.dedup_by(|one, other| one.name == other.name);
    let room = MAX_QUANTIZATIONS - all.proposed.len();
    all.left_out = ggufs.iter().skip(room).filter_map(|entry| entry.source.clone()).collect();
    ggufs.truncate(room);
    all.proposed.extend(ggufs);
    all
}

/// Whether a path can stand in `source`; others (line breaks, colons, …) are not proposed.
fn is_plain_path(path: &str) -> bool {
    !path.contains("..") && path.chars().all(|character| character.is_ascii_alphanumeric() || " ._+()/-".contains(character))
}

/// The quantization that a GGUF file's name states: `Q4_K_M` for `model-q4_k_m.gguf`. Later parts of a split file have none.
fn gguf_label(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let stem = name.get(..name.len() - ".gguf".len())?;
    let stem = match stem.rsplit_once("-of-") {
        Some((rest, _)) => rest.strip_suffix("-00001")?,
        None => stem,
    };
    let label = stem.rsplit(['-', '.']).map(str::to_ascii_uppercase).find(|piece| {
        let quantized =
            piece.trim_start_matches('I').strip_prefix('Q').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        quantized || matches!(piece.as_str(), "F16" | "FP16" | "BF16" | "F32" | "FP32")
    })?;
    let fits = label.len() <= 32 && label.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    (fits && !label.ends_with('_')).then_some(label)
}

/// The label for the safetensors weights as they are stored.
fn stored_type(config: Option<&Value>) -> String {
    let quantized = config.and_then(|config| config.pointer("/quantization_config/quant_method")).and_then(Value::as_str);
    if let Some(method) = quantized
        .filter(|method| !method.is_empty() && method.chars().all(|character| character.is_ascii_alphanumeric() || character == '-'))
    {
        let bits = config.and_then(|config| config.pointer("/quantization_config/bits")).and_then(Value::as_u64);
        return bits.map_or_else(|| method.to_ascii_uppercase(), |bits| format!("{}-{bits}bit", method.to_ascii_uppercase()));
    }
    let dtype = config.and_then(|config| config.get("dtype").or_else(|| config.get("torch_dtype"))).and_then(Value::as_str);
    match dtype.unwrap_or_default().trim_start_matches("torch.") {
        "float16" => "FP16",
        "float32" => "FP32",
        _ => "BF16",
    }
    .to_owned()
}

/// The family in a repository's name: what stands before its size (`SmolLM2` in `SmolLM2-135M-Instruct`).
fn family_of(name: &str) -> String {
    let is_size = |piece: &str| {
        let number = piece.strip_suffix(['m', 'M', 'b', 'B', 'k', 'K']).unwrap_or_default();
        number.starts_with(|first: char| first.is_ascii_digit()) && number.parse::<f64>().is_ok()
    };
    let pieces: Vec<&str> = name.split(['-', '_']).collect();
    let end = pieces.iter().skip(1).position(|piece| is_size(piece)).map_or(1, |position| position + 1);
    pieces[..end].join("-")
}

/// Longest context in tokens, from the names that configurations use for it.
fn context_length(config: &Value) -> Option<u64> {
    let text = config.get("text_config").unwrap_or(config);
    ["max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx"].iter().find_map(|name| text.get(name)?.as_u64())
}

/// The YAML. Whatever the hub says is data: it is quoted, and what no field can hold is left to the author.
fn submission_yaml(facts: &ModelFacts, gguf: Option<&GgufSummary>, quantizations: &Quantizations, submitted_by: Option<&str>) -> String {
    let name = facts.repo.rsplit('/').next().unwrap_or(&facts.repo);
    let measured = facts.safetensors_parameters.or_else(|| facts.gguf_parameters.values().next().copied());
    let parameters = measured.map(format_parameters);
    let architecture = facts.model_type().or_else(|| gguf?.architecture.as_deref());
    let license = facts.license.as_deref().or_else(|| gguf?.license.as_deref());
    let window = facts.config.as_ref().and_then(context_length).or_else(|| gguf?.context_length);
    let mut yaml = String::new();
    let mut line = |text: String| {
        yaml.push_str(&text);
        yaml.push('\n');
    };
    line(format!(
        "# Drafted by `slm-bench detect {}` from the hub's facts. Check each line, then run `slm-bench validate` on it.",
        plain(&facts.repo)
    ));
    line("model:".to_owned());
    line(field("name", Some(name), ""));
    line(format!("{}  # a guess from the name", field("family", Some(&family_of(name)), "")));
    line(field("hf_repo", Some(&facts.repo), ""));
    line(field("hf_revision", Some(&facts.commit), ""));
    let exact = measured.map_or_else(String::new, |measured| format!("  # measured: {measured}"));
    line(format!("{}{exact}", field("parameters", parameters.as_deref(), "the weight files' headers tell no size")));
    line(field("architecture", architecture, "config.json has no model_type"));
    if let Some(window) = window {
        line(format!("  context_length: {window}"));
    }
    line(field("license", license, "the model card names none: add it there and here"));
    line("  quantizations:".to_owned());
    for entry in &quantizations.proposed {
        line(format!("    - name: {}\n      format: {}", quoted(&entry.name), quoted(entry.format)));
        if let Some(source) = &entry.source {
            line(format!("      source: {}", quoted(source)));
        }
    }
    if quantizations.proposed.is_empty() {
        line("    # the repository has neither safetensors nor GGUF files".to_owned());
    }
    for path in &quantizations.left_out {
        line(format!("    # also there: {}", plain(path)));
    }
    match submitted_by {
        Some(login) => line(field("submitted_by", Some(login), "")),
        None => line("  submitted_by: \"your-github-username\"  # write your GitHub login".to_owned()),
    }
    yaml
}

fn field(name: &str, value: Option<&str>, missing: &str) -> String {
    match value {
        Some(value) => format!("  {name}: {}", quoted(value)),
        None => format!("  {name}:  # {missing}"),
    }
}

/// A YAML scalar in double quotes; only printable ASCII goes through as it is.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars().take(400) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            // Writing to a String cannot fail.
            other => drop(write!(quoted, "\\U{:08x}", u32::from(other))),
        }
    }
    quoted.push('"');
    quoted
}

/// Text for a comment.
fn plain(text: &str) -> String {
    text.chars().take(400).map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{RepositoryFile, facts_of_folder};
    use crate::submission::{Context, InputKind, Severity, read};
    use std::path::Path;

    fn demo() -> ModelFacts {
        facts_of_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo"), "slm-benchmark/demo-1m", &"0".repeat(40)).unwrap()
    }

    fn yaml(facts: &ModelFacts, gguf: Option<&GgufSummary>) -> String {
        submission_yaml(facts, gguf, &quantizations_of(facts), None)
    }

    fn errors(yaml: &str) -> usize {
        read(yaml.as_bytes(), InputKind::File).check(&Context::OFFLINE).count(Severity::Error)
    }

    fn findings(yaml: &str) -> String {
        read(yaml.as_bytes(), InputKind::File).check(&Context::OFFLINE).to_text("detected.yml", false)
    }

    /// What is printed is a submission: the validator has nothing to say about it but the login to fill in.
    #[test]
    fn the_draft_is_a_valid_submission() {
        let text = yaml(&demo(), None);
        insta::assert_snapshot!(text, @r#"
        # Drafted by `slm-bench detect slm-benchmark/demo-1m` from the hub's facts. Check each line, then run `slm-bench validate` on it.
        model:
          name: "demo-1m"
          family: "demo"  # a guess from the name
          hf_repo: "slm-benchmark/demo-1m"
          hf_revision: "0000000000000000000000000000000000000000"
          parameters: "1.26M"  # measured: 1262720
          architecture: "llama"
          context_length: 2048
          license: "apache-2.0"
          quantizations:
            - name: "BF16"
              format: "safetensors"
          submitted_by: "your-github-username"  # write your GitHub login
        "#);
        assert_eq!(errors(&text), 0, "{}", findings(&text));
    }

    /// A repository of GGUF files alone: size, architecture and window come from the header, the usual quantizations first, at most eight.
    #[test]
    fn gguf_files_are_proposed() {
        let mut facts = demo();
        facts.config = None;
        facts.safetensors_parameters = None;
        let names = ["Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_XS", "Q4_0", "q4_k_m", "Q5_K_M", "Q6_K", "Q8_0", "f16"];
        facts.files = names.iter().map(|name| RepositoryFile { path: format!("demo-{name}.gguf"), size: None, sha256: None }).collect();
        facts.gguf_parameters.insert("demo-f16.gguf".to_owned(), 134_515_008);
        let summary = GgufSummary { architecture: Some("llama".to_owned()), context_length: Some(2048), license: None };
        let text = yaml(&facts, Some(&summary));
        assert!(text.contains("parameters: \"135M\"  # measured: 134515008") && text.contains("context_length: 2048"), "{text}");
        assert!(text.contains("- name: \"F16\"\n      format: \"gguf\"\n      source: \"demo-f16.gguf\""), "{text}");
        assert_eq!(text.matches("- name:").count(), 8);
        assert!(text.contains("# also there: demo-Q3_K_S.gguf"), "{text}");
        assert_eq!(errors(&text), 0, "{}", findings(&text));
    }

    /// Hostile words from the hub stay words: they add no key and no line.
    #[test]
    fn hostile_facts_stay_quoted() {
        let mut facts = demo();
        facts.license = Some("mit\"\n  hf_repo: \"evil/evil\"\n#\u{2028}".to_owned());
        facts.config = Some(serde_json::json!({"model_type": "a\nb: c", "dtype": "x\ny"}));
        let text = yaml(&facts, None);
        let value: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(value.pointer("/model/hf_repo").unwrap(), "slm-benchmark/demo-1m");
        assert_eq!(value.pointer("/model/license").unwrap(), facts.license.as_deref().unwrap());
        assert_eq!(value.pointer("/model").unwrap().as_object().unwrap().len(), 9);
    }

    /// The family is what stands before the size in a name; labels come from GGUF names.
    #[test]
    fn guesses_from_names() {
        for (name, family) in [
            ("SmolLM2-135M-Instruct", "SmolLM2"),
            ("Qwen2.5-0.5B", "Qwen2.5"),
            ("gemma-2-2b", "gemma-2"),
            ("gpt2", "gpt2"),
            ("pythia-160m", "pythia"),
        ] {
            assert_eq!(family_of(name), family);
        }
        for (path, label) in [
            ("a/SmolLM2-135M.Q8_0.gguf", Some("Q8_0")),
            ("m-iq3_xxs.gguf", Some("IQ3_XXS")),
            ("m-Q4_0-00001-of-00002.gguf", Some("Q4_0")),
            ("m-Q4_0-00002-of-00002.gguf", None),
            ("qwen2.5-0.5b.gguf", None),
        ] {
            assert_eq!(gguf_label(path).as_deref(), label, "{path}");
        }
    }
}
