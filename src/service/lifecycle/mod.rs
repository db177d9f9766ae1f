//! Every change of a job's state: its event, its message to webhooks, its file at the end. Owns that they happen together, in
//! one transaction; must never touch a session.

pub mod result_file;
pub mod transitions;
