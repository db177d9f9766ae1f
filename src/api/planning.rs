//! `/v1/fine_tuning/estimate` and `/v1/fine_tuning/capabilities`: what is asked before a job is made.

use axum::Json;
use axum::extract::State;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::StepsWrite;
use crate::api::dto::planning::CapabilitiesObject;
use crate::api::dto::planning::EstimateBody;
use crate::api::dto::planning::EstimateObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiJson;
use crate::api::state::App;
use crate::api::state::to_the_end;

/// Estimate a job
///
/// Tokens, arithmetic, bytes each way, and seconds on this host, measured by running a few real steps of the job's shape. Nothing is
/// trained and nothing is kept. One estimate is made at a time.
#[utoipa::path(post, path = "/fine_tuning/estimate", tags = ["fine-tuning", "inference"], security(("key" = [])), request_body = EstimateBody, responses(
    (status = 200, description = "What the job would cost", body = EstimateObject),
    (status = 400, description = "A field is wrong, unknown, or looks like a label", body = ErrorEnvelope),
    (status = 404, description = "No such model or file", body = ErrorEnvelope),
    (status = 409, description = "`settings_unknown`: the model was made before its settings were kept", body = ErrorEnvelope),
    (status = 413, description = "A step would be too large; the limit is named", body = ErrorEnvelope),
    (status = 415, description = "Not JSON", body = ErrorEnvelope),
    (status = 422, description = "A setting does not fit the backbone, or a row cannot be read by it", body = ErrorEnvelope),
    (status = 429, description = "The device is busy", body = ErrorEnvelope),
))]
pub async fn estimate(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiJson(body): ApiJson<EstimateBody>,
) -> Result<Json<EstimateObject>, ApiError> {
    let request = body.try_into()?;
    // The session of the measurement must be closed whatever the client does.
    let found = to_the_end(async move { app.estimates.estimate(caller.project, caller.key, request).await }).await?;
    Ok(Json(found.into()))
}

/// Capabilities
///
/// What this host supports: methods, custody, precisions, backbones with their cuts and modules, and every limit by name.
#[utoipa::path(get, path = "/fine_tuning/capabilities", tag = "fine-tuning", security(("key" = [])), responses(
    (status = 200, description = "What this host can do", body = CapabilitiesObject),
))]
pub async fn capabilities(
    State(app): State<App>,
    _caller: Caller<JobsRead>,
) -> Result<Json<CapabilitiesObject>, ApiError> {
    Ok(Json(CapabilitiesObject::new(app.capabilities.view().await?)?))
}
