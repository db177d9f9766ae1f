//! Jobs as lists and boards show them: by a filter, counted by state, and how far those have come that somebody watches. Owns no table;
//! must never change a job.

use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobState;
use crate::store::error::Result;
use crate::store::jobs::JobRow;
use crate::store::jobs::Metadata;
use crate::store::jobs::get;
use crate::store::jobs::job_rows;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// Which jobs a list holds, by their metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MetadataFilter {
    /// All jobs.
    #[default]
    Any,
    /// Jobs without metadata.
    Absent,
    /// Jobs whose metadata has all these pairs.
    Contains(Metadata),
}

/// Which jobs a list holds; all of a project's by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobFilter {
    /// By their metadata.
    pub metadata: MetadataFilter,
    /// In this state.
    pub status: Option<JobState>,
    /// Asked for by this name of a model.
    pub model: Option<String>,
    /// Made then or later.
    pub created_from: Option<OffsetDateTime>,
    /// Made before.
    pub created_before: Option<OffsetDateTime>,
}

/// How many jobs are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCount {
    pub status: JobState,
    pub jobs: i64,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPulse {
    pub job: JobId,
    /// The seq that the next step call must carry.
    pub next_seq: i64,
    /// Optimizer steps applied by the host.
    pub optimizer_steps: i64,
    /// Tokens of all training forwards.
    pub trained_tokens: i64,
    /// Rows of a features job that are done.
    pub rows_done: i64,
    /// When its newest step was committed.
    pub last_step_at: Option<OffsetDateTime>,
}

/// A page of the project's jobs. `None` when `page.after` is not a job of the project.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    page: &Page,
    filter: &JobFilter,
) -> Result<Option<Paged<JobRow>>> {
    if let Some(after) = page.after
        && get(conn, project, JobId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let wanted = match &filter.metadata {
        MetadataFilter::Contains(pairs) => Some(Json(pairs)),
        _ => None,
    };
    let rows = job_rows!(
        "select",
        "from jobs
         where project_id = $1 and (not $2 or metadata is null) and ($3::jsonb is null or metadata @> $3)
           and ($4::uuid is null or case when $5 then id > $4 else id < $4 end)
           and ($7::text is null or status = $7) and ($8::text is null or model_name = $8)
           and ($9::timestamptz is null or created_at >= $9) and ($10::timestamptz is null or created_at < $10)
         order by case when $5 then id end, case when not $5 then id end desc limit $6",
        project.0,
        filter.metadata == MetadataFilter::Absent,
        wanted as _,
        page.after,
        page.ascending(),
        page.fetch(),
        filter.status.map(JobState::as_str),
        filter.model.as_deref(),
        filter.created_from,
        filter.created_before,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// The project's jobs by state; a state that none is in is not in it.
pub async fn counts_by_state(conn: &mut Connection, project: ProjectId) -> Result<Vec<StateCount>> {
    let rows = sqlx::query_as!(
        StateCount,
        r#"select status as "status: _", count(*) as "jobs!" from jobs where project_id = $1 group by status"#,
        project.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// How far the project's running jobs have come.
pub async fn running_pulses(conn: &mut Connection, project: ProjectId) -> Result<Vec<JobPulse>> {
    let rows = sqlx::query_as!(
        JobPulse,
        r#"select id as "job: _", next_seq, optimizer_steps, trained_tokens, rows_done, last_step_at
           from jobs where project_id = $1 and status = 'running' and finished_at is null"#,
        project.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// How far these jobs have come, whosever they are: for listeners who were let in.
pub async fn pulses(conn: &mut Connection, jobs: &[Uuid]) -> Result<Vec<JobPulse>> {
    let rows = sqlx::query_as!(
        JobPulse,
        r#"select id as "job: _", next_seq, optimizer_steps, trained_tokens, rows_done, last_step_at
           from jobs where id = any($1)"#,
        jobs,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
