//! Keys, usage and the audit log.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use time::Date;
use time::OffsetDateTime;
use time::macros::format_description;
use utoipa::IntoParams;
use utoipa::ToSchema;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Type;

use crate::api::dto::operator::ProjectLimits;
use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::KeyId;
use crate::domain::principal::Scope;
use crate::domain::principal::scopes_of;
use crate::domain::quota::Budget;
use crate::domain::quota::Quota;
use crate::domain::schemas;
use crate::service::AuditRow;
use crate::service::Grouping;
use crate::service::HeldBudget;
use crate::service::KeyChange;
use crate::service::KeyHolder;
use crate::service::KeyRow;
use crate::service::NewKey;
use crate::service::Priced;
use crate::service::Report;
use crate::service::ServiceError;
use crate::service::UsageAsked;

/// Words for scopes.
fn scopes() -> Schema {
    let kinds = ["jobs:*", "files:*", "models:*", "steps:*"];
    let words = Scope::ALL.map(Scope::as_str).into_iter().chain(kinds);
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    let list = schemas::or_null(ArrayBuilder::new().items(word).min_items(Some(1)));
    list.description(Some(
        "Its scopes; all but `admin` and `operator` when absent. `files:*` stands for all scopes of a kind.",
    ))
    .examples([json!(["jobs:read", "files:*"])])
    .into()
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// What the key is called in lists.
    #[schema(example = "nightly training", min_length = 1, max_length = 200)]
    pub name: String,
    /// Its scopes; all but `admin` and `operator` when absent. `files:*` stands for all scopes of a kind.
    #[schema(schema_with = scopes)]
    pub scopes: Option<Vec<String>>,
    /// Life in days; when absent 90, or until the caller's key ends.
    #[schema(minimum = 1, maximum = 366, example = 30)]
    pub days: Option<u32>,
    /// Requests a minute.
    #[schema(minimum = 1, example = 600)]
    pub requests_per_minute: Option<i64>,
    /// Tokens that the device reads a minute.
    #[schema(minimum = 1)]
    pub tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC).
    #[schema(minimum = 0, example = 10_000_000)]
    pub monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds.
    #[schema(minimum = 0)]
    pub monthly_device_seconds: Option<i64>,
}

impl TryFrom<CreateApiKey> for NewKey {
    type Error = ServiceError;

    fn try_from(body: CreateApiKey) -> Result<Self, ServiceError> {
        let scopes = body.scopes.map_or_else(|| Ok(Scope::by_default()), |texts| read_scopes(&texts))?;
        let quota = Quota {
            requests_per_minute: body.requests_per_minute,
            tokens_per_minute: body.tokens_per_minute,
            monthly_tokens: body.monthly_tokens,
            monthly_device_seconds: body.monthly_device_seconds,
        };
        Ok(Self { name: body.name, scopes, days: body.days, quota })
    }
}

/// What shall be different of a key. What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateApiKey {
    /// What the key is called in lists.
    #[schema(example = "nightly training", min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Its scopes, all of them; `files:*` stands for all scopes of a kind.
    #[schema(schema_with = scopes)]
    pub scopes: Option<Vec<String>>,
    /// Its limits, all of them: one that is left out is that of the caller's key.
    pub limits: Option<ProjectLimits>,
}

impl UpdateApiKey {
    /// What shall be different.
    pub fn into_change(self) -> Result<KeyChange, ServiceError> {
        let scopes = self.scopes.as_deref().map(read_scopes).transpose()?;
        Ok(KeyChange { name: self.name, scopes, quota: self.limits.map(Quota::from) })
    }
}

fn read_scopes(texts: &[String]) -> Result<BTreeSet<Scope>, ServiceError> {
    let mut scopes = BTreeSet::new();
    for (place, text) in texts.iter().enumerate() {
        scopes.extend(scopes_of(text).map_err(|_| unknown_scope(place, text))?);
    }
    Ok(scopes)
}

