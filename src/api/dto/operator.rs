//! Hosts and projects, as an operator sees them.

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;

use crate::domain::job::JobState;
use crate::domain::quota::Quota;
use crate::service::HostNow;
use crate::service::LeaseHolder;
use crate::service::OpenJobs;
use crate::service::ProjectStanding;

/// In which form the host is shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HostQuery {
    /// `true`: as server-sent events, whatever the Accept header says; `false`: once, as JSON.
    pub stream: Option<bool>,
}

/// A message of the host's stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a stream")]
pub struct HostMessage {
    /// Always `host`.
    #[schema(example = "host")]
    event: String,
    /// The host as it is, in JSON.
    data: String,
}

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// What it is called: no two have one name, and none has a control character.
    #[schema(example = "clinic", min_length = 1, max_length = 64, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub name: String,
}

/// A backbone to be offered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferModel {
    /// Folder within the host's `state.models_dir`, with config.json, *.safetensors and tokenizer.json.
    #[schema(example = "all-MiniLM-L6-v2", min_length = 1, max_length = 1000)]
    pub folder: String,
}

/// Limits of a project or a key. What is left out has none of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectLimits {
    /// Requests a minute.
    #[schema(minimum = 1, example = 600)]
    pub requests_per_minute: Option<i64>,
    /// Tokens that the device reads a minute.
    #[schema(minimum = 1)]
    pub tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC).
    #[schema(minimum = 0, example = 10_000_000)]
    pub monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds.
    #[schema(minimum = 0)]
    pub monthly_device_seconds: Option<i64>,
}

impl From<ProjectLimits> for Quota {
    fn from(limits: ProjectLimits) -> Self {
        let ProjectLimits { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds } = limits;
        Self { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds }
    }
}

/// How many jobs are not over, by where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenJobCounts {
    /// They wait for a slot.
    pub queued: i64,
    /// They take step calls, or are worked off.
    pub running: i64,
    /// They hold no memory.
    pub paused: i64,
}

impl OpenJobCounts {
    fn of(open: &[OpenJobs]) -> Self {
        let count = |state| open.iter().filter(|jobs| jobs.status == state).map(|jobs| jobs.count).sum();
        Self { queued: count(JobState::Queued), running: count(JobState::Running), paused: count(JobState::Paused) }
    }
}

/// A tenant, and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectObject {
    /// Id, `proj-...`.
    #[schema(example = "proj-019ab2c3d4e57f60a1b2c3d4e5f60718")]
    pub id: String,
    /// Always `project`.
    #[schema(example = "project")]
    pub object: &'static str,
    /// What it is called.
    pub name: String,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
    /// Requests a minute; null: `limits.requests_per_minute` of the host.
    #[schema(required)]
    pub requests_per_minute: Option<i64>,
    /// Tokens a minute; null: `limits.tokens_per_minute` of the host.
    #[schema(required)]
    pub tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC); null: none.
    #[schema(required)]
    pub monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds; null: none.
    #[schema(required)]
    pub monthly_device_seconds: Option<i64>,
    /// Its open jobs.
    pub jobs: OpenJobCounts,
    /// Tokens of training and of inference that it used in this calendar month (UTC).
    pub month_tokens: i64,
    /// Device time that it used in this calendar month (UTC), in seconds.
    pub month_device_seconds: f64,
    /// What it has stored: files and their indexes, uploads, checkpoints, adapters of models.
    pub stored_bytes: i64,
}

impl From<ProjectStanding> for ProjectObject {
    fn from(standing: ProjectStanding) -> Self {
        let ProjectStanding { project, open_jobs, month, stored_bytes } = standing;
        Self {
            id: project.id.to_string(),
            object: "project",
            name: project.name,
            created_at: project.created_at.unix_timestamp(),
            requests_per_minute: project.quota.requests_per_minute,
            tokens_per_minute: project.quota.tokens_per_minute,
            monthly_tokens: project.quota.monthly_tokens,
            monthly_device_seconds: project.quota.monthly_device_seconds,
            jobs: OpenJobCounts::of(&open_jobs),
            month_tokens: month.tokens,
            month_device_seconds: month.device_us as f64 / 1e6,
            stored_bytes,
        }
    }
}

/// How much there is of something, and how much there may be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Level {
    /// At this moment.
    pub now: u64,
    /// At most.
    pub limit: u64,
}

impl Level {
    fn new(now: usize, limit: usize) -> Self {
        Self { now: now as u64, limit: limit as u64 }
    }
}

/// Connections to Postgres.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connections {
    /// At work.
    pub busy: u32,
    /// Open, and waiting for work.
    pub idle: u32,
    /// `database.max_connections`.
    pub limit: u32,
}

/// A host of this database that is at work.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostAtWork {
    /// Of its process: another one after each start.
    pub id: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Jobs that it holds.
    pub jobs: i64,
    /// Batches that it holds.
    pub batches: i64,
}

/// A host, at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostObject {
    /// Always `host`.
    #[schema(example = "host")]
    pub object: &'static str,
    /// Of the program.
    pub version: &'static str,
    /// Since it started.
    pub uptime_seconds: u64,
    /// Whether it shuts down.
    pub draining: bool,
    /// Where it computes.
    #[schema(example = "cpu")]
    pub device: String,
    /// For how long the device has worked since the start, in seconds: over a time, its growth is the share that it was busy.
    pub device_busy_seconds: f64,
    /// Calls that wait for the device; the limit is `engine.queue`.
    pub queue: Level,
    /// Bytes of retained graphs, by estimate; the limit is `engine.graph_bytes`.
    pub graph_bytes: Level,
    /// Bytes held between calls; the limit is `limits.held_bytes`.
    pub held_bytes: Level,
    /// Jobs whose sessions are open.
    pub sessions: u64,
    /// Open event streams; the limit is `server.max_event_streams`.
    pub event_streams: Level,
    /// Its connections to Postgres.
    pub database_connections: Connections,
    /// Memory of the process, in bytes.
    pub resident_bytes: u64,
    /// Open jobs of all projects at this database.
    pub jobs: OpenJobCounts,
    /// Hosts of this database that hold jobs or batches.
    pub hosts: Vec<HostAtWork>,
}

impl From<HostNow> for HostObject {
    fn from(now: HostNow) -> Self {
        let HostNow { device, uptime, sample, event_streams_most, occupancy, owner, lease_holders, open_jobs } = now;
        let at_work = |holder: LeaseHolder| HostAtWork {
            id: holder.owner.to_string(),
            this: holder.owner == owner,
            jobs: holder.jobs,
            batches: holder.batches,
        };
        Self {
            object: "host",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs(),
            draining: sample.draining,
            device,
            device_busy_seconds: occupancy.busy.as_secs_f64(),
            queue: Level::new(occupancy.waiting, occupancy.queue),
            graph_bytes: Level::new(occupancy.graph_bytes, occupancy.graph_limit),
            held_bytes: Level { now: sample.held_bytes, limit: sample.held_bytes_most },
            sessions: sample.sessions as u64,
            event_streams: Level::new(sample.event_streams, event_streams_most),
            database_connections: Connections {
                busy: sample.connections_busy,
                idle: sample.connections_idle,
                limit: sample.connections_most,
            },
            resident_bytes: sample.resident_bytes,
            jobs: OpenJobCounts::of(&open_jobs),
            hosts: lease_holders.into_iter().map(at_work).collect(),
        }
    }
}
