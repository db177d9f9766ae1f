//! The worker of batches. Owns whose turn it is, one piece at a time: the batch that had none for longest is next; a feature job may
//! come in between. A turn is a lease on the batch; what it writes carries the fencing token, and a piece that was not committed never was.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::batch::BatchEvent;
use crate::domain::batch::BatchStatus;
use crate::domain::error_code::ErrorCode;
use crate::service::batches::admission::Batches;
use crate::service::batches::admission::missing;
use crate::service::batches::checking::check;
use crate::service::batches::output::finish;
use crate::service::batches::piece::answer_next;
use crate::service::batches::turns::Stop;
use crate::service::batches::turns::Work;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::unattended::AFTER_FAILURE;
use crate::service::unattended::Turns;
use crate::service::unattended::Worker;
use crate::service::unattended::work;
use crate::store::batches;
use crate::store::batches::BatchError;
use crate::store::batches::BatchErrors;
use crate::store::batches::Turn;

/// A batch that meets a full disk, or lacks a key, is tried again after this long.
const UNTIL_MENDED: Duration = Duration::from_secs(10);

impl Worker for Batches {
    const TURN: &'static str = "a turn of a batch";

    fn turns(&self) -> &Turns {
        &self.turns
    }

    /// One piece of the batch that is next.
    async fn turn(&self) -> Result<bool> {
        let alone = self.context.batch_turn.lock().await;
        let Some(turn) = self.take_turn().await? else { return Ok(false) };
        let worked = self.work(&turn).await;
        drop(alone);
        match worked {
            Ok(()) => Ok(()),
            Err(Stop::Gone) => self.pass(&turn, false).await,
            Err(Stop::Broken(error)) => self.fail(&turn, error).await,
            Err(Stop::Failed(error)) => self.failed(&turn, error).await,
        }?;
        Ok(true)
    }
}

impl Batches {
    /// Works until it is aborted; then [`Batches::stop`] gives the lease back.
    pub async fn run(&self) {
        work(self).await;
    }

    /// Gives back the lease of a turn that was cut short: it does not count as one that died.
    pub async fn stop(&self) -> Result<()> {
        let release = async { Ok(batches::release(&mut *self.context.connection().await?, self.context.owner).await?) };
        self.turns.give_back(release).await
    }

    async fn take_turn(&self) -> Result<Option<Turn>> {
        let context = Arc::clone(&self.context);
        let lease = async move {
            let mut connection = context.connection().await?;
            Ok(batches::take_turn(&mut connection, context.owner, context.jobs.lease).await?)
        };
        self.turns.take(lease).await
    }

    async fn work(&self, turn: &Turn) -> std::result::Result<(), Stop> {
        if turn.barren_attempts > self.context.jobs.max_barren_attempts {
            let message = "The host crashed several times on this batch without completing a piece.";
            return Err(Stop::Broken(BatchError {
                code: "crash_loop".to_owned(),
                message: message.to_owned(),
                param: None,
                line: None,
            }));
        }
        let work = self.work_of(turn).await?;
        match work.batch.status {
            BatchStatus::Validating => begin(&work).await,
            BatchStatus::InProgress => answer_next(&work).await,
            BatchStatus::Finalizing if work.batch.late => finish(&work, BatchEvent::WrittenLate, None).await,
            BatchStatus::Finalizing | BatchStatus::Cancelling => finish(&work, BatchEvent::Written, None).await,
            BatchStatus::Completed | BatchStatus::Failed | BatchStatus::Expired | BatchStatus::Cancelled => {
                Err(Stop::Gone)
            }
        }
    }

    async fn work_of<'a>(&'a self, turn: &'a Turn) -> Result<Work<'a>> {
        let mut connection = self.context.connection().await?;
        let batch = batches::get(&mut connection, turn.project, turn.batch).await?;
        let batch = batch.ok_or_else(|| missing(turn.batch))?;
        Ok(Work { context: &self.context, endpoints: &*self.endpoints, turn, batch })
    }

    /// A turn that may go well when it is tried again. What the host's operator has to mend, a full disk or a key that is missing, ends no
    /// batch: it waits, and others have their turns. After several other failures in a row it fails with the last one's reason.
    async fn failed(&self, turn: &Turn, error: ServiceError) -> Result<()> {
        tracing::warn!(batch.id = %turn.batch, %error, "a piece of {} failed: {error}", turn.batch);
        if matches!(error.code, ErrorCode::StorageFull | ErrorCode::StorageLocked) {
            return Ok(batches::set_aside(&mut *self.context.connection().await?, turn, UNTIL_MENDED).await?);
        }
        if turn.barren_attempts >= self.context.jobs.max_barren_attempts {
            let failure =
                BatchError { code: error.code.as_str().into(), message: error.message, param: error.param, line: None };
            return self.fail(turn, failure).await;
        }
        self.pass(turn, true).await?;
        tokio::time::sleep(AFTER_FAILURE).await;
        Ok(())
    }

    async fn pass(&self, turn: &Turn, barren: bool) -> Result<()> {
        Ok(batches::pass_turn(&mut *self.context.connection().await?, turn, barren).await?)
    }

    /// Ends the batch of a turn that cannot go on. What is answered stays.
    async fn fail(&self, turn: &Turn, error: BatchError) -> Result<()> {
        tracing::warn!(batch.id = %turn.batch, code = error.code, "{} failed: {}", turn.batch, error.message);
        let work = self.work_of(turn).await?;
        match finish(&work, BatchEvent::Broke, Some(BatchErrors(vec![error]))).await {
            Ok(()) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Gone | Stop::Broken(_)) => self.pass(turn, false).await,
        }
    }
}

/// Checks the lines; a batch with one that cannot be read fails, and says so line by line.
async fn begin(work: &Work<'_>) -> std::result::Result<(), Stop> {
    let checked = work.held(check(work)).await?;
    if !checked.faults.is_empty() {
        return finish(work, BatchEvent::Broke, Some(BatchErrors(checked.faults))).await;
    }
    let mut connection = work.context.connection().await?;
    let begun = batches::begin(&mut connection, work.turn, checked.model()).await.map_err(ServiceError::from)?;
    if begun { Ok(()) } else { Err(Stop::Gone) }
}
