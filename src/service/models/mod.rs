//! Backbones and fine-tuned models. Owns adding, listing and deleting them, and adapters on their way in and out as PEFT
//! folders; must never load a pickle.

pub mod backbones;
mod models;
pub mod peft_export;
pub mod peft_import;
pub mod peft_layout;
pub mod tuned;

pub use models::Models;
