//! Promises of the local executor: however a child behaves, its job learns how it ended and nothing of it is left.

use super::local::{LocalConfig, LocalExecutor};
use super::process;
use super::{Executor, Handle, Order, Status};
use crate::bot::store::FailureKind;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The shell stands in for slm-bench: its first argument, `run`, is a script in the work folder.
fn executor(change: impl FnOnce(&mut LocalConfig)) -> LocalExecutor {
    let mut config = LocalConfig {
        program: "/bin/sh".into(),
        arguments: Vec::new(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        memory_bytes: None,
        wall: Duration::from_mins(2),
        grace: Duration::from_secs(30),
        nice: 5,
    };
    change(&mut config);
    LocalExecutor::new(config)
}

fn order(folder: &Path, script: &str) -> Order {
    let work = folder.canonicalize().unwrap();
    fs::write(work.join("run"), script).unwrap();
    Order { job: 1, issue: 1, body_hash: "hash".to_owned(), submission: "model:\n".to_owned(), suite: "smoke".to_owned(), work }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end_of(executor: &LocalExecutor, order: &Order, handle: &Handle) -> Status {
    until("the end", || match executor.poll(order, handle).unwrap() {
        Status::Running(_) => None,
        ended => Some(ended),
    })
}

fn nothing_is_left(order: &Order, handle: &Handle) {
    let Handle::Local { pid, .. } = handle else { panic!("a local handle") };
    assert_eq!(process::members(*pid), [].into(), "of the group");
    assert_eq!(process::marked(&order.work), [].into(), "outside of the group");
}

fn failure(status: Status) -> (FailureKind, String) {
    match status {
        Status::Failed(failure) => (failure.kind, failure.message),
        other => panic!("{other:?}"),
    }
}

/// A child gets what it needs and no secret, says how far it is, and names its artifacts.
#[test]
fn a_child_that_does_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let executor = executor(|config| config.arguments = vec!["--device".to_owned(), "cpu".to_owned()]);
    let script = r#"
        echo "$@" > arguments; env > environment; cat "$2" > /dev/null 2>&1
        echo '{"slm_bench":"quantization","number":1,"of":1}' >&2
        echo '{"slm_bench":"task","task":"piqa","number":2,"of":4}' >&2
        echo '{"slm_bench":"requests","task":"piqa","done":5,"total":10,"eta_s":2.5,"score":0.5}' >&2
        echo 'a line for people' >&2
        while [ ! -e go ]; do sleep 0.05; done
        mkdir -p results/m/r; echo '{}' > results/m/r/run.json
        echo '{"slm_bench":"run","folder":"'"$PWD"'/results/m/r","run_id":"r"}' >&2
    "#;
    let order = order(folder.path(), script);
    let handle = executor.start(&order).unwrap();
    let progress = until("progress", || match executor.poll(&order, &handle).unwrap() {
        Status::Running(progress) => progress.filter(|progress| progress.done == 5),
        ended => panic!("{ended:?}"),
    });
    assert_eq!((progress.task.as_str(), progress.share()), ("piqa", Some(0.375)));
    assert_eq!(executor.recover(&order, Some(&handle)).unwrap(), Some(handle.clone()), "still followed, so it goes on");
    fs::write(order.work.join("go"), "").unwrap();
    assert_eq!(end_of(&executor, &order, &handle), Status::Finished { partial: false });
    assert_eq!(executor.collect(&order, &handle).unwrap(), [order.work.join("results/m/r")]);
    nothing_is_left(&order, &handle);

    let arguments = fs::read_to_string(order.work.join("arguments")).unwrap();
    let work = order.work.display();
    let wanted =
        format!("--submission-file {work}/submission.yml --output-dir {work}/results --suite smoke --resume --progress json --device cpu");
    assert_eq!(arguments.trim(), wanted);
    let environment = fs::read_to_string(order.work.join("environment")).unwrap();
    let mut names: Vec<&str> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["PATH", process::MARK]);
    assert_eq!(fs::read_to_string(order.work.join("run.log")).unwrap(), "a line for people\n");
    executor.forget(&handle);
    assert_eq!(executor.poll(&order, &handle).unwrap(), Status::Lost);
}

/// The exit codes of `slm-bench run` decide whether another attempt is worth it; messages name no folder of this machine.
#[test]
fn exit_codes_decide() {
    let cases = [
        ("echo 'error: no such task' >&2; exit 2", FailureKind::Permanent, "no such task"),
        ("echo 'error: the licence forbids it' >&2; exit 1", FailureKind::Permanent, "the licence forbids it"),
        ("echo \"error: cannot write $PWD/results/x\" >&2; exit 3", FailureKind::Transient, "cannot write the work folder/results/x"),
        ("exit 101", FailureKind::Transient, "the evaluation ended without a word"),
        // The child knows better than its exit code.
        (
            r#"echo '{"slm_bench":"failed","may_pass":false}' >&2; echo 'error: cannot read that' >&2; exit 3"#,
            FailureKind::Permanent,
            "cannot read that",
        ),
        (
            r#"echo '{"slm_bench":"delayed","task":"piqa","reason":"the hub is away"}' >&2; exit 4"#,
            FailureKind::Transient,
            "piqa has no score yet: the hub is away",
        ),
        (
            "kill -KILL $$",
            FailureKind::Transient,
            "the evaluation was killed (signal 9), most likely because the machine ran out of memory",
        ),
        ("kill -SEGV $$", FailureKind::Transient, "the evaluation was ended by signal 11"),
    ];
    let executor = executor(|_| {});
    for (script, kind, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let order = order(folder.path(), script);
        let handle = executor.start(&order).unwrap();
        assert_eq!(failure(end_of(&executor, &order, &handle)), (kind, message.to_owned()), "{script}");
        assert!(executor.collect(&order, &handle).is_err());
        nothing_is_left(&order, &handle);
    }
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), "exit 4");
    let handle = executor.start(&order).unwrap();
    assert_eq!(end_of(&executor, &order, &handle), Status::Finished { partial: true });
}

