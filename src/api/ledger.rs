//! `/v1/fine_tuning/jobs/{job_id}/ledger`: what the host was sent, by name, shape and hash; never the contents.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::dto::list::List;
use crate::api::dto::list::page;
use crate::api::dto::steps::LedgerEntry;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::limits::LARGEST_WHOLE;
use crate::service::ServiceError;

/// Where a page of the ledger begins and how long it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerPaging {
    /// Cursor: the page starts after this id.
    pub after: Option<i64>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// List what the host was sent
///
/// Oldest first: names, shapes, sizes and hashes of every call's tensors. Never the contents.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/ledger", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job"), LedgerPaging), responses(
        (status = 200, description = "A page of the ledger", body = List<LedgerEntry>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn list_ledger(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
    ApiQuery(paging): ApiQuery<LedgerPaging>,
) -> Result<Json<List<LedgerEntry>>, ApiError> {
    let limit = page::<JobId>(None, paging.limit, None, &app.limits)?.limit;
    let after = paging.after.unwrap_or(0);
    if after > LARGEST_WHOLE {
        return Err(ServiceError::new(
            ErrorCode::InvalidQuery,
            "after: unknown cursor: it must be the id of an object in this list.",
        )
        .at("after")
        .into());
    }
    let found = app.jobs.ledger(caller.project, id, after, limit).await?;
    let data = found.rows.into_iter().map(LedgerEntry::from).collect();
    Ok(Json(List::new(data, found.has_more, |entry: &LedgerEntry| entry.id.clone())))
}
