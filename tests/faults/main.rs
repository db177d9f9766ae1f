//! What goes wrong around a job: hosts that are killed, stopped or doubled, a database that goes away. Afterwards the
//! adapters must be, bit for bit, those of a run that nothing disturbed.

mod backup;
mod batches;
mod client_custody;
mod clocks;
mod crash_loop;
mod cut_connections;
mod database;
mod database_full;
mod driver;
mod encryption;
mod feature_jobs;
mod host_custody;
mod idempotency;
mod memory;
mod migration;
mod network;
mod points;
mod projects;
mod shutdown;
mod storage;
mod streams;
mod two_hosts;
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
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/small_disk.rs"]
mod small_disk;
#[path = "../support/stream.rs"]
mod stream;
#[path = "../support/world.rs"]
mod world;
