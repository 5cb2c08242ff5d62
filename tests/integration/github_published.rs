//! Requests, answers and webhooks against what GitHub publishes: its description of the API and its examples of payloads. The stand-in alone
//! serves every request in `cargo test`; `tests/openapi/check` puts a validating proxy in between, which refuses what the description does
//! not allow, and hands in the published examples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use slm_benchmark::github::webhook::Event;
use slm_benchmark::github::{Client, IssueQuery, IssueState, Label, Permission, Reaction, Settings, User};

use crate::github::{user, wait};
use crate::github_stand_in::{ACTIONS_TOKEN, AUTHOR, Fault, GitHub, MAINTAINER, REPOSITORY, STRANGER, TOKEN, WORKFLOW, zip};

/// A variable that `tests/openapi/check` sets.
fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/openapi/check"))
}

/// Leaves a file for `tests/openapi/check`.
fn leave(name: &str, content: &Value) {
    std::fs::write(PathBuf::from(given("SLM_BENCH_GITHUB_SENT")).join(name), content.to_string()).unwrap();
}

/// Everything that the client asks of GitHub, at least once.
async fn ask_everything(github: &GitHub, settings: Settings, number: u64, folder: &Path) {
    let is_proxied = settings.api_url != github.api_url();
    let client = Client::new(settings).unwrap();
    client.identity().await.unwrap();
    client.token(Duration::from_mins(1)).await.unwrap();
    client.issue(number).await.unwrap();
    let since = Utc::now() - Duration::from_mins(1);
    let query = IssueQuery { label: Some("submission".to_owned()), state: Some(IssueState::Open), since: Some(since) };
    assert_eq!(client.issues(&query).await.unwrap().len(), 1);
    client.issues(&IssueQuery::default()).await.unwrap();
    client.issues(&IssueQuery { state: Some(IssueState::Closed), ..IssueQuery::default() }).await.unwrap();
    let comment = client.create_comment(number, "text").await.unwrap();
    client.update_comment(comment.id, "another text").await.unwrap();
    client.comment(comment.id).await.unwrap();
    client.comments(number, None).await.unwrap();
    client.comments(number, Some(since)).await.unwrap();
    client.comments_since(since).await.unwrap();
    for reaction in [Reaction::Eyes, Reaction::PlusOne, Reaction::MinusOne, Reaction::Confused, Reaction::Rocket] {
        client.react_to_comment(comment.id, reaction).await.unwrap();
        client.react_to_issue(number, reaction).await.unwrap();
    }
    client.delete_comment(comment.id).await.unwrap();
    client.delete_comment(comment.id).await.unwrap();
    let label = Label { name: "needs-changes".to_owned(), color: "d93f0b".to_owned(), description: "What to change".to_owned() };
    client.ensure_labels(&[label]).await.unwrap();
    client.change_labels(number, &["needs-changes"], &[]).await.unwrap();
    client.change_labels(number, &[], &["needs-changes"]).await.unwrap();
    client.set_issue_state(number, IssueState::Closed).await.unwrap();
    client.set_issue_state(number, IssueState::Open).await.unwrap();
    assert_eq!(client.permission(&user(github, MAINTAINER)).await.unwrap(), Permission::Admin);
    let renamed = User { login: "formerly".to_owned(), ..user(github, MAINTAINER) };
    assert_eq!(client.permission(&renamed).await.unwrap(), Permission::Admin);
    let inputs = BTreeMap::from([("evaluation".to_owned(), "job".to_owned())]);
    let run = client.dispatch(WORKFLOW, "main", &inputs).await.unwrap().unwrap();
    github.begin_run(run, &["Shard 0"]);
    client.workflow_runs(WORKFLOW, since).await.unwrap();
    client.workflow_run(run).await.unwrap();
    client.jobs(run).await.unwrap();
    github.finish_run(run, "success", vec![("shard-0".to_owned(), zip(&[("a", b"x")]))]);
    let artifacts = client.artifacts(run).await.unwrap();
    client.cancel_run(run).await.unwrap();
    client.rerun_failed_jobs(run).await.unwrap();
    client.rerun_failed_jobs(run).await.unwrap();
    client.cancel_run(run).await.unwrap();
    let downloaded = client.download_artifact(&artifacts[0], &folder.join(run.to_string()), 1000).await;
    // Prism goes where it is sent by itself, with the token, and the storage refuses that; the request to the API has passed by then.
    assert!(downloaded.is_ok() || is_proxied && downloaded.unwrap_err().to_string().contains("the storage takes no token"));
    let file = folder.join("file");
    std::fs::write(&file, "content").unwrap();
    let release = client.ensure_release("artifacts-1", "Artifacts", "text").await.unwrap();
    let name = format!("file-{run}");
    github.broken_asset("artifacts-1", &name);
    client.upload_asset(&release, &name, &file).await.unwrap();
}

