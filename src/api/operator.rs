//! `/v1/host`, `/v1/host/models`, `/v1/nodes` and `/v1/projects`: what an operator sees and sets. Owns no rule; must never show what is in a project.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::api::auth::Caller;
use crate::api::auth::Operator;
use crate::api::dto::account::CreateApiKey;
use crate::api::dto::account::NewApiKey;
use crate::api::dto::files::Deleted;
use crate::api::dto::list::List;
use crate::api::dto::list::Paging;
use crate::api::dto::list::page;
use crate::api::dto::models::ModelObject;
use crate::api::dto::nodes::NodeList;
use crate::api::dto::nodes::NodeObject;
use crate::api::dto::nodes::UpdateNode;
use crate::api::dto::operator::CreateProject;
use crate::api::dto::operator::HostMessage;
use crate::api::dto::operator::HostObject;
use crate::api::dto::operator::HostQuery;
use crate::api::dto::operator::OfferModel;
use crate::api::dto::operator::ProjectLimits;
use crate::api::dto::operator::ProjectObject;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiJson;
use crate::api::extract::ApiQuery;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::streams;
use crate::domain::ids::NodeId;
use crate::domain::ids::ProjectId;
use crate::service::ProjectStanding;

/// Get the host
///
/// This host as it is now: its device and the queue before it, memory that is held, connections, streams; and which hosts of its database are
/// at work on how many jobs. With `Accept: text/event-stream`, or `stream=true`, as server-sent events instead: one of the name `host` every
/// second, with this object as its data. Needs the scope `operator`.
#[utoipa::path(get, path = "/host", tag = "operator", security(("key" = [])), params(HostQuery), responses(
    (status = 200, description = "The host, or a stream of what it is",
        content((HostObject = "application/json"), (HostMessage = "text/event-stream"))),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
    (status = 429, description = "`too_many_project_streams`, or a rate is over its limit", body = ErrorEnvelope),
    (status = 503, description = "`too_many_streams`, or a part of the host is away", body = ErrorEnvelope),
))]
pub async fn get_host(
    State(app): State<App>,
    caller: Caller<Operator>,
    ApiQuery(query): ApiQuery<HostQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if streams::is_wanted(&headers, query.stream) {
        return streams::watch_host(&app, caller.project, &headers);
    }
    Ok(Json(HostObject::from(app.monitor.view().await?)).into_response())
}

/// Offer a backbone
///
/// Under this name, to all projects: the Hugging Face folder in the host's `state.models_dir`. A name that is offered already moves to that
/// folder. Needs the scope `operator`.
#[utoipa::path(put, path = "/host/models/{*model}", tag = "operator", security(("key" = [])),
    params(("model" = String, Path, description = "Name that clients will use")), request_body = OfferModel, responses(
    (status = 200, description = "The backbone", body = ModelObject),
    (status = 400, description = "A field is wrong or unknown, or the folder is no backbone", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
    (status = 422, description = "The folder's weights cannot be taken", body = ErrorEnvelope),
))]
pub async fn offer_model(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(model): ApiId<String>,
    ApiJson(body): ApiJson<OfferModel>,
) -> Result<Json<ModelObject>, ApiError> {
    Ok(Json(app.backbones.offer(&body.folder, &model).await?.into()))
}

/// Withdraw a backbone
///
/// It is offered no longer; its files stay. Refused while jobs that are not over, or fine-tuned models, need it. Needs the scope `operator`.
#[utoipa::path(delete, path = "/host/models/{*model}", tag = "operator", security(("key" = [])),
    params(("model" = String, Path, description = "Name of the backbone")), responses(
    (status = 200, description = "Withdrawn", body = Deleted),
    (status = 404, description = "No such backbone", body = ErrorEnvelope),
    (status = 409, description = "It is needed", body = ErrorEnvelope),
))]
pub async fn withdraw_model(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(model): ApiId<String>,
) -> Result<Json<Deleted>, ApiError> {
    app.backbones.remove(&model).await?;
    Ok(Json(Deleted { id: model, object: "model", deleted: true }))
}

/// List nodes
///
/// The hosts of the fleet: where each is reached, how many sessions it has, whether it lives and whether it drains; one that died stays in
/// the list for an hour. Needs the scope `operator`.
#[utoipa::path(get, path = "/nodes", tag = "operator", security(("key" = [])), responses(
    (status = 200, description = "The nodes, the oldest first", body = NodeList),
))]
pub async fn list_nodes(State(app): State<App>, _caller: Caller<Operator>) -> Result<Json<NodeList>, ApiError> {
    let data = app.fleet.nodes.list().await?.into_iter().map(NodeObject::from).collect();
    Ok(Json(NodeList { object: "list", data, has_more: false }))
}

