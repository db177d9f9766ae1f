//! What travels: request and answer bodies, apart from what the service works with, so that no client can set a state.
//! Owns field names, their documentation, and the refusal of what OpenAI takes and a split cannot (another method, a validation
//! file); must never hold a rule about what is there already.

pub mod account;
pub mod batches;
pub mod checkpoints;
pub mod events;
pub mod files;
pub mod forms;
pub mod inference;
pub mod inputs;
pub mod job_lists;
pub mod jobs;
pub mod ledger;
pub mod list;
pub mod methods;
pub mod models;
pub mod nodes;
pub mod operator;
pub mod planning;
pub mod steps;
pub mod uploads;
pub mod webhooks;

/// Raw bytes: a safetensors file on the data plane, or an uploaded file as it came.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Binary(#[allow(dead_code)] Vec<u8>);
