//! HTTP, and nothing else: routes, extractors, authentication, the error envelope, bodies. A handler extracts, calls one use
//! case and encodes; it must never hold SQL, a tensor or a rule.

mod account;
mod adapters;
pub mod auth;
mod checkpoints;
mod contract;
pub mod dto;
pub mod error;
mod events;
mod examples;
pub mod extract;
mod files;
mod folders;
pub mod gate;
mod health;
mod inference;
mod jobs;
mod ledger;
mod metrics;
mod middleware;
mod models;
pub mod once;
mod planning;
pub mod server;
mod steps;
mod streams;
mod uploads;
mod webhooks;
mod whole_numbers;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::api::error::ApiError;
use crate::api::gate::Actions;
use crate::api::gate::govern;
use crate::domain::limits::Limits;
use crate::service::AuditLog;
use crate::service::Capabilities;
use crate::service::Estimates;
use crate::service::Events;
use crate::service::Files;
use crate::service::Governor;
use crate::service::Inference;
use crate::service::Jobs;
use crate::service::Keys;
use crate::service::Models;
use crate::service::PART_BYTES;
use crate::service::Requests;
use crate::service::Steps;
use crate::service::Uploads;
use crate::service::Usage;
use crate::service::Webhooks;

pub use middleware::StackSettings;

/// What a form adds to the file in it.
const FORM_BYTES: usize = 128 * 1024;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Keys.
    pub keys: Arc<Keys>,
    /// Files.
    pub files: Arc<Files>,
    /// Uploads in parts.
    pub uploads: Arc<Uploads>,
    /// Models.
    pub models: Arc<Models>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// The data plane.
    pub steps: Arc<Steps>,
    /// Rates and budgets.
    pub governor: Arc<Governor>,
    /// Reports of use.
    pub usage: Arc<Usage>,
    /// The audit log.
    pub audit_log: Arc<AuditLog>,
    /// Repeated requests.
    pub requests: Arc<Requests>,
    /// Streams of events.
    pub events: Arc<Events>,
    /// Webhooks.
    pub webhooks: Arc<Webhooks>,
    /// Activations and embeddings.
    pub inference: Arc<Inference>,
    /// What jobs would cost.
    pub estimates: Arc<Estimates>,
    /// What the host can do.
    pub capabilities: Arc<Capabilities>,
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
    /// What is accepted.
    pub limits: Arc<Limits>,
}

/// Whether the host takes work.
pub struct Readiness {
    /// Asks the database.
    pub probe: Arc<dyn Fn() -> futures::future::BoxFuture<'static, bool> + Send + Sync>,
    /// Set when the host begins to shut down.
    pub draining: AtomicBool,
}

