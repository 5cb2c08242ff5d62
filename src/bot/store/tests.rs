//! Promises of the store.

use super::*;
use chrono::TimeDelta;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::time::Duration;

const LEASE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

fn temporary() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("bot.sqlite")).unwrap();
    (folder, store)
}

fn delivery(id: &str) -> Delivery {
    Delivery { id: id.to_owned(), event: "issues".to_owned(), issue: Some(7), comment: None, payload: "{}".to_owned() }
}

fn submission(issue: u64, body: &str) -> NewJob {
    NewJob {
        issue,
        author_id: 11,
        author_login: "author".to_owned(),
        body: body.to_owned(),
        body_hash: format!("hash of {body}"),
        suite: "standard".to_owned(),
        again: false,
    }
}

fn submitted(store: &Store, issue: u64, body: &str) -> Job {
    match store.submit(&submission(issue, body), at(0)).unwrap() {
        Submitted::New(job) | Submitted::Unchanged(job) | Submitted::Revised(job, _) | Submitted::Busy(job) => job,
    }
}

/// A job of `issue` that waits for its evaluation.
fn queued(store: &Store, issue: u64, now: DateTime<Utc>) -> Job {
    let job = submitted(store, issue, "body");
    let (lease, claimed) = store.claim("validator", Lane::Quick, now, LEASE).unwrap().unwrap();
    assert_eq!(claimed.id, job.id);
    store.transition(&lease, JobState::Received, JobState::Validated, &Change::default(), now).unwrap();
    store.release(&lease).unwrap();
    assert!(store.approve(job.id, &job.body_hash, Some(5), now).unwrap());
    store.job(job.id).unwrap()
}

/// A delivery that arrives twenty times at once is stored once, and each caller learns which it was.
#[test]
fn one_delivery_of_twenty() {
    let (_folder, store) = temporary();
    let barrier = Barrier::new(20);
    let news: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    usize::from(store.accept(&delivery("a"), at(0)).unwrap() == Intake::New)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(news, 1);
    assert_eq!(store.pending_deliveries().unwrap().len(), 1);
}

/// A comment is taken in once, whether GitHub delivers it or reconciliation finds it.
#[test]
fn a_comment_is_taken_in_once() {
    let (_folder, store) = temporary();
    let comment = |id: &str| Delivery { comment: Some(99), ..delivery(id) };
    assert!(!store.knows_comment(99).unwrap());
    assert_eq!(store.accept(&comment("guid"), at(0)).unwrap(), Intake::New);
    assert_eq!(store.accept(&comment("reconcile:comment:99"), at(1)).unwrap(), Intake::Duplicate);
    assert!(store.knows_comment(99).unwrap());
    let claimed = store.next_delivery("w", at(2), LEASE).unwrap().unwrap();
    store.finish_delivery(&claimed.lease, "done", at(3)).unwrap();
    assert_eq!(store.forget_deliveries(at(10)).unwrap(), 1);
    assert_eq!(store.accept(&comment("later"), at(20)).unwrap(), Intake::Duplicate, "also after the delivery was forgotten");
}

/// Deliveries about one issue are handled in order, one at a time; other issues do not wait for them.
#[test]
fn deliveries_of_one_issue_keep_their_order() {
    let (_folder, store) = temporary();
    for (id, issue) in [("a", 1), ("b", 1), ("c", 2)] {
        store.accept(&Delivery { issue: Some(issue), ..delivery(id) }, at(0)).unwrap();
    }
    let next = |worker: &str| store.next_delivery(worker, at(1), LEASE).unwrap();
    let first = next("one").unwrap();
    assert_eq!(first.delivery.id, "a");
    assert_eq!(next("two").unwrap().delivery.id, "c");
    assert_eq!(next("three"), None, "b waits for a");
    store.fail(&first.lease, &Failure::transient("try again"), None, at(1), 0.5).unwrap();
    assert_eq!(next("three"), None, "b waits while a is tried again");
    let again = store.next_delivery("one", at(1000), LEASE).unwrap().unwrap();
    assert_eq!((again.delivery.id.as_str(), again.attempts), ("a", 2));
    store.finish_delivery(&again.lease, "done", at(1000)).unwrap();
    assert_eq!(store.next_delivery("one", at(1000), LEASE).unwrap().unwrap().delivery.id, "b");
}

