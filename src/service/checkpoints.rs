//! Checkpoints: a session's whole state as one blob, named by hash. Owns writing (blob first, row after) and pruning; a crash
//! anywhere leaves the old one or the new one.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::domain::ids::CheckpointId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::Context;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::commit;
use crate::service::sessions::Durable;
use crate::service::sessions::Session;
use crate::store::checkpoints;
use crate::store::checkpoints::CheckpointRow;
use crate::store::checkpoints::NewCheckpoint;
use crate::store::events;

/// Automatic checkpoints kept for each job.
const KEPT: i64 = 2;

/// Who wanted a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host, for durability; older ones are pruned.
    Automatic,
    /// The client; it stays.
    Asked,
}

/// Saves a session. The row is committed before the durable step moves on.
pub async fn save(context: &Context, session: &mut Session, kind: Kind) -> Result<CheckpointRow> {
    let snapshot = context.engine.snapshot(session.job.id).await?;
    let blob = context.blobs.put_atomic("checkpoints", snapshot.bytes).await?;
    let id = CheckpointId(Uuid::now_v7());
    let seq = session.progress.next_seq - 1;
    let new = NewCheckpoint {
        id,
        job: session.job.id,
        attempt: session.attempt,
        step_number: snapshot.optimizer_steps as i64,
        seq: seq as i64,
        blob: blob.path,
        sha256: blob.sha256,
        bytes: blob.bytes as i64,
        adapter_version: session.adapter_version,
        automatic: kind == Kind::Automatic,
        fine_tuned_model_checkpoint: format!("ft:{}:ckpt-step-{}:{}", session.job.model_name, seq, id.0.simple()),
    };
    let mut transaction = context.begin().await?;
    let row = checkpoints::insert(&mut transaction, &new).await?;
    if kind == Kind::Asked {
        let data = json!({"checkpoint": id, "seq": seq});
        events::append(&mut transaction, session.job.id, events::Level::Info, &format!("Checkpoint {id} saved"), data).await?;
    }
    let old = checkpoints::prune_automatic(&mut transaction, session.job.id, KEPT).await?;
    commit(transaction).await?;
    session.durable = Durable { seq, step: snapshot.optimizer_steps, at: Instant::now() };
    for path in old {
        context.blobs.delete(&path).await?;
    }
    Ok(row)
}

/// The bytes of a checkpoint, checked against its hash.
pub async fn read(context: &Context, checkpoint: &CheckpointRow) -> Result<Bytes> {
    Ok(context.blobs.get_checked(&checkpoint.blob, &checkpoint.sha256).await?)
}

/// A page of a job's checkpoints, newest first.
pub async fn list(
    context: &Arc<Context>,
    project: ProjectId,
    job: JobId,
    page: crate::store::page::PageRequest,
) -> Result<crate::service::Page<CheckpointRow>> {
    let mut connection = context.connection().await?;
    let found = crate::store::jobs::get(&mut connection, project, job).await?;
    found.ok_or_else(|| ServiceError::not_found("fine-tuning job", job))?;
    let (rows, has_more) = checkpoints::list(&mut connection, job, &page).await?;
    Ok(crate::service::Page { rows, has_more })
}
