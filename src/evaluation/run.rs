//! The run itself: its identity, its tasks one after the other, its artifacts.

use super::documents::DocumentSource;
use super::earlier::Extended;
use super::files::write_atomically;
use super::leaf::{self, Again, AnsweredLeaf, Executed, LeafContext, SELF_CHECK_LEAST};
use super::probes::probe_figures;
use super::record::{constant_answer_warning, constant_text_warning, gate_self_check, group_record, leaf_record, truncation_warning};
use super::samples::{is_intact, read_samples, write_samples};
use super::{Control, ProgramRunner, RunError, RunLine, RunOptions, Verbosity, may_pass};
use crate::benchmark::probes::{self, Probe};
use crate::benchmark::registry::{self, Entry};
use crate::benchmark::suites::{Pillar, Suite, SuiteTask};
use crate::benchmark::{
    self, Limit, Location, OutputKind, Response, SAMPLE_TEMPERATURE, SAMPLE_TOP_P, Subset, Task, TaskSpec, Verdict, long_context,
};
use crate::engine::{LanguageModel, longest_text};
use crate::leaderboard::canonical;
use crate::leaderboard::energy::TaskEnergy;
use crate::leaderboard::identity::{RunIdentity, TaskIdentity, weights_digest};
use crate::leaderboard::pillars::{PillarSpec, summarise};
use crate::leaderboard::run::{
    self as artifact, Environment, ModelRecord, RUN_SCHEMA_VERSION, Run, SampleFile, SuiteRecord, TaskRecord, TaskStatus,
};
use crate::meter::Host;
use crate::sandbox::Program;
use anyhow::Context;
use chrono::{DateTime, Utc};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// Largest difference in nats between a request's two computations in f32.
const SELF_CHECK_BOUND_F32: f64 = 1e-3;
/// Largest difference per token for rolling requests in f32.
const SELF_CHECK_BOUND_F32_ROLLING: f64 = 1e-6;
/// As [`SELF_CHECK_BOUND_F32`] for bf16: eight bits of mantissa, measured in the methodology.
const SELF_CHECK_BOUND_BF16: f64 = 1.0;
/// As [`SELF_CHECK_BOUND_F32`] for f16: eleven bits of mantissa, measured in the methodology.
const SELF_CHECK_BOUND_F16: f64 = 0.125;
/// As [`SELF_CHECK_BOUND_F32`] for quantized weights: their products round the activations to eight bits, and a last bit that differs can
/// change a rounding; measured in the methodology.
const SELF_CHECK_BOUND_QUANTIZED: f64 = 0.125;
/// Tokens of a rolling request over which the per-token bounds of reduced precision are stated.
const ROLLING_TOKENS: f64 = 100.0;

/// Leaves of a group of which one is audited, where another engine checks.
const LEAVES_FOR_ONE_AUDITED: usize = 20;
/// Fewest documents of such a group that are checked.
const SELF_CHECK_LEAST_DOCUMENTS: usize = 2;

/// The informational pillar of speed and memory.
pub const EDGE_PILLAR: &str = "edge";

/// File in the folder of unfinished work that says when it began.
const BEGUN: &str = "begun.json";

/// The model of a run: what the artifact records about it.
#[derive(Clone, Debug)]
pub struct ModelUnderTest {
    /// Folder name of the model below the output folder.
    pub slug: String,
    /// Repository, revision, quantization, weight files.
    pub record: ModelRecord,
    /// SHA-256 of the tokenizer.
    pub tokenizer_sha256: String,
    /// SHA-256 of the chat template, where the model has one.
    pub chat_template_sha256: Option<String>,
}

/// A finished run.
pub struct Evaluated {
    /// The run's folder.
    pub folder: PathBuf,
    /// Its artifact.
    pub run: Run,
}

