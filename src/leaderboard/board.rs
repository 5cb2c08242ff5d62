//! `website/assets/data/leaderboard.json`: what the website shows. A pure function of the registry, byte for byte reproducible.
//!
//! `schemas/leaderboard.schema.json` describes the format. Points are rounded to four decimals; ranks are computed before.

use super::badges::{self, Badge};
use super::canonical;
use super::paired::{ItemScores, RunDifference, Test};
use super::pillars::PillarSpec;
use super::probes::{self, AnswerOnly, ChoiceOrder, Column, Measured, TaskProbes};
use super::ranking::{self, RunClass};
use super::registry::{Action, Entry, Imported, Registry, RunSummary, TaskSummary};
use super::run::{Aggregate, EngineRecord, Figure, FigureSet, Limit, Parameters, Quantization, SuiteRecord, TaskStatus, Warning, figure};
use super::tested::MOST_RESULTS;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the format of `leaderboard.json`.
pub const LEADERBOARD_SCHEMA_VERSION: &str = "1.0.0";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaderboard {
    /// [`LEADERBOARD_SCHEMA_VERSION`].
    pub schema_version: String,
    /// End of the latest run.
    pub last_updated: Option<DateTime<Utc>>,
    /// The standard suite whose complete runs are ranked; `null` while there is none.
    pub suite: Option<SuiteRecord>,
    /// Pillars in the order of the methodology, with their weights in the aggregate and their tasks.
    pub pillars: Vec<PillarColumn>,
    /// Badges and their thresholds.
    pub badges: Vec<Badge>,
    /// Number of rows by status.
    pub counts: BTreeMap<String, u64>,
    /// Rows: the ranked ones by rank, then partial, preliminary, stale, unverified and withdrawn ones, each by place.
    pub models: Vec<Row>,
}

/// A pillar of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PillarColumn {
    /// Name.
    pub name: String,
    /// Weight; the aggregate is divided by the sum of the weights.
    pub weight: f64,
    /// Tasks, each counting once.
    pub tasks: Vec<String>,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Complete: it has a rank.
    Ranked,
    /// Some pillar is missing.
    Partial,
    /// A part of the documents.
    Preliminary,
    /// Complete, by an older version of the suite.
    Stale,
    /// Submitted, or imported from elsewhere: no run of ours proves anything.
    Unverified,
    /// Withdrawn by a maintainer.
    Withdrawn,
}

impl RowStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Ranked => "ranked",
            Self::Partial => "partial",
            Self::Preliminary => "preliminary",
            Self::Stale => "stale",
            Self::Unverified => "unverified",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Slug: stable, unique, safe in an address.
    pub id: String,
    /// Name; hostile until escaped, as all text of a submission.
    pub name: String,
    /// Family.
    pub family: String,
    /// Repository on the hub.
    pub hf_repo: String,
    /// Commit of the run that the row shows.
    pub revision: Option<String>,
    /// Declared and counted size.
    pub parameters: Parameters,
    /// Architecture.
    pub architecture: String,
    /// Licence.
    pub license: String,
    /// Longest context, as declared.
    pub context_length: Option<u64>,
    /// Pillars that the author asked for.
    pub categories: Vec<String>,
    /// Who submitted it.
    pub submitted_by: String,
    /// Day of the first run.
    pub date_added: Option<NaiveDate>,
    /// What the row is.
    pub status: RowStatus,
    /// Why it has no rank; `null` for ranked rows.
    pub status_reason: Option<String>,
    /// A maintainer's remark on a row that keeps its rank.
    pub flag: Option<String>,
    /// Rank; equal scores share one.
    pub rank: Option<u64>,
    /// Another model has the same rank.
    pub tied: bool,
    /// Best and worst rank that the 95 % intervals leave open.
    pub rank_interval: Option<[u64; 2]>,
    /// Whether `rank_interval` comes from tests document by document; `null` without a rank.
    pub rank_test: Option<Test>,
    /// Place by aggregate among the rows that answered the same questions (same suite, version and limit) and have the same
    /// status; equal scores share one. For ranked rows the rank.
    pub place: Option<u64>,
    /// Which questions were answered: rows of different groups must not be compared. `standard 1.0.0`, `standard 1.0.0, limit 20`.
    pub group: Option<String>,
    /// The aggregate.
    pub aggregate: Aggregate,
    /// Pillars by name.
    pub pillars: BTreeMap<String, PillarCell>,
    /// Tasks outside of the pillars, by name.
    pub other_tasks: BTreeMap<String, TaskCell>,
    /// Speed and memory on one machine.
    pub edge: Option<FigureSet>,
    /// Watt-hours per 1,000 tokens.
    pub energy: FigureCell,
    /// Grams of CO₂ per 1,000 tokens.
    pub co2: FigureCell,
    /// Correct answers per watt-hour.
    pub efficiency: FigureCell,
    /// Long-context grid.
    pub long_context: Option<serde_json::Value>,
    /// Figures of probes: beside the scores, in none of them.
    pub probes: ProbeCells,
    /// Badges.
    pub badges: Vec<String>,
    /// Remarks of all tasks.
    pub warnings: Vec<TaskWarning>,
    /// The run that the row shows.
    pub run: Option<RunLink>,
    /// Other quantizations of the same revision.
    pub quantizations: Vec<RunLink>,
    /// Other revisions.
    pub revisions: Vec<RunLink>,
    /// Runs with the chat template.
    pub chat_variants: Vec<RunLink>,
    /// All other runs (preliminary ones, older engines, …).
    pub other_runs: Vec<RunLink>,
    /// Figures of an imported row.
    pub imported: Option<Imported>,
}