fn unknown_scope(place: usize, text: &str) -> ServiceError {
    let known = Scope::ALL.map(Scope::as_str).join(", ");
    let message = format!("scopes[{place}]: there is no scope '{text}'; the scopes are {known}.");
    ServiceError::new(ErrorCode::InvalidScopes, message).at(format!("scopes[{place}]"))
}

/// How an old key gives way to a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// For how long the old key works beside the new one, in seconds; a day when absent, and with 0 it ends at once.
    #[schema(minimum = 0, maximum = 2_592_000, example = 3600)]
    pub overlap_seconds: Option<u64>,
}

/// A day.
const DEFAULT_OVERLAP: u64 = 86_400;
/// Thirty days.
const LONGEST_OVERLAP: u64 = 30 * 86_400;

impl RotateApiKey {
    /// For how long both work.
    pub fn overlap(&self) -> Result<Duration, ServiceError> {
        let seconds = self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
        if seconds > LONGEST_OVERLAP {
            let message = format!("overlap_seconds: at most {LONGEST_OVERLAP}, which is 30 days.");
            return Err(ServiceError::new(ErrorCode::InvalidDays, message).at("overlap_seconds"));
        }
        Ok(Duration::from_secs(seconds))
    }
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyObject {
    /// Id, `key-...`.
    #[schema(example = "key-019ab2c3d4e57f60a1b2c3d4e5f60718")]
    pub id: String,
    /// Always `api_key`.
    #[schema(example = "api_key")]
    pub object: &'static str,
    /// What it is called.
    pub name: String,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
    /// When it expires.
    #[schema(required)]
    pub expires_at: Option<i64>,
    /// When it was last used, to the minute.
    #[schema(required)]
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    #[schema(required)]
    pub revoked_at: Option<i64>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests a minute; null: the project's limit alone.
    #[schema(required)]
    pub requests_per_minute: Option<i64>,
    /// Tokens a minute.
    #[schema(required)]
    pub tokens_per_minute: Option<i64>,
    /// Budget of tokens for a calendar month (UTC).
    #[schema(required)]
    pub monthly_tokens: Option<i64>,
    /// Budget of device time for a calendar month (UTC), in seconds.
    #[schema(required)]
    pub monthly_device_seconds: Option<i64>,
}

impl From<KeyRow> for ApiKeyObject {
    fn from(row: KeyRow) -> Self {
        let Quota { requests_per_minute, tokens_per_minute, monthly_tokens, monthly_device_seconds } = row.quota;
        Self {
            id: row.id.to_string(),
            object: "api_key",
            name: row.name,
            created_at: row.created_at.unix_timestamp(),
            expires_at: row.expires_at.map(OffsetDateTime::unix_timestamp),
            last_used_at: row.last_used_at.map(OffsetDateTime::unix_timestamp),
            revoked_at: row.revoked_at.map(OffsetDateTime::unix_timestamp),
            scopes: row.scopes.iter().map(Scope::to_string).collect(),
            requests_per_minute,
            tokens_per_minute,
            monthly_tokens,
            monthly_device_seconds,
        }
    }
}

/// The key that asks, and its project.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeObject {
    /// Always `me`.
    #[schema(example = "me")]
    pub object: &'static str,
    /// Id of the key, `key-...`.
    pub key_id: String,
    /// What the key is called.
    pub key_name: String,
    /// Id of its project.
    pub project: String,
    /// What the project is called.
    pub project_name: String,
    /// What the key may do.
    pub scopes: Vec<String>,
    /// When the key was made, seconds since 1970.
    pub created_at: i64,
    /// When it expires.
    #[schema(required)]
    pub expires_at: Option<i64>,
}

