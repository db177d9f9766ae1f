//! What the configurations of all families are read with. Owns the words for non-linearities, the bounds on sizes and the sentence
//! of a refusal; knows no family.

use std::fmt;

use serde::Deserialize;

use crate::model::error::ModelError;

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

/// A field whose value this host would not compute.
pub fn refused(field: &str, value: impl fmt::Display, supported: &str) -> ModelError {
    ModelError::folder(format!("config.json: {field} '{value}' is not supported (supported: {supported})"))
}

/// Refuses flags that are set.
pub fn refuse_set(flags: &[(&str, bool)]) -> Result<(), ModelError> {
    match flags.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(refused(field, true, "false")),
        None => Ok(()),
    }
}

/// Refuses sizes that no backbone has: what is allocated from them stays within bounds.
pub fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, size)| !(1..=1 << 24).contains(size)) {
        Some((field, size)) => Err(refused(field, size, "1 to 16777216")),
        None => Ok(()),
    }
}

/// Names as in transformers' `ACT2FN`.
pub fn activation(field: &str, name: &str) -> Result<Activation, ModelError> {
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
pub enum TokenId {
    /// One.
    One(i64),
    /// A list.
    Several(Vec<i64>),
}

impl TokenId {
    /// The id that counts.
    pub fn first(&self) -> Option<i64> {
        match self {
            Self::One(id) => Some(*id),
            Self::Several(ids) => ids.first().copied(),
        }
    }
}
