//! The split step and the sessions it runs in. Owns the order and the idempotency of steps, what is open on this host, and
//! the checkpoints that a session writes; must never compute anything with a tensor.

pub mod adapters;
pub mod answer;
pub mod answer_size;
pub mod checkpoint_choice;
pub mod checkpointing;
pub mod kept_answers;
pub mod requests;
pub mod session;
pub mod sessions;
pub mod steps;
