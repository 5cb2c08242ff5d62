//! Small hostile programs that are released at every start: if one of them gets out, nothing else is run.

use super::{Execution, Limits, Program, Sandbox, Verdict};
use serde::Serialize;

/// One attempt of the check at the start, and how it ended.
#[derive(Clone, Debug, Serialize)]
pub struct Canary {
    /// What was tried.
    pub name: &'static str,
    /// How it ended: anything but `passed` and `sandbox_error` is good.
    pub execution: Execution,
}

/// A program that must pass.
pub(super) fn honest() -> Program {
    Program {
        candidate: "import math\ndef root(x):\n    return math.isqrt(x)\n".to_owned(),
        test: "assert root(81) == 9\nassert [root(x) for x in (0, 1, 15)] == [0, 1, 3]".to_owned(),
        ..Program::default()
    }
}

/// Each canary: its name, and code that ends with `got_out` being true if it got out.
const ATTEMPTS: &[(&str, &str)] = &[
    (
        "network",
        "import _socket\ngot_out = False\nfor family in (2, 10, 1, 16):\n    try:\n        _socket.socket(family, 1)\n        got_out = True\n    except OSError:\n        pass\n",
    ),
    (
        "file outside",
        "got_out = False\nfor path in ('/etc/passwd', '/etc/hostname', '/proc/self/environ', '/proc/1/cmdline', CANARY):\n    try:\n        __import__('posix').open(path, 0)\n        got_out = True\n    except OSError:\n        pass\n",
    ),
    (
        "write outside",
        "import posix\ngot_out = False\nfor path in ('/', '/usr', '/var/tmp', '/dev/shm', '/etc', '/run'):\n    try:\n        posix.open(path + '/canary', posix.O_CREAT | posix.O_WRONLY)\n        got_out = True\n    except OSError:\n        pass\n",
    ),
    (
        "fork",
        "import posix\ngot_out = False\ntry:\n    if posix.fork() == 0:\n        posix._exit(0)\n    got_out = True\nexcept OSError:\n    pass\n",
    ),
    (
        "kill",
        "import posix, _signal\ngot_out = False\nfor pid in (posix.getppid(), -1, 1):\n    try:\n        posix.kill(pid, 0)\n        got_out = True\n    except OSError:\n        pass\n",
    ),
    ("memory", "got_out = False\ntry:\n    hoard = bytearray(1 << 40)\n    got_out = True\nexcept MemoryError:\n    pass\n"),
    (
        "environment",
        "import posix\ngot_out = [name for name in posix.environ if name not in (b'PYTHONHASHSEED', b'LC_CTYPE', b'OMP_NUM_THREADS')] != []\n",
    ),
];

/// Programs that try to pass without being right.
const FORGERIES: &[(&str, &str)] = &[
    ("exit(0)", "import sys\nsys.exit(0)\n"),
    ("os._exit(0)", "import os\nos._exit(0)\n"),
    ("exit in the function", "import os\ndef root(x):\n    os._exit(0)\n"),
    ("equal to everything", "class All:\n    def __eq__(self, other): return True\ndef root(x): return All()\n"),
    ("endless loop", "def root(x):\n    while True: pass\n"),
];

/// Releases them all.
///
/// # Errors
/// Which one got out, or what kept it from being tried.
pub(super) fn release(sandbox: &Sandbox) -> Result<Vec<Canary>, String> {
    // A file that every user of this machine may read, but no guest.
    let file = sandbox.canary_file().map_err(|error| format!("the canary file cannot be written: {error}"))?;
    let path = serde_json::Value::from(file.to_string_lossy()).to_string();
    let attempts = ATTEMPTS.iter().map(|(name, code)| {
        let program =
            Program { candidate: format!("CANARY = {path}\n{code}"), test: "assert got_out is True".to_owned(), ..Program::default() };
        (*name, program)
    });
    let forgeries = FORGERIES.iter().map(|(name, code)| (*name, Program { candidate: (*code).to_owned(), ..honest() }));
    let limits = Limits { cpu_s: 0.25, wall_s: 10.0, ..sandbox.limits() };
    let mut canaries = Vec::new();
    for (name, program) in attempts.chain(forgeries) {
        // Only the endless loop is meant to run out of time.
        let limits = if name == "endless loop" { limits } else { sandbox.limits() };
        let execution = sandbox.run_within(&program, limits);
        let good = match execution.verdict {
            Verdict::Failed => execution.reason == "AssertionError" || FORGERIES.iter().any(|(forgery, _)| *forgery == name),
            Verdict::TimedOut => name == "endless loop",
            Verdict::Passed | Verdict::SandboxError => false,
        };
        if !good {
            return Err(format!("{name}: {} {}", execution.verdict, execution.reason));
        }
        canaries.push(Canary { name, execution });
    }
    Ok(canaries)
}