/// One pillar of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PillarCell {
    /// Points.
    pub score: Option<f64>,
    /// Standard error.
    pub stderr: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Why there is no score.
    pub reason: Option<String>,
    /// Tasks by name.
    pub tasks: BTreeMap<String, TaskCell>,
}

/// One task of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCell {
    /// How it ended.
    pub status: TaskStatus,
    /// Why there is no score.
    pub reason: Option<String>,
    /// Points.
    pub score: Option<f64>,
    /// Standard error.
    pub stderr: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Score of blind guessing.
    pub chance: Option<f64>,
    /// Chance-corrected score.
    pub chance_corrected: Option<f64>,
    /// Documents scored.
    pub n: u64,
    /// Documents of the full task.
    pub n_total: u64,
    /// Which metric is ranked.
    pub metric: String,
    /// What a high score shows; a score is always better when it is higher.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measures: String,
    /// Examples before each question.
    pub num_fewshot: u32,
    /// Remarks and departures from the task; `null` where there are none.
    pub warning: Option<String>,
}

/// A figure with the hardware class within which it may be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureCell {
    /// Value.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
    /// `measured_rapl`, `measured_nvml`, `estimated_tdp`, `unavailable`.
    pub method: String,
    /// Hardware class.
    pub hardware_class: Option<String>,
    /// Why there is no value.
    pub reason: Option<String>,
}

/// What probes found about the run that the row shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeCells {
    /// Share of documents whose chosen option depends on the order of the options, in points.
    pub choice_order: ProbeCell,
    /// Accuracy without the question, in points.
    pub answer_only: ProbeCell,
    /// Accuracy of the same documents with the question, in points.
    pub with_question: ProbeCell,
    /// Chance level of `answer_only`, in points.
    pub chance: Option<f64>,
    /// By task; empty without probes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskProbes>,
}

/// One figure of probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeCell {
    /// In points; `null` with a reason where it was not measured.
    pub value: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Why there is no value.
    pub reason: Option<String>,
}

/// A remark with its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskWarning {
    /// Task.
    pub task: String,
    /// Kind.
    pub code: String,
    /// What was seen.
    pub message: String,
}

