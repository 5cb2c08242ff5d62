//! The architectures: each a table from `config.json` and tensor names to a [`Decoder`].
//!
//! The definitions are those of transformers' modelling code (5.23), read in f32 on one sequence without padding.

use super::decoder::{Attention, Decoder, FeedForward, Layer, Linear, Norm, NormKind, Norms, Positions, Residual};
use super::fields::Fields;
use super::kernels::Activation;
use super::rope::{Rope, Scaling, yarn_magnitude};
use super::weights::{Matrix, Table, Tensors};
use crate::engine::EngineError;
use crate::engine::files::read_object;
use serde_json::{Map, Value, json};
use std::path::Path;

type Loaded<T> = Result<T, EngineError>;

/// An architecture that the native engine computes.
struct Family {
    class: &'static str,
    load: fn(&mut Reader<'_>) -> Loaded<Decoder>,
    /// Sizes that the class takes where `config.json` has none.
    defaults: &'static [(&'static str, usize)],
    /// Other names that the class knows for its sizes.
    aliases: &'static [(&'static str, &'static str)],
    /// Endings of tensor names that repeat what the configuration says.
    harmless: &'static [&'static str],
}

impl Family {
    const fn new(class: &'static str, load: fn(&mut Reader<'_>) -> Loaded<Decoder>, defaults: &'static [(&'static str, usize)]) -> Self {
        Self { class, load, defaults, aliases: &[], harmless: &[ROTARY] }
    }
}

const ROTARY: &str = ".rotary_emb.inv_freq";

/// Default sizes under the names that most architectures have.
const fn sizes(vocabulary: usize, hidden: usize, inner: usize, layers: usize, heads: usize, longest: usize) -> [(&'static str, usize); 6] {
    [
        ("vocab_size", vocabulary),
        ("hidden_size", hidden),
        ("intermediate_size", inner),
        ("num_hidden_layers", layers),
        ("num_attention_heads", heads),
        ("max_position_embeddings", longest),
    ]
}

const FAMILIES: &[Family] = &[
    Family::new("LlamaForCausalLM", llama, &sizes(32_000, 4096, 11_008, 32, 32, 2048)),
    Family::new("MistralForCausalLM", mistral, &sizes(32_000, 4096, 14_336, 32, 32, 131_072)),
    Family::new("Qwen2ForCausalLM", qwen2, &sizes(151_936, 4096, 22_016, 32, 32, 32_768)),
    Family::new("Qwen3ForCausalLM", qwen3, &sizes(151_936, 4096, 22_016, 32, 32, 32_768)),
    Family::new("SmolLM3ForCausalLM", smollm3, &sizes(128_256, 2048, 11_008, 36, 16, 32_768)),
    Family::new("GemmaForCausalLM", gemma, &sizes(256_000, 3072, 24_576, 28, 16, 8192)),
    Family::new("Gemma2ForCausalLM", gemma2, &sizes(256_000, 2304, 9216, 26, 8, 8192)),
    Family::new("Gemma3ForCausalLM", gemma3, &sizes(262_208, 2304, 9216, 26, 8, 131_072)),
    Family::new("PhiForCausalLM", phi, &sizes(51_200, 2048, 8192, 24, 32, 2048)),
    Family::new("Phi3ForCausalLM", phi3, &sizes(32_064, 3072, 8192, 32, 32, 4096)),
    Family::new("GraniteForCausalLM", granite, &sizes(32_000, 4096, 11_008, 32, 32, 2048)),
    Family::new("Olmo2ForCausalLM", olmo2, &sizes(50_304, 4096, 11_008, 32, 32, 2048)),
    Family::new("StableLmForCausalLM", stablelm, &sizes(50_304, 2560, 6912, 32, 32, 4096)),
    Family {
        harmless: &[ROTARY, ".attention.bias", ".attention.masked_bias"],
        ..Family::new("GPTNeoXForCausalLM", gpt_neox, &sizes(50_432, 6144, 24_576, 44, 64, 2048))
    },
    Family {
        class: "GPT2LMHeadModel",
        load: gpt2,
        defaults: &[("vocab_size", 50_257), ("n_positions", 1024), ("n_embd", 768), ("n_layer", 12), ("n_head", 12)],
        aliases: &[
            ("hidden_size", "n_embd"),
            ("max_position_embeddings", "n_positions"),
            ("num_attention_heads", "n_head"),
            ("num_hidden_layers", "n_layer"),
        ],
        harmless: &[".attn.bias", ".attn.masked_bias"],
    },
    Family {
        class: "GPTNeoForCausalLM",
        load: gpt_neo,
        defaults: &[
            ("vocab_size", 50_257),
            ("max_position_embeddings", 2048),
            ("hidden_size", 2048),
            ("num_layers", 24),
            ("num_heads", 16),
            ("window_size", 256),
        ],
        aliases: &[("num_attention_heads", "num_heads"), ("num_hidden_layers", "num_layers")],
        harmless: &[".attn.attention.bias", ".attn.attention.masked_bias"],
    },
    Family {
        class: "OPTForCausalLM",
        load: opt,
        defaults: &[
            ("vocab_size", 50_272),
            ("hidden_size", 768),
            ("num_hidden_layers", 12),
            ("ffn_dim", 3072),
            ("max_position_embeddings", 2048),
            ("num_attention_heads", 12),
        ],
        aliases: &[],
        harmless: &[],
    },
];

/// Loads a model folder.
///
/// # Errors
/// An architecture, a field or a tensor that the native engine does not compute exactly; weights that are broken.
pub(super) fn load(dir: &Path) -> Loaded<Decoder> {
    let path = dir.join("config.json");
    let fields = Fields::new(path.clone(), read_object(&path)?);
    let classes = fields.list("architectures")?.cloned().unwrap_or_default();
    let class = classes.first().and_then(Value::as_str).unwrap_or_default();
    fields.raw("model_type");
    let family = FAMILIES.iter().find(|family| family.class == class).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.class).collect();
        fields.error(format!("the native engine cannot load the architecture `{class}`; it loads {}", known.join(", ")))
    })?;
    let fields = fields.of_class(family.defaults, family.aliases)?;
    let tensors = Tensors::open(dir)?;
    let mut reader = Reader { fields: &fields, tensors, base: String::new() };
    let decoder = (family.load)(&mut reader)?;
    fields.finish()?;
    reader.tensors.finish(family.harmless)?;
    Ok(decoder)
}

/// Whether the native engine has a table for the architecture of a configuration.
pub(super) fn knows(config: &Map<String, Value>) -> bool {
    let class = config.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str);
    FAMILIES.iter().any(|family| Some(family.class) == class)
}

/// What a table reads from.
struct Reader<'a> {
    fields: &'a Fields,
    tensors: Tensors,
    /// What stands before the name of every tensor of the base model.
    base: String,
}

/// Sizes that all architectures have.
struct Shape {
    hidden: usize,
    heads: usize,
    key_value_heads: usize,
    head_width: usize,
    layers: usize,
    inner: usize,
    vocabulary: usize,
}

/// The kind of normalisation of a model and its parameters.
#[derive(Clone, Copy)]
struct NormStyle {
    kind: NormKind,
    epsilon: f32,
    /// The weight is stored less 1.
    is_offset: bool,
    has_weight: bool,
    has_bias: bool,
}

impl NormStyle {
    fn root_mean_square(epsilon: f32) -> Self {
        Self { kind: NormKind::RootMeanSquare, epsilon, is_offset: false, has_weight: true, has_bias: false }
    }

    fn layer(epsilon: f32) -> Self {
        Self { kind: NormKind::Layer, epsilon, is_offset: false, has_weight: true, has_bias: true }
    }
}

