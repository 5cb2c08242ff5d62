//! The program `slm-bench`: parses the command line and hands over.

use std::process::ExitCode;

fn main() -> ExitCode {
    slm_benchmark::cli::main()
}
