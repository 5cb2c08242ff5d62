//! One command evaluates everything that a run measures.

use crate::data::hub;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const SUBMISSION: &str = "\
model:
  name: demo-1m
  family: demo
  hf_repo: slm-benchmark/demo-1m
  parameters: 1.26M
  architecture: llama
  license: apache-2.0
  submitted_by: someone
  quantizations:
    - name: BF16
      format: safetensors
";

#[track_caller]
fn slm_bench(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slm-bench"));
    command.current_dir(folder).args(arguments).env("HF_HUB_CACHE", hub()).env("HF_HUB_OFFLINE", "1").env_remove("HF_TOKEN");
    let done = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {text}");
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `run --limit 20` on the demonstration model gives every pillar and the long-context grids, its `run.json` follows the schema and from
/// its samples, and the leaderboard gives it a place among runs of the same questions and no rank.
#[test]
fn five_pillars_in_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("submissions")).unwrap();
    std::fs::write(folder.join("submissions/slm-benchmark--demo-1m.yml"), SUBMISSION).unwrap();
    let submission = ["--submission-file", "submissions/slm-benchmark--demo-1m.yml"];
    slm_bench(folder, &[&["run", "--output-dir", "results/raw", "--limit", "20", "--device", "cpu"], &submission[..]].concat());
    let model = folder.join("results/raw/slm-benchmark--demo-1m");
    let run = std::fs::read_dir(&model).unwrap().next().unwrap().unwrap().path();
    let run = json(&run.join("run.json"));

    let schema: Value = serde_json::from_str(include_str!("../../schemas/run.schema.json")).unwrap();
    let errors: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&run).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
    for pillar in ["reasoning", "coding", "math", "language", "safety"] {
        assert!(run["pillars"][pillar]["score"].is_f64(), "{pillar}: {}", run["pillars"][pillar]);
    }
    assert_eq!(run["aggregate"]["coverage"], 1.0);
    let tasks = run["tasks"].as_object().unwrap();
    assert!(tasks.values().all(|task| task["status"] == "ok" && task["measures"].is_string() && task["higher_is_better"].is_object()));
    for kind in ["needle", "document", "two_documents"] {
        let rows = run["informational"]["long_context"]["grids"][kind]["lengths"].as_array().unwrap();
        assert!(rows[0]["n"].as_u64() > Some(0) && rows[0]["cells"].as_array().unwrap().len() == 5, "{kind}: {}", rows[0]);
        assert!(rows[5]["reason"].as_str().unwrap().contains("window"), "{kind}: {}", rows[5]);
    }
    for name in ["needle_in_a_haystack", "multi_document_qa"] {
        let (nominal, computed) = (tasks[name]["tokens_nominal"].as_u64().unwrap(), tasks[name]["tokens_computed"].as_u64().unwrap());
        assert!(computed * 3 < nominal, "{name}: {computed} of {nominal} tokens are computed, although questions share their text");
        println!("{name}: {computed} of {nominal} tokens computed");
    }

    slm_bench(folder, &["verify", "--results", "results/raw"]);
    let registry = ["--registry", "registry.json"];
    slm_bench(
        folder,
        &[&["registry", "update", "--submission", submission[1], "--results", "results/raw/slm-benchmark--demo-1m"], &registry[..]]
            .concat(),
    );
    slm_bench(folder, &[&["website", "update", "--output", "leaderboard.json"], &registry[..]].concat());
    let board = json(&folder.join("leaderboard.json"));
    let row = &board["models"][0];
    assert_eq!((&row["status"], &row["rank"], &row["place"]), (&"preliminary".into(), &Value::Null, &1.into()));
    assert_eq!(row["long_context"], run["informational"]["long_context"]);
    assert_eq!(row["pillars"]["safety"]["tasks"]["bbq"]["measures"], run["tasks"]["bbq"]["measures"]);
}
