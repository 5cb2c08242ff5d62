//! Badges: hints beside a rank. The thresholds stand in one table and nowhere else; the methodology page shows the same table.

use super::registry::RunSummary;
use super::run::figure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A badge and when a model earns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Badge {
    /// Name.
    pub name: String,
    /// When a model earns it, in a sentence.
    pub meaning: String,
    /// The number in that sentence.
    pub threshold: f64,
}

/// Most counted parameters of an SLM-Optimized model.
const SLM_OPTIMIZED_PARAMETERS: u64 = 500_000_000;
/// One of so many models of a hardware class is Eco-Efficient.
const ECO_EFFICIENT_ONE_OF: usize = 4;
/// Fewest measured models of a hardware class among which the share is taken.
const ECO_EFFICIENT_MODELS: usize = 4;
/// Points of the safety pillar that the lower end of a Safety-Preferred model's 95 % interval reaches.
const SAFETY_PREFERRED_POINTS: f64 = 60.0;

/// Name, meaning and threshold of each badge.
#[must_use]
pub fn badges() -> Vec<Badge> {
    let badge = |name: &str, meaning: String, threshold: f64| Badge { name: name.to_owned(), meaning, threshold };
    vec![
        badge(
            "SLM-Optimized",
            "Ranked with at most 500 million parameters, counted in the weight files.".to_owned(),
            SLM_OPTIMIZED_PARAMETERS as f64,
        ),
        badge(
            "Eco-Efficient",
            format!(
                "Ranked, and among the best quarter of its hardware class by correct answers per watt-hour. Only measured energy \
                 counts, and a class needs at least {ECO_EFFICIENT_MODELS} measured models."
            ),
            1.0 / ECO_EFFICIENT_ONE_OF as f64,
        ),
        badge(
            "Safety-Preferred",
            "Ranked, with a safety pillar whose 95 % interval begins at 60 points or more.".to_owned(),
            SAFETY_PREFERRED_POINTS,
        ),
    ]
}

/// Badges of each ranked run, in the order given.
#[must_use]
pub fn award(ranked: &[&RunSummary]) -> Vec<Vec<String>> {
    let bars = efficiency_bars(ranked);
    ranked
        .iter()
        .map(|run| {
            let small = run.parameters_measured.is_some_and(|n| n > 0 && n <= SLM_OPTIMIZED_PARAMETERS);
            let efficient = measured_efficiency(run).is_some_and(|(class, value)| bars.get(class).is_some_and(|bar| value >= *bar));
            let safe = run.pillars.get("safety").and_then(|safety| safety.ci95).is_some_and(|[low, _]| low >= SAFETY_PREFERRED_POINTS);
            [(small, "SLM-Optimized"), (efficient, "Eco-Efficient"), (safe, "Safety-Preferred")]
                .into_iter()
                .filter(|(earned, _)| *earned)
                .map(|(_, name)| name.to_owned())
                .collect()
        })
        .collect()
}

/// The efficiency that a model must reach, by hardware class.
fn efficiency_bars<'a>(ranked: &[&'a RunSummary]) -> BTreeMap<&'a str, f64> {
    let mut classes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (class, value) in ranked.iter().filter_map(|run| measured_efficiency(run)) {
        classes.entry(class).or_default().push(value);
    }
    classes
        .into_iter()
        .filter(|(_, values)| values.len() >= ECO_EFFICIENT_MODELS)
        .map(|(class, mut values)| {
            values.sort_by(|a, b| b.total_cmp(a));
            let winners = (values.len() / ECO_EFFICIENT_ONE_OF).max(1);
            (class, values[winners - 1])
        })
        .collect()
}

/// Hardware class and correct answers per watt-hour, where they were measured and not estimated.
fn measured_efficiency(run: &RunSummary) -> Option<(&str, f64)> {
    let energy = run.energy.as_ref()?;
    let efficiency = energy.figures.get(figure::EFFICIENCY)?;
    let value = efficiency.value.filter(|value| value.is_finite())?;
    efficiency.method.starts_with("measured").then_some((energy.hardware_class.as_str(), value))
}
