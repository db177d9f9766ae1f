//! Batches: many requests in one file, answered by the host in its own time. Owns their admission, the check of their lines, the turns
//! in which they are worked off piece by piece, and the files that come of them; must never name HTTP, know how a request is answered,
//! or hold a transaction while the device computes.

mod admission;
mod checking;
mod endpoints;
mod output;
mod piece;
mod room;
mod turns;
mod worker;

pub use admission::Batches;
pub use admission::NewBatch;
pub use endpoints::Endpoints;
pub use endpoints::LineAnswer;
pub use endpoints::LineCall;
pub use endpoints::Used;
