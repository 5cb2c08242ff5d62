//! An estimate where no counter can be read: codecarbon's method for processors.
//!
//! Source: codecarbon (mlco2/codecarbon at `b05965e`), `codecarbon/core/cpu.py` and `codecarbon/external/hardware.py`, mode
//! `cpu_load` with the scope of the machine: power = TDP · (0.1 + 0.9 · load³), with the load as a share of all logical processors,
//! taken once per second. The TDP comes from a table by the processor's name and counts once per package; a processor that is not in it
//! has 4 W per logical processor, and one without a name 85 W. codecarbon's guess for memory is not added.

use super::{Host, Unavailable};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Watts of a processor whose name is not known.
const NAMELESS_WATTS: f64 = 85.0;
/// Watts per logical processor of one whose name is not in the table.
const UNLISTED_WATTS: f64 = 4.0;

/// Name as cleaned, and thermal design power in watts as the makers publish it (ark.intel.com, amd.com; boost limits left aside).
const TABLE: &[(&str, f64)] = &[
    ("AMD EPYC 7282", 120.0),
    ("AMD EPYC 7302", 155.0),
    ("AMD EPYC 7402", 180.0),
    ("AMD EPYC 7452", 155.0),
    ("AMD EPYC 7502", 180.0),
    ("AMD EPYC 7513", 200.0),
    ("AMD EPYC 7542", 225.0),
    ("AMD EPYC 7543", 225.0),
    ("AMD EPYC 7551", 180.0),
    ("AMD EPYC 7601", 180.0),
    ("AMD EPYC 7642", 225.0),
    ("AMD EPYC 7702", 200.0),
    ("AMD EPYC 7713", 225.0),
    ("AMD EPYC 7742", 225.0),
    ("AMD EPYC 7763", 280.0),
    ("AMD EPYC 9115", 125.0),
    ("AMD EPYC 9255", 200.0),
    ("AMD EPYC 9355", 280.0),
    ("AMD EPYC 9454", 290.0),
    ("AMD EPYC 9534", 280.0),
    ("AMD EPYC 9554", 360.0),
    ("AMD EPYC 9555", 360.0),
    ("AMD EPYC 9634", 290.0),
    ("AMD EPYC 9654", 360.0),
    ("AMD EPYC 9655", 400.0),
    ("AMD EPYC 9754", 360.0),
    ("AMD EPYC 9755", 500.0),
    ("AMD EPYC 9965", 500.0),
    ("AMD Ryzen 5 3600", 65.0),
    ("AMD Ryzen 5 5600X", 65.0),
    ("AMD Ryzen 5 7600X", 105.0),
    ("AMD Ryzen 7 3700X", 65.0),
    ("AMD Ryzen 7 5800X", 105.0),
    ("AMD Ryzen 7 7700X", 105.0),
    ("AMD Ryzen 9 3900X", 105.0),
    ("AMD Ryzen 9 3950X", 105.0),
    ("AMD Ryzen 9 5900X", 105.0),
    ("AMD Ryzen 9 5950X", 105.0),
    ("AMD Ryzen 9 7900X", 170.0),
    ("AMD Ryzen 9 7950X", 170.0),
    ("AMD Ryzen 9 9950X", 170.0),
    ("AMD Ryzen Threadripper 3970X", 280.0),
    ("AMD Ryzen Threadripper 3990X", 280.0),
    ("Intel Core i5-12600K", 125.0),
    ("Intel Core i5-8250U", 15.0),
    ("Intel Core i7-10510U", 15.0),
    ("Intel Core i7-12700K", 125.0),
    ("Intel Core i7-13700K", 125.0),
    ("Intel Core i7-8550U", 15.0),
    ("Intel Core i7-8700K", 95.0),
    ("Intel Core i7-9700K", 95.0),
    ("Intel Core i9-12900K", 125.0),
    ("Intel Core i9-13900K", 125.0),
    ("Intel Core i9-9900K", 95.0),
    ("Intel Xeon E5-2620 v4", 85.0),
    ("Intel Xeon E5-2680 v4", 120.0),
    ("Intel Xeon E5-2686 v4", 145.0),
    ("Intel Xeon E5-2690 v4", 135.0),
    ("Intel Xeon E5-2699 v4", 145.0),
    ("Intel Xeon Gold 6130", 125.0),
    ("Intel Xeon Gold 6148", 150.0),
    ("Intel Xeon Gold 6230", 125.0),
    ("Intel Xeon Gold 6248", 150.0),
    ("Intel Xeon Platinum 8160", 150.0),
    ("Intel Xeon Platinum 8168", 205.0),
    ("Intel Xeon Platinum 8180", 205.0),
    ("Intel Xeon Platinum 8280", 205.0),
    ("Intel Xeon Platinum 8380", 270.0),
    ("Intel Xeon Platinum 8480+", 350.0),
];

