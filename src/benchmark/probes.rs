//! Probes: what a model does with the same questions in another form. They are shown beside the scores and enter none.
//!
//! - *Choice order*: the options that a prompt lists are moved round, one place at a time, so that each option stands at each place exactly
//!   once, and the right answer moves with them. A model that reads the options picks the same one each time. The idea: Zheng et al. 2023,
//!   "Large Language Models Are Not Robust Multiple Choice Selectors" (arXiv:2309.03882); that a published order may be remembered: Ni et
//!   al. 2024, "Training on the Benchmark Is Not All You Need" (arXiv:2409.01790).
//! - *Answer only*: the question is left out of the document and of its examples, and the same choices are scored. What is right more often
//!   than by chance was known without the question. The idea: Gururangan et al. 2018, "Annotation Artifacts in Natural Language Inference
//!   Data" (arXiv:1803.02324); for language models Balepur et al. 2024, "Artifacts or Abduction" (arXiv:2402.12483).
//!
//! A probe asks a part of its task's documents, chosen by their content ([`super::nested_subset`]), with the task's own prompt, examples and
//! rule of scoring. Only what the prompt makes meaningful is asked: [`Task::probing`] says which, and why not.

use super::build::Subset;
use super::fields::FieldResult;
use super::registry::{self, Entry};
use super::score::{Metrics, Response, Scoring, truth};
use super::spec::{Form, MetricSpec, OutputKind, ScoreRule};
use super::{Document, Group, Item, Probing, Task, TaskSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Version of every probe's definition: what is asked and how it becomes figures.
pub const VERSION: &str = "1";

/// Documents of a task that a probe asks; of each subject of a group, fewer.
const DOCUMENTS: usize = 400;
const DOCUMENTS_OF_SUBJECT: usize = 8;
/// The same in the quick suite: the first of those above.
const QUICK_DOCUMENTS: usize = 100;
const QUICK_DOCUMENTS_OF_SUBJECT: usize = 2;

/// What is done to the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The options are moved round.
    ChoiceOrder,
    /// The question is left out.
    AnswerOnly,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::ChoiceOrder, Self::AnswerOnly];

    /// Name: a probe is called `<task>_<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChoiceOrder => "choice_order",
            Self::AnswerOnly => "answer_only",
        }
    }

    fn applies(self, probing: Probing) -> Result<(), &'static str> {
        match self {
            Self::ChoiceOrder => probing.choice_order.map(|_| ()),
            Self::AnswerOnly => probing.answer_only,
        }
    }
}

/// A probe of one task, or of each leaf of a group.
pub struct Probe {
    /// What is done.
    pub kind: Kind,
    /// Name of the task or group that is probed.
    pub of: String,
    /// What is asked.
    pub entry: Entry,
}

static PROBES: LazyLock<BTreeMap<String, Probe>> = LazyLock::new(|| {
    let entries = registry::all().flat_map(|entry| Kind::ALL.map(|kind| (kind, entry)));
    let probes = entries.filter_map(|(kind, entry)| Some(Probe { kind, of: entry.name().to_owned(), entry: probe_entry(kind, entry)? }));
    probes.map(|probe| (probe.entry.name().to_owned(), probe)).collect()
});

fn probe_entry(kind: Kind, entry: &Entry) -> Option<Entry> {
    inapplicable(kind, entry).is_none().then_some(())?;
    let name = |of: &str| format!("{of}_{}", kind.name());
    Some(match entry {
        Entry::Task(task) => Entry::Task(Arc::new(ProbedTask::new(kind, Arc::clone(task)))),
        Entry::Group(group) => Entry::Group(Group {
            name: name(&group.name),
            version: VERSION.to_owned(),
            members: group.members.iter().map(|member| name(member)).collect(),
            measures: measures(kind),
        }),
    })
}

fn measures(kind: Kind) -> &'static str {
    match kind {
        Kind::ChoiceOrder => "Whether the chosen answer depends on the order in which the options stand.",
        Kind::AnswerOnly => "How many answers are right although the question is left out.",
    }
}

/// Why a probe of this kind cannot be made of a task; `None` where it can.
#[must_use]
pub fn inapplicable(kind: Kind, entry: &Entry) -> Option<&'static str> {
    match entry {
        Entry::Task(task) => kind.applies(task.probing()).err(),
        Entry::Group(group) => {
            let mut leaves = group.members.iter().filter_map(|member| registry::task(member).ok());
            leaves.find_map(|leaf| kind.applies(leaf.probing()).err())
        }
    }
}

