//! The store against a real Postgres and a real folder.

mod batches;
mod blobs;
mod features;
mod fencing;
mod idempotency;
mod keys;
mod leases;
mod lists;
mod local_postgres;
mod project_events;
mod records;
mod schema;
mod sealed_blobs;
mod steps;
mod webhooks;
mod world;

#[path = "../support/postgres.rs"]
mod postgres;

/// What a test gives back.
pub type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;