impl Reader<'_> {
    /// Names of the base model begin with `prefix`, or with nothing where it was saved alone.
    fn find_base(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.base);
        if !self.tensors.has_prefix(prefix) {
            self.base.clear();
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Loaded<Matrix> {
        let name = self.name(name);
        self.tensors.matrix(&name, rows, columns)
    }

    fn vector(&mut self, name: &str, length: usize) -> Loaded<Vec<f32>> {
        let name = self.name(name);
        self.tensors.vector(&name, length)
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, has_bias: bool) -> Loaded<Linear> {
        let weight = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = if has_bias { Some(self.vector(&format!("{name}.bias"), outputs)?) } else { None };
        Ok(Linear::new(&weight, false, bias))
    }

    /// GPT-2's linear maps are stored inputs × outputs.
    fn transposed(&mut self, name: &str, inputs: usize, outputs: usize) -> Loaded<Linear> {
        let weight = self.matrix(&format!("{name}.weight"), inputs, outputs)?;
        Ok(Linear::new(&weight, true, Some(self.vector(&format!("{name}.bias"), outputs)?)))
    }

    /// A normalisation whose parameters have `length` elements, over groups of `group`.
    fn grouped_norm(&mut self, name: &str, length: usize, group: usize, style: NormStyle) -> Loaded<Norm> {
        let mut weight = if style.has_weight { Some(self.vector(&format!("{name}.weight"), length)?) } else { None };
        if style.is_offset {
            weight.iter_mut().flatten().for_each(|value| *value += 1.0);
        }
        let bias = if style.has_bias { Some(self.vector(&format!("{name}.bias"), length)?) } else { None };
        Ok(Norm { kind: style.kind, epsilon: style.epsilon, group, weight, bias })
    }

    fn norm(&mut self, name: &str, width: usize, style: NormStyle) -> Loaded<Norm> {
        self.grouped_norm(name, width, width, style)
    }

    /// Sizes by the names that most architectures have. `key_value_heads` and `head_width` are the class's defaults where it has its own.
    fn shape(&self, key_value_heads: Option<usize>, head_width: Option<usize>) -> Loaded<Shape> {
        let fields = self.fields;
        let (hidden, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
        let key_value_heads = match fields.raw("num_key_value_heads") {
            None => key_value_heads.unwrap_or(heads),
            Some(_) => fields.optional_count("num_key_value_heads")?.unwrap_or(heads),
        };
        if heads % key_value_heads != 0 {
            return Err(fields.error(format!("`num_attention_heads` {heads} is no multiple of `num_key_value_heads` {key_value_heads}")));
        }
        let head_width = fields.optional_count("head_dim")?.or(head_width).unwrap_or(hidden / heads);
        Ok(Shape {
            hidden,
            heads,
            key_value_heads,
            head_width,
            layers: fields.count("num_hidden_layers")?,
            inner: fields.count("intermediate_size")?,
            vocabulary: fields.count("vocab_size")?,
        })
    }

    /// Refuses a hidden size that the heads do not divide, where the definition does.
    fn divided_by_heads(&self, shape: &Shape) -> Loaded<()> {
        if shape.hidden.is_multiple_of(shape.heads) {
            return Ok(());
        }
        Err(self.fields.error(format!("the hidden size {} is no multiple of the number of heads {}", shape.hidden, shape.heads)))
    }

    /// Refuses a `head_dim` other than hidden size by heads, where the definition derives it.
    fn derived_head_width(&self, shape: &Shape) -> Loaded<()> {
        self.divided_by_heads(shape)?;
        if shape.head_width * shape.heads == shape.hidden {
            return Ok(());
        }
        let problem = format!("`head_dim` {} times {} heads is not `hidden_size` {}", shape.head_width, shape.heads, shape.hidden);
        Err(self.fields.error(problem))
    }

    fn activation(&self, field: &str, default: &str) -> Loaded<Activation> {
        let name = self.fields.word(field, default)?;
        // Another way to write the same formula.
        let known = if name == "gelu_accurate" { "gelu_new" } else { name.as_str() };
        Activation::named(known).ok_or_else(|| self.fields.error(format!("`{field}` names the activation `{name}`, which is not known")))
    }

    /// The whole name of the embedding's tensor. A tied one may have been saved under the head's name alone.
    fn embedding_name(&self, name: &str, head: &str, is_tied: bool) -> String {
        let (own, other) = (self.name(name), format!("{head}.weight"));
        if is_tied && !self.tensors.has(&own) && self.tensors.has(&other) { other } else { own }
    }

    /// The output head: a matrix of its own, or the embedding where the two are tied.
    fn head(&mut self, name: &str, embedding: &Matrix, is_tied: bool, has_bias: bool) -> Loaded<Linear> {
        let weight = format!("{name}.weight");
        let (rows, columns) = (embedding.rows, embedding.columns);
        let matrix = if is_tied {
            // A tied head that was saved beside the embedding must be a copy of it.
            if self.tensors.has(&weight) && !self.tensors.matrix(&weight, rows, columns)?.equals(embedding) {
                return Err(self
                    .fields
                    .error(format!("`tie_word_embeddings` is true, but the tensor `{weight}` differs from the embedding")));
            }
            embedding.clone()
        } else {
            self.tensors.matrix(&weight, rows, columns)?
        };
        let bias = if has_bias { Some(self.tensors.vector(&format!("{name}.bias"), rows)?) } else { None };
        Ok(Linear::new(&matrix, false, bias))
    }

    /// Window of each layer by `layer_types`, or by the class's own rule where the list is missing.
    fn windows(&self, layers: usize, window: Option<usize>, is_sliding: impl Fn(usize) -> bool) -> Loaded<Vec<Option<usize>>> {
        let Some(types) = self.fields.list("layer_types")? else {
            return Ok((0..layers).map(|layer| window.filter(|_| is_sliding(layer))).collect());
        };
        if types.len() != layers {
            return Err(self.fields.error(format!("`layer_types` has {} entries for {layers} layers", types.len())));
        }
        let window_of = |kind: &Value| match kind.as_str() {
            // The second is an older name.
            Some("full_attention" | "attention") => Ok(None),
            Some("sliding_attention") if window.is_some() => Ok(window),
            Some("sliding_attention") => Err(self.fields.error("`layer_types` has sliding layers, and `sliding_window` is not in use")),
            _ => {
                Err(self.fields.error(format!("`layer_types` has the entry {kind}; full_attention and sliding_attention can be computed")))
            }
        };
        types.iter().map(window_of).collect()
    }

    /// A window that has a class default: missing is the default, `null` is none.
    fn sliding_window(&self, default: Option<usize>) -> Loaded<Option<usize>> {
        match self.fields.raw("sliding_window") {
            None => Ok(default),
            Some(_) => self.fields.optional_count("sliding_window"),
        }
    }
}

/// Where a family keeps its rotary parameters, and what it takes where they are missing.
struct RopeFields {
    theta: &'static str,
    default_theta: f64,
    partial: &'static str,
    /// Share of each head that is rotated; none: the definition rotates whole heads.
    default_partial: Option<f64>,
    /// Older names of `longrope`.
    long_names: &'static [&'static str],
    /// What `original_max_position_embeddings` is where no field says it.
    default_original: Option<f64>,
    /// The scalings that the class takes; none: all.
    scalings: Option<&'static [&'static str]>,
    /// An odd number of rotated elements is rounded up.
    rounds_up: bool,
}

const ROPE: RopeFields = RopeFields {
    theta: "rope_theta",
    default_theta: 10_000.0,
    partial: "partial_rotary_factor",
    default_partial: None,
    long_names: &[],
    default_original: None,
    scalings: None,
    rounds_up: false,
};

