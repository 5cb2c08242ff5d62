//! The command `validate` on files, issues and standard input, without a network.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A submission of the demonstration model, as it stands in `models/demo`.
const DEMO: &str = "\
model:
  name: demo-1m
  family: demo
  hf_repo: slm-benchmark/demo-1m
  hf_revision: 0123456789abcdef0123456789abcdef01234567
  parameters: 1.26M
  architecture: llama
  license: Apache-2.0
  quantizations:
    - name: FP32
      format: safetensors
  submitted_by: someone
";

/// A cache folder as `huggingface_hub` lays it out, with the demonstration model at [`COMMIT`], and nothing else in reach.
struct OfflineHub {
    folder: tempfile::TempDir,
}

impl OfflineHub {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("models--slm-benchmark--demo-1m");
        let snapshot = repository.join("snapshots").join(COMMIT);
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
        for file in std::fs::read_dir(root().join("models/demo")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), snapshot.join(file.file_name())).unwrap();
        }
        Self { folder }
    }

    fn snapshot(&self) -> std::path::PathBuf {
        self.folder.path().join("models--slm-benchmark--demo-1m/snapshots").join(COMMIT)
    }

    /// Runs `validate - <arguments>` with a text on standard input.
    fn validate(&self, input: &str, arguments: &[&str]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_slm-bench"))
            .args(["validate", "-"])
            .args(arguments)
            .env("HF_HUB_CACHE", self.folder.path())
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("HF_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// The template and the small real model are valid; the template points out its placeholder.
#[test]
fn the_files_in_models_submissions_are_valid() {
    let hub = OfflineHub::new();
    for (file, findings) in [("template.yml", vec!["placeholder_value"]), ("tiny_test.yaml", vec![])] {
        let text = std::fs::read_to_string(root().join("models/submissions").join(file)).unwrap();
        let output = hub.validate(&text, &["--no-hub", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{file}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(codes(&json(&output)), findings, "{file}");
    }
}

/// The example in the README is valid as it stands, in the file and pasted into an issue.
#[test]
fn the_example_in_the_readme_is_valid() {
    let hub = OfflineHub::new();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let examples: Vec<&str> = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [example] = examples[..] else { panic!("one example, not {}", examples.len()) };
    for (text, arguments) in
        [(example.to_owned(), &["--no-hub", "--format", "json"][..]), (readme.clone(), &["--no-hub", "--format", "json", "--issue"])]
    {
        let output = hub.validate(&text, arguments);
        let report = json(&output);
        assert_eq!((output.status.code(), &report["valid"]), (Some(0), &Value::Bool(true)), "{report:#}");
        let errors: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

/// The template explains every field of the schema that is not there for older submissions only.
#[test]
fn the_template_names_every_field() {
    let template = std::fs::read_to_string(root().join("models/submissions/template.yml")).unwrap();
    let schema: Value = serde_json::from_str(slm_benchmark::submission::SUBMISSION_SCHEMA).unwrap();
    let model = &schema["properties"]["model"]["properties"];
    for fields in [model, &model["quantizations"]["items"]["properties"]] {
        for (name, field) in fields.as_object().unwrap() {
            assert_eq!(template.contains(&format!("{name}:")), field["deprecated"] != true, "{name}");
        }
    }
}

/// With the hub's facts a submission is accepted: exit code 0, a complete report in JSON that follows its schema.
#[test]
fn a_submission_is_checked_against_the_cache() {
    let output = OfflineHub::new().validate(DEMO, &["--format", "json"]);
    let report = json(&output);
    assert_eq!(
        (output.status.code(), &report["valid"], &report["complete"]),
        (Some(0), &Value::Bool(true), &Value::Bool(true)),
        "{report:#}"
    );
    assert_eq!((report["measured_parameters"].as_u64(), codes(&report)), (Some(1_262_720), vec![]));
    let schema: Value = serde_json::from_str(slm_benchmark::submission::VALIDATION_SCHEMA).unwrap();
    assert!(jsonschema::is_valid(&schema, &report));
}

/// A size that the weight file does not bear out is found, in an issue too, with exit code 1.
#[test]
fn the_declared_size_is_measured() {
    let issue = format!("### Submission\n\n```yaml\n{}```\n", DEMO.replace("1.26M", "1.5M"));
    let output = OfflineHub::new().validate(&issue, &["--issue"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error[parameters_mismatch]") && text.contains("1,262,720") && text.contains("standard input:9:15"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where nobody looks at a terminal");
}

/// A damaged weight file is the repository's fault and said so.
#[test]
fn a_damaged_weight_file_is_found() {
    let hub = OfflineHub::new();
    std::fs::write(hub.snapshot().join("model.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    let output = hub.validate(DEMO, &["--format", "json"]);
    assert_eq!((output.status.code(), codes(&json(&output))), (Some(1), vec!["repository_unreadable"]));
}

/// A GGUF file that is not there is a finding, not a failure.
#[test]
fn a_missing_gguf_file_is_found() {
    let text = DEMO.replace("format: safetensors", "format: gguf\n      source: model.gguf");
    let output = OfflineHub::new().validate(&text, &["--format", "json"]);
    assert_eq!((output.status.code(), codes(&json(&output))), (Some(1), vec!["weights_missing"]));
}

/// Where the hub says nothing, the report names what was not checked, and the exit code says that trying again may help.
/// An error in the text itself takes precedence.
#[test]
fn a_silent_hub_is_a_failure_of_its_own() {
    let hub = OfflineHub::new();
    let elsewhere = DEMO.replace("slm-benchmark/demo-1m", "someone/else");
    let output = hub.validate(&elsewhere, &["--format", "json"]);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["valid"], &report["complete"]), (Some(3), &Value::Bool(true), &Value::Bool(false)));
    assert_eq!(report["unchecked"][0]["retry"], true);
    assert!(String::from_utf8_lossy(&output.stderr).contains("someone/else"));
    let wrong = hub.validate(&elsewhere.replace("1.26M", "7B"), &["--format", "json"]);
    assert_eq!((wrong.status.code(), codes(&json(&wrong))), (Some(1), vec!["too_many_parameters"]));
}

/// A file that is not there is wrong usage; a file of any size is answered.
#[test]
fn files_are_read_with_care() {
    let run = |path: &Path| Command::new(env!("CARGO_BIN_EXE_slm-bench")).args(["validate", "--no-hub"]).arg(path).output().unwrap();
    assert_eq!(run(Path::new("/nonexistent/submission.yml")).status.code(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yml");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let output = run(&large);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("too_large"));
}

/// The page for authors names every finding, and its example is valid.
#[test]
fn the_page_for_authors_is_complete() {
    use slm_benchmark::submission::{Code, InputKind, read};
    let page = std::fs::read_to_string(root().join("docs/submitting.md")).unwrap();
    for code in Code::ALL {
        assert!(page.contains(&format!("`{}`", code.as_str())), "{} is not explained", code.as_str());
    }
    let submission = read(page.as_bytes(), InputKind::Issue).submission();
    assert_eq!(submission.map(|submission| submission.hf_repo).as_deref(), Some("HuggingFaceTB/SmolLM2-135M"));
}
