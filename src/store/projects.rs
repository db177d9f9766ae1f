//! Tenants. Owns table `projects`.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::ProjectId;
use crate::store::Connection;
use crate::store::Result;

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectRow {
    /// The id.
    pub id: ProjectId,
    /// The name, which appears in the names of fine-tuned models.
    pub name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// The project of that name; made with a fresh id when there is none.
pub async fn find_or_create(conn: &mut Connection, name: &str) -> Result<ProjectRow> {
    // A plain `do nothing` would return no row for a project that is there.
    let row = sqlx::query_as!(
        ProjectRow,
        r#"insert into projects (id, name) values ($1, $2)
           on conflict on constraint projects_name_key do update set name = excluded.name
           returning id as "id: _", name, created_at"#,
        Uuid::now_v7(),
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The project of that id.
pub async fn get(conn: &mut Connection, project: ProjectId) -> Result<Option<ProjectRow>> {
    let row = sqlx::query_as!(
        ProjectRow,
        r#"select id as "id: _", name, created_at from projects where id = $1"#,
        project.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Every project, by name.
pub async fn list(conn: &mut Connection) -> Result<Vec<ProjectRow>> {
    let rows = sqlx::query_as!(ProjectRow, r#"select id as "id: _", name, created_at from projects order by name"#)
        .fetch_all(conn)
        .await?;
    Ok(rows)
}
