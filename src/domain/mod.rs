//! The rules of blindtune, free of any machinery: ids, job life cycle, step order, settings, limits, label refusal.
//!
//! Owns what is true whatever the database, the network or the device do. It must never wait, read a clock, draw a random
//! number or do I/O: time and randomness come in as arguments, so that each rule is tested without waiting.

pub mod adapter_selection;
pub mod addresses;
pub mod batch;
pub mod choice;
pub mod error_code;
pub mod expiry;
pub mod families;
pub mod feature_choice;
pub mod features;
pub mod held_bytes;
pub mod ids;
pub mod job;
pub mod json_names;
pub mod labels;
pub mod limits;
pub mod prices;
pub mod principal;
pub mod protection;
pub mod quota;
pub mod schemas;
pub mod settings;
pub mod steps;
pub mod taps;
pub mod tensor;
pub mod token_choice;
pub mod transform;
pub mod webhooks;
