//! T5 (v1.0 and v1.1) and Flan-T5.

use serde::Deserialize;

use crate::model::config::fields::Activation;
use crate::model::config::fields::TokenId;
use crate::model::config::fields::activation;
use crate::model::config::fields::check_sizes;
use crate::model::config::fields::refused;
use crate::model::error::ModelError;

/// A T5 encoder and decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct T5Config {
    /// H.
    pub hidden_size: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head; heads times width need not be H.
    pub head_width: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Whether a second product gates the first (v1.1).
    pub gated: bool,
    /// Added to the mean square in norms.
    pub norm_eps: f64,
    /// Token ids.
    pub vocab_size: usize,
    /// Most tokens in one input.
    pub positions: usize,
    /// Buckets of relative positions.
    pub buckets: usize,
    /// Distance from which on all share a bucket.
    pub max_distance: usize,
    /// End-of-sequence token: the cut is at its last one.
    pub eos: i64,
    /// What the decoder reads first.
    pub start: i64,
}

/// The file.
#[derive(Deserialize)]
pub struct RawT5 {
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default = "max_distance")]
    relative_attention_max_distance: usize,
    #[serde(default = "norm_eps")]
    layer_norm_epsilon: f64,
    feed_forward_proj: Option<String>,
    vocab_size: usize,
    n_positions: Option<usize>,
    eos_token_id: Option<TokenId>,
    decoder_start_token_id: Option<TokenId>,
    pad_token_id: Option<TokenId>,
}

fn buckets() -> usize {
    32
}

fn max_distance() -> usize {
    128
}

fn norm_eps() -> f64 {
    1e-6
}

/// Relative positions have no end; tokenizers of T5 cut here.
const POSITIONS: usize = 512;

/// Resolves the file.
pub fn resolve(raw: RawT5) -> Result<T5Config, ModelError> {
    let decoder_layers = raw.num_decoder_layers.unwrap_or(raw.num_layers);
    let positions = raw.n_positions.unwrap_or(POSITIONS);
    check_sizes(&[
        ("d_model", raw.d_model),
        ("d_kv", raw.d_kv),
        ("d_ff", raw.d_ff),
        ("num_layers", raw.num_layers),
        ("num_decoder_layers", decoder_layers),
        ("num_heads", raw.num_heads),
        ("vocab_size", raw.vocab_size),
        ("n_positions", positions),
    ])?;
    // Half of the buckets for each direction, and half of those for single distances.
    if raw.relative_attention_num_buckets < 4 || raw.relative_attention_num_buckets > 1 << 16 {
        return Err(refused("relative_attention_num_buckets", raw.relative_attention_num_buckets, "4 to 65536"));
    }
    if raw.relative_attention_max_distance <= raw.relative_attention_num_buckets / 2 {
        let distance = raw.relative_attention_max_distance;
        return Err(refused("relative_attention_max_distance", distance, "more than half of the buckets"));
    }
    let (activation, gated) = feed_forward(raw.feed_forward_proj.as_deref().unwrap_or("relu"))?;
    let id = |id: &Option<TokenId>, default| id.as_ref().and_then(TokenId::first).unwrap_or(default);
    let eos = id(&raw.eos_token_id, 1);
    let start = id(&raw.decoder_start_token_id, id(&raw.pad_token_id, 0));
    for (field, id) in [("eos_token_id", eos), ("decoder_start_token_id", start)] {
        if !usize::try_from(id).is_ok_and(|id| id < raw.vocab_size) {
            return Err(refused(field, id, "an id of the vocabulary"));
        }
    }
    Ok(T5Config {
        hidden_size: raw.d_model,
        encoder_layers: raw.num_layers,
        decoder_layers,
        heads: raw.num_heads,
        head_width: raw.d_kv,
        intermediate_size: raw.d_ff,
        activation,
        gated,
        norm_eps: raw.layer_norm_epsilon,
        vocab_size: raw.vocab_size,
        positions,
        buckets: raw.relative_attention_num_buckets,
        max_distance: raw.relative_attention_max_distance,
        eos,
        start,
    })
}

/// `relu`, `gated-gelu`: with a gate, "gelu" is the one with tanh, as in transformers.
fn feed_forward(name: &str) -> Result<(Activation, bool), ModelError> {
    match name.strip_prefix("gated-") {
        Some("gelu") => Ok((Activation::GeluTanh, true)),
        Some(gated) => Ok((activation("feed_forward_proj", gated)?, true)),
        None => Ok((activation("feed_forward_proj", name)?, false)),
    }
}
