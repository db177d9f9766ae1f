//! The rows of one shard, from the file to its tensors. Owns the forwards in between: rows in file order, one forward in the
//! device's queue at a time, none in a pass with anybody else's, so that the bits follow from the job alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::taps::Taps;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::EngineError;
use crate::engine::ForwardReply;
use crate::engine::Inputs;
use crate::engine::Place;
use crate::service::context::Context;
use crate::service::error::ServiceError;
use crate::service::features::sessions::Opened;
use crate::service::features::size::Room;
use crate::service::features::size::RowSize;
use crate::service::features::size::cut;
use crate::service::files::row_reader::read_rows;
use crate::service::inference::runnable::rows_per_forward;
use crate::store::features;
use crate::store::files::FileRow;
use crate::store::jobs::JobFailure;

/// Why a turn ended without a shard.
#[derive(Debug)]
pub enum Stop {
    /// The job was paused, cancelled or taken over: nobody wants the shard.
    Gone,
    /// The job cannot go on.
    Broken(JobFailure),
    /// It may go on when it is tried again.
    Failed(ServiceError),
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// The job cannot go on, for this reason.
    pub fn broken(code: ErrorCode, message: impl Into<String>, param: Option<&str>) -> Self {
        Self::Broken(JobFailure {
            code: code.as_str().into(),
            message: message.into(),
            param: param.map(str::to_owned),
        })
    }
}

/// What the forwards of a job's shard have in common.
pub struct Run<'a> {
    pub context: &'a Context,
    pub job: JobId,
    /// Fencing token of the lease.
    pub attempt: i32,
    pub opened: &'a Opened,
    pub file: &'a FileRow,
    /// What is asked of each forward.
    pub taps: Arc<Taps>,
    pub size: RowSize,
}

/// The features of some rows.
#[derive(Default)]
pub struct Computed {
    /// By name: element type, the dimensions behind the first, the elements.
    parts: BTreeMap<String, (Option<Dtype>, Vec<usize>, BytesMut)>,
    /// How many rows.
    pub rows: u64,
    /// Tokens that the device read.
    pub tokens: usize,
    /// Rows that are longer than the model takes, and have lost their end.
    pub truncated: usize,
    /// What the device took.
    pub device: Duration,
}

impl Computed {
    fn add(&mut self, reply: ForwardReply, rows: usize, device: Duration) {
        for tensor in &reply.tensors {
            let part = self.parts.entry(tensor.name().to_owned()).or_default();
            // A scale is the job's, and the same in every reply.
            if tensor.name().ends_with(".scale") && part.0.is_some() {
                continue;
            }
            part.0 = Some(tensor.dtype());
            part.1 = tensor.shape()[1..].to_vec();
            part.2.extend_from_slice(tensor.bytes());
        }
        self.rows += rows as u64;
        self.tokens += reply.tokens;
        self.truncated += reply.truncated;
        self.device += device;
    }

    /// The tensors, each over all rows.
    pub fn tensors(self) -> Result<Vec<WireTensor>, ServiceError> {
        let whole = |(name, (dtype, inner, bytes)): (String, (Option<Dtype>, Vec<usize>, BytesMut))| {
            let dtype = dtype.unwrap_or(Dtype::F32);
            let first = bytes.len() / (dtype.size() * inner.iter().product::<usize>());
            let shape = std::iter::once(first).chain(inner).collect();
            WireTensor::new(name, dtype, shape, bytes.freeze()).map_err(ServiceError::internal)
        };
        self.parts.into_iter().map(whole).collect()
    }
}