/// The power that an estimate rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessorPower {
    /// Watts of all packages together at full load.
    pub watts: f64,
    /// Where the number comes from, for people.
    pub source: String,
}

impl ProcessorPower {
    /// The operator's figure, else the table's, else codecarbon's fallback.
    #[must_use]
    pub fn of(host: &Host, stated: Option<f64>) -> Self {
        let packages = host.packages.max(1);
        let each = if packages == 1 { String::new() } else { format!(" for each of {packages} packages") };
        if let Some(watts) = stated {
            return Self { watts: watts * packages as f64, source: format!("the operator's TDP of {watts} W{each}") };
        }
        let Some(cpu) = &host.cpu else {
            return Self { watts: NAMELESS_WATTS, source: format!("{NAMELESS_WATTS} W for a processor without a name") };
        };
        match listed(cpu) {
            Some((name, watts)) => Self { watts: watts * packages as f64, source: format!("the TDP of {name}, {watts} W{each}") },
            None => Self {
                watts: UNLISTED_WATTS * host.logical_processors.max(1) as f64,
                source: format!(
                    "{UNLISTED_WATTS} W for each of {} logical processors, because the TDP of {cpu:?} is not known (state it with --cpu-tdp)",
                    host.logical_processors.max(1)
                ),
            },
        }
    }
}

/// The table's entry whose words all occur in the processor's name; the longest where there are several.
fn listed(cpu: &str) -> Option<(&'static str, f64)> {
    let words = words(cpu);
    TABLE.iter().filter(|(name, _)| self::words(name).iter().all(|word| words.contains(word))).max_by_key(|(name, _)| name.len()).copied()
}

/// Lower case, without marks, clock speed and the word CPU.
fn words(name: &str) -> Vec<String> {
    let name = name.replace("(R)", " ").replace("(TM)", " ").replace("(r)", " ").replace("(tm)", " ");
    let name = name.split('@').next().unwrap_or_default().to_lowercase();
    name.split_whitespace().filter(|word| *word != "cpu").map(str::to_owned).collect()
}

/// Adds up estimated energy from the machine's load.
#[derive(Clone, Debug)]
pub struct Estimate {
    stat: PathBuf,
    watts: f64,
    last: (Instant, Ticks),
    joules: f64,
}

/// Time of all logical processors since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Estimate {
    /// Begins with a TDP in watts.
    ///
    /// # Errors
    /// The system does not tell its load.
    pub fn open(proc_root: &Path, watts: f64) -> Result<Self, Unavailable> {
        if !(watts.is_finite() && watts > 0.0) {
            return Err(Unavailable(format!("a TDP of {watts} W estimates nothing")));
        }
        let stat = proc_root.join("stat");
        let last = (Instant::now(), ticks(&stat)?);
        Ok(Self { stat, watts, last, joules: 0.0 })
    }

    /// Adds the energy since the last call.
    ///
    /// # Errors
    /// The system does not tell its load any more.
    pub fn advance(&mut self) -> Result<(), Unavailable> {
        let now = (Instant::now(), ticks(&self.stat)?);
        let seconds = now.0.saturating_duration_since(self.last.0).as_secs_f64();
        let all = now.1.all.saturating_sub(self.last.1.all);
        // Less than a tick has passed: the load of such a moment is not known yet.
        if all == 0 {
            return Ok(());
        }
        let load = now.1.busy.saturating_sub(self.last.1.busy) as f64 / all as f64;
        self.joules += power(self.watts, load) * seconds;
        self.last = now;
        Ok(())
    }

    /// Joules since it began.
    #[must_use]
    pub fn joules(&self) -> f64 {
        self.joules
    }
}

/// The machine's load over a stretch of time.
pub(super) struct Load {
    stat: PathBuf,
    begun: Ticks,
}

impl Load {
    /// Begins; `None` where the system does not tell.
    pub(super) fn begin(proc_root: &Path) -> Option<Self> {
        let stat = proc_root.join("stat");
        let begun = ticks(&stat).ok()?;
        Some(Self { stat, begun })
    }

