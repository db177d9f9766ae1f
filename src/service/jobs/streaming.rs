//! What all event streams have in common. Owns what a listener asks for and is told, and the place that it takes while it listens; must never
//! read a row.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::domain::ids::EventId;
use crate::store::events::EventRow;
use crate::store::job_lists::JobPulse;

/// What a listener wants of a job, or of a project.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The event that it has already; from the first one on where there is none.
    pub after: Option<EventId>,
    /// Whether it wants to know how far the job has come.
    pub steps: bool,
}

/// Times and numbers of streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// A sign of life, and a look at the database, after each such time.
    pub ping: Duration,
    /// Streams at once.
    pub most: usize,
    /// And of them those of one project.
    pub most_of_project: usize,
}

/// An open stream's part of what the project and the host may have, given back when dropped.
pub struct StreamPermit {
    pub(super) _of_project: OwnedSemaphorePermit,
    pub(super) _of_host: OwnedSemaphorePermit,
}

/// What a listener is told.
pub enum StreamItem {
    /// Events, oldest first.
    Events(Vec<Arc<EventRow>>),
    /// How far jobs have come.
    Steps(Vec<JobPulse>),
    /// Nothing for a while.
    Silence,
    /// The job is final, and all its events were told.
    Over,
    /// The host shuts down.
    Closing,
}