/// Whether a task has several choices, so that it can be said of it which probes it has and why not others.
#[must_use]
pub fn is_multiple_choice(task: &str) -> bool {
    registry::leaves(task).is_ok_and(|leaves| leaves.iter().all(|leaf| leaf.spec().output == OutputKind::MultipleChoice))
}

/// The probes of a task or group.
pub fn probes_of(task: &str) -> impl Iterator<Item = &'static Probe> {
    Kind::ALL.into_iter().filter_map(move |kind| PROBES.get(&format!("{task}_{}", kind.name())))
}

/// The probe of this name.
#[must_use]
pub fn probe(name: &str) -> Option<&'static Probe> {
    PROBES.get(name)
}

/// The leaf task of this name among the probes.
#[must_use]
pub fn leaf(name: &str) -> Option<Arc<dyn Task>> {
    match &PROBES.get(name)?.entry {
        Entry::Task(task) => Some(Arc::clone(task)),
        Entry::Group(_) => None,
    }
}

/// The name of what is probed; the name itself where it is no probe's.
#[must_use]
pub fn base_of(name: &str) -> &str {
    PROBES.get(name).map_or(name, |probe| &probe.of)
}

impl Probe {
    /// The leaf tasks.
    #[must_use]
    pub fn leaves(&self) -> Vec<Arc<dyn Task>> {
        match &self.entry {
            Entry::Task(task) => vec![Arc::clone(task)],
            Entry::Group(group) => group.members.iter().filter_map(|member| leaf(member)).collect(),
        }
    }

    /// Which documents of each leaf are asked in a suite: of a smaller suite a part of those of a larger one.
    #[must_use]
    pub fn documents(&self, suite: &str) -> Subset {
        let is_quick = suite == "quick";
        Subset::Nested(match (&self.entry, is_quick) {
            (Entry::Group(_), false) => DOCUMENTS_OF_SUBJECT,
            (Entry::Group(_), true) => QUICK_DOCUMENTS_OF_SUBJECT,
            (Entry::Task(_), false) => DOCUMENTS,
            (Entry::Task(_), true) => QUICK_DOCUMENTS,
        })
    }
}

/// Names of the figures of a probe's documents.
pub mod figure {
    /// 1 where some order of the options made the model choose another option, else 0.
    pub const CHANGED: &str = "changed";
    /// Accuracy with the options moved on by so many places; the first is the published order.
    pub const ORDERS: [&str; 4] = ["accuracy_order_0", "accuracy_order_1", "accuracy_order_2", "accuracy_order_3"];
    /// Accuracy in the published order less the mean accuracy in the others.
    pub const PUBLISHED_ADVANTAGE: &str = "published_order_advantage";
    /// Accuracy without the question.
    pub const ANSWER_ONLY: &str = "answer_only";
    /// Accuracy with the question, on the same documents.
    pub const WITH_QUESTION: &str = "with_question";
    /// One divided by the number of choices.
    pub const CHANCE: &str = "chance";
}

/// A task asked in several forms.
struct ProbedTask {
    kind: Kind,
    of: Arc<dyn Task>,
    spec: TaskSpec,
}

impl ProbedTask {
    fn new(kind: Kind, of: Arc<dyn Task>) -> Self {
        let mut spec = of.spec().clone();
        spec.name = format!("{}_{}", spec.name, kind.name());
        VERSION.clone_into(&mut spec.version);
        spec.measures = measures(kind);
        let metric = |name| MetricSpec::mean(name);
        (spec.metrics, spec.primary) = match kind {
            Kind::ChoiceOrder => {
                let changed = MetricSpec { higher_is_better: false, ..metric(figure::CHANGED) };
                let others = figure::ORDERS.into_iter().chain([figure::PUBLISHED_ADVANTAGE]).map(metric);
                (std::iter::once(changed).chain(others).collect(), "changed,none")
            }
            Kind::AnswerOnly => ([figure::ANSWER_ONLY, figure::WITH_QUESTION, figure::CHANCE].map(metric).into(), "answer_only,none"),
        };
        // No points: a probe is no score, so nothing can take it for one.
        spec.score_rule = ScoreRule::Unbounded;
        Self { kind, of, spec }
    }

