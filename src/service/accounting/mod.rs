//! What calls sent, did and used, and who changed what. Owns the entries of ledger, counters and audit log, and the reports
//! on them; must never decide whether a call may run.

pub mod audit_log;
pub mod holding;
pub mod metering;
pub mod sent;
pub mod usage;
