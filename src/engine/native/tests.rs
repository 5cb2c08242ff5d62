//! The native engine against transformers, against itself, and against files that are not what they say.

use super::attention::Cache;
use super::families;
use super::forest::{Forest, Stretch};
use super::forward::Workspace;
use super::weights::Tensors;
use crate::engine::plan::{Plan, Sharing};
use crate::engine::sampling::normaliser;
use crate::engine::tokenizer::ScoredTokens;
use crate::engine::{EngineError, TokenId};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families")
}

fn load(dir: &Path) -> super::Decoder {
    let mut decoder = families::load(dir).unwrap_or_else(|error| panic!("{error}"));
    decoder.reach(64);
    decoder
}

/// Log-probabilities of all tokens at every row of the walk over the inputs' prefixes, computed in batches of at most `most` rows; the
/// requests read every row.
fn logprobs(decoder: &super::Decoder, inputs: &[Vec<TokenId>], most: usize) -> Vec<Vec<Vec<f64>>> {
    let requests: Vec<ScoredTokens> =
        inputs.iter().map(|input| ScoredTokens { input: input.clone(), targets: vec![0; input.len()] }).collect();
    let plan = Plan::new(&requests, Sharing { least: 0, longest: usize::MAX });
    let forest = Forest::new(&plan, &requests, most);
    let line = (0..forest.len()).map(|batch| forest.depth(batch)).max().unwrap_or(0);
    let mut cache = Cache::new(decoder, line + most);
    let mut work = Workspace::default();
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); plan.readings];
    let mut logits = Vec::new();
    for index in 0..forest.len() {
        let depth = forest.depth(index);
        let (batch, end) = forest.batch(index, line, if depth > 0 { vec![Stretch::new(0, 0, depth)] } else { Vec::new() });
        let wanted: Vec<usize> = (0..batch.tokens.len()).collect();
        let hidden = decoder.forward(&batch, &wanted, &mut cache, &mut work);
        decoder.logits(&hidden, &mut logits);
        for reading in forest.readings(index) {
            let row = &logits[reading.row * decoder.vocabulary()..][..decoder.vocabulary()];
            let (_, sum) = normaliser(row);
            values[reading.slot] = row.iter().map(|&logit| f64::from(logit) - sum).collect();
        }
        for stretch in end.iter().filter(|stretch| stretch.slot >= line) {
            cache.copy(stretch.slot, stretch.position, stretch.length.min(line.saturating_sub(stretch.position)));
        }
    }
    plan.slots.iter().map(|slots| values[slots.clone()].to_vec()).collect()
}

