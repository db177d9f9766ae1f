//! Bad input, bad keys, other tenants: the answer is a clear 4xx, nothing is changed, and the job goes on.

mod canary;
mod contract;
mod foreign_jobs;
mod held_bytes;
mod isolation;
mod keys;
mod labels;
mod large_json;
mod long_texts;
mod models;
mod random_neighbour;
mod raw;
mod safetensors_bodies;
mod sieges;
mod slow_bodies;
mod tensors;
mod uploads;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/world.rs"]
mod world;
