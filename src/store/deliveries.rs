//! The outbox of webhooks. Owns table `webhook_deliveries`; a message is taken by moving its next attempt into the future, so
//! that no transaction waits for the network and a host that dies leaves the message to the next one.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::DeliveryId;
use crate::domain::ids::ProjectId;
use crate::domain::ids::WebhookId;
use crate::domain::webhooks::DeliveryState;
use crate::domain::webhooks::WebhookEvent;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// A message to a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRow {
    /// The id, `webhook-id` on the wire.
    pub id: DeliveryId,
    pub event: WebhookEvent,
    pub state: DeliveryState,
    /// Attempts begun so far.
    pub attempts: i32,
    pub next_attempt_at: OffsetDateTime,
    /// Status of the last answer.
    pub last_status: Option<i32>,
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    /// When a 2xx came.
    pub delivered_at: Option<OffsetDateTime>,
}

/// A message that this host sends now.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: DeliveryId,
    pub project: ProjectId,
    pub webhook: WebhookId,
    /// The exact bytes to sign and send.
    pub payload: String,
    /// Number of this attempt, from 1.
    pub attempts: i32,
    pub url: String,
    /// Signs it.
    pub secret: Vec<u8>,
    /// Signs it as well, while the secret is being replaced.
    pub previous_secret: Option<Vec<u8>>,
}

/// What a host has room for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// At most so many messages.
    pub most: i64,
    /// None of these projects.
    pub busy_projects: &'a [ProjectId],
    /// None to these webhooks.
    pub busy_webhooks: &'a [WebhookId],
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// Where the message stands now.
    pub state: DeliveryState,
    /// Until the next attempt, while it is pending.
    pub retry_in: Duration,
    /// Status of the answer.
    pub status: Option<i32>,
    pub error: Option<&'a str>,
}

/// `select`s or `returning`s the columns of [`DeliveryRow`] between two pieces of SQL.
macro_rules! delivery_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            DeliveryRow,
            $head
                + r#" d.id as "id!: _", d.type as "event!: _", d.state as "state!: _", d.attempts as "attempts!",
                      d.next_attempt_at as "next_attempt_at!", d.last_status, d.last_error, d.created_at as "created_at!",
                      d.delivered_at "#
                + $tail,
            $($arg),*
        )
    };
}

/// Puts one message for each of these webhooks into the outbox; hosts are told once it is committed.
pub async fn enqueue(
    conn: &mut Connection,
    webhooks: &[WebhookId],
    event: WebhookEvent,
    payload: &str,
) -> Result<Vec<DeliveryRow>> {
    let ids: Vec<Uuid> = webhooks.iter().map(|_| Uuid::now_v7()).collect();
    let webhooks: Vec<Uuid> = webhooks.iter().map(|webhook| webhook.0).collect();
    let rows = delivery_rows!(
        "with d as (insert into webhook_deliveries (id, webhook_id, type, payload, state)
                    select id, webhook, $3, $4, 'pending' from unnest($1::uuid[], $2::uuid[]) as new (id, webhook)
                    returning *)
         select",
        "from d, pg_notify('blindtune_deliveries', '')",
        &ids,
        &webhooks,
        event.as_str(),
        payload,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// A page of the messages to the project's webhook. `None` when `page.after` is not one of them.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    webhook: WebhookId,
    page: &Page,
) -> Result<Option<Paged<DeliveryRow>>> {
    if let Some(after) = page.after
        && get(&mut *conn, project, webhook, DeliveryId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = delivery_rows!(
        "select",
        "from webhook_deliveries d
         where d.webhook_id = (select id from webhooks where project_id = $1 and id = $2)
           and ($3::uuid is null or case when $4 then d.id > $3 else d.id < $3 end)
         order by case when $4 then d.id end, case when not $4 then d.id end desc limit $5",
        project.0,
        webhook.0,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows, page)))
}

/// One message to the project's webhook.
pub async fn get(
    conn: &mut Connection,
    project: ProjectId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>> {
    let row = delivery_rows!(
        "select",
        "from webhook_deliveries d join webhooks w on w.id = d.webhook_id
         where w.project_id = $1 and w.id = $2 and d.id = $3",
        project.0,
        webhook.0,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Sends a message to the project's webhook once more, with all its attempts before it.
pub async fn replay(
    conn: &mut Connection,
    project: ProjectId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>> {
    let row = delivery_rows!(
        "with d as (update webhook_deliveries set state = 'pending', attempts = 0, next_attempt_at = now(), delivered_at = null
                    where id = $3 and webhook_id = (select id from webhooks where project_id = $1 and id = $2)
                    returning *)
         select",
        "from d, pg_notify('blindtune_deliveries', '')",
        project.0,
        webhook.0,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Takes messages that are due: until `lease` has passed no other host does.
pub async fn claim(conn: &mut Connection, wanted: &Wanted<'_>, lease: Duration) -> Result<Vec<Claimed>> {
    let projects: Vec<Uuid> = wanted.busy_projects.iter().map(|project| project.0).collect();
    let webhooks: Vec<Uuid> = wanted.busy_webhooks.iter().map(|webhook| webhook.0).collect();
    let rows = sqlx::query_as!(
        Claimed,
        r#"with due as materialized (
               select d.id, w.project_id, w.url, w.secret,
                      case when w.previous_until > now() then w.previous_secret end as previous_secret
               from webhook_deliveries d join webhooks w on w.id = d.webhook_id
               where d.state = 'pending' and d.next_attempt_at <= now() and w.enabled and d.webhook_id <> all($2)
                 and w.project_id <> all($4)
               order by d.next_attempt_at limit $1 for update of d skip locked)
           update webhook_deliveries d
           set attempts = d.attempts + 1, next_attempt_at = now() + make_interval(secs => $3)
           from due where d.id = due.id
           returning d.id as "id: _", due.project_id as "project!: _", d.webhook_id as "webhook: _", d.payload, d.attempts,
                     due.url as "url!", due.secret as "secret!", due.previous_secret"#,
        wanted.most,
        &webhooks,
        lease.as_secs_f64(),
        &projects,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Writes down what came of an attempt. `false` when the message was taken or replayed meanwhile.
pub async fn finish(conn: &mut Connection, attempt: &Claimed, outcome: &Outcome<'_>) -> Result<bool> {
    let done = sqlx::query!(
        "update webhook_deliveries
         set state = $3, next_attempt_at = now() + make_interval(secs => $4), last_status = $5, last_error = $6,
             delivered_at = case when $3 = 'delivered' then now() end
         where id = $1 and attempts = $2 and state = 'pending'",
        attempt.id.0,
        attempt.attempts,
        outcome.state.as_str(),
        outcome.retry_in.as_secs_f64(),
        outcome.status,
        outcome.error,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes up to `most` messages that were written before `end`. Ids are in the order of time, so the key finds them.
pub async fn sweep(conn: &mut Connection, end: OffsetDateTime, most: i64) -> Result<u64> {
    let millis = (end.unix_timestamp_nanos() / 1_000_000).max(0).unsigned_abs();
    let done = sqlx::query!(
        "delete from webhook_deliveries where id in (select id from webhook_deliveries where id < $1 order by id limit $2)",
        Uuid::from_u128(millis << 80),
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
