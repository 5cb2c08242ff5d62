//! `slm-bench demo`: the whole way on embedded parts.

use super::artifact_files::published_path;
use super::meter::MeterChoice;
use super::process::process;
use super::run::Choice;
use super::{InvalidInput, Outcome};
use crate::bot::validation::{Check, check_issue};
use crate::engine::{DType, Device};
use crate::evaluation::write_atomically;
use crate::hub::{Hub, HubConfig};
use crate::leaderboard::Registry;
use crate::publish::{Attempts, Credentials, Identity, Publisher};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The whole way on built-in parts: a sample issue, a model of 1.3 million parameters, a small suite, a local git repository with a bare remote.
///
/// Needs no network and no account. Prints the comment that the bot would write and where to look. The scores mean little: the model knows
/// next to nothing, and the built-in suite has a few items of every kind.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder for everything that the demo writes; must not exist yet. A folder in the system's temporary folder when not given.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

const ISSUE: &str = include_str!("demo/issue.md");
/// Branch that the results are pushed to, and that a clone checks out.
const BRANCH: &str = "main";
const REPOSITORY: &str = "slm-benchmark/demo-1m";
const MODEL: [(&str, &[u8]); 6] = [
    ("README.md", include_bytes!("../../models/demo/README.md")),
    ("config.json", include_bytes!("../../models/demo/config.json")),
    ("generation_config.json", include_bytes!("../../models/demo/generation_config.json")),
    ("model.safetensors", include_bytes!("../../models/demo/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../models/demo/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../models/demo/tokenizer_config.json")),
];

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let folder = prepare_folder(arguments.output_dir.as_deref())?;
    step("1. The issue", "A model author opens an issue with this body:");
    println!("{}", indented(ISSUE));

    let cache = folder.join("hub");
    write_model(&cache)?;
    let hub = Hub::new(&HubConfig::offline(&cache))?;
    let choice = choice();
    let check = Check { suite: &choice.suite, allow_gated: false, registry: &Registry::default(), author: None };
    let report = check_issue(ISSUE, &hub, &check)?;
    step("2. The check", &report.summary());
    let Some(submission) = report.submission.filter(|_| report.valid) else {
        return Err(InvalidInput("the demo's own submission is not valid: this build is broken".to_owned()).into());
    };

    step("3. The evaluation", "mistral.rs answers the built-in suite:");
    let remote = folder.join("remote.git");
    git2::Repository::init_opts(&remote, git2::RepositoryInitOptions::new().bare(true).initial_head(BRANCH))
        .with_context(|| format!("cannot make the bare repository {}", remote.display()))?;
    let publisher = Publisher {
        remote: remote.display().to_string(),
        branch: BRANCH.to_owned(),
        cache: folder.join("publish-cache.git"),
        author: Identity { name: "slm-bench".to_owned(), email: "slm-bench@localhost".to_owned() },
        credentials: Credentials::default(),
        signing_key: None,
        attempts: Attempts::default(),
    };
    let processed = process(&submission, &hub, &choice, &folder, &publisher, Some(1))?;

    step("4. The comment", "The bot answers on the issue:");
    println!("{}", indented(&processed.comment));
    let checkout = folder.join("repository");
    git2::Repository::clone(&remote.display().to_string(), &checkout).context("cannot clone the remote")?;
    step("5. Where to look", &format!("Everything is in {}", folder.display()));
    println!("  commit       {} on `{BRANCH}` of {}", processed.published.commit.as_deref().unwrap_or("none"), remote.display());
    println!("  clone        {}", checkout.display());
    println!("  leaderboard  {}", checkout.join("website/assets/data/leaderboard.json").display());
    for one in &processed.evaluated {
        println!("  run          {}", checkout.join(published_path(&one.run)).display());
    }
    Ok(Outcome::Done)
}

fn choice() -> Choice {
    Choice {
        suite: "smoke".to_owned(),
        tasks: Vec::new(),
        pillars: Vec::new(),
        limit: None,
        num_fewshot: None,
        batch_size: None,
        device: Device::Cpu,
        engine: crate::engine::Choice::Auto,
        dtype: DType::F32,
        seed: 1234,
        probes: false,
        resume: false,
        extend: None,
        coding_samples: None,
        apply_chat_template: false,
        measuring: MeterChoice::off(),
    }
}

fn prepare_folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(folder) = wanted else {
        let folder = tempfile::Builder::new().prefix("slm-bench-demo-").tempdir().context("cannot make a temporary folder")?;
        return Ok(folder.keep());
    };
    if folder.exists() {
        return Err(super::UsageError(format!("{} exists already; the demo wants a new folder", folder.display())).into());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    std::path::absolute(folder).context("no absolute path")
}

/// The embedded model as a Hugging Face cache, so that the demo reads it as it would any other.
fn write_model(cache: &Path) -> anyhow::Result<()> {
    let mut hasher = Sha256::new();
    for (name, bytes) in MODEL {
        hasher.update(name);
        hasher.update(Sha256::digest(bytes));
    }
    let commit = hex::encode(&hasher.finalize()[..20]);
    let home = cache.join(format!("models--{}", REPOSITORY.replace('/', "--")));
    for (name, bytes) in MODEL {
        write_atomically(&home.join("snapshots").join(&commit).join(name), bytes)?;
    }
    write_atomically(&home.join("refs/main"), commit.as_bytes())
}

fn step(title: &str, text: &str) {
    println!("\n{title}\n{}\n{text}\n", "─".repeat(title.chars().count()));
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}
