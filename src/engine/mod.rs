//! The engine: the only owner of live tensors. Owns the device thread, its queue, the retained graphs, the codec between bytes
//! and tensors, and the loading of backbones. Must never see HTTP or SQL.
//!
//! It is reached through one trait, [`Engine`], so that it can live in this process, in a child process or on another machine.

mod accelerator;
mod adapter_values;
mod backbones;
pub mod codec;
mod commands;
mod device;
mod device_state;
mod errors;
mod fair_shares;
mod host_optimizer;
mod inputs;
mod interface;
mod local;
mod meter;
mod moments;
mod passes;
mod reply;
mod retained_graphs;
mod scheduler;
mod session;
mod settings;
mod slices;
mod snapshot;
mod stack_key;
mod stacking;
mod taps;
mod tokenizing;
mod word_breaks;

pub use fair_shares::NOBODY;
pub use interface::BackwardReply;
pub use interface::Engine;
pub use interface::EngineError;
pub use interface::ForwardCall;
pub use interface::ForwardReply;
pub use interface::Inputs;
pub use interface::Metered;
pub use interface::Occupancy;
pub use interface::OptimReply;
pub use interface::Place;
pub use interface::SessionInfo;
pub use interface::SessionSpec;
pub use interface::Share;
pub use interface::Snapshot;
pub use interface::Start;
pub use local::LocalEngine;
pub use local::describe;
pub use local::inspect;
pub use moments::Moments;
pub use settings::EngineConfig;
pub use snapshot::adapters as snapshot_adapters;
pub use taps::quantize;

pub use crate::model::BackboneInfo;
pub use crate::model::Description;
pub use crate::model::optim::AdamW;
pub use crate::model::sites::AdapterMatrix;
