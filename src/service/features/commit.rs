//! The end of a turn: a shard becomes a file of its job, or the job ends. Owns that a blob is whole before its row is written, and
//! that the file, the job's progress, its event and what it used are one transaction; a crash anywhere leaves all of it or none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::FileId;
use crate::domain::job::JobEvent;
use crate::domain::job::JobState;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::write_safetensors;
use crate::instruments;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::features::shard::Stop;
use crate::service::files::RESULTS;
use crate::service::lifecycle::result_file;
use crate::service::lifecycle::transitions::admit_next;
use crate::service::lifecycle::transitions::apply;
use crate::service::lifecycle::transitions::missing;
use crate::service::lifecycle::transitions::note_with;
use crate::store::Connection;
use crate::store::Tx;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::events::Level;
use crate::store::features;
use crate::store::features::NewShard;
use crate::store::features::Turn;
use crate::store::files;
use crate::store::files::NewFile;
use crate::store::jobs;
use crate::store::jobs::JobFailure;
use crate::store::jobs::JobRow;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// A file of a features job, to be written.
pub struct Finished {
    /// What the file is called.
    pub name: String,
    /// What it holds.
    pub tensors: Vec<WireTensor>,
    /// What its header says.
    pub metadata: BTreeMap<String, String>,
    /// Its rows; 0 for a transform.
    pub rows: u64,
    /// Tokens that the device read for it.
    pub tokens: usize,
    /// What the device took for it.
    pub device: Duration,
    /// How long it is kept.
    pub seconds: i64,
}

/// Writes a file of a job whose turn this is, and ends the turn; ends the job with its last row.
pub async fn write(context: &Context, turn: &Turn, finished: Finished) -> std::result::Result<(), Stop> {
    let bytes = write_safetensors(&finished.tensors, &finished.metadata).map_err(ServiceError::from)?;
    let blob = context.blobs.put_atomic(BlobKind::Features, bytes).await.map_err(ServiceError::from)?;
    let mut transaction = context.begin().await?;
    match record(context, &mut transaction, turn, &finished, &blob).await {
        // Whether a commit that breaks off was carried out is not known: the sweeper finds the blob that no row names.
        Ok(true) => {
            commit(transaction).await?;
            instruments::feature_rows(finished.rows);
            Ok(())
        }
        refused => {
            drop(transaction);
            context.blobs.delete(&blob.path).await.map_err(ServiceError::from)?;
            Err(refused.map_or_else(Stop::Failed, |_| Stop::Gone))
        }
    }
}

async fn record(
    context: &Context,
    transaction: &mut Tx,
    turn: &Turn,
    finished: &Finished,
    blob: &BlobRef,
) -> Result<bool> {
    let job = held(transaction, turn).await?;
    let file = files::insert(transaction, &new_file(turn, finished, blob, &json!({}))).await?;
    let shard = NewShard {
        job: turn.job,
        attempt: turn.attempt,
        file: file.id,
        bytes: file.bytes,
        rows: file.rows,
        tokens: finished.tokens as i64,
    };
    if !features::add_shard(transaction, &shard).await? {
        return Ok(false);
    }
    let used = Amounts {
        inference_tokens: finished.tokens as i64,
        device_us: finished.device.as_micros() as i64,
        ..Amounts::default()
    };
    usage::add(
        transaction,
        &Consumer { project: job.project, key: job.key, model: &job.model_name, job: Some(job.id) },
        &used,
    )
    .await?;
    let data = json!({"file": file.id.to_string(), "first_row": job.rows_done, "rows": file.rows});
    let message = match file.rows {
        0 => "Transform of the features written".to_owned(),
        rows => format!("Features of rows {} to {} written", job.rows_done, job.rows_done + rows - 1),
    };
    note_with(transaction, &job, Level::Info, &message, Some(&data)).await?;
    if Some(job.rows_done + file.rows) == job.rows_total {
        let job = held(transaction, turn).await?;
        end(context, transaction, &job, JobEvent::Completed, None).await?;
    }
    Ok(true)
}

/// The job of the turn, which nobody else changes until the transaction ends.
async fn held(connection: &mut Connection, turn: &Turn) -> Result<JobRow> {
    jobs::get_for_update(connection, turn.project, turn.job).await?.ok_or_else(|| missing(turn.job))
}

fn new_file<'a>(turn: &Turn, finished: &'a Finished, blob: &'a BlobRef, shape: &'a Value) -> NewFile<'a> {
    NewFile {
        id: FileId(Uuid::now_v7()),
        project: turn.project,
        filename: &finished.name,
        purpose: RESULTS,
        bytes: blob.bytes.cast_signed(),
        rows: finished.rows.cast_signed(),
        sha256: &blob.sha256,
        blob: &blob.path,
        index_blob: &blob.path, // no step reads rows of it, so it has no index of its own
        index_bytes: 0,
        shape,
        seconds: Some(finished.seconds),
    }
}

async fn end(
    context: &Context,
    connection: &mut Connection,
    job: &JobRow,
    event: JobEvent,
    failure: Option<JobFailure>,
) -> Result<()> {
    let job = apply(connection, job, event, failure).await?;
    if job.status.is_final() {
        result_file::attach(context, connection, job.clone()).await?;
    }
    admit_next(connection, &context.limits, job.project).await
}

/// Whether the turn may still speak for its job: it was not paused, ended or taken over meanwhile.
fn still_works(job: &JobRow, turn: &Turn) -> bool {
    job.attempt == turn.attempt && job.status == JobState::Running
}

/// Ends the job of a turn that cannot go on. What is written stays.
pub async fn fail(context: &Context, turn: &Turn, failure: JobFailure) -> Result<()> {
    let mut transaction = context.begin().await?;
    let job = held(&mut transaction, turn).await?;
    if still_works(&job, turn) {
        tracing::warn!(job.id = %job.id, code = failure.code, "{} failed: {}", job.id, failure.message);
        end(context, &mut transaction, &job, JobEvent::Broke, Some(failure)).await?;
        commit(transaction).await?;
    }
    Ok(())
}

/// Pauses the job of a turn whose key or project has spent a budget; it is resumed by its owner.
pub async fn pause(context: &Context, turn: &Turn, budget: &str) -> Result<()> {
    let mut transaction = context.begin().await?;
    let job = held(&mut transaction, turn).await?;
    if still_works(&job, turn) {
        let message = format!("The budget for this month is spent ({budget}); resume the job when there is more");
        note_with(&mut transaction, &job, Level::Warn, &message, None).await?;
        end(context, &mut transaction, &job, JobEvent::PauseAsked, None).await?;
        commit(transaction).await?;
    }
    Ok(())
}

/// Pauses the job of a turn that found no room for its shard, or lacks the key of its file; its `error` says so until its owner resumes it.
pub async fn pause_for_storage(context: &Context, turn: &Turn, failure: JobFailure) -> Result<()> {
    let mut transaction = context.begin().await?;
    let job = held(&mut transaction, turn).await?;
    if still_works(&job, turn) {
        let message = match failure.code == ErrorCode::StorageLocked.as_str() {
            true => "The host lacks the key of the job's file; resume the job when its operator has given it",
            false => "The host's storage is full; resume the job when there is room",
        };
        note_with(&mut transaction, &job, Level::Warn, message, None).await?;
        end(context, &mut transaction, &job, JobEvent::OutOfRoom, Some(failure)).await?;
        commit(transaction).await?;
    }
    Ok(())
}
