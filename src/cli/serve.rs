//! `slm-bench serve`: the webhook server and its worker.

use super::signals::Interrupts;
use super::{Outcome, UsageError};
use crate::bot::config::{App, Config, ConfigError, ExecutorKind, GitHub, SecretSource};
use crate::bot::executor::{ActionsConfig, ActionsExecutor, Executor, LocalConfig, LocalExecutor};
use crate::bot::store::{CrashPoint, Store};
use crate::bot::worker::{Own, Parts, Running, Signal, Worker};
use crate::github::webhook::Secrets;
use crate::github::{Auth, Client};
use crate::hub::{Hub, HubConfig};
use crate::publish::{Attempts, Credentials, Identity, Publisher, SigningKey};
use crate::server;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Time that the worker has to come to a safe point; the rest of the twenty seconds is the server's.
const STOP_WITHIN: Duration = Duration::from_secs(14);
/// Time that an evaluation has to save its answers.
const CHILD_GRACE: Duration = Duration::from_secs(8);
/// Longest pause between two tries to reach GitHub at the start.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Largest artifact of a shard that is taken from GitHub, packed or unpacked: standard runs have some tens of megabytes.
const LARGEST_ARTIFACT: u64 = 4 << 30;
/// Pause between looks for a workflow run that was just started.
const LOOK_FOR_RUN_EVERY: Duration = Duration::from_secs(2);

/// Run the bot: receive webhooks, check submissions, evaluate, publish, answer on the issues.
///
/// What arrives is stored before it is answered, and every step is recorded before the next: stopped or killed at any moment, the bot goes
/// on from there. SIGTERM or Ctrl-C: it takes in nothing new, brings what is under way to a safe point and ends within 20 seconds.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration, a TOML file; slm-bench.example.toml explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For tests: end like in a power cut right before or after a record of the store, such as `before published` or `after claim 2`.
    #[arg(long, env = "SLM_BENCH_CRASH_AT", value_name = "POINT", hide = true)]
    crash_at: Option<CrashPoint>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let config = Config::load(&arguments.config).map_err(usage)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    std::fs::create_dir_all(&config.storage.work).with_context(|| format!("cannot make the folder {}", config.storage.work.display()))?;
    let store = Store::open(&config.storage.database)?;
    let store = Arc::new(match &arguments.crash_at {
        Some(point) => store.crashing_at(point.clone()),
        None => store,
    });
    let signal = Arc::new(Signal::default());
    let parts = {
        let _context = runtime.enter();
        parts(&config, &store, &signal, &runtime)?
    };
    if let Some(site) = config.server.website.as_ref().filter(|site| !site.join("queue.html").is_file()) {
        tracing::warn!(folder = %site.display(), "the website is not there: build it, or the queue is shown to programs only (slm-bench doctor says more)");
    }
    let github = parts.github.clone();
    let app = server::App::new(server_settings(&config)?, Arc::clone(&store), prometheus_client::registry::Registry::default())
        .with_github(Box::new(move || github.statistics()))
        .with_steps({
            let health = Arc::clone(&parts.health);
            Box::new(move || health.steps())
        })
        .with_probe("worker", {
            let health = Arc::clone(&parts.health);
            Box::new(move || health.check())
        });
    let arrived = app.arrived();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(config.server.listen))
        .with_context(|| format!("cannot listen on {}", config.server.listen))?;
    // Before anybody is told that the server is there: from then on it ends in order.
    let interrupts = {
        let _context = runtime.enter();
        Interrupts::listen().context("cannot listen for signals")?
    };
    runtime.spawn(watch_signals(interrupts, Arc::clone(&signal)));
    // Tests and people who let the system choose a port read it here.
    eprintln!("listening on http://{}", listener.local_addr().context("the socket has no address")?);

    let waking = Arc::clone(&signal);
    runtime.spawn(async move {
        loop {
            arrived.notified().await;
            waking.wake();
        }
    });
    let stop = Arc::clone(&signal);
    let serving = runtime.spawn(server::run(listener, Arc::new(app), async move { stop.stopped().await }));
    let running = start(parts)?;
    runtime.block_on(signal.stopped());
    let in_time = running.is_none_or(|running| running.stop(STOP_WITHIN));
    runtime.block_on(serving).context("the server panicked")?.context("the server failed")?;
    if !in_time {
        tracing::warn!("a step was waiting for another service; it is done again after the next start");
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Outcome::Done)
}

/// A configuration that cannot be used is a slip of whoever wrote it.
pub(super) fn usage(error: ConfigError) -> anyhow::Error {
    UsageError(error.to_string()).into()
}