/// Attempts are bounded: a delivery that ends its worker each time is given up, and a job becomes `failed` with its last problem.
#[test]
fn attempts_are_bounded() {
    let (_folder, store) = temporary();
    store.accept(&delivery("poison"), at(0)).unwrap();
    let job = submitted(&store, 1, "body");
    let most = i64::from(store.policy().max_attempts);
    for attempt in 0..most {
        let now = at(attempt * 100);
        assert!(store.next_delivery("w", now, LEASE).unwrap().is_some());
        assert!(store.claim("w", Lane::Quick, now, LEASE).unwrap().is_some());
    }
    assert_eq!(store.next_delivery("w", at(most * 100), LEASE).unwrap(), None);
    assert_eq!(store.claim("w", Lane::Quick, at(most * 100), LEASE).unwrap(), None);
    assert_eq!(store.counts().unwrap().deliveries_given_up, 1);
    let job = store.job(job.id).unwrap();
    assert_eq!((job.state, job.failed_from), (JobState::Failed, Some(JobState::Received)));
    assert!(job.error.unwrap().message.contains("without a word"));
    assert_eq!(store.retry(job.id, 5, at(5000)).unwrap(), Retried::From(JobState::Received));
    assert!(store.claim("w", Lane::Quick, at(5000), LEASE).unwrap().is_some(), "the attempts begin anew");
}

/// A worker whose lease ran out and was taken over can write nothing any more.
#[test]
fn a_former_holder_is_fenced() {
    let (_folder, store) = temporary();
    let job = queued(&store, 1, at(0));
    let (old, _) = store.claim("old", Lane::Evaluation, at(0), LEASE).unwrap().unwrap();
    assert_eq!(store.claim("new", Lane::Evaluation, at(59), LEASE).unwrap(), None, "held");
    let (new, _) = store.claim("new", Lane::Evaluation, at(61), LEASE).unwrap().unwrap();
    let lost = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::LeaseLost { .. })));
    lost(store.heartbeat(&old, at(62), LEASE).map(drop));
    lost(store.transition(&old, JobState::Queued, JobState::Evaluating, &Change::default(), at(62)).map(drop));
    lost(store.set_handle(&old, Some("{}")));
    lost(store.mark_shown(&old, JobState::Queued));
    lost(store.set_status_comment(&old, Some(1)));
    lost(store.intend(&old, "push", at(62)).map(drop));
    lost(store.fail(&old, &Failure::transient("x"), None, at(62), 0.5).map(drop));
    store.release(&old).unwrap();
    assert_eq!(store.heartbeat(&new, at(62), LEASE).unwrap(), Heartbeat::Held);
    assert_eq!(store.job(job.id).unwrap().lease.unwrap().0, "new", "letting go of what is lost takes nothing away");
}

/// An edit before the evaluation replaces the body and voids the approval; whoever checks the old body right now cannot record it.
#[test]
fn an_edit_voids_what_was_done() {
    let (_folder, store) = temporary();
    let job = submitted(&store, 1, "first");
    let (lease, _) = store.claim("w", Lane::Quick, at(0), LEASE).unwrap().unwrap();
    let edited = submission(1, "second");
    assert!(matches!(store.submit(&edited, at(1)).unwrap(), Submitted::Revised(_, JobState::Received)));
    assert!(matches!(store.submit(&edited, at(1)).unwrap(), Submitted::Unchanged(_)), "repeating changes nothing");
    assert_eq!(store.heartbeat(&lease, at(2), LEASE).unwrap(), Heartbeat::Superseded);
    let late = store.transition(&lease, JobState::Received, JobState::Validated, &Change::default(), at(2));
    assert!(late.unwrap_err().is_superseded());
    store.release(&lease).unwrap();
    let (lease, claimed) = store.claim("w", Lane::Quick, at(2), LEASE).unwrap().unwrap();
    assert_eq!((claimed.id, claimed.body.as_str()), (job.id, "second"));
    store.transition(&lease, JobState::Received, JobState::Validated, &Change::default(), at(3)).unwrap();
    store.release(&lease).unwrap();
    assert!(!store.approve(job.id, &job.body_hash, Some(5), at(4)).unwrap(), "the approval of the first body");
    assert!(store.approve(job.id, &edited.body_hash, Some(5), at(4)).unwrap());
    assert!(!store.approve(job.id, &edited.body_hash, Some(5), at(5)).unwrap(), "once");
    assert!(matches!(store.submit(&submission(1, "third"), at(6)).unwrap(), Submitted::Revised(_, JobState::Queued)));
    assert_eq!(store.job(job.id).unwrap().approved_hash, None);
}

