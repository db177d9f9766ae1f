//! Checkpoints: a session's whole state as one blob, named by hash. Owns writing (blob first, row after), pruning, and what a
//! client may do with them; a crash anywhere leaves the old one or the new one.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::expiry::Anchor;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::engine::snapshot_adapters;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::context::lease_lost;
use crate::service::error::ServiceError;
use crate::service::jobs::Jobs;
use crate::service::lifecycle::transitions::note_with;
use crate::service::models::peft_export::Folder;
use crate::service::models::peft_export::layout;
use crate::service::models::peft_export::pack;
use crate::service::sessions::Durable;
use crate::service::sessions::Session;
use crate::service::webhooks;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::blobs::BlobKind;
use crate::store::checkpoints;
use crate::store::checkpoints::CheckpointRow;
use crate::store::checkpoints::NewCheckpoint;
use crate::store::events::Level;
use crate::store::jobs;
use crate::store::models;

/// Automatic checkpoints kept for each job.
const KEPT: u32 = 2;

/// Who wanted a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host, for durability; older ones are pruned.
    Automatic,
    /// The client; it stays as long as its job, or for so many seconds.
    Asked(Option<i64>),
}

/// Saves a session. The row is committed before the durable step moves on.
pub async fn save(context: &Context, session: &mut Session, kind: Kind) -> Result<CheckpointRow> {
    let snapshot = context.engine.snapshot(session.job.id).await?;
    let blob = context.blobs.put_atomic(BlobKind::Checkpoints, snapshot.bytes).await?;
    let id = CheckpointId(Uuid::now_v7());
    let seq = session.progress.next_seq - 1;
    let seconds = match kind {
        Kind::Asked(seconds) => seconds,
        Kind::Automatic => None,
    };
    let new = NewCheckpoint {
        id,
        job: session.job.id,
        attempt: session.attempt,
        step_number: snapshot.optimizer_steps,
        seq,
        adapter_version: session.adapter_version,
        automatic: kind == Kind::Automatic,
        blob: &blob,
        metrics: &json!({}),
        fine_tuned_model_checkpoint: &format!("ft:{}:ckpt-step-{}:{}", session.base_model, seq, id.0.simple()),
        seconds,
    };
    let mut transaction = context.begin().await?;
    let row = checkpoints::insert(&mut transaction, &new).await?.ok_or_else(lease_lost)?;
    if kind != Kind::Automatic {
        let (message, data) = (format!("Checkpoint {id} saved at seq {seq}"), json!({"checkpoint": id.to_string()}));
        note_with(&mut transaction, &session.job, Level::Info, &message, Some(&data)).await?;
        webhooks::announce_checkpoint(&mut transaction, &session.job, id).await?;
    }
    let old = checkpoints::older_than_newest(&mut transaction, session.job.id, KEPT).await?;
    for row in &old {
        checkpoints::delete(&mut transaction, row.id).await?;
    }
    commit(transaction).await?;
    session.durable = Durable { seq, step: snapshot.optimizer_steps, at: Instant::now() };
    for row in old {
        context.blobs.delete(&row.blob).await?;
    }
    Ok(row)
}

/// The bytes of a checkpoint, checked against its hash.
pub async fn read(context: &Context, checkpoint: &CheckpointRow) -> Result<Bytes> {
    Ok(context.blobs.get_verified(&checkpoint.blob_ref()).await?)
}

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
        (job, id): (JobId, CheckpointId),
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
        (job, id): (JobId, CheckpointId),
        expires_after: Option<ExpiresAfter>,
    ) -> Result<CheckpointRow> {
        let life = expires_after.map(|after| after.of_checkpoint()).transpose()?;
        let row = self.checkpoint(project, job, id).await?;
        let expires_at = life.map(|(anchor, seconds)| {
            let from = match anchor {
                Anchor::CreatedAt => row.created_at,
                Anchor::Now => OffsetDateTime::now_utc(),
            };
            from + time::Duration::seconds(seconds)
        });
        let mut connection = self.context.connection().await?;
        checkpoints::set_expiry(&mut connection, id, expires_at).await?.ok_or_else(|| missing(id))
    }

    /// Deletes a checkpoint, unless it is what an open job would go on from.
    pub async fn delete_checkpoint(&self, project: ProjectId, job: JobId, id: CheckpointId) -> Result<()> {
        let mut transaction = self.context.begin().await?;
        let owner = jobs::get_for_update(&mut transaction, project, job).await?.ok_or_else(|| missing(id))?;
        let row = checkpoints::get(&mut transaction, project, job, id).await?.ok_or_else(|| missing(id))?;
        let newest = checkpoints::latest(&mut transaction, job).await?;
        if !owner.status.is_final() && newest.is_some_and(|newest| newest.id == id) {
            let message = "The job would go on from this checkpoint; save another, or end the job first.";
            return Err(ServiceError::conflict("checkpoint_in_use", message));
        }
        checkpoints::delete(&mut transaction, id).await?;
        commit(transaction).await?;
        Ok(self.context.blobs.delete(&row.blob).await?)
    }
}

fn missing(id: CheckpointId) -> ServiceError {
    ServiceError::not_found("checkpoint", id)
}
