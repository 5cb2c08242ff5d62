//! The energy of a run: what each task took, and the figures that follow from it. Pure; measured by `meter`, kept in `run.json`.
//!
//! Gross is all that the watched components used while a task ran; net is less the idle baseline. The leaderboard shows gross figures,
//! which need no baseline and cannot be lowered by a restless one. Figures are compared within one hardware class only.

use super::run::{Figure, FigureSet, figure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name in [`FigureSet::details`] of the tasks' shares.
pub const TASKS: &str = "tasks";

/// What one task took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEnergy {
    /// `measured_rapl`, `measured_nvml`, `estimated_tdp`, `unavailable`.
    pub method: String,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Processor time in seconds.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Energy in watt-hours.
    pub gross_wh: Option<f64>,
    /// Energy less the idle baseline, in watt-hours.
    pub net_wh: Option<f64>,
    /// Tokens fed to the model while it ran, the self-check's and repeated ones included.
    pub tokens: u64,
    /// Right answers; `null` for a task that has none (perplexity, balances).
    pub correct: Option<f64>,
    /// Why there is no energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl TaskEnergy {
    /// Both together; what one of them does not know is not known of the sum. Of two methods the weaker one counts.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a + b);
        Self {
            method: weaker(&self.method, &other.method).to_owned(),
            seconds: self.seconds + other.seconds,
            cpu_seconds: both(self.cpu_seconds, other.cpu_seconds),
            gross_wh: both(self.gross_wh, other.gross_wh),
            net_wh: both(self.net_wh, other.net_wh),
            tokens: self.tokens + other.tokens,
            correct: both(self.correct, other.correct),
            reason: self.reason.clone().or_else(|| other.reason.clone()),
        }
    }
}

/// A measured amount counts as estimated once an estimated one is added, and as nothing once nothing is known of a part.
fn weaker<'a>(a: &'a str, b: &'a str) -> &'a str {
    const STRENGTH: [&str; 4] = ["unavailable", "estimated_tdp", "measured_rapl", "measured_nvml"];
    let place = |method: &str| STRENGTH.iter().position(|known| *known == method).unwrap_or(0);
    if place(a) <= place(b) { a } else { b }
}

/// What the figures depend on besides the tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnergyContext {
    /// Hardware class.
    pub hardware_class: String,
    /// Grid factor: name and grams of CO₂ per kilowatt-hour.
    pub grid_factor: (String, f64),
    /// Further facts (idle power, watched components, what an estimate rests on).
    pub details: BTreeMap<String, Value>,
}

