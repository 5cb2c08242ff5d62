//! Where the reference data are, and how a golden file is read. What is missing fails the test that needs it.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The golden folders that our engine can answer, with the hub repository of each model.
pub(crate) const MODELS: [(&str, &str); 3] =
    [("demo", "slm-benchmark/demo-1m"), ("demo-chat", "slm-benchmark/demo-1m-chat"), ("tiny-qwen2-bos", "slm-benchmark/tiny-qwen2-bos")];

/// The golden folders of architectures that only the native engine loads (or loads as well as mistral.rs does).
#[cfg(feature = "native")]
pub(crate) const NATIVE_MODELS: [(&str, &str); 8] = [
    ("tiny-gptneox", "slm-benchmark/tiny-gptneox"),
    ("tiny-gpt2", "slm-benchmark/tiny-gpt2"),
    ("tiny-gptneo", "slm-benchmark/tiny-gptneo"),
    ("tiny-opt", "slm-benchmark/tiny-opt"),
    ("tiny-olmo2", "slm-benchmark/tiny-olmo2"),
    ("tiny-stablelm", "slm-benchmark/tiny-stablelm"),
    ("tiny-phi", "slm-benchmark/tiny-phi"),
    ("tiny-llama3-rope", "slm-benchmark/tiny-llama3-rope"),
];

fn place(variable: &str, default: &str) -> PathBuf {
    let path =
        std::env::var_os(variable).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(default), PathBuf::from);
    assert!(path.is_dir(), "{} is not there; set {variable} to the folder `{default}` of the reference data", path.display());
    path
}

/// The folder of golden outputs.
pub(crate) fn golden() -> PathBuf {
    place("SLM_BENCH_GOLDEN", "golden")
}

/// The offline hub.
pub(crate) fn hub() -> PathBuf {
    place("HF_HUB_CACHE", "hub")
}

/// The newest snapshot of a model in the offline hub.
pub(crate) fn snapshot(repo: &str) -> PathBuf {
    let folder = hub().join(format!("models--{}", repo.replace('/', "--")));
    let revision = std::fs::read_to_string(folder.join("refs/main")).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder.join("snapshots").join(revision.trim())
}

/// The golden files of a model, by task name (`mmlu-5shot`).
pub(crate) fn task_files(model: &str) -> Vec<(String, PathBuf)> {
    let folder = golden().join(model);
    let mut files: Vec<(String, PathBuf)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| (path.file_stem().expect("named").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no golden files", folder.display());
    files
}

/// The lines of a golden file.
pub(crate) fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

/// An array of token ids.
pub(crate) fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().unwrap_or_else(|| panic!("a list of ids, not {value}"));
    list.iter().map(|id| u32::try_from(id.as_u64().expect("an id")).expect("32 bits")).collect()
}
