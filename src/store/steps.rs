//! Steps that were applied. Owns table `steps` and the step counters of `jobs`; a write that does not carry the newest
//! fencing token and the next seq writes nothing.

use time::OffsetDateTime;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::steps::Digest;
use crate::domain::steps::StepKind;
use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::pool::Connection;

/// A step that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    pub job: JobId,
    pub seq: i64,
    pub kind: StepKind,
    /// Hash over parameters and body.
    pub digest: Digest,
    /// The forward that it made or refers to.
    pub forward: Option<ForwardId>,
    /// Fencing token under which it was written.
    pub attempt: i32,
    pub created_at: OffsetDateTime,
}

/// A step to be recorded.
#[derive(Debug, Clone)]
pub struct NewStep<'a> {
    pub job: JobId,
    /// Its number; must be the job's next.
    pub seq: u64,
    /// Fencing token from [`leases::claim`](crate::store::leases::claim).
    pub attempt: i32,
    pub kind: StepKind,
    /// Hash over parameters and body.
    pub digest: &'a Digest,
    /// The forward that it made or refers to.
    pub forward: Option<ForwardId>,
    /// Tokens that it trained on.
    pub tokens: u64,
    /// Optimizer steps that the host made.
    pub optimizer_steps: u64,
    /// Whether the step changed adapter values.
    pub new_adapters: bool,
}

/// Why a step was not recorded. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StepWrite {
    /// There is no such job, or it does not run.
    #[error("the job does not run")]
    NotRunning,
    /// Another host has taken the job: drop it without writing.
    #[error("the lease of the job was lost")]
    LeaseLost,
    /// Another call was recorded first, or one is missing.
    #[error("the next seq is {expected}")]
    OutOfOrder {
        /// The seq that is next.
        expected: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for StepWrite {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn sql_count(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(StoreError::broken)
}

/// Records a step and moves the job on. Must be in a transaction: it writes two tables.
pub async fn commit(conn: &mut Connection, step: &NewStep<'_>) -> std::result::Result<(), StepWrite> {
    let seq = sql_count(step.seq)?;
    let tokens = sql_count(step.tokens)?;
    let optimizer_steps = sql_count(step.optimizer_steps)?;
    let moved = sqlx::query!(
        "update jobs set next_seq = next_seq + 1, forward_seq = case when $4 then $2 else forward_seq end,
             trained_tokens = trained_tokens + $5, optimizer_steps = optimizer_steps + $6, barren_attempts = 0,
             adapter_version = adapter_version + case when $7 then 1 else 0 end,
             last_step_at = now()
         where id = $1 and next_seq = $2 and attempt = $3 and status = 'running'",
        step.job.0,
        seq,
        step.attempt,
        step.kind == StepKind::Forward,
        tokens,
        optimizer_steps,
        step.new_adapters,
    )
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() != 1 {
        return Err(why_refused(conn, step).await?);
    }
    sqlx::query!(
        "insert into steps (job_id, seq, kind, digest, forward_id, attempt, tokens, optimizer_steps)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        step.job.0,
        seq,
        step.kind.as_str(),
        step.digest.as_slice(),
        step.forward.map(|forward| forward.0),
        step.attempt,
        tokens,
        optimizer_steps,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn why_refused(conn: &mut Connection, step: &NewStep<'_>) -> Result<StepWrite> {
    let job = sqlx::query!(
        r#"select next_seq, attempt, status = 'running' as "running!" from jobs where id = $1"#,
        step.job.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(match job {
        Some(job) if job.running && job.attempt != step.attempt => StepWrite::LeaseLost,
        Some(job) if job.running => StepWrite::OutOfOrder { expected: job.next_seq.unsigned_abs() },
        _ => StepWrite::NotRunning,
    })
}

/// Counts a change of adapter values outside the numbered steps, and keeps the job from looking idle.
pub async fn touch(
    conn: &mut Connection,
    job: JobId,
    attempt: i32,
    new_adapters: bool,
) -> std::result::Result<(), StepWrite> {
    let done = sqlx::query!(
        "update jobs set adapter_version = adapter_version + case when $3 then 1 else 0 end, last_step_at = now()
         where id = $1 and attempt = $2 and status = 'running'",
        job.0,
        attempt,
        new_adapters,
    )
    .execute(conn)
    .await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(StepWrite::LeaseLost),
    }
}

/// The job's step of that number.
pub async fn get(conn: &mut Connection, job: JobId, seq: u64) -> Result<Option<StepRow>> {
    let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
    let row = sqlx::query_as!(
        StepRow,
        r#"select job_id as "job: _", seq, kind as "kind: _", digest as "digest: _", forward_id as "forward: _", attempt,
                  created_at
           from steps where job_id = $1 and seq = $2"#,
        job.0,
        seq,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Forgets every step after `to_seq`, as when the host fell back to a checkpoint: the next seq is `to_seq + 1` again and
/// the counters are as they were. `false` when the attempt is not the newest any more or the job does not run.
pub async fn rewind(conn: &mut Connection, job: JobId, attempt: i32, to_seq: u64) -> Result<bool> {
    let to_seq = sql_count(to_seq)?;
    let done = sqlx::query!(
        "update jobs set next_seq = $3 + 1, durable_seq = least(durable_seq, $3),
             forward_seq = coalesce((select max(seq) from steps where job_id = $1 and seq <= $3 and kind = 'forward'), 0),
             trained_tokens = trained_tokens - coalesce((select sum(tokens) from steps where job_id = $1 and seq > $3), 0),
             optimizer_steps = optimizer_steps
                 - coalesce((select sum(optimizer_steps) from steps where job_id = $1 and seq > $3), 0)
         where id = $1 and attempt = $2 and status = 'running' and next_seq > $3",
        job.0,
        attempt,
        to_seq,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    sqlx::query!("delete from steps where job_id = $1 and seq > $2", job.0, to_seq).execute(conn).await?;
    Ok(true)
}
