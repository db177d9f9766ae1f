//! A job's changes of state, completion apart. Owns that each goes through `JobState::on`, is checked by row count, and
//! writes its event and its message to webhooks in the same transaction; must never touch a session.

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobEvent;
use crate::domain::job::JobState;
use crate::domain::limits::Limits;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::lease_lost;
use crate::service::error::ServiceError;
use crate::service::webhooks;
use crate::store::Connection;
use crate::store::events;
use crate::store::events::EventKind;
use crate::store::events::Level;
use crate::store::events::NewEvent;
use crate::store::jobs;
use crate::store::jobs::Abandoned;
use crate::store::jobs::JobFailure;
use crate::store::jobs::JobRow;
use crate::store::jobs::StateChange;
use crate::store::projects;

/// There is no such job for the caller.
pub fn missing(id: JobId) -> ServiceError {
    ServiceError::not_found("fine-tuning job", id)
}

/// Tells a job's listeners what happened.
pub async fn note(connection: &mut Connection, job: &JobRow, level: Level, message: &str) -> Result<()> {
    note_with(connection, job, level, message, None).await
}

/// The same, with `{"status": ...}` or `{"checkpoint": id}` for programs.
pub async fn note_with(
    connection: &mut Connection,
    job: &JobRow,
    level: Level,
    message: &str,
    data: Option<&Value>,
) -> Result<()> {
    let id = EventId(Uuid::now_v7());
    let event = NewEvent { id, job: job.id, level, kind: EventKind::Message, message, data };
    events::append(connection, &event).await?;
    Ok(())
}

/// The job as it is now, which nobody else changes until the transaction ends; refused when another host has taken it over since
/// this lease. What a session decides about its job is decided on this row.
pub async fn held(connection: &mut Connection, project: ProjectId, id: JobId, attempt: i32) -> Result<JobRow> {
    let job = jobs::get_for_update(connection, project, id).await?.ok_or_else(|| missing(id))?;
    if job.attempt == attempt { Ok(job) } else { Err(lease_lost()) }
}

/// Someone else changed the job between reading and writing it.
pub fn changed_meanwhile() -> ServiceError {
    ServiceError::new(ErrorCode::InvalidJobState, "The job's state changed in the meantime; retrieve the job again.")
}

/// Changes a job's state by an event; refused when the life cycle does not know it.
pub async fn apply(
    connection: &mut Connection,
    job: &JobRow,
    event: JobEvent,
    error: Option<JobFailure>,
) -> Result<JobRow> {
    let Some(next) = job.status.on(event) else {
        let message = format!("The job is {}; it cannot be {}.", job.status, participle(event));
        return Err(ServiceError::new(ErrorCode::InvalidJobState, message));
    };
    let change = StateChange { attempt: job.attempt, from: job.status, to: next };
    if !jobs::set_state(connection, job.project, job.id, change, error.as_ref()).await? {
        return Err(changed_meanwhile());
    }
    let job = jobs::get(connection, job.project, job.id).await?.ok_or_else(|| missing(job.id))?;
    let level = if next == JobState::Failed { Level::Error } else { Level::Info };
    let data = json!({"status": next.as_str()});
    note_with(connection, &job, level, &told(&job), Some(&data)).await?;
    webhooks::announce(connection, &job).await?;
    Ok(job)
}

/// The state in words. Who waits for a job as elsewhere is told that this one does not train by itself.
fn told(job: &JobRow) -> String {
    let state = format!("Fine-tuning job is {}", job.status);
    let client_trains = job.features.is_none();
    match job.status.waits_for(client_trains) {
        Some(what) if job.status == JobState::Running && client_trains => format!("{state}. {what}"),
        _ => state,
    }
}

/// What the event would make of a job, for "it cannot be ...".
fn participle(event: JobEvent) -> &'static str {
    match event {
        JobEvent::PauseAsked | JobEvent::IdleTooLong | JobEvent::OutOfRoom => "paused",
        JobEvent::Resumed => "resumed",
        JobEvent::CancelAsked => "cancelled",
        JobEvent::Completed => "completed",
        JobEvent::Admitted => "admitted",
        JobEvent::Broke => "failed",
    }
}

/// Lets the job run that has queued longest, where there is one and room for it: whenever another stops running.
pub async fn admit_next(connection: &mut Connection, limits: &Limits, project: ProjectId) -> Result<()> {
    match jobs::next_queued(connection, project).await? {
        Some(job) => admit(connection, limits, job).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Lets a queued job run when the project has room; gives it back as it then is.
pub async fn admit(connection: &mut Connection, limits: &Limits, job: JobRow) -> Result<JobRow> {
    projects::hold(connection, job.project).await?;
    let counts = jobs::counts(connection, job.project).await?;
    if counts.running >= i64::from(limits.running_per_project) {
        return Ok(job);
    }
    apply(connection, &job, JobEvent::Admitted, None).await
}

/// Pauses a job whose state the host has no room to store; its `error` says so until it runs again.
pub async fn pause_full(context: &Context, full: Abandoned) -> Result<()> {
    let mut transaction = context.begin().await?;
    let job = held(&mut transaction, full.project, full.job, full.attempt).await?;
    let failure = JobFailure {
        code: ErrorCode::StorageFull.as_str().into(),
        message: "The host has no room for the job's checkpoint. It is paused, and goes on from its newest checkpoint: once there is \
                  room, send the steps after durable_seq again."
            .into(),
        param: None,
    };
    apply(&mut transaction, &job, JobEvent::OutOfRoom, Some(failure)).await?;
    note(&mut transaction, &job, Level::Warn, "Paused: the host's storage is full").await?;
    admit_next(&mut transaction, &context.limits, full.project).await?;
    commit(transaction).await
}

/// Pauses a job that nobody called for long, unless a host has taken it up since.
pub async fn pause_idle(context: &Context, idle: Abandoned) -> Result<()> {
    let mut transaction = context.begin().await?;
    let Some(job) = jobs::get_for_update(&mut transaction, idle.project, idle.job).await? else { return Ok(()) };
    if job.attempt == idle.attempt && job.status.on(JobEvent::IdleTooLong).is_some() {
        apply(&mut transaction, &job, JobEvent::IdleTooLong, None).await?;
        admit_next(&mut transaction, &context.limits, idle.project).await?;
        commit(transaction).await?;
    }
    Ok(())
}