/// Every architecture and every variant of it gives the log-probabilities of transformers' model classes.
#[test]
fn log_probabilities_equal_those_of_transformers() {
    let text = std::fs::read_to_string(fixtures().join("reference.json")).expect("readable");
    let reference: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let mut failures = Vec::new();
    for (name, sequences) in &reference {
        let decoder = match families::load(&fixtures().join(name)) {
            Ok(mut decoder) => {
                decoder.reach(64);
                decoder
            }
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let largest = largest_difference(&decoder, sequences);
        println!("{name:<20} largest difference {largest:.1e}");
        if largest.is_nan() || largest > 1e-4 {
            failures.push(format!("{name}: {largest:e}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    // Nothing that the script makes is left out.
    let folders = std::fs::read_dir(fixtures()).expect("readable").filter_map(Result::ok).filter(|entry| entry.path().is_dir()).count();
    assert_eq!(folders, reference.len());
}

/// Largest difference from the log-probabilities of a reference; NaN where one is not a number.
fn largest_difference(decoder: &super::Decoder, sequences: &Value) -> f64 {
    let mut largest = 0f64;
    for sequence in sequences.as_array().expect("sequences") {
        let tokens: Vec<TokenId> = serde_json::from_value(sequence["tokens"].clone()).expect("tokens");
        let targets: Vec<Vec<usize>> = serde_json::from_value(sequence["targets"].clone()).expect("targets");
        let expected: Vec<Vec<f64>> = serde_json::from_value(sequence["logprobs"].clone()).expect("log-probabilities");
        let ours = logprobs(decoder, &[tokens], 17).remove(0);
        for ((row, targets), expected) in ours.iter().zip(targets).zip(expected) {
            for (target, expected) in targets.into_iter().zip(expected) {
                let difference = (row[target] - expected).abs();
                largest = if difference > largest || difference.is_nan() { difference } else { largest };
            }
        }
    }
    largest
}

/// As [`log_probabilities_equal_those_of_transformers`] for the cases that `tests/fixtures/families/wide.py` wrote to the folder
/// `SLM_BENCH_FAMILIES`: what must be computed agrees, what transformers cannot load is refused, and no refusal is without a reason.
#[test]
#[ignore = "needs the folder that tests/fixtures/families/wide.py writes, named by SLM_BENCH_FAMILIES"]
fn log_probabilities_equal_those_of_transformers_elsewhere() {
    let folder = PathBuf::from(std::env::var_os("SLM_BENCH_FAMILIES").expect("SLM_BENCH_FAMILIES names the folder"));
    let text = std::fs::read_to_string(folder.join("reference.json")).expect("readable");
    let reference: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    // By family: cases computed and compared, cases refused, the largest difference, that of transformers' f32 from double precision.
    let mut summary: BTreeMap<String, (usize, usize, f64, f64)> = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, case) in &reference {
        let entry = summary.entry(name.split('-').next().unwrap_or_default().to_owned()).or_default();
        let change = case["change"].as_str().unwrap_or_default();
        match (families::load(&folder.join(name)), case["expect"].as_str().expect("an expectation")) {
            (Ok(_), "refusal") => failures.push(format!("{name} ({change}): loaded; transformers refuses it")),
            (Ok(_), "failure") => {}
            (Ok(mut decoder), _) => {
                decoder.reach(128);
                let largest = largest_difference(&decoder, &case["sequences"]);
                entry.0 += 1;
                // A badly conditioned model's values depend on the order of additions in transformers, too.
                let noise = case["noise"].as_f64().unwrap_or_default();
                if largest > entry.2 {
                    (entry.2, entry.3) = (largest, noise);
                }
                if largest.is_nan() || largest > (4.0 * noise).max(1e-4) {
                    failures.push(format!("{name} ({change}): {largest:e}, transformers is {noise:e} from double precision"));
                }
            }
            (Err(error), "values") => failures.push(format!("{name}: {error}")),
            (Err(error), _) => {
                entry.1 += 1;
                println!("{name} ({change}) refused: {}", error.to_string().rsplit(".json: ").next().unwrap_or_default());
            }
        }
    }
    for (family, (computed, refused, largest, noise)) in summary {
        println!(
            "{family:<12} {computed:>4} compared, largest difference {largest:.1e} (transformers' own rounding there: {noise:.1e}); {refused:>4} refused"
        );
    }
    assert!(failures.is_empty(), "{} of {}: {failures:#?}", failures.len(), reference.len());
}

fn names() -> Vec<String> {
    let folders = std::fs::read_dir(fixtures()).expect("readable").filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Random forests on random models, in batches of any size: the values are those of one forward pass for each input.
    #[test]
    fn a_forest_gives_the_values_of_single_passes(
        model in 0..1000usize,
        stems in prop::collection::vec(prop::collection::vec(0..48u32, 1..24), 1..4),
        branches in prop::collection::vec((0..4usize, 0..24usize, prop::collection::vec(0..3u32, 1..20)), 1..14),
        most in 1..48usize,
    ) {
        let names = names();
        let decoder = load(&fixtures().join(&names[model % names.len()]));
        let inputs: Vec<Vec<TokenId>> = branches
            .iter()
            .map(|(stem, kept, rest)| {
                let stem = &stems[stem % stems.len()];
                stem[..*kept.min(&stem.len())].iter().chain(rest).copied().collect()
            })
            .collect();
        let together = logprobs(&decoder, &inputs, most);
        for (input, together) in inputs.iter().zip(&together) {
            let alone = logprobs(&decoder, std::slice::from_ref(input), 64).remove(0);
            for (left, right) in together.iter().flatten().zip(alone.iter().flatten()) {
                prop_assert!((left - right).abs() < 1e-4, "{}: {left} {right}", names[model % names.len()]);
            }
        }
    }
}

/// A copy of a fixture, to be spoilt.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures().join(name).join(file), folder.path().join(file)).expect("copied");
    }
    folder
}

fn edit_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("readable")).expect("JSON");
    change(&mut config);
    std::fs::write(path, config.to_string()).expect("written");
}

