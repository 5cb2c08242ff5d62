//! Why a task cannot be asked or scored.

/// Why a task cannot be found, built or scored.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// No task or group has this name.
    #[error("unknown task `{name}`{}", suggestion(.close))]
    UnknownTask {
        /// The name asked for.
        name: String,
        /// Known names that look like it, the closest first.
        close: Vec<String>,
    },
    /// The task has no such metric.
    #[error("task {task} has no metric `{metric}`{}", suggestion(.close))]
    UnknownMetric {
        /// The task.
        task: String,
        /// The metric asked for.
        metric: String,
        /// The task's metrics, the closest first.
        close: Vec<String>,
    },
    /// No suite or pillar has this name.
    #[error("unknown {kind} `{name}`{}", suggestion(.close))]
    UnknownSuite {
        /// `suite` or `pillar`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// Known names, the closest first.
        close: Vec<String>,
    },
    /// The evaluated split has no rows.
    #[error(
        "task {task}: split `{split}` of {dataset} has no rows, so there is nothing to evaluate; check the dataset's revision and configuration"
    )]
    NoDocuments {
        /// The task.
        task: String,
        /// The evaluated split.
        split: String,
        /// Repository and configuration.
        dataset: String,
    },
    /// A row does not have what the task needs.
    #[error("task {task}, row {row} of split `{split}` of {dataset}: {reason}")]
    Document {
        /// The task.
        task: String,
        /// The split.
        split: String,
        /// Repository and configuration.
        dataset: String,
        /// Row index in the split, from 0.
        row: usize,
        /// What is missing or malformed.
        reason: String,
    },
    /// The few-shot examples asked for cannot be drawn.
    #[error("task {task}: {reason}")]
    Fewshot {
        /// The task.
        task: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The model's chat template refused the conversation.
    #[error("task {task}, document {doc_id}: the chat template refused the messages: {reason}")]
    Chat {
        /// The task.
        task: String,
        /// Document index.
        doc_id: usize,
        /// The template's message.
        reason: String,
    },
    /// The answers do not fit the requests.
    #[error("task {task}, document {doc_id}: {reason}")]
    Scoring {
        /// The task.
        task: String,
        /// Document index.
        doc_id: usize,
        /// What does not fit.
        reason: String,
    },
}

fn suggestion(close: &[String]) -> String {
    if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(", ")) }
}

/// The known names closest to `name` by edit distance (letter case and `-`/`_` ignored), at most `count`, the closest first;
/// names that begin with it or contain it count as close.
pub(crate) fn close_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<String> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = plain(name);
    // A name is compared by its first 64 characters: enough for any task, and hostile input stays cheap.
    let wanted: String = wanted.chars().take(64).collect();
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let other = plain(candidate);
            let distance = if !wanted.is_empty() && other.contains(&wanted) {
                other.chars().count().abs_diff(wanted.chars().count()).min(2)
            } else {
                edit_distance(&wanted, &other)
            };
            (distance <= 2.max(wanted.chars().count() / 3)).then_some((distance, candidate))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(count).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Levenshtein distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let substituted = previous[column] + usize::from(a != *b);
            current.push(substituted.min(previous[column + 1] + 1).min(current[column] + 1));
        }
        previous = current;
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_answered_with_what_was_meant() {
        let known = ["arc_easy", "arc_challenge", "hellaswag", "gsm8k", "mmlu", "mmlu_stem"];
        assert_eq!(close_names("helaswag", known, 3), ["hellaswag"]);
        assert_eq!(close_names("ARC-Easy", known, 3), ["arc_easy"]);
        assert_eq!(close_names("arc", known, 3), ["arc_challenge", "arc_easy"]);
        assert_eq!(close_names("gsm-8k", known, 3), ["gsm8k"]);
        assert!(close_names("something else entirely", known, 3).is_empty());
    }
}
