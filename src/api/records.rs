//! What is written down of a job: events, checkpoints, metrics, ledger.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::App;
use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::StepsWrite;
use crate::api::dto::jobs::CheckpointObject;
use crate::api::dto::jobs::CreateCheckpoint;
use crate::api::dto::jobs::EventMessage;
use crate::api::dto::jobs::EventObject;
use crate::api::dto::list::List;
use crate::api::dto::list::Order;
use crate::api::dto::list::Paging;
use crate::api::dto::list::page;
use crate::api::dto::steps::LedgerEntry;
use crate::api::dto::steps::MetricsBody;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::extract::json_of;
use crate::api::streams;
use crate::api::to_the_end;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::domain::limits::LARGEST_WHOLE;
use crate::service::Sent;
use crate::service::ServiceError;

/// Which events, and in which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Cursor: the id after which the page, or the stream, begins.
    pub after: Option<String>,
    /// Longest page wanted; the host gives at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// Order by creation time; newest first by default. A stream is always oldest first.
    #[param(inline)]
    pub order: Option<Order>,
    /// `true`: as server-sent events, whatever the Accept header says; `false`: as a list.
    pub stream: Option<bool>,
}

/// Where a stream was when it broke off, as browsers send it. Read in `streams`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header")]
pub struct LastEvent {
    /// For a stream: the id of the last event that came; goes before `after`.
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<String>,
}

/// List a job's events
///
/// Newest first. With `Accept: text/event-stream`, or `stream=true`, as server-sent events instead: oldest first, from the
/// beginning or from behind `Last-Event-ID` or `after`, and then as they happen. Each has an `id`, an `event` (`job.status`,
/// `job.metrics`, `checkpoint.created` or `job.message`) and as `data` the object that the list has. A comment comes when nothing
/// else does. After the last event of a job that is over comes `data: [DONE]`; a stream that ends without it can be resumed.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/events", tag = "fine-tuning", security(("key" = [])),
    params(
        ("job_id" = String, Path, description = "Id of the job"),
        EventQuery,
        LastEvent,
    ), responses(
        (status = 200, description = "A page of events, or a stream of them",
            content((List<EventObject> = "application/json"), (EventMessage = "text/event-stream"))),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 503, description = "`too_many_streams`, or a part of the host is away", body = ErrorEnvelope),
    ))]
pub async fn list_events(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(query): ApiQuery<EventQuery>,
    headers: axum::http::HeaderMap,
) -> Result<Response, ApiError> {
    if streams::is_wanted(&headers, query.stream) {
        return streams::follow(&app, (caller.project, id), &headers, query.after.as_deref()).await;
    }
    let page = page::<EventId>(query.after.as_deref(), query.limit, query.order, &app.limits)?;
    let found = app.jobs.events(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(EventObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |event: &EventObject| event.id.clone())).into_response())
}

/// List a job's checkpoints
///
/// Newest first.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/checkpoints", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), Paging), responses(
        (status = 200, description = "A page of checkpoints", body = List<CheckpointObject>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn list_checkpoints(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<CheckpointObject>>, ApiError> {
    let page = page::<CheckpointId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.jobs.checkpoints(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(CheckpointObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |checkpoint: &CheckpointObject| checkpoint.id.clone())))
}

/// Save a checkpoint
///
/// The adapters, and in host custody the optimizer's state. The body may be left out.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/checkpoints", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), request_body = Option<CreateCheckpoint>, responses(
        (status = 200, description = "The checkpoint", body = CheckpointObject),
        (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "The job does not run, or the host lacks its adapters", body = ErrorEnvelope),
    ))]
pub async fn create_checkpoint(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(id): ApiId<JobId>,
    headers: axum::http::HeaderMap,
    ApiBytes(bytes): ApiBytes,
) -> Result<Json<CheckpointObject>, ApiError> {
    let body: CreateCheckpoint = match bytes.is_empty() {
        true => CreateCheckpoint::default(),
        false => json_of::<Option<CreateCheckpoint>>(&headers, &bytes)?.unwrap_or_default(),
    };
    let life = body.expires_after.map(Into::into);
    let sent = Sent::new(caller.key, "checkpoint", "", &bytes);
    let row = to_the_end(async move { app.steps.checkpoint(caller.project, id, (life, sent)).await }).await?;
    Ok(Json(row.into()))
}

/// Report metrics
///
/// Opt-in: scalars that the label holder chooses to show in the job's events. Losses and accuracies say something about
/// labels; send none that you would not print.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/metrics", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), request_body = MetricsBody, responses(
        (status = 200, description = "The event", body = EventObject),
        (status = 400, description = "A name or value is wrong, or looks like a label", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "The job is over", body = ErrorEnvelope),
    ))]
pub async fn report_metrics(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(id): ApiId<JobId>,
    headers: axum::http::HeaderMap,
    ApiBytes(bytes): ApiBytes,
) -> Result<Json<EventObject>, ApiError> {
    let body: MetricsBody = json_of(&headers, &bytes)?;
    let sent = Sent::new(caller.key, "metrics", "", &bytes);
    Ok(Json(app.jobs.metrics(caller.project, id, (body.step, body.metrics), sent).await?.into()))
}

/// Where a page of the ledger begins and how long it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerPaging {
    /// Cursor: the id after which the page begins.
    pub after: Option<i64>,
    /// Longest page wanted; the host gives at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// List what the host was sent
///
/// Oldest first: names, shapes, sizes and hashes of every call's tensors. Never the contents.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/ledger", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), LedgerPaging), responses(
        (status = 200, description = "A page of the ledger", body = List<LedgerEntry>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn list_ledger(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(paging): ApiQuery<LedgerPaging>,
) -> Result<Json<List<LedgerEntry>>, ApiError> {
    let limit = page::<JobId>(None, paging.limit, None, &app.limits)?.limit;
    let after = paging.after.unwrap_or(0);
    if after > LARGEST_WHOLE {
        return Err(ServiceError::invalid("invalid_query", "after: is not an id of this list.").at("after").into());
    }
    let found = app.jobs.ledger(caller.project, id, after, limit).await?;
    let data = found.rows.into_iter().map(LedgerEntry::from).collect();
    Ok(Json(List::new(data, found.has_more, |entry: &LedgerEntry| entry.id.clone())))
}
