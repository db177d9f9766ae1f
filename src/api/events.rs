//! `/v1/fine_tuning/jobs/{job_id}/events` and `/v1/events`: what happened to a job, or to all of a project, as a list or a stream.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::dto::events::EventMessage;
use crate::api::dto::events::EventObject;
use crate::api::dto::list::List;
use crate::api::dto::list::Order;
use crate::api::dto::list::page;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::state::App;
use crate::api::streams;
use crate::api::streams::Asked;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;

/// Which events, and in which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Cursor: the page, or the stream, starts after this id.
    pub after: Option<String>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// Order by creation time; newest first by default. A stream is always oldest first.
    #[param(inline)]
    pub order: Option<Order>,
    /// `true`: as server-sent events, whatever the Accept header says; `false`: as a list.
    pub stream: Option<bool>,
    /// For a stream: `true` adds `job.step`, at most once a second while the job gets on.
    pub steps: Option<bool>,
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
/// `job.metrics`, `checkpoint.created` or `job.message`) and as `data` the object that the list has. With `steps=true` also `job.step`, at
/// most once a second while the job gets on, and once at the beginning: how far it has come; it has no id and is not kept. A comment comes
/// when nothing else does. After the last event of a job that is over comes `data: [DONE]`; a stream that ends without it can be resumed.
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
        (status = 429, description = "`too_many_project_streams`, or a rate is over its limit", body = ErrorEnvelope),
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
        let asked = Asked { after: query.after.as_deref(), steps: query.steps.unwrap_or_default() };
        return streams::follow(&app, caller.project, id, &headers, asked).await;
    }
    let page = page::<EventId>(query.after.as_deref(), query.limit, query.order, &app.limits)?;
    let found = app.jobs.events(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(EventObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |event: &EventObject| event.id.clone())).into_response())
}

/// List the events of all jobs
///
/// Of the project, newest first. With `Accept: text/event-stream`, or `stream=true`, as server-sent events instead: those that happen from now
/// on, or from behind `Last-Event-ID` or `after`, as a job's own stream has them, each with its `job_id`; in the order in which they were
/// committed, each once. With `steps=true` also `job.step` for each running job that got on, at most once a second. The stream has no end.
#[utoipa::path(get, path = "/events", tag = "fine-tuning", security(("key" = [])), params(EventQuery, LastEvent), responses(
    (status = 200, description = "A page of events, or a stream of them",
        content((List<EventObject> = "application/json"), (EventMessage = "text/event-stream"))),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
    (status = 429, description = "`too_many_project_streams`, or a rate is over its limit", body = ErrorEnvelope),
    (status = 503, description = "`too_many_streams`, or a part of the host is away", body = ErrorEnvelope),
))]
pub async fn list_all_events(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiQuery(query): ApiQuery<EventQuery>,
    headers: axum::http::HeaderMap,
) -> Result<Response, ApiError> {
    if streams::is_wanted(&headers, query.stream) {
        let asked = Asked { after: query.after.as_deref(), steps: query.steps.unwrap_or_default() };
        return streams::follow_project(&app, caller.project, &headers, asked).await;
    }
    let page = page::<EventId>(query.after.as_deref(), query.limit, query.order, &app.limits)?;
    let found = app.jobs.events_of_all(caller.project, page).await?;
    let data = found.rows.into_iter().map(EventObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |event: &EventObject| event.id.clone())).into_response())
}
