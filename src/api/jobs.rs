//! `/v1/fine_tuning/jobs`: the life of a job. Stock clients send empty bodies with a JSON content type on the verbs; they take
//! no body extractor.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::RawQuery;
use axum::extract::State;

use crate::api::auth::Caller;
use crate::api::auth::JobsRead;
use crate::api::auth::JobsWrite;
use crate::api::dto::files::DeletedJob;
use crate::api::dto::job_lists::JobCounts;
use crate::api::dto::job_lists::JobQuery;
use crate::api::dto::jobs::CreateJob;
use crate::api::dto::jobs::JobObject;
use crate::api::dto::list::List;
use crate::api::dto::list::page;
use crate::api::error::ApiError;
use crate::api::error::ErrorEnvelope;
use crate::api::extract::ApiId;
use crate::api::extract::ApiJson;
use crate::api::extract::parse_query;
use crate::api::once::Once;
use crate::api::state::App;
use crate::api::state::to_the_end;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::labels::is_label_name;
use crate::service::JobView;
use crate::service::Metadata;
use crate::service::MetadataFilter;
use crate::service::NewJob;
use crate::service::ServiceError;

/// Create a job
///
/// The job runs at once when the project has room, and queues otherwise. The label holder then drives it by `forward` and
/// `backward` (client custody) or by `forward`, `backward` and `optim_step` (host custody). Where `model` names a fine-tuned
/// model or a checkpoint of the project, the job starts from its adapters. A job of method `features` is worked off by the host
/// itself; its `result_files` are the hidden states of every row of its file.
#[utoipa::path(post, path = "/fine_tuning/jobs", tag = "fine-tuning", security(("key" = [])), request_body = CreateJob, responses(
    (status = 200, description = "The job", body = JobObject),
    (status = 400, description = "A field is wrong, unknown, or looks like a label", body = ErrorEnvelope),
    (status = 404, description = "No such model or file", body = ErrorEnvelope),
    (status = 413, description = "`storage_exceeded`: the features take more bytes than the project has left", body = ErrorEnvelope),
    (status = 429, description = "Too many open jobs, or more tokens than the budget has left", body = ErrorEnvelope),
))]
pub async fn create_job(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    once: Once,
    ApiJson(body): ApiJson<CreateJob>,
) -> Result<Json<JobObject>, ApiError> {
    let new = NewJob::try_from(body)?;
    let record = once.json(|job: &JobView| JobObject::from(job.clone()));
    Ok(Json(app.jobs.create(caller.project, caller.key, new, record).await?.into()))
}

/// List jobs
///
/// Newest first, or with `order=asc` oldest first. `metadata[key]=value` selects jobs with that pair (several: all of them);
/// `metadata=null` selects jobs without metadata. All that is asked for must hold.
#[utoipa::path(get, path = "/fine_tuning/jobs", tag = "fine-tuning", security(("key" = [])),
    params(JobQuery, ("metadata" = Option<BTreeMap<String, String>>, Query, style = DeepObject, explode, description = "Metadata that a job must have")),
    responses(
        (status = 200, description = "A page of jobs", body = List<JobObject>),
        (status = 400, description = "A parameter is wrong", body = ErrorEnvelope),
    ))]
pub async fn list_jobs(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<JobObject>>, ApiError> {
    let (plain, metadata) = split_query(query.as_deref().unwrap_or_default())?;
    let asked: JobQuery = parse_query(&plain)?;
    let page = page::<JobId>(asked.after.as_deref(), asked.limit, asked.order, &app.limits)?;
    let found = app.jobs.list(caller.project, page, &asked.filter(metadata)?).await?;
    let data = found.rows.into_iter().map(JobObject::from).collect();
    Ok(Json(List::new(data, found.has_more, |job: &JobObject| job.id.clone())))
}

/// Count jobs
///
/// How many jobs the project has in each state.
#[utoipa::path(get, path = "/fine_tuning/jobs/counts", tag = "fine-tuning", security(("key" = [])), responses(
    (status = 200, description = "The counts", body = JobCounts),
))]
pub async fn count_jobs(State(app): State<App>, caller: Caller<JobsRead>) -> Result<Json<JobCounts>, ApiError> {
    Ok(Json(app.jobs.counts(caller.project).await?.as_slice().into()))
}

