//! What is deleted for good, with all that hangs on it. Owns the count of what was there, taken by the statement that deletes it; must
//! never touch a job that is not over, or a project at which a host is at work.

use std::collections::BTreeMap;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;
use crate::store::project_tables;
use crate::store::storage;

/// What a job had left behind, and is no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedJob {
    /// Step calls.
    pub steps: i64,
    /// Entries of the ledger.
    pub ledger_entries: i64,
    pub events: i64,
    pub checkpoints: i64,
    /// Bytes of the checkpoints.
    pub bytes: i64,
    /// The checkpoints' blobs: they are next.
    pub blobs: Vec<String>,
}

/// Deletes a project's job that is over; `None` where there is none. The rows that belong to it go with it.
pub async fn job(conn: &mut Connection, project: ProjectId, job: JobId) -> Result<Option<ErasedJob>> {
    // The counts read the rows as they were when the statement began.
    let erased = sqlx::query_as!(
        ErasedJob,
        r#"with gone as (
               delete from jobs where id = $2 and project_id = $1 and finished_at is not null returning id)
           select (select count(*) from steps where job_id = gone.id) as "steps!",
                  (select count(*) from ledger where job_id = gone.id) as "ledger_entries!",
                  (select count(*) from events where job_id = gone.id) as "events!",
                  (select count(*) from checkpoints where job_id = gone.id) as "checkpoints!",
                  (select coalesce(sum(bytes), 0)::bigint from checkpoints where job_id = gone.id) as "bytes!",
                  (select coalesce(array_agg(blob), '{}') from checkpoints where job_id = gone.id) as "blobs!"
           from gone"#,
        project.0,
        job.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(erased)
}

/// Jobs of all projects that have been over for longer than some days, the oldest first.
pub async fn old_jobs(conn: &mut Connection, days: i32, limit: i64) -> Result<Vec<(ProjectId, JobId)>> {
    let old = sqlx::query!(
        r#"select project_id as "project: ProjectId", id as "id: JobId" from jobs
           where finished_at < now() - make_interval(days => $1) order by finished_at limit $2"#,
        days,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(old.into_iter().map(|job| (job.project, job.id)).collect())
}

/// What a project had left behind, and is no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedProject {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Bytes that were stored for it.
    pub bytes: i64,
    /// The blobs that its rows named: they are next.
    pub blobs: Vec<String>,
}

/// Holds a project for the rest of the transaction against everything, new rows of its own too, and counts the jobs and batches at
/// which a host is at work.
pub async fn hold_project(conn: &mut Connection, project: ProjectId) -> Result<i64> {
    sqlx::query_scalar!(r#"select id as "id: ProjectId" from projects where id = $1 for update"#, project.0)
        .fetch_optional(&mut *conn)
        .await?;
    let at_work = sqlx::query_scalar!(
        r#"select (select count(*) from jobs where project_id = $1 and lease_until > now())
                  + (select count(*) from batches where project_id = $1 and lease_until > now()) as "at_work!""#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(at_work)
}

/// Deletes every row of a project that is held.
pub async fn project(conn: &mut Connection, project: ProjectId) -> Result<ErasedProject> {
    // A large ledger takes longer than a request may.
    sqlx::raw_sql("set local statement_timeout = 0").execute(&mut *conn).await?;
    let bytes = storage::used(conn, project).await?;
    let blobs = sqlx::query_scalar(project_tables::BLOBS).bind(project.0).fetch_all(&mut *conn).await?;
    let mut rows = BTreeMap::new();
    for table in project_tables::TABLES {
        let deletion = table.deletion();
        let done = sqlx::query(&deletion).bind(project.0).execute(&mut *conn).await?;
        rows.insert(table.name, done.rows_affected());
    }
    Ok(ErasedProject { rows, bytes, blobs })
}