/// The figures of a run from its tasks.
#[must_use]
pub fn figures(tasks: &BTreeMap<String, TaskEnergy>, context: &EnergyContext) -> FigureSet {
    let total = tasks.values().cloned().reduce(|sum, task| sum.and(&task));
    let answering = tasks.values().filter(|task| task.correct.is_some()).cloned().reduce(|sum, task| sum.and(&task));
    let method = total.as_ref().map_or("unavailable", |total| total.method.as_str());
    let reason = total.as_ref().map_or_else(|| Some("no task was measured".to_owned()), |total| total.reason.clone());
    let figure = |value: Option<f64>, unit: &str, why: &str| match value.filter(|value| value.is_finite()) {
        Some(value) => Figure { value: Some(value), unit: unit.to_owned(), range: None, method: method.to_owned(), reason: None },
        None => Figure {
            value: None,
            unit: unit.to_owned(),
            range: None,
            method: "unavailable".to_owned(),
            reason: Some(reason.clone().unwrap_or_else(|| why.to_owned())),
        },
    };
    let (gross, net) = (total.as_ref().and_then(|total| total.gross_wh), total.as_ref().and_then(|total| total.net_wh));
    let tokens = total.as_ref().map_or(0, |total| total.tokens) as f64;
    let per_1k = |energy: Option<f64>| energy.filter(|_| tokens > 0.0).map(|energy| energy / tokens * 1000.0);
    let correct = answering.as_ref().and_then(|sum| sum.correct).filter(|correct| *correct > 0.0);
    let spent_on_answers = answering.as_ref().and_then(|sum| sum.gross_wh);
    let per_answer = spent_on_answers.zip(correct).map(|(energy, correct)| energy / correct);
    let net_per_answer = answering.as_ref().and_then(|sum| sum.net_wh).zip(correct).map(|(energy, correct)| energy / correct);
    let grams = |energy: Option<f64>| energy.map(|energy| energy / 1000.0 * context.grid_factor.1);
    let (no_tokens, no_answer) = ("no tokens were fed", "no answer was right");
    let no_efficiency = if correct.is_some() { "the counters did not move" } else { no_answer };
    let no_baseline = "no idle baseline was measured";
    let mut figures = BTreeMap::from([
        (figure::ENERGY.to_owned(), figure(gross, "Wh", no_tokens)),
        (figure::ENERGY_NET.to_owned(), figure(net, "Wh", no_baseline)),
        (figure::ENERGY_PER_1K_TOKENS.to_owned(), figure(per_1k(gross), "Wh", no_tokens)),
        (figure::ENERGY_PER_1K_TOKENS_NET.to_owned(), figure(per_1k(net), "Wh", no_baseline)),
        (figure::ENERGY_PER_CORRECT_ANSWER.to_owned(), figure(per_answer, "Wh", no_answer)),
        (figure::ENERGY_PER_CORRECT_ANSWER_NET.to_owned(), figure(net_per_answer, "Wh", no_baseline)),
        (figure::CO2.to_owned(), figure(grams(gross), "g", no_tokens)),
        (figure::CO2_PER_1K_TOKENS.to_owned(), figure(grams(per_1k(gross)), "g", no_tokens)),
        (figure::CO2_PER_CORRECT_ANSWER.to_owned(), figure(grams(per_answer), "g", no_answer)),
        (
            figure::EFFICIENCY.to_owned(),
            figure(correct.zip(spent_on_answers).map(|(correct, energy)| correct / energy), "1/Wh", no_efficiency),
        ),
    ]);
    let times = [
        (figure::WALL_TIME, total.as_ref().map(|total| total.seconds)),
        (figure::CPU_TIME, total.as_ref().and_then(|total| total.cpu_seconds)),
    ];
    for (name, seconds) in times {
        let known = seconds.is_some();
        figures.insert(
            name.to_owned(),
            Figure {
                value: seconds,
                unit: "s".to_owned(),
                range: None,
                method: if known { "measured" } else { "unavailable" }.to_owned(),
                reason: (!known).then(|| "the system does not tell it".to_owned()),
            },
        );
    }
    let mut details = context.details.clone();
    let (name, grams_per_kwh) = &context.grid_factor;
    details.insert("grid_factor".to_owned(), json!({ "name": name, "grams_per_kwh": grams_per_kwh }));
    details.insert(TASKS.to_owned(), serde_json::to_value(tasks).unwrap_or_default());
    FigureSet { hardware_class: context.hardware_class.clone(), figures, details }
}

/// The tasks' shares as a run keeps them.
#[must_use]
pub fn tasks_of(set: &FigureSet) -> BTreeMap<String, TaskEnergy> {
    set.details.get(TASKS).and_then(|tasks| serde_json::from_value(tasks.clone()).ok()).unwrap_or_default()
}

/// What the figures of a run rest on besides its tasks.
#[must_use]
pub fn context_of(set: &FigureSet) -> EnergyContext {
    let mut details = set.details.clone();
    details.remove(TASKS);
    let grid = details.remove("grid_factor").unwrap_or_default();
    let name = grid.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let grams = grid.get("grams_per_kwh").and_then(Value::as_f64).unwrap_or(f64::NAN);
    EnergyContext { hardware_class: set.hardware_class.clone(), grid_factor: (name, grams), details }
}

/// The energy of two shards of one run. Shards of different hardware classes or grids have no common figures: the first one's stay.
#[must_use]
pub fn join(first: &FigureSet, second: &FigureSet) -> FigureSet {
    let (mine, theirs) = (context_of(first), context_of(second));
    if mine.hardware_class != theirs.hardware_class || mine.grid_factor != theirs.grid_factor {
        return first.clone();
    }
    let mut tasks = tasks_of(second);
    tasks.extend(tasks_of(first));
    figures(&tasks, &mine)
}

