//! Fine-tuning jobs as a client sees them. Owns their creation, what may be done with them and their checkpoints, and who
//! listens to their events; changes a state through `lifecycle` only, but for completion, which makes the model as well.

pub mod checkpoints;
pub mod creation;
mod deletion;
pub mod event_streams;
mod jobs;
mod metrics;
pub mod project_streams;
pub mod streaming;

pub use jobs::JobView;
pub use jobs::Jobs;
pub use metrics::MetricsReport;
