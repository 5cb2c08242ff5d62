//! What a run measures of the machine: energy while it works, and the edge figures in processes of their own.

use super::measure::{Measured, Subject};
use crate::evaluation::{EDGE_PILLAR, EnergyWatch, RunOptions};
use crate::leaderboard::run::{Figure, FigureSet, Run, figure};
use crate::meter::{GridFactor, Host, Meter, MeterConfig, POWERCAP_ROOT, hardware_class};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Processes that load the model, for the spread of the load time.
const LOADS: usize = 3;

/// How energy and speed are measured.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Energy and speed")]
pub(crate) struct MeterChoice {
    /// Whether energy and edge figures are measured: on, off.
    #[arg(long, default_value = "on", env = "SLM_BENCH_METER", value_name = "ON_OR_OFF")]
    pub(crate) meter: Switch,
    /// Folder of the energy counters (RAPL).
    #[arg(long, default_value = POWERCAP_ROOT, env = "SLM_BENCH_POWERCAP_ROOT", value_name = "DIR")]
    pub(crate) powercap_root: PathBuf,
    /// Thermal design power of one processor package in watts, for the estimate where there are no counters.
    #[arg(long, env = "SLM_BENCH_CPU_TDP", value_name = "WATTS", value_parser = parse_watts)]
    pub(crate) cpu_tdp: Option<f64>,
    /// CO₂ of the grid, as `NAME=GRAMS_PER_KWH` with place, year and source in the name. It is never looked up.
    #[arg(long, env = "SLM_BENCH_GRID_FACTOR", value_name = "NAME=G", default_value_t = GridFactor::default())]
    pub(crate) grid_factor: GridFactor,
    /// Seconds of rest before the model is loaded, over which the idle power is measured; 0 for none.
    #[arg(long, default_value_t = 3.0, env = "SLM_BENCH_IDLE_SECONDS", value_name = "S", value_parser = parse_seconds)]
    pub(crate) idle_seconds: f64,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

fn parse_watts(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|watts| (0.1..=10_000.0).contains(watts)).ok_or_else(|| "watts between 0.1 and 10000 are expected".to_owned())
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|seconds| (0.0..=600.0).contains(seconds)).ok_or_else(|| "seconds between 0 and 600 are expected".to_owned())
}

impl MeterChoice {
    /// Nothing is measured.
    pub(crate) fn off() -> Self {
        Self {
            meter: Switch::Off,
            powercap_root: PathBuf::from(POWERCAP_ROOT),
            cpu_tdp: None,
            grid_factor: GridFactor::default(),
            idle_seconds: 0.0,
        }
    }

    /// Whether anything is measured.
    pub(crate) fn is_on(&self) -> bool {
        self.meter == Switch::On
    }

    /// Starts to watch the energy of this machine, for a model that will compute on `device`. Takes the idle baseline's seconds.
    pub(crate) fn watch(&self, device: &str) -> Option<EnergyWatch> {
        self.is_on().then(|| EnergyWatch {
            meter: Meter::start(&MeterConfig {
                powercap_root: self.powercap_root.clone(),
                on_gpu: device != "cpu",
                tdp_watts: self.cpu_tdp,
                idle: Duration::from_secs_f64(self.idle_seconds),
                ..MeterConfig::default()
            }),
            grid: self.grid_factor.clone(),
            hardware_class: class_of(device),
        })
    }
}

/// Hardware class of this machine for a device class.
fn class_of(device: &str) -> String {
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    hardware_class(device, &Host::read(Path::new("/proc")), usable)
}

/// Whether a run is to have edge figures: the whole suite has them, a part of it only where it is asked for them.
pub(crate) fn wants_edge(options: &RunOptions) -> bool {
    let is_whole = options.tasks.is_empty() && options.pillars.is_empty();
    is_whole || options.pillars.iter().any(|pillar| pillar == EDGE_PILLAR)
}

