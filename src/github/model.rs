//! What GitHub answers, reduced to what we use. Unknown fields are ignored; a missing one that we rely on is an error, never a guess.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// An account, told apart by its id: names may change hands.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct User {
    /// Numeric id.
    pub id: u64,
    /// Name, for showing only.
    pub login: String,
    /// `User`, `Bot`, `Organization` and others.
    #[serde(rename = "type", default)]
    pub account_type: String,
}

impl User {
    /// Whether the account is a program's.
    #[must_use]
    pub fn is_bot(&self) -> bool {
        self.account_type == "Bot"
    }
}

/// A repository.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Repository {
    /// Numeric id.
    pub id: u64,
    /// `owner/name`.
    pub full_name: String,
}

/// Whether an issue is open.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum IssueState {
    /// Open.
    Open,
    /// Closed.
    Closed,
}

/// An issue (or a pull request, which GitHub lists among the issues).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Issue {
    /// Numeric id, unique among all repositories.
    pub id: u64,
    /// Number within its repository.
    pub number: u64,
    /// Title.
    pub title: String,
    /// Text; empty where there is none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub body: String,
    /// Author; `None` where the account is gone.
    #[serde(default)]
    pub user: Option<User>,
    /// Names of its labels.
    #[serde(default, deserialize_with = "label_names")]
    pub labels: Vec<String>,
    /// Whether it is open.
    pub state: IssueState,
    /// Whether it is a pull request.
    #[serde(rename = "pull_request", default, deserialize_with = "is_present")]
    pub is_pull_request: bool,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time of its last change, comments included.
    pub updated_at: DateTime<Utc>,
    /// Address for people.
    pub html_url: String,
}

/// A comment on an issue.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Comment {
    /// Numeric id; grows with time.
    pub id: u64,
    /// Text; empty where there is none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub body: String,
    /// Author; `None` where the account is gone.
    #[serde(default)]
    pub user: Option<User>,
    /// Number of its issue; `None` where the answer does not say.
    #[serde(rename = "issue_url", default, deserialize_with = "last_number")]
    pub issue: Option<u64>,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time of its last change.
    pub updated_at: DateTime<Utc>,
    /// Address for people.
    pub html_url: String,
}

/// A label of the repository.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Label {
    /// Name.
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
    /// What it means; at most 100 characters.
    #[serde(default, deserialize_with = "null_is_default")]
    pub description: String,
}

/// What an account may do in the repository, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing beyond what everybody may.
    None,
    /// Read.
    Read,
    /// Manage issues, not code.
    Triage,
    /// Write.
    Write,
    /// Manage the repository.
    Maintain,
    /// Everything.
    Admin,
}

impl Permission {
    /// Whether it is write access or more.
    #[must_use]
    pub fn can_write(self) -> bool {
        self >= Self::Write
    }
}

/// A reaction to a comment or an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// 👀
    Eyes,
    /// 👍
    PlusOne,
    /// 👎
    MinusOne,
    /// 😕
    Confused,
    /// 🚀
    Rocket,
}

impl Reaction {
    /// GitHub's name of it.
    #[must_use]
    pub fn content(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::PlusOne => "+1",
            Self::MinusOne => "-1",
            Self::Confused => "confused",
            Self::Rocket => "rocket",
        }
    }
}

/// A run of a workflow.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct WorkflowRun {
    /// Numeric id.
    pub id: u64,
    /// Name of the workflow.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// The run's own title (`run-name` of the workflow), by which a dispatch finds its run.
    #[serde(default, deserialize_with = "null_is_default")]
    pub display_title: String,
    /// File of the workflow, `.github/workflows/….yml`, possibly followed by `@` and a reference.
    #[serde(default, deserialize_with = "null_is_default")]
    pub path: String,
    /// What started it: `workflow_dispatch`, `push`, ….
    pub event: String,
    /// `queued`, `in_progress`, `completed`, `waiting`, …; empty where GitHub does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: String,
    /// `success`, `failure`, `cancelled`, `timed_out`, … once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// Commit.
    pub head_sha: String,
    /// Branch; `None` for a run of no branch.
    #[serde(default)]
    pub head_branch: Option<String>,
    /// Number of the attempt, from 1.
    #[serde(default = "one")]
    pub run_attempt: u64,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Address for people.
    pub html_url: String,
}

impl WorkflowRun {
    /// Whether nothing more will happen in this attempt.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    /// Whether it is completed and every job succeeded.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.is_completed() && self.conclusion.as_deref() == Some("success")
    }
}

/// A job of a workflow run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Job {
    /// Numeric id.
    pub id: u64,
    /// Name as shown, with the matrix's values.
    pub name: String,
    /// `queued`, `in_progress`, `completed`, ….
    pub status: String,
    /// `success`, `failure`, `cancelled`, … once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// Address for people.
    #[serde(default)]
    pub html_url: Option<String>,
    /// Name of the runner; `None` before it starts.
    #[serde(default)]
    pub runner_name: Option<String>,
    /// Its steps, as far as they have begun.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A step of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Step {
    /// Name.
    pub name: String,
    /// `success`, `failure`, `skipped`, … once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
}

/// A file that a workflow run keeps, as a ZIP archive.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Artifact {
    /// Numeric id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Size of the archive in bytes.
    pub size_in_bytes: u64,
    /// Whether GitHub has deleted it.
    pub expired: bool,
    /// `sha256:` and 64 hexadecimal digits of the archive, where GitHub tells it.
    #[serde(default)]
    pub digest: Option<String>,
}

/// A release.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Release {
    /// Numeric id.
    pub id: u64,
    /// Tag.
    pub tag_name: String,
    /// Address template for uploads.
    pub upload_url: String,
    /// Address for people.
    pub html_url: String,
    /// Its files.
    #[serde(default)]
    pub assets: Vec<ReleaseAsset>,
}

/// A file of a release.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ReleaseAsset {
    /// Numeric id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// `uploaded` when it is whole.
    pub state: String,
    /// `sha256:` and 64 hexadecimal digits, where GitHub tells it.
    #[serde(default)]
    pub digest: Option<String>,
    /// Address for downloads.
    pub browser_download_url: String,
}

/// Who a client is to GitHub, and what it may do: for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Account (personal token) or slug of the App.
    pub name: String,
    /// Numeric id of the account; for an App, of the bot account by which it comments where GitHub tells it, else `None`.
    pub user_id: Option<u64>,
    /// Whether it is an App.
    pub is_app: bool,
    /// Permissions, `name: level`, in alphabetical order: of the installation, or `repository: admin|maintain|write|…` and the scopes of a
    /// classic personal token.
    pub permissions: Vec<(String, String)>,
}

/// What a check of an answer's shape needs: `null` and absence mean the default.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

fn one() -> u64 {
    1
}

/// Labels come as objects, in some answers as plain names.
fn label_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Name(String),
        Object { name: Option<String> },
    }
    let labels: Option<Vec<Either>> = Option::deserialize(deserializer)?;
    let name = |label| match label {
        Either::Name(name) => Some(name),
        Either::Object { name } => name,
    };
    Ok(labels.unwrap_or_default().into_iter().filter_map(name).collect())
}

/// The number at the end of an address.
fn last_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let address: Option<String> = Option::deserialize(deserializer)?;
    Ok(address.and_then(|address| address.rsplit('/').next().and_then(|last| last.parse().ok())))
}
