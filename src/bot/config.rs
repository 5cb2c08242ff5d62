//! The operator's configuration: one TOML file.
//!
//! Secrets never stand in the file: it names the environment variable or the file that holds them ([`SecretSource`]). An unknown key is an
//! error that names its line and the key that was probably meant. [`KEYS`] lists every key with what it means; `slm-bench.example.toml`
//! shows them all.

use crate::github::{RepositoryName, Secret};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every key that the file may have, in the order of the example, with what it means.
pub const KEYS: &[(&str, &str)] = &[
    ("server.listen", "address and port that the server listens on"),
    ("server.public_address", "address under which people reach the server; links in comments begin with it"),
    ("server.website", "folder of the built website, which the server then shows too"),
    ("server.max_body_bytes", "largest webhook that is read; GitHub sends at most 25 MB"),
    ("storage.database", "the SQLite file that holds deliveries and jobs"),
    ("storage.work", "folder for runs under way, the git cache and finished runs until they are published"),
    ("storage.lease_seconds", "how long the work of a server that died stays reserved for it"),
    ("repository.name", "the GitHub repository with the issues, `owner/name`"),
    ("repository.remote", "address that results are pushed to; the repository on GitHub when not given"),
    ("repository.branch", "branch that results are pushed to"),
    ("repository.author_name", "author of the commits"),
    ("repository.author_email", "the author's address"),
    ("repository.token", "token that may write the repository's contents, where it is another than GitHub's own below"),
    ("repository.signing_key", "file of the SSH private key that signs the commits"),
    ("github.api", "address of GitHub's API; another one for GitHub Enterprise Server"),
    ("github.token", "personal token of the bot's account; the variable GITHUB_TOKEN when neither it nor an App is given"),
    ("github.app.id", "number of the GitHub App, instead of a token"),
    (
        "github.app.installation",
        "number of the App's installation on the repository's owner (the last part of the address of its settings page)",
    ),
    ("github.app.private_key", "the App's private key (PEM)"),
    ("webhook.secret", "secret that GitHub signs webhooks with"),
    ("webhook.previous_secret", "the secret before, accepted too while it is being changed"),
    ("policy.evaluate", "`on-approval`: after `/slm-bench approve` by someone with write access; `at-once`: every valid submission"),
    ("policy.suite", "suite that is run"),
    ("policy.allow_gated", "accept gated repositories that `HF_TOKEN` can read"),
    ("policy.per_author_per_day", "most evaluations that one author gets in 24 hours"),
    ("policy.per_day", "most evaluations in 24 hours altogether"),
    ("policy.max_hours", "longest estimated evaluation; above it the suite `quick` is offered"),
    ("executor.kind", "`local`: on this machine; `actions`: on GitHub Actions runners"),
    ("executor.concurrency", "evaluations at the same time"),
    ("executor.program", "the slm-bench that evaluates here; this program when not given"),
    ("executor.memory_gib", "most memory that one evaluation may use"),
    ("executor.wall_hours", "longest that one evaluation may take before it is stopped"),
    ("executor.device", "where a local evaluation computes: auto, cpu, cuda, metal"),
    ("executor.dtype", "data type of the computation: auto, f32, bf16, f16"),
    ("executor.actions.workflow", "file name of the workflow that is dispatched"),
    ("executor.actions.shards", "jobs that one run is split into"),
    ("publication.large_artifacts", "where sample files above the bound go: `repository`, or `release` for release assets"),
    ("publication.large_bytes", "the bound: larger sample files are large"),
    ("reconciliation.interval_minutes", "how often GitHub is asked what a lost webhook missed"),
];

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{}line {line}: {message}", in_file(path.as_deref()))]
    Invalid {
        /// The file, where the text came from one.
        path: Option<PathBuf>,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
    /// A secret is not where the configuration says.
    #[error("{key}: {reason}")]
    Secret {
        /// The key, dotted.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
}

fn in_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}, ", path.display()))
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    #[serde(default)]
    pub server: Server,
    /// What is kept on this machine.
    pub storage: Storage,
    /// Where issues are and results go.
    pub repository: Repository,
    /// Access to GitHub.
    #[serde(default)]
    pub github: GitHub,
    /// Webhooks.
    #[serde(default)]
    pub webhook: Webhook,
    /// What is evaluated, and when.
    #[serde(default)]
    pub policy: Policy,
    /// How evaluations are run.
    #[serde(default)]
    pub executor: Executor,
    /// How results are published.
    #[serde(default)]
    pub publication: Publication,
    /// What finds lost webhooks.
    #[serde(default)]
    pub reconciliation: Reconciliation,
}

