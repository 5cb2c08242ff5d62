//! Energy counters of NVIDIA GPUs, through the driver's library. It is loaded at run time: a machine without it has no counters.

use super::Unavailable;
use nvml_wrapper::Nvml;

/// The GPUs of this machine, with what they used since the meter was started.
pub(super) struct Gpus {
    library: Nvml,
    /// Index and last value in millijoules (since the driver was loaded; 64 bits, so it never wraps around).
    counters: Vec<(u32, u64)>,
    millijoules: u64,
}

impl Gpus {
    /// Opens the first GPU, on which the engine computes.
    ///
    /// # Errors
    /// No library, no GPU, or one that is older than Volta and has no energy counter.
    pub(super) fn open() -> Result<Self, Unavailable> {
        let library = Nvml::init().map_err(|error| Unavailable(format!("NVML is not available: {error}")))?;
        let count = library.device_count().map_err(|error| Unavailable(format!("NVML does not list its GPUs: {error}")))?;
        if count == 0 {
            return Err(Unavailable("NVML finds no GPU".to_owned()));
        }
        let counters = vec![(0, read(&library, 0)?)];
        Ok(Self { library, counters, millijoules: 0 })
    }

    pub(super) fn advance(&mut self) -> Result<(), Unavailable> {
        for (index, last) in &mut self.counters {
            let now = read(&self.library, *index)?;
            self.millijoules += now.saturating_sub(*last);
            *last = now;
        }
        Ok(())
    }

    pub(super) fn joules(&self) -> f64 {
        self.millijoules as f64 / 1e3
    }
}

/// The first GPU's name.
pub(super) fn gpu_name() -> Option<String> {
    Nvml::init().ok()?.device_by_index(0).ok()?.name().ok()
}

fn read(library: &Nvml, index: u32) -> Result<u64, Unavailable> {
    let counter = library.device_by_index(index).and_then(|gpu| gpu.total_energy_consumption());
    counter.map_err(|error| Unavailable(format!("GPU {index} has no energy counter (Volta and newer have one): {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the driver's library there is a reason; with it there is a counter. Nothing else can come of it.
    #[test]
    fn an_absent_library_is_unavailable() {
        match (Nvml::init(), Gpus::open()) {
            (Err(_), opened) => assert!(opened.is_err_and(|Unavailable(reason)| reason.contains("NVML is not available"))),
            (Ok(_), Ok(mut gpus)) => assert!(gpus.advance().is_ok() && gpus.joules() >= 0.0),
            (Ok(_), Err(Unavailable(reason))) => assert!(reason.contains("GPU"), "{reason}"),
        }
    }
}
