//! What GitHub says, with every field that its published description requires.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{APP_ID, APP_SLUG, Artifact, Asset, Comment, INSTALLATION_ID, Issue, REPOSITORY, Release, Run, State, WORKFLOW};

pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An object whose named fields are addresses below `base`.
fn addresses(base: &str, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), json!(format!("{base}/{name}")))).collect()
}

fn with(mut addresses: Map<String, Value>, more: Value) -> Value {
    let Value::Object(more) = more else { unreachable!("it is an object") };
    addresses.extend(more);
    Value::Object(addresses)
}

impl State {
    fn repository_url(&self) -> String {
        format!("{}/repos/{REPOSITORY}", self.address)
    }
}

pub(super) fn user(state: &State, id: u64) -> Value {
    let account = &state.accounts[&id];
    let base = format!("{}/users/{}", state.address, account.login.replace(['[', ']'], "-"));
    let names = [
        "avatar_url",
        "events_url",
        "followers_url",
        "following_url",
        "gists_url",
        "organizations_url",
        "received_events_url",
        "repos_url",
        "starred_url",
        "subscriptions_url",
    ];
    let more = json!({
        "login": account.login, "id": id, "node_id": format!("U_{id}"), "gravatar_id": "", "url": base, "html_url": base,
        "type": account.kind, "site_admin": false,
    });
    with(addresses(&base, &names), more)
}

/// As `/users/…` answers: with the profile.
pub(super) fn profile(state: &State, id: u64) -> Value {
    let mut profile = user(state, id);
    for name in ["bio", "blog", "company", "email", "hireable", "location", "name"] {
        profile[name] = Value::Null;
    }
    for name in ["followers", "following", "public_gists", "public_repos"] {
        profile[name] = json!(0);
    }
    profile["created_at"] = json!("2024-01-01T00:00:00Z");
    profile["updated_at"] = json!("2024-01-01T00:00:00Z");
    profile["user_view_type"] = json!("public");
    profile
}

pub(super) fn label(state: &State, name: &str) -> Value {
    let known = state.labels.iter().find(|label| label.0.eq_ignore_ascii_case(name));
    let (color, description) = known.map_or(("ededed", ""), |label| (label.1.as_str(), label.2.as_str()));
    let url = format!("{}/labels/{}", state.repository_url(), name.replace(' ', "%20"));
    json!({"id": 1, "node_id": "LA_1", "url": url, "name": name, "color": color, "default": false, "description": description})
}

pub(super) fn issue(state: &State, issue: &Issue) -> Value {
    let base = format!("{}/issues/{}", state.repository_url(), issue.number);
    let comments = state.comments.values().filter(|comment| comment.issue == issue.number).count();
    let labels: Vec<Value> = issue.labels.iter().map(|name| label(state, name)).collect();
    let more = json!({
        "url": base, "repository_url": state.repository_url(), "labels_url": format!("{base}/labels{{/name}}"),
        "comments_url": format!("{base}/comments"), "events_url": format!("{base}/events"),
        "html_url": format!("https://github.com/{REPOSITORY}/issues/{}", issue.number), "id": issue.id,
        "node_id": format!("I_{}", issue.id), "number": issue.number, "title": issue.title, "user": user(state, issue.author),
        "labels": labels, "state": if issue.open { "open" } else { "closed" }, "locked": false, "assignee": null, "assignees": [],
        "milestone": null, "comments": comments, "created_at": time(issue.created), "updated_at": time(issue.updated),
        "closed_at": if issue.open { Value::Null } else { json!(time(issue.updated)) }, "author_association": "NONE",
        "active_lock_reason": null, "body": if issue.body.is_empty() { Value::Null } else { json!(issue.body) },
        "reactions": reactions(&base), "timeline_url": format!("{base}/timeline"), "performed_via_github_app": null, "state_reason": null,
    });
    more
}

