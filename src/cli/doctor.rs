//! `slm-bench doctor`: what this machine can do, and what of the configuration would not work.

use super::serve::{github_client, publisher, usage};
use super::{Outcome, UsageError};
use crate::benchmark::suites::Suite;
use crate::benchmark::{Location, registry};
use crate::bot::config::{self, Config, ExecutorKind, SecretSource};
use crate::bot::store::{JobState, Store};
use crate::engine::{self, Device};
use crate::github::{self, Client};
use crate::hub::{DatasetAccess, GatedAccess, GgufFiles, Hub, HubConfig, HubError};
use crate::meter::{Meter, MeterConfig, Method};
use crate::publish::Credentials;
use crate::sandbox::{Sandbox, SandboxConfig};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Say what this machine can do, and what is missing.
///
/// Without a configuration: what an evaluation on this machine needs. With one: also GitHub, the git remote, the store, the secrets and the folders
/// that it names. Exit code 1 where something that is needed is missing.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration of `serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Suite whose data sets are looked at; the configuration's, or `standard`.
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Device that evaluations are to use: auto, cpu, cuda, metal; the configuration's, or `auto`.
    #[arg(long, value_name = "NAME")]
    device: Option<Device>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// It works.
    Ok,
    /// It is not there, and nothing that was asked for needs it.
    Note,
    /// It is needed and missing.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Check {
    /// What: `program`, `device`, `sandbox`, `energy`, `hub`, `data set …`, `github`, ….
    name: String,
    /// How it ended.
    verdict: Verdict,
    /// What was found, and where it is missing, what to do.
    detail: String,
}

impl Check {
    fn new(name: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict, detail: detail.into() }
    }

    /// Ok with what was found; else missing where it is needed, a note where it is not.
    fn of<T: Into<String>>(name: impl Into<String>, found: Result<T, String>, needed: bool) -> Self {
        match found {
            Ok(detail) => Self::new(name, Verdict::Ok, detail),
            Err(problem) => Self::new(name, if needed { Verdict::Missing } else { Verdict::Note }, problem),
        }
    }
}

/// What is needed, by the configuration or for an evaluation here.
struct Needs {
    suite: Suite,
    device: Device,
    /// Models are evaluated on this machine.
    evaluates: bool,
    allow_gated: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.config.as_deref().map(Config::load).transpose().map_err(usage)?;
    let needs = needs(arguments, config.as_ref())?;
    let mut checks = vec![program()];
    match config.as_ref().and_then(|config| other_program(&config.executor)) {
        Some(other) if needs.evaluates => checks.extend(ask_other(&other, &needs)),
        _ => checks.extend([device(&needs), sandbox(&needs), energy(&needs)]),
    }
    checks.extend(hub(&needs));
    if let Some(config) = &config {
        checks.extend(models(&needs, config));
        checks.extend(secrets(config));
        checks.extend(github(config)?);
        checks.extend(folders(config));
    } else {
        checks.push(Check::new("github", Verdict::Note, "not looked at: name the server's configuration with --config"));
    }
    match arguments.format {
        Format::Text => print!("{}", as_text(&checks)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "checks": checks }))?),
    }
    let complete = checks.iter().all(|check| check.verdict != Verdict::Missing);
    Ok(if complete { Outcome::Done } else { Outcome::Invalid })
}

fn needs(arguments: &Arguments, config: Option<&Config>) -> anyhow::Result<Needs> {
    let suite = arguments.suite.as_deref().or(config.map(|config| config.policy.suite.as_str())).unwrap_or("standard");
    let suite = Suite::named(suite).map_err(|error| UsageError(error.to_string()))?;
    let configured = config.map_or("auto", |config| config.executor.device.as_str());
    let configured = configured.parse().map_err(|error| UsageError(format!("executor.device: {error}")))?;
    Ok(Needs {
        suite,
        device: arguments.device.unwrap_or(configured),
        evaluates: config.is_none_or(|config| config.executor.kind == ExecutorKind::Local),
        allow_gated: config.is_some_and(|config| config.policy.allow_gated),
    })
}

