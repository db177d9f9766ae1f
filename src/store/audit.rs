//! Who changed what. Owns table `audit`; must never hold the contents of a request.

use time::OffsetDateTime;

use crate::domain::ids::AuditId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// An entry.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    pub id: AuditId,
    /// The key that was shown.
    pub key: KeyId,
    /// Name of the operation, as in the contract.
    pub action: String,
    /// The thing that it was about.
    pub resource: Option<String>,
    /// How it was answered.
    pub status: i16,
    /// Id of the request, as the client and the log have it.
    pub request_id: String,
    pub created_at: OffsetDateTime,
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewAuditEntry<'a> {
    pub id: AuditId,
    pub project: ProjectId,
    /// The key that was shown.
    pub key: KeyId,
    /// Name of the operation.
    pub action: &'a str,
    /// The thing that it was about.
    pub resource: Option<&'a str>,
    /// How it was answered.
    pub status: u16,
    /// Id of the request.
    pub request_id: &'a str,
}

/// Writes an entry.
pub async fn append(conn: &mut Connection, entry: &NewAuditEntry<'_>) -> Result<()> {
    sqlx::query!(
        "insert into audit (id, project_id, key_id, action, resource, status, request_id)
         values ($1, $2, $3, $4, left($5, 300), $6, left($7, 100))",
        entry.id.0,
        entry.project.0,
        entry.key.0,
        entry.action,
        entry.resource,
        entry.status.cast_signed(),
        entry.request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of the project's entries. `None` when `page.after` is not one of them.
pub async fn list(conn: &mut Connection, project: ProjectId, page: &Page) -> Result<Option<Paged<AuditRow>>> {
    if let Some(after) = page.after {
        let known = sqlx::query_scalar!("select 1 from audit where project_id = $1 and id = $2", project.0, after)
            .fetch_optional(&mut *conn)
            .await?;
        if known.is_none() {
            return Ok(None);
        }
    }
    let rows = sqlx::query_as!(
        AuditRow,
        r#"select id as "id: _", key_id as "key: _", action, resource, status, request_id, created_at
           from audit where project_id = $1 and ($2::uuid is null or case when $3 then id > $2 else id < $2 end)
           order by case when $3 then id end, case when not $3 then id end desc limit $4"#,
        project.0,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// Deletes entries older than some days, the oldest first.
pub async fn delete_old(conn: &mut Connection, days: i32, limit: i64) -> Result<()> {
    sqlx::query!(
        "delete from audit where id in (
             select id from audit where created_at < now() - make_interval(days => $1) order by id limit $2)",
        days,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(())
}
