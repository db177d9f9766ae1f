//! DeBERTa v2 and v3.

use serde::Deserialize;
use serde_json::Value;

use crate::model::config::fields::Activation;
use crate::model::config::fields::activation;
use crate::model::config::fields::check_sizes;
use crate::model::config::fields::refused;
use crate::model::error::ModelError;

/// A DeBERTa encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DebertaV2Config {
    /// H.
    pub hidden_size: usize,
    /// Width of the token table; projected to H where it is not H.
    pub embedding_size: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub norm_eps: f64,
    /// Token ids.
    pub vocab_size: usize,
    /// Most tokens in one input.
    pub positions: usize,
    /// Whether absolute positions are added to the input.
    pub absolute_positions: bool,
    /// Rows of the token type table; 0 where there is none.
    pub token_types: usize,
    /// Relative positions; `None` where attention has none.
    pub relative: Option<RelativePositions>,
    /// The convolution beside the first layer.
    pub convolution: Option<Convolution>,
}

/// Disentangled attention (arXiv 2006.03654).
#[derive(Debug, Clone, PartialEq)]
pub struct RelativePositions {
    /// Buckets on each side; 0 where every distance has a row of its own.
    pub buckets: usize,
    /// Distances from this on share a row.
    pub max_distance: usize,
    /// Rows on each side of the table.
    pub span: usize,
    /// Content to position.
    pub c2p: bool,
    /// Position to content.
    pub p2c: bool,
    /// Whether positions go through the keys' and queries' own projections.
    pub share_key: bool,
    /// Whether the table goes through a layer norm.
    pub norm: bool,
}

/// A convolution over the tokens, added to the first layer's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Tokens that it reads, an odd number.
    pub kernel: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Its non-linearity.
    pub activation: Activation,
}

/// The file.
#[derive(Deserialize)]
pub struct RawDebertaV2 {
    hidden_size: usize,
    embedding_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    attention_head_size: Option<usize>,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "norm_eps")]
    layer_norm_eps: f64,
    vocab_size: usize,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default = "unset")]
    max_relative_positions: i64,
    #[serde(default = "unset")]
    position_buckets: i64,
    #[serde(default)]
    pos_att_type: Value,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default = "none")]
    norm_rel_ebd: String,
    #[serde(default)]
    conv_kernel_size: usize,
    conv_groups: Option<usize>,
    conv_act: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn none() -> String {
    "none".to_owned()
}

fn norm_eps() -> f64 {
    1e-7
}

fn positions() -> usize {
    512
}

fn yes() -> bool {
    true
}

fn unset() -> i64 {
    -1
}

/// Resolves the file.
pub fn resolve(raw: RawDebertaV2) -> Result<DebertaV2Config, ModelError> {
    let embedding_size = raw.embedding_size.unwrap_or(raw.hidden_size);
    let head_width = raw.attention_head_size.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1));
    check_sizes(&[
        ("hidden_size", raw.hidden_size),
        ("embedding_size", embedding_size),
        ("num_hidden_layers", raw.num_hidden_layers),
        ("num_attention_heads", raw.num_attention_heads),
        ("attention_head_size", head_width),
        ("intermediate_size", raw.intermediate_size),
        ("vocab_size", raw.vocab_size),
        ("max_position_embeddings", raw.max_position_embeddings),
    ])?;
    if head_width * raw.num_attention_heads != raw.hidden_size {
        return Err(refused("num_attention_heads", raw.num_attention_heads, "a divisor of hidden_size"));
    }
    Ok(DebertaV2Config {
        hidden_size: raw.hidden_size,
        embedding_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        head_width,
        intermediate_size: raw.intermediate_size,
        activation: activation("hidden_act", &raw.hidden_act)?,
        norm_eps: raw.layer_norm_eps,
        vocab_size: raw.vocab_size,
        positions: raw.max_position_embeddings,
        absolute_positions: raw.position_biased_input,
        token_types: raw.type_vocab_size,
        relative: relative(&raw)?,
        convolution: convolution(&raw)?,
    })
}

fn relative(raw: &RawDebertaV2) -> Result<Option<RelativePositions>, ModelError> {
    if !raw.relative_attention {
        return Ok(None);
    }
    let positive = |value: i64| usize::try_from(value).ok().filter(|value| *value > 0);
    let max_distance = positive(raw.max_relative_positions).unwrap_or(raw.max_position_embeddings);
    let buckets = positive(raw.position_buckets).unwrap_or(0);
    check_sizes(&[("max_relative_positions", max_distance), ("position_buckets", buckets.max(1))])?;
    // The buckets' logarithm needs a middle, and distances beyond it.
    if buckets == 1 || (buckets > 0 && max_distance <= buckets / 2 + 1) {
        return Err(refused("position_buckets", buckets, "2 to twice max_relative_positions"));
    }
    let norm = match raw.norm_rel_ebd.as_str() {
        "none" => false,
        "layer_norm" => true,
        other => return Err(refused("norm_rel_ebd", other, "none, layer_norm")),
    };
    let kinds = position_kinds(&raw.pos_att_type)?;
    let (c2p, p2c) = (kinds.iter().any(|kind| kind == "c2p"), kinds.iter().any(|kind| kind == "p2c"));
    let span = if buckets > 0 { buckets } else { max_distance };
    Ok(Some(RelativePositions { buckets, max_distance, span, c2p, p2c, share_key: raw.share_att_key, norm }))
}

/// `["c2p", "p2c"]`, or `"c2p|p2c"` as in older files.
fn position_kinds(value: &Value) -> Result<Vec<String>, ModelError> {
    let kinds: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => {
            text.split('|').filter(|kind| !kind.trim().is_empty()).map(|kind| kind.trim().to_owned()).collect()
        }
        Value::Array(list) => list.iter().map(|kind| kind.as_str().unwrap_or_default().to_owned()).collect(),
        other => return Err(refused("pos_att_type", other, "c2p, p2c")),
    };
    match kinds.iter().find(|kind| !matches!(kind.as_str(), "c2p" | "p2c")) {
        Some(other) => Err(refused("pos_att_type", other, "c2p, p2c")),
        None => Ok(kinds),
    }
}

fn convolution(raw: &RawDebertaV2) -> Result<Option<Convolution>, ModelError> {
    if raw.conv_kernel_size == 0 {
        return Ok(None);
    }
    let groups = raw.conv_groups.unwrap_or(1);
    check_sizes(&[("conv_kernel_size", raw.conv_kernel_size), ("conv_groups", groups)])?;
    if raw.conv_kernel_size.is_multiple_of(2) {
        return Err(refused("conv_kernel_size", raw.conv_kernel_size, "an odd number"));
    }
    if !raw.hidden_size.is_multiple_of(groups) {
        return Err(refused("conv_groups", groups, "a divisor of hidden_size"));
    }
    let activation = activation("conv_act", raw.conv_act.as_deref().unwrap_or("tanh"))?;
    Ok(Some(Convolution { kernel: raw.conv_kernel_size, groups, activation }))
}
