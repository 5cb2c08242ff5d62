//! Promises of the validator as a whole.

// Fixtures are texts; how fast they are put together does not matter.
#![allow(clippy::format_collect, clippy::format_push_string)]

use super::*;
use crate::hub::{GatedAccess, ModelFacts, RepositoryFile};
use std::collections::BTreeMap;

/// The example of the original project's README, as it stands there.
const README_EXAMPLE: &str = r#"model:
  name: "SmolLM2-1.7B"
  family: "SmolLM"
  hf_repo: "HuggingFaceTB/SmolLM2-1.7B"
  parameters: "1.7B"           # must be ≤ 3B
  architecture: "llama"
  context_length: 8192
  license: "Apache-2.0"

  # Evaluation pillars you want to be considered in the aggregate score
  categories:
    - "reasoning"
    - "coding"
    - "math"
    - "language"
    - "safety"

  # Optional: quantizations that were evaluated
  quantizations:
    - name: "FP16"
      format: "safetensors"

  # Submission metadata
  submitted_by: "github_username"
  contact: "email@example.com"
"#;

fn codes(report: &Report) -> Vec<(Severity, Code)> {
    report.findings.iter().map(|finding| (finding.severity, finding.code)).collect()
}

fn offline(text: &str, kind: InputKind) -> Report {
    read(text.as_bytes(), kind).check(&Context::OFFLINE)
}

/// The README's example is valid as it stands; its placeholders are pointed out.
#[test]
fn the_readme_example_is_valid() {
    let report = offline(README_EXAMPLE, InputKind::File);
    assert!(report.valid, "{}", report.to_text("README", false));
    assert!(codes(&report).iter().all(|&(_, code)| code == Code::PlaceholderValue));
    let submission = report.submission.unwrap();
    assert_eq!(submission.parameters.count(), 1_700_000_000);
    assert_eq!(submission.categories, Category::RANKED);
    assert_eq!(submission.slug(), "huggingfacetb--smollm2-1.7b");
    assert_eq!(submission.contact.as_deref(), Some("email@example.com"));
}

/// The canonical YAML reads back to the same submission and leaves the contact out.
#[test]
fn canonical_yaml_reads_back() {
    let first = offline(README_EXAMPLE, InputKind::File).submission.unwrap();
    let yaml = first.to_yaml().unwrap();
    assert!(!yaml.contains("contact") && !yaml.contains('@'), "{yaml}");
    let second = offline(&yaml, InputKind::File).submission.unwrap();
    assert_eq!(second, Submission { contact: None, ..first });
}

/// A submission without a single finding.
const GOOD: &str = "\
model:
  name: SmolLM2-135M
  family: SmolLM2
  hf_repo: HuggingFaceTB/SmolLM2-135M
  hf_revision: 93efa2f097d58c2a74874c7e644dbc9b0cee75a2
  parameters: 135M
  architecture: llama
  context_length: 8192
  license: Apache-2.0
  quantizations:
    - name: BF16
      format: safetensors
    - name: Q8_0
      format: gguf
      source: someone/SmolLM2-135M-GGUF@93efa2f097d58c2a74874c7e644dbc9b0cee75a2:smollm2-135m.Q8_0.gguf
    - name: Q4K
      format: isq
  submitted_by: someone
";
const COMMIT: &str = "93efa2f097d58c2a74874c7e644dbc9b0cee75a2";
const LOADABLE: &[LoadableArchitecture<'static>] = &[LoadableArchitecture { model_type: "llama", class: "LlamaForCausalLM" }];

fn files(paths: &[&str]) -> Vec<RepositoryFile> {
    paths.iter().map(|&path| RepositoryFile { path: path.to_owned(), size: Some(1), sha256: None }).collect()
}

fn facts() -> ModelFacts {
    ModelFacts {
        repo: "HuggingFaceTB/SmolLM2-135M".to_owned(),
        commit: COMMIT.to_owned(),
        private: false,
        disabled: false,
        gated: GatedAccess::Open,
        license: Some("apache-2.0".to_owned()),
        files: files(&["config.json", "model.safetensors", "tokenizer.json"]),
        config: Some(serde_json::json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192})),
        safetensors_parameters: Some(134_515_008),
        gguf_parameters: BTreeMap::new(),
    }
}

fn gguf_facts() -> ModelFacts {
    ModelFacts {
        repo: "someone/SmolLM2-135M-GGUF".to_owned(),
        files: files(&["README.md", "smollm2-135m.Q8_0.gguf"]),
        config: None,
        safetensors_parameters: None,
        gguf_parameters: [("smollm2-135m.Q8_0.gguf".to_owned(), 134_515_008)].into(),
        ..facts()
    }
}

/// What the world looks like to one check.
struct World {
    own: RepositoryAnswer,
    other: RepositoryAnswer,
    allow_gated: bool,
    evaluated: Vec<Evaluated>,
    author: Option<&'static str>,
}

fn world() -> World {
    World {
        own: RepositoryAnswer::Facts(Box::new(facts())),
        other: RepositoryAnswer::Facts(Box::new(gguf_facts())),
        allow_gated: false,
        evaluated: Vec::new(),
        author: Some("someone"),
    }
}

fn world_with(change: impl FnOnce(&mut ModelFacts)) -> World {
    let mut own = facts();
    change(&mut own);
    World { own: RepositoryAnswer::Facts(Box::new(own)), ..world() }
}

