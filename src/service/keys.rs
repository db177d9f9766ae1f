//! API keys. Owns making, listing, revoking and checking them; a key is shown once and kept as a hash.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::KeyId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::Context;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::commit;
use crate::service::tokens::Tokens;
use crate::service::tokens::token_hash;
use crate::store::keys;
use crate::store::keys::KeyRow;
use crate::store::projects;

/// Checked keys are remembered for `Keys::cache` each; more than this many are forgotten together.
const CACHED_KEYS: usize = 10_000;

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Name of the project; made when it does not exist.
    pub project: String,
    /// What the key is called in lists.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// How long it lives.
    pub days: u32,
}

/// Use cases on keys.
pub struct Keys {
    context: Arc<Context>,
    tokens: Tokens,
    cache: Duration,
    checked: Mutex<HashMap<[u8; 32], (Instant, Principal)>>,
}

impl Keys {
    /// Keys signed and read by `tokens`; a revoked key stops working after at most `cache`.
    pub fn new(context: Arc<Context>, tokens: Tokens, cache: Duration) -> Self {
        Self { context, tokens, cache, checked: Mutex::default() }
    }

    /// Makes a key. The text is returned once and never stored.
    pub async fn create(&self, new: NewKey) -> Result<(KeyId, String)> {
        if !(1..=366).contains(&new.days) {
            return Err(ServiceError::invalid("invalid_days", "A key lives from 1 to 366 days.").at("days"));
        }
        let now = OffsetDateTime::now_utc();
        let expires = now + Duration::from_secs(u64::from(new.days) * 86_400);
        let key = KeyId(Uuid::now_v7());
        let mut transaction = self.context.begin().await?;
        let project = projects::find_or_create(&mut transaction, &new.project).await?.id;
        let token = self
            .tokens
            .sign(project, key, now.unix_timestamp() as u64, expires.unix_timestamp() as u64)
            .map_err(ServiceError::internal)?;
        let row = keys::NewKey {
            id: key,
            project,
            name: &new.name,
            token_sha256: &token_hash(&token),
            scopes: &new.scopes.into_iter().collect::<Vec<_>>(),
            expires_at: Some(expires),
        };
        keys::insert(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok((key, token))
    }

    /// All keys, newest first.
    pub async fn list(&self) -> Result<Vec<KeyRow>> {
        Ok(keys::list(&mut *self.context.connection().await?, None).await?)
    }

    /// Ends a key's life.
    pub async fn revoke(&self, key: KeyId) -> Result<()> {
        match keys::revoke(&mut *self.context.connection().await?, None, key).await? {
            true => Ok(()),
            false => Err(ServiceError::not_found("key", key)),
        }
    }

    /// Who holds this key, when it is valid; `None` for every other text, whatever is wrong with it.
    pub async fn check(&self, token: &str) -> Result<Option<Principal>> {
        let hash = token_hash(token);
        let known = self.checked.lock().ok().and_then(|checked| checked.get(&hash).cloned());
        if let Some((at, principal)) = known {
            let fresh = at.elapsed() < self.cache;
            if fresh && self.tokens.read(token, unix_now()).is_ok() {
                return Ok(Some(principal));
            }
        }
        let Ok(claims) = self.tokens.read(token, unix_now()) else { return Ok(None) };
        let mut connection = self.context.connection().await?;
        let Some(row) = keys::get(&mut connection, claims.jti).await? else { return Ok(None) };
        let alive = row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > OffsetDateTime::now_utc());
        if !alive || row.token_sha256 != hash || row.project != claims.sub {
            return Ok(None);
        }
        keys::touch_last_used(&mut connection, row.id).await?;
        let principal = Principal { project: row.project, key: row.id, scopes: row.scopes.into_iter().collect() };
        self.remember(hash, &principal);
        Ok(Some(principal))
    }

    fn remember(&self, hash: [u8; 32], principal: &Principal) {
        let Ok(mut checked) = self.checked.lock() else { return };
        if checked.len() >= CACHED_KEYS {
            checked.clear();
        }
        checked.insert(hash, (Instant::now(), principal.clone()));
    }
}

fn unix_now() -> u64 {
    OffsetDateTime::now_utc().unix_timestamp().max(0) as u64
}
