//! The workflows: what they call exists and does what the next step relies on. The `run:` scripts are taken from the files themselves and run by
//! bash, with the program on the PATH and a real event, so that these tests cannot drift from them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn workflow(name: &str) -> Value {
    let path = root().join(".github/workflows").join(name);
    serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A step by its job and name.
pub(crate) fn step(workflow: &Value, job: &str, name: &str) -> Value {
    let steps = workflow["jobs"][job]["steps"].as_array().unwrap_or_else(|| panic!("there is no job {job}"));
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{job} has no step {name:?}")).clone()
}

/// Every step of every workflow that runs a script: file, job, name, script.
fn scripts() -> Vec<(String, String, String, String)> {
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(root().join(".github/workflows")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let workflow = workflow(&file);
        for (job, definition) in workflow["jobs"].as_object().unwrap() {
            for step in definition["steps"].as_array().into_iter().flatten() {
                if let Some(script) = step["run"].as_str() {
                    scripts.push((file.clone(), job.clone(), step["name"].as_str().unwrap_or_default().to_owned(), script.to_owned()));
                }
            }
        }
    }
    scripts
}

/// A folder in which steps run one after the other, as on a runner.
pub(crate) struct Runner {
    folder: tempfile::TempDir,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Runner {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_slm-bench"), folder.path().join("bin/slm-bench")).unwrap();
        let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        let output = folder.path().join("output");
        let environment = BTreeMap::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), folder.path().display().to_string()),
            ("GITHUB_OUTPUT".to_owned(), output.display().to_string()),
            ("GITHUB_STEP_SUMMARY".to_owned(), folder.path().join("summary").display().to_string()),
        ]);
        Self { folder, environment }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Runs a step's script as GitHub does, with values for the expressions of its `env`.
    pub(crate) fn run(&self, step: &Value, values: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        command.current_dir(self.folder.path()).env_clear().envs(&self.environment);
        let named: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            if value.contains("${{") {
                assert!(named.contains(&name.as_str()), "the step wants a value for {name}");
            } else {
                command.env(name, value);
            }
        }
        for (name, value) in values {
            assert!(!step["env"][*name].is_null(), "the step does not pass {name}");
            command.env(name, value);
        }
        command.output().unwrap()
    }

    /// What the steps so far wrote for the following jobs.
    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.path("output")).unwrap_or_default();
        let mut outputs = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.contains("<<")) {
                outputs.insert(name.to_owned(), value.to_owned());
            } else if let Some((name, end)) = line.split_once("<<") {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                outputs.insert(name.to_owned(), value.join("\n"));
            }
        }
        outputs
    }
}

pub(crate) fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Text of strangers reaches a script as the value of a variable only, never as a part of the script.
#[test]
fn no_expression_stands_in_a_script() {
    let scripts = scripts();
    assert!(scripts.len() > 10, "only {} scripts were found", scripts.len());
    for (file, job, name, script) in scripts {
        assert!(!script.contains("${{"), "{file}, {job}, {name}: {script}");
    }
}

/// Every action is pinned by a commit; permissions are none where nothing is asked for; nothing but the evaluation runs on machines of our own, and
/// that holds no token and no checkout.
#[test]
fn jobs_have_least_privilege() {
    let mut on_own_machines = Vec::new();
    for entry in std::fs::read_dir(root().join(".github/workflows")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let workflow = workflow(&file);
        assert_eq!(workflow["permissions"], json!({}), "{file}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            let uses = job["steps"].as_array().into_iter().flatten().filter_map(|step| step["uses"].as_str());
            for action in uses.chain(job["uses"].as_str()).filter(|action| !action.starts_with("./")) {
                let pin = action.split_once('@').unwrap_or_else(|| panic!("{file}: {action}")).1;
                assert!(pin.len() == 40 && pin.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file}: {action}");
            }
            if job["runs-on"].to_string().contains("self-hosted") {
                on_own_machines.push(format!("{file} {name}"));
                assert_eq!(job["permissions"], json!({}), "{file} {name}");
                assert_eq!(job["environment"], "evaluation", "{file} {name}");
                assert!(!job.to_string().contains("checkout") && !job.to_string().contains("secrets."), "{file} {name}");
            }
        }
        let triggers = &workflow["on"];
        let on_pull_requests =
            !triggers["pull_request"].is_null() || triggers.as_object().is_some_and(|on| on.contains_key("pull_request"));
        assert!(
            !on_pull_requests || !workflow.to_string().contains("write"),
            "{file} gives strangers' pull requests a permission to write"
        );
        assert!(triggers["pull_request_target"].is_null() && triggers["workflow_run"].is_null(), "{file}");
    }
    assert_eq!(on_own_machines, ["evaluate.yml shard"]);
}