/// While a model is evaluated an edit changes nothing; afterwards it is a job of its own. An issue has one unfinished job at most.
#[test]
fn an_edit_during_the_evaluation_waits() {
    let (_folder, store) = temporary();
    let job = queued(&store, 1, at(0));
    let (lease, _) = store.claim("w", Lane::Evaluation, at(0), LEASE).unwrap().unwrap();
    store.transition(&lease, JobState::Queued, JobState::Evaluating, &Change::default(), at(1)).unwrap();
    let edited = submission(1, "second");
    assert!(matches!(store.submit(&edited, at(2)).unwrap(), Submitted::Busy(_)));
    for (from, to) in
        [(JobState::Evaluating, JobState::Evaluated), (JobState::Evaluated, JobState::Published), (JobState::Published, JobState::Reported)]
    {
        store.transition(&lease, from, to, &Change { shown: true, ..Change::default() }, at(3)).unwrap();
    }
    store.release(&lease).unwrap();
    let Submitted::New(second) = store.submit(&edited, at(4)).unwrap() else { panic!("a job of its own") };
    assert_ne!(second.id, job.id);
    assert_eq!(store.job_of_issue(1).unwrap().unwrap().id, second.id);
    let states: Vec<JobState> = store.transitions(job.id).unwrap().iter().map(|step| step.to).collect();
    assert_eq!(states, JobState::ALL[..7], "every step is on record");
}

/// Cancelling takes effect at once where nothing runs, through the holder where something does, and not after the results are there.
#[test]
fn cancelling() {
    let (_folder, store) = temporary();
    let waiting = submitted(&store, 1, "body");
    let (lease, _) = store.claim("w", Lane::Quick, at(0), LEASE).unwrap().unwrap();
    assert_eq!(store.cancel(waiting.id, 11, at(0)).unwrap(), Cancelled::Done);
    assert_eq!(store.fail(&lease, &Failure::transient("late"), None, at(1), 0.5).unwrap(), Failed::Superseded);
    assert_eq!(store.job(waiting.id).unwrap().state, JobState::Cancelled);
    assert_eq!(store.cancel(waiting.id, 11, at(1)).unwrap(), Cancelled::TooLate(JobState::Cancelled));

    let running = queued(&store, 2, at(1));
    let (lease, _) = store.claim("w", Lane::Evaluation, at(2), LEASE).unwrap().unwrap();
    store.transition(&lease, JobState::Queued, JobState::Evaluating, &Change::default(), at(2)).unwrap();
    assert_eq!(store.heartbeat(&lease, at(2), LEASE).unwrap(), Heartbeat::Held);
    assert_eq!(store.cancel(running.id, 11, at(3)).unwrap(), Cancelled::Requested);
    assert_eq!(store.heartbeat(&lease, at(3), LEASE).unwrap(), Heartbeat::CancelRequested);
    let job = store.transition(&lease, JobState::Evaluating, JobState::Cancelled, &Change::default(), at(4)).unwrap();
    assert!(!job.cancel_requested);
}

/// A state that the issue does not show is found until it does, and failing to show it never changes it.
#[test]
fn unshown_states_are_found_again() {
    let (_folder, store) = temporary();
    let job = queued(&store, 1, at(0));
    let mut now = at(0);
    for _ in 0..50 {
        let (lease, _) = store.claim_unshown("w", now, LEASE).unwrap().expect("queued, but not shown");
        match store.fail(&lease, &Failure::transient("GitHub is away"), None, now, 0.5).unwrap() {
            Failed::Again(later) => now = later,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.job(job.id).unwrap().state, JobState::Queued);
    let (lease, _) = store.claim_unshown("w", now, LEASE).unwrap().unwrap();
    assert_eq!(store.claim("e", Lane::Evaluation, now, LEASE).unwrap(), None, "one holder, whatever for");
    store.mark_shown(&lease, JobState::Queued).unwrap();
    store.release(&lease).unwrap();
    assert_eq!(store.claim_unshown("w", now, LEASE).unwrap(), None);
    let (_, claimed) = store.claim("e", Lane::Evaluation, now, LEASE).unwrap().unwrap();
    assert_eq!(claimed.attempts, 1, "showing used up no attempt of the evaluation");
}

/// An intention without a result is reported as unknown after a restart, one with a result as done; neither is forgotten.
#[test]
fn effects_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.sqlite");
    let store = Store::open(&path).unwrap();
    submitted(&store, 1, "body");
    let (lease, _) = store.claim("w", Lane::Quick, at(0), LEASE).unwrap().unwrap();
    assert_eq!(store.intend(&lease, "comment", at(1)).unwrap(), Intention::First);
    drop(store);
    let store = Store::open(&path).unwrap();
    let (lease, _) = store.claim("w", Lane::Quick, at(61), LEASE).unwrap().unwrap();
    assert_eq!(store.intend(&lease, "comment", at(62)).unwrap(), Intention::Unknown(at(1)));
    assert_eq!(store.open_intentions().unwrap(), [(lease.owner(), "comment".to_owned(), at(1))]);
    store.conclude(&lease, "comment", "4711", at(63)).unwrap();
    store.conclude(&lease, "comment", "other", at(64)).unwrap();
    assert_eq!(store.intend(&lease, "comment", at(65)).unwrap(), Intention::Done("4711".to_owned()));
    store.intend(&lease, "labels", at(65)).unwrap();
    store.withdraw(&lease, "labels").unwrap();
    assert_eq!(store.open_intentions().unwrap(), []);
}

