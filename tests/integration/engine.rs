//! The engine on the demo model: what it refuses, what it shares, what a resumed call gives.

use serde_json::{Value, json};
use slm_benchmark::engine::{
    Choice, Decoding, Device, EngineError, Finish, GenerationRequest, LanguageModel, LoglikelihoodRequest, ModelSource, Options,
    WeightForm, load,
};
use std::path::{Path, PathBuf};

#[path = "../../benches/make_gguf.rs"]
pub(crate) mod make_gguf;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo")
}

fn load_from(dir: &Path) -> Result<Box<dyn LanguageModel>, EngineError> {
    load(&ModelSource::folder(dir), &Options { device: Device::Cpu, engine: Choice::MistralRs, ..Options::default() })
}

/// A copy of the demo model, to be spoilt.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(demo().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn refusal(dir: &Path) -> String {
    match load_from(dir) {
        Err(EngineError::Load(message)) => message,
        Err(other) => panic!("not a load error: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

fn request(context: &str, continuation: &str) -> LoglikelihoodRequest {
    LoglikelihoodRequest { context: context.to_owned(), continuation: continuation.to_owned() }
}

/// Twelve questions of two answers each behind one preamble.
fn questions() -> Vec<LoglikelihoodRequest> {
    let preamble = "The capital of France is Paris. The sun is a star. Water boils when it is hot. ".repeat(4);
    (0..12)
        .flat_map(|number| {
            let context = format!("{preamble}Question {number}: is it so?\nAnswer:");
            [request(&context, " yes, it is so"), request(&context, " yes, it is not at all")]
        })
        .collect()
}

#[test]
fn a_model_that_cannot_be_loaded_names_the_file_and_the_remedy() {
    let folder = copy();
    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refusal(folder.path()).contains(&folder.path().display().to_string()));
    std::fs::remove_file(&weights).unwrap();
    assert!(refusal(folder.path()).contains("no safetensors weights"));

    let folder = copy();
    edit(&folder.path().join("config.json"), |config| config["architectures"] = json!(["MambaForCausalLM"]));
    let message = refusal(folder.path());
    assert!(message.contains("`MambaForCausalLM`") && message.contains("LlamaForCausalLM"), "{message}");

    let folder = copy();
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(refusal(folder.path()).contains("save_pretrained"));

    let folder = copy();
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(refusal(folder.path()).contains("config.json"));
}

/// Weights that are not numbers give an error that says so and names the request, for scores and for generated text.
#[test]
fn broken_weights_are_noticed() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    // bfloat16 NaN everywhere.
    bytes[8 + header..].chunks_exact_mut(2).for_each(|value| value.copy_from_slice(&0x7fc0u16.to_le_bytes()));
    std::fs::write(&path, bytes).unwrap();
    let mut model = load_from(folder.path()).unwrap();
    let error = model.loglikelihood(&[request("Hello", " world")], &[], &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(&error, EngineError::NotANumber(message) if message.contains("\" world\"")), "{error}");
    let prompt = GenerationRequest { context: "Hello".to_owned(), until: vec![], max_new_tokens: 4, decoding: Decoding::Greedy };
    let error = model.generate_until(&[prompt], &[], &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, EngineError::NotANumber(_)), "{error}");
}

#[test]
fn shared_tokens_are_computed_once_and_answers_are_those_of_requests_alone() {
    let mut model = load_from(&demo()).unwrap();
    let requests = questions();
    let mut answers = vec![None; requests.len()];
    let usage = model
        .loglikelihood(&requests, &[], &mut |index, answer| {
            answers[index] = Some(answer);
            Ok(())
        })
        .unwrap();
    assert!(usage.tokens_computed * 5 < usage.tokens_nominal, "{usage:?}");
    for (index, request) in requests.iter().enumerate() {
        let (alone, _) = model.loglikelihood_alone(request).unwrap();
        let shared = answers[index].unwrap();
        assert!((alone.value - shared.value).abs() < 1e-4 && alone.is_greedy == shared.is_greedy, "{request:?}: {shared:?} {alone:?}");
    }
    // A second call does not see what the first one left behind.
    let mut again = vec![None; requests.len()];
    model
        .loglikelihood(&requests, &[], &mut |index, answer| {
            again[index] = Some(answer);
            Ok(())
        })
        .unwrap();
    assert_eq!(answers, again);
}

