//! How the device is at this moment, for whoever runs the host. Owns what the device thread tells others of itself while it works; must
//! never be asked by a pass.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Counters that the device thread writes and anybody reads.
#[derive(Debug, Default)]
pub struct Meter {
    busy_us: AtomicU64,
    graph_bytes: AtomicUsize,
}

impl Meter {
    /// The device worked.
    pub fn worked(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Retained graphs take so many bytes.
    pub fn graphs_hold(&self, bytes: usize) {
        self.graph_bytes.store(bytes, Ordering::Relaxed);
    }

    /// For how long the device has worked since it started.
    pub fn busy(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Ordering::Relaxed))
    }

    /// What retained graphs take.
    pub fn graph_bytes(&self) -> usize {
        self.graph_bytes.load(Ordering::Relaxed)
    }
}
