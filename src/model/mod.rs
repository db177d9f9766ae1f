//! The mathematics: backbones, LoRA, packing, pooling and AdamW on LibTorch tensors. Owns no state between calls; must never
//! wait, read a clock, know of jobs or requests, or panic: every tensor call is the fallible `f_` form.
//!
//! A backbone family is one file that implements [`Backbone`] plus one arm in [`load`].

pub mod bert;
pub mod config;
pub mod lora;
pub mod optim;
pub mod packing;
pub mod pooling;
pub mod weights;

use std::path::Path;
use std::rc::Rc;

use tch::TchError;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::model::config::Config;
use crate::model::lora::LinearSite;
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
    /// Weights in the files.
    pub parameters: u64,
    /// Size of the weight files, in bytes.
    pub bytes: u64,
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

    /// Refuses a cut that the family does not have.
    fn check_pooling(&self, pooling: Pooling) -> Result<(), ModelError>;

    /// Floats that a training graph keeps for one token of one adapter set, LoRA's own left out.
    fn graph_floats_per_token(&self) -> usize;

    /// Runs `S` adapter sets (or the bare backbone, `S` = 1) over one batch: `[B, S, H]`, or `[N, S, H]` where pooling is
    /// `none`, in the callers' order. The result may refer to this backbone's weights: keep the backbone while it lives.
    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError>;
}

/// Loads a Hugging Face folder. Weights in float32 are mapped, not copied.
pub fn load(folder: &Path, precision: Precision) -> Result<Rc<dyn Backbone>, ModelError> {
    let config = config::read(folder)?;
    let weights = Weights::open(folder)?;
    match config {
        Config::Bert(config) => Ok(Rc::new(bert::Bert::new(config, weights, precision)?)),
    }
}

/// Checks a folder as [`load`] would, and says what it holds.
pub fn inspect(folder: &Path) -> Result<BackboneInfo, ModelError> {
    Ok(load(folder, Precision::Float32)?.info().clone())
}
