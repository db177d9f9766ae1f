//! Uploaded inputs. Owns receiving, listing and removing files; a file is streamed to the blob store and checked on the way,
//! and must never be whole in memory or carry a label.

use std::fs::File;
use std::io::BufWriter;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Buf;
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::FileId;
use crate::domain::ids::ProjectId;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::stored_bytes::check_room;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::service::files::checksum;
use crate::service::files::checksum::Checksum;
use crate::service::files::row_format::BadRow;
use crate::service::files::row_format::Format;
use crate::service::files::row_format::Scan;
use crate::service::files::row_format::Shape;
use crate::service::files::row_format::scan;
use crate::service::files::values::Suspicion;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::StoreError;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::files;
use crate::store::files::FileRow;
use crate::store::files::NewFile;
use crate::store::jobs;

/// The purpose of a file that a job can read.
pub const INPUTS: &str = "fine-tune";
/// The purpose of a file that a batch can read.
pub const REQUESTS: &str = "batch";
/// The purposes of files that clients send.
pub const UPLOADED: [&str; 2] = [INPUTS, REQUESTS];
/// The purpose of a file that a job leaves, in OpenAI's word.
pub const RESULTS: &str = "fine-tune-results";
/// The purpose of a file that a batch leaves, in OpenAI's word.
pub const OUTPUTS: &str = "batch_output";
/// The purposes of files that count towards `limits.feature_bytes_per_project`.
pub const STORED: [&str; 2] = [RESULTS, OUTPUTS];

/// A file that has been received and checked, and that no row names yet.
pub struct Draft {
    filename: String,
    blob: BlobRef,
    index: BlobRef,
    shape: Shape,
    rows: u64,
    suspicion: Option<Suspicion>,
}

/// How a received file is made visible.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What it is for.
    pub purpose: String,
    /// How long it lives; for ever when absent.
    pub seconds: Option<i64>,
}

impl Draft {
    /// The purpose that its rows are of.
    pub fn purpose(&self) -> &'static str {
        match self.shape.format {
            Format::Requests => REQUESTS,
            Format::Jsonl | Format::Csv | Format::Tsv => INPUTS,
        }
    }

    /// Refuses it where other bytes came than its sender says.
    pub fn check_bytes(&self, checksums: &[Checksum]) -> Result<()> {
        checksum::check(checksums, &self.blob.sha256)
    }

    /// Refuses values that read like labels, unless their owner has said that they are inputs.
    pub fn check_values(&self, inputs_only: bool) -> Result<()> {
        let Some(Suspicion { line, column, reason }) = self.suspicion.as_ref().filter(|_| !inputs_only) else {
            return Ok(());
        };
        let message = format!(
            "line {line}: {reason}. Labels stay with you: remove them and send the file again; if these are inputs and no labels, say so with inputs_only=true."
        );
        Err(ServiceError::new(ErrorCode::LabelPresent, message).at(format!("line {line}: {column}")))
    }
}

/// Use cases on files.
pub struct Files(pub Arc<Context>);

