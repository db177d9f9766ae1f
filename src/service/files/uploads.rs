//! Files that come in parts. Owns their order: announced, parts as blobs, then checked and published as one file. The parts
//! are streamed through the checks of a plain upload; a completion that is refused leaves the upload as it was.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use md5::Digest;
use md5::Md5;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::PartId;
use crate::domain::ids::ProjectId;
use crate::domain::ids::UploadId;
use crate::domain::limits::LARGEST_WHOLE;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::stored_bytes::check_room;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::files::checksum::Checksum;
use crate::service::files::files::Draft;
use crate::service::files::files::Files;
use crate::service::files::files::Publication;
use crate::service::files::files::UPLOADED;
use crate::service::files::files::check_filename;
use crate::service::files::receive::receive;
use crate::store::StoreError;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::blobs::Blobs;
use crate::store::files::FileRow;
use crate::store::uploads;
use crate::store::uploads::NewUpload as NewUploadRow;
use crate::store::uploads::PartRow;
use crate::store::uploads::UploadRow;

/// Largest part, in bytes: what stock clients send at most.
pub const PART_BYTES: u64 = 64 * 1024 * 1024;
/// Most parts of an upload.
const PARTS: usize = 10_000;
/// Uploads of a project that take parts at once.
const PENDING: i64 = 100;
/// How long an upload may take.
const UPLOAD_SECONDS: i64 = 3600;
/// Longest media type.
const MIME_LENGTH: usize = 255;

/// An upload that a client announces.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Size of the whole.
    pub bytes: u64,
    /// Name of the file.
    pub filename: String,
    /// Kept, not believed.
    pub mime_type: String,
    /// `fine-tune` or `batch`.
    pub purpose: String,
    /// How long the file will live.
    pub expires_after: Option<ExpiresAfter>,
}

/// How the parts of an upload become a file.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The parts, in order.
    pub parts: Vec<PartId>,
    /// Checksum of the whole, in hexadecimal.
    pub md5: Option<String>,
    /// Another, by a hash that nobody can forge.
    pub sha256: Option<Checksum>,
    /// Values that read like labels are inputs.
    pub inputs_only: bool,
}

/// An upload that has become a file.
#[derive(Debug, Clone)]
pub struct CompletedUpload {
    /// The upload.
    pub upload: UploadRow,
    /// The file.
    pub file: FileRow,
}

/// Use cases on uploads.
pub struct Uploads(pub Arc<Context>);

impl Uploads {
    /// Announces a file.
    pub async fn create(
        &self,
        project: ProjectId,
        new: NewUpload,
        record: AnswerRecord<UploadRow>,
    ) -> Result<UploadRow> {
        check_filename(&new.filename, "filename")?;
        if !UPLOADED.contains(&new.purpose.as_str()) {
            let message = format!("purpose must be '{}'.", UPLOADED.join("' or '"));
            return Err(ServiceError::new(ErrorCode::InvalidPurpose, message).at("purpose"));
        }
        if new.mime_type.chars().count() > MIME_LENGTH {
            let message = format!("mime_type: at most {MIME_LENGTH} characters.");
            return Err(ServiceError::new(ErrorCode::InvalidMimeType, message).at("mime_type"));
        }
        let most = self.0.limits.file_bytes;
        if !(1..=LARGEST_WHOLE.unsigned_abs()).contains(&new.bytes) {
            let message = "bytes: a file has 1 to 9007199254740991.";
            return Err(ServiceError::new(ErrorCode::InvalidSize, message).at("bytes"));
        }
        if new.bytes > most {
            let message = format!("bytes: a file has at most {most} (limits.file_bytes).");
            return Err(ServiceError::new(ErrorCode::TooLarge, message).at("bytes"));
        }
        let file_seconds = new.expires_after.map(|after| after.of_file()).transpose()?;
        let mut transaction = self.0.begin().await?;
        if uploads::count_pending(&mut transaction, project).await? >= PENDING {
            let message = format!("A project has at most {PENDING} pending uploads; complete or cancel one.");
            return Err(ServiceError::new(ErrorCode::TooManyUploads, message));
        }
        let row = NewUploadRow {
            id: UploadId(Uuid::now_v7()),
            project,
            filename: &new.filename,
            purpose: &new.purpose,
            mime_type: &new.mime_type,
            bytes: new.bytes.cast_signed(),
            file_seconds,
            seconds: UPLOAD_SECONDS,
        };
        let row = uploads::insert(&mut transaction, &row).await?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok(row)
    }

