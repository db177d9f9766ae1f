//! Every route over HTTP, against the real program and a real Postgres. The modules mirror the URLs.

mod account;
mod adapters;
mod auth;
mod batches;
mod checksums;
mod console;
mod docs;
mod errors;
mod expiry;
mod files;
mod fine_tuning;
mod health;
mod hidden_states;
mod inference;
mod ledger;
mod metrics;
mod models;
mod planning;
mod prometheus;
mod state;
mod steps;
mod traces;
mod uploads;
mod webhooks;

#[path = "../support/batch.rs"]
mod batch;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../support/features.rs"]
mod features;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/stream.rs"]
mod stream;
#[path = "../support/world.rs"]
mod world;
