//! Submissions, from the opened issue on.

use super::stand_in::{AUTHOR, BOT, Fault, MAINTAINER, PROGRAM, STRANGER};
use super::{Bench, submission};
use serde_json::Value;
use slm_benchmark::bot::store::JobState;

/// An invalid submission is answered with its findings; edited, it is checked again, in the same comment; closed, it is cancelled.
#[test]
fn findings_then_an_edit_then_closed() {
    let bench = Bench::start("");
    let issue = bench.open(&submission().replace("license: apache-2.0", "licence: apache-2.0"));
    bench.wait_for(issue, JobState::Rejected);
    let said = bench.read();
    assert!(said.contains("there is no field `licence`") && said.contains("submission:10:3"), "{said}");
    assert_eq!(bench.github.labels(issue), ["needs-changes", "submission"]);

    let event = bench.github.edit_issue(issue, &submission());
    assert_eq!(bench.deliver("issues", &event), 202);
    bench.wait_for(issue, JobState::Validated);
    assert_eq!(bench.github.labels(issue), ["submission", "validated"]);
    let said = bench.github.said(issue);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("waits for approval"), "{}", said[0]);

    let event = bench.github.set_open(issue, false);
    assert_eq!(bench.deliver("issues", &event), 202);
    bench.wait_for(issue, JobState::Cancelled);
    assert_eq!(bench.github.labels(issue), ["submission"]);
    bench.finish();
}

/// Driven by GitHub's webhooks alone, which tell the bot of its own comments, edits and labels too: it acts on what people do and answers
/// itself nothing.
#[test]
fn webhooks_alone_drive_it() {
    let bench = Bench::start_with_webhooks("");
    let (issue, _) = bench.github.open_issue(AUTHOR, &submission().replace("license: apache-2.0", "licence: apache-2.0"), &["submission"]);
    bench.wait_for(issue, JobState::Rejected);
    assert!(bench.read().contains("there is no field `licence`"));
    bench.github.edit_issue(issue, &submission());
    bench.wait_for(issue, JobState::Validated);
    bench.github.comment(issue, STRANGER, "/slm-bench approve");
    assert!(bench.read().contains("is for people with write access"));
    let (question, _) = bench.github.open_issue(STRANGER, "Which models may be submitted?", &[]);
    bench.github.comment(question, PROGRAM, "/slm-bench evaluate");
    bench.github.set_open(issue, false);
    bench.wait_for(issue, JobState::Cancelled);
    bench.github.wait_for_webhooks();
    bench.wait("every delivery is handled", |bench| bench.store().pending_deliveries().unwrap().is_empty());
    assert!(bench.job(question).is_none());
    let told: Vec<Value> =
        bench.github.deliveries().iter().map(|delivery| serde_json::from_str::<Value>(&delivery.body).unwrap()).collect();
    let own = told.iter().filter(|payload| payload["sender"]["login"] == BOT).count();
    assert!(own >= 6, "comments, edits and labels of the bot are told as well, not {own} of them");
    assert_eq!(bench.github.said(issue).len(), 2);
    bench.finish();
}

/// Nobody but someone with write access approves: not the author, not a stranger, not another program, not by quoting, not by editing an
/// older comment.
#[test]
fn only_write_access_approves() {
    let bench = Bench::start("");
    let issue = bench.open(&submission());
    bench.wait_for(issue, JobState::Validated);
    bench.read();
    for user in [STRANGER, AUTHOR] {
        bench.say(issue, user, "/slm-bench approve");
        let said = bench.read();
        assert!(said.contains("is for people with write access"), "{said}");
    }
    bench.say(issue, PROGRAM, "/slm-bench approve");
    bench.say(issue, MAINTAINER, "> /slm-bench approve\n\nI would not. `/slm-bench approve`");
    let comment = bench.say(issue, MAINTAINER, "Let me think.");
    let edited = bench.github.edit_comment(&comment, "/slm-bench approve");
    assert_eq!(bench.deliver("issue_comment", &edited), 202);
    bench.say(issue, STRANGER, "/slm-bench cancel");
    assert!(bench.read().contains("is for the issue's author"));
    let job = bench.job(issue).unwrap();
    assert_eq!((job.state, job.approved_hash), (JobState::Validated, None));
    bench.say(issue, AUTHOR, "/slm-bench cancel");
    assert!(bench.read().contains("Cancelled."));
    bench.finish();
}

