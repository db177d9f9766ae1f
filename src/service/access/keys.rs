//! API keys. Owns making, listing, revoking and checking them; a key is shown once and kept as a hash. Their times are the
//! database's: several hosts have one, and this process's clock may be set.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::quota::Quota;
use crate::service::access::checked_keys::CheckedKeys;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::access::tokens::Tokens;
use crate::service::access::tokens::token_hash;
use crate::service::context::Result;
use crate::service::context::begin;
use crate::service::context::commit;
use crate::service::context::connection;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::Pool;
use crate::store::keys;
use crate::store::keys::KeyRow;
use crate::store::pool::clock;
use crate::store::projects;
use crate::store::projects::ProjectRow;
use crate::store::signing_key;

/// Life of a key whose maker did not say.
const DEFAULT_DAYS: u32 = 90;

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What the key is called in lists.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// How long it lives; 90 days where it is not said, or less, where the key that makes it ends before.
    pub days: Option<u32>,
    /// Its limits.
    pub quota: Quota,
}

/// A key that gives way to another.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Whose key it is.
    pub project: ProjectId,
    /// The key that asks.
    pub maker: KeyId,
    /// The key that gives way.
    pub old: KeyId,
    /// For how long both work.
    pub overlap: Duration,
}

/// What shall be different of a key; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// What it is called in lists.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Its limits.
    pub quota: Option<Quota>,
}

/// What a text is that is shown as a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// A key that may do something.
    Valid(Principal),
    /// A key that was made here and is valid no longer, and why. Told to nobody who does not hold the key itself.
    Ended(String),
    /// Anything else, whatever is wrong with it.
    Unknown,
}

/// A key and whose it is.
#[derive(Debug, Clone)]
pub struct KeyHolder {
    /// The key.
    pub key: KeyRow,
    /// Its project.
    pub project: ProjectRow,
}

/// Use cases on keys.
pub struct Keys {
    pool: Pool,
    tokens: Tokens,
    cache: Duration,
    checked: CheckedKeys,
}

impl Keys {
    /// Keys signed and read by `tokens`; a revoked key stops working after at most `cache`.
    pub fn new(pool: Pool, tokens: Tokens, cache: Duration) -> Self {
        Self { pool, tokens, cache, checked: CheckedKeys::default() }
    }

    /// The fingerprint of the database's signing key, where this host does not take its keys: then it would refuse every key. A database
    /// without one gets this host's, and so does one whose own this host takes beside: it is being replaced.
    pub async fn foreign_signing_key(&self) -> Result<Option<String>> {
        let mut connection = connection(&self.pool).await?;
        let own = self.tokens.kid();
        let agreed = signing_key::agreed(&mut connection, own).await?;
        if !self.tokens.takes(&agreed) {
            return Ok(Some(agreed));
        }
        if agreed != own {
            signing_key::set(&mut connection, own).await?;
        }
        Ok(None)
    }

    /// Makes this host's signing key the database's: keys that another one signed end.
    pub async fn adopt_signing_key(&self) -> Result<String> {
        signing_key::set(&mut *connection(&self.pool).await?, self.tokens.kid()).await?;
        Ok(self.tokens.kid().to_owned())
    }

    /// Makes a key for the project of that name, which is made when it does not exist. The key's text is returned once and
    /// never stored.
    pub async fn create_for(&self, project: &str, new: NewKey) -> Result<(KeyRow, String)> {
        let mut transaction = begin(&self.pool).await?;
        let project = projects::find_or_create(&mut transaction, project).await?.id;
        let made = self.insert(&mut transaction, project, new, None).await?;
        commit(transaction).await?;
        Ok(made)
    }

    /// Makes a key by the key `maker`, for its project and within its limits: whoever holds a key must not get more by making another.
    /// The new key's text is returned once and never stored.
    pub async fn create(&self, maker: KeyId, new: NewKey, record: AnswerRecord<KeyRow>) -> Result<(KeyRow, String)> {
        let mut transaction = begin(&self.pool).await?;
        let maker = keys::get(&mut transaction, maker).await?.ok_or_else(|| ServiceError::not_found("key", maker))?;
        let (row, token) = self.insert(&mut transaction, maker.project, new, Some(&maker)).await?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        Ok((row, token))
    }

