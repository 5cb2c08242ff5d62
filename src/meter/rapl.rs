//! Running Average Power Limit: energy counters of processor packages, through the kernel's powercap tree.
//!
//! Layout (kernel documentation, `power/powercap/powercap.rst`): a folder `intel-rapl:N` for each package, with `name`, `energy_uj` and
//! `max_energy_range_uj`, and sub-zones `intel-rapl:N:M` (`core`, `uncore`, `dram`) below or beside it. Cores are part of their package
//! and would count twice; memory is not part of it and is not counted, because most machines have no counter for it. `psys` holds the
//! packages and is left out. `intel-rapl-mmio` shows the same packages a second time. AMD processors use the same names.
//! Since kernel 5.10 only root may read the counters unless an administrator grants it.

use super::Unavailable;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A package's counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Name (`package-0`).
    pub name: String,
    folder: PathBuf,
    /// The counter runs from 0 to this, in microjoules, and begins again.
    pub range: u64,
    last: u64,
}

/// The counters of all packages, added up over their wrap-arounds.
#[derive(Clone, Debug)]
pub struct Rapl {
    zones: Vec<Zone>,
    microjoules: u64,
}

impl Rapl {
    /// Finds the packages below a powercap root.
    ///
    /// # Errors
    /// No packages, or a counter that cannot be read (with the remedy): a part of the packages is no measurement of the machine.
    pub fn open(root: &Path) -> Result<Self, Unavailable> {
        let entries = fs::read_dir(root).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Unavailable(format!("{} does not exist: no RAPL counters (usual in virtual machines)", root.display()))
            }
            _ => Unavailable(format!("cannot list {}: {error}", root.display())),
        })?;
        let mut folders: Vec<PathBuf> =
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_top_level(path)).collect();
        folders.sort();
        let mut zones: Vec<Zone> = Vec::new();
        // `intel-rapl:` sorts after `intel-rapl-mmio:`; the plain interface comes first here.
        folders.sort_by_key(|path| is_mmio(path));
        for folder in folders {
            let name = read_text(&folder.join("name"))?;
            let is_second_view = is_mmio(&folder) && zones.iter().any(|zone| zone.name == name);
            if !name.starts_with("package") || is_second_view {
                continue;
            }
            let range = read_number(&folder.join("max_energy_range_uj"))?;
            let last = read_number(&folder.join("energy_uj"))?;
            if range == 0 || last > range {
                let reason = format!("{}: a counter of {last} µJ with a range of {range} µJ", folder.display());
                return Err(Unavailable(reason));
            }
            zones.push(Zone { name, folder, range, last });
        }
        if zones.is_empty() {
            return Err(Unavailable(format!("{} has no processor package: no RAPL counters (usual in virtual machines)", root.display())));
        }
        Ok(Self { zones, microjoules: 0 })
    }

    /// The packages.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Reads all counters and adds what they grew by. Must be called before any counter can wrap around twice.
    ///
    /// # Errors
    /// A counter that cannot be read, or has a value beyond its range. The sum is then no longer a measurement.
    pub fn advance(&mut self) -> Result<(), Unavailable> {
        for zone in &mut self.zones {
            let now = read_number(&zone.folder.join("energy_uj"))?;
            if now > zone.range {
                return Err(Unavailable(format!("{}: {now} µJ are beyond the range of {} µJ", zone.folder.display(), zone.range)));
            }
            self.microjoules += wrapped_difference(zone.last, now, zone.range);
            zone.last = now;
        }
        Ok(())
    }

    /// Joules since it was opened.
    #[must_use]
    pub fn joules(&self) -> f64 {
        self.microjoules as f64 / 1e6
    }
}

/// Growth of a counter that runs from 0 to `range` and begins again, if it wrapped around at most once. All in the same unit, and both
/// readings at most `range`.
#[must_use]
pub const fn wrapped_difference(before: u64, after: u64, range: u64) -> u64 {
    if after >= before { after - before } else { range.saturating_sub(before).saturating_add(after) }
}

/// `intel-rapl:0`, not `intel-rapl:0:1` and not the control type `intel-rapl` itself.
fn is_top_level(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let index =
        name.strip_prefix("intel-rapl").map(|rest| rest.strip_prefix("-mmio").unwrap_or(rest)).and_then(|rest| rest.strip_prefix(':'));
    index.is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_mmio(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("intel-rapl-mmio"))
}

fn read_text(path: &Path) -> Result<String, Unavailable> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Unavailable(format!(
            "permission to read {} is denied: run as root, or let an administrator grant it (chmod a+r)",
            path.display()
        )),
        _ => Unavailable(format!("cannot read {}: {error}", path.display())),
    })
}

