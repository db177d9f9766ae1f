//! What every use case works with: the database, blobs, the engine, limits and settings. Owns the way to a connection and the
//! words of what any use case may refuse; must never know a use case.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::held_bytes::HeldBytes;
use crate::domain::limits::Limits;
use crate::domain::prices::Prices;
use crate::engine::Engine;
use crate::service::error::ServiceError;
use crate::store;
use crate::store::Paged;
use crate::store::Pool;
use crate::store::StoreError;
use crate::store::Tx;
use crate::store::blobs::Blobs;
use crate::store::nodes::DEAD_AFTER;

/// Others used the device lately if they did within this time.
const LATELY: Duration = Duration::from_secs(1);
/// The longest pause after work that nobody waits for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection of the pool, given back when dropped.
type PooledConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;

/// A result of a use case.
pub type Result<T> = std::result::Result<T, ServiceError>;

/// Settings of the life of jobs; units and defaults in `config/default.toml`.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// A host that went away loses its jobs after this long.
    pub lease: Duration,
    /// A job without a call for this long pauses.
    pub idle_pause: Duration,
    /// Host custody: a durable checkpoint after this many optimizer steps.
    pub checkpoint_every_steps: u64,
    /// Host custody: and after this long.
    pub checkpoint_every: Duration,
    /// A job whose host died this often without one step in between fails.
    pub max_barren_attempts: i32,
}

/// Settings of inference; units and defaults in `config/default.toml`.
#[derive(Debug, Clone)]
pub struct InferenceSettings {
    /// Sessions kept open.
    pub sessions: usize,
    /// One that nobody asks is closed after this long.
    pub idle: Duration,
    /// How long a call waits for a session.
    pub patience: Duration,
}

/// Settings of feature jobs; units and defaults in `config/default.toml`.
#[derive(Debug, Clone)]
pub struct FeatureRules {
    /// Most bytes of features in a file.
    pub shard_bytes: u64,
    /// Most rows in a file.
    pub shard_rows: u64,
    /// How long a file is kept, where the job does not say otherwise.
    pub keep_seconds: i64,
    /// Share of the device that is theirs, and that of batches, while others use it.
    pub batch_share: f64,
}

/// Settings of batches; units and defaults in `config/default.toml`.
#[derive(Debug, Clone)]
pub struct BatchRules {
    /// Most requests that are answered in one turn, and so what a crash costs.
    pub piece_lines: u64,
}

/// When somebody last waited for the device: step and inference calls, not the host's own jobs.
#[derive(Debug)]
pub struct Activity {
    since: Instant,
    /// Milliseconds from `since` to the newest call, plus one; 0 before the first.
    newest: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { since: Instant::now(), newest: AtomicU64::new(0) }
    }
}

