//! `/v1/files`.

use axum::Json;
use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::Multipart;
use axum::extract::Request;
use axum::extract::State;
use axum::extract::multipart::Field;
use axum::extract::multipart::MultipartError;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::TryStreamExt;

use crate::api::auth::Caller;
use crate::api::auth::FilesRead;
use crate::api::auth::FilesWrite;
use crate::api::checksums;
use crate::api::dto::Binary;
use crate::api::dto::files::Deleted;
use crate::api::dto::files::FileListQuery;
use crate::api::dto::files::FileObject;
use crate::api::dto::files::FileUpload;
use crate::api::dto::list::List;
use crate::api::dto::list::page;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::extract::body_too_large;
use crate::api::middleware::drain;
use crate::api::once::Once;
use crate::api::pace::too_slow;
use crate::api::ranges::Wanted;
use crate::api::ranges::wanted;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::FileId;
use crate::domain::labels::is_label_name;
use crate::service::Checksum;
use crate::service::Draft;
use crate::service::FileRow;
use crate::service::INPUTS;
use crate::service::Publication;
use crate::service::REQUESTS;
use crate::service::ServiceError;
use crate::service::UPLOADED;

/// Upload a file
///
/// Streams a JSONL, CSV or TSV file of inputs to the host, which checks each row; or, with purpose `batch`, a JSONL file of requests. A
/// row that is malformed, or that carries anything that looks like a label, refuses the whole file and names the line; so do values that
/// read like labels (few short ones or numbers as `text_pair`, `__label__` before a word), unless `inputs_only` says that they are none.
/// `purpose` comes before `file`, as stock clients send it: it says how rows are read, and without it they are read as inputs.
#[utoipa::path(post, path = "/files", tag = "files", security(("key" = [])),
    params(("x-amz-checksum-sha256" = Option<String>, Header, pattern = "^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$", description = "SHA-256 of the file's bytes in base64, to be checked; so may the part `file` have `Content-Digest`")),
    request_body(content = FileUpload, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The file", body = FileObject),
        (status = 400, description = "A row is malformed or carries a label, or the bytes are not those of the checksum", body = ErrorEnvelope),
        (status = 413, description = "Too large", body = ErrorEnvelope),
    ))]
pub async fn create_file(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    once: Once,
    request: Request,
) -> Result<Json<FileObject>, ApiError> {
    let checksums = checksums::of_request(request.headers())?.into_iter().collect();
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
        ApiError::new(ErrorCode::InvalidForm, "Send a multipart form with the fields purpose and file.")
    })?;
    let mut upload = Upload { checksums, ..Upload::default() };
    while let Some(field) = form.next_field().await.map_err(broken_form)? {
        if let Err(error) = upload.take(&app, field).await {
            upload.discard(&app).await;
            return Err(error);
        }
    }
    let (draft, purpose, seconds) = upload.finish(&app).await?;
    let record = once.json(|file: &FileRow| FileObject::from(file.clone()));
    Ok(Json(app.files.publish(caller.project, draft, Publication { purpose, seconds }, record).await?.into()))
}

/// The fields of a form, in whatever order they come.
#[derive(Default)]
struct Upload {
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
    inputs_only: bool,
    checksums: Vec<Checksum>,
    draft: Option<Draft>,
}