/// The same figures without the tasks' shares, for summaries.
#[must_use]
pub fn without_tasks(set: &FigureSet) -> FigureSet {
    let mut set = set.clone();
    set.details.remove(TASKS);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(gross: Option<f64>, tokens: u64, correct: Option<f64>, method: &str) -> TaskEnergy {
        TaskEnergy {
            method: method.to_owned(),
            seconds: 10.0,
            cpu_seconds: Some(5.0),
            gross_wh: gross,
            net_wh: gross.map(|gross| gross / 2.0),
            tokens,
            correct,
            reason: gross.is_none().then(|| "no counter".to_owned()),
        }
    }

    fn context() -> EnergyContext {
        EnergyContext { hardware_class: "cpu: x".to_owned(), grid_factor: ("world".to_owned(), 500.0), details: BTreeMap::new() }
    }

    fn value(set: &FigureSet, name: &str) -> Option<f64> {
        set.figures[name].value
    }

    /// Per 1,000 tokens over all tasks; per right answer over those that have answers; CO₂ by the factor.
    #[test]
    fn figures_follow_from_the_tasks() {
        let tasks = BTreeMap::from([
            ("boolq".to_owned(), task(Some(2.0), 1000, Some(40.0), "measured_rapl")),
            ("wikitext".to_owned(), task(Some(2.0), 3000, None, "measured_rapl")),
        ]);
        let set = figures(&tasks, &context());
        assert_eq!(value(&set, figure::ENERGY), Some(4.0));
        assert_eq!(value(&set, figure::ENERGY_PER_1K_TOKENS), Some(1.0));
        assert_eq!(value(&set, figure::ENERGY_PER_1K_TOKENS_NET), Some(0.5));
        assert_eq!(value(&set, figure::ENERGY_PER_CORRECT_ANSWER), Some(0.05));
        assert_eq!(value(&set, figure::EFFICIENCY), Some(20.0));
        assert_eq!(value(&set, figure::CO2_PER_1K_TOKENS), Some(0.5));
        assert_eq!((value(&set, figure::WALL_TIME), value(&set, figure::CPU_TIME)), (Some(20.0), Some(10.0)));
        assert!(set.figures.values().all(|figure| figure.method.starts_with("measured")));
        assert_eq!(tasks_of(&set), tasks);
        assert_eq!(context_of(&set), context());
        assert!(!without_tasks(&set).details.contains_key(TASKS));
    }

    /// A part that is estimated makes the whole estimated; a part of which nothing is known leaves no figure, with the reason.
    #[test]
    fn the_weaker_method_counts_and_unknown_parts_leave_no_figure() {
        let estimated = BTreeMap::from([
            ("a".to_owned(), task(Some(2.0), 10, Some(1.0), "measured_rapl")),
            ("b".to_owned(), task(Some(2.0), 10, Some(1.0), "estimated_tdp")),
        ]);
        assert_eq!(figures(&estimated, &context()).figures[figure::EFFICIENCY].method, "estimated_tdp");
        let unknown = BTreeMap::from([
            ("a".to_owned(), task(Some(2.0), 10, Some(1.0), "measured_rapl")),
            ("b".to_owned(), task(None, 10, Some(1.0), "unavailable")),
        ]);
        let efficiency = &figures(&unknown, &context()).figures[figure::EFFICIENCY];
        assert_eq!((efficiency.value, efficiency.method.as_str(), efficiency.reason.as_deref()), (None, "unavailable", Some("no counter")));
        let none = figures(&BTreeMap::from([("a".to_owned(), task(Some(2.0), 10, Some(0.0), "measured_rapl"))]), &context());
        assert_eq!(none.figures[figure::EFFICIENCY].reason.as_deref(), Some("no answer was right"));
        assert_eq!(value(&figures(&BTreeMap::new(), &context()), figure::ENERGY), None);
    }

    /// Shards of one class are one run; of two classes, the first one's figures stay as they are.
    #[test]
    fn shards_are_joined_within_one_class() {
        let shard = |name: &str, context: &EnergyContext| {
            figures(&BTreeMap::from([(name.to_owned(), task(Some(1.0), 500, Some(1.0), "measured_rapl"))]), context)
        };
        let joined = join(&shard("a", &context()), &shard("b", &context()));
        assert_eq!((value(&joined, figure::ENERGY), value(&joined, figure::ENERGY_PER_1K_TOKENS)), (Some(2.0), Some(2.0)));
        let other = EnergyContext { hardware_class: "cpu: y".to_owned(), ..context() };
        assert_eq!(join(&shard("a", &context()), &shard("b", &other)), shard("a", &context()));
    }
}
