//! Leases on jobs: which host process runs a job. Owns `jobs.lease_owner`, `lease_until`, `attempt` and `barren_attempts`.
//! Never reads the process clock: the database decides what "expired" means.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::store::error::Result;
use crate::store::nodes::DEAD_AFTER;
use crate::store::pool::Connection;

/// Takes the lease of a running job when it is free, has expired or is this owner's already, and gives the fencing token.
///
/// The lease of a node that is dead is free; who has been out of sight itself a moment ago judges nobody. `None`: the job does not run, or
/// another owner holds it. A new lease has a new token; a lease that is held is extended
/// and keeps its token. With a new token `barren_attempts` grows by one: it falls to zero with the next committed step.
pub async fn claim(conn: &mut Connection, job: JobId, owner: Uuid, ttl: Duration) -> Result<Option<i32>> {
    let attempt = sqlx::query_scalar!(
        "update jobs set lease_owner = $2, lease_until = now() + make_interval(secs => $3),
             attempt = attempt + case when lease_owner = $2 then 0 else 1 end,
             barren_attempts = barren_attempts + case when lease_owner = $2 then 0 else 1 end
         where id = $1 and status = 'running' and (lease_owner is null or lease_owner = $2 or lease_until <= now() or exists (
             select from nodes dead, nodes own
             where dead.id = jobs.lease_owner and dead.seen_at < now() - make_interval(secs => $4)
               and own.id = $2 and own.steady_since < now() - make_interval(secs => $4)))
         returning attempt",
        job.0,
        owner,
        ttl.as_secs_f64(),
        DEAD_AFTER.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(attempt)
}

/// Extends every lease of the owner and says which jobs these are; a job that is missing was lost.
pub async fn heartbeat(conn: &mut Connection, owner: Uuid, ttl: Duration) -> Result<BTreeSet<JobId>> {
    let held = sqlx::query_scalar!(
        r#"update jobs set lease_until = now() + make_interval(secs => $2) where lease_owner = $1
           returning id as "id: JobId""#,
        owner,
        ttl.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?;
    Ok(held.into_iter().collect())
}

/// Gives a lease back in good order: its attempt does not count as barren. `false` when it was not held any more.
pub async fn release(conn: &mut Connection, job: JobId, attempt: i32) -> Result<bool> {
    let done = sqlx::query!(
        "update jobs set lease_owner = null, lease_until = null, barren_attempts = greatest(barren_attempts - 1, 0)
         where id = $1 and attempt = $2 and lease_owner is not null",
        job.0,
        attempt,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every lease of an owner that is dead, and says how many jobs are free now. Their attempts stay barren, and their token is no
/// longer the newest as soon as somebody claims them: should the owner live after all, it writes nothing from then on.
pub async fn expire(conn: &mut Connection, owner: Uuid) -> Result<u64> {
    let done = sqlx::query!("update jobs set lease_owner = null, lease_until = null where lease_owner = $1", owner);
    Ok(done.execute(conn).await?.rows_affected())
}