fn as_text(checks: &[Check]) -> String {
    use std::fmt::Write as _;
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let sign = match check.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Note => "note   ",
            Verdict::Missing => "MISSING",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{sign}  {:width$}  {}", check.name, check.detail);
    }
    let missing = checks.iter().filter(|check| check.verdict == Verdict::Missing).count();
    let _ = match missing {
        0 => writeln!(text, "\neverything that is needed is there"),
        1 => writeln!(text, "\n1 thing that is needed is missing"),
        more => writeln!(text, "\n{more} things that are needed are missing"),
    };
    text
}

fn program() -> Check {
    let features = if cfg!(feature = "engine") { "with the engine" } else { "without an engine (it validates, publishes and serves)" };
    Check::new("program", Verdict::Ok, format!("slm-bench {} {features}", env!("CARGO_PKG_VERSION")))
}

/// The program that evaluates, where the configuration names another one than this.
fn other_program(executor: &config::Executor) -> Option<PathBuf> {
    let other = executor.program.clone()?;
    let is_this = std::env::current_exe().and_then(|own| Ok(own.canonicalize()? == other.canonicalize()?)).unwrap_or(false);
    (!is_this).then_some(other)
}

/// What the program that evaluates says about device, sandbox and energy: it may be built for a device that this one does not know.
fn ask_other(program: &Path, needs: &Needs) -> Vec<Check> {
    #[derive(Deserialize)]
    struct Answer {
        checks: Vec<Check>,
    }
    let name = "executor.program";
    let arguments = ["doctor", "--format", "json", "--suite", "smoke", "--device", &needs.device.to_string()];
    let output = match std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return vec![Check::new(name, Verdict::Missing, format!("{} cannot be started: {error}", program.display()))],
    };
    let Ok(answer) = serde_json::from_slice::<Answer>(&output.stdout) else {
        let detail = format!("{} does not answer `slm-bench doctor`: is it slm-bench, in this version?", program.display());
        return vec![Check::new(name, Verdict::Missing, detail)];
    };
    let of_machine = answer.checks.into_iter().filter(|check| ["program", "device", "sandbox", "energy"].contains(&check.name.as_str()));
    of_machine.map(|check| if check.name == "program" { Check { name: name.to_owned(), ..check } } else { check }).collect()
}

fn device(needs: &Needs) -> Check {
    let found = engine::probe(needs.device).map_err(|error| error.to_string());
    Check::of("device", found.map(|device| format!("evaluations compute on {device}")), needs.evaluates)
}

fn sandbox(needs: &Needs) -> Check {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            return Check::of("sandbox", Err::<String, _>(format!("cannot find this program's own file: {error}")), needs.evaluates);
        }
    };
    let started = Sandbox::start(SandboxConfig::new(program)).map_err(|error| error.to_string());
    let found =
        started.map(|sandbox| format!("level {}, Python {}, every canary stayed inside", sandbox.level(), sandbox.python_version()));
    Check::of("sandbox", found, needs.evaluates)
}

/// Nothing needs energy to be measured: without counters it is estimated, or missing with its reason.
fn energy(needs: &Needs) -> Check {
    let on_gpu = engine::probe(needs.device).is_ok_and(|device| device == "cuda");
    let meter = Meter::start(&MeterConfig { on_gpu, idle: Duration::ZERO, ..MeterConfig::default() });
    let mut detail = meter.method().name().to_owned();
    if !meter.components().is_empty() {
        detail = format!("{detail}: {}", meter.components().join(", "));
    }
    if !meter.remarks().is_empty() {
        detail = format!("{detail} ({})", meter.remarks().join("; "));
    }
    let is_measured = !matches!(meter.method(), Method::Unavailable);
    Check::new("energy", if is_measured { Verdict::Ok } else { Verdict::Note }, detail)
}

