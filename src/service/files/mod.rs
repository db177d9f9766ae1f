//! Files, and what is read of them. Owns the way of a body to the blob store, checked on the way, the rows in it, and the
//! removal of what is no longer wanted; must never hold a file whole in memory, or take a label.

pub mod checksum;
mod files;
mod marked_end;
pub mod receive;
pub mod row_format;
pub mod row_reader;
pub mod sweeper;
pub mod tensor_metadata;
pub mod uploads;
mod values;

pub use files::Draft;
pub use files::Files;
pub use files::INPUTS;
pub use files::OUTPUTS;
pub use files::Publication;
pub use files::REQUESTS;
pub use files::RESULTS;
pub use files::STORED;
pub use files::UPLOADED;
