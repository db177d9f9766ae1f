//! Batches, in OpenAI's shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::api::dto::files::ExpiresAfterJson;
use crate::api::dto::jobs::metadata;
use crate::domain::batch::BatchStatus as Status;
use crate::service::BatchError;
use crate::service::BatchRow;
use crate::service::NewBatch;
use crate::service::Result;
use crate::service::ServiceError;

/// A batch to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBatch {
    /// Id of an uploaded file of purpose `batch`: a line is `{"custom_id", "method": "POST", "url", "body"}`.
    #[schema(example = "file-0199c6c1d2b07d6a8f1e2d3c4b5a6978")]
    pub input_file_id: String,
    /// The endpoint of all its lines: `/v1/embeddings` or `/v1/activations`.
    #[schema(example = "/v1/embeddings", pattern = "^/v1/(embeddings|activations)$")]
    pub endpoint: String,
    /// `24h`.
    #[schema(example = "24h", pattern = "^24h$")]
    pub completion_window: String,
    /// Up to 16 key-value pairs of your own.
    #[schema(schema_with = metadata)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How long the files of its answers are kept; 30 days when absent.
    pub output_expires_after: Option<ExpiresAfterJson>,
}

impl TryFrom<CreateBatch> for NewBatch {
    type Error = ServiceError;

    fn try_from(body: CreateBatch) -> Result<Self> {
        let CreateBatch { input_file_id: id, endpoint, completion_window, metadata, output_expires_after } = body;
        let input_file = id.parse().map_err(|_| ServiceError::not_found("file", &id).at("input_file_id"))?;
        let output_expires_after = output_expires_after.map(Into::into);
        Ok(Self { input_file, endpoint, completion_window, metadata, output_expires_after })
    }
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its lines are checked.
    Validating,
    /// Its lines, or its host, were at fault; `errors` says how.
    Failed,
    /// Its requests are answered.
    InProgress,
    /// All are; its files are written.
    Finalizing,
    /// Every request was answered or refused.
    Completed,
    /// 24 hours passed before that.
    Expired,
    /// It was given up; the files of what was answered are written.
    Cancelling,
    /// It was given up.
    Cancelled,
}

impl From<Status> for BatchStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Validating => Self::Validating,
            Status::InProgress => Self::InProgress,
            Status::Finalizing => Self::Finalizing,
            Status::Cancelling => Self::Cancelling,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Expired => Self::Expired,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// Requests of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchRequestCounts {
    /// Lines of its file.
    #[schema(example = 3)]
    pub total: i64,
    /// Those in the output file.
    #[schema(example = 2)]
    pub completed: i64,
    /// Those in the error file.
    #[schema(example = 1)]
    pub failed: i64,
}

/// What was wrong with a line, or why the batch failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchErrorObject {
    /// A stable code for programs.
    #[schema(example = "duplicate_custom_id")]
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field at fault.
    #[schema(required)]
    pub param: Option<String>,
    /// The line at fault, from 1; blank ones are not counted.
    #[schema(required)]
    pub line: Option<i64>,
}

impl From<BatchError> for BatchErrorObject {
    fn from(error: BatchError) -> Self {
        let BatchError { code, message, param, line } = error;
        Self { code, message, param, line }
    }
}

/// What was wrong with its lines, the first hundred of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchErrorList {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: &'static str,
    /// In the order of the lines.
    pub data: Vec<BatchErrorObject>,
}

/// Tokens by where they came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputTokensDetails {
    /// Always 0: nothing is kept of a call.
    #[schema(example = 0)]
    pub cached_tokens: i64,
}

/// Tokens by what they were for.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputTokensDetails {
    /// Always 0: nothing is generated.
    #[schema(example = 0)]
    pub reasoning_tokens: i64,
}

/// Tokens of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchUsage {
    /// Tokens of the inputs, of requests that were answered.
    #[schema(example = 8)]
    pub input_tokens: i64,
    /// Of the inputs.
    pub input_tokens_details: InputTokensDetails,
    /// Always 0: nothing is generated.
    #[schema(example = 0)]
    pub output_tokens: i64,
    /// Of the outputs.
    pub output_tokens_details: OutputTokensDetails,
    /// The same as `input_tokens`.
    #[schema(example = 8)]
    pub total_tokens: i64,
}

