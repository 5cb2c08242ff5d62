//! What we ask of GitHub's API for one repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::transport::{Call, Repeat, Statistics, Transport};
use super::{
    Artifact, Auth, Comment, Error, Identity, Issue, IssueState, Job, Label, Permission, Reaction, Release, ReleaseAsset, RepositoryName,
    Secret, Settings, User, WorkflowRun, archive, transfer,
};

/// Longest comment that GitHub takes, in characters.
pub const LONGEST_COMMENT: usize = 65_536;
/// Entries on a page of a listing, the most that GitHub gives.
const PAGE: usize = 100;
/// A listing of more pages is given up: something is wrong, or somebody floods the repository.
const MOST_PAGES: usize = 100;
/// The account by which workflow runs speak.
const ACTIONS_ACCOUNT: &str = "github-actions[bot]";

/// Which issues to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueQuery {
    /// With this label.
    pub label: Option<String>,
    /// In this state; `None` for all.
    pub state: Option<IssueState>,
    /// Changed at this time or later, comments included.
    pub since: Option<DateTime<Utc>>,
}

/// GitHub's API for one repository. Cheap to clone; clones share tokens, limits and counts.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("settings", &self.transport.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a client; nothing is sent yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// For an address, token or key that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self { transport: Arc::new(Transport::new(settings)?) })
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &RepositoryName {
        &self.transport.settings.repository
    }

    /// Counts since the start, for metrics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.transport.statistics()
    }

    /// A token that stays valid for at least this time (at most an hour for an App), for git pushes and child processes.
    ///
    /// # Errors
    /// When the App cannot get one.
    pub async fn token(&self, at_least: Duration) -> Result<Secret, Error> {
        self.transport.valid_token(at_least).await
    }

    /// An issue with its present text and labels.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached; [`Error::is_not_found`] for an issue that does not exist.
    pub async fn issue(&self, number: u64) -> Result<Issue, Error> {
        self.get(&format!("/issues/{number}"), format!("reading issue #{number}")).await
    }

    /// Issues, oldest first, without pull requests.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn issues(&self, query: &IssueQuery) -> Result<Vec<Issue>, Error> {
        let mut parameters = vec![("sort", "created".to_owned()), ("direction", "asc".to_owned())];
        parameters.push((
            "state",
            match query.state {
                None => "all".to_owned(),
                Some(IssueState::Open) => "open".to_owned(),
                Some(IssueState::Closed) => "closed".to_owned(),
            },
        ));
        parameters.extend(query.label.iter().map(|label| ("labels", label.clone())));
        parameters.extend(query.since.iter().map(|since| ("since", time(*since))));
        let mut issues: Vec<Issue> = self.pages("/issues", &parameters, "listing issues", list).await?;
        issues.retain(|issue| !issue.is_pull_request);
        Ok(issues)
    }

    /// Comments on an issue, oldest first; with `since` those written or changed at this time or later.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn comments(&self, issue: u64, since: Option<DateTime<Utc>>) -> Result<Vec<Comment>, Error> {
        let parameters: Vec<_> = since.iter().map(|since| ("since", time(*since))).collect();
        let what = format!("listing the comments on issue #{issue}");
        self.pages(&format!("/issues/{issue}/comments"), &parameters, &what, list).await
    }

    /// Comments on all issues, written or changed at this time or later, oldest change first.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn comments_since(&self, since: DateTime<Utc>) -> Result<Vec<Comment>, Error> {
        let parameters = [("sort", "updated".to_owned()), ("direction", "asc".to_owned()), ("since", time(since))];
        self.pages("/issues/comments", &parameters, "listing new comments", list).await
    }

    /// A comment.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached; [`Error::is_not_found`] when it was deleted.
    pub async fn comment(&self, id: u64) -> Result<Comment, Error> {
        self.get(&format!("/issues/comments/{id}"), format!("reading comment {id}")).await
    }

    /// Writes a comment. It is not repeated when GitHub may have written it: then [`Error::may_have_happened`] holds, and the caller looks
    /// for it by its marker. A text over [`LONGEST_COMMENT`] is cut.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn create_comment(&self, issue: u64, text: &str) -> Result<Comment, Error> {
        let what = format!("commenting on issue #{issue}");
        let path = self.path(&format!("/issues/{issue}/comments"));
        self.send(Method::POST, path, json!({"body": capped(text)}), Repeat::OnlyUndone, what).await
    }

    /// Replaces the text of a comment. A text over [`LONGEST_COMMENT`] is cut.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached; [`Error::is_not_found`] when the comment was deleted.
    pub async fn update_comment(&self, id: u64, text: &str) -> Result<Comment, Error> {
        let path = self.path(&format!("/issues/comments/{id}"));
        self.send(Method::PATCH, path, json!({"body": capped(text)}), Repeat::Freely, format!("changing comment {id}")).await
    }

    /// Deletes a comment; one that is gone already counts as deleted.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn delete_comment(&self, id: u64) -> Result<(), Error> {
        let call = Call::send(
            Method::DELETE,
            self.path(&format!("/issues/comments/{id}")),
            None,
            Repeat::Freely,
            format!("deleting comment {id}"),
        );
        gone_is_done(self.transport.call(&call).await.map(drop))
    }

    /// Closes an issue or opens it again.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn set_issue_state(&self, number: u64, state: IssueState) -> Result<(), Error> {
        let state = match state {
            IssueState::Open => "open",
            IssueState::Closed => "closed",
        };
        let path = self.path(&format!("/issues/{number}"));
        let _: Issue = self
            .send(Method::PATCH, path, json!({"state": state}), Repeat::Freely, format!("setting the state of issue #{number}"))
            .await?;
        Ok(())
    }

    /// Makes the labels that the repository lacks; those that it has are left as they are. Names are compared without regard to case.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn ensure_labels(&self, labels: &[Label]) -> Result<(), Error> {
        let present: Vec<Label> = self.pages("/labels", &[], "listing the repository's labels", list).await?;
        for label in labels.iter().filter(|label| !present.iter().any(|present| present.name.eq_ignore_ascii_case(&label.name))) {
            let body = json!({"name": label.name, "color": label.color, "description": label.description});
            let made: Result<Label, Error> =
                self.send(Method::POST, self.path("/labels"), body, Repeat::Freely, format!("making the label {:?}", label.name)).await;
            match made {
                // Somebody else, or our own try whose answer was lost, made it meanwhile.
                Err(error) if error.status() == Some(422) && error.to_string().contains("already_exists") => {}
                made => drop(made?),
            }
        }
        Ok(())
    }

    /// Adds and removes labels of an issue, asking only for what differs from its present ones; tells whether anything did.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn change_labels(&self, issue: u64, add: &[&str], remove: &[&str]) -> Result<bool, Error> {
        let present: Vec<Label> =
            self.pages(&format!("/issues/{issue}/labels"), &[], &format!("listing the labels of issue #{issue}"), list).await?;
        let has = |name: &str| present.iter().any(|label| label.name.eq_ignore_ascii_case(name));
        let missing: Vec<&str> = add.iter().copied().filter(|name| !has(name)).collect();
        let superfluous: Vec<&str> = remove.iter().copied().filter(|name| has(name)).collect();
        if !missing.is_empty() {
            let path = self.path(&format!("/issues/{issue}/labels"));
            let what = format!("labelling issue #{issue}");
            let _: Vec<Label> = self.send(Method::POST, path, json!({"labels": missing}), Repeat::Freely, what).await?;
        }
        for name in &superfluous {
            let path = self.path(&format!("/issues/{issue}/labels/{}", escaped(name)));
            let call = Call::send(Method::DELETE, path, None, Repeat::Freely, format!("removing the label {name:?} from issue #{issue}"));
            gone_is_done(self.transport.call(&call).await.map(drop))?;
        }
        Ok(!missing.is_empty() || !superfluous.is_empty())
    }

    /// What an account may do in the repository, by its numeric id: an account that took over another one's name has none of its rights.
    /// Where GitHub cannot say, the answer is an error, never a permission.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached, or answers about another account.
    pub async fn permission(&self, user: &User) -> Result<Permission, Error> {
        #[derive(Deserialize)]
        struct Granted {
            permission: String,
            #[serde(default)]
            role_name: Option<String>,
            user: Option<User>,
        }
        let what = format!("asking for the permission of the account {}", user.id);
        let mut login = user.login.clone();
        // The name in an event may be out of date: then GitHub tells the present one, and once more is enough.
        for is_first in [true, false] {
            let granted: Result<Granted, Error> = self.get(&format!("/collaborators/{}/permission", escaped(&login)), what.clone()).await;
            match granted {
                Ok(granted) if granted.user.as_ref().is_some_and(|answered| answered.id == user.id) => {
                    return Ok(level(&granted.permission, granted.role_name.as_deref()));
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            if is_first {
                let current: Result<User, Error> = self.ask(Call::get(format!("/user/{}", user.id), what.clone())).await;
                match current {
                    Ok(current) if current.id == user.id && current.login != login => login = current.login,
                    Ok(current) if current.id == user.id => return Ok(Permission::None),
                    Ok(_) => return Err(Error::permanent(what, "GitHub answers about another account")),
                    Err(error) if error.is_not_found() => return Ok(Permission::None),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Permission::None)
    }

    /// Reacts to a comment; reacting twice changes nothing.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn react_to_comment(&self, comment: u64, reaction: Reaction) -> Result<(), Error> {
        self.react(&format!("/issues/comments/{comment}/reactions"), reaction).await
    }

    /// Reacts to an issue; reacting twice changes nothing.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn react_to_issue(&self, issue: u64, reaction: Reaction) -> Result<(), Error> {
        self.react(&format!("/issues/{issue}/reactions"), reaction).await
    }

    async fn react(&self, path: &str, reaction: Reaction) -> Result<(), Error> {
        let body = json!({"content": reaction.content()});
        let _: Value = self.send(Method::POST, self.path(path), body, Repeat::Freely, "reacting".to_owned()).await?;
        Ok(())
    }

    /// Starts a workflow (`submission.yml`) on a branch or tag with these inputs; gives the run's id where GitHub tells it.
    /// It is not repeated when GitHub may have started it: then [`Error::may_have_happened`] holds, and the caller looks for the run by
    /// its title among [`Self::workflow_runs`].
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn dispatch(&self, workflow: &str, reference: &str, inputs: &BTreeMap<String, String>) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        struct Started {
            workflow_run_id: u64,
        }
        let what = format!("starting the workflow {workflow}");
        let body = json!({"ref": reference, "inputs": inputs, "return_run_details": true});
        let path = self.path(&format!("/actions/workflows/{}/dispatches", escaped(workflow)));
        let answer = self.transport.call(&Call::send(Method::POST, path, Some(body), Repeat::OnlyUndone, &*what)).await?;
        // Servers that do not know `return_run_details` answer without content.
        if answer.body.is_empty() {
            return Ok(None);
        }
        answer.parse::<Started>(&what).map(|started| Some(started.workflow_run_id))
    }

    /// Dispatched runs of a workflow that were created at this time or later, newest first.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn workflow_runs(&self, workflow: &str, created_since: DateTime<Utc>) -> Result<Vec<WorkflowRun>, Error> {
        #[derive(Deserialize)]
        struct Page {
            workflow_runs: Vec<WorkflowRun>,
        }
        let path = format!("/actions/workflows/{}/runs", escaped(workflow));
        let what = format!("listing the runs of the workflow {workflow}");
        // The listing can be limited to a time, but its description and its documentation disagree on the form of it.
        let is_old = |run: &WorkflowRun| run.created_at < created_since;
        let entries = |page: Page| page.workflow_runs;
        let parameters = [("event", "workflow_dispatch".to_owned())];
        let mut runs = self.pages_until(&path, &parameters, &what, entries, |runs| runs.last().is_some_and(is_old)).await?;
        runs.retain(|run| !is_old(run));
        Ok(runs)
    }

    /// A run of a workflow.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached; [`Error::is_not_found`] for one that does not exist.
    pub async fn workflow_run(&self, run: u64) -> Result<WorkflowRun, Error> {
        self.get(&format!("/actions/runs/{run}"), format!("reading the workflow run {run}")).await
    }

    /// The jobs of a run's newest attempt.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn jobs(&self, run: u64) -> Result<Vec<Job>, Error> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<Job>,
        }
        let what = format!("listing the jobs of the workflow run {run}");
        self.pages(&format!("/actions/runs/{run}/jobs"), &[("filter", "latest".to_owned())], &what, |page: Page| page.jobs).await
    }

    /// The artifacts of a run.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn artifacts(&self, run: u64) -> Result<Vec<Artifact>, Error> {
        #[derive(Deserialize)]
        struct Page {
            artifacts: Vec<Artifact>,
        }
        let what = format!("listing the artifacts of the workflow run {run}");
        self.pages(&format!("/actions/runs/{run}/artifacts"), &[], &what, |page: Page| page.artifacts).await
    }

    /// Runs the failed and cancelled jobs of a run that is over once more, as its next attempt; what the others left is kept. Where a new
    /// attempt is under way already, nothing happens.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn rerun_failed_jobs(&self, run: u64) -> Result<(), Error> {
        let path = self.path(&format!("/actions/runs/{run}/rerun-failed-jobs"));
        let call = Call::send(Method::POST, path, None, Repeat::Freely, format!("running the failed jobs of the workflow run {run} again"));
        match self.transport.call(&call).await {
            Err(error) if matches!(error.status(), Some(403 | 409)) && error.to_string().contains("already running") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Stops a run; one that is over already counts as stopped.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn cancel_run(&self, run: u64) -> Result<(), Error> {
        let path = self.path(&format!("/actions/runs/{run}/cancel"));
        let call = Call::send(Method::POST, path, None, Repeat::Freely, format!("cancelling the workflow run {run}"));
        match self.transport.call(&call).await {
            Err(error) if error.status() == Some(409) => Ok(()),
            answer => gone_is_done(answer.map(drop)),
        }
    }

    /// Downloads an artifact and unpacks it into a folder, which is made. Nothing is written outside of it: entries with absolute paths,
    /// `..` or links are refused, as are archives over `limit` bytes, packed or unpacked. The folder appears whole or not at all.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached, the archive is damaged or hostile, or the disk fails.
    pub async fn download_artifact(&self, artifact: &Artifact, folder: &Path, limit: u64) -> Result<(), Error> {
        let what = format!("downloading the artifact {:?}", artifact.name);
        if artifact.expired {
            return Err(Error::permanent(what, "GitHub has deleted it: run the workflow again"));
        }
        let path = self.path(&format!("/actions/artifacts/{}/zip", artifact.id));
        let archive = transfer::download(&self.transport, &path, artifact.digest.as_deref(), limit, &what).await?;
        let (folder, unpacking) = (folder.to_owned(), what.clone());
        let unpacked = tokio::task::spawn_blocking(move || archive::unpack(archive.as_file(), &folder, limit, &unpacking)).await;
        unpacked.map_err(|error| Error::transient(what, error.to_string(), None))?
    }

    /// The release of a tag; made, as no "latest" one, where there is none.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn ensure_release(&self, tag: &str, name: &str, text: &str) -> Result<Release, Error> {
        let path = format!("/releases/tags/{}", escaped(tag));
        let what = format!("finding the release {tag:?}");
        match self.get(&path, what.clone()).await {
            Err(error) if error.is_not_found() => {}
            release => return release,
        }
        let body = json!({"tag_name": tag, "name": name, "body": text, "make_latest": "false"});
        let made = self.send(Method::POST, self.path("/releases"), body, Repeat::Freely, format!("making the release {tag:?}")).await;
        match made {
            // Made meanwhile, or by our own try whose answer was lost.
            Err(error) if error.status() == Some(422) && error.to_string().contains("already_exists") => self.get(&path, what).await,
            made => made,
        }
    }

    /// Puts a file at a release. A whole file of the same name and size is taken for the same file, so names must tell contents apart; the
    /// rest of an upload that broke off is replaced.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached, or the file cannot be read.
    pub async fn upload_asset(&self, release: &Release, name: &str, file: &Path) -> Result<ReleaseAsset, Error> {
        let what = format!("uploading {name:?} to the release {:?}", release.tag_name);
        let size =
            tokio::fs::metadata(file).await.map_err(|error| Error::transient(&*what, format!("{}: {error}", file.display()), None))?.len();
        let tries = self.transport.settings.retry.tries.max(1);
        let mut failed = None;
        for _ in 0..tries {
            let listing = format!("/releases/{}/assets", release.id);
            let assets: Vec<ReleaseAsset> = self.pages(&listing, &[], &what, list).await?;
            if let Some(present) = assets.into_iter().find(|asset| asset.name == name) {
                if present.state == "uploaded" && present.size == size {
                    return Ok(present);
                }
                let path = self.path(&format!("/releases/assets/{}", present.id));
                gone_is_done(self.transport.call(&Call::send(Method::DELETE, path, None, Repeat::Freely, &*what)).await.map(drop))?;
            }
            match transfer::upload(&self.transport, &release.upload_url, name, file, size, &what).await {
                Err(error) if error.is_transient() && error.retry_after().is_none() => {
                    tracing::info!("{error}; looking what arrived");
                    tokio::time::sleep(self.transport.settings.retry.first_pause).await;
                    failed = Some(error);
                }
                uploaded => return uploaded,
            }
        }
        Err(failed.unwrap_or_else(|| Error::transient(what, "no try was made", None)))
    }

    /// Who this client is and what it may do.
    ///
    /// # Errors
    /// When GitHub refuses or cannot be reached.
    pub async fn identity(&self) -> Result<Identity, Error> {
        match &self.transport.settings.auth {
            Auth::Token(_) => self.token_identity().await,
            Auth::App { installation_id, .. } => self.app_identity(*installation_id).await,
        }
    }

    async fn token_identity(&self) -> Result<Identity, Error> {
        #[derive(Deserialize)]
        struct Full {
            #[serde(default)]
            permissions: BTreeMap<String, bool>,
        }
        let call = Call::get("/user", "asking whose the token is");
        let (name, user_id, scopes) = match self.transport.call(&call).await {
            Ok(answer) => {
                let user: User = answer.parse(&call.what)?;
                let scopes = answer.header("x-oauth-scopes").map(str::to_owned);
                (user.login, user.id, scopes)
            }
            // The token of a workflow run belongs to no user.
            Err(error) if error.status() == Some(403) && !error.is_transient() => {
                (ACTIONS_ACCOUNT.to_owned(), self.user_id(ACTIONS_ACCOUNT).await?, None)
            }
            Err(error) => return Err(error),
        };
        let repository: Full = self.get("", format!("reading the repository {}", self.repository())).await?;
        let roles = ["admin", "maintain", "push", "triage", "pull"];
        let role = roles.into_iter().find(|role| repository.permissions.get(*role).copied().unwrap_or(false)).unwrap_or("none");
        let mut permissions = vec![("repository".to_owned(), role.to_owned())];
        permissions.extend(scopes.filter(|scopes| !scopes.is_empty()).map(|scopes| ("scopes".to_owned(), scopes)));
        Ok(Identity { name, user_id: Some(user_id), is_app: false, permissions })
    }

    async fn app_identity(&self, installation_id: u64) -> Result<Identity, Error> {
        #[derive(Deserialize)]
        struct App {
            slug: String,
        }
        #[derive(Deserialize)]
        struct Installation {
            permissions: BTreeMap<String, String>,
            #[serde(default)]
            suspended_at: Option<DateTime<Utc>>,
        }
        let app: App = self.ask(Call::get("/app", "asking which App the key belongs to").signed_by_app()).await?;
        let call = Call::get(format!("/app/installations/{installation_id}"), format!("reading the installation {installation_id}"))
            .signed_by_app();
        let installation: Installation = self.ask(call).await?;
        if let Some(since) = installation.suspended_at {
            return Err(Error::permanent(
                "the App's installation",
                format!("it is suspended since {since}: resume it in the settings of its owner"),
            ));
        }
        let user_id = self.user_id(&format!("{}[bot]", app.slug)).await?;
        Ok(Identity { name: app.slug, user_id: Some(user_id), is_app: true, permissions: installation.permissions.into_iter().collect() })
    }

    async fn user_id(&self, login: &str) -> Result<u64, Error> {
        let user: User = self.ask(Call::get(format!("/users/{}", escaped(login)), format!("finding the account {login}"))).await?;
        Ok(user.id)
    }

    fn path(&self, below: &str) -> String {
        format!("/repos/{}{below}", self.repository())
    }

    async fn get<T: DeserializeOwned>(&self, below: &str, what: String) -> Result<T, Error> {
        self.ask(Call::get(self.path(below), what)).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        self.transport.call(&call).await?.parse(&call.what)
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: String, body: Value, repeat: Repeat, what: String) -> Result<T, Error> {
        self.ask(Call::send(method, path, Some(body), repeat, what)).await
    }

    /// All pages of a listing; `entries` takes them out of a page.
    async fn pages<P: DeserializeOwned, T>(
        &self,
        below: &str,
        parameters: &[(&str, String)],
        what: &str,
        entries: impl Fn(P) -> Vec<T>,
    ) -> Result<Vec<T>, Error> {
        self.pages_until(below, parameters, what, entries, |_| false).await
    }

    /// The pages of a listing, until what has come is enough.
    async fn pages_until<P: DeserializeOwned, T>(
        &self,
        below: &str,
        parameters: &[(&str, String)],
        what: &str,
        entries: impl Fn(P) -> Vec<T>,
        is_enough: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<T>, Error> {
        let mut path = format!("{}?per_page={PAGE}", self.path(below));
        for (name, value) in parameters {
            path = format!("{path}&{name}={}", escaped(value));
        }
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = self.transport.call(&Call::get(path, what)).await?;
            let next = answer.next_page();
            all.extend(entries(answer.parse(what)?));
            match next {
                Some(next) if !is_enough(&all) => path = next,
                _ => return Ok(all),
            }
        }
        Err(Error::permanent(what, format!("there are more than {MOST_PAGES} pages")))
    }
}

