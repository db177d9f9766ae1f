//! Backbones in memory. Owns the cache that sessions share: a backbone is loaded once for a folder and a precision, and
//! leaves with its last session; must never read an input.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::rc::Weak;
use std::time::Instant;

use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;
use crate::model;
use crate::model::Backbone;
use crate::model::ModelError;
use crate::model::Placement;

/// Backbones in use, by folder and how they compute. A backbone leaves memory with its last session.
pub struct Backbones {
    loaded: HashMap<(PathBuf, Precision, bool), Weak<dyn Backbone>>,
    placement: Placement,
}

impl Backbones {
    /// None in use; they will be placed as `placement` says, each job with a precision of its own.
    pub fn new(placement: Placement) -> Self {
        Self { loaded: HashMap::new(), placement }
    }

    /// Where backbones compute.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// The backbone of this folder, loaded unless a session already uses it.
    pub fn get(&mut self, folder: &Path, settings: &SplitSettings) -> Result<Rc<dyn Backbone>, ModelError> {
        let SplitSettings { precision, double_quant, .. } = *settings;
        let key = (folder.to_path_buf(), precision, double_quant);
        if let Some(backbone) = self.loaded.get(&key).and_then(Weak::upgrade) {
            return Ok(backbone);
        }
        self.loaded.retain(|_, backbone| backbone.strong_count() > 0);
        let begun = Instant::now();
        let backbone = model::load(folder, Placement { precision, double_quant, ..self.placement })?;
        let (load_us, bytes) = (begun.elapsed().as_micros() as u64, backbone.info().bytes);
        tracing::info!(load_us, bytes, "loaded the backbone in {} ({precision:?}) in {load_us} us", folder.display());
        self.loaded.insert(key, Rc::downgrade(&backbone));
        Ok(backbone)
    }
}
