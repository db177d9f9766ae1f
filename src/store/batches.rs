//! Batches of requests. Owns tables `batches` and `batch_pieces`: their status, their progress, their lease and the blobs of their answers.
//! Must never decide whether a batch may change its status (that is `BatchStatus::on`), or know what a request is.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::batch::BatchEndpoint;
use crate::domain::batch::BatchStatus;
use crate::domain::ids::BatchId;
use crate::domain::ids::FileId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::jobs::Metadata;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// What was wrong with a line, or why a batch failed, in words for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchError {
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// The line at fault, from 1.
    pub line: Option<i64>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchErrors(pub Vec<BatchError>);

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRow {
    pub id: BatchId,
    pub project: ProjectId,
    /// The key that made it.
    pub key: KeyId,
    /// The file with its requests.
    pub input_file: FileId,
    pub endpoint: BatchEndpoint,
    pub status: BatchStatus,
    /// The client's pairs.
    pub metadata: Option<Metadata>,
    /// How long its files are kept.
    pub output_seconds: i64,
    /// The one model of all its lines, once they were checked.
    pub model: Option<String>,
    pub errors: Option<BatchErrors>,
    pub requests_total: i64,
    /// Requests that were answered well.
    pub requests_completed: i64,
    /// Requests that were refused.
    pub requests_failed: i64,
    /// Tokens that the device read for it.
    pub tokens: i64,
    /// Whether its window passed before every request was answered.
    pub late: bool,
    /// Answers, once it is over.
    pub output_file: Option<FileId>,
    /// Refusals, once it is over.
    pub error_file: Option<FileId>,
    pub created_at: OffsetDateTime,
    /// When its window passes.
    pub expires_at: OffsetDateTime,
    pub in_progress_at: Option<OffsetDateTime>,
    pub finalizing_at: Option<OffsetDateTime>,
    pub cancelling_at: Option<OffsetDateTime>,
    /// When it became final.
    pub finished_at: Option<OffsetDateTime>,
}

/// A batch to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewBatch<'a> {
    pub id: BatchId,
    pub project: ProjectId,
    pub key: KeyId,
    /// The file with its requests.
    pub input_file: FileId,
    pub endpoint: BatchEndpoint,
    pub metadata: Option<&'a Metadata>,
    /// How long its window is.
    pub window_seconds: i64,
    /// How long its files are kept.
    pub output_seconds: i64,
    /// Lines of its file.
    pub requests: i64,
}

/// A batch whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub project: ProjectId,
    pub batch: BatchId,
    /// Fencing token of the lease.
    pub attempt: i32,
    /// Leases since the last piece that did not end in good order, this one included.
    pub barren_attempts: i32,
    /// Whether the window has passed.
    pub is_late: bool,
}

/// Answers that are to be added to their batch.
#[derive(Debug, Clone, Copy)]
pub struct NewPiece<'a> {
    pub batch: BatchId,
    /// Fencing token of the lease.
    pub attempt: i32,
    /// Number of its first request, from 0.
    pub first_line: i64,
    /// Blob with the answers, then the refusals.
    pub blob: &'a str,
    pub output_bytes: i64,
    pub error_bytes: i64,
    /// Requests that were answered well.
    pub completed: i64,
    /// Requests that were refused.
    pub failed: i64,
    /// Tokens that the device read for it.
    pub tokens: i64,
    /// Whether some were refused since the window has passed.
    pub late: bool,
}

/// Answers of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceRow {
    /// Blob with the answers, then the refusals.
    pub blob: String,
    pub output_bytes: i64,
    pub error_bytes: i64,
}

/// How a batch ends.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    pub batch: BatchId,
    /// Fencing token of the lease.
    pub attempt: i32,
    pub from: BatchStatus,
    pub to: BatchStatus,
    /// Answers; `None` where there are none.
    pub output_file: Option<FileId>,
    /// Refusals; `None` where there are none.
    pub error_file: Option<FileId>,
    pub errors: Option<&'a BatchErrors>,
}

/// `select`s or `returning`s the columns of [`BatchRow`] between two pieces of SQL.
macro_rules! batch_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            BatchRow,
            $head
                + r#" id as "id: _", project_id as "project: _", key_id as "key: _", input_file as "input_file: _",
                      endpoint as "endpoint: _", status as "status: _", metadata as "metadata: _", output_seconds, model,
                      errors as "errors: _", requests_total, requests_completed, requests_failed, tokens, late,
                      output_file as "output_file: _", error_file as "error_file: _", created_at, expires_at, in_progress_at,
                      finalizing_at, cancelling_at, finished_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Stores a new batch.
