//! Pages of a list. The cursor is the id of the last row seen: ids are version 7 UUIDs, so their order is that of creation.

use uuid::Uuid;

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// What part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Begin after this row; `None` for the first page.
    pub after: Option<Uuid>,
    pub limit: u32,
    /// Which end comes first.
    pub order: Order,
}

impl Page {
    /// The first page, newest first.
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit, order: Order::Desc }
    }

    /// Whether the oldest row comes first.
    pub(super) fn ascending(&self) -> bool {
        self.order == Order::Asc
    }

    /// One row more than asked for, which tells whether more follow.
    pub(super) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// One page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// The rows, in the order asked for.
    pub rows: Vec<T>,
    pub has_more: bool,
}

impl<T> Paged<T> {
    /// Cuts off the row that [`Page::fetch`] asked for on top.
    pub(super) fn cut(mut rows: Vec<T>, page: &Page) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Self { rows, has_more }
    }
}
