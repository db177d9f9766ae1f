//! The end of a batch: its pieces become files. Owns that the files, the final status and its message to webhooks are one transaction;
//! must never hold more of a file in memory than a chunk of a piece.

use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use uuid::Uuid;

use crate::domain::batch::BatchEvent;
use crate::domain::ids::FileId;
use crate::service::batches::turns::Stop;
use crate::service::batches::turns::Work;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::files::OUTPUTS;
use crate::service::webhooks;
use crate::store::Tx;
use crate::store::batches;
use crate::store::batches::BatchErrors;
use crate::store::batches::Ending;
use crate::store::batches::PieceRow;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::files;
use crate::store::files::NewFile;

/// What the pieces hold, in two blobs.
struct Written {
    output: Option<BlobRef>,
    errors: Option<BlobRef>,
}

/// Which part of the pieces.
#[derive(Clone, Copy)]
enum Part {
    Output,
    Errors,
}

/// Ends the batch by an event, with the files of what was done.
pub async fn finish(work: &Work<'_>, event: BatchEvent, errors: Option<BatchErrors>) -> std::result::Result<(), Stop> {
    let pieces = batches::pieces(&mut *work.context.connection().await?, work.batch.id).await;
    let pieces = pieces.map_err(ServiceError::from)?;
    let written = work.held(async { Ok(join(work, &pieces).await?) }).await?;
    let mut transaction = work.context.begin().await?;
    match record(work, &mut transaction, event, &written, errors.as_ref()).await {
        Ok(true) => {
            commit(transaction).await?;
            let spent = pieces.iter().map(|piece| piece.blob.as_str());
            Ok(forget(work, spent).await?)
        }
        refused => {
            drop(transaction);
            let written = [&written.output, &written.errors];
            forget(work, written.into_iter().flatten().map(|blob| blob.path.as_str())).await?;
            Err(refused.map_or_else(Stop::Failed, |_| Stop::Gone))
        }
    }
}

async fn join(work: &Work<'_>, pieces: &[PieceRow]) -> Result<Written> {
    Ok(Written {
        output: join_part(work, pieces, Part::Output).await?,
        errors: join_part(work, pieces, Part::Errors).await?,
    })
}

async fn join_part(work: &Work<'_>, pieces: &[PieceRow], part: Part) -> Result<Option<BlobRef>> {
    let blobs = &work.context.blobs;
    let mut writer = blobs.writer(BlobKind::Batches).await?;
    for PieceRow { blob, output_bytes, error_bytes } in pieces {
        let (output, errors) = (output_bytes.unsigned_abs(), error_bytes.unsigned_abs());
        let range = match part {
            Part::Output => 0..output,
            Part::Errors => output..output + errors,
        };
        if !range.is_empty() {
            let mut chunks = blobs.stream_range(blob, range).await?;
            while let Some(chunk) = chunks.try_next().await? {
                writer.write(Bytes::clone(&chunk)).await?;
            }
        }
    }
    if writer.is_empty() {
        writer.abort().await?;
        return Ok(None);
    }
    Ok(Some(writer.finish().await?))
}

async fn record(
    work: &Work<'_>,
    transaction: &mut Tx,
    event: BatchEvent,
    written: &Written,
    errors: Option<&BatchErrors>,
) -> Result<bool> {
    let batch = &work.batch;
    let Some(to) = batch.status.on(event) else { return Ok(false) };
    let ending = Ending {
        batch: batch.id,
        attempt: work.turn.attempt,
        from: batch.status,
        to,
        output_file: insert(work, transaction, Part::Output, written.output.as_ref()).await?,
        error_file: insert(work, transaction, Part::Errors, written.errors.as_ref()).await?,
        errors,
    };
    if !batches::finish(transaction, &ending).await? {
        return Ok(false);
    }
    webhooks::announce_batch(transaction, batch.project, batch.id, to).await?;
    tracing::info!(batch.id = %batch.id, status = to.as_str(), "{} is {to}", batch.id);
    Ok(true)
}

async fn insert(work: &Work<'_>, transaction: &mut Tx, part: Part, blob: Option<&BlobRef>) -> Result<Option<FileId>> {
    let Some(blob) = blob else { return Ok(None) };
    let (word, rows) = match part {
        Part::Output => ("output", work.batch.requests_completed),
        Part::Errors => ("error", work.batch.requests_failed),
    };
    let new = NewFile {
        id: FileId(Uuid::now_v7()),
        project: work.batch.project,
        filename: &format!("{}_{word}.jsonl", work.batch.id),
        purpose: OUTPUTS,
        bytes: blob.bytes.cast_signed(),
        rows,
        sha256: &blob.sha256,
        blob: &blob.path,
        index_blob: &blob.path, // no batch reads rows of it, so it has no index of its own
        index_bytes: 0,
        shape: &json!({}),
        seconds: Some(work.batch.output_seconds),
    };
    Ok(Some(files::insert(transaction, &new).await?.id))
}

async fn forget(work: &Work<'_>, paths: impl Iterator<Item = &str>) -> Result<()> {
    for path in paths {
        work.context.blobs.delete(path).await?;
    }
    Ok(())
}