/// A run that cannot begin because of what is in its folder.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// An earlier command with the same id was interrupted.
    #[error("an unfinished run of the same id is in {}: add --resume to go on with it, or remove that folder to start over", .0.display())]
    Unfinished(PathBuf),
    /// Another process writes there.
    #[error("another slm-bench is working in {}: wait for it, or give each shard an output folder of its own and join them with `slm-bench merge`", .0.display())]
    Busy(PathBuf),
    /// The run that was to be extended is none, or one of other questions or answers.
    #[error("{} cannot be extended: {reason}", folder.display())]
    NotExtendable {
        /// The folder that was named.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Says what is wrong with a choice of suite, tasks and pillars, before anything is loaded.
///
/// # Errors
/// An unknown suite, task or pillar; the message has close names.
pub fn check(options: &RunOptions) -> anyhow::Result<()> {
    Plan::new(options).map(|_| ())
}

/// Kept from the first command to the last of an interrupted run.
#[derive(Serialize, Deserialize)]
struct Begun {
    started_at: DateTime<Utc>,
}

/// A task that has been finished while others are still under way.
#[derive(Serialize, Deserialize)]
struct FinishedTask {
    record: TaskRecord,
    samples: Vec<SampleFile>,
    /// What this command spent on it; `None` for what an earlier one answered, in whole or in part.
    #[serde(default)]
    energy: Option<TaskEnergy>,
}

/// Evaluates a model and writes its run folder below `output`.
///
/// A task that fails is recorded with its reason and the others go on. `now` gives the time in UTC.
///
/// # Errors
/// Unknown suite, task or pillar; [`RunFolderError`]; an interrupt; a disk that fails.
#[expect(clippy::too_many_arguments, reason = "everything that differs between production and test is passed in")]
pub fn run(
    model: &mut dyn LanguageModel,
    about: &ModelUnderTest,
    source: &mut dyn DocumentSource,
    programs: Option<&dyn ProgramRunner>,
    options: &RunOptions,
    output: &Path,
    control: &Control<'_>,
    now: &dyn Fn() -> DateTime<Utc>,
) -> anyhow::Result<Evaluated> {
    let plan = Plan::new(options)?;
    let identity = plan.identity(model, about, source, options);
    let run_id = identity.run_id();
    let folder = output.join(&about.slug).join(&run_id);
    let unfinished = folder.join("unfinished");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let _alone = lock(&folder)?;
    refuse_to_mix(&unfinished, options.resume)?;
    let earlier = earlier_run(&folder, &identity)?;
    let extended = Extended::find(&output.join(&about.slug), options.extend.as_deref(), &identity)?;
    let started_at = begin(&unfinished, now())?;
    let window = model.max_length();
    let mut worker = Worker {
        model,
        source,
        programs,
        options,
        run_id: &run_id,
        folder: &folder,
        unfinished: &unfinished,
        control,
        earlier: earlier.as_ref().filter(|_| options.resume),
        extended: &extended,
        is_quantized: matches!(about.record.quantization.format.as_str(), "gguf" | "isq"),
        is_changed: false,
        leaf_number: 0,
        leaves: plan.tasks.iter().filter(|task| !is_too_long(task, window)).map(|task| task.leaves.len() as u64).sum(),
    };
    let mut finished: BTreeMap<String, FinishedTask> = BTreeMap::new();
    for task in plan.tasks.iter().filter(|task| !is_too_long(task, window)) {
        finished.insert(task.name().to_owned(), worker.task(task)?);
    }
    let run = match &earlier {
        // Everything was there: the artifact stays as it is, its dates included.
        Some(earlier) if !worker.is_changed => earlier.clone(),
        _ => {
            let energies = finished.iter_mut().filter_map(|(name, task)| task.energy.take().map(|energy| (name.clone(), energy))).collect();
            let mut run = plan.artifact(worker.model, programs, about, options, identity, earlier.as_ref(), started_at, now(), finished);
            run.environment.hardware_class = control.energy.map(|watch| watch.hardware_class.clone());
            let informational = earlier.as_ref().map(|earlier| &earlier.informational);
            run.informational.edge = informational.and_then(|earlier| earlier.edge.clone());
            let before = informational.and_then(|earlier| earlier.energy.as_ref());
            run.informational.energy = match control.energy {
                Some(watch) => Some(watch.figures(energies, before, options.resume)),
                None => before.cloned(),
            };
            run.informational.long_context = long_context_of(&run, &folder, &plan, window)?;
            run.informational.probes = probe_figures(&run);
            run.environment.details.extend(extended.details());
            write_atomically(&folder.join("run.json"), canonical::to_pretty(&run)?.as_bytes())?;
            run
        }
    };
    clear(&unfinished, &plan)?;
    Ok(Evaluated { folder, run })
}

/// A long-context task for whose shortest text the model's window is too short: it has nothing to ask, which its grid says.
fn is_too_long(task: &PlannedTask, window: usize) -> bool {
    task.spec().dataset.location == Location::Generated && window < long_context::LENGTHS[0]
}

/// The grids of the run's long-context tasks, from their samples.
fn long_context_of(run: &Run, folder: &Path, plan: &Plan, window: usize) -> anyhow::Result<Option<serde_json::Value>> {
    let scored = |name: &str| run.tasks.get(name).is_some_and(|task| task.status == TaskStatus::Ok);
    let asked = |name: &str| plan.tasks.iter().any(|task| task.name() == name) && window < long_context::LENGTHS[0];
    let tasks: Vec<&str> = long_context::TASKS.into_iter().filter(|name| scored(name) || asked(name)).collect();
    let mut lines = Vec::new();
    for file in run.samples.iter().filter(|file| tasks.contains(&file.task.as_str())) {
        lines.extend(read_samples(&folder.join(&file.file))?.into_iter().map(|line| (file.task.as_str(), line.details, line.metrics)));
    }
    let grids = long_context::summary(
        &tasks,
        lines.iter().map(|(task, details, metrics)| (*task, details.as_ref(), metrics)),
        window,
        longest_text(&run.engine.name, &run.engine.device),
    );
    Ok(grids.map(serde_json::to_value).transpose()?)
}

/// Writes a finished run's `run.json` again, after figures outside of its identity were added.
///
/// # Errors
/// A disk that fails; the earlier file then stays whole.
pub fn rewrite(evaluated: &Evaluated) -> anyhow::Result<()> {
    let _alone = lock(&evaluated.folder)?;
    write_atomically(&evaluated.folder.join("run.json"), canonical::to_pretty(&evaluated.run)?.as_bytes())
}

/// Keeps a second process out of a run's folder; the system lets go when this one ends, however it ends.
#[cfg(unix)]
fn lock(folder: &Path) -> anyhow::Result<fs::File> {
    let handle = fs::File::open(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(fs::TryLockError::WouldBlock) => Err(RunFolderError::Busy(folder.to_owned()).into()),
        // Some network file systems know no locks.
        Err(fs::TryLockError::Error(error)) => {
            tracing::warn!("{} cannot be locked ({error}); see that no other slm-bench works there", folder.display());
            Ok(handle)
        }
    }
}

#[cfg(not(unix))]
fn lock(_folder: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn refuse_to_mix(unfinished: &Path, resume: bool) -> Result<(), RunFolderError> {
    let begun = fs::read_dir(unfinished).is_ok_and(|mut entries| entries.next().is_some());
    if begun && !resume { Err(RunFolderError::Unfinished(unfinished.to_owned())) } else { Ok(()) }
}

/// Makes the folder of unfinished work, and gives the time at which the first of the commands that fill it began.
fn begin(unfinished: &Path, now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let path = unfinished.join(BEGUN);
    if let Ok(bytes) = fs::read(&path) {
        let begun: Begun =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged; remove it and run again", path.display()))?;
        return Ok(begun.started_at);
    }
    write_atomically(&path, &serde_json::to_vec(&Begun { started_at: now })?)?;
    Ok(now)
}

/// Removes the journals of this command's tasks, which the artifact now stands for. Those of a shard that was interrupted stay.
fn clear(unfinished: &Path, plan: &Plan) -> anyhow::Result<()> {
    for leaf in plan.tasks.iter().flat_map(|task| &task.leaves) {
        for file in [journal_name(&leaf.spec().name), done_name(&leaf.spec().name)] {
            remove_if_there(&unfinished.join(file))?;
        }
    }
    let others = fs::read_dir(unfinished).with_context(|| format!("cannot list {}", unfinished.display()))?;
    let is_work = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".done.json")).is_some())
    };
    let others = others.filter_map(Result::ok).filter(|entry| is_work(&entry.file_name())).count();
    if others == 0 {
        fs::remove_dir_all(unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Name of a leaf's journal in the folder of unfinished work.
pub(super) fn journal_name(leaf: &str) -> String {
    format!("{leaf}.jsonl")
}

/// Name of a finished leaf's record there.
fn done_name(leaf: &str) -> String {
    format!("{leaf}.done.json")
}

/// A task or group of the run, with what the suite or the caller decides about it.
#[derive(Clone)]
struct PlannedTask {
    entry: &'static Entry,
    leaves: Vec<Arc<dyn Task>>,
    /// Few-shot examples; `None` is the task's own number.
    num_fewshot: Option<usize>,
    /// Documents of each leaf that the suite takes; `None` is all.
    documents: Option<Subset>,
    /// Documents of each leaf that the suite takes which this one extends.
    first: Option<Subset>,
    /// The probed task, where this is a probe: its record goes to the run's probes, and it is not part of the run's id.
    probe_of: Option<&'static Entry>,
}

impl PlannedTask {
    fn name(&self) -> &str {
        self.entry.name()
    }

    fn spec(&self) -> &TaskSpec {
        self.leaves[0].spec()
    }

    fn version(&self) -> String {
        // A probe asks as its task does, of which it is a function: that task's identity is its own.
        match self.probe_of.unwrap_or(self.entry) {
            Entry::Task(task) => task.spec().version.clone(),
            Entry::Group(group) => group.version.clone(),
        }
    }

    /// The record of this task in a run.
    fn record_of<'a>(&self, run: &'a Run) -> Option<&'a TaskRecord> {
        if self.probe_of.is_some() { run.probes.get(self.name()) } else { run.tasks.get(self.name()) }
    }

    fn shots(&self) -> u32 {
        u32::try_from(self.spec().num_fewshot(self.num_fewshot)).unwrap_or(u32::MAX)
    }
}