fn list<T>(page: Vec<T>) -> Vec<T> {
    page
}

fn gone_is_done(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

/// The level that GitHub names in two ways: `role_name` tells maintain and triage apart, but may be a role of the organisation's own, for
/// which `permission` names the level that it builds on. Unknown words are no permission.
fn level(permission: &str, role: Option<&str>) -> Permission {
    let known = |name: &str| match name {
        "admin" => Some(Permission::Admin),
        "maintain" => Some(Permission::Maintain),
        "write" => Some(Permission::Write),
        "triage" => Some(Permission::Triage),
        "read" => Some(Permission::Read),
        "none" => Some(Permission::None),
        _ => None,
    };
    role.and_then(known).or_else(|| known(permission)).unwrap_or(Permission::None)
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Escapes all but the characters that never mean anything in an address.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode_upper([byte]));
        }
    }
    // A segment of dots alone would be resolved away.
    if escaped.bytes().all(|byte| byte == b'.') { escaped.replace('.', "%2E") } else { escaped }
}

/// A comment that GitHub takes: too long a text is cut, and says so.
fn capped(text: &str) -> String {
    const NOTE: &str = "\n\n(cut: GitHub takes no longer comment)";
    if text.chars().count() <= LONGEST_COMMENT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST_COMMENT - NOTE.len()).collect();
    kept + NOTE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comment is cut at GitHub's limit, by characters, and only then.
    #[test]
    fn comments_are_capped() {
        let fits = "ü".repeat(LONGEST_COMMENT);
        assert_eq!(capped(&fits), fits);
        let cut = capped(&format!("{fits}x"));
        assert_eq!(cut.chars().count(), LONGEST_COMMENT);
        assert!(cut.ends_with("no longer comment)"));
    }

    /// What comes from outside stays inside of its segment.
    #[test]
    fn segments_are_escaped() {
        assert_eq!(escaped("a/b?c#d e%ü"), "a%2Fb%3Fc%23d%20e%25%C3%BC");
        assert_eq!((escaped(".."), escaped("v1.0")), ("%2E%2E".to_owned(), "v1.0".to_owned()));
    }

    /// Maintain and triage are told apart, a role of the organisation's own falls back to what it builds on, unknown words give nothing.
    #[test]
    fn unknown_levels_are_no_permission() {
        assert_eq!(level("write", Some("maintain")), Permission::Maintain);
        assert_eq!(level("read", Some("triage")), Permission::Triage);
        assert!(!level("read", Some("triage")).can_write());
        assert_eq!(level("write", Some("release manager")), Permission::Write);
        assert_eq!(level("owner", None), Permission::None);
    }
}
