//! Use cases: files, models, keys, jobs, steps, checkpoints. Owns what happens in which order, with one transaction per use
//! case; must never name HTTP or touch a tensor.

mod checkpoints;
mod error;
mod files;
mod jobs;
mod keys;
mod models;
mod peft;
mod requests;
mod rowformat;
mod rows;
mod sessions;
mod steps;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::limits::Limits;
use crate::engine::Engine;
use crate::store::blobs::Blobs;
use crate::store::StoreError;
use crate::store::pool::Connection;
use crate::store::pool::PgPool;
use crate::store::pool::Transaction;

pub use error::Refusal;
pub use error::ServiceError;
pub use files::Draft;
pub use files::Files;
pub use jobs::JobView;
pub use jobs::Jobs;
pub use jobs::NewJob;
pub use keys::Keys;
pub use keys::NewKey;
pub use models::Models;
pub use requests::BackwardRequest;
pub use requests::ForwardRequest;
pub use requests::ForwardScalars;
pub use requests::Sent;
pub use requests::SentTensor;
pub use requests::Which;
pub use requests::parse_body;
pub use requests::ragged;
pub use sessions::Sessions;
pub use steps::AdapterLayout;
pub use steps::Answer;
pub use steps::OptimRequest;
pub use steps::Steps;
pub use tokens::Tokens;

pub use crate::engine::codec::write_safetensors;

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
    pub pool: PgPool,
    /// Files, adapters and checkpoints.
    pub blobs: Blobs,
    /// The device.
    pub engine: Arc<dyn Engine>,
    /// What is accepted.
    pub limits: Limits,
    /// Life of jobs.
    pub jobs: JobSettings,
    /// This process, as the owner of leases.
    pub owner: Uuid,
}

impl Context {
    /// A connection for reads and single writes.
    pub(crate) async fn connection(&self) -> Result<Connection> {
        Ok(self.pool.acquire().await.map_err(StoreError::from)?)
    }

    /// A transaction: one for each use case that writes more than one row.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        Ok(self.pool.begin().await.map_err(StoreError::from)?)
    }
}

/// Commits, so that whoever reads after the answer sees what was written.
pub(crate) async fn commit(transaction: Transaction) -> Result<()> {
    Ok(transaction.commit().await.map_err(StoreError::from)?)
}

/// A page of rows and whether there are more.
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are more after these.
    pub has_more: bool,
}