/// The form's field has the name that the website fills, and its text is a valid submission for the bot.
#[test]
fn the_form_gives_a_valid_submission() {
    let text = std::fs::read_to_string(root().join(".github/ISSUE_TEMPLATE/model-submission.yml")).unwrap();
    let form: Value = serde_yaml::from_str(&text).unwrap();
    let field = form["body"].as_array().unwrap().iter().find(|field| field["id"] == "submission").unwrap();
    assert_eq!(field["attributes"]["render"], "yaml");
    assert!(form["labels"].as_array().unwrap().contains(&json!("submission")));
    // As GitHub renders the form into an issue.
    let issue =
        format!("### Submission\n\n```yaml\n{}```\n\n### Remarks\n\n_No response_\n", field["attributes"]["value"].as_str().unwrap());
    let runner = Runner::new();
    std::fs::write(runner.path("issue.md"), issue).unwrap();
    assert_success(&runner.run(&json!({ "run": "slm-bench validate --issue --no-hub issue.md" }), &[]));
    assert!(std::fs::read_to_string(root().join("website/src/pages/submit.ts")).unwrap().contains("submission: yaml"));
}

/// The submission survives its way through the workflow byte for byte, whatever its lines look like.
#[test]
fn the_submission_is_handed_over_whole() {
    let runner = Runner::new();
    let submission = "model:\n  name: \"EOF\"\n  family: 'text<<x'\n  note: decision=evaluate\n";
    std::fs::write(runner.path("submission.yml"), submission).unwrap();
    assert_success(&runner.run(&step(&workflow("submission.yml"), "decide", "Hand over the submission"), &[]));
    let outputs = runner.outputs();
    assert_eq!(outputs.len(), 1);
    assert_eq!(format!("{}\n", outputs["text"]), submission);
    let write = step(&workflow("evaluate.yml"), "shard", "Write the submission");
    assert_success(&runner.run(&write, &[("SUBMISSION", &outputs["text"])]));
    assert_eq!(std::fs::read_to_string(runner.path("evaluation/submission.yml")).unwrap(), submission);
}

/// A pull request's submissions are checked, an invalid one fails the job, and an empty repository has nothing to verify.
#[test]
fn pull_requests_are_verified() {
    let runner = Runner::new();
    let verify = workflow("verify.yml");
    let (check, recompute) = (step(&verify, "verify", "Check the submissions"), step(&verify, "verify", "Recompute what is published"));
    assert_success(&runner.run(&check, &[]));
    assert_success(&runner.run(&recompute, &[]));
    std::fs::create_dir_all(runner.path("models/submissions")).unwrap();
    std::fs::copy(root().join("models/submissions/tiny_test.yaml"), runner.path("models/submissions/tiny.yaml")).unwrap();
    assert_success(&runner.run(&check, &[]));
    std::fs::write(runner.path("models/submissions/bad.yml"), "model: {}\n").unwrap();
    assert_eq!(runner.run(&check, &[]).status.code(), Some(1));
    // A registry that nothing supports is an error.
    std::fs::write(runner.path("models/registry.json"), "{\"models\":[],\"metadata\":{}}").unwrap();
    assert!(!runner.run(&recompute, &[]).status.success());
}

/// The exit code of an evaluation decides: what it gave is kept, a model that no engine can load fails in a step of its own, which the server
/// tells from a runner's failure.
#[test]
fn exit_codes_of_an_evaluation_are_told_apart() {
    let evaluate = workflow("evaluate.yml");
    let values = [("SUITE", "smoke"), ("TASKS", "mmlu")];
    for (code, goes_on) in [(0, true), (4, true), (1, true), (2, false), (3, false), (137, false)] {
        let runner = Runner::new();
        let program = runner.path("bin/slm-bench");
        std::fs::remove_file(&program).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\nexit {code}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let done = runner.run(&step(&evaluate, "shard", "Evaluate"), &values);
        assert_eq!(done.status.code(), Some(if goes_on { 0 } else { code }));
        assert_eq!(runner.outputs()["code"], code.to_string());
    }
    let refuse = step(&evaluate, "shard", "Refuse the model");
    assert_eq!(refuse["if"], "${{ steps.evaluate.outputs.code == '1' }}");
    assert!(!Runner::new().run(&refuse, &[]).status.success());
}
