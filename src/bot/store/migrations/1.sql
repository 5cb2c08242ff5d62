-- Times are milliseconds since 1970-01-01T00:00:00Z. Identifiers of GitHub are stored as they are.

-- What GitHub delivered, or what reconciliation found in its place: the inbox.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY,
    delivery_id TEXT    NOT NULL UNIQUE,
    event       TEXT    NOT NULL,
    issue       INTEGER,
    comment     INTEGER,
    payload     TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    -- NULL until it has been handled or given up.
    done_at     INTEGER,
    outcome     TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_token INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_pending ON deliveries (id) WHERE done_at IS NULL;
CREATE INDEX deliveries_of_issue ON deliveries (issue, id) WHERE done_at IS NULL;
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at IS NOT NULL;

-- Comments that have been taken in, whichever way they came; kept for good, so that no command is obeyed twice.
CREATE TABLE comments (
    id         INTEGER PRIMARY KEY,
    issue      INTEGER,
    seen_at    INTEGER NOT NULL,
    handled_at INTEGER
) STRICT;

-- What belongs to an issue rather than to one of its jobs.
CREATE TABLE issues (
    number         INTEGER PRIMARY KEY,
    status_comment INTEGER
) STRICT;

CREATE TABLE jobs (
    id               INTEGER PRIMARY KEY,
    issue            INTEGER NOT NULL REFERENCES issues (number),
    author_id        INTEGER NOT NULL,
    author_login     TEXT    NOT NULL,
    -- SHA-256 of the issue's body that this job is about.
    body_hash        TEXT    NOT NULL,
    -- The body's hash that was approved, and by whom.
    approved_hash    TEXT,
    approved_by      INTEGER,
    body             TEXT    NOT NULL,
    -- Counts how often the submission was replaced by an edit; what a worker did for an earlier edition does not count.
    edition          INTEGER NOT NULL DEFAULT 1,
    submission       TEXT,
    slug             TEXT,
    hf_repo          TEXT,
    revision         TEXT,
    suite            TEXT    NOT NULL,
    -- How much there is to compute, in any unit that is proportional to time; for estimates.
    work             REAL,
    state            TEXT    NOT NULL,
    -- The state that the issue shows; the comment and labels lag behind where it differs.
    shown            TEXT,
    show_attempts    INTEGER NOT NULL DEFAULT 0,
    show_not_before  INTEGER NOT NULL DEFAULT 0,
    failed_from      TEXT,
    attempts         INTEGER NOT NULL DEFAULT 0,
    not_before       INTEGER NOT NULL DEFAULT 0,
    lease_owner      TEXT,
    lease_token      INTEGER NOT NULL DEFAULT 0,
    lease_until      INTEGER NOT NULL DEFAULT 0,
    heartbeat_at     INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    -- JSON: how far the evaluation is; what the executor needs to find it again; whatever the bot keeps for its comments.
    progress         TEXT,
    handle           TEXT,
    details          TEXT,
    run_ids          TEXT    NOT NULL DEFAULT '[]',
    commit_id        TEXT,
    error_kind       TEXT,
    error            TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    queued_at        INTEGER
) STRICT;
-- An issue has one unfinished job at most, whatever arrives at the same time.
CREATE UNIQUE INDEX jobs_unfinished_of_issue ON jobs (issue) WHERE state NOT IN ('reported', 'rejected', 'failed', 'cancelled');
CREATE INDEX jobs_of_issue ON jobs (issue, id);
CREATE INDEX jobs_by_state ON jobs (state, queued_at);
CREATE INDEX jobs_unshown ON jobs (id) WHERE shown IS NOT state;
CREATE INDEX jobs_of_author ON jobs (author_id, created_at);
CREATE INDEX jobs_of_model ON jobs (hf_repo, revision);

-- Every step of every job.
CREATE TABLE transitions (
    id         INTEGER PRIMARY KEY,
    job        INTEGER NOT NULL REFERENCES jobs (id),
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    note       TEXT
) STRICT;
CREATE INDEX transitions_of_job ON transitions (job, id);
CREATE INDEX transitions_by_state ON transitions (to_state, at);

-- Effects outside of the store: the intention is written before, the result after. An intention without a result may have happened.
CREATE TABLE effects (
    id          INTEGER PRIMARY KEY,
    owner       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    intended_at INTEGER NOT NULL,
    done_at     INTEGER,
    result      TEXT,
    UNIQUE (owner, name)
) STRICT;

-- Small facts by name, such as when GitHub's state was last compared.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
