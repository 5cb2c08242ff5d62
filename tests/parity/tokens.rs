//! Token ids of every golden request, without a model.

use crate::data::{MODELS, documents, golden, hub, ids, snapshot, task_files};
use serde_json::Value;
use slm_benchmark::benchmark::{BuildOptions, Location, Request, build, registry};
use slm_benchmark::engine::LoglikelihoodRequest;
use slm_benchmark::engine::plan::{Plan, Sharing};
use slm_benchmark::engine::tokenizer::{EncodedPair, ModelTokenizer, ScoredTokens, fit};
use slm_benchmark::hub::{Hub, HubConfig};

fn pair_of(argument: &Value) -> LoglikelihoodRequest {
    let text = |index: usize| argument[index].as_str().expect("text").to_owned();
    LoglikelihoodRequest { context: text(0), continuation: text(1) }
}

/// Context and continuation ids, prompts after truncation, and rolling windows are those of the harness.
#[test]
fn token_ids_equal_the_harness() {
    for (model, repo) in MODELS {
        let tokenizer = ModelTokenizer::load(&snapshot(repo)).expect("loads");
        let mut requests = 0;
        for (task, path) in task_files(model) {
            for document in documents(&path) {
                let arguments = document["arguments"].as_array().expect("arguments");
                for (argument, expected) in arguments.iter().zip(document["requests"].as_array().expect("requests")) {
                    requests += 1;
                    let place = format!("{model}/{task} doc {}", document["doc_id"]);
                    if let Some(windows) = expected.get("windows") {
                        let ours = tokenizer.rolling(argument[0].as_str().expect("text")).expect("encodes");
                        let theirs: Vec<EncodedPair> = windows
                            .as_array()
                            .expect("windows")
                            .iter()
                            .map(|window| EncodedPair { context: ids(&window["ctx_ids"]), continuation: ids(&window["cont_ids"]) })
                            .collect();
                        assert_eq!(ours, theirs, "{place}");
                    } else if expected.get("gen_ids").is_some() {
                        let most = usize::try_from(expected["max_new_tokens"].as_u64().expect("a number")).expect("small");
                        let ours = tokenizer.prompt(argument[0].as_str().expect("text"), most).expect("encodes");
                        assert_eq!(ours.tokens, ids(&expected["ctx_ids"]), "{place}");
                        let before = expected["ctx_len_before_truncation"].as_u64().expect("a number");
                        assert_eq!(ours.truncated, before > ours.tokens.len() as u64, "{place}");
                    } else {
                        let ours = tokenizer.encode_pair(&pair_of(argument)).expect("encodes");
                        assert_eq!(ours.context, ids(&expected["ctx_ids"]), "{place}");
                        assert_eq!(ours.continuation, ids(&expected["cont_ids"]), "{place}");
                        let (fed, _) = fit(ours, tokenizer.max_length());
                        assert_eq!(fed.input.len() as u64, expected["n_input_tokens"].as_u64().expect("a number"), "{place}");
                    }
                }
            }
        }
        println!("{model}: {requests} requests, all token ids equal");
    }
}

/// Awkward joins: trailing white space of all kinds, merges across the boundary, BOS text, empty contexts; errors where the harness has them.
#[test]
fn awkward_pairs_encode_as_in_the_harness() {
    for (model, repo) in [MODELS[0], MODELS[2]] {
        let tokenizer = ModelTokenizer::load(&snapshot(repo)).expect("loads");
        let text = std::fs::read_to_string(golden().join(model).join("encode_pair_cases.json")).expect("readable");
        let cases: Value = serde_json::from_str(&text).expect("JSON");
        let cases = cases["cases"].as_array().expect("cases");
        for case in cases {
            let request = LoglikelihoodRequest {
                context: case["context"].as_str().expect("text").to_owned(),
                continuation: case["continuation"].as_str().expect("text").to_owned(),
            };
            match (tokenizer.encode_pair(&request), case.get("error")) {
                (Ok(pair), None) => {
                    assert_eq!(pair.context, ids(&case["ctx_ids"]), "{model}: {request:?}");
                    assert_eq!(pair.continuation, ids(&case["cont_ids"]), "{model}: {request:?}");
                }
                (Err(_), Some(_)) => {}
                (ours, theirs) => panic!("{model}: {request:?}: ours {ours:?}, the harness' {theirs:?}"),
            }
        }
        println!("{model}: {} awkward pairs hold", cases.len());
    }
}

/// Tokens that a whole task feeds over tokens that one pass per request would feed (each choice is a request), and truncated requests.
fn share_of_tokens(hub: &Hub, tokenizer: &ModelTokenizer, task: &str, shots: usize) -> (f64, usize) {
    let task = registry::task(task).expect("known");
    let spec = task.spec();
    let Location::Hub { repo, config } = &spec.dataset.location else { panic!("a data set of the hub") };
    let rows = |split: &str| hub.dataset_split(repo, Some(config), split, None).expect("readable").rows;
    let pool = spec.dataset.fewshot_split.as_deref().filter(|_| shots > 0).map(rows).unwrap_or_default();
    let options = BuildOptions { num_fewshot: Some(shots), ..BuildOptions::default() };
    let built = build(task.as_ref(), rows(&spec.dataset.split), pool, &options).expect("builds");
    let requests = built.instances.iter().flat_map(|instance| &instance.requests).filter_map(|request| match request {
        Request::Loglikelihood(request) => Some(tokenizer.scored(request).expect("encodes")),
        _ => None,
    });
    let (scored, truncated): (Vec<ScoredTokens>, Vec<bool>) = requests.unzip();
    let plan = Plan::new(&scored, Sharing { least: 0, longest: tokenizer.max_length() });
    let nominal: usize = scored.iter().map(|request| request.input.len()).sum();
    // After each pass the engine computes one token more than it is asked for.
    let fed = plan.tokens() + plan.passes.len();
    (fed as f64 / nominal as f64, truncated.into_iter().filter(|&truncated| truncated).count())
}

/// Whole tasks feed no more than the stated share of the tokens that one pass per request would feed.
#[test]
fn whole_tasks_feed_few_tokens() {
    let hub = Hub::new(&HubConfig::offline(hub())).expect("a cache");
    let tokenizer = ModelTokenizer::load(&snapshot(MODELS[0].1)).expect("loads");
    let mut worst: (f64, String) = (0.0, String::new());
    for subject in registry::leaves("mmlu").expect("known") {
        let name = subject.spec().name.clone();
        let (share, truncated) = share_of_tokens(&hub, &tokenizer, &name, 5);
        println!("{name}: {share:.4} of the tokens, {truncated} truncated requests");
        if truncated == 0 {
            assert!(share <= 0.06, "{name}: {share}");
            if share > worst.0 {
                worst = (share, name);
            }
        }
    }
    println!("mmlu 5-shot, largest share without truncation: {:.4} ({})", worst.0, worst.1);
    for (task, shots, most) in [("truthfulqa_mc2", 0, 0.12), ("arc_challenge", 5, 0.32), ("hellaswag", 0, 0.55)] {
        let (share, truncated) = share_of_tokens(&hub, &tokenizer, task, shots);
        println!("{task} {shots}-shot: {share:.4} of the tokens (at most {most}), {truncated} truncated requests");
        assert!(share <= most, "{task}: {share}");
    }
}
