//! `/v1/fine_tuning/jobs` and what is written down of a job.

mod checkpoints;
mod events;
mod jobs;
mod states;
mod streams;
