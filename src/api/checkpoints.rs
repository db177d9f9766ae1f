//! `/v1/fine_tuning/jobs/{job_id}/checkpoints`, and one checkpoint: its time to live, its adapters.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::JobsWrite;
use crate::api::auth::StepsWrite;
use crate::api::dto::Binary;
use crate::api::dto::checkpoints::CheckpointObject;
use crate::api::dto::checkpoints::CreateCheckpoint;
use crate::api::dto::checkpoints::UpdateCheckpoint;
use crate::api::dto::files::Deleted;
use crate::api::dto::list::List;
use crate::api::dto::list::Paging;
use crate::api::dto::list::page;
use crate::api::dto::models::FolderQuery;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiBytes;
use crate::api::extract::ApiId;
use crate::api::extract::ApiIds;
use crate::api::extract::ApiJson;
use crate::api::extract::ApiQuery;
use crate::api::extract::json_of;
use crate::api::folders::archive;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::domain::ids::CheckpointId;
use crate::domain::ids::JobId;
use crate::service::CheckpointRow;
use crate::service::NewCheckpoint;
use crate::service::Sent;

/// List a job's checkpoints
///
/// Newest first.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/checkpoints", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), Paging), responses(
        (status = 200, description = "A page of checkpoints", body = List<CheckpointObject>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn list_checkpoints(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<CheckpointObject>>, ApiError> {
    let page = page::<CheckpointId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.jobs.checkpoints(caller.project, id, page).await?;
    let data = found.rows.into_iter().map(CheckpointObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |checkpoint: &CheckpointObject| checkpoint.id.clone())))
}

/// Save a checkpoint
///
/// The adapters, and in host custody the optimizer's state. The body may be left out.
#[utoipa::path(post, path = "/fine_tuning/jobs/{job_id}/checkpoints", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), request_body = Option<CreateCheckpoint>, responses(
        (status = 200, description = "The checkpoint", body = CheckpointObject),
        (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "The job does not run, or the host lacks its adapters", body = ErrorEnvelope),
    ))]
pub async fn create_checkpoint(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(id): ApiId<JobId>,
    headers: axum::http::HeaderMap,
    once: Once,
    ApiBytes(bytes): ApiBytes,
) -> Result<Json<CheckpointObject>, ApiError> {
    let body = if bytes.is_empty() {
        CreateCheckpoint::default()
    } else {
        json_of::<Option<CreateCheckpoint>>(&headers, &bytes)?.unwrap_or_default()
    };
    let sent = Sent::new(caller.key, "checkpoint", "", &bytes);
    let new = NewCheckpoint { expires_after: body.expires_after.map(Into::into), sent };
    let record = once.json(|checkpoint: &CheckpointRow| CheckpointObject::from(checkpoint.clone()));
    let row = to_the_end(async move { app.steps.checkpoint(caller.project, id, new, record).await }).await?;
    Ok(Json(row.into()))
}

/// Get a checkpoint
///
/// Its size, its checksum, the step it was saved at, and when it expires.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("checkpoint_id" = String, Path, description = "Id of the checkpoint")),
    responses(
        (status = 200, description = "The checkpoint", body = CheckpointObject),
        (status = 404, description = "No such checkpoint", body = ErrorEnvelope),
    ))]
pub async fn get_checkpoint(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiIds(job, id): ApiIds<JobId, CheckpointId>,
) -> Result<Json<CheckpointObject>, ApiError> {
    Ok(Json(app.jobs.checkpoint(caller.project, job, id).await?.into()))
}

/// Change a checkpoint's expiry
///
/// An expired checkpoint is deleted, unless an open job would resume from it.
#[utoipa::path(patch, path = "/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("checkpoint_id" = String, Path, description = "Id of the checkpoint")),
    request_body = UpdateCheckpoint, responses(
        (status = 200, description = "The checkpoint", body = CheckpointObject),
        (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
        (status = 404, description = "No such checkpoint", body = ErrorEnvelope),
    ))]
pub async fn update_checkpoint(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiIds(job, id): ApiIds<JobId, CheckpointId>,
    ApiJson(body): ApiJson<UpdateCheckpoint>,
) -> Result<Json<CheckpointObject>, ApiError> {
    let life = body.expires_after.map(Into::into);
    Ok(Json(app.jobs.set_checkpoint_expiry(caller.project, job, id, life).await?.into()))
}

/// Delete a checkpoint
///
/// With its state. The newest checkpoint of a job that could still resume cannot be deleted.
#[utoipa::path(delete, path = "/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("checkpoint_id" = String, Path, description = "Id of the checkpoint")),
    responses(
        (status = 200, description = "Deleted", body = Deleted),
        (status = 404, description = "No such checkpoint", body = ErrorEnvelope),
        (status = 409, description = "An open job would resume from it", body = ErrorEnvelope),
    ))]
pub async fn delete_checkpoint(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiIds(job, id): ApiIds<JobId, CheckpointId>,
) -> Result<Json<Deleted>, ApiError> {
    app.jobs.delete_checkpoint(caller.project, job, id).await?;
    Ok(Json(Deleted { id: id.to_string(), object: "fine_tuning.job.checkpoint", deleted: true }))
}

/// Download a checkpoint's adapters
///
/// A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on; with `set`, the two files
/// of that set. `peft.PeftModel.from_pretrained` loads each folder.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}/content", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), ("checkpoint_id" = String, Path, description = "Id of the checkpoint"), FolderQuery),
    responses(
        (status = 200, description = "The zip", content_type = "application/zip", body = Binary),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such checkpoint or set", body = ErrorEnvelope),
    ))]
pub async fn get_checkpoint_content(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiIds(job, id): ApiIds<JobId, CheckpointId>,
    ApiQuery(query): ApiQuery<FolderQuery>,
) -> Result<Response, ApiError> {
    Ok(archive(app.jobs.checkpoint_folder(caller.project, job, id, query.set).await?))
}