impl BatchUsage {
    fn of(tokens: i64) -> Self {
        Self {
            input_tokens: tokens,
            input_tokens_details: InputTokensDetails { cached_tokens: 0 },
            output_tokens: 0,
            output_tokens_details: OutputTokensDetails { reasoning_tokens: 0 },
            total_tokens: tokens,
        }
    }
}

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchObject {
    /// Id, `batch_...`.
    pub id: String,
    /// Always `batch`.
    #[schema(example = "batch")]
    pub object: &'static str,
    /// The endpoint of its lines.
    #[schema(example = "/v1/embeddings")]
    pub endpoint: &'static str,
    /// The one model of its lines, once they were checked; null where they name several.
    #[schema(required)]
    pub model: Option<String>,
    /// What was wrong with its lines, or why it failed; null when nothing was.
    #[schema(required)]
    pub errors: Option<BatchErrorList>,
    /// The file with its requests.
    pub input_file_id: String,
    /// Always `24h`.
    #[schema(example = "24h")]
    pub completion_window: &'static str,
    /// Where it stands.
    pub status: BatchStatus,
    /// The file with the answers, once it is over and there are any.
    #[schema(required)]
    pub output_file_id: Option<String>,
    /// The file with the requests that were refused, once it is over and there are any.
    #[schema(required)]
    pub error_file_id: Option<String>,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
    /// When its lines had been checked.
    #[schema(required)]
    pub in_progress_at: Option<i64>,
    /// When its window passes.
    pub expires_at: i64,
    /// When every request had been answered.
    #[schema(required)]
    pub finalizing_at: Option<i64>,
    /// When it was completed.
    #[schema(required)]
    pub completed_at: Option<i64>,
    /// When it failed.
    #[schema(required)]
    pub failed_at: Option<i64>,
    /// When it ended as expired.
    #[schema(required)]
    pub expired_at: Option<i64>,
    /// When it was given up.
    #[schema(required)]
    pub cancelling_at: Option<i64>,
    /// When the files of what was answered by then were written.
    #[schema(required)]
    pub cancelled_at: Option<i64>,
    /// Its requests.
    pub request_counts: BatchRequestCounts,
    /// Tokens that the device read for it.
    pub usage: BatchUsage,
    /// Your own key-value pairs.
    #[schema(required, value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

impl From<BatchRow> for BatchObject {
    fn from(row: BatchRow) -> Self {
        let seconds = |at: Option<OffsetDateTime>| at.map(OffsetDateTime::unix_timestamp);
        let ended_as = |status: Status| seconds(row.finished_at.filter(|_| row.status == status));
        Self {
            object: "batch",
            endpoint: row.endpoint.as_str(),
            completion_window: crate::domain::batch::WINDOW,
            status: row.status.into(),
            created_at: row.created_at.unix_timestamp(),
            in_progress_at: seconds(row.in_progress_at),
            expires_at: row.expires_at.unix_timestamp(),
            finalizing_at: seconds(row.finalizing_at),
            completed_at: ended_as(Status::Completed),
            failed_at: ended_as(Status::Failed),
            expired_at: ended_as(Status::Expired),
            cancelling_at: seconds(row.cancelling_at),
            cancelled_at: ended_as(Status::Cancelled),
            request_counts: BatchRequestCounts {
                total: row.requests_total,
                completed: row.requests_completed,
                failed: row.requests_failed,
            },
            usage: BatchUsage::of(row.tokens),
            id: row.id.to_string(),
            model: row.model,
            errors: row.errors.map(|errors| BatchErrorList {
                object: "list",
                data: errors.0.into_iter().map(BatchErrorObject::from).collect(),
            }),
            input_file_id: row.input_file.to_string(),
            output_file_id: row.output_file.map(|file| file.to_string()),
            error_file_id: row.error_file.map(|file| file.to_string()),
            metadata: row.metadata.map(|pairs| json!(pairs.0)),
        }
    }
}
