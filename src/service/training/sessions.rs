//! Open sessions: a job whose adapters are on the device and whose lease this host holds. Owns opening, idling, losing and
//! closing them; a session is driven by one call at a time, and a lost lease forgets it without writing.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::OwnedMutexGuard;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobEvent;
use crate::domain::job::JobState;
use crate::domain::settings::Custody;
use crate::engine::EngineError;
use crate::engine::SessionSpec;
use crate::engine::Start;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::lease_lost;
use crate::service::context::locked;
use crate::service::error::ServiceError;
use crate::service::lifecycle::result_file;
use crate::service::lifecycle::transitions;
use crate::service::models::tuned::read_adapters;
use crate::service::training::checkpointing;
use crate::service::training::session::Durable;
use crate::service::training::session::Session;
use crate::store;
use crate::store::Tx;
use crate::store::checkpoints::CheckpointRow;
use crate::store::jobs::JobFailure;
use crate::store::jobs::JobRow;
use crate::store::jobs::JobShape;
use crate::store::leases;
use crate::store::models;
use crate::store::steps;

/// Abandoned jobs that are paused in one go.
const ABANDONED: i64 = 100;

/// A session locked for one call; `None` when it is not open.
pub type Place = OwnedMutexGuard<Option<Session>>;

/// The sessions of this host.
pub struct Sessions {
    context: Arc<Context>,
    places: Mutex<HashMap<JobId, Arc<tokio::sync::Mutex<Option<Session>>>>>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, places: Mutex::default() }
    }

    /// Waits for the job's place, without opening the session.
    pub async fn place(&self, job: JobId) -> Place {
        self.cell(job).lock_owned().await
    }

    /// Opens the job's session where it is not open, and locks it for one call. The job must be the project's.
    pub async fn open(&self, project: ProjectId, job: JobId) -> Result<Place> {
        let mut place = self.place(job).await;
        if !self.still_leased(&mut place).await? {
            tracing::warn!(job.id = %job, "the lease of {job} has ended; its session is forgotten");
            self.discard(job, &mut place).await;
        }
        if let Some(session) = place.as_ref() {
            return match session.job.project == project {
                true => Ok(place),
                false => Err(ServiceError::not_found("fine-tuning job", job)),
            };
        }
        match self.begin(project, job).await {
            Ok(session) => {
                *place = Some(session);
                Ok(place)
            }
            Err(error) => {
                drop(place);
                self.forget_place(job);
                Err(error)
            }
        }
    }

    /// Whether a session may still speak for its job: a process that stood still for longer than a lease must ask first.
    async fn still_leased(&self, place: &mut Place) -> Result<bool> {
        let Some(session) = place.as_mut() else { return Ok(true) };
        let (asked, lease) = (Instant::now(), self.context.jobs.lease);
        if asked.duration_since(session.leased_at) < lease {
            return Ok(true);
        }
        let mut connection = self.context.connection().await?;
        let attempt = leases::claim(&mut connection, session.job.id, self.context.owner, lease).await?;
        session.leased_at = asked;
        Ok(attempt == Some(session.attempt))
    }

    async fn begin(&self, project: ProjectId, id: JobId) -> Result<Session> {
        let job = self.make_running(project, id).await?;
        let mut connection = self.context.connection().await?;
        let leased_at = Instant::now();
        let Some(attempt) = leases::claim(&mut connection, id, self.context.owner, self.context.jobs.lease).await?
        else {
            let message = "The job is driven by another host; try again when its lease has ended.";
            return Err(ServiceError::new(ErrorCode::JobElsewhere, message));
        };
        drop(connection);
        let opened = self.load(project, id, attempt).await.map(|session| Session { leased_at, ..session });
        if opened.is_err() {
            leases::release(&mut *self.context.connection().await?, id, self.context.owner).await?;
        }
        tracing::info!(job.id = %job.id, attempt, opened = opened.is_ok(), "session of {} opened: {}", job.id, opened.is_ok());
        opened
    }

    /// A paused or queued job runs again when there is room; a job that is over does not.
    async fn make_running(&self, project: ProjectId, id: JobId) -> Result<JobRow> {
        let mut transaction = self.context.begin().await?;
        let missing = || ServiceError::not_found("fine-tuning job", id);
        let mut job = store::jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(missing)?;
        if job.status == JobState::Paused {
            job = transitions::apply(&mut transaction, &job, JobEvent::Resumed, None).await?;
        }
        if job.status == JobState::Queued {
            job = transitions::admit(&mut transaction, &self.context.limits, job).await?;
        }
        match job.status {
            JobState::Running if job.barren_attempts >= self.context.jobs.max_barren_attempts => {
                let error = JobFailure {
                    code: "crash_loop".into(),
                    message: "The host died several times on this job without one step in between.".into(),
                    param: None,
                };
                let job = transitions::apply(&mut transaction, &job, JobEvent::Broke, Some(error)).await?;
                let job = result_file::attach(&self.context, &mut transaction, job).await?;
                transitions::admit_next(&mut transaction, &self.context.limits, project).await?;
                commit(transaction).await?;
                Err(not_running(&job))
            }
            JobState::Running => {
                commit(transaction).await?;
                Ok(job)
            }
            JobState::Queued => {
                commit(transaction).await?;
                Err(ServiceError::new(
                    ErrorCode::JobQueued,
                    "The job waits for another job of the project to end; try again.",
                ))
            }
            _ => Err(not_running(&job)),
        }
    }

    async fn load(&self, project: ProjectId, id: JobId, attempt: i32) -> Result<Session> {
        let mut transaction = self.context.begin().await?;
        let missing = || ServiceError::not_found("fine-tuning job", id);
        let job = store::jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(missing)?;
        let checkpoint = store::checkpoints::latest(&mut transaction, id).await?;
        let host = job.settings.custody == Custody::Host;
        let durable_seq = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq);
        let job = match host && job.next_seq != durable_seq + 1 {
            true => rewind(&mut transaction, project, id, (attempt, durable_seq)).await?,
            false => job,
        };
        let model = models::get(&mut transaction, job.model)
            .await?
            .ok_or_else(|| ServiceError::not_found("model", &job.model_name))?;
        commit(transaction).await?;
        let start = self.start(&job, checkpoint.as_ref()).await?;
        let folder = PathBuf::from(model.folder.unwrap_or_default());
        let spec = SessionSpec { job: id, folder, seed: job.seed as u64, settings: job.settings.clone(), start };
        let info = self.context.engine.load(spec).await?;
        let shape = JobShape {
            hidden_size: info.hidden_size as i64,
            adapter_parameters: info.adapter_parameters as i64,
            max_tokens: info.max_tokens as i64,
        };
        store::jobs::set_shape(&mut *self.context.connection().await?, id, shape).await?;
        let durable = Durable { seq: durable_seq as u64, step: info.optimizer_steps, at: Instant::now() };
        let progress = job.progress();
        Ok(Session {
            attempt,
            progress,
            adapter_version: job.adapter_version,
            answers: BTreeMap::new(),
            durable,
            last_used: Instant::now(),
            leased_at: Instant::now(),
            base_model: model.name,
            info,
            job,
        })
    }

    /// The newest checkpoint where it holds the values of the job's last step. Before the first change of values, what the job began
    /// with: the adapters that it resumes from, or PEFT's initialisation. After it, in client custody, nothing.
    async fn start(&self, job: &JobRow, checkpoint: Option<&CheckpointRow>) -> Result<Start> {
        let host = job.settings.custody == Custody::Host;
        match checkpoint {
            Some(saved) if host || saved.adapter_version == job.adapter_version => {
                Ok(Start::Restored(checkpointing::read(&self.context, saved).await?))
            }
            _ if !host && job.adapter_version > 0 => Ok(Start::Lost),
            _ => match &job.origin {
                Some(origin) => Ok(Start::Adapters(read_adapters(&self.context, &origin.adapters).await?)),
                None => Ok(Start::Fresh),
            },
        }
    }

    /// Forgets a session without writing: its memory goes, its lease stays until it ends or is claimed again.
    pub async fn discard(&self, job: JobId, place: &mut Place) {
        self.context.engine.close(job).await;
        **place = None;
    }

    /// Saves and closes a session, for a pause or a shutdown; the lease is given back.
    pub async fn close(&self, job: JobId, place: &mut Place) -> Result<()> {
        let Some(session) = place.as_mut() else { return Ok(()) };
        let saved = match self.context.engine.snapshot(job).await {
            // After a crash the client has not sent every set again: there is nothing to save that it does not have.
            Err(EngineError::AdaptersLost { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(snapshot) => {
                let kind = checkpointing::Kind::Automatic;
                checkpointing::write(&self.context, session, kind, snapshot).await.map(|_| ())
            }
        };
        self.discard(job, place).await;
        leases::release(&mut *self.context.connection().await?, job, self.context.owner).await?;
        saved
    }

    /// Drops the place of a job without a session; give the place back first.
    pub fn forget_place(&self, job: JobId) {
        if let Ok(mut places) = self.places.lock() {
            // Someone else may be waiting for it: then it stays.
            if places.get(&job).is_some_and(|place| Arc::strong_count(place) == 1) {
                places.remove(&job);
            }
        }
    }

    fn jobs(&self) -> Vec<JobId> {
        self.places.lock().map(|places| places.keys().copied().collect()).unwrap_or_default()
    }

    /// Renews the leases; sessions whose lease is lost are forgotten.
    pub async fn heartbeat(&self) -> Result<()> {
        let open = self.jobs();
        if open.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        let held =
            leases::heartbeat(&mut *self.context.connection().await?, self.context.owner, self.context.jobs.lease)
                .await?;
        for job in open {
            let Some(mut place) = self.try_place(job) else { continue };
            if held.contains(&job) {
                place.iter_mut().for_each(|session| session.leased_at = asked);
                continue;
            }
            if place.is_some() {
                tracing::warn!(job.id = %job, "the lease of {job} is lost; its session is forgotten");
                self.discard(job, &mut place).await;
            }
            drop(place);
            self.forget_place(job);
        }
        Ok(())
    }

    /// Pauses jobs that had no call for the set time.
    pub async fn pause_idle(&self) -> Result<()> {
        for job in self.jobs() {
            let Some(mut place) = self.try_place(job) else { continue };
            let idle =
                place.as_ref().is_some_and(|session| session.last_used.elapsed() >= self.context.jobs.idle_pause);
            if idle {
                let project = place.as_ref().map(|session| session.job.project);
                self.close(job, &mut place).await?;
                if let Some(project) = project {
                    transitions::pause_idle(&self.context, project, job).await?;
                }
                drop(place);
                self.forget_place(job);
            }
        }
        Ok(())
    }

    /// Pauses running jobs that no host holds and that nobody called for the set time: those that were never begun, and those
    /// of a host that went away. They would hold their places for ever.
    pub async fn pause_abandoned(&self) -> Result<()> {
        let idle = self.context.jobs.idle_pause;
        let found = store::jobs::idle(&mut *self.context.connection().await?, idle, ABANDONED).await?;
        for (project, job) in found {
            let Some(place) = self.place_of(job) else { continue };
            if place.is_none() {
                transitions::pause_idle(&self.context, project, job).await?;
            }
            drop(place);
            self.forget_place(job);
        }
        Ok(())
    }

    fn cell(&self, job: JobId) -> Arc<tokio::sync::Mutex<Option<Session>>> {
        Arc::clone(locked(&self.places).entry(job).or_default())
    }

    /// The job's place, unless a call holds it.
    fn place_of(&self, job: JobId) -> Option<Place> {
        self.cell(job).try_lock_owned().ok()
    }

    fn try_place(&self, job: JobId) -> Option<Place> {
        let place = Arc::clone(self.places.lock().ok()?.get(&job)?);
        place.try_lock_owned().ok()
    }

    /// Saves and closes every session, for a shutdown. Failures are logged, and the rest goes on.
    pub async fn close_all(&self) {
        for job in self.jobs() {
            let mut place = self.place(job).await;
            if let Err(error) = self.close(job, &mut place).await {
                tracing::error!(job.id = %job, %error, "{job} could not be saved: {error}");
            }
        }
    }
}

/// Host custody after a crash: steps that no checkpoint covers are undone, and the client sends them again.
async fn rewind(transaction: &mut Tx, project: ProjectId, id: JobId, (attempt, to_seq): (i32, i64)) -> Result<JobRow> {
    if !steps::rewind(transaction, id, attempt, to_seq.unsigned_abs()).await? {
        return Err(lease_lost());
    }
    let job = store::jobs::get(transaction, project, id).await?;
    job.ok_or_else(|| ServiceError::not_found("fine-tuning job", id))
}

fn not_running(job: &JobRow) -> ServiceError {
    ServiceError::new(ErrorCode::JobNotRunning, format!("The job is {}.", job.status))
}
