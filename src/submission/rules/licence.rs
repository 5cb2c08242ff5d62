//! The licence: known, permitting evaluation and publication, and the one that the hub states.

use super::{Input, Repository};
use crate::submission::draft::Marked;
use crate::submission::finding::Code;
use crate::submission::licences::{self, Licence};
use crate::submission::schema::closest;
use crate::submission::source::{Findings, shortened};

pub(super) fn check_declared(input: &Input<'_>, findings: &mut Findings) {
    let Some(declared) = &input.draft.license else { return };
    let field = Some(declared.field.as_str());
    match licences::find(&declared.value) {
        None => {
            let stated = input.facts().and_then(|facts| facts.license.as_deref()).map(|stated| shortened(stated, 60));
            let near = closest(&declared.value, &licences::all_ids()).and_then(licences::find).map(|licence| licence.id.clone());
            let help = match (stated, near) {
                (Some(stated), _) => format!("the model card states `{stated}`; schemas/licences.json lists all ids"),
                (None, Some(near)) => format!("did you mean `{near}`? Write the id on the model card; schemas/licences.json lists all"),
                (None, None) => "write the SPDX or hub id on the model card; schemas/licences.json lists all".to_owned(),
            };
            let message = format!("`{}` is not a licence id that is known here", declared.value);
            findings.error(Code::LicenceUnknown, field, declared.span, message, help);
        }
        Some(licence) if !licence.permits => {
            let reason = licence.reason.as_deref().unwrap_or_default();
            let message = format!("`{}` does not let everyone evaluate the model and publish the results: {reason}", licence.id);
            findings.error(
                Code::LicenceNotPermitted,
                field,
                declared.span,
                message,
                "only a model under a licence that permits this can be listed; see schemas/licences.json",
            );
        }
        Some(_) => {}
    }
}

pub(super) fn check_hub(input: &Input<'_>, findings: &mut Findings) {
    let Some(declared) = &input.draft.license else { return };
    for (index, repository) in input.repositories.iter().enumerate() {
        let Some(facts) = repository.facts() else { continue };
        let is_own = index == 0;
        match &facts.license {
            Some(stated) => compare(declared, stated, repository, is_own, findings),
            None => unstated(repository, is_own, findings),
        }
    }
}

fn unstated(repository: &Repository<'_>, is_own: bool, findings: &mut Findings) {
    let message = format!("the model card of {} states no licence", repository.reference.repo);
    let help = "add `license: <id>` to the metadata at the top of the repository's README.md";
    if is_own {
        findings.error(Code::LicenceUnstated, Some(repository.field), repository.span, message, help);
    } else {
        findings.warning(Code::LicenceUnstated, Some(repository.field), repository.span, message, help);
    }
}

fn compare(declared: &Marked<String>, stated: &str, repository: &Repository<'_>, is_own: bool, findings: &mut Findings) {
    // An id that is not known has had its finding.
    let Some(ours) = licences::find(&declared.value) else { return };
    if let Some(known) = licences::find(stated) {
        if known.id == ours.id {
            return;
        }
        if is_family(known, ours) || is_family(ours, known) {
            let message = format!("the model card states `{}`, and only one of the two names the exact licence", shortened(stated, 60));
            findings.warning(
                Code::LicenceMismatch,
                Some(&declared.field),
                declared.span,
                message,
                "state the exact licence in both places",
            );
            return;
        }
    }
    let stated = shortened(stated, 60);
    let whose = if is_own { "the model card".to_owned() } else { format!("the model card of {}", repository.reference.repo) };
    let message = format!("`{}` declared, but {whose} states `{stated}`", declared.value);
    let help = format!(
        "write the licence that the card states, or correct the `license:` line in the repository's README.md to `{}`",
        declared.value
    );
    findings.error(Code::LicenceMismatch, Some(&declared.field), declared.span, message, help);
}

fn is_family(family: &Licence, member: &Licence) -> bool {
    member.family.as_deref() == Some(&family.id)
}
