//! Which key pair signs API keys, as all hosts of the database agree. Owns table `signing_key`; must never see a private key.

use crate::store::error::Result;
use crate::store::pool::Connection;

/// The fingerprint of the database's signing key; the first caller's own, where there was none.
pub async fn agreed(conn: &mut Connection, own: &str) -> Result<String> {
    sqlx::query!("insert into signing_key (kid) values ($1) on conflict do nothing", own).execute(&mut *conn).await?;
    Ok(sqlx::query_scalar!("select kid from signing_key").fetch_one(conn).await?)
}

/// Makes another key pair the database's.
pub async fn set(conn: &mut Connection, kid: &str) -> Result<()> {
    sqlx::query!(
        "insert into signing_key (kid) values ($1) on conflict (is_only) do update set kid = excluded.kid, since = now()",
        kid,
    )
    .execute(conn)
    .await?;
    Ok(())
}
