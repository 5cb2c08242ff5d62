//! MMLU (Hendrycks et al. 2021, arXiv:2009.03300): 57 subjects; the answers' letters are scored.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::strip;
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{Dataset, Document, Group, Item, Probing, Sampler, Task, TaskSpec};
use serde_json::Value;

const STEM: &[&str] = &[
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "electrical_engineering",
    "elementary_mathematics",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_mathematics",
    "high_school_physics",
    "high_school_statistics",
    "machine_learning",
];

const OTHER: &[&str] = &[
    "business_ethics",
    "clinical_knowledge",
    "college_medicine",
    "global_facts",
    "human_aging",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "nutrition",
    "professional_accounting",
    "professional_medicine",
    "virology",
];

const SOCIAL_SCIENCES: &[&str] = &[
    "econometrics",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_microeconomics",
    "high_school_psychology",
    "human_sexuality",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
];

const HUMANITIES: &[&str] = &[
    "formal_logic",
    "high_school_european_history",
    "high_school_us_history",
    "high_school_world_history",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "moral_disputes",
    "moral_scenarios",
    "philosophy",
    "prehistory",
    "professional_law",
    "world_religions",
];

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

struct Mmlu {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let areas = [
        ("mmlu_stem", STEM, "Knows school and college science, mathematics and engineering."),
        ("mmlu_other", OTHER, "Knows medicine, business and miscellaneous facts."),
        ("mmlu_social_sciences", SOCIAL_SCIENCES, "Knows the social sciences."),
        ("mmlu_humanities", HUMANITIES, "Knows history, law, philosophy and morals."),
    ];
    let name = |subject: &&str| format!("mmlu_{subject}");
    let group = |group: &str, members: Vec<String>, measures| {
        Entry::Group(Group { name: group.to_owned(), version: "2".to_owned(), members, measures })
    };
    let all = areas.iter().flat_map(|(_, subjects, _)| subjects.iter().map(name)).collect();
    let mut entries = vec![group("mmlu", all, "Knows 57 subjects of school, college and professional examinations.")];
    for (area, subjects, measures) in areas {
        entries.push(group(area, subjects.iter().map(name).collect(), measures));
        entries.extend(subjects.iter().map(|subject| {
            let dataset = Dataset::hub("cais/mmlu", subject, "test", Some("dev"));
            mmlu(&name(subject), subject, dataset, "Answers examination questions of one subject by the letter of the choice.")
        }));
    }
    entries.push(mmlu("smoke_mmlu", "everyday_facts", smoke::dataset(), "Answers a few built-in questions by the letter of the choice."));
    entries
}

fn mmlu(name: &str, subject: &str, dataset: Dataset, measures: &'static str) -> Entry {
    let mut spec = TaskSpec::multiple_choice(name, "1.0", dataset, &["acc"], measures);
    spec.description = format!("The following are multiple choice questions (with answers) about {}.\n\n", subject.replace('_', " "));
    spec.fewshot.sampler = Sampler::First;
    Entry::task(Mmlu { spec })
}

/// The part of the prompt that lists the options.
fn options(document: &Document) -> FieldResult<String> {
    let choices = fields::texts(document, "choices")?;
    let [a, b, c, d] = choices.as_slice() else {
        return Err(format!("column `choices` has {} entries, not 4", choices.len()));
    };
    Ok(format!("A. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"))
}

impl Task for Mmlu {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let options = options(document)?;
        let question = strip(fields::text(document, "question")?);
        Ok(Item::Choice {
            question: format!("{question}\n{options}"),
            choices: LETTERS.map(str::to_owned).into(),
            gold: fields::index(document, "answer")?,
        })
    }

    fn probing(&self) -> Probing {
        Probing { choice_order: Ok(LETTERS.len()), answer_only: Ok(()) }
    }

    fn rotated(&self, document: &Document, shift: usize) -> FieldResult<Document> {
        let mut choices = fields::texts(document, "choices")?;
        let gold = fields::index(document, "answer")?;
        if gold >= choices.len() {
            return Err(format!("the right answer is choice {gold}, but there are {}", choices.len()));
        }
        let places = choices.len();
        choices.rotate_left(shift % places);
        let mut rotated = document.clone();
        rotated.insert("choices".to_owned(), Value::from(choices));
        rotated.insert("answer".to_owned(), Value::from((gold + places - shift % places) % places));
        Ok(rotated)
    }

    fn without_question(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Choice {
            question: options(document)?,
            choices: LETTERS.map(str::to_owned).into(),
            gold: fields::index(document, "answer")?,
        })
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(false)
    }
}