/// What is asked for, resolved against the registry before anything runs.
struct Plan {
    suite: Suite,
    /// Tasks to run now, then their probes.
    tasks: Vec<PlannedTask>,
    /// Tasks that the run's id stands for: the suite's, and others that were asked for. Shards of one run share it.
    identified: Vec<PlannedTask>,
}

impl Plan {
    fn new(options: &RunOptions) -> anyhow::Result<Self> {
        let suite = Suite::named(&options.suite)?;
        let mut wanted: Vec<String> = options.tasks.clone();
        // The edge figures are no task: they are measured in a process of their own after the tasks.
        for pillar in options.pillars.iter().filter(|pillar| *pillar != EDGE_PILLAR) {
            wanted.extend(suite.tasks_of(pillar)?.into_iter().map(|task| task.name.to_owned()));
        }
        let of_suite: Vec<String> = suite.tasks().map(|task| task.name.to_owned()).collect();
        if wanted.is_empty() && options.pillars.is_empty() {
            wanted.clone_from(&of_suite);
        }
        let planned = |names: &[String]| -> anyhow::Result<Vec<PlannedTask>> {
            let mut seen = BTreeSet::new();
            names.iter().filter(|name| seen.insert(name.as_str())).map(|name| planned_task(&suite, name, options)).collect()
        };
        let mut tasks = planned(&wanted)?;
        if options.probes {
            let probed = tasks.iter().flat_map(|task| probes::probes_of(task.name()).map(|probe| (task.entry, probe)));
            let probed: Vec<PlannedTask> =
                probed.map(|(base, probe)| planned_probe(&suite, base, probe, options)).collect::<anyhow::Result<_>>()?;
            tasks.extend(probed);
        }
        let identified = planned(&of_suite.into_iter().chain(wanted).collect::<Vec<_>>())?;
        Ok(Self { suite, tasks, identified })
    }

