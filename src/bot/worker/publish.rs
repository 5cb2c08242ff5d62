//! `evaluated` → `published` → `reported`.

use super::leases::Held;
use super::{Details, Halt, Worker};
use crate::bot::Links;
use crate::bot::config::LargeArtifacts;
use crate::bot::paired_tests;
use crate::bot::publication::{FinishedRun, RunProblem, announcement, changes, commit_message, derived_at, read_finished};
use crate::bot::store::{Change, Job, JobState};
use crate::publish::{Credentials, Publisher};
use crate::submission::{self, InputKind, Submission};
use std::time::Duration;

/// A token for a push must be valid for this long.
const PUSH_TAKES: Duration = Duration::from_mins(10);

impl Worker {
    /// The publisher with credentials that are valid now. GitHub's token goes to GitHub alone.
    pub(super) fn publisher_now(&self) -> Result<Publisher, Halt> {
        let mut publisher = self.parts.publisher.clone();
        let on_github = publisher.remote.starts_with(&format!("{}/", self.parts.config.github.web()));
        if matches!(publisher.credentials, Credentials::Anonymous) && on_github {
            let token = self.ask(self.parts.github.token(PUSH_TAKES))?;
            publisher.credentials = Credentials::Token(token.reveal().to_owned());
        }
        Ok(publisher)
    }

    pub(super) fn publish(&self, held: &Held, job: &Job) -> Result<(), Halt> {
        let submission = submission_of(job)?;
        let mut runs = self.finished_runs(job, &submission)?;
        for run in &mut runs {
            self.publish_large(run)?;
        }
        let message = commit_message(&submission, &runs, Some(job.issue));
        let publisher = self.publisher_now()?;
        let paired_tests = paired_tests::beside(&publisher);
        let published =
            self.one_publication(|| publisher.publish(&message, self.now(), |tip| changes(tip, &submission, &runs, Some(&paired_tests))))?;
        let derived = publisher.read(derived_at)?;
        let links = Links {
            commit: published.commit.as_ref().map(|commit| self.repository_page(&format!("commit/{commit}"))),
            run: Some(self.repository_page(&format!("tree/{}/results/raw/{}", self.parts.config.repository.branch, submission.slug()))),
            page: self.model_page(&submission),
            release: runs
                .iter()
                .find(|run| !run.elsewhere.is_empty())
                .map(|run| self.repository_page(&format!("releases/tag/run-{}", run.run.run_id))),
        };
        let mut details = Details::of(job)?;
        details.results = Some(announcement(&derived, &submission, &runs, &links));
        let change = Change { commit: published.commit, details: Some(details.to_json()?), ..Change::default() };
        self.parts.store.transition(&held.lease, JobState::Evaluated, JobState::Published, &change, self.now())?;
        Ok(())
    }

    /// Puts large sample files where the configuration says, if that is not the repository. A file's name tells its content: the run id
    /// stands in it.
    fn publish_large(&self, run: &mut FinishedRun) -> Result<(), Halt> {
        let publication = &self.parts.config.publication;
        if publication.large_artifacts == LargeArtifacts::Repository {
            return Ok(());
        }
        let failed = |error: anyhow::Error| Halt::transient(format!("{error:#}"));
        let large = run.sample_files_above(publication.large_bytes).map_err(failed)?;
        if large.is_empty() {
            return Ok(());
        }
        let id = &run.run.run_id;
        let text =
            format!("Questions and answers of run `{id}` that are too large for the repository. Their digests stand in its run.json.");
        let release = self.ask(self.parts.github.ensure_release(&format!("run-{id}"), &format!("Run {id}"), &text))?;
        for file in large {
            let name = format!("{id}-{}", file.trim_start_matches("samples/"));
            self.ask(self.parts.github.upload_asset(&release, &name, &run.folder.join(&file)))?;
            run.elsewhere.insert(file);
        }
        Ok(())
    }

    fn model_page(&self, submission: &Submission) -> Option<String> {
        let address = self.parts.config.server.public_address.as_ref().filter(|_| self.parts.config.server.website.is_some())?;
        Some(format!("{address}/model.html?id={}", submission.slug()))
    }

    /// The job's runs, read from its folder and checked.
    pub(super) fn finished_runs(&self, job: &Job, submission: &Submission) -> Result<Vec<FinishedRun>, Halt> {
        let model = self.job_folder(job.id).join("results").join(submission.slug());
        let read = |run_id: &String| read_finished(&model.join(run_id), submission).map_err(Halt::from);
        job.run_ids.iter().map(read).collect()
    }

    pub(super) fn report(&self, held: &Held, job: &Job) -> Result<(), Halt> {
        let details = Details::of(job)?;
        let text = self.status_of(job, JobState::Reported, &details)?;
        self.show_on_issue(held, job, JobState::Reported, &text)?;
        let change = Change { shown: true, ..Change::default() };
        self.parts.store.transition(&held.lease, JobState::Published, JobState::Reported, &change, self.now())?;
        // Everything in it is in the repository now.
        let folder = self.job_folder(job.id);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove the folder of a finished job");
        }
        Ok(())
    }
}

impl From<RunProblem> for Halt {
    fn from(problem: RunProblem) -> Self {
        let message = problem.to_string();
        match problem {
            RunProblem::Unreadable { .. } => Self::transient(message),
            RunProblem::Wrong { .. } => Self::permanent(message),
        }
    }
}

/// The submission as it was checked.
pub(super) fn submission_of(job: &Job) -> Result<Submission, Halt> {
    let missing = || Halt::permanent("the store has no submission for this job");
    let yaml = job.submission.as_ref().ok_or_else(missing)?;
    submission::read(yaml.as_bytes(), InputKind::File).submission().ok_or_else(missing)
}
