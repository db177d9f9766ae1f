//! A job's adapters: reading, replacing, saving. Owns what may be done with them outside the numbered steps; every change is
//! counted, so that a checkpoint tells whether it holds the newest values.

use std::time::Instant;

use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::tensor::WireTensor;
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

impl Steps {
    /// One adapter set's flat vector.
    pub async fn adapter(&self, project: ProjectId, job: JobId, set: usize) -> Result<(WireTensor, AdapterLayout)> {
        let mut place = self.sessions.open(project, job).await?;
        let session = open(&mut place)?;
        check_set(session, set)?;
        session.need_adapters([set])?;
        let theta = self.context.engine.adapter(job, set).await?;
        Ok((theta, layout_of(session)))
    }

    /// How a job's adapters are laid out.
    pub async fn layout(&self, project: ProjectId, job: JobId) -> Result<AdapterLayout> {
        let mut place = self.sessions.open(project, job).await?;
        Ok(layout_of(open(&mut place)?))
    }

    /// Replaces an adapter set by a flat vector or by matrices with PEFT's names.
    pub async fn put_adapter(
        &self,
        project: ProjectId,
        job: JobId,
        set: usize,
        (tensors, sent): (Vec<WireTensor>, Sent),
    ) -> Result<AdapterLayout> {
        let mut place = self.sessions.open(project, job).await?;
        let session = open(&mut place)?;
        check_set(session, set)?;
        let theta = layout_of(session).flatten(set, tensors)?;
        self.context.engine.set_adapter(job, set, theta).await?;
        session.known_adapters[set] = true;
        session.last_used = Instant::now();
        self.note(session, LedgerKind::PutAdapter, &sent, Effect { new_adapters: true, ..Effect::default() }).await?;
        if session.is_host_custody() {
            checkpointing::save(&self.context, session, checkpointing::Kind::Automatic).await?;
        }
        Ok(layout_of(session))
    }

    /// Saves a checkpoint that stays, as long as its job or for some time.
    pub async fn checkpoint(
        &self,
        project: ProjectId,
        job: JobId,
        (expires_after, sent): (Option<ExpiresAfter>, Sent),
    ) -> Result<CheckpointRow> {
        let seconds = expires_after.map(|after| after.of_checkpoint()).transpose()?.map(|(_, seconds)| seconds);
        let mut place = self.sessions.open(project, job).await?;
        let session = open(&mut place)?;
        session.need_adapters(0..session.job.settings.adapter_sets)?;
        self.note(session, LedgerKind::Checkpoint, &sent, Effect::default()).await?;
        checkpointing::save(&self.context, session, checkpointing::Kind::Asked(seconds)).await
    }
}

fn check_set(session: &Session, set: usize) -> Result<()> {
    match set < session.job.settings.adapter_sets {
        true => Ok(()),
        false => Err(ServiceError::not_found("adapter set", set)),
    }
}

/// How the adapters of an open session are laid out.
fn layout_of(session: &Session) -> AdapterLayout {
    AdapterLayout::new(&session.base_model, &session.job.settings, &session.info)
}