    fn identity(
        &self,
        model: &dyn LanguageModel,
        about: &ModelUnderTest,
        source: &mut dyn DocumentSource,
        options: &RunOptions,
    ) -> RunIdentity {
        let engine = model.description();
        let tasks = self.identified.iter().map(|task| (task.name().to_owned(), task_identity(task, source))).collect();
        RunIdentity {
            weights: weights_digest(about.record.weights.iter().map(|file| (file.file.as_str(), file.sha256.as_str()))),
            quantization: about.record.quantization.name.clone(),
            tokenizer: about.tokenizer_sha256.clone(),
            chat_template: about.chat_template_sha256.clone().filter(|_| options.apply_chat_template),
            dtype: engine.dtype,
            device: engine.device,
            engine: engine.name,
            engine_version: engine.version,
            slm_benchmark: env!("CARGO_PKG_VERSION").to_owned(),
            suite: self.suite.name.to_owned(),
            suite_version: self.suite.version.to_owned(),
            tasks,
            seed: options.seed,
            limit: artifact_limit(options.limit),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one artifact")]
    fn artifact(
        &self,
        model: &dyn LanguageModel,
        programs: Option<&dyn ProgramRunner>,
        about: &ModelUnderTest,
        options: &RunOptions,
        identity: RunIdentity,
        earlier: Option<&Run>,
        started_at: DateTime<Utc>,
        finished_at: DateTime<Utc>,
        finished: BTreeMap<String, FinishedTask>,
    ) -> Run {
        let engine = model.description();
        let mut tasks = BTreeMap::new();
        let mut probes = BTreeMap::new();
        let mut samples = Vec::new();
        let mut began = started_at;
        // Tasks of the same run that were finished by an earlier command (a shard) stay.
        if let Some(earlier) = earlier {
            began = began.min(earlier.started_at);
            let kept = |name: &str| !finished.contains_key(name);
            let records = || earlier.tasks.iter().chain(&earlier.probes);
            // Every file belongs to one record: as its own, or as a subtask's.
            let is_of = |file: &SampleFile, name: &str, record: &TaskRecord| file.task == name || record.subtasks.contains_key(&file.task);
            let is_kept = |file: &&SampleFile| records().any(|(name, record)| kept(name) && is_of(file, name, record));
            samples.extend(earlier.samples.iter().filter(is_kept).cloned());
            tasks.extend(earlier.tasks.iter().filter(|(name, _)| kept(name)).map(|(name, record)| (name.clone(), record.clone())));
            probes.extend(earlier.probes.iter().filter(|(name, _)| kept(name)).map(|(name, record)| (name.clone(), record.clone())));
        }
        for (name, task) in finished {
            let is_probe = self.tasks.iter().any(|planned| planned.name() == name && planned.probe_of.is_some());
            if is_probe { &mut probes } else { &mut tasks }.insert(name, task.record);
            samples.extend(task.samples);
        }
        samples.sort();
        let specs = pillar_specs(&self.suite);
        let (pillars, aggregate) = summarise(&specs, &tasks);
        let overrides = options.num_fewshot.map(|shots| format!("num_fewshot={shots}")).into_iter().collect();
        Run {
            schema_version: RUN_SCHEMA_VERSION.to_owned(),
            run_id: identity.run_id(),
            limit: identity.limit,
            seed: identity.seed,
            chat_template: options.apply_chat_template,
            identity,
            model: about.record.clone(),
            suite: SuiteRecord { name: self.suite.name.to_owned(), version: self.suite.version.to_owned(), overrides },
            engine: artifact::EngineRecord { name: engine.name, version: engine.version, device: engine.device, dtype: engine.dtype },
            environment: environment(model, programs),
            started_at: began,
            finished_at,
            requested: tasks.keys().chain(probes.keys()).cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            tasks,
            probes,
            pillars,
            aggregate,
            informational: artifact::Informational::default(),
            samples,
        }
    }
}

/// Few-shot number and documents as the suite says them for the task or for a group that it belongs to; a task outside of the suite has its own.
fn planned_task(suite: &Suite, name: &str, options: &RunOptions) -> anyhow::Result<PlannedTask> {
    let entry = registry::entry(name)?;
    let leaves: Vec<Arc<dyn Task>> = registry::leaves(name)?;
    let of_suite = task_of_suite(suite, name, &leaves);
    // A limit takes documents by other rules, so there is no smaller suite to extend.
    let smaller = suite.extends.filter(|_| options.limit.is_none()).map(Suite::named).transpose()?;
    let first = smaller.as_ref().and_then(|smaller| task_of_suite(smaller, name, &leaves)).and_then(|task| task.documents);
    let sampled = |leaf: Arc<dyn Task>| options.coding_samples.and_then(|samples| leaf.sampled(samples)).unwrap_or(leaf);
    Ok(PlannedTask {
        entry,
        num_fewshot: options.num_fewshot.or(of_suite.map(|task| task.num_fewshot)),
        documents: of_suite.and_then(|task| task.documents),
        leaves: leaves.into_iter().map(sampled).collect(),
        first,
        probe_of: None,
    })
}

/// As many examples as the probed task has, and a part of the documents by the probe's own rule.
fn planned_probe(suite: &Suite, base: &'static Entry, probe: &'static Probe, options: &RunOptions) -> anyhow::Result<PlannedTask> {
    let planned = planned_task(suite, base.name(), options)?;
    Ok(PlannedTask {
        entry: &probe.entry,
        leaves: probe.leaves(),
        documents: Some(probe.documents(suite.name)),
        first: suite.extends.filter(|_| options.limit.is_none()).map(|smaller| probe.documents(smaller)),
        probe_of: Some(base),
        ..planned
    })
}

/// What a suite says about a task: by its name, or about a group that its leaves belong to.
fn task_of_suite<'a>(suite: &'a Suite, name: &str, leaves: &[Arc<dyn Task>]) -> Option<&'a SuiteTask> {
    suite.tasks().find(|task| task.name == name).or_else(|| {
        suite.tasks().find(|task| {
            let members = registry::leaves(task.name).unwrap_or_default();
            leaves.iter().all(|leaf| members.iter().any(|member| member.spec().name == leaf.spec().name))
        })
    })
}

