//! What an operator's monitoring sees of a running bot.

use super::Bench;
use serde_json::Value;
use std::fs;

fn get(bench: &Bench, path: &str) -> (u16, String) {
    let answer = reqwest::blocking::get(format!("{}{path}", bench.address)).unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

/// A bot that works is ready, and its steps are counted; one that waits for GitHub says so, and ends in order all the same.
#[test]
fn readiness_is_the_workers() {
    let mut bench = Bench::start("");
    bench.wait("it is ready", |bench| get(bench, "/readyz").0 == 200);
    let issue = bench.open("```yaml\nmodel: {}\n```\n");
    bench.wait_for(issue, slm_benchmark::bot::store::JobState::Rejected);
    bench.read();
    let metrics = get(&bench, "/metrics").1;
    let done = metrics.lines().find_map(|line| line.strip_prefix("slm_bench_steps_total{result=\"done\"} ")).unwrap();
    assert!(done.parse::<u64>().unwrap() >= 3, "delivery, check, comment: {done}");
    assert!(metrics.contains("slm_bench_jobs_retrying 0"), "{metrics}");
    bench.stop();

    let config = fs::read_to_string(bench.path("slm-bench.toml")).unwrap();
    // Nobody listens on port 1.
    fs::write(bench.path("slm-bench.toml"), config.replace(&bench.github.api_url(), "http://127.0.0.1:1")).unwrap();
    bench.run();
    let (status, text) = get(&bench, "/readyz");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let problem = answer["problems"]["worker"].as_str().unwrap();
    assert!(status == 503 && (problem.contains("has not begun") || problem.contains("waits for GitHub")), "{status} {text}");
    assert_eq!(get(&bench, "/healthz").0, 200);
    bench.stop();
}
