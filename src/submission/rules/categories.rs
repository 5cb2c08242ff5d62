//! The pillars asked for: older names, repetitions, and what the ranking needs.

use super::Input;
use crate::submission::finding::Code;
use crate::submission::model::{Category, OLD_CATEGORIES};
use crate::submission::source::Findings;

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let Some(list) = &input.draft.categories else { return };
    let mut seen = Vec::new();
    for category in &list.value {
        let known = Category::from_name(&category.value);
        if OLD_CATEGORIES.contains(&category.value.as_str()) {
            let help = match known {
                Some(pillar) => format!("write `{}`", pillar.as_str()),
                None => "remove it; the pillars are reasoning, coding, math, language, safety, long_context, edge".to_owned(),
            };
            let message = format!(
                "`{}` is a category of older submissions{}",
                category.value,
                if known.is_some() { "" } else { " and has no effect" }
            );
            findings.warning(Code::CategoryOld, Some(&category.field), category.span, message, help);
        }
        if let Some(pillar) = known {
            if seen.contains(&pillar) {
                let message = format!("`{}` is listed twice", pillar.as_str());
                findings.warning(Code::ListedTwice, Some(&category.field), category.span, message, "remove one of the two");
            }
            seen.push(pillar);
        }
    }
    let missing: Vec<&str> = Category::RANKED.iter().filter(|pillar| !seen.contains(pillar)).map(|pillar| pillar.as_str()).collect();
    // An empty selection (no list, or only names without effect) means all pillars.
    if input.draft.categories_complete && !seen.is_empty() && !missing.is_empty() {
        let message = format!("without {} the model is shown as partial and not ranked", missing.join(", "));
        findings.warning(
            Code::NotRanked,
            Some(&list.field),
            list.span,
            message,
            "add the missing pillars, or leave `categories` out to get all",
        );
    }
}
