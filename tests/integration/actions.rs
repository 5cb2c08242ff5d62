//! Promises of evaluations on GitHub Actions, against the stand-in, with shards of a synthetic run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slm_benchmark::benchmark::suites::Suite;
use slm_benchmark::bot::executor::{ActionsConfig, ActionsExecutor, Executor, Handle, Order, Status};
use slm_benchmark::bot::store::{Failure, FailureKind};
use slm_benchmark::github::Client;
use slm_benchmark::leaderboard::pillars::summarise;
use slm_benchmark::leaderboard::run::Run;

use crate::github_stand_in::{Fault, GitHub, WORKFLOW, zip};
use crate::synthetic::{Recipe, pillars};
use crate::synthetic_samples::{write_run, write_run_json};

const SHARDS: usize = 3;

struct Place {
    github: GitHub,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { github: GitHub::start(), runtime, folder: tempfile::tempdir().unwrap() }
    }

    /// An executor as after a start of the server: it remembers nothing.
    fn executor(&self) -> ActionsExecutor {
        let client = self.runtime.block_on(async { Client::new(self.github.settings()) }).unwrap();
        let config = ActionsConfig {
            workflow: WORKFLOW.to_owned(),
            reference: "main".to_owned(),
            shards: SHARDS,
            wall: Duration::from_hours(1),
            largest_artifact: 64 << 20,
            pause: Duration::from_millis(5),
        };
        ActionsExecutor::new(client, self.runtime.handle().clone(), config)
    }

    fn order(&self) -> Order {
        let work = self.folder.path().join("job-5");
        fs::create_dir_all(&work).unwrap();
        let submission = "model:\n  name: Model 1\n".to_owned();
        Order { job: 5, issue: 12, body_hash: "0123456789abcdef".repeat(4), submission, suite: "standard".to_owned(), work }
    }

    fn only_run(&self) -> u64 {
        let runs = self.github.runs();
        assert_eq!(runs.len(), 1);
        runs[0].id
    }

    /// The whole run, and what the job of each shard would leave of it.
    fn evaluated(&self) -> (PathBuf, Vec<(String, Vec<u8>)>) {
        let path = write_run(&self.folder.path().join("evaluated"), &Recipe { suite_version: "2", ..Recipe::new("lab/model-1", 0.5) });
        let whole: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let shards = (0..SHARDS).map(|number| (format!("shard-{number}"), self.shard(&path, &whole, number))).collect();
        (path, shards)
    }

    fn shard(&self, path: &Path, whole: &Run, number: usize) -> Vec<u8> {
        let mut run = whole.clone();
        run.requested = whole.requested.iter().skip(number).step_by(SHARDS).cloned().collect();
        run.tasks.retain(|task, _| run.requested.contains(task));
        let has = |task: &str| run.tasks.contains_key(task) || task.starts_with("mmlu_") && run.tasks.contains_key("mmlu");
        run.samples.retain(|sample| has(&sample.task));
        (run.pillars, run.aggregate) = summarise(&pillars(), &run.tasks);
        let json = self.folder.path().join("shard.json");
        write_run_json(&json, &run);
        let place = format!("lab--model-1/{}", run.run_id);
        let mut files = vec![(format!("{place}/run.json"), fs::read(&json).unwrap())];
        files.extend(
            run.samples.iter().map(|sample| (format!("{place}/{}", sample.file), fs::read(path.with_file_name(&sample.file)).unwrap())),
        );
        zip(&files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect::<Vec<_>>())
    }
}

fn failure(status: Status) -> Failure {
    let Status::Failed(failure) = status else { panic!("it has not failed: {status:?}") };
    failure
}

/// The whole way: dispatched with the submission and the tasks of each job and nothing else, followed, fetched, joined to the run that one
/// machine would have made; and a server that starts anew in between goes on.
#[test]
fn shards_come_back_as_one_run() {
    let place = Place::new();
    let order = place.order();
    assert_eq!(place.executor().recover(&order, None).unwrap(), None);
    let handle = place.executor().start(&order).unwrap();
    let run = place.only_run();
    assert_eq!(handle, Handle::Actions { run });
    assert_eq!(place.executor().recover(&order, None).unwrap(), Some(handle.clone()));
    assert_eq!(place.executor().recover(&order, Some(&handle)).unwrap(), Some(handle.clone()));

    let inputs = place.github.runs()[0].inputs.clone();
    assert_eq!(inputs.keys().map(String::as_str).collect::<Vec<_>>(), ["evaluation", "shards", "submission", "suite"]);
    assert_eq!((&inputs["submission"], inputs["suite"].as_str()), (&order.submission, "standard"));
    let shards: Vec<String> = serde_json::from_str(&inputs["shards"]).unwrap();
    let dealt: Vec<&str> = shards.iter().flat_map(|shard| shard.split(',')).collect();
    let suite = Suite::named("standard").unwrap();
    assert_eq!((shards.len(), dealt.len()), (SHARDS, dealt.iter().collect::<BTreeSet<_>>().len()));
    assert_eq!(dealt.into_iter().collect::<BTreeSet<_>>(), suite.tasks().map(|task| task.name).collect());

    assert!(matches!(place.executor().poll(&order, &handle).unwrap(), Status::Running(None)));
    place.github.begin_run(run, &["Shard 0", "Shard 1", "Shard 2"]);
    let Status::Running(Some(progress)) = place.executor().poll(&order, &handle).unwrap() else { panic!("it runs") };
    assert_eq!((progress.task.as_str(), progress.tasks, progress.done), ("Shard 0", 3, 0));

    let (whole, artifacts) = place.evaluated();
    place.github.finish_run(run, "success", artifacts);
    place.github.fault("GET", "/storage", 1, Fault::Status(500));
    assert_eq!(place.executor().poll(&order, &handle).unwrap(), Status::Finished { partial: false });
    place.github.seen();
    assert_eq!(place.executor().poll(&order, &handle).unwrap(), Status::Finished { partial: false });
    let folders = place.executor().collect(&order, &handle).unwrap();
    assert!(place.github.seen().iter().all(|seen| !seen.target.contains("/artifacts")), "nothing is fetched twice");
    assert_eq!(folders.len(), 1);
    assert!(folders[0].starts_with(order.results()));
    assert!(fs::read(folders[0].join("run.json")).unwrap() == fs::read(&whole).unwrap());
    assert_eq!(fs::read_dir(folders[0].join("samples")).unwrap().count(), fs::read_dir(whole.with_file_name("samples")).unwrap().count());
    place.github.finish();
}

