//! `/v1/models`. A name may hold slashes, raw or percent-encoded.

use axum::Json;
use axum::extract::State;

use crate::api::auth::Caller;
use crate::api::auth::ModelsRead;
use crate::api::auth::ModelsWrite;
use crate::api::dto::files::Deleted;
use crate::api::dto::models::ModelList;
use crate::api::dto::models::ModelObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::state::App;

/// List models
///
/// All backbones of the host and the project's own fine-tuned models.
#[utoipa::path(get, path = "/models", tag = "models", security(("key" = [])), responses(
    (status = 200, description = "The models", body = ModelList),
))]
pub async fn list_models(State(app): State<App>, caller: Caller<ModelsRead>) -> Result<Json<ModelList>, ApiError> {
    let data = app.models.list(caller.project).await?.into_iter().map(ModelObject::from).collect();
    Ok(Json(ModelList { object: "list", data, has_more: false }))
}

/// Get a model
///
/// A backbone, or a fine-tuned model of the project. A name may hold slashes, raw or as `%2F`.
#[utoipa::path(get, path = "/models/{*model}", tag = "models", security(("key" = [])), params(("model" = String, Path, description = "Name of the model")),
    responses(
        (status = 200, description = "The model", body = ModelObject),
        (status = 404, description = "No such model", body = ErrorEnvelope),
    ))]
pub async fn get_model(
    State(app): State<App>,
    caller: Caller<ModelsRead>,
    ApiId(model): ApiId<String>,
) -> Result<Json<ModelObject>, ApiError> {
    Ok(Json(app.models.get(caller.project, &model).await?.into()))
}

/// Delete a fine-tuned model
///
/// With its adapters. Backbones are the operator's.
#[utoipa::path(delete, path = "/models/{*model}", tag = "models", security(("key" = [])), params(("model" = String, Path, description = "Name of the model")),
    responses(
        (status = 200, description = "Deleted", body = Deleted),
        (status = 403, description = "A backbone cannot be deleted", body = ErrorEnvelope),
        (status = 404, description = "No such model", body = ErrorEnvelope),
    ))]
pub async fn delete_model(
    State(app): State<App>,
    caller: Caller<ModelsWrite>,
    ApiId(model): ApiId<String>,
) -> Result<Json<Deleted>, ApiError> {
    app.models.delete(caller.project, &model).await?;
    Ok(Json(Deleted { id: model, object: "model", deleted: true }))
}
