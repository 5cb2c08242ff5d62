//! Memory and processor time of this process, from `/proc/self`; elsewhere they are not known.

use std::fs;
use std::path::Path;

/// Ticks per second in which Linux tells user programs their processor time: fixed at 100 by the kernel's interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Largest resident memory of this process so far, in bytes.
#[must_use]
pub fn peak_resident_bytes(proc_root: &Path) -> Option<u64> {
    let status = fs::read_to_string(proc_root.join("self/status")).ok()?;
    let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())?;
    kilobytes.checked_mul(1024)
}

/// Processor time of this process and of its children that have ended, in seconds.
#[must_use]
pub fn cpu_seconds(proc_root: &Path) -> Option<f64> {
    let stat = fs::read_to_string(proc_root.join("self/stat")).ok()?;
    // The program's name stands in brackets and may hold anything; after it come the fields from the third on.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Fields 14 to 17 of proc(5): user and system time, own and of waited-for children.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_whatever_the_programs_name() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("self")).unwrap();
        fs::write(root.path().join("self/status"), "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t  2048 kB\n").unwrap();
        fs::write(root.path().join("self/stat"), "7 (a) (b) c) R 1 2 3 4 5 6 7 8 9 10 100 50 25 25 20 0 1").unwrap();
        assert_eq!((peak_resident_bytes(root.path()), cpu_seconds(root.path())), (Some(2 << 20), Some(2.0)));
        assert_eq!((peak_resident_bytes(&root.path().join("no")), cpu_seconds(&root.path().join("no"))), (None, None));
    }
}