fn world_with_other(change: impl FnOnce(&mut ModelFacts)) -> World {
    let mut other = gguf_facts();
    change(&mut other);
    World { other: RepositoryAnswer::Facts(Box::new(other)), ..world() }
}

fn both_measure(count: u64) -> World {
    let mut world = world_with(|facts| facts.safetensors_parameters = Some(count));
    let gguf = ModelFacts { gguf_parameters: [("smollm2-135m.Q8_0.gguf".to_owned(), count)].into(), ..gguf_facts() };
    world.other = RepositoryAnswer::Facts(Box::new(gguf));
    world
}

fn check_in(input: &[u8], kind: InputKind, world: &World) -> Report {
    let reading = read(input, kind);
    let answers: Vec<_> = reading
        .repositories()
        .into_iter()
        .map(|repository| {
            let answer = if repository.repo.starts_with("someone/") { world.other.clone() } else { world.own.clone() };
            (repository, answer)
        })
        .collect();
    reading.check(&Context {
        hub: HubAnswers::Asked(&answers),
        allow_gated: world.allow_gated,
        loadable: Some(LOADABLE),
        suite_version: "standard-1",
        evaluated: &world.evaluated,
        author: world.author,
    })
}

fn good_with(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1).into_bytes()
}

/// The base of all fixtures has no finding, and is accepted.
#[test]
fn a_good_submission_has_no_findings() {
    let report = check_in(GOOD.as_bytes(), InputKind::File, &world());
    assert_eq!(report.findings, [], "{}", report.to_text("GOOD", false));
    assert!(report.is_accepted());
    assert_eq!(report.measured_parameters, Some(134_515_008));
}

/// The hub is asked about every repository once, and about the GGUF files that the submission names there.
#[test]
fn the_hub_is_asked_about_what_the_submission_names() {
    let text = GOOD.replace("  - name: Q4K\n      format: isq", "  - name: F16\n      format: gguf\n      source: f16/model.gguf");
    let reading = read(text.as_bytes(), InputKind::File);
    let asked: Vec<_> = reading.repositories().iter().map(|reference| (reference.to_string(), reading.gguf_files(reference))).collect();
    assert_eq!(
        asked,
        [
            (format!("HuggingFaceTB/SmolLM2-135M at {COMMIT}"), vec!["f16/model.gguf".to_owned()]),
            (format!("someone/SmolLM2-135M-GGUF at {COMMIT}"), vec!["smollm2-135m.Q8_0.gguf".to_owned()]),
        ]
    );
}

/// One bad submission: its text, the world, what must be found, and the text that the finding must point to.
struct Fixture {
    input: Vec<u8>,
    kind: InputKind,
    world: World,
    expected: (Severity, Code),
    text: &'static str,
}

fn fixture(input: impl Into<Vec<u8>>, severity: Severity, code: Code, text: &'static str) -> Fixture {
    Fixture { input: input.into(), kind: InputKind::File, world: world(), expected: (severity, code), text }
}

fn in_issue(input: &str, severity: Severity, code: Code, text: &'static str) -> Fixture {
    Fixture { kind: InputKind::Issue, ..fixture(input, severity, code, text) }
}

fn in_world(world: World, severity: Severity, code: Code, text: &'static str) -> Fixture {
    Fixture { world, ..fixture(GOOD, severity, code, text) }
}

fn evaluated(names: &[&str]) -> Vec<Evaluated> {
    let one = |name: &&str| Evaluated {
        repo: "huggingfacetb/smollm2-135m".to_owned(),
        commit: COMMIT.to_owned(),
        suite_version: "standard-1".to_owned(),
        quantization: (*name).to_owned(),
    };
    names.iter().map(one).collect()
}

