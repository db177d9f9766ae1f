//! `config.json` of a Hugging Face folder, resolved once into plain configurations. Owns what is supported; whatever would
//! change the mathematics and is not supported is refused by the name of its field, never ignored.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::model::ModelError;

/// Configuration of one of the families.
#[derive(Debug, Clone, PartialEq)]
pub enum Config {
    /// BERT, MiniLM, RoBERTa, XLM-RoBERTa, CamemBERT.
    Bert(BertConfig),
}

/// Non-linearity of the feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Exact GELU (with erf).
    Gelu,
    /// GELU with tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x * sigmoid(x).
    Silu,
}

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
struct RawBert {
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

/// Reads and resolves `config.json`.
pub fn read(folder: &Path) -> Result<Config, ModelError> {
    let text = fs::read(folder.join("config.json"))
        .map_err(|e| ModelError::folder(format!("config.json of the backbone cannot be read: {e}")))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| ModelError::folder(format!("config.json: {e}")))?;
    resolve(value)
}

fn resolve(value: Value) -> Result<Config, ModelError> {
    let family = value.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match family.as_str() {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => {
            let raw = serde_json::from_value(value).map_err(|e| ModelError::folder(format!("config.json: {e}")))?;
            bert(family, raw).map(Config::Bert)
        }
        "" => Err(ModelError::folder("config.json: model_type is missing")),
        other => Err(refused("model_type", other, "bert, roberta, xlm-roberta or camembert")),
    }
}

fn refused(field: &str, value: impl std::fmt::Display, supported: &str) -> ModelError {
    ModelError::folder(format!("config.json: {field} '{value}' is not supported (supported: {supported})"))
}

fn bert(family: String, raw: RawBert) -> Result<BertConfig, ModelError> {
    let positions = raw.position_embedding_type.as_deref().unwrap_or("absolute");
    if positions != "absolute" {
        return Err(refused("position_embedding_type", positions, "absolute"));
    }
    for (field, set) in [("is_decoder", raw.is_decoder), ("add_cross_attention", raw.add_cross_attention)] {
        if set {
            return Err(refused(field, true, "false"));
        }
    }
    let sizes = [
        ("hidden_size", raw.hidden_size),
        ("num_hidden_layers", raw.num_hidden_layers),
        ("num_attention_heads", raw.num_attention_heads),
        ("intermediate_size", raw.intermediate_size),
        ("vocab_size", raw.vocab_size),
        ("max_position_embeddings", raw.max_position_embeddings),
        ("type_vocab_size", raw.type_vocab_size),
    ];
    if let Some((field, size)) = sizes.into_iter().find(|(_, size)| !(1..=1 << 24).contains(size)) {
        return Err(refused(field, size, "1 to 16777216"));
    }
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
        activation: activation(&raw.hidden_act)?,
        norm_eps: raw.layer_norm_eps,
        vocab_size: raw.vocab_size,
        positions: raw.max_position_embeddings,
        first_position,
        token_types: raw.type_vocab_size,
    })
}

/// Names as in transformers' `ACT2FN`.
fn activation(name: &str) -> Result<Activation, ModelError> {
    match name {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => Err(refused("hidden_act", other, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, swish")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Value {
        serde_json::json!({
            "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 12, "pad_token_id": 1,
        })
    }

    #[test]
    fn positions_start_at_zero_for_bert_and_after_the_padding_for_roberta() {
        for (family, first) in [("bert", 0), ("roberta", 2), ("xlm-roberta", 2)] {
            let mut value = tiny();
            value["model_type"] = family.into();
            let Config::Bert(config) = resolve(value).expect("supported");
            assert_eq!(config.first_position, first, "{family}");
        }
    }

    #[test]
    fn what_would_change_the_mathematics_is_refused_by_name() {
        let cases = [
            ("model_type", Value::from("gpt2")),
            ("position_embedding_type", "relative_key".into()),
            ("is_decoder", true.into()),
            ("add_cross_attention", true.into()),
            ("hidden_act", "mish".into()),
            ("num_attention_heads", 3.into()),
            ("hidden_size", 0.into()),
            ("max_position_embeddings", 0.into()),
        ];
        for (field, spoiled) in cases {
            let mut value = tiny();
            value[field] = spoiled;
            let text = resolve(value).expect_err(field).to_string();
            assert!(text.contains(field), "{text}");
        }
    }
}
