//! Promises of the client for GitHub, against the stand-in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use slm_benchmark::github::webhook::Event;
use slm_benchmark::github::{Client, IssueQuery, IssueState, Label, Permission, User};

use crate::github_stand_in::{APP_SLUG, BOT, Fault, GitHub, REPOSITORY, STRANGER, WORKFLOW, zip};

/// Runs what needs a runtime.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) fn user(github: &GitHub, login: &str) -> User {
    let account = github.account(login);
    User { id: account.id, login: account.login, account_type: account.kind.to_owned() }
}

/// Issues and comments come whole, over many pages, oldest first, by label and time, without a request too many.
#[test]
fn listings_are_whole() {
    let github = GitHub::start();
    github.page_size(3);
    for number in 0..10 {
        let label = if number % 2 == 0 { "submission" } else { "question" };
        github.open_issue(STRANGER, "text", &[label]);
    }
    for comment in 0..7 {
        github.comment(1, STRANGER, &format!("comment {comment}"));
    }
    github.set_open(3, false);
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let query = IssueQuery { label: Some("submission".to_owned()), state: Some(IssueState::Open), since: None };
        let numbers: Vec<u64> = client.issues(&query).await.unwrap().iter().map(|issue| issue.number).collect();
        assert_eq!(numbers, [1, 5, 7, 9]);
        assert_eq!(client.issues(&IssueQuery::default()).await.unwrap().len(), 10);
        let later = IssueQuery { since: Some(Utc::now() + Duration::from_mins(1)), ..IssueQuery::default() };
        assert!(client.issues(&later).await.unwrap().is_empty());
        let comments = client.comments(1, None).await.unwrap();
        assert_eq!(comments.iter().map(|comment| comment.body.as_str()).collect::<Vec<_>>().len(), 7);
        assert!(comments.is_sorted_by_key(|comment| comment.id) && comments.iter().all(|comment| comment.issue == Some(1)));
        assert_eq!(client.comments_since(Utc::now() - Duration::from_mins(1)).await.unwrap().len(), 7);
        assert_eq!(client.issue(3).await.unwrap().state, IssueState::Closed);
        assert!(client.issue(99).await.unwrap_err().is_not_found());
    });
    github.finish();
}

/// What has not changed is answered from memory, at no cost of the rate limit.
#[test]
fn unchanged_answers_are_asked_for_conditionally() {
    let github = GitHub::start();
    let number = github.open_issue(STRANGER, "text", &[]).0;
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let first = client.issue(number).await.unwrap();
        assert_eq!(client.issue(number).await.unwrap(), first);
        assert_eq!((client.statistics().calls[&200], client.statistics().calls[&304]), (1, 1));
        github.edit_issue(number, "another text");
        assert_eq!(client.issue(number).await.unwrap().body, "another text");
    });
    github.finish();
}

/// A comment whose answer is lost is not written twice: the error says that it may be there. An edit is simply repeated.
#[test]
fn lost_answers_double_nothing() {
    let github = GitHub::start();
    let number = github.open_issue(STRANGER, "text", &[]).0;
    for fault in [Fault::DropAfter, Fault::BadGatewayAfter, Fault::Slow(Duration::from_mins(1))] {
        let before = github.comments(number).len();
        github.fault("POST", "/comments", 1, fault.clone());
        github.fault("PATCH", "/comments", 1, fault);
        wait(async {
            let client = Client::new(slm_benchmark::github::Settings { timeout: Duration::from_secs(4), ..github.settings() }).unwrap();
            let error = client.create_comment(number, "once").await.unwrap_err();
            assert!(error.is_transient() && error.may_have_happened(), "{error}");
            let written = client.comments(number, None).await.unwrap();
            assert_eq!(written.len(), before + 1);
            client.update_comment(written.last().unwrap().id, "changed").await.unwrap();
        });
        assert_eq!(github.comments(number).last().unwrap().body, "changed");
    }
    github.finish();
}

