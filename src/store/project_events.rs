//! Events of all jobs of a project, in the order in which they were committed. Owns that order, `(tx, n)`, and how far a reader may go in it:
//! up to the oldest transaction that is still under way, because behind that an earlier one may come to light. Must never append.

use crate::domain::ids::EventId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::events::EventRow;
use crate::store::events::event_rows;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// Where an event stands among those of its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The transaction that appended it.
    tx: i64,
    /// Its number within that.
    n: i64,
}

/// What a reader finds behind its place.
#[derive(Debug, Clone)]
pub struct Found {
    /// Oldest first.
    pub rows: Vec<EventRow>,
    /// Where the last of them stands.
    pub place: Place,
    /// Whether there are more that must wait for a transaction under way, or did not fit: look again soon.
    pub is_more: bool,
}

/// The place of an event of the project. `None` where it has no such event.
pub async fn place_of(conn: &mut Connection, project: ProjectId, event: EventId) -> Result<Option<Place>> {
    let place =
        sqlx::query_as!(Place, "select tx, n from events where project_id = $1 and id = $2", project.0, event.0)
            .fetch_optional(conn)
            .await?;
    Ok(place)
}

/// The place behind all that may be read now: a stream from here on tells what comes.
pub async fn newest(conn: &mut Connection, project: ProjectId) -> Result<Place> {
    let place = sqlx::query_as!(
        Place,
        r#"select tx, n from events
           where project_id = $1 and (tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                                      or created_at < now() - interval '30 seconds')
           order by tx desc, n desc limit 1"#,
        project.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(place.unwrap_or(Place { tx: -1, n: 0 }))
}

/// The project's events behind a place, at most `limit`. A transaction of another database that stays open for long holds nothing up for
/// more than half a minute: no transaction of ours takes that long between an event and its commit.
pub async fn since(conn: &mut Connection, project: ProjectId, place: Place, limit: u32) -> Result<Found> {
    let found = sqlx::query!(
        r#"select id as "id: EventId", tx, n,
                  tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint or created_at < now() - interval '30 seconds' as "is_settled!"
           from events where project_id = $1 and (tx, n) > ($2, $3) order by tx, n limit $4"#,
        project.0,
        place.tx,
        place.n,
        i64::from(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let settled: Vec<_> = found.iter().take_while(|event| event.is_settled).collect();
    let is_more = settled.len() < found.len() || found.len() == limit as usize;
    let Some(last) = settled.last() else { return Ok(Found { rows: Vec::new(), place, is_more }) };
    let ids: Vec<_> = settled.iter().map(|event| event.id.0).collect();
    let rows = event_rows!("select", "from events where id = any($1) order by tx, n", &ids).fetch_all(conn).await?;
    Ok(Found { rows, place: Place { tx: last.tx, n: last.n }, is_more })
}

/// A page of the project's events. `None` when `page.after` is not one of them.
pub async fn list(conn: &mut Connection, project: ProjectId, page: &Page) -> Result<Option<Paged<EventRow>>> {
    let after = match page.after {
        None => None,
        Some(after) => match place_of(conn, project, EventId(after)).await? {
            None => return Ok(None),
            found => found,
        },
    };
    let (tx, n) = (after.map(|place| place.tx), after.map(|place| place.n));
    // Each order of its own, so that the index gives the page and nothing is sorted.
    let rows = if page.ascending() {
        event_rows!(
            "select",
            "from events where project_id = $1 and ($2::bigint is null or (tx, n) > ($2, $3)) order by tx, n limit $4",
            project.0,
            tx,
            n,
            page.fetch(),
        )
        .fetch_all(conn)
        .await?
    } else {
        event_rows!(
            "select",
            "from events where project_id = $1 and ($2::bigint is null or (tx, n) < ($2, $3)) order by tx desc, n desc limit $4",
            project.0,
            tx,
            n,
            page.fetch(),
        )
        .fetch_all(conn)
        .await?
    };
    Ok(Some(Paged::cut(rows, page)))
}

/// Events that another cluster's transactions appended, as a backup holds them, stand before all of this one's.
pub async fn adopt(conn: &mut Connection) -> Result<u64> {
    let done =
        sqlx::query!("update events set tx = 0 where tx > pg_current_xact_id()::text::bigint").execute(conn).await?;
    Ok(done.rows_affected())
}
