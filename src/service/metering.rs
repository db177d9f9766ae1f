//! What a call did and used. Owns the way from a call to its ledger entry and to the counters of its key, project and model.

use std::time::Duration;

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::tensor::WireTensor;
use crate::service::requests::Sent;
use crate::service::sessions::Session;
use crate::store::ledger::LedgerKind;
use crate::store::ledger::NewLedgerEntry;
use crate::store::usage::Amounts;

/// What a call did, for the job's counters and the record of use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effect {
    /// Tokens that the device read.
    pub tokens: usize,
    /// Whether adapter values changed.
    pub new_adapters: bool,
    /// What the engine took, its queue included.
    pub device: Duration,
    /// Bytes of tensors that go out.
    pub bytes_out: usize,
}

impl Effect {
    /// The amounts that every kind of call has.
    pub fn amounts(&self, sent: &Sent) -> Amounts {
        Amounts {
            bytes_in: sent.bytes as i64,
            bytes_out: self.bytes_out as i64,
            device_us: self.device.as_micros() as i64,
            ..Amounts::default()
        }
    }
}

/// For whom a call's use is counted.
pub fn used_by<'a>(session: &'a Session, sent: &Sent) -> (ProjectId, KeyId, &'a str) {
    (session.job.project, sent.key, &session.job.model_name)
}

/// Bytes of tensors.
pub fn size(tensors: &[WireTensor]) -> usize {
    tensors.iter().map(|tensor| tensor.bytes().len()).sum()
}

/// A call as the ledger has it.
pub fn entry<'a>(session: &Session, kind: LedgerKind, seq: Option<u64>, sent: &'a Sent) -> NewLedgerEntry<'a> {
    NewLedgerEntry {
        job: session.job.id,
        seq,
        kind,
        tensors: &sent.tensors,
        bytes: sent.bytes as u64,
        sha256: &sent.digest,
    }
}
