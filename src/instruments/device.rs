//! The device thread: how busy it is, what it runs together, and the graphs that it keeps.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::instruments::Counters;
use crate::instruments::Maker;
use crate::instruments::instruments;

/// What the device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// A forward, or an evaluation.
    Forward,
    /// A backward.
    Backward,
    /// A slice of a long one.
    Slice,
    /// Anything else: a session that opens, an optimizer step, a snapshot.
    Other,
}

impl Pass {
    fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Slice => "slice",
            Self::Other => "other",
        }
    }
}

/// Why a graph went before its backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Eviction {
    /// Others needed its room.
    Room,
    /// Nobody used it in time.
    Unused,
    /// The device was out of memory.
    OutOfMemory,
}

impl Eviction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Unused => "unused",
            Self::OutOfMemory => "out_of_memory",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPass {
    pass: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEviction {
    reason: &'static str,
}

pub(super) struct Device {
    busy: Counter<f64, AtomicU64>,
    passes: Counters<OfPass>,
    calls_in_pass: Histogram,
    waiting: Gauge,
    graphs: Gauge,
    evictions: Counters<OfEviction>,
    ran_again: Counter,
}

impl Device {
    pub(super) fn new(make: &mut Maker<'_>) -> Self {
        let device = Self {
            busy: make
                .seconds_counter("device_busy", "The device worked: its rate is the share of time that it is busy"),
            passes: make.counters("device_passes", "What the device ran: forward, backward, slice, other"),
            calls_in_pass: make.histogram(
                "device_calls_in_pass",
                "Calls that shared a forward or backward pass",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
            ),
            waiting: make.gauge("device_waiting", "Commands that wait for the device"),
            graphs: make.bytes_gauge("device_graphs", "Retained graphs, by estimate"),
            evictions: make.counters("device_graph_evictions", "Graphs that went before their backward, by reason"),
            ran_again: make.counter(
                "device_recomputed_forwards",
                "Forwards that ran again for a backward, since their graph was gone",
            ),
        };
        for pass in [Pass::Forward, Pass::Backward, Pass::Slice, Pass::Other] {
            drop(device.passes.get_or_create(&OfPass { pass: pass.as_str() }));
        }
        for reason in [Eviction::Room, Eviction::Unused, Eviction::OutOfMemory] {
            drop(device.evictions.get_or_create(&OfEviction { reason: reason.as_str() }));
        }
        device
    }
}

/// The device ran a pass for so many calls.
pub fn ran(pass: Pass, calls: usize, took: Duration) {
    let Some(instruments) = instruments() else { return };
    let device = &instruments.device;
    device.busy.inc_by(took.as_secs_f64());
    device.passes.get_or_create(&OfPass { pass: pass.as_str() }).inc();
    if matches!(pass, Pass::Forward | Pass::Backward) {
        device.calls_in_pass.observe(calls as f64);
    }
}

/// So many commands wait.
pub fn waiting(commands: usize) {
    let Some(instruments) = instruments() else { return };
    instruments.device.waiting.set(commands as i64);
}

/// Retained graphs take so many bytes.
pub fn graphs_hold(bytes: usize) {
    let Some(instruments) = instruments() else { return };
    instruments.device.graphs.set(bytes as i64);
}

/// Graphs went.
pub fn evicted(reason: Eviction, graphs: usize) {
    let Some(instruments) = instruments() else { return };
    instruments.device.evictions.get_or_create(&OfEviction { reason: reason.as_str() }).inc_by(graphs as u64);
}

/// A forward ran again for its backward.
pub fn ran_again() {
    let Some(instruments) = instruments() else { return };
    instruments.device.ran_again.inc();
}
