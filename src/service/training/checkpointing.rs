//! Writing a checkpoint, and reading it: a session's whole state as one blob, named by hash. Owns the order (blob first, row
//! after) and the pruning; a crash anywhere leaves the old one or the new one.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::domain::ids::CheckpointId;
use crate::engine::Snapshot;
use crate::failpoint;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::stored_bytes::check_room;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::lease_lost;
use crate::service::lifecycle::transitions::note_with;
use crate::service::training::session::Durable;
use crate::service::training::session::Session;
use crate::service::webhooks;
use crate::store::StoreError;
use crate::store::blobs::BlobKind;
use crate::store::checkpoints;
use crate::store::checkpoints::CheckpointRow;
use crate::store::checkpoints::NewCheckpoint;
use crate::store::events::Level;

/// Automatic checkpoints kept for each job.
const AUTOMATIC_KEPT: u32 = 2;

/// Who asked for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host, for durability; older ones are pruned.
    Automatic,
    /// The client; it stays as long as its job, or for so many seconds.
    Asked(Option<i64>),
}

/// Saves a session. The row is committed before the durable step moves on, and with it the answer to whoever asked for it.
pub async fn save(
    context: &Context,
    session: &mut Session,
    kind: Kind,
    record: &AnswerRecord<CheckpointRow>,
) -> Result<CheckpointRow> {
    let snapshot = context.engine.snapshot(session.job.id).await?;
    write(context, session, kind, snapshot, record).await
}

/// Saves a snapshot of a session, as `save` does.
pub async fn write(
    context: &Context,
    session: &mut Session,
    kind: Kind,
    snapshot: Snapshot,
    record: &AnswerRecord<CheckpointRow>,
) -> Result<CheckpointRow> {
    if kind != Kind::Automatic {
        let (project, bytes) = (session.job.project, snapshot.bytes.len() as u64);
        check_room(context, &mut *context.connection().await?, project, bytes).await?;
    }
    let blob = context.blobs.put_atomic(BlobKind::Checkpoints, snapshot.bytes).await?;
    failpoint::reach("checkpoint_blob_written");
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
        let message = format!("Checkpoint {id} saved at seq {seq}");
        let data = json!({"checkpoint": id.to_string()});
        note_with(&mut transaction, &session.job, Level::Info, &message, Some(&data)).await?;
        webhooks::announce_checkpoint(&mut transaction, &session.job, id).await?;
    }
    let old = checkpoints::older_than_newest(&mut transaction, session.job.id, AUTOMATIC_KEPT).await?;
    for row in &old {
        checkpoints::delete(&mut transaction, row.id).await?;
    }
    record.write(&mut transaction, &row).await?;
    commit(transaction).await?;
    failpoint::reach("checkpoint_committed");
    session.durable = Durable { seq, step: snapshot.optimizer_steps, at: Instant::now() };
    for row in old {
        context.blobs.delete(&row.blob).await?;
    }
    Ok(row)
}

/// The bytes of a checkpoint; `None` where they are not those that were written, or are gone.
pub async fn read_whole(context: &Context, checkpoint: &CheckpointRow) -> Result<Option<Bytes>> {
    match context.blobs.get_verified(&checkpoint.blob_ref()).await {
        Err(StoreError::Damaged(_) | StoreError::Missing) => Ok(None),
        bytes => Ok(Some(bytes?)),
    }
}

/// The bytes of a checkpoint, checked against its hash.
pub async fn read(context: &Context, checkpoint: &CheckpointRow) -> Result<Bytes> {
    Ok(context.blobs.get_verified(&checkpoint.blob_ref()).await?)
}