/// What a child leaves behind ends with it: in its group, in a session of its own, deaf to signals.
#[test]
fn grandchildren_end_with_the_child() {
    let folder = tempfile::tempdir().unwrap();
    let executor = executor(|_| {});
    let script = r"
        trap '' TERM INT HUP
        (trap '' TERM INT HUP; while :; do sleep 1; done) &
        setsid sh -c 'trap : TERM; while :; do sleep 1; done' &
        setsid sh -c '(while :; do sleep 1; done) & exit' &
        sleep 0.3; exit 0
    ";
    let order = order(folder.path(), script);
    let handle = executor.start(&order).unwrap();
    assert_eq!(end_of(&executor, &order, &handle), Status::Finished { partial: false });
    nothing_is_left(&order, &handle);
}

/// A cancel is asked for first and then forced.
#[test]
fn cancelling_ends_a_child_that_will_not() {
    let folder = tempfile::tempdir().unwrap();
    let kind = executor(|_| {});
    let order = order(folder.path(), "trap 'echo stopped > stopped; exit 3' TERM; touch up; while :; do sleep 0.05; done");
    let handle = kind.start(&order).unwrap();
    until("the start", || order.work.join("up").exists().then_some(()));
    kind.cancel(&order, &handle).unwrap();
    assert!(order.work.join("stopped").exists(), "it could stop at a safe point");
    assert_eq!(failure(end_of(&kind, &order, &handle)).0, FailureKind::Transient);
    nothing_is_left(&order, &handle);
    kind.cancel(&order, &handle).unwrap();

    fs::remove_file(order.work.join("up")).unwrap();
    fs::write(order.work.join("run"), "trap '' TERM; touch up; while :; do sleep 1; done").unwrap();
    let force = executor(|config| config.grace = Duration::from_millis(200));
    let handle = force.start(&order).unwrap();
    until("the start", || order.work.join("up").exists().then_some(()));
    force.cancel(&order, &handle).unwrap();
    nothing_is_left(&order, &handle);
}

/// A child that runs for ever or takes all memory is ended, and the author is told which.
#[test]
fn bounds_hold() {
    let folder = tempfile::tempdir().unwrap();
    let short = executor(|config| {
        config.wall = Duration::from_millis(300);
        config.grace = Duration::from_millis(200);
    });
    let forever = order(folder.path(), "trap '' TERM; while :; do sleep 1; done");
    let handle = short.start(&forever).unwrap();
    let (kind, message) = failure(end_of(&short, &forever, &handle));
    assert_eq!((kind, message.as_str()), (FailureKind::Permanent, "the evaluation took longer than the 0 seconds allowed here"));
    nothing_is_left(&forever, &handle);

    let small = executor(|config| config.memory_bytes = Some(64 << 20));
    // `tail` keeps what has no line end in memory; it is a grandchild.
    let greedy = order(folder.path(), "sh -c 'head -c 400000000 /dev/zero | (tail -n 1; sleep 100) > /dev/null'");
    let handle = small.start(&greedy).unwrap();
    let (kind, message) = failure(end_of(&small, &greedy, &handle));
    assert_eq!((kind, message.as_str()), (FailureKind::Permanent, "the evaluation needs more than the 0.1 GiB of memory allowed here"));
    nothing_is_left(&greedy, &handle);
}

/// After a crash of the server its children are found, also where their handle was never stored, and ended before the job goes on.
#[test]
fn orphans_are_ended_before_the_job_goes_on() {
    for stored in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let crashed = executor(|_| {});
        let order = order(folder.path(), "trap '' TERM; setsid sh -c 'while :; do sleep 1; done' & touch up; while :; do sleep 1; done");
        let handle = crashed.start(&order).unwrap();
        until("the start", || order.work.join("up").exists().then_some(()));
        let next = executor(|_| {});
        assert_eq!(next.poll(&order, &handle).unwrap(), Status::Lost);
        assert_eq!(next.recover(&order, stored.then_some(&handle)).unwrap(), None);
        nothing_is_left(&order, &handle);
    }
}

/// A later process that happens to have the number of an earlier child is left alone.
#[test]
fn strangers_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), "");
    let mut stranger = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let started = process::started(stranger.id()).unwrap();
    let earlier = Handle::Local { pid: stranger.id(), started: started - 1, boot: process::boot() };
    let other_boot = Handle::Local { pid: stranger.id(), started, boot: "another".to_owned() };
    for handle in [&earlier, &other_boot] {
        executor(|_| {}).recover(&order, Some(handle)).unwrap();
        executor(|_| {}).cancel(&order, handle).unwrap();
    }
    assert!(process::started(stranger.id()).is_some(), "alive");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A handle reads the same after a restart; an executor leaves nothing behind when it goes.
#[test]
fn handles_are_stored_and_executors_clean_up() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), "while :; do sleep 1; done");
    let executor = executor(|_| {});
    let handle = executor.start(&order).unwrap();
    let text = serde_json::to_string(&handle).unwrap();
    assert_eq!(serde_json::from_str::<Handle>(&text).unwrap(), handle);
    drop(executor);
    until("the end of the child", || process::marked(&order.work).is_empty().then_some(()));
}
