//! The list envelope and paging.

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;

/// A page of things. `has_more` tells whether to ask again with `after` = `last_id`.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: &'static str,
    /// The things, in the order asked for.
    pub data: Vec<T>,
    /// Whether there are more after these.
    pub has_more: bool,
    /// Id of the first thing.
    #[schema(required)]
    pub first_id: Option<String>,
    /// Id of the last thing: the cursor for the next page.
    #[schema(required)]
    pub last_id: Option<String>,
}

impl<T> List<T> {
    /// Wraps a page; `id` reads a thing's id.
    pub fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        let (first_id, last_id) = (data.first().map(&id), data.last().map(&id));
        Self { object: "list", data, has_more, first_id, last_id }
    }
}

/// Where a page begins and how long it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Cursor: the id after which the page begins.
    pub after: Option<String>,
    /// Longest page wanted.
    #[param(minimum = 1)]
    pub limit: Option<u32>,
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
