//! A turn of a batch: what it works with, and why it may end early. Owns that the lease is kept while work goes on, however long that
//! takes, and that whoever lost it stops.

use std::pin::pin;

use crate::domain::error_code::ErrorCode;
use crate::service::batches::endpoints::Endpoints;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::batches;
use crate::store::batches::BatchError;
use crate::store::batches::BatchRow;
use crate::store::batches::Turn;
use crate::store::files;
use crate::store::files::FileRow;

/// Why a turn ended early.
#[derive(Debug)]
pub enum Stop {
    /// The batch was cancelled or taken over: nobody wants what was done.
    Gone,
    /// The batch cannot go on.
    Broken(BatchError),
    /// It may go on when it is tried again.
    Failed(ServiceError),
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        match error.code {
            ErrorCode::FileDeleted => Self::broken(error.code, "The input file was deleted.", Some("input_file_id")),
            _ => Self::Failed(error),
        }
    }
}

impl Stop {
    /// The batch cannot go on, for this reason.
    pub fn broken(code: ErrorCode, message: &str, param: Option<&str>) -> Self {
        Self::Broken(BatchError {
            code: code.as_str().to_owned(),
            message: message.to_owned(),
            param: param.map(str::to_owned),
            line: None,
        })
    }
}

/// What a turn works with.
pub struct Work<'a> {
    /// The host's.
    pub context: &'a Context,
    /// Who answers.
    pub endpoints: &'a dyn Endpoints,
    /// The lease.
    pub turn: &'a Turn,
    /// The batch, as it was when the turn began.
    pub batch: BatchRow,
}

impl Work<'_> {
    /// The file with the requests.
    pub async fn file(&self) -> std::result::Result<FileRow, Stop> {
        let mut connection = self.context.connection().await?;
        let found = files::get_for_job(&mut connection, self.batch.project, self.batch.input_file).await;
        let missing = || ServiceError::new(ErrorCode::FileDeleted, "The input file was deleted.");
        Ok(found.map_err(ServiceError::from)?.ok_or_else(missing)?)
    }

    /// Carries the work out while the batch is this turn's: the lease is extended at its beginning and as long as it takes.
    pub async fn held<T>(
        &self,
        work: impl Future<Output = std::result::Result<T, Stop>>,
    ) -> std::result::Result<T, Stop> {
        let mut work = pin!(work);
        loop {
            if !self.hold().await? {
                return Err(Stop::Gone);
            }
            if let Ok(done) = tokio::time::timeout(self.context.jobs.lease / 3, &mut work).await {
                return done;
            }
        }
    }

    async fn hold(&self) -> Result<bool> {
        let mut connection = self.context.connection().await?;
        Ok(batches::hold(&mut connection, self.turn, self.batch.status, self.context.jobs.lease).await?)
    }
}