/// `[server]`: the HTTP server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on.
    #[serde(deserialize_with = "socket_address")]
    pub listen: std::net::SocketAddr,
    /// Address under which people reach the server, without a slash at its end; links in comments begin with it.
    #[serde(deserialize_with = "web_address")]
    pub public_address: Option<String>,
    /// Folder of the built website.
    pub website: Option<PathBuf>,
    /// Largest request body that is read, in bytes.
    pub max_body_bytes: usize,
}

impl Default for Server {
    fn default() -> Self {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 8080));
        Self { listen, public_address: None, website: None, max_body_bytes: 25_000_000 }
    }
}

/// `[storage]`: what is kept on this machine. Paths are relative to the configuration's folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The file that holds deliveries and jobs.
    pub database: PathBuf,
    /// Work folder.
    pub work: PathBuf,
    /// How long the work of a server that died stays reserved for it, in seconds.
    #[serde(default = "lease_seconds", deserialize_with = "positive")]
    pub lease_seconds: f64,
}

fn lease_seconds() -> f64 {
    30.0
}

impl Storage {
    /// How long work is reserved at a time.
    #[must_use]
    pub fn lease(&self) -> Duration {
        hours(self.lease_seconds / 3600.0)
    }
}

/// `[repository]`: where issues are and results go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `owner/name` on GitHub.
    #[serde(deserialize_with = "repository_name")]
    pub name: RepositoryName,
    /// Address of the git remote.
    #[serde(default)]
    pub remote: Option<String>,
    /// Branch to push to.
    #[serde(default = "main_branch")]
    pub branch: String,
    /// Author and committer.
    #[serde(default = "author_name")]
    pub author_name: String,
    /// The author's e-mail address.
    #[serde(default = "author_email")]
    pub author_email: String,
    /// Token for pushing; GitHub's own when not given.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// SSH private key for signatures.
    #[serde(default)]
    pub signing_key: Option<PathBuf>,
}

fn main_branch() -> String {
    "main".to_owned()
}

fn author_name() -> String {
    "slm-bench".to_owned()
}

fn author_email() -> String {
    "slm-bench@users.noreply.github.com".to_owned()
}

impl Repository {
    /// The address that results are pushed to; `web` is GitHub's web address ([`GitHub::web`]).
    #[must_use]
    pub fn remote_address(&self, web: &str) -> String {
        self.remote.clone().unwrap_or_else(|| format!("{web}/{}.git", self.name))
    }
}

/// `[github]`: access to GitHub, by a token or as an App.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GitHub {
    /// Address of the API, without a slash at its end.
    #[serde(deserialize_with = "required_web_address")]
    pub api: String,
    /// Personal token.
    pub token: Option<SecretSource>,
    /// GitHub App.
    pub app: Option<App>,
}

impl Default for GitHub {
    fn default() -> Self {
        Self { api: "https://api.github.com".to_owned(), token: None, app: None }
    }
}

impl GitHub {
    /// GitHub's address for browsers and git: `https://github.com`, or the Enterprise Server that the API belongs to.
    #[must_use]
    pub fn web(&self) -> String {
        if self.api == "https://api.github.com" {
            return "https://github.com".to_owned();
        }
        self.api.strip_suffix("/api/v3").unwrap_or(&self.api).to_owned()
    }
}