/// A text whose results are out is taken in once more only where that is asked for, and then once.
#[test]
fn a_reported_text_is_evaluated_again_when_asked() {
    let (_folder, store) = temporary();
    let first = queued(&store, 1, at(0));
    let asked = NewJob { again: true, ..submission(1, "body") };
    assert!(matches!(store.submit(&asked, at(1)).unwrap(), Submitted::Unchanged(job) if job.id == first.id), "it is under way");
    let (lease, _) = store.claim("w", Lane::Evaluation, at(1), LEASE).unwrap().unwrap();
    for (from, to) in [
        (JobState::Queued, JobState::Evaluating),
        (JobState::Evaluating, JobState::Evaluated),
        (JobState::Evaluated, JobState::Published),
        (JobState::Published, JobState::Reported),
    ] {
        store.transition(&lease, from, to, &Change::default(), at(2)).unwrap();
    }
    store.release(&lease).unwrap();
    assert!(matches!(store.submit(&submission(1, "body"), at(3)).unwrap(), Submitted::Unchanged(job) if job.id == first.id));
    let Submitted::New(second) = store.submit(&asked, at(4)).unwrap() else { panic!("a new job") };
    assert_ne!(second.id, first.id);
    assert!(matches!(store.submit(&asked, at(5)).unwrap(), Submitted::Unchanged(job) if job.id == second.id));
}

/// The queue's order is that of the claims, and its times come from earlier evaluations of the same suite, by the amount of work.
#[test]
fn the_queue_tells_times() {
    let (_folder, store) = temporary();
    let evaluate = |issue: u64, begin: i64, end: i64, work: f64| {
        queued(&store, issue, at(begin));
        let (lease, _) = store.claim("w", Lane::Evaluation, at(begin), LEASE).unwrap().unwrap();
        let change = Change { work: Some(work), ..Change::default() };
        store.transition(&lease, JobState::Queued, JobState::Evaluating, &change, at(begin)).unwrap();
        store.transition(&lease, JobState::Evaluating, JobState::Evaluated, &Change::default(), at(end)).unwrap();
        store.transition(&lease, JobState::Evaluated, JobState::Published, &Change::default(), at(end)).unwrap();
        store.transition(&lease, JobState::Published, JobState::Reported, &Change::default(), at(end)).unwrap();
    };
    assert_eq!(store.estimate("standard", Some(2.0)).unwrap(), None);
    evaluate(1, 0, 100, 1.0);
    evaluate(2, 100, 300, 2.0);
    assert_eq!(store.estimate("standard", Some(3.0)).unwrap(), Some(TimeDelta::seconds(300)));
    assert_eq!(store.estimate("quick", Some(3.0)).unwrap(), None);
    let third = queued(&store, 3, at(300));
    let fourth = queued(&store, 4, at(310));
    let (lease, _) = store.claim("w", Lane::Evaluation, at(320), LEASE).unwrap().unwrap();
    let change = Change { work: Some(5.0), ..Change::default() };
    store.transition(&lease, JobState::Queued, JobState::Evaluating, &change, at(320)).unwrap();
    let queue = store.queue(1, at(400)).unwrap();
    let seen: Vec<_> = queue.iter().map(|entry| (entry.job.id, entry.position, entry.starts_at, entry.ends_at)).collect();
    let median = TimeDelta::seconds(200);
    assert_eq!(seen, [(third.id, 0, Some(at(320)), Some(at(820))), (fourth.id, 1, Some(at(820)), Some(at(820) + median)),]);
    let counts = store.author_counts(11, at(300)).unwrap();
    assert_eq!((counts.submitted, counts.queued, counts.unfinished), (0, 2, 2), "all four were submitted at 0");
    assert_eq!(store.counts().unwrap().jobs[&JobState::Queued], 1);
}

