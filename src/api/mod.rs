//! HTTP, and nothing else: routes, extractors, authentication, the error envelope, bodies. A handler extracts, calls one use
//! case and encodes; it must never hold SQL, a tensor or a rule.

mod account;
mod adapters;
pub mod auth;
mod batch_endpoints;
mod batches;
mod checkpoints;
mod checksums;
mod connections;
mod console;
mod contract;
mod documentation;
pub mod dto;
pub mod error;
mod events;
mod examples;
pub mod extract;
mod files;
mod folders;
mod form_hash;
pub mod gate;
mod health;
mod inference;
mod jobs;
mod ledger;
mod metrics;
mod middleware;
mod models;
mod nul;
pub mod once;
mod operations;
mod operator;
mod pace;
mod planning;
pub mod prometheus;
mod queries;
mod ranges;
mod reading;
mod relay;
mod scopes;
pub mod server;
mod server_timing;
pub mod state;
mod steps;
mod streams;
mod unread;
mod uploads;
mod webhooks;
mod whole_numbers;
mod write_pace;

use axum::Router;
use axum::body::Body;
use axum::body::to_bytes;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;

use crate::api::error::ApiError;
use crate::api::gate::govern;
use crate::api::operations::RouteClass::Control;
use crate::api::operations::RouteClass::DataPlane;
use crate::api::operations::RouteClass::Inference as OfInference;
use crate::api::operations::RouteClass::Probe;
use crate::api::operations::Routes;
use crate::api::queries::QueryNames;
use crate::api::queries::check_names;
use crate::domain::error_code::ErrorCode;
use crate::domain::limits::Limits;
use crate::service::PART_BYTES;

pub use batch_endpoints::BatchEndpoints;
pub use middleware::StackSettings;
pub use pace::Pace;
pub use state::App;
pub use state::Readiness;
pub use write_pace::WritePace;

/// What a form adds to the file in it.
const FORM_BYTES: usize = 128 * 1024;