type Stored = BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(path: &Path) -> Stored {
    let bytes = std::fs::read(path).expect("readable");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    file.iter().map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn write(path: &Path, tensors: &Stored) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name.clone(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).expect("a tensor"))
    });
    std::fs::write(path, safetensors::serialize(views, None).expect("serialised")).expect("written");
}

fn edit_weights(folder: &Path, change: impl FnOnce(&mut Stored)) {
    let path = folder.join("model.safetensors");
    let mut stored = tensors(&path);
    change(&mut stored);
    write(&path, &stored);
}

fn refusal(folder: &Path) -> String {
    match families::load(folder) {
        Err(EngineError::Load(message)) => message,
        Err(other) => panic!("not a load error: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

#[test]
fn a_configuration_that_is_not_computed_exactly_is_refused_by_name() {
    let cases: Vec<(&str, Box<dyn Fn(&mut Value)>, &[&str])> = vec![
        ("llama", Box::new(|config| config["rope_parameters"]["rope_type"] = json!("spiral")), &["`spiral`", "llama3"]),
        ("llama", Box::new(|config| config["rope_parameters"]["beta"] = json!(2)), &["`beta`"]),
        ("llama-linear", Box::new(|config| config["rope_parameters"]["factor"] = json!("much")), &["`factor`"]),
        ("llama", Box::new(|config| config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 2.0})), &["`low_freq_factor`"]),
        ("llama", Box::new(|config| config["partial_rotary_factor"] = json!(0.5)), &["`partial_rotary_factor`"]),
        ("llama", Box::new(|config| config["quantization_config"] = json!({"bits": 4})), &["`quantization_config`"]),
        ("llama", Box::new(|config| config["sliding_window"] = json!(5)), &["`sliding_window`"]),
        ("llama", Box::new(|config| config["hidden_act"] = json!("wave")), &["`wave`"]),
        ("llama", Box::new(|config| config["num_attention_heads"] = json!(0)), &["`num_attention_heads`"]),
        ("llama", Box::new(|config| config["architectures"] = json!(["MambaForCausalLM"])), &["`MambaForCausalLM`", "OPTForCausalLM"]),
        ("llama", Box::new(|config| config["is_encoder_decoder"] = json!(true)), &["`is_encoder_decoder`"]),
        ("phi3-longrope", Box::new(|config| config["max_position_embeddings"] = json!(128)), &["longrope"]),
        ("gemma2", Box::new(|config| config["use_bidirectional_attention"] = json!(true)), &["`use_bidirectional_attention`"]),
        ("gemma3", Box::new(|config| config["attn_logit_softcapping"] = json!(5.0)), &["`attn_logit_softcapping`"]),
        ("qwen2", Box::new(|config| config["layer_types"][0] = json!("linear_attention")), &["linear_attention"]),
        ("gpt2", Box::new(|config| config["add_cross_attention"] = json!(true)), &["`add_cross_attention`"]),
        ("gpt-neo", Box::new(|config| config["attention_types"] = json!([[["global"], 3]])), &["attention_"]),
        ("llama", Box::new(|config| config["rope_parameters"]["rope_type"] = json!(3)), &["must be a word"]),
        ("llama-yarn", Box::new(|config| config["rope_parameters"]["truncate"] = json!("no")), &["`truncate`"]),
        ("phi3", Box::new(|config| config["rope_parameters"]["rope_type"] = json!("linear")), &["`linear`", "longrope"]),
        ("gpt-neox", Box::new(|config| config["rope_theta"] = json!(5000)), &["`rope_theta`", "`rotary_emb_base`"]),
        ("gpt-neox", Box::new(|config| config["partial_rotary_factor"] = json!(1.0)), &["`partial_rotary_factor`", "`rotary_pct`"]),
        ("gpt2", Box::new(|config| config["hidden_size"] = json!(32)), &["`hidden_size`", "`n_embd`"]),
        ("gpt2", Box::new(|config| config["n_special"] = json!(2)), &["`n_special`"]),
        ("smollm3", Box::new(|config| config["no_rope_layers"] = json!([1, 0])), &["`no_rope_layers`"]),
        ("smollm3", Box::new(|config| config["no_rope_layers"] = json!([1, 0, "no"])), &["`no_rope_layers`"]),
        (
            "gemma3",
            Box::new(|config| {
                config["layer_types"] = Value::Null;
                config["_sliding_window_pattern"] = json!(2);
            }),
            &["`_sliding_window_pattern`"],
        ),
        ("gemma3", Box::new(|config| config["rope_scaling"] = json!({"type": "linear", "factor": 8.0})), &["`rope_type`"]),
        ("gemma", Box::new(|config| config["tie_word_embeddings"] = Value::Null), &["`tie_word_embeddings`", "null"]),
        ("llama", Box::new(|config| config["rms_norm_eps"] = Value::Null), &["`rms_norm_eps`", "null"]),
        ("llama", Box::new(|config| config["hidden_act"] = Value::Null), &["`hidden_act`", "null"]),
        ("qwen2-window", Box::new(|config| config["max_window_layers"] = json!("all")), &["`max_window_layers`"]),
        ("qwen2", Box::new(|config| config["attention_bias"] = json!(false)), &["`attention_bias`"]),
        ("mistral", Box::new(|config| config["is_causal"] = json!(false)), &["`is_causal`"]),
        ("mistral", Box::new(|config| config["attention_bias"] = json!(true)), &["`attention_bias`"]),
        ("granite", Box::new(|config| config["hidden_size"] = json!(3)), &["config.json"]),
    ];
    for (name, change, words) in cases {
        let folder = copy(name);
        edit_config(folder.path(), &*change);
        let message = refusal(folder.path());
        assert!(message.contains("config.json") && words.iter().all(|word| message.contains(word)), "{name}: {message}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let name = "model.layers.1.self_attn.k_proj.weight";
    let folder = copy("llama");
    edit_weights(folder.path(), |stored| {
        let extra = stored[name].clone();
        stored.insert("model.layers.1.adapter.weight".to_owned(), extra);
    });
    assert!(refusal(folder.path()).contains("`model.layers.1.adapter.weight`"));

    let folder = copy("llama");
    edit_weights(folder.path(), |stored| {
        stored.remove(name);
    });
    let message = refusal(folder.path());
    assert!(message.contains(name) && message.contains("missing"), "{message}");

    let folder = copy("llama");
    edit_weights(folder.path(), |stored| stored.get_mut(name).expect("there").1.reverse());
    let message = refusal(folder.path());
    assert!(message.contains(name) && message.contains("[24, 12]") && message.contains("[12, 24]"), "{message}");

    let folder = copy("llama");
    // A NaN of bfloat16 in the sixth place.
    edit_weights(folder.path(), |stored| stored.get_mut(name).expect("there").2[10..12].copy_from_slice(&[0xc0, 0x7f]));
    let message = refusal(folder.path());
    assert!(message.contains(name) && message.contains("NaN") && message.contains("place 5"), "{message}");

    let folder = copy("llama");
    edit_weights(folder.path(), |stored| {
        let (dtype, shape, data) = stored.get_mut(name).expect("there");
        *dtype = safetensors::Dtype::I8;
        shape[1] *= 2;
        assert_eq!(data.len(), shape[0] * shape[1]);
    });
    assert!(refusal(folder.path()).contains(name));

    let folder = copy("llama");
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).expect("readable");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    assert!(refusal(folder.path()).contains("model.safetensors"));

    let folder = copy("llama-biases-tied");
    edit_weights(folder.path(), |stored| {
        let mut head = stored["model.embed_tokens.weight"].clone();
        head.2[0] ^= 1;
        stored.insert("lm_head.weight".to_owned(), head);
    });
    assert!(refusal(folder.path()).contains("`lm_head.weight`"));
}

/// What changes nothing is no reason to refuse a model: buffers that repeat the configuration, a saved copy of the tied head, names without
/// the base model's prefix, the fields of older versions.
#[test]
fn harmless_differences_are_taken() {
    let expected = |name: &str| logprobs(&load(&fixtures().join(name)), &[vec![3, 1, 4, 1, 5]], 64);
    let folder = copy("gpt2");
    edit_weights(folder.path(), |stored| {
        *stored = std::mem::take(stored)
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("transformer.").map(str::to_owned).unwrap_or(name), tensor))
            .collect();
        let head = stored["wte.weight"].clone();
        stored.insert("lm_head.weight".to_owned(), head.clone());
        stored.insert("h.0.attn.bias".to_owned(), head);
    });
    edit_config(folder.path(), |config| config["n_ctx"] = json!(64));
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("gpt2"));

    let folder = copy("gpt-neox");
    edit_config(folder.path(), |config| {
        let fields = config.as_object_mut().expect("an object");
        fields.remove("rope_parameters");
        fields.extend([("rotary_pct".to_owned(), json!(0.25)), ("rotary_emb_base".to_owned(), json!(10000))]);
    });
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("gpt-neox"));

    let folder = copy("llama-llama3");
    edit_config(folder.path(), |config| {
        let fields = config.as_object_mut().expect("an object");
        let mut scaling = fields.remove("rope_parameters").expect("there");
        let theta = scaling.as_object_mut().expect("an object").remove("rope_theta").expect("there");
        fields.extend([
            ("rope_scaling".to_owned(), scaling),
            ("rope_theta".to_owned(), theta),
            ("torch_dtype".to_owned(), json!("bfloat16")),
        ]);
    });
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("llama-llama3"));

    // As versions before 5 save the same model: both names of each rotary parameter, and marks of the library.
    let folder = copy("gpt-neox");
    edit_config(folder.path(), |config| {
        let fields = config.as_object_mut().expect("an object");
        fields.remove("rope_parameters");
        for (name, value) in [
            ("rotary_pct", json!(0.25)),
            ("rotary_emb_base", json!(10000)),
            ("partial_rotary_factor", json!(0.25)),
            ("rope_theta", json!(10000)),
            ("rope_scaling", Value::Null),
            ("_attn_implementation_autoset", json!(true)),
            ("use_sliding_window", json!(false)),
        ] {
            fields.insert(name.to_owned(), value);
        }
    });
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("gpt-neox"));

    // The class's other names for its sizes.
    let folder = copy("gpt2");
    edit_config(folder.path(), |config| {
        let fields = config.as_object_mut().expect("an object");
        for (name, alias) in [("n_embd", "hidden_size"), ("n_layer", "num_hidden_layers"), ("n_positions", "max_position_embeddings")] {
            let value = fields.remove(name).expect("there");
            fields.insert(alias.to_owned(), value);
        }
    });
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("gpt2"));

    // A tied embedding under the head's name alone, and one beside the other in 16 and 32 bits.
    for (name, embedding) in [("llama-biases-tied", "model.embed_tokens.weight"), ("opt", "model.decoder.embed_tokens.weight")] {
        let folder = copy(name);
        edit_weights(folder.path(), |stored| {
            let tensor = stored.remove(embedding).expect("there");
            stored.insert("lm_head.weight".to_owned(), tensor);
        });
        assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected(name), "{name}");
    }
    let folder = copy("llama-biases-tied");
    edit_weights(folder.path(), |stored| {
        let (_, shape, data) = stored["model.embed_tokens.weight"].clone();
        let wide = data.as_chunks::<2>().0.iter().flat_map(|two| half::bf16::from_le_bytes(*two).to_f32().to_le_bytes()).collect();
        stored.insert("lm_head.weight".to_owned(), (safetensors::Dtype::F32, shape, wide));
    });
    assert_eq!(logprobs(&load(folder.path()), &[vec![3, 1, 4, 1, 5]], 64), expected("llama-biases-tied"));
}

