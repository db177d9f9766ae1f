//! Progress of feature jobs. Owns how many rows of one are done, whose turn is next, and the bytes that results take; must never
//! know what a feature is.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::ids::FileId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// A job whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub project: ProjectId,
    pub job: JobId,
    /// Fencing token of the lease.
    pub attempt: i32,
    /// Leases since the last shard that did not end in good order, this one included.
    pub barren_attempts: i32,
}

/// A file of features that is to be added to its job.
#[derive(Debug, Clone, Copy)]
pub struct NewShard {
    pub job: JobId,
    /// Fencing token of the lease.
    pub attempt: i32,
    /// The file, whose row is written in the same transaction.
    pub file: FileId,
    /// Its size.
    pub bytes: i64,
    /// Its rows; 0 for a transform.
    pub rows: i64,
    /// Tokens that the device read for it.
    pub tokens: i64,
}

/// Takes the lease of the running features job that had no turn for longest and that no other owner holds. `None`: there is none. An
/// owner has one turn at a time: a lease that it still holds was left by a turn whose end could not be written.
pub async fn take_turn(conn: &mut Connection, owner: Uuid, ttl: Duration) -> Result<Option<Turn>> {
    let turn = sqlx::query_as!(
        Turn,
        r#"update jobs set lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempt = attempt + 1,
               barren_attempts = barren_attempts + 1
           where id = (select id from jobs
                       where features is not null and status = 'running' and (lease_owner is null or lease_owner = $1 or lease_until <= now())
                       order by coalesce(last_step_at, started_at), id limit 1 for no key update skip locked)
           returning project_id as "project: _", id as "job: _", attempt, barren_attempts"#,
        owner,
        ttl.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(turn)
}

/// Extends the lease. `false`: the job does not run any more, or another attempt holds it.
pub async fn hold(conn: &mut Connection, job: JobId, attempt: i32, ttl: Duration) -> Result<bool> {
    let held = sqlx::query!(
        "update jobs set lease_until = now() + make_interval(secs => $3)
         where id = $1 and attempt = $2 and status = 'running' and lease_owner is not null",
        job.0,
        attempt,
        ttl.as_secs_f64(),
    );
    Ok(held.execute(conn).await?.rows_affected() == 1)
}

/// Adds a shard's file to its job, and ends the turn: the lease is given back. `false`, and nothing is written: the job does not run
/// any more, or another attempt holds it.
pub async fn add_shard(conn: &mut Connection, shard: &NewShard) -> Result<bool> {
    let added = sqlx::query!(
        "update jobs set result_files = array_append(result_files, $3), rows_done = rows_done + $4,
             result_bytes = result_bytes + $5, trained_tokens = trained_tokens + $6, barren_attempts = 0, last_step_at = now(),
             lease_owner = null, lease_until = null
         where id = $1 and attempt = $2 and status = 'running'",
        shard.job.0,
        shard.attempt,
        shard.file.0,
        shard.rows,
        shard.bytes,
        shard.tokens,
    );
    Ok(added.execute(conn).await?.rows_affected() == 1)
}

/// Ends a turn that failed: others come first, and the attempt counts as barren.
pub async fn pass_turn(conn: &mut Connection, job: JobId, attempt: i32) -> Result<()> {
    sqlx::query!(
        "update jobs set lease_owner = null, lease_until = null, last_step_at = now()
         where id = $1 and attempt = $2 and status = 'running'",
        job.0,
        attempt,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the leases of an owner's feature jobs back in good order: their attempts do not count as barren.
pub async fn release(conn: &mut Connection, owner: Uuid) -> Result<()> {
    sqlx::query!(
        "update jobs set lease_owner = null, lease_until = null, barren_attempts = greatest(barren_attempts - 1, 0)
         where lease_owner = $1 and features is not null",
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Bytes of the project's files of these purposes, what its open features jobs are still to write, and the answers of its open batches.
pub async fn stored_bytes(conn: &mut Connection, project: ProjectId, purposes: &[&str]) -> Result<i64> {
    let purposes: Vec<String> = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    let bytes = sqlx::query_scalar!(
        r#"select (coalesce((select sum(bytes) from files where project_id = $1 and purpose = any($2)
                             and (expires_at is null or expires_at > now())), 0)
                   + coalesce((select sum(greatest(expected_bytes - result_bytes, 0)) from jobs
                               where project_id = $1 and finished_at is null), 0)
                   + coalesce((select sum(p.output_bytes + p.error_bytes) from batch_pieces p join batches b on b.id = p.batch_id
                               where b.project_id = $1 and b.finished_at is null), 0))::bigint as "bytes!""#,
        project.0,
        &purposes,
    )
    .fetch_one(conn)
    .await?;
    Ok(bytes)
}
