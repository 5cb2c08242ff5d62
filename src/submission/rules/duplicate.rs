//! Not already evaluated: a commit, a quantization and a suite give the same scores again.

use super::Input;
use crate::submission::draft::Marked;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let Some(facts) = input.facts() else { return };
    let Some(repo) = &input.draft.hf_repo else { return };
    let done = |name: &str| {
        input.context.evaluated.iter().any(|known| {
            known.repo.eq_ignore_ascii_case(&facts.repo)
                && known.commit.eq_ignore_ascii_case(&facts.commit)
                && known.suite_version == input.context.suite_version
                && known.quantization.eq_ignore_ascii_case(name)
        })
    };
    let names: Vec<_> = input.draft.quantizations.iter().filter_map(|quantization| quantization.name.as_ref()).collect();
    let (old, new): (Vec<&Marked<String>>, Vec<&Marked<String>>) = names.iter().partition(|name| done(&name.value));
    if old.is_empty() {
        return;
    }
    let at = format!("at commit {} with suite {}", facts.commit, input.context.suite_version);
    if new.is_empty() && old.len() == input.draft.quantizations.len() {
        let message = format!("{} is already evaluated {at}", facts.repo);
        let help =
            "look at the leaderboard; submit again after a new commit, with another quantization, or when the suite has a new version";
        findings.error(Code::AlreadyEvaluated, Some(&repo.field), repo.span, message, help);
        return;
    }
    for name in old {
        let message = format!("`{}` is already evaluated {at}", name.value);
        findings.warning(Code::AlreadyEvaluated, Some(&name.field), name.span, message, "it is not run again; the others are");
    }
}