/// What was certainly not done is done again by itself: rate limits, refused connections. Failures of reading are repeated too.
#[test]
fn rate_limits_are_waited_for() {
    let github = GitHub::start();
    let number = github.open_issue(STRANGER, "text", &[]).0;
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        for fault in [Fault::SecondaryLimit(None), Fault::SecondaryLimit(Some(1)), Fault::PrimaryLimit(1)] {
            github.fault("POST", "/comments", 1, fault);
            client.create_comment(number, "text").await.unwrap();
        }
        assert_eq!(client.statistics().rate_limited, 3);
        for fault in [Fault::Status(500), Fault::Status(503), Fault::DropBefore] {
            github.fault("GET", "/issues", 1, fault);
            client.issue(number).await.unwrap();
        }

        // A limit that lasts longer than a call may is told, and spares GitHub the next calls.
        github.fault("GET", "/issues", 1, Fault::PrimaryLimit(1000));
        let error = client.issue(number).await.unwrap_err();
        assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_mins(15)), "{error:?}");
        github.seen();
        let error = client.create_comment(number, "text").await.unwrap_err();
        assert!(error.is_transient() && !error.may_have_happened() && error.retry_after().is_some());
        assert!(github.seen().is_empty());
    });
    assert_eq!(github.bot_comments(number).len(), 3);
    github.finish();
}

/// Nothing is repeated for ever, and a refusal for good not at all.
#[test]
fn tries_are_bounded() {
    let github = GitHub::start();
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        github.fault("GET", "/issues", 100, Fault::Status(500));
        assert!(client.issue(1).await.unwrap_err().is_transient());
        assert_eq!(github.seen().len(), 4);
        github.clear_faults();
        github.fault("GET", "/issues", 100, Fault::Status(403));
        let error = client.issue(1).await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("doctor"), "{error}");
        assert_eq!(github.seen().len(), 1);
    });
    github.finish();
}

/// Labels are changed only where they differ, whatever their case.
#[test]
fn labels_change_only_when_they_change() {
    let github = GitHub::start();
    let number = github.open_issue(STRANGER, "text", &["submission", "Queued"]).0;
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let label = |name: &str| Label { name: name.to_owned(), color: "0e8a16".to_owned(), description: "x".to_owned() };
        client.ensure_labels(&[label("Bug"), label("queued"), label("evaluated")]).await.unwrap();
        client.ensure_labels(&[label("queued")]).await.unwrap();
        assert!(client.change_labels(number, &["submission", "evaluated"], &["queued", "failed"]).await.unwrap());
        assert!(!client.change_labels(number, &["submission", "evaluated"], &["queued", "failed"]).await.unwrap());
    });
    assert_eq!(github.label_changes(number), ["+evaluated", "-queued"]);
    assert_eq!(github.labels(number), ["evaluated", "submission"]);
    let made = github.seen().iter().filter(|seen| seen.method == "POST" && seen.target.ends_with(&format!("{REPOSITORY}/labels"))).count();
    assert_eq!(made, 2);
    github.finish();
}

/// A permission belongs to the numeric id: a renamed account keeps it, whoever takes over its old name does not get it, and where
/// GitHub cannot say there is none.
#[test]
fn permissions_follow_the_id_and_fail_closed() {
    let github = GitHub::start();
    for role in ["maintain", "write", "triage"] {
        github.add_account(role, "User", role);
    }
    let maintainer = user(&github, "maintainer");
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        for (login, permission) in [
            ("maintainer", Permission::Admin),
            ("maintain", Permission::Maintain),
            ("write", Permission::Write),
            ("triage", Permission::Triage),
            ("stranger", Permission::Read),
        ] {
            assert_eq!(client.permission(&user(&github, login)).await.unwrap(), permission, "{login}");
        }
        github.rename("maintainer", "boss");
        assert_eq!(client.permission(&maintainer).await.unwrap(), Permission::Admin);
        github.add_account("maintainer", "User", "read");
        assert_eq!(client.permission(&maintainer).await.unwrap(), Permission::Admin);
        let usurper = User { login: "boss".to_owned(), ..user(&github, "maintainer") };
        assert_eq!(client.permission(&usurper).await.unwrap(), Permission::Read);
        let gone = User { id: 5, login: "boss".to_owned(), account_type: "User".to_owned() };
        assert_eq!(client.permission(&gone).await.unwrap(), Permission::None);
        github.fault("GET", "/permission", 100, Fault::Status(500));
        assert!(client.permission(&maintainer).await.is_err());
    });
    github.finish();
}

