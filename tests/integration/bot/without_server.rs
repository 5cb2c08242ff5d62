//! The commands without a server: `event`, one call at a time, and `process`.

use super::stand_in::{ACTIONS_TOKEN, AUTHOR, MAINTAINER, REPOSITORY, STRANGER};
use super::{Bench, submission};
use serde_json::Value;
use slm_benchmark::bot::status::labels;
use slm_benchmark::bot::store::JobState;
use std::fs;
use std::process::{Command, Output};

/// A job's step of a workflow: outputs by name.
struct Step {
    output: Output,
    outputs: Vec<(String, String)>,
}

impl Step {
    #[track_caller]
    fn expect(&self, name: &str) -> &str {
        let found = self.outputs.iter().find(|(known, _)| known == name);
        found.map_or_else(
            || panic!("no output {name}: {:?} {}", self.outputs, String::from_utf8_lossy(&self.output.stderr)),
            |(_, value)| value,
        )
    }
}

impl Bench {
    /// Runs `slm-bench event` as a workflow would, in a checkout.
    fn step(&self, name: &str, event: &Value, more: &[&str]) -> Step {
        let output_file = self.path("github_output");
        let _ = fs::remove_file(&output_file);
        fs::write(self.path("event.json"), event.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_slm-bench"))
            .args(["event", "--suite", "smoke", "--event-name", name, "--event-path"])
            .arg(self.path("event.json"))
            .args(more)
            .current_dir(self.folder.path())
            .env("GITHUB_REPOSITORY", REPOSITORY)
            .env("GITHUB_API_URL", self.github.api_url())
            .env("GITHUB_SERVER_URL", self.github.api_url())
            .env("GITHUB_TOKEN", ACTIONS_TOKEN)
            .env("GITHUB_OUTPUT", &output_file)
            .env("GITHUB_STEP_SUMMARY", self.path("summary.md"))
            .env("HF_HUB_CACHE", self.path("hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("HF_TOKEN")
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(&output_file).unwrap_or_default();
        let outputs = text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Step { output, outputs: outputs.collect() }
    }

    /// Proves that nothing is left: every status is a last one and has its labels, nothing is unread, no secret stands anywhere.
    #[track_caller]
    fn finish_without_server(self) {
        for issue in self.github.issues() {
            let Some(state) = self.read_status(issue) else { continue };
            assert!(state.parse::<JobState>().unwrap().is_final(), "issue {issue} is {state}");
            let mut labels = labels(&state).to_vec();
            labels.sort_unstable();
            assert_eq!(self.github.labels(issue), labels);
        }
        self.prove_that_nothing_is_left();
    }
}

/// In a workflow the same decisions are taken without a store: what is known is read back from the status comment.
#[test]
fn a_workflow_decides_as_the_server_does() {
    let bench = Bench::prepare("");
    let (issue, opened) = bench.github.open_issue(AUTHOR, &submission(), &["submission"]);
    assert_eq!(bench.step("issues", &opened, &[]).expect("decision"), "waiting");
    assert!(bench.read().contains("### Valid: waits for approval"));
    assert_eq!(bench.github.labels(issue), ["submission", "validated"]);
    assert!(fs::read_to_string(bench.path("summary.md")).unwrap().contains("waits for approval"));

    let comment = bench.github.comment(issue, STRANGER, "/slm-bench approve");
    assert_eq!(bench.step("issue_comment", &comment, &[]).expect("decision"), "nothing");
    assert!(bench.read().contains("is for people with write access"));

    // Edited after the check: the approval is asked for again.
    bench.github.edit_issue(issue, &submission().replace("family: demo", "family: other"));
    let comment = bench.github.comment(issue, MAINTAINER, "/slm-bench approve");
    assert_eq!(bench.step("issue_comment", &comment, &[]).expect("decision"), "waiting");
    assert!(bench.read().contains("edited after it was checked"));
    assert!(!bench.path("submission.yml").exists());

    let comment = bench.github.comment(issue, MAINTAINER, "/slm-bench approve");
    let step = bench.step("issue_comment", &comment, &["--shards", "3"]);
    assert_eq!((step.expect("decision"), step.expect("suite"), step.expect("slug")), ("evaluate", "smoke", "slm-benchmark--demo-1m"));
    assert_eq!(serde_json::from_str::<Vec<String>>(step.expect("shards")).unwrap().len(), 3);
    assert!(bench.read().contains("Approved and queued."));
    let handed_over = fs::read_to_string(bench.path("submission.yml")).unwrap();
    assert!(handed_over.contains("family: other") && handed_over.contains("hf_revision: 0123456789abcdef"), "{handed_over}");
    assert_eq!(bench.github.labels(issue), ["queued", "submission", "validated"]);

    // The workflow is run again by hand: no second reply.
    bench.step("issue_comment", &comment, &[]);
    bench.step("issue_comment", &comment, &["--stage", "evaluating"]);
    assert_eq!(bench.github.labels(issue), ["evaluating", "submission", "validated"]);
    bench.step("issue_comment", &comment, &["--stage", "failed"]);
    assert!(bench.github.said(issue)[0].contains("a job of the workflow failed"));
    assert_eq!(bench.github.labels(issue), ["failed", "submission"]);
    bench.finish_without_server();
}

/// Events that are none of the bot's change nothing, and a broken one is refused.
#[test]
fn other_events_change_nothing() {
    let bench = Bench::prepare("");
    let (_, bug) = bench.github.open_issue(STRANGER, "The website is slow.", &[]);
    assert_eq!(bench.step("issues", &bug, &[]).expect("decision"), "nothing");
    let comment = bench.github.comment(1, STRANGER, "Me too.");
    assert_eq!(bench.step("issue_comment", &comment, &[]).expect("decision"), "nothing");
    assert_eq!(bench.step("push", &serde_json::json!({}), &[]).expect("decision"), "nothing");
    bench.finish_without_server();
}

/// Evaluated in the workflow's jobs and published by the last one: one commit, the results on the issue, also when the job is run again.
#[cfg(feature = "engine")]
#[test]
fn a_workflow_publishes() {
    let bench = Bench::prepare("");
    let (issue, opened) = bench.github.open_issue(AUTHOR, &submission(), &["submission"]);
    assert_eq!(bench.step("issues", &opened, &["--at-once"]).expect("decision"), "evaluate");
    bench.read();
    let run = program(&bench)
        .args(["run", "--submission-file", "submission.yml", "--output-dir", "runs", "--suite", "smoke", "--device", "cpu"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let remote = bench.path("remote.git").display().to_string();
    for _ in 0..2 {
        bench.step("issues", &opened, &["--stage", "publish", "--results", "runs", "--repository", &remote]);
    }
    assert_eq!(bench.commits().len(), 1);
    assert!(bench.commits()[0].0.ends_with(&format!("Issue: #{issue}\n")));
    assert!(bench.github.said(issue)[0].contains("| **aggregate** |"));
    assert_eq!(bench.github.labels(issue), ["evaluated", "submission", "validated"]);
    bench.finish_without_server();
}

/// `process` goes the whole way without GitHub; done again, it makes no second commit; an invalid submission ends with 1.
#[cfg(feature = "engine")]
#[test]
fn process_goes_the_whole_way() {
    let bench = Bench::prepare("");
    let remote = bench.path("remote.git").display().to_string();
    let process = |text: &str| {
        fs::write(bench.path("issue.md"), text).unwrap();
        let arguments =
            ["process", "--issue-file", "issue.md", "--repository", &remote, "--suite", "smoke", "--device", "cpu", "--issue", "7"];
        program(&bench).args(arguments).output().unwrap()
    };
    let first = process(&submission());
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(String::from_utf8_lossy(&first.stdout).contains("| **aggregate** |"));
    // Known by now: the same check as the bot's says so.
    let again = process(&submission());
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("already_evaluated"));
    assert_eq!(process("no submission").status.code(), Some(1));
    assert_eq!(bench.commits().len(), 1);
    bench.finish_without_server();
}

#[cfg(feature = "engine")]
fn program(bench: &Bench) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slm-bench"));
    command.current_dir(bench.folder.path()).env("HF_HUB_CACHE", bench.path("hub")).env("HF_HUB_OFFLINE", "1");
    command.env_remove("HF_TOKEN").env_remove("RUST_LOG").env_remove("GITHUB_TOKEN");
    command
}
