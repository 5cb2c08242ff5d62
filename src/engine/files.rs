//! The files of a model folder.

use super::EngineError;
use serde_json::{Map, Value};
use std::path::Path;

/// The safetensors files of a model: those that the index names, else `model.safetensors`, else all.
pub(super) fn weight_files(dir: &Path) -> Result<Vec<String>, EngineError> {
    let index_path = dir.join("model.safetensors.index.json");
    if index_path.is_file() {
        let index = read_object(&index_path)?;
        let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| at(&index_path, &"`weight_map` is missing"))?;
        let mut names: Vec<String> = map.values().filter_map(Value::as_str).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        for name in &names {
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) || !dir.join(name).is_file() {
                return Err(at(&index_path, &format!("the weight file `{name}` is not in the folder")));
            }
        }
        return Ok(names);
    }
    if dir.join("model.safetensors").is_file() {
        return Ok(vec!["model.safetensors".to_owned()]);
    }
    let entries = std::fs::read_dir(dir).map_err(|error| at(dir, &error))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Err(at(dir, &"no safetensors weights"));
    }
    Ok(names)
}

/// A JSON file that holds an object.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, EngineError> {
    let text = std::fs::read_to_string(path).map_err(|error| at(path, &error))?;
    serde_json::from_str(&text).map_err(|error| at(path, &error))
}

/// An error that names the file.
pub(super) fn at(path: &Path, problem: &dyn std::fmt::Display) -> EngineError {
    EngineError::Load(format!("{}: {problem}", path.display()))
}
