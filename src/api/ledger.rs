//! `/v1/fine_tuning/jobs/{job_id}/ledger`: what the host was sent, by name, shape and hash; never the contents.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::dto::ledger::LedgerEntry;
use crate::api::dto::ledger::LedgerSummary;
use crate::api::dto::list::List;
use crate::api::dto::list::Order;
use crate::api::dto::list::page;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiQuery;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::limits::LARGEST_WHOLE;
use crate::domain::limits::Limits;
use crate::service::LedgerPage;
use crate::service::PageRequest;
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
    /// By the time of the call; oldest first by default.
    #[param(inline)]
    pub order: Option<Order>,
}

impl LedgerPaging {
    fn page(&self, limits: &Limits) -> Result<LedgerPage, ApiError> {
        let Self { after, limit, order } = *self;
        if after.is_some_and(|after| after > LARGEST_WHOLE) {
            let message = "after: unknown cursor: it must be the id of an object in this list.";
            return Err(ServiceError::new(ErrorCode::InvalidQuery, message).at("after").into());
        }
        let PageRequest { limit, order, .. } = page::<JobId>(None, limit, Some(order.unwrap_or(Order::Asc)), limits)?;
        Ok(LedgerPage { after, limit, order })
    }
}

/// List what the host was sent
///
/// Names, shapes, sizes and hashes of every call's tensors. Never the contents. `.../ledger/summary` has it added up.
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
    let found = app.jobs.ledger(caller.project, id, paging.page(&app.limits)?).await?;
    let data = found.rows.into_iter().map(LedgerEntry::from).collect();
    Ok(Json(List::new(data, found.has_more, |entry: &LedgerEntry| entry.id.clone())))
}

/// Add up what the host was sent
///
/// Of every kind of call: how many there were, their bytes, and when the first and the last came.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}/ledger/summary", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), responses(
        (status = 200, description = "The totals", body = LedgerSummary),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn get_ledger_summary(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
) -> Result<Json<LedgerSummary>, ApiError> {
    Ok(Json(app.jobs.ledger_totals(caller.project, id).await?.into()))
}
