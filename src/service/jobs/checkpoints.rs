//! A job's checkpoints, as its project sees them. Owns what a client may do with them: list, give a time to live, take out,
//! delete; a session writes them (`training::checkpointing`).

use crate::domain::error_code::ErrorCode;
use crate::domain::expiry::Anchor;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::engine::snapshot_adapters;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::service::jobs::jobs::Jobs;
use crate::service::models::peft_export::Folder;
use crate::service::models::peft_export::layout;
use crate::service::models::peft_export::pack;
use crate::service::training::checkpointing::read;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::checkpoints;
use crate::store::checkpoints::CheckpointRow;
use crate::store::jobs;
use crate::store::models;
use crate::store::pool::clock;

impl Jobs {
    /// A page of a job's checkpoints, newest first.
    pub async fn checkpoints(&self, project: ProjectId, id: JobId, page: PageRequest) -> Result<Paged<CheckpointRow>> {
        self.get(project, id).await?;
        known_cursor(checkpoints::list(&mut *self.context.connection().await?, project, id, &page).await?)
    }

    /// One checkpoint.
    pub async fn checkpoint(&self, project: ProjectId, job: JobId, id: CheckpointId) -> Result<CheckpointRow> {
        let found = checkpoints::get(&mut *self.context.connection().await?, project, job, id).await?;
        found.ok_or_else(|| missing(id))
    }

    /// A checkpoint's adapters: a folder for each set, or the files of one.
    pub async fn checkpoint_folder(
        &self,
        project: ProjectId,
        job: JobId,
        id: CheckpointId,
        set: Option<usize>,
    ) -> Result<Folder> {
        let saved = self.checkpoint(project, job, id).await?;
        let job = self.get(project, job).await?;
        let model = models::get(&mut *self.context.connection().await?, job.model).await?;
        let backbone = model.ok_or_else(|| ServiceError::not_found("model", &job.model_name))?;
        let layout = layout(&self.context, &backbone, &job.settings).await?;
        let sets = snapshot_adapters(read(&self.context, &saved).await?)?;
        pack(layout, sets, set).await
    }

    /// Gives a checkpoint a time to live, or takes it away.
    pub async fn set_checkpoint_expiry(
        &self,
        project: ProjectId,
        job: JobId,
        id: CheckpointId,
        expires_after: Option<ExpiresAfter>,
    ) -> Result<CheckpointRow> {
        let life = expires_after.map(|after| after.of_checkpoint()).transpose()?;
        let row = self.checkpoint(project, job, id).await?;
        let mut connection = self.context.connection().await?;
        let expires_at = match life {
            None => None,
            Some((anchor, seconds)) => {
                let from = match anchor {
                    Anchor::CreatedAt => row.created_at,
                    Anchor::Now => clock(&mut connection).await?,
                };
                Some(from + time::Duration::seconds(seconds))
            }
        };
        checkpoints::set_expiry(&mut connection, id, expires_at).await?.ok_or_else(|| missing(id))
    }

    /// Deletes a checkpoint, unless an open job would resume from it.
    pub async fn delete_checkpoint(&self, project: ProjectId, job: JobId, id: CheckpointId) -> Result<()> {
        let mut transaction = self.context.begin().await?;
        let owner = jobs::get_for_update(&mut transaction, project, job).await?.ok_or_else(|| missing(id))?;
        let row = checkpoints::get(&mut transaction, project, job, id).await?.ok_or_else(|| missing(id))?;
        let newest = checkpoints::latest(&mut transaction, job).await?;
        if !owner.status.is_final() && newest.is_some_and(|newest| newest.id == id) {
            let message = "The job would resume from this checkpoint; save another, or end the job first.";
            return Err(ServiceError::new(ErrorCode::CheckpointInUse, message));
        }
        checkpoints::delete(&mut transaction, id).await?;
        commit(transaction).await?;
        Ok(self.context.blobs.delete(&row.blob).await?)
    }
}

fn missing(id: CheckpointId) -> ServiceError {
    ServiceError::not_found("checkpoint", id)
}
