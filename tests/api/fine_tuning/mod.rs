//! `/v1/fine_tuning/jobs` and what is written down of a job.

mod checkpoints;
mod continued;
mod deletion;
mod events;
mod features;
mod features_refused;
mod jobs;
mod project_events;
mod results;
mod states;
mod streams;
