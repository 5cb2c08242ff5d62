//! Log-likelihoods and generated tokens of every golden request, computed by our engine.

use crate::data::{MODELS, NATIVE_MODELS, documents, golden, ids, snapshot, task_files};
use serde_json::Value;
use slm_benchmark::engine::{
    Choice, DType, Decoding, Device, Finish, GenerationRequest, LanguageModel, Loglikelihood, LoglikelihoodRequest, ModelSource, Options,
    Usage, load,
};

/// Largest allowed difference of a log-likelihood, in nats.
const PER_REQUEST: f64 = 1e-3;
/// Largest allowed difference per token of a rolling log-likelihood, in nats.
const PER_ROLLING_TOKEN: f64 = 1e-6;
/// Below this gap between the two highest logits another kernel may pick the other token.
const CLOSE_CALL: f64 = 1e-4;

/// The engines of this build, with the models that each loads.
fn engines() -> Vec<(Choice, Vec<(&'static str, &'static str)>)> {
    let mut engines = vec![(Choice::Native, [MODELS.as_slice(), NATIVE_MODELS.as_slice()].concat())];
    if cfg!(feature = "engine") {
        engines.push((Choice::MistralRs, MODELS.to_vec()));
    }
    engines
}

fn model(repo: &str, engine: Choice) -> Box<dyn LanguageModel> {
    let dir = snapshot(repo);
    load(&ModelSource::folder(&dir), &Options { device: Device::Cpu, dtype: DType::F32, engine })
        .unwrap_or_else(|error| panic!("{repo}: {error}"))
}

#[derive(Default)]
struct Tally {
    documents: usize,
    requests: usize,
    largest: f64,
    largest_rolling: f64,
    flips: usize,
    close_calls: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.requests += other.requests;
        self.largest = self.largest.max(other.largest);
        self.largest_rolling = self.largest_rolling.max(other.largest_rolling);
        self.flips += other.flips;
        self.close_calls += other.close_calls;
    }
}

fn print(name: &str, tally: &Tally, usage: &Usage) {
    println!(
        "{name:<42} {:>4} documents {:>5} requests  largest Δ {:.1e} (rolling, per token {:.1e})  flips {}  close calls {}  tokens {}/{} = {:.3}  {:.2} s",
        tally.documents,
        tally.requests,
        tally.largest,
        tally.largest_rolling,
        tally.flips,
        tally.close_calls,
        usage.tokens_computed,
        usage.tokens_nominal,
        usage.tokens_computed as f64 / usage.tokens_nominal as f64,
        usage.seconds
    );
}

fn requests_of(document: &Value) -> impl Iterator<Item = (&Value, &Value, &Value)> {
    let list = |name: &str| document[name].as_array().unwrap_or_else(|| panic!("`{name}` is no list"));
    list("arguments").iter().zip(list("requests")).zip(list("resps")).map(|((argument, request), answer)| (argument, request, answer))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("a count, not {value}"))).expect("small")
}

fn loglikelihoods(model: &mut dyn LanguageModel, documents: &[Value]) -> (Tally, Usage) {
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for (argument, _, answer) in documents.iter().flat_map(requests_of) {
        requests.push(LoglikelihoodRequest { context: text(&argument[0]), continuation: text(&argument[1]) });
        expected.push((number(&answer[0][0]), answer[0][1].as_bool().expect("is_greedy")));
    }
    let mut answers: Vec<Option<Loglikelihood>> = vec![None; requests.len()];
    let usage = model
        .loglikelihood(&requests, &[], &mut |index, answer| {
            assert!(answers[index].replace(answer).is_none(), "request {index} is answered twice");
            Ok(())
        })
        .expect("scores");
    let mut tally = Tally { documents: documents.len(), requests: requests.len(), ..Tally::default() };
    let mut from = 0;
    let mut lists = Vec::new();
    for document in documents {
        let until = from + document["requests"].as_array().expect("requests").len();
        lists.push(from..until);
        from = until;
    }
    for (index, (value, is_greedy)) in expected.iter().enumerate() {
        let answer = answers[index].unwrap_or_else(|| panic!("request {index} has no answer"));
        let difference = (answer.value - value).abs();
        assert!(
            difference <= PER_REQUEST,
            "request {index} {:?}: ours {}, the harness' {value}",
            requests[index].continuation,
            answer.value
        );
        tally.largest = tally.largest.max(difference);
        tally.flips += usize::from(answer.is_greedy != *is_greedy);
    }
    // The choice with the highest log-likelihood, lowest index first.
    let best = |values: &mut dyn Iterator<Item = f64>| {
        values.enumerate().fold((0, f64::NEG_INFINITY), |best, (index, value)| if value > best.1 { (index, value) } else { best }).0
    };
    for range in lists {
        let ours = best(&mut range.clone().map(|index| answers[index].expect("answered").value));
        let theirs = best(&mut range.map(|index| expected[index].0));
        tally.flips += usize::from(ours != theirs);
    }
    assert_eq!(tally.flips, 0, "argmax or is_greedy differs");
    (tally, usage)
}

