//! Webhooks: who is told what. Owns their life, their number, and the outbox rows that are written in the transaction which
//! changes a job or batch; must never call anybody (see `delivery`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::batch::BatchStatus;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::BatchId;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::DeliveryId;
use crate::domain::ids::ProjectId;
use crate::domain::ids::WebhookId;
use crate::domain::webhooks::WebhookEvent;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::service::webhooks::url_guard::Guard;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::deliveries;
use crate::store::deliveries::DeliveryRow;
use crate::store::jobs::JobRow;
use crate::store::webhooks;
use crate::store::webhooks::NewWebhook;
use crate::store::webhooks::WebhookChange;
use crate::store::webhooks::WebhookRow;

/// Webhooks of one project.
const MOST: i64 = 20;
const SECRET_PREFIX: &str = "whsec_";

/// What a client wants to change of a webhook; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookUpdate {
    /// Where messages go.
    pub url: Option<String>,
    /// The events it receives.
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// Use cases on webhooks.
pub struct Webhooks {
    context: Arc<Context>,
    guard: Guard,
    overlap: Duration,
}

impl Webhooks {
    /// Webhooks whose URLs `guard` judges; a secret that is replaced signs for `overlap` longer.
    pub fn new(context: Arc<Context>, guard: Guard, overlap: Duration) -> Self {
        Self { context, guard, overlap }
    }

    /// Makes a webhook. Its secret is returned once.
    pub async fn create(
        &self,
        project: ProjectId,
        url: &str,
        events: Option<Vec<WebhookEvent>>,
        record: AnswerRecord<WebhookRow>,
    ) -> Result<(WebhookRow, String)> {
        let events = tidy(events.unwrap_or_else(|| WebhookEvent::ALL.to_vec()))?;
        let url = self.guard.check(url).await?;
        let secret: [u8; 32] = rand::random();
        let id = WebhookId(Uuid::now_v7());
        let new = NewWebhook { id, project, url: url.as_str(), events: &events, secret: &secret };
        let mut transaction = self.context.begin().await?;
        let row = webhooks::insert(&mut transaction, &new, MOST).await?.ok_or_else(|| {
            ServiceError::new(ErrorCode::TooManyWebhooks, format!("A project has at most {MOST} webhooks."))
        })?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok((row, shown(&secret)))
    }

    /// One webhook.
    pub async fn get(&self, project: ProjectId, id: WebhookId) -> Result<WebhookRow> {
        let found = webhooks::get(&mut *self.context.connection().await?, project, id).await?;
        found.ok_or_else(|| missing(id))
    }

    /// A page of webhooks, newest first.
    pub async fn list(&self, project: ProjectId, page: PageRequest) -> Result<Paged<WebhookRow>> {
        known_cursor(webhooks::list(&mut *self.context.connection().await?, project, &page).await?)
    }

    /// Changes a webhook.
    pub async fn update(&self, project: ProjectId, id: WebhookId, update: WebhookUpdate) -> Result<WebhookRow> {
        self.get(project, id).await?;
        let url = match &update.url {
            Some(url) => Some(self.guard.check(url).await?),
            None => None,
        };
        let events = update.events.map(tidy).transpose()?;
        let change = WebhookChange {
            url: url.as_ref().map(|url| url.as_str()),
            events: events.as_deref(),
            enabled: update.enabled,
        };
        let row = webhooks::update(&mut *self.context.connection().await?, project, id, &change).await?;
        row.ok_or_else(|| missing(id))
    }

    /// Gives a webhook a new secret, which is returned once. The old one signs beside it for a while, so that its receiver can change over
    /// without a message that it refuses.
    pub async fn rotate_secret(
        &self,
        project: ProjectId,
        id: WebhookId,
        record: AnswerRecord<WebhookRow>,
    ) -> Result<(WebhookRow, String)> {
        let secret: [u8; 32] = rand::random();
        let mut transaction = self.context.begin().await?;
        let row = webhooks::replace_secret(&mut transaction, project, id, &secret, self.overlap).await?;
        let row = row.ok_or_else(|| missing(id))?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok((row, shown(&secret)))
    }

