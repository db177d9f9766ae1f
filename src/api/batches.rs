//! `/v1/batches`: many requests in one file. Stock clients send empty bodies with a JSON content type on the verb; it takes no body
//! extractor.

use axum::Json;
use axum::extract::State;

use crate::api::auth::Caller;
use crate::api::auth::FilesRead;
use crate::api::auth::JobsRead;
use crate::api::auth::StepsWrite;
use crate::api::dto::batches::BatchObject;
use crate::api::dto::batches::CreateBatch;
use crate::api::dto::list::List;
use crate::api::dto::list::Paging;
use crate::api::dto::list::page;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiJson;
use crate::api::extract::ApiQuery;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::domain::ids::BatchId;
use crate::service::BatchRow;

/// Create a batch
///
/// The requests in a file of purpose `batch`, one a line, are answered by the host in its own time, within 24 hours: with what a live call
/// of the endpoint answers. The lines are checked first; where one cannot be read, the batch fails and `errors` says which, before
/// anything is answered. Answers come as a file (`output_file_id`), requests that were refused as another (`error_file_id`). Needs the
/// scope `files:read` besides, for the file.
#[utoipa::path(post, path = "/batches", tag = "batches", security(("key" = [])), request_body = CreateBatch, responses(
    (status = 200, description = "The batch", body = BatchObject),
    (status = 400, description = "A field is wrong, unknown, or looks like a label; the file is no batch file", body = ErrorEnvelope),
    (status = 404, description = "No such file", body = ErrorEnvelope),
    (status = 413, description = "`storage_exceeded`: the project has no room for answers", body = ErrorEnvelope),
    (status = 429, description = "Too many open batches, or the budget is spent", body = ErrorEnvelope),
))]
pub async fn create_batch(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    _: Caller<FilesRead>,
    once: Once,
    ApiJson(body): ApiJson<CreateBatch>,
) -> Result<Json<BatchObject>, ApiError> {
    let record = once.json(|batch: &BatchRow| BatchObject::from(batch.clone()));
    Ok(Json(app.batches.create(caller.project, caller.key, body.try_into()?, record).await?.into()))
}

/// List batches
///
/// Newest first.
#[utoipa::path(get, path = "/batches", tag = "batches", security(("key" = [])), params(Paging), responses(
    (status = 200, description = "A page of batches", body = List<BatchObject>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_batches(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiQuery(query): ApiQuery<Paging>,
) -> Result<Json<List<BatchObject>>, ApiError> {
    let page = page::<BatchId>(query.after.as_deref(), query.limit, None, &app.limits)?;
    let found = app.batches.list(caller.project, page).await?;
    let data = found.rows.into_iter().map(BatchObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |batch: &BatchObject| batch.id.clone())))
}

/// Get a batch
///
/// With its status, its counts, and the files of its answers once it is over.
#[utoipa::path(get, path = "/batches/{batch_id}", tag = "batches", security(("key" = [])),
    params(("batch_id" = String, Path, description = "Id of the batch")), responses(
        (status = 200, description = "The batch", body = BatchObject),
        (status = 404, description = "No such batch", body = ErrorEnvelope),
    ))]
pub async fn get_batch(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<BatchId>,
) -> Result<Json<BatchObject>, ApiError> {
    Ok(Json(app.batches.get(caller.project, id).await?.into()))
}

/// Cancel a batch
///
/// It is `cancelling` until the files of what was answered are written, and then `cancelled`.
#[utoipa::path(post, path = "/batches/{batch_id}/cancel", tag = "batches", security(("key" = [])),
    params(("batch_id" = String, Path, description = "Id of the batch")), responses(
        (status = 200, description = "The batch", body = BatchObject),
        (status = 404, description = "No such batch", body = ErrorEnvelope),
        (status = 409, description = "The batch is over", body = ErrorEnvelope),
    ))]
pub async fn cancel_batch(
    State(app): State<App>,
    caller: Caller<StepsWrite>,
    ApiId(id): ApiId<BatchId>,
    once: Once,
) -> Result<Json<BatchObject>, ApiError> {
    let record = once.json(|batch: &BatchRow| BatchObject::from(batch.clone()));
    let batch = to_the_end(async move { app.batches.cancel(caller.project, id, record).await }).await?;
    Ok(Json(batch.into()))
}
