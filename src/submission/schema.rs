//! The schema's verdict on a tree, in words and with places.

use super::finding::Code;
use super::source::{Findings, Span, shortened};
use super::tree::{Node, Value as NodeValue};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The schema as it stands in `schemas/submission.schema.json`.
pub const SUBMISSION_SCHEMA: &str = include_str!("../../schemas/submission.schema.json");

static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SUBMISSION_SCHEMA).unwrap_or(Value::Null));
/// `None` only if the compiled-in file were broken, which a test rules out.
static VALIDATOR: LazyLock<Option<Validator>> = LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).ok());

/// A JSON pointer's steps, with the place that each leads to.
struct Place<'a> {
    /// As in `model.quantizations[0].name`.
    field: String,
    /// The last step: the key, or the list's key for an item.
    name: String,
    /// Where the key stands, or the value for an item of a list.
    key_span: Span,
    node: &'a Node,
    schema: &'a Value,
}

/// Validates a tree. Gives the fields with errors, so that the rules leave them alone.
pub(super) fn validate(root: &Node, findings: &mut Findings) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let Some(validator) = VALIDATOR.as_ref() else { return wrong };
    let instance = json(root, &SCHEMA);
    // One misplaced level would otherwise give a finding for each of its fields.
    if let Some(help) = misplaced_level(root) {
        let span = root.entries().first().map_or(root.span, |entry| entry.key_span);
        findings.error(Code::MissingField, Some("model"), span, "`model:` is missing", help);
        wrong.insert("model".to_owned());
        return wrong;
    }
    for error in validator.iter_errors(&instance) {
        let Some(place) = locate(root, error.instance_path().as_str()) else { continue };
        report(&error, &place, findings, &mut wrong);
    }
    wrong
}

/// Help for a text whose fields stand at the outer level, or that is not a mapping at all.
fn misplaced_level(root: &Node) -> Option<&'static str> {
    if root.entry("model").is_some() {
        return None;
    }
    if root.entry("hf_repo").is_some() || root.entry("name").is_some() {
        return Some("write `model:` on a line of its own before the fields and indent them by two spaces");
    }
    (!matches!(root.value, NodeValue::Mapping(_)) || root.entries().is_empty())
        .then_some("write the submission as a mapping that begins with `model:`; models/submissions/template.yml explains every field")
}

/// The JSON that the schema sees. Where it asks for a text, a plain scalar is that text as written (`version: 1.0` stays `1.0`).
fn json(node: &Node, schema: &Value) -> Value {
    match &node.value {
        NodeValue::Scalar { text, plain } => scalar(text, *plain, schema),
        NodeValue::Sequence(items) => Value::Array(items.iter().map(|item| json(item, &schema["items"])).collect()),
        NodeValue::Mapping(entries) => {
            let members = entries.iter().map(|entry| (entry.key.clone(), json(&entry.value, &schema["properties"][&entry.key])));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// A scalar by YAML 1.2's core schema, except that a field of text keeps its text.
fn scalar(text: &str, plain: bool, schema: &Value) -> Value {
    if !plain {
        return Value::String(text.to_owned());
    }
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    if schema["type"] == "string" {
        return Value::String(text.to_owned());
    }
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.trim_start_matches('+').parse::<i64>() {
        return Value::from(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
            Value::from(number)
        }
        _ => Value::String(text.to_owned()),
    }
}

fn locate<'a>(root: &'a Node, pointer: &str) -> Option<Place<'a>> {
    let mut place = Place { field: String::new(), name: String::new(), key_span: root.span, node: root, schema: &SCHEMA };
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if let NodeValue::Sequence(items) = &place.node.value {
            let index: usize = step.parse().ok()?;
            place.node = items.get(index)?;
            place.key_span = place.node.span;
            place.schema = &place.schema["items"];
            place.field = format!("{}[{index}]", place.field);
        } else {
            let entry = place.node.entry(&step)?;
            place.node = &entry.value;
            place.key_span = entry.key_span;
            place.schema = &place.schema["properties"][&step];
            place.field = joined(&place.field, &step);
            place.name = step;
        }
    }
    Some(place)
}

