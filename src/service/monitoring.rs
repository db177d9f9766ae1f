//! How this host is at this moment, for who runs it: open sessions, connections, streams, memory, the device and its queue. Owns the
//! look; must never wait for the device, nor name a job, a key or a project.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use uuid::Uuid;

use crate::engine::Occupancy;
use crate::instruments::Sample;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::jobs::event_streams::Events;
use crate::service::training::sessions::Sessions;
use crate::store::overview;
use crate::store::overview::LeaseHolder;
use crate::store::overview::OpenJobs;

/// This host, and what is open at its database.
#[derive(Debug, Clone)]
pub struct HostNow {
    /// Where the engine computes.
    pub device: String,
    /// Since it started.
    pub uptime: Duration,
    /// What is open and held.
    pub sample: Sample,
    /// Event streams that there may be.
    pub event_streams_most: usize,
    /// The device.
    pub occupancy: Occupancy,
    /// This process as an owner of leases.
    pub owner: Uuid,
    /// Every process of this database that holds a lease.
    pub lease_holders: Vec<LeaseHolder>,
    /// Open jobs of all projects.
    pub open_jobs: Vec<OpenJobs>,
}

/// Looks at this host.
pub struct Monitor {
    context: Arc<Context>,
    sessions: Arc<Sessions>,
    events: Arc<Events>,
    started: Instant,
}

impl Monitor {
    /// Of these parts.
    pub fn new(context: Arc<Context>, sessions: Arc<Sessions>, events: Arc<Events>) -> Self {
        Self { context, sessions, events, started: Instant::now() }
    }

    /// As it is now, with what its database knows of all hosts.
    pub async fn view(&self) -> Result<HostNow> {
        let mut connection = self.context.connection().await?;
        Ok(HostNow {
            device: self.context.device.clone(),
            uptime: self.started.elapsed(),
            sample: self.sample(),
            event_streams_most: self.events.most(),
            occupancy: self.context.engine.occupancy(),
            owner: self.context.owner,
            lease_holders: overview::lease_holders(&mut connection).await?,
            open_jobs: overview::open_jobs(&mut connection, None).await?,
        })
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
