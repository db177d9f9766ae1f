//! What happened to a job, as an object of a list and as a message of a stream.

use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use utoipa::ToSchema;

use crate::service::EventRow;
use crate::service::JobPulse;

/// Something that happened to a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventObject {
    /// Id, `ftevent-...`.
    pub id: String,
    /// Always `fine_tuning.job.event`.
    #[schema(example = "fine_tuning.job.event")]
    pub object: &'static str,
    /// The job that it happened to.
    pub job_id: String,
    /// When, seconds since 1970.
    pub created_at: i64,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// A sentence for people.
    pub message: String,
    /// `message` or `metrics`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `metrics`: the scalars that the client chose to report. For a change of state `{"status": ...}`, for a checkpoint
    /// `{"checkpoint": id}`, for a shard of features `{"file": id, "first_row": ..., "rows": ...}`, else empty.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// A message of an event stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a stream")]
pub struct EventMessage {
    /// Id of the event: what `Last-Event-ID` takes.
    #[schema(nullable = false)]
    id: Option<String>,
    /// `job.status`, `job.metrics`, `checkpoint.created` or `job.message`; with `steps=true` also `job.step`. The end has none, which is read
    /// as `message`.
    #[schema(nullable = false, pattern = r"^(job\.(status|metrics|message|step)|checkpoint\.created|message)$")]
    event: Option<String>,
    /// The event as the list has it, in JSON; of `job.step` how far the job has come (`object` is `fine_tuning.job.step`, with `job_id`,
    /// `next_seq`, `optimizer_steps`, `trained_tokens`, `rows_done` and `last_call_at`); `[DONE]` at the end of a job that is over.
    #[schema(example = "[DONE]")]
    data: String,
}

impl From<EventRow> for EventObject {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "fine_tuning.job.event",
            job_id: row.job.to_string(),
            created_at: row.created_at.unix_timestamp(),
            level: row.level.as_str().to_owned(),
            message: row.message,
            kind: row.kind.as_str().to_owned(),
            data: row.data.filter(|data| !data.is_null()).unwrap_or_else(|| json!({})),
        }
    }
}

/// How far a job has come.
#[derive(Debug, Serialize)]
pub struct StepObject {
    /// Always `fine_tuning.job.step`.
    pub object: &'static str,
    /// The job.
    pub job_id: String,
    /// The seq that its next step call must carry.
    pub next_seq: i64,
    /// Optimizer steps taken by the host.
    pub optimizer_steps: i64,
    /// Tokens read in training forwards.
    pub trained_tokens: i64,
    /// Rows of a features job that are done.
    pub rows_done: i64,
    /// When its newest call or shard was committed, seconds since 1970.
    pub last_call_at: Option<i64>,
}

impl From<JobPulse> for StepObject {
    fn from(pulse: JobPulse) -> Self {
        Self {
            object: "fine_tuning.job.step",
            job_id: pulse.job.to_string(),
            next_seq: pulse.next_seq,
            optimizer_steps: pulse.optimizer_steps,
            trained_tokens: pulse.trained_tokens,
            rows_done: pulse.rows_done,
            last_call_at: pulse.last_step_at.map(|at| at.unix_timestamp()),
        }
    }
}