fn fixtures() -> Vec<Fixture> {
    use Code as C;
    use Severity::{Error, Note, Warning};
    let repo = "HuggingFaceTB/SmolLM2-135M";
    vec![
        // Reading the text.
        fixture(vec![b'#'; MAX_YAML_BYTES + 1], Error, C::TooLarge, ""),
        Fixture { kind: InputKind::Issue, ..fixture(vec![b'#'; MAX_ISSUE_BYTES + 1], Error, C::TooLarge, "") },
        in_issue(&format!("```yaml\nmodel:\n  # {}\n```", "x".repeat(MAX_YAML_BYTES)), Error, C::TooLarge, ""),
        fixture(b"model:\n  name: \xff\n".to_vec(), Error, C::NotUtf8, ""),
        in_issue("please rank my model", Error, C::NoSubmission, ""),
        in_issue("<!--\n```yaml\nmodel:\n  name: hidden\n```\n-->", Error, C::NoSubmission, ""),
        in_issue(&format!("```yaml\n{GOOD}```\n\n```yaml\n{}```", GOOD.replace("135M", "360M")), Error, C::AmbiguousSubmission, ""),
        in_issue(&format!("```yaml\n{GOOD}"), Warning, C::UnclosedFence, "```yaml"),
        in_issue(&format!("my model\n\n{GOOD}\nThank you"), Warning, C::UnfencedYaml, ""),
        fixture(good_with("family: S", "family: \u{202e}S"), Error, C::ControlCharacter, "\u{fffd}"),
        fixture(good_with("family: S", "family: \u{0}S"), Error, C::ControlCharacter, "\u{fffd}"),
        fixture(good_with("  family", "\tfamily"), Error, C::TabIndentation, " "),
        fixture(good_with("  family", " \u{a0}family"), Error, C::UnusualSpace, "\u{a0}"),
        // YAML.
        fixture(good_with("name: Smol", "name: a: Smol"), Error, C::YamlSyntax, ":"),
        fixture(good_with("name: Smol", "name: \"Smol"), Error, C::YamlSyntax, ""),
        fixture(format!("# My model\n```yaml\n{GOOD}```"), Error, C::YamlSyntax, "```yaml"),
        fixture(format!("model: {}", "[".repeat(60_000)), Error, C::YamlDepth, "["),
        fixture(format!("model: [{}]", "1,".repeat(5_000)), Error, C::YamlSize, "1"),
        fixture(good_with("name: Smol", "name: &a Smol"), Error, C::YamlAnchor, ""),
        fixture(good_with("name: SmolLM2-135M", "name: *a"), Error, C::YamlAlias, ""),
        fixture("a: &a {}\nmodel: *a\n", Error, C::YamlAlias, "*a"),
        fixture(good_with("name: Smol", "name: !!str Smol"), Error, C::YamlTag, ""),
        fixture(good_with("name: Smol", "[a]: b\n  name: Smol"), Error, C::YamlKey, ""),
        fixture(good_with("name: Smol", "<<: {}\n  name: Smol"), Error, C::YamlKey, "<<"),
        fixture(format!("{GOOD}---\n{GOOD}"), Error, C::SeveralDocuments, ""),
        fixture(good_with("  family", "  name: again\n  family"), Error, C::DuplicateKey, "name"),
        // Schema.
        fixture("", Error, C::MissingField, ""),
        fixture("# nothing\n", Error, C::MissingField, ""),
        fixture("just a sentence", Error, C::MissingField, ""),
        fixture(good_with("model:", "modell:"), Error, C::UnknownField, "modell"),
        fixture("name: x\nhf_repo: a/b\n", Error, C::MissingField, "name"),
        fixture(good_with("  family: SmolLM2\n", ""), Error, C::MissingField, "model"),
        fixture(good_with("family: SmolLM2", "family:"), Error, C::MissingField, "family"),
        fixture(good_with("family: SmolLM2", "family: \"\""), Error, C::MissingField, "family"),
        fixture(good_with("      source", "      zzz"), Error, C::MissingField, ""),
        fixture(good_with("license", "licence"), Error, C::UnknownField, "licence"),
        fixture(good_with("8192", "8k"), Error, C::WrongType, "8k"),
        fixture(good_with("name: Smol", "name: [Smol]\n  x: Smol"), Error, C::WrongType, "[Smol]"),
        fixture(
            good_with(repo, "https://huggingface.co/HuggingFaceTB/SmolLM2-135M"),
            Error,
            C::BadValue,
            "https://huggingface.co/HuggingFaceTB/SmolLM2-135M",
        ),
        fixture(good_with("name: SmolLM2-135M", "name: ../../etc/passwd"), Error, C::BadValue, "../../etc/passwd"),
        fixture(good_with("name: SmolLM2-135M", "name: a\\b"), Error, C::BadValue, "a\\b"),
        fixture(good_with("name: SmolLM2-135M", "name: <img src=x onerror=alert(1)>"), Error, C::BadValue, "<img src=x onerror=alert(1)>"),
        fixture(good_with(&format!("hf_revision: {COMMIT}"), "hf_revision: refs/pr/1"), Error, C::BadValue, "refs/pr/1"),
        fixture(good_with("smollm2-135m.Q8_0.gguf", "../smollm2-135m.Q8_0.gguf"), Error, C::BadValue, ""),
        fixture(good_with("135M\n  arch", "1.7\n  arch"), Error, C::BadValue, "1.7"),
        fixture(good_with("135M\n  arch", "0.0001K\n  arch"), Error, C::BadValue, "0.0001K"),
        fixture(good_with("format: safetensors", "format: onnx"), Error, C::NotOneOf, "onnx"),
        fixture(good_with("  submitted_by", "  categories: [resoning]\n  submitted_by"), Error, C::NotOneOf, "resoning"),
        fixture(good_with("name: SmolLM2-135M", &format!("name: {}", "x".repeat(97))), Error, C::TooLong, ""),
        fixture(good_with("name: SmolLM2-135M", &format!("name: {}", "x".repeat(2_000))), Error, C::TooLong, ""),
        fixture(
            good_with("  submitted_by", &format!("  categories: [{}math]\n  submitted_by", "math, ".repeat(16))),
            Error,
            C::TooMany,
            "categories",
        ),
        fixture(good_with("8192", "0"), Error, C::OutOfRange, "0"),
        // What the text alone tells.
        fixture(good_with("  submitted_by", "  testing:\n    priority: fast\n  submitted_by"), Warning, C::FieldIgnored, "testing"),
        fixture(
            good_with("submitted_by: someone", "submitted_by: your-github-username"),
            Warning,
            C::PlaceholderValue,
            "your-github-username",
        ),
        fixture(good_with("submitted_by: someone", "submitted_by: somebody"), Warning, C::SubmitterMismatch, "somebody"),
        fixture(good_with("submitted_by: someone", "submitted_by: someone\n  contact: ask me"), Warning, C::ContactUnclear, "ask me"),
        fixture(good_with("  submitted_by", "  categories: [chat]\n  submitted_by"), Warning, C::CategoryOld, "chat"),
        fixture(good_with("  submitted_by", "  categories: [math, math]\n  submitted_by"), Warning, C::ListedTwice, "math"),
        fixture(good_with("name: Q4K", "name: bf16"), Error, C::ListedTwice, "bf16"),
        fixture(good_with("  submitted_by", "  categories: [math]\n  submitted_by"), Warning, C::NotRanked, "categories"),
        fixture(good_with("name: Q4K", "name: Q4_K_M"), Error, C::QuantizationName, "Q4_K_M"),
        fixture(good_with("name: Q8_0", "name: Q4_0"), Warning, C::QuantizationLabel, "Q4_0"),
        fixture(good_with("format: safetensors", "format: transformers"), Warning, C::FormatOld, "transformers"),
        fixture(good_with("format: isq", "format: isq\n      source: a.gguf"), Warning, C::SourceUnused, "a.gguf"),
        fixture(good_with("135M\n  arch", "3.1B\n  arch"), Error, C::TooManyParameters, "3.1B"),
        Fixture { input: good_with("135M\n  arch", "900K\n  arch"), ..in_world(both_measure(900_000), Warning, C::FewParameters, "900K") },
        Fixture { input: good_with("135M\n  arch", "1M\n  arch"), ..in_world(both_measure(999_000), Warning, C::FewParameters, repo) },
        fixture(good_with("Apache-2.0", "Apace-2.0"), Error, C::LicenceUnknown, "Apace-2.0"),
        fixture(good_with("Apache-2.0", "other"), Error, C::LicenceNotPermitted, "other"),
        // What the hub tells.
        in_world(World { own: RepositoryAnswer::NotFound("not found".to_owned()), ..world() }, Error, C::RepositoryNotFound, repo),
        in_world(World { own: RepositoryAnswer::Unusable("damaged".to_owned()), ..world() }, Error, C::RepositoryUnreadable, repo),
        in_world(world_with(|facts| facts.private = true), Error, C::RepositoryPrivate, repo),
        in_world(world_with_other(|facts| facts.private = true), Error, C::RepositoryPrivate, ""),
        in_world(world_with(|facts| facts.disabled = true), Error, C::RepositoryDisabled, repo),
        in_world(world_with(|facts| facts.gated = GatedAccess::GatedWithAccess), Error, C::RepositoryGated, repo),
        in_world(
            World { allow_gated: true, ..world_with(|facts| facts.gated = GatedAccess::GatedWithoutAccess) },
            Error,
            C::RepositoryGated,
            repo,
        ),
        in_world(
            world_with(|facts| {
                (facts.gated, facts.config, facts.safetensors_parameters) = (GatedAccess::GatedWithoutAccess, None, None);
            }),
            Error,
            C::RepositoryGated,
            repo,
        ),
        in_world(world_with(|facts| facts.repo = "HuggingFaceTB/Renamed".to_owned()), Note, C::RepositoryRenamed, repo),
        fixture(good_with(&format!("hf_revision: {COMMIT}"), "hf_revision: main"), Note, C::RevisionPinned, "main"),
        fixture(good_with(&format!("  hf_revision: {COMMIT}\n"), ""), Note, C::RevisionPinned, repo),
        in_world(world_with(|facts| facts.files = files(&["pytorch_model.bin"])), Error, C::WeightsPickled, repo),
        in_world(world_with(|facts| facts.files = files(&["adapter_model.safetensors"])), Error, C::WeightsMissing, repo),
        in_world(world_with(|facts| facts.files = files(&["model.gguf"])), Error, C::WeightsMissing, repo),
        in_world(world_with_other(|facts| facts.files = files(&["smollm2-135m.Q4_0.gguf"])), Error, C::WeightsMissing, ""),
        in_world(
            world_with(|facts| facts.config.as_mut().unwrap()["auto_map"] = serde_json::json!({"AutoModel": "m.M"})),
            Error,
            C::RemoteCode,
            repo,
        ),
        in_world(world_with(|facts| facts.config = None), Error, C::ConfigurationMissing, repo),
        in_world(world_with(|facts| facts.files.retain(|file| file.path != "tokenizer.json")), Error, C::ConfigurationMissing, repo),
        in_world(
            world_with(|facts| facts.config.as_mut().unwrap()["architectures"] = serde_json::json!(["MambaForCausalLM"])),
            Error,
            C::ArchitectureNotLoadable,
            "llama",
        ),
        in_world(
            world_with(|facts| facts.config.as_mut().unwrap()["architectures"] = serde_json::json!(["LlamaForSequenceClassification"])),
            Error,
            C::ArchitectureNotLoadable,
            "llama",
        ),
        fixture(good_with("architecture: llama", "architecture: qwen2"), Warning, C::ArchitectureMismatch, "qwen2"),
        fixture(good_with("8192", "16384"), Warning, C::ContextLengthMismatch, "16384"),
        in_world(world_with(|facts| facts.safetensors_parameters = Some(3_000_000_001)), Error, C::TooManyParameters, repo),
        in_world(world_with(|facts| facts.safetensors_parameters = Some(150_000_001)), Error, C::ParametersMismatch, "135M"),
        in_world(
            world_with_other(|facts| facts.gguf_parameters = [("smollm2-135m.Q8_0.gguf".to_owned(), 1_000)].into()),
            Error,
            C::ParametersMismatch,
            "135M",
        ),
        in_world(world_with(|facts| facts.safetensors_parameters = None), Error, C::ParametersUnmeasured, repo),
        in_world(world_with_other(|facts| facts.gguf_parameters.clear()), Error, C::ParametersUnmeasured, ""),
        in_world(world_with(|facts| facts.license = None), Error, C::LicenceUnstated, repo),
        in_world(world_with_other(|facts| facts.license = None), Warning, C::LicenceUnstated, ""),
        in_world(world_with(|facts| facts.license = Some("mit".to_owned())), Error, C::LicenceMismatch, "Apache-2.0"),
        in_world(World { evaluated: evaluated(&["bf16", "Q8_0", "Q4K"]), ..world() }, Error, C::AlreadyEvaluated, repo),
        in_world(World { evaluated: evaluated(&["Q8_0"]), ..world() }, Warning, C::AlreadyEvaluated, "Q8_0"),
        fixture(format!("model:\n{}", (0..200).map(|n| format!("  x{n}: 1\n")).collect::<String>()), Note, C::MoreFindings, ""),
    ]
}

