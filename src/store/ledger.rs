//! What the host was sent. Owns table `ledger`; must never hold contents, only names, shapes, sizes and hashes.

use serde::Deserialize;
use serde::Serialize;
use sqlx::types::Json;
use time::OffsetDateTime;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::page::Order;
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

/// What part of a ledger is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPage {
    /// Begin behind this position, in the order asked for; `None` for the first page.
    pub after: Option<i64>,
    pub limit: u32,
    /// Which end comes first.
    pub order: Order,
}

/// Calls of one kind, added up.
#[derive(Debug, Clone, PartialEq)]
pub struct KindTotal {
    pub kind: LedgerKind,
    pub calls: i64,
    /// Of the bodies.
    pub bytes: i64,
    /// Of the tensors in them.
    pub tensor_bytes: i64,
    pub first_at: OffsetDateTime,
    pub last_at: OffsetDateTime,
}

/// A page of the calls of the project's job.
pub async fn list(
    conn: &mut Connection,
    project: ProjectId,
    job: JobId,
    page: &LedgerPage,
) -> Result<Paged<LedgerRow>> {
    let ascending = page.order == Order::Asc;
    let mut rows = sqlx::query_as!(
        LedgerRow,
        r#"select n, seq, kind as "kind: _", tensors as "tensors: _", bytes, sha256, created_at
           from ledger where job_id = (select id from jobs where project_id = $1 and id = $2)
             and ($3::bigint is null or case when $4 then n > $3 else n < $3 end)
           order by case when $4 then n end, case when not $4 then n end desc limit $5"#,
        project.0,
        job.0,
        page.after,
        ascending,
        i64::from(page.limit) + 1,
    )
    .fetch_all(conn)
    .await?;
    let has_more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    Ok(Paged { rows, has_more })
}

/// All calls of the project's job by kind, in the order in which kinds first came.
pub async fn totals(conn: &mut Connection, project: ProjectId, job: JobId) -> Result<Vec<KindTotal>> {
    let rows = sqlx::query_as!(
        KindTotal,
        r#"select kind as "kind!: _", count(*) as "calls!", sum(bytes)::bigint as "bytes!",
                  sum((select coalesce(sum((tensor ->> 'bytes')::bigint), 0) from jsonb_array_elements(tensors) tensor))::bigint
                      as "tensor_bytes!",
                  min(created_at) as "first_at!", max(created_at) as "last_at!"
           from ledger where job_id = (select id from jobs where project_id = $1 and id = $2)
           group by kind order by min(n)"#,
        project.0,
        job.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