fn reactions(base: &str) -> Value {
    json!({
        "url": format!("{base}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0, "heart": 0,
        "rocket": 0, "eyes": 0,
    })
}

pub(super) fn comment(state: &State, comment: &Comment) -> Value {
    let base = format!("{}/issues/comments/{}", state.repository_url(), comment.id);
    json!({
        "url": base, "html_url": format!("https://github.com/{REPOSITORY}/issues/{}#issuecomment-{}", comment.issue, comment.id),
        "issue_url": format!("{}/issues/{}", state.repository_url(), comment.issue), "id": comment.id,
        "node_id": format!("IC_{}", comment.id), "user": user(state, comment.author), "created_at": time(comment.created),
        "updated_at": time(comment.updated), "author_association": "NONE", "body": comment.body, "reactions": reactions(&base),
        "performed_via_github_app": null,
    })
}

/// As events and runs name it.
fn short_repository(state: &State) -> Value {
    let names = [
        "archive_url",
        "assignees_url",
        "blobs_url",
        "branches_url",
        "collaborators_url",
        "comments_url",
        "commits_url",
        "compare_url",
        "contents_url",
        "contributors_url",
        "deployments_url",
        "downloads_url",
        "events_url",
        "forks_url",
        "git_commits_url",
        "git_refs_url",
        "git_tags_url",
        "hooks_url",
        "issue_comment_url",
        "issue_events_url",
        "issues_url",
        "keys_url",
        "labels_url",
        "languages_url",
        "merges_url",
        "milestones_url",
        "notifications_url",
        "pulls_url",
        "releases_url",
        "stargazers_url",
        "statuses_url",
        "subscribers_url",
        "subscription_url",
        "tags_url",
        "teams_url",
        "trees_url",
    ];
    let base = state.repository_url();
    let name = REPOSITORY.split_once('/').unwrap().1;
    let more = json!({
        "id": 900, "node_id": "R_900", "name": name, "full_name": REPOSITORY, "private": false,
        "owner": user(state, state.account("maintainer")), "html_url": format!("https://github.com/{REPOSITORY}"), "description": null,
        "fork": false, "url": base,
    });
    with(addresses(&base, &names), more)
}

pub(super) fn repository(state: &State, viewer: u64) -> Value {
    let mut repository = short_repository(state);
    let page = format!("https://github.com/{REPOSITORY}");
    for name in ["clone_url", "git_url", "ssh_url", "svn_url"] {
        repository[name] = json!(page);
    }
    for name in ["mirror_url", "homepage", "language", "license"] {
        repository[name] = Value::Null;
    }
    for name in [
        "forks",
        "forks_count",
        "open_issues",
        "open_issues_count",
        "stargazers_count",
        "watchers",
        "watchers_count",
        "network_count",
        "subscribers_count",
        "size",
    ] {
        repository[name] = json!(0);
    }
    for name in ["has_issues", "has_projects", "has_wiki", "has_pages", "has_discussions"] {
        repository[name] = json!(true);
    }
    repository["archived"] = json!(false);
    repository["disabled"] = json!(false);
    repository["default_branch"] = json!("main");
    for name in ["pushed_at", "created_at", "updated_at"] {
        repository[name] = json!("2024-01-01T00:00:00Z");
    }
    let role = state.accounts[&viewer].role.as_str();
    let at_least = |roles: &[&str]| json!(roles.contains(&role));
    repository["permissions"] = json!({
        "admin": at_least(&["admin"]), "maintain": at_least(&["admin", "maintain"]), "push": at_least(&["admin", "maintain", "write"]),
        "triage": at_least(&["admin", "maintain", "write", "triage"]), "pull": true,
    });
    repository
}

pub(super) fn permission(state: &State, id: u64) -> Value {
    let role = state.accounts[&id].role.clone();
    let permission = match role.as_str() {
        "maintain" => "write",
        "triage" => "read",
        other => other,
    };
    let mut user = user(state, id);
    user["permissions"] = json!({"pull": true, "triage": false, "push": permission == "write" || permission == "admin", "maintain": false, "admin": permission == "admin"});
    user["role_name"] = json!(role);
    json!({"permission": permission, "role_name": role, "user": user})
}

/// Without the fields that only answers have.
fn without(mut object: Value, names: &[&str]) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
    object
}