fn hub(needs: &Needs) -> Vec<Check> {
    let (config, hub) = match HubConfig::from_env().and_then(|config| Hub::new(&config).map(|hub| (config, hub))) {
        Ok(both) => both,
        Err(error) => return vec![Check::of("hub", Err::<String, _>(error.to_string()), true)],
    };
    let token = if config.token.is_some() { "with a token" } else { "without a token" };
    let place = if config.offline { "offline, from the cache alone".to_owned() } else { format!("{} {token}", config.endpoint) };
    let mut checks = Vec::new();
    let mut reached = true;
    for (repo, splits) in datasets(&needs.suite) {
        let mut read = BTreeMap::new();
        let mut problems = Vec::new();
        for (dataset, split) in &splits {
            match hub.dataset_access(&repo, Some(dataset), split) {
                Ok(DatasetAccess::Hub) => *read.entry("on the hub").or_insert(0) += 1,
                Ok(DatasetAccess::Cached) => *read.entry("in the cache").or_insert(0) += 1,
                Err(error) => {
                    reached &= !matches!(error, HubError::Network { .. });
                    problems.push(error.to_string());
                }
            }
        }
        problems.dedup();
        let found: Vec<String> = read.into_iter().map(|(place, count)| format!("{count} of {} readable {place}", splits.len())).collect();
        let gated = hub.dataset_is_gated(&repo).ok().flatten() == Some(true);
        let terms = if gated { "; gated: its terms were accepted" } else { "" };
        let found = if problems.is_empty() { Ok(format!("{}{terms}", found.join(", "))) } else { Err(problems.join("; ")) };
        checks.push(Check::of(format!("data set {repo}"), found, needs.evaluates));
    }
    let found = if reached {
        Ok(format!("{place}, cache {}", config.cache_dir.display()))
    } else {
        Err(format!("{} cannot be reached", config.endpoint))
    };
    checks.insert(0, Check::of("hub", found, true));
    if needs.allow_gated && config.token.is_none() {
        checks.push(Check::of("hub token", Err::<String, _>("policy.allow_gated is set, but HF_TOKEN is not".to_owned()), true));
    }
    checks
}

/// The models that wait for their evaluation: each must still be readable from here, a gated one with the token's account.
fn models(needs: &Needs, config: &Config) -> Vec<Check> {
    if !needs.evaluates || !config.storage.database.exists() {
        return Vec::new();
    }
    let waiting = Store::open(&config.storage.database)
        .and_then(|store| store.jobs_in(&[JobState::Validated, JobState::Queued, JobState::Evaluating]))
        .unwrap_or_default();
    let models: BTreeSet<(String, Option<String>)> = waiting.into_iter().filter_map(|job| Some((job.hf_repo?, job.revision))).collect();
    let Ok(hub) = HubConfig::from_env().and_then(|config| Hub::new(&config)) else { return Vec::new() };
    let check = |(repo, revision): (String, Option<String>)| {
        let found = match hub.model_facts(&repo, revision.as_deref(), GgufFiles::None) {
            Err(error) => Err(error.to_string()),
            Ok(facts) if facts.disabled => Err(format!("{repo} has been disabled by the hub")),
            Ok(facts) => match facts.gated {
                GatedAccess::Open => Ok("readable"),
                GatedAccess::GatedWithAccess => Ok("readable; gated: its terms were accepted"),
                GatedAccess::GatedWithoutAccess => {
                    Err(format!("{repo} is gated: accept its terms on its hub page with the account that HF_TOKEN belongs to"))
                }
            },
        };
        Check::of(format!("model {repo}"), found, true)
    };
    models.into_iter().map(check).collect()
}

/// The data sets of a suite: by repository, its configurations, each with one split that is read.
fn datasets(suite: &Suite) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut datasets: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for task in suite.tasks() {
        for leaf in registry::leaves(task.name).unwrap_or_default() {
            let dataset = &leaf.spec().dataset;
            if let Location::Hub { repo, config } = &dataset.location {
                datasets.entry(repo.clone()).or_default().entry(config.clone()).or_insert_with(|| dataset.split.clone());
            }
        }
    }
    datasets
}