/// A run and where its artifacts are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLink {
    /// The run.
    pub run_id: String,
    /// Path of `run.json` from the repository's root; `samples/` stands beside it and is listed in it.
    pub path: String,
    /// SHA-256 of `run.json`.
    pub sha256: String,
    /// Commit of the model.
    pub revision: String,
    /// Quantization.
    pub quantization: Quantization,
    /// Suite.
    pub suite: SuiteRecord,
    /// `--limit`.
    pub limit: Option<Limit>,
    /// Chat template applied.
    pub chat_template: bool,
    /// Engine.
    pub engine: EngineRecord,
    /// Version of slm-benchmark.
    pub slm_benchmark: String,
    /// End of the run.
    pub finished_at: DateTime<Utc>,
    /// Aggregate score in points.
    pub aggregate_score: Option<f64>,
    /// Its 95 % interval.
    pub aggregate_ci95: Option<[f64; 2]>,
    /// Pillar scores in points.
    pub pillars: BTreeMap<String, Option<f64>>,
    /// Aggregate less the aggregate of the run that the row shows, where both answered the same questions.
    pub difference: Option<f64>,
    /// 95 % interval of `difference`.
    pub difference_ci95: Option<[f64; 2]>,
    /// Two-sided p-value of no difference.
    pub difference_p: Option<f64>,
    /// Whether `difference` was tested document by document.
    pub difference_test: Option<Test>,
    /// What quantizing cost: against the least quantized run of the same revision that answered the same questions in the same form; `null` for
    /// that run itself, and where there is no other.
    pub least_quantized: Option<QuantizationDifference>,
}

/// A run's aggregate less that of the least quantized run of its revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationDifference {
    /// The least quantized run.
    pub run_id: String,
    /// Its quantization's name.
    pub quantization: String,
    /// Points.
    pub difference: f64,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Two-sided p-value of no difference.
    pub p: Option<f64>,
    /// Whether it was tested document by document.
    pub test: Test,
}

/// Runs whose documents' values [`derive()`] can use: those that it compares with another one, each once.
#[must_use]
pub fn paired_runs(registry: &Registry) -> Vec<&RunSummary> {
    let suite = ranking::current_suite(registry.models.iter().flat_map(|entry| &entry.runs));
    let mut runs: BTreeMap<&str, &RunSummary> = BTreeMap::new();
    let ranked: Vec<&RunSummary> = registry.models.iter().filter_map(|entry| ranking::ranked_run(entry, suite.as_ref())).collect();
    let of_models = registry.models.iter().flat_map(|entry| linked_pairs(entry, suite.as_ref())).flat_map(|(run, other)| [run, other]);
    for run in of_models.chain(ranked) {
        runs.insert(&run.run_id, run);
    }
    runs.into_values().collect()
}

/// The runs that [`derive()`] compares, two by two, by id: linked runs with the shown and with the least quantized one, and each ranked run with
/// each one after it. To be given to [`ItemScores::test`]; at most as many as results are kept, so that memory stays bounded.
#[must_use]
pub fn tested_pairs(registry: &Registry) -> Vec<(&str, &str)> {
    let suite = ranking::current_suite(registry.models.iter().flat_map(|entry| &entry.runs));
    let ranked: Vec<&str> =
        registry.models.iter().filter_map(|entry| Some(ranking::ranked_run(entry, suite.as_ref())?.run_id.as_str())).collect();
    let between = ranked.iter().enumerate().flat_map(|(place, first)| ranked[place + 1..].iter().map(move |second| (*first, *second)));
    let linked = registry.models.iter().flat_map(|entry| linked_pairs(entry, suite.as_ref()));
    linked.map(|(run, other)| (run.run_id.as_str(), other.run_id.as_str())).chain(between).take(MOST_RESULTS).collect()
}

/// The runs of one model that its row compares.
fn linked_pairs<'a>(entry: &'a Entry, suite: Option<&SuiteRecord>) -> Vec<(&'a RunSummary, &'a RunSummary)> {
    let Some((shown, _)) = ranking::shown_run(&entry.runs, suite) else { return Vec::new() };
    let partners = |run: &'a RunSummary| {
        let least = least_quantized(&entry.runs, run).filter(|least| least.run_id != shown.run_id);
        [Some(shown).filter(|shown| comparable(run, shown)), least].into_iter().flatten().map(move |other| (run, other))
    };
    entry.runs.iter().flat_map(partners).collect()
}

