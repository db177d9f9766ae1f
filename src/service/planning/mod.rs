//! What the host can do, and what a job would cost. Owns the measurement and the count of bytes; must never train, keep
//! anything, or hold a list of its own of what is taken.

pub mod capabilities;
pub mod estimate;
pub mod wire_size;