impl Reader<'_> {
    /// The rotary positions of a model whose layers share them.
    fn rope(&self, shape: &Shape, names: &RopeFields) -> Loaded<Rope> {
        let scaling = self.fields.value("rope_scaling").filter(|scaling| !scaling.as_object().is_some_and(Map::is_empty));
        let parameters = scaling.or(self.fields.value("rope_parameters")).cloned().unwrap_or_else(|| json!({}));
        self.fields.raw("rope_parameters");
        let theta = self.fields.optional_number(names.theta)?.unwrap_or(names.default_theta);
        let partial = self.fields.optional_number(names.partial)?;
        self.rope_of(&parameters, shape, names, theta, partial)
    }

    fn rope_of(&self, parameters: &Value, shape: &Shape, names: &RopeFields, theta: f64, partial: Option<f64>) -> Loaded<Rope> {
        let fields = self.fields;
        let Some(parameters) = parameters.as_object() else {
            return Err(fields.error(format!("the rotary parameters must be an object, and are {parameters}")));
        };
        let number = |name: &str| match parameters.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Ok(Some(number)),
                None => Err(fields.error(format!("`{name}` of the rotary parameters must be a number, and is {value}"))),
            },
        };
        let needed = |name: &str| number(name)?.ok_or_else(|| fields.error(format!("`{name}` is missing from the rotary parameters")));
        let kind = match parameters.get("rope_type").or_else(|| parameters.get("type")) {
            None => "default",
            Some(kind) => {
                kind.as_str().ok_or_else(|| fields.error(format!("the type of the rotary parameters must be a word, and is {kind}")))?
            }
        };
        let kind = if names.long_names.contains(&kind) { "longrope" } else { kind };
        if let Some(scalings) = names.scalings.filter(|scalings| !scalings.contains(&kind)) {
            return Err(fields.error(format!("the rope type `{kind}` is not one of this architecture, which has {}", scalings.join(", "))));
        }
        let theta = number("rope_theta")?.unwrap_or(theta);
        let partial = number("partial_rotary_factor")?.or(partial).or(names.default_partial).unwrap_or(1.0);
        if names.default_partial.is_none() && partial != 1.0 {
            return Err(fields.error(format!("`partial_rotary_factor` is {partial}; this architecture rotates whole heads")));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small number, cut as the definition does"
        )]
        let width = (shape.head_width as f64 * partial) as usize;
        // Files of some versions repeat the two under the names that other families have.
        for (name, known, value) in [("rope_theta", names.theta, theta), ("partial_rotary_factor", names.partial, partial)] {
            if name != known && fields.optional_number(name)?.is_some_and(|other| other != value) {
                return Err(fields.error(format!("`{name}` is not the {value} that `{known}` or the rotary parameters say")));
            }
        }
        let is_rounded = names.rounds_up && matches!(kind, "default" | "linear" | "dynamic" | "llama3");
        if width == 0 || (width % 2 == 1 && !is_rounded) || width.next_multiple_of(2) > shape.head_width || theta <= 0.0 {
            return Err(
                fields.error(format!("rotary positions of {width} of {} elements with base {theta} are not defined", shape.head_width))
            );
        }
        let longest = fields.count("max_position_embeddings")? as f64;
        let original = || -> Loaded<f64> {
            let outside = fields.optional_number("original_max_position_embeddings")?.or(names.default_original);
            let original = outside.or(number("original_max_position_embeddings")?).unwrap_or(longest);
            if original >= 1.0 { Ok(original) } else { Err(fields.error("`original_max_position_embeddings` must be 1 or more")) }
        };
        let mut known = vec!["rope_type", "type", "rope_theta", "partial_rotary_factor"];
        let scaling = match kind {
            "default" => Scaling::Default,
            "linear" => {
                known.push("factor");
                Scaling::Linear { factor: needed("factor")? }
            }
            "dynamic" => {
                // The frequencies change with the sequence's length beyond `max_position_embeddings` only, and no input is that long.
                known.extend(["factor", "original_max_position_embeddings"]);
                needed("factor")?;
                Scaling::Default
            }
            "llama3" => {
                known.extend(["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]);
                Scaling::Llama3 {
                    factor: needed("factor")?,
                    low: needed("low_freq_factor")?,
                    high: needed("high_freq_factor")?,
                    original: original()?,
                }
            }
            "yarn" => {
                known.extend(["factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"]);
                known.push("original_max_position_embeddings");
                let original = original()?;
                let factor = number("factor")?.unwrap_or(longest / original);
                let truncate = match parameters.get("truncate") {
                    None => true,
                    Some(Value::Null) => false,
                    Some(value) => value.as_bool().ok_or_else(|| {
                        fields.error(format!("`truncate` of the rotary parameters must be true or false, and is {value}"))
                    })?,
                };
                let derived = yarn_magnitude(factor, number("mscale")?, number("mscale_all_dim")?);
                let or_default = |value: Option<f64>, default: f64| value.filter(|&value| value != 0.0).unwrap_or(default);
                Scaling::Yarn {
                    factor,
                    original,
                    fast: or_default(number("beta_fast")?, 32.0),
                    slow: or_default(number("beta_slow")?, 1.0),
                    truncate,
                    magnitude: number("attention_factor")?.unwrap_or(derived),
                }
            }
            "longrope" => {
                known.extend(["factor", "attention_factor", "long_factor", "short_factor", "original_max_position_embeddings"]);
                let original = original()?;
                if longest > original {
                    return Err(fields.error(format!(
                        "longrope with a window of {longest} beyond the original {original} changes its frequencies with the input's \
                         length, which the native engine does not compute"
                    )));
                }
                let short: Option<Vec<f64>> =
                    parameters.get("short_factor").and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_f64).collect());
                let factors = short
                    .filter(|factors| factors.len() == width / 2)
                    .ok_or_else(|| fields.error(format!("`short_factor` of the rotary parameters must list {} numbers", width / 2)))?;
                let factor = number("factor")?.unwrap_or(longest / original);
                let derived = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
                Scaling::LongRope { factors, magnitude: number("attention_factor")?.unwrap_or(derived) }
            }
            other => {
                return Err(
                    fields.error(format!("the rope type `{other}` is not known; default, linear, dynamic, llama3, yarn and longrope are"))
                );
            }
        };
        if let Some((name, value)) = parameters.iter().find(|(name, value)| !known.contains(&name.as_str()) && !value.is_null()) {
            return Err(fields.error(format!("`{name}` = {value} is no rotary parameter of the type `{kind}`")));
        }
        let rope = Rope::new(theta, width, &scaling);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of positions")]
        Ok(if matches!(kind, "dynamic" | "longrope") { rope.up_to(longest as usize) } else { rope })
    }
}

/// The longest input for which all of these are defined.
fn shortest_limit(ropes: &[Rope]) -> Option<usize> {
    ropes.iter().filter_map(|rope| rope.longest).min()
}

/// What distinguishes the architectures that descend from Llama.
#[expect(clippy::struct_excessive_bools, reason = "a table of what a model has")]
struct LlamaStyle {
    norm: NormStyle,
    activation: Activation,
    query_key_value_bias: bool,
    out_bias: bool,
    feed_forward_bias: bool,
    is_tied: bool,
    windows: Vec<Option<usize>>,
    /// Index of each layer's rotary positions.
    rope_of_layer: Vec<Option<usize>>,
    ropes: Vec<Rope>,
    scale: f32,
    placement: Placement,
    query_key_norm: QueryKeyNorm,
    residual: Residual,
    /// Query, key and value in one tensor, gate and up in another.
    is_fused: bool,
    embedding_scale: f32,
    residual_scale: f32,
    logit_scale: f32,
    attention_cap: Option<f32>,
    logit_cap: Option<f32>,
}

/// Where the normalisations stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    /// Before each branch.
    Before,
    /// After each branch, before it is added.
    After,
    /// Before and after.
    Both,
}

/// Which normalisation queries and keys get before they are rotated.
#[derive(Clone, Copy)]
enum QueryKeyNorm {
    None,
    /// One for all heads.
    Head(NormStyle),
    /// Over the whole row.
    Row(NormStyle),
    /// Each head its own.
    EachHead(NormStyle),
}