/// Every rule has at least one submission that breaks it, and its finding points to the offending text.
/// A finding that does not point to a text says so with length 0.
#[test]
fn every_rule_finds_its_fixture() {
    let mut seen = std::collections::BTreeSet::new();
    for fixture in fixtures() {
        let report = check_in(&fixture.input, fixture.kind, &fixture.world);
        let shown = report.to_text("fixture", false);
        let found = report.findings.iter().find(|finding| {
            (finding.severity, finding.code) == fixture.expected && (fixture.text.is_empty() || finding.text == fixture.text)
        });
        let Some(found) = found else { panic!("{:?} at `{}` is not in:\n{shown}", fixture.expected, fixture.text) };
        assert!(!found.message.is_empty() && !found.help.is_empty(), "{shown}");
        assert_eq!(report.valid, report.findings.iter().all(|finding| finding.severity != Severity::Error));
        let alone = fixture.expected.0 == Severity::Error || found.code == Code::MoreFindings;
        assert_eq!(alone, !report.valid, "only the fixture's own fault:\n{shown}");
        if found.code == Code::RepositoryGated {
            assert_eq!(report.count(Severity::Error), 1, "nothing is said about contents that cannot be seen:\n{shown}");
        }
        seen.insert(found.code);
    }
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
}

fn licensed(id: &str) -> World {
    let licence = Some(id.to_owned());
    let other = ModelFacts { license: licence.clone(), ..gguf_facts() };
    World { other: RepositoryAnswer::Facts(Box::new(other)), ..world_with(|facts| facts.license = licence) }
}