    fn forms(&self, document: &Document) -> FieldResult<Vec<Form>> {
        match self.kind {
            Kind::ChoiceOrder => {
                let options = self.of.probing().choice_order?;
                (0..options).map(|shift| form(self.of.item(&self.of.rotated(document, shift)?)?)).collect()
            }
            Kind::AnswerOnly => Ok(vec![form(self.of.without_question(document)?)?, form(self.of.item(document)?)?]),
        }
    }

    /// Whether each form was answered rightly, by the rule of the task that is probed.
    fn right(&self, scoring: &Scoring<'_>, forms: &[Form]) -> FieldResult<Vec<f64>> {
        let mut rest = scoring.responses;
        let right = forms.iter().map(|form| {
            let (responses, others) = rest.split_at_checked(form.choices.len()).ok_or("an answer is missing")?;
            rest = others;
            let Form { question, choices, gold } = form.clone();
            let item = Item::Choice { question, choices, gold };
            let empty = Map::new();
            let metrics =
                self.of.metrics(&Scoring { document: scoring.document, item: &item, responses, filtered: &empty, verdicts: &[] })?;
            metrics.get(self.of.spec().primary).and_then(Value::as_f64).ok_or_else(|| "the task gave no accuracy".to_owned())
        });
        right.collect()
    }
}

fn form(item: Item) -> FieldResult<Form> {
    match item {
        Item::Choice { question, choices, gold } if gold < choices.len() => Ok(Form { question, choices, gold }),
        Item::Choice { choices, gold, .. } => Err(format!("the right answer is choice {gold}, but there are {}", choices.len())),
        _ => Err("the document has no choices".to_owned()),
    }
}

impl Task for ProbedTask {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn prepare(&self, row: Document) -> FieldResult<Document> {
        self.of.prepare(row)
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        self.forms(document).map(Item::Forms)
    }

    fn fewshot_pool(&self, rows: Vec<Document>) -> Result<Vec<Document>, (usize, String)> {
        self.of.fewshot_pool(rows)
    }

    fn example(&self, document: &Document) -> FieldResult<(String, String)> {
        self.of.example(document)
    }

    /// Examples stand in their published order; they lose their questions where the document does.
    fn example_in_form(&self, form: usize, document: &Document) -> FieldResult<(String, String)> {
        match (self.kind, form) {
            (Kind::AnswerOnly, 0) => self.of.without_question(document)?.example(),
            _ => self.of.example(document),
        }
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let Item::Forms(forms) = scoring.item else { return Err("the document is not asked in several forms".to_owned()) };
        let asked: usize = forms.iter().map(|form| form.choices.len()).sum();
        if asked != scoring.responses.len() {
            return Err(format!("{asked} choices have {} answers", scoring.responses.len()));
        }
        let right = self.right(scoring, forms)?;
        let key = |name: &str| format!("{name},none");
        Ok(match self.kind {
            Kind::ChoiceOrder => {
                if right.len() != figure::ORDERS.len() {
                    return Err(format!("{} orders of the options, not {}", right.len(), figure::ORDERS.len()));
                }
                let others = right[1..].iter().sum::<f64>() / (right.len() - 1) as f64;
                let mut metrics = Metrics::from_iter([(key(figure::CHANGED), json!(truth(changed(scoring.responses, forms)?)))]);
                metrics.extend(figure::ORDERS.iter().zip(&right).map(|(name, right)| (key(name), json!(right))));
                metrics.insert(key(figure::PUBLISHED_ADVANTAGE), json!(right[0] - others));
                metrics
            }
            Kind::AnswerOnly => {
                let [without, with] = right.as_slice() else { return Err(format!("{} forms, not 2", right.len())) };
                Metrics::from_iter([
                    (key(figure::ANSWER_ONLY), json!(without)),
                    (key(figure::WITH_QUESTION), json!(with)),
                    (key(figure::CHANCE), json!(1.0 / forms[0].choices.len() as f64)),
                ])
            }
        })
    }

    fn chance(&self, _document: &Document, _item: &Item) -> Option<f64> {
        None
    }
}

