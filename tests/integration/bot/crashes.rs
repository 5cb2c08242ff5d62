//! Nothing is lost and nothing is doubled, wherever the server is killed: before and after every record that it makes, and before and after
//! every effect outside. Also: a full disk, a branch that others push to, and two servers on one store.

#[cfg(feature = "engine")]
use super::stand_in::MAINTAINER;
use super::stand_in::{AUTHOR, Fault};
use super::{Bench, submission};
use slm_benchmark::bot::store::JobState;
#[cfg(feature = "engine")]
use std::path::PathBuf;
use std::sync::Mutex;
#[cfg(feature = "engine")]
use std::sync::OnceLock;
use std::time::Instant;

/// Servers that are killed and started again at the same time: most of the time each waits for a lease to run out.
const AT_ONCE: usize = 6;

/// Where the server is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    /// At a record of its store, as `slm-bench serve --crash-at` takes it.
    Record(&'static str),
    /// By GitHub, at a call of this method whose path ends so.
    Call(&'static str, &'static str, When),
}

/// Before a call takes effect, or after it, with its answer lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Before,
    After,
}

/// Runs `survive` for every point, several at once, and fails with the names of all points that were not survived.
pub(super) fn survive_all(points: &[Point], survive: impl Fn(Point) + Sync) {
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
pub(super) fn driven(
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
            let server = bench.server.as_ref().unwrap().id();
            let fault = match when {
                When::Before => Fault::KillBefore(server),
                When::After => Fault::KillAfter(server),
            };
            bench.github.fault(method, &format!("{path}$"), 1, fault);
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

pub(super) fn state_shown(bench: &Bench) -> Option<JobState> {
    bench.job(1).filter(|job| job.shown == Some(job.state)).map(|job| job.state)
}

fn open_once(bench: &mut Bench, body: &str) {
    if bench.github.issues().is_empty() {
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
        Point::Call("POST", "/issues/1/comments", When::Before),
        Point::Call("POST", "/issues/1/comments", When::After),
        Point::Call("POST", "/issues/1/labels", When::Before),
        Point::Call("POST", "/issues/1/labels", When::After),
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

/// A corrected submission loses the label of the faulty one, and a withdrawn one those of the valid one, wherever the server is killed on the
/// way: each of these points is a label that is taken off, or the comment and the label before it.
#[test]
fn labels_that_go_survive_any_crash() {
    let points = [
        Point::Call("DELETE", "/issues/1/labels/needs-changes", When::Before),
        Point::Call("DELETE", "/issues/1/labels/needs-changes", When::After),
        Point::Call("DELETE", "/issues/1/labels/validated", When::Before),
        Point::Call("DELETE", "/issues/1/labels/validated", When::After),
        Point::Record("before cancel"),
        Point::Record("after cancel"),
    ];
    let faulty = submission().replace("license: apache-2.0", "licence: apache-2.0");
    survive_all(&points, |point| {
        let is_corrected = std::cell::Cell::new(false);
        // Faulty until that is shown, then corrected until that is shown, then closed.
        let drive = |bench: &mut Bench| {
            open_once(bench, &faulty);
            match state_shown(bench) {
                Some(JobState::Rejected) if !is_corrected.get() => {
                    is_corrected.set(true);
                    let event = bench.github.edit_issue(1, &submission());
                    bench.try_deliver("issues", &event);
                }
                Some(JobState::Validated) if bench.github.is_open(1) => {
                    assert_eq!(bench.github.labels(1), ["submission", "validated"]);
                    let event = bench.github.set_open(1, false);
                    bench.try_deliver("issues", &event);
                }
                _ => {}
            }
        };
        let bench = driven(Some(point), "", |_| {}, drive, |bench| state_shown(bench) == Some(JobState::Cancelled));
        assert_eq!(read_all(&bench).len(), 1);
        assert_eq!(bench.github.labels(1), ["submission"]);
        bench.finish();
    });
}

/// The folder in which one evaluation of the demonstration model was done: its answers are the same in every test, so they are taken over.
#[cfg(feature = "engine")]
fn answers() -> &'static PathBuf {
    static ANSWERS: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &ANSWERS
        .get_or_init(|| {
            let bench = Bench::prepare("");
            let file = bench.path("submission.yml");
            let body = submission();
            let yaml = body.split("```").nth(1).unwrap().strip_prefix("yaml\n").unwrap();
            std::fs::write(&file, yaml).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let results = folder.path().join("results");
            let done = std::process::Command::new(env!("CARGO_BIN_EXE_slm-bench"))
                .args(["run", "--suite", "smoke", "--device", "cpu", "--dtype", "f32", "--submission-file"])
                .arg(&file)
                .arg("--output-dir")
                .arg(&results)
                .env("HF_HUB_CACHE", bench.path("hub"))
                .env("HF_HUB_OFFLINE", "1")
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            (folder, results)
        })
        .1
}

#[cfg(feature = "engine")]
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What people do: open the issue, and approve once it is checked.
#[cfg(feature = "engine")]
fn open_and_approve(bench: &mut Bench) {
    open_once(bench, &submission());
    let approved = bench.github.was_said("/slm-bench approve");
    if !approved && state_shown(bench) == Some(JobState::Validated) {
        let event = bench.github.comment(1, MAINTAINER, "/slm-bench approve");
        bench.try_deliver("issue_comment", &event);
    }
}

/// The whole way ends in exactly one commit, one status comment and one result, wherever the server is killed: before and after every record
/// and every effect outside. The evaluation is a real child process, which finds answers of an earlier evaluation in its folder; where it is
/// killed in the middle it has none.
#[cfg(feature = "engine")]
#[test]
fn the_whole_way_survives_any_crash() {
    let points = [
        Point::Record("before validated"),
        Point::Record("after validated"),
        Point::Record("before mark_shown"),
        Point::Record("after mark_shown"),
        Point::Record("before accept 2"),
        Point::Record("after accept 2"),
        Point::Record("before next_delivery 2"),
        Point::Record("after next_delivery 2"),
        Point::Record("before queued"),
        Point::Record("after queued"),
        Point::Record("before finish_delivery 2"),
        Point::Record("after finish_delivery 2"),
        Point::Record("before claim 2"),
        Point::Record("after claim 2"),
        Point::Record("before evaluating"),
        Point::Record("after evaluating"),
        Point::Record("before handle"),
        Point::Record("after handle"),
        Point::Record("before evaluated"),
        Point::Record("after evaluated"),
        Point::Record("before claim 3"),
        Point::Record("after claim 3"),
        // The commit is on the branch, and the store does not know.
        Point::Record("before published"),
        Point::Record("after published"),
        Point::Record("before claim 4"),
        Point::Record("after claim 4"),
        Point::Record("before reported"),
        Point::Record("after reported"),
        Point::Call("PATCH", "/issues/comments/101", When::Before),
        Point::Call("PATCH", "/issues/comments/101", When::After),
        Point::Call("POST", "/issues/1/labels", When::Before),
        Point::Call("POST", "/issues/1/labels", When::After),
    ];
    let prepare = |bench: &Bench| copy(answers(), &bench.path("work/jobs/1/results"));
    let reported = |bench: &Bench| state_shown(bench) == Some(JobState::Reported);
    let undisturbed = driven(None, "", prepare, open_and_approve, reported);
    let expected = read_all(&undisturbed).len();
    let commit = undisturbed.commits();
    undisturbed.finish();
    survive_all(&points, |point| {
        let bench = driven(Some(point), "", prepare, open_and_approve, reported);
        assert_eq!(bench.commits(), commit, "one commit, the same as without a crash");
        let said = read_all(&bench);
        assert_eq!(said.len(), expected, "each comment once: {said:#?}");
        assert_eq!(bench.store().jobs_in(&JobState::ALL).unwrap().len(), 1);
        assert_eq!(bench.github.labels(1), ["evaluated", "submission", "validated"]);
        bench.finish();
    });
}

/// Somebody else pushes fifty commits while results are published: all of them and the results are on the branch.
#[cfg(feature = "engine")]
#[test]
fn a_busy_branch_loses_nothing() {
    let bench = driven(
        None,
        "evaluate = \"at-once\"",
        |bench| copy(answers(), &bench.path("work/jobs/1/results")),
        |bench| open_once(bench, &submission()),
        |bench| bench.job(1).is_some_and(|job| job.state >= JobState::Evaluating),
    );
    let (remote, mut made) = (bench.path("remote.git"), 0);
    let is_published = |bench: &Bench| bench.job(1).is_some_and(|job| job.commit.is_some());
    let start = Instant::now();
    while made < 50 || !is_published(&bench) {
        assert!(start.elapsed() < super::PATIENCE, "{}", bench.log());
        if made < 50 && commit_as_somebody_else(&remote, made) {
            made += 1;
        }
    }
    bench.wait_for(1, JobState::Reported);
    let commits = bench.commits();
    assert_eq!(commits.len(), 51);
    assert_eq!(commits.iter().filter(|(message, _)| message.starts_with("Add results of")).count(), 1);
    let files = &commits[0].1;
    assert!((0..50).all(|number| files.contains(&format!("file{number}"))), "{files:?}");
    assert!(files.iter().any(|path| path == "models/registry.json"));
    read_all(&bench);
    bench.finish();
}

/// Adds a file to the branch in the way of a push: the tip changes only if it is still the one that was read.
#[cfg(feature = "engine")]
fn commit_as_somebody_else(remote: &std::path::Path, number: u32) -> bool {
    let repository = git2::Repository::open_bare(remote).unwrap();
    let tip = repository.find_reference("refs/heads/main").ok().and_then(|tip| tip.peel_to_commit().ok());
    let blob = repository.blob(format!("{number}\n").as_bytes()).unwrap();
    let before = tip.as_ref().map(|tip| tip.tree().unwrap());
    let mut tree = repository.treebuilder(before.as_ref()).unwrap();
    tree.insert(format!("file{number}"), blob, 0o100_644).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let somebody = git2::Signature::now("somebody", "somebody@example.org").unwrap();
    let parents: Vec<&git2::Commit<'_>> = tip.iter().collect();
    let commit = repository.commit(None, &somebody, &somebody, &format!("Add file {number}"), &tree, &parents).unwrap();
    let moved = match &tip {
        Some(tip) => repository.reference_matching("refs/heads/main", commit, true, tip.id(), "push"),
        None => repository.reference("refs/heads/main", commit, false, "push"),
    };
    moved.is_ok()
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

/// The same delivery twenty times at once is one job and one comment.
#[test]
fn one_delivery_twenty_times() {
    let bench = Bench::start("");
    let (issue, event) =
        bench.github.open_issue(AUTHOR, &submission().replace("license: apache-2.0", "licence: apache-2.0"), &["submission"]);
    let answers = Mutex::new(Vec::new());
    let (address, event) = (bench.address.clone(), &event);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let answer = super::post(&address, "the-same", "issues", event).unwrap();
                answers.lock().unwrap().push(answer);
            });
        }
    });
    let mut answers = answers.into_inner().unwrap();
    answers.sort_unstable();
    assert_eq!((answers[18], answers[19]), (200, 202), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == 202).count(), 1);
    bench.wait_for(issue, JobState::Rejected);
    assert_eq!(bench.store().jobs_in(&JobState::ALL).unwrap().len(), 1);
    assert_eq!(read_all(&bench).len(), 1);
    bench.finish();
}