fn joined(field: &str, name: &str) -> String {
    let name = shortened(name, 60);
    if field.is_empty() { name } else { format!("{field}.{name}") }
}

fn report(error: &ValidationError<'_>, place: &Place<'_>, findings: &mut Findings, wrong: &mut BTreeSet<String>) {
    let field = Some(place.field.as_str());
    let name = &place.name;
    let value_span = if is_nothing(place.node) { place.key_span } else { place.node.span };
    let help = help_for(place.schema);
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let missing = property.as_str().unwrap_or_default();
            let missing_field = joined(&place.field, missing);
            if is_misspelt(missing, place) {
                wrong.insert(missing_field);
                return;
            }
            let of = if place.field.is_empty() || place.field == "model" { String::new() } else { format!(" in `{}`", place.field) };
            let help = format!("add a line `{missing}: …`. {}", help_for(&place.schema["properties"][missing]));
            findings.error(Code::MissingField, Some(&missing_field), place.key_span, format!("`{missing}` is missing{of}"), help);
            wrong.insert(missing_field);
            return;
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                unknown_field(key, place, findings);
            }
            return;
        }
        ValidationErrorKind::Type { kind } => wrong_type(kind, place, value_span, &help, findings),
        ValidationErrorKind::Enum { options } => not_one_of(options, place, findings),
        ValidationErrorKind::Pattern { .. } => bad_value(place, value_span, findings),
        ValidationErrorKind::MaxLength { limit } => {
            findings.error(Code::TooLong, field, value_span, format!("`{name}` has more than {limit} characters"), help);
        }
        ValidationErrorKind::MaxItems { limit } => {
            findings.error(Code::TooMany, field, place.key_span, format!("`{name}` has more than {limit} entries"), help);
        }
        ValidationErrorKind::MinItems { .. } => {
            findings.error(Code::MissingField, field, place.key_span, format!("`{name}` is empty"), help);
        }
        ValidationErrorKind::Minimum { limit } => {
            findings.error(Code::OutOfRange, field, value_span, format!("`{name}` is below {limit}"), help);
        }
        ValidationErrorKind::Maximum { limit } => {
            findings.error(Code::OutOfRange, field, value_span, format!("`{name}` is above {limit}"), help);
        }
        _ => findings.error(Code::BadValue, field, value_span, format!("`{name}` is not valid: {}", error.masked()), help),
    }
    wrong.insert(place.field.clone());
}

fn is_nothing(node: &Node) -> bool {
    matches!(&node.value, NodeValue::Scalar { text, plain: true } if text.is_empty())
}

/// What a field is for, with an example, from the schema's own annotations.
fn help_for(schema: &Value) -> String {
    let description = schema["description"].as_str().unwrap_or_default();
    match &schema["examples"][0] {
        Value::Null => description.to_owned(),
        Value::String(example) => format!("{description} Example: {example}"),
        example => format!("{description} Example: {example}"),
    }
}

/// Whether a field is not missing but stands there under a name that is nearly its own, which gets a finding itself.
fn is_misspelt(missing: &str, place: &Place<'_>) -> bool {
    let known = &place.schema["properties"];
    place
        .node
        .entries()
        .iter()
        .filter(|entry| known.get(&entry.key).is_none())
        .any(|entry| closest(&entry.key, &current_fields(known)) == Some(missing))
}

/// The fields of a mapping that are not there for older submissions only.
fn current_fields(properties: &Value) -> Vec<&str> {
    properties.as_object().into_iter().flatten().filter(|(_, schema)| schema["deprecated"] != true).map(|(name, _)| name.as_str()).collect()
}

fn unknown_field(key: &str, place: &Place<'_>, findings: &mut Findings) {
    let Some(entry) = place.node.entry(key) else { return };
    let current = current_fields(&place.schema["properties"]);
    let help = match closest(key, &current) {
        Some(near) => format!("did you mean `{near}`?"),
        None if place.field.is_empty() => "everything belongs under `model:`; remove it".to_owned(),
        None => format!("remove it; the fields here are {}", current.join(", ")),
    };
    let shown = shortened(key, 60);
    findings.error(Code::UnknownField, Some(&joined(&place.field, key)), entry.key_span, format!("there is no field `{shown}`"), help);
}

