//! Small layers that several families share: norms and non-linearities. Norms compute in float32 whatever comes in.

use tch::Kind;
use tch::Tensor;

use crate::model::backbone::Placement;
use crate::model::config::fields::Activation;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::native;
use crate::model::weights::Weights;

/// A frozen norm over the last dimension; its result is float32.
#[derive(Debug)]
pub enum Norm {
    /// (x - mean) / sqrt(variance + eps) * weight + bias (arXiv 1607.06450).
    Layer {
        /// `[H]`
        weight: Tensor,
        /// `[H]`
        bias: Tensor,
        /// Added to the variance.
        eps: f64,
    },
    /// x / sqrt(mean square + eps) * weight (arXiv 1910.07467).
    Rms {
        /// `[H]`
        weight: Tensor,
        /// Added to the mean square.
        eps: f64,
    },
}

/// What a norm works on.
#[derive(Debug, Clone, Copy)]
pub struct NormSize {
    /// Width H of its input.
    pub width: usize,
    /// Added to the variance, or to the mean square.
    pub eps: f64,
}

impl Norm {
    /// A layer norm; old checkpoints call its parts gamma and beta.
    pub fn layer(weights: &Weights, path: &str, size: NormSize, placement: Placement) -> Result<Self, ModelError> {
        let old = !weights.has(&format!("{path}.weight")) && weights.has(&format!("{path}.gamma"));
        let get =
            |part: &str| weights.get(&format!("{path}.{part}"), &[size.width as i64], Kind::Float, placement.device);
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self::Layer { weight: get(weight)?, bias: get(bias)?, eps: size.eps })
    }

    /// A norm by the root mean square.
    pub fn rms(weights: &Weights, path: &str, size: NormSize, placement: Placement) -> Result<Self, ModelError> {
        let weight = weights.get(&format!("{path}.weight"), &[size.width as i64], Kind::Float, placement.device)?;
        Ok(Self::Rms { weight, eps: size.eps })
    }

    /// `[..., H]` to float32 `[..., H]`.
    pub fn forward(&self, x: &Tensor) -> TchResult<Tensor> {
        let x = x.f_to_kind(Kind::Float)?;
        match self {
            Self::Layer { weight, bias, eps } => x.f_layer_norm(weight.size(), Some(weight), Some(bias), *eps, false),
            Self::Rms { weight, eps } => {
                let square = x.f_square()?.f_mean_dim(-1, true, None)?; // (..., 1)
                x.f_mul(&square.f_add_scalar(*eps)?.f_rsqrt()?)?.f_mul(weight)
            }
        }
    }
}

impl Activation {
    /// Element by element.
    pub fn forward(self, x: &Tensor) -> TchResult<Tensor> {
        match self {
            Self::Gelu => native::gelu(x, false),
            Self::GeluTanh => native::gelu(x, true),
            Self::Relu => x.f_relu(),
            Self::Silu => x.f_silu(),
            Self::Tanh => x.f_tanh(),
        }
    }
}