/// By a personal token, by an App and inside of a workflow, which ask in different ways who they are.
fn ask_everything_as_everybody(github: &GitHub, address: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (number, _) = github.open_issue(STRANGER, "text", &["submission"]);
    github.known_as(address);
    wait(async {
        for settings in [github.settings(), github.app_settings(), github.settings_of(ACTIONS_TOKEN)] {
            ask_everything(github, Settings { api_url: address.to_owned(), ..settings }, number, folder.path()).await;
        }
    });
}

/// The stand-in serves every request of the client, and none of the client's methods is left out of what is compared with GitHub's
/// description.
#[test]
fn every_request_is_served() {
    let github = GitHub::start();
    ask_everything_as_everybody(&github, &github.api_url());
    github.finish();
    let (client, tested) = (include_str!("../../src/github/client.rs"), include_str!("github_published.rs"));
    let methods: Vec<&str> = client.split("    pub async fn ").skip(1).map(|rest| rest.split(['(', '<']).next().unwrap()).collect();
    assert!(methods.len() > 20, "{methods:?}");
    for method in methods {
        assert!(tested.contains(&format!("client.{method}(")), "`Client::{method}` is not compared with GitHub's description");
    }
}

/// Requests and answers pass the proxy, and it refuses wrong ones: a wrong name in a request, an unknown address, an answer without its
/// fields.
#[test]
#[ignore = "needs what GitHub publishes: tests/openapi/check runs it"]
fn requests_follow_the_published_description() {
    let proxy = given("SLM_BENCH_GITHUB_PROXY");
    let github = GitHub::start_at(given("SLM_BENCH_GITHUB_PORT").parse().unwrap());
    ask_everything_as_everybody(&github, &proxy);
    let seen = github.seen();
    let asked: Vec<Value> = seen.iter().map(|seen| json!({"method": seen.method, "target": seen.target, "status": seen.status})).collect();
    leave("requests.json", &Value::Array(asked));
    wait(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let issue = format!("{proxy}/repos/{REPOSITORY}/issues/1");
        let wrong = [
            (client.post(format!("{issue}/comments")).body("{\"text\":\"the wrong name\"}"), 422),
            (client.post(format!("{issue}/labels")).body("{\"labels\":\"no list\"}"), 422),
            (client.get(format!("{proxy}/repos/{REPOSITORY}/issues?state=ajar")), 422),
            (client.get(format!("{proxy}/repos/{REPOSITORY}/isues")), 404),
        ];
        for (request, expected) in wrong {
            let answer = request.bearer_auth(TOKEN).header("content-type", "application/json").send().await.unwrap();
            assert_eq!(answer.status(), expected, "a wrong request must not pass");
        }
        assert!(github.seen().is_empty(), "wrong requests do not come so far");
        let mut shortened: Value = client.get(&issue).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
        shortened.as_object_mut().unwrap().remove("comments_url");
        github.fault("GET", "/issues/1$", 1, Fault::Answer(shortened));
        let answer = client.get(&issue).bearer_auth(TOKEN).send().await.unwrap();
        assert!(answer.status().is_server_error(), "a wrong answer must not pass, {}", answer.status());
    });
    github.finish();
}

