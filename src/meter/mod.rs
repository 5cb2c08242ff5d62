//! Time, memory, energy and CO₂ of this machine.
//!
//! A [`Meter`] watches what the machine has: RAPL counters of the processor packages, NVML counters of NVIDIA GPUs, or, where no counter
//! can be read, an estimate from the processor's thermal design power. Two [`Reading`]s bound a piece of work, and
//! [`Meter::between`] says what it took: gross, and net of the idle baseline that was measured when the meter started. Whatever is
//! missing is missing with its reason, never 0.

mod carbon;
mod host;
mod nvml;
mod process;
mod rapl;
mod tdp;

pub use carbon::{GridFactor, GridFactorError};
pub use host::{Host, hardware_class};
pub use process::{cpu_seconds, peak_resident_bytes};
pub use rapl::{Rapl, Zone, wrapped_difference};
pub use tdp::{Estimate, ProcessorPower};

use nvml::Gpus;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tdp::Load;

/// Load above which a machine is not at rest.
const IDLE_LOAD: f64 = 0.15;

/// Joules in a watt-hour.
pub const JOULES_PER_WATT_HOUR: f64 = 3600.0;

/// Folder of the kernel's powercap tree.
pub const POWERCAP_ROOT: &str = "/sys/class/powercap";

/// How often counters are read between readings: often enough that none wraps around twice, and the estimate's cadence.
const TICK: Duration = Duration::from_secs(1);

/// How an amount of energy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// RAPL counters of all processor packages.
    MeasuredRapl,
    /// NVML counters of the GPUs.
    MeasuredNvml,
    /// Estimated from the thermal design power and the processor's load.
    EstimatedTdp,
    /// Not known.
    Unavailable,
}

impl Method {
    /// The name in artifacts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeasuredRapl => "measured_rapl",
            Self::MeasuredNvml => "measured_nvml",
            Self::EstimatedTdp => "estimated_tdp",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something cannot be measured here, as a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// What a meter reads and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterConfig {
    /// Root of the powercap tree ([`POWERCAP_ROOT`]).
    pub powercap_root: PathBuf,
    /// Folder of process information, `/proc`.
    pub proc_root: PathBuf,
    /// The model computes on a GPU: its energy is measured, and the processor's beside it only where that is measured too.
    pub on_gpu: bool,
    /// Thermal design power of one processor package in watts, where the operator states it.
    pub tdp_watts: Option<f64>,
    /// How long the idle baseline is measured at the start; zero for none.
    pub idle: Duration,
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self {
            powercap_root: PathBuf::from(POWERCAP_ROOT),
            proc_root: PathBuf::from("/proc"),
            on_gpu: false,
            tdp_watts: None,
            idle: Duration::from_secs(3),
        }
    }
}

/// Watches the energy of this machine until it is dropped.
pub struct Meter {
    method: Method,
    /// Why the better methods were not used, or why there is none.
    remarks: Vec<String>,
    components: Vec<&'static str>,
    state: Arc<Mutex<State>>,
    idle_watts: Option<f64>,
    idle_seconds: f64,
    proc_root: PathBuf,
    /// Closed to end the watch.
    stop: Option<Sender<()>>,
}

/// Energy since the meter started.
struct State {
    sources: Vec<Source>,
    /// A counter that could no longer be read: nothing after it is known.
    failed: Option<String>,
}

enum Source {
    Rapl(Rapl),
    Nvml(Box<Gpus>),
    Tdp(Estimate),
}

impl Source {
    fn advance(&mut self) -> Result<(), Unavailable> {
        match self {
            Self::Rapl(rapl) => rapl.advance(),
            Self::Nvml(gpus) => gpus.advance(),
            Self::Tdp(estimate) => estimate.advance(),
        }
    }

    fn joules(&self) -> f64 {
        match self {
            Self::Rapl(rapl) => rapl.joules(),
            Self::Nvml(gpus) => gpus.joules(),
            Self::Tdp(estimate) => estimate.joules(),
        }
    }
}

impl State {
    fn advance(&mut self) {
        if self.failed.is_none() {
            self.failed = self.sources.iter_mut().find_map(|source| source.advance().err()).map(|Unavailable(reason)| reason);
        }
    }

    fn joules(&self) -> Result<f64, Unavailable> {
        match &self.failed {
            Some(reason) => Err(Unavailable(reason.clone())),
            None => Ok(self.sources.iter().map(Source::joules).sum()),
        }
    }
}

/// A moment: compared with a later one by [`Meter::between`].
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    cpu_seconds: Option<f64>,
    joules: Result<f64, Unavailable>,
}

/// What a piece of work took.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Processor time of this process and its finished children in seconds, where the system tells it.
    pub cpu_seconds: Option<f64>,
    /// Energy of the machine's watched components in joules.
    pub gross_joules: Result<f64, Unavailable>,
    /// The same less the idle baseline, at least 0.
    pub net_joules: Result<f64, Unavailable>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        // The watch ends with its sender.
        drop(self.stop.take());
    }
}

