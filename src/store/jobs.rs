//! Fine-tuning runs. Owns table `jobs` except its lease columns (`leases`), its step counters (`steps`) and the progress of feature
//! jobs (`features`).
//! Must never decide whether a job may change its state: that is `JobState::on`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::features::FeatureSettings;
use crate::domain::ids::FileId;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobState;
use crate::domain::protection::Protection;
use crate::domain::settings::SplitSettings;
use crate::domain::steps::Progress;
use crate::store::error::Result;
use crate::store::models::AdapterBlobs;
use crate::store::pool::Connection;

/// Pairs of text that a client ties to a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, String>);

/// Why a job failed, in words for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The setting or line at fault.
    pub param: Option<String>,
}

/// Where a job's adapters begin, when not afresh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The fine-tuned model or checkpoint that was named.
    pub name: String,
    /// Its adapters, one blob for each set.
    pub adapters: AdapterBlobs,
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    pub id: JobId,
    pub project: ProjectId,
    /// The backbone, see [`models::get`](crate::store::models::get).
    pub model: Uuid,
    /// The name by which the client asked for it.
    pub model_name: String,
    /// The file whose rows forwards name.
    pub training_file: Option<FileId>,
    pub status: JobState,
    /// Part of the fine-tuned model's name.
    pub suffix: Option<String>,
    /// Seed of adapters and dropout.
    pub seed: i64,
    /// Settings of the split; of a features job those of its session on the device.
    pub settings: SplitSettings,
    /// The client's pairs.
    pub metadata: Option<Metadata>,
    pub error: Option<JobFailure>,
    /// What came of it.
    pub fine_tuned_model: Option<String>,
    pub created_at: OffsetDateTime,
    /// When it first ran.
    pub started_at: Option<OffsetDateTime>,
    /// When its newest step was committed.
    pub last_step_at: Option<OffsetDateTime>,
    /// When it became final.
    pub finished_at: Option<OffsetDateTime>,
    /// Size H of an activation, once the backbone was read.
    pub hidden_size: Option<i64>,
    /// Parameters P of one adapter set, once the backbone was read.
    pub adapter_parameters: Option<i64>,
    /// Longest input in tokens, once the backbone was read.
    pub max_tokens: Option<i64>,
    /// The seq that the next step call must carry.
    pub next_seq: i64,
    /// The seq of the newest training forward; 0 before the first.
    pub forward_seq: i64,
    /// The seq of the newest step that a checkpoint covers; 0 before the first.
    pub durable_seq: i64,
    /// Optimizer steps applied by the host.
    pub optimizer_steps: i64,
    /// Tokens of all training forwards.
    pub trained_tokens: i64,
    /// Changes of adapter values.
    pub adapter_version: i64,
    /// The host process that runs it.
    pub lease_owner: Option<Uuid>,
    /// Until when, unless it is extended.
    pub lease_until: Option<OffsetDateTime>,
    /// Fencing token of the newest lease.
    pub attempt: i32,
    /// Leases since the last committed step that did not end in good order, the present one included.
    pub barren_attempts: i32,
    /// Where its adapters begin; afresh when `None`.
    pub origin: Option<Origin>,
    /// The files that came of it: shards of features, and that with its metrics, once it is over.
    pub result_files: Vec<FileId>,
    /// As the client sent them.
    pub hyperparameters: Value,
    /// The key that made it.
    pub key: KeyId,
    /// What its client declares.
    pub protection: Option<Protection>,
    /// Settings of method `features`; `None`: method `split`.
    pub features: Option<FeatureSettings>,
    /// Rows of its file, of a features job.
    pub rows_total: Option<i64>,
    /// Rows whose features are in its files.
    pub rows_done: i64,
    /// Bytes of those files.
    pub result_bytes: i64,
    /// Bytes that they will have, as counted when it was made.
    pub expected_bytes: i64,
    /// Of a queued job: its place in the order of [`next_queued`], from 1.
    pub queue_position: Option<i64>,
    /// What it used: bytes in, bytes out, microseconds of the device; `None` before its first call.
    pub used: Option<Vec<i64>>,
}

impl JobRow {
    /// How far the job has come, as the rule of step order wants it.
    pub fn progress(&self) -> Progress {
        Progress { next_seq: self.next_seq.unsigned_abs(), forward_seq: self.forward_seq.unsigned_abs() }
    }
}

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    pub id: JobId,
    pub project: ProjectId,
    /// The backbone.
    pub model: Uuid,
    /// The name by which the client asked for it.
    pub model_name: &'a str,
    /// The file whose rows forwards name.
    pub training_file: Option<FileId>,
    /// Where the job begins.
    pub status: JobState,
    /// Part of the fine-tuned model's name.
    pub suffix: Option<&'a str>,
    /// Seed of adapters and dropout.
    pub seed: i64,
    pub settings: &'a SplitSettings,
    /// The client's pairs.
    pub metadata: Option<&'a Metadata>,
    /// Where its adapters begin; afresh when `None`.
    pub origin: Option<&'a Origin>,
    /// For the client's own records: an object.
    pub hyperparameters: &'a Value,
    /// The key that makes it.
    pub key: KeyId,
    /// What its client declares.
    pub protection: Option<Protection>,
    /// For method `features`; `None`: method `split`.
    pub features: Option<NewFeatures<'a>>,
}

