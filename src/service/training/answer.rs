//! The answer to a step call. Owns its four forms; must never be stored past its step.

use std::time::Duration;
use std::time::Instant;

use crate::domain::ids::ForwardId;
use crate::domain::tensor::WireTensor;
use crate::instruments;
use crate::service::accounting::metering::size;
use crate::store::ledger::LedgerKind;

/// What the engine took for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// All of it, waiting for the device included.
    pub engine: Duration,
    /// The device alone: what is billed.
    pub device: Duration,
}

impl Timing {
    /// Of a call that the engine was asked for then, and that took so much of the device.
    pub fn of(kind: LedgerKind, begun: Instant, device: Duration) -> Self {
        let engine = begun.elapsed();
        instruments::worked(kind.as_str(), engine.saturating_sub(device), device);
        Self { engine, device }
    }
}

impl Answer {
    /// What was called.
    pub fn kind(&self) -> LedgerKind {
        match self {
            Self::Forward { seq: None, .. } => LedgerKind::Evaluate,
            Self::Forward { .. } => LedgerKind::Forward,
            Self::Gradients { .. } | Self::Accumulated { .. } => LedgerKind::Backward,
            Self::Stepped { .. } => LedgerKind::OptimStep,
        }
    }

    /// Bytes of its tensors.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Forward { tensors, .. } | Self::Gradients { tensors, .. } => size(tensors) as u64,
            Self::Accumulated { .. } | Self::Stepped { .. } => 0,
        }
    }
}

/// The answer to a step call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Activations.
    Forward {
        /// What a backward refers to; absent when evaluating.
        forward: Option<ForwardId>,
        /// Step number; absent when evaluating.
        seq: Option<u64>,
        /// Tokens read.
        tokens: usize,
        /// Texts of which the end was left out.
        truncated: usize,
        /// `h.{i}`, `h.base`, `lengths`.
        tensors: Vec<WireTensor>,
        /// What the engine took.
        timing: Timing,
    },
    /// `G.{i}.{j}` (client custody).
    Gradients {
        /// Step number.
        seq: u64,
        /// What the engine took.
        timing: Timing,
        /// Tokens that are billed.
        tokens: usize,
        /// One tensor for each share.
        tensors: Vec<WireTensor>,
    },
    /// Norms of the accumulated gradients (host custody).
    Accumulated {
        /// Step number.
        seq: u64,
        /// By set.
        norms: Vec<f64>,
        /// What the engine took.
        timing: Timing,
        /// Tokens that are billed.
        tokens: usize,
    },
    /// An optimizer step was taken (host custody).
    Stepped {
        /// Step number.
        seq: u64,
        /// Optimizer steps taken.
        step: u64,
        /// By set, before clipping.
        norms: Vec<f64>,
        /// Over all sets, after clipping.
        clipped: f64,
        /// Optimizer steps that survive a crash.
        durable_step: u64,
        /// Step calls that survive a crash.
        durable_seq: u64,
    },
}