/// A store of a newer version is left alone, and a file that is no store is refused.
#[test]
fn newer_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.sqlite");
    let store = Store::open(&path).unwrap();
    store.writer().execute("INSERT INTO migrations VALUES (99, '9.9.9', 'later')", []).unwrap();
    drop(store);
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a store, but more than a hundred bytes of text; ".repeat(40)).unwrap();
    assert!(matches!(Store::open(&text), Err(StoreError::Open { .. })));
    assert!(matches!(Store::open(&folder.path().join("no/such/folder/x")), Err(StoreError::Open { .. })));
}

/// A backup made while work goes on is a complete store, and never overwrites a file.
#[test]
fn a_backup_is_a_store() {
    let (folder, store) = temporary();
    let job = queued(&store, 1, at(0));
    store.remember("reconciled_at", "now").unwrap();
    let copy = folder.path().join("copy.sqlite");
    store.backup(&copy).unwrap();
    assert!(matches!(store.backup(&copy), Err(StoreError::BackupExists(_))));
    let restored = Store::open(&copy).unwrap();
    assert_eq!(restored.job(job.id).unwrap(), job);
    assert_eq!(restored.recall("reconciled_at").unwrap().as_deref(), Some("now"));
    assert_eq!(restored.faults().unwrap(), Vec::<String>::new());
}

/// Two servers on one store: of many workers that claim at once, each job goes to one.
#[test]
fn two_servers_share_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.sqlite");
    let stores = [Store::open(&path).unwrap(), Store::open(&path).unwrap()];
    for issue in 1..=30 {
        submitted(&stores[0], issue, "body");
    }
    let claims: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|worker| {
                let store = &stores[worker % 2];
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    while let Some((_, job)) = store.claim(&format!("worker {worker}"), Lane::Quick, at(0), LEASE).unwrap() {
                        mine.push(job.id);
                    }
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: BTreeSet<i64> = claims.iter().copied().collect();
    assert_eq!((claims.len(), distinct.len()), (30, 30));
}

#[derive(Clone, Debug)]
enum Act {
    Claim { worker: usize, lane: bool },
    Heartbeat { worker: usize },
    Step { worker: usize },
    Fail { worker: usize, permanent: bool },
    Release { worker: usize },
    Crash { worker: usize },
    Wait { seconds: i64 },
    Reopen,
}

