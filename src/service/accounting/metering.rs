//! What a call did and used. Owns the way from a call to its ledger entry and to the counters of its key, project and model.

use std::time::Duration;

use crate::domain::ids::JobId;
use crate::domain::tensor::WireTensor;
use crate::service::accounting::sent::Sent;
use crate::service::context::Result;
use crate::store::Connection;
use crate::store::jobs::JobRow;
use crate::store::ledger;
use crate::store::ledger::LedgerKind;
use crate::store::ledger::NewLedgerEntry;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// What a call did, for the job's counters and the record of use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effect {
    /// Tokens that the device read, of a backward once for each share number.
    pub tokens: usize,
    /// Whether adapter values changed.
    pub new_adapters: bool,
    /// What the device took, its queue not included.
    pub device: Duration,
    /// Bytes of tensors that go out.
    pub bytes_out: usize,
}

impl Effect {
    /// The amounts that every kind of call has.
    pub fn amounts(&self, bytes_in: usize) -> Amounts {
        Amounts {
            bytes_in: bytes_in as i64,
            bytes_out: self.bytes_out as i64,
            device_us: self.device.as_micros() as i64,
            ..Amounts::default()
        }
    }
}

/// Bytes of tensors.
pub fn size(tensors: &[WireTensor]) -> usize {
    tensors.iter().map(|tensor| tensor.bytes().len()).sum()
}

/// A call of a job.
#[derive(Debug, Clone, Copy)]
pub struct MeteredCall<'a> {
    /// Which call.
    pub kind: LedgerKind,
    /// The step, for a call that is one.
    pub seq: Option<u64>,
    /// What came with it.
    pub sent: &'a Sent,
}

impl<'a> MeteredCall<'a> {
    /// The call as the ledger has it.
    pub fn entry(&self, job: JobId) -> NewLedgerEntry<'a> {
        let Self { kind, seq, sent } = *self;
        NewLedgerEntry { job, seq, kind, tensors: &sent.tensors, bytes: sent.bytes as u64, sha256: &sent.digest }
    }
}

/// Writes a call of a job into the ledger, and counts what it used for the key that sent it.
pub async fn write(connection: &mut Connection, job: &JobRow, call: &MeteredCall<'_>, amounts: &Amounts) -> Result<()> {
    ledger::append(connection, &call.entry(job.id)).await?;
    let consumer = Consumer { project: job.project, key: call.sent.key, model: &job.model_name, job: Some(job.id) };
    Ok(usage::add(connection, &consumer, amounts).await?)
}