fn rolling(model: &mut dyn LanguageModel, documents: &[Value]) -> (Tally, Usage) {
    let texts: Vec<String> = documents.iter().map(|document| text(&document["arguments"][0][0])).collect();
    let mut tally = Tally { documents: documents.len(), requests: texts.len(), ..Tally::default() };
    let mut answered = 0;
    let usage = model
        .loglikelihood_rolling(&texts, &[], &mut |index, answer| {
            let request = &documents[index]["requests"][0];
            let tokens: usize = request["windows"].as_array().expect("windows").iter().map(|window| ids(&window["cont_ids"]).len()).sum();
            assert_eq!(answer.tokens, tokens);
            let difference = (answer.value - number(&documents[index]["resps"][0][0])).abs() / tokens as f64;
            assert!(difference <= PER_ROLLING_TOKEN, "text {index}: {difference:e} nats per token");
            tally.largest_rolling = tally.largest_rolling.max(difference);
            answered += 1;
            Ok(())
        })
        .expect("scores");
    assert_eq!(answered, texts.len());
    (tally, usage)
}

fn generations(model: &mut dyn LanguageModel, documents: &[Value], place: &str) -> (Tally, Usage) {
    let requests: Vec<GenerationRequest> = documents
        .iter()
        .map(|document| {
            let arguments = &document["arguments"][0];
            let until = &arguments[1]["until"];
            let until = until.as_array().map_or_else(|| vec![text(until)], |list| list.iter().map(text).collect());
            let max_new_tokens = count(&document["requests"][0]["max_new_tokens"]);
            GenerationRequest { context: text(&arguments[0]), until, max_new_tokens, decoding: Decoding::Greedy }
        })
        .collect();
    let mut tally = Tally { documents: documents.len(), requests: requests.len(), ..Tally::default() };
    let mut answered = 0;
    let usage = model
        .generate_until(&requests, &[], &mut |index, answer| {
            answered += 1;
            let request = &documents[index]["requests"][0];
            let gap = request["min_top2_gap"].as_f64().unwrap_or(f64::INFINITY);
            if answer.token_ids != ids(&request["gen_ids"]) && gap < CLOSE_CALL {
                println!("{place} doc {}: the tokens differ at a close call (gap {gap})", documents[index]["doc_id"]);
                tally.close_calls += 1;
                return Ok(());
            }
            assert_eq!(answer.token_ids, ids(&request["gen_ids"]), "{place} document {index}");
            assert_eq!(answer.text, text(&documents[index]["resps"][0][0]), "{place} document {index}");
            let finish = match answer.finish {
                Finish::EndOfSequence => "eos",
                Finish::StopString => "stop_string",
                Finish::Length => "max",
            };
            // Not every golden file says why a generation ended.
            if let Some(theirs) = request["finish"].as_str() {
                assert_eq!(finish, theirs, "{place} document {index}");
            }
            Ok(())
        })
        .expect("writes");
    assert_eq!(answered, requests.len());
    (tally, usage)
}

/// Every golden request of the models that our engine loads: the same log-likelihoods, arg maxes and generated tokens.
#[test]
fn scores_equal_the_harness() {
    for (engine, models) in engines() {
        scores_of(engine, &models);
    }
}

fn scores_of(engine: Choice, models: &[(&str, &str)]) {
    let mut total = Tally::default();
    let mut usage = Usage::default();
    for (name, repo) in models {
        let mut model = model(repo, engine);
        for (task, path) in task_files(name) {
            let documents = documents(&path);
            let place = format!("{name}/{task}");
            let first = &documents[0]["requests"][0];
            let (tally, used) = if first.get("windows").is_some() {
                rolling(&mut *model, &documents)
            } else if first.get("gen_ids").is_some() {
                generations(&mut *model, &documents, &place)
            } else {
                loglikelihoods(&mut *model, &documents)
            };
            print(&place, &tally, &used);
            total.add(&tally);
            usage.add(&used);
        }
    }
    print(&format!("{engine}, all"), &total, &usage);
}

