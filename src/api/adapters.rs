//! `/adapters`: the adapters of a job, in PEFT's form or as the flat vector.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::StepsWrite;
use crate::api::dto::Binary;
use crate::api::dto::steps::AdapterBody;
use crate::api::dto::steps::AdapterForm;
use crate::api::dto::steps::AdapterLayout;
use crate::api::dto::steps::AdapterQuery;
use crate::api::dto::steps::encode_all;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::extract::ApiSet;
use crate::api::extract::Media;
use crate::api::extract::accepted;
use crate::api::extract::content_type;
use crate::api::extract::parse_json;
use crate::api::extract::unsupported_media;
use crate::api::reading::in_turn;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::api::steps::decode_all;
use crate::api::steps::safetensors;
use crate::api::unread::until_read;
use crate::domain::ids::JobId;
use crate::domain::limits::Limits;
use crate::service::AdapterValues;
use crate::service::Sent;
use crate::service::SetOut;
use crate::service::parse_body;

/// Get the adapters' layout
///
/// Where each matrix stands in the flat vector `theta`, and PEFT's `adapter_config.json`.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/adapters", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), responses(
        (status = 200, description = "The layout", body = AdapterLayout),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "The job does not run", body = ErrorEnvelope),
    ))]
pub async fn get_adapters(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(job): ApiId<JobId>,
) -> Result<Json<AdapterLayout>, ApiError> {
    let layout = to_the_end(async move { app.steps.layout(caller.project, job).await }).await?;
    Ok(Json(layout.into()))
}

/// Get an adapter set
///
/// With `format=peft` (the default) one tensor for each matrix: a file that PEFT loads as `adapter_model.safetensors`.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/adapters/{set}", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("set" = usize, Path, description = "Adapter set, from 0"), AdapterQuery),
    responses(
        (status = 200, description = "The adapters", content((AdapterBody = "application/json"), (Binary = "application/octet-stream"))),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job or set", body = ErrorEnvelope),
        (status = 409, description = "`adapters_needed`, `job_not_running`", body = ErrorEnvelope),
    ))]
pub async fn get_adapter(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(job): ApiId<JobId>,
    ApiSet(set): ApiSet,
    ApiQuery(query): ApiQuery<AdapterQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let SetOut { theta, layout, body } =
        to_the_end(async move { app.steps.adapter(caller.project, job, set).await }).await?;
    let tensors = match query.format {
        AdapterForm::Flat => vec![theta],
        AdapterForm::Peft => layout.unflatten(&theta)?,
    };
    let response = match accepted(&headers) {
        Media::Safetensors => safetensors(&tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))?,
        Media::Json => Json(AdapterBody { tensors: encode_all(&tensors) }).into_response(),
    };
    until_read(response, body).await
}

/// Replace an adapter set
///
/// Takes `theta.{i}` F32 `[P]`, or all matrices with PEFT's names.
#[utoipa::path(put, path = "/fine_tuning/jobs/{job_id}/adapters/{set}", tag = "steps", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("set" = usize, Path, description = "Adapter set, from 0")),
    request_body(content((AdapterBody = "application/json"), (Binary = "application/octet-stream"))),
    responses(
        (status = 200, description = "The layout", body = AdapterLayout),
        (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such job or set", body = ErrorEnvelope),
        (status = 409, description = "The job does not run", body = ErrorEnvelope),
        (status = 415, description = "Unknown media type", body = ErrorEnvelope),
        (status = 422, description = "A tensor cannot be used", body = ErrorEnvelope),
    ))]
pub async fn put_adapter(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(job): ApiId<JobId>,
    ApiSet(set): ApiSet,
    headers: HeaderMap,
    ApiBytes(body): ApiBytes,
) -> Result<Json<AdapterLayout>, ApiError> {
    let (bytes, media, limits) = (body.len(), content_type(&headers), app.limits.for_adapters());
    let read = move || {
        let sent = Sent::new(caller.key, "put_adapter", &set.to_string(), &body);
        read_values(sent, media, body, &limits)
    };
    let values = in_turn(&app, caller.project, bytes, read).await?;
    let layout = to_the_end(async move { app.steps.put_adapter(caller.project, job, set, values).await }).await?;
    Ok(Json(layout.into()))
}

fn read_values(mut sent: Sent, media: Option<Media>, body: Bytes, limits: &Limits) -> Result<AdapterValues, ApiError> {
    let tensors = match media {
        Some(Media::Safetensors) => parse_body(body, limits)?,
        Some(Media::Json) => decode_all(&parse_json::<AdapterBody>(&body)?.tensors, str::to_owned)?,
        None => return Err(unsupported_media("application/octet-stream (safetensors) or application/json")),
    };
    sent.note_all(&tensors);
    Ok(AdapterValues { tensors, sent })
}