    /// Makes a key for a project of any operator's choice. The key's text is returned once and never stored.
    pub async fn create_in(
        &self,
        project: ProjectId,
        new: NewKey,
        record: AnswerRecord<KeyRow>,
    ) -> Result<(KeyRow, String)> {
        let mut transaction = begin(&self.pool).await?;
        let found = projects::get(&mut transaction, project).await?;
        let project = found.ok_or_else(|| ServiceError::not_found("project", project))?.id;
        let made = self.insert(&mut transaction, project, new, None).await?;
        record.write(&mut transaction, &made.0).await?;
        commit(transaction).await?;
        Ok(made)
    }

    async fn insert(
        &self,
        connection: &mut Connection,
        project: ProjectId,
        new: NewKey,
        maker: Option<&KeyRow>,
    ) -> Result<(KeyRow, String)> {
        check(&new)?;
        check_scopes(&new, maker)?;
        let id = KeyId(Uuid::now_v7());
        let now = clock(connection).await?;
        let expires = end(&new, now, maker)?;
        let token = self.tokens.sign(project, id, unix(now), unix(expires)).map_err(ServiceError::internal)?;
        let row = keys::NewKey {
            id,
            project,
            name: &new.name,
            token_sha256: &token_hash(&token),
            scopes: &new.scopes.into_iter().collect::<Vec<_>>(),
            expires_at: Some(expires),
            quota: maker.map_or(Ok(new.quota), |maker| inherited(&new.quota, maker))?,
        };
        Ok((keys::insert(connection, &row).await?, token))
    }

    /// Puts a new key in an old one's place: with its name, scopes and limits, within what the maker may itself.
    /// The old one ends after `overlap`, so that those who use it can change over.
    pub async fn rotate(&self, rotation: Rotation, record: AnswerRecord<KeyRow>) -> Result<(KeyRow, String)> {
        let Rotation { project, maker, old, overlap } = rotation;
        let mut transaction = begin(&self.pool).await?;
        let now = clock(&mut transaction).await?;
        let row = living(&mut transaction, project, old, now).await?;
        let maker = keys::get(&mut transaction, maker).await?.ok_or_else(|| ServiceError::not_found("key", maker))?;
        let made = self.insert(&mut transaction, project, like(&row), Some(&maker)).await?;
        if overlap.is_zero() {
            keys::revoke(&mut transaction, Some(project), old).await?;
        } else {
            keys::end_by(&mut transaction, old, now + overlap).await?;
        }
        record.write(&mut transaction, &made.0).await?;
        commit(transaction).await?;
        self.checked.forget(old);
        Ok(made)
    }

    /// Changes a key of the project, by the key `maker` and within its limits.
    pub async fn change(&self, project: ProjectId, maker: KeyId, key: KeyId, change: KeyChange) -> Result<KeyRow> {
        let mut transaction = begin(&self.pool).await?;
        let now = clock(&mut transaction).await?;
        let row = living(&mut transaction, project, key, now).await?;
        let maker = keys::get(&mut transaction, maker).await?.ok_or_else(|| ServiceError::not_found("key", maker))?;
        let KeyChange { name, scopes, quota } = change;
        let is_given_scopes = scopes.is_some();
        let old = like(&row);
        let new = NewKey { name: name.unwrap_or(old.name), scopes: scopes.unwrap_or(old.scopes), ..old };
        let quota =
            quota.map_or(Ok(row.quota), |quota| check_quota(&quota).and_then(|()| inherited(&quota, &maker)))?;
        check(&new)?;
        if is_given_scopes {
            check_scopes(&new, Some(&maker))?;
        }
        let scopes: Vec<_> = new.scopes.into_iter().collect();
        let changed = keys::change(&mut transaction, key, &new.name, &scopes, &quota).await?;
        commit(transaction).await?;
        self.checked.forget(key);
        Ok(changed)
    }