impl Upload {
    async fn take(&mut self, app: &App, field: Field<'_>) -> Result<(), ApiError> {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if self.draft.is_none() => {
                self.checksums.extend(checksums::of_part(field.headers())?);
                let filename = field.file_name().unwrap_or_default().to_owned();
                let mut body = std::pin::pin!(field.map_err(FormError));
                let purpose = if self.purpose.as_deref() == Some(REQUESTS) { REQUESTS } else { INPUTS };
                let received = app.files.receive(&filename, purpose, body.as_mut()).await;
                if received.is_err() {
                    drain(body).await;
                }
                self.draft = Some(received?);
                Ok(())
            }
            "purpose" => {
                self.purpose = Some(short_text(field).await?);
                Ok(())
            }
            "expires_after[anchor]" => {
                self.anchor = Some(short_text(field).await?);
                Ok(())
            }
            "expires_after[seconds]" => {
                self.seconds = Some(short_text(field).await?);
                Ok(())
            }
            "inputs_only" => {
                self.inputs_only = read_flag(&name, &short_text(field).await?)?;
                Ok(())
            }
            label if is_label_name(label) => Err(ServiceError::label_present(label, label).into()),
            other => {
                Err(ServiceError::new(ErrorCode::UnknownField, format!("There is no field '{other}' in an upload."))
                    .at(other)
                    .into())
            }
        }
    }

    /// How long the file is to live, from the two fields that say so together.
    fn life(&self) -> Result<Option<i64>, ServiceError> {
        let (anchor, seconds) = match (&self.anchor, &self.seconds) {
            (None, None) => return Ok(None),
            // There is one anchor, so it need not be named.
            (None, Some(seconds)) => ("created_at".to_owned(), seconds.as_str()),
            (Some(anchor), seconds) => (anchor.clone(), seconds.as_deref().unwrap_or_default()),
        };
        // What is no number is out of bounds.
        let after = ExpiresAfter { anchor, seconds: seconds.parse().unwrap_or(0) };
        Ok(Some(after.of_file().map_err(|bad| {
            let place = format!("expires_after[{}]", bad.field);
            ServiceError::from(bad).at(place)
        })?))
    }

    async fn finish(mut self, app: &App) -> Result<(Draft, String, Option<i64>), ApiError> {
        let life = match self.life() {
            Ok(life) => life,
            Err(error) => {
                self.discard(app).await;
                return Err(error.into());
            }
        };
        let purpose = self.purpose.take();
        let Some(draft) = self.draft.take() else {
            return Err(ServiceError::new(ErrorCode::FileMissing, "The form has no field 'file'.").at("file").into());
        };
        match purpose {
            Some(purpose) if purpose == draft.purpose() => {
                let checked = draft.check_bytes(&self.checksums).and_then(|()| draft.check_values(self.inputs_only));
                match checked {
                    Ok(()) => Ok((draft, purpose, life)),
                    Err(refused) => {
                        app.files.discard(draft).await?;
                        Err(refused.into())
                    }
                }
            }
            wrong => {
                app.files.discard(draft).await?;
                Err(refuse_purpose(wrong.as_deref()).into())
            }
        }
    }

    async fn discard(&mut self, app: &App) {
        if let Some(draft) = self.draft.take()
            && let Err(error) = app.files.discard(draft).await
        {
            tracing::warn!(%error, "a refused upload could not be removed: {error}");
        }
    }
}

/// What is wrong with a form's purpose. A file that came before it was read as one of inputs.
fn refuse_purpose(purpose: Option<&str>) -> ServiceError {
    let must = format!("purpose must be '{}'", UPLOADED.join("' or '"));
    let (code, message) = match purpose {
        None => (ErrorCode::PurposeMissing, format!("{must}; the form has none.")),
        Some(REQUESTS) => {
            (ErrorCode::InvalidPurpose, "Send the field purpose before the file: it says how rows are read.".to_owned())
        }
        Some(_) => (ErrorCode::InvalidPurpose, format!("{must}; the form has another.")),
    };
    ServiceError::new(code, message).at("purpose")
}

fn read_flag(name: &str, text: &str) -> Result<bool, ApiError> {
    text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidForm, format!("{name}: must be true or false.")).at(name))
}

/// A field of a form that is a short text.
pub async fn short_text(mut field: Field<'_>) -> Result<String, ApiError> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken_form)? {
        text.extend_from_slice(&chunk);
        if text.len() > 256 {
            return Err(ApiError::new(ErrorCode::InvalidForm, "A form field is too long."));
        }
    }
    let unreadable = |_| ApiError::new(ErrorCode::InvalidForm, "A form field is not UTF-8.");
    let text = String::from_utf8(text).map_err(unreadable)?;
    if text.contains('\0') {
        let message = format!("{name}: has the character U+0000, which no text may have.");
        return Err(ApiError::new(ErrorCode::InvalidText, message).at(name));
    }
    Ok(text)
}

/// A form that broke off, or ran over the limit.
pub struct FormError(pub MultipartError);

impl From<FormError> for ServiceError {
    fn from(FormError(error): FormError) -> Self {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(ErrorCode::TooLarge, "The upload is larger than this host accepts (limits.file_bytes).")
                    .at("file")
            }
            _ => match too_slow(&error) {
                Some(slow) => Self::new(ErrorCode::BodyTimeout, format!("{slow}.")),
                None => Self::new(ErrorCode::BodyUnreadable, "The upload broke off before its end.").at("file"),
            },
        }
    }
}

/// 400, 408 or 413 for a form that cannot be read.
pub fn broken_form(error: MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
        _ => too_slow(&error).map_or_else(
            || ApiError::new(ErrorCode::InvalidForm, format!("The form cannot be read: {}.", error.body_text())),
            ApiError::from,
        ),
    }
}