pub async fn insert(conn: &mut Connection, batch: &NewBatch<'_>) -> Result<BatchRow> {
    let row = batch_rows!(
        "insert into batches (id, project_id, key_id, input_file, endpoint, status, metadata, expires_at, output_seconds, requests_total)
         values ($1, $2, $3, $4, $5, 'validating', $6, now() + make_interval(secs => $7), $8, $9)
         returning",
        "",
        batch.id.0,
        batch.project.0,
        batch.key.0,
        batch.input_file.0,
        batch.endpoint.as_str(),
        batch.metadata.map(Json) as _,
        batch.window_seconds as f64,
        batch.output_seconds,
        batch.requests,
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The project's batch of that id.
pub async fn get(conn: &mut Connection, project: ProjectId, batch: BatchId) -> Result<Option<BatchRow>> {
    let row = batch_rows!("select", "from batches where project_id = $1 and id = $2", project.0, batch.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// The project's batch of that id, which nobody else changes until the transaction ends.
pub async fn get_for_update(conn: &mut Connection, project: ProjectId, batch: BatchId) -> Result<Option<BatchRow>> {
    let row =
        batch_rows!("select", "from batches where project_id = $1 and id = $2 for no key update", project.0, batch.0)
            .fetch_optional(conn)
            .await?;
    Ok(row)
}

/// A page of the project's batches. `None` when `page.after` is not a batch of the project.
pub async fn list(conn: &mut Connection, project: ProjectId, page: &Page) -> Result<Option<Paged<BatchRow>>> {
    if let Some(after) = page.after
        && get(&mut *conn, project, BatchId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = batch_rows!(
        "select",
        "from batches
         where project_id = $1 and ($2::uuid is null or case when $3 then id > $2 else id < $2 end)
         order by case when $3 then id end, case when not $3 then id end desc limit $4",
        project.0,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// Batches of the project that are not over.
pub async fn count_open(conn: &mut Connection, project: ProjectId) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from batches where project_id = $1 and finished_at is null"#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Marks a batch as given up: its files are still to be written. `false` when it was not in `from` any more.
pub async fn set_cancelling(conn: &mut Connection, batch: BatchId, from: BatchStatus) -> Result<bool> {
    let done = sqlx::query!(
        "update batches set status = 'cancelling', cancelling_at = now() where id = $1 and status = $2",
        batch.0,
        from.as_str(),
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes the lease of the open batch that had no turn for longest and that no other owner holds. `None`: there is none. An owner has one
/// turn at a time: a lease that it still holds was left by a turn whose end could not be written.
pub async fn take_turn(conn: &mut Connection, owner: Uuid, ttl: Duration) -> Result<Option<Turn>> {
    let turn = sqlx::query_as!(
        Turn,
        r#"update batches set lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempt = attempt + 1,
               barren_attempts = barren_attempts + 1
           where id = (select id from batches
                       where finished_at is null and (lease_owner is null or lease_owner = $1 or lease_until <= now())
                       order by coalesce(last_turn_at, created_at), id limit 1 for no key update skip locked)
           returning project_id as "project: _", id as "batch: _", attempt, barren_attempts, expires_at <= now() as "is_late!""#,
        owner,
        ttl.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(turn)
}

/// Extends the lease. `false`: the batch has another status by now, or another attempt holds it.
pub async fn hold(conn: &mut Connection, turn: &Turn, status: BatchStatus, ttl: Duration) -> Result<bool> {
    let held = sqlx::query!(
        "update batches set lease_until = now() + make_interval(secs => $4)
         where id = $1 and attempt = $2 and status = $3 and lease_owner is not null",
        turn.batch.0,
        turn.attempt,
        status.as_str(),
        ttl.as_secs_f64(),
    );
    Ok(held.execute(conn).await?.rows_affected() == 1)
}

/// Begins the work on a batch whose lines were checked, and ends the turn. `false`, and nothing is written: it was cancelled, or another
/// attempt holds it.
pub async fn begin(conn: &mut Connection, turn: &Turn, model: Option<&str>) -> Result<bool> {
    let begun = sqlx::query!(
        "update batches set status = 'in_progress', in_progress_at = now(), model = $3, barren_attempts = 0, last_turn_at = now(),
             lease_owner = null, lease_until = null
         where id = $1 and attempt = $2 and status = 'validating'",
        turn.batch.0,
        turn.attempt,
        model,
    );
    Ok(begun.execute(conn).await?.rows_affected() == 1)
}

/// Adds answers to their batch, and ends the turn; with the last ones the batch's files are next. `false`, and the transaction must not be
/// committed: it was cancelled, or another attempt holds it.
pub async fn add_piece(conn: &mut Connection, piece: &NewPiece<'_>) -> Result<bool> {
    sqlx::query!(
        "insert into batch_pieces (batch_id, first_line, blob, output_bytes, error_bytes) values ($1, $2, $3, $4, $5)
         on conflict (batch_id, first_line) do nothing",
        piece.batch.0,
        piece.first_line,
        piece.blob,
        piece.output_bytes,
        piece.error_bytes,
    )
    .execute(&mut *conn)
    .await?;
    let added = sqlx::query!(
        "update batches set requests_completed = requests_completed + $4, requests_failed = requests_failed + $5, tokens = tokens + $6,
             late = late or $7, barren_attempts = 0, last_turn_at = now(), lease_owner = null, lease_until = null,
             status = case when requests_completed + requests_failed + $4 + $5 = requests_total then 'finalizing' else status end,
             finalizing_at = case when requests_completed + requests_failed + $4 + $5 = requests_total then now() end
         where id = $1 and attempt = $2 and status = 'in_progress' and requests_completed + requests_failed = $3",
        piece.batch.0,
        piece.attempt,
        piece.first_line,
        piece.completed,
        piece.failed,
        piece.tokens,
        piece.late,
    );
    Ok(added.execute(conn).await?.rows_affected() == 1)
}

/// The answers of a batch, in the order of its lines.
pub async fn pieces(conn: &mut Connection, batch: BatchId) -> Result<Vec<PieceRow>> {
    let rows = sqlx::query_as!(
        PieceRow,
        "select blob, output_bytes, error_bytes from batch_pieces where batch_id = $1 order by first_line",
        batch.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Ends a batch, and forgets its pieces, whose blobs are next. `false`, and the transaction must not be committed: its status is another
/// by now, or another attempt holds it.
pub async fn finish(conn: &mut Connection, ending: &Ending<'_>) -> Result<bool> {
    sqlx::query!("delete from batch_pieces where batch_id = $1", ending.batch.0).execute(&mut *conn).await?;
    let done = sqlx::query!(
        "update batches set status = $4, finished_at = now(), output_file = $5, error_file = $6, errors = coalesce($7, errors),
             barren_attempts = 0, lease_owner = null, lease_until = null
         where id = $1 and attempt = $2 and status = $3",
        ending.batch.0,
        ending.attempt,
        ending.from.as_str(),
        ending.to.as_str(),
        ending.output_file.map(|file| file.0),
        ending.error_file.map(|file| file.0),
        ending.errors.map(Json) as _,
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Ends a turn that came to nothing: others come first, and the attempt counts as barren where `barren` says so.
pub async fn pass_turn(conn: &mut Connection, turn: &Turn, barren: bool) -> Result<()> {
    sqlx::query!(
        "update batches set lease_owner = null, lease_until = null, last_turn_at = now(),
             barren_attempts = case when $3 then barren_attempts else greatest(barren_attempts - 1, 0) end
         where id = $1 and attempt = $2 and finished_at is null",
        turn.batch.0,
        turn.attempt,
        barren,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets a batch aside for so long, as a lease of nobody's: others have their turns meanwhile, and the attempt does not count as barren.
pub async fn set_aside(conn: &mut Connection, turn: &Turn, pause: Duration) -> Result<()> {
    sqlx::query!(
        "update batches set lease_owner = $3, lease_until = now() + make_interval(secs => $4), last_turn_at = now(),
             barren_attempts = greatest(barren_attempts - 1, 0)
         where id = $1 and attempt = $2 and finished_at is null",
        turn.batch.0,
        turn.attempt,
        Uuid::nil(),
        pause.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the leases of an owner back in good order: their attempts do not count as barren.
pub async fn release(conn: &mut Connection, owner: Uuid) -> Result<()> {
    sqlx::query!(
        "update batches set lease_owner = null, lease_until = null, barren_attempts = greatest(barren_attempts - 1, 0)
         where lease_owner = $1",
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the leases of an owner that is dead, as `leases::expire` does those on jobs.
pub async fn expire(conn: &mut Connection, owner: Uuid) -> Result<u64> {
    let done = sqlx::query!("update batches set lease_owner = null, lease_until = null where lease_owner = $1", owner);
    Ok(done.execute(conn).await?.rows_affected())
}
