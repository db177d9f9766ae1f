//! What happened to a job, for its owner. Owns table `events`; must never hold a tensor, a label or a text of the data.

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Goes as it should.
    Info,
    /// Needs a look.
    Warn,
    /// Went wrong.
    Error,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A sentence.
    Message,
    /// Scalars that the client chose to report.
    Metrics,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Message, Self::Metrics];

    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Metrics => "metrics",
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub id: EventId,
    pub job: JobId,
    /// Order of commits within the job: what a stream resumes after.
    pub n: i64,
    pub level: Level,
    pub kind: EventKind,
    pub message: String,
    /// The scalars.
    pub data: Option<Value>,
    pub created_at: OffsetDateTime,
}

/// An event to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    pub id: EventId,
    pub job: JobId,
    pub level: Level,
    pub kind: EventKind,
    pub message: &'a str,
    /// The scalars.
    pub data: Option<&'a Value>,
}

/// `select`s or `returning`s the columns of [`EventRow`] between two pieces of SQL.
macro_rules! event_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            EventRow,
            $head
                + r#" id as "id!: _", job_id as "job!: _", n as "n!", level as "level!: _", type as "kind!: _",
                      message as "message!", data, created_at as "created_at!" "#
                + $tail,
            $($arg),*
        )
    };
}

pub(super) use event_rows;

/// Appends an event, and tells every host's listeners once it is committed.
/// [`StoreError::Missing`](crate::store::error::StoreError::Missing) when there is no such job.
pub async fn append(conn: &mut Connection, event: &NewEvent<'_>) -> Result<EventRow> {
    // The job's row is locked before `n` is drawn, so that no reader sees a later event before an earlier one.
    let row = event_rows!(
        "with job as materialized (select id, project_id from jobs where id = $2 for no key update),
         new as (insert into events (id, job_id, project_id, level, type, message, data)
                 select $1, job.id, job.project_id, $3, $4, $5, $6 from job returning *)
         select",
        "from new, pg_notify('blindtune_events', new.job_id::text) of_job,
             pg_notify('blindtune_project_events', new.project_id::text) of_project",
        event.id.0,
        event.job.0,
        event.level.as_str(),
        event.kind.as_str(),
        event.message,
        event.data,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// A page of the events of the project's job, of one kind or of all. `None` when `page.after` is not an event of that job.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    kind: Option<EventKind>,
    page: &Page,
) -> Result<Option<Paged<EventRow>>> {
    let after = match page.after {
        None => None,
        Some(after) => match position(conn, project, job, EventId(after)).await? {
            None => return Ok(None),
            found => found,
        },
    };
    let rows = event_rows!(
        "select",
        "from events
         where job_id = (select id from jobs where project_id = $1 and id = $2)
           and ($3::bigint is null or case when $4 then n > $3 else n < $3 end) and ($6::text is null or type = $6)
         order by case when $4 then n end, case when not $4 then n end desc limit $5",
        project.0,
        job.0,
        after,
        page.ascending(),
        page.fetch(),
        kind.map(EventKind::as_str),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// The position `n` of an event of the project's job, for a stream that resumes after it.
pub async fn position(conn: &mut Connection, project: ProjectId, job: JobId, event: EventId) -> Result<Option<i64>> {
    let n = sqlx::query_scalar!(
        "select e.n from events e join jobs j on j.id = e.job_id where j.project_id = $1 and j.id = $2 and e.id = $3",
        project.0,
        job.0,
        event.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(n)
}

/// The events of the project's job after position `after` (0 for the first), oldest first: for a stream.
pub async fn since(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    after: i64,
    limit: u32,
) -> Result<Vec<EventRow>> {
    let rows = event_rows!(
        "select",
        "from events where job_id = (select id from jobs where project_id = $1 and id = $2) and n > $3 order by n limit $4",
        project.0,
        job.0,
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What a job's client has reported, the newest report included.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// Values, each report counted as some at least.
    pub values: i64,
    /// Distinct names.
    pub names: i64,
}

/// Counts a report of scalars of these names, as so many values. The job's row must be held.
pub async fn count_metrics(conn: &mut Connection, job: JobId, names: &[String], values: i64) -> Result<Reported> {
    let row = sqlx::query!(
        r#"insert into job_metrics as known (job_id, reported, names) values ($1, $3, $2)
           on conflict (job_id) do update set reported = known.reported + excluded.reported,
               names = case when known.names @> excluded.names then known.names
                            else (select array_agg(distinct name order by name) from unnest(known.names || excluded.names) name) end
           returning reported, cardinality(names)::bigint as "names!""#,
        job.0,
        names,
        values,
    )
    .fetch_one(conn)
    .await?;
    Ok(Reported { values: row.reported, names: row.names })
}

/// Names of the scalars that the job's client reported, sorted, at most `limit` of them. Of reports from before they were counted, those
/// of the first two hundred.
pub async fn metric_names(conn: &mut Connection, job: JobId, limit: i64) -> Result<Vec<String>> {
    let names = sqlx::query_scalar!(
        r#"select distinct name as "name!" from (
               select unnest(names) as name from job_metrics where job_id = $1
               union all
               select jsonb_object_keys(data) from (
                   select data from events where job_id = $1 and type = 'metrics' order by n limit 200) early
           ) known where name <> 'step' order by 1 limit $2"#,
        job.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(names)
}

/// Reports of scalars after position `after` (0 for the first), oldest first, each with its position.
pub async fn metrics_since(conn: &mut Connection, job: JobId, after: i64, limit: i64) -> Result<Vec<(i64, Value)>> {
    let rows = sqlx::query!(
        r#"select n, data as "data!" from events
           where job_id = $1 and type = 'metrics' and data is not null and n > $2 order by n limit $3"#,
        job.0,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.n, row.data)).collect())
}
