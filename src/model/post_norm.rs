//! What follows attention in a post-norm encoder layer (BERT's and DeBERTa's): its output, the feed-forward layer, and a norm behind
//! each. Owns their names in the files, which both families share.

use tch::Tensor;

use crate::model::config::fields::Activation;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::layers::Norm;
use crate::model::layers::NormSize;
use crate::model::linear::Linear;
use crate::model::linear::LinearLoader;
use crate::model::lora_pass::LoraPass;

/// Sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub struct PostNormSizes {
    /// H.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub inner: usize,
    /// Its non-linearity.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub norm_eps: f64,
}

/// The second half of a layer.
pub struct PostNorm {
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    output_norm: Norm,
}

impl PostNorm {
    /// Reads the parts below `path`, `encoder.layer.0` for example.
    pub fn new(linears: &mut LinearLoader, path: &str, sizes: PostNormSizes) -> Result<Self, ModelError> {
        let PostNormSizes { hidden, inner, activation, norm_eps } = sizes;
        let LinearLoader { weights, placement, .. } = *linears;
        let size = NormSize { width: hidden, eps: norm_eps };
        let norm = |name: &str| Norm::layer(weights, &format!("{path}.{name}"), size, placement);
        let mut linear = |name: &str, shape: [usize; 2]| linears.linear(format!("{path}.{name}"), shape, true);
        Ok(Self {
            attention_output: linear("attention.output.dense", [hidden, hidden])?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", [hidden, inner])?,
            activation,
            output: linear("output.dense", [inner, hidden])?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    /// From what attention found `[t or b, s, h]` and the layer's input for the same tokens.
    pub fn forward(&self, attended: &Tensor, residual: &Tensor, lora: Option<&LoraPass>) -> TchResult<Tensor> {
        let attended = self.attention_output.forward(attended, lora)?;
        let x = self.attention_norm.forward(&attended.f_add(residual)?)?;
        let inner = self.activation.forward(&self.intermediate.forward(&x, lora)?)?; // (t or b, s, intermediate)
        let output = self.output.forward(&inner, lora)?; // (t or b, s, h)
        self.output_norm.forward(&output.f_add(&x)?)
    }
}