/// What `config.json` leaves out is what the class has: the fields that change a number, one by one.
#[test]
fn fields_that_are_missing_have_the_defaults_of_the_class() {
    for (name, field, default) in [
        ("llama", "hidden_act", json!("silu")),
        ("llama", "max_position_embeddings", json!(2048)),
        ("phi", "hidden_act", json!("gelu_new")),
        ("gpt-neox", "use_parallel_residual", json!(true)),
        ("gpt-neox", "attention_bias", json!(true)),
        ("gpt2", "activation_function", json!("gelu_new")),
        ("opt", "activation_function", json!("relu")),
        ("opt", "do_layer_norm_before", json!(true)),
        ("gemma2", "attn_logit_softcapping", json!(50.0)),
        ("gemma2", "final_logit_softcapping", json!(30.0)),
        ("gemma2", "query_pre_attn_scalar", json!(256)),
        ("gemma2", "layer_types", json!(["sliding_attention", "full_attention", "sliding_attention"])),
        ("granite", "attention_multiplier", json!(1.0)),
        ("granite", "logits_scaling", json!(1.0)),
        ("smollm3", "no_rope_layers", json!([1, 0, 1])),
        ("mistral-window", "sliding_window", json!(4096)),
        ("olmo2", "rms_norm_eps", json!(1e-5)),
        ("llama", "rms_norm_eps", json!(1e-6)),
        ("gpt-neo", "window_size", json!(256)),
    ] {
        let scores = |value: Option<&Value>| {
            let folder = copy(name);
            edit_config(folder.path(), |config| match value {
                Some(value) => config[field] = value.clone(),
                None => drop(config.as_object_mut().expect("an object").shift_remove(field)),
            });
            logprobs(&load(folder.path()), &[(0..40).collect()], 64)
        };
        assert_eq!(scores(None), scores(Some(&default)), "{name}: {field}");
    }
    // Sizes: here they do not fit the weights, and the refusal says what was expected.
    let folder = copy("gpt2");
    edit_config(folder.path(), |config| drop(config.as_object_mut().expect("an object").shift_remove("n_positions")));
    assert!(refusal(folder.path()).contains("[1024, 24]"));
}