/// The awkward pairs score as in the harness, too.
#[test]
fn awkward_pairs_score_as_in_the_harness() {
    for (engine, (name, repo)) in engines().into_iter().flat_map(|(engine, _)| [(engine, MODELS[0]), (engine, MODELS[2])]) {
        let mut model = model(repo, engine);
        let file = std::fs::read_to_string(golden().join(name).join("encode_pair_cases.json")).expect("readable");
        let cases: Value = serde_json::from_str(&file).expect("JSON");
        let cases: Vec<&Value> = cases["cases"].as_array().expect("cases").iter().filter(|case| case.get("error").is_none()).collect();
        let requests: Vec<LoglikelihoodRequest> = cases
            .iter()
            .map(|case| LoglikelihoodRequest { context: text(&case["context"]), continuation: text(&case["continuation"]) })
            .collect();
        let mut largest = 0f64;
        let mut answered = 0;
        model
            .loglikelihood(&requests, &[], &mut |index, answer| {
                answered += 1;
                largest = largest.max((answer.value - number(&cases[index]["loglikelihood"])).abs());
                assert_eq!(answer.is_greedy, cases[index]["is_greedy"].as_bool().expect("is_greedy"), "{}", cases[index]);
                Ok(())
            })
            .expect("scores");
        assert_eq!(answered, cases.len());
        assert!(largest <= PER_REQUEST, "{name}: {largest:e}");
        println!("{name}: {} awkward pairs, largest Δ {largest:.1e}", cases.len());
    }
}

/// A resumed run gives the same bits: answered requests are left out, the others are computed as without them.
#[test]
fn a_resumed_run_gives_the_same_bits() {
    for (engine, _) in engines() {
        resumed_scores(&mut *model(MODELS[0].1, engine));
    }
}

fn resumed_scores(model: &mut dyn LanguageModel) {
    for task in ["arc_challenge-5shot", "truthfulqa_mc2-0shot"] {
        let documents = documents(&golden().join("demo").join(format!("{task}.jsonl")));
        let requests: Vec<LoglikelihoodRequest> = documents
            .iter()
            .flat_map(requests_of)
            .map(|(argument, _, _)| LoglikelihoodRequest { context: text(&argument[0]), continuation: text(&argument[1]) })
            .collect();
        let mut whole = vec![None; requests.len()];
        model
            .loglikelihood(&requests, &[], &mut |index, answer| {
                whole[index] = Some(answer);
                Ok(())
            })
            .expect("scores");
        let answered: Vec<bool> = (0..requests.len()).map(|index| index * 7 % 10 < 6).collect();
        let mut count = 0;
        model
            .loglikelihood(&requests, &answered, &mut |index, answer| {
                assert!(!answered[index]);
                assert_eq!(Some(answer), whole[index], "request {index}");
                count += 1;
                Ok(())
            })
            .expect("scores");
        assert_eq!(count, answered.iter().filter(|answered| !**answered).count());
        for index in (0..requests.len()).step_by(9) {
            let (alone, _) = model.loglikelihood_alone(&requests[index]).expect("scores");
            let shared = whole[index].expect("answered");
            assert!((alone.value - shared.value).abs() <= PER_REQUEST && alone.is_greedy == shared.is_greedy, "request {index}");
        }
    }
}

/// Generations share the beginnings of their prompts, equal prompts are written once, and a resumed run writes the same tokens.
#[test]
fn shared_prompts_write_the_same_tokens() {
    for (engine, _) in engines() {
        shared_prompts(&mut *model(MODELS[0].1, engine));
    }
}

fn shared_prompts(model: &mut dyn LanguageModel) {
    let documents = documents(&golden().join("demo/mbpp-3shot.jsonl"));
    let mut requests: Vec<GenerationRequest> = documents
        .iter()
        .map(|document| GenerationRequest {
            context: text(&document["arguments"][0][0]),
            until: vec!["[DONE]".to_owned()],
            max_new_tokens: 24,
            decoding: Decoding::Greedy,
        })
        .collect();
    // The same again, a shorter wish for the same prompt, and a prompt with which another begins.
    requests.push(requests[0].clone());
    requests.push(GenerationRequest { max_new_tokens: 5, ..requests[1].clone() });
    let context = requests[2].context.clone();
    let half: String = context.chars().take(context.chars().count() / 2).collect();
    requests.push(GenerationRequest { context: half, ..requests[2].clone() });
    let mut whole = vec![None; requests.len()];
    let usage = model
        .generate_until(&requests, &[], &mut |index, answer| {
            whole[index] = Some(answer);
            Ok(())
        })
        .expect("writes");
    assert!(usage.tokens_computed * 2 < usage.tokens_nominal, "the shared examples are computed once: {usage:?}");
    for (index, request) in requests.iter().enumerate() {
        let (alone, _) = model.generate_alone(request).expect("writes");
        assert_eq!(whole[index].as_ref().map(|answer| &answer.token_ids), Some(&alone.token_ids), "request {index}");
    }
    let answered: Vec<bool> = (0..requests.len()).map(|index| index % 3 != 1).collect();
    model
        .generate_until(&requests, &answered, &mut |index, answer| {
            assert!(!answered[index]);
            assert_eq!(Some(answer), whole[index], "request {index}");
            Ok(())
        })
        .expect("writes");
}