/// `[github.app]`: a GitHub App.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Number of the App.
    pub id: u64,
    /// Number of its installation on the repository's owner.
    pub installation: u64,
    /// Its private key.
    pub private_key: SecretSource,
}

/// `[webhook]`: the secrets that deliveries are signed with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// The secret.
    pub secret: Option<SecretSource>,
    /// The secret before it.
    pub previous_secret: Option<SecretSource>,
}

/// When a valid submission is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluate {
    /// After `/slm-bench approve` by someone with write access.
    #[default]
    OnApproval,
    /// As soon as it is valid.
    AtOnce,
}

/// `[policy]`: what is evaluated, and when.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// When a valid submission is evaluated.
    pub evaluate: Evaluate,
    /// Suite that is run.
    #[serde(deserialize_with = "suite_name")]
    pub suite: String,
    /// Gated repositories are accepted.
    pub allow_gated: bool,
    /// Most evaluations of one author in 24 hours.
    pub per_author_per_day: u32,
    /// Most evaluations in 24 hours.
    pub per_day: u32,
    /// Longest estimated evaluation in hours.
    #[serde(deserialize_with = "positive")]
    pub max_hours: f64,
}

impl Default for Policy {
    fn default() -> Self {
        let evaluate = Evaluate::default();
        Self { evaluate, suite: "standard".to_owned(), allow_gated: false, per_author_per_day: 3, per_day: 20, max_hours: 24.0 }
    }
}

/// Where evaluations run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutorKind {
    /// A child process on this machine.
    #[default]
    Local,
    /// A workflow on GitHub Actions runners.
    Actions,
}

/// `[executor]`: how evaluations are run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Executor {
    /// Where.
    pub kind: ExecutorKind,
    /// Evaluations at the same time.
    pub concurrency: NonZeroU32,
    /// The `slm-bench` that evaluates on this machine; this program when not given.
    pub program: Option<PathBuf>,
    /// Most memory of one evaluation in GiB.
    #[serde(deserialize_with = "positive")]
    pub memory_gib: f64,
    /// Longest evaluation in hours.
    #[serde(deserialize_with = "positive")]
    pub wall_hours: f64,
    /// Where a local evaluation computes.
    #[serde(deserialize_with = "device_name")]
    pub device: String,
    /// Data type of the computation.
    #[serde(deserialize_with = "dtype_name")]
    pub dtype: String,
    /// GitHub Actions.
    pub actions: Actions,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            kind: ExecutorKind::default(),
            concurrency: NonZeroU32::MIN,
            program: None,
            memory_gib: 16.0,
            wall_hours: 48.0,
            device: "auto".to_owned(),
            dtype: "auto".to_owned(),
            actions: Actions::default(),
        }
    }
}

impl Executor {
    /// Most memory of one evaluation in bytes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and casts saturate")]
    pub fn memory_bytes(&self) -> u64 {
        (self.memory_gib * f64::from(1 << 30)) as u64
    }

    /// Longest evaluation.
    #[must_use]
    pub fn wall(&self) -> Duration {
        hours(self.wall_hours)
    }
}

/// `[executor.actions]`: the workflow that evaluates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Actions {
    /// File name of the workflow.
    pub workflow: String,
    /// Jobs that one run is split into.
    pub shards: NonZeroU32,
}

impl Default for Actions {
    fn default() -> Self {
        Self { workflow: "evaluate.yml".to_owned(), shards: NonZeroU32::MIN }
    }
}

/// Where large sample files go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LargeArtifacts {
    /// Into the repository like the others.
    #[default]
    Repository,
    /// Into a release's assets, which browsers cannot read from another site.
    Release,
}

/// `[publication]`: how results are published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publication {
    /// Where large sample files go.
    pub large_artifacts: LargeArtifacts,
    /// Sample files above this are large.
    pub large_bytes: u64,
}

impl Default for Publication {
    fn default() -> Self {
        Self { large_artifacts: LargeArtifacts::default(), large_bytes: 20_000_000 }
    }
}

