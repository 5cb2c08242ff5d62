//! Who submits and how to reach them.

use super::Input;
use crate::submission::draft::Marked;
use crate::submission::finding::Code;
use crate::submission::source::Findings;

/// What templates and examples contain in place of a login or an address.
const PLACEHOLDERS: &[&str] = &[
    "octocat",
    "github_username",
    "github-username",
    "your-github-username",
    "your_github_username",
    "email@example.com",
    "your-email@example.com",
    "username/model-name",
];

pub(super) fn check(input: &Input<'_>, findings: &mut Findings) {
    let draft = input.draft;
    for marked in [&draft.submitted_by, &draft.contact, &draft.hf_repo].into_iter().flatten() {
        placeholder(marked, findings);
    }
    if let (Some(login), Some(author)) = (&draft.submitted_by, input.context.author)
        && !login.value.eq_ignore_ascii_case(author)
        && !is_placeholder(&login.value)
    {
        let message = format!("the issue was opened by {author}");
        findings.warning(
            Code::SubmitterMismatch,
            Some(&login.field),
            login.span,
            message,
            format!("write `submitted_by: {author}`, or leave it if you submit for someone else"),
        );
    }
    if let Some(contact) = &draft.contact
        && !looks_reachable(&contact.value)
    {
        let help = "write a mail address or a web address, or leave the field out; questions are then asked on the issue";
        findings.warning(Code::ContactUnclear, Some(&contact.field), contact.span, "`contact` is neither a mail nor a web address", help);
    }
}

fn is_placeholder(value: &str) -> bool {
    PLACEHOLDERS.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(value))
}

fn placeholder(marked: &Marked<String>, findings: &mut Findings) {
    if is_placeholder(&marked.value) {
        let name = marked.field.trim_start_matches("model.");
        let message = format!("`{name}` still holds an example's value");
        findings.warning(Code::PlaceholderValue, Some(&marked.field), marked.span, message, "write your own");
    }
}

fn looks_reachable(contact: &str) -> bool {
    let mail = contact.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains(['@', ' ']));
    let web = contact.starts_with("https://") || contact.starts_with("http://");
    mail || web
}
