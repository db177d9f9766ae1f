//! `config.json` of a Hugging Face folder, resolved once into plain configurations. Owns what is supported; whatever would
//! change the mathematics and is not supported is refused by the name of its field, never ignored.

pub mod bert;
pub mod deberta_v2;
pub mod fields;
pub mod llama;
pub mod t5;

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::config::fields::refused;
use crate::model::error::ModelError;

pub use bert::BertConfig;
pub use deberta_v2::DebertaV2Config;
pub use fields::Activation;
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