/// The pillars of a suite as the leaderboard takes them.
#[must_use]
pub fn pillar_specs(suite: &Suite) -> Vec<PillarSpec> {
    let spec = |pillar: &Pillar| PillarSpec {
        name: pillar.name.to_owned(),
        weight: f64::from(pillar.weight),
        tasks: pillar.tasks.iter().map(|task| task.name.to_owned()).collect(),
    };
    suite.pillars.iter().map(spec).collect()
}

fn artifact_limit(limit: Option<Limit>) -> Option<artifact::Limit> {
    match limit? {
        Limit::Count(count) => Some(artifact::Limit::Documents(count as u64)),
        Limit::Fraction(share) => Some(artifact::Limit::Fraction(share)),
    }
}

fn task_identity(task: &PlannedTask, source: &mut dyn DocumentSource) -> TaskIdentity {
    let spec = task.spec();
    let dataset = match &spec.dataset.location {
        Location::Hub { repo, .. } => repo.clone(),
        Location::BuiltIn => "builtin".to_owned(),
        Location::Generated => leaf::GENERATED.to_owned(),
    };
    let mut decoding = spec.generation.as_ref().map_or(
        serde_json::Value::Null,
        |settings| serde_json::json!({"do_sample": false, "max_gen_toks": spec.max_gen_toks(), "until": settings.until}),
    );
    if spec.samples > 0 {
        decoding["sampled"] = serde_json::json!({"samples": spec.samples, "temperature": SAMPLE_TEMPERATURE, "top_p": SAMPLE_TOP_P});
    }
    TaskIdentity {
        version: task.version(),
        num_fewshot: task.shots(),
        dataset,
        // A data set that cannot be had is not part of the id; its task will fail with the reason.
        dataset_revision: source.revision(spec).ok(),
        decoding,
    }
}

/// The artifact that an earlier command with the same identity left in the folder.
fn earlier_run(folder: &Path, identity: &RunIdentity) -> anyhow::Result<Option<Run>> {
    let path = folder.join("run.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let run: Run = serde_json::from_str(&text).with_context(|| format!("{} is not a run; move it away and run again", path.display()))?;
    Ok((run.identity == *identity).then_some(run))
}

fn environment(model: &dyn LanguageModel, programs: Option<&dyn ProgramRunner>) -> Environment {
    let host = Host::read(Path::new("/proc"));
    let mut details = BTreeMap::from([("max_length".to_owned(), model.max_length().to_string())]);
    details.extend(model.weights_note().map(|note| ("weights".to_owned(), note)));
    details.extend(programs.and_then(ProgramRunner::level).map(|level| ("sandbox".to_owned(), level.to_string())));
    Environment {
        slm_benchmark: env!("CARGO_PKG_VERSION").to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        logical_cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        details,
        cpu: host.cpu,
        memory_bytes: host.memory_bytes,
        ..Environment::default()
    }
}

/// What the tasks of one run share.
struct Worker<'a> {
    model: &'a mut dyn LanguageModel,
    source: &'a mut dyn DocumentSource,
    programs: Option<&'a dyn ProgramRunner>,
    options: &'a RunOptions,
    run_id: &'a str,
    folder: &'a Path,
    unfinished: &'a Path,
    control: &'a Control<'a>,
    /// What `--resume` takes over.
    earlier: Option<&'a Run>,
    /// Whose answers are taken over.
    extended: &'a Extended,
    /// The weights are quantized by blocks.
    is_quantized: bool,
    /// Something was computed that the earlier artifact does not have.
    is_changed: bool,
    /// Number of the task, or part of one, that is under way, from 1.
    leaf_number: u64,
    leaves: u64,
}

