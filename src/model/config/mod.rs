//! `config.json` of a Hugging Face folder, resolved once into plain configurations. Owns what is supported; whatever would
//! change the mathematics and is not supported is refused by the name of its field, never ignored.

pub mod bert;
pub mod deberta_v2;
pub mod llama;
pub mod t5;

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::ModelError;

pub use bert::BertConfig;
pub use deberta_v2::DebertaV2Config;
pub use llama::LlamaConfig;
pub use t5::T5Config;

/// Configuration of one of the families.
#[derive(Debug, Clone, PartialEq)]
pub enum Config {
    /// BERT, MiniLM, RoBERTa, XLM-RoBERTa, CamemBERT.
    Bert(BertConfig),
    /// DeBERTa v2 and v3.
    DebertaV2(DebertaV2Config),
    /// T5 and Flan-T5.
    T5(T5Config),
    /// LLaMA 2 and 3, Mistral, Qwen2.
    Llama(LlamaConfig),
}

/// Non-linearity.
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
    /// Hyperbolic tangent.
    Tanh,
}

const FAMILIES: &str =
    "bert, roberta, xlm-roberta, camembert, deberta-v2 (v3 too), t5 (Flan-T5 too), llama, mistral or qwen2";

/// Reads and resolves `config.json`.
pub fn read(folder: &Path) -> Result<Config, ModelError> {
    let text = fs::read(folder.join("config.json"))
        .map_err(|e| ModelError::folder(format!("config.json of the backbone cannot be read: {e}")))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| ModelError::folder(format!("config.json: {e}")))?;
    resolve(value)
}

fn resolve(value: Value) -> Result<Config, ModelError> {
    if let Some(set) = value.get("quantization_config").filter(|set| !set.is_null()) {
        let method = set.get("quant_method").and_then(Value::as_str).unwrap_or("set");
        return Err(refused("quantization_config", method, "none; the host quantizes plain weights: precision nf4"));
    }
    let family = value.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match family.as_str() {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => bert::resolve(family, raw(value)?).map(Config::Bert),
        "deberta-v2" => deberta_v2::resolve(raw(value)?).map(Config::DebertaV2),
        "t5" => t5::resolve(raw(value)?).map(Config::T5),
        "llama" | "mistral" | "qwen2" => llama::resolve(family, raw(value)?).map(Config::Llama),
        "" => Err(ModelError::folder("config.json: model_type is missing")),
        other => Err(refused("model_type", other, FAMILIES)),
    }
}

fn raw<T: DeserializeOwned>(value: Value) -> Result<T, ModelError> {
    serde_path_to_error::deserialize(value).map_err(|e| ModelError::folder(format!("config.json: {e}")))
}

fn refused(field: &str, value: impl fmt::Display, supported: &str) -> ModelError {
    ModelError::folder(format!("config.json: {field} '{value}' is not supported (supported: {supported})"))
}

/// Refuses flags that are set.
fn refuse_set(flags: &[(&str, bool)]) -> Result<(), ModelError> {
    match flags.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(refused(field, true, "false")),
        None => Ok(()),
    }
}

/// Refuses sizes that no backbone has: what is allocated from them stays within bounds.
fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, size)| !(1..=1 << 24).contains(size)) {
        Some((field, size)) => Err(refused(field, size, "1 to 16777216")),
        None => Ok(()),
    }
}

/// Names as in transformers' `ACT2FN`.
fn activation(field: &str, name: &str) -> Result<Activation, ModelError> {
    match name {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        other => Err(refused(field, other, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, swish, tanh")),
    }
}

/// One token id, or a list of which the first counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenId {
    One(i64),
    Several(Vec<i64>),
}

impl TokenId {
    fn first(&self) -> Option<i64> {
        match self {
            Self::One(id) => Some(*id),
            Self::Several(ids) => ids.first().copied(),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
