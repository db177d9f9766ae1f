//! What handlers work with: the use cases of a host, and whether it takes work. Owns no route; must never know a handler.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::api::error::ApiError;
use crate::domain::limits::Limits;
use crate::service::AuditLog;
use crate::service::Backbones;
use crate::service::Batches;
use crate::service::Capabilities;
use crate::service::Estimates;
use crate::service::Events;
use crate::service::Features;
use crate::service::Files;
use crate::service::Fleet;
use crate::service::Governor;
use crate::service::Idempotency;
use crate::service::Inference;
use crate::service::Jobs;
use crate::service::Keys;
use crate::service::Models;
use crate::service::Monitor;
use crate::service::Permits;
use crate::service::ProcessorTurns;
use crate::service::ServiceError;
use crate::service::Steps;
use crate::service::Tenants;
use crate::service::Uploads;
use crate::service::Usage;
use crate::service::Webhooks;
use crate::service::with_the_same_wait;

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
    /// Feature jobs.
    pub features: Arc<Features>,
    /// Requests in files.
    pub batches: Arc<Batches>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// The data plane.
    pub steps: Arc<Steps>,
    /// Rates and budgets.
    pub governor: Arc<Governor>,
    /// Projects, for an operator.
    pub tenants: Arc<Tenants>,
    /// Backbones, for an operator.
    pub backbones: Arc<Backbones>,
    /// This host among the others of its fleet.
    pub fleet: Arc<Fleet>,
    /// How the host is, for an operator.
    pub monitor: Arc<Monitor>,
    /// Reports of use.
    pub usage: Arc<Usage>,
    /// The audit log.
    pub audit_log: Arc<AuditLog>,
    /// Repeated requests.
    pub idempotency: Arc<Idempotency>,
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
    /// Requests of a project that are being worked on.
    pub places: Arc<Permits>,
    /// Bodies that are being read into requests.
    pub processor_turns: Arc<ProcessorTurns>,
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

/// Runs a use case to its end even when the client goes away: a step that the engine has begun must also be recorded.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = crate::service::Result<T>> + Send + 'static,
) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    let task = tokio::spawn(tracing::Instrument::instrument(with_the_same_wait(work), span));
    Ok(task.await.map_err(ServiceError::internal)??)
}