impl From<KeyHolder> for MeObject {
    fn from(holder: KeyHolder) -> Self {
        let key = ApiKeyObject::from(holder.key);
        Self {
            object: "me",
            key_id: key.id,
            key_name: key.name,
            project: holder.project.id.to_string(),
            project_name: holder.project.name,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
        }
    }
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewApiKey {
    /// The key as lists show it.
    #[serde(flatten)]
    pub shown: ApiKeyObject,
    /// The secret. It is shown only once.
    pub key: String,
}

/// Which days, and how they are put together.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// First day (UTC), `2026-11-01`; 29 days before `end_date` when absent.
    #[param(format = Date, value_type = Option<String>, pattern = r"^\d{4}-\d{2}-\d{2}$")]
    pub start_date: Option<String>,
    /// Last day (UTC); today when absent.
    #[param(format = Date, value_type = Option<String>, pattern = r"^\d{4}-\d{2}-\d{2}$")]
    pub end_date: Option<String>,
    /// `key`, `model` and `day`, comma-separated; or `job`, alone or with `day`; one row for all when absent.
    #[param(example = "model,day", pattern = "^(key|model|day)(,(key|model|day))*$|^job(,day)?$|^day,job$")]
    pub group_by: Option<String>,
}

impl UsageQuery {
    /// As the use case takes it, from this key.
    pub fn asked(&self, key: KeyId) -> Result<UsageAsked, ApiError> {
        let from = day("start_date", self.start_date.as_deref())?;
        let to = day("end_date", self.end_date.as_deref())?;
        Ok(UsageAsked { key, from, to, by: self.grouping()? })
    }

    fn grouping(&self) -> Result<Grouping, ApiError> {
        let mut by = Grouping::default();
        for word in self.group_by.iter().flat_map(|words| words.split(',')) {
            match word {
                "key" => by.key = true,
                "model" => by.model = true,
                "day" => by.day = true,
                "job" => by.job = true,
                other => {
                    return Err(no_grouping(&format!("'key', 'model', 'day' and 'job' are known, not '{other}'.")));
                }
            }
        }
        if by.job && (by.key || by.model) {
            return Err(no_grouping("'job' goes with 'day' alone: a job names its key and its model."));
        }
        Ok(by)
    }
}

fn no_grouping(why: &str) -> ApiError {
    ServiceError::new(ErrorCode::InvalidQuery, format!("group_by: {why}")).at("group_by").into()
}

fn day(name: &str, text: Option<&str>) -> Result<Option<Date>, ApiError> {
    let read = |text: &str| Date::parse(text, format_description!("[year]-[month]-[day]"));
    text.map(read).transpose().map_err(|_| {
        ServiceError::new(ErrorCode::InvalidQuery, format!("{name}: is not a day such as 2026-11-25.")).at(name).into()
    })
}

/// One row of usage.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageObject {
    /// Always `usage.row`.
    #[schema(example = "usage.row")]
    pub object: &'static str,
    /// The key; null where rows are not grouped by key.
    #[schema(required)]
    pub key_id: Option<String>,
    /// The job; null where rows are not grouped by job. A job that was deleted since keeps its rows.
    #[schema(required)]
    pub job_id: Option<String>,
    /// The model; null where rows are not grouped by model, empty for requests that need none.
    #[schema(required)]
    pub model: Option<String>,
    /// The day (UTC); null where rows are not grouped by day.
    #[schema(required)]
    pub day: Option<String>,
    /// Requests answered to a valid key, refused ones included; 0 in a job's rows, whose requests are not counted apart.
    pub requests: i64,
    /// Step calls that were applied.
    pub steps: i64,
    /// Tokens of training steps: of a forward, and of a backward once for each share number.
    pub training_tokens: i64,
    /// Tokens of evaluations, activations and embeddings.
    pub inference_tokens: i64,
    /// Bytes of bodies that came in with work for the device.
    pub bytes_in: i64,
    /// Bytes of tensors that went out.
    pub bytes_out: i64,
    /// Time of the device, its queue not included, in seconds.
    pub device_seconds: f64,
    /// What it costs, in the report's currency; null where the host has no prices.
    #[schema(required)]
    pub cost: Option<f64>,
}