/// `[reconciliation]`: what finds lost webhooks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconciliation {
    /// Minutes between two rounds.
    #[serde(deserialize_with = "positive")]
    pub interval_minutes: f64,
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self { interval_minutes: 10.0 }
    }
}

impl Reconciliation {
    /// Time between two rounds.
    #[must_use]
    pub fn interval(&self) -> Duration {
        hours(self.interval_minutes / 60.0)
    }
}

/// Hours as a duration; at most a century, so that adding it to a time cannot overflow.
#[must_use]
pub fn hours(hours: f64) -> Duration {
    Duration::try_from_secs_f64(hours.min(876_000.0) * 3600.0).unwrap_or_default()
}

/// Where a secret is: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file that holds nothing else; white space around it does not count.
    File(PathBuf),
}

impl SecretSource {
    /// Fetches the secret. `key` is where the configuration asks for it, for the error.
    ///
    /// # Errors
    /// [`ConfigError::Secret`] where the variable is unset, the file cannot be read, or either is empty.
    pub fn read(&self, key: &'static str) -> Result<Secret, ConfigError> {
        let failed = |reason: String| ConfigError::Secret { key, reason };
        let (text, place) = match self {
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|_| failed(format!("the environment variable {name} is not set (or not text)")))?;
                (text, format!("the environment variable {name}"))
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
                (text, path.display().to_string())
            }
        };
        Secret::new(key, &text).map_err(|_| failed(format!("{place} is empty")))
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretSource;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`{ env = \"NAME\" }` or `{ file = \"path\" }`")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        let advice = "a secret does not stand in this file: write `{ env = \"NAME\" }` or `{ file = \"path\" }`, and make a new secret \
                      if this one was ever seen by others";
        Err(E::custom(advice))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let wanted = || de::Error::custom("a secret is `{ env = \"NAME\" }` or `{ file = \"path\" }`, one of the two");
        let Some((key, value)) = map.next_entry::<String, String>()? else { return Err(wanted()) };
        let source = match key.as_str() {
            "env" => SecretSource::Env(value),
            "file" => SecretSource::File(PathBuf::from(value)),
            other => return Err(de::Error::unknown_field(other, &["env", "file"])),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(wanted());
        }
        Ok(source)
    }
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::net::SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wanted = || de::Error::custom(format!("{text:?} is no numeric address with a port, such as 127.0.0.1:8080 or [::1]:8080"));
    text.parse().map_err(|_| wanted())
}

fn repository_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RepositoryName, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("a repository is written `owner/name`, not {text:?}")))
}

fn required_web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |rest: &str| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', ' ', '?', '#', '<', '>', '"']);
    if rest.is_none_or(|rest| !plain(rest)) {
        return Err(de::Error::custom(format!("{text:?} is no address that begins with https:// or http:// and names a host")));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    required_web_address(deserializer).map(Some)
}

fn suite_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    crate::benchmark::suites::Suite::named(&name).map_err(de::Error::custom)?;
    Ok(name)
}

fn device_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse::<crate::engine::Device>().map_err(de::Error::custom)?;
    Ok(name)
}

fn dtype_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse::<crate::engine::DType>().map_err(de::Error::custom)?;
    Ok(name)
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.is_finite() && number > 0.0 {
        return Ok(number);
    }
    Err(de::Error::custom(format!("{number} is not a number above 0")))
}

impl Config {
    /// Reads the file; relative paths in it are taken from its folder.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut config = Self::parse(&text).map_err(|error| match error {
            ConfigError::Invalid { line, message, .. } => ConfigError::Invalid { path: Some(path.to_owned()), line, message },
            other => other,
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        config.resolve(&folder);
        Ok(config)
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the line and, for an unknown key, the one that was probably meant.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| invalid(text, &error))?;
        if config.github.token.is_some() && config.github.app.is_some() {
            let line = text.lines().position(|line| line.trim_start().starts_with("[github")).map_or(1, |index| index + 1);
            let message = "give a token or an App, not both".to_owned();
            return Err(ConfigError::Invalid { path: None, line, message });
        }
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        let secret = |source: &mut SecretSource| {
            if let SecretSource::File(path) = source {
                *path = folder.join(&*path);
            }
        };
        resolve(&mut self.storage.database);
        resolve(&mut self.storage.work);
        self.server.website.as_mut().map(resolve);
        self.repository.signing_key.as_mut().map(resolve);
        self.executor.program.as_mut().map(resolve);
        let sources = [&mut self.repository.token, &mut self.github.token, &mut self.webhook.secret, &mut self.webhook.previous_secret];
        sources.into_iter().flatten().for_each(secret);
        self.github.app.iter_mut().for_each(|app| secret(&mut app.private_key));
    }
}