impl Run<'_> {
    /// The features of the rows from `first` on that fit into one shard.
    pub async fn shard(&self, first: u64) -> Result<Computed, Stop> {
        let rules = &self.context.features;
        let end = (first + rules.shard_rows).min(self.file.rows.unsigned_abs());
        let step = rows_per_forward(&self.context.limits, self.opened.info.max_tokens) as u64;
        let mut done = Computed::default();
        while first + done.rows < end {
            let from = first + done.rows;
            let numbers: Vec<u64> = (from..(from + step).min(end)).collect();
            let inputs = read_rows(self.context, self.file, &numbers).await?;
            let tokens = self.count(inputs.clone(), &numbers).await?;
            let taken = self.size.bytes(done.rows, done.tokens as u64);
            let bytes = rules.shard_bytes.saturating_sub(taken);
            let found = cut(&tokens, Room { size: self.size, bytes, is_empty: done.rows == 0 });
            for forward in found.forwards {
                let (reply, device) = self.forward(slice(&inputs, forward.clone()), &numbers[forward.clone()]).await?;
                done.add(reply, forward.len(), device);
            }
            if found.is_full {
                break;
            }
        }
        Ok(done)
    }

    /// Shows `each` the features of these rows, in this order; gives the tokens that the device read, and what it took.
    pub async fn rows(
        &self,
        numbers: &[u64],
        mut each: impl FnMut(&ForwardReply) -> Result<(), EngineError>,
    ) -> Result<(usize, Duration), Stop> {
        let (mut tokens, mut device) = (0, Duration::ZERO);
        for some in numbers.chunks(rows_per_forward(&self.context.limits, self.opened.info.max_tokens)) {
            let inputs = read_rows(self.context, self.file, some).await?;
            let (reply, took) = self.forward(inputs, some).await?;
            each(&reply).map_err(ServiceError::from)?;
            tokens += reply.tokens;
            device += took;
        }
        Ok((tokens, device))
    }

    async fn count(&self, inputs: Inputs, numbers: &[u64]) -> Result<Vec<usize>, Stop> {
        let counted = self.context.engine.count_tokens(self.opened.session, inputs).await;
        counted.map_err(|error| of_rows(error, numbers))
    }

    /// Keeps the lease; the job may have been paused, cancelled or taken over.
    pub async fn hold(&self) -> Result<(), Stop> {
        let mut connection = self.context.connection().await?;
        let held = features::hold(&mut connection, self.job, self.attempt, self.context.jobs.lease).await;
        if held.map_err(ServiceError::from)? { Ok(()) } else { Err(Stop::Gone) }
    }

    /// One forward, then a pause where others use the device: they get their share.
    async fn forward(&self, inputs: Inputs, numbers: &[u64]) -> Result<(ForwardReply, Duration), Stop> {
        self.hold().await?;
        let answer = self.opened.forward(self.context, &inputs, &self.taps, Some(self.file.project)).await;
        let (reply, took) = answer.map_err(|error| of_rows(error, numbers))?;
        self.context.rest_after(took).await;
        Ok((reply, took))
    }
}

/// Some of the inputs.
fn slice(inputs: &Inputs, range: Range<usize>) -> Inputs {
    match inputs {
        Inputs::Texts(texts) => Inputs::Texts(texts[range].to_vec()),
        Inputs::Tokens { ids, .. } => Inputs::Tokens { ids: ids[range].to_vec(), types: None },
    }
}

/// Which row the engine refuses, and why, in words; `None` where it is not a row's fault.
pub fn row_at_fault(error: &EngineError, numbers: &[u64]) -> Option<String> {
    match error {
        EngineError::Invalid { place: Place::Input(at), reason } => {
            let row = numbers.get(*at).copied().unwrap_or_default();
            Some(format!("Row {row} of the training_file: {reason}."))
        }
        EngineError::Invalid { place: Place::Texts | Place::Inputs, reason } => {
            Some(format!("The training_file cannot be read: {reason}."))
        }
        _ => None,
    }
}

/// What the engine refuses of these rows: whether the job can go on.
fn of_rows(error: EngineError, numbers: &[u64]) -> Stop {
    if let Some(message) = row_at_fault(&error, numbers) {
        return Stop::broken(ErrorCode::UnusableInput, message, Some("training_file"));
    }
    match error {
        EngineError::OutOfMemory => {
            let message = "The device ran out of memory. Ask for fewer levels, or try a host with more of it.";
            Stop::broken(ErrorCode::OutOfMemory, message, None)
        }
        EngineError::TooLarge(reason) => Stop::broken(ErrorCode::TooLarge, reason, Some("training_file")),
        error => Stop::Failed(error.into()),
    }
}
