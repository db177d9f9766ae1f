//! `/v1/webhooks`.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::extract::State;
use axum::http::request::Parts;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::JobsWrite;
use crate::api::dto::files::Deleted;
use crate::api::dto::list::List;
use crate::api::dto::list::Paging;
use crate::api::dto::list::page;
use crate::api::dto::webhooks::CreateWebhook;
use crate::api::dto::webhooks::CreatedWebhook;
use crate::api::dto::webhooks::DeliveryObject;
use crate::api::dto::webhooks::UpdateWebhook;
use crate::api::dto::webhooks::WebhookObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiJson;
use crate::api::extract::ApiQuery;
use crate::api::once::Once;
use crate::api::state::App;
use crate::domain::ids::DeliveryId;
use crate::domain::ids::WebhookId;
use crate::service::DeliveryRow;
use crate::service::ServiceError;

/// Create a webhook
///
/// Its URL receives the events of the project's jobs, as messages signed by Standard Webhooks: the header
/// `webhook-signature` is `v1,` and the base64 HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`. A message that is not
/// answered 2xx is retried with growing delays for about a day. A project has at most 20 webhooks.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", security(("key" = [])), request_body = CreateWebhook, responses(
    (status = 200, description = "The webhook, with its secret", body = CreatedWebhook),
    (status = 400, description = "The URL may not be called, or a field is wrong or unknown", body = ErrorEnvelope),
    (status = 409, description = "The project has 20 webhooks", body = ErrorEnvelope),
))]
pub async fn create_webhook(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    once: Once,
    ApiJson(body): ApiJson<CreateWebhook>,
) -> Result<Json<CreatedWebhook>, ApiError> {
    let (url, events) = body.into_parts();
    let (row, secret) = app.webhooks.create(caller.project, &url, events, once.secret()).await?;
    Ok(Json(CreatedWebhook { webhook: row.into(), secret }))
}

/// List webhooks
///
/// Newest first.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", security(("key" = [])), params(Paging), responses(
    (status = 200, description = "A page of webhooks", body = List<WebhookObject>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_webhooks(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<WebhookObject>>, ApiError> {
    let page = page::<WebhookId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.webhooks.list(caller.project, page).await?;
    let data = found.rows.into_iter().map(WebhookObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |webhook: &WebhookObject| webhook.id.clone())))
}

/// Get a webhook
///
/// Without its secret, which was shown when it was made.
#[utoipa::path(get, path = "/webhooks/{webhook_id}", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook")), responses(
        (status = 200, description = "The webhook", body = WebhookObject),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
    ))]
pub async fn get_webhook(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<WebhookId>,
) -> Result<Json<WebhookObject>, ApiError> {
    Ok(Json(app.webhooks.get(caller.project, id).await?.into()))
}

/// Change a webhook
///
/// Absent fields stay unchanged. Pending messages go to the new URL.
#[utoipa::path(patch, path = "/webhooks/{webhook_id}", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook")), request_body = UpdateWebhook, responses(
        (status = 200, description = "The webhook", body = WebhookObject),
        (status = 400, description = "The URL may not be called, or a field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
    ))]
pub async fn update_webhook(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<WebhookId>,
    ApiJson(body): ApiJson<UpdateWebhook>,
) -> Result<Json<WebhookObject>, ApiError> {
    Ok(Json(app.webhooks.update(caller.project, id, body.into()).await?.into()))
}

/// Rotate a webhook's secret
///
/// The new secret is in this response and nowhere else. For a day messages carry two signatures, one by each secret, so that the receiver can
/// change over in between; then the old one signs no more.
#[utoipa::path(post, path = "/webhooks/{webhook_id}/rotate_secret", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook")), responses(
        (status = 200, description = "The webhook, with its new secret", body = CreatedWebhook),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
        (status = 409, description = "An earlier request with this Idempotency-Key did it", body = ErrorEnvelope),
    ))]
pub async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<WebhookId>,
    once: Once,
) -> Result<Json<CreatedWebhook>, ApiError> {
    let (row, secret) = app.webhooks.rotate_secret(caller.project, id, once.secret()).await?;
    Ok(Json(CreatedWebhook { webhook: row.into(), secret }))
}

/// Delete a webhook
///
/// Pending messages are dropped.
#[utoipa::path(delete, path = "/webhooks/{webhook_id}", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook")), responses(
        (status = 200, description = "It is deleted", body = Deleted),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
    ))]
pub async fn delete_webhook(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<WebhookId>,
) -> Result<Json<Deleted>, ApiError> {
    app.webhooks.delete(caller.project, id).await?;
    Ok(Json(Deleted { id: id.to_string(), object: "webhook", deleted: true }))
}

/// Test a webhook
///
/// Sends it a `webhook.test`, whatever events it subscribes to. Its deliveries show the outcome.
#[utoipa::path(post, path = "/webhooks/{webhook_id}/test", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook")), responses(
        (status = 200, description = "The message, queued", body = DeliveryObject),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
        (status = 409, description = "The webhook is disabled", body = ErrorEnvelope),
    ))]
pub async fn test_webhook(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<WebhookId>,
    once: Once,
) -> Result<Json<DeliveryObject>, ApiError> {
    let record = once.json(|delivery: &DeliveryRow| DeliveryObject::from(delivery.clone()));
    Ok(Json(app.webhooks.test(caller.project, id, record).await?.into()))
}

/// List a webhook's deliveries
///
/// Newest first, of the last 30 days.
#[utoipa::path(get, path = "/webhooks/{webhook_id}/deliveries", tag = "webhooks", security(("key" = [])),
    params(("webhook_id" = String, Path, description = "Id of the webhook"), Paging), responses(
        (status = 200, description = "A page of deliveries", body = List<DeliveryObject>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such webhook", body = ErrorEnvelope),
    ))]
pub async fn list_deliveries(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<WebhookId>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<DeliveryObject>>, ApiError> {
    let page = page::<DeliveryId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.webhooks.deliveries(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(DeliveryObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |delivery: &DeliveryObject| delivery.id.clone())))
}

/// Replay a delivery
///
/// Sends the same message once more, under the same id; earlier attempts are kept.
#[utoipa::path(post, path = "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", tag = "webhooks", security(("key" = [])),
    params(
        ("webhook_id" = String, Path, description = "Id of the webhook"),
        ("delivery_id" = String, Path, description = "Id of the delivery"),
    ), responses(
        (status = 200, description = "The delivery, pending again", body = DeliveryObject),
        (status = 404, description = "No such webhook or delivery", body = ErrorEnvelope),
    ))]
pub async fn replay_delivery(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<WebhookId>,
    Message(message): Message,
    once: Once,
) -> Result<Json<DeliveryObject>, ApiError> {
    let record = once.json(|delivery: &DeliveryRow| DeliveryObject::from(delivery.clone()));
    Ok(Json(app.webhooks.replay(caller.project, id, message, record).await?.into()))
}

/// The id of a delivery, from the path's `delivery_id`. One that cannot exist reads as one that does not.
pub struct Message(DeliveryId);

impl<S: Send + Sync> FromRequestParts<S> for Message {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let missing = |id: &str| ApiError::from(ServiceError::not_found("webhook delivery", id));
        let Path((_, text)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| missing("?"))?;
        text.parse().map(Self).map_err(|_| missing(&text))
    }
}