/// Routes and contract, from one list.
fn routes(limits: &Limits, settings: &StackSettings) -> OpenApiRouter<App> {
    let control = OpenApiRouter::new()
        .routes(routes!(files::list_files))
        .routes(routes!(files::get_file, files::delete_file))
        .routes(routes!(files::get_file_content))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model, models::delete_model))
        .routes(routes!(jobs::create_job, jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::pause_job))
        .routes(routes!(jobs::resume_job))
        .routes(routes!(jobs::complete_job))
        .routes(routes!(events::list_events))
        .routes(routes!(checkpoints::list_checkpoints, checkpoints::create_checkpoint))
        .routes(routes!(checkpoints::get_checkpoint, checkpoints::update_checkpoint, checkpoints::delete_checkpoint))
        .routes(routes!(checkpoints::get_checkpoint_content))
        .routes(routes!(folders::get_model_adapters))
        .routes(routes!(uploads::create_upload))
        .routes(routes!(uploads::cancel_upload))
        .routes(routes!(metrics::report_metrics))
        .routes(routes!(ledger::list_ledger))
        .routes(routes!(webhooks::create_webhook, webhooks::list_webhooks))
        .routes(routes!(webhooks::get_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::test_webhook))
        .routes(routes!(webhooks::list_deliveries))
        .routes(routes!(webhooks::replay_delivery))
        .routes(routes!(steps::optim_step))
        .routes(routes!(adapters::get_adapters))
        .routes(routes!(account::list_api_keys, account::create_api_key))
        .routes(routes!(account::get_api_key, account::revoke_api_key))
        .routes(routes!(account::get_usage))
        .routes(routes!(account::list_audit_log))
        .routes(routes!(planning::capabilities));
    let tensors = OpenApiRouter::new()
        .routes(routes!(inference::create_activations))
        .routes(routes!(inference::create_embeddings))
        .routes(routes!(planning::estimate))
        .routes(routes!(steps::forward))
        .routes(routes!(steps::backward))
        .routes(routes!(adapters::get_adapter, adapters::put_adapter));
    let uploads = OpenApiRouter::new().routes(routes!(files::create_file));
    let form_bytes = usize::try_from(limits.file_bytes).unwrap_or(usize::MAX).saturating_add(FORM_BYTES);
    let parts = OpenApiRouter::new().routes(routes!(uploads::create_upload_part));
    let part_bytes = PART_BYTES as usize + FORM_BYTES;
    // Reads a whole file again: it takes the time that it takes.
    let slow = OpenApiRouter::new().routes(routes!(uploads::complete_upload));
    let folders = OpenApiRouter::new().routes(routes!(folders::create_model_adapters));
    let folders_bytes = limits.adapter_sets.saturating_mul(limits.tensor_body_bytes.saturating_add(FORM_BYTES));
    let v1 = map(control, |router| {
        middleware::limit_time(middleware::limit_body(router, limits.json_body_bytes), settings.control_timeout)
    })
    .merge(map(tensors, |router| middleware::limit_body(router, limits.tensor_body_bytes)))
    .merge(map(uploads, |router| middleware::limit_body(router, form_bytes)))
    .merge(map(parts, |router| middleware::limit_body(router, part_bytes)))
    .merge(map(slow, |router| middleware::limit_body(router, limits.json_body_bytes)))
    .merge(map(folders, |router| middleware::limit_body(router, folders_bytes)));
    OpenApiRouter::with_openapi(contract::base()).nest("/v1", v1)
}

fn map(router: OpenApiRouter<App>, layer: impl FnOnce(Router<App>) -> Router<App>) -> OpenApiRouter<App> {
    let (router, openapi) = router.split_for_parts();
    OpenApiRouter::from(layer(router)).with_doc(openapi)
}

trait WithDoc {
    fn with_doc(self, openapi: utoipa::openapi::OpenApi) -> Self;
}

impl WithDoc for OpenApiRouter<App> {
    fn with_doc(mut self, openapi: utoipa::openapi::OpenApi) -> Self {
        *self.get_openapi_mut() = openapi;
        self
    }
}

fn health_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::readyz))
}

/// The whole service.
pub fn router(app: App, settings: &StackSettings) -> Router {
    let (v1, mut openapi) = routes(&app.limits, settings).split_for_parts();
    let governed = (app.clone(), Actions::new(&openapi));
    let v1 = v1.layer(from_fn_with_state(governed, govern));
    let (health, health_doc) = health_routes().split_for_parts();
    openapi.merge(health_doc);
    contract::complete(&mut openapi);
    let docs = Router::new().merge(SwaggerUi::new("/docs").url("/openapi.json", openapi));
    let shed = middleware::shed_load(v1.with_state(app.clone()), settings);
    let all = Router::new()
        .merge(shed)
        .merge(health.with_state(app))
        .merge(docs)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method);
    middleware::surround(all)
}

/// The contract as YAML.
pub fn openapi_yaml() -> anyhow::Result<String> {
    Ok(openapi()?.to_yaml()?)
}

/// The contract, with the limits that a host has by default.
fn openapi() -> anyhow::Result<utoipa::openapi::OpenApi> {
    let settings = StackSettings {
        max_requests_in_flight: 1,
        body_idle_timeout: std::time::Duration::from_secs(1),
        control_timeout: std::time::Duration::from_secs(1),
    };
    let (_, mut openapi) = routes(&Limits::default(), &settings).split_for_parts();
    openapi.merge(health_routes().split_for_parts().1);
    contract::complete(&mut openapi);
    Ok(openapi)
}

async fn no_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_url", "There is no such URL; see /docs.")
}

async fn no_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This URL does not take this method.")
}

/// Runs a use case to its end even when the client goes away: a step that the engine has begun must also be recorded.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = crate::service::Result<T>> + Send + 'static,
) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    let task = tokio::spawn(tracing::Instrument::instrument(work, span));
    Ok(task.await.map_err(crate::service::ServiceError::internal)??)
}
