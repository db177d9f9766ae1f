//! URLs that are told what happens to a project's jobs. Owns table `webhooks`; must never send anything.

use std::time::Duration;

use time::OffsetDateTime;

use crate::domain::ids::ProjectId;
use crate::domain::ids::WebhookId;
use crate::domain::webhooks::WebhookEvent;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// A webhook; its secret is read by `deliveries::claim` alone.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookRow {
    pub id: WebhookId,
    pub url: String,
    /// The events it receives.
    pub events: Vec<WebhookEvent>,
    pub enabled: bool,
    pub created_at: OffsetDateTime,
}

/// A webhook to be stored.
#[derive(Debug, Clone)]
pub struct NewWebhook<'a> {
    pub id: WebhookId,
    pub project: ProjectId,
    pub url: &'a str,
    /// The events it receives.
    pub events: &'a [WebhookEvent],
    /// Signs messages.
    pub secret: &'a [u8],
}

/// What changes; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange<'a> {
    pub url: Option<&'a str>,
    /// The events it receives.
    pub events: Option<&'a [WebhookEvent]>,
    pub enabled: Option<bool>,
}

/// `select`s or `returning`s the columns of [`WebhookRow`] between two pieces of SQL.
macro_rules! webhook_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            WebhookRow,
            $head + r#" id as "id: _", url, events as "events: _", enabled, created_at "# + $tail,
            $($arg),*
        )
    };
}

fn names(events: &[WebhookEvent]) -> Vec<String> {
    events.iter().map(WebhookEvent::to_string).collect()
}

/// Stores a new webhook. `None` when the project has `most` already: its row is locked, so that two cannot slip past.
pub async fn insert(conn: &mut Connection, new: &NewWebhook<'_>, most: i64) -> Result<Option<WebhookRow>> {
    sqlx::query!("select id from projects where id = $1 for no key update", new.project.0)
        .fetch_one(&mut *conn)
        .await?;
    let row = webhook_rows!(
        "insert into webhooks (id, project_id, url, events, secret)
         select $1, $2, $3, $4, $5 where (select count(*) from webhooks where project_id = $2) < $6 returning",
        "",
        new.id.0,
        new.project.0,
        new.url,
        &names(new.events),
        new.secret,
        most,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The project's webhook.
pub async fn get(conn: &mut Connection, project: ProjectId, id: WebhookId) -> Result<Option<WebhookRow>> {
    let row = webhook_rows!("select", "from webhooks where project_id = $1 and id = $2", project.0, id.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// A page of the project's webhooks. `None` when `page.after` is not one of them.
pub async fn list(conn: &mut Connection, project: ProjectId, page: &Page) -> Result<Option<Paged<WebhookRow>>> {
    if let Some(after) = page.after
        && get(&mut *conn, project, WebhookId(after)).await?.is_none()
    {
        return Ok(None);
    }
    let rows = webhook_rows!(
        "select",
        "from webhooks
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

/// Changes the project's webhook, and gives it back as it then is.
pub async fn update(
    conn: &mut Connection,
    project: ProjectId,
    id: WebhookId,
    change: &WebhookChange<'_>,
) -> Result<Option<WebhookRow>> {
    let events = change.events.map(names);
    let row = webhook_rows!(
        "update webhooks set url = coalesce($3, url), events = coalesce($4, events), enabled = coalesce($5, enabled)
         where project_id = $1 and id = $2 returning",
        "",
        project.0,
        id.0,
        change.url,
        events.as_deref(),
        change.enabled,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Gives the project's webhook a new secret; the one that it has signs beside it for `overlap`.
pub async fn replace_secret(
    conn: &mut Connection,
    project: ProjectId,
    id: WebhookId,
    secret: &[u8],
    overlap: Duration,
) -> Result<Option<WebhookRow>> {
    let row = webhook_rows!(
        "update webhooks set previous_secret = secret, previous_until = now() + make_interval(secs => $4), secret = $3
         where project_id = $1 and id = $2 returning",
        "",
        project.0,
        id.0,
        secret,
        overlap.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Deletes the project's webhook with its messages. `false` when there is none.
pub async fn delete(conn: &mut Connection, project: ProjectId, id: WebhookId) -> Result<bool> {
    let done = sqlx::query!("delete from webhooks where project_id = $1 and id = $2", project.0, id.0);
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// The project's webhooks that are told of this, kept from being deleted until the transaction ends.
pub async fn told_of(conn: &mut Connection, project: ProjectId, event: WebhookEvent) -> Result<Vec<WebhookId>> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id: WebhookId" from webhooks where project_id = $1 and enabled and $2 = any(events) order by id
           for key share"#,
        project.0,
        event.as_str(),
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Stops a webhook whose receiver is gone for good, and all that waits for it.
pub async fn give_up(conn: &mut Connection, id: WebhookId, reason: &str) -> Result<()> {
    sqlx::query!("update webhooks set enabled = false where id = $1", id.0).execute(&mut *conn).await?;
    sqlx::query!(
        "update webhook_deliveries set state = 'failed', last_error = $2 where webhook_id = $1 and state = 'pending'",
        id.0,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}
