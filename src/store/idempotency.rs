//! Requests that must not be carried out twice. Owns table `idempotency`: which request is being worked on, by which attempt,
//! and how it was answered. Must never decide what counts as the same request.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// A request, known by its token.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub project: ProjectId,
    /// Hash that names the request.
    pub token: &'a [u8; 32],
    /// Hash of its body.
    pub body: &'a [u8; 32],
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Hash of the body of the first attempt.
    pub body: Vec<u8>,
    /// Id of what it makes.
    pub resource: Uuid,
    /// The attempt that works, or worked, on it.
    pub owner: Uuid,
    /// The answer, once there is one.
    pub status: Option<i16>,
    /// Its body.
    pub answer: Option<Vec<u8>>,
}

/// Takes the request for the attempt `owner`, unless it is known already: then gives back what is known.
pub async fn reserve(
    conn: &mut Connection,
    request: &Request<'_>,
    (owner, resource): (Uuid, Uuid),
) -> Result<Option<Attempt>> {
    let taken = sqlx::query!(
        "insert into idempotency (project_id, token, body_sha256, resource, owner) values ($1, $2, $3, $4, $5)
         on conflict (project_id, token) do nothing",
        request.project.0,
        request.token.as_slice(),
        request.body.as_slice(),
        resource,
        owner,
    )
    .execute(&mut *conn)
    .await?;
    match taken.rows_affected() {
        1 => Ok(None),
        _ => get(conn, request).await,
    }
}

async fn get(conn: &mut Connection, request: &Request<'_>) -> Result<Option<Attempt>> {
    let known = sqlx::query_as!(
        Attempt,
        "select body_sha256 as body, resource, owner, status, answer from idempotency where project_id = $1 and token = $2",
        request.project.0,
        request.token.as_slice(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(known)
}

/// Takes an unanswered request over from an attempt that has not ended for `after`. `None` when somebody else was faster.
pub async fn take_over(
    conn: &mut Connection,
    request: &Request<'_>,
    owner: Uuid,
    after: Duration,
) -> Result<Option<Uuid>> {
    let resource = sqlx::query_scalar!(
        "update idempotency set owner = $3, created_at = now()
         where project_id = $1 and token = $2 and status is null and created_at < now() - make_interval(secs => $4)
         returning resource",
        request.project.0,
        request.token.as_slice(),
        owner,
        after.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(resource)
}

/// Says that the attempt is still at work.
pub async fn keep(conn: &mut Connection, request: &Request<'_>, owner: Uuid) -> Result<()> {
    sqlx::query!(
        "update idempotency set created_at = now() where project_id = $1 and token = $2 and owner = $3 and status is null",
        request.project.0,
        request.token.as_slice(),
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the answer down, unless another attempt has taken the request over.
pub async fn finish(
    conn: &mut Connection,
    request: &Request<'_>,
    owner: Uuid,
    (status, answer): (u16, &[u8]),
) -> Result<()> {
    sqlx::query!(
        "update idempotency set status = $4, answer = $5 where project_id = $1 and token = $2 and owner = $3",
        request.project.0,
        request.token.as_slice(),
        owner,
        status.cast_signed(),
        answer,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a request that came to nothing, so that it can be sent again.
pub async fn abandon(conn: &mut Connection, request: &Request<'_>, owner: Uuid) -> Result<()> {
    sqlx::query!(
        "delete from idempotency where project_id = $1 and token = $2 and owner = $3 and status is null",
        request.project.0,
        request.token.as_slice(),
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets an answered request that is older than `age`, so that it counts as a new one.
pub async fn expire(conn: &mut Connection, request: &Request<'_>, age: Duration) -> Result<()> {
    sqlx::query!(
        "delete from idempotency where project_id = $1 and token = $2 and status is not null
             and created_at < now() - make_interval(secs => $3)",
        request.project.0,
        request.token.as_slice(),
        age.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets every request that is older than `age`: for the host's own sweeps.
pub async fn sweep(conn: &mut Connection, age: Duration) -> Result<u64> {
    let done =
        sqlx::query!("delete from idempotency where created_at < now() - make_interval(secs => $1)", age.as_secs_f64())
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