/// A query without `metadata[k]=v`, which arrives percent-encoded and which no typed query reader understands; and that.
fn split_query(query: &str) -> Result<(String, MetadataFilter), ApiError> {
    let mut plain = url::form_urlencoded::Serializer::new(String::new());
    let mut metadata = MetadataFilter::Any;
    let mut pairs = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "metadata" if value == "null" => {
                pairs.clear();
                metadata = MetadataFilter::Absent;
            }
            "metadata" => {
                return Err(ApiError::new(ErrorCode::InvalidQuery, "metadata cannot be read.").at("metadata"));
            }
            other => match other.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']')) {
                Some(key) => drop(pairs.insert(key.to_owned(), value.into_owned())),
                None if is_label_name(other) => return Err(ServiceError::label_present(other, other).into()),
                None => drop(plain.append_pair(other, &value)),
            },
        }
    }
    if !pairs.is_empty() {
        metadata = MetadataFilter::Contains(Metadata(pairs));
    }
    Ok((plain.finish(), metadata))
}

macro_rules! job_verb {
    ($(#[$doc:meta])* $name:ident, $method:ident, $path:literal) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "fine-tuning", security(("key" = [])),
            params(("job_id" = String, Path, description = "Id of the job")), responses(
            (status = 200, description = "The job", body = JobObject),
            (status = 404, description = "No such job", body = ErrorEnvelope),
            (status = 409, description = "The job's state does not allow it", body = ErrorEnvelope),
        ))]
        pub async fn $name(
            State(app): State<App>,
            caller: Caller<JobsWrite>,
            ApiId(id): ApiId<JobId>,
            once: Once,
        ) -> Result<Json<JobObject>, ApiError> {
            let record = once.json(|job: &JobView| JobObject::from(job.clone()));
            let job = to_the_end(async move { app.jobs.$method(caller.project, id, record).await }).await?;
            Ok(Json(job.into()))
        }
    };
}

job_verb!(
    /// Cancel a job
    ///
    /// Its adapters are forgotten.
    cancel_job, cancel, "/fine_tuning/jobs/{job_id}/cancel"
);
job_verb!(
    /// Pause a job
    ///
    /// The job is saved and its memory is freed. The next step call, or `resume`, resumes it.
    pause_job, pause, "/fine_tuning/jobs/{job_id}/pause"
);
job_verb!(
    /// Resume a job
    ///
    /// A paused job runs again when the project has room, and queues otherwise.
    resume_job, resume, "/fine_tuning/jobs/{job_id}/resume"
);
job_verb!(
    /// Complete a job
    ///
    /// Its adapters, as the host last saw them, become the model `ft:<model>:<project>:<suffix>:<id>`.
    complete_job, complete, "/fine_tuning/jobs/{job_id}/complete"
);

/// Get a job
///
/// With its state, its settings, and the seq that its next step call must carry.
#[utoipa::path(get, path = "/fine_tuning/jobs/{job_id}", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), responses(
        (status = 200, description = "The job", body = JobObject),
        (status = 404, description = "No such job", body = ErrorEnvelope),
    ))]
pub async fn get_job(
    State(app): State<App>,
    caller: Caller<JobsRead>,
    ApiId(id): ApiId<JobId>,
) -> Result<Json<JobObject>, ApiError> {
    Ok(Json(app.jobs.get(caller.project, id).await?.into()))
}

/// Delete a job
///
/// A job that is over, with its record of steps, its ledger, its events and its checkpoints; the answer is the receipt. Its model and
/// its result files stay, and are deleted by their own calls. What was used stays counted, and the audit log says who deleted it.
#[utoipa::path(delete, path = "/fine_tuning/jobs/{job_id}", tag = "fine-tuning", security(("key" = [])),
    params(("job_id" = String, Path, description = "Id of the job")), responses(
        (status = 200, description = "Deleted, and what went with it", body = DeletedJob),
        (status = 404, description = "No such job", body = ErrorEnvelope),
        (status = 409, description = "The job is not over", body = ErrorEnvelope),
    ))]
pub async fn delete_job(
    State(app): State<App>,
    caller: Caller<JobsWrite>,
    ApiId(id): ApiId<JobId>,
) -> Result<Json<DeletedJob>, ApiError> {
    let erased = to_the_end(async move { app.jobs.delete(caller.project, id).await }).await?;
    Ok(Json(DeletedJob::new(id, &erased)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_filters_are_read_out_of_the_query() {
        let (plain, metadata) =
            split_query("limit=1&metadata%5Bteam%5D=a%20b&status=a%26b&metadata[run]=2").expect("valid");
        assert_eq!(plain, "limit=1&status=a%26b");
        let pairs = [("run".to_owned(), "2".to_owned()), ("team".to_owned(), "a b".to_owned())];
        assert_eq!(metadata, MetadataFilter::Contains(Metadata(pairs.into())));
        assert_eq!(split_query("metadata=null").expect("valid").1, MetadataFilter::Absent);
        for refused in ["metadata=x", "label=1"] {
            assert!(split_query(refused).is_err(), "{refused}");
        }
    }
}