/// What a rule does not concern is left alone: near misses of the rules above are accepted.
#[test]
fn near_misses_are_accepted() {
    let older_suite = evaluated(&["BF16", "Q8_0", "Q4K"]).into_iter().map(|old| Evaluated { suite_version: "standard-0".into(), ..old });
    let pickle_beside = world_with(|facts| facts.files.extend(files(&["pytorch_model.bin", "onnx/model.onnx"])));
    let good = [
        (good_with("135M\n  arch", "122500000\n  arch"), world()),
        (good_with("135M\n  arch", "3B\n  arch"), both_measure(3_000_000_000)),
        (good_with("Apache-2.0", "apache 2.0"), world()),
        (good_with("Apache-2.0", "BSD-3-Clause"), licensed("bsd")),
        (good_with("Apache-2.0", "Llama 2"), licensed("llama2")),
        (good_with("Apache-2.0", "gpl-3.0-only"), licensed("gpl-3.0")),
        (GOOD.into(), World { allow_gated: true, ..world_with(|facts| facts.gated = GatedAccess::GatedWithAccess) }),
        (GOOD.into(), world_with(|facts| facts.config.as_mut().unwrap()["auto_map"] = serde_json::json!({}))),
        (GOOD.into(), pickle_beside),
        (GOOD.into(), World { evaluated: older_suite.collect(), ..world() }),
        (good_with("name: SmolLM2-135M", "name: 2.0"), world()),
        (good_with("submitted_by: someone", "submitted_by: SomeOne\n  version: 1.0"), world()),
        (good_with(COMMIT, &COMMIT.to_uppercase()), world()),
    ];
    for (input, world) in good {
        let report = check_in(&input, InputKind::File, &world);
        assert!(report.is_accepted(), "{}", report.to_text("near miss", false));
    }
}

/// What looks like a number or a truth value in YAML stays the text that its author wrote, where a text is meant.
#[test]
fn yaml_does_not_reinterpret_texts() {
    let text = GOOD
        .replace("name: SmolLM2-135M", "name: 1.10")
        .replace("family: SmolLM2", "family: yes\n  version: 1.0")
        .replace(COMMIT, "1234567e10")
        .replace("submitted_by: someone", "submitted_by: 0o17");
    let submission = offline(&text, InputKind::File).submission.unwrap();
    assert_eq!((submission.name.as_str(), submission.family.as_str()), ("1.10", "yes"));
    assert_eq!((submission.version.as_deref(), submission.hf_revision.as_deref()), (Some("1.0"), Some("1234567e10")));
    assert_eq!(submission.submitted_by, "0o17");
    for number in ["8192", "+8192", "8192.0", "8.192e3"] {
        let text = GOOD.replace("8192", number);
        assert_eq!(offline(&text, InputKind::File).submission.unwrap().context_length, Some(8192), "{number}");
    }
    let again = offline(&submission.to_yaml().unwrap(), InputKind::File).submission;
    assert_eq!(again, Some(submission));
}

