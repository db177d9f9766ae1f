//! Uploaded files. Owns table `files`, and the question whether any row still names a blob. The contents are blobs.

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::ids::FileId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// An uploaded file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow {
    pub id: FileId,
    pub project: ProjectId,
    /// The name that the client gave.
    pub filename: String,
    /// `fine-tune`, `batch`, or what the host writes: `fine-tune-results`, `batch_output`.
    pub purpose: String,
    /// Size of the contents.
    pub bytes: i64,
    /// Number of inputs.
    pub rows: i64,
    /// Hash of the contents, in hexadecimal.
    pub sha256: String,
    /// Blob with the contents.
    pub blob: String,
    /// Blob with the byte offset of every row.
    pub index_blob: String,
    /// How rows are written down: the format and the columns of the header.
    pub shape: Value,
    pub created_at: OffsetDateTime,
    /// From then on it reads as absent.
    pub expires_at: Option<OffsetDateTime>,
}

/// A file to be stored. Its blobs are written before its row.
#[derive(Debug, Clone)]
pub struct NewFile<'a> {
    pub id: FileId,
    pub project: ProjectId,
    /// The name that the client gave.
    pub filename: &'a str,
    /// `fine-tune`, `batch`, or what the host writes: `fine-tune-results`, `batch_output`.
    pub purpose: &'a str,
    /// Size of the contents.
    pub bytes: i64,
    /// Number of inputs.
    pub rows: i64,
    /// Hash of the contents, in hexadecimal.
    pub sha256: &'a str,
    /// Blob with the contents.
    pub blob: &'a str,
    /// Blob with the byte offset of every row.
    pub index_blob: &'a str,
    /// Size of that blob; 0 where the file has no index of its own.
    pub index_bytes: i64,
    /// How rows are written down: the format and the columns of the header.
    pub shape: &'a Value,
    /// How long it lives; for ever when `None`.
    pub seconds: Option<i64>,
}

/// `select`s or `returning`s the columns of [`FileRow`] between two pieces of SQL.
macro_rules! file_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            FileRow,
            $head
                + r#" id as "id: _", project_id as "project: _", filename, purpose, bytes, rows, sha256, blob, index_blob,
                      shape, created_at, expires_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Stores a new file.
pub async fn insert(conn: &mut Connection, file: &NewFile<'_>) -> Result<FileRow> {
    let row = file_rows!(
        "insert into files (id, project_id, filename, purpose, bytes, rows, sha256, blob, index_blob, shape, expires_at,
                            index_bytes)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11), $12)
         returning",
        "",
        file.id.0,
        file.project.0,
        file.filename,
        file.purpose,
        file.bytes,
        file.rows,
        file.sha256,
        file.blob,
        file.index_blob,
        file.shape,
        file.seconds.map(|seconds| seconds as f64),
        file.index_bytes,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The project's file of that id; one that has expired reads as absent.
pub async fn get(conn: &mut Connection, project: ProjectId, file: FileId) -> Result<Option<FileRow>> {
    let row = file_rows!(
        "select",
        "from files where project_id = $1 and id = $2 and (expires_at is null or expires_at > now())",
        project.0,
        file.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The project's file of that id, expired or not: for a job that reads it, which keeps it until the job is over.
pub async fn get_for_job(conn: &mut Connection, project: ProjectId, file: FileId) -> Result<Option<FileRow>> {
    let row = file_rows!("select", "from files where project_id = $1 and id = $2", project.0, file.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// A page of the project's files. `None` when `page.after` is not a file of the project.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    page: &Page,
    purpose: Option<&str>,
) -> Result<Option<Paged<FileRow>>> {
    if let Some(after) = page.after
        && get(conn, project, FileId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = file_rows!(
        "select",
        "from files
         where project_id = $1 and ($2::text is null or purpose = $2) and (expires_at is null or expires_at > now())
           and ($3::uuid is null or case when $4 then id > $3 else id < $3 end)
         order by case when $4 then id end, case when not $4 then id end desc limit $5",
        project.0,
        purpose,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// Deletes the row and gives it back, so that its blobs can be deleted when [`unused_blobs`] says that no other row names
/// them.
pub async fn delete(conn: &mut Connection, project: ProjectId, file: FileId) -> Result<Option<FileRow>> {
    let row = file_rows!(
        "delete from files where project_id = $1 and id = $2 and (expires_at is null or expires_at > now()) returning",
        "",
        project.0,
        file.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Deletes files of all projects that have expired and that no open job or batch reads, and gives them back: their blobs are next.
pub async fn delete_expired(conn: &mut Connection, limit: i64) -> Result<Vec<FileRow>> {
    let rows = file_rows!(
        "delete from files where id in (
             select f.id from files f
             where f.expires_at <= now() and not exists
                 (select 1 from jobs where training_file = f.id and finished_at is null)
               and not exists (select 1 from batches where input_file = f.id and finished_at is null)
             order by f.expires_at limit $1 for update skip locked)
         returning",
        "",
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Those blobs that no row of any table names. A model that was withdrawn and the origin of a job that is over name none.
pub async fn unused_blobs(conn: &mut Connection, paths: &[String]) -> Result<Vec<String>> {
    let unused = sqlx::query_scalar!(
        r#"select path as "path!" from unnest($1::text[]) as path
           where not exists (select 1 from files where blob = path or index_blob = path)
             and not exists (select 1 from checkpoints where blob = path)
             and not exists (select 1 from upload_parts where blob = path)
             and not exists (select 1 from batch_pieces where blob = path)
             and not exists (select 1 from jobs where finished_at is null and origin is not null
                             and origin -> 'adapters' @> jsonb_build_array(jsonb_build_object('path', path)))
             and not exists (select 1 from models where deleted_at is null
                             and adapters @> jsonb_build_array(jsonb_build_object('path', path)))"#,
        paths,
    )
    .fetch_all(conn)
    .await?;
    Ok(unused)
}

/// Every blob that a row of any table names: what [`unused_blobs`] leaves.
pub async fn named_blobs(conn: &mut Connection) -> Result<Vec<String>> {
    let named = sqlx::query_scalar!(
        r#"select blob as "path!" from files
           union select index_blob from files
           union select blob from checkpoints where set_aside_at is null
           union select blob from upload_parts
           union select blob from batch_pieces
           union select adapter ->> 'path' from jobs, jsonb_array_elements(origin -> 'adapters') as adapter
                 where finished_at is null and origin is not null
           union select adapter ->> 'path' from models, jsonb_array_elements(adapters) as adapter
                 where deleted_at is null and adapters is not null
           order by 1"#,
    )
    .fetch_all(conn)
    .await?;
    Ok(named)
}
