//! The split step by its phases.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;

use crate::instruments::Histograms;
use crate::instruments::Maker;
use crate::instruments::instruments;
use crate::instruments::traces;

/// Where a call's time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits for the device.
    Queue,
    /// The device works for it.
    Device,
    /// Its row is committed.
    Commit,
    /// Its answer is written as bytes.
    Encode,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Device => "device",
            Self::Commit => "commit",
            Self::Encode => "encode",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStep {
    kind: &'static str,
    phase: &'static str,
}

pub(super) struct Steps {
    phases: Histograms<OfStep>,
}

impl Steps {
    pub(super) fn new(make: &mut Maker<'_>) -> Self {
        Self {
            phases: make
                .histograms("step_phase_duration", "A step call's time by phase: queue, device, commit, encode"),
        }
    }
}

/// A phase of a call of this kind, as the ledger names it, has ended.
pub fn step(kind: &'static str, phase: Phase, took: Duration) {
    observe(kind, phase, took, Duration::ZERO);
}

/// The device has worked for a call of this kind, for which it waited before.
pub fn worked(kind: &'static str, queue: Duration, device: Duration) {
    observe(kind, Phase::Queue, queue, device);
    observe(kind, Phase::Device, device, Duration::ZERO);
}

fn observe(kind: &'static str, phase: Phase, took: Duration, ago: Duration) {
    traces::phase(kind, phase, took, ago);
    let Some(instruments) = instruments() else { return };
    let labels = OfStep { kind, phase: phase.as_str() };
    instruments.steps.phases.get_or_create(&labels).observe(took.as_secs_f64());
}
