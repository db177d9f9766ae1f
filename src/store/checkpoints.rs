//! Saved states of jobs. Owns table `checkpoints` and `jobs.durable_seq`. A row is written only after its blob is durable,
//! and a blob is deleted only after its row.

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::ids::CheckpointId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::blobs::BlobRef;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// A saved state.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointRow {
    pub id: CheckpointId,
    pub job: JobId,
    /// Optimizer steps (host custody) or steps (client custody) at that time, as clients count them.
    pub step_number: i64,
    /// The newest step that it covers.
    pub seq: i64,
    /// Changes of adapter values up to it.
    pub adapter_version: i64,
    /// Made by the host for durability.
    pub automatic: bool,
    pub blob: String,
    /// Hash of the blob, in hexadecimal.
    pub sha256: String,
    /// Size of the blob.
    pub bytes: i64,
    /// Scalars that the client chose to report.
    pub metrics: Value,
    /// The name of the state as a model.
    pub fine_tuned_model_checkpoint: String,
    pub created_at: OffsetDateTime,
    /// From then on it may be deleted.
    pub expires_at: Option<OffsetDateTime>,
}

impl CheckpointRow {
    /// What [`Blobs::get_verified`](crate::store::blobs::Blobs::get_verified) needs.
    pub fn blob_ref(&self) -> BlobRef {
        BlobRef { path: self.blob.clone(), sha256: self.sha256.clone(), bytes: self.bytes.unsigned_abs() }
    }
}

/// A saved state to be recorded. Its blob must be durable already.
#[derive(Debug, Clone)]
pub struct NewCheckpoint<'a> {
    pub id: CheckpointId,
    pub job: JobId,
    /// Fencing token from [`leases::claim`](crate::store::leases::claim).
    pub attempt: i32,
    /// Optimizer steps or steps, as clients count them.
    pub step_number: u64,
    /// The newest step that it covers.
    pub seq: u64,
    /// Changes of adapter values up to it.
    pub adapter_version: i64,
    /// Made by the host for durability; pruned when newer ones exist.
    pub automatic: bool,
    pub blob: &'a BlobRef,
    /// Scalars that the client chose to report: an object.
    pub metrics: &'a Value,
    /// The name of the state as a model.
    pub fine_tuned_model_checkpoint: &'a str,
    /// How long it lives; as long as its job when `None`.
    pub seconds: Option<i64>,
}

/// `select`s or `returning`s the columns of [`CheckpointRow`] between two pieces of SQL.
macro_rules! checkpoint_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            CheckpointRow,
            $head
                + r#" id as "id: _", job_id as "job: _", step_number, seq, adapter_version, automatic, blob, sha256, bytes, metrics,
                      fine_tuned_model_checkpoint, created_at, expires_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Records a saved state and moves `durable_seq` up to it. `None`, and nothing written, when the attempt is not the newest
/// any more or the job is not as far as `seq`. Must be in a transaction: it writes two tables.
pub async fn insert(conn: &mut Connection, new: &NewCheckpoint<'_>) -> Result<Option<CheckpointRow>> {
    let seq = new.seq.cast_signed();
    let moved = sqlx::query!(
        "update jobs set durable_seq = greatest(durable_seq, $3)
         where id = $1 and attempt = $2 and next_seq > $3 and finished_at is null",
        new.job.0,
        new.attempt,
        seq,
    )
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() != 1 {
        return Ok(None);
    }
    let row = checkpoint_rows!(
        "insert into checkpoints (id, job_id, step_number, seq, blob, sha256, bytes, metrics, fine_tuned_model_checkpoint,
             adapter_version, automatic, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + make_interval(secs => $12)) returning",
        "",
        new.id.0,
        new.job.0,
        new.step_number.cast_signed(),
        seq,
        new.blob.path,
        new.blob.sha256,
        new.blob.bytes.cast_signed(),
        new.metrics,
        new.fine_tuned_model_checkpoint,
        new.adapter_version,
        new.automatic,
        new.seconds.map(|seconds| seconds as f64),
    )
    .fetch_one(conn)
    .await?;
    Ok(Some(row))
}

