//! Fine-tuning jobs. Owns what a client may do with one after its creation: look, pause, resume, cancel, complete (reports are `metrics`');
//! the rules of each change of state are `lifecycle`'s.

use std::sync::Arc;

use serde_json::json;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::job::JobEvent;
use crate::failpoint;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::features::Features;
use crate::service::inference::probing::check_session;
use crate::service::lifecycle::result_file;
use crate::service::lifecycle::transitions::admit;
use crate::service::lifecycle::transitions::admit_next;
use crate::service::lifecycle::transitions::apply;
use crate::service::lifecycle::transitions::changed_meanwhile;
use crate::service::lifecycle::transitions::held;
use crate::service::lifecycle::transitions::missing;
use crate::service::lifecycle::transitions::note_with;
use crate::service::models::tuned::tuned_name;
use crate::service::training::checkpointing;
use crate::service::training::sessions::SessionSlot;
use crate::service::training::sessions::Sessions;
use crate::service::webhooks;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::blobs::BlobKind;
use crate::store::events;
use crate::store::events::EventKind;
use crate::store::events::EventRow;
use crate::store::events::Level;
use crate::store::job_lists;
use crate::store::job_lists::JobFilter;
use crate::store::job_lists::StateCount;
use crate::store::jobs;
use crate::store::jobs::Completion;
use crate::store::jobs::JobRow;
use crate::store::ledger;
use crate::store::ledger::KindTotal;
use crate::store::ledger::LedgerPage;
use crate::store::ledger::LedgerRow;
use crate::store::models;
use crate::store::models::AdapterBlobs;
use crate::store::models::TunedModel;
use crate::store::project_events;

/// A job as its project sees it.
pub type JobView = JobRow;

/// A change of state that a client asks for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    event: JobEvent,
    /// The lease of this host's session that was closed for it: it is void when another host has taken the job over since.
    attempt: Option<i32>,
}

impl Wish {
    /// One that holds whoever runs the job.
    fn of_anyone(event: JobEvent) -> Self {
        Self { event, attempt: None }
    }
}

/// Use cases on jobs.
pub struct Jobs {
    pub(super) context: Arc<Context>,
    sessions: Arc<Sessions>,
    pub(super) features: Arc<Features>,
}

impl Jobs {
    /// Jobs whose sessions are `sessions`, and those that `features` works off.
    pub fn new(context: Arc<Context>, sessions: Arc<Sessions>, features: Arc<Features>) -> Self {
        Self { context, sessions, features }
    }

    /// One job.
    pub async fn get(&self, project: ProjectId, id: JobId) -> Result<JobRow> {
        let found = jobs::get(&mut *self.context.connection().await?, project, id).await?;
        found.ok_or_else(|| missing(id))
    }

    /// A page of the jobs that are wanted.
    pub async fn list(&self, project: ProjectId, page: PageRequest, wanted: &JobFilter) -> Result<Paged<JobRow>> {
        known_cursor(job_lists::list(&mut *self.context.connection().await?, project, &page, wanted).await?)
    }

    /// How many jobs the project has in each state.
    pub async fn counts(&self, project: ProjectId) -> Result<Vec<StateCount>> {
        Ok(job_lists::counts_by_state(&mut *self.context.connection().await?, project).await?)
    }

    /// Ends a job without a result.
    pub async fn cancel(&self, project: ProjectId, id: JobId, record: AnswerRecord<JobRow>) -> Result<JobRow> {
        self.get(project, id).await?;
        let mut slot = self.sessions.slot(id).await;
        let job = self.transition(project, id, Wish::of_anyone(JobEvent::CancelAsked), &record).await?;
        self.sessions.discard(id, &mut slot).await;
        drop(slot);
        self.sessions.forget_slot(id);
        Ok(job)
    }

    /// Saves a job and gives its memory back. The next step call, or `resume`, lets it run again.
    pub async fn pause(&self, project: ProjectId, id: JobId, record: AnswerRecord<JobRow>) -> Result<JobRow> {
        let job = self.get(project, id).await?;
        let mut slot = self.sessions.slot(id).await;
        let wish = Wish { event: JobEvent::PauseAsked, attempt: slot.as_ref().map(|session| session.attempt) };
        if job.status.on(wish.event).is_some() {
            self.sessions.close(id, &mut slot).await?;
        }
        let job = self.transition(project, id, wish, &record).await;
        drop(slot);
        self.sessions.forget_slot(id);
        job
    }

    /// Lets a paused job run again when there is room.
    pub async fn resume(&self, project: ProjectId, id: JobId, record: AnswerRecord<JobRow>) -> Result<JobRow> {
        self.get(project, id).await?;
        let _slot = self.sessions.slot(id).await;
        let mut transaction = self.context.begin().await?;
        let job = jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        let job = apply(&mut transaction, &job, JobEvent::Resumed, None).await?;
        let job = admit(&mut transaction, &self.context.limits, job).await?;
        record.write(&mut transaction, &job).await?;
        commit(transaction).await?;
        self.features.wake();
        Ok(job)
    }

