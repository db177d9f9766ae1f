//! Models as a project sees them: all backbones, and its own fine-tuned ones. Owns listing and deleting them; must never add a
//! backbone, which is the operator's (`backbones`).

use std::sync::Arc;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::inference::Inference;
use crate::store::files;
use crate::store::models;
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

    /// The models that a project sees: all backbones and its own fine-tuned ones.
    pub async fn list(&self, project: ProjectId) -> Result<Vec<ModelRow>> {
        Ok(models::list_visible(&mut *self.context.connection().await?, project).await?)
    }

    /// One model that a project sees.
    pub async fn get(&self, project: ProjectId, name: &str) -> Result<ModelRow> {
        let found = models::get_visible(&mut *self.context.connection().await?, project, name).await?;
        found.ok_or_else(|| ServiceError::not_found("model", name))
    }

    /// Deletes a fine-tuned model of the project; jobs that started from it keep their adapters.
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
        self.context.blobs.delete_all(&unused).await?;
        self.inference.forget(model.id).await
    }
}
