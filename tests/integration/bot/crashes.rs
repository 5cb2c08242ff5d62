//! Nothing is lost and nothing is doubled, wherever the server is killed: before and after every record that it makes, and before and after
//! every effect outside. Also: two servers on one store.

use super::stand_in::{AUTHOR, When};
use super::{Bench, submission};
use http::Method;
use slm_benchmark::bot::store::JobState;
use std::sync::Mutex;
use std::time::Instant;

/// Servers that are killed and started again at the same time: most of the time each waits for a lease to run out.
const AT_ONCE: usize = 6;

/// Where the server is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// At a record of its store, as `slm-bench serve --crash-at` takes it.
    Record(&'static str),
    /// By GitHub, at a call of this method whose path ends so.
    Call(Verb, &'static str, When),
}

/// The methods that change something, as `http::Method` cannot stand in a constant.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Post,
}

impl From<Verb> for Method {
    fn from(method: Verb) -> Self {
        match method {
            Verb::Post => Self::POST,
        }
    }
}

/// Runs `survive` for every point, several at once, and fails with the names of all points that were not survived.
fn survive_all(points: &[Point], survive: impl Fn(Point) + Sync) {
    let next = Mutex::new(points.iter());
    let lost = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(&point) = next.lock().unwrap().next() else { return };
                    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| survive(point))) {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        lost.lock().unwrap().push(format!("{point:?}: {text}"));
                    }
                }
            });
        }
    });
    let lost = lost.into_inner().unwrap();
    assert!(lost.is_empty(), "{} of {} points were not survived:\n{}", lost.len(), points.len(), lost.join("\n\n"));
}

/// A server that is killed at `point`, started again, and driven until `done`; `drive` does what people would do meanwhile.
fn driven(
    point: Option<Point>,
    policy: &str,
    prepare: impl Fn(&Bench),
    drive: impl Fn(&mut Bench),
    done: impl Fn(&Bench) -> bool,
) -> Bench {
    let mut bench = Bench::prepare(policy);
    prepare(&bench);
    let mut killed = point.is_none();
    match point {
        Some(Point::Record(name)) => bench.run_crashing_at(name),
        Some(Point::Call(method, path, when)) => {
            bench.run();
            bench.github.kill_at(method.into(), path, when, bench.server.as_ref().unwrap().id());
        }
        None => bench.run(),
    }
    let start = Instant::now();
    while !(killed && done(&bench)) {
        assert!(start.elapsed() < super::PATIENCE, "killed: {killed}; the bot said {:#?}\n{}", bench.github.said(1), bench.log());
        if !killed && bench.has_ended() {
            killed = true;
            bench.run();
        }
        drive(&mut bench);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bench
}

fn state_shown(bench: &Bench) -> Option<JobState> {
    bench.job(1).filter(|job| job.shown == Some(job.state)).map(|job| job.state)
}

fn open_once(bench: &mut Bench, body: &str) {
    if bench.github.state().issues.is_empty() {
        let (_, event) = bench.github.open_issue(AUTHOR, body, &["submission"]);
        // It may be lost: the server may be dying.
        bench.try_deliver("issues", &event);
    }
}

fn read_all(bench: &Bench) -> Vec<String> {
    let mut all: Vec<String> = std::iter::from_fn(|| bench.github.read_next()).collect();
    all.sort();
    all
}

/// An invalid submission ends in one comment with the findings, wherever the server is killed on the way.
#[test]
fn findings_survive_any_crash() {
    let points = [
        Point::Record("before accept"),
        Point::Record("after accept"),
        Point::Record("before next_delivery"),
        Point::Record("after next_delivery"),
        Point::Record("before submit"),
        Point::Record("after submit"),
        Point::Record("before finish_delivery"),
        Point::Record("after finish_delivery"),
        Point::Record("before claim"),
        Point::Record("after claim"),
        Point::Record("before rejected"),
        Point::Record("after rejected"),
        Point::Record("before claim_unshown"),
        Point::Record("after claim_unshown"),
        Point::Record("before set_status_comment"),
        Point::Record("after set_status_comment"),
        Point::Record("before mark_shown"),
        Point::Record("after mark_shown"),
        Point::Call(Verb::Post, "/issues/1/comments", When::Before),
        Point::Call(Verb::Post, "/issues/1/comments", When::After),
        Point::Call(Verb::Post, "/issues/1/labels", When::Before),
        Point::Call(Verb::Post, "/issues/1/labels", When::After),
    ];
    let body = submission().replace("license: apache-2.0", "licence: apache-2.0");
    survive_all(&points, |point| {
        let bench =
            driven(Some(point), "", |_| {}, |bench| open_once(bench, &body), |bench| state_shown(bench) == Some(JobState::Rejected));
        let said = read_all(&bench);
        assert_eq!(said.len(), 1, "{said:#?}");
        assert!(said[0].contains("there is no field `licence`"), "{}", said[0]);
        assert_eq!(bench.github.labels(1), ["needs-changes", "submission"]);
        assert_eq!(bench.store().jobs_in(&JobState::ALL).unwrap().len(), 1);
        bench.finish();
    });
}

/// Two servers on one store: every submission is checked by one of them, once, and when one is killed the other goes on with its work.
#[test]
fn two_servers_share_one_store() {
    let mut bench = Bench::start("");
    let first = bench.server.take();
    bench.run();
    let body = submission().replace("license: apache-2.0", "licence: apache-2.0");
    let issues: Vec<u64> = (0..12).map(|_| bench.open(&body)).collect();
    let mut first = first.unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    for issue in &issues {
        bench.wait_for(*issue, JobState::Rejected);
        let steps: Vec<JobState> = bench.store().transitions(bench.job(*issue).unwrap().id).unwrap().iter().map(|step| step.to).collect();
        assert_eq!(steps, [JobState::Received, JobState::Rejected]);
    }
    assert_eq!(read_all(&bench).len(), issues.len());
    bench.finish();
}
