//! Which checkpoint a job goes on from: the newest whose bytes are those that were written. Owns that a damaged one is set aside, told
//! to the job's owner, and never loaded; must never touch a session.

use bytes::Bytes;
use serde_json::json;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::Custody;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::lifecycle::transitions::held;
use crate::service::lifecycle::transitions::missing;
use crate::service::lifecycle::transitions::note_with;
use crate::service::training::checkpointing::read_whole;
use crate::store::Connection;
use crate::store::checkpoints;
use crate::store::checkpoints::CheckpointRow;
use crate::store::events::Level;
use crate::store::jobs;
use crate::store::jobs::JobRow;

/// The newest whole checkpoint that the job can go on from, with its bytes; `None` where there is none, and none is needed. In client
/// custody those of older values serve nobody, and are not read.
pub async fn newest_whole(
    context: &Context,
    project: ProjectId,
    id: JobId,
    attempt: i32,
) -> Result<Option<(CheckpointRow, Bytes)>> {
    let mut damaged = Vec::new();
    let mut whole = None;
    let mut connection = context.connection().await?;
    let job = jobs::get(&mut connection, project, id).await?.ok_or_else(|| missing(id))?;
    let saved = checkpoints::newest_first(&mut connection, id).await?;
    drop(connection);
    let serves =
        |row: &CheckpointRow| job.settings.custody == Custody::Host || row.adapter_version == job.adapter_version;
    for row in saved.into_iter().filter(serves) {
        match read_whole(context, &row).await? {
            Some(bytes) => {
                whole = Some((row, bytes));
                break;
            }
            None => damaged.push(row),
        }
    }
    if !damaged.is_empty() {
        let used = whole.as_ref().map(|(row, _)| row);
        let mut transaction = context.begin().await?;
        let job = held(&mut transaction, project, id, attempt).await?;
        set_aside(&mut transaction, &job, &damaged, used).await?;
        commit(transaction).await?;
    }
    Ok(whole)
}

/// Sets the damaged ones aside, and says from what the job goes on. In host custody it needs a whole one: what was acknowledged as
/// durable is in none of its client's hands, and beginning anew would lose it in silence.
async fn set_aside(
    connection: &mut Connection,
    job: &JobRow,
    damaged: &[CheckpointRow],
    used: Option<&CheckpointRow>,
) -> Result<()> {
    if used.is_none() && job.settings.custody == Custody::Host {
        let message =
            "Every checkpoint of the job is damaged: the host's operator must restore its blobs from a backup.";
        return Err(ServiceError::new(ErrorCode::StorageDamaged, message));
    }
    let way = match used {
        Some(row) => format!("the job goes on from checkpoint {} at seq {}", row.id, row.seq),
        None => "the job goes on from what its client sends".to_owned(),
    };
    for row in damaged {
        tracing::error!(job.id = %job.id, checkpoint.id = %row.id, path = row.blob, "checkpoint {} is damaged", row.id);
        checkpoints::set_aside(connection, row.id).await?;
        let message = format!("Checkpoint {} at seq {} is damaged and was set aside; {way}", row.id, row.seq);
        let data = json!({"checkpoint": row.id.to_string()});
        note_with(connection, job, Level::Warn, &message, Some(&data)).await?;
    }
    Ok(())
}
