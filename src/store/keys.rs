//! API keys. Owns table `api_keys`; must never see a key's text, only its hash.

use time::OffsetDateTime;

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Scope;
use crate::domain::quota::Quota;
use crate::store::error::Result;
use crate::store::page::Page;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRow {
    /// The `jti` claim.
    pub id: KeyId,
    pub project: ProjectId,
    /// A name for people.
    pub name: String,
    /// SHA-256 of the key.
    pub token_sha256: Vec<u8>,
    pub scopes: Vec<Scope>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<OffsetDateTime>,
    pub quota: Quota,
}

/// What the queries give.
struct Raw {
    id: KeyId,
    project: ProjectId,
    name: String,
    token_sha256: Vec<u8>,
    scopes: Vec<Scope>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    requests_per_minute: Option<i64>,
    tokens_per_minute: Option<i64>,
    monthly_tokens: Option<i64>,
    monthly_device_seconds: Option<i64>,
}

impl From<Raw> for KeyRow {
    fn from(raw: Raw) -> Self {
        let Raw { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds, .. } = raw;
        let quota = Quota { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds };
        let Raw { id, project, name, token_sha256, scopes, created_at, expires_at, revoked_at, last_used_at, .. } = raw;
        Self { id, project, name, token_sha256, scopes, created_at, expires_at, revoked_at, last_used_at, quota }
    }
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    /// The `jti` claim.
    pub id: KeyId,
    pub project: ProjectId,
    /// A name for people.
    pub name: &'a str,
    /// SHA-256 of the key.
    pub token_sha256: &'a [u8; 32],
    pub scopes: &'a [Scope],
    pub expires_at: Option<OffsetDateTime>,
    pub quota: Quota,
}

/// `select`s or `returning`s the columns of [`KeyRow`] between two pieces of SQL.
macro_rules! key_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            Raw,
            $head
                + r#" id as "id: _", project_id as "project: _", name, token_sha256, scopes as "scopes: _", created_at,
                      expires_at, revoked_at, last_used_at, requests_per_minute, tokens_per_minute, monthly_tokens,
                      monthly_device_seconds "#
                + $tail,
            $($arg),*
        )
    };
}

/// Stores a new key.
pub async fn insert(conn: &mut Connection, key: &NewKey<'_>) -> Result<KeyRow> {
    let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
    let row = key_rows!(
        "insert into api_keys (id, project_id, name, token_sha256, scopes, expires_at, requests_per_minute,
             tokens_per_minute, monthly_tokens, monthly_device_seconds)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning",
        "",
        key.id.0,
        key.project.0,
        key.name,
        key.token_sha256.as_slice(),
        &scopes,
        key.expires_at,
        key.quota.requests_per_minute,
        key.quota.tokens_per_minute,
        key.quota.monthly_tokens,
        key.quota.monthly_device_seconds,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.into())
}

/// The key of that id, revoked or not.
pub async fn get(conn: &mut Connection, key: KeyId) -> Result<Option<KeyRow>> {
    let row = key_rows!("select", "from api_keys where id = $1", key.0).fetch_optional(conn).await?;
    Ok(row.map(KeyRow::from))
}

/// The key of that id, which nobody else changes until the transaction ends.
pub async fn get_for_update(conn: &mut Connection, key: KeyId) -> Result<Option<KeyRow>> {
    let row = key_rows!("select", "from api_keys where id = $1 for no key update", key.0).fetch_optional(conn).await?;
    Ok(row.map(KeyRow::from))
}

/// Gives a key another name, other scopes and other limits. [`StoreError::Missing`](crate::store::error::StoreError::Missing) when there is no
/// such key.
pub async fn change(conn: &mut Connection, key: KeyId, name: &str, scopes: &[Scope], quota: &Quota) -> Result<KeyRow> {
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let row = key_rows!(
        "update api_keys set name = $2, scopes = $3, requests_per_minute = $4, tokens_per_minute = $5, monthly_tokens = $6,
             monthly_device_seconds = $7 where id = $1 returning",
        "",
        key.0,
        name,
        &scopes,
        quota.requests_per_minute,
        quota.tokens_per_minute,
        quota.monthly_tokens,
        quota.monthly_device_seconds,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.into())
}

/// A page of the project's keys, revoked ones included. `None` when `page.after` is not one of them.
pub async fn page(conn: &mut Connection, project: ProjectId, page: &Page) -> Result<Option<Paged<KeyRow>>> {
    if let Some(after) = page.after
        && get(conn, KeyId(after)).await?.is_none_or(|key| key.project != project)
    {
        return Ok(None);
    }
    let rows = key_rows!(
        "select",
        "from api_keys where project_id = $1 and ($2::uuid is null or case when $3 then id > $2 else id < $2 end)
         order by case when $3 then id end, case when not $3 then id end desc limit $4",
        project.0,
        page.after,
        page.ascending(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Paged::cut(rows.into_iter().map(KeyRow::from).collect(), page)))
}

/// The keys of a project, or of all, newest first, revoked ones included.
pub async fn list(conn: &mut Connection, project: Option<ProjectId>) -> Result<Vec<KeyRow>> {
    let rows = key_rows!(
        "select",
        "from api_keys where $1::uuid is null or project_id = $1 order by id desc",
        project.map(|project| project.0),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(KeyRow::from).collect())
}

/// Takes a key back. `false` when there is no such key or it was taken back before; `project` limits whose key it may be.
pub async fn revoke(conn: &mut Connection, project: Option<ProjectId>, key: KeyId) -> Result<bool> {
    let done = sqlx::query!(
        "update api_keys set revoked_at = now()
         where id = $1 and revoked_at is null and ($2::uuid is null or project_id = $2)",
        key.0,
        project.map(|project| project.0),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets a key end at a time, or when it would have ended anyway.
pub async fn end_by(conn: &mut Connection, key: KeyId, at: OffsetDateTime) -> Result<()> {
    sqlx::query!("update api_keys set expires_at = least(expires_at, $2) where id = $1", key.0, at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the life of all keys of a project; how many there were.
pub async fn revoke_all(conn: &mut Connection, project: ProjectId) -> Result<u64> {
    let done =
        sqlx::query!("update api_keys set revoked_at = now() where project_id = $1 and revoked_at is null", project.0,)
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}

/// Notes that a key was used, at most once a minute.
pub async fn touch_last_used(conn: &mut Connection, key: KeyId) -> Result<()> {
    sqlx::query!(
        "update api_keys set last_used_at = now()
         where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')",
        key.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