impl Worker<'_> {
    /// Runs a task or a group; a failure is a record, not an error.
    fn task(&mut self, planned: &PlannedTask) -> anyhow::Result<FinishedTask> {
        let audited = self.audited(planned);
        // First all leaves are answered, then all are checked: the second computation may be another engine's, which must be loaded for it.
        let mut leaves = Vec::with_capacity(planned.leaves.len());
        for (number, task) in planned.leaves.iter().enumerate() {
            let again = match &audited {
                None => Again::Share(SELF_CHECK_LEAST.div_ceil(planned.leaves.len())),
                Some(audited) if audited.contains(&number) => Again::All,
                Some(_) => Again::Nothing,
            };
            leaves.push((task, self.leaf(planned, task.as_ref(), again)?));
        }
        if audited.is_some() {
            take_share(leaves.iter_mut().map(|(_, leaf)| leaf).collect());
        }
        let mut records = BTreeMap::new();
        let mut samples = Vec::new();
        let mut energy: Option<TaskEnergy> = None;
        for (task, leaf) in leaves {
            let leaf = self.checked(planned, task.as_ref(), leaf)?;
            samples.extend(leaf.samples);
            energy = match (energy, leaf.energy) {
                (Some(sum), Some(leaf)) => Some(sum.and(&leaf)),
                (sum, leaf) => sum.or(leaf),
            };
            records.insert(task.spec().name.clone(), leaf.record);
        }
        let record = match planned.entry {
            Entry::Group(group) => group_record(group, &registry::groups_within(group), records, planned.spec()),
            Entry::Task(_) => records.into_values().next().context("a task without leaves")?,
        };
        Ok(FinishedTask { record, samples, energy })
    }

    /// Leaves of a group that stand for all where another, slower engine checks: one in twenty. What the documents of a leaf share is
    /// computed once, so that few leaves cost less than a little of each.
    fn audited(&self, planned: &PlannedTask) -> Option<Vec<usize>> {
        let count = planned.leaves.len();
        (count > 1 && self.model.is_checked_by_another()).then(|| {
            let order = leaf::in_order_of_digests(&format!("{}/{}", self.run_id, planned.name()), count);
            order.into_iter().take(count.div_ceil(LEAVES_FOR_ONE_AUDITED)).collect()
        })
    }

    fn leaf(&mut self, planned: &PlannedTask, task: &dyn Task, again: Again) -> anyhow::Result<AskedLeaf> {
        self.control.check()?;
        let name = &task.spec().name;
        self.leaf_number += 1;
        if self.control.verbosity == Verbosity::Json {
            RunLine::Task { task: name.clone(), number: self.leaf_number, of: self.leaves }.print();
        }
        if let Some(published) = self.published(planned, name) {
            return Ok(AskedLeaf { finished: published, checks: None });
        }
        self.is_changed = true;
        let done = self.unfinished.join(done_name(name));
        if self.options.resume
            && let Some(finished) = self.finished_before(&done)?
        {
            return Ok(AskedLeaf { finished, checks: None });
        }
        let began = Instant::now();
        // Answers of an interrupted command were paid for there.
        let is_whole = !self.unfinished.join(journal_name(name)).exists();
        let reading = self.control.energy.filter(|_| is_whole).map(|watch| (watch, watch.meter.read()));
        match self.try_leaf(planned, task, again) {
            Ok((mut finished, checks)) => {
                finished.record.duration_s = began.elapsed().as_secs_f64();
                // What probes take is no part of what the scores cost.
                finished.energy = reading
                    .filter(|_| planned.probe_of.is_none())
                    .map(|(watch, before)| watch.task(&before, task.spec(), &finished.record));
                Ok(AskedLeaf { finished, checks: Some(checks) })
            }
            Err(error) => {
                if self.control.verbosity == Verbosity::Json
                    && let RunError::Task(reason) = &error
                    && may_pass(reason) == Some(true)
                {
                    RunLine::Delayed { task: name.clone(), reason: format!("{reason:#}") }.print();
                }
                let finished = failed(planned, task, error)?;
                write_atomically(&done, &serde_json::to_vec(&finished)?)?;
                Ok(AskedLeaf { finished, checks: None })
            }
        }
    }

    /// Computes a part of a leaf's requests again, and keeps its record with what came of it.
    fn checked(&mut self, planned: &PlannedTask, task: &dyn Task, leaf: AskedLeaf) -> anyhow::Result<FinishedTask> {
        let AskedLeaf { mut finished, checks: Some(checks) } = leaf else { return Ok(leaf.finished) };
        match leaf::self_check(&checks, self.model, self.control) {
            Ok(check) => {
                finished.record.self_check = check;
                let bound = self_check_bound(&self.model.description().dtype, self.is_quantized, task.spec().output);
                gate_self_check(&mut finished.record, bound);
            }
            Err(error) => finished = failed(planned, task, error)?,
        }
        write_atomically(&self.unfinished.join(done_name(&task.spec().name)), &serde_json::to_vec(&finished)?)?;
        Ok(finished)
    }

    /// The record of a leaf in the artifact that an earlier command wrote.
    fn published(&self, planned: &PlannedTask, leaf: &str) -> Option<FinishedTask> {
        let earlier = self.earlier?;
        let task = planned.record_of(earlier)?;
        let record = match planned.entry {
            Entry::Task(_) => task,
            Entry::Group(_) => task.subtasks.get(leaf)?,
        };
        let samples = earlier.samples.iter().filter(|file| file.task == leaf).cloned().collect();
        self.if_usable(FinishedTask { record: record.clone(), samples, energy: None })
    }

    /// The record of a leaf that an interrupted run had already finished, with its sample file still in place.
    fn finished_before(&self, path: &Path) -> anyhow::Result<Option<FinishedTask>> {
        let Ok(text) = fs::read(path) else { return Ok(None) };
        let finished: FinishedTask =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged; remove it and run again", path.display()))?;
        Ok(self.if_usable(finished))
    }

    /// What failed may succeed now (a data set that has arrived, memory that is free), and a score without its samples proves nothing.
    fn if_usable(&self, finished: FinishedTask) -> Option<FinishedTask> {
        let is_ok = finished.record.status == TaskStatus::Ok && !finished.samples.is_empty();
        (is_ok && finished.samples.iter().all(|file| is_intact(self.folder, file))).then_some(finished)
    }

    fn try_leaf(
        &mut self,
        planned: &PlannedTask,
        task: &dyn Task,
        again: Again,
    ) -> Result<(FinishedTask, Vec<Vec<leaf::Check>>), RunError> {
        let earlier = self.extended.answers(planned.name(), &task_identity(planned, self.source), &task.spec().name);
        let context = LeafContext {
            options: self.options,
            num_fewshot: planned.num_fewshot,
            subset: planned.documents,
            first: planned.first,
            earlier: &earlier,
            unfinished: self.unfinished,
            run_id: self.run_id,
            control: self.control,
            again,
        };
        let answered = leaf::answer(task, self.model, self.source, &context)?;
        let scored = self.scores(task, &answered)?;
        let (scores, executed): (Vec<_>, Vec<_>) = scored.into_iter().unzip();
        let mut record = leaf_record(task.spec(), &scores, answered.built.n_total, answered.built.num_fewshot, answered.built.chance)
            .map_err(|error| RunError::Task(error.into()))?;
        Self::complete(task, &mut record, &answered);
        let lines = leaf::sample_lines(task, &answered, &scores, &executed);
        let samples = vec![write_samples(self.folder, &task.spec().name, lines).map_err(RunError::Stopped)?];
        Ok((FinishedTask { record, samples, energy: None }, answered.checks))
    }

    /// Scores of all documents, and what their programs did where the task has any.
    fn scores(&self, task: &dyn Task, answered: &AnsweredLeaf) -> Result<Vec<(benchmark::DocumentScore, Vec<Executed>)>, RunError> {
        let documents = || answered.built.instances.iter().zip(&answered.responses);
        let failed = |error: benchmark::BenchmarkError| RunError::Task(error.into());
        let programs: Vec<Vec<Program>> = documents()
            .map(|(instance, responses)| benchmark::programs(task, instance, responses))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let mut executed = self.execute(&programs)?.into_iter();
        documents()
            .zip(&programs)
            .map(|((instance, responses), programs)| {
                let executed: Vec<Executed> = executed.by_ref().take(programs.len()).collect();
                let verdicts: Vec<Verdict> = executed.iter().map(|executed| executed.verdict).collect();
                Ok((benchmark::score(task, instance, responses, &verdicts).map_err(failed)?, executed))
            })
            .collect()
    }

    fn execute(&self, programs: &[Vec<Program>]) -> Result<Vec<Executed>, RunError> {
        let programs: Vec<Program> = programs.iter().flatten().cloned().collect();
        if programs.is_empty() {
            return Ok(Vec::new());
        }
        let Some(runner) = self.programs else {
            return Err(RunError::Task(anyhow::anyhow!("its programs were not run: no sandbox is available to this run")));
        };
        let executions = runner.run(&programs).map_err(RunError::Task)?;
        programs
            .into_iter()
            .zip(executions)
            .map(|(program, execution)| {
                let verdict = verdict_of(execution.verdict, &execution.reason)?;
                Ok(Executed { program, verdict, reason: without_addresses(&execution.reason) })
            })
            .collect()
    }

    /// What only the run knows about a leaf: where its documents came from, what it cost, whether it can be trusted.
    fn complete(task: &dyn Task, record: &mut TaskRecord, answered: &AnsweredLeaf) {
        let requests: usize = answered.responses.iter().map(Vec::len).sum();
        record.dataset = Some(answered.dataset.clone());
        record.deviations.clone_from(&answered.deviations);
        record.truncated = answered.usage.truncated;
        record.tokens_nominal = answered.usage.tokens_nominal;
        record.tokens_computed = answered.usage.tokens_computed;
        record.tokens_recomputed = answered.usage.tokens_recomputed;
        record.warnings.extend(truncation_warning(record.truncated, requests as u64));
        if task.spec().output == OutputKind::MultipleChoice {
            // A probe's answers are to several forms of a question, of which the task's own is warned of with the task.
            let is_one_form = answered.built.instances.iter().all(|instance| instance.item.forms() == 1);
            record.warnings.extend(constant_answer_warning(&chosen(&answered.responses)).filter(|_| is_one_form));
        }
        record.warnings.extend(constant_text_warning(&first_texts(&answered.responses)));
    }
}

