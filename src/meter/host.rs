//! What machine this is.

use super::nvml;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Facts of this machine, as far as the system tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Processor name.
    pub cpu: Option<String>,
    /// Logical processors that the system lists.
    pub logical_processors: usize,
    /// Processor packages (sockets), at least 1.
    pub packages: usize,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
}

impl Host {
    /// Reads `cpuinfo` and `meminfo` below a `/proc` folder.
    #[must_use]
    pub fn read(proc_root: &Path) -> Self {
        let cpuinfo = fs::read_to_string(proc_root.join("cpuinfo")).unwrap_or_default();
        let values = |key: &str| -> Vec<String> {
            let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            fields.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned()).collect()
        };
        let meminfo = fs::read_to_string(proc_root.join("meminfo")).unwrap_or_default();
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        let known = |name: &String| !name.is_empty() && name != "unknown";
        Self {
            cpu: values("model name").into_iter().find(known).map(|name| name.split_whitespace().collect::<Vec<_>>().join(" ")),
            logical_processors: values("processor").len(),
            packages: values("physical id").into_iter().collect::<BTreeSet<_>>().len().max(1),
            memory_bytes: memory.and_then(|kilobytes| kilobytes.checked_mul(1024)),
        }
    }
}

/// The hardware class within which speed and energy may be compared: the device, its name, and for a processor how many logical
/// processors the run could use.
#[must_use]
pub fn hardware_class(device: &str, host: &Host, usable_processors: usize) -> String {
    if device == "cuda" {
        return format!("cuda: {}", nvml::gpu_name().unwrap_or_else(|| "unknown GPU".to_owned()));
    }
    let name = host.cpu.as_deref().unwrap_or(std::env::consts::ARCH);
    let plural = if usable_processors == 1 { "" } else { "s" };
    format!("{device}: {name}, {usable_processors} logical processor{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_described_by_what_they_tell() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Host::read(root.path()), Host { packages: 1, ..Host::default() });
        let processor = |id: usize, socket: usize| {
            format!("processor\t: {id}\nmodel name\t: Intel(R)  Xeon(R) CPU E5-2680 v4 @ 2.40GHz\nphysical id\t: {socket}\n\n")
        };
        fs::write(root.path().join("cpuinfo"), [processor(0, 0), processor(1, 0), processor(2, 1), processor(3, 1)].concat()).unwrap();
        fs::write(root.path().join("meminfo"), "MemTotal:       16384 kB\nMemFree: 1 kB\n").unwrap();
        let host = Host::read(root.path());
        assert_eq!((host.logical_processors, host.packages, host.memory_bytes), (4, 2, Some(16 << 20)));
        assert_eq!(hardware_class("cpu", &host, 4), "cpu: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz, 4 logical processors");
    }
}