fn secrets(config: &Config) -> Vec<Check> {
    let mut wanted: Vec<(&'static str, Option<&SecretSource>)> = vec![("webhook.secret", config.webhook.secret.as_ref())];
    if config.webhook.previous_secret.is_some() {
        wanted.push(("webhook.previous_secret", config.webhook.previous_secret.as_ref()));
    }
    if config.repository.token.is_some() {
        wanted.push(("repository.token", config.repository.token.as_ref()));
    }
    let read = |(key, source): (&'static str, Option<&SecretSource>)| {
        let found = match source {
            Some(source) => source.read(key).map(|_| "can be read").map_err(|error| error.to_string()),
            None => Err(format!("{key} is not set: GitHub's webhooks could not be told from anybody's")),
        };
        Check::of(key, found, true)
    };
    wanted.into_iter().map(read).collect()
}

fn github(config: &Config) -> anyhow::Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = {
        let _context = runtime.enter();
        github_client(config)
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return Ok(vec![Check::of("github", Err::<String, _>(format!("{error:#}")), true)]),
    };
    let mut checks = Vec::new();
    match runtime.block_on(client.identity()) {
        Ok(identity) => {
            let kind = if identity.is_app { "the App" } else { "the account" };
            checks.push(Check::new("github", Verdict::Ok, format!("speaking to {} as {kind} {}", client.repository(), identity.name)));
            checks.extend(permissions(&identity, config.executor.kind));
        }
        Err(error) => checks.push(Check::of("github", Err::<String, _>(error.to_string()), true)),
    }
    checks.push(remote(config, &runtime, &client));
    Ok(checks)
}

/// What the bot must be allowed to do, and with which of GitHub's permissions.
fn permissions(identity: &github::Identity, executor: ExecutorKind) -> Vec<Check> {
    let level = |name: &str| identity.permissions.iter().find(|(other, _)| other == name).map(|(_, level)| level.as_str());
    let check = |name: &str, needed_for: &str, needed: &str, granted: Option<&str>, enough: bool| {
        let granted = granted.unwrap_or("none");
        let found = if enough {
            Ok(granted.to_owned())
        } else {
            Err(format!("{granted}, but {needed_for} needs {needed}; docs/operating.md says where to give it"))
        };
        Check::of(format!("permission {name}"), found, true)
    };
    if !identity.is_app {
        let role = level("repository");
        let mut checks = vec![check(
            "repository",
            "labels, comments and commits",
            "write",
            role,
            matches!(role, Some("admin" | "maintain" | "push" | "write")),
        )];
        if let Some(scopes) = level("scopes") {
            let has = |wanted: &str| scopes.split(',').any(|scope| scope.trim() == wanted);
            checks.push(check("scopes", "a classic token", "repo or public_repo", Some(scopes), has("repo") || has("public_repo")));
        }
        return checks;
    }
    let mut wanted = vec![("issues", "comments and labels"), ("contents", "the commits with the results")];
    if executor == ExecutorKind::Actions {
        wanted.push(("actions", "dispatching evaluations"));
    }
    wanted.into_iter().map(|(name, needed_for)| check(name, needed_for, "write", level(name), level(name) == Some("write"))).collect()
}

fn remote(config: &Config, runtime: &tokio::runtime::Runtime, client: &Client) -> Check {
    let probe = || -> Result<String, String> {
        let mut publisher = publisher(config).map_err(|error| format!("{error:#}"))?;
        // As `serve`: GitHub's own token goes to GitHub alone.
        if matches!(publisher.credentials, Credentials::Anonymous) && publisher.remote.starts_with(&format!("{}/", config.github.web())) {
            let token = runtime.block_on(client.token(Duration::from_mins(5))).map_err(|error| error.to_string())?;
            publisher.credentials = Credentials::Token(token.reveal().to_owned());
        }
        let place = format!("{} of {}", publisher.branch, publisher.remote);
        match publisher.probe().map_err(|error| error.to_string())? {
            Some(commit) => Ok(format!("{place} is at {}, and a push is allowed to begin", &commit[..commit.len().min(12)])),
            None => Ok(format!("{place} does not exist yet; the first publication makes it")),
        }
    };
    Check::of("git remote", probe(), true)
}

