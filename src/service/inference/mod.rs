//! Activations outside of a job. Owns which models can be run, and the few sessions that are kept open for them; nothing of a
//! call is kept.

mod inference;
mod parts;
pub mod probing;
mod request;
pub mod runnable;

pub use inference::Embeddings;
pub use inference::Inference;
pub use inference::InferenceAnswer;
pub use request::ActivationsRequest;
