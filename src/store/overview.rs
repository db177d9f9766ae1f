//! What an operator sees across projects and hosts: how many jobs are open where, who holds them, and what was used. Owns no table; must
//! never show what is in a project.

use uuid::Uuid;

use crate::domain::ids::ProjectId;
use crate::domain::job::JobState;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// Open jobs of a project in one state.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJobs {
    pub project: ProjectId,
    pub status: JobState,
    pub count: i64,
}

/// What a project used in this calendar month (UTC).
#[derive(Debug, Clone, PartialEq)]
pub struct MonthOfProject {
    pub project: ProjectId,
    /// Of training and of inference.
    pub tokens: i64,
    /// Device time, in microseconds.
    pub device_us: i64,
}

/// What a host of this database is at work on.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseHolder {
    /// The host's process: another one after each start.
    pub owner: Uuid,
    pub jobs: i64,
    pub batches: i64,
}

/// Open jobs by project and state; of these projects, or of all.
pub async fn open_jobs(conn: &mut Connection, projects: Option<&[Uuid]>) -> Result<Vec<OpenJobs>> {
    let rows = sqlx::query_as!(
        OpenJobs,
        r#"select project_id as "project: _", status as "status: _", count(*) as "count!" from jobs
           where finished_at is null and ($1::uuid[] is null or project_id = any($1)) group by project_id, status"#,
        projects,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What these projects used in this calendar month (UTC); one that used nothing is not in it.
pub async fn months(conn: &mut Connection, projects: &[Uuid]) -> Result<Vec<MonthOfProject>> {
    let rows = sqlx::query_as!(
        MonthOfProject,
        r#"select project_id as "project: _", sum(training_tokens + inference_tokens)::bigint as "tokens!",
                  sum(device_us)::bigint as "device_us!"
           from usage where project_id = any($1) and day >= date_trunc('month', now() at time zone 'UTC')::date
           group by project_id"#,
        projects,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Hosts that hold a lease, with what they hold. A batch that waits is held by nobody (see `batches::set_aside`).
pub async fn lease_holders(conn: &mut Connection) -> Result<Vec<LeaseHolder>> {
    let rows = sqlx::query_as!(
        LeaseHolder,
        r#"select owner as "owner!", count(*) filter (where of_job) as "jobs!", count(*) filter (where not of_job) as "batches!"
           from (select lease_owner as owner, true as of_job from jobs where lease_until > now()
                 union all select lease_owner, false from batches where lease_until > now()) held
           where owner is not null and owner <> $1 group by owner order by owner"#,
        Uuid::nil(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