/// An approval is for the text that was checked. The webhook of the edit is lost: the approval finds the edit by itself.
#[test]
fn an_edit_after_the_check_asks_again() {
    let bench = Bench::start_without_reconciliation("");
    let issue = bench.open(&submission());
    let before = bench.wait_for(issue, JobState::Validated);
    bench.read();
    bench.github.edit_issue(issue, &submission().replace("family: demo", "family: demonstration"));
    bench.say(issue, MAINTAINER, "/slm-bench approve");
    let said = bench.read();
    assert!(said.contains("edited after it was checked"), "{said}");
    bench.wait("the new text is checked", |bench| {
        bench.job(issue).is_some_and(|job| job.state == JobState::Validated && job.body_hash != before.body_hash)
    });
    let job = bench.job(issue).unwrap();
    assert_eq!((job.state, job.approved_hash), (JobState::Validated, None));
    bench.say(issue, MAINTAINER, "/slm-bench cancel");
    bench.read();
    bench.finish();
}

/// Every command is answered once, however often and by whichever way it arrives, and though GitHub's answers get lost.
#[test]
fn commands_are_answered_once() {
    let bench = Bench::start("");
    let issue = bench.open(&submission());
    bench.wait_for(issue, JobState::Validated);
    bench.read();
    let event = bench.github.comment(issue, AUTHOR, "/slm-bench help");
    // 200 where reconciliation was faster.
    assert!(matches!(bench.deliver_as("twice", "issue_comment", &event), 200 | 202));
    assert_eq!(bench.deliver_as("twice", "issue_comment", &event), 200);
    assert_eq!(bench.deliver_as("thrice", "issue_comment", &event), 200);
    assert!(bench.read().contains("| `/slm-bench approve` |"));

    bench.github.fault("POST", "/comments$", 1, Fault::BadGatewayAfter);
    bench.say(issue, AUTHOR, "/slm-bench aprove @everyone");
    let said = bench.read();
    assert!(said.contains("There is no such command") && said.contains("```text\naprove @everyone"), "{said}");

    // No webhook at all: found by comparing.
    bench.github.comment(issue, AUTHOR, "/slm-bench status");
    assert!(bench.read().contains("The submission is valid and waits"));
    bench.say(issue, AUTHOR, "/slm-bench cancel");
    bench.read();
    bench.finish();
}

/// A status comment is written once although GitHub's answer to it is lost, calls are limited, and the server is killed in between.
#[test]
fn one_status_comment_whatever_fails() {
    let mut bench = Bench::start("");
    bench.github.fault("POST", "/comments$", 1, Fault::BadGatewayAfter);
    bench.github.fault("POST", "/1/labels$", 1, Fault::SecondaryLimit(Some(1)));
    bench.github.fault("GET", "/issues/1$", 1, Fault::Status(502));
    let issue = bench.open(&submission());
    bench.kill();
    bench.run();
    bench.wait_for(issue, JobState::Validated);
    bench.kill();
    bench.run();
    assert_eq!(bench.github.said(issue).len(), 1);
    bench.read();
    bench.say(issue, AUTHOR, "/slm-bench cancel");
    bench.read();
    assert_eq!(bench.github.labels(issue).first().map(String::as_str), Some("submission"));
    bench.finish();
}

/// Webhooks that were lost while the server was down are found at its start.
#[test]
fn lost_webhooks_are_found() {
    let mut bench = Bench::start("");
    bench.wait("the first round is over", |bench| bench.store().recall("reconciled").unwrap().is_some());
    bench.stop();
    let (issue, _) = bench.github.open_issue(AUTHOR, &submission(), &["submission"]);
    let (other, _) = bench.github.open_issue(STRANGER, "The website is slow.", &[]);
    bench.github.comment(issue, AUTHOR, "/slm-bench cancel");
    bench.run();
    bench.wait_for(issue, JobState::Cancelled);
    assert!(bench.job(other).is_none());
    let mut said = [bench.read(), bench.read()];
    said.sort();
    assert!(said[0].contains("slm-bench:reply") && said[1].contains("### Cancelled"), "{said:?}");
    bench.finish();
}

/// Hostile texts are answered with findings, fast, and nothing of them takes effect.
#[test]
fn hostile_submissions() {
    let bench = Bench::start("evaluate = \"at-once\"");
    let bomb =
        "```yaml\nmodel:\n  a: &a [x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n  c: [*b,*b,*b,*b,*b,*b,*b,*b]\n```\n".to_owned();
    let texts = [
        submission().replace(super::MODEL, "../../etc/passwd"),
        submission().replace("name: demo-1m", "name: \"<script>alert(1)</script> @maintainer ![x](http://evil.example)\""),
        submission().replace("family: demo", "family: \"```\\n@everyone\""),
        bomb,
        "a".repeat(65_536),
        format!("```yaml\n{}\n```\n", "[".repeat(60_000)),
        submission().replace("license: apache-2.0", "license: apache-2.0\n  license: mit"),
        submission().replace("name: BF16", "name: \"../../BF16; rm -rf /\""),
        format!("{}{}", submission(), submission().replace(super::MODEL, "somebody/else")),
    ];
    for text in &texts {
        let issue = bench.open(text);
        bench.wait_for(issue, JobState::Rejected);
        let said = bench.read();
        assert!(said.chars().count() <= 65_536);
        let outside = outside_of_code(&said);
        for wrong in ["<script", "@maintainer", "@everyone", "![x]"] {
            assert!(!outside.contains(wrong), "{wrong} takes effect in {said}");
        }
    }
    assert_eq!(bench.commits().len(), 0);
    bench.finish();
}