/// An App signs itself in, fetches one token for many calls at once, renews it before its end and after a withdrawal.
#[test]
fn an_app_renews_its_tokens() {
    let github = GitHub::start();
    let number = github.open_issue(STRANGER, "text", &[]).0;
    let fetched = || github.seen().iter().filter(|seen| seen.target.ends_with("/access_tokens")).count();
    wait(async {
        let client = Client::new(github.app_settings()).unwrap();
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.issue(number).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(fetched(), 1);
        client.create_comment(number, "by the App").await.unwrap();
        github.withdraw_tokens();
        client.create_comment(number, "by the App again").await.unwrap();
        assert_eq!(fetched(), 1);
        // Four minutes are less than the margin: every call fetches anew.
        github.withdraw_tokens();
        github.token_life(chrono::Duration::minutes(4));
        client.issue(number).await.unwrap();
        client.issue(number).await.unwrap();
        assert_eq!(fetched(), 2);
        let identity = client.identity().await.unwrap();
        assert_eq!((identity.name.as_str(), identity.is_app), (APP_SLUG, true));
        assert_eq!(identity.user_id, Some(github.account(&format!("{APP_SLUG}[bot]")).id));
        assert!(identity.permissions.contains(&("issues".to_owned(), "write".to_owned())));
        assert!(!format!("{client:?}").contains("PRIVATE KEY"));
    });
    assert_eq!(github.bot_comments(number).len(), 2);
    github.finish();
}

/// A personal token tells whose it is and what it may do.
#[test]
fn a_token_tells_what_it_may_do() {
    let github = GitHub::start();
    wait(async {
        let identity = Client::new(github.settings()).unwrap().identity().await.unwrap();
        assert_eq!((identity.name.as_str(), identity.user_id, identity.is_app), (BOT, Some(github.account(BOT).id), false));
        assert_eq!(identity.permissions[0], ("repository".to_owned(), "push".to_owned()));
        let wrong = slm_benchmark::github::Secret::new("the token", "ghp_wrong").unwrap();
        let settings = slm_benchmark::github::Settings { auth: slm_benchmark::github::Auth::Token(wrong), ..github.settings() };
        let error = Client::new(settings).unwrap().identity().await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("make a new one") && !error.to_string().contains("ghp_"), "{error}");
    });
    github.finish();
}

async fn dispatch(client: &Client, evaluation: &str) -> Result<Option<u64>, slm_benchmark::github::Error> {
    client.dispatch(WORKFLOW, "main", &BTreeMap::from([("evaluation".to_owned(), evaluation.to_owned())])).await
}

/// A dispatch tells its run; one whose answer is lost is found again by its title and not started twice. The artifacts come whole, and the
/// token goes nowhere but to the API.
#[test]
fn workflow_runs_are_followed() {
    let github = GitHub::start();
    let folder = tempfile::tempdir().unwrap();
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let before = Utc::now() - Duration::from_secs(5);
        let run = dispatch(&client, "job-1").await.unwrap().unwrap();
        github.fault("POST", "/dispatches", 1, Fault::DropAfter);
        assert!(dispatch(&client, "job-2").await.unwrap_err().may_have_happened());
        let runs = client.workflow_runs(WORKFLOW, before).await.unwrap();
        assert_eq!(runs.iter().map(|run| run.display_title.as_str()).collect::<Vec<_>>(), ["Evaluate job-2", "Evaluate job-1"]);
        client.cancel_run(runs[0].id).await.unwrap();
        client.cancel_run(runs[0].id).await.unwrap();

        github.begin_run(run, &["Shard 0"]);
        assert_eq!(client.jobs(run).await.unwrap()[0].name, "Shard 0");
        assert!(!client.workflow_run(run).await.unwrap().is_completed());
        github.finish_run(run, "success", vec![("shard-0".to_owned(), zip(&[("a/run.json", b"{}"), ("a/samples/b.zst", b"xyz")]))]);
        assert!(client.workflow_run(run).await.unwrap().has_succeeded());
        let artifacts = client.artifacts(run).await.unwrap();
        github.seen();
        github.fault("GET", "/storage", 1, Fault::Status(503));
        let target = folder.path().join("shards/0");
        client.download_artifact(&artifacts[0], &target, 1000).await.unwrap();
        assert_eq!(std::fs::read_to_string(target.join("a/samples/b.zst")).unwrap(), "xyz");
        let seen = github.seen();
        assert!(seen.iter().any(|seen| seen.target.starts_with("/storage/")));
        assert!(seen.iter().all(|seen| seen.target.starts_with("/storage/") != seen.authorised));

        let error = client.download_artifact(&artifacts[0], &folder.path().join("small"), 3).await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("limit"), "{error}");
        github.expire_artifacts();
        let expired = client.artifacts(run).await.unwrap();
        assert!(client.download_artifact(&expired[0], &folder.path().join("gone"), 1000).await.is_err());
    });
    github.finish();
}