/// A leaf after its documents were asked.
struct AskedLeaf {
    finished: FinishedTask,
    /// What is to be computed again, by document; none: its record is complete.
    checks: Option<Vec<Vec<leaf::Check>>>,
}

/// Of the documents that the audited leaves of a group offer for a second computation, leaves as many as the whole group must have, from each
/// leaf in proportion.
fn take_share(leaves: Vec<&mut AskedLeaf>) {
    let documents: u64 = leaves.iter().map(|leaf| leaf.finished.record.n).sum();
    let wanted = leaf::share(usize::try_from(documents).unwrap_or(usize::MAX)).max(SELF_CHECK_LEAST_DOCUMENTS);
    let mut offers: Vec<&mut Vec<Vec<leaf::Check>>> = leaves.into_iter().filter_map(|leaf| leaf.checks.as_mut()).collect();
    let offered: usize = offers.iter().map(|offer| offer.len()).sum();
    for offer in &mut offers {
        offer.truncate((wanted * offer.len()).div_ceil(offered.max(1)));
    }
}

/// The record of a leaf that has no score, or the reason why the run must stop.
fn failed(planned: &PlannedTask, task: &dyn Task, error: RunError) -> anyhow::Result<FinishedTask> {
    match error {
        RunError::Stopped(reason) => Err(reason),
        RunError::Task(reason) => Ok(without_score(planned, task, TaskStatus::Failed, &format!("{reason:#}"))),
        RunError::Invalid(reason) => Ok(without_score(planned, task, TaskStatus::Invalid, &reason)),
    }
}

/// Index of the most probable answer of each document.
fn chosen(responses: &[Vec<Response>]) -> Vec<usize> {
    responses
        .iter()
        .filter_map(|responses| {
            let value = |response: &Response| if let Response::Loglikelihood { value, .. } = response { *value } else { f64::NEG_INFINITY };
            let best = responses.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
            responses.iter().position(|response| value(response) >= best)
        })
        .collect()
}