/// Every webhook that the stand-in sends is left for the comparison with the published examples.
#[test]
#[ignore = "needs what GitHub publishes: tests/openapi/check runs it"]
fn webhooks_are_left_for_comparison() {
    let github = GitHub::start();
    github.webhooks_to("http://127.0.0.1:9/webhook");
    github.lose_webhooks(true);
    let (number, _) = github.open_issue(AUTHOR, "text", &["submission"]);
    github.edit_issue(number, "another text");
    github.label(MAINTAINER, number, "question", true);
    github.label(MAINTAINER, number, "question", false);
    github.set_open(number, false);
    github.set_open(number, true);
    let created = github.comment(number, STRANGER, "text");
    github.edit_comment(&created, "another text");
    github.comment_on_nothing(AUTHOR, "text");
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let run = client.dispatch(WORKFLOW, "main", &BTreeMap::new()).await.unwrap().unwrap();
        github.begin_run(run, &["Shard 0"]);
        github.finish_run(run, "success", Vec::new());
    });
    let deliveries: Vec<Value> = github
        .deliveries()
        .iter()
        .map(|delivery| json!({"event": delivery.event, "payload": serde_json::from_str::<Value>(&delivery.body).unwrap()}))
        .collect();
    assert_eq!(deliveries.len(), 12);
    leave("webhooks.json", &Value::Array(deliveries));
    github.finish();
}

/// Every published example of the events that we act on is read, and each field that we read is there: nothing rests on a default.
#[test]
#[ignore = "needs what GitHub publishes: tests/openapi/check runs it"]
fn published_examples_are_read() {
    let published: Value = serde_json::from_slice(&std::fs::read(given("SLM_BENCH_GITHUB_EXAMPLES")).unwrap()).unwrap();
    let mut read = BTreeMap::<String, usize>::new();
    for event in published.as_array().unwrap() {
        let name = event["name"].as_str().unwrap();
        for example in event["examples"].as_array().unwrap() {
            let parsed = Event::parse(name, example.to_string().as_bytes());
            let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {example}"));
            let kind = match parsed {
                Event::Ignored { .. } => {
                    let action = example["action"].as_str().unwrap_or_default();
                    assert!(name != "issues" || ["pinned", "unpinned"].contains(&action), "{name} {action} is ignored");
                    continue;
                }
                Event::Ping { hook_id, .. } => {
                    assert_eq!(json!(hook_id), example["hook_id"]);
                    "ping"
                }
                Event::Issue(event) => {
                    let issue = &example["issue"];
                    assert_eq!(json!(event.issue.number), issue["number"]);
                    assert_eq!(event.issue.body, issue["body"].as_str().unwrap_or_default());
                    let labels: Vec<&str> =
                        issue["labels"].as_array().unwrap().iter().map(|label| label["name"].as_str().unwrap()).collect();
                    assert_eq!(event.issue.labels, labels);
                    assert_eq!(event.label, example["label"]["name"].as_str().map(str::to_owned));
                    has(issue, &["id", "title", "body", "user.id", "user.login", "user.type", "labels", "state", "created_at", "html_url"]);
                    "issues"
                }
                Event::Comment(event) => {
                    let comment = &example["comment"];
                    assert_eq!((json!(event.comment.id), json!(event.comment.body)), (comment["id"].clone(), comment["body"].clone()));
                    assert_eq!(json!(event.comment.issue), example["issue"]["number"]);
                    has(comment, &["user.id", "user.login", "user.type", "issue_url", "created_at", "updated_at", "html_url"]);
                    "issue_comment"
                }
                Event::WorkflowRun(event) => {
                    let run = &example["workflow_run"];
                    assert_eq!(json!(event.run.id), run["id"]);
                    has(run, &["name", "event", "status", "conclusion", "head_sha", "head_branch", "created_at", "html_url"]);
                    "workflow_run"
                }
            };
            if kind != "ping" {
                has(example, &["action", "repository.id", "repository.full_name", "sender.id", "sender.login", "sender.type"]);
            }
            *read.entry(kind.to_owned()).or_default() += 1;
        }
    }
    let kinds: Vec<&str> = read.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["issue_comment", "issues", "ping", "workflow_run"]);
    assert!(read.values().sum::<usize>() > 40, "{read:?}");
}

/// Fails where a field is missing; `null` is there.
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        let found = field.split('.').try_fold(value, |value, name| value.get(name));
        assert!(found.is_some(), "there is no {field} in {value}");
    }
}
