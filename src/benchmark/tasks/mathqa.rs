//! MathQA (Amini et al. 2019, arXiv:1905.13319): word problems with five answers.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::{Dataset, Document, Item, Probing, Task, TaskSpec};
use regex::Regex;
use std::sync::LazyLock;

struct MathQa {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let dataset = Dataset::hub("regisss/math_qa", "default", "test", Some("train"));
    let mut spec = TaskSpec::multiple_choice("mathqa", "1.0", dataset, &["acc", "acc_norm"], "Solves word problems by picking an answer.");
    spec.primary = "acc_norm,none";
    vec![Entry::task(MathQa { spec })]
}

#[expect(clippy::expect_used, reason = "a constant pattern, compiled by the tests")]
static OPTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[abcd] \) .*?, |e \) .*?$").expect("a valid pattern"));

/// `a ) 38 , b ) 27.675 , …` in pieces, without letters and commas.
fn choices(options: &str) -> Vec<String> {
    // The reference's `$` also matches before a line break at the end.
    let options = options.strip_suffix('\n').unwrap_or(options);
    OPTION
        .find_iter(options)
        .map(|found| {
            let text = found.as_str();
            // Four ASCII characters: letter, space, bracket, space.
            text[4..].trim_end_matches([' ', ',']).to_owned()
        })
        .collect()
}

impl Task for MathQa {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let correct = fields::text(document, "correct")?;
        let gold = ["a", "b", "c", "d", "e"]
            .iter()
            .position(|letter| *letter == correct)
            .ok_or_else(|| format!("column `correct` is `{correct}`, not a letter from a to e"))?;
        Ok(Item::Choice {
            question: format!("Question: {}\nAnswer:", fields::text(document, "Problem")?),
            choices: choices(fields::text(document, "options")?),
            gold,
        })
    }

    fn probing(&self) -> Probing {
        Probing::TEXTS
    }

    fn without_question(&self, document: &Document) -> FieldResult<Item> {
        Ok(self.item(document)?.with_question("Answer:"))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reference value.
    #[test]
    fn options_are_cut_as_in_the_reference() {
        let options = "a ) rs . 400 , b ) rs . 300 , c ) rs . 500 , d ) rs . 350 , e ) none of these";
        assert_eq!(choices(options), ["rs . 400", "rs . 300", "rs . 500", "rs . 350", "none of these"]);
        assert_eq!(choices("a ) 1, b ) 2, c ) 3, d ) 4, e ) 5\n"), ["1", "2", "3", "4", "5"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(options in "[a-e) ,é\n]{0,40}") {
            let _ = choices(&options);
        }
    }
}