impl Activity {
    /// Somebody waits now.
    pub fn touch(&self) {
        self.newest.store(self.since.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Whether somebody waited within that time.
    pub fn within(&self, time: Duration) -> bool {
        let newest = self.newest.load(Ordering::Relaxed);
        newest > 0 && self.since.elapsed() < Duration::from_millis(newest) + time
    }
}

/// When a node of a fleet last gave a sign of life that reached the database.
#[derive(Debug, Default)]
pub struct SignsOfLife(Mutex<Option<Instant>>);

impl SignsOfLife {
    /// How long a node may trust its leases without one: a second less than the others wait before they take them.
    const TRUSTED: Duration = DEAD_AFTER.saturating_sub(Duration::from_secs(1));

    /// One was given, by a statement that began then.
    pub fn give(&self, at: Instant) {
        *self.0.lock() = Some(at);
    }

    /// Whether the last one is so long ago that others may have taken this node's jobs. Never, where it is part of no fleet.
    pub fn are_missing(&self) -> bool {
        self.0.lock().is_some_and(|at| at.elapsed() >= Self::TRUSTED)
    }
}

/// What every use case works with. Made once, in `app`.
pub struct Context {
    /// Postgres.
    pub pool: Pool,
    /// Files, adapters and checkpoints.
    pub blobs: Blobs,
    /// The device.
    pub engine: Arc<dyn Engine>,
    /// What is accepted.
    pub limits: Limits,
    /// What work costs.
    pub prices: Prices,
    /// What is held between calls.
    pub held: HeldBytes,
    /// Life of jobs.
    pub jobs: JobSettings,
    /// Activations and embeddings.
    pub inference: InferenceSettings,
    /// Feature jobs.
    pub features: FeatureRules,
    /// Requests in files.
    pub batches: BatchRules,
    /// Who waits for the device.
    pub activity: Activity,
    /// Whether the other nodes know that this one lives.
    pub signs_of_life: SignsOfLife,
    /// Whose turn it is among the works that nobody waits for: a fair lock, so that feature jobs and batches alternate.
    pub batch_turn: tokio::sync::Mutex<()>,
    /// Where the engine computes.
    pub device: String,
    /// This process, as the owner of leases.
    pub owner: Uuid,
}

impl Context {
    /// A connection for reads and single writes.
    pub(crate) async fn connection(&self) -> Result<PooledConnection> {
        connection(&self.pool).await
    }

    /// After work of so long that nobody waited for: a pause where others use the device, so that they get their share.
    pub(crate) async fn rest_after(&self, took: Duration) {
        if self.activity.within(LATELY) {
            let others = 1.0 / self.features.batch_share - 1.0;
            tokio::time::sleep(took.mul_f64(others).min(LONGEST_PAUSE)).await;
        }
    }

    /// A transaction: one for each use case that writes more than one row.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        begin(&self.pool).await
    }
}

tokio::task_local! {
    /// Whether the request that a task works for has waited for the database in vain.
    static IN_VAIN: Arc<AtomicBool>;
}

/// Works for one request, which waits for a database that is away once: where a use case was refused for that, what follows it (the
/// audit log, a lease that is given back) is refused at once. Otherwise each would wait for `database.acquire_timeout_ms` by itself.
pub async fn with_one_wait<T>(request: impl Future<Output = T>) -> T {
    IN_VAIN.scope(Arc::default(), request).await
}

/// The same request's work, for a task of its own.
pub fn with_the_same_wait<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    IN_VAIN.scope(IN_VAIN.try_with(Arc::clone).unwrap_or_default(), work)
}

/// Waits for the database on behalf of the task's request, unless that has waited in vain before.
async fn wait<T>(asked: impl Future<Output = store::Result<T>>) -> Result<T> {
    let in_vain = IN_VAIN.try_with(Arc::clone).ok();
    if in_vain.as_ref().is_some_and(|in_vain| in_vain.load(Ordering::Relaxed)) {
        return Err(StoreError::unavailable("the request has waited for it already").into());
    }
    let got = asked.await;
    if let (Some(in_vain), Err(StoreError::Unavailable(_))) = (&in_vain, &got) {
        in_vain.store(true, Ordering::Relaxed);
    }
    Ok(got?)
}

/// A connection for reads and single writes, for a use case that needs nothing but the database.
pub(crate) async fn connection(pool: &Pool) -> Result<PooledConnection> {
    wait(async { Ok(pool.acquire().await?) }).await
}

/// A transaction, for the same.
pub(crate) async fn begin(pool: &Pool) -> Result<Tx> {
    wait(store::pool::begin(pool)).await
}

/// Commits, so that whoever reads after the answer sees what was written.
pub(crate) async fn commit(transaction: Tx) -> Result<()> {
    Ok(store::pool::commit(transaction).await?)
}

/// The job is driven by another process now: nothing was written.
pub(crate) fn lease_lost() -> ServiceError {
    ServiceError::new(ErrorCode::LeaseLost, "Another host took over the job; try again.")
}

/// A page of a list; an unknown cursor is refused, since a silent empty page would end a client's loop too early.
pub(crate) fn known_cursor<T>(page: Option<Paged<T>>) -> Result<Paged<T>> {
    page.ok_or_else(|| {
        ServiceError::new(ErrorCode::InvalidCursor, "after: there is no such thing in this list.").at("after")
    })
}
