//! `/v1/me`, `/v1/api_keys`, `/v1/usage`, `/v1/audit_log`.

use axum::Json;
use axum::extract::State;

use crate::api::auth::Admin;
use crate::api::auth::AnyKey;
use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::dto::account::ApiKeyObject;
use crate::api::dto::account::AuditEntry;
use crate::api::dto::account::CreateApiKey;
use crate::api::dto::account::MeObject;
use crate::api::dto::account::NewApiKey;
use crate::api::dto::account::RotateApiKey;
use crate::api::dto::account::UpdateApiKey;
use crate::api::dto::account::UsageQuery;
use crate::api::dto::account::UsageReport;
use crate::api::dto::files::Deleted;
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
use crate::domain::ids::AuditId;
use crate::domain::ids::KeyId;
use crate::service::Rotation;

/// Get the key that asks
///
/// Which key this is, of which project, what it may do and until when. Any valid key may ask.
#[utoipa::path(get, path = "/me", tag = "governance", security(("key" = [])), responses(
    (status = 200, description = "The key and its project", body = MeObject),
))]
pub async fn get_me(State(app): State<App>, caller: AnyKey) -> Result<Json<MeObject>, ApiError> {
    Ok(Json(app.keys.standing(caller.project, caller.key).await?.into()))
}

/// List API keys
///
/// The project's keys, newest first, without their secrets. Needs the scope `admin`.
#[utoipa::path(get, path = "/api_keys", tag = "governance", security(("key" = [])), params(Paging), responses(
    (status = 200, description = "A page of keys", body = List<ApiKeyObject>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_api_keys(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<ApiKeyObject>>, ApiError> {
    let page = page::<KeyId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.keys.page(caller.project, page).await?;
    let data = found.rows.into_iter().map(ApiKeyObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |key: &ApiKeyObject| key.id.clone())))
}

/// Create an API key
///
/// For the caller's own project, within the limits of the caller's key: rates and budgets that are left out are its own, higher ones are
/// refused, and the new key does not outlive it. The key's secret is in this response and nowhere else. Needs the scope `admin`.
#[utoipa::path(post, path = "/api_keys", tag = "governance", security(("key" = [])), request_body = CreateApiKey, responses(
    (status = 200, description = "The key, shown only once", body = NewApiKey),
    (status = 400, description = "A field is wrong or unknown", body = ErrorEnvelope),
    (status = 409, description = "An earlier request with this Idempotency-Key made it", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
    (status = 422, description = "The Idempotency-Key was used with another body", body = ErrorEnvelope),
))]
pub async fn create_api_key(
    State(app): State<App>,
    caller: Caller<Admin>,
    once: Once,
    ApiJson(body): ApiJson<CreateApiKey>,
) -> Result<Json<NewApiKey>, ApiError> {
    let (row, key) = app.keys.create(caller.key, body.try_into()?, once.secret()).await?;
    Ok(Json(NewApiKey { shown: row.into(), key }))
}

/// Get an API key
///
/// Without its secret. Needs the scope `admin`.
#[utoipa::path(get, path = "/api_keys/{key_id}", tag = "governance", security(("key" = [])),
    params(("key_id" = String, Path, description = "Id of the key")), responses(
    (status = 200, description = "The key", body = ApiKeyObject),
    (status = 404, description = "No such key", body = ErrorEnvelope),
))]
pub async fn get_api_key(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiId(id): ApiId<KeyId>,
) -> Result<Json<ApiKeyObject>, ApiError> {
    Ok(Json(app.keys.get(caller.project, id).await?.into()))
}

/// Update an API key
///
/// Its name, scopes or limits; what is left out stays. Limits are within those of the caller's key. Takes effect at once on this host, and
/// within `keys.cache_secs` on others. Needs the scope `admin`.
#[utoipa::path(patch, path = "/api_keys/{key_id}", tag = "governance", security(("key" = [])),
    params(("key_id" = String, Path, description = "Id of the key")), request_body = UpdateApiKey, responses(
    (status = 200, description = "The key", body = ApiKeyObject),
    (status = 400, description = "A field is wrong or unknown, or the key would have more than the caller's", body = ErrorEnvelope),
    (status = 404, description = "No such key", body = ErrorEnvelope),
    (status = 409, description = "The key has ended", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
))]
pub async fn update_api_key(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiId(id): ApiId<KeyId>,
    ApiJson(body): ApiJson<UpdateApiKey>,
) -> Result<Json<ApiKeyObject>, ApiError> {
    Ok(Json(app.keys.change(caller.project, caller.key, id, body.into_change()?).await?.into()))
}

