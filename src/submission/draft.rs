//! The fields that passed the schema, each with its place: what the rules look at, complete or not.

use super::licences;
use super::model::{Category, Format, GgufSource, Quantization, RepositoryReference, Submission};
use super::parameters::Parameters;
use super::source::Span;
use super::tree::{Entry, Node};
use std::collections::BTreeSet;

/// A value, its place, and its field's name in findings.
#[derive(Clone, Debug)]
pub(super) struct Marked<T> {
    pub(super) value: T,
    pub(super) span: Span,
    pub(super) field: String,
}

/// A quantization entry, complete or not.
#[derive(Clone, Debug)]
pub(super) struct DraftQuantization {
    pub(super) name: Option<Marked<String>>,
    pub(super) format: Option<Marked<Format>>,
    /// The format as it was written.
    pub(super) format_text: Option<String>,
    pub(super) source: Option<Marked<GgufSource>>,
}

/// What could be read of a submission.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<Marked<String>>,
    pub(super) family: Option<Marked<String>>,
    pub(super) version: Option<Marked<String>>,
    pub(super) hf_repo: Option<Marked<String>>,
    pub(super) hf_revision: Option<Marked<String>>,
    pub(super) parameters: Option<Marked<Parameters>>,
    pub(super) architecture: Option<Marked<String>>,
    pub(super) context_length: Option<Marked<u64>>,
    pub(super) license: Option<Marked<String>>,
    /// The list as written, the place of its key; `None` where there is none.
    pub(super) categories: Option<Marked<Vec<Marked<String>>>>,
    /// Every entry of that list could be read.
    pub(super) categories_complete: bool,
    pub(super) quantizations: Vec<DraftQuantization>,
    pub(super) submitted_by: Option<Marked<String>>,
    pub(super) contact: Option<Marked<String>>,
    /// Names and places of fields that have no effect any more.
    pub(super) old_fields: Vec<(String, Span)>,
}

/// Fields of older submissions, accepted without effect.
const OLD_FIELDS: &[&str] = &["submitted_date", "context_window", "testing", "skip_quantization", "quick_test"];

/// A number that the schema takes for whole, `8.192e3` included.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches('+');
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0)
    })
}

/// Reads fields of one mapping, leaving out those that the schema found wrong.
struct Reader<'a> {
    node: &'a Node,
    prefix: String,
    wrong: &'a BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn entry(&self, name: &str) -> Option<(&'a Entry, String)> {
        let field = format!("{}.{name}", self.prefix);
        let entry = self.node.entry(name)?;
        (!self.wrong.contains(&field)).then_some((entry, field))
    }

    fn text(&self, name: &str) -> Option<Marked<String>> {
        let (entry, field) = self.entry(name)?;
        Some(Marked { value: entry.value.text()?.to_owned(), span: entry.value.span, field })
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(String) -> Option<T>) -> Option<Marked<T>> {
        let Marked { value, span, field } = self.text(name)?;
        Some(Marked { value: parse(value)?, span, field })
    }
}

impl Draft {
    /// Reads what the schema found right.
    pub(super) fn read(root: &Node, wrong: &BTreeSet<String>) -> Self {
        let Some(model) = root.entry("model") else { return Self::default() };
        let reader = Reader { node: &model.value, prefix: "model".to_owned(), wrong };
        Self {
            name: reader.text("name"),
            family: reader.text("family"),
            version: reader.text("version"),
            hf_repo: reader.text("hf_repo"),
            hf_revision: reader.text("hf_revision"),
            parameters: reader.parsed("parameters", |text| Parameters::try_from(text).ok()),
            architecture: reader.text("architecture"),
            context_length: reader.parsed("context_length", |text| whole_number(&text)),
            license: reader.text("license"),
            categories: reader.entry("categories").map(|(entry, field)| categories(entry, field, wrong)),
            categories_complete: !wrong.iter().any(|field| field.starts_with("model.categories")),
            quantizations: quantizations(&reader, wrong),
            submitted_by: reader.text("submitted_by"),
            contact: reader.text("contact"),
            old_fields: model
                .value
                .entries()
                .iter()
                .filter(|entry| OLD_FIELDS.contains(&entry.key.as_str()))
                .map(|entry| (entry.key.clone(), entry.key_span))
                .collect(),
        }
    }

    /// The model's repository as the hub is asked for it.
    pub(super) fn repository(&self) -> Option<RepositoryReference> {
        let repo = self.hf_repo.as_ref()?.value.clone();
        Some(RepositoryReference { repo, revision: self.hf_revision.as_ref().map(|revision| revision.value.clone()) })
    }