fn read_number(path: &Path) -> Result<u64, Unavailable> {
    let text = read_text(path)?;
    text.parse().map_err(|_| Unavailable(format!("{} holds {text:?}, no number of microjoules", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(root: &Path, folder: &str, name: &str, energy: &str, range: u64) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), energy).unwrap();
        fs::write(folder.join("max_energy_range_uj"), format!("{range}\n")).unwrap();
    }

    /// Two packages count once each: not their cores, not the machine's sum, not their second view.
    #[test]
    fn packages_count_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("intel-rapl")).unwrap();
        zone(root, "intel-rapl:0", "package-0", "100", 1000);
        zone(root, "intel-rapl:0:0", "core", "100", 1000);
        zone(root, "intel-rapl:0/intel-rapl:0:1", "dram", "100", 1000);
        zone(root, "intel-rapl:1", "package-1", "900", 1000);
        zone(root, "intel-rapl:2", "psys", "100", 1000);
        zone(root, "intel-rapl-mmio:0", "package-0", "100", 1000);
        let mut rapl = Rapl::open(root).unwrap();
        assert_eq!(rapl.zones().iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>(), ["package-0", "package-1"]);
        for folder in ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:2", "intel-rapl-mmio:0"] {
            fs::write(root.join(folder).join("energy_uj"), "950").unwrap();
        }
        rapl.advance().unwrap();
        assert_eq!(rapl.joules(), 900e-6);
        fs::write(root.join("intel-rapl:1/energy_uj"), "10").unwrap();
        rapl.advance().unwrap();
        assert_eq!(rapl.joules(), 960e-6, "the second package wrapped around");
    }

    /// Every way in which counters can be missing says what is wrong, and for permissions what helps.
    #[test]
    fn unreadable_counters_are_unavailable_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let reason = |root: &Path| Rapl::open(root).unwrap_err().0;
        assert!(reason(&root.join("nowhere")).contains("does not exist"));
        assert!(reason(root).contains("no processor package"));
        zone(root, "intel-rapl:0", "package-0", "100", 1000);
        for (energy, word) in [("lots", "no number"), ("-1", "no number"), ("2000", "range"), ("", "no number")] {
            fs::write(root.join("intel-rapl:0/energy_uj"), energy).unwrap();
            assert!(reason(root).contains(word), "{energy}: {}", reason(root));
        }
        fs::remove_file(root.join("intel-rapl:0/energy_uj")).unwrap();
        assert!(reason(root).contains("cannot read"));
        // A folder in the counter's place is unreadable to everyone, root included.
        fs::create_dir(root.join("intel-rapl:0/energy_uj")).unwrap();
        assert!(reason(root).contains("cannot read"));
    }

    /// Denied permission names the remedy. Root reads everything, so root only sees that it may.
    #[cfg(unix)]
    #[test]
    fn denied_permission_names_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        zone(root.path(), "intel-rapl:0", "package-0", "100", 1000);
        let counter = root.path().join("intel-rapl:0/energy_uj");
        fs::set_permissions(&counter, fs::Permissions::from_mode(0o000)).unwrap();
        match (fs::read(&counter), Rapl::open(root.path())) {
            (Ok(_), opened) => assert!(opened.is_ok()),
            (Err(_), opened) => assert!(opened.unwrap_err().0.contains("chmod a+r")),
        }
    }

    proptest! {
        /// A counter that wraps around at most once between readings gives back exactly what was spent.
        #[test]
        fn spent_energy_survives_the_wrap_around(range in 1_u64..=u64::MAX / 2, start in any::<u64>(), spent in any::<u64>()) {
            let (start, spent) = (start % (range + 1), spent % range);
            // The counter after `spent`: from the top it goes on at 0.
            let after = if start + spent <= range { start + spent } else { start + spent - range };
            prop_assert_eq!(wrapped_difference(start, after, range), spent);
        }
    }

    proptest! {
        // Each case writes files.
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Any number of wrap-arounds is counted as long as each step is read.
        #[test]
        fn steps_add_up(range in 1_000_u64..1_000_000, steps in prop::collection::vec(0_u64..1_000, 1..30)) {
            let root = tempfile::tempdir().unwrap();
            zone(root.path(), "intel-rapl:0", "package-0", "0", range);
            let mut rapl = Rapl::open(root.path()).unwrap();
            let mut counter = 0;
            for step in &steps {
                counter += step;
                if counter > range {
                    counter -= range;
                }
                fs::write(root.path().join("intel-rapl:0/energy_uj"), counter.to_string()).unwrap();
                rapl.advance().unwrap();
            }
            prop_assert_eq!(rapl.microjoules, steps.iter().sum::<u64>());
        }

        /// Whatever a counter's file holds, nothing panics.
        #[test]
        fn any_text_in_a_counter_is_an_error_or_a_number(text in ".{0,40}") {
            let root = tempfile::tempdir().unwrap();
            zone(root.path(), "intel-rapl:0", "package-0", &text, 1000);
            let number = text.trim().parse::<u64>().is_ok_and(|number| number <= 1000);
            prop_assert_eq!(Rapl::open(root.path()).is_ok(), number);
        }
    }
}