impl Files {
    /// Streams a file to the blob store, checking each row as it passes: requests where it is of their purpose, else inputs.
    pub async fn receive<E>(
        &self,
        filename: &str,
        purpose: &str,
        body: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> Result<Draft>
    where
        ServiceError: From<E>,
    {
        check_filename(filename, "file")?;
        let mut body = std::pin::pin!(body.peekable());
        let first = match body.as_mut().peek().await {
            Some(Ok(chunk)) => chunk.first().copied(),
            _ => None,
        };
        let format = match (Format::of(filename, first), purpose) {
            (Some(Format::Jsonl), REQUESTS) => Format::Requests,
            (Some(format), INPUTS) => format,
            (_, REQUESTS) => {
                let message = "A file of purpose batch has one JSON object a line; name it .jsonl.";
                return Err(ServiceError::new(ErrorCode::UnknownFormat, message).at("file"));
            }
            _ => {
                let message = "Name the file .jsonl, .csv or .tsv, so that its format is known.";
                return Err(ServiceError::new(ErrorCode::UnknownFormat, message).at("file"));
            }
        };
        self.receive_as(filename, format, body).await
    }

    async fn receive_as<E>(
        &self,
        filename: &str,
        format: Format,
        mut body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> Result<Draft>
    where
        ServiceError: From<E>,
    {
        let (chunks, reader) = mpsc::channel(4);
        let row_bytes = self.0.limits.file_line_bytes;
        let scanner = tokio::task::spawn_blocking(move || scan_into(format, Chunks::new(reader), row_bytes));
        let mut writer = self.0.blobs.writer(BlobKind::Files).await?;
        let mut broken = None;
        let mut total = 0u64;
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    broken = Some(error.into());
                    break;
                }
            };
            total += chunk.len() as u64;
            if total > self.0.limits.file_bytes {
                let message = format!("A file has at most {} bytes (limits.file_bytes).", self.0.limits.file_bytes);
                broken = Some(ServiceError::new(ErrorCode::TooLarge, message).at("file"));
                break;
            }
            writer.write(chunk.clone()).await?;
            if chunks.send(chunk).await.is_err() {
                break; // the scanner has stopped at a bad row
            }
        }
        drop(chunks);
        let scanned = scanner.await.map_err(ServiceError::internal)?;
        if let Some(error) = broken {
            writer.abort().await?;
            return Err(error);
        }
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(bad) => {
                writer.abort().await?;
                return Err(refused(&bad));
            }
        };
        let blob = writer.finish().await?;
        let index = self.store_index(scanned.index).await?;
        let Scan { shape, rows, suspicion } = scanned.scan;
        Ok(Draft { filename: filename.to_owned(), blob, index, shape, rows, suspicion })
    }

    async fn store_index(&self, index: File) -> Result<BlobRef> {
        let mut writer = self.0.blobs.writer(BlobKind::Files).await?;
        let mut stream = tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::from_std(index), 256 * 1024);
        while let Some(chunk) = stream.next().await {
            writer.write(chunk.map_err(ServiceError::internal)?).await?;
        }
        Ok(writer.finish().await?)
    }

    /// Makes a received file visible, for ever or for some time.
    pub async fn publish(
        &self,
        project: ProjectId,
        draft: Draft,
        publication: Publication,
        record: AnswerRecord<FileRow>,
    ) -> Result<FileRow> {
        let published = self.publish_alone(project, &draft, &publication, &record).await;
        if published.is_err() {
            self.discard(draft).await?;
        }
        published
    }

    async fn publish_alone(
        &self,
        project: ProjectId,
        draft: &Draft,
        publication: &Publication,
        record: &AnswerRecord<FileRow>,
    ) -> Result<FileRow> {
        let mut transaction = self.0.begin().await?;
        let file = self.publish_in(&mut transaction, project, draft, publication).await?;
        record.write(&mut transaction, &file).await?;
        commit(transaction).await?;
        Ok(file)
    }

    /// The same in a transaction that does more.
    pub async fn publish_in(
        &self,
        connection: &mut Connection,
        project: ProjectId,
        draft: &Draft,
        publication: &Publication,
    ) -> Result<FileRow> {
        check_room(&self.0, connection, project, draft.blob.bytes + draft.index.bytes).await?;
        let shape = serde_json::to_value(&draft.shape).map_err(ServiceError::internal)?;
        let new = NewFile {
            id: FileId(Uuid::now_v7()),
            project,
            filename: &draft.filename,
            purpose: &publication.purpose,
            bytes: draft.blob.bytes.cast_signed(),
            rows: draft.rows.cast_signed(),
            sha256: &draft.blob.sha256,
            blob: &draft.blob.path,
            index_blob: &draft.index.path,
            index_bytes: draft.index.bytes.cast_signed(),
            shape: &shape,
            seconds: publication.seconds,
        };
        Ok(files::insert(connection, &new).await?)
    }

    /// Forgets a received file that will not be made visible.
    pub async fn discard(&self, draft: Draft) -> Result<()> {
        self.0.blobs.delete(&draft.blob.path).await?;
        Ok(self.0.blobs.delete(&draft.index.path).await?)
    }

    /// One file.
    pub async fn get(&self, project: ProjectId, id: FileId) -> Result<FileRow> {
        files::get(&mut *self.0.connection().await?, project, id)
            .await?
            .ok_or_else(|| ServiceError::not_found("file", id))
    }

    /// A page of files, of one purpose or all.
    pub async fn list(&self, project: ProjectId, page: PageRequest, purpose: Option<&str>) -> Result<Paged<FileRow>> {
        known_cursor(files::list(&mut *self.0.connection().await?, project, &page, purpose).await?)
    }

    /// A file's bytes, or a range of them.
    pub async fn content(
        &self,
        file: &FileRow,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, std::result::Result<Bytes, StoreError>>> {
        Ok(match range {
            Some(range) => self.0.blobs.stream_range(&file.blob, range).await?,
            None => self.0.blobs.stream(&file.blob).await?,
        })
    }

    /// Removes a file, unless a job or batch that is not over reads it.
    pub async fn delete(&self, project: ProjectId, id: FileId) -> Result<()> {
        let mut transaction = self.0.begin().await?;
        if jobs::file_in_use(&mut transaction, project, id).await? {
            return Err(ServiceError::new(
                ErrorCode::FileInUse,
                "An unfinished job or batch reads this file; complete or cancel it first.",
            ));
        }
        let file =
            files::delete(&mut transaction, project, id).await?.ok_or_else(|| ServiceError::not_found("file", id))?;
        commit(transaction).await?;
        self.0.blobs.delete(&file.blob).await?;
        Ok(self.0.blobs.delete(&file.index_blob).await?)
    }
}

/// Refuses a name that is none, or that names a folder.
pub fn check_filename(filename: &str, param: &str) -> Result<()> {
    if !(1..=255).contains(&filename.chars().count()) || filename.contains(['/', '\\', '\0']) {
        let message = "The file needs a plain name of 1 to 255 characters.";
        return Err(ServiceError::new(ErrorCode::InvalidFilename, message).at(param));
    }
    Ok(())
}

fn refused(bad: &BadRow) -> ServiceError {
    let place = match &bad.column {
        Some(column) => format!("line {}: {column}", bad.line),
        None => format!("line {}", bad.line),
    };
    match (bad.is_label, &bad.column) {
        (true, Some(column)) => ServiceError::label_present(column, place),
        _ => ServiceError::new(ErrorCode::MalformedRow, format!("{bad}.")).at(place),
    }
}

struct Scanned {
    scan: Scan,
    index: File,
}

fn scan_into(format: Format, reader: Chunks, row_bytes: usize) -> std::result::Result<Scanned, BadRow> {
    let failed = |error: std::io::Error| BadRow { line: 0, column: None, is_label: false, reason: error.to_string() };
    let mut index = BufWriter::new(tempfile::tempfile().map_err(failed)?);
    let scan = scan(format, reader, row_bytes, &mut index)?;
    index.flush().map_err(failed)?;
    let mut index = index.into_inner().map_err(|error| failed(error.into_error()))?;
    index.rewind().map_err(failed)?;
    Ok(Scanned { scan, index })
}

/// Chunks of a body as a blocking reader.
struct Chunks {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Chunks {
    fn new(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self { chunks, current: Bytes::new() }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let take = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..take]);
        Ok(take)
    }
}