impl LlamaStyle {
    fn new(reader: &Reader<'_>, shape: &Shape, is_tied: bool, rope: &RopeFields) -> Loaded<Self> {
        let fields = reader.fields;
        #[expect(clippy::cast_possible_truncation, reason = "the computation is in f32")]
        let scale = (shape.head_width as f64).powf(-0.5) as f32;
        Ok(Self {
            norm: NormStyle::root_mean_square(fields.number("rms_norm_eps", 1e-6)?),
            activation: reader.activation("hidden_act", "silu")?,
            query_key_value_bias: false,
            out_bias: false,
            feed_forward_bias: false,
            is_tied: fields.flag("tie_word_embeddings", is_tied)?,
            windows: vec![None; shape.layers],
            rope_of_layer: vec![Some(0); shape.layers],
            ropes: vec![reader.rope(shape, rope)?],
            scale,
            placement: Placement::Before,
            query_key_norm: QueryKeyNorm::None,
            residual: Residual::Serial,
            is_fused: false,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            attention_cap: None,
            logit_cap: None,
        })
    }

    fn build(mut self, reader: &mut Reader<'_>, shape: &Shape) -> Loaded<Decoder> {
        reader.find_base("model.");
        let name = reader.embedding_name("embed_tokens.weight", "lm_head", self.is_tied);
        let embedding = reader.tensors.matrix(&name, shape.vocabulary, shape.hidden)?;
        let layers = (0..shape.layers).map(|index| self.layer(reader, shape, index)).collect::<Loaded<Vec<Layer>>>()?;
        let final_norm = Some(reader.norm("norm", shape.hidden, self.norm)?);
        let head = reader.head("lm_head", &embedding, self.is_tied, false)?;
        Ok(Decoder {
            hidden: shape.hidden,
            heads: shape.heads,
            key_value_heads: shape.key_value_heads,
            head_width: shape.head_width,
            embedding: reader.tensors.table(&name)?,
            embedding_scale: self.embedding_scale,
            positions: None,
            project_in: None,
            project_out: None,
            layers,
            residual_scale: self.residual_scale,
            final_norm,
            head,
            logit_scale: self.logit_scale,
            logit_cap: self.logit_cap,
            longest: shortest_limit(&self.ropes),
            ropes: std::mem::take(&mut self.ropes),
        })
    }

    fn layer(&self, reader: &mut Reader<'_>, shape: &Shape, index: usize) -> Loaded<Layer> {
        let at = |part: &str| format!("layers.{index}.{part}");
        let (hidden, norm) = (shape.hidden, self.norm);
        let (queries, keys) = (shape.heads * shape.head_width, shape.key_value_heads * shape.head_width);
        let has_bias = self.query_key_value_bias;
        let (query, key, value) = if self.is_fused {
            let all = reader.matrix(&at("self_attn.qkv_proj.weight"), queries + 2 * keys, hidden)?;
            let part = |from: usize, count: usize| Linear::new(&all.rows(from..from + count), false, None);
            (part(0, queries), part(queries, keys), part(queries + keys, keys))
        } else {
            (
                reader.linear(&at("self_attn.q_proj"), hidden, queries, has_bias)?,
                reader.linear(&at("self_attn.k_proj"), hidden, keys, has_bias)?,
                reader.linear(&at("self_attn.v_proj"), hidden, keys, has_bias)?,
            )
        };
        let out = reader.linear(&at("self_attn.o_proj"), queries, hidden, self.out_bias)?;
        let (query_norm, key_norm) = self.query_key_norms(reader, shape, index)?;
        let feed_forward = if self.is_fused {
            let both = reader.matrix(&at("mlp.gate_up_proj.weight"), 2 * shape.inner, hidden)?;
            let half = |from: usize| Linear::new(&both.rows(from..from + shape.inner), false, None);
            let down = reader.linear(&at("mlp.down_proj"), shape.inner, hidden, false)?;
            FeedForward { gate: Some(half(0)), up: half(shape.inner), down, activation: self.activation }
        } else {
            FeedForward {
                gate: Some(reader.linear(&at("mlp.gate_proj"), hidden, shape.inner, self.feed_forward_bias)?),
                up: reader.linear(&at("mlp.up_proj"), hidden, shape.inner, self.feed_forward_bias)?,
                down: reader.linear(&at("mlp.down_proj"), shape.inner, hidden, self.feed_forward_bias)?,
                activation: self.activation,
            }
        };
        let mut attention_norms = Norms::default();
        let mut feed_forward_norms = Norms::default();
        match self.placement {
            Placement::Before => {
                attention_norms.before = Some(reader.norm(&at("input_layernorm"), hidden, norm)?);
                if self.residual == Residual::Serial {
                    feed_forward_norms.before = Some(reader.norm(&at("post_attention_layernorm"), hidden, norm)?);
                }
            }
            Placement::After => {
                attention_norms.after = Some(reader.norm(&at("post_attention_layernorm"), hidden, norm)?);
                feed_forward_norms.after = Some(reader.norm(&at("post_feedforward_layernorm"), hidden, norm)?);
            }
            Placement::Both => {
                attention_norms.before = Some(reader.norm(&at("input_layernorm"), hidden, norm)?);
                attention_norms.after = Some(reader.norm(&at("post_attention_layernorm"), hidden, norm)?);
                feed_forward_norms.before = Some(reader.norm(&at("pre_feedforward_layernorm"), hidden, norm)?);
                feed_forward_norms.after = Some(reader.norm(&at("post_feedforward_layernorm"), hidden, norm)?);
            }
        }
        let attention = Attention {
            query,
            key,
            value,
            out,
            query_norm,
            key_norm,
            rope: self.rope_of_layer[index],
            window: self.windows[index],
            scale: self.scale,
            soft_cap: self.attention_cap,
        };
        Ok(Layer { attention, attention_norms, feed_forward, feed_forward_norms, residual: self.residual })
    }

    fn query_key_norms(&self, reader: &mut Reader<'_>, shape: &Shape, index: usize) -> Loaded<(Option<Norm>, Option<Norm>)> {
        let at = |part: &str| format!("layers.{index}.self_attn.{part}");
        let width = shape.head_width;
        Ok(match self.query_key_norm {
            QueryKeyNorm::None => (None, None),
            QueryKeyNorm::Head(style) => (Some(reader.norm(&at("q_norm"), width, style)?), Some(reader.norm(&at("k_norm"), width, style)?)),
            QueryKeyNorm::Row(style) => (
                Some(reader.norm(&at("q_norm"), shape.heads * width, style)?),
                Some(reader.norm(&at("k_norm"), shape.key_value_heads * width, style)?),
            ),
            QueryKeyNorm::EachHead(style) => {
                let mut norms = |name: &str, heads: usize| -> Loaded<Norm> {
                    let mut weight = Vec::with_capacity(heads * width);
                    for head in 0..heads {
                        weight.extend(reader.vector(&at(&format!("{name}.norms.{head}.weight")), width)?);
                    }
                    Ok(Norm { kind: style.kind, epsilon: style.epsilon, group: width, weight: Some(weight), bias: None })
                };
                (Some(norms("q_layernorm", shape.heads)?), Some(norms("k_layernorm", shape.key_value_heads)?))
            }
        })
    }
}

fn llama(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    reader.divided_by_heads(&shape)?;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    let attention_bias = reader.fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    style.feed_forward_bias = reader.fields.flag("mlp_bias", false)?;
    style.build(reader, &shape)
}

fn mistral(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(8), None)?;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    style.windows = vec![reader.sliding_window(Some(4096))?; shape.layers];
    style.build(reader, &shape)
}

