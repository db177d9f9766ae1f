//! Backbones and fine-tuned models. Owns adding, listing and deleting them; weights are safetensors files of the operator's
//! choice, and a client can never name a path or an address.

use std::path::Path;
use std::sync::Arc;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::engine::inspect;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::inference::Inference;
use crate::store::files;
use crate::store::models;
use crate::store::models::BaseModel;
use crate::store::models::ModelRow;

/// Use cases on models.
pub struct Models {
    pub(super) context: Arc<Context>,
    inference: Arc<Inference>,
}

impl Models {
    /// Models, with the sessions that are open on them.
    pub fn new(context: Arc<Context>, inference: Arc<Inference>) -> Self {
        Self { context, inference }
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
        Ok(models::upsert_base(&mut *self.context.connection().await?, &new).await?)
    }

    /// The models that a project sees: all backbones and its own fine-tuned ones.
    pub async fn list(&self, project: ProjectId) -> Result<Vec<ModelRow>> {
        Ok(models::list_visible(&mut *self.context.connection().await?, project).await?)
    }

    /// All backbones, for the operator.
    pub async fn list_bases(&self) -> Result<Vec<ModelRow>> {
        self.list(ProjectId(uuid::Uuid::nil())).await
    }

    /// One model that a project sees.
    pub async fn get(&self, project: ProjectId, name: &str) -> Result<ModelRow> {
        let found = models::get_visible(&mut *self.context.connection().await?, project, name).await?;
        found.ok_or_else(|| ServiceError::not_found("model", name))
    }

    /// Deletes a fine-tuned model of the project; jobs that go on from it keep their adapters.
    pub async fn delete(&self, project: ProjectId, name: &str) -> Result<()> {
        let model = self.get(project, name).await?;
        if model.project.is_none() {
            return Err(ServiceError::new(ErrorCode::Forbidden, "A backbone can be removed by the operator only."));
        }
        let mut connection = self.context.connection().await?;
        models::delete_tuned(&mut connection, project, name).await?;
        let paths: Vec<String> = model.adapters.0.into_iter().map(|blob| blob.path).collect();
        let unused = files::unused_blobs(&mut connection, &paths).await?;
        drop(connection);
        for path in &unused {
            self.context.blobs.delete(path).await?;
        }
        self.inference.forget(model.id).await
    }
}
