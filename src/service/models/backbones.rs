//! Backbones, for the operator. Owns adding, listing and withdrawing them; weights are safetensors files of the operator's choice, and a client
//! can never name a path or an address; an operator's key names folders within `state.models_dir` alone. Must never need a device: the command line works beside a running host.

use std::path::Path;
use std::path::PathBuf;

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::engine::inspect;
use crate::service::context::Result;
use crate::service::context::begin;
use crate::service::context::commit;
use crate::service::context::connection;
use crate::service::error::ServiceError;
use crate::store::Pool;
use crate::store::models;
use crate::store::models::BaseModel;
use crate::store::models::ModelRow;

/// Use cases on backbones.
pub struct Backbones {
    /// The database.
    pub pool: Pool,
    /// `state.models_dir`: where the folders lie that may be offered over the API. `None`: none may.
    pub offered: Option<PathBuf>,
}

impl Backbones {
    /// As [`Backbones::add`], for a folder of `state.models_dir`, named by its path in there.
    pub async fn offer(&self, folder: &str, name: &str) -> Result<ModelRow> {
        let refused = |code, why: String| ServiceError::new(code, format!("folder: {why}")).at("folder");
        let Some(offered) = &self.offered else {
            let why =
                "this host offers no folders over the API (state.models_dir is empty); `blindtuned models add` does.";
            return Err(refused(ErrorCode::FoldersNotOffered, why.to_owned()));
        };
        let offered = offered.canonicalize().map_err(ServiceError::internal)?;
        let missing = || {
            let there = folders_in(&offered).join(", ");
            refused(
                ErrorCode::FolderMissing,
                format!("there is no folder '{folder}' in state.models_dir; there are: {there}."),
            )
        };
        let found = offered.join(folder).canonicalize().map_err(|_| missing())?;
        // Behind links too: what is not in there is not there.
        if folder.is_empty() || !found.is_dir() || found == offered || !found.starts_with(&offered) {
            return Err(missing());
        }
        self.add(&found, name).await
    }

    /// Adds the backbone in a Hugging Face folder under `name`, or moves the name to this folder.
    pub async fn add(&self, folder: &Path, name: &str) -> Result<ModelRow> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty()
            || name.len() > 200
            || !name.chars().all(plain)
            || name.contains("..")
            || name.starts_with('/')
        {
            let message = "A model's name has letters, digits, '-', '_', '.' and '/', at most 200 of them.";
            return Err(ServiceError::new(ErrorCode::InvalidName, message).at("name"));
        }
        let folder = folder.canonicalize().map_err(|error| {
            ServiceError::new(ErrorCode::FolderMissing, format!("{}: {error}", folder.display())).at("folder")
        })?;
        let path = folder.clone();
        let info = tokio::task::spawn_blocking(move || inspect(&path)).await.map_err(ServiceError::internal)??;
        let new = BaseModel {
            name,
            family: &info.family,
            folder: &folder.to_string_lossy(),
            sha256: None,
            parameters: info.parameters as i64,
            hidden_size: info.hidden_size as i64,
            max_tokens: info.max_tokens as i64,
            owned_by: "blindtune",
        };
        Ok(models::upsert_base(&mut *connection(&self.pool).await?, &new).await?)
    }

    /// Withdraws the backbone of that name: nobody begins anything with it from then on. Refused while jobs that are not over, or
    /// fine-tuned models, need it. Its files are the operator's, and stay.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let mut transaction = begin(&self.pool).await?;
        let found = models::base_use(&mut transaction, name).await?;
        let found = found.ok_or_else(|| ServiceError::not_found("backbone", name).at("name"))?;
        if found.open_jobs + found.tuned > 0 {
            let message = format!(
                "'{name}' is needed by {} jobs that are not over and {} fine-tuned models. Cancel or complete the jobs and delete the \
                 models, or let their projects do it.",
                found.open_jobs, found.tuned
            );
            return Err(ServiceError::new(ErrorCode::ModelInUse, message).at("name"));
        }
        models::delete_base(&mut transaction, found.id).await?;
        commit(transaction).await
    }

    /// All backbones.
    pub async fn list(&self) -> Result<Vec<ModelRow>> {
        // No project is the nil one, so that no fine-tuned model is among them.
        Ok(models::list_visible(&mut *connection(&self.pool).await?, ProjectId(Uuid::nil())).await?)
    }
}

/// Names of the folders in a folder, sorted, the first twenty.
fn folders_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.truncate(20);
    names
}