/// What a features job has besides.
#[derive(Debug, Clone, Copy)]
pub struct NewFeatures<'a> {
    pub settings: &'a FeatureSettings,
    /// Rows of its file.
    pub rows: i64,
    /// Bytes that its files will have.
    pub bytes: i64,
}

/// How many jobs a project has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCounts {
    /// Not in a final state.
    pub open: i64,
    pub running: i64,
}

/// A running job that nobody calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned {
    pub project: ProjectId,
    pub job: JobId,
    /// Fencing token of its last lease.
    pub attempt: i32,
}

/// A step in the life of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// Fencing token of the newest lease that the change knows of.
    pub attempt: i32,
    /// Its state.
    pub from: JobState,
    /// Where it goes.
    pub to: JobState,
}

/// A job's good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion<'a> {
    /// Fencing token of the lease under which its adapters were read.
    pub attempt: i32,
    /// Its state.
    pub from: JobState,
    /// What came of it.
    pub fine_tuned_model: &'a str,
}

/// What is known of a job once its backbone was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobShape {
    /// Size H of an activation.
    pub hidden_size: i64,
    /// Parameters P of one adapter set.
    pub adapter_parameters: i64,
    /// Longest input in tokens.
    pub max_tokens: i64,
}

/// `select`s or `returning`s the columns of [`JobRow`] between two pieces of SQL.
macro_rules! job_rows {
    ($head:literal, $tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            JobRow,
            $head
                + r#" id as "id: _", project_id as "project: _", model_id as model, model_name,
                      training_file as "training_file: _", status as "status: _", suffix, seed, settings as "settings: _",
                      metadata as "metadata: _", error as "error: _", fine_tuned_model, created_at, started_at,
                      last_step_at, finished_at, hidden_size, adapter_parameters, max_tokens, next_seq, forward_seq,
                      durable_seq, optimizer_steps, trained_tokens, adapter_version, lease_owner, lease_until, attempt, barren_attempts,
                      origin as "origin: _", result_files as "result_files: _", hyperparameters, key_id as "key: _",
                      protection as "protection: _", features as "features: _", rows_total, rows_done, result_bytes, expected_bytes,
                      case when status = 'queued' then 1 + (
                          select count(*) from jobs before
                          where before.project_id = jobs.project_id and before.status = 'queued' and before.finished_at is null
                            and before.id < jobs.id) end as queue_position,
                      (select array[sum(bytes_in), sum(bytes_out), sum(device_us)]::bigint[]
                       from job_usage where job_id = jobs.id having count(*) > 0) as used "#
                + $tail,
            $($arg),*
        )
    };
}
pub(super) use job_rows;