/// Learns who the bot is on GitHub, however long GitHub cannot be reached, and starts the worker; `None` when told to stop before.
fn start(parts: Parts) -> anyhow::Result<Option<Running>> {
    let mut pause = Duration::from_secs(1);
    while !parts.signal.is_stopped() {
        let identity = parts.runtime.block_on(async {
            tokio::select! {
                identity = parts.github.identity() => Some(identity),
                () = parts.signal.stopped() => None,
            }
        });
        match identity {
            None => break,
            Some(Ok(identity)) => {
                tracing::info!(name = identity.name, repository = %parts.github.repository(), "speaking to GitHub");
                let worker = Worker::new(Parts { own: Own { user_id: identity.user_id }, ..parts });
                return Ok(Some(worker.start().context("cannot start the worker")?));
            }
            Some(Err(error)) if error.is_transient() => {
                tracing::warn!(%error, "GitHub cannot be reached; webhooks are stored meanwhile");
                parts.health.hindered("it waits for GitHub, which cannot be reached; webhooks are stored meanwhile");
                parts.signal.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Some(Err(error)) => return Err(anyhow::Error::from(error).context("GitHub does not accept the bot's credentials")),
        }
    }
    Ok(None)
}

fn parts(config: &Config, store: &Arc<Store>, signal: &Arc<Signal>, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Parts> {
    let github = github_client(config)?;
    let executor: Arc<dyn Executor> = match config.executor.kind {
        ExecutorKind::Local => Arc::new(LocalExecutor::new(local_config(config)?)),
        ExecutorKind::Actions => {
            let actions = &config.executor.actions;
            let actions = ActionsConfig {
                workflow: actions.workflow.clone(),
                reference: config.repository.branch.clone(),
                shards: usize::try_from(actions.shards.get()).unwrap_or(1),
                wall: config.executor.wall(),
                largest_artifact: LARGEST_ARTIFACT,
                pause: LOOK_FOR_RUN_EVERY,
            };
            Arc::new(ActionsExecutor::new(github.clone(), runtime.handle().clone(), actions))
        }
    };
    Ok(Parts {
        config: config.clone(),
        store: Arc::clone(store),
        publisher: publisher(config)?,
        github,
        own: Own { user_id: None },
        hub: Hub::new(&HubConfig::from_env()?)?,
        executor,
        runtime: runtime.handle().clone(),
        signal: Arc::clone(signal),
        health: Arc::default(),
        clock: chrono::Utc::now,
    })
}

fn server_settings(config: &Config) -> anyhow::Result<server::Settings> {
    let mut secrets = Vec::new();
    for (key, source) in [("webhook.secret", &config.webhook.secret), ("webhook.previous_secret", &config.webhook.previous_secret)] {
        if let Some(source) = source {
            secrets.push(source.read(key).map_err(usage)?);
        }
    }
    if secrets.is_empty() {
        return Err(
            UsageError("webhook.secret: without a secret nobody could tell GitHub's webhooks from anybody's; set one".to_owned()).into()
        );
    }
    Ok(server::Settings {
        repository: config.repository.name.clone(),
        secrets: Secrets::new(secrets)?,
        max_body: config.server.max_body_bytes,
        website: config.server.website.clone(),
        slots: usize::try_from(config.executor.concurrency.get()).unwrap_or(1),
        now: chrono::Utc::now,
    })
}

/// The client of the configuration.
pub(super) fn github_client(config: &Config) -> anyhow::Result<Client> {
    let GitHub { api, token, app } = &config.github;
    let auth = match (token, app) {
        (_, Some(App { id, installation, private_key })) => Auth::App {
            app_id: *id,
            installation_id: *installation,
            private_key: private_key.read("github.app.private_key").map_err(usage)?,
        },
        (Some(token), None) => Auth::Token(token.read("github.token").map_err(usage)?),
        (None, None) => Auth::Token(SecretSource::Env("GITHUB_TOKEN".to_owned()).read("github.token").map_err(usage)?),
    };
    let mut settings = crate::github::Settings::new(config.repository.name.clone(), auth);
    settings.api_url.clone_from(api);
    Ok(Client::new(settings)?)
}

/// The publisher of the configuration. Without a token of its own it gets GitHub's before each publication, and only for GitHub itself.
pub(super) fn publisher(config: &Config) -> anyhow::Result<Publisher> {
    let repository = &config.repository;
    let credentials = match &repository.token {
        Some(source) => Credentials::Token(source.read("repository.token").map_err(usage)?.reveal().to_owned()),
        None => Credentials::Anonymous,
    };
    Ok(Publisher {
        remote: repository.remote_address(&config.github.web()),
        branch: repository.branch.clone(),
        cache: config.storage.work.join("publish-cache.git"),
        author: Identity { name: repository.author_name.clone(), email: repository.author_email.clone() },
        credentials,
        signing_key: config.repository.signing_key.as_deref().map(SigningKey::read).transpose()?,
        attempts: Attempts::default(),
    })
}

/// Evaluations on this machine, as the configuration bounds them.
fn local_config(config: &Config) -> anyhow::Result<LocalConfig> {
    let mut environment = LocalConfig::inherited(std::env::vars());
    // The evaluation is what downloads: without the token the standard suite's gated data set is closed to it, and the hub allows few requests.
    // `policy.allow_gated` decides about models, at validation. Programs that models write run below it in a sandbox that inherits nothing.
    let token =
        ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.trim().is_empty()));
    environment.extend(token.map(|token| ("HF_TOKEN".to_owned(), token)));
    let executor = &config.executor;
    Ok(LocalConfig {
        program: match &executor.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().context("cannot find this program's own file")?,
        },
        arguments: ["--device", &executor.device, "--dtype", &executor.dtype].map(str::to_owned).into(),
        environment,
        memory_bytes: Some(executor.memory_bytes()),
        wall: executor.wall(),
        grace: CHILD_GRACE,
        nice: 10,
    })
}

async fn watch_signals(mut interrupts: Interrupts, signal: Arc<Signal>) {
    while interrupts.next().await.is_ok() {
        if signal.is_stopped() {
            std::process::exit(130);
        }
        eprintln!("stopping: what is under way comes to a safe point; a second signal ends at once");
        signal.stop();
    }
}