/// Scalings that change with the input's length beyond the window are computed up to it, and said to end there.
#[test]
fn a_scaling_that_depends_on_the_length_ends_at_the_window() {
    for (name, longest) in [("llama-dynamic", Some(64)), ("phi3-longrope", Some(64)), ("llama-yarn", None), ("gpt2", Some(64))] {
        assert_eq!(load(&fixtures().join(name)).longest, longest, "{name}");
    }
}

/// Weights in several files are one model; a tensor in two of them, or in none, is an error.
#[test]
fn sharded_weights_are_joined() {
    let folder = copy("llama");
    let path = folder.path().join("model.safetensors");
    let stored = tensors(&path);
    std::fs::remove_file(&path).expect("removed");
    let (one, two): (Stored, Stored) = stored.into_iter().partition(|(name, _)| name.contains("layers.1."));
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    write(&folder.path().join(first), &one);
    write(&folder.path().join(second), &two);
    let files = one.keys().map(|name| (name, first)).chain(two.keys().map(|name| (name, second)));
    let map: serde_json::Map<String, Value> = files.map(|(name, file)| (name.clone(), json!(file))).collect();
    let index = |map: &serde_json::Map<String, Value>| {
        std::fs::write(folder.path().join("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).expect("written");
    };
    index(&map);
    let whole = logprobs(&load(&fixtures().join("llama")), &[vec![9, 8, 7]], 64);
    assert_eq!(logprobs(&load(folder.path()), &[vec![9, 8, 7]], 64), whole);

    let mut longer = map.clone();
    longer.insert("model.layers.7.mlp.up_proj.weight".to_owned(), json!(first));
    index(&longer);
    assert!(refusal(folder.path()).contains("`model.layers.7.mlp.up_proj.weight`"));

    index(&map);
    let mut twice = two.clone();
    twice.extend(one.into_iter().take(1));
    write(&folder.path().join(second), &twice);
    let Err(error) = Tensors::open(folder.path()) else { panic!("opened") };
    assert!(error.to_string().contains("another weight file"), "{error}");
}
