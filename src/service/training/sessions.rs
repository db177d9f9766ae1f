//! Open sessions: a job whose adapters are on the device and whose lease this host holds. Owns opening, idling, losing and
//! closing them; a session is driven by one call at a time, and a lost lease forgets it without writing.

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::domain::error_code::ErrorCode;
use crate::domain::held_bytes::Held;
use crate::domain::held_bytes::Holder;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::Custody;
use crate::engine::EngineError;
use crate::engine::SessionSpec;
use crate::engine::Start;
use crate::failpoint;
use crate::instruments;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::accounting::holding::hold_session;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::lease_lost;
use crate::service::error::ServiceError;
use crate::service::lifecycle::running::bring_to_running;
use crate::service::lifecycle::transitions;
use crate::service::models::tuned::read_adapters;
use crate::service::training::checkpoint_choice;
use crate::service::training::checkpointing;
use crate::service::training::kept_answers::KeptAnswers;
use crate::service::training::session::Durable;
use crate::service::training::session::Session;
use crate::store;
use crate::store::checkpoints::CheckpointRow;
use crate::store::jobs::Abandoned;
use crate::store::jobs::JobRow;
use crate::store::jobs::JobShape;
use crate::store::leases;
use crate::store::models;
use crate::store::models::ModelRow;
use crate::store::steps;

/// Abandoned jobs that are paused in one go.
const ABANDONED: i64 = 100;

/// A session locked for one call; `None` when it is not open.
pub type SessionSlot = OwnedMutexGuard<Option<Session>>;

/// What the database holds of a job whose session is to be opened.
struct Stored {
    job: JobRow,
    model: ModelRow,
}

