//! For load balancers. Owns liveness and readiness; needs no key and sheds no load.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;

/// State of the host.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Version of the host.
    #[schema(example = "0.3.0")]
    pub version: &'static str,
}

const OK: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// Alive
///
/// Answers while the process runs.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "Alive", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(OK)
}

/// Ready
///
/// Answers 200 when the host accepts work: the database answers, and no shutdown has started.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "Ready", body = Health),
    (status = 503, description = "Not ready", body = ErrorEnvelope),
))]
pub async fn readyz(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    if app.readiness.draining.load(Ordering::Acquire) || app.fleet.is_draining() {
        return Err(ApiError::new(ErrorCode::ShuttingDown, "The host is shutting down."));
    }
    if !(app.readiness.probe)().await {
        return Err(ApiError::new(ErrorCode::DatabaseUnavailable, "The host's database cannot be reached."));
    }
    Ok(Json(OK))
}
