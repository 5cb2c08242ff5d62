//! What the queue page and the metrics show.

use super::{Job, JobState, Store, StoreError, millis, stored, time};
use crate::evaluation::RunProgress;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Evaluations of the past that estimates are made from, the latest of each suite.
const REMEMBERED: u32 = 30;

/// A job in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueEntry {
    /// The job.
    pub job: Job,
    /// 0 while it is evaluated; else its place in the queue, from 1.
    pub position: usize,
    /// When its evaluation begins or began, as far as can be told.
    pub starts_at: Option<DateTime<Utc>>,
    /// When its results are to be expected, as far as can be told.
    pub ends_at: Option<DateTime<Utc>>,
}

/// Numbers for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs by state; every state is there.
    pub jobs: BTreeMap<JobState, u64>,
    /// Jobs whose issue does not show their state yet.
    pub unshown: u64,
    /// When the job that waits longest was queued.
    pub oldest_queued_at: Option<DateTime<Utc>>,
    /// Deliveries that have not been handled.
    pub deliveries_pending: u64,
    /// When the oldest of them arrived.
    pub oldest_delivery_at: Option<DateTime<Utc>>,
    /// Deliveries that were given up, among those still remembered.
    pub deliveries_given_up: u64,
    /// Effects whose outcome is unknown.
    pub open_intentions: u64,
    /// Times that a job was given up, since the store was made.
    pub failures: u64,
    /// Unfinished jobs whose present step has failed and is tried again.
    pub retrying: u64,
}

/// How much an author has submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthorCounts {
    /// Jobs stored since then.
    pub submitted: u64,
    /// Jobs queued since then.
    pub queued: u64,
    /// Jobs that are under way, whenever they were stored.
    pub unfinished: u64,
}

impl Store {
    /// The jobs that are evaluated or wait for it, in the order in which they end. `slots` evaluations run at once.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn queue(&self, slots: usize, now: DateTime<Utc>) -> Result<Vec<QueueEntry>, StoreError> {
        let reader = self.reader();
        let order = "WHERE state IN ('evaluating', 'queued') ORDER BY state = 'queued', queued_at, jobs.id";
        let jobs = super::jobs::many(&reader, order, [])?;
        let mut past: BTreeMap<String, Past> = BTreeMap::new();
        for job in &jobs {
            if !past.contains_key(&job.suite) {
                past.insert(job.suite.clone(), past_of(&reader, &job.suite)?);
            }
        }
        let starts = started_at(&reader)?;
        Ok(schedule(jobs, &past, &starts, slots, now))
    }

    /// How long an evaluation takes by what earlier ones took: `None` when none has ended yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn estimate(&self, suite: &str, work: Option<f64>) -> Result<Option<TimeDelta>, StoreError> {
        Ok(past_of(&self.reader(), suite)?.estimate(work))
    }

    /// Numbers for the metrics.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let reader = self.reader();
        let mut counts = Counts { jobs: JobState::ALL.into_iter().map(|state| (state, 0)).collect(), ..Counts::default() };
        {
            let mut statement = reader.prepare_cached("SELECT state, count(*) FROM jobs GROUP BY state")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                counts.jobs.insert(row.get::<_, String>(0)?.parse()?, number(row.get(1)?));
            }
        }
        let one = |sql: &str| -> Result<Option<i64>, StoreError> { Ok(reader.prepare_cached(sql)?.query_row([], |row| row.get(0))?) };
        let count = |sql: &str| -> Result<u64, StoreError> { Ok(number(one(sql)?.unwrap_or(0))) };
        counts.unshown = count("SELECT count(*) FROM jobs WHERE shown IS NOT state")?;
        counts.oldest_queued_at = one("SELECT min(queued_at) FROM jobs WHERE state = 'queued'")?.map(time);
        counts.deliveries_pending = count("SELECT count(*) FROM deliveries WHERE done_at IS NULL")?;
        counts.oldest_delivery_at = one("SELECT min(received_at) FROM deliveries WHERE done_at IS NULL")?.map(time);
        counts.deliveries_given_up = count("SELECT count(*) FROM deliveries WHERE done_at IS NOT NULL AND outcome LIKE 'given up: %'")?;
        counts.open_intentions = count("SELECT count(*) FROM effects WHERE result IS NULL")?;
        counts.failures = count("SELECT count(*) FROM transitions WHERE to_state = 'failed'")?;
        let sql = "SELECT count(*) FROM jobs WHERE error IS NOT NULL AND state NOT IN ('reported', 'rejected', 'failed', 'cancelled')";
        counts.retrying = count(sql)?;
        Ok(counts)
    }

    /// The jobs that ended last, the latest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn latest_ended(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        let order = "WHERE state IN ('reported', 'rejected', 'failed', 'cancelled') ORDER BY updated_at DESC, jobs.id DESC LIMIT ?1";
        super::jobs::many(&self.reader(), order, [i64::try_from(limit).unwrap_or(i64::MAX)])
    }

    /// How often jobs left each state, and how many seconds they had been in it, since the store was made.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn time_in_states(&self) -> Result<BTreeMap<JobState, (u64, f64)>, StoreError> {
        let sql = "SELECT from_state, count(*), sum(at - begun) FROM
                     (SELECT from_state, at, lag(at) OVER (PARTITION BY job ORDER BY id) AS begun FROM transitions)
                   WHERE begun IS NOT NULL AND from_state IS NOT NULL GROUP BY from_state";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut times = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let milliseconds: i64 = row.get(2)?;
            times.insert(row.get::<_, String>(0)?.parse()?, (number(row.get(1)?), milliseconds as f64 / 1000.0));
        }
        Ok(times)
    }

    /// How much an author has submitted since a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn author_counts(&self, author_id: u64, since: DateTime<Utc>) -> Result<AuthorCounts, StoreError> {
        let sql = "SELECT count(*) FILTER (WHERE created_at >= ?2), count(*) FILTER (WHERE queued_at >= ?2),
                     count(*) FILTER (WHERE state NOT IN ('reported', 'rejected', 'failed', 'cancelled'))
                   FROM jobs WHERE author_id = ?1";
        Ok(self.reader().query_row(sql, (stored(author_id), millis(since)), |row| {
            Ok(AuthorCounts { submitted: number(row.get(0)?), queued: number(row.get(1)?), unfinished: number(row.get(2)?) })
        })?)
    }

    /// Jobs of everybody that were queued since a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn queued_since(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM jobs WHERE queued_at >= ?1";
        Ok(number(self.reader().query_row(sql, [millis(since)], |row| row.get(0))?))
    }
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Evaluations of one suite that have ended: how long each took, and how much it had to compute.
#[derive(Default)]
struct Past(Vec<(TimeDelta, Option<f64>)>);

