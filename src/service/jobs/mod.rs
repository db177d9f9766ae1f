//! Fine-tuning jobs as a client sees them. Owns their creation, what may be done with them and their checkpoints, and who
//! listens to their events; must never change a state itself.

pub mod checkpoints;
pub mod creation;
pub mod event_streams;
mod jobs;

pub use jobs::JobView;
pub use jobs::Jobs;