/// Routes with small bodies that are answered in bounded time.
fn quick_routes() -> Routes {
    Routes::default()
        .add(Control, routes!(files::list_files))
        .add(Control, routes!(files::get_file, files::delete_file))
        .add(Control, routes!(files::get_file_content))
        .add(Control, routes!(models::list_models))
        .add(Control, routes!(models::get_model, models::delete_model))
        .add(Control, routes!(jobs::create_job, jobs::list_jobs))
        .add(Control, routes!(jobs::count_jobs))
        .add(Control, routes!(jobs::get_job, jobs::delete_job))
        .add(Control, routes!(jobs::cancel_job))
        .add(Control, routes!(jobs::pause_job))
        .add(Control, routes!(jobs::resume_job))
        .add(Control, routes!(jobs::complete_job))
        .add(Control, routes!(events::list_events))
        .add(Control, routes!(events::list_all_events))
        .add(Control, routes!(checkpoints::list_checkpoints, checkpoints::create_checkpoint))
        .add(
            Control,
            routes!(checkpoints::get_checkpoint, checkpoints::update_checkpoint, checkpoints::delete_checkpoint),
        )
        .add(Control, routes!(checkpoints::get_checkpoint_content))
        .add(Control, routes!(folders::get_model_adapters))
        .add(Control, routes!(uploads::create_upload))
        .add(Control, routes!(uploads::cancel_upload))
        .add(Control, routes!(metrics::list_metrics, metrics::report_metrics))
        .add(Control, routes!(ledger::list_ledger))
        .add(Control, routes!(ledger::get_ledger_summary))
        .add(Control, routes!(batches::create_batch, batches::list_batches))
        .add(Control, routes!(batches::get_batch))
        .add(Control, routes!(batches::cancel_batch))
        .add(Control, routes!(webhooks::create_webhook, webhooks::list_webhooks))
        .add(Control, routes!(webhooks::get_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .add(Control, routes!(webhooks::test_webhook))
        .add(Control, routes!(webhooks::rotate_webhook_secret))
        .add(Control, routes!(webhooks::list_deliveries))
        .add(Control, routes!(webhooks::replay_delivery))
        .add(DataPlane, routes!(steps::optim_step))
        .add(DataPlane, routes!(adapters::get_adapters))
        .add(Control, routes!(account::get_me))
        .add(Control, routes!(account::list_api_keys, account::create_api_key))
        .add(Control, routes!(account::get_api_key, account::update_api_key, account::revoke_api_key))
        .add(Control, routes!(account::rotate_api_key))
        .add(Control, routes!(account::get_usage))
        .add(Control, routes!(account::list_audit_log))
        .add(Control, routes!(planning::capabilities))
        .add(Control, routes!(operator::get_host))
        .add(Control, routes!(operator::offer_model, operator::withdraw_model))
        .add(Control, routes!(operator::list_nodes))
        .add(Control, routes!(operator::update_node))
        .add(Control, routes!(operator::list_projects, operator::create_project))
        .add(Control, routes!(operator::get_project))
        .add(Control, routes!(operator::limit_project))
        .add(Control, routes!(operator::create_project_key))
}

/// The routes below `/v1`, and what each is held to.
fn routes(limits: &Limits, settings: &StackSettings) -> Routes {
    let tensors = Routes::default()
        .add(OfInference, routes!(inference::create_activations))
        .add(OfInference, routes!(inference::create_embeddings))
        .add(DataPlane, routes!(steps::forward))
        .add(DataPlane, routes!(steps::backward))
        .add(DataPlane, routes!(adapters::get_adapter, adapters::put_adapter));
    let uploads = Routes::default().add(Control, routes!(files::create_file));
    let form_bytes = usize::try_from(limits.file_bytes).unwrap_or(usize::MAX).saturating_add(FORM_BYTES);
    let parts = Routes::default().add(Control, routes!(uploads::create_upload_part));
    let part_bytes = PART_BYTES as usize + FORM_BYTES;
    // One reads a whole file again, the other runs real steps: they take the time that they take.
    let slow =
        Routes::default().add(Control, routes!(uploads::complete_upload)).add(OfInference, routes!(planning::estimate));
    let folders = Routes::default().add(Control, routes!(folders::create_model_adapters));
    let folders_bytes = limits.adapter_sets.saturating_mul(limits.tensor_body_bytes.saturating_add(FORM_BYTES));
    let v1 = quick_routes()
        .layer(|router| {
            middleware::limit_time(middleware::limit_body(router, limits.json_body_bytes), settings.control_timeout)
        })
        .merge(tensors.layer(|router| middleware::limit_body(router, limits.tensor_body_bytes)))
        .merge(uploads.layer(|router| middleware::limit_body(router, form_bytes)))
        .merge(parts.layer(|router| middleware::limit_body(router, part_bytes)))
        .merge(slow.layer(|router| middleware::limit_body(router, limits.json_body_bytes)))
        .merge(folders.layer(|router| middleware::limit_body(router, folders_bytes)));
    v1.nest("/v1", contract::base())
}

fn probe_routes() -> Routes {
    Routes::default().add(Probe, routes!(health::healthz)).add(Probe, routes!(health::readyz))
}

/// The whole service. Fails where its contract cannot be put together.
pub fn router(app: App, settings: &StackSettings) -> anyhow::Result<Router> {
    let openapi = contract_of(routes(&app.limits, settings).merge(probe_routes()))?;
    let (v1, contract, operations) = routes(&app.limits, settings).into_parts();
    let v1 = v1.layer(from_fn_with_state(QueryNames::of(&contract), check_names));
    let v1 = v1.layer(from_fn_with_state((app.clone(), operations), govern));
    let (probes, ..) = probe_routes().into_parts();
    let docs = documentation::routes(openapi, settings.docs.as_deref());
    let pages = if settings.console { docs.merge(console::routes()) } else { docs };
    let shed = middleware::shed_load(v1.with_state(app.clone()), settings);
    let all = Router::new()
        .merge(shed)
        .merge(probes.with_state(app))
        .merge(pages)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method);
    Ok(middleware::surround(all))
}

/// The contract as YAML.
pub fn openapi_yaml() -> anyhow::Result<String> {
    Ok(openapi()?.to_yaml()?)
}

/// The contract, with the limits that a host has by default.
fn openapi() -> anyhow::Result<OpenApi> {
    contract_of(routes_by_default())
}

fn contract_of(all: Routes) -> anyhow::Result<OpenApi> {
    let (_, mut openapi, operations) = all.into_parts();
    contract::complete(&mut openapi, &operations)?;
    Ok(openapi)
}

/// All routes of a host with default limits, for their contract.
fn routes_by_default() -> Routes {
    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
    let settings = StackSettings {
        max_requests_in_flight: 1,
        pace: Pace { window: SECOND, bytes_per_sec: 1, total: SECOND },
        control_timeout: SECOND,
        console: false,
        docs: None,
    };
    routes(&Limits::default(), &settings).merge(probe_routes())
}

/// Of a body that nobody wants: read so far and so long before the answer, so that a client that is still sending does not meet a
/// closed connection instead of it.
const UNWANTED_BYTES: usize = 64 << 10;
const UNWANTED_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// Where stock clients ask for text.
const GENERATION: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/moderations"];

async fn no_route(uri: Uri, body: Body) -> ApiError {
    let _ = tokio::time::timeout(UNWANTED_WAIT, to_bytes(body, UNWANTED_BYTES)).await;
    let message = match uri.path() {
        path if GENERATION.contains(&path) => {
            "This host generates no text: what it fine-tunes are classifiers and the like, whose heads stay with those who hold the labels. \
             Predict at home (`blindtune predict`, or the SDK's Tuner); /v1/activations and /v1/embeddings give what a model computes."
        }
        _ => "There is no such URL; see /docs.",
    };
    ApiError::new(ErrorCode::UnknownUrl, message)
}

async fn no_method() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, "This URL does not take this method.")
}

#[cfg(test)]
mod any_bytes_tests;