/// The windows of Qwen 2 and 3: the layers from `max_window_layers` on, where `use_sliding_window` says so.
fn qwen_windows(reader: &Reader<'_>, shape: &Shape) -> Loaded<Vec<Option<usize>>> {
    let window = reader.sliding_window(Some(4096))?;
    let window = if reader.fields.flag("use_sliding_window", false)? { window } else { None };
    let first = reader.fields.whole("max_window_layers", 28)?;
    reader.windows(shape.layers, window, |layer| layer >= first)
}

fn qwen2(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(32), None)?;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    style.query_key_value_bias = true;
    style.windows = qwen_windows(reader, &shape)?;
    // The class has its biases whatever this says.
    reader.fields.only("attention_bias", &Value::Bool(true))?;
    style.build(reader, &shape)
}

fn qwen3(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(32), Some(128))?;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    let attention_bias = reader.fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    style.query_key_norm = QueryKeyNorm::Head(style.norm);
    style.windows = qwen_windows(reader, &shape)?;
    style.build(reader, &shape)
}

fn is_rotated(fields: &Fields, flag: &Value) -> Loaded<bool> {
    match flag {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        other => Err(fields.error(format!("`no_rope_layers` has the entry {other}; 1 and 0 are known"))),
    }
}

fn smollm3(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(4), None)?;
    let mut style = LlamaStyle::new(reader, &shape, true, &RopeFields { default_theta: 2_000_000.0, ..ROPE })?;
    let attention_bias = reader.fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    style.feed_forward_bias = reader.fields.flag("mlp_bias", false)?;
    let interval = reader.fields.optional_count("no_rope_layer_interval")?.unwrap_or(4);
    let rotated: Vec<bool> = match reader.fields.list("no_rope_layers")? {
        None => (0..shape.layers).map(|layer| (layer + 1) % interval != 0).collect(),
        Some(list) if list.len() < shape.layers => {
            return Err(reader.fields.error(format!("`no_rope_layers` has {} entries for {} layers", list.len(), shape.layers)));
        }
        // 1 says, despite the name, that the layer is rotated.
        Some(list) => list[..shape.layers].iter().map(|flag| is_rotated(reader.fields, flag)).collect::<Loaded<_>>()?,
    };
    // A field of another family, which files of this one have; the class does not read it.
    reader.fields.raw("max_window_layers");
    let uses_window = reader.fields.flag("use_sliding_window", false)?;
    let window = reader.sliding_window(None)?.filter(|_| uses_window);
    style.windows = reader.windows(shape.layers, window, |layer| !rotated[layer])?;
    style.rope_of_layer = rotated.iter().map(|&rotated| rotated.then_some(0)).collect();
    style.build(reader, &shape)
}

/// What the Gemmas share: normalisation weights stored less 1, and embeddings times the root of their width.
fn gemma_style(reader: &Reader<'_>, shape: &Shape, activation: Activation) -> Loaded<LlamaStyle> {
    let mut style = LlamaStyle::new(reader, shape, true, &ROPE)?;
    style.norm.is_offset = true;
    style.activation = activation;
    style.embedding_scale = (shape.hidden as f32).sqrt();
    let attention_bias = reader.fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    reader.fields.only("use_bidirectional_attention", &Value::Bool(false))?;
    Ok(style)
}

fn gemma(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(16), Some(256))?;
    // Files that say `gelu` mean its approximation. The definition reads no `hidden_activation`, which some have beside it.
    let named = reader.activation("hidden_act", "gelu_pytorch_tanh")?;
    let is_legacy = reader.fields.word("hidden_act", "")? == "gelu";
    let activation = if is_legacy { Activation::GeluTanh } else { named };
    if reader.fields.value("hidden_activation").is_some_and(|name| name.as_str() != Some("gelu_pytorch_tanh")) {
        return Err(reader.fields.error("`hidden_activation` names another function than `gelu_pytorch_tanh`"));
    }
    gemma_style(reader, &shape, activation)?.build(reader, &shape)
}

/// What Gemma 2 and 3 share: normalisation on both sides of each branch, windows, caps, a scale of their own.
fn gemma2_style(reader: &Reader<'_>, shape: &Shape) -> Loaded<LlamaStyle> {
    let activation = reader.activation("hidden_activation", "gelu_pytorch_tanh")?;
    // An older name of the same field, which the definition no longer reads.
    reader.fields.raw("hidden_act");
    let mut style = gemma_style(reader, shape, activation)?;
    style.placement = Placement::Both;
    style.scale = 1.0 / reader.fields.number("query_pre_attn_scalar", 256.0)?.sqrt();
    Ok(style)
}

/// A cap that has a class default: missing is the default, `null` is none.
fn soft_cap(fields: &Fields, name: &str, default: Option<f64>) -> Loaded<Option<f32>> {
    let cap = match fields.raw(name) {
        None => default,
        Some(_) => fields.optional_number(name)?,
    };
    match cap {
        Some(cap) if cap <= 0.0 => Err(fields.error(format!("`{name}` must be above 0, and is {cap}"))),
        #[expect(clippy::cast_possible_truncation, reason = "the computation is in f32")]
        cap => Ok(cap.map(|cap| cap as f32)),
    }
}

fn gemma2(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(4), Some(256))?;
    let mut style = gemma2_style(reader, &shape)?;
    let window = reader.sliding_window(Some(4096))?;
    style.windows = reader.windows(shape.layers, window, |layer| layer % 2 == 0)?;
    style.attention_cap = soft_cap(reader.fields, "attn_logit_softcapping", Some(50.0))?;
    style.logit_cap = soft_cap(reader.fields, "final_logit_softcapping", Some(30.0))?;
    // A cache of another kind, which older files name; it changes no number.
    reader.fields.raw("cache_implementation");
    style.build(reader, &shape)
}

fn gemma3(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let fields = reader.fields;
    let shape = reader.shape(Some(4), Some(256))?;
    let pattern = fields.optional_count("sliding_window_pattern")?.unwrap_or(6);
    // Written beside `layer_types`, and read by nothing: alone it would promise other windows than the class computes.
    if fields.optional_count("_sliding_window_pattern")?.is_some_and(|other| other != pattern) && fields.list("layer_types")?.is_none() {
        return Err(fields.error("`_sliding_window_pattern` without `layer_types` has no effect by the definition; add `layer_types`"));
    }
    let window = reader.sliding_window(Some(4096))?;
    let windows = reader.windows(shape.layers, window, |layer| (layer + 1) % pattern != 0)?;

    let given = fields.value("rope_parameters").cloned().unwrap_or_else(|| json!({}));
    let mut full = given.get("full_attention").filter(|value| !value.is_null()).cloned().unwrap_or_else(|| json!({}));
    let sliding = given.get("sliding_attention").filter(|value| !value.is_null()).cloned().unwrap_or_else(|| json!({}));
    if given.as_object().is_some_and(|given| given.keys().any(|key| !["full_attention", "sliding_attention"].contains(&key.as_str()))) {
        return Err(fields.error("`rope_parameters` must have an object for full_attention and one for sliding_attention"));
    }
    if let Some(Value::Object(scaling)) = fields.value("rope_scaling")
        && !scaling.contains_key("rope_type")
        && scaling.contains_key("type")
    {
        return Err(
            fields.error("`rope_scaling` names its type by the older key `type`, which the definition overlooks; write `rope_type`")
        );
    }
    if let Some(Value::Object(scaling)) = fields.value("rope_scaling")
        && let Some(full) = full.as_object_mut()
    {
        full.extend(scaling.clone());
    }
    let (global, local) =
        (fields.optional_number("rope_theta")?.unwrap_or(1e6), fields.optional_number("rope_local_base_freq")?.unwrap_or(1e4));
    let ropes = vec![reader.rope_of(&full, &shape, &ROPE, global, None)?, reader.rope_of(&sliding, &shape, &ROPE, local, None)?];

    let mut style = gemma3_style(reader, &shape, ropes)?;
    style.rope_of_layer = windows.iter().map(|window| Some(usize::from(window.is_some()))).collect();
    style.windows = windows;
    style.query_key_norm = QueryKeyNorm::Head(style.norm);
    if soft_cap(fields, "attn_logit_softcapping", None)?.is_some() {
        return Err(fields.error("`attn_logit_softcapping` is set, and the definition of Gemma 3 leaves it out"));
    }
    style.logit_cap = soft_cap(fields, "final_logit_softcapping", None)?;
    style.build(reader, &shape)
}