impl Meter {
    /// Chooses the best method that this machine has, measures the idle baseline for `config.idle`, and begins to watch.
    ///
    /// Never fails: a machine without counters and without a processor to estimate from gives a meter of [`Method::Unavailable`].
    #[must_use]
    pub fn start(config: &MeterConfig) -> Self {
        let mut remarks = Vec::new();
        let (method, sources) = choose(config, &mut remarks);
        let components = sources.iter().map(|source| if matches!(source, Source::Nvml(_)) { "gpu" } else { "cpu" }).collect();
        let mut meter = Self {
            method,
            remarks,
            components,
            state: Arc::new(Mutex::new(State { sources, failed: None })),
            idle_watts: None,
            idle_seconds: 0.0,
            proc_root: config.proc_root.clone(),
            stop: None,
        };
        if meter.method == Method::Unavailable {
            lock(&meter.state).failed = Some(meter.remarks.join("; "));
            return meter;
        }
        meter.stop = watch(&meter.state);
        if !config.idle.is_zero() {
            meter.rest(config.idle);
        }
        meter
    }

    /// Measures the idle baseline. A machine on which others work has none: what it uses then is not what it uses at rest.
    fn rest(&mut self, duration: Duration) {
        let load = Load::begin(&self.proc_root);
        let before = self.read();
        std::thread::sleep(duration);
        let idle = self.between(&before, &self.read());
        match load.and_then(|load| load.end()) {
            Some(load) if load > IDLE_LOAD => {
                self.remarks.push(format!(
                    "no idle baseline: the machine was not at rest, its load was {:.0} %, more than {:.0} %",
                    load * 100.0,
                    IDLE_LOAD * 100.0
                ));
            }
            _ => {
                self.idle_seconds = idle.seconds;
                self.idle_watts = idle.gross_joules.ok().map(|joules| joules / idle.seconds.max(f64::MIN_POSITIVE));
            }
        }
    }

    /// How energy is known here.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// What is watched: `cpu` (all packages, without memory), `gpu`.
    #[must_use]
    pub fn components(&self) -> &[&'static str] {
        &self.components
    }

    /// Why better methods were not used, and what the estimate rests on.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Idle power in watts, where it was measured, and the seconds over which it was.
    #[must_use]
    pub fn idle(&self) -> Option<(f64, f64)> {
        self.idle_watts.map(|watts| (watts, self.idle_seconds))
    }

    /// This moment.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut state = lock(&self.state);
        state.advance();
        Reading { at: Instant::now(), cpu_seconds: cpu_seconds(&self.proc_root), joules: state.joules() }
    }

    /// What was spent between two moments of this meter.
    #[must_use]
    pub fn between(&self, before: &Reading, after: &Reading) -> Spent {
        let seconds = after.at.saturating_duration_since(before.at).as_secs_f64();
        let gross_joules = match (&before.joules, &after.joules) {
            (Ok(before), Ok(after)) => Ok((after - before).max(0.0)),
            (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
        };
        let net_joules = gross_joules.clone().and_then(|gross| {
            let idle = self.idle_watts.ok_or_else(|| Unavailable("no idle baseline was measured".to_owned()))?;
            Ok((gross - idle * seconds).max(0.0))
        });
        let cpu_seconds = after.cpu_seconds.zip(before.cpu_seconds).map(|(after, before)| (after - before).max(0.0));
        Spent { seconds, cpu_seconds, gross_joules, net_joules }
    }
}

/// The sources of the best method, and why others were passed over.
fn choose(config: &MeterConfig, remarks: &mut Vec<String>) -> (Method, Vec<Source>) {
    let rapl = Rapl::open(&config.powercap_root);
    if config.on_gpu {
        let gpus = match Gpus::open() {
            Ok(gpus) => gpus,
            Err(Unavailable(reason)) => {
                remarks.push(reason);
                return (Method::Unavailable, Vec::new());
            }
        };
        let mut sources = vec![Source::Nvml(Box::new(gpus))];
        match rapl {
            Ok(rapl) => sources.push(Source::Rapl(rapl)),
            Err(Unavailable(reason)) => remarks.push(format!("the processor's energy is not counted: {reason}")),
        }
        return (Method::MeasuredNvml, sources);
    }
    match rapl {
        Ok(rapl) => return (Method::MeasuredRapl, vec![Source::Rapl(rapl)]),
        Err(Unavailable(reason)) => remarks.push(reason),
    }
    let host = Host::read(&config.proc_root);
    let power = ProcessorPower::of(&host, config.tdp_watts);
    match Estimate::open(&config.proc_root, power.watts) {
        Ok(estimate) => {
            remarks.push(format!("estimated from {}", power.source));
            (Method::EstimatedTdp, vec![Source::Tdp(estimate)])
        }
        Err(Unavailable(reason)) => {
            remarks.push(reason);
            (Method::Unavailable, Vec::new())
        }
    }
}