/// Branches become commits, repositories get the hub's spelling, older names today's, and a licence its id.
#[test]
fn an_accepted_submission_is_canonical_and_pinned() {
    let text = GOOD
        .replace(&format!("  hf_revision: {COMMIT}\n"), "")
        .replace(&format!("@{COMMIT}:"), ":")
        .replace("HuggingFaceTB/", "huggingfacetb/")
        .replace("Apache-2.0", "apache-2.0")
        .replace("format: safetensors", "format: transformers")
        .replace("  submitted_by", "  categories: [long-context, chat, reasoning, coding, math, language, safety]\n  submitted_by");
    let report = check_in(text.as_bytes(), InputKind::File, &world());
    assert!(report.is_accepted(), "{}", report.to_text("text", false));
    insta::assert_snapshot!(report.submission.unwrap().to_yaml().unwrap());
}

/// Wherever the YAML stands in an issue, it is found, and findings point to the issue's own lines and columns.
#[test]
fn the_submission_is_found_in_issues() {
    let bad = GOOD.replace("parameters: 135M", "parameters: lots");
    let indented: String = bad.lines().map(|line| format!("    {line}\n")).collect();
    let before = "### Model\n\nMy model, see ``code`` and `more`:\n\n```python\nmodel = 1\n```\n\n";
    let cases = [
        ("form", format!("### YAML\n\n```yaml\n{bad}```\n\n### Contact\n\n_No response_\n"), (9, 15)),
        ("tildes", format!("~~~ yml\n{bad}~~~"), (7, 15)),
        ("another block first", format!("{before}```\n{bad}```\n"), (15, 15)),
        ("indented fence", format!("- my model\n    ```yaml\n{indented}    ```\n"), (8, 19)),
        ("pasted into the form's block", format!("### YAML\n\n```yaml\n```yaml\n{bad}```\n```\n"), (10, 15)),
        ("longer fence", format!("````yaml\n{bad}````"), (7, 15)),
        ("the same twice", format!("```yaml\n{bad}```\n```yaml\n{bad}```"), (7, 15)),
        ("after a hidden one", format!("<!-- for example\n```yaml\nmodel: x\n```\n-->\n```yaml\n{bad}```"), (12, 15)),
        ("bare lines", format!("Please rank this model: it is good\n\n{bad}\n### Contact\nme"), (8, 15)),
        ("indented code", format!("Please:\n\n{indented}\nThank you"), (8, 19)),
        ("a document marker", format!("```yaml\n---\n# mine\n{bad}```"), (9, 15)),
    ];
    for (name, body, place) in cases {
        for body in [body.clone(), body.replace('\n', "\r\n"), body.replace('\n', "\r")] {
            let report = offline(&body, InputKind::Issue);
            let errors: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
            let places: Vec<_> = errors.iter().map(|finding| (finding.line, finding.column)).collect();
            assert_eq!(places, [place], "{name}:\n{}", report.to_text("issue", false));
            assert_eq!((errors[0].text.as_str(), errors[0].field.as_deref()), ("lots", Some("model.parameters")));
        }
    }
}

/// A misspelt word is met with the word that was meant.
#[test]
fn misspellings_are_met_with_the_right_word() {
    for (from, to, meant) in [
        ("license:", "licence:", "`license`"),
        ("hf_repo:", "hf-repo:", "`hf_repo`"),
        ("hf_repo:", "hfrepo:", "`hf_repo`"),
        ("context_length:", "contextlength:", "`context_length`"),
        ("quantizations:", "quantisations:", "`quantizations`"),
        ("format: safetensors", "format: safetensor", "`safetensors`"),
        ("format: gguf", "format: GGUF", "`gguf`"),
        ("Apache-2.0", "Apache-2", "accepted"),
        ("Apache-2.0", "Apach-2.0", "`apache-2.0`"),
        ("name: Q4K", "name: Q4_K", "`Q4K`"),
        ("Apache-2.0", "cc-by-4", "`apache-2.0`"),
    ] {
        let report = check_in(&good_with(from, to), InputKind::File, &world());
        let helps: Vec<&str> = report.findings.iter().map(|finding| finding.help.as_str()).collect();
        assert!(helps.iter().any(|help| help.contains(meant)) || (meant == "accepted" && report.valid), "{from} {to}: {helps:?}");
    }
    let report = offline(&GOOD.replace("Apache-2.0", "cc-by-4"), InputKind::File);
    assert!(report.findings[0].help.contains("`CC-BY-4.0`"), "{:?}", report.findings);
}

/// Without the hub's answers the report says what was not checked, and nothing is accepted.
#[test]
fn missing_answers_are_named() {
    let report = offline(GOOD, InputKind::File);
    assert!(report.valid && !report.complete && !report.is_accepted());
    assert!(!report.unchecked[0].retry && report.unchecked[0].checks.len() == 8);
    let unreachable = World { own: RepositoryAnswer::Unreachable("connection refused".to_owned()), ..world() };
    let report = check_in(GOOD.as_bytes(), InputKind::File, &unreachable);
    assert!(report.valid && !report.is_accepted() && report.unchecked[0].retry);
    assert!(report.unchecked[0].reason.contains("connection refused"), "{:?}", report.unchecked);
}

const BAD_IN_MANY_WAYS: &str = "\
### Model submission

```yaml
model:
  name: \"Tiny @everyone\"
  famly: Tiny
  hf_repo: https://huggingface.co/tiny/tiny-1m
  parameters: 4B
  architecture: llama
  context_length: 8k
  license: Apache
  categories: [reasoning, codeing]
  quantizations:
    - name: Q4_K_M
      format: gguf
  submitted_by: '@tiny'
```
";

/// The terminal's report: every finding at once, each with its place, its line and the remedy.
#[test]
fn text_report_of_a_bad_submission() {
    insta::assert_snapshot!(offline(BAD_IN_MANY_WAYS, InputKind::Issue).to_text("issue.md", false));
}