fn acts() -> impl Strategy<Value = Act> {
    let worker = 0..4_usize;
    prop_oneof![
        4 => (worker.clone(), any::<bool>()).prop_map(|(worker, lane)| Act::Claim { worker, lane }),
        2 => worker.clone().prop_map(|worker| Act::Heartbeat { worker }),
        4 => worker.clone().prop_map(|worker| Act::Step { worker }),
        1 => (worker.clone(), any::<bool>()).prop_map(|(worker, permanent)| Act::Fail { worker, permanent }),
        1 => worker.clone().prop_map(|worker| Act::Release { worker }),
        2 => worker.prop_map(|worker| Act::Crash { worker }),
        3 => (1..120_i64).prop_map(|seconds| Act::Wait { seconds }),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However claims, heartbeats, expiries and crashes interleave: no two workers may write to a job at the same time, no step is made
    /// twice, no job is lost, and in the end every one is reported or failed with a reason.
    #[test]
    fn one_holder_and_nothing_lost(acts in prop::collection::vec(acts(), 1..80)) {
        const JOBS: u64 = 3;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.sqlite");
        let mut store = Store::open(&path).unwrap();
        store.writer().pragma_update(None, "synchronous", "off").unwrap();
        for issue in 1..=JOBS {
            submitted(&store, issue, "body");
        }
        let mut now = at(0);
        // What each worker believes to hold, and until when it may believe so.
        let mut held: BTreeMap<usize, (Lease, Job, DateTime<Utc>)> = BTreeMap::new();
        let mut crashed: Vec<(Lease, JobState)> = Vec::new();
        for act in acts {
            match act {
                Act::Claim { worker, lane } if !held.contains_key(&worker) => {
                    let lane = if lane { Lane::Quick } else { Lane::Evaluation };
                    if let Some((lease, job)) = store.claim(&format!("worker {}", worker % 2), lane, now, LEASE).unwrap() {
                        for (other, (_, theirs, until)) in &held {
                            prop_assert!(theirs.id != job.id || *until <= now, "worker {other} holds job {} too", job.id);
                        }
                        held.insert(worker, (lease, job, now + LEASE));
                    }
                }
                Act::Heartbeat { worker } => {
                    if let Some((lease, _, until)) = held.get_mut(&worker) {
                        match store.heartbeat(lease, now, LEASE) {
                            Ok(_) => *until = now + LEASE,
                            Err(error) => {
                                prop_assert!(error.is_superseded() && *until <= now, "lost before its end: {error}");
                                held.remove(&worker);
                            }
                        }
                    }
                }
                Act::Step { worker } => {
                    if let Some((lease, job, until)) = held.get_mut(&worker) {
                        let next = next_of(job.state);
                        match store.transition(lease, job.state, next, &Change::default(), now) {
                            Ok(stepped) if next == JobState::Validated => {
                                prop_assert!(store.approve(stepped.id, &stepped.body_hash, None, now).unwrap());
                                *job = store.job(stepped.id).unwrap();
                            }
                            Ok(stepped) => *job = stepped,
                            Err(error) => {
                                prop_assert!(error.is_superseded() && *until <= now, "refused a holder: {error}");
                                held.remove(&worker);
                                continue;
                            }
                        }
                        if held[&worker].1.state.is_final() {
                            let (lease, ..) = held.remove(&worker).unwrap();
                            store.release(&lease).unwrap();
                        }
                    }
                }
                Act::Fail { worker, permanent } => {
                    if let Some((lease, _, until)) = held.remove(&worker) {
                        let failure = if permanent { Failure::permanent("it cannot be") } else { Failure::transient("not now") };
                        if let Err(error) = store.fail(&lease, &failure, None, now, 0.5) {
                            prop_assert!(error.is_superseded() && until <= now, "{error}");
                        }
                    }
                }
                Act::Release { worker } => {
                    if let Some((lease, ..)) = held.remove(&worker) {
                        store.release(&lease).unwrap();
                    }
                }
                Act::Crash { worker } => {
                    if let Some((lease, job, _)) = held.remove(&worker) {
                        crashed.push((lease, job.state));
                    }
                }
                Act::Wait { seconds } => now += TimeDelta::seconds(seconds),
                Act::Reopen => {
                    drop(store);
                    store = Store::open(&path).unwrap();
                    store.writer().pragma_update(None, "synchronous", "off").unwrap();
                }
                Act::Claim { .. } => {}
            }
        }
        // Everybody is gone; one worker brings everything to its end.
        now += TimeDelta::hours(3);
        for _ in 0..200 {
            for lane in [Lane::Quick, Lane::Evaluation] {
                while let Some((lease, job)) = store.claim("last", lane, now, LEASE).unwrap() {
                    let job = store.transition(&lease, job.state, next_of(job.state), &Change::default(), now).unwrap();
                    if job.state == JobState::Validated {
                        prop_assert!(store.approve(job.id, &job.body_hash, None, now).unwrap());
                    }
                    store.release(&lease).unwrap();
                }
            }
            now += TimeDelta::hours(2);
            if store.jobs_in(&[JobState::Reported, JobState::Failed]).unwrap().len() as u64 == JOBS {
                break;
            }
        }
        for (lease, state) in crashed {
            let late = store.transition(&lease, state, next_of(state), &Change::default(), now);
            prop_assert!(late.unwrap_err().is_superseded(), "a worker that comes back from the dead");
        }
        let jobs = store.jobs_in(&JobState::ALL).unwrap();
        prop_assert_eq!(jobs.len() as u64, JOBS);
        for job in jobs {
            prop_assert!(matches!(job.state, JobState::Reported | JobState::Failed), "{:?}", job.state);
            prop_assert_eq!(job.state == JobState::Failed, job.error.is_some());
            let steps: Vec<JobState> = store.transitions(job.id).unwrap().iter().map(|step| step.to).collect();
            let distinct: BTreeSet<JobState> = steps.iter().copied().collect();
            prop_assert_eq!(steps.len(), distinct.len(), "no step twice: {:?}", steps);
        }
    }
}

fn next_of(state: JobState) -> JobState {
    match state {
        JobState::Received => JobState::Validated,
        JobState::Validated => JobState::Queued,
        JobState::Queued => JobState::Evaluating,
        JobState::Evaluating => JobState::Evaluated,
        JobState::Evaluated => JobState::Published,
        other => {
            assert_eq!(other, JobState::Published);
            JobState::Reported
        }
    }
}
