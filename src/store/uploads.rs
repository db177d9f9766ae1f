//! Files that come in parts. Owns tables `uploads` and `upload_parts`; a part's row is written after its blob, and a blob is
//! deleted after its row. Must never decide what is whole: that is the service's.

use time::OffsetDateTime;

use crate::domain::ids::FileId;
use crate::domain::ids::PartId;
use crate::domain::ids::ProjectId;
use crate::domain::ids::UploadId;
use crate::store::blobs::BlobRef;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// An upload in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct UploadRow {
    pub id: UploadId,
    pub project: ProjectId,
    /// The name that the client gave.
    pub filename: String,
    /// `fine-tune`.
    pub purpose: String,
    /// Declared size of the whole file, in bytes.
    pub bytes: i64,
    /// `pending`, `completed` or `cancelled`; `expired` when it was pending for too long.
    pub status: String,
    /// What it became.
    pub file: Option<FileId>,
    /// How long the file will live.
    pub file_seconds: Option<i64>,
    pub created_at: OffsetDateTime,
    /// From then on it takes nothing any more.
    pub expires_at: OffsetDateTime,
}

/// An upload to be stored.
#[derive(Debug, Clone)]
pub struct NewUpload<'a> {
    pub id: UploadId,
    pub project: ProjectId,
    /// The name that the client gave.
    pub filename: &'a str,
    /// `fine-tune`.
    pub purpose: &'a str,
    /// As the client says; kept, not believed.
    pub mime_type: &'a str,
    /// Declared size of the whole file, in bytes.
    pub bytes: i64,
    /// How long the file will live.
    pub file_seconds: Option<i64>,
    /// How long the upload may take.
    pub seconds: i64,
}

/// A piece of a file on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct PartRow {
    pub id: PartId,
    /// What it is a part of.
    pub upload: UploadId,
    /// Blob with its bytes.
    pub blob: String,
    pub bytes: i64,
    pub created_at: OffsetDateTime,
}

/// `select`s or `returning`s the columns of [`UploadRow`] between two pieces of SQL.
macro_rules! upload_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            UploadRow,
            $head
                + r#" id as "id: _", project_id as "project: _", filename, purpose, bytes,
                      case when status = 'pending' and expires_at <= now() then 'expired' else status end as "status!",
                      file_id as "file: _", file_seconds, created_at, expires_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Stores a new upload.
pub async fn insert(conn: &mut Connection, upload: &NewUpload<'_>) -> Result<UploadRow> {
    let row = upload_rows!(
        "insert into uploads (id, project_id, filename, purpose, mime_type, bytes, status, file_seconds, expires_at)
         values ($1, $2, $3, $4, $5, $6, 'pending', $7, now() + make_interval(secs => $8)) returning",
        "",
        upload.id.0,
        upload.project.0,
        upload.filename,
        upload.purpose,
        upload.mime_type,
        upload.bytes,
        upload.file_seconds,
        upload.seconds as f64,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// How many uploads of the project take parts.
pub async fn count_pending(conn: &mut Connection, project: ProjectId) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from uploads where project_id = $1 and status = 'pending' and expires_at > now()"#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// The project's upload of that id.
pub async fn get(conn: &mut Connection, project: ProjectId, upload: UploadId) -> Result<Option<UploadRow>> {
    let row = upload_rows!("select", "from uploads where project_id = $1 and id = $2", project.0, upload.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// The project's upload of that id, which nobody else changes until the transaction ends.
pub async fn get_for_update(conn: &mut Connection, project: ProjectId, upload: UploadId) -> Result<Option<UploadRow>> {
    let row = upload_rows!("select", "from uploads where project_id = $1 and id = $2 for update", project.0, upload.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// Stores a part whose blob is durable.
pub async fn insert_part(conn: &mut Connection, id: PartId, upload: UploadId, blob: &BlobRef) -> Result<PartRow> {
    let row = sqlx::query_as!(
        PartRow,
        r#"insert into upload_parts (id, upload_id, blob, sha256, bytes) values ($1, $2, $3, $4, $5)
           returning id as "id: _", upload_id as "upload: _", blob, bytes, created_at"#,
        id.0,
        upload.0,
        blob.path,
        blob.sha256,
        blob.bytes.cast_signed(),
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The parts of an upload, oldest first.
pub async fn parts(conn: &mut Connection, upload: UploadId) -> Result<Vec<PartRow>> {
    let rows = sqlx::query_as!(
        PartRow,
        r#"select id as "id: _", upload_id as "upload: _", blob, bytes, created_at
           from upload_parts where upload_id = $1 order by id"#,
        upload.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Ends an upload, with the file that it became or without, and forgets its parts: their blobs are next.
pub async fn finish(conn: &mut Connection, upload: UploadId, file: Option<FileId>) -> Result<Vec<PartRow>> {
    let status = if file.is_some() { "completed" } else { "cancelled" };
    sqlx::query!(
        "update uploads set status = $2, file_id = $3 where id = $1 and status = 'pending'",
        upload.0,
        status,
        file.map(|file| file.0),
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        PartRow,
        r#"delete from upload_parts where upload_id = $1
           returning id as "id: _", upload_id as "upload: _", blob, bytes, created_at"#,
        upload.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Deletes uploads of all projects that were pending `grace` seconds past their time, and gives back their parts: the blobs
/// are next. A completion that began in time has until then.
pub async fn delete_expired(conn: &mut Connection, grace: i64, limit: i64) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar!(
        "select id from uploads where status = 'pending' and expires_at < now() - make_interval(secs => $1)
         order by expires_at limit $2 for update skip locked",
        grace as f64,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let blobs = sqlx::query_scalar!("delete from upload_parts where upload_id = any($1) returning blob", &ids)
        .fetch_all(&mut *conn)
        .await?;
    sqlx::query!("delete from uploads where id = any($1)", &ids).execute(conn).await?;
    Ok(blobs)
}