/// Labels change only when they differ, and the status comment is only edited when it says something else.
#[test]
fn nothing_is_written_twice() {
    let bench = Bench::start("");
    let issue = bench.open(&submission());
    bench.wait_for(issue, JobState::Validated);
    bench.read();
    let before = bench.store().recall("reconciled").unwrap();
    bench.wait("reconciliation has gone round twice", |bench| bench.store().recall("reconciled").unwrap() != before);
    assert_eq!(bench.github.label_changes(issue), ["+validated"]);
    assert_eq!(bench.github.edits(), 0);
    bench.say(issue, AUTHOR, "/slm-bench cancel");
    bench.read();
    bench.finish();
}

/// The whole way: opened, approved, evaluated by the engine, one commit, results on the issue; a second issue about the same model is
/// answered with the results that there are.
#[cfg(feature = "engine")]
#[test]
fn the_whole_way() {
    let bench = Bench::start("");
    let issue = bench.open(&submission());
    bench.wait_for(issue, JobState::Validated);
    bench.read();
    bench.say(issue, MAINTAINER, "/slm-bench approve");
    assert!(bench.read().contains("Approved and queued."));
    let job = bench.wait_for(issue, JobState::Reported);
    assert_eq!(bench.github.labels(issue), ["evaluated", "submission", "validated"]);
    let said = bench.github.said(issue);
    assert!(said[0].contains("| **aggregate** |") && said[0].contains("demo-1m · BF16"), "{}", said[0]);

    let commits = bench.commits();
    assert_eq!(commits.len(), 1);
    let (message, paths) = &commits[0];
    assert_eq!(*message, format!("Add results of slm-benchmark--demo-1m\n\nRun-Id: {}\nIssue: #{issue}\n", job.run_ids[0]));
    for path in ["models/registry.json", "models/submissions/slm-benchmark--demo-1m.yml", "website/assets/data/leaderboard.json"] {
        assert!(paths.iter().any(|one| one == path), "{path} is missing in {paths:?}");
    }
    let again = bench.open(&format!("Once more.\n\n{}", submission()));
    bench.wait_for(again, JobState::Rejected);
    let said = bench.read();
    assert!(said.contains("### Evaluated already") && said.contains("results/raw/slm-benchmark--demo-1m"), "{said}");
    assert!(said.contains(&format!("`{}` |", job.run_ids[0])), "the scores stand in the answer: {said}");
    assert_eq!(bench.commits().len(), 1);
    bench.finish();
}

/// The server is killed while the model is evaluated, and asked to stop while it is evaluated again: still one commit and one result.
#[cfg(feature = "engine")]
#[test]
fn killed_while_evaluating() {
    let mut bench = Bench::start("evaluate = \"at-once\"");
    let issue = bench.open(&submission());
    let evaluating = |bench: &Bench| bench.job(issue).is_some_and(|job| job.state == JobState::Evaluating);
    bench.wait("the evaluation begins", evaluating);
    bench.kill();
    bench.run();
    bench.wait("the evaluation goes on", |bench| {
        bench.job(issue).is_some_and(|job| job.state >= JobState::Evaluating && job.lease.is_some())
    });
    bench.stop();
    bench.run();
    bench.wait_for(issue, JobState::Reported);
    assert_eq!(bench.commits().len(), 1);
    assert_eq!(bench.github.said(issue).len(), 1);
    bench.read();
    bench.finish();
}

/// The text of a comment without its code blocks, HTML included.
fn outside_of_code(comment: &str) -> String {
    use pulldown_cmark::{Event, Parser, Tag, TagEnd};
    let (mut text, mut inside) = (String::new(), false);
    for event in Parser::new(comment) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => inside = true,
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(words) | Event::Html(words) | Event::InlineHtml(words) if !inside => text.push_str(&words),
            Event::Start(Tag::Image { dest_url, .. }) if !inside => text.extend(["![x](", &dest_url]),
            _ => {}
        }
    }
    text
}
