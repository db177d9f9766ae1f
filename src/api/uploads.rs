//! `/v1/uploads`: files that come in parts, as stock clients send large ones.

use axum::Json;
use axum::extract::FromRequest;
use axum::extract::Multipart;
use axum::extract::Request;
use axum::extract::State;
use futures::TryStreamExt;

use crate::api::auth::Caller;
use crate::api::auth::FilesWrite;
use crate::api::checksums;
use crate::api::dto::uploads::CompleteUpload;
use crate::api::dto::uploads::CreateUpload;
use crate::api::dto::uploads::PartObject;
use crate::api::dto::uploads::PartUpload;
use crate::api::dto::uploads::UploadObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiJson;
use crate::api::files::FormError;
use crate::api::files::broken_form;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::PartId;
use crate::domain::ids::UploadId;
use crate::domain::labels::is_label_name;
use crate::service::CompletedUpload;
use crate::service::Completion;
use crate::service::PartRow;
use crate::service::ServiceError;
use crate::service::UploadRow;
use crate::service::check_checksums;

/// Create an upload
///
/// For a file sent in parts. The upload accepts parts for an hour.
#[utoipa::path(post, path = "/uploads", tag = "uploads", security(("key" = [])), request_body = CreateUpload, responses(
    (status = 200, description = "The upload", body = UploadObject),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 429, description = "Too many pending uploads", body = ErrorEnvelope),
))]
pub async fn create_upload(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    once: Once,
    ApiJson(body): ApiJson<CreateUpload>,
) -> Result<Json<UploadObject>, ApiError> {
    let record = once.json(|upload: &UploadRow| UploadObject::new(upload.clone(), None));
    let row = app.uploads.create(caller.project, body.into(), record).await?;
    Ok(Json(UploadObject::new(row, None)))
}

/// Add a part
///
/// Parts may be sent in any order and concurrently; completing the upload names their order.
#[utoipa::path(post, path = "/uploads/{upload_id}/parts", tag = "uploads", security(("key" = [])),
    params(("upload_id" = String, Path, description = "Id of the upload"),
        ("x-amz-checksum-sha256" = Option<String>, Header, pattern = "^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$", description = "SHA-256 of the part's bytes in base64, to be checked; so may the part `data` have `Content-Digest`")),
    request_body(content = PartUpload, content_type = "multipart/form-data"), responses(
        (status = 200, description = "The part", body = PartObject),
        (status = 400, description = "The form cannot be read, or the bytes are not those of the checksum", body = ErrorEnvelope),
        (status = 404, description = "No such upload", body = ErrorEnvelope),
        (status = 409, description = "The upload no longer accepts parts", body = ErrorEnvelope),
        (status = 413, description = "Too large", body = ErrorEnvelope),
    ))]
pub async fn create_upload_part(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    ApiId(id): ApiId<UploadId>,
    once: Once,
    request: Request,
) -> Result<Json<PartObject>, ApiError> {
    let invalid = |message: &str| ApiError::new(ErrorCode::InvalidForm, message);
    let mut checksums: Vec<_> = checksums::of_request(request.headers())?.into_iter().collect();
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| invalid("Send a multipart form with the field data."))?;
    let Some(field) = form.next_field().await.map_err(broken_form)? else {
        return Err(invalid("The form has no field 'data'.").at("data"));
    };
    match field.name().unwrap_or_default() {
        "data" => {}
        name => return Err(unknown(name)),
    }
    checksums.extend(checksums::of_part(field.headers())?);
    let part = app.uploads.receive_part(caller.project, id, field.map_err(FormError)).await?;
    let checked = check_checksums(&checksums, &part.sha256).map_err(ApiError::from);
    if let Err(refused) = checked.and(refuse_more(&mut form).await) {
        app.uploads.forget_part(&part).await?;
        return Err(refused);
    }
    let record = once.json(|part: &PartRow| PartObject::from(part.clone()));
    Ok(Json(app.uploads.keep_part(caller.project, id, &part, record).await?.into()))
}

/// A part's form has one field.
async fn refuse_more(form: &mut Multipart) -> Result<(), ApiError> {
    match form.next_field().await.map_err(broken_form)? {
        None => Ok(()),
        Some(field) => Err(unknown(field.name().unwrap_or_default())),
    }
}

fn unknown(name: &str) -> ApiError {
    if is_label_name(name) {
        return ServiceError::label_present(name, name).into();
    }
    let message = format!("A part has the field 'data', once, and no field '{name}'.");
    ServiceError::new(ErrorCode::UnknownField, message).at(name).into()
}

/// Complete an upload
///
/// The parts, in the order named, are checked as one file: a row that is malformed or carries a label refuses it and names the
/// line, and the upload stays pending.
#[utoipa::path(post, path = "/uploads/{upload_id}/complete", tag = "uploads", security(("key" = [])),
    params(("upload_id" = String, Path, description = "Id of the upload")), request_body = CompleteUpload, responses(
        (status = 200, description = "The upload with its file", body = UploadObject),
        (status = 400, description = "A row is malformed or carries a label; sizes or checksum differ", body = ErrorEnvelope),
        (status = 404, description = "No such upload or part", body = ErrorEnvelope),
        (status = 409, description = "The upload is not pending", body = ErrorEnvelope),
    ))]
pub async fn complete_upload(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    ApiId(id): ApiId<UploadId>,
    once: Once,
    ApiJson(body): ApiJson<CompleteUpload>,
) -> Result<Json<UploadObject>, ApiError> {
    let parse = |id: &String| id.parse().map_err(|_| ServiceError::not_found("part", id).at("part_ids"));
    let parts = body.part_ids.iter().map(parse).collect::<Result<Vec<PartId>, _>>()?;
    let sha256 = body.sha256.as_deref().map(checksums::of_field).transpose()?;
    let completion = Completion { parts, md5: body.md5, sha256, inputs_only: body.inputs_only };
    let record = once.json(|done: &CompletedUpload| completed(done.clone()));
    let done = async move { app.uploads.complete(caller.project, id, completion, record).await };
    Ok(Json(completed(to_the_end(done).await?)))
}

fn completed(done: CompletedUpload) -> UploadObject {
    UploadObject::new(done.upload, Some(done.file))
}

/// Cancel an upload
///
/// Its parts are deleted.
#[utoipa::path(post, path = "/uploads/{upload_id}/cancel", tag = "uploads", security(("key" = [])),
    params(("upload_id" = String, Path, description = "Id of the upload")), responses(
        (status = 200, description = "The upload", body = UploadObject),
        (status = 404, description = "No such upload", body = ErrorEnvelope),
        (status = 409, description = "The upload is not pending", body = ErrorEnvelope),
    ))]
pub async fn cancel_upload(
    State(app): State<App>,
    caller: Caller<FilesWrite>,
    ApiId(id): ApiId<UploadId>,
    once: Once,
) -> Result<Json<UploadObject>, ApiError> {
    let record = once.json(|upload: &UploadRow| UploadObject::new(upload.clone(), None));
    let row = to_the_end(async move { app.uploads.cancel(caller.project, id, record).await }).await?;
    Ok(Json(UploadObject::new(row, None)))
}
