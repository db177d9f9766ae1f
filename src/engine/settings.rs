//! What an operator sets of the engine, and what the device thread makes of it. Owns the defaults; must never look at a device.

use std::time::Duration;

use crate::domain::limits::Limits;
use crate::engine::retained_graphs::GraphLimits;
use crate::model::Placement;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `cpu`, `cuda` or `cuda:1`.
    pub device: String,
    /// float32 on the processor: products by oneDNN, not by LibTorch's BLAS.
    pub onednn: bool,
    /// Most tokens of a pass that several jobs share; 0 stacks nothing.
    pub stack_tokens: usize,
    /// How long a small request waits for others to share its pass.
    pub stack_wait: Duration,
    /// Most tokens of a pass that runs in one go; a longer one gives the device back between two slices. 0 leaves it to the host.
    pub slice_tokens: usize,
    /// LibTorch threads. The same number gives the same bits.
    pub threads: usize,
    /// Commands that may wait for the device; one more is refused with `EngineError::Busy`.
    pub queue_len: usize,
    /// Bytes of all retained graphs together; also what one forward may take. 0 leaves it to the host: 2 GiB on the processor, most of
    /// a GPU's free memory.
    pub graph_bytes: usize,
    /// Retained graphs of one job; with 0 none outlives its call, and every backward runs its forward again.
    pub graphs_per_job: usize,
    /// How long a graph is retained without being used.
    pub graph_ttl: Duration,
    /// What the host accepts.
    pub limits: Limits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            onednn: true,
            stack_tokens: 256,
            stack_wait: Duration::from_millis(2),
            slice_tokens: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            queue_len: 64,
            graph_bytes: 0,
            graphs_per_job: 4,
            graph_ttl: Duration::from_secs(15 * 60),
            limits: Limits::default(),
        }
    }
}

/// Settings of the device thread.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// LibTorch threads on the processor.
    pub threads: usize,
    /// Commands that may wait.
    pub queue_len: usize,
    /// Where and how backbones compute; each job has a precision of its own.
    pub placement: Placement,
    /// How many graphs are retained.
    pub graphs: GraphLimits,
    /// Most tokens of a pass that several jobs share; 0 stacks nothing.
    pub stack_tokens: usize,
    /// How long a small request waits for others to share its pass.
    pub stack_wait: Duration,
    /// Most tokens of a pass that runs in one go; a longer one gives the device back between two slices. 0 leaves it to the host.
    pub slice_tokens: usize,
    /// What the host accepts.
    pub limits: Limits,
}
