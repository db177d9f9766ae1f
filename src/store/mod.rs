//! What the host remembers: rows in Postgres, bytes in blobs.
//!
//! Owns all SQL and the only knowledge of sqlx and object_store; above it only the handles below are named. Functions take
//! a connection, never the pool: the use case opens the one transaction and hands it down. Functions that a tenant's
//! request reaches take the project, so that another project's ids read as absent. It must never decide what is allowed:
//! it refuses only what the schema refuses.

mod columns;

pub mod audit;
pub mod backup;
pub mod batches;
pub mod blob_keys;
pub mod blobs;
pub mod checkpoints;
pub mod deliveries;
pub mod erasure;
pub mod error;
pub mod events;
pub mod features;
pub mod files;
pub mod host_lock;
pub mod idempotency;
pub mod job_lists;
pub mod jobs;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod listen;
pub mod local_postgres;
pub mod models;
pub mod nodes;
pub mod overview;
pub mod page;
pub mod pool;
mod private_files;
pub mod project_events;
pub mod project_tables;
pub mod projects;
mod sealed_reads;
mod sealing;
pub mod signing_key;
pub mod state_folder;
pub mod steps;
pub mod storage;
pub mod uploads;
pub mod usage;
pub mod webhooks;

pub use error::Result;
pub use error::StoreError;
pub use page::Order;
pub use page::Page;
pub use page::Paged;
pub use pool::Connection;
pub use pool::Pool;
pub use pool::PoolSettings;
pub use pool::Tx;
