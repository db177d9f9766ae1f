//! The host as it is when somebody looks: what is open, what is held, what is left.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::instruments::Maker;

/// What is looked up when somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Jobs whose sessions are open.
    pub sessions: usize,
    /// Connections to Postgres that are at work.
    pub connections_busy: u32,
    /// And that wait for some.
    pub connections_idle: u32,
    /// And how many there may be.
    pub connections_most: u32,
    /// Event streams that are open.
    pub event_streams: usize,
    /// Bytes that are held between calls.
    pub held_bytes: u64,
    /// And how many may be.
    pub held_bytes_most: u64,
    /// Memory of the process.
    pub resident_bytes: u64,
    /// Whether it shuts down.
    pub draining: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConnection {
    state: &'static str,
}

pub(super) struct Host {
    sessions: Gauge,
    connections: Family<OfConnection, Gauge>,
    connections_most: Gauge,
    event_streams: Gauge,
    held: Gauge,
    held_most: Gauge,
    resident: Gauge,
    draining: Gauge,
}

impl Host {
    pub(super) fn new(make: &mut Maker<'_>) -> Self {
        make.info("build", "The host's version: always 1", [("version", env!("CARGO_PKG_VERSION"))]);
        Self {
            sessions: make.gauge("sessions", "Jobs whose sessions are open on this host"),
            connections: make.gauges("database_connections", "Connections to Postgres, busy and idle"),
            connections_most: make.gauge("database_connections_limit", "database.max_connections"),
            event_streams: make.gauge("event_streams", "Open event streams"),
            held: make.bytes_gauge("held", "Held between calls: sessions, kept answers, answers that are not read yet"),
            held_most: make.bytes_gauge("held_limit", "limits.held_bytes"),
            resident: make.bytes_gauge("resident_memory", "Memory of the process"),
            draining: make.gauge("draining", "1 while the host shuts down"),
        }
    }

    pub(super) fn show(&self, sample: &Sample) {
        self.sessions.set(sample.sessions as i64);
        let connections = |state| self.connections.get_or_create(&OfConnection { state });
        connections("busy").set(i64::from(sample.connections_busy));
        connections("idle").set(i64::from(sample.connections_idle));
        self.connections_most.set(i64::from(sample.connections_most));
        self.event_streams.set(sample.event_streams as i64);
        self.held.set(sample.held_bytes as i64);
        self.held_most.set(sample.held_bytes_most as i64);
        self.resident.set(sample.resident_bytes as i64);
        self.draining.set(i64::from(sample.draining));
    }
}