/// Colours only where they are wanted, and never from the submission.
#[test]
fn colours_are_the_reports_own() {
    let hostile = GOOD.replace("SmolLM2-135M\n  family", "\"\\e[31mred\"\n  family").replace("license", "lic\u{1b}[2Jense");
    let report = offline(&hostile, InputKind::File);
    assert!(!report.valid && !report.to_text("a\u{1b}b", false).contains('\u{1b}'));
    assert!(report.to_text("a", true).starts_with("\u{1b}[1;31merror["));
}

/// The comment's report of a bad submission.
#[test]
fn markdown_report_of_a_bad_submission() {
    insta::assert_snapshot!(offline(BAD_IN_MANY_WAYS, InputKind::Issue).to_markdown());
}

/// The comment's report of an accepted submission.
#[test]
fn markdown_report_of_an_accepted_submission() {
    let text = GOOD.replace(&format!("hf_revision: {COMMIT}"), "hf_revision: main");
    insta::assert_snapshot!(check_in(text.as_bytes(), InputKind::File, &world()).to_markdown());
}

/// The machines' report keeps its shape.
#[test]
fn json_report() {
    let text =
        GOOD.replace("135M\n  arch", "4B\n  arch").replace("submitted_by: someone", "submitted_by: someone\n  contact: me@example.org");
    let report = check_in(text.as_bytes(), InputKind::File, &world());
    insta::assert_json_snapshot!(report);
}

/// Reports in JSON follow the published schema, whatever the submission; and they can be read back.
#[test]
fn json_reports_follow_their_schema() {
    let schema: serde_json::Value = serde_json::from_str(VALIDATION_SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schema["$defs"]["finding"]["properties"]["code"]["enum"], serde_json::json!(codes));
    for fixture in fixtures() {
        let report = check_in(&fixture.input, fixture.kind, &fixture.world);
        let json = serde_json::to_value(&report).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap().findings, report.findings);
    }
}

/// Nothing from a submission leaves the comment's code blocks, so nobody is mentioned and nothing is rendered.
fn comment_is_inert(markdown: &str) -> bool {
    let mut fence: Option<String> = None;
    for line in markdown.lines() {
        match &fence {
            Some(open) if line == open => fence = None,
            None if line.starts_with("```") => fence = Some(line.chars().take_while(|&character| character == '`').collect()),
            None if line.contains(['@', '`', '!', '[']) => return false,
            Some(_) | None => {}
        }
    }
    fence.is_none()
}

#[test]
fn comments_are_inert() {
    for attack in ["```\n@everyone", "`````@everyone ![x](http://a/b)", "</details><script>", "@org/team"] {
        let quoted = serde_json::to_string(attack).unwrap();
        for text in [
            GOOD.replace("name: SmolLM2-135M", &format!("name: {quoted}")),
            GOOD.replace("license", &quoted),
            GOOD.replace("submitted_by: someone", &format!("submitted_by: someone\n  contact: {quoted}")),
            format!("{GOOD}  {attack}: x\n"),
        ] {
            for report in [offline(&text, InputKind::File), check_in(text.as_bytes(), InputKind::File, &world())] {
                let markdown = report.to_markdown();
                assert!(comment_is_inert(&markdown), "{markdown}");
            }
        }
    }
}

