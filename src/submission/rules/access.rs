//! The repository: there, public, not disabled, gated only where the operator allows it.

use super::{Input, RepositoryAnswer};
use crate::hub::GatedAccess;
use crate::submission::finding::Code;
use crate::submission::source::{Findings, shortened};

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    for repository in &input.repositories {
        let (field, span, repo) = (Some(repository.field), repository.span, &repository.reference.repo);
        let facts = match repository.answer {
            Some(RepositoryAnswer::Facts(facts)) => facts,
            Some(RepositoryAnswer::NotFound(why)) => {
                let help = "check the spelling of owner/name and of the revision, and that the repository is public";
                findings.error(Code::RepositoryNotFound, field, span, shortened(why, 300), help);
                continue;
            }
            Some(RepositoryAnswer::Unusable(why)) => {
                findings.error(Code::RepositoryUnreadable, field, span, shortened(why, 300), "correct the repository and check again");
                continue;
            }
            Some(RepositoryAnswer::Unreachable(_)) | None => continue,
        };
        if facts.private {
            let help = "make it public: anyone must be able to repeat the evaluation";
            findings.error(Code::RepositoryPrivate, field, span, format!("{repo} is private"), help);
        }
        if facts.disabled {
            let help = "the hub has disabled it; ask the hub, or submit another repository";
            findings.error(Code::RepositoryDisabled, field, span, format!("{repo} is disabled"), help);
        }
        gate(facts.gated, input.context.allow_gated, repo, (field, span), findings);
        if !facts.repo.is_empty() && facts.repo != *repo {
            let message = format!("the hub spells this repository {}", facts.repo);
            findings.note(Code::RepositoryRenamed, field, span, message, "the hub's spelling is used");
        }
    }
}

fn gate(
    gated: GatedAccess,
    allowed: bool,
    repo: &str,
    (field, span): (Option<&str>, crate::submission::source::Span),
    findings: &mut Findings,
) {
    let message = match (gated, allowed) {
        (GatedAccess::Open, _) | (GatedAccess::GatedWithAccess, true) => return,
        (GatedAccess::GatedWithAccess, false) => {
            format!("{repo} is gated, and this leaderboard takes only models that anyone can download")
        }
        (GatedAccess::GatedWithoutAccess, true) => format!("{repo} is gated, and the leaderboard's account has no access"),
        (GatedAccess::GatedWithoutAccess, false) => format!("{repo} is gated"),
    };
    let help = if allowed {
        "the operator must accept the repository's terms with the account whose token is used"
    } else {
        "remove the gate in the repository's settings, or ask the operator to set `allow_gated`"
    };
    findings.error(Code::RepositoryGated, field, span, message, help);
}
