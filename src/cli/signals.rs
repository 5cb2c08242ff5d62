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
                loop {
                    if next_signal().await.is_err() {
                        return;
                    }
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

#[cfg(unix)]
/// Ends at the next interrupt.
pub(super) async fn next_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
/// Ends at the next interrupt.
pub(super) async fn next_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
