//! HTTP, and nothing else: routes, extractors, authentication, the error envelope, bodies. A handler extracts, calls one use
//! case and encodes; it must never hold SQL, a tensor or a rule.

mod adapters;
pub mod auth;
pub mod dto;
pub mod error;
pub mod extract;
mod files;
mod health;
mod inference;
mod jobs;
mod middleware;
mod models;
mod planning;
mod records;
pub mod server;
mod steps;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::http::StatusCode;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::security::Http;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::SecurityScheme;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::api::error::ApiError;
use crate::domain::limits::Limits;
use crate::service::Capabilities;
use crate::service::Estimates;
use crate::service::Files;
use crate::service::Inference;
use crate::service::Jobs;
use crate::service::Keys;
use crate::service::Models;
use crate::service::Steps;

pub use middleware::StackSettings;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Keys.
    pub keys: Arc<Keys>,
    /// Files.
    pub files: Arc<Files>,
    /// Models.
    pub models: Arc<Models>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// The data plane.
    pub steps: Arc<Steps>,
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

#[derive(OpenApi)]
#[openapi(
    info(
        title = "blindtune",
        description = "Fine-tuning as a service that never sees the labels. The management plane has OpenAI's shapes; the data \
                       plane (forward, backward, optim_step) is driven by the label holder, step by step.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This host")),
    modifiers(&BearerKey),
    tags(
        (name = "files", description = "Inputs, without labels"),
        (name = "models", description = "Backbones and fine-tuned models"),
        (name = "fine-tuning", description = "Jobs, events and checkpoints"),
        (name = "steps", description = "The data plane of a job"),
        (name = "inference", description = "Models outside of a job: activations and embeddings"),
        (name = "health", description = "For load balancers; no key needed"),
    ),
)]
struct ApiDoc;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.bearer_format = Some("JWT".into());
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("key", SecurityScheme::Http(http));
    }
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
        .routes(routes!(records::list_events))
        .routes(routes!(records::list_checkpoints, records::create_checkpoint))
        .routes(routes!(records::report_metrics))
        .routes(routes!(records::list_ledger))
        .routes(routes!(steps::optim_step))
        .routes(routes!(adapters::get_adapters))
        .routes(routes!(planning::capabilities));
    let tensors = OpenApiRouter::new()
        .routes(routes!(inference::create_activations))
        .routes(routes!(inference::create_embeddings))
        .routes(routes!(planning::estimate))
        .routes(routes!(steps::forward))
        .routes(routes!(steps::backward))
        .routes(routes!(adapters::get_adapter, adapters::put_adapter));
    let uploads = OpenApiRouter::new().routes(routes!(files::create_file));
    let form_bytes = usize::try_from(limits.file_bytes).unwrap_or(usize::MAX).saturating_add(64 * 1024);
    let v1 = map(control, |router| {
        middleware::limit_time(middleware::limit_body(router, limits.json_body_bytes), settings.control_timeout)
    })
    .merge(map(tensors, |router| middleware::limit_body(router, limits.tensor_body_bytes)))
    .merge(map(uploads, |router| middleware::limit_body(router, form_bytes)));
    OpenApiRouter::with_openapi(ApiDoc::openapi()).nest("/v1", v1)
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

/// The whole service.
pub fn router(app: App, settings: &StackSettings) -> Router {
    let (v1, mut openapi) = routes(&app.limits, settings).split_for_parts();
    let (health, health_doc) =
        OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::readyz)).split_for_parts();
    openapi.merge(health_doc);
    plain_paths(&mut openapi);
    let document = openapi.clone();
    let docs = Router::new().merge(SwaggerUi::new("/docs").url("/openapi.json", document));
    let shed = middleware::shed_load(v1.with_state(app.clone()), settings);
    let all = Router::new()
        .merge(shed)
        .merge(health.with_state(app))
        .merge(docs)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method);
    middleware::surround(all)
}

/// A wildcard route is an ordinary parameter to those who read the contract.
fn plain_paths(openapi: &mut utoipa::openapi::OpenApi) {
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

/// The contract as YAML.
pub fn openapi_yaml() -> anyhow::Result<String> {
    let settings = StackSettings {
        max_requests_in_flight: 1,
        body_idle_timeout: std::time::Duration::from_secs(1),
        control_timeout: std::time::Duration::from_secs(1),
    };
    let (_, mut openapi) = routes(&Limits::default(), &settings).split_for_parts();
    let (_, health) =
        OpenApiRouter::<App>::new().routes(routes!(health::healthz)).routes(routes!(health::readyz)).split_for_parts();
    openapi.merge(health);
    plain_paths(&mut openapi);
    Ok(openapi.to_yaml()?)
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