fn gemma3_style(reader: &Reader<'_>, shape: &Shape, ropes: Vec<Rope>) -> Loaded<LlamaStyle> {
    let fields = reader.fields;
    let attention_bias = fields.flag("attention_bias", false)?;
    fields.only("use_bidirectional_attention", &Value::Bool(false))?;
    fields.raw("hidden_act");
    Ok(LlamaStyle {
        norm: NormStyle { is_offset: true, ..NormStyle::root_mean_square(fields.number("rms_norm_eps", 1e-6)?) },
        activation: reader.activation("hidden_activation", "gelu_pytorch_tanh")?,
        query_key_value_bias: attention_bias,
        out_bias: attention_bias,
        feed_forward_bias: false,
        is_tied: fields.flag("tie_word_embeddings", true)?,
        windows: Vec::new(),
        rope_of_layer: Vec::new(),
        ropes,
        scale: 1.0 / fields.number("query_pre_attn_scalar", 256.0)?.sqrt(),
        placement: Placement::Both,
        query_key_norm: QueryKeyNorm::None,
        residual: Residual::Serial,
        is_fused: false,
        embedding_scale: (shape.hidden as f32).sqrt(),
        residual_scale: 1.0,
        logit_scale: 1.0,
        attention_cap: None,
        logit_cap: None,
    })
}

fn phi3(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    let fields = reader.fields;
    let names = RopeFields {
        default_partial: Some(1.0),
        long_names: &["su", "yarn"],
        default_original: Some(4096.0),
        scalings: Some(&["default", "longrope"]),
        rounds_up: true,
        ..ROPE
    };
    // Read with the default scaling, too, where it changes nothing.
    fields.raw("original_max_position_embeddings");
    let mut style = LlamaStyle::new(reader, &shape, false, &names)?;
    style.norm.epsilon = fields.number("rms_norm_eps", 1e-5)?;
    style.windows = vec![reader.sliding_window(None)?; shape.layers];
    style.is_fused = true;
    style.build(reader, &shape)
}

fn granite(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    let fields = reader.fields;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    let attention_bias = fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    style.feed_forward_bias = fields.flag("mlp_bias", false)?;
    style.embedding_scale = fields.number("embedding_multiplier", 1.0)?;
    style.residual_scale = fields.number("residual_multiplier", 1.0)?;
    style.scale = fields.number("attention_multiplier", 1.0)?;
    style.logit_scale = 1.0 / fields.number("logits_scaling", 1.0)?;
    style.build(reader, &shape)
}

fn olmo2(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    let fields = reader.fields;
    let mut style = LlamaStyle::new(reader, &shape, false, &ROPE)?;
    style.norm.epsilon = fields.number("rms_norm_eps", 1e-5)?;
    let attention_bias = fields.flag("attention_bias", false)?;
    (style.query_key_value_bias, style.out_bias) = (attention_bias, attention_bias);
    style.placement = Placement::After;
    style.query_key_norm = QueryKeyNorm::Row(style.norm);
    style.build(reader, &shape)
}

fn stablelm(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(Some(32), None)?;
    reader.derived_head_width(&shape)?;
    let fields = reader.fields;
    let mut style = LlamaStyle::new(reader, &shape, false, &RopeFields { default_partial: Some(0.25), ..ROPE })?;
    style.norm = NormStyle::layer(fields.number("layer_norm_eps", 1e-5)?);
    style.query_key_value_bias = fields.flag("use_qkv_bias", false)?;
    if fields.flag("qk_layernorm", false)? {
        style.query_key_norm = QueryKeyNorm::EachHead(style.norm);
    }
    if fields.flag("use_parallel_residual", false)? {
        style.residual = Residual::ParallelShared;
    }
    style.build(reader, &shape)
}

/// The parts of an architecture that does not descend from Llama.
struct Parts {
    shape: Shape,
    embedding: Table,
    layers: Vec<Layer>,
    final_norm: Option<Norm>,
    head: Linear,
}

impl Parts {
    fn decoder(self, ropes: Vec<Rope>, positions: Option<Positions>) -> Decoder {
        let longest = positions.as_ref().map(|positions| positions.table.rows - positions.offset).or(shortest_limit(&ropes));
        Decoder {
            hidden: self.shape.hidden,
            heads: self.shape.heads,
            key_value_heads: self.shape.key_value_heads,
            head_width: self.shape.head_width,
            embedding: self.embedding,
            embedding_scale: 1.0,
            positions,
            project_in: None,
            project_out: None,
            layers: self.layers,
            residual_scale: 1.0,
            final_norm: self.final_norm,
            head: self.head,
            logit_scale: 1.0,
            logit_cap: None,
            ropes,
            longest,
        }
    }
}

/// 1 by the root of a head's width.
fn root_scale(shape: &Shape) -> f32 {
    1.0 / (shape.head_width as f32).sqrt()
}

/// Attention without anything particular.
fn plain_attention(query: Linear, key: Linear, value: Linear, out: Linear, scale: f32) -> Attention {
    Attention { query, key, value, out, query_norm: None, key_norm: None, rope: None, window: None, scale, soft_cap: None }
}

fn phi(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    let fields = reader.fields;
    let rope = reader.rope(&shape, &RopeFields { default_partial: Some(0.5), ..ROPE })?;
    let norm = NormStyle::layer(fields.number("layer_norm_eps", 1e-5)?);
    let activation = reader.activation("hidden_act", "gelu_new")?;
    let has_norms = fields.flag("qk_layernorm", false)?;
    if has_norms {
        reader.derived_head_width(&shape)?;
    }
    let is_tied = fields.flag("tie_word_embeddings", false)?;
    reader.find_base("model.");
    let name = reader.embedding_name("embed_tokens.weight", "lm_head", is_tied);
    let embedding = reader.tensors.matrix(&name, shape.vocabulary, shape.hidden)?;
    let (hidden, width) = (shape.hidden, shape.head_width);
    let (queries, keys) = (shape.heads * width, shape.key_value_heads * width);
    let layer = |reader: &mut Reader<'_>, index: usize| -> Loaded<Layer> {
        let at = |part: &str| format!("layers.{index}.{part}");
        let mut attention = plain_attention(
            reader.linear(&at("self_attn.q_proj"), hidden, queries, true)?,
            reader.linear(&at("self_attn.k_proj"), hidden, keys, true)?,
            reader.linear(&at("self_attn.v_proj"), hidden, keys, true)?,
            reader.linear(&at("self_attn.dense"), queries, hidden, true)?,
            root_scale(&shape),
        );
        attention.rope = Some(0);
        if has_norms {
            attention.query_norm = Some(reader.norm(&at("self_attn.q_layernorm"), width, norm)?);
            attention.key_norm = Some(reader.norm(&at("self_attn.k_layernorm"), width, norm)?);
        }
        Ok(Layer {
            attention,
            attention_norms: Norms { before: Some(reader.norm(&at("input_layernorm"), hidden, norm)?), ..Norms::default() },
            feed_forward: FeedForward {
                gate: None,
                up: reader.linear(&at("mlp.fc1"), hidden, shape.inner, true)?,
                down: reader.linear(&at("mlp.fc2"), shape.inner, hidden, true)?,
                activation,
            },
            feed_forward_norms: Norms::default(),
            residual: Residual::ParallelShared,
        })
    };
    let layers = (0..shape.layers).map(|index| layer(reader, index)).collect::<Loaded<Vec<Layer>>>()?;
    let final_norm = Some(reader.norm("final_layernorm", hidden, norm)?);
    let head = reader.head("lm_head", &embedding, is_tied, true)?;
    let embedding = reader.tensors.table(&name)?;
    Ok(Parts { shape, embedding, layers, final_norm, head }.decoder(vec![rope], None))
}