/// Derives the leaderboard. `pillars` are those of the suite, in the order of the methodology; `items` the documents' values of
/// [`paired_runs`], as far as they are at hand.
#[must_use]
pub fn derive(registry: &Registry, pillars: &[PillarSpec], items: &ItemScores) -> Leaderboard {
    let suite = ranking::current_suite(registry.models.iter().flat_map(|entry| &entry.runs));
    let ranks = ranking::rank(&registry.models, suite.as_ref());
    let ranked: Vec<(usize, &RunSummary)> = (registry.models.iter().enumerate())
        .filter_map(|(index, entry)| ranking::ranked_run(entry, suite.as_ref()).map(|run| (index, run)))
        .collect();
    let runs: Vec<&RunSummary> = ranked.iter().map(|(_, run)| *run).collect();
    let intervals = ranking::tested_rank_intervals(&runs, items);
    let awarded = badges::award(&runs);

    let mut models: Vec<Row> = registry.models.iter().map(|entry| row(entry, suite.as_ref(), items)).collect();
    let mut holders: BTreeMap<u64, u64> = BTreeMap::new();
    for rank in ranks.iter().flatten() {
        *holders.entry(*rank).or_default() += 1;
    }
    for (((index, _), (interval, test)), badges) in ranked.iter().zip(intervals).zip(awarded) {
        let row = &mut models[*index];
        row.rank = ranks[*index];
        row.tied = row.rank.is_some_and(|rank| holders.get(&rank).is_some_and(|holders| *holders > 1));
        row.rank_interval = Some(interval);
        row.rank_test = Some(test);
        row.badges = badges;
    }
    set_places(&mut models, registry);
    models.sort_by(|a, b| row_order(a).cmp(&row_order(b)));
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in &models {
        *counts.entry(row.status.name().to_owned()).or_default() += 1;
    }
    Leaderboard {
        schema_version: LEADERBOARD_SCHEMA_VERSION.to_owned(),
        last_updated: registry.metadata.last_updated,
        suite,
        pillars: (pillars.iter())
            .map(|pillar| PillarColumn { name: pillar.name.clone(), weight: pillar.weight, tasks: pillar.tasks.clone() })
            .collect(),
        badges: badges::badges(),
        counts,
        models,
    }
}

impl Leaderboard {
    /// Canonical text: one line for each row, so that `git` shows which rows changed.
    ///
    /// # Errors
    /// Never for values that this program made; the type says it because JSON could refuse.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let head = Self { models: Vec::new(), ..self.clone_head() };
        let head = canonical::to_value(&head)?;
        let mut text = String::from("{\n");
        let fields = head.as_object().map(serde_json::Map::len).unwrap_or_default();
        for (index, (key, value)) in head.as_object().into_iter().flatten().enumerate() {
            text.push_str(&serde_json::to_string(key)?);
            text.push(':');
            if key == "models" {
                text.push('[');
                for (index, row) in self.models.iter().enumerate() {
                    text.push_str(if index == 0 { "\n" } else { ",\n" });
                    text.push_str(&canonical::to_string(row)?);
                }
                text.push_str("\n]");
            } else {
                text.push_str(&serde_json::to_string(value)?);
            }
            text.push_str(if index + 1 == fields { "\n" } else { ",\n" });
        }
        text.push_str("}\n");
        Ok(text)
    }

    fn clone_head(&self) -> Self {
        Self {
            schema_version: self.schema_version.clone(),
            last_updated: self.last_updated,
            suite: self.suite.clone(),
            pillars: self.pillars.clone(),
            badges: self.badges.clone(),
            counts: self.counts.clone(),
            models: Vec::new(),
        }
    }
}

fn row_order(row: &Row) -> (RowStatus, &Option<String>, u64, &str) {
    (row.status, &row.group, row.place.unwrap_or(u64::MAX), &row.id)
}

