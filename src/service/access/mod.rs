//! Who may call, how fast, how much at once, and a call that is sent again. Owns keys, whole projects, rates and budgets, the quota of stored bytes, permits
//! and repeated requests; must never know what a call does.

pub mod budgets;
pub mod checked_keys;
pub mod concurrency;
pub mod idempotency;
pub mod keys;
pub mod projects;
pub mod rate_limits;
pub mod stored_bytes;
pub mod tenants;
pub mod tokens;
