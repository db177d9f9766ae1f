//! Backbones in memory. Owns the cache that sessions share: a backbone is loaded once for a folder and a precision, and
//! leaves with its last session; must never read an input.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::rc::Weak;
use std::time::Instant;

use tch::Device;

use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;
use crate::model;
use crate::model::Backbone;
use crate::model::ModelError;
use crate::model::Placement;

/// Tells the backbones of a device apart: a backbone that is loaded again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackboneId(u64);

/// A backbone in memory, shared by the sessions on it.
pub struct LoadedBackbone {
    /// Which load it is of.
    pub id: BackboneId,
    /// Where it computes.
    pub device: Device,
    model: Rc<dyn Backbone>,
}

impl Deref for LoadedBackbone {
    type Target = dyn Backbone;

    fn deref(&self) -> &Self::Target {
        &*self.model
    }
}

/// What makes two sessions share a backbone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BackboneKey {
    folder: PathBuf,
    precision: Precision,
    double_quant: bool,
}

/// Backbones in use. The cache holds them weakly: a backbone leaves memory with its last session.
pub struct Backbones {
    loaded: HashMap<BackboneKey, Weak<LoadedBackbone>>,
    loads: u64,
    placement: Placement,
}

impl Backbones {
    /// None in use; they will be placed as `placement` says, each job with a precision of its own.
    pub fn new(placement: Placement) -> Self {
        Self { loaded: HashMap::new(), loads: 0, placement }
    }

    /// Where backbones compute.
    pub fn device(&self) -> Device {
        self.placement.device
    }

    /// The backbone of this folder, loaded unless a session already uses it.
    pub fn get(&mut self, folder: &Path, settings: &SplitSettings) -> Result<Rc<LoadedBackbone>, ModelError> {
        let SplitSettings { precision, double_quant, .. } = *settings;
        let key = BackboneKey { folder: folder.to_path_buf(), precision, double_quant };
        if let Some(backbone) = self.loaded.get(&key).and_then(Weak::upgrade) {
            return Ok(backbone);
        }
        self.loaded.retain(|_, backbone| backbone.strong_count() > 0);
        let start = Instant::now();
        let model = model::load(folder, Placement { precision, double_quant, ..self.placement })?;
        let load_us = start.elapsed().as_micros() as u64;
        let bytes = model.info().bytes;
        tracing::info!(load_us, bytes, "loaded the backbone in {} ({precision:?}) in {load_us} us", folder.display());
        self.loads += 1;
        let backbone = Rc::new(LoadedBackbone { id: BackboneId(self.loads), device: self.device(), model });
        self.loaded.insert(key, Rc::downgrade(&backbone));
        Ok(backbone)
    }
}
