//! LLaMA 2 and 3, Mistral, Qwen2.

use serde::Deserialize;
use serde_json::Value;

use crate::model::config::fields::Activation;
use crate::model::config::fields::activation;
use crate::model::config::fields::check_sizes;
use crate::model::config::fields::refuse_set;
use crate::model::config::fields::refused;
use crate::model::error::ModelError;

/// A LLaMA-like decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// `llama`, `mistral` or `qwen2`.
    pub family: String,
    /// H.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the gate.
    pub activation: Activation,
    /// Added to the mean square in norms.
    pub norm_eps: f64,
    /// Token ids.
    pub vocab_size: usize,
    /// Most tokens in one input.
    pub positions: usize,
    /// Rotary positions.
    pub rope: Rope,
    /// By layer: how many tokens back a token sees, itself included; `None` is all.
    pub windows: Vec<Option<usize>>,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
}

/// Rotary position embeddings (arXiv 2104.09864).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Stretched frequencies.
    pub scaling: RopeScaling,
}

/// How the frequencies are stretched for longer inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by the factor.
    Linear(f64),
    /// LLaMA 3.1: low frequencies divided by the factor, high ones kept, a smooth change between.
    Llama3 {
        /// What low frequencies are divided by.
        factor: f64,
        /// Wavelengths over `original / low` are low frequencies.
        low: f64,
        /// Wavelengths under `original / high` are high frequencies.
        high: f64,
        /// Positions before stretching.
        original: f64,
    },
}

/// The file. Rotary settings stand in `rope_parameters` since transformers 5, in `rope_theta` and `rope_scaling` before.
#[derive(Deserialize)]
pub struct RawLlama {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "norm_eps")]
    rms_norm_eps: f64,
    vocab_size: usize,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    sliding_window: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    partial_rotary_factor: Option<f64>,
    pretraining_tp: Option<i64>,
}

#[derive(Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<Value>,
}

fn silu() -> String {
    "silu".to_owned()
}

fn norm_eps() -> f64 {
    1e-6
}

fn positions() -> usize {
    2048
}

/// Resolves the file.
pub fn resolve(family: String, raw: RawLlama) -> Result<LlamaConfig, ModelError> {
    let qwen = family == "qwen2";
    let key_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
    let head_width = raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1));
    check_sizes(&[
        ("hidden_size", raw.hidden_size),
        ("num_hidden_layers", raw.num_hidden_layers),
        ("num_attention_heads", raw.num_attention_heads),
        ("num_key_value_heads", key_heads),
        ("head_dim", head_width),
        ("intermediate_size", raw.intermediate_size),
        ("vocab_size", raw.vocab_size),
        ("max_position_embeddings", raw.max_position_embeddings),
    ])?;
    if !raw.num_attention_heads.is_multiple_of(key_heads) {
        return Err(refused("num_key_value_heads", key_heads, "a divisor of num_attention_heads"));
    }
    if !head_width.is_multiple_of(2) {
        return Err(refused("head_dim", head_width, "an even number"));
    }
    if raw.pretraining_tp.is_some_and(|tp| tp > 1) {
        return Err(refused("pretraining_tp", raw.pretraining_tp.unwrap_or(0), "1"));
    }
    refuse_set(&[("attention_bias", raw.attention_bias && family != "llama" && !qwen)])?;
    Ok(LlamaConfig {
        hidden_size: raw.hidden_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        key_heads,
        head_width,
        intermediate_size: raw.intermediate_size,
        activation: activation("hidden_act", &raw.hidden_act)?,
        norm_eps: raw.rms_norm_eps,
        vocab_size: raw.vocab_size,
        positions: raw.max_position_embeddings,
        rope: rope(&raw)?,
        windows: windows(&family, &raw)?,
        qkv_bias: qwen || raw.attention_bias,
        output_bias: raw.attention_bias && !qwen,
        mlp_bias: raw.mlp_bias,
        family,
    })
}

fn rope(raw: &RawLlama) -> Result<Rope, ModelError> {
    let (name, set) = match &raw.rope_parameters {
        Some(set) => ("rope_parameters", Some(set)),
        None => ("rope_scaling", raw.rope_scaling.as_ref()),
    };
    let partial = set.and_then(|set| set.partial_rotary_factor.as_ref()).and_then(Value::as_f64);
    if let Some(partial) = partial.or(raw.partial_rotary_factor).filter(|partial| *partial != 1.0) {
        return Err(refused("partial_rotary_factor", partial, "1"));
    }
    let theta = set.and_then(|set| set.rope_theta).or(raw.rope_theta).unwrap_or(10_000.0);
    let Some(set) = set else { return Ok(Rope { theta, scaling: RopeScaling::None }) };
    let need = |field: &str, value: Option<f64>| {
        let good = value.filter(|value| value.is_finite() && *value > 0.0);
        good.ok_or_else(|| ModelError::folder(format!("config.json: {name}.{field} must be a positive number")))
    };
    let scaling = match set.rope_type.as_deref().unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear(need("factor", set.factor)?),
        "llama3" => RopeScaling::Llama3 {
            factor: need("factor", set.factor)?,
            low: need("low_freq_factor", set.low_freq_factor)?,
            high: need("high_freq_factor", set.high_freq_factor)?,
            original: need("original_max_position_embeddings", set.original_max_position_embeddings)?,
        },
        other => return Err(refused(&format!("{name}.rope_type"), other, "default, linear, llama3")),
    };
    Ok(Rope { theta, scaling })
}

/// Mistral slides in every layer, Qwen2 in those that `layer_types`, or else `max_window_layers`, says.
fn windows(family: &str, raw: &RawLlama) -> Result<Vec<Option<usize>>, ModelError> {
    let layers = raw.num_hidden_layers;
    let slides = family == "mistral" || (family == "qwen2" && raw.use_sliding_window);
    let Some(window) = raw.sliding_window.filter(|_| slides) else { return Ok(vec![None; layers]) };
    check_sizes(&[("sliding_window", window)])?;
    if family == "mistral" {
        return Ok(vec![Some(window); layers]);
    }
    let Some(kinds) = &raw.layer_types else {
        let full = raw.max_window_layers.unwrap_or(layers);
        return Ok((0..layers).map(|layer| (layer >= full).then_some(window)).collect());
    };
    if kinds.len() != layers {
        return Err(refused("layer_types", format!("of {} layers", kinds.len()), "one for each of num_hidden_layers"));
    }
    let window_of = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(None),
        "sliding_attention" => Ok(Some(window)),
        other => Err(refused("layer_types", other, "full_attention, sliding_attention")),
    };
    kinds.iter().map(window_of).collect()
}
