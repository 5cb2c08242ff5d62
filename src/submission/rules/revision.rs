//! The revision: what is evaluated is a commit, whatever name it was given by.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    for (index, repository) in input.repositories.iter().enumerate() {
        let Some(facts) = repository.facts() else { continue };
        let written = repository.reference.revision.as_deref();
        if written.is_some_and(|revision| revision.eq_ignore_ascii_case(&facts.commit)) {
            continue;
        }
        let own_revision = input.draft.hf_revision.as_ref().filter(|_| index == 0);
        let (field, span) = own_revision.map_or((repository.field, repository.span), |revision| (revision.field.as_str(), revision.span));
        let message = match written {
            Some(name) => format!("`{name}` is commit {}", facts.commit),
            None => format!("the default branch of {} is at commit {}", repository.reference.repo, facts.commit),
        };
        let pin = if index == 0 {
            format!("`hf_revision: {}`", facts.commit)
        } else {
            format!("`{}@{}:…`", repository.reference.repo, facts.commit)
        };
        let help = format!("this commit is evaluated; to pin it yourself, write {pin}");
        findings.note(Code::RevisionPinned, Some(field), span, message, help);
    }
}
