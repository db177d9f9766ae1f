//! Uploads in parts, in OpenAI's shape.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::Schema;

use crate::api::dto::files::ExpiresAfterJson;
use crate::api::dto::files::FileObject;
use crate::domain::schemas;
use crate::service::FileRow;
use crate::service::NewUpload;
use crate::service::PartRow;
use crate::service::UploadRow;

/// A file to be sent in parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Size of the whole.
    #[schema(example = 1024, minimum = 1)]
    pub bytes: u64,
    /// Name of the file; its ending tells the format.
    #[schema(example = "notes.jsonl", min_length = 1, max_length = 255, pattern = r"^[^/\\]*$")]
    pub filename: String,
    /// Media type; stored, but not trusted.
    #[schema(example = "application/jsonl", max_length = 255)]
    pub mime_type: String,
    /// `fine-tune`, or `batch`.
    #[schema(example = "fine-tune", pattern = "^(fine-tune|batch)$")]
    pub purpose: String,
    /// How long the file is kept; forever when absent.
    pub expires_after: Option<ExpiresAfterJson>,
}

impl From<CreateUpload> for NewUpload {
    fn from(body: CreateUpload) -> Self {
        let CreateUpload { bytes, filename, mime_type, purpose, expires_after } = body;
        Self { bytes, filename, mime_type, purpose, expires_after: expires_after.map(Into::into) }
    }
}

/// An upload in progress.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadObject {
    /// Id, `upload_...`.
    pub id: String,
    /// Always `upload`.
    #[schema(example = "upload")]
    pub object: &'static str,
    /// Declared size of the whole file, in bytes.
    pub bytes: i64,
    /// When it was created, seconds since 1970.
    pub created_at: i64,
    /// When it expires, seconds since 1970.
    pub expires_at: i64,
    /// Name of the file.
    pub filename: String,
    /// What it is for.
    pub purpose: String,
    /// `pending`, `completed`, `cancelled` or `expired`.
    #[schema(example = "pending")]
    pub status: String,
    /// The file it became.
    #[schema(required)]
    pub file: Option<FileObject>,
}

impl UploadObject {
    /// An upload, and the file that it became.
    pub fn new(row: UploadRow, file: Option<FileRow>) -> Self {
        Self {
            id: row.id.to_string(),
            object: "upload",
            bytes: row.bytes,
            created_at: row.created_at.unix_timestamp(),
            expires_at: row.expires_at.unix_timestamp(),
            filename: row.filename,
            purpose: row.purpose,
            status: row.status,
            file: file.map(Into::into),
        }
    }
}

/// A piece of a file.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct PartUpload {
    /// The bytes, 1 to 64 MiB of them.
    #[schema(min_length = 1, format = Binary, content_media_type = "application/octet-stream", value_type = String)]
    data: Vec<u8>,
}

/// A part that was received.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartObject {
    /// Id, `part_...`.
    pub id: String,
    /// Always `upload.part`.
    #[schema(example = "upload.part")]
    pub object: &'static str,
    /// When it was received, seconds since 1970.
    pub created_at: i64,
    /// What it is a part of.
    pub upload_id: String,
}

impl From<PartRow> for PartObject {
    fn from(row: PartRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "upload.part",
            created_at: row.created_at.unix_timestamp(),
            upload_id: row.upload.to_string(),
        }
    }
}

/// Each part once.
fn parts() -> Schema {
    let ids = ArrayBuilder::new().items(schemas::some_text()).min_items(Some(1)).unique_items(true);
    ids.description(Some("Ids of the parts, in the order of the file.")).into()
}

/// The parts in order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteUpload {
    /// Ids of the parts, in the order of the file.
    #[schema(schema_with = parts)]
    pub part_ids: Vec<String>,
    /// MD5 of the whole, in hex, to be checked.
    #[schema(pattern = "^[0-9A-Fa-f]{32}$", example = "d41d8cd98f00b204e9800998ecf8427e")]
    pub md5: Option<String>,
    /// SHA-256 of the whole, in hex, to be checked.
    #[schema(
        pattern = "^[0-9A-Fa-f]{64}$",
        example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    pub sha256: Option<String>,
    /// Values that read like labels, as a `text_pair` of few short values does, are inputs and no labels: your word, which the host takes.
    #[serde(default)]
    pub inputs_only: bool,
}