/// Revoke an API key
///
/// Takes effect at once on this host, and within `keys.cache_secs` on others. Needs the scope `admin`.
#[utoipa::path(delete, path = "/api_keys/{key_id}", tag = "governance", security(("key" = [])),
    params(("key_id" = String, Path, description = "Id of the key")), responses(
    (status = 200, description = "It is revoked", body = Deleted),
    (status = 404, description = "No such key, or it is revoked", body = ErrorEnvelope),
))]
pub async fn revoke_api_key(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiId(id): ApiId<KeyId>,
) -> Result<Json<Deleted>, ApiError> {
    app.keys.revoke(Some(caller.project), id).await?;
    Ok(Json(Deleted { id: id.to_string(), object: "api_key", deleted: true }))
}

/// Rotate an API key
///
/// Makes a new key with the name, scopes and limits of an old one, which ends `overlap_seconds` later: until then both work. The new one lives
/// 90 days, or until the caller's key ends, as any new key; one with more than the caller's key may is refused. The new key's secret is in
/// this response and nowhere else. Needs the scope `admin`.
#[utoipa::path(post, path = "/api_keys/{key_id}/rotate", tag = "governance", security(("key" = [])),
    params(("key_id" = String, Path, description = "Id of the key")), request_body = RotateApiKey, responses(
    (status = 200, description = "The new key, shown only once", body = NewApiKey),
    (status = 400, description = "A field is wrong or unknown, or the key may more than the caller's", body = ErrorEnvelope),
    (status = 404, description = "No such key", body = ErrorEnvelope),
    (status = 409, description = "The key has ended, or an earlier request with this Idempotency-Key did it", body = ErrorEnvelope),
    (status = 413, description = "The body is too large", body = ErrorEnvelope),
    (status = 415, description = "The body is not JSON", body = ErrorEnvelope),
    (status = 422, description = "The Idempotency-Key was used with another body", body = ErrorEnvelope),
))]
pub async fn rotate_api_key(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiId(id): ApiId<KeyId>,
    once: Once,
    ApiJson(body): ApiJson<RotateApiKey>,
) -> Result<Json<NewApiKey>, ApiError> {
    let rotation = Rotation { project: caller.project, maker: caller.key, old: id, overlap: body.overlap()? };
    let (row, key) = app.keys.rotate(rotation, once.secret()).await?;
    Ok(Json(NewApiKey { shown: row.into(), key }))
}

/// Get usage
///
/// What the project used, by key, model and day (UTC), or by job, as asked for. Work on the device is counted with the step that did it;
/// requests are counted within a second or two. `budgets` says what is left of this month's.
#[utoipa::path(get, path = "/usage", tag = "governance", security(("key" = [])), params(UsageQuery), responses(
    (status = 200, description = "The report", body = UsageReport),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn get_usage(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiQuery(query): ApiQuery<UsageQuery>,
) -> Result<Json<UsageReport>, ApiError> {
    Ok(Json(app.usage.report(caller.project, query.asked(caller.key)?).await?.into()))
}

/// List the audit log
///
/// Who changed what in the project, newest first; steps are in the ledger of their job. Needs the scope `admin`.
#[utoipa::path(get, path = "/audit_log", tag = "governance", security(("key" = [])), params(Paging), responses(
    (status = 200, description = "A page of entries", body = List<AuditEntry>),
    (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
))]
pub async fn list_audit_log(
    State(app): State<App>,
    caller: Caller<Admin>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<List<AuditEntry>>, ApiError> {
    let page = page::<AuditId>(paging.after.as_deref(), paging.limit, None, &app.limits)?;
    let found = app.audit_log.list(caller.project, page).await?;
    let data = found.rows.into_iter().map(AuditEntry::from).collect();
    Ok(Json(List::new(data, found.has_more, |entry: &AuditEntry| entry.id.clone())))
}
