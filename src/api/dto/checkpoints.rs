//! Checkpoints, in OpenAI's shape.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::expiry::ExpiresAfter;
use crate::service::CheckpointRow;

/// A saved state of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointObject {
    /// Id, `ftckpt_...`.
    pub id: String,
    /// Always `fine_tuning.job.checkpoint`.
    #[schema(example = "fine_tuning.job.checkpoint")]
    pub object: &'static str,
    /// When, seconds since 1970.
    pub created_at: i64,
    /// Name under which it can be used.
    pub fine_tuned_model_checkpoint: String,
    /// The job.
    pub fine_tuning_job_id: String,
    /// The newest seq in it.
    pub step_number: i64,
    /// Empty: metrics stay with the label holder.
    #[schema(value_type = Object)]
    pub metrics: Value,
    /// Size in bytes.
    pub bytes: i64,
    /// SHA-256 of the state, in hex.
    pub sha256: String,
    /// When it expires; null when it is kept as long as its job.
    #[schema(required)]
    pub expires_at: Option<i64>,
}

impl From<CheckpointRow> for CheckpointObject {
    fn from(row: CheckpointRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "fine_tuning.job.checkpoint",
            created_at: row.created_at.unix_timestamp(),
            fine_tuned_model_checkpoint: row.fine_tuned_model_checkpoint,
            fine_tuning_job_id: row.job.to_string(),
            step_number: row.seq,
            metrics: row.metrics,
            bytes: row.bytes,
            sha256: row.sha256,
            expires_at: row.expires_at.map(|at| at.unix_timestamp()),
        }
    }
}

/// How long a checkpoint is kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointLife {
    /// The anchor: `created_at` or `now`.
    #[schema(example = "now", pattern = "^(created_at|now)$")]
    pub anchor: String,
    /// Seconds after the anchor, an hour to ten years.
    #[schema(example = 604800, minimum = 3600, maximum = 315_360_000)]
    pub seconds: i64,
}

impl From<CheckpointLife> for ExpiresAfter {
    fn from(json: CheckpointLife) -> Self {
        Self { anchor: json.anchor, seconds: json.seconds }
    }
}

/// A checkpoint to be saved; the body may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCheckpoint {
    /// How long it is kept; as long as its job when absent.
    pub expires_after: Option<CheckpointLife>,
}

/// A change to a checkpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCheckpoint {
    /// How long it is kept; null removes the expiry.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    pub expires_after: Option<CheckpointLife>,
}
