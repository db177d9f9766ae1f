//! A job's ledger: its entries, and what they come to.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::service::KindTotal;
use crate::service::LedgerRow;
use crate::service::SentTensor;

/// One call in the ledger: what the host was sent, never the contents.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// Position in the job's ledger, from 1.
    pub id: String,
    /// Always `fine_tuning.job.ledger_entry`.
    pub object: &'static str,
    /// When it was received, seconds since 1970.
    pub created_at: i64,
    /// The same in milliseconds.
    pub created_at_ms: i64,
    /// The call: forward, evaluate, backward, optim_step, put_adapter, metrics or checkpoint.
    pub kind: String,
    /// Step number, for numbered calls.
    #[schema(required)]
    pub seq: Option<i64>,
    /// Size of the body in bytes.
    pub bytes: i64,
    /// SHA-256 over kind, parameters and body, in hex.
    pub sha256: String,
    /// Its tensors.
    pub tensors: Vec<SentTensor>,
}

impl From<LedgerRow> for LedgerEntry {
    fn from(row: LedgerRow) -> Self {
        Self {
            id: row.n.to_string(),
            object: "fine_tuning.job.ledger_entry",
            created_at: row.created_at.unix_timestamp(),
            created_at_ms: milliseconds(row.created_at),
            kind: row.kind.as_str().to_owned(),
            seq: row.seq,
            bytes: row.bytes,
            sha256: hex::encode(row.sha256),
            tensors: row.tensors.0,
        }
    }
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

/// Calls of one kind, added up.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerTotal {
    /// The call, as in an entry.
    #[schema(example = "forward")]
    pub kind: &'static str,
    /// How many there were.
    pub calls: i64,
    /// Of their bodies.
    pub bytes: i64,
    /// Of the tensors in them.
    pub tensor_bytes: i64,
    /// When the first was received, seconds since 1970.
    pub first_at: i64,
    /// When the last was received.
    pub last_at: i64,
}

impl From<KindTotal> for LedgerTotal {
    fn from(total: KindTotal) -> Self {
        Self {
            kind: total.kind.as_str(),
            calls: total.calls,
            bytes: total.bytes,
            tensor_bytes: total.tensor_bytes,
            first_at: total.first_at.unix_timestamp(),
            last_at: total.last_at.unix_timestamp(),
        }
    }
}

/// All that the host was sent in a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerSummary {
    /// Always `fine_tuning.job.ledger_summary`.
    #[schema(example = "fine_tuning.job.ledger_summary")]
    pub object: &'static str,
    /// Entries in all.
    pub calls: i64,
    /// Of all bodies.
    pub bytes: i64,
    /// By kind, in the order in which kinds first came.
    pub kinds: Vec<LedgerTotal>,
}

impl From<Vec<KindTotal>> for LedgerSummary {
    fn from(totals: Vec<KindTotal>) -> Self {
        Self {
            object: "fine_tuning.job.ledger_summary",
            calls: totals.iter().map(|total| total.calls).sum(),
            bytes: totals.iter().map(|total| total.bytes).sum(),
            kinds: totals.into_iter().map(LedgerTotal::from).collect(),
        }
    }
}
