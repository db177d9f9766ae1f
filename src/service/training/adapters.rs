//! A job's adapters: reading, replacing, saving. Owns what may be done with them outside the numbered steps; every change is
//! counted, so that a checkpoint tells whether it holds the newest values.

use std::time::Instant;

use crate::domain::expiry::ExpiresAfter;
use crate::domain::held_bytes::Held;
use crate::domain::held_bytes::values_bytes;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::tensor::WireTensor;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::accounting::metering::Effect;
use crate::service::accounting::sent::Sent;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::models::peft_layout::AdapterLayout;
use crate::service::training::checkpointing;
use crate::service::training::session::Session;
use crate::service::training::steps::Steps;
use crate::service::training::steps::open;
use crate::store::checkpoints::CheckpointRow;
use crate::store::ledger::LedgerKind;

/// Values for an adapter set.
#[derive(Debug, Clone)]
pub struct AdapterValues {
    /// A flat vector, or matrices with PEFT's names.
    pub tensors: Vec<WireTensor>,
    /// For the ledger.
    pub sent: Sent,
}

/// An adapter set on its way out.
pub struct SetOut {
    /// Its flat vector.
    pub theta: WireTensor,
    /// How it is laid out.
    pub layout: AdapterLayout,
    /// They go back when the body was read.
    pub body: Held,
}

/// A checkpoint that a client asks for.
#[derive(Debug, Clone)]
pub struct NewCheckpoint {
    /// How long it is kept; as long as its job when absent.
    pub expires_after: Option<ExpiresAfter>,
    /// For the ledger.
    pub sent: Sent,
}

impl Steps {
    /// One adapter set's flat vector.
    pub async fn adapter(&self, project: ProjectId, job: JobId, set: usize) -> Result<SetOut> {
        let mut slot = self.sessions.open(project, job).await?;
        let session = open(&mut slot)?;
        check_set(session, set)?;
        let body = session.answers.room_for_body(values_bytes(1, session.info.adapter_parameters), None)?;
        let theta = self.context.engine.adapter(job, set).await?;
        Ok(SetOut { theta, layout: layout_of(session), body })
    }

    /// How a job's adapters are laid out.
    pub async fn layout(&self, project: ProjectId, job: JobId) -> Result<AdapterLayout> {
        let mut slot = self.sessions.open(project, job).await?;
        Ok(layout_of(open(&mut slot)?))
    }

    /// Replaces an adapter set by a flat vector or by matrices with PEFT's names.
    pub async fn put_adapter(
        &self,
        project: ProjectId,
        job: JobId,
        set: usize,
        new: AdapterValues,
    ) -> Result<AdapterLayout> {
        let mut slot = self.sessions.open(project, job).await?;
        let session = open(&mut slot)?;
        check_set(session, set)?;
        let theta = layout_of(session).flatten(set, new.tensors)?;
        self.context.engine.set_adapter(job, set, theta).await?;
        session.last_used = Instant::now();
        let effect = Effect { new_adapters: true, ..Effect::default() };
        self.record_unnumbered(session, LedgerKind::PutAdapter, &new.sent, effect).await?;
        if session.is_host_custody() {
            let automatic = checkpointing::Kind::Automatic;
            checkpointing::save(&self.context, session, automatic, &AnswerRecord::none()).await?;
        }
        Ok(layout_of(session))
    }

    /// Saves a checkpoint that stays, as long as its job or for some time.
    pub async fn checkpoint(
        &self,
        project: ProjectId,
        job: JobId,
        new: NewCheckpoint,
        record: AnswerRecord<CheckpointRow>,
    ) -> Result<CheckpointRow> {
        let seconds = new.expires_after.map(|after| after.of_checkpoint()).transpose()?.map(|(_, seconds)| seconds);
        let mut slot = self.sessions.open(project, job).await?;
        let session = open(&mut slot)?;
        // Before the ledger has the call: where a set is lost, this is what refuses it.
        let snapshot = self.context.engine.snapshot(job).await?;
        self.record_unnumbered(session, LedgerKind::Checkpoint, &new.sent, Effect::default()).await?;
        checkpointing::write(&self.context, session, checkpointing::Kind::Asked(seconds), snapshot, &record).await
    }
}

fn check_set(session: &Session, set: usize) -> Result<()> {
    if set >= session.job.settings.adapter_sets {
        return Err(ServiceError::not_found("adapter set", set));
    }
    Ok(())
}

/// How the adapters of an open session are laid out.
fn layout_of(session: &Session) -> AdapterLayout {
    AdapterLayout::new(&session.base_model, &session.job.settings, &session.info)
}
