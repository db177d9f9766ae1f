//! The mathematics: backbones, LoRA, packing, pooling and AdamW on LibTorch tensors. Owns no state between calls; must never
//! wait, read a clock, know of jobs or requests, or panic: every tensor call is the fallible `f_` form.
//!
//! A backbone family is one file that implements [`Backbone`] plus one arm in [`load`].

pub mod attention;
pub mod bert;
pub mod config;
pub mod deberta_v2;
pub mod layers;
pub mod linear;
pub mod llama;
pub mod lora;
pub mod native;
pub mod nf4;
pub mod optim;
pub mod packing;
pub mod pooling;
pub mod post_norm;
pub mod t5;
pub mod weights;

use std::path::Path;
use std::rc::Rc;

use tch::Device;
use tch::Kind;
use tch::TchError;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::model::config::Config;
use crate::model::linear::LinearSite;
use crate::model::lora::LoraPass;
use crate::model::packing::Packed;
use crate::model::weights::Weights;

/// What LibTorch calls return.
pub type TchResult<T> = Result<T, TchError>;

/// What the mathematics refuses or could not do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The backbone's folder cannot be used.
    #[error("{0}")]
    Folder(String),
    /// A setting does not fit the backbone; `param` is its path in the request.
    #[error("{param}: {reason}")]
    Setting {
        /// Path of the setting, `method.split.lora.target_modules` for example.
        param: String,
        /// What is wrong with it.
        reason: String,
    },
    /// LibTorch failed.
    #[error(transparent)]
    Torch(#[from] TchError),
}

impl ModelError {
    /// A folder that cannot be used.
    pub fn folder(text: impl Into<String>) -> Self {
        Self::Folder(text.into())
    }

    /// A setting of method `split` that cannot be used.
    pub fn setting(param: &str, reason: impl Into<String>) -> Self {
        Self::Setting { param: format!("method.split.{param}"), reason: reason.into() }
    }
}

/// What a backbone's folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneInfo {
    /// `model_type` of the configuration, `bert` for example.
    pub family: String,
    /// Width H of the activations.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub layers: usize,
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

/// A frozen transformer. Always in evaluation mode: the only dropout is LoRA's.
pub trait Backbone {
    /// What it is.
    fn info(&self) -> &BackboneInfo;

    /// Linear layers that may carry an update, in module order; a layer's place here is its site.
    fn linears(&self) -> &[LinearSite];

    /// PEFT's `target_modules` for the family.
    fn default_targets(&self) -> &'static [&'static str];

    /// Last parts of the names of modules that are not linear layers.
    fn other_modules(&self) -> &'static [&'static str];

    /// Floats that a training graph keeps for one token of one adapter set, LoRA's own left out.
    fn graph_floats_per_token(&self) -> usize;

    /// Whether several jobs' rows may share a pass ([`lora::LoraPlan::stacked`]).
    fn stacks(&self) -> bool {
        true
    }

    /// Runs `S` adapter sets (or the bare backbone, `S` = 1) over one batch: `[B, S, H]`, or `[N, S, H]` where pooling is
    /// `none`, in the callers' order, float32. The result may refer to this backbone's weights: keep the backbone while it lives.
    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError>;
}

/// Loads a Hugging Face folder. Weights that are in the file as they are needed are mapped, not copied.
pub fn load(folder: &Path, placement: Placement) -> Result<Rc<dyn Backbone>, ModelError> {
    build(config::read(folder)?, Weights::open(folder)?, placement)
}

fn build(config: Config, weights: Weights, placement: Placement) -> Result<Rc<dyn Backbone>, ModelError> {
    Ok(match config {
        Config::Bert(config) => Rc::new(bert::Bert::new(config, weights, placement)?),
        Config::DebertaV2(config) => Rc::new(deberta_v2::DebertaV2::new(config, weights, placement)?),
        Config::T5(config) => Rc::new(t5::T5::new(config, weights, placement)?),
        Config::Llama(config) => Rc::new(llama::Llama::new(config, weights, placement)?),
    })
}

/// What a job may ask of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What the folder holds.
    pub info: BackboneInfo,
    /// PEFT's `target_modules` for the family.
    pub default_targets: Vec<String>,
    /// Last parts of the names of all linear layers, as `target_modules` takes them.
    pub modules: Vec<String>,
    /// Whether every linear layer can be quantized to NF4.
    pub quantizes: bool,
}

/// What a job may ask of the backbone in a folder. Reads headers only.
pub fn describe(folder: &Path) -> Result<Description, ModelError> {
    let weights = Weights::open(folder)?.checked_only();
    let backbone = build(config::read(folder)?, weights, Placement::default())?;
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Ok(Description {
        info: backbone.info().clone(),
        default_targets: owned(backbone.default_targets()),
        modules: owned(&lora::short_names(backbone.linears())),
        quantizes: backbone.linears().iter().all(|site| (site.inputs * site.outputs).is_multiple_of(nf4::BLOCK)),
    })
}

/// Checks a folder as [`load`] would, without reading its weights, and says what it holds.
pub fn inspect(folder: &Path) -> Result<BackboneInfo, ModelError> {
    let weights = Weights::open(folder)?.checked_only();
    Ok(build(config::read(folder)?, weights, Placement::default())?.info().clone())
}