/// The known word nearest to a misspelt one, where one is near enough to be meant.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(&word.chars().take(64).collect::<String>());
    let similarity = |name: &str| {
        let same_letters = plain(name).replace('_', "") == word.replace('_', "");
        if same_letters { 1.0 } else { strsim::normalized_damerau_levenshtein(&word, &plain(name)) }
    };
    let near = known.iter().map(|&name| (similarity(name), name));
    // Of equally near words the first.
    near.filter(|&(similarity, _)| similarity >= 0.6).reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, name)| name)
}

fn wrong_type(kind: &TypeKind, place: &Place<'_>, span: Span, help: &str, findings: &mut Findings) {
    let expected = match kind {
        TypeKind::Single(single) => single.to_string(),
        TypeKind::Multiple(_) => String::new(),
    };
    let (expected, remedy) = match expected.as_str() {
        "string" => ("a text", ""),
        "integer" => ("a whole number", "Write digits only, without quotes, commas or units. "),
        "boolean" => ("true or false", ""),
        "array" => ("a list", "Write each entry on a line of its own that begins with `- `. "),
        _ => ("a mapping", "Write its fields below it, indented by two spaces. "),
    };
    let found = match &place.node.value {
        NodeValue::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") => "nothing",
        NodeValue::Scalar { .. } => "",
        NodeValue::Sequence(_) => ", not a list",
        NodeValue::Mapping(_) => ", not a mapping",
    };
    let name = if place.name.is_empty() { "the submission" } else { &format!("`{}`", place.name) };
    let field = (!place.field.is_empty()).then_some(place.field.as_str());
    if found == "nothing" {
        findings.error(Code::MissingField, field, span, format!("{name} is empty; it must be {expected}"), format!("{remedy}{help}"));
    } else {
        findings.error(Code::WrongType, field, span, format!("{name} must be {expected}{found}"), format!("{remedy}{help}"));
    }
}

fn not_one_of(options: &Value, place: &Place<'_>, findings: &mut Findings) {
    let Some(text) = place.node.text() else { return };
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let current: Vec<&str> = options.iter().copied().filter(|option| !is_old(option)).collect();
    let list = current.join(", ");
    let help = match (place.name.as_str(), text.to_ascii_lowercase().as_str()) {
        ("format", "onnx" | "pytorch" | "bin" | "pickle" | "pt" | "ggml" | "mlx") => {
            format!("the engine loads {list}; convert the weights and name their new format")
        }
        _ => match closest(text, &current) {
            Some(near) => format!("did you mean `{near}`? Possible: {list}"),
            None => format!("possible: {list}"),
        },
    };
    let shown = shortened(text, 60);
    let what = if place.field.ends_with(']') { "a category".to_owned() } else { format!("a {}", place.name) };
    findings.error(Code::NotOneOf, Some(&place.field), place.node.span, format!("`{shown}` is not {what} that is known here"), help);
}

/// Values that stay accepted for older submissions and are not offered to anyone.
fn is_old(option: &str) -> bool {
    matches!(option, "transformers") || super::model::OLD_CATEGORIES.contains(&option)
}

fn bad_value(place: &Place<'_>, span: Span, findings: &mut Findings) {
    let text = place.node.text().unwrap_or_default();
    let expected = place.schema["x-expected"].as_str().unwrap_or_default();
    let mut help = format!("write {expected}");
    if text.contains(['“', '”', '„', '‘', '’', '«', '»']) {
        help = format!("use straight quotes (\"); {help}");
    } else if place.name == "hf_repo" && text.contains("://") {
        let path: Vec<&str> = text.split('/').skip(3).take(2).collect();
        help = format!("write only owner/name: {}", shortened(&path.join("/"), 100));
    } else if place.name == "submitted_by" && text.starts_with('@') {
        help = format!("leave out the @: {}", shortened(&text[1..], 60));
    }
    if text.trim().is_empty() {
        findings.error(
            Code::MissingField,
            Some(&place.field),
            place.key_span,
            format!("`{}` is empty", place.name),
            help_for(place.schema),
        );
    } else {
        let message = format!("`{}` does not have the right form", place.name);
        findings.error(Code::BadValue, Some(&place.field), span, message, help);
    }
}
