//! The mathematics: backbones, LoRA, packing, pooling and AdamW on LibTorch tensors. Owns no state between calls; must never
//! wait, read a clock, know of jobs, or panic: every tensor call is the fallible `f_` form. Of requests it knows one thing: a
//! setting that it refuses is named by its path.
//!
//! A backbone family is one file that implements [`Backbone`] plus one arm in [`load`].

pub mod attention;
pub mod backbone;
pub mod bert;
pub mod config;
pub mod deberta_v2;
pub mod error;
pub mod layers;
pub mod linear;
pub mod llama;
pub mod lora_pass;
pub mod lora_plan;
pub mod native;
pub mod nf4;
pub mod optim;
pub mod packing;
pub mod pooling;
pub mod post_norm;
pub mod sites;
pub mod t5;
pub mod weights;

use std::path::Path;
use std::rc::Rc;

use crate::model::config::Config;
use crate::model::weights::Weights;

pub use backbone::Backbone;
pub use backbone::BackboneInfo;
pub use backbone::Placement;
pub use error::ModelError;

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
        modules: owned(&lora_plan::short_names(backbone.linears())),
        quantizes: backbone.linears().iter().all(|site| (site.inputs * site.outputs).is_multiple_of(nf4::BLOCK)),
    })
}

/// Checks a folder as [`load`] would, without reading its weights, and says what it holds.
pub fn inspect(folder: &Path) -> Result<BackboneInfo, ModelError> {
    let weights = Weights::open(folder)?.checked_only();
    Ok(build(config::read(folder)?, weights, Placement::default())?.info().clone())
}
