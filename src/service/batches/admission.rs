//! Batches as their owners see them. Owns what a new one is checked for before it is made, and when one can be cancelled; the work is
//! the worker's.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::batch::BatchEndpoint;
use crate::domain::batch::BatchEvent;
use crate::domain::batch::BatchStatus;
use crate::domain::batch::KEEP_SECONDS;
use crate::domain::batch::MOST_REQUESTS;
use crate::domain::batch::WINDOW;
use crate::domain::batch::WINDOW_SECONDS;
use crate::domain::error_code::ErrorCode;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::ids::BatchId;
use crate::domain::ids::FileId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::service::access::idempotency::AnswerRecord;
use crate::service::batches::endpoints::Endpoints;
use crate::service::batches::room::refusal;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::context::known_cursor;
use crate::service::error::ServiceError;
use crate::service::files::REQUESTS;
use crate::service::lifecycle::metadata::check_metadata;
use crate::service::unattended::Turns;
use crate::store::Connection;
use crate::store::Page as PageRequest;
use crate::store::Paged;
use crate::store::batches;
use crate::store::batches::BatchRow;
use crate::store::batches::NewBatch as NewBatchRow;
use crate::store::files;
use crate::store::jobs::Metadata;
use crate::store::projects;

/// A batch that a client asks for.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// The file with its requests.
    pub input_file: FileId,
    /// URL of the endpoint that all of them are for.
    pub endpoint: String,
    /// `24h`.
    pub completion_window: String,
    /// The client's own key-value pairs.
    pub metadata: Option<BTreeMap<String, String>>,
    /// How long its files are kept; 30 days when absent.
    pub output_expires_after: Option<ExpiresAfter>,
}

/// Use cases on batches, and the worker.
pub struct Batches {
    pub(super) context: Arc<Context>,
    pub(super) endpoints: Arc<dyn Endpoints>,
    pub(super) turns: Turns,
}

impl Batches {
    /// No work yet; `endpoints` answer the requests.
    pub fn new(context: Arc<Context>, endpoints: Arc<dyn Endpoints>) -> Self {
        Self { context, endpoints, turns: Turns::default() }
    }

    /// Makes a batch, whose lines are checked next.
    pub async fn create(
        &self,
        project: ProjectId,
        key: KeyId,
        new: NewBatch,
        record: AnswerRecord<BatchRow>,
    ) -> Result<BatchRow> {
        let (endpoint, output_seconds) = settle(&new)?;
        check_metadata(new.metadata.as_ref())?;
        let mut transaction = self.context.begin().await?;
        let requests = count_requests(&mut transaction, project, new.input_file).await?;
        self.check_room(&mut transaction, project, key).await?;
        let metadata = new.metadata.map(Metadata);
        let row = NewBatchRow {
            id: BatchId(Uuid::now_v7()),
            project,
            key,
            input_file: new.input_file,
            endpoint,
            metadata: metadata.as_ref(),
            window_seconds: WINDOW_SECONDS,
            output_seconds,
            requests,
        };
        let row = batches::insert(&mut transaction, &row).await?;
        record.write(&mut transaction, &row).await?;
        commit(transaction).await?;
        self.turns.wake();
        Ok(row)
    }

    /// One batch.
    pub async fn get(&self, project: ProjectId, id: BatchId) -> Result<BatchRow> {
        let found = batches::get(&mut *self.context.connection().await?, project, id).await?;
        found.ok_or_else(|| missing(id))
    }

    /// A page of batches, newest first.
    pub async fn list(&self, project: ProjectId, page: PageRequest) -> Result<Paged<BatchRow>> {
        known_cursor(batches::list(&mut *self.context.connection().await?, project, &page).await?)
    }

    /// Gives a batch up: what was answered becomes its files. One that is given up already stays as it is.
    pub async fn cancel(&self, project: ProjectId, id: BatchId, record: AnswerRecord<BatchRow>) -> Result<BatchRow> {
        let mut transaction = self.context.begin().await?;
        let batch = batches::get_for_update(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        let is_given_up = matches!(batch.status, BatchStatus::Cancelling | BatchStatus::Cancelled);
        if !is_given_up {
            if batch.status.on(BatchEvent::CancelAsked).is_none() {
                let message = format!("The batch is {}; it cannot be cancelled.", batch.status);
                return Err(ServiceError::new(ErrorCode::InvalidBatchState, message));
            }
            batches::set_cancelling(&mut transaction, id, batch.status).await?;
        }
        let batch = batches::get(&mut transaction, project, id).await?.ok_or_else(|| missing(id))?;
        record.write(&mut transaction, &batch).await?;
        commit(transaction).await?;
        self.turns.wake();
        Ok(batch)
    }

    /// Refuses a batch that the project or its key has no room for.
    async fn check_room(&self, connection: &mut Connection, project: ProjectId, key: KeyId) -> Result<()> {
        projects::hold(connection, project).await?;
        let most = self.context.limits.jobs_per_project;
        if batches::count_open(connection, project).await? >= i64::from(most) {
            let message = format!("A project has at most {most} open batches (limits.jobs_per_project).");
            return Err(ServiceError::new(ErrorCode::TooManyBatches, message));
        }
        refusal(&self.context, connection, project, key).await?.map_or(Ok(()), Err)
    }
}

/// There is no such batch for the caller.
pub fn missing(id: BatchId) -> ServiceError {
    ServiceError::not_found("batch", id)
}

/// The endpoint, and how long the files are kept.
fn settle(new: &NewBatch) -> Result<(BatchEndpoint, i64)> {
    let endpoint = BatchEndpoint::of(&new.endpoint).ok_or_else(|| {
        let known = BatchEndpoint::ALL.map(BatchEndpoint::as_str).join(" or ");
        let message = format!("endpoint: must be {known}, not '{}'.", new.endpoint);
        ServiceError::new(ErrorCode::UnsupportedEndpoint, message).at("endpoint")
    })?;
    if new.completion_window != WINDOW {
        let message = format!("completion_window: must be {WINDOW}, not '{}'.", new.completion_window);
        return Err(ServiceError::new(ErrorCode::InvalidWindow, message).at("completion_window"));
    }
    let seconds = match &new.output_expires_after {
        None => KEEP_SECONDS,
        Some(after) => after.of_file().map_err(|bad| {
            let place = format!("output_expires_after.{}", bad.field);
            ServiceError::new(ErrorCode::InvalidExpiresAfter, format!("{place}: {}.", bad.reason)).at(place)
        })?,
    };
    Ok((endpoint, seconds))
}

/// Lines of the file, which must be one of requests.
async fn count_requests(connection: &mut Connection, project: ProjectId, id: FileId) -> Result<i64> {
    let missing = || ServiceError::not_found("file", id).at("input_file_id");
    let file = files::get(connection, project, id).await?.ok_or_else(missing)?;
    if file.purpose != REQUESTS {
        let message = format!("The file's purpose is '{}'; an input_file_id has '{REQUESTS}'.", file.purpose);
        return Err(ServiceError::new(ErrorCode::InvalidPurpose, message).at("input_file_id"));
    }
    if file.rows.unsigned_abs() > MOST_REQUESTS {
        let message = format!("The file has {} requests; a batch has at most {MOST_REQUESTS}.", file.rows);
        return Err(ServiceError::new(ErrorCode::TooManyRequests, message).at("input_file_id"));
    }
    Ok(file.rows)
}
