//! The end of a job's record. Owns when it may be deleted, and what the receipt says; must never delete what another object names:
//! its model and its result files have deletions of their own.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::jobs::jobs::Jobs;
use crate::service::lifecycle::transitions::missing;
use crate::store::erasure;
use crate::store::erasure::ErasedJob;
use crate::store::files;
use crate::store::jobs;

impl Jobs {
    /// Deletes a job that is over, with its steps, ledger, events and checkpoints: rows first, blobs after.
    pub async fn delete(&self, project: ProjectId, id: JobId) -> Result<ErasedJob> {
        let mut transaction = self.context.begin().await?;
        let job = jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        if !job.status.is_final() {
            let message = format!("The job is {}; cancel or complete it first.", job.status.as_str());
            return Err(ServiceError::new(ErrorCode::InvalidJobState, message));
        }
        let erased = erasure::job(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        let unused = files::unused_blobs(&mut transaction, &erased.blobs).await?;
        commit(transaction).await?;
        self.context.blobs.delete_all(&unused).await?;
        Ok(erased)
    }
}
