//! Answers of requests that must not be carried out twice. Owns table `idempotency`: a row is written in the transaction of what
//! the request changed, so that there is either both or neither. Must never decide what counts as the same request.

use std::time::Duration;

use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// A request, known by its token.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    pub project: ProjectId,
    /// Hash that names the request.
    pub token: &'a [u8; 32],
    /// Hash of its body.
    pub body: &'a [u8; 32],
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyRecord {
    /// Hash of its body.
    pub body: Vec<u8>,
    /// Status of the answer.
    pub status: i16,
    /// Its body; empty where it showed a secret.
    pub answer: Vec<u8>,
}

/// How the request was answered, unless that is older than `age`.
pub async fn get(conn: &mut Connection, request: &RequestKey<'_>, age: Duration) -> Result<Option<IdempotencyRecord>> {
    let known = sqlx::query_as!(
        IdempotencyRecord,
        "select body_sha256 as body, status, answer from idempotency
         where project_id = $1 and token = $2 and created_at > now() - make_interval(secs => $3)",
        request.project.0,
        request.token.as_slice(),
        age.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(known)
}

/// Forgets how the request was answered, if that is older than `age`: the next one like it is a new one.
pub async fn expire(conn: &mut Connection, request: &RequestKey<'_>, age: Duration) -> Result<()> {
    sqlx::query!(
        "delete from idempotency
         where project_id = $1 and token = $2 and created_at <= now() - make_interval(secs => $3)",
        request.project.0,
        request.token.as_slice(),
        age.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the answer down. `false`, and nothing written, when there is one: it may be another host's, whose transaction this waits for.
pub async fn insert(conn: &mut Connection, request: &RequestKey<'_>, status: u16, answer: &[u8]) -> Result<bool> {
    let done = sqlx::query!(
        "insert into idempotency (project_id, token, body_sha256, status, answer) values ($1, $2, $3, $4, $5)
         on conflict (project_id, token) do nothing",
        request.project.0,
        request.token.as_slice(),
        request.body.as_slice(),
        status.cast_signed(),
        answer,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets every answer that is older than `age`: for the host's own sweeps.
pub async fn sweep(conn: &mut Connection, age: Duration) -> Result<u64> {
    let done =
        sqlx::query!("delete from idempotency where created_at < now() - make_interval(secs => $1)", age.as_secs_f64())
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
