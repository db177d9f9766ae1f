//! `/v1/fine_tuning/jobs/{job_id}/metrics`: scalars that the label holder chooses to show.

use axum::Json;
use axum::extract::State;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::StepsWrite;
use crate::api::dto::events::EventObject;
use crate::api::dto::list::List;
use crate::api::dto::list::OrderedPaging;
use crate::api::dto::list::page;
use crate::api::dto::steps::MetricsBody;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::extract::json_of;
use crate::api::once::Once;
use crate::api::state::App;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::service::EventRow;
use crate::service::MetricsReport;
use crate::service::Sent;

/// List a job's metrics
///
/// What its client reported, newest first, or with `order=asc` oldest first: events of the type `metrics`, each with its scalars as `data`.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/metrics", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), OrderedPaging), responses(
        (status = 200, description = "A page of reports", body = List<EventObject>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn list_metrics(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(asked): ApiQuery<OrderedPaging>,
) -> Result<Json<List<EventObject>>, ApiError> {
    let page = page::<EventId>(asked.after.as_deref(), asked.limit, asked.order, &app.limits)?;
    let found = app.jobs.reports(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(EventObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |event: &EventObject| event.id.clone())))
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
    once: Once,
    ApiBytes(bytes): ApiBytes,
) -> Result<Json<EventObject>, ApiError> {
    let body: MetricsBody = json_of(&headers, &bytes)?;
    let sent = Sent::new(caller.key, "metrics", "", &bytes);
    let report = MetricsReport { step: body.step, metrics: body.metrics, sent };
    let record = once.json(|event: &EventRow| EventObject::from(event.clone()));
    Ok(Json(app.jobs.metrics(caller.project, id, report, record).await?.into()))
}
