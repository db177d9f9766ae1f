//! What is deleted for good, with all that hangs on it. Owns the count of what was there, taken in the statement that deletes it; must
//! never touch a job that is not over.

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

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
