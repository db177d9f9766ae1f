//! What travels: request and answer bodies, apart from what the service works with, so that no client can set a state.
//! Owns field names and their documentation; must never hold a rule.

pub mod files;
pub mod jobs;
pub mod list;
pub mod models;
pub mod steps;