/// The first text that was written for each document; none for tasks without texts.
fn first_texts(responses: &[Vec<Response>]) -> Vec<&str> {
    let firsts = responses.iter().filter_map(|responses| responses.first());
    firsts.filter_map(|response| if let Response::Text(text) = response { Some(text.as_str()) } else { None }).collect()
}

fn self_check_bound(dtype: &str, is_quantized: bool, output: OutputKind) -> f64 {
    let rolling = output == OutputKind::LoglikelihoodRolling;
    match (dtype, rolling) {
        ("f32", false) if is_quantized => SELF_CHECK_BOUND_QUANTIZED,
        ("f32", true) if is_quantized => SELF_CHECK_BOUND_QUANTIZED / ROLLING_TOKENS,
        ("f32", false) => SELF_CHECK_BOUND_F32,
        ("f32", true) => SELF_CHECK_BOUND_F32_ROLLING,
        ("f16", false) => SELF_CHECK_BOUND_F16,
        ("f16", true) => SELF_CHECK_BOUND_F16 / ROLLING_TOKENS,
        (_, false) => SELF_CHECK_BOUND_BF16,
        (_, true) => SELF_CHECK_BOUND_BF16 / ROLLING_TOKENS,
    }
}

/// The program's verdict. A sandbox that failed gives none: its task is invalid, and no answer counts as wrong.
fn verdict_of(verdict: crate::sandbox::Verdict, reason: &str) -> Result<Verdict, RunError> {
    Verdict::of_sandbox(verdict).ok_or_else(|| RunError::Invalid(format!("the sandbox failed, so there is no verdict: {reason}")))
}

/// Addresses of objects differ from run to run; without them the same run has the same samples, byte for byte.
fn without_addresses(reason: &str) -> String {
    static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("0x[0-9a-f]{6,}").ok());
    ADDRESS.as_ref().map_or_else(|| reason.to_owned(), |address| address.replace_all(reason, "0x…").into_owned())
}

fn without_score(planned: &PlannedTask, task: &dyn Task, status: TaskStatus, reason: &str) -> FinishedTask {
    let spec = task.spec();
    tracing::warn!(task = %spec.name, "no score: {reason}");
    let record = TaskRecord {
        version: spec.version.clone(),
        num_fewshot: planned.shots(),
        primary_metric: spec.primary.to_owned(),
        measures: spec.measures.to_owned(),
        ..TaskRecord::without_score(status, reason)
    };
    FinishedTask { record, samples: Vec::new(), energy: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;

    /// Faults of the machinery make a task invalid; what only this task cannot do makes it failed.
    #[test]
    fn faults_are_invalid_and_never_wrong_answers() {
        use crate::sandbox::Verdict as Sandboxed;
        assert!(
            matches!(verdict_of(Sandboxed::SandboxError, "no namespace"), Err(RunError::Invalid(reason)) if reason.contains("no namespace"))
        );
        assert_eq!(verdict_of(Sandboxed::TimedOut, "").ok(), Some(Verdict::TimedOut));
        assert!(matches!(RunError::from(EngineError::NotANumber("NaN".to_owned())), RunError::Invalid(_)));
        assert!(matches!(RunError::from(EngineError::Request("too long".to_owned())), RunError::Task(_)));
    }

    /// Where some leaves of a group stand for all, the documents that are checked make 1 % of the whole group's, from each in proportion.
    #[test]
    fn audited_leaves_check_a_share_of_the_whole_group() {
        let leaf = |documents: usize, offered: Option<usize>| {
            let record = TaskRecord { n: documents as u64, ..TaskRecord::default() };
            let check = |_| vec![leaf::Check::Rolling(String::new(), crate::engine::RollingLoglikelihood { value: 0.0, tokens: 1 })];
            let checks = offered.map(|offered| (0..offered).map(check).collect());
            AskedLeaf { finished: FinishedTask { record, samples: Vec::new(), energy: None }, checks }
        };
        let mut leaves = [leaf(3000, Some(0)), leaf(600, Some(600)), leaf(300, Some(300)), leaf(1600, None)];
        take_share(leaves.iter_mut().collect());
        let left = leaves.each_ref().map(|leaf| leaf.checks.as_ref().map(Vec::len));
        // 55 of 5,500 documents: two thirds and one third.
        assert_eq!(left, [Some(0), Some(37), Some(19), None]);
        let mut few = [leaf(1, Some(1)), leaf(5, Some(5))];
        take_share(few.iter_mut().collect());
        assert_eq!(few.each_ref().map(|leaf| leaf.checks.as_ref().map(Vec::len)), [Some(1), Some(2)]);
    }

    /// The option that counts as chosen is the first of the most probable ones; texts count by their first answer.
    #[test]
    fn constant_answers_are_seen_in_the_answers() {
        let choice = |values: &[f64]| values.iter().map(|&value| Response::Loglikelihood { value, is_greedy: false }).collect::<Vec<_>>();
        assert_eq!(chosen(&[choice(&[-2.0, -1.0, -1.0]), choice(&[-0.5, -1.0])]), [1, 0]);
        let text = |text: &str| vec![Response::Text(text.to_owned())];
        assert_eq!(first_texts(&[text("a"), text("b")]), ["a", "b"]);
        assert!(first_texts(&[choice(&[-1.0])]).is_empty());
    }
}
