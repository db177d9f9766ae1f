//! `/v1/fine_tuning/jobs` and what is written down of a job.

mod checkpoints;
mod continued;
mod events;
mod jobs;
mod results;
mod states;
mod streams;