/// List files
///
/// Newest first, of one purpose or all.
#[utoipa::path(get, path = "/files", tag = "files", security(("key" = [])), params(FileListQuery), responses(
    (status = 200, description = "A page of files", body = List<FileObject>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_files(
    State(app): State<App>,
    caller: Caller<FilesRead>,
    ApiQuery(query): ApiQuery<FileListQuery>,
) -> Result<Json<List<FileObject>>, ApiError> {
    let page = page::<FileId>(query.after.as_deref(), query.limit, query.order, &app.limits)?;
    let found = app.files.list(caller.project, page, query.purpose.as_deref()).await?;
    let data = found.rows.into_iter().map(FileObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |file: &FileObject| file.id.clone())))
}

/// Get a file
///
/// Name, size and number of rows; the bytes are at `/content`.
#[utoipa::path(get, path = "/files/{file_id}", tag = "files", security(("key" = [])), params(("file_id" = String, Path, description = "Id of the file")),
    responses(
        (status = 200, description = "The file", body = FileObject),
        (status = 404, description = "No such file", body = ErrorEnvelope),
    ))]
pub async fn get_file(
    State(app): State<App>,
    caller: Caller<FilesRead>,
    ApiId(id): ApiId<FileId>,
) -> Result<Json<FileObject>, ApiError> {
    Ok(Json(app.files.get(caller.project, id).await?.into()))
}

/// Delete a file
///
/// With its contents. The file of an unfinished job or batch cannot be deleted.
#[utoipa::path(delete, path = "/files/{file_id}", tag = "files", security(("key" = [])), params(("file_id" = String, Path, description = "Id of the file")),
    responses(
        (status = 200, description = "Deleted", body = Deleted),
        (status = 404, description = "No such file", body = ErrorEnvelope),
        (status = 409, description = "An unfinished job or batch reads it", body = ErrorEnvelope),
    ))]
pub async fn delete_file(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    ApiId(id): ApiId<FileId>,
) -> Result<Json<Deleted>, ApiError> {
    app.files.delete(caller.project, id).await?;
    Ok(Json(Deleted { id: id.to_string(), object: "file", deleted: true }))
}

/// Get a file's content
///
/// The bytes as they were uploaded, or as a job left them. `Range` asks for a part, so that a download can be resumed.
#[utoipa::path(get, path = "/files/{file_id}/content", tag = "files", security(("key" = [])),
    params(("file_id" = String, Path, description = "Id of the file"),
        ("Range" = Option<String>, Header, description = "One range of bytes, `bytes=0-1023` for example; several at once are answered with the whole")),
    responses(
        (status = 200, description = "The bytes", content_type = "application/octet-stream", body = Binary,
            headers(("Repr-Digest" = String, description = "SHA-256 of the whole file (RFC 9530)"))),
        (status = 206, description = "The range of bytes", content_type = "application/octet-stream", body = Binary,
            headers(("Repr-Digest" = String, description = "SHA-256 of the whole file (RFC 9530)"))),
        (status = 404, description = "No such file", body = ErrorEnvelope),
        (status = 416, description = "The file has no such bytes", body = ErrorEnvelope),
    ))]
pub async fn get_file_content(
    State(app): State<App>,
    caller: Caller<FilesRead>,
    ApiId(id): ApiId<FileId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = app.files.get(caller.project, id).await?;
    let etag = format!("\"{}\"", file.sha256);
    let total = file.bytes.unsigned_abs();
    let (status, range) = match wanted(&headers, total, &etag) {
        Wanted::Whole => (StatusCode::OK, None),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Wanted::Nothing => return Ok(no_such_bytes(total)),
    };
    let stream = app.files.content(&file, range.clone()).await?;
    let mut response = (status, Body::from_stream(stream)).into_response();
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answered.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answered.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(range.as_ref().map_or(total, |range| range.end - range.start)),
    );
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answered.insert(header::ETAG, etag);
    }
    if let Some(digest) = checksums::repr_digest(&file.sha256) {
        answered.insert(checksums::REPR_DIGEST, digest);
    }
    if let Some(range) = range {
        content_range(answered, &format!("bytes {}-{}/{total}", range.start, range.end - 1));
    }
    Ok(response)
}

fn content_range(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

fn no_such_bytes(total: u64) -> Response {
    let message = format!("Range: the file has {total} bytes.");
    let mut response = ApiError::new(ErrorCode::RangeNotSatisfiable, message).at("Range").into_response();
    content_range(response.headers_mut(), &format!("bytes */{total}"));
    response
}
