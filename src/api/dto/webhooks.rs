//! Webhooks and their deliveries.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::webhooks::DeliveryState as DomainState;
use crate::domain::webhooks::WebhookEvent as DomainEvent;
use crate::service::DeliveryRow;
use crate::service::WebhookRow;
use crate::service::WebhookUpdate;

/// An event that a webhook can receive.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub enum WebhookEvent {
    #[serde(rename = "fine_tuning.job.running")]
    JobRunning,
    #[serde(rename = "fine_tuning.job.paused")]
    JobPaused,
    /// A job ended with a model.
    #[serde(rename = "fine_tuning.job.succeeded")]
    JobSucceeded,
    /// A job cannot go on.
    #[serde(rename = "fine_tuning.job.failed")]
    JobFailed,
    /// A job was given up.
    #[serde(rename = "fine_tuning.job.cancelled")]
    JobCancelled,
    /// A checkpoint that was asked for is there.
    #[serde(rename = "fine_tuning.checkpoint.created")]
    CheckpointCreated,
    /// Every request of a batch was answered.
    #[serde(rename = "batch.completed")]
    BatchCompleted,
    /// A batch cannot go on.
    #[serde(rename = "batch.failed")]
    BatchFailed,
    /// The window of a batch passed before every request was answered.
    #[serde(rename = "batch.expired")]
    BatchExpired,
    /// A batch was given up.
    #[serde(rename = "batch.cancelled")]
    BatchCancelled,
    #[serde(rename = "webhook.test")]
    Test,
}

/// The pairs of what travels and what the service works with.
macro_rules! same {
    ($here:ident = $there:ident { $($name:ident),* $(,)? }) => {
        impl From<$there> for $here {
            fn from(value: $there) -> Self {
                match value { $($there::$name => Self::$name),* }
            }
        }
        impl From<$here> for $there {
            fn from(value: $here) -> Self {
                match value { $($here::$name => Self::$name),* }
            }
        }
    };
}

same!(
    WebhookEvent = DomainEvent {
        JobRunning,
        JobPaused,
        JobSucceeded,
        JobFailed,
        JobCancelled,
        CheckpointCreated,
        BatchCompleted,
        BatchFailed,
        BatchExpired,
        BatchCancelled,
        Test,
    }
);

/// A new webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where messages are posted. Must be https and lead to the public internet, unless the host allows others.
    #[schema(
        format = "uri",
        pattern = "^https?://",
        max_length = 2000,
        example = "https://example.com/hooks/blindtune"
    )]
    pub url: String,
    /// The events it receives; all when absent.
    #[schema(min_items = 1)]
    pub events: Option<Vec<WebhookEvent>>,
}

/// Changes to a webhook; absent fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateWebhook {
    /// Where messages are posted.
    #[schema(format = "uri", pattern = "^https?://", max_length = 2000)]
    pub url: Option<String>,
    /// The events it receives.
    #[schema(min_items = 1)]
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether messages are sent. While false, no new ones are written and pending ones wait.
    pub enabled: Option<bool>,
}

fn domain(events: Vec<WebhookEvent>) -> Vec<DomainEvent> {
    events.into_iter().map(DomainEvent::from).collect()
}

impl CreateWebhook {
    /// The URL, and what it is told.
    pub fn into_parts(self) -> (String, Option<Vec<DomainEvent>>) {
        (self.url, self.events.map(domain))
    }
}

impl From<UpdateWebhook> for WebhookUpdate {
    fn from(body: UpdateWebhook) -> Self {
        Self { url: body.url, events: body.events.map(domain), enabled: body.enabled }
    }
}

/// A URL that receives the events of the project's jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookObject {
    /// Id, `wh_...`.
    pub id: String,
    /// Always `webhook`.
    #[schema(example = "webhook")]
    pub object: &'static str,
    /// Where messages are posted.
    pub url: String,
    /// The events it receives.
    pub events: Vec<WebhookEvent>,
    /// Whether messages are sent. An answer of 410 Gone turns it off.
    pub enabled: bool,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
}

impl From<WebhookRow> for WebhookObject {
    fn from(row: WebhookRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "webhook",
            url: row.url,
            events: row.events.into_iter().map(WebhookEvent::from).collect(),
            enabled: row.enabled,
            created_at: row.created_at.unix_timestamp(),
        }
    }
}

/// A webhook that was just made, with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookObject,
    /// Checks the signatures of messages: `whsec_` and base64. Shown once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

/// State of a message.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Every attempt failed, or the webhook was given up.
    Failed,
}

same!(DeliveryState = DomainState { Pending, Delivered, Failed });

/// A message to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryObject {
    /// Id, `msg_...`: the header `webhook-id`, the same over all attempts.
    pub id: String,
    /// Always `webhook.delivery`.
    #[schema(example = "webhook.delivery")]
    pub object: &'static str,
    /// When it was written, seconds since 1970.
    pub created_at: i64,
    /// Its event.
    #[serde(rename = "type")]
    pub kind: WebhookEvent,
    /// Its state.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: i32,
    /// When the next one is due; null when none is.
    #[schema(required)]
    pub next_attempt_at: Option<i64>,
    /// Status of the receiver's last answer.
    #[schema(required)]
    pub last_status: Option<i32>,
    /// What went wrong with the last attempt.
    #[schema(required)]
    pub last_error: Option<String>,
    /// When the receiver answered 2xx.
    #[schema(required)]
    pub delivered_at: Option<i64>,
}

impl From<DeliveryRow> for DeliveryObject {
    fn from(row: DeliveryRow) -> Self {
        let is_pending = row.state == DomainState::Pending;
        Self {
            id: row.id.to_string(),
            object: "webhook.delivery",
            created_at: row.created_at.unix_timestamp(),
            kind: row.event.into(),
            state: row.state.into(),
            attempts: row.attempts,
            next_attempt_at: is_pending.then(|| row.next_attempt_at.unix_timestamp()),
            last_status: row.last_status,
            last_error: row.last_error,
            delivered_at: row.delivered_at.map(|at| at.unix_timestamp()),
        }
    }
}
