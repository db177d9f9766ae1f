//! The data plane of a job.

mod adapters;
mod backward;
mod forward;
mod idempotency;
mod inputs;
mod optim_step;
