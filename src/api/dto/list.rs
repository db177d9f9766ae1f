//! The list envelope and paging.

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;
use crate::domain::limits::Limits;
use crate::service::Order as StoreOrder;
use crate::service::PageRequest;

/// A page of objects. `has_more` tells whether to ask again with `after` = `last_id`.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: &'static str,
    /// The objects, in the requested order.
    pub data: Vec<T>,
    /// Whether there are more after these.
    pub has_more: bool,
    /// Id of the first object.
    #[schema(required)]
    pub first_id: Option<String>,
    /// Id of the last object: the cursor of the next page.
    #[schema(required)]
    pub last_id: Option<String>,
}

impl<T> List<T> {
    /// Wraps a page; `id` reads a thing's id.
    pub fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        let first_id = data.first().map(&id);
        let last_id = data.last().map(&id);
        Self { object: "list", data, has_more, first_id, last_id }
    }
}

/// Where a page begins and how long it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Cursor: the page starts after this id.
    pub after: Option<String>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// Where a page begins, how long it is, and in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrderedPaging {
    /// Cursor: the page starts after this id.
    pub after: Option<String>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// By creation time; newest first by default.
    #[param(inline)]
    pub order: Option<Order>,
}

/// Order of a list by creation time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// What stock clients may ask for; they get `limits.page_rows`.
const LONGEST_PAGE: u32 = 10_000;

/// Reads paging parameters: a cursor that is not an id, or a limit that no client sends, is refused; a longer limit is cut to the host's.
pub fn page<Id: std::str::FromStr + Into<uuid::Uuid>>(
    after: Option<&str>,
    limit: Option<u32>,
    order: Option<Order>,
    limits: &Limits,
) -> Result<PageRequest, ApiError> {
    let bad = |name: &str, reason: &str| ApiError::new(ErrorCode::InvalidQuery, format!("{name}: {reason}")).at(name);
    if limit.is_some_and(|limit| !(1..=LONGEST_PAGE).contains(&limit)) {
        return Err(bad("limit", "must be from 1 to 10000."));
    }
    let after = after.map(|text| {
        text.parse::<Id>()
            .map(Into::into)
            .map_err(|_| bad("after", "unknown cursor: it must be the id of an object in this list."))
    });
    Ok(PageRequest {
        after: after.transpose()?,
        limit: limit.unwrap_or(20).min(limits.page_rows),
        order: match order.unwrap_or_default() {
            Order::Asc => StoreOrder::Asc,
            Order::Desc => StoreOrder::Desc,
        },
    })
}
