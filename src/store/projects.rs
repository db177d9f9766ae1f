//! Tenants. Owns table `projects`.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::ProjectId;
use crate::domain::quota::Quota;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectRow {
    pub id: ProjectId,
    /// The name, which appears in the names of fine-tuned models.
    pub name: String,
    pub created_at: OffsetDateTime,
    pub quota: Quota,
}

/// What the queries give.
struct Raw {
    id: ProjectId,
    name: String,
    created_at: OffsetDateTime,
    requests_per_minute: Option<i64>,
    tokens_per_minute: Option<i64>,
    monthly_tokens: Option<i64>,
    monthly_device_seconds: Option<i64>,
}

impl From<Raw> for ProjectRow {
    fn from(raw: Raw) -> Self {
        let Raw {
            id,
            name,
            created_at,
            requests_per_minute,
            tokens_per_minute,
            monthly_tokens,
            monthly_device_seconds,
        } = raw;
        let quota = Quota { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds };
        Self { id, name, created_at, quota }
    }
}

/// `select`s or `returning`s the columns of [`ProjectRow`] between two pieces of SQL.
macro_rules! project_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            Raw,
            $head
                + r#" id as "id: _", name, created_at, requests_per_minute, tokens_per_minute, monthly_tokens,
                      monthly_device_seconds "#
                + $tail,
            $($arg),*
        )
    };
}

/// The project of that name; made with a fresh id when there is none.
pub async fn find_or_create(conn: &mut Connection, name: &str) -> Result<ProjectRow> {
    // A plain `do nothing` would return no row for a project that is there.
    let raw = project_rows!(
        "insert into projects (id, name) values ($1, $2)
         on conflict on constraint projects_name_key do update set name = excluded.name
         returning",
        "",
        Uuid::now_v7(),
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(raw.into())
}

/// The project of that name.
pub async fn named(conn: &mut Connection, name: &str) -> Result<Option<ProjectRow>> {
    let raw = project_rows!("select", "from projects where name = $1", name).fetch_optional(conn).await?;
    Ok(raw.map(ProjectRow::from))
}

/// The project of that id.
pub async fn get(conn: &mut Connection, project: ProjectId) -> Result<Option<ProjectRow>> {
    let raw = project_rows!("select", "from projects where id = $1", project.0).fetch_optional(conn).await?;
    Ok(raw.map(ProjectRow::from))
}

/// A project of that name, made now. `None` when there is one.
pub async fn create(conn: &mut Connection, name: &str) -> Result<Option<ProjectRow>> {
    let raw = project_rows!(
        "insert into projects (id, name) values ($1, $2) on conflict on constraint projects_name_key do nothing returning",
        "",
        Uuid::now_v7(),
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(raw.map(ProjectRow::from))
}

/// A page of all projects. `None` when `page.after` is not one of them.
pub async fn page(conn: &mut Connection, page: &Page) -> Result<Option<Paged<ProjectRow>>> {
    if let Some(after) = page.after
        && get(conn, ProjectId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = project_rows!(
        "select",
        "from projects where ($1::uuid is null or case when $2 then id > $1 else id < $1 end)
         order by case when $2 then id end, case when not $2 then id end desc limit $3",
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows.into_iter().map(ProjectRow::from).collect(), page)))
}

/// Holds a project for the rest of the transaction, so that its jobs are counted and changed by one at a time.
pub async fn hold(conn: &mut Connection, project: ProjectId) -> Result<()> {
    sqlx::query_scalar!(r#"select id as "id: ProjectId" from projects where id = $1 for no key update"#, project.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// Every project, by name.
pub async fn list(conn: &mut Connection) -> Result<Vec<ProjectRow>> {
    let raw = project_rows!("select", "from projects order by name").fetch_all(conn).await?;
    Ok(raw.into_iter().map(ProjectRow::from).collect())
}

/// Sets a project's limits. `None` when there is no such project.
pub async fn set_quota(conn: &mut Connection, project: ProjectId, quota: &Quota) -> Result<Option<ProjectRow>> {
    let raw = project_rows!(
        "update projects set requests_per_minute = $2, tokens_per_minute = $3, monthly_tokens = $4,
             monthly_device_seconds = $5 where id = $1 returning",
        "",
        project.0,
        quota.requests_per_minute,
        quota.tokens_per_minute,
        quota.monthly_tokens,
        quota.monthly_device_seconds,
    )
    .fetch_optional(conn)
    .await?;
    Ok(raw.map(ProjectRow::from))
}