    /// Share of the logical processors that worked since, 0 to 1.
    pub(super) fn end(&self) -> Option<f64> {
        let now = ticks(&self.stat).ok()?;
        let all = now.all.checked_sub(self.begun.all).filter(|all| *all > 0)?;
        Some(now.busy.saturating_sub(self.begun.busy) as f64 / all as f64)
    }
}

/// Watts at a load between 0 and 1.
fn power(tdp: f64, load: f64) -> f64 {
    tdp * (0.1 + 0.9 * load.clamp(0.0, 1.0).powi(3))
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (guest time is part of user time).
fn ticks(stat: &Path) -> Result<Ticks, Unavailable> {
    let text = fs::read_to_string(stat).map_err(|error| Unavailable(format!("cannot read the load from {}: {error}", stat.display())))?;
    let wrong = || Unavailable(format!("{} does not begin with the processors' times", stat.display()));
    let fields = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or_else(wrong)?;
    let numbers: Vec<u64> = fields.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if numbers.len() < 4 {
        return Err(wrong());
    }
    let all = numbers.iter().fold(0_u64, |sum, number| sum.saturating_add(*number));
    let idle = numbers[3].saturating_add(numbers.get(4).copied().unwrap_or(0));
    Ok(Ticks { busy: all.saturating_sub(idle), all })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(cpu: Option<&str>, logical_processors: usize, packages: usize) -> Host {
        Host { cpu: cpu.map(str::to_owned), logical_processors, packages, memory_bytes: None }
    }

    /// Names as systems write them find their row; near names do not.
    #[test]
    fn processors_are_found_in_the_table() {
        for (name, watts) in [
            ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", Some(120.0)),
            ("AMD EPYC 7763 64-Core Processor", Some(280.0)),
            ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", Some(15.0)),
            ("AMD Ryzen 9 5950X 16-Core Processor", Some(105.0)),
            ("AMD EPYC", None),
            ("Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", None),
            ("Intel(R) Xeon(R) Processor", None),
        ] {
            assert_eq!(listed(name).map(|(_, watts)| watts), watts, "{name}");
        }
        let mut names: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        names.dedup();
        assert!(names.is_sorted() && names.len() == TABLE.len());
    }

    /// The operator's figure comes first, then the table, then 4 W per logical processor, then 85 W.
    #[test]
    fn the_power_falls_back_in_codecarbons_order() {
        let watts = |cpu, stated| ProcessorPower::of(&host(cpu, 8, 2), stated).watts;
        assert_eq!(watts(Some("AMD EPYC 7763 64-Core Processor"), Some(100.0)), 200.0);
        assert_eq!(watts(Some("AMD EPYC 7763 64-Core Processor"), None), 560.0);
        assert_eq!(watts(Some("a new chip"), None), 32.0);
        assert_eq!(watts(None, None), 85.0);
    }

    /// The estimate adds power · time of each step, at codecarbon's curve.
    #[test]
    fn load_becomes_energy() {
        assert_eq!((power(100.0, 0.0), power(100.0, 1.0)), (10.0, 100.0));
        assert!((power(100.0, 0.5) - 21.25).abs() < 1e-12);
        let root = tempfile::tempdir().unwrap();
        let stat = root.path().join("stat");
        fs::write(&stat, "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        let mut estimate = Estimate::open(root.path(), 100.0).unwrap();
        estimate.advance().unwrap();
        assert_eq!(estimate.joules(), 0.0, "no tick has passed");
        fs::write(&stat, "cpu  200 0 100 800 0 0 0 0 50 0\n").unwrap();
        estimate.last.0 -= std::time::Duration::from_secs(10);
        estimate.advance().unwrap();
        assert!((estimate.joules() - 1000.0).abs() < 10.0, "full load for ten seconds: {}", estimate.joules());
        for bad in ["", "intr 5", "cpu  a b c d", "cpu  1 2 3"] {
            fs::write(&stat, bad).unwrap();
            assert!(estimate.advance().is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Power lies between a tenth of the TDP and the TDP, and grows with the load.
        #[test]
        fn power_grows_with_load(tdp in 1.0..1000.0, low in 0.0..=1.0, high in 0.0..=1.0) {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            let (least, most) = (power(tdp, low), power(tdp, high));
            prop_assert!(tdp * 0.1 <= least && least <= most && most <= tdp * 1.0001);
        }
    }
}