mod hostile {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// The promise is 100 ms; an unoptimised build on a busy machine gets slack, and the best of ten tries counts.
    const LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1_500 } else { 100 });

    /// Reads a hostile text both ways. There is always a finding, and it comes in time.
    fn survives(input: &[u8]) {
        for kind in [InputKind::File, InputKind::Issue] {
            let mut fastest = Duration::MAX;
            for _ in 0..10 {
                let start = Instant::now();
                let report = read(input, kind).check(&Context::OFFLINE);
                let shown = (report.to_text("input", true), report.to_markdown());
                fastest = fastest.min(start.elapsed());
                assert!(!report.valid && !report.findings.is_empty(), "accepted: {shown:?}");
                assert!(report.findings.len() <= 60 && shown.0.len() < 100_000, "a long answer: {}", shown.0.len());
                if fastest < LIMIT {
                    break;
                }
            }
            assert!(fastest < LIMIT, "{fastest:?} for {kind:?} of {} bytes", input.len());
        }
    }

    fn fenced(text: &str) -> String {
        format!("```yaml\n{text}\n```")
    }

    /// Nesting, bombs, long lines and other constructions that parsers stumble over.
    #[test]
    fn constructions_get_a_finding_in_time() {
        let full = MAX_YAML_BYTES - 20;
        let repeated = |piece: &str| piece.repeat(full / piece.len());
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for pair in ('a'..='z').collect::<Vec<_>>().windows(2) {
            let aliases = vec![format!("*{}", pair[0]); 9].join(", ");
            bomb.push_str(&format!("{1}: &{1} [{0}]\n", aliases, pair[1]));
        }
        let mut deep = String::new();
        for level in 0..350 {
            deep.push_str(&format!("{}a:\n", " ".repeat(level)));
        }
        let keys: String = (0..5_000).map(|number| format!("k{number}: 1\n")).collect();
        let texts = [
            repeated("["),
            repeated("{"),
            repeated("[{"),
            repeated("- "),
            repeated("? "),
            repeated("a: "),
            repeated("{a: "),
            repeated("- - ? - "),
            repeated("model: {"),
            repeated("\""),
            repeated("'"),
            repeated("|\n"),
            repeated("&a "),
            repeated("*a "),
            repeated("!a "),
            repeated("!!str "),
            repeated("%TAG ! x\n"),
            repeated("---\n"),
            repeated("<<: *a\n"),
            repeated("\u{0}"),
            repeated("\u{feff}"),
            repeated("\u{202e}"),
            repeated("é"),
            repeated("😀 "),
            repeated("\t"),
            repeated("\r"),
            repeated(" "),
            repeated("\n"),
            repeated("a"),
            repeated("a\n"),
            repeated("#"),
            repeated("# \n"),
            repeated("`"),
            repeated("```\n"),
            repeated("```yaml\n"),
            repeated("<!--"),
            repeated("model:\n"),
            repeated("model:\n  a: b\n"),
            repeated("model: 1\n```\n```\n"),
            repeated("\\x00\""),
            format!("model: \"{}", repeated("\\U0001F600")),
            format!("model:\n  name: {}", repeated("x")),
            format!("model:\n  name: {}", repeated("..")),
            format!("model:\n  hf_repo: {}/a", repeated("a-")),
            format!("model:\n  hf_repo: {}", "a/".repeat(450)),
            format!("model:\n  parameters: {}B", "9".repeat(900)),
            format!("model:\n  contact: {}", "a ".repeat(450)),
            format!("model:\n  categories: [{}]", "math, ".repeat(900)),
            format!("model:\n  quantizations:\n{}", "    - name: x\n".repeat(900)),
            bomb,
            deep,
            keys.clone(),
            format!("model:\n{}", keys.replace('k', "  k")),
        ];
        for text in texts {
            survives(text.as_bytes());
            survives(fenced(&text).as_bytes());
        }
    }

    /// Sizes beyond the limits are refused before anything is read.
    #[test]
    fn large_inputs_are_refused() {
        for size in [1 << 20, 64 << 20] {
            survives(&vec![b'a'; size]);
            survives(&vec![b'['; size]);
            survives(&vec![0xff; size]);
        }
    }

    /// A piece of text that YAML and Markdown give a meaning.
    fn piece() -> impl Strategy<Value = String> {
        let tokens = [
            "model:",
            "name:",
            "hf_repo:",
            "a/b",
            "parameters:",
            "1B",
            "quantizations:",
            "- ",
            "\n",
            "\n  ",
            "\n    ",
            ": ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "'",
            "|",
            ">",
            "&a",
            "*a",
            "!t",
            "#",
            "%",
            "@",
            "```",
            "```yaml",
            "~~~",
            "---",
            "...",
            "?",
            "\t",
            "\r",
            "\u{feff}",
            "\\",
            "<<:",
            "é",
            "\u{202e}",
            "<!--",
            "-->",
        ];
        prop_oneof![4 => proptest::sample::select(tokens.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}", 1 => "[ -~]{0,8}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Random bytes.
        #[test]
        fn bytes_get_a_finding(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            survives(&bytes);
        }

        /// Random text with the characters that YAML and Markdown give a meaning.
        #[test]
        fn tokens_get_a_finding(pieces in proptest::collection::vec(piece(), 0..120)) {
            survives(pieces.concat().as_bytes());
        }

        /// A good submission with a piece cut out, repeated or replaced never panics, and findings stay inside the text.
        #[test]
        fn mutations_of_a_good_submission_are_answered(
            edits in proptest::collection::vec((0_usize..GOOD.len(), 0_usize..12, piece()), 1..6),
            issue in any::<bool>(),
        ) {
            let mut text: Vec<char> = GOOD.chars().collect();
            for (at, length, replacement) in edits {
                let at = at.min(text.len());
                let end = (at + length).min(text.len());
                text.splice(at..end, replacement.chars());
            }
            let text: String = text.into_iter().collect();
            let (text, kind) = if issue { (fenced(&text), InputKind::Issue) } else { (text, InputKind::File) };
            let report = check_in(text.as_bytes(), kind, &world());
            let source = SourceText::new(&text);
            for finding in &report.findings {
                prop_assert!(finding.line >= 1 && finding.line <= source.lines().len(), "{finding:?}");
                let width = source.line(finding.line).chars().count();
                prop_assert!(finding.column >= 1 && finding.column - 1 + finding.length <= width, "{finding:?} in {width}");
            }
            prop_assert!(comment_is_inert(&report.to_markdown()));
            if let (true, Some(submission)) = (report.valid, report.submission) {
                let again = check_in(submission.to_yaml().unwrap().as_bytes(), InputKind::File, &world());
                prop_assert_eq!(again.submission, Some(Submission { contact: None, ..submission }));
            }
        }

        /// Licences, sizes and people: whatever a field holds, the answer is a finding or a submission that keeps it.
        #[test]
        fn values_are_kept_or_refused(name in "[ -~]{1,40}", parameters in "[0-9]{1,4}(\\.[0-9]{0,7})?[KMBx]?") {
            let quoted = serde_json::to_string(&name).unwrap();
            let text = GOOD.replace("name: SmolLM2-135M", &format!("name: {quoted}")).replace("135M\n  arch", &format!("{parameters}\n  arch"));
            let report = offline(&text, InputKind::File);
            match report.submission {
                Some(submission) => {
                    prop_assert_eq!(&submission.name, &name);
                    prop_assert_eq!(Some(submission.parameters.count()), parse_parameters(&parameters));
                    prop_assert!(!name.contains("..") && !name.contains(['/', '\\', '<', '\0']));
                }
                None => prop_assert!(!report.valid),
            }
        }
    }
}
