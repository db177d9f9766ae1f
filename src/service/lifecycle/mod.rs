//! Changes of a job's state: the event, the message to webhooks, the file at the end. Owns that they happen together, in one
//! transaction (completion, which makes a model, is `jobs`'); must never touch a session.

pub mod metadata;
pub mod result_file;
pub mod running;
pub mod transitions;