    /// Ends a job with a result: its adapters become the model `ft:<model>:<project>:<suffix>:<id>`.
    pub async fn complete(&self, project: ProjectId, id: JobId, record: AnswerRecord<JobRow>) -> Result<JobRow> {
        let mut slot = self.sessions.open(project, id).await?;
        let done = self.complete_in(&mut slot, project, id, &record).await;
        let is_lost = done.as_ref().is_err_and(|error| error.code == ErrorCode::LeaseLost);
        if done.is_ok() || is_lost {
            self.sessions.discard(id, &mut slot).await;
            drop(slot);
            self.sessions.forget_slot(id);
        }
        done
    }

    async fn complete_in(
        &self,
        slot: &mut SessionSlot,
        project: ProjectId,
        id: JobId,
        record: &AnswerRecord<JobRow>,
    ) -> Result<JobRow> {
        let Some(session) = slot.as_mut() else { return Err(missing(id)) };
        check_session(&self.context, id, &session.info, session.job.settings.adapter_sets).await?;
        let saved =
            checkpointing::save(&self.context, session, checkpointing::Kind::Asked(None), &AnswerRecord::none())
                .await?;
        let mut adapters = AdapterBlobs::default();
        for set in 0..session.job.settings.adapter_sets {
            let theta = self.context.engine.adapter(id, set).await?;
            adapters.0.push(self.context.blobs.put_atomic(BlobKind::Adapters, theta.bytes().clone()).await?);
        }
        failpoint::reach("complete_saved");
        let mut transaction = self.context.begin().await?;
        let job = held(&mut transaction, project, id, session.attempt).await?;
        let name = tuned_name(&session.base_model, project, job.suffix.as_deref(), id.0);
        let end = Completion { attempt: session.attempt, from: job.status, fine_tuned_model: &name };
        if job.status.on(JobEvent::Completed).is_none() || !jobs::complete(&mut transaction, project, id, &end).await? {
            return Err(changed_meanwhile());
        }
        let tuned = TunedModel {
            project,
            name: &name,
            base_model: job.model,
            adapters: &adapters,
            settings: &job.settings,
            owned_by: &project.to_string(),
        };
        models::insert_tuned(&mut transaction, &tuned).await?;
        let done = jobs::get(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        let done = result_file::attach(&self.context, &mut transaction, done).await?;
        let data = json!({"status": done.status.as_str()});
        let message = format!("New fine-tuned model created: {name}");
        note_with(&mut transaction, &done, Level::Info, &message, Some(&data)).await?;
        webhooks::announce(&mut transaction, &done).await?;
        admit_next(&mut transaction, &self.context.limits, project).await?;
        record.write(&mut transaction, &done).await?;
        commit(transaction).await?;
        tracing::info!(job.id = %id, checkpoint.id = %saved.id, "completed {id}");
        Ok(done)
    }

    async fn transition(
        &self,
        project: ProjectId,
        id: JobId,
        wish: Wish,
        record: &AnswerRecord<JobRow>,
    ) -> Result<JobRow> {
        let mut transaction = self.context.begin().await?;
        let job = match wish.attempt {
            Some(attempt) => held(&mut transaction, project, id, attempt).await?,
            None => jobs::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?,
        };
        let mut job = apply(&mut transaction, &job, wish.event, None).await?;
        if job.status.is_final() {
            job = result_file::attach(&self.context, &mut transaction, job).await?;
        }
        admit_next(&mut transaction, &self.context.limits, project).await?;
        record.write(&mut transaction, &job).await?;
        commit(transaction).await?;
        Ok(job)
    }

    /// A page of a job's events, newest first.
    pub async fn events(&self, project: ProjectId, id: JobId, page: PageRequest) -> Result<Paged<EventRow>> {
        self.get(project, id).await?;
        known_cursor(events::list(&mut *self.context.connection().await?, project, id, None, &page).await?)
    }

    /// A page of the events of all jobs of the project.
    pub async fn events_of_all(&self, project: ProjectId, page: PageRequest) -> Result<Paged<EventRow>> {
        known_cursor(project_events::list(&mut *self.context.connection().await?, project, &page).await?)
    }

    /// A page of the scalars that a job's client reported.
    pub async fn reports(&self, project: ProjectId, id: JobId, page: PageRequest) -> Result<Paged<EventRow>> {
        self.get(project, id).await?;
        let kind = Some(EventKind::Metrics);
        known_cursor(events::list(&mut *self.context.connection().await?, project, id, kind, &page).await?)
    }

    /// A page of what the host was sent.
    pub async fn ledger(&self, project: ProjectId, id: JobId, page: LedgerPage) -> Result<Paged<LedgerRow>> {
        self.get(project, id).await?;
        Ok(ledger::list(&mut *self.context.connection().await?, project, id, &page).await?)
    }

    /// What the host was sent, added up by the kind of call.
    pub async fn ledger_totals(&self, project: ProjectId, id: JobId) -> Result<Vec<KindTotal>> {
        self.get(project, id).await?;
        Ok(ledger::totals(&mut *self.context.connection().await?, project, id).await?)
    }
}
