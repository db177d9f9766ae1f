//! A job with its adapters on the device. Owns what this host knows of it between two calls; must never call the engine or
//! the database.

use std::time::Instant;

use crate::domain::settings::Custody;
use crate::domain::steps::Progress;
use crate::engine::SessionInfo;
use crate::service::training::kept_answers::KeptAnswers;
use crate::store::jobs::JobRow;

/// A job with its adapters on the device.
pub struct Session {
    /// The job as it was when the session opened; `progress` and the counters below move on.
    pub job: JobRow,
    /// Fencing token: every write carries it.
    pub attempt: i32,
    /// How far the job has come.
    pub progress: Progress,
    /// Name of the backbone.
    pub base_model: String,
    /// What the engine said of the backbone.
    pub info: SessionInfo,
    /// Counts changes of adapter values.
    pub adapter_version: i64,
    /// Answers since the newest training forward, by seq.
    pub answers: KeptAnswers,
    /// The newest seq and optimizer step that survive a crash, and since when.
    pub durable: Durable,
    /// Whether the host had no room for its newest checkpoint.
    pub is_out_of_room: bool,
    /// When the last call ended.
    pub last_used: Instant,
    /// When the lease was last known to be held.
    pub leased_at: Instant,
}

/// What survives a crash.
#[derive(Debug, Clone, Copy)]
pub struct Durable {
    /// Step calls up to this one.
    pub seq: u64,
    /// Optimizer steps up to this one.
    pub step: u64,
    /// When it was written.
    pub at: Instant,
}

impl Session {
    /// Whether the host owns adapters and optimizer state.
    pub fn is_host_custody(&self) -> bool {
        self.job.settings.custody == Custody::Host
    }
}
