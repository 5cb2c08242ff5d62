//! The commands: one file each. This file parses, sets up logging, and turns outcomes into exit codes.

mod archive;
mod artifact_files;
mod compare;
mod demo;
mod detect;
mod doctor;
mod event;
mod measure;
pub(crate) mod merge;
mod meter;
mod process;
mod registry;
mod report;
mod rescore;
mod run;
mod samples;
mod sandbox;
mod serve;
mod sign;
mod signals;
mod validate;
mod verify;
mod website;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;

/// How a command ended, as the exit code that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: the submission or the data is invalid; the findings have been printed.
    Invalid,
    /// 4: a partial run: some task has no score.
    Partial,
}

/// An error whose cause is the command line: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error whose cause is the input (submission, registry, artifacts): exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(pub String);

#[derive(Parser)]
#[command(
    name = "slm-bench",
    version,
    about = "The leaderboard for small language models: validate a submission, evaluate the model, rank it, audit it.",
    after_help = "Exit codes: 0 done; 1 the submission or data is invalid; 2 wrong usage; 3 the run failed; 4 a partial run (some task has no score)."
)]
struct Arguments {
    /// Say more: once for progress of steps, twice for details (or set `RUST_LOG`).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Process(process::Arguments),
    Serve(serve::Arguments),
    Event(event::Arguments),
    Run(run::Arguments),
    /// Write a submission YAML from what the hub knows about a model, ready to check and paste.
    Detect(detect::Arguments),
    Doctor(doctor::Arguments),
    /// Report runs: Markdown, JSON and a self-contained HTML page
    Report(report::ReportArguments),
    /// Fold runs into the registry
    Registry(registry::RegistryArguments),
    /// Derive the leaderboard that the website shows
    Website(website::WebsiteArguments),
    Measure(measure::Arguments),
    /// Join the shards of one run
    Merge(merge::MergeArguments),
    /// Compare two models on the same questions, with the significance of every difference
    Compare(compare::Arguments),
    /// Sign a run with an SSH key
    Sign(sign::Arguments),
    /// Keep a dated snapshot of results
    Archive(archive::ArchiveArguments),
    /// Write questions and answers in the form of other programs
    Samples(samples::SamplesArguments),
    /// Recompute everything published from the artifacts; any difference is named
    ///
    /// Without paths it takes models/registry.json, results/raw and website/assets/data/leaderboard.json of the current folder. It uses no
    /// cache, and ends with 1 where something does not follow.
    Verify(verify::VerifyArguments),
    /// Run one assembled Python test program isolated and print the verdict.
    Sandbox(sandbox::Options),
    /// A launcher of isolated processes; speaks to its parent only.
    #[command(name = crate::sandbox::WORKER_COMMAND, hide = true)]
    SandboxWorker,
    Validate(validate::Arguments),
}

/// Parses the command line, runs the command, prints an error with its causes, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A server's log is what its operator has.
    let serves = matches!(arguments.command, Command::Serve(_));
    set_up_logging(arguments.verbose.max(u8::from(serves)));
    match dispatch(arguments.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Invalid) => ExitCode::from(1),
        Ok(Outcome::Partial) => ExitCode::from(4),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code_of(&error))
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Process(arguments) => process::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Event(arguments) => event::run(&arguments),
        Command::Detect(arguments) => detect::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Registry(arguments) => registry::run(&arguments),
        Command::Website(arguments) => website::run(&arguments),
        Command::Measure(arguments) => measure::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Archive(arguments) => archive::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Samples(arguments) => samples::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Sandbox(options) => sandbox::run(&options),
        Command::SandboxWorker => Ok(crate::sandbox::serve().map(|()| Outcome::Done)?),
        Command::Validate(arguments) => validate::run(&arguments),
    }
}

fn exit_code_of(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error>::is::<UsageError>) {
        2
    } else if error.chain().any(<dyn std::error::Error>::is::<InvalidInput>) {
        1
    } else {
        3
    }
}

fn set_up_logging(verbose: u8) {
    let default = match verbose {
        // The engine warns about what is meant here (no chat template, no stop strings), and our own client says which call failed and why.
        0 => "warn,mistralrs_core=error,mistralrs_quant=error,octocrab=off",
        1 => "slm_benchmark=info,warn,octocrab=off",
        _ => "slm_benchmark=debug,info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).without_time().init();
}
