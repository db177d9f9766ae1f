//! What this host can do, read from the tables that its checks read: `families`, the settings' own words, and each backbone's folder.
//! Owns no list of its own; a backbone whose folder cannot be read is not offered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::domain::families;
use crate::domain::ids::ProjectId;
use crate::domain::limits::Limits;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::engine::Description;
use crate::engine::describe;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::models;
use crate::store::models::ModelRow;

/// A backbone, and what a job may ask of it.
#[derive(Debug, Clone)]
pub struct ModelView {
    /// Its row.
    pub row: ModelRow,
    /// Where it can be cut; the first is its own cut.
    pub poolings: &'static [Pooling],
    /// Its precisions.
    pub precisions: Vec<Precision>,
    /// `target_modules` when a job names none.
    pub default_targets: Vec<String>,
    /// Names that `target_modules` may hold.
    pub modules: Vec<String>,
    /// Levels of hidden states, the embeddings' output included.
    pub levels: usize,
}

/// The host.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Where the engine computes.
    pub device: String,
    /// What it accepts.
    pub limits: Limits,
    /// Its backbones.
    pub models: Vec<ModelView>,
}

/// The use case.
pub struct Capabilities {
    context: Arc<Context>,
    /// By model and folder: the folder of a model may be changed by the operator.
    known: Mutex<HashMap<(Uuid, String), Arc<Description>>>,
}

impl Capabilities {
    /// Nothing read yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, known: Mutex::default() }
    }

    /// What this host can do.
    pub async fn view(&self) -> Result<HostView> {
        let rows = models::list_visible(&mut *self.context.connection().await?, ProjectId(Uuid::nil())).await?;
        let mut found = Vec::new();
        for row in rows.into_iter().filter(|row| row.project.is_none()) {
            if let Some(description) = self.describe(&row).await? {
                found.push(view(row, &description));
            }
        }
        Ok(HostView { device: self.context.device.clone(), limits: self.context.limits.clone(), models: found })
    }

    async fn describe(&self, row: &ModelRow) -> Result<Option<Arc<Description>>> {
        let Some(folder) = row.folder.clone() else { return Ok(None) };
        let key = (row.id, folder.clone());
        let known = self.known.lock().get(&key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let path = PathBuf::from(folder);
        match tokio::task::spawn_blocking(move || describe(&path)).await.map_err(ServiceError::internal)? {
            Ok(description) => {
                let description = Arc::new(description);
                self.known.lock().insert(key, Arc::clone(&description));
                Ok(Some(description))
            }
            Err(error) => {
                tracing::warn!(model = row.name, %error, "the backbone {} cannot be read: {error}", row.name);
                Ok(None)
            }
        }
    }
}

fn view(row: ModelRow, description: &Description) -> ModelView {
    let usable = |precision: &Precision| *precision != Precision::Nf4 || description.quantizes;
    ModelView {
        poolings: families::cuts(&row.family),
        precisions: families::precisions(&row.family).iter().copied().filter(usable).collect(),
        default_targets: description.default_targets.clone(),
        modules: description.modules.clone(),
        levels: description.info.levels,
        row,
    }
}