fn folders(config: &Config) -> Vec<Check> {
    let mut checks = vec![store(&config.storage.database)];
    checks.push(Check::of("work folder", writable(&config.storage.work), true));
    if let Some(site) = &config.server.website {
        let missing: Vec<&str> = ["index.html", "queue.html"].into_iter().filter(|page| !site.join(page).is_file()).collect();
        let found = if missing.is_empty() {
            Ok(site.display().to_string())
        } else {
            Err(format!(
                "{} has no {}: build the website (`npm ci && npm run build` in website) and name its dist folder",
                site.display(),
                missing.join(", ")
            ))
        };
        checks.push(Check::of("website", found, true));
    }
    if let Some(key) = &config.repository.signing_key {
        let found = crate::publish::SigningKey::read(key).map(|_| key.display().to_string()).map_err(|error| error.to_string());
        checks.push(Check::of("signing key", found, true));
    }
    checks
}

fn store(path: &Path) -> Check {
    if !path.exists() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let found = writable(folder).map(|_| format!("{} does not exist yet; the first start makes it", path.display()));
        return Check::of("store", found, true);
    }
    let found = Store::open(path).and_then(|store| Ok((store.faults()?, store.counts()?)));
    let found = match found {
        Ok((faults, counts)) if faults.is_empty() => Ok(format!(
            "{}: sound, {} jobs, {} deliveries to be handled",
            path.display(),
            counts.jobs.values().sum::<u64>(),
            counts.deliveries_pending
        )),
        Ok((faults, _)) => {
            Err(format!("{} is damaged: {}; restore the last backup (docs/operating.md)", path.display(), faults.join("; ")))
        }
        Err(error) => Err(error.to_string()),
    };
    Check::of("store", found, true)
}

/// Writes and removes a file.
fn writable(folder: &Path) -> Result<String, String> {
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    tried
        .map(|_| format!("{} can be written", folder.display()))
        .map_err(|error| format!("{} cannot be written: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(is_app: bool, permissions: &[(&str, &str)]) -> github::Identity {
        let permissions = permissions.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect();
        github::Identity { name: "bench".to_owned(), user_id: Some(1), is_app, permissions }
    }

    fn verdicts(identity: &github::Identity, executor: ExecutorKind) -> Vec<Verdict> {
        permissions(identity, executor).into_iter().map(|check| check.verdict).collect()
    }

    /// A token or App that may not do what the bot does is told, with the permission that is missing.
    #[test]
    fn missing_permissions_are_named() {
        use Verdict::{Missing, Ok};
        assert_eq!(verdicts(&identity(false, &[("repository", "push")]), ExecutorKind::Local), [Ok]);
        assert_eq!(verdicts(&identity(false, &[("repository", "pull"), ("scopes", "gist, repo")]), ExecutorKind::Local), [Missing, Ok]);
        let app = identity(true, &[("contents", "read"), ("issues", "write")]);
        assert_eq!(verdicts(&app, ExecutorKind::Local), [Ok, Missing]);
        assert_eq!(verdicts(&app, ExecutorKind::Actions), [Ok, Missing, Missing]);
        let detail = &permissions(&app, ExecutorKind::Local)[1].detail;
        assert!(detail.starts_with("read, but the commits with the results needs write"), "{detail}");
    }

    /// The suites' data sets are found, the gated one among them, and the built-in suite has none.
    #[test]
    fn every_data_set_of_the_suite_is_looked_at() {
        let standard = datasets(&Suite::named("standard").unwrap());
        for repo in ["skg/toxigen-data", "cais/mmlu", "openai/gsm8k"] {
            assert!(standard.contains_key(repo), "{repo} is missing in {:?}", standard.keys());
        }
        assert_eq!(standard["cais/mmlu"].len(), 57);
        assert!(datasets(&Suite::named("smoke").unwrap()).is_empty());
    }

    /// People read columns; what is missing stands out.
    #[test]
    fn the_text_is_readable() {
        let checks = [Check::new("device", Verdict::Ok, "cpu"), Check::new("git remote", Verdict::Missing, "no such folder")];
        insta::assert_snapshot!(as_text(&checks), @r"
        ok       device      cpu
        MISSING  git remote  no such folder

        1 thing that is needed is missing
        ");
    }
}