/// Places by the unrounded aggregates of the registry, whose order `models` still has.
fn set_places(models: &mut [Row], registry: &Registry) {
    let mut groups: BTreeMap<(RowStatus, Option<String>), Vec<f64>> = BTreeMap::new();
    for (row, entry) in models.iter().zip(&registry.models) {
        if let Some(score) = entry.aggregate_score {
            groups.entry((row.status, row.group.clone())).or_default().push(score);
        }
    }
    for scores in groups.values_mut() {
        scores.sort_by(|a, b| b.total_cmp(a));
    }
    for (row, entry) in models.iter_mut().zip(&registry.models) {
        let scores = groups.get(&(row.status, row.group.clone()));
        let place = |score: f64| scores.map(|scores| 1 + scores.partition_point(|other| *other > score) as u64);
        let placed = !matches!(row.status, RowStatus::Unverified | RowStatus::Withdrawn);
        row.place = entry.aggregate_score.filter(|_| placed).and_then(place);
    }
}

fn row(entry: &Entry, suite: Option<&SuiteRecord>, items: &ItemScores) -> Row {
    let shown = ranking::shown_run(&entry.runs, suite);
    let run = shown.map(|(run, _)| run);
    let (status, status_reason) = status_of(entry, shown, suite);
    let flag = entry.decision.as_ref().filter(|decision| decision.action == Action::Flag).map(|decision| decision.reason.clone());
    let mut links = Links::default();
    links.sort_runs(entry, run, items);
    let in_pillars = |task: &String| run.is_some_and(|run| run.pillars.values().any(|pillar| pillar.tasks.contains_key(task)));
    Row {
        id: entry.id.clone(),
        name: entry.name.clone(),
        family: entry.family.clone(),
        hf_repo: entry.hf_repo.clone(),
        revision: run.map(|run| run.revision.clone()),
        parameters: Parameters { declared: entry.parameters.clone(), measured: run.and_then(|run| run.parameters_measured) },
        architecture: entry.architecture.clone(),
        license: entry.license.clone(),
        context_length: entry.context_length,
        categories: entry.categories.clone(),
        submitted_by: entry.submitted_by.clone(),
        date_added: entry.date_added,
        status,
        status_reason,
        flag,
        rank: None,
        tied: false,
        rank_interval: None,
        rank_test: None,
        place: None,
        group: run.map(group_of),
        aggregate: run.map(|run| rounded_aggregate(&run.aggregate)).unwrap_or_default(),
        pillars: run.map(pillar_cells).unwrap_or_default(),
        other_tasks: (run.iter().flat_map(|run| &run.tasks))
            .filter(|(name, _)| !in_pillars(name))
            .map(|(name, task)| (name.clone(), task_cell(Some(task))))
            .collect(),
        edge: run.and_then(|run| run.edge.clone()),
        energy: figure_cell(run, figure::ENERGY_PER_1K_TOKENS, "Wh"),
        co2: figure_cell(run, figure::CO2_PER_1K_TOKENS, "g"),
        efficiency: figure_cell(run, figure::EFFICIENCY, "1/Wh"),
        long_context: run.and_then(|run| run.long_context.clone()),
        probes: probe_cells(run),
        badges: Vec::new(),
        warnings: run.map(warnings_of).unwrap_or_default(),
        run: run.map(|run| run_link(run, run, &entry.runs, items)),
        quantizations: links.quantizations,
        revisions: links.revisions,
        chat_variants: links.chat_variants,
        other_runs: links.other_runs,
        imported: entry.imported.clone(),
    }
}