/// The job's newest saved state that is not set aside.
pub async fn latest(conn: &mut Connection, job: JobId) -> Result<Option<CheckpointRow>> {
    let row = checkpoint_rows!(
        "select",
        "from checkpoints where job_id = $1 and set_aside_at is null order by seq desc, id desc limit 1",
        job.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The job's saved states that are not set aside, newest first.
pub async fn newest_first(conn: &mut Connection, job: JobId) -> Result<Vec<CheckpointRow>> {
    let rows = checkpoint_rows!(
        "select",
        "from checkpoints where job_id = $1 and set_aside_at is null order by seq desc, id desc",
        job.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Sets a saved state aside whose blob is damaged or gone: the job does not go on from it, and it is not pruned.
pub async fn set_aside(conn: &mut Connection, checkpoint: CheckpointId) -> Result<()> {
    sqlx::query!("update checkpoints set set_aside_at = now() where id = $1", checkpoint.0).execute(conn).await?;
    Ok(())
}

/// The saved state of that id, of the project's job.
pub async fn get(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    checkpoint: CheckpointId,
) -> Result<Option<CheckpointRow>> {
    let row = checkpoint_rows!(
        "select",
        "from checkpoints where job_id = (select id from jobs where project_id = $1 and id = $2) and id = $3",
        project.0,
        job.0,
        checkpoint.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The saved state that carries this name as a model, of any of the project's jobs.
pub async fn get_by_name(conn: &mut Connection, project: ProjectId, name: &str) -> Result<Option<CheckpointRow>> {
    let row = checkpoint_rows!(
        "select",
        "from checkpoints
         where fine_tuned_model_checkpoint = $2 and job_id in (select id from jobs where project_id = $1)",
        project.0,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Sets or takes away the time from which a saved state may be deleted. `None` when it is gone.
pub async fn set_expiry(
    conn: &mut Connection,
    checkpoint: CheckpointId,
    expires_at: Option<OffsetDateTime>,
) -> Result<Option<CheckpointRow>> {
    let row = checkpoint_rows!(
        "update checkpoints set expires_at = $2 where id = $1 returning",
        "",
        checkpoint.0,
        expires_at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Deletes saved states of all jobs that have expired, and gives them back: their blobs are next. What an open job would
/// resume from stays.
pub async fn delete_expired(conn: &mut Connection, limit: i64) -> Result<Vec<CheckpointRow>> {
    let rows = checkpoint_rows!(
        "delete from checkpoints where id in (
             select c.id from checkpoints c join jobs j on j.id = c.job_id
             where c.expires_at <= now() and (j.finished_at is not null or c.id <>
                 (select id from checkpoints where job_id = c.job_id and set_aside_at is null order by seq desc, id desc limit 1))
             order by c.expires_at limit $1 for update of c skip locked)
         returning",
        "",
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// A page of the saved states of the project's job. `None` when `page.after` is not one of them.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    page: &Page,
) -> Result<Option<Paged<CheckpointRow>>> {
    if let Some(after) = page.after
        && get(conn, project, job, CheckpointId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = checkpoint_rows!(
        "select",
        "from checkpoints
         where job_id = (select id from jobs where project_id = $1 and id = $2)
           and ($3::uuid is null or case when $4 then id > $3 else id < $3 end)
         order by case when $4 then id end, case when not $4 then id end desc limit $5",
        project.0,
        job.0,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// The job's automatic saved states without the `keep` newest ones: what may be deleted.
pub async fn older_than_newest(conn: &mut Connection, job: JobId, keep: u32) -> Result<Vec<CheckpointRow>> {
    let rows = checkpoint_rows!(
        "select",
        "from checkpoints where job_id = $1 and automatic and set_aside_at is null order by seq desc, id desc offset $2",
        job.0,
        i64::from(keep),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Deletes the row; its blob may be deleted after that, when
/// [`files::unused_blobs`](crate::store::files::unused_blobs) says that no other row names it.
pub async fn delete(conn: &mut Connection, checkpoint: CheckpointId) -> Result<bool> {
    let done = sqlx::query!("delete from checkpoints where id = $1", checkpoint.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
