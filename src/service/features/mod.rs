//! Feature jobs: what a job would take, and the work that the host does on it without a client. Owns the turns of the jobs, their
//! shards and the sessions that these run in; must never see a label, or hold a transaction while the device computes.

pub mod admission;
mod commit;
mod like;
mod sessions;
mod shard;
pub mod size;
mod timing;
mod transform;
mod worker;

pub use worker::Features;