fn status_of(entry: &Entry, shown: Option<(&RunSummary, RunClass)>, suite: Option<&SuiteRecord>) -> (RowStatus, Option<String>) {
    if let Some(decision) = entry.decision.as_ref().filter(|decision| decision.action == Action::Withdraw) {
        return (RowStatus::Withdrawn, Some(decision.reason.clone()));
    }
    let Some((run, class)) = shown else {
        let reason = match &entry.imported {
            Some(imported) => format!("imported from {}; not evaluated here", imported.format),
            None => "not evaluated yet".to_owned(),
        };
        return (RowStatus::Unverified, Some(reason));
    };
    match class {
        RunClass::Complete => (RowStatus::Ranked, None),
        RunClass::Stale => {
            let current = suite.map(|suite| suite.version.as_str()).unwrap_or_default();
            (RowStatus::Stale, Some(format!("evaluated with suite {}; suite {current} is ranked", run.suite.version)))
        }
        RunClass::Partial => (RowStatus::Partial, Some(why_partial(run))),
        RunClass::Preliminary => (RowStatus::Preliminary, Some(why_preliminary(run))),
        RunClass::ChatVariant => (RowStatus::Partial, Some("only evaluated with its chat template; without it there is no run".to_owned())),
    }
}

fn why_partial(run: &RunSummary) -> String {
    let missing: Vec<String> = (run.pillars.iter())
        .filter(|(_, pillar)| pillar.score.is_none())
        .map(|(name, pillar)| match &pillar.reason {
            Some(reason) => format!("{name} has no score ({reason})"),
            None => format!("{name} has no score"),
        })
        .collect();
    if missing.is_empty() { "not every document of the suite was scored".to_owned() } else { missing.join("; ") }
}

fn why_preliminary(run: &RunSummary) -> String {
    let mut reasons = Vec::new();
    match run.limit {
        Some(Limit::Documents(number)) => reasons.push(format!("at most {number} documents of each task")),
        Some(Limit::Fraction(fraction)) => reasons.push(format!("{} % of the documents of each task", fraction * 100.0)),
        None => {}
    }
    if run.suite.name != ranking::RANKED_SUITE {
        reasons.push(format!("suite `{}`", run.suite.name));
    }
    reasons.extend(run.suite.overrides.iter().map(|option| format!("option {option}")));
    reasons.join(", ")
}

/// Which questions were asked: suite, version, limit and options, whatever the prompts' form.
fn questions_of(run: &RunSummary) -> String {
    let mut parts = vec![format!("{} {}", run.suite.name, run.suite.version)];
    match run.limit {
        Some(Limit::Documents(number)) => parts.push(format!("limit {number}")),
        Some(Limit::Fraction(fraction)) => parts.push(format!("limit {fraction}")),
        None => {}
    }
    parts.extend(run.suite.overrides.iter().cloned());
    parts.join(", ")
}

/// What was asked, and in which form.
fn group_of(run: &RunSummary) -> String {
    let questions = questions_of(run);
    if run.chat_template { format!("{questions}, chat template") } else { questions }
}

#[derive(Default)]
struct Links {
    quantizations: Vec<RunLink>,
    revisions: Vec<RunLink>,
    chat_variants: Vec<RunLink>,
    other_runs: Vec<RunLink>,
}

impl Links {
    /// Puts every run but the shown one under what it is, in a stable order: newest revision first, least quantized first.
    fn sort_runs(&mut self, entry: &Entry, shown: Option<&RunSummary>, items: &ItemScores) {
        let Some(shown) = shown else { return };
        let newness = ranking::first_runs(&entry.runs);
        let mut runs: Vec<&RunSummary> = entry.runs.iter().filter(|run| run.run_id != shown.run_id).collect();
        runs.sort_by_key(|run| {
            let newest_first = std::cmp::Reverse((newness.get(run.revision.as_str()).copied(), run.revision.as_str()));
            let finest_first = std::cmp::Reverse(ranking::bits_of(&run.quantization.name));
            (newest_first, finest_first, run.quantization.clone(), std::cmp::Reverse(run.finished_at), run.run_id.as_str())
        });
        for run in runs {
            let comparable = group_of(run) == group_of(shown);
            let list = if run.chat_template && !shown.chat_template {
                &mut self.chat_variants
            } else if !comparable || (run.revision == shown.revision && run.quantization == shown.quantization) {
                &mut self.other_runs
            } else if run.revision == shown.revision {
                &mut self.quantizations
            } else {
                &mut self.revisions
            };
            list.push(run_link(run, shown, &entry.runs, items));
        }
    }
}