/// A disk that is full: what was answered with 202 is kept, what cannot be kept is not answered so, and with room the work goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let mut bench = Bench::prepare("");
    // Half a mebibyte for each file, in blocks of 512 bytes; a write beyond is an error instead of the end.
    bench.run_by(&["sh", "-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""], None);
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..400_u32 {
        let text = format!("{number}: {}", "words ".repeat(1_500));
        let event = bench.github.comment_on_nothing(AUTHOR, &text);
        match super::post(&bench.address, &format!("delivery-{number}"), "issue_comment", &event) {
            Ok(202) => kept.push(number),
            Ok(status) => {
                assert!(status >= 500, "{status}");
                refused += 1;
            }
            Err(error) => panic!("the server is gone: {error}\n{}", bench.log()),
        }
        if refused >= 5 {
            break;
        }
    }
    assert!(refused >= 5 && !kept.is_empty(), "the disk did not fill up: {} kept, {refused} refused", kept.len());
    bench.kill();
    bench.run();
    assert_eq!(bench.store().faults().unwrap(), Vec::<String>::new());
    for number in &kept {
        let event = bench.github.comment_on_nothing(AUTHOR, "again");
        assert_eq!(super::post(&bench.address, &format!("delivery-{number}"), "issue_comment", &event).unwrap(), 200, "{number} was lost");
    }
    bench.finish();
}