/// Reads the counters once per [`TICK`] until the sender is dropped.
fn watch(state: &Arc<Mutex<State>>) -> Option<Sender<()>> {
    let (stop, stopped) = channel::<()>();
    let watched = Arc::clone(state);
    let thread = std::thread::Builder::new().name("energy".to_owned()).spawn(move || {
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            lock(&watched).advance();
        }
    });
    match thread {
        Ok(_) => Some(stop),
        Err(error) => {
            lock(state).failed = Some(format!("the counters cannot be watched: {error}"));
            None
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn config(root: &Path) -> MeterConfig {
        MeterConfig {
            powercap_root: root.join("powercap"),
            proc_root: root.join("proc"),
            on_gpu: false,
            tdp_watts: None,
            idle: Duration::ZERO,
        }
    }

    fn package(root: &Path, index: usize, microjoules: u64) {
        let zone = root.join(format!("powercap/intel-rapl:{index}"));
        write(&zone.join("name"), &format!("package-{index}\n"));
        write(&zone.join("energy_uj"), &format!("{microjoules}\n"));
        write(&zone.join("max_energy_range_uj"), "1000000000\n");
    }

    /// Counters of all packages are summed, and the work between two readings is their difference.
    #[test]
    fn work_is_the_difference_of_two_readings() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, 5_000_000);
        package(root.path(), 1, 999_000_000);
        let meter = Meter::start(&config(root.path()));
        assert_eq!((meter.method(), meter.components()), (Method::MeasuredRapl, &["cpu"][..]));
        let before = meter.read();
        package(root.path(), 0, 8_000_000);
        package(root.path(), 1, 1_000_000);
        let spent = meter.between(&before, &meter.read());
        assert_eq!(spent.gross_joules, Ok(5.0), "3 J, and 2 J over the wrap-around");
        assert_eq!(spent.net_joules, Err(Unavailable("no idle baseline was measured".to_owned())));
    }

    /// Without counters the estimate is used and says why; without a processor to estimate from nothing is invented.
    #[test]
    fn without_counters_it_is_an_estimate_and_without_a_processor_nothing() {
        let root = tempfile::tempdir().unwrap();
        let meter = Meter::start(&config(root.path()));
        assert_eq!(meter.method(), Method::Unavailable);
        let spent = meter.between(&meter.read(), &meter.read());
        let Err(Unavailable(reason)) = spent.gross_joules else { panic!("nothing can be known") };
        assert!(reason.contains("powercap") && reason.contains("stat"), "{reason}");
        write(&root.path().join("proc/stat"), "cpu  100 0 100 800 0 0 0 0 0 0\n");
        write(
            &root.path().join("proc/cpuinfo"),
            "processor\t: 0\nmodel name\t: Nobody's chip\n\nprocessor\t: 1\nmodel name\t: Nobody's chip\n",
        );
        let meter = Meter::start(&config(root.path()));
        assert_eq!(meter.method(), Method::EstimatedTdp);
        assert!(meter.remarks().iter().any(|remark| remark.contains("4 W for each of 2 logical processors")), "{:?}", meter.remarks());
    }

    /// A counter that vanishes while work is under way makes its energy unknown, with the reason; it is never taken for 0.
    #[test]
    fn a_counter_that_vanishes_makes_energy_unknown() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, 5_000_000);
        let meter = Meter::start(&config(root.path()));
        let before = meter.read();
        fs::remove_file(root.path().join("powercap/intel-rapl:0/energy_uj")).unwrap();
        let spent = meter.between(&before, &meter.read());
        assert!(spent.gross_joules.is_err() && spent.net_joules.is_err());
    }

    /// A machine that works for others has no idle baseline, and says so.
    #[test]
    fn a_busy_machine_has_no_idle_baseline() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, 0);
        let stat = root.path().join("proc/stat");
        write(&stat, "cpu  100 0 100 800\n");
        let busy = stat.clone();
        let others = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            fs::write(&busy, "cpu  200 0 100 800\n").unwrap();
        });
        let meter = Meter::start(&MeterConfig { idle: Duration::from_millis(500), ..config(root.path()) });
        others.join().unwrap();
        assert_eq!(meter.idle(), None);
        assert!(meter.remarks().iter().any(|remark| remark.contains("not at rest")), "{:?}", meter.remarks());
    }

    /// Net is gross less idle power times time, and the idle power is measured at the start.
    #[test]
    fn the_idle_baseline_is_subtracted() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, 0);
        let mut meter = Meter::start(&MeterConfig { idle: Duration::from_millis(20), ..config(root.path()) });
        assert_eq!(meter.idle().map(|(watts, _)| watts), Some(0.0), "the counter stood still");
        meter.idle_watts = Some(10.0);
        let before = meter.read();
        package(root.path(), 0, 50_000_000);
        let mut after = meter.read();
        after.at = before.at + Duration::from_secs(2);
        let spent = meter.between(&before, &after);
        assert_eq!((spent.gross_joules, spent.net_joules, spent.seconds), (Ok(50.0), Ok(30.0), 2.0));
    }
}