/// Two runs that answered the same questions, in whatever form.
fn comparable(run: &RunSummary, other: &RunSummary) -> bool {
    let scored = run.aggregate.score.is_some() && other.aggregate.score.is_some();
    scored && run.run_id != other.run_id && questions_of(run) == questions_of(other)
}

/// The least quantized run of the same revision and form with the same questions, where that is a run of another quantization.
fn least_quantized<'a>(runs: &'a [RunSummary], run: &RunSummary) -> Option<&'a RunSummary> {
    runs.iter()
        .filter(|other| other.revision == run.revision && other.chat_template == run.chat_template)
        .filter(|other| other.run_id == run.run_id || comparable(run, other))
        .max_by_key(|other| (ranking::bits_of(&other.quantization.name), other.finished_at, std::cmp::Reverse(other.run_id.as_str())))
        .filter(|least| least.quantization != run.quantization)
}

fn quantization_difference(run: &RunSummary, runs: &[RunSummary], items: &ItemScores) -> Option<QuantizationDifference> {
    let least = least_quantized(runs, run)?;
    let found = items.difference(run, least);
    Some(QuantizationDifference {
        run_id: least.run_id.clone(),
        quantization: least.quantization.name.clone(),
        difference: round(found.difference.points),
        ci95: rounded_pair(found.ci95()),
        p: rounded(p_value(&found)),
        test: found.test,
    })
}

/// `None` where there is no standard error to test with.
fn p_value(found: &RunDifference) -> Option<f64> {
    Some(found.difference.p_value).filter(|_| found.difference.stderr.is_some())
}

fn run_link(run: &RunSummary, shown: &RunSummary, runs: &[RunSummary], items: &ItemScores) -> RunLink {
    let found = Some(shown).filter(|shown| comparable(run, shown)).map(|shown| items.difference(run, shown));
    RunLink {
        run_id: run.run_id.clone(),
        path: run.path.clone(),
        sha256: run.sha256.clone(),
        revision: run.revision.clone(),
        quantization: run.quantization.clone(),
        suite: run.suite.clone(),
        limit: run.limit,
        chat_template: run.chat_template,
        engine: run.engine.clone(),
        slm_benchmark: run.slm_benchmark.clone(),
        finished_at: run.finished_at,
        aggregate_score: rounded(run.aggregate.score),
        aggregate_ci95: rounded_pair(run.aggregate.ci95),
        pillars: run.pillars.iter().map(|(name, pillar)| (name.clone(), rounded(pillar.score))).collect(),
        difference: rounded(found.map(|found| found.difference.points)),
        difference_ci95: rounded_pair(found.and_then(|found| found.ci95())),
        difference_p: rounded(found.as_ref().and_then(p_value)),
        difference_test: found.map(|found| found.test),
        least_quantized: quantization_difference(run, runs, items),
    }
}

fn pillar_cells(run: &RunSummary) -> BTreeMap<String, PillarCell> {
    (run.pillars.iter())
        .map(|(name, pillar)| {
            let tasks = pillar.tasks.keys().map(|task| (task.clone(), task_cell(run.tasks.get(task)))).collect();
            let cell = PillarCell {
                score: rounded(pillar.score),
                stderr: rounded(pillar.stderr),
                ci95: rounded_pair(pillar.ci95),
                reason: pillar.reason.clone(),
                tasks,
            };
            (name.clone(), cell)
        })
        .collect()
}

fn task_cell(task: Option<&TaskSummary>) -> TaskCell {
    let absent = TaskSummary { reason: Some("not part of this run".to_owned()), ..TaskSummary::default() };
    let task = task.unwrap_or(&absent);
    let remarks: Vec<&str> = task.warnings.iter().map(|w| w.message.as_str()).chain(task.deviations.iter().map(String::as_str)).collect();
    TaskCell {
        status: task.status,
        reason: task.reason.clone(),
        score: rounded(task.score),
        stderr: rounded(task.stderr.filter(|_| task.score.is_some())),
        ci95: rounded_pair(task.ci95.filter(|_| task.score.is_some())),
        chance: rounded(task.chance),
        chance_corrected: rounded(task.chance_corrected.filter(|_| task.score.is_some())),
        n: task.n,
        n_total: task.n_total,
        metric: task.primary_metric.clone(),
        measures: task.measures.clone(),
        num_fewshot: task.num_fewshot,
        warning: (!remarks.is_empty()).then(|| remarks.join("; ")),
    }
}

