//! A decoder as data: what distinguishes one architecture from another, and the weights.

use super::kernels::{self, Activation};
use super::product::Packed;
use super::weights::{Matrix, Table};

/// A linear map y = W x + b.
pub(super) struct Linear {
    weight: Packed,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Packs weights outputs × inputs, or inputs × outputs where `is_transposed` says so.
    pub(super) fn new(weight: &Matrix, is_transposed: bool, bias: Option<Vec<f32>>) -> Self {
        Self { weight: Packed::new(weight, is_transposed), bias }
    }

    pub(super) fn inputs(&self) -> usize {
        self.weight.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.weight.outputs
    }

    /// Applies the map to `rows` rows: `out` is rows × outputs.
    pub(super) fn apply(&self, input: &[f32], rows: usize, out: &mut [f32]) {
        self.weight.apply(input, rows, self.bias.as_deref(), out);
    }
}

/// Normalisation of a row, or of each group of its elements.
pub(super) struct Norm {
    pub(super) kind: NormKind,
    pub(super) epsilon: f32,
    /// Elements that are normalised together: the row's width, or a head's.
    pub(super) group: usize,
    /// One for each element of a group, or of the row; none: not scaled.
    pub(super) weight: Option<Vec<f32>>,
    pub(super) bias: Option<Vec<f32>>,
}

/// How a row is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NormKind {
    /// By the root of the mean of squares.
    RootMeanSquare,
    /// By mean and standard deviation.
    Layer,
}

impl Norm {
    /// Normalises one row in place.
    pub(super) fn apply(&self, row: &mut [f32]) {
        kernels::widest(ApplyNorm { norm: self, row });
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for the instruction set of its caller")]
    fn apply_here(&self, row: &mut [f32]) {
        let count = self.group as f32;
        for (index, group) in row.chunks_exact_mut(self.group).enumerate() {
            let mean = match self.kind {
                NormKind::RootMeanSquare => 0.0,
                NormKind::Layer => kernels::sum_of(group, |x| x) / count,
            };
            let variance = kernels::sum_of(group, |x| (x - mean) * (x - mean)) / count;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            let part = |values: &'_ [f32]| if values.len() == self.group { 0 } else { index * self.group };
            match &self.weight {
                Some(weight) => {
                    let weight = &weight[part(weight)..][..self.group];
                    for (value, weight) in group.iter_mut().zip(weight) {
                        *value = (*value - mean) * scale * weight;
                    }
                }
                None => group.iter_mut().for_each(|value| *value = (*value - mean) * scale),
            }
            if let Some(bias) = &self.bias {
                for (value, bias) in group.iter_mut().zip(&bias[part(bias)..][..self.group]) {
                    *value += bias;
                }
            }
        }
    }

    /// Normalises all rows in place.
    pub(super) fn apply_all(&self, data: &mut [f32], width: usize) {
        kernels::each_row(data, width, |_, row| self.apply(row));
    }
}

struct ApplyNorm<'a> {
    norm: &'a Norm,
    row: &'a mut [f32],
}

impl kernels::Loop for ApplyNorm<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for the instruction set of its caller")]
    fn run(self) {
        self.norm.apply_here(self.row);
    }
}

/// Where the normalisations of one branch (attention or feed-forward) stand.
#[derive(Default)]
pub(super) struct Norms {
    /// On what the branch reads.
    pub(super) before: Option<Norm>,
    /// On what the branch gives, before it is added.
    pub(super) after: Option<Norm>,
    /// On the sum.
    pub(super) sum: Option<Norm>,
}

/// The attention of one layer.
pub(super) struct Attention {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) out: Linear,
    pub(super) query_norm: Option<Norm>,
    pub(super) key_norm: Option<Norm>,
    /// Index into [`Decoder::ropes`]; none: positions do not enter this layer.
    pub(super) rope: Option<usize>,
    /// Number of latest positions that a row sees, its own included; none: all.
    pub(super) window: Option<usize>,
    /// Factor of the products of queries and keys.
    pub(super) scale: f32,
    /// Bound of the scores.
    pub(super) soft_cap: Option<f32>,
}

/// The feed-forward block of one layer.
pub(super) struct FeedForward {
    /// The half that goes through the activation alone and multiplies `up`; none: `up` itself is activated.
    pub(super) gate: Option<Linear>,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) activation: Activation,
}

/// What the feed-forward block of a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residual {
    /// The stream after attention was added.
    Serial,
    /// The layer's input, normalised for itself.
    Parallel,
    /// The layer's input as normalised for attention.
    ParallelShared,
}

/// One layer.
pub(super) struct Layer {
    pub(super) attention: Attention,
    pub(super) attention_norms: Norms,
    pub(super) feed_forward: FeedForward,
    pub(super) feed_forward_norms: Norms,
    pub(super) residual: Residual,
}

/// Learned positions: a table whose row `position + offset` is added to the embedding.
pub(super) struct Positions {
    pub(super) table: Matrix,
    pub(super) offset: usize,
}

/// A whole model.
pub(super) struct Decoder {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) key_value_heads: usize,
    pub(super) head_width: usize,
    pub(super) embedding: Table,
    pub(super) embedding_scale: f32,
    pub(super) positions: Option<Positions>,
    /// From the embedding's width to the layers'.
    pub(super) project_in: Option<Linear>,
    pub(super) project_out: Option<Linear>,
    pub(super) layers: Vec<Layer>,
    /// Factor of each branch before it is added to the stream.
    pub(super) residual_scale: f32,
    pub(super) final_norm: Option<Norm>,
    pub(super) head: Linear,
    /// Factor of the logits.
    pub(super) logit_scale: f32,
    pub(super) logit_cap: Option<f32>,
    pub(super) ropes: Vec<super::rope::Rope>,
    /// Longest sequence for which positions are defined; none: any.
    pub(super) longest: Option<usize>,
}

impl Decoder {
    /// Number of logits.
    pub(super) fn vocabulary(&self) -> usize {
        self.head.outputs()
    }

    /// Elements of the keys (or values) of one row.
    pub(super) fn key_width(&self) -> usize {
        self.key_value_heads * self.head_width
    }

    /// Elements of the queries of one row.
    pub(super) fn query_width(&self) -> usize {
        self.heads * self.head_width
    }
}
