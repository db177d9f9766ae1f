//! Use cases: files, models, keys, jobs, steps, checkpoints. Owns what happens in which order, with one transaction per use
//! case; must never name HTTP or touch a tensor.

mod adapters;
mod adopted;
mod capabilities;
mod checkpoints;
mod creation;
mod delivery;
mod error;
mod estimate;
mod events;
mod files;
mod folders;
mod governor;
mod inference;
mod jobs;
mod keys;
mod metering;
mod models;
mod once;
mod outbound;
mod peft;
mod permits;
mod requests;
mod results;
mod rowformat;
mod rows;
mod sessions;
mod steps;
mod sweep;
mod tokens;
mod traffic;
mod uploads;
mod usage;
mod webhooks;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::limits::Limits;
use crate::engine::Engine;
use crate::store;
use crate::store::Pool;
use crate::store::StoreError;
use crate::store::Tx;
use crate::store::blobs::Blobs;

pub use adopted::AdapterSet;
pub use adopted::NewAdapters;
pub use capabilities::Capabilities;
pub use capabilities::HostView;
pub use capabilities::ModelView;
pub use creation::NewJob;
pub use delivery::Delivery;
pub use delivery::DeliverySettings;
pub use error::Refusal;
pub use error::ServiceError;
pub use estimate::Estimate;
pub use estimate::EstimateRequest;
pub use estimate::Estimates;
pub use estimate::Source;
pub use events::Events;
pub use events::Follower;
pub use events::Heard;
pub use events::StreamSettings;
pub use files::Draft;
pub use files::Files;
pub use folders::Folder;
pub use governor::Denied;
pub use governor::Governor;
pub use governor::Standing;
pub use inference::ActivationsRequest;
pub use inference::Embeddings;
pub use inference::Inference;
pub use inference::InferenceAnswer;
pub use inference::InferenceSettings;
pub use jobs::JobView;
pub use jobs::Jobs;
pub use keys::Keys;
pub use keys::NewKey;
pub use models::Models;
pub use once::Begun;
pub use once::Once;
pub use once::Repeat;
pub use once::Requests;
pub use once::Ticket;
pub use outbound::Guard;
pub use peft::AdapterLayout;
pub use requests::BackwardRequest;
pub use requests::ForwardRequest;
pub use requests::ForwardScalars;
pub use requests::Sent;
pub use requests::parse_body;
pub use requests::ragged;
pub use sessions::Sessions;
pub use steps::Answer;
pub use steps::OptimRequest;
pub use steps::Steps;
pub use sweep::Sweeper;
pub use tokens::Tokens;
pub use uploads::Announced;
pub use uploads::PART_BYTES;
pub use uploads::Uploads;
pub use usage::Deed;
pub use usage::Report;
pub use usage::Usage;
pub use webhooks::WebhookWish;
pub use webhooks::Webhooks;

pub use crate::engine::AdamW;
pub use crate::engine::Inputs;
pub use crate::engine::Slot;
pub use crate::engine::codec::write_safetensors;
pub use crate::store::Order;
pub use crate::store::Page as PageRequest;
pub use crate::store::Paged;
pub use crate::store::audit::AuditRow;
pub use crate::store::blobs::BlobRef;
pub use crate::store::checkpoints::CheckpointRow;
pub use crate::store::deliveries::DeliveryRow;
pub use crate::store::events::EventRow;
pub use crate::store::files::FileRow;
pub use crate::store::keys::KeyRow;
pub use crate::store::ledger::LedgerRow;
pub use crate::store::ledger::SentTensor;
pub use crate::store::models::ModelRow;
pub use crate::store::projects::ProjectRow;
pub use crate::store::uploads::PartRow;
pub use crate::store::uploads::UploadRow;
pub use crate::store::usage::Grouping;
pub use crate::store::usage::UsageRow;
pub use crate::store::webhooks::WebhookRow;

/// A connection of the pool, given back when dropped.
type PooledConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;

/// A result of a use case.
pub type Result<T> = std::result::Result<T, ServiceError>;

/// Settings of the life of jobs; units and defaults in `config/default.toml`.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// A host that went away loses its jobs after this long.
    pub lease: Duration,
    /// A job without a call for this long pauses.
    pub idle_pause: Duration,
    /// Host custody: a durable checkpoint after this many optimizer steps.
    pub checkpoint_every_steps: u64,
    /// Host custody: and after this long.
    pub checkpoint_every: Duration,
    /// A job whose host died this often without one step in between fails.
    pub max_barren_attempts: i32,
}

/// What every use case works with. Made once, in `app`.
pub struct Context {
    /// Postgres.
    pub pool: Pool,
    /// Files, adapters and checkpoints.
    pub blobs: Blobs,
    /// The device.
    pub engine: Arc<dyn Engine>,
    /// What is accepted.
    pub limits: Limits,
    /// Life of jobs.
    pub jobs: JobSettings,
    /// Activations and embeddings.
    pub inference: InferenceSettings,
    /// Where the engine computes.
    pub device: String,
    /// This process, as the owner of leases.
    pub owner: Uuid,
}

impl Context {
    /// A connection for reads and single writes.
    pub(crate) async fn connection(&self) -> Result<PooledConnection> {
        Ok(self.pool.acquire().await.map_err(StoreError::from)?)
    }

    /// A transaction: one for each use case that writes more than one row.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(store::pool::begin(&self.pool).await?)
    }
}

/// Locks a map that is whole at every moment: a panic elsewhere does not spoil it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Commits, so that whoever reads after the answer sees what was written.
pub(crate) async fn commit(transaction: Tx) -> Result<()> {
    Ok(store::pool::commit(transaction).await?)
}

/// The job is driven by another process now: nothing was written.
pub(crate) fn lease_lost() -> ServiceError {
    ServiceError::unavailable("lease_lost", "The job changed hands; try again.")
}

/// A page of a list; an unknown cursor is refused, since a silent empty page would end a client's loop too early.
pub(crate) fn known_cursor<T>(page: Option<Paged<T>>) -> Result<Paged<T>> {
    page.ok_or_else(|| {
        ServiceError::invalid("invalid_cursor", "after: there is no such thing in this list.").at("after")
    })
}