/// Stores a new job.
pub async fn insert(conn: &mut Connection, job: &NewJob<'_>) -> Result<JobRow> {
    let row = job_rows!(
        "insert into jobs (id, project_id, model_id, model_name, training_file, status, suffix, seed, settings, metadata,
             origin, hyperparameters, key_id, protection, features, rows_total, expected_bytes, hidden_size, max_tokens)
         select $1, $2, m.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, m.hidden_size, m.max_tokens
         from models m where m.id = $3
         returning",
        "",
        job.id.0,
        job.project.0,
        job.model,
        job.model_name,
        job.training_file.map(|file| file.0),
        job.status.as_str(),
        job.suffix,
        job.seed,
        Json(job.settings) as _,
        job.metadata.map(Json) as _,
        job.origin.map(Json) as _,
        job.hyperparameters,
        job.key.0,
        job.protection.map(Protection::as_str),
        job.features.map(|features| Json(features.settings)) as _,
        job.features.map(|features| features.rows),
        job.features.map_or(0, |features| features.bytes),
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The project's job of that id.
pub async fn get(conn: &mut Connection, project: ProjectId, job: JobId) -> Result<Option<JobRow>> {
    let row = job_rows!("select", "from jobs where project_id = $1 and id = $2", project.0, job.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// The project's job of that id, which nobody else changes until the transaction ends.
pub async fn get_for_update(conn: &mut Connection, project: ProjectId, job: JobId) -> Result<Option<JobRow>> {
    let row = job_rows!("select", "from jobs where project_id = $1 and id = $2 for no key update", project.0, job.0)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

/// How many jobs the project has open and running.
pub async fn counts(conn: &mut Connection, project: ProjectId) -> Result<JobCounts> {
    let counts = sqlx::query_as!(
        JobCounts,
        r#"select count(*) as "open!", count(*) filter (where status = 'running') as "running!"
           from jobs where project_id = $1 and finished_at is null"#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(counts)
}

/// Running split jobs of all projects that no host holds and that had no step for longer than `idle`, longest first.
pub async fn idle(conn: &mut Connection, idle: Duration, limit: i64) -> Result<Vec<Abandoned>> {
    let rows = sqlx::query_as!(
        Abandoned,
        r#"select project_id as "project: _", id as "job: _", attempt from jobs
           where status = 'running' and finished_at is null and features is null and (lease_until is null or lease_until < now())
             and coalesce(greatest(last_step_at, started_at), created_at) < now() - make_interval(secs => $1)
           order by coalesce(greatest(last_step_at, started_at), created_at) limit $2"#,
        idle.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Whether a job or a batch that is not final reads the file.
pub async fn file_in_use(conn: &mut Connection, project: ProjectId, file: FileId) -> Result<bool> {
    let used = sqlx::query_scalar!(
        r#"select exists (select 1 from jobs where project_id = $1 and training_file = $2 and finished_at is null)
               or exists (select 1 from batches where project_id = $1 and input_file = $2 and finished_at is null) as "used!""#,
        project.0,
        file.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(used)
}

/// Moves a job from one state to the next. `false` when it was not in `change.from` any more, another lease was given out since
/// `change.attempt`, or it is not the project's.
///
/// Sets `started_at`, `finished_at` and `error`, and ends the lease of a job that stops running.
pub async fn set_state(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    change: StateChange,
    error: Option<&JobFailure>,
) -> Result<bool> {
    // A lease that is still alive ends in good order here, so its attempt does not count as barren.
    let done = sqlx::query!(
        "update jobs set status = $4, error = case when $4 in ('queued', 'running') then null else coalesce($5, error) end,
             started_at = case when $4 = 'running' then coalesce(started_at, now()) else started_at end,
             finished_at = case when $6 then now() end,
             barren_attempts = case when $4 <> 'running' and lease_until > now() then greatest(barren_attempts - 1, 0)
                                    else barren_attempts end,
             lease_owner = case when $4 = 'running' then lease_owner end,
             lease_until = case when $4 = 'running' then lease_until end
         where project_id = $1 and id = $2 and status = $3 and attempt = $7",
        project.0,
        job.0,
        change.from.as_str(),
        change.to.as_str(),
        error.map(Json) as _,
        change.to.is_final(),
        change.attempt,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a job well and names what came of it. `false` when it was not in `done.from` any more, another lease was given out since
/// `done.attempt`, or it is not the project's.
pub async fn complete(conn: &mut Connection, project: ProjectId, job: JobId, done: &Completion<'_>) -> Result<bool> {
    let ended = sqlx::query!(
        "update jobs set status = 'succeeded', fine_tuned_model = $4, finished_at = now(), lease_owner = null,
             lease_until = null, barren_attempts = 0
         where project_id = $1 and id = $2 and status = $3 and attempt = $5 and finished_at is null",
        project.0,
        job.0,
        done.from.as_str(),
        done.fine_tuned_model,
        done.attempt,
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Names a further file that came of the job.
pub async fn add_result_file(conn: &mut Connection, project: ProjectId, job: JobId, file: FileId) -> Result<bool> {
    let added = sqlx::query!(
        "update jobs set result_files = array_append(result_files, $3) where project_id = $1 and id = $2",
        project.0,
        job.0,
        file.0,
    );
    Ok(added.execute(conn).await?.rows_affected() == 1)
}

/// Notes what the backbone and the settings make of the job. `false` when there is no such job, or another host has its lease.
pub async fn set_shape(conn: &mut Connection, job: JobId, attempt: i32, shape: JobShape) -> Result<bool> {
    let done = sqlx::query!(
        "update jobs set hidden_size = $2, adapter_parameters = $3, max_tokens = $4 where id = $1 and attempt = $5",
        job.0,
        shape.hidden_size,
        shape.adapter_parameters,
        shape.max_tokens,
        attempt,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The project's job that has queued longest, which nobody else changes until the transaction ends. Jobs that another
/// transaction is about to admit are passed over.
pub async fn next_queued(conn: &mut Connection, project: ProjectId) -> Result<Option<JobRow>> {
    let row = job_rows!(
        "select",
        "from jobs where project_id = $1 and status = 'queued' and finished_at is null
         order by id limit 1 for no key update skip locked",
        project.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}