fn gpt_neox(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let shape = reader.shape(None, None)?;
    reader.derived_head_width(&shape)?;
    let fields = reader.fields;
    if shape.key_value_heads != shape.heads {
        return Err(fields.error("`num_key_value_heads` differs from `num_attention_heads`, which GPT-NeoX does not have"));
    }
    let names = RopeFields { theta: "rotary_emb_base", partial: "rotary_pct", default_partial: Some(0.25), rounds_up: true, ..ROPE };
    let rope = reader.rope(&shape, &names)?;
    let norm = NormStyle::layer(fields.number("layer_norm_eps", 1e-5)?);
    let activation = reader.activation("hidden_act", "gelu")?;
    let has_bias = fields.flag("attention_bias", true)?;
    let residual = if fields.flag("use_parallel_residual", true)? { Residual::Parallel } else { Residual::Serial };
    let is_tied = fields.flag("tie_word_embeddings", false)?;
    let head_name = if reader.tensors.has("embed_out.weight") { "embed_out" } else { "lm_head" };
    reader.find_base("gpt_neox.");
    let name = reader.embedding_name("embed_in.weight", head_name, is_tied);
    let embedding = reader.tensors.matrix(&name, shape.vocabulary, shape.hidden)?;
    let (hidden, width) = (shape.hidden, shape.head_width);
    let layer = |reader: &mut Reader<'_>, index: usize| -> Loaded<Layer> {
        let at = |part: &str| format!("layers.{index}.{part}");
        // Query, key and value of each head stand together.
        let fused = reader.matrix(&at("attention.query_key_value.weight"), 3 * hidden, hidden)?;
        let biases = if has_bias { Some(reader.vector(&at("attention.query_key_value.bias"), 3 * hidden)?) } else { None };
        let part = |which: usize| {
            let rows = || (0..shape.heads).flat_map(move |head| (0..width).map(move |place| (3 * head + which) * width + place));
            let bias = biases.as_ref().map(|bias| rows().map(|row| bias[row]).collect());
            Linear::new(&fused.gathered(rows()), false, bias)
        };
        let out = reader.linear(&at("attention.dense"), hidden, hidden, has_bias)?;
        let mut attention = plain_attention(part(0), part(1), part(2), out, root_scale(&shape));
        attention.rope = Some(0);
        Ok(Layer {
            attention,
            attention_norms: Norms { before: Some(reader.norm(&at("input_layernorm"), hidden, norm)?), ..Norms::default() },
            feed_forward: FeedForward {
                gate: None,
                up: reader.linear(&at("mlp.dense_h_to_4h"), hidden, shape.inner, true)?,
                down: reader.linear(&at("mlp.dense_4h_to_h"), shape.inner, hidden, true)?,
                activation,
            },
            feed_forward_norms: Norms { before: Some(reader.norm(&at("post_attention_layernorm"), hidden, norm)?), ..Norms::default() },
            residual,
        })
    };
    let layers = (0..shape.layers).map(|index| layer(reader, index)).collect::<Loaded<Vec<Layer>>>()?;
    let final_norm = Some(reader.norm("final_layer_norm", hidden, norm)?);
    let head = reader.head(head_name, &embedding, is_tied, false)?;
    let embedding = reader.tensors.table(&name)?;
    Ok(Parts { shape, embedding, layers, final_norm, head }.decoder(vec![rope], None))
}

fn gpt2(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let fields = reader.fields;
    let hidden = fields.count("n_embd")?;
    let heads = fields.count("n_head")?;
    let shape = Shape {
        hidden,
        heads,
        key_value_heads: heads,
        head_width: hidden / heads,
        layers: fields.count("n_layer")?,
        inner: fields.optional_count("n_inner")?.unwrap_or(4 * hidden),
        vocabulary: fields.count("vocab_size")?,
    };
    reader.divided_by_heads(&shape)?;
    let longest = fields.count("n_positions")?;
    // An older name of the same number, and tokens that were once counted beside the vocabulary.
    fields.only("n_ctx", &json!(longest))?;
    fields.only("n_special", &json!(0))?;
    let norm = NormStyle::layer(fields.number("layer_norm_epsilon", 1e-5)?);
    let activation = reader.activation("activation_function", "gelu_new")?;
    let is_scaled = fields.flag("scale_attn_weights", true)?;
    let by_layer = fields.flag("scale_attn_by_inverse_layer_idx", false)?;
    // Only the order of operations in reduced precision changes with it.
    fields.flag("reorder_and_upcast_attn", false)?;
    let is_tied = fields.flag("tie_word_embeddings", true)?;
    reader.find_base("transformer.");
    let name = reader.embedding_name("wte.weight", "lm_head", is_tied);
    let embedding = reader.tensors.matrix(&name, shape.vocabulary, hidden)?;
    let table = reader.matrix("wpe.weight", longest, hidden)?;
    let layer = |reader: &mut Reader<'_>, index: usize| -> Loaded<Layer> {
        let at = |part: &str| format!("h.{index}.{part}");
        let fused = reader.matrix(&at("attn.c_attn.weight"), hidden, 3 * hidden)?;
        let biases = reader.vector(&at("attn.c_attn.bias"), 3 * hidden)?;
        let part = |which: usize| {
            let columns = which * hidden..(which + 1) * hidden;
            let bias = biases[columns.clone()].to_vec();
            Linear::new(&fused.columns(columns), true, Some(bias))
        };
        let mut scale = if is_scaled { root_scale(&shape) } else { 1.0 };
        if by_layer {
            scale /= (index + 1) as f32;
        }
        let out = reader.transposed(&at("attn.c_proj"), hidden, hidden)?;
        Ok(Layer {
            attention: plain_attention(part(0), part(1), part(2), out, scale),
            attention_norms: Norms { before: Some(reader.norm(&at("ln_1"), hidden, norm)?), ..Norms::default() },
            feed_forward: FeedForward {
                gate: None,
                up: reader.transposed(&at("mlp.c_fc"), hidden, shape.inner)?,
                down: reader.transposed(&at("mlp.c_proj"), shape.inner, hidden)?,
                activation,
            },
            feed_forward_norms: Norms { before: Some(reader.norm(&at("ln_2"), hidden, norm)?), ..Norms::default() },
            residual: Residual::Serial,
        })
    };
    let layers = (0..shape.layers).map(|index| layer(reader, index)).collect::<Loaded<Vec<Layer>>>()?;
    let final_norm = Some(reader.norm("ln_f", hidden, norm)?);
    let head = reader.head("lm_head", &embedding, is_tied, false)?;
    let embedding = reader.tensors.table(&name)?;
    Ok(Parts { shape, embedding, layers, final_norm, head }.decoder(Vec::new(), Some(Positions { table, offset: 0 })))
}