impl Past {
    /// The median, per unit of work where that is known on both sides: one evaluation that was interrupted for a day moves it little.
    fn estimate(&self, work: Option<f64>) -> Option<TimeDelta> {
        let seconds = |delta: &TimeDelta| delta.as_seconds_f64();
        let rates: Vec<f64> =
            self.0.iter().filter_map(|(took, amount)| amount.filter(|amount| *amount > 0.0).map(|amount| seconds(took) / amount)).collect();
        let estimate = match work {
            Some(work) if !rates.is_empty() => median(rates)? * work,
            _ => median(self.0.iter().map(|(took, _)| seconds(took)).collect())?,
        };
        TimeDelta::from_std(std::time::Duration::try_from_secs_f64(estimate).ok()?).ok()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn past_of(connection: &Connection, suite: &str) -> Result<Past, StoreError> {
    // From the first time that an evaluation began to its end: what a queue has to wait for, pauses included.
    let sql = "SELECT ended.at - (SELECT min(begun.at) FROM transitions AS begun
                                  WHERE begun.job = ended.job AND begun.to_state = 'evaluating'), jobs.work
               FROM transitions AS ended JOIN jobs ON jobs.id = ended.job
               WHERE ended.to_state = 'evaluated' AND ended.from_state = 'evaluating' AND jobs.suite = ?1
               ORDER BY ended.at DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((suite, REMEMBERED), |row| Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?)))?;
    let mut past = Past::default();
    for row in rows {
        let (took, work) = row?;
        if let Some(took) = took.filter(|took| *took >= 0) {
            past.0.push((TimeDelta::milliseconds(took), work));
        }
    }
    Ok(past)
}

fn started_at(connection: &Connection) -> Result<BTreeMap<i64, DateTime<Utc>>, StoreError> {
    let sql = "SELECT job, max(at) FROM transitions JOIN jobs ON jobs.id = job
               WHERE to_state = 'evaluating' AND state = 'evaluating' GROUP BY job";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, time(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Lets the jobs through the slots one after the other.
fn schedule(
    jobs: Vec<Job>,
    past: &BTreeMap<String, Past>,
    starts: &BTreeMap<i64, DateTime<Utc>>,
    slots: usize,
    now: DateTime<Utc>,
) -> Vec<QueueEntry> {
    // When each slot is free; `None` when that cannot be told.
    let mut free: Vec<Option<DateTime<Utc>>> = Vec::new();
    let mut entries: Vec<QueueEntry> = Vec::new();
    let mut position = 0;
    for job in jobs {
        let known = past.get(&job.suite).and_then(|past| past.estimate(job.work));
        let length = known.or_else(|| told(&job));
        if job.state == JobState::Evaluating {
            let starts_at = starts.get(&job.id).copied();
            let ends_at = running_until(&job, starts_at, known, length, now);
            free.push(ends_at);
            entries.push(QueueEntry { job, position: 0, starts_at, ends_at });
            continue;
        }
        position += 1;
        while free.len() < slots.max(1) {
            free.push(Some(now));
        }
        // The slot that is free first; one of unknown length may be free last.
        let next = (0..free.len()).min_by_key(|&slot| free[slot].map_or((1, now), |at| (0, at))).unwrap_or(0);
        let starts_at = free[next].map(|at| at.max(job.not_before).max(now));
        let ends_at = starts_at.zip(length).map(|(at, length)| at + length);
        free[next] = ends_at;
        entries.push(QueueEntry { job, position, starts_at, ends_at });
    }
    entries
}

/// What the author was told that it takes, before any evaluation of the suite has ended.
fn told(job: &Job) -> Option<TimeDelta> {
    let details: serde_json::Value = serde_json::from_str(job.details.as_deref()?).ok()?;
    let seconds = details.get("estimate_s")?.as_f64()?;
    TimeDelta::from_std(std::time::Duration::try_from_secs_f64(seconds).ok()?).ok()
}

/// When an evaluation under way ends: by its own progress where it has made some, else by what earlier ones took.
fn running_until(
    job: &Job,
    starts_at: Option<DateTime<Utc>>,
    known: Option<TimeDelta>,
    told: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let begun = starts_at?;
    // One that takes longer than the others is judged by itself.
    let ahead = |length: Option<TimeDelta>| length.map(|length| begun + length).filter(|end| *end > now);
    if let Some(end) = ahead(known) {
        return Some(end);
    }
    let Some(share) = job.progress.as_ref().and_then(RunProgress::share).filter(|share| *share > 0.0) else { return ahead(told) };
    let remaining = (now - begun).as_seconds_f64() * (1.0 - share) / share;
    TimeDelta::from_std(std::time::Duration::try_from_secs_f64(remaining).ok()?).ok().map(|remaining| now + remaining)
}