    /// Streams a part to the blob store. It is kept, or forgotten, by another call.
    pub async fn receive_part<E>(
        &self,
        project: ProjectId,
        id: UploadId,
        body: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> Result<BlobRef>
    where
        ServiceError: From<E>,
    {
        let mut connection = self.0.connection().await?;
        pending(id, uploads::get(&mut connection, project, id).await?)?;
        check_room(&self.0, &mut connection, project, 0).await?;
        drop(connection); // the body may take its time
        receive(&self.0, BlobKind::Parts, body, PART_BYTES).await
    }

    /// Makes what was received a part of the upload.
    pub async fn keep_part(
        &self,
        project: ProjectId,
        id: UploadId,
        blob: &BlobRef,
        record: AnswerRecord<PartRow>,
    ) -> Result<PartRow> {
        let stored = self.store_part(project, id, blob, &record).await;
        if stored.is_err() {
            self.forget_part(blob).await?;
        }
        stored
    }

    /// Deletes what was received.
    pub async fn forget_part(&self, blob: &BlobRef) -> Result<()> {
        Ok(self.0.blobs.delete(&blob.path).await?)
    }

    async fn store_part(
        &self,
        project: ProjectId,
        id: UploadId,
        blob: &BlobRef,
        record: &AnswerRecord<PartRow>,
    ) -> Result<PartRow> {
        let mut transaction = self.0.begin().await?;
        pending(id, uploads::get_for_update(&mut transaction, project, id).await?)?;
        let parts = uploads::parts(&mut transaction, id).await?;
        let total: u64 = parts.iter().map(|part| part.bytes.unsigned_abs()).sum();
        if parts.len() >= PARTS || total + blob.bytes > self.0.limits.file_bytes {
            let most = self.0.limits.file_bytes;
            let message = format!("An upload has at most {PARTS} parts and {most} bytes in all (limits.file_bytes).");
            return Err(ServiceError::new(ErrorCode::TooLarge, message).at("data"));
        }
        check_room(&self.0, &mut transaction, project, blob.bytes).await?;
        let part = uploads::insert_part(&mut transaction, PartId(Uuid::now_v7()), id, blob).await?;
        record.write(&mut transaction, &part).await?;
        commit(transaction).await?;
        Ok(part)
    }

    /// Checks the parts, in this order, as one file, and publishes it.
    pub async fn complete(
        &self,
        project: ProjectId,
        id: UploadId,
        completion: Completion,
        record: AnswerRecord<CompletedUpload>,
    ) -> Result<CompletedUpload> {
        let mut connection = self.0.connection().await?;
        let upload = pending(id, uploads::get(&mut connection, project, id).await?)?;
        let parts = chosen(uploads::parts(&mut connection, id).await?, &completion.parts)?;
        drop(connection);
        let total: i64 = parts.iter().map(|part| part.bytes).sum();
        if total != upload.bytes {
            let message = format!("The parts have {total} bytes; {} were announced.", upload.bytes);
            return Err(ServiceError::new(ErrorCode::SizeMismatch, message).at("part_ids"));
        }
        let files = Files(Arc::clone(&self.0));
        let draft = self.join(&files, &upload, &parts, &completion).await?;
        let mut transaction = self.0.begin().await?;
        pending(id, uploads::get_for_update(&mut transaction, project, id).await?)?;
        let publication = Publication { purpose: upload.purpose.clone(), seconds: upload.file_seconds };
        let file = files.publish_in(&mut transaction, project, &draft, &publication).await?;
        let spent = uploads::finish(&mut transaction, id, Some(file.id)).await?;
        let row = uploads::get(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        let completed = CompletedUpload { upload: row, file };
        record.write(&mut transaction, &completed).await?;
        commit(transaction).await?;
        self.forget(spent.into_iter().map(|part| part.blob)).await?;
        Ok(completed)
    }

    async fn join(
        &self,
        files: &Files,
        upload: &UploadRow,
        parts: &[PartRow],
        completion: &Completion,
    ) -> Result<Draft> {
        let mut hash = Md5::new();
        let paths = parts.iter().map(|part| part.blob.clone()).collect();
        let chunks = one_after_the_other(self.0.blobs.clone(), paths).inspect_ok(|chunk| hash.update(chunk));
        let draft = files.receive(&upload.filename, &upload.purpose, chunks).await?;
        let md5 = completion.md5.as_deref();
        if md5.is_some_and(|md5| !md5.eq_ignore_ascii_case(&hex::encode(hash.finalize()))) {
            files.discard(draft).await?;
            let message = "md5: the parts, in this order, have another checksum.";
            return Err(ServiceError::new(ErrorCode::Md5Mismatch, message).at("md5"));
        }
        let checked = draft.check_bytes(completion.sha256.as_slice());
        if let Err(refused) = checked.and_then(|()| draft.check_values(completion.inputs_only)) {
            files.discard(draft).await?;
            return Err(refused);
        }
        Ok(draft)
    }

    /// Gives an upload up.
    pub async fn cancel(&self, project: ProjectId, id: UploadId, record: AnswerRecord<UploadRow>) -> Result<UploadRow> {
        let mut transaction = self.0.begin().await?;
        pending(id, uploads::get_for_update(&mut transaction, project, id).await?)?;
        let spent = uploads::finish(&mut transaction, id, None).await?;
        let row = uploads::get(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        self.forget(spent.into_iter().map(|part| part.blob)).await?;
        Ok(row)
    }

    async fn forget(&self, blobs: impl Iterator<Item = String>) -> Result<()> {
        for blob in blobs {
            self.0.blobs.delete(&blob).await?;
        }
        Ok(())
    }
}

fn one_after_the_other(blobs: Blobs, paths: Vec<String>) -> BoxStream<'static, std::result::Result<Bytes, StoreError>> {
    let open = move |path: String| {
        let blobs = blobs.clone();
        async move { blobs.stream(&path).await }
    };
    futures::stream::iter(paths).then(open).try_flatten().boxed()
}

fn missing(id: UploadId) -> ServiceError {
    ServiceError::not_found("upload", id)
}

fn pending(id: UploadId, found: Option<UploadRow>) -> Result<UploadRow> {
    let upload = found.ok_or_else(|| missing(id))?;
    if upload.status != "pending" {
        return Err(ServiceError::new(ErrorCode::UploadNotPending, format!("The upload is {}.", upload.status)));
    }
    Ok(upload)
}

/// The named parts, in that order; each is one of the upload's, and is named once.
fn chosen(parts: Vec<PartRow>, ids: &[PartId]) -> Result<Vec<PartRow>> {
    let mut seen = HashSet::new();
    if ids.is_empty() {
        return Err(ServiceError::new(ErrorCode::PartsMissing, "part_ids: name the parts in order.").at("part_ids"));
    }
    if let Some(twice) = ids.iter().find(|id| !seen.insert(**id)) {
        let message = format!("part_ids: duplicate {twice}.");
        return Err(ServiceError::new(ErrorCode::PartTwice, message).at("part_ids"));
    }
    let find = |id: &PartId| {
        let part = parts.iter().find(|part| part.id == *id).cloned();
        part.ok_or_else(|| ServiceError::not_found("part", id).at("part_ids"))
    };
    ids.iter().map(find).collect()
}
