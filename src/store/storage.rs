//! What a project has stored, in bytes of blobs. Owns the sum over the tables that name them; must never decide what is too much.

use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// Bytes of the project's files and their indexes, parts of pending uploads, checkpoints, and adapters of its models.
pub async fn used(conn: &mut Connection, project: ProjectId) -> Result<i64> {
    let bytes = sqlx::query_scalar!(
        r#"select (coalesce((select sum(bytes + index_bytes) from files where project_id = $1), 0)
                   + coalesce((select sum(p.bytes) from upload_parts p join uploads u on u.id = p.upload_id
                               where u.project_id = $1), 0)
                   + coalesce((select sum(c.bytes) from checkpoints c join jobs j on j.id = c.job_id
                               where j.project_id = $1), 0)
                   + coalesce((select sum((blob ->> 'bytes')::bigint) from models m, jsonb_array_elements(m.adapters) blob
                               where m.project_id = $1 and m.deleted_at is null), 0))::bigint as "bytes!""#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(bytes)
}