/// Archives that would write outside of their folder, over each other or more than they say are refused, and leave nothing.
#[test]
fn hostile_archives_are_refused() {
    let github = GitHub::start();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong_sum = zip(&[("a", b"content")]);
    let at = wrong_sum.windows(7).position(|window| window == b"content").unwrap();
    wrong_sum[at] ^= 1;
    let mut link = zip(&[("a", b"/etc/passwd")]);
    let at = link.windows(2).rposition(|window| window == [0xa4, 0x81]).unwrap();
    link[at + 1] = 0xa1;
    let whole = zip(&[("a", b"content")]);
    let hostile = [
        ("parent", zip(&[("../outside", b"x")])),
        ("inner parent", zip(&[("a/../../outside", b"x")])),
        ("absolute", zip(&[("/tmp/outside", b"x")])),
        ("drive", zip(&[("C:\\outside", b"x")])),
        ("twice", zip(&[("a", b"x"), ("A", b"y")])),
        ("sum", wrong_sum),
        ("link", link),
        ("cut", whole[..whole.len() - 5].to_vec()),
        ("none", b"not a ZIP archive".to_vec()),
        ("empty", Vec::new()),
    ];
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let run = dispatch(&client, "job").await.unwrap().unwrap();
        github.finish_run(run, "success", hostile.iter().map(|(name, archive)| ((*name).to_owned(), archive.clone())).collect());
        for artifact in client.artifacts(run).await.unwrap() {
            let target = folder.path().join("inner").join(&artifact.name);
            let error = client.download_artifact(&artifact, &target, 1000).await.unwrap_err();
            assert!(!error.is_transient(), "{}: {error}", artifact.name);
            assert!(!target.exists(), "{}", artifact.name);
        }
    });
    let left: Vec<_> = files(folder.path());
    assert!(left.is_empty(), "{left:?}");
    github.finish();
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A release asset arrives once and whole: after a lost answer it is found, the rest of a broken upload is replaced.
#[test]
fn release_assets_arrive_once() {
    let github = GitHub::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("samples.tar");
    std::fs::write(&file, vec![7; 100_000]).unwrap();
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let release = client.ensure_release("artifacts-1", "Artifacts", "text").await.unwrap();
        assert_eq!(client.ensure_release("artifacts-1", "Artifacts", "text").await.unwrap().id, release.id);
        github.broken_asset("artifacts-1", "samples.tar");
        github.fault("POST", "/assets", 1, Fault::DropAfter);
        let asset = client.upload_asset(&release, "samples.tar", &file).await.unwrap();
        assert_eq!((asset.size, asset.state.as_str()), (100_000, "uploaded"));
        assert_eq!(client.upload_asset(&release, "samples.tar", &file).await.unwrap(), asset);
        let elsewhere = slm_benchmark::github::Release { upload_url: "https://evil.example/{?name}".to_owned(), ..release };
        assert!(client.upload_asset(&elsewhere, "other.tar", &file).await.unwrap_err().to_string().contains("another host"));
    });
    let uploads = github.seen().iter().filter(|seen| seen.method == "POST" && seen.target.contains("/assets?")).count();
    assert_eq!(uploads, 1);
    assert_eq!(github.assets("artifacts-1")["samples.tar"].len(), 100_000);
    github.finish();
}

/// What the stand-in sends has the signature and the shape that our reader wants, and a webhook that is lost stays lost.
#[test]
fn webhooks_are_signed_and_readable() {
    let github = GitHub::start();
    let server = GitHub::start();
    github.webhooks_to(&format!("{}/hook", server.api_url()));
    let number = github.open_issue(STRANGER, "text", &[]).0;
    github.lose_webhooks(true);
    github.comment(number, STRANGER, "lost");
    github.lose_webhooks(false);
    github.comment(number, STRANGER, "sent");
    wait(async {
        let client = Client::new(github.settings()).unwrap();
        let run = dispatch(&client, "job").await.unwrap().unwrap();
        github.finish_run(run, "success", Vec::new());
    });
    github.wait_for_webhooks();
    let deliveries = github.deliveries();
    let names: Vec<(&str, bool)> = deliveries.iter().map(|delivery| (delivery.event.as_str(), delivery.lost)).collect();
    assert_eq!(
        names,
        [("issues", false), ("issue_comment", true), ("issue_comment", false), ("workflow_run", false), ("workflow_run", false)]
    );
    for delivery in &deliveries {
        let event = Event::parse(&delivery.event, delivery.body.as_bytes()).unwrap();
        assert!(!matches!(event, Event::Ignored { .. }));
        assert_eq!(event.repository().unwrap().id, 900);
    }
    // The other stand-in knows no webhooks: it refuses them, and says so at its end.
    assert!(deliveries.iter().all(|delivery| delivery.lost || delivery.status == Some(401)));
    assert_eq!(server.seen().len(), 4);
    assert_eq!(github.left().len(), 4);
}