    /// Every repository that the checks need to know about: the model's, and those of GGUF files elsewhere.
    pub(super) fn repositories(&self) -> Vec<RepositoryReference> {
        let others = self.quantizations.iter().filter_map(|quantization| quantization.source.as_ref()?.value.repository.clone());
        let mut all: Vec<_> = self.repository().into_iter().chain(others).collect();
        let mut seen = BTreeSet::new();
        all.retain(|repository| seen.insert(repository.clone()));
        all
    }

    /// The GGUF files that the submission names in a repository.
    pub(super) fn gguf_files(&self, repository: &RepositoryReference) -> Vec<String> {
        let own = self.repository();
        let of_repository = |source: &&GgufSource| source.repository.as_ref().or(own.as_ref()) == Some(repository);
        let named = self.quantizations.iter().filter(|quantization| quantization.has_format(Format::Gguf));
        let sources = named.filter_map(|quantization| quantization.source.as_ref().map(|source| &source.value));
        let mut files: Vec<String> = sources.filter(of_repository).map(|source| source.path.clone()).collect();
        files.sort();
        files.dedup();
        files
    }

    /// The submission in canonical form, where every required field was read.
    pub(super) fn submission(&self) -> Option<Submission> {
        let text = |field: &Option<Marked<String>>| field.as_ref().map(|marked| marked.value.clone());
        let license = text(&self.license)?;
        let mut categories: Vec<Category> =
            self.categories.iter().flat_map(|list| &list.value).filter_map(|name| Category::from_name(&name.value)).collect();
        let mut seen = BTreeSet::new();
        categories.retain(|category| seen.insert(*category));
        let quantizations: Option<Vec<Quantization>> = self.quantizations.iter().map(DraftQuantization::complete).collect();
        Some(Submission {
            name: text(&self.name)?,
            family: text(&self.family)?,
            version: text(&self.version),
            hf_repo: text(&self.hf_repo)?,
            hf_revision: text(&self.hf_revision),
            parameters: self.parameters.as_ref()?.value.clone(),
            architecture: text(&self.architecture)?,
            context_length: self.context_length.as_ref().map(|length| length.value),
            license: licences::find(&license).map_or(license, |licence| licence.id.clone()),
            categories,
            quantizations: quantizations.filter(|list| !list.is_empty())?,
            submitted_by: text(&self.submitted_by)?,
            contact: text(&self.contact),
        })
    }
}

impl DraftQuantization {
    pub(super) fn has_format(&self, format: Format) -> bool {
        self.format.as_ref().is_some_and(|marked| marked.value == format)
    }

    fn complete(&self) -> Option<Quantization> {
        let format = self.format.as_ref()?.value;
        let source = self.source.as_ref().map(|source| source.value.clone()).filter(|_| format == Format::Gguf);
        let complete = format != Format::Gguf || source.is_some();
        complete.then_some(Quantization { name: self.name.as_ref()?.value.clone(), format, source })
    }
}

fn categories(entry: &Entry, field: String, wrong: &BTreeSet<String>) -> Marked<Vec<Marked<String>>> {
    let items = entry.value.items().iter().enumerate().filter_map(|(index, item)| {
        let field = format!("{field}[{index}]");
        (!wrong.contains(&field)).then_some(Marked { value: item.text()?.to_owned(), span: item.span, field })
    });
    Marked { value: items.collect(), span: entry.key_span, field }
}

fn quantizations(model: &Reader<'_>, wrong: &BTreeSet<String>) -> Vec<DraftQuantization> {
    let Some((entry, field)) = model.entry("quantizations") else { return Vec::new() };
    let read = |(index, node): (usize, &Node)| {
        let field = format!("{field}[{index}]");
        if wrong.contains(&field) {
            return DraftQuantization { name: None, format: None, format_text: None, source: None };
        }
        let reader = Reader { node, prefix: field, wrong };
        DraftQuantization {
            name: reader.text("name"),
            format: reader.parsed("format", |text| match text.as_str() {
                "safetensors" | "transformers" => Some(Format::Safetensors),
                "gguf" => Some(Format::Gguf),
                "isq" => Some(Format::Isq),
                _ => None,
            }),
            format_text: reader.text("format").map(|format| format.value),
            source: reader.parsed("source", |text| Some(GgufSource::from(text))),
        }
    };
    entry.value.items().iter().enumerate().map(read).collect()
}
