//! Which jobs are listed, and how many there are. Owns what a filter may say; must never decide what a job is.

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::IntoParams;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::schema::Type;

use crate::api::dto::list::Order;
use crate::domain::error_code::ErrorCode;
use crate::domain::job::JobState;
use crate::service::JobFilter;
use crate::service::MetadataFilter;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::StateCount;

/// Which jobs are listed, and in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Cursor: the page starts after this id.
    pub after: Option<String>,
    /// Page size, at most 100.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// Jobs in this state.
    #[param(value_type = Option<StateWord>, inline)]
    pub status: Option<String>,
    /// Jobs that were made with this name of a model.
    pub model: Option<String>,
    /// Jobs made at this time or later, seconds since 1970.
    #[param(minimum = 0, maximum = 253_402_300_799_i64)]
    pub created_from: Option<i64>,
    /// Jobs made before this time, seconds since 1970.
    #[param(minimum = 0, maximum = 253_402_300_799_i64)]
    pub created_before: Option<i64>,
    /// By creation time; newest first by default.
    #[param(inline)]
    pub order: Option<Order>,
}

impl JobQuery {
    /// The filter, with what the query says of metadata; refuses a state or a time that there is not.
    pub fn filter(self, metadata: MetadataFilter) -> Result<JobFilter> {
        let status =
            self.status.as_deref().map(|word| word.parse::<JobState>().map_err(|_| no_state(word))).transpose()?;
        let (created_from, created_before) =
            (time("created_from", self.created_from)?, time("created_before", self.created_before)?);
        Ok(JobFilter { metadata, status, model: self.model, created_from, created_before })
    }
}

/// A state that a job can be in, as the contract has it: the query's word is read by [`JobQuery::filter`], which names what is wrong.
struct StateWord;

impl PartialSchema for StateWord {
    fn schema() -> RefOr<Schema> {
        let words = JobState::ALL.map(JobState::as_str);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl ToSchema for StateWord {}

fn no_state(word: &str) -> ServiceError {
    let states = JobState::ALL.map(JobState::as_str).join(", ");
    ServiceError::new(ErrorCode::InvalidQuery, format!("status: there is no '{word}'; it is one of {states}."))
        .at("status")
}

/// From 1970 to the end of the year 9999, as the contract has it.
fn time(name: &'static str, seconds: Option<i64>) -> Result<Option<OffsetDateTime>> {
    let wrong =
        || ServiceError::new(ErrorCode::InvalidQuery, format!("{name}: is no time in seconds since 1970.")).at(name);
    let read =
        |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| seconds >= 0).ok_or_else(wrong);
    seconds.map(read).transpose()
}

/// How many jobs of the project are in each state.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobCounts {
    /// Always `fine_tuning.job.counts`.
    #[schema(example = "fine_tuning.job.counts")]
    pub object: &'static str,
    /// Waiting for a place.
    pub queued: i64,
    /// Taking step calls, or worked off by the host.
    pub running: i64,
    /// Saved, and without memory on the device.
    pub paused: i64,
    /// Completed.
    pub succeeded: i64,
    /// Could not go on.
    pub failed: i64,
    /// Given up.
    pub cancelled: i64,
}

impl From<&[StateCount]> for JobCounts {
    fn from(counts: &[StateCount]) -> Self {
        let of = |state| counts.iter().find(|count| count.status == state).map_or(0, |count| count.jobs);
        Self {
            object: "fine_tuning.job.counts",
            queued: of(JobState::Queued),
            running: of(JobState::Running),
            paused: of(JobState::Paused),
            succeeded: of(JobState::Succeeded),
            failed: of(JobState::Failed),
            cancelled: of(JobState::Cancelled),
        }
    }
}
