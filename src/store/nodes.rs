//! The hosts of a fleet. Owns table `nodes`: who is there, and who is dead by the database's clock; must never take or end a lease.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Connection;

/// A node that was not seen for this long is dead, and its leases end with it.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);
/// A node as it is now, for its row.
#[derive(Debug, Clone, Copy)]
pub struct Beat<'a> {
    /// The owner of its leases.
    pub id: Uuid,
    /// Where other nodes reach it.
    pub address: &'a str,
    /// Of the program.
    pub version: &'a str,
    /// Where it computes.
    pub device: &'a str,
    /// Open sessions.
    pub sessions: i64,
    /// Calls that wait for the device.
    pub waiting: i64,
}

/// A node of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRow {
    pub id: Uuid,
    pub address: String,
    pub version: String,
    pub device: String,
    pub sessions: i64,
    pub waiting: i64,
    pub draining: bool,
    pub started_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
    /// Whether it was seen lately.
    pub alive: bool,
}

/// Where a node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub id: Uuid,
    pub address: String,
}

/// Says that a node lives, and learns whether it shall drain.
pub async fn beat(conn: &mut Connection, beat: &Beat<'_>) -> Result<bool> {
    let draining = sqlx::query_scalar!(
        "insert into nodes as n (id, address, version, device, sessions, waiting) values ($1, $2, $3, $4, $5, $6)
         on conflict (id) do update set address = excluded.address, sessions = excluded.sessions, waiting = excluded.waiting,
             seen_at = now(),
             steady_since = case when n.seen_at < now() - make_interval(secs => $7) then now() else n.steady_since end
         returning draining",
        beat.id,
        beat.address,
        beat.version,
        beat.device,
        beat.sessions,
        beat.waiting,
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_one(conn)
    .await?;
    Ok(draining)
}

/// The other node that holds a job of the project; `None` where nobody does, or who did is dead.
pub async fn holder(conn: &mut Connection, project: ProjectId, job: JobId, own: Uuid) -> Result<Option<Reach>> {
    let found = sqlx::query_as!(
        Reach,
        "select n.id, n.address from jobs j join nodes n on n.id = j.lease_owner
         where j.project_id = $1 and j.id = $2 and j.lease_until > now() and n.id <> $3
           and n.seen_at >= now() - make_interval(secs => $4)",
        project.0,
        job.0,
        own,
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Another node that opens sessions, the one with the fewest.
pub async fn idlest(conn: &mut Connection, own: Uuid) -> Result<Option<Reach>> {
    let found = sqlx::query_as!(
        Reach,
        "select id, address from nodes
         where id <> $1 and not draining and seen_at >= now() - make_interval(secs => $2) order by sessions, id limit 1",
        own,
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// All nodes, those that died lately too, the oldest first.
pub async fn list(conn: &mut Connection) -> Result<Vec<NodeRow>> {
    let rows = sqlx::query_as!(
        NodeRow,
        r#"select id, address, version, device, sessions, waiting, draining, started_at, seen_at,
                  seen_at >= now() - make_interval(secs => $1) as "alive!"
           from nodes order by started_at, id"#,
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Asks a node to drain, or to take sessions again. `None`: there is no such node.
pub async fn set_draining(conn: &mut Connection, id: Uuid, draining: bool) -> Result<Option<NodeRow>> {
    let row = sqlx::query_as!(
        NodeRow,
        r#"update nodes set draining = $2 where id = $1
           returning id, address, version, device, sessions, waiting, draining, started_at, seen_at,
                     seen_at >= now() - make_interval(secs => $3) as "alive!""#,
        id,
        draining,
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Takes a node that ends in good order out of the fleet.
pub async fn leave(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query!("delete from nodes where id = $1", id).execute(conn).await?;
    Ok(())
}

/// Forgets nodes that died more than an hour ago: until then people may ask what became of them.
pub async fn forget_dead(conn: &mut Connection) -> Result<()> {
    sqlx::query!("delete from nodes where seen_at < now() - interval '1 hour'").execute(conn).await?;
    Ok(())
}