    /// Deletes a webhook and all that waits for it.
    pub async fn delete(&self, project: ProjectId, id: WebhookId) -> Result<()> {
        match webhooks::delete(&mut *self.context.connection().await?, project, id).await? {
            true => Ok(()),
            false => Err(missing(id)),
        }
    }

    /// Sends a message that tells of nothing.
    pub async fn test(
        &self,
        project: ProjectId,
        id: WebhookId,
        record: AnswerRecord<DeliveryRow>,
    ) -> Result<DeliveryRow> {
        if !self.get(project, id).await?.enabled {
            return Err(ServiceError::new(ErrorCode::WebhookDisabled, "The webhook is disabled."));
        }
        let event = WebhookEvent::Test;
        let payload = payload(event, &json!({"id": id.to_string()}));
        let mut transaction = self.context.begin().await?;
        let rows = deliveries::enqueue(&mut transaction, &[id], event, &payload).await?;
        let row = rows.into_iter().next().ok_or_else(|| missing(id))?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok(row)
    }

    /// A page of the messages to a webhook, newest first.
    pub async fn deliveries(&self, project: ProjectId, id: WebhookId, page: PageRequest) -> Result<Paged<DeliveryRow>> {
        self.get(project, id).await?;
        known_cursor(deliveries::list(&mut *self.context.connection().await?, project, id, &page).await?)
    }

    /// Sends a message once more.
    pub async fn replay(
        &self,
        project: ProjectId,
        id: WebhookId,
        message: DeliveryId,
        record: AnswerRecord<DeliveryRow>,
    ) -> Result<DeliveryRow> {
        self.get(project, id).await?;
        let mut transaction = self.context.begin().await?;
        let row = deliveries::replay(&mut transaction, project, id, message).await?;
        let row = row.ok_or_else(|| ServiceError::not_found("webhook delivery", message))?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok(row)
    }
}

/// A secret as its owner gets it.
fn shown(secret: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret))
}

fn missing(id: WebhookId) -> ServiceError {
    ServiceError::not_found("webhook", id)
}

fn tidy(mut events: Vec<WebhookEvent>) -> Result<Vec<WebhookEvent>> {
    events.sort();
    events.dedup();
    if events.is_empty() {
        return Err(ServiceError::new(ErrorCode::InvalidEvents, "events: name at least one.").at("events"));
    }
    Ok(events)
}

fn payload(event: WebhookEvent, data: &serde_json::Value) -> String {
    let id = format!("evt_{}", Uuid::now_v7().simple());
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({"id": id, "object": "event", "created_at": now, "type": event.as_str(), "data": data}).to_string()
}

/// Writes to the outbox that a job came to a state. In the transaction that brought it there.
pub async fn announce(connection: &mut Connection, job: &JobRow) -> Result<()> {
    match WebhookEvent::of(job.status) {
        Some(event) => tell(connection, job.project, event, &json!({"id": job.id.to_string()})).await,
        None => Ok(()),
    }
}

/// Writes to the outbox that a batch came to a status. In the transaction that brought it there.
pub async fn announce_batch(
    connection: &mut Connection,
    project: ProjectId,
    batch: BatchId,
    status: BatchStatus,
) -> Result<()> {
    match WebhookEvent::of_batch(status) {
        Some(event) => tell(connection, project, event, &json!({"id": batch.to_string()})).await,
        None => Ok(()),
    }
}

/// Writes to the outbox that a checkpoint was saved. In the transaction that saved it.
pub async fn announce_checkpoint(connection: &mut Connection, job: &JobRow, checkpoint: CheckpointId) -> Result<()> {
    let data = json!({"id": job.id.to_string(), "checkpoint": checkpoint.to_string()});
    tell(connection, job.project, WebhookEvent::CheckpointCreated, &data).await
}

async fn tell(
    connection: &mut Connection,
    project: ProjectId,
    event: WebhookEvent,
    data: &serde_json::Value,
) -> Result<()> {
    let told = webhooks::told_of(connection, project, event).await?;
    if !told.is_empty() {
        deliveries::enqueue(connection, &told, event, &payload(event, data)).await?;
    }
    Ok(())
}
