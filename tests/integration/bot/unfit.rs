//! A model that no engine can load, with the real child process.

use super::{Bench, submission};
use slm_benchmark::bot::store::{FailureKind, JobState};
use std::fs;

/// Weights that are no numbers fail for good at the first attempt, and the issue says why: another attempt would find the same weights.
#[test]
fn broken_weights_are_not_tried_again() {
    let mut bench = Bench::prepare("evaluate = \"at-once\"");
    let weights = walk(&bench.path("hub"), "model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    // Every value is the NaN of bf16 and of f32.
    bytes[8 + header..].fill(0xff);
    fs::write(&weights, bytes).unwrap();
    bench.run();
    let issue = bench.open(&submission());
    let job = bench.wait_for(issue, JobState::Failed);
    let error = job.error.unwrap();
    // What is tried again and given up in the end is transient.
    assert_eq!(error.kind, FailureKind::Permanent, "{}", error.message);
    assert!(error.message.contains("the quantization BF16"), "{}", error.message);
    let said = bench.read();
    assert!(said.contains(&error.message) && !said.contains(&bench.path("").display().to_string()), "{said}");
    assert!(bench.commits().is_empty());
    bench.finish();
}

/// The file of this name below a folder.
fn walk(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut below = vec![folder.to_owned()];
    while let Some(folder) = below.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below.push(path);
            } else if path.ends_with(name) {
                return path;
            }
        }
    }
    panic!("no {name}")
}
