//! BERT, MiniLM, RoBERTa, XLM-RoBERTa, CamemBERT.

use serde::Deserialize;

use crate::model::config::fields::Activation;
use crate::model::config::fields::activation;
use crate::model::config::fields::check_sizes;
use crate::model::config::fields::refuse_set;
use crate::model::config::fields::refused;
use crate::model::error::ModelError;

/// A BERT-like encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// `bert` or `roberta`, ... : the configuration's own word.
    pub family: String,
    /// H.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub norm_eps: f64,
    /// Token ids.
    pub vocab_size: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Position of an input's first token: 0 for BERT, `pad_token_id + 1` for RoBERTa.
    pub first_position: usize,
    /// Rows of the token type table.
    pub token_types: usize,
}

#[derive(Deserialize)]
/// The file.
pub struct RawBert {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "norm_eps")]
    layer_norm_eps: f64,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    pad_token_id: Option<usize>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn norm_eps() -> f64 {
    1e-12
}

fn two() -> usize {
    2
}

/// Resolves the file.
pub fn resolve(family: String, raw: RawBert) -> Result<BertConfig, ModelError> {
    let positions = raw.position_embedding_type.as_deref().unwrap_or("absolute");
    if positions != "absolute" {
        return Err(refused("position_embedding_type", positions, "absolute"));
    }
    refuse_set(&[("is_decoder", raw.is_decoder), ("add_cross_attention", raw.add_cross_attention)])?;
    check_sizes(&[
        ("hidden_size", raw.hidden_size),
        ("num_hidden_layers", raw.num_hidden_layers),
        ("num_attention_heads", raw.num_attention_heads),
        ("intermediate_size", raw.intermediate_size),
        ("vocab_size", raw.vocab_size),
        ("max_position_embeddings", raw.max_position_embeddings),
        ("type_vocab_size", raw.type_vocab_size),
    ])?;
    if !raw.hidden_size.is_multiple_of(raw.num_attention_heads) {
        return Err(refused("num_attention_heads", raw.num_attention_heads, "a divisor of hidden_size"));
    }
    // RoBERTa counts positions from pad_token_id + 1, a leftover of fairseq's padding-aware position table.
    let first_position = if family == "bert" { 0 } else { raw.pad_token_id.unwrap_or(1) + 1 };
    if first_position >= raw.max_position_embeddings {
        return Err(refused("max_position_embeddings", raw.max_position_embeddings, "more than pad_token_id + 1"));
    }
    Ok(BertConfig {
        family,
        hidden_size: raw.hidden_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        intermediate_size: raw.intermediate_size,
        activation: activation("hidden_act", &raw.hidden_act)?,
        norm_eps: raw.layer_norm_eps,
        vocab_size: raw.vocab_size,
        positions: raw.max_position_embeddings,
        first_position,
        token_types: raw.type_vocab_size,
    })
}
