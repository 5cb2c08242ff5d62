//! The energy of a run's tasks: read at their boundaries, kept with their records, summed up in `run.json`.

use crate::benchmark::{ScoreRule, TaskSpec};
use crate::leaderboard::energy::{self, EnergyContext, TaskEnergy};
use crate::leaderboard::run::{FigureSet, TaskRecord};
use crate::meter::{GridFactor, JOULES_PER_WATT_HOUR, Meter, Reading, Unavailable};
use serde_json::json;
use std::collections::BTreeMap;

/// The meter of a run, and what its figures are stated with.
pub struct EnergyWatch {
    /// Reads the machine's energy.
    pub meter: Meter,
    /// From energy to CO₂.
    pub grid: GridFactor,
    /// Hardware class of the figures.
    pub hardware_class: String,
}

impl EnergyWatch {
    /// What a task took since `before`.
    pub(super) fn task(&self, before: &Reading, spec: &TaskSpec, record: &TaskRecord) -> TaskEnergy {
        let spent = self.meter.between(before, &self.meter.read());
        let watt_hours = |joules: &Result<f64, Unavailable>| joules.as_ref().ok().map(|joules| joules / JOULES_PER_WATT_HOUR);
        let answers = spec.score_rule == ScoreRule::Percent;
        TaskEnergy {
            method: if spent.gross_joules.is_ok() { self.meter.method().name() } else { "unavailable" }.to_owned(),
            seconds: spent.seconds,
            cpu_seconds: spent.cpu_seconds,
            gross_wh: watt_hours(&spent.gross_joules),
            net_wh: watt_hours(&spent.net_joules),
            tokens: record.tokens_computed + record.tokens_recomputed + record.self_check.tokens,
            correct: record.valid_score().filter(|_| answers).map(|score| score / 100.0 * record.n as f64),
            reason: spent.gross_joules.err().map(|Unavailable(reason)| reason),
        }
    }

    /// The figures of this command's tasks, and of those that an earlier command of the same run measured on the same class of machine.
    pub(super) fn figures(&self, measured: BTreeMap<String, TaskEnergy>, earlier: Option<&FigureSet>, adds_up: bool) -> FigureSet {
        let context = self.context();
        let comparable = earlier.filter(|earlier| {
            let theirs = energy::context_of(earlier);
            theirs.hardware_class == context.hardware_class && theirs.grid_factor == context.grid_factor
        });
        let mut tasks = comparable.map(energy::tasks_of).unwrap_or_default();
        for (name, task) in measured {
            // A resumed task keeps what its earlier parts took.
            let sum = match tasks.get(&name) {
                Some(part) if adds_up => part.and(&task),
                _ => task,
            };
            tasks.insert(name, sum);
        }
        energy::figures(&tasks, &context)
    }

    fn context(&self) -> EnergyContext {
        let mut details = BTreeMap::from([("components".to_owned(), json!(self.meter.components()))]);
        if let Some((watts, seconds)) = self.meter.idle() {
            details.insert("idle_watts".to_owned(), json!(watts));
            details.insert("idle_seconds".to_owned(), json!(seconds));
        }
        if !self.meter.remarks().is_empty() {
            details.insert("remarks".to_owned(), json!(self.meter.remarks()));
        }
        let grid_factor = (self.grid.name.clone(), self.grid.grams_per_kwh);
        EnergyContext { hardware_class: self.hardware_class.clone(), grid_factor, details }
    }
}