#[test]
fn a_resumed_call_gives_the_same_bits() {
    let mut model = load_from(&demo()).unwrap();
    let requests = questions();
    let mut whole = vec![None; requests.len()];
    model
        .loglikelihood(&requests, &[], &mut |index, answer| {
            whole[index] = Some(answer);
            Ok(())
        })
        .unwrap();
    for kept in 0..5 {
        let answered: Vec<bool> = (0..requests.len()).map(|index| index % 5 != kept).collect();
        let mut count = 0;
        let mut fresh = load_from(&demo()).unwrap();
        fresh
            .loglikelihood(&requests, &answered, &mut |index, answer| {
                assert_eq!(Some(answer), whole[index], "request {index}");
                count += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(count, answered.iter().filter(|answered| !**answered).count());
    }
}

/// The receiver of the answers can stop the work; what it got stays valid, and the model stays usable.
#[test]
fn a_full_sink_stops_the_work() {
    let mut model = load_from(&demo()).unwrap();
    let requests = questions();
    let mut received = 0;
    let error = model
        .loglikelihood(&requests, &[], &mut |_, _| {
            received += 1;
            if received == 3 { Err(anyhow::anyhow!("the disk is full")) } else { Ok(()) }
        })
        .unwrap_err();
    assert!(matches!(error, EngineError::Stopped(_)), "{error}");
    assert_eq!(received, 3);
    assert!(model.loglikelihood_alone(&requests[0]).is_ok());
}

#[test]
fn a_request_that_cannot_be_answered_is_named() {
    let mut model = load_from(&demo()).unwrap();
    let error = model.loglikelihood(&[request("a", " b"), request("a", "")], &[], &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(&error, EngineError::Request(message) if message.starts_with("request 1:")), "{error}");
    let long = GenerationRequest { context: "a".to_owned(), until: vec![], max_new_tokens: model.max_length(), decoding: Decoding::Greedy };
    assert!(matches!(model.generate_alone(&long), Err(EngineError::Request(_))));
    assert!(matches!(model.render_chat(&[], true), Err(EngineError::Request(_))), "the demo model has no chat template");
}

/// Text keeps its leading white space and ends before the stop string; a long text is cut to the window and scored to its last token.
#[test]
fn text_is_written_and_read_to_the_window() {
    let mut model = load_from(&demo()).unwrap();
    let write = |until: &[&str], max_new_tokens| GenerationRequest {
        context: "Question: what is the sun?\nAnswer:".to_owned(),
        until: until.iter().map(|text| (*text).to_owned()).collect(),
        max_new_tokens,
        decoding: Decoding::Greedy,
    };
    let (free, _) = model.generate_alone(&write(&[], 6)).unwrap();
    assert!(free.text.starts_with(char::is_whitespace), "{:?}", free.text);
    assert_eq!((free.token_ids.len(), free.finish), (6, Finish::Length));
    let last = free.text.trim_end().chars().last().unwrap().to_string();
    let (stopped, _) = model.generate_alone(&write(&[&last], 6)).unwrap();
    assert_eq!(stopped.finish, Finish::StopString);
    assert_eq!(stopped.text, free.text[..free.text.find(&last).unwrap()]);
    let one = model.generate_alone(&write(&[], 1)).unwrap().0;
    assert_eq!(one.token_ids, free.token_ids[..1]);

    let text = "The sun is a star, and water is wet. ".repeat(400);
    let mut whole = Vec::new();
    model
        .loglikelihood_rolling(std::slice::from_ref(&text), &[], &mut |_, answer| {
            whole.push(answer);
            Ok(())
        })
        .unwrap();
    assert!(whole[0].tokens > model.max_length() && whole[0].value.is_finite());
    let (alone, _) = model.loglikelihood_rolling_alone(&text).unwrap();
    assert!((alone.value - whole[0].value).abs() / 1e-6 < alone.tokens as f64);
    let long = request(&text, " The end");
    let mut answers = Vec::new();
    let usage = model
        .loglikelihood(&[long], &[], &mut |_, answer| {
            answers.push(answer);
            Ok(())
        })
        .unwrap();
    assert!(answers[0].truncated && usage.truncated == 1);
    assert_eq!(usage.tokens_nominal, model.max_length() as u64);
}

#[test]
fn what_the_model_asks_for_in_vain_is_told() {
    let folder = copy();
    edit(&folder.path().join("generation_config.json"), |config| config["repetition_penalty"] = json!(1.1));
    let model = load_from(folder.path()).unwrap();
    assert_eq!(model.deviations(), ["generation_config.json asks for repetition_penalty 1.1; it is not applied"]);
    assert_eq!(model.description().dtype, "f32");
}

/// Weights of a GGUF file, or of a level of in-situ quantization, beside the demo model's configuration and tokenizer.
fn load_weights(weights: WeightForm<'_>) -> Result<Box<dyn LanguageModel>, EngineError> {
    load(&ModelSource { dir: &demo(), weights }, &Options { device: Device::Cpu, engine: Choice::MistralRs, ..Options::default() })
}

fn values(model: &mut dyn LanguageModel) -> Vec<f64> {
    let questions = questions();
    let mut values = vec![f64::NAN; questions.len()];
    model
        .loglikelihood(&questions, &[], &mut |index, answer| {
            values[index] = answer.value;
            Ok(())
        })
        .unwrap();
    values
}

fn largest_difference(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
}

/// A GGUF file of unquantized weights is the same model; one of eight bits is near it, and not it.
#[test]
fn gguf_files_are_evaluated_by_their_own_weights() {
    let folder = tempfile::tempdir().unwrap();
    let plain = values(load_from(&demo()).unwrap().as_mut());
    for (kind, least, most) in [("F32", 0.0, 1e-3), ("F16", 0.0, 0.05), ("Q8_0", 1e-4, 0.5)] {
        let file = folder.path().join(format!("demo-{kind}.gguf"));
        make_gguf::write_gguf(&demo(), &file, make_gguf::kind_of(kind).unwrap()).unwrap();
        let files = [file];
        let mut model = load_weights(WeightForm::Gguf(&files)).unwrap();
        let difference = largest_difference(&plain, &values(model.as_mut()));
        println!("GGUF {kind}: largest difference {difference:.2e} nats");
        assert!((least..=most).contains(&difference), "{kind}: {difference}");
        let long = request(&"Water boils when it is hot. ".repeat(700), " It does.");
        let (alone, usage) = model.loglikelihood_alone(&long).unwrap();
        assert!(alone.value.is_finite() && alone.truncated && usage.tokens_nominal == 2048, "a whole window");
        let prompt = GenerationRequest {
            context: "The capital of France is".to_owned(),
            until: Vec::new(),
            max_new_tokens: 8,
            decoding: Decoding::Greedy,
        };
        assert!(!model.generate_alone(&prompt).unwrap().0.token_ids.is_empty());
    }
}

/// In-situ quantization changes the weights as its level says; a level that fits no matrix is refused.
#[test]
fn levels_of_in_situ_quantization_are_evaluated() {
    let plain = values(load_from(&demo()).unwrap().as_mut());
    let mut eight = load_weights(WeightForm::Isq("Q8_0")).unwrap();
    let mut four = load_weights(WeightForm::Isq("Q4K")).unwrap();
    assert!(eight.weights_note().is_none());
    assert!(four.weights_note().is_some_and(|note| note.contains("Q4_1")), "256 weights to a block do not fit rows of 128");
    let (eight, four) = (largest_difference(&plain, &values(eight.as_mut())), largest_difference(&plain, &values(four.as_mut())));
    println!("ISQ Q8_0: largest difference {eight:.2e} nats; Q4K (as Q4_1): {four:.2e}");
    assert!(1e-4 < eight && eight < four, "{eight} {four}");
    assert!(load_weights(WeightForm::Isq("Q9_9")).is_err());
}

/// A GGUF file of another model is refused: its tokens are not the tokenizer's. So is a file that is none.
#[test]
fn a_foreign_gguf_file_is_refused() {
    let folder = copy();
    edit(&folder.path().join("tokenizer.json"), |tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let renamed = vocabulary.iter().map(|(token, id)| (format!("{token}x"), id.clone())).collect();
        *vocabulary = renamed;
    });
    let file = folder.path().join("foreign.gguf");
    make_gguf::write_gguf(folder.path(), &file, make_gguf::kind_of("F32").unwrap()).unwrap();
    let message = |file: &Path| match load_weights(WeightForm::Gguf(&[file.to_owned()])) {
        Err(EngineError::Load(message)) => message,
        _ => panic!("loaded"),
    };
    assert!(message(&file).contains("made from another model"));
    std::fs::write(&file, "GGUF\u{3}").unwrap();
    assert!(message(&file).contains("foreign.gguf"));
}

/// Speeds come from times that rise, and lengths beyond the window are refused.
#[test]
fn generations_are_timed() {
    let mut model = load_from(&demo()).unwrap();
    let timing = model.time_generation(64, 8).unwrap();
    assert!(0.0 < timing.first_token_s && timing.first_token_s < timing.last_token_s);
    assert!(model.time_generation(2047, 8).is_err() && model.time_generation(8, 1).is_err());
}
