//! A job's adapters: reading, replacing, saving. Owns what may be done with them outside the numbered steps; every change is
//! counted, so that a checkpoint tells whether it holds the newest values.

use std::time::Instant;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::tensor::WireTensor;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::checkpoints;
use crate::service::metering::Effect;
use crate::service::peft::AdapterLayout;
use crate::service::requests::Sent;
use crate::service::sessions::Session;
use crate::service::steps::Steps;
use crate::service::steps::open;
use crate::store::checkpoints::CheckpointRow;
use crate::store::ledger::LedgerKind;

impl Steps {
    /// One adapter set's flat vector.
    pub async fn adapter(&self, project: ProjectId, job: JobId, set: usize) -> Result<(WireTensor, AdapterLayout)> {
        let mut place = self.sessions.open(project, job).await?;
        let session = open(&mut place)?;
        check_set(session, set)?;
        if !session.known_adapters[set] {
            let message = format!("The host restarted and no longer holds adapter set {set}.");
            return Err(ServiceError::conflict("adapters_needed", message).at(format!("theta.{set}")));
        }
        let theta = self.context.engine.adapter(job, set).await?;
        Ok((theta, AdapterLayout::new(session)))
    }

    /// How a job's adapters are laid out.
    pub async fn layout(&self, project: ProjectId, job: JobId) -> Result<AdapterLayout> {
        let mut place = self.sessions.open(project, job).await?;
        Ok(AdapterLayout::new(open(&mut place)?))
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
        let theta = AdapterLayout::new(session).flatten(set, tensors)?;
        self.context.engine.set_adapter(job, set, theta).await?;
        session.known_adapters[set] = true;
        session.last_used = Instant::now();
        self.note(session, LedgerKind::PutAdapter, &sent, Effect { new_adapters: true, ..Effect::default() }).await?;
        if session.is_host_custody() {
            checkpoints::save(&self.context, session, checkpoints::Kind::Automatic).await?;
        }
        Ok(AdapterLayout::new(session))
    }

    /// Saves a checkpoint that stays.
    pub async fn checkpoint(&self, project: ProjectId, job: JobId, sent: Sent) -> Result<CheckpointRow> {
        let mut place = self.sessions.open(project, job).await?;
        let session = open(&mut place)?;
        if let Some(set) = session.known_adapters.iter().position(|known| !known) {
            let message = format!("The host restarted and no longer holds adapter set {set}: PUT it first.");
            return Err(ServiceError::conflict("adapters_needed", message).at(format!("theta.{set}")));
        }
        self.note(session, LedgerKind::Checkpoint, &sent, Effect::default()).await?;
        checkpoints::save(&self.context, session, checkpoints::Kind::Asked).await
    }
}

fn check_set(session: &Session, set: usize) -> Result<()> {
    match set < session.job.settings.adapter_sets {
        true => Ok(()),
        false => Err(ServiceError::not_found("adapter set", set)),
    }
}
