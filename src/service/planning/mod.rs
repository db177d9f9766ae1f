//! What the host can do, and what a job would cost. Owns the estimate and the list of what is taken; must never train, or keep anything.

pub mod capabilities;
pub mod estimate;
pub mod wire_size;
