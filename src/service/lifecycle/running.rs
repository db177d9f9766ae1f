//! How a job comes to run when a step calls for it. Owns who resumes, who is admitted, and that a job which keeps killing its host
//! fails; must never touch a session.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobEvent;
use crate::domain::job::JobState;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::lifecycle::result_file;
use crate::service::lifecycle::transitions::admit;
use crate::service::lifecycle::transitions::admit_next;
use crate::service::lifecycle::transitions::apply;
use crate::service::lifecycle::transitions::missing;
use crate::store::Tx;
use crate::store::jobs;
use crate::store::jobs::JobFailure;
use crate::store::jobs::JobRow;

/// Brings a job to where it takes step calls: a paused one resumes, a queued one is admitted when there is room. Refused when there
/// is none, and in every final state.
pub async fn bring_to_running(context: &Context, project: ProjectId, id: JobId) -> Result<JobRow> {
    let mut transaction = context.begin().await?;
    let mut job = jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
    if job.features.is_some() {
        let message =
            "A features job takes no steps and has no adapters: the host works it off by itself; read result_files.";
        return Err(ServiceError::new(ErrorCode::FeaturesJob, message));
    }
    if job.status == JobState::Paused {
        job = apply(&mut transaction, &job, JobEvent::Resumed, None).await?;
    }
    if job.status == JobState::Queued {
        job = admit(&mut transaction, &context.limits, job).await?;
    }
    match job.status {
        JobState::Running if job.barren_attempts >= context.jobs.max_barren_attempts => {
            Err(not_running(&fail_crash_loop(context, transaction, &job).await?))
        }
        JobState::Running => {
            commit(transaction).await?;
            Ok(job)
        }
        JobState::Queued => {
            commit(transaction).await?; // a paused job keeps its turn in the queue, though this call is refused
            Err(ServiceError::new(
                ErrorCode::JobQueued,
                "The job waits for another job of the project to end; try again.",
            ))
        }
        _ => Err(not_running(&job)),
    }
}

/// Ends a job whose host died too often without one step in between: it would take the next host down as well.
async fn fail_crash_loop(context: &Context, mut transaction: Tx, job: &JobRow) -> Result<JobRow> {
    let failure = JobFailure {
        code: "crash_loop".into(),
        message: "The host crashed several times on this job without completing a step.".into(),
        param: None,
    };
    let job = apply(&mut transaction, job, JobEvent::Broke, Some(failure)).await?;
    let job = result_file::attach(context, &mut transaction, job).await?;
    admit_next(&mut transaction, &context.limits, job.project).await?;
    commit(transaction).await?;
    Ok(job)
}

fn not_running(job: &JobRow) -> ServiceError {
    ServiceError::new(ErrorCode::JobNotRunning, format!("The job is {}.", job.status))
}
