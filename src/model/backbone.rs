//! What every family of backbones is to the rest of the host. Owns the trait, and where and how a backbone computes; must never
//! know a family.

use std::ops::ControlFlow;

use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::lora_pass::LoraPass;
use crate::model::packing::Packed;
use crate::model::sites::LinearSite;

/// What a backbone's folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneInfo {
    /// `model_type` of the configuration, `bert` for example.
    pub family: String,
    /// Width H of the activations.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub layers: usize,
    /// Number of levels, as transformers' `output_hidden_states` counts them: the embeddings' output and each layer's, of the encoder
    /// and then of the decoder where there are both.
    pub levels: usize,
    /// Most tokens in one input.
    pub max_tokens: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Number of token types; 0 where the family has none.
    pub token_types: usize,
    /// Token that ends an input, where the family's cut depends on it.
    pub eos: Option<i64>,
    /// Weights in the files.
    pub parameters: u64,
    /// Size of the weight files, in bytes.
    pub bytes: u64,
}

/// Where and how a backbone computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// The processor or an accelerator.
    pub device: Device,
    /// Arithmetic of the linear layers.
    pub precision: Precision,
    /// NF4 only: whether the blocks' scales are quantized too.
    pub double_quant: bool,
    /// float32 on the processor: products by oneDNN, not by LibTorch's BLAS.
    pub onednn: bool,
}

impl Placement {
    /// Kind of what goes into and comes out of linear layers.
    pub fn kind(&self) -> Kind {
        match self.precision {
            Precision::Float32 | Precision::Nf4 => Kind::Float,
            Precision::Bfloat16 => Kind::BFloat16,
        }
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self { device: Device::Cpu, precision: Precision::Float32, double_quant: false, onednn: true }
    }
}

/// Is shown a level's number and its states, `[N, S, H]` in packed order, and says whether the pass goes on.
pub type Visit<'a> = dyn FnMut(usize, &Tensor) -> TchResult<ControlFlow<()>> + 'a;

/// The visitor of a pass of which only the end is wanted.
pub fn unseen(_: usize, _: &Tensor) -> TchResult<ControlFlow<()>> {
    Ok(ControlFlow::Continue(()))
}

/// A frozen transformer. Always in evaluation mode: the only dropout is LoRA's.
pub trait Backbone {
    /// What it is.
    fn info(&self) -> &BackboneInfo;

    /// Linear layers that may carry an update, in module order; a layer's index here is its site.
    fn linears(&self) -> &[LinearSite];

    /// PEFT's `target_modules` for the family.
    fn default_targets(&self) -> &'static [&'static str];

    /// Last parts of the names of modules that are not linear layers.
    fn other_modules(&self) -> &'static [&'static str];

    /// Floats that a training graph keeps for one token of one adapter set, LoRA's own left out.
    fn graph_floats_per_token(&self) -> usize;

    /// Whether several jobs' rows may share a pass (`LoraPlan::stacked`).
    fn stacks(&self) -> bool {
        true
    }

    /// Runs `S` adapter sets (or the bare backbone, `S` = 1) over one batch: `[B, S, H]`, or `[N, S, H]` where pooling is
    /// `none`, in the callers' order, float32. The result may refer to this backbone's weights: keep the backbone while it lives.
    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError>;

    /// Runs the bare backbone over one batch, and shows `visit` every level `[N, 1, H]`, from 0 on. The values are those of transformers'
    /// `output_hidden_states`: a level that is a stack's last one comes after its final norm. Where `visit` breaks off, no further layer
    /// runs.
    fn hidden_states(&self, batch: &Packed, visit: &mut Visit) -> Result<(), ModelError>;
}