/// The kinds of GPT-Neo's layers: `attention_types` is a list of (kinds, how often they repeat), `attention_layers` the same written out.
fn neo_windows(fields: &Fields, layers: usize) -> Loaded<Vec<Option<usize>>> {
    let window = fields.count("window_size")?;
    let malformed = || fields.error("`attention_types` must be a list of [kinds, repetitions]");
    let default = vec![json!([["global", "local"], 12])];
    let mut kinds: Vec<String> = Vec::new();
    for entry in fields.list("attention_types")?.unwrap_or(&default) {
        let pattern = entry.get(0).and_then(Value::as_array).ok_or_else(malformed)?;
        let times = entry.get(1).and_then(Value::as_u64).ok_or_else(malformed)?;
        for _ in 0..times.min(layers as u64) {
            kinds.extend(pattern.iter().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    if let Some(written) = fields.list("attention_layers")?
        && written.iter().map(Value::as_str).ne(kinds.iter().map(|kind| Some(kind.as_str())))
    {
        return Err(fields.error("`attention_layers` and `attention_types` differ"));
    }
    if kinds.len() != layers {
        return Err(fields.error(format!("`attention_types` describes {} layers of {layers}", kinds.len())));
    }
    let window_of = |kind: &String| match kind.as_str() {
        "global" => Ok(None),
        "local" => Ok(Some(window)),
        other => Err(fields.error(format!("`attention_types` has the kind `{other}`; global and local are known"))),
    };
    kinds.iter().map(window_of).collect()
}

fn gpt_neo(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let fields = reader.fields;
    let hidden = fields.count("hidden_size")?;
    let heads = fields.count("num_heads")?;
    let shape = Shape {
        hidden,
        heads,
        key_value_heads: heads,
        head_width: hidden / heads,
        layers: fields.count("num_layers")?,
        inner: fields.optional_count("intermediate_size")?.unwrap_or(4 * hidden),
        vocabulary: fields.count("vocab_size")?,
    };
    reader.divided_by_heads(&shape)?;
    let longest = fields.count("max_position_embeddings")?;
    let norm = NormStyle::layer(fields.number("layer_norm_epsilon", 1e-5)?);
    let activation = reader.activation("activation_function", "gelu_new")?;
    let windows = neo_windows(fields, shape.layers)?;
    let is_tied = fields.flag("tie_word_embeddings", true)?;
    reader.find_base("transformer.");
    let name = reader.embedding_name("wte.weight", "lm_head", is_tied);
    let embedding = reader.tensors.matrix(&name, shape.vocabulary, hidden)?;
    let table = reader.matrix("wpe.weight", longest, hidden)?;
    let layer = |reader: &mut Reader<'_>, index: usize| -> Loaded<Layer> {
        let at = |part: &str| format!("h.{index}.{part}");
        // The scores are not scaled.
        let mut attention = plain_attention(
            reader.linear(&at("attn.attention.q_proj"), hidden, hidden, false)?,
            reader.linear(&at("attn.attention.k_proj"), hidden, hidden, false)?,
            reader.linear(&at("attn.attention.v_proj"), hidden, hidden, false)?,
            reader.linear(&at("attn.attention.out_proj"), hidden, hidden, true)?,
            1.0,
        );
        attention.window = windows[index];
        Ok(Layer {
            attention,
            attention_norms: Norms { before: Some(reader.norm(&at("ln_1"), hidden, norm)?), ..Norms::default() },
            feed_forward: FeedForward {
                gate: None,
                up: reader.linear(&at("mlp.c_fc"), hidden, shape.inner, true)?,
                down: reader.linear(&at("mlp.c_proj"), shape.inner, hidden, true)?,
                activation,
            },
            feed_forward_norms: Norms { before: Some(reader.norm(&at("ln_2"), hidden, norm)?), ..Norms::default() },
            residual: Residual::Serial,
        })
    };
    let layers = (0..shape.layers).map(|index| layer(reader, index)).collect::<Loaded<Vec<Layer>>>()?;
    let final_norm = Some(reader.norm("ln_f", hidden, norm)?);
    let head = reader.head("lm_head", &embedding, is_tied, false)?;
    let embedding = reader.tensors.table(&name)?;
    Ok(Parts { shape, embedding, layers, final_norm, head }.decoder(Vec::new(), Some(Positions { table, offset: 0 })))
}

fn opt(reader: &mut Reader<'_>) -> Loaded<Decoder> {
    let fields = reader.fields;
    let hidden = fields.count("hidden_size")?;
    let heads = fields.count("num_attention_heads")?;
    let shape = Shape {
        hidden,
        heads,
        key_value_heads: heads,
        head_width: hidden / heads,
        layers: fields.count("num_hidden_layers")?,
        inner: fields.count("ffn_dim")?,
        vocabulary: fields.count("vocab_size")?,
    };
    reader.divided_by_heads(&shape)?;
    let longest = fields.count("max_position_embeddings")?;
    let has_bias = fields.flag("enable_bias", true)?;
    let is_affine = fields.flag("layer_norm_elementwise_affine", true)?;
    let norm = NormStyle { has_weight: is_affine, has_bias: is_affine, ..NormStyle::layer(1e-5) };
    let activation = reader.activation("activation_function", "relu")?;
    let is_before = fields.flag("do_layer_norm_before", true)?;
    let is_final_removed = fields.flag("_remove_final_layer_norm", false)?;
    let width = fields.optional_count("word_embed_proj_dim")?.unwrap_or(hidden);
    let is_tied = fields.flag("tie_word_embeddings", true)?;
    reader.find_base("model.");
    let name = reader.embedding_name("decoder.embed_tokens.weight", "lm_head", is_tied);
    let embedding = reader.tensors.matrix(&name, shape.vocabulary, width)?;
    let table = reader.matrix("decoder.embed_positions.weight", longest + 2, hidden)?;
    let layer = |reader: &mut Reader<'_>, index: usize| -> Loaded<Layer> {
        let at = |part: &str| format!("decoder.layers.{index}.{part}");
        let attention = plain_attention(
            reader.linear(&at("self_attn.q_proj"), hidden, hidden, has_bias)?,
            reader.linear(&at("self_attn.k_proj"), hidden, hidden, has_bias)?,
            reader.linear(&at("self_attn.v_proj"), hidden, hidden, has_bias)?,
            reader.linear(&at("self_attn.out_proj"), hidden, hidden, has_bias)?,
            root_scale(&shape),
        );
        let place = |norm: Norm| {
            if is_before { Norms { before: Some(norm), ..Norms::default() } } else { Norms { sum: Some(norm), ..Norms::default() } }
        };
        Ok(Layer {
            attention,
            attention_norms: place(reader.norm(&at("self_attn_layer_norm"), hidden, norm)?),
            feed_forward: FeedForward {
                gate: None,
                up: reader.linear(&at("fc1"), hidden, shape.inner, has_bias)?,
                down: reader.linear(&at("fc2"), shape.inner, hidden, has_bias)?,
                activation,
            },
            feed_forward_norms: place(reader.norm(&at("final_layer_norm"), hidden, norm)?),
            residual: Residual::Serial,
        })
    };
    let layers = (0..shape.layers).map(|index| layer(reader, index)).collect::<Loaded<Vec<Layer>>>()?;
    let final_norm = if is_before && !is_final_removed { Some(reader.norm("decoder.final_layer_norm", hidden, norm)?) } else { None };
    let (project_in, project_out) = if width == hidden {
        (None, None)
    } else {
        (
            Some(reader.linear("decoder.project_in", width, hidden, false)?),
            Some(reader.linear("decoder.project_out", hidden, width, false)?),
        )
    };
    let head = reader.head("lm_head", &embedding, is_tied, false)?;
    let embedding = reader.tensors.table(&name)?;
    let decoder = Parts { shape, embedding, layers, final_norm, head }.decoder(Vec::new(), Some(Positions { table, offset: 2 }));
    Ok(Decoder { project_in, project_out, ..decoder })
}

#[cfg(test)]
mod tests {
    use super::FAMILIES;
    use crate::engine::architectures::SUPPORTED;

    /// A submission is checked against a list that knows no engine: it must have what the engine has.
    #[test]
    fn every_family_is_accepted_in_submissions() {
        for family in FAMILIES {
            assert!(SUPPORTED.iter().any(|known| known.class == family.class), "{}", family.class);
        }
    }
}