/// As webhooks tell it.
fn event_repository(state: &State, sender: u64) -> Value {
    without(repository(state, sender), &["network_count", "subscribers_count", "has_discussions", "permissions"])
}

/// As webhooks tell it.
fn event_issue(state: &State, number: u64) -> Value {
    without(issue(state, &state.issues[&number]), &["timeline_url", "state_reason"])
}

pub(super) fn issue_event(state: &State, action: &str, number: u64, sender: u64, more: Value) -> Value {
    let payload = json!({
        "action": action, "issue": event_issue(state, number), "repository": event_repository(state, sender),
        "sender": user(state, sender),
    });
    let Value::Object(payload) = payload else { unreachable!("it is an object") };
    with(payload, more)
}

pub(super) fn comment_event(state: &State, action: &str, of: &Comment, sender: u64) -> Value {
    json!({
        "action": action, "issue": event_issue(state, of.issue), "comment": comment(state, of),
        "repository": event_repository(state, sender), "sender": user(state, sender),
    })
}

pub(super) fn run(state: &State, run: &Run) -> Value {
    let base = format!("{}/actions/runs/{}", state.repository_url(), run.id);
    let title = run.inputs.get("evaluation").map_or_else(|| "Evaluate".to_owned(), |evaluation| format!("Evaluate {evaluation}"));
    let names = ["jobs_url", "logs_url", "check_suite_url", "cancel_url", "rerun_url", "artifacts_url"];
    let actor = user(state, state.account(super::BOT));
    let sha = "0123456789012345678901234567890123456789";
    let person = json!({"name": "Octo Cat", "email": "octocat@example.org"});
    let more = json!({
        "id": run.id, "name": "Evaluate", "node_id": format!("WFR_{}", run.id), "head_branch": run.reference, "head_sha": sha,
        "path": format!(".github/workflows/{WORKFLOW}"), "display_title": title, "run_number": 1, "run_attempt": run.attempt,
        "event": "workflow_dispatch", "status": run.status, "conclusion": run.conclusion, "workflow_id": 55, "url": base,
        "html_url": format!("https://github.com/{REPOSITORY}/actions/runs/{}", run.id), "pull_requests": [],
        "created_at": time(run.created), "updated_at": time(run.created), "run_started_at": time(run.created),
        "workflow_url": format!("{}/actions/workflows/55", state.repository_url()), "actor": actor, "triggering_actor": actor,
        "check_suite_id": 1, "check_suite_node_id": "CS_1", "previous_attempt_url": null,
        "head_commit": {"id": sha, "tree_id": sha, "message": "Start", "timestamp": time(run.created), "author": person, "committer": person},
        "repository": short_repository(state), "head_repository": short_repository(state),
    });
    with(addresses(&base, &names), more)
}

pub(super) fn run_event(state: &State, of: &Run, action: &str) -> Value {
    let sender = state.account(super::BOT);
    let workflow = json!({
        "id": 55, "node_id": "W_55", "name": "Evaluate", "path": format!(".github/workflows/{WORKFLOW}"), "state": "active",
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z", "url": format!("{}/actions/workflows/55", state.repository_url()),
        "html_url": format!("https://github.com/{REPOSITORY}/blob/main/.github/workflows/{WORKFLOW}"), "badge_url": "https://github.com/badge.svg",
    });
    json!({
        "action": action, "workflow_run": run(state, of), "workflow": workflow, "repository": event_repository(state, sender),
        "sender": user(state, sender),
    })
}