/// The edge figures of a run, measured in fresh processes of this program. A figure that cannot be had says why.
pub(crate) fn edge_figures(subject: &Subject<'_>, run: &Run, program: &Path) -> FigureSet {
    let first = subject.measure(program, false);
    let mut loads: Vec<f64> = first.iter().map(|measured| measured.load_s).collect();
    if first.is_ok() {
        loads.extend((1..LOADS).filter_map(|_| subject.measure(program, true).ok()).map(|measured| measured.load_s));
    }
    let (measured, failure) = match first {
        Ok(measured) => (measured, None),
        Err(error) => (Measured::default(), Some(format!("{error:#}"))),
    };
    let no_speed = failure.clone().or_else(|| measured.reason.clone());
    let no_memory = failure.clone().unwrap_or_else(|| "the system does not tell it".to_owned());
    let memory: Vec<f64> = measured.peak_resident_bytes.iter().map(|bytes| *bytes as f64).collect();
    let size: u64 = run.model.weights.iter().map(|file| file.bytes).sum();
    let speed = |values: &[f64], unit: &str| spread(values, unit, no_speed.as_deref().unwrap_or("nothing was measured"));
    let figures = BTreeMap::from([
        (figure::LOAD_TIME.to_owned(), spread(&loads, "s", failure.as_deref().unwrap_or("nothing was measured"))),
        (figure::TIME_TO_FIRST_TOKEN.to_owned(), speed(&measured.first_token_s, "s")),
        (figure::PREFILL_SPEED.to_owned(), speed(&measured.prefill_tokens_per_s, "tokens/s")),
        (figure::DECODE_SPEED.to_owned(), speed(&measured.decode_tokens_per_s, "tokens/s")),
        (figure::PEAK_MEMORY.to_owned(), spread(&memory, "bytes", &no_memory)),
        (figure::SIZE_ON_DISK.to_owned(), spread(&[size as f64], "bytes", "")),
    ]);
    let details = BTreeMap::from([
        ("prompt_tokens".to_owned(), json!(measured.prompt_tokens)),
        ("new_tokens".to_owned(), json!(measured.new_tokens)),
        ("repetitions".to_owned(), json!(measured.first_token_s.len())),
        ("loads".to_owned(), json!(loads.len())),
        ("quantization".to_owned(), json!(run.model.quantization.name)),
        ("dtype".to_owned(), json!(run.engine.dtype)),
        ("engine".to_owned(), json!(subject.engine.to_string())),
    ]);
    FigureSet { hardware_class: class_of(subject.device), figures, details }
}

/// Median and range of repetitions.
fn spread(values: &[f64], unit: &str, reason: &str) -> Figure {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else {
        return Figure {
            value: None,
            unit: unit.to_owned(),
            range: None,
            method: "unavailable".to_owned(),
            reason: Some(reason.to_owned()),
        };
    };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    let range = (sorted.len() > 1).then_some([*low, *high]);
    Figure { value: Some(median), unit: unit.to_owned(), range, method: "measured".to_owned(), reason: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repetitions give median and range; none give the reason and no number.
    #[test]
    fn repetitions_give_median_and_range() {
        let figure = spread(&[3.0, 1.0, 2.0, 10.0], "s", "");
        assert_eq!((figure.value, figure.range, figure.method.as_str()), (Some(2.5), Some([1.0, 10.0]), "measured"));
        let missing = spread(&[f64::NAN], "s", "no engine");
        assert_eq!((missing.value, missing.method.as_str(), missing.reason.as_deref()), (None, "unavailable", Some("no engine")));
    }

    /// A whole suite has edge figures; a part of it only on request.
    #[test]
    fn edge_is_measured_with_whole_suites_and_on_request() {
        let options = |tasks: &[&str], pillars: &[&str]| RunOptions {
            tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
            pillars: pillars.iter().map(|&pillar| pillar.to_owned()).collect(),
            ..RunOptions::default()
        };
        assert!(wants_edge(&options(&[], &[])) && wants_edge(&options(&["boolq"], &["edge"])));
        assert!(!wants_edge(&options(&["boolq"], &[])) && !wants_edge(&options(&[], &["math"])));
    }

    /// A process that fails leaves figures that say so, and the size that is known anyway.
    #[cfg(unix)]
    #[test]
    fn a_failed_measurement_is_no_number() {
        let subject = Subject {
            folder: Path::new("/nowhere"),
            weights: crate::engine::WeightForm::Safetensors,
            device: "cpu",
            dtype: "f32",
            engine: crate::engine::Choice::Auto,
        };
        let failed = subject.measure(Path::new("/bin/false"), false);
        assert!(failed.is_err_and(|error| error.to_string().contains("ended with")));
        assert!(subject.measure(Path::new("/nowhere/program"), true).is_err());
    }
}
