//! A model that can be run. Owns the way from its name to folder, settings and adapters, and how many inputs one forward
//! takes; must never open a session.

use std::path::PathBuf;

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::ids::ProjectId;
use crate::domain::limits::Limits;
use crate::domain::settings::SplitSettings;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::models;
use crate::store::models::AdapterBlobs;
use crate::store::models::ModelRow;

/// Inputs of one forward: others get their turn in between.
const ROWS_PER_FORWARD: usize = 64;

/// A model that can be run: its own settings, and those of its backbone.
pub struct Runnable {
    /// The model's id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Folder of the backbone.
    pub folder: PathBuf,
    /// Family of the backbone.
    pub family: String,
    /// Settings of its adapters; one fresh set for a backbone.
    pub settings: SplitSettings,
    /// Its adapters; none for a backbone.
    pub adapters: AdapterBlobs,
}

/// The project's model of that name, or the backbone.
pub async fn runnable(context: &Context, project: ProjectId, name: &str) -> Result<Runnable> {
    let mut connection = context.connection().await?;
    let missing = || ServiceError::not_found("model", name).at("model");
    let row = models::get_visible(&mut connection, project, name).await?.ok_or_else(missing)?;
    let ModelRow { id, name, family, adapters, .. } = row;
    let (folder, settings) = match row.base_model {
        None => (row.folder, SplitSettings { adapter_sets: 1, ..SplitSettings::default() }),
        Some(base) => {
            let message = "The model was made before its settings were kept; complete its job again to make it anew.";
            let unknown = || ServiceError::new(ErrorCode::SettingsUnknown, message).at("model");
            let settings = row.settings.ok_or_else(unknown)?;
            (models::get(&mut connection, base).await?.and_then(|base| base.folder), settings)
        }
    };
    let settings = families::settle(&family, settings)?;
    Ok(Runnable { id, name, folder: PathBuf::from(folder.unwrap_or_default()), family, settings, adapters })
}

/// Inputs that one forward can take whatever their length.
pub fn rows_per_forward(limits: &Limits, most_tokens: usize) -> usize {
    ROWS_PER_FORWARD.min(limits.batch_rows).min(limits.batch_tokens / most_tokens.max(1)).max(1)
}