/// A dispatch whose answer is lost starts one run, also when the server dies at that moment.
#[test]
fn a_lost_dispatch_is_found_again() {
    for fault in [Fault::DropAfter, Fault::BadGatewayAfter] {
        let place = Place::new();
        place.github.fault("POST", "/dispatches", 1, fault);
        let handle = place.executor().start(&place.order()).unwrap();
        assert_eq!(handle, Handle::Actions { run: place.only_run() });
        assert_eq!(place.executor().recover(&place.order(), None).unwrap(), Some(handle.clone()));
        place.executor().cancel(&place.order(), &handle).unwrap();
        place.executor().cancel(&place.order(), &handle).unwrap();
        assert_eq!(place.executor().recover(&place.order(), Some(&handle)).unwrap(), None, "what was cancelled is not taken up again");
        place.github.finish();
    }
    // Nothing was started: an error that another attempt may mend.
    let place = Place::new();
    place.github.fault("POST", "/dispatches", 100, Fault::Status(503));
    assert_eq!(place.executor().start(&place.order()).unwrap_err().kind, FailureKind::Transient);
    assert!(place.github.runs().is_empty());
    place.github.finish();
}

/// When a runner fails, only the failed jobs run again, and what the others left is used.
#[test]
fn failed_jobs_run_again() {
    let place = Place::new();
    let order = place.order();
    let handle = place.executor().start(&order).unwrap();
    let run = place.only_run();
    let (_, artifacts) = place.evaluated();
    place.github.begin_run(run, &["Shard 0", "Shard 1", "Shard 2"]);
    place.github.finish_run(run, "failure", artifacts[..2].to_vec());
    let failed = failure(place.executor().poll(&order, &handle).unwrap());
    assert_eq!(failed.kind, FailureKind::Transient);
    assert!(failed.message.contains("Shard 0 (failure)"), "{}", failed.message);
    assert_eq!(place.executor().recover(&order, Some(&handle)).unwrap(), Some(handle.clone()));
    assert!(matches!(place.executor().poll(&order, &handle).unwrap(), Status::Running(_)));
    place.github.finish_run(run, "success", artifacts[2..].to_vec());
    assert_eq!(place.executor().poll(&order, &handle).unwrap(), Status::Finished { partial: false });
    assert_eq!((place.only_run(), place.github.runs()[0].attempt), (run, 2));
    place.github.finish();
}

/// A run without all of its shards, with a hostile one, or that nobody knows is no result; the message for the issue names no place on this machine.
#[test]
fn incomplete_and_hostile_artifacts_are_no_result() {
    let hostile = vec![("shard-0".to_owned(), zip(&[("../../run.json", b"{}")]))];
    let empty = vec![("shard-0".to_owned(), zip(&[("readme.txt", b"hello")]))];
    let other = vec![("logs".to_owned(), zip(&[("run.json", b"{}")])), ("shard-x".to_owned(), zip(&[("run.json", b"{}")]))];
    let two = Place::new().evaluated().1[..2].to_vec();
    for (artifacts, says) in [(hostile, "unsafe name"), (empty, "damaged"), (other, "no artifact"), (two, "no shard of")] {
        let place = Place::new();
        let order = place.order();
        let handle = place.executor().start(&order).unwrap();
        place.github.finish_run(place.only_run(), "success", artifacts);
        let failed = failure(place.executor().poll(&order, &handle).unwrap());
        assert_eq!(failed.kind, FailureKind::Permanent, "{}", failed.message);
        assert!(failed.message.contains(says), "{}", failed.message);
        assert!(!failed.message.contains(&place.folder.path().display().to_string()), "{}", failed.message);
        assert_eq!(place.executor().poll(&order, &Handle::Actions { run: 1 }).unwrap(), Status::Lost);
        place.github.finish();
    }
}