/// Whether the model chose different options in different orders. The form of number `shift` has the option of place `p` in the published
/// order at place `p − shift`, and so the right one.
fn changed(responses: &[Response], forms: &[Form]) -> FieldResult<bool> {
    let options = forms.first().map_or(0, |form| form.choices.len());
    let mut chosen = Vec::with_capacity(forms.len());
    for (shift, (form, responses)) in forms.iter().zip(responses.chunks(options.max(1))).enumerate() {
        if form.choices.len() != options || (form.gold + shift) % options != forms[0].gold {
            return Err(format!("order {shift} is not the published one moved on by {shift} places"));
        }
        let values: Vec<f64> = responses
            .iter()
            .filter_map(|response| if let Response::Loglikelihood { value, .. } = response { Some(*value) } else { None })
            .collect();
        let letter = super::score::argmax(&values).ok_or("an answer is not a log-likelihood")?;
        chosen.push((letter + shift) % options);
    }
    Ok(chosen.windows(2).any(|pair| pair[0] != pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BuildOptions, Instance, Request, build, builtin_rows, score};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn built(probe: &str, num_fewshot: usize) -> (Arc<dyn Task>, Vec<Instance>) {
        let task = leaf(probe).unwrap();
        let rows = |split| builtin_rows(probe, split).unwrap();
        let options = BuildOptions { num_fewshot: Some(num_fewshot), ..Default::default() };
        let built = build(task.as_ref(), rows("test"), rows("fewshot"), &options).unwrap();
        (task, built.instances)
    }

    /// Figures of every document for a model that gives each request a value.
    fn figures(probe: &str, value: impl Fn(&Instance, &str, &str) -> f64) -> Vec<Metrics> {
        let (task, instances) = built(probe, 1);
        let scored = |instance: &Instance| {
            let answer = |request: &Request| {
                let Request::Loglikelihood(request) = request else { panic!("a choice") };
                Response::Loglikelihood { value: value(instance, &request.context, &request.continuation), is_greedy: false }
            };
            let answers: Vec<Response> = instance.requests.iter().map(answer).collect();
            score(task.as_ref(), instance, &answers, &[]).unwrap().metrics
        };
        instances.iter().map(scored).collect()
    }

    fn mean(documents: &[Metrics], name: &str) -> f64 {
        documents.iter().map(|metrics| metrics[&format!("{name},none")].as_f64().unwrap()).sum::<f64>() / documents.len() as f64
    }

    /// The text of the option that a letter stands for in the last question of a prompt.
    fn option<'a>(prompt: &'a str, letter: &str) -> &'a str {
        let question = prompt.rsplit_once("\n\n").map_or(prompt, |(_, last)| last);
        question.lines().find_map(|line| line.strip_prefix(&format!("{}. ", letter.trim()))).unwrap()
    }

    /// A number that depends on the text alone.
    fn liking(text: &str) -> f64 {
        let sum = text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        -1.0 - f64::from(sum % 10_007)
    }

    #[test]
    fn a_model_that_always_answers_a_is_wholly_sensitive() {
        let documents = figures("smoke_mmlu_choice_order", |_, _, letter| if letter == " A" { -0.1 } else { -3.0 });
        assert!((mean(&documents, figure::CHANGED) - 1.0).abs() < 1e-12);
        let sum: f64 = figure::ORDERS.iter().map(|order| mean(&documents, order)).sum();
        assert!((sum - 1.0).abs() < 1e-12, "the right answer stands at A in one of four orders, whatever the document");
    }

    #[test]
    fn a_model_that_goes_by_content_is_not_sensitive() {
        let documents = figures("smoke_mmlu_choice_order", |_, prompt, letter| liking(option(prompt, letter)));
        assert!(mean(&documents, figure::CHANGED).abs() < 1e-12);
        assert!(mean(&documents, figure::PUBLISHED_ADVANTAGE).abs() < 1e-12);
        assert!(figure::ORDERS.windows(2).all(|pair| (mean(&documents, pair[0]) - mean(&documents, pair[1])).abs() < 1e-12));
    }

    /// A model that remembers the letters of the published order is right there only.
    #[test]
    fn a_remembered_order_shows() {
        let documents = figures("smoke_mmlu_choice_order", |instance, _, letter| {
            let Item::Forms(forms) = &instance.item else { panic!("forms") };
            if letter.trim() == forms[0].choices[forms[0].gold] { -0.1 } else { -3.0 }
        });
        assert!((mean(&documents, figure::PUBLISHED_ADVANTAGE) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_model_that_knows_the_right_texts_needs_no_question() {
        for probe in ["smoke_arc_answer_only", "smoke_truthfulqa_mc1_answer_only"] {
            let documents = figures(probe, |instance, _, continuation| {
                let Item::Forms(forms) = &instance.item else { panic!("forms") };
                if continuation.trim() == forms[0].choices[forms[0].gold] { -0.1 } else { -99.0 }
            });
            assert!((mean(&documents, figure::ANSWER_ONLY) - 1.0).abs() < 1e-12, "{probe}");
            assert!((0.0..1.0).contains(&mean(&documents, figure::CHANCE)), "{probe}");
        }
        // Without the question, a model that goes by it alone has nothing.
        let (_, instances) = built("smoke_arc_answer_only", 0);
        let prompts: BTreeSet<String> = instances.iter().map(|instance| instance.arguments()[0][0].as_str().unwrap().to_owned()).collect();
        assert_eq!(prompts, BTreeSet::from(["Answer:".to_owned()]));
    }

    /// The question is left out of the document and of its examples; the second form is the task's own prompt.
    #[test]
    fn the_prompt_without_question_keeps_all_else() {
        let (_, instances) = built("smoke_mmlu_answer_only", 1);
        let arguments = instances[0].arguments();
        insta::assert_snapshot!(arguments[0][0].as_str().unwrap(), @r"
        The following are multiple choice questions (with answers) about everyday facts.

        A. 60
        B. 90
        C. 120
        D. 200
        Answer: C

        A. 364
        B. 365
        C. 366
        D. 367
        Answer:
        ");
        let options = BuildOptions { num_fewshot: Some(1), ..Default::default() };
        let rows = |split| builtin_rows("smoke_mmlu", split).unwrap();
        let own = build(registry::task("smoke_mmlu").unwrap().as_ref(), rows("test"), rows("fewshot"), &options).unwrap();
        for (probed, own) in instances.iter().zip(&own.instances) {
            assert_eq!(probed.doc_hash, own.doc_hash);
            assert_eq!(probed.requests[4..], own.requests);
        }
        let (_, instances) = built("smoke_mmlu_choice_order", 1);
        for (probed, own) in instances.iter().zip(&own.instances) {
            assert_eq!(probed.requests[..4], own.requests, "the first order is the published one");
        }
    }

    /// Which probe there is, and why not the others: for every multiple-choice task of the suites.
    #[test]
    fn only_what_means_something_is_asked() {
        let of = |task: &str| probes_of(task).map(|probe| probe.kind.name()).collect::<Vec<_>>();
        assert_eq!(of("mmlu"), ["choice_order", "answer_only"]);
        for task in ["arc_challenge", "hellaswag", "piqa", "mathqa", "truthfulqa_mc1"] {
            assert_eq!(of(task), ["answer_only"], "{task}");
            assert!(inapplicable(Kind::ChoiceOrder, registry::entry(task).unwrap()).unwrap().contains("does not list the options"));
        }
        for task in ["boolq", "winogrande", "toxigen", "crows_pairs_english", "bbq", "truthfulqa_mc2", "gsm8k", "humaneval", "wikitext"] {
            assert!(of(task).is_empty(), "{task}");
            assert!(Kind::ALL.iter().all(|kind| inapplicable(*kind, registry::entry(task).unwrap()).is_some()), "{task}");
        }
        assert_eq!(probe("mmlu_choice_order").unwrap().leaves().len(), 57);
        assert!(PROBES.keys().all(|name| registry::entry(name).is_err()), "a probe is no task");
        assert!(PROBES.values().flat_map(Probe::leaves).all(|leaf| leaf.spec().score(1.0).is_none()), "a probe has no points");
    }

    proptest! {
        /// Over all shifts each option stands at each place exactly once, and the right answer goes with its text.
        #[test]
        fn each_option_stands_at_each_place_once(options in prop::collection::btree_set("[a-z]{1,6}", 4), gold in 0usize..4) {
            let options: Vec<String> = options.into_iter().collect();
            let document = json!({ "question": "q?", "choices": options, "answer": gold }).as_object().unwrap().clone();
            let task = registry::task("smoke_mmlu").unwrap();
            let mut places = BTreeSet::new();
            for shift in 0..4 {
                let rotated = task.rotated(&document, shift).unwrap();
                let texts: Vec<&str> = rotated["choices"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
                prop_assert_eq!(texts[usize::try_from(rotated["answer"].as_u64().unwrap()).unwrap()], &options[gold]);
                places.extend(texts.iter().enumerate().map(|(place, text)| ((*text).to_owned(), place)));
            }
            prop_assert_eq!(places.len(), 16);
            prop_assert_eq!(task.rotated(&document, 4).unwrap(), document);
        }
    }
}
