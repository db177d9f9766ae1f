//! Files, in OpenAI's shape.

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;

use crate::api::dto::list::Order;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::JobId;
use crate::service::ErasedJob;
use crate::service::FileRow;

/// An uploaded file.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileObject {
    /// Id, `file-...`.
    pub id: String,
    /// Always `file`.
    #[schema(example = "file")]
    pub object: &'static str,
    /// Size in bytes.
    pub bytes: i64,
    /// When it was uploaded, seconds since 1970.
    pub created_at: i64,
    /// When it expires; null when it does not.
    #[schema(required)]
    pub expires_at: Option<i64>,
    /// Name it was uploaded under.
    pub filename: String,
    /// What it is for.
    #[schema(example = "fine-tune")]
    pub purpose: String,
    /// Always `processed`: an unusable file is refused at upload.
    #[schema(example = "processed")]
    pub status: &'static str,
    /// Number of rows.
    pub rows: i64,
    /// SHA-256 of its bytes, in hex.
    #[schema(example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
}

impl From<FileRow> for FileObject {
    fn from(row: FileRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "file",
            bytes: row.bytes,
            created_at: row.created_at.unix_timestamp(),
            expires_at: row.expires_at.map(|at| at.unix_timestamp()),
            filename: row.filename,
            purpose: row.purpose,
            status: "processed",
            rows: row.rows,
            sha256: row.sha256,
        }
    }
}

/// An upload.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct FileUpload {
    /// JSONL, CSV or TSV with the columns `text`, `text_pair` or `input_ids`; for purpose `batch` a request a line. A name that looks like a
    /// label is refused.
    #[schema(format = Binary, content_media_type = "application/octet-stream", value_type = String)]
    file: Vec<u8>,
    /// `fine-tune`, or `batch`.
    #[schema(example = "fine-tune", pattern = "^(fine-tune|batch)$")]
    purpose: String,
    /// `true`: values that read like labels, as a `text_pair` of few short values does, are inputs and no labels: your word, which the host takes.
    #[schema(nullable = false, example = "false", pattern = "^(true|false)$")]
    inputs_only: Option<String>,
    /// `created_at`, with `expires_after[seconds]`.
    #[schema(rename = "expires_after[anchor]", nullable = false, example = "created_at", pattern = "^created_at$")]
    expires_after_anchor: Option<String>,
    /// How long the file is kept, 3600 to 2592000 seconds; forever when absent.
    #[schema(rename = "expires_after[seconds]", nullable = false, minimum = 3600, maximum = 2_592_000)]
    expires_after_seconds: Option<i64>,
}

/// How long a file is kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiresAfterJson {
    /// The anchor: `created_at`.
    #[schema(example = "created_at", pattern = "^created_at$")]
    pub anchor: String,
    /// Seconds after the anchor, an hour to 30 days.
    #[schema(example = 86400, minimum = 3600, maximum = 2_592_000)]
    pub seconds: i64,
}

impl From<ExpiresAfterJson> for ExpiresAfter {
    fn from(json: ExpiresAfterJson) -> Self {
        Self { anchor: json.anchor, seconds: json.seconds }
    }
}

/// Which files to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FileListQuery {
    /// Cursor: the page starts after this id.
    pub after: Option<String>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// Order by creation time; newest first by default.
    #[param(inline)]
    pub order: Option<Order>,
    /// Files of this purpose only.
    pub purpose: Option<String>,
}

/// What was deleted with a job: the receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedJob {
    /// The job's id.
    pub id: String,
    /// `fine_tuning.job`.
    pub object: &'static str,
    /// Always true.
    pub deleted: bool,
    /// What went with it.
    pub erased: Erased,
}

/// How much was deleted for good.
#[derive(Debug, Serialize, ToSchema)]
pub struct Erased {
    /// Records of step calls.
    pub steps: i64,
    /// Entries of the ledger.
    pub ledger_entries: i64,
    /// Events.
    pub events: i64,
    /// Checkpoints, with their state.
    pub checkpoints: i64,
    /// Bytes of the checkpoints.
    pub bytes: i64,
}

impl DeletedJob {
    /// The receipt for a job.
    pub fn new(id: JobId, erased: &ErasedJob) -> Self {
        let ErasedJob { steps, ledger_entries, events, checkpoints, bytes, .. } = *erased;
        let erased = Erased { steps, ledger_entries, events, checkpoints, bytes };
        Self { id: id.to_string(), object: "fine_tuning.job", deleted: true, erased }
    }
}

/// A deleted object.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub object: &'static str,
    /// Always true.
    pub deleted: bool,
}