/// The sessions of this host.
pub struct Sessions {
    context: Arc<Context>,
    slots: Mutex<HashMap<JobId, Arc<tokio::sync::Mutex<Option<Session>>>>>,
    /// Whose the jobs in `slots` are, as far as they were opened.
    owners: Mutex<HashMap<JobId, ProjectId>>,
    /// Those that are being handed over.
    leaving: Mutex<HashSet<JobId>>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, slots: Mutex::default(), owners: Mutex::default(), leaving: Mutex::default() }
    }

    /// Waits for the job's slot, without opening the session.
    pub async fn slot(&self, job: JobId) -> SessionSlot {
        self.cell(job).lock_owned().await
    }

    /// Opens the job's session where it is not open, and locks it for one call. The job must be the project's.
    pub async fn open(&self, project: ProjectId, job: JobId) -> Result<SessionSlot> {
        self.check_owner(project, job).await?;
        let mut slot = self.slot(job).await;
        if !self.still_leased(&mut slot).await? {
            tracing::warn!(job.id = %job, "the lease of {job} has ended; its session is forgotten");
            self.discard(job, &mut slot).await;
        }
        if slot.is_some() {
            return Ok(slot);
        }
        match self.begin(project, job).await {
            Ok(session) => {
                self.owners.lock().insert(job, project);
                *slot = Some(session);
                Ok(slot)
            }
            Err(error) => {
                drop(slot);
                self.forget_slot(job);
                Err(error)
            }
        }
    }

    /// Before anything is waited for: a stranger must not be able to tell, by the time that it takes, an id that is in use from one that
    /// never was. Both are looked for in the database, and not found.
    async fn check_owner(&self, project: ProjectId, job: JobId) -> Result<()> {
        if self.owners.lock().get(&job) == Some(&project) {
            return Ok(());
        }
        let found = store::jobs::get(&mut *self.context.connection().await?, project, job).await?;
        found.map(|_| ()).ok_or_else(|| ServiceError::not_found("fine-tuning job", job))
    }

    /// Whether a session may still speak for its job: a process that stood still for longer than a lease must ask first.
    async fn still_leased(&self, slot: &mut SessionSlot) -> Result<bool> {
        let Some(session) = slot.as_mut() else { return Ok(true) };
        let asked = Instant::now();
        let lease = self.context.jobs.lease;
        if asked.duration_since(session.leased_at) < lease && !self.context.signs_of_life.are_missing() {
            return Ok(true);
        }
        let mut connection = self.context.connection().await?;
        let attempt = leases::claim(&mut connection, session.job.id, self.context.owner, lease).await?;
        session.leased_at = asked;
        Ok(attempt == Some(session.attempt))
    }

    /// Opens a session: the job runs, this host holds its lease, and the device its adapters. A session that cannot be opened gives
    /// the lease back, so that the attempt does not count as one that died.
    async fn begin(&self, project: ProjectId, id: JobId) -> Result<Session> {
        let job = bring_to_running(&self.context, project, id).await?;
        let held = self.hold(&job).await?;
        let leased_at = Instant::now();
        let attempt = self.claim(id).await?;
        let opened = self.load(&job, attempt, held).await.map(|session| Session { leased_at, ..session });
        if opened.is_err() {
            leases::release(&mut *self.context.connection().await?, id, attempt).await?;
        }
        tracing::info!(job.id = %id, attempt, opened = opened.is_ok(), "session of {id} opened: {}", opened.is_ok());
        opened
    }

    /// Takes the bytes that the session will hold, before anything of it is loaded.
    async fn hold(&self, job: &JobRow) -> Result<Held> {
        let parameters = match job.adapter_parameters {
            Some(known) => known.unsigned_abs() as usize,
            None => {
                let model = models::get(&mut *self.context.connection().await?, job.model).await?;
                let folder = PathBuf::from(model.and_then(|model| model.folder).unwrap_or_default());
                self.context.engine.describe(folder, job.settings.clone()).await?.adapter_parameters
            }
        };
        let holder = Holder { project: job.project, job: Some(job.id) };
        hold_session(&self.context, holder, &job.settings, parameters)
    }

    /// Takes the job's lease; gives the fencing token that every write of the session carries.
    async fn claim(&self, id: JobId) -> Result<i32> {
        let mut connection = self.context.connection().await?;
        let attempt = leases::claim(&mut connection, id, self.context.owner, self.context.jobs.lease).await?;
        failpoint::reach("claim_committed");
        attempt.ok_or_else(|| {
            let message = "Another host runs the job; try again when its lease has expired.";
            ServiceError::new(ErrorCode::JobElsewhere, message)
        })
    }

    async fn load(&self, job: &JobRow, attempt: i32, held: Held) -> Result<Session> {
        let (project, id) = (job.project, job.id);
        let saved = checkpoint_choice::newest_whole(&self.context, project, id, attempt).await?;
        let (checkpoint, bytes) = saved.unzip();
        let Stored { job, model } = self.read_stored(project, id, attempt, checkpoint.as_ref()).await?;
        let start = self.start(&job, bytes).await?;
        let folder = PathBuf::from(model.folder.unwrap_or_default());
        let spec =
            SessionSpec { job: id, project, folder, seed: job.seed as u64, settings: job.settings.clone(), start };
        let info = self.context.engine.load(spec).await?;
        let shape = JobShape {
            hidden_size: info.hidden_size as i64,
            adapter_parameters: info.adapter_parameters as i64,
            max_tokens: info.max_tokens as i64,
        };
        if !store::jobs::set_shape(&mut *self.context.connection().await?, id, attempt, shape).await? {
            return Err(lease_lost());
        }
        let durable =
            Durable { seq: durable_seq(checkpoint.as_ref()) as u64, step: info.optimizer_steps, at: Instant::now() };
        let progress = job.progress();
        Ok(Session {
            attempt,
            progress,
            adapter_version: job.adapter_version,
            answers: KeptAnswers::new(held),
            durable,
            is_out_of_room: false,
            last_used: Instant::now(),
            leased_at: Instant::now(),
            base_model: model.name,
            info,
            job,
        })
    }

    /// What the database holds of the job. In host custody its steps end at the checkpoint afterwards: those behind it died with a
    /// host, and the client sends them again.
    async fn read_stored(
        &self,
        project: ProjectId,
        id: JobId,
        attempt: i32,
        checkpoint: Option<&CheckpointRow>,
    ) -> Result<Stored> {
        let mut transaction = self.context.begin().await?;
        let missing = || ServiceError::not_found("fine-tuning job", id);
        let mut job = store::jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(missing)?;
        let durable = durable_seq(checkpoint);
        if job.settings.custody == Custody::Host && job.next_seq != durable + 1 {
            if !steps::rewind(&mut transaction, id, attempt, durable.unsigned_abs()).await? {
                return Err(lease_lost());
            }
            job = store::jobs::get(&mut transaction, project, id).await?.ok_or_else(missing)?;
        }
        let model = models::get(&mut transaction, job.model)
            .await?
            .ok_or_else(|| ServiceError::not_found("model", &job.model_name))?;
        commit(transaction).await?;
        Ok(Stored { job, model })
    }

    /// The newest checkpoint where it holds the values of the job's last step; otherwise what the job began with: the adapters
    /// that it continues from, or PEFT's initialisation.
    async fn start(&self, job: &JobRow, checkpoint: Option<Bytes>) -> Result<Start> {
        match checkpoint {
            Some(bytes) => Ok(Start::Restored(bytes)),
            None if job.settings.custody == Custody::Client && job.adapter_version > 0 => Ok(Start::Lost),
            None => match &job.origin {
                Some(origin) => Ok(Start::Adapters(read_adapters(&self.context, &origin.adapters).await?)),
                None => Ok(Start::Fresh),
            },
        }
    }

    /// Forgets a session without writing: its memory goes, its lease stays until it ends or is claimed again.
    pub async fn discard(&self, job: JobId, slot: &mut SessionSlot) {
        self.context.engine.close(job).await;
        **slot = None;
    }

    /// Saves and closes a session, for a pause or a shutdown; the lease is given back.
    pub async fn close(&self, job: JobId, slot: &mut SessionSlot) -> Result<()> {
        let Some(session) = slot.as_mut() else { return Ok(()) };
        let attempt = session.attempt;
        let saved = match self.context.engine.snapshot(job).await {
            // After a crash the client has not sent every set again: there is nothing to save that it does not have.
            Err(EngineError::AdaptersLost { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(snapshot) => {
                let (kind, record) = (checkpointing::Kind::Automatic, AnswerRecord::none());
                checkpointing::write(&self.context, session, kind, snapshot, &record).await.map(|_| ())
            }
        };
        self.discard(job, slot).await;
        leases::release(&mut *self.context.connection().await?, job, attempt).await?;
        saved
    }

    /// Pauses a job whose checkpoint the host has no room for: what it did since the newest one is its client's to send again.
    pub async fn pause_full(&self, job: JobId, mut slot: SessionSlot) -> Result<()> {
        let Some(session) = slot.as_ref() else { return Ok(()) };
        let full = Abandoned { project: session.job.project, job, attempt: session.attempt };
        self.discard(job, &mut slot).await;
        transitions::pause_full(&self.context, full).await?;
        drop(slot);
        self.forget_slot(job);
        Ok(())
    }

    /// Drops the slot of a job without a session; give the slot back first.
    pub fn forget_slot(&self, job: JobId) {
        let mut slots = self.slots.lock();
        // Someone else may be waiting for it: then it stays.
        if slots.get(&job).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(&job);
            self.owners.lock().remove(&job);
        }
    }

    /// Whether this host has opened it.
    pub fn has(&self, job: JobId) -> bool {
        self.owners.lock().contains_key(&job)
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.slots.lock().len()
    }

    fn jobs(&self) -> Vec<JobId> {
        self.slots.lock().keys().copied().collect()
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
            let Some(mut slot) = self.try_slot(job) else { continue };
            if held.contains(&job) {
                slot.iter_mut().for_each(|session| session.leased_at = asked);
                continue;
            }
            if slot.is_some() {
                tracing::warn!(job.id = %job, "the lease of {job} is lost; its session is forgotten");
                instruments::lease_lost();
                self.discard(job, &mut slot).await;
            }
            drop(slot);
            self.forget_slot(job);
        }
        Ok(())
    }

    /// Pauses jobs that had no call for the set time.
    pub async fn pause_idle(&self) -> Result<()> {
        for job in self.jobs() {
            let Some(mut slot) = self.try_slot(job) else { continue };
            let Some(session) = slot.as_ref() else { continue };
            if session.last_used.elapsed() < self.context.jobs.idle_pause {
                continue;
            }
            let idle = Abandoned { project: session.job.project, job, attempt: session.attempt };
            self.close(job, &mut slot).await?;
            transitions::pause_idle(&self.context, idle).await?;
            drop(slot);
            self.forget_slot(job);
        }
        Ok(())
    }

    /// Pauses running jobs that no host holds and that nobody called for the set time: those that were never begun, and those
    /// of a host that went away. They would hold their slots for ever.
    pub async fn pause_abandoned(&self) -> Result<()> {
        let idle = self.context.jobs.idle_pause;
        let found = store::jobs::idle(&mut *self.context.connection().await?, idle, ABANDONED).await?;
        for idle in found {
            let Some(slot) = self.slot_of(idle.job) else { continue };
            if slot.is_none() {
                transitions::pause_idle(&self.context, idle).await?;
            }
            drop(slot);
            self.forget_slot(idle.job);
        }
        Ok(())
    }

    fn cell(&self, job: JobId) -> Arc<tokio::sync::Mutex<Option<Session>>> {
        Arc::clone(self.slots.lock().entry(job).or_default())
    }

    /// The job's slot, unless a call holds it.
    fn slot_of(&self, job: JobId) -> Option<SessionSlot> {
        self.cell(job).try_lock_owned().ok()
    }

    fn try_slot(&self, job: JobId) -> Option<SessionSlot> {
        let slot = Arc::clone(self.slots.lock().get(&job)?);
        slot.try_lock_owned().ok()
    }

    /// Whether the session of a node that drains still takes calls: one is at work in it, or it waits for the backward of its forward, whose
    /// graph no other node has.
    pub fn is_kept(&self, job: JobId) -> bool {
        !self.leaving.lock().contains(&job) && self.try_slot(job).is_none_or(|slot| awaits_backward(&slot))
    }

    /// Saves and closes what no call is at work in, for others to open; `all`: those that wait for a backward too.
    pub async fn hand_over(&self, all: bool) {
        for job in self.jobs() {
            let Some(mut slot) = self.try_slot(job) else { continue };
            if awaits_backward(&slot) && !all {
                continue;
            }
            self.leaving.lock().insert(job);
            if let Err(error) = self.close(job, &mut slot).await {
                tracing::error!(job.id = %job, %error, "{job} could not be saved: {error}");
            }
            drop(slot);
            self.forget_slot(job);
            self.leaving.lock().remove(&job);
        }
    }

    /// Saves and closes every session, for a shutdown. Failures are logged, and the rest goes on.
    pub async fn close_all(&self) {
        for job in self.jobs() {
            let mut slot = self.slot(job).await;
            if let Err(error) = self.close(job, &mut slot).await {
                tracing::error!(job.id = %job, %error, "{job} could not be saved: {error}");
            }
        }
    }
}

/// Whether the newest call of a session was a forward that trains.
fn awaits_backward(slot: &SessionSlot) -> bool {
    slot.as_ref().is_some_and(|session| session.progress.forward_seq + 1 == session.progress.next_seq)
}

/// The newest step that survives a crash; 0 before the first checkpoint.
fn durable_seq(checkpoint: Option<&CheckpointRow>) -> i64 {
    checkpoint.map_or(0, |checkpoint| checkpoint.seq)
}