/// Drain a node
///
/// With `draining` true it opens no session any more and hands those that it has over to the other nodes, one after the other; false takes
/// it back. It hears of it within a second. Needs the scope `operator`.
#[utoipa::path(patch, path = "/nodes/{node_id}", tag = "operator", security(("key" = [])),
    params(("node_id" = String, Path, description = "Id of the node")), request_body = UpdateNode, responses(
    (status = 200, description = "The node", body = NodeObject),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 404, description = "No such node", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
))]
pub async fn update_node(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(id): ApiId<NodeId>,
    ApiJson(body): ApiJson<UpdateNode>,
) -> Result<Json<NodeObject>, ApiError> {
    Ok(Json(app.fleet.nodes.set_draining(id.0, body.draining).await?.into()))
}

/// List projects
///
/// All projects of this database, newest first, with their limits, open jobs, use of this month and stored bytes. Needs the scope `operator`.
#[utoipa::path(get, path = "/projects", tag = "operator", security(("key" = [])), params(Paging), responses(
    (status = 200, description = "A page of projects", body = List<ProjectObject>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_projects(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<ProjectObject>>, ApiError> {
    let page = page::<ProjectId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.tenants.list(page).await?;
    let data = found.rows.into_iter().map(ProjectObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |project: &ProjectObject| project.id.clone())))
}

/// Create a project
///
/// A tenant without limits of its own and without keys: set limits, and make it a key, next. Needs the scope `operator`.
#[utoipa::path(post, path = "/projects", tag = "operator", security(("key" = [])), request_body = CreateProject, responses(
    (status = 200, description = "The project", body = ProjectObject),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 409, description = "There is a project of that name", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
    (status = 422, description = "The Idempotency-Key was used with another body", body = ErrorEnvelope),
))]
pub async fn create_project(
    State(app): State<App>,
    _caller: Caller<Operator>,
    once: Once,
    ApiJson(body): ApiJson<CreateProject>,
) -> Result<Json<ProjectObject>, ApiError> {
    let record = once.json(|made: &ProjectStanding| ProjectObject::from(made.clone()));
    Ok(Json(app.tenants.create(&body.name, record).await?.into()))
}

/// Get a project
///
/// With its limits, open jobs, use of this month and stored bytes. Needs the scope `operator`.
#[utoipa::path(get, path = "/projects/{project_id}", tag = "operator", security(("key" = [])),
    params(("project_id" = String, Path, description = "Id of the project")), responses(
    (status = 200, description = "The project", body = ProjectObject),
    (status = 404, description = "No such project", body = ErrorEnvelope),
))]
pub async fn get_project(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(id): ApiId<ProjectId>,
) -> Result<Json<ProjectObject>, ApiError> {
    Ok(Json(app.tenants.get(id).await?.into()))
}

/// Set a project's limits
///
/// All of them: one that is left out is taken away, and the host's own holds. Hosts follow within `keys.cache_secs`. Needs the scope
/// `operator`.
#[utoipa::path(put, path = "/projects/{project_id}/limits", tag = "operator", security(("key" = [])),
    params(("project_id" = String, Path, description = "Id of the project")), request_body = ProjectLimits, responses(
    (status = 200, description = "The project", body = ProjectObject),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 404, description = "No such project", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
))]
pub async fn limit_project(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(id): ApiId<ProjectId>,
    ApiJson(body): ApiJson<ProjectLimits>,
) -> Result<Json<ProjectObject>, ApiError> {
    Ok(Json(app.tenants.limit(id, body.into()).await?.into()))
}

/// Create a key for a project
///
/// Of any scopes and limits: an `admin` key is what a new customer begins with. The key's secret is in this response and nowhere else.
/// Needs the scope `operator`.
#[utoipa::path(post, path = "/projects/{project_id}/api_keys", tag = "operator", security(("key" = [])),
    params(("project_id" = String, Path, description = "Id of the project")), request_body = CreateApiKey, responses(
    (status = 200, description = "The key, shown only once", body = NewApiKey),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 404, description = "No such project", body = ErrorEnvelope),
    (status = 409, description = "An earlier request with this Idempotency-Key made it", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
    (status = 422, description = "The Idempotency-Key was used with another body", body = ErrorEnvelope),
))]
pub async fn create_project_key(
    State(app): State<App>,
    _caller: Caller<Operator>,
    ApiId(id): ApiId<ProjectId>,
    once: Once,
    ApiJson(body): ApiJson<CreateApiKey>,
) -> Result<Json<NewApiKey>, ApiError> {
    let (row, key) = app.keys.create_in(id, body.try_into()?, once.secret()).await?;
    Ok(Json(NewApiKey { shown: row.into(), key }))
}
