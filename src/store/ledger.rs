//! What the host was sent. Owns table `ledger`; must never hold contents, only names, shapes, sizes and hashes.

use serde::Deserialize;
use serde::Serialize;
use sqlx::types::Json;
use time::OffsetDateTime;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::page::Paged;
use crate::store::pool::Connection;

/// The call by which something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerKind {
    /// A training forward.
    Forward,
    /// A forward that trains nothing.
    Evaluate,
    /// Shares of a gradient.
    Backward,
    /// Settings of an optimizer step.
    OptimStep,
    /// Adapter values.
    PutAdapter,
    /// Scalars that the client chose to report.
    Metrics,
    /// The wish for a checkpoint.
    Checkpoint,
}

impl LedgerKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Forward,
        Self::Evaluate,
        Self::Backward,
        Self::OptimStep,
        Self::PutAdapter,
        Self::Metrics,
        Self::Checkpoint,
    ];

    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Evaluate => "evaluate",
            Self::Backward => "backward",
            Self::OptimStep => "optim_step",
            Self::PutAdapter => "put_adapter",
            Self::Metrics => "metrics",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// What the ledger keeps of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SentTensor {
    /// Its name, `s.0.1` for example.
    pub name: String,
    /// Its element type, `F32` for example.
    pub dtype: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Its size.
    pub bytes: u64,
    /// Hash of its elements, in hexadecimal.
    pub sha256: String,
}

/// What is kept of the tensors of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SentTensors(pub Vec<SentTensor>);

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    /// Order within all jobs; grows within a job.
    pub n: i64,
    /// The step, for a call that is one.
    pub seq: Option<i64>,
    pub kind: LedgerKind,
    pub tensors: SentTensors,
    /// Size of the body.
    pub bytes: i64,
    /// SHA-256 of the body.
    pub sha256: Vec<u8>,
    pub created_at: OffsetDateTime,
}

/// A call to be recorded.
#[derive(Debug, Clone)]
pub struct NewLedgerEntry<'a> {
    pub job: JobId,
    /// The step, for a call that is one.
    pub seq: Option<u64>,
    pub kind: LedgerKind,
    pub tensors: &'a SentTensors,
    /// Size of the body.
    pub bytes: u64,
    /// SHA-256 of the body.
    pub sha256: &'a [u8; 32],
}

/// Records a call and gives its position.
pub async fn append(conn: &mut Connection, entry: &NewLedgerEntry<'_>) -> Result<i64> {
    let n = sqlx::query_scalar!(
        "insert into ledger (job_id, seq, kind, tensors, bytes, sha256) values ($1, $2, $3, $4, $5, $6) returning n",
        entry.job.0,
        entry.seq.map(u64::cast_signed),
        entry.kind.as_str(),
        Json(entry.tensors) as _,
        entry.bytes.cast_signed(),
        entry.sha256.as_slice(),
    )
    .fetch_one(conn)
    .await?;
    Ok(n)
}

/// The calls of the project's job after position `after` (0 for the first page), oldest first.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    after: i64,
    limit: u32,
) -> Result<Paged<LedgerRow>> {
    let mut rows = sqlx::query_as!(
        LedgerRow,
        r#"select n, seq, kind as "kind: _", tensors as "tensors: _", bytes, sha256, created_at
           from ledger where job_id = (select id from jobs where project_id = $1 and id = $2) and n > $3
           order by n limit $4"#,
        project.0,
        job.0,
        after,
        i64::from(limit) + 1,
    )
    .fetch_all(conn)
    .await?;
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok(Paged { rows, has_more })
}
