//! How this host is at this moment, for who runs it: open sessions, connections, streams, memory. Owns the look; must never name a
//! job, a key or a project.

use std::sync::Arc;

use crate::instruments::Sample;
use crate::service::context::Context;
use crate::service::jobs::event_streams::Events;
use crate::service::training::sessions::Sessions;

/// Looks at this host.
pub struct Monitor {
    context: Arc<Context>,
    sessions: Arc<Sessions>,
    events: Arc<Events>,
}

impl Monitor {
    /// Of these parts.
    pub fn new(context: Arc<Context>, sessions: Arc<Sessions>, events: Arc<Events>) -> Self {
        Self { context, sessions, events }
    }

    /// As it is now. Asks neither the database nor the device, so that it answers when they do not.
    pub fn sample(&self) -> Sample {
        let Context { pool, held, limits, .. } = &*self.context;
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        Sample {
            sessions: self.sessions.count(),
            connections_busy: pool.size().saturating_sub(idle),
            connections_idle: idle,
            connections_most: pool.options().get_max_connections(),
            event_streams: self.events.open(),
            held_bytes: held.total(),
            held_bytes_most: limits.held_bytes,
            resident_bytes: resident_bytes(),
            draining: self.events.is_closing(),
        }
    }
}

/// As Linux counts it; 0 where there is no `/proc`.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
