//! Reading columns of a row, with an error that names the column.

use super::Document;
use serde_json::{Map, Value};

/// What is wrong with a row, in words; the caller adds task, split and row number.
pub(crate) type FieldResult<T> = Result<T, String>;

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a structure",
    }
}

fn column<'a>(document: &'a Map<String, Value>, name: &str) -> FieldResult<&'a Value> {
    document.get(name).ok_or_else(|| {
        let columns: Vec<&str> = document.keys().map(String::as_str).collect();
        format!("column `{name}` is missing (the row has {})", columns.join(", "))
    })
}

/// A text column.
pub(crate) fn text<'a>(document: &'a Map<String, Value>, name: &str) -> FieldResult<&'a str> {
    let value = column(document, name)?;
    value.as_str().ok_or_else(|| format!("column `{name}` is {}, not text", kind(value)))
}

/// A non-negative integer column.
pub(crate) fn index(document: &Document, name: &str) -> FieldResult<usize> {
    let value = column(document, name)?;
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("column `{name}` is {value}, not a non-negative integer (an unlabelled split?)"))
}

/// A column of numbers.
pub(crate) fn number(document: &Document, name: &str) -> FieldResult<f64> {
    let value = column(document, name)?;
    value.as_f64().ok_or_else(|| format!("column `{name}` is {}, not a number", kind(value)))
}

/// A column that is a list of texts.
pub(crate) fn texts(document: &Map<String, Value>, name: &str) -> FieldResult<Vec<String>> {
    let value = column(document, name)?;
    let list = value.as_array().ok_or_else(|| format!("column `{name}` is {}, not a list", kind(value)))?;
    list.iter()
        .map(|entry| entry.as_str().map(str::to_owned).ok_or_else(|| format!("column `{name}` holds {}, not only texts", kind(entry))))
        .collect()
}

/// A column that is a structure of its own.
pub(crate) fn structure<'a>(document: &'a Document, name: &str) -> FieldResult<&'a Map<String, Value>> {
    let value = column(document, name)?;
    value.as_object().ok_or_else(|| format!("column `{name}` is {}, not a structure", kind(value)))
}
