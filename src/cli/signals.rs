//! Interrupts: the first asks the work to stop at a safe point, the second ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// A flag that becomes true at the first interrupt (Ctrl-C, SIGTERM). At the second, the program ends at once.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    static WATCH: std::sync::Once = std::sync::Once::new();
    WATCH.call_once(|| {
        std::thread::spawn(|| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                let Ok(mut interrupts) = Interrupts::listen() else { return };
                while interrupts.next().await.is_ok() {
                    if STOP.swap(true, Ordering::Relaxed) {
                        std::process::exit(130);
                    }
                    eprintln!("stopping at the next answer; press Ctrl-C again to end at once");
                }
            });
        });
    });
    &STOP
}

/// The interrupts from now on: one that arrives between two calls of [`Interrupts::next`] is not lost.
#[cfg(unix)]
pub(super) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    /// Listens from now on; the system's own way with them, which ends the program, is over. Called inside of a runtime.
    pub(super) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Ends at the next one.
    pub(super) async fn next(&mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
        }
    }
}

/// The interrupts.
#[cfg(not(unix))]
pub(super) struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    /// Listens from the first call of [`Interrupts::next`] on.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Ends at the next one.
    pub(super) async fn next(&mut self) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}
