//! The way inside of GitHub Actions: the scripts of the workflows, taken from their files, with real events and the stand-in for GitHub.

use super::stand_in::{ACTIONS_TOKEN, AUTHOR, GitHub, MAINTAINER, REPOSITORY, STRANGER};
use super::{MODEL, hub_cache, submission};
use crate::workflows::{Runner, assert_success, step, workflow};
use serde_json::Value;

/// A hosted runner whose API is the stand-in, with the demonstration model in its cache.
fn runner(github: &GitHub) -> Runner {
    let mut runner = Runner::new();
    hub_cache(&runner.path("hub"));
    let remote = runner.path("git").join(format!("{REPOSITORY}.git"));
    git2::Repository::init_opts(&remote, git2::RepositoryInitOptions::new().bare(true).mkpath(true).initial_head("main")).unwrap();
    for (name, value) in [
        ("GITHUB_API_URL", github.api_url()),
        ("GITHUB_SERVER_URL", format!("file://{}", runner.path("git").display())),
        ("GITHUB_REPOSITORY", REPOSITORY.to_owned()),
        ("GITHUB_EVENT_PATH", runner.path("event.json").display().to_string()),
        ("HF_HUB_CACHE", runner.path("hub").display().to_string()),
        ("HF_HUB_OFFLINE", "1".to_owned()),
    ] {
        runner.environment.insert(name.to_owned(), value);
    }
    runner
}

/// The event that starts the workflow.
fn happens(runner: &mut Runner, name: &str, event: &Value) {
    std::fs::write(runner.path("event.json"), event.to_string()).unwrap();
    runner.environment.insert("GITHUB_EVENT_NAME".to_owned(), name.to_owned());
    // Each run of the workflow has its own.
    let _ = std::fs::remove_file(runner.path("output"));
}

fn decide(runner: &Runner) -> String {
    let values = [("GITHUB_TOKEN", ACTIONS_TOKEN), ("SHARDS", "2"), ("SUITE", "smoke")];
    assert_success(&runner.run(&step(&workflow("submission.yml"), "decide", "Decide"), &values));
    runner.outputs()["decision"].clone()
}

/// Opened, refused to a stranger, approved by a maintainer, announced; a failure is reported. Nothing is evaluated before the approval.
#[test]
fn from_the_issue_to_the_order() {
    let github = GitHub::start();
    let mut runner = runner(&github);
    let (number, opened) = github.open_issue(AUTHOR, &submission(), &["submission"]);
    happens(&mut runner, "issues", &opened);
    assert_eq!(decide(&runner), "waiting");
    assert!(!runner.path("submission.yml").exists());
    let said = github.read_next().unwrap();
    assert!(said.contains("approve"), "{said}");

    let event = github.comment(number, STRANGER, "/slm-bench approve");
    happens(&mut runner, "issue_comment", &event);
    assert_ne!(decide(&runner), "evaluate");
    assert!(!runner.path("submission.yml").exists());
    while github.read_next().is_some() {}

    let event = github.comment(number, MAINTAINER, "/slm-bench approve");
    happens(&mut runner, "issue_comment", &event);
    assert_eq!(decide(&runner), "evaluate");
    let outputs = runner.outputs();
    assert_eq!((outputs["issue"].as_str(), outputs["suite"].as_str()), (number.to_string().as_str(), "smoke"));
    let shards: Vec<String> = serde_json::from_str(&outputs["shards"]).unwrap();
    assert_eq!(shards.len(), 2);
    let order = std::fs::read_to_string(runner.path("submission.yml")).unwrap();
    assert!(order.contains(MODEL), "{order}");

    let file = workflow("submission.yml");
    let token = [("GITHUB_TOKEN", ACTIONS_TOKEN)];
    assert_success(&runner.run(&step(&file, "announce", "Announce"), &token));
    assert!(github.labels(number).contains(&"evaluating".to_owned()), "{:?}", github.labels(number));
    let values = [("GITHUB_TOKEN", ACTIONS_TOKEN), ("STAGE", "failed")];
    assert_success(&runner.run(&step(&file, "failed", "Report the failure"), &values));
    assert!(github.labels(number).contains(&"failed".to_owned()), "{:?}", github.labels(number));
    while github.read_next().is_some() {}
    assert!(github.said(number)[0].contains("a job of the workflow failed"));
    github.finish();
}

/// The whole way with the real engine: two shards on a machine of our own, joined, published in one commit, reported.
#[cfg(feature = "engine")]
#[test]
fn the_workflow_publishes() {
    let github = GitHub::start();
    let mut runner = runner(&github);
    let (number, opened) = github.open_issue(AUTHOR, &submission(), &["submission"]);
    happens(&mut runner, "issues", &opened);
    assert_eq!(decide(&runner), "waiting");
    let event = github.comment(number, MAINTAINER, "/slm-bench approve");
    happens(&mut runner, "issue_comment", &event);
    assert_eq!(decide(&runner), "evaluate");
    let (file, evaluate) = (workflow("submission.yml"), workflow("evaluate.yml"));
    assert_success(&runner.run(&step(&file, "decide", "Hand over the submission"), &[]));
    let outputs = runner.outputs();
    assert_success(&runner.run(&step(&file, "announce", "Announce"), &[("GITHUB_TOKEN", ACTIONS_TOKEN)]));
    let shards: Vec<String> = serde_json::from_str(&outputs["shards"]).unwrap();
    for (index, tasks) in shards.iter().enumerate() {
        // The evaluation gets the submission, the suite and the tasks, and nothing of GitHub.
        assert_success(&runner.run(&step(&evaluate, "shard", "Write the submission"), &[("SUBMISSION", &outputs["text"])]));
        let values = [("SUITE", outputs["suite"].as_str()), ("TASKS", tasks.as_str())];
        assert_success(&runner.run(&step(&evaluate, "shard", "Evaluate"), &values));
        // As the artifact's actions move it.
        std::fs::create_dir_all(runner.path("shards")).unwrap();
        std::fs::rename(runner.path("evaluation/results"), runner.path(&format!("shards/shard-{index}"))).unwrap();
    }
    std::fs::remove_file(runner.path("submission.yml")).unwrap();
    assert_success(&runner.run(&step(&file, "publish", "Join the shards"), &[]));
    assert_success(&runner.run(&step(&file, "publish", "Write the submission"), &[("SUBMISSION", &outputs["text"])]));
    assert_success(&runner.run(&step(&file, "publish", "Publish"), &[("GITHUB_TOKEN", ACTIONS_TOKEN), ("BRANCH", "main")]));
    let remote = git2::Repository::open(runner.path("git").join(format!("{REPOSITORY}.git"))).unwrap();
    let tip = remote.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
    assert_eq!(tip.parent_count(), 0, "there must be one commit");
    assert!(tip.message().unwrap().contains(&format!("Issue: #{number}")));
    assert!(github.said(number)[0].contains("demo-1m · BF16"), "{}", github.said(number)[0]);
    assert!(github.labels(number).contains(&"evaluated".to_owned()), "{:?}", github.labels(number));
    while github.read_next().is_some() {}
    github.finish();
}
