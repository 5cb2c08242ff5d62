//! The native engine against mistral.rs: every family that both load, on random models, and what mistral.rs does not compute.

use super::random_models;
use mistralrs::core::NormalLoaderType;
use serde_json::{Value, json};
use slm_benchmark::engine::{Choice, Device, LanguageModel, LoglikelihoodRequest, ModelSource, Options, load};
use std::path::Path;

/// Largest difference of a log-likelihood per token, in nats: both engines compute in f32, in another order.
const TOLERANCE: f64 = 5e-5;

/// What mistral.rs makes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The log-likelihoods are the native engine's.
    Agrees,
    /// It computes something else than the published definition, to which the native engine was compared.
    Differs,
    /// It loads the model and then fails its requests.
    Fails,
    /// Its loader does not know the class, or the class in this configuration.
    Refuses,
}

use Verdict::{Agrees, Differs, Fails, Refuses};

/// A model: class, name of the variant, fields, what mistral.rs 0.8.1 makes of it.
type Case = (&'static str, &'static str, Value, Verdict);

fn cases() -> Vec<Case> {
    let llama3 = json!({
        "type": "llama3", "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32
    });
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    let window = |window: u64| json!({"num_key_value_heads": 2, "sliding_window": window, "original_max_position_embeddings": 256});
    let mistral = |window: u64| json!({"num_key_value_heads": 1, "head_dim": 32, "sliding_window": window});
    let qwen2 = |is_tied: bool| json!({"num_key_value_heads": 2, "sliding_window": 12, "use_sliding_window": false, "tie_word_embeddings": is_tied});
    let qwen3 = |groups: u64, width: u64, is_tied: bool| {
        json!({
            "num_key_value_heads": groups, "head_dim": width, "max_window_layers": 3, "use_sliding_window": false, "sliding_window": null,
            "tie_word_embeddings": is_tied
        })
    };
    let smollm3 = |rotated: [u64; 3], is_tied: bool| json!({"num_key_value_heads": 2, "no_rope_layers": rotated, "no_rope_layer_interval": 2, "tie_word_embeddings": is_tied});
    let gemma = |groups: u64, bias: bool| {
        json!({
            "num_key_value_heads": groups, "head_dim": 32, "rms_norm_eps": 1e-6, "hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh",
            "attention_bias": bias
        })
    };
    let gemma2 = |window: u64, cap: Value| {
        json!({
            "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh", "attention_bias": false, "sliding_window": window, "attn_logit_softcapping": cap,
            "final_logit_softcapping": cap, "query_pre_attn_scalar": 24
        })
    };
    let phi = json!({
        "num_key_value_heads": 4, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.5, "qk_layernorm": false
    });
    let gemma3 = json!({"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 12, "query_pre_attn_scalar": 24});
    let granite = json!({
        "num_key_value_heads": 2, "embedding_multiplier": 3.0, "logits_scaling": 2.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3
    });
    let stablelm = json!({
        "num_key_value_heads": 2, "use_qkv_bias": true, "qk_layernorm": true, "use_parallel_residual": true, "partial_rotary_factor": 0.5
    });
    vec![
        ("LlamaForCausalLM", "grouped heads", json!({"num_key_value_heads": 2}), Agrees),
        ("LlamaForCausalLM", "one key-value head, tied", json!({"num_key_value_heads": 1, "tie_word_embeddings": true}), Agrees),
        ("LlamaForCausalLM", "llama3 rope, all heads", json!({"num_key_value_heads": 4, "rope_scaling": llama3}), Agrees),
        ("LlamaForCausalLM", "yarn rope", json!({"num_key_value_heads": 2, "rope_scaling": yarn}), Refuses),
        ("LlamaForCausalLM", "biases", json!({"num_key_value_heads": 2, "attention_bias": true, "mlp_bias": true}), Differs),
        ("MistralForCausalLM", "no window", json!({"num_key_value_heads": 2, "sliding_window": null}), Agrees),
        ("MistralForCausalLM", "within the window, wide heads", mistral(200), Agrees),
        ("MistralForCausalLM", "beyond the window", mistral(12), Differs),
        ("Qwen2ForCausalLM", "grouped heads, tied", qwen2(true), Agrees),
        ("Qwen2ForCausalLM", "untied, a window not in use", qwen2(false), Agrees),
        ("Qwen3ForCausalLM", "wide heads", qwen3(2, 32, false), Agrees),
        ("Qwen3ForCausalLM", "tied, one key-value head", qwen3(1, 16, true), Agrees),
        ("SmolLM3ForCausalLM", "second layer not rotated, tied", smollm3([1, 0, 1], true), Agrees),
        ("SmolLM3ForCausalLM", "first layer not rotated, untied", smollm3([0, 1, 1], false), Agrees),
        ("Phi3ForCausalLM", "within the window", window(200), Agrees),
        ("Phi3ForCausalLM", "beyond the window", window(12), Differs),
        ("GemmaForCausalLM", "one key-value head", gemma(1, false), Agrees),
        ("GemmaForCausalLM", "all heads, biases", gemma(4, true), Agrees),
        ("Gemma2ForCausalLM", "caps, within the window", gemma2(200, json!(5.0)), Agrees),
        ("Gemma2ForCausalLM", "no caps, within the window", gemma2(200, Value::Null), Agrees),
        ("Gemma2ForCausalLM", "caps, beyond the window", gemma2(12, json!(5.0)), Differs),
        ("PhiForCausalLM", "half rotated", phi, Fails),
        ("Gemma3ForCausalLM", "short window", gemma3, Refuses),
        ("GraniteForCausalLM", "multipliers", granite, Refuses),
        ("Olmo2ForCausalLM", "grouped heads", json!({"num_key_value_heads": 2}), Refuses),
        ("StableLmForCausalLM", "parallel, head norms", stablelm, Refuses),
        ("GPTNeoXForCausalLM", "parallel", json!({"rotary_pct": 0.25}), Refuses),
        ("GPT2LMHeadModel", "tied", json!({}), Refuses),
        ("GPTNeoForCausalLM", "short window", json!({}), Refuses),
        ("OPTForCausalLM", "projected", json!({"word_embed_proj_dim": 32}), Refuses),
    ]
}

/// Texts longer than the short windows, some of which share their beginnings.
fn requests() -> Vec<LoglikelihoodRequest> {
    let preamble = "The capital of France is Paris. Water boils when it is hot, and the sun is a star. ".repeat(2);
    let pairs = [
        ("", "The sun"),
        ("Question: what is the sun?\nAnswer:", " It is a star."),
        (preamble.as_str(), "Is it so? Yes, it is so."),
        (preamble.as_str(), "Is it so? No."),
        ("Once upon a time", " there was a girl who lived by the sea, and she had a boat."),
    ];
    pairs
        .into_iter()
        .map(|(context, continuation)| LoglikelihoodRequest { context: context.to_owned(), continuation: continuation.to_owned() })
        .collect()
}

fn open(dir: &Path, engine: Choice) -> Result<Box<dyn LanguageModel>, String> {
    let options = Options { device: Device::Cpu, engine, ..Options::default() };
    load(&ModelSource::folder(dir), &options).map_err(|error| error.to_string())
}

/// Log-likelihood of each request.
fn scores(model: &mut dyn LanguageModel) -> Result<Vec<f64>, String> {
    let requests = requests();
    let mut values = vec![f64::NAN; requests.len()];
    let answered = model.loglikelihood(&requests, &[], &mut |index, answer| {
        values[index] = answer.value;
        Ok(())
    });
    answered.map(|_| values).map_err(|error| error.to_string())
}

/// What mistral.rs makes of a model: the largest difference from the native engine per token, or the error.
fn compare(dir: &Path) -> (Verdict, String) {
    let mut native = open(dir, Choice::Native).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let ours = scores(native.as_mut()).expect("scores");
    assert!(ours.iter().all(|value| value.is_finite() && *value < -0.1), "{ours:?}");
    let mut other = match open(dir, Choice::MistralRs) {
        Ok(other) => other,
        Err(problem) => return (Refuses, problem.lines().next().unwrap_or_default().chars().take(90).collect()),
    };
    match scores(other.as_mut()) {
        Err(problem) => (Fails, problem.lines().next().unwrap_or_default().chars().take(90).collect()),
        Ok(theirs) => {
            let tokens = |request: &LoglikelihoodRequest| native.prompt_tokens(&request.continuation).expect("tokens").max(1) as f64;
            let difference = ours
                .iter()
                .zip(&theirs)
                .zip(&requests())
                .map(|((left, right), request)| (left - right).abs() / tokens(request))
                .fold(0.0, f64::max);
            (if difference <= TOLERANCE { Agrees } else { Differs }, format!("{difference:.1e} nats per token"))
        }
    }
}

/// Both engines give the same log-likelihoods for every family that both compute, in shapes that exercise what the family has; and where
/// mistral.rs refuses, fails or computes something else, that is noticed as soon as it changes.
#[test]
fn the_native_engine_agrees_with_mistralrs_on_random_models() {
    let mut surprises = Vec::new();
    println!("{:<22} {:<32} {:<8} largest difference, or what is said", "class", "variant", "verdict");
    for (seed, (class, variant, fields, expected)) in cases().into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        random_models::write(folder.path(), &random_models::config(class, fields), seed as u64);
        let (verdict, detail) = compare(folder.path());
        println!("{class:<22} {variant:<32} {:<8} {detail}", format!("{verdict:?}"));
        if verdict != expected {
            surprises.push(format!("{class}, {variant}: {verdict:?} ({detail}), {expected:?} was expected"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// The loader of mistral.rs itself refuses the classes that are kept from it; one that it learns is to be compared, and moved.
#[test]
fn mistralrs_still_refuses_the_classes_that_are_kept_from_it() {
    use slm_benchmark::engine::architectures::{SUPPORTED, is_of_mistralrs};
    for known in SUPPORTED {
        let loader = NormalLoaderType::from_causal_lm_name(known.class);
        println!("{:<24} {}", known.class, if loader.is_ok() { "loaded by mistral.rs" } else { "refused by mistral.rs" });
        assert_eq!(loader.is_ok(), is_of_mistralrs(known.class), "{}", known.class);
    }
}

/// With both engines, a text longer than the sliding window is checked and written by the native engine: mistral.rs has one token more in sight.
#[test]
fn texts_beyond_the_window_are_kept_from_mistralrs() {
    let folder = tempfile::tempdir().expect("a folder");
    let fields = json!({"num_key_value_heads": 1, "head_dim": 32, "sliding_window": 12});
    random_models::write(folder.path(), &random_models::config("MistralForCausalLM", fields), 7);
    let mut both = open(folder.path(), Choice::Auto).expect("loads");
    assert_eq!(both.description().name, "native+mistralrs");
    let ours = scores(both.as_mut()).expect("scores");
    let requests = requests();
    let mut again = vec![f64::NAN; requests.len()];
    both.loglikelihoods_again(&requests, &mut |index, answer| {
        again[index] = answer.value;
        Ok(())
    })
    .expect("scores");
    for ((request, ours), again) in requests.iter().zip(&ours).zip(&again) {
        let (alone, _) = both.loglikelihood_alone(request).expect("scores");
        assert!((alone.value - ours).abs() < 1e-3 && (again - ours).abs() < 1e-3, "{request:?}: {ours} {again} {alone:?}");
    }
    let alone = open(folder.path(), Choice::MistralRs).expect("loads");
    assert!(alone.deviations().iter().any(|deviation| deviation.contains("sliding window of 12")), "{:?}", alone.deviations());
}