fn invalid(text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.get(..start).unwrap_or(text).split('\n').count();
    ConfigError::Invalid { path: None, line, message: with_suggestion(error.message()) }
}

/// Serde names an unknown field and those that there are; of these, the nearest is what was probably meant.
fn with_suggestion(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let Some((unknown, known)) = rest.split_once('`') else { return message.to_owned() };
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let distance = |name: &&str| strsim::damerau_levenshtein(unknown, name);
    match known.iter().copied().min_by_key(distance) {
        Some(nearest) if distance(&nearest) <= 1 + unknown.chars().count() / 3 => {
            format!("unknown key `{unknown}`; did you mean `{nearest}`?")
        }
        _ => format!("unknown key `{unknown}`; here there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "[storage]\ndatabase = \"store.sqlite\"\nwork = \"work\"\n[repository]\nname = \"octo-org/leaderboard\"\n";

    /// What every key looks like.
    const EVERY_KEY: &str = r#"
[server]
listen = "0.0.0.0:9000"
public_address = "https://bench.example.org/"
website = "site"
max_body_bytes = 1000000

[storage]
database = "store.sqlite"
work = "work"
lease_seconds = 5

[repository]
name = "octo-org/leaderboard"
remote = "https://git.example.org/leaderboard.git"
branch = "results"
author_name = "bench"
author_email = "bench@example.org"
token = { file = "push-token" }
signing_key = "key"

[github]
api = "https://git.example.org/api/v3"
app = { id = 1, installation = 2, private_key = { file = "app.pem" } }

[webhook]
secret = { env = "SECRET" }
previous_secret = { env = "OLD_SECRET" }

[policy]
evaluate = "at-once"
suite = "quick"
allow_gated = true
per_author_per_day = 1
per_day = 2
max_hours = 3

[executor]
kind = "actions"
concurrency = 2
program = "bin/slm-bench"
memory_gib = 4.5
wall_hours = 1
device = "cpu"
dtype = "f32"

[executor.actions]
workflow = "evaluate.yml"
shards = 4

[publication]
large_artifacts = "release"
large_bytes = 1

[reconciliation]
interval_minutes = 0.5
"#;

    fn message(text: &str) -> String {
        Config::parse(text).unwrap_err().to_string()
    }

    /// Every key is read, and [`KEYS`] names each of them and no other (a token stands for the App's three).
    #[test]
    fn every_key_is_listed() {
        let config = Config::parse(EVERY_KEY).unwrap();
        assert_eq!(config.server.public_address.as_deref(), Some("https://bench.example.org"));
        assert_eq!(config.github.web(), "https://git.example.org");
        assert_eq!(config.executor.memory_bytes(), 9 << 29);
        assert_eq!(config.reconciliation.interval(), Duration::from_secs(30));
        let mut keys = vec!["github.token".to_owned()];
        dotted(&EVERY_KEY.parse().unwrap(), "", &mut keys);
        keys.sort();
        let mut listed: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        listed.sort_unstable();
        assert_eq!(keys, listed);
    }

    fn dotted(table: &toml::Table, prefix: &str, keys: &mut Vec<String>) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) if !inner.contains_key("env") && !inner.contains_key("file") => {
                    dotted(inner, &format!("{key}."), keys);
                }
                _ => keys.push(key),
            }
        }
    }

    /// A handful of lines is enough; submissions then wait for approval.
    #[test]
    fn defaults_are_careful() {
        let config = Config::parse(SMALLEST).unwrap();
        assert_eq!(config.policy.evaluate, Evaluate::OnApproval);
        assert_eq!(config.policy.suite, "standard");
        assert!(!config.policy.allow_gated && config.webhook.secret.is_none());
        assert_eq!(config.repository.remote_address(&config.github.web()), "https://github.com/octo-org/leaderboard.git");
    }

    /// What is wrong is told with its line and the remedy.
    #[test]
    fn mistakes_are_named_with_their_line() {
        insta::assert_snapshot!(message(&format!("{SMALLEST}[policy]\nevalute = \"at-once\"\n")), @"line 7: unknown key `evalute`; did you mean `evaluate`?");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[policy]\ncolour = 1\n")), @"line 7: unknown key `colour`; here there are evaluate, suite, allow_gated, per_author_per_day, per_day, max_hours");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[polic]\n")), @"line 6: unknown key `polic`; did you mean `policy`?");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[policy]\nsuite = \"qick\"\n")), @"line 7: unknown suite `qick`; did you mean quick?");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[policy]\nevaluate = \"always\"\n")), @"line 7: unknown variant `always`, expected `on-approval` or `at-once`");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[server]\nlisten = \"localhost\"\n")), @r#"line 7: "localhost" is no numeric address with a port, such as 127.0.0.1:8080 or [::1]:8080"#);
        insta::assert_snapshot!(message(&format!("{SMALLEST}[executor]\ndevice = \"gpu\"\n")), @"line 7: unknown device `gpu`; one of auto, cpu, cuda, metal is expected");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[policy]\nmax_hours = -1\n")), @"line 7: -1 is not a number above 0");
        insta::assert_snapshot!(message(&format!("{SMALLEST}[github]\napi = \"api.github.com\"\n")), @r#"line 7: "api.github.com" is no address that begins with https:// or http:// and names a host"#);
        insta::assert_snapshot!(message(&SMALLEST.replace("octo-org/leaderboard", "../etc")), @r#"line 5: a repository is written `owner/name`, not "../etc""#);
        insta::assert_snapshot!(message(&SMALLEST.replace("[storage]\ndatabase = \"store.sqlite\"", "[storage]")), @"line 1: missing field `database`");
    }

    /// A secret that was written into the file is refused, and the error does not repeat it.
    #[test]
    fn secrets_do_not_stand_in_the_file() {
        let text = format!("{SMALLEST}[github]\ntoken = \"ghp_0123456789\"\n");
        let message = message(&text);
        assert!(message.starts_with("line 7: a secret does not stand in this file") && !message.contains("ghp_"), "{message}");
    }

    /// Secrets come from files and variables, and an empty one is none.
    #[test]
    fn secrets_are_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "abc\n").unwrap();
        assert_eq!(SecretSource::File(file.clone()).read("github.token").unwrap().reveal(), "abc");
        std::fs::write(&file, "\n").unwrap();
        let error = SecretSource::File(file).read("github.token").unwrap_err().to_string();
        assert!(error.starts_with("github.token: ") && error.ends_with("is empty"), "{error}");
        let error = SecretSource::Env("SLM_BENCH_NO_SUCH_VARIABLE".to_owned()).read("github.token").unwrap_err().to_string();
        assert_eq!(error, "github.token: the environment variable SLM_BENCH_NO_SUCH_VARIABLE is not set (or not text)");
    }

    /// Paths are relative to the file's folder, wherever the program was started.
    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("slm-bench.toml");
        std::fs::write(&file, EVERY_KEY).unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(config.storage.database, folder.path().join("store.sqlite"));
        assert_eq!(config.repository.token, Some(SecretSource::File(folder.path().join("push-token"))));
        std::fs::write(&file, "nonsense").unwrap();
        let error = Config::load(&file).unwrap_err().to_string();
        assert!(error.contains("slm-bench.toml, line 1: "), "{error}");
    }
}