fn warnings_of(run: &RunSummary) -> Vec<TaskWarning> {
    (run.tasks.iter())
        .flat_map(|(task, summary)| summary.warnings.iter().map(move |warning| (task, warning)))
        .map(|(task, Warning { code, message })| TaskWarning { task: task.clone(), code: code.clone(), message: message.clone() })
        .collect()
}

fn figure_cell(run: Option<&RunSummary>, name: &str, unit: &str) -> FigureCell {
    let energy = run.and_then(|run| run.energy.as_ref());
    match (energy, energy.and_then(|energy| energy.figures.get(name))) {
        (Some(energy), Some(Figure { value, unit, method, reason, .. })) => FigureCell {
            value: *value,
            unit: unit.clone(),
            method: method.clone(),
            hardware_class: Some(energy.hardware_class.clone()),
            reason: reason.clone(),
        },
        (energy, _) => FigureCell {
            value: None,
            unit: unit.to_owned(),
            method: "unavailable".to_owned(),
            hardware_class: energy.map(|energy| energy.hardware_class.clone()),
            reason: Some(if run.is_some() { "not measured in this run" } else { "no run" }.to_owned()),
        },
    }
}

fn probe_cells(run: Option<&RunSummary>) -> ProbeCells {
    let none = |reason: &str| ProbeCell { value: None, ci95: None, reason: Some(reason.to_owned()) };
    let Some(found) = run.and_then(|run| run.probes.as_ref()) else {
        let cell = none(if run.is_some() { probes::NOT_MEASURED } else { "no run" });
        return ProbeCells {
            choice_order: cell.clone(),
            answer_only: cell.clone(),
            with_question: cell,
            chance: None,
            tasks: BTreeMap::new(),
        };
    };
    let cell = |column: &Column| ProbeCell { value: rounded(column.value), ci95: rounded_pair(column.ci95), reason: column.reason.clone() };
    ProbeCells {
        choice_order: cell(&found.choice_order),
        answer_only: cell(&found.answer_only),
        with_question: cell(&found.with_question),
        chance: rounded(found.chance),
        tasks: found.tasks.iter().map(|(name, task)| (name.clone(), rounded_probes(task))).collect(),
    }
}

fn rounded_probes(task: &TaskProbes) -> TaskProbes {
    let measured = |figure: Measured| Measured { value: rounded(figure.value), ci95: rounded_pair(figure.ci95) };
    let (order, answer) = (&task.choice_order, &task.answer_only);
    TaskProbes {
        choice_order: ChoiceOrder {
            changed: measured(order.changed),
            accuracies: order.accuracies.iter().copied().map(measured).collect(),
            spread: rounded(order.spread),
            published_order_advantage: measured(order.published_order_advantage),
            ..order.clone()
        },
        answer_only: AnswerOnly {
            accuracy: measured(answer.accuracy),
            with_question: measured(answer.with_question),
            chance: rounded(answer.chance),
            ..answer.clone()
        },
    }
}

fn rounded_aggregate(aggregate: &Aggregate) -> Aggregate {
    Aggregate {
        score: rounded(aggregate.score),
        weighted_sum: rounded(aggregate.weighted_sum),
        stderr: rounded(aggregate.stderr),
        ci95: rounded_pair(aggregate.ci95),
        coverage: round(aggregate.coverage),
    }
}

fn rounded(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite()).map(round)
}

fn rounded_pair(pair: Option<[f64; 2]>) -> Option<[f64; 2]> {
    pair.map(|[low, high]| [round(low), round(high)])
}

fn round(value: f64) -> f64 {
    // Adding 0 turns −0 into 0: one text for one value.
    (value * 1e4).round() / 1e4 + 0.0
}