impl From<Priced> for UsageObject {
    fn from(Priced { row, cost }: Priced) -> Self {
        let amounts = row.amounts;
        Self {
            object: "usage.row",
            key_id: row.key.map(|key| key.to_string()),
            job_id: row.job.map(|job| job.to_string()),
            model: row.model,
            day: row.day.map(|day| day.to_string()),
            requests: amounts.requests,
            steps: amounts.steps,
            training_tokens: amounts.training_tokens,
            inference_tokens: amounts.inference_tokens,
            bytes_in: amounts.bytes_in,
            bytes_out: amounts.bytes_out,
            device_seconds: amounts.device_us as f64 / 1e6,
            cost,
        }
    }
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BudgetHolder {
    /// The key that asks.
    Key,
    /// Its project.
    Project,
}

/// A budget of a calendar month (UTC). A call that comes when nothing is left is refused with 429.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetObject {
    /// Always `budget`.
    #[schema(example = "budget")]
    pub object: &'static str,
    /// Whose it is.
    pub holder: BudgetHolder,
    /// `monthly_tokens` or `monthly_device_seconds`, which says the unit.
    #[schema(example = "monthly_tokens")]
    pub name: &'static str,
    /// What there is for the month.
    pub limit: i64,
    /// What was used of it.
    pub used: i64,
    /// What is left, at least 0.
    pub left: i64,
}

impl From<HeldBudget> for BudgetObject {
    fn from(held: HeldBudget) -> Self {
        let holder = if held.of_key { BudgetHolder::Key } else { BudgetHolder::Project };
        let Budget { name, limit, used } = held.budget;
        Self { object: "budget", holder, name, limit, used, left: held.budget.left() }
    }
}

/// A usage report.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageReport {
    /// Always `usage`.
    #[schema(example = "usage")]
    pub object: &'static str,
    /// First day (UTC).
    #[schema(example = "2026-11-01")]
    pub start_date: String,
    /// Last day (UTC).
    #[schema(example = "2026-11-30")]
    pub end_date: String,
    /// Grouped as requested. By job: what was used for no job is in the total alone.
    pub data: Vec<UsageObject>,
    /// Whether rows are left out: a report of jobs has 10,000 at most. Ask for fewer days.
    pub truncated: bool,
    /// The total.
    pub total: UsageObject,
    /// Of the costs, ISO 4217; null where the host has no prices.
    #[schema(required, example = "EUR")]
    pub currency: Option<String>,
    /// Budgets of this calendar month (UTC), whatever days the report covers: of the key that asks, and of its project.
    pub budgets: Vec<BudgetObject>,
}

impl From<Report> for UsageReport {
    fn from(report: Report) -> Self {
        Self {
            object: "usage",
            start_date: report.from.to_string(),
            end_date: report.to.to_string(),
            data: report.rows.into_iter().map(UsageObject::from).collect(),
            truncated: report.truncated,
            total: report.total.into(),
            currency: report.currency,
            budgets: report.budgets.into_iter().map(BudgetObject::from).collect(),
        }
    }
}

/// An audit entry: something that a key changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Id, `audit-...`.
    pub id: String,
    /// Always `audit_entry`.
    #[schema(example = "audit_entry")]
    pub object: &'static str,
    /// When, seconds since 1970.
    pub created_at: i64,
    /// The key.
    pub key_id: String,
    /// Name of the operation, as in this contract.
    #[schema(example = "create_job")]
    pub action: String,
    /// The thing that it was about.
    #[schema(required)]
    pub resource: Option<String>,
    /// How it was answered.
    #[schema(example = 200)]
    pub status: i16,
    /// The answer's `x-request-id`.
    pub request_id: String,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            object: "audit_entry",
            created_at: row.created_at.unix_timestamp(),
            key_id: row.key.to_string(),
            action: row.action,
            resource: row.resource,
            status: row.status,
            request_id: row.request_id,
        }
    }
}