pub(super) fn job(state: &State, run: &Run, (id, name, status): &(u64, String, String)) -> Value {
    let base = format!("{}/actions/jobs/{id}", state.repository_url());
    json!({
        "id": id, "run_id": run.id, "run_url": format!("{}/actions/runs/{}", state.repository_url(), run.id), "run_attempt": 1,
        "node_id": format!("J_{id}"), "head_sha": "0123456789012345678901234567890123456789", "url": base,
        "html_url": format!("https://github.com/{REPOSITORY}/actions/runs/{}/job/{id}", run.id), "status": status,
        "conclusion": if status == "completed" { json!(run.conclusion) } else { Value::Null }, "created_at": time(run.created),
        "started_at": time(run.created), "completed_at": if status == "completed" { json!(time(run.created)) } else { Value::Null },
        "name": name, "steps": [], "check_run_url": format!("{}/check-runs/{id}", state.repository_url()), "labels": ["self-hosted"],
        "runner_id": 1, "runner_name": "runner-1", "runner_group_id": 1, "runner_group_name": "Default", "workflow_name": "Evaluate",
        "head_branch": run.reference,
    })
}

pub(super) fn artifact(state: &State, artifact: &Artifact) -> Value {
    let base = format!("{}/actions/artifacts/{}", state.repository_url(), artifact.id);
    json!({
        "id": artifact.id, "node_id": format!("A_{}", artifact.id), "name": artifact.name, "size_in_bytes": artifact.archive.len(),
        "url": base, "archive_download_url": format!("{base}/zip"), "expired": artifact.expired, "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z", "expires_at": "2024-04-01T00:00:00Z", "digest": digest(&artifact.archive),
    })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(super) fn release(state: &State, release: &Release) -> Value {
    let base = format!("{}/releases/{}", state.repository_url(), release.id);
    json!({
        "url": base, "html_url": format!("https://github.com/{REPOSITORY}/releases/tag/{}", release.tag), "assets_url": format!("{base}/assets"),
        "upload_url": format!("{base}/assets{{?name,label}}"), "tarball_url": null, "zipball_url": null, "id": release.id,
        "node_id": format!("RE_{}", release.id), "tag_name": release.tag, "target_commitish": "main", "name": release.name,
        "body": release.body, "draft": false, "prerelease": false, "created_at": "2024-01-01T00:00:00Z",
        "published_at": "2024-01-01T00:00:00Z", "author": user(state, state.account(super::BOT)),
        "assets": release.assets.iter().map(|asset| self::asset(state, release, asset)).collect::<Vec<_>>(),
    })
}

pub(super) fn asset(state: &State, release: &Release, asset: &Asset) -> Value {
    json!({
        "url": format!("{}/releases/assets/{}", state.repository_url(), asset.id),
        "browser_download_url": format!("https://github.com/{REPOSITORY}/releases/download/{}/{}", release.tag, asset.name),
        "id": asset.id, "node_id": format!("RA_{}", asset.id), "name": asset.name, "label": null,
        "state": if asset.whole { "uploaded" } else { "open" }, "content_type": "application/octet-stream", "size": asset.content.len(),
        "digest": if asset.whole { json!(digest(&asset.content)) } else { Value::Null }, "download_count": 0,
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z", "uploader": user(state, state.account(super::BOT)),
    })
}

fn app_permissions() -> Value {
    json!({"issues": "write", "contents": "write", "actions": "write", "metadata": "read"})
}

pub(super) fn app(state: &State) -> Value {
    json!({
        "id": APP_ID, "slug": APP_SLUG, "node_id": "A_1", "owner": user(state, state.account("maintainer")), "name": "SLM Bench",
        "description": null, "external_url": "https://example.org", "html_url": format!("https://github.com/apps/{APP_SLUG}"),
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z", "permissions": app_permissions(), "events": ["issues"],
    })
}

pub(super) fn installation(state: &State) -> Value {
    let url = format!("{}/app/installations/{INSTALLATION_ID}", state.address);
    json!({
        "id": INSTALLATION_ID, "app_id": APP_ID, "app_slug": APP_SLUG, "target_id": 1, "target_type": "Organization", "single_file_name": null,
        "repository_selection": "selected", "access_tokens_url": format!("{url}/access_tokens"), "html_url": url,
        "repositories_url": format!("{}/installation/repositories", state.address), "events": ["issues"],
        "account": user(state, state.account("maintainer")), "permissions": app_permissions(), "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z", "suspended_by": null, "suspended_at": null,
    })
}