    /// All keys, newest first: for the operator.
    pub async fn list(&self) -> Result<Vec<KeyRow>> {
        Ok(keys::list(&mut *connection(&self.pool).await?, None).await?)
    }

    /// A page of a project's keys, newest first.
    pub async fn page(&self, project: ProjectId, page: PageRequest) -> Result<Paged<KeyRow>> {
        known_cursor(keys::page(&mut *connection(&self.pool).await?, project, &page).await?)
    }

    /// One key of a project.
    pub async fn get(&self, project: ProjectId, key: KeyId) -> Result<KeyRow> {
        let found = keys::get(&mut *connection(&self.pool).await?, key).await?;
        found.filter(|row| row.project == project).ok_or_else(|| ServiceError::not_found("key", key))
    }

    /// A key and its project.
    pub async fn standing(&self, project: ProjectId, key: KeyId) -> Result<KeyHolder> {
        let key = self.get(project, key).await?;
        let found = projects::get(&mut *connection(&self.pool).await?, project).await?;
        let project = found.ok_or_else(|| ServiceError::not_found("project", project))?;
        Ok(KeyHolder { key, project })
    }

    /// Ends a key's life; a key of any project where none is given.
    pub async fn revoke(&self, project: Option<ProjectId>, key: KeyId) -> Result<()> {
        if !keys::revoke(&mut *connection(&self.pool).await?, project, key).await? {
            return Err(ServiceError::not_found("key", key));
        }
        self.checked.forget(key);
        Ok(())
    }

    /// Every project, by name.
    pub async fn projects(&self) -> Result<Vec<ProjectRow>> {
        Ok(projects::list(&mut *connection(&self.pool).await?).await?)
    }

    /// Sets a project's limits; a running host follows within the time that keys are remembered.
    pub async fn limit_project(&self, name: &str, quota: Quota) -> Result<ProjectRow> {
        check_quota(&quota)?;
        let mut connection = connection(&self.pool).await?;
        let found = projects::named(&mut connection, name).await?;
        let project = found.ok_or_else(|| ServiceError::not_found("project", name))?.id;
        let set = projects::set_quota(&mut connection, project, &quota).await?;
        set.ok_or_else(|| ServiceError::not_found("project", name))
    }

    /// Who holds this key, when it is valid; `None` for every other text, whatever is wrong with it.
    pub async fn check(&self, token: &str) -> Result<Option<Principal>> {
        Ok(match self.judge(token).await? {
            Judged::Valid(principal) => Some(principal),
            Judged::Ended(_) | Judged::Unknown => None,
        })
    }

    /// What is known of a text that is shown as a key.
    pub async fn judge(&self, token: &str) -> Result<Judged> {
        let hash = token_hash(token);
        if let Some(principal) = self.checked.get(&hash) {
            return Ok(Judged::Valid(principal));
        }
        let Ok(claims) = self.tokens.read(token) else { return Ok(Judged::Unknown) };
        let began = self.checked.generation();
        let mut connection = connection(&self.pool).await?;
        let row = keys::get(&mut connection, claims.jti).await?;
        let Some(row) = row.filter(|row| row.token_sha256 == hash && row.project == claims.sub) else {
            return Ok(Judged::Unknown);
        };
        let now = clock(&mut connection).await?;
        if let Some(reason) = why_ended(&row, now) {
            return Ok(Judged::Ended(reason));
        }
        let Some(left) = claims.life_left(unix(now)) else { return Ok(Judged::Unknown) };
        keys::touch_last_used(&mut connection, row.id).await?;
        let project = projects::get(&mut connection, row.project).await?;
        let principal = Principal {
            project: row.project,
            key: row.id,
            scopes: row.scopes.into_iter().collect(),
            quota: row.quota,
            project_quota: project.map(|project| project.quota).unwrap_or_default(),
        };
        self.checked.remember(began, hash, &principal, self.cache.min(Duration::from_secs(left)));
        Ok(Judged::Valid(principal))
    }
}

/// A new key like an old one.
fn like(row: &KeyRow) -> NewKey {
    NewKey { name: row.name.clone(), scopes: row.scopes.iter().copied().collect(), days: None, quota: row.quota }
}

/// A key of the project that is valid, which nobody else changes until the transaction ends.
async fn living(conn: &mut Connection, project: ProjectId, key: KeyId, now: OffsetDateTime) -> Result<KeyRow> {
    let found = keys::get_for_update(conn, key).await?.filter(|row| row.project == project);
    let row = found.ok_or_else(|| ServiceError::not_found("key", key))?;
    match why_ended(&row, now) {
        None => Ok(row),
        Some(reason) => Err(ServiceError::new(ErrorCode::InvalidKeyState, format!("{reason} Make a new one."))),
    }
}

/// Why a key that was made here is valid no longer.
fn why_ended(row: &KeyRow, now: OffsetDateTime) -> Option<String> {
    if let Some(at) = row.revoked_at {
        return Some(format!("This key was revoked on {}; use another.", at.date()));
    }
    let at = row.expires_at.filter(|end| *end <= now)?;
    Some(format!("This key expired on {}; ask for another.", at.date()))
}

fn check(new: &NewKey) -> Result<()> {
    if new.days.is_some_and(|days| !(1..=366).contains(&days)) {
        return Err(ServiceError::new(ErrorCode::InvalidDays, "A key lives from 1 to 366 days.").at("days"));
    }
    if new.name.is_empty() || new.name.chars().count() > 200 {
        return Err(ServiceError::new(ErrorCode::InvalidName, "name: 1 to 200 characters.").at("name"));
    }
    if new.scopes.is_empty() {
        return Err(
            ServiceError::new(ErrorCode::InvalidScopes, "scopes: a key may do at least one thing.").at("scopes")
        );
    }
    check_quota(&new.quota)
}

/// The scope `operator` is of the command line, or of a key that has it.
fn check_scopes(new: &NewKey, maker: Option<&KeyRow>) -> Result<()> {
    let may = maker.is_none_or(|maker| maker.scopes.contains(&Scope::Operator));
    if may || !new.scopes.contains(&Scope::Operator) {
        return Ok(());
    }
    let message =
        "scopes: a key with `operator` is made by one that has it, or by `blindtuned keys create --scopes operator`.";
    Err(ServiceError::new(ErrorCode::InvalidScopes, message).at("scopes"))
}

/// When a new key ends: not after the key that makes it.
fn end(new: &NewKey, now: OffsetDateTime, maker: Option<&KeyRow>) -> Result<OffsetDateTime> {
    let end = now + Duration::from_secs(u64::from(new.days.unwrap_or(DEFAULT_DAYS)) * 86_400);
    match maker.and_then(|maker| maker.expires_at) {
        Some(makers_end) if end > makers_end && new.days.is_some() => {
            let left = (makers_end - now).whole_days();
            let message =
                format!("days: the key that makes it ends in {left} days, and a new key does not outlive it.");
            Err(ServiceError::new(ErrorCode::InvalidDays, message).at("days"))
        }
        Some(makers_end) => Ok(end.min(makers_end)),
        None => Ok(end),
    }
}

/// The limits of a new key under those of the key that makes it.
fn inherited(quota: &Quota, maker: &KeyRow) -> Result<Quota> {
    quota.within(&maker.quota).map_err(|field| {
        let message = format!(
            "{field}: is above that of the key that makes it; give at most as much, or leave it out to inherit."
        );
        ServiceError::new(ErrorCode::InvalidLimit, message).at(field)
    })
}

/// Refuses limits that cannot be.
pub fn check_quota(quota: &Quota) -> Result<()> {
    match quota.wrong_field() {
        None => Ok(()),
        Some(field) => {
            let message =
                format!("{field}: a rate is at least 1, a budget at least 0, and both at most 9007199254740991.");
            Err(ServiceError::new(ErrorCode::InvalidLimit, message).at(field))
        }
    }
}

fn unix(time: OffsetDateTime) -> u64 {
    time.unix_timestamp().max(0) as u64
}
