//! This host as a node of a fleet. Owns its sign of life, at which node a job's session is or belongs, and the way out of the fleet; must
//! never send a request: that is `api`'s.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::connection;
use crate::service::error::ServiceError;
use crate::service::training::sessions::Sessions;
use crate::store::Pool;
use crate::store::nodes;
use crate::store::nodes::Beat;
use crate::store::nodes::NodeRow;
use crate::store::nodes::Reach;

/// Between two signs of life: five may be lost before a node is dead.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A node that drains waits this long for backwards; a forward whose graph is lost has to be sent again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Signs of life between two looks for nodes that died long ago.
const FORGET_EVERY: u32 = 600;

/// Where a call for a job's session goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This host has the session, or may open it.
    Here,
    /// Another node has it, or shall open it.
    At(Reach),
}

/// The nodes, for an operator.
pub struct Nodes(pub Pool);

impl Nodes {
    /// All nodes, those that died within the last hour too.
    pub async fn list(&self) -> Result<Vec<NodeRow>> {
        Ok(nodes::list(&mut *connection(&self.0).await?).await?)
    }

    /// Asks a node to drain, or to take sessions again; it hears of it with its next sign of life.
    pub async fn set_draining(&self, id: Uuid, draining: bool) -> Result<NodeRow> {
        let found = nodes::set_draining(&mut *connection(&self.0).await?, id, draining).await?;
        found.ok_or_else(|| ServiceError::not_found("node", id))
    }
}

/// This host among the others.
pub struct Fleet {
    /// All of them.
    pub nodes: Nodes,
    context: Arc<Context>,
    sessions: Arc<Sessions>,
    /// Where the others reach it; unset for a host that is part of no fleet.
    address: OnceLock<String>,
    draining: AtomicBool,
}

impl Fleet {
    /// A host that is part of no fleet until it joins.
    pub fn new(context: Arc<Context>, sessions: Arc<Sessions>) -> Self {
        let nodes = Nodes(context.pool.clone());
        Self { nodes, context, sessions, address: OnceLock::new(), draining: AtomicBool::new(false) }
    }

    /// Becomes a node that the others reach there.
    pub async fn join(&self, address: String) -> Result<()> {
        self.address.get_or_init(|| address);
        self.beat().await
    }

    /// Whether this host is a node.
    pub fn is_joined(&self) -> bool {
        self.address.get().is_some()
    }

    /// This node, as the owner of leases.
    pub fn id(&self) -> Uuid {
        self.context.owner
    }

    /// Whether it opens no session any more, because it was told to.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// At which node the session of a project's job is, or belongs. A node that drains opens none while there is another.
    pub async fn place(&self, project: ProjectId, job: JobId) -> Result<Place> {
        let is_own = self.sessions.has(job) && (!self.is_draining() || self.sessions.is_kept(job));
        if !self.is_joined() || is_own {
            return Ok(Place::Here);
        }
        let mut connection = self.context.connection().await?;
        let mut found = nodes::holder(&mut connection, project, job, self.id()).await?;
        if found.is_none() && self.is_draining() {
            found = nodes::idlest(&mut connection, self.id()).await?;
        }
        Ok(found.map_or(Place::Here, Place::At))
    }

    /// Gives signs of life, and hands its sessions over when it is told to drain; until dropped.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beats, mut since) = (0_u32, None::<Instant>);
        loop {
            ticks.tick().await;
            if !self.is_joined() {
                continue;
            }
            if let Err(error) = self.beat().await {
                tracing::warn!(%error, "no sign of life reached the database: {error}");
            }
            since = self.is_draining().then(|| since.unwrap_or_else(Instant::now));
            if let Some(since) = since {
                self.sessions.hand_over(since.elapsed() >= PATIENCE).await;
            }
            beats = beats.wrapping_add(1);
            if beats.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.forget_dead().await
            {
                tracing::debug!(%error, "dead nodes could not be forgotten: {error}");
            }
        }
    }

    async fn beat(&self) -> Result<()> {
        let Some(address) = self.address.get() else { return Ok(()) };
        let asked = Instant::now();
        if self.context.signs_of_life.are_missing() {
            // It was out of sight: what others took meanwhile is forgotten before anybody is told that all is well.
            self.sessions.heartbeat().await?;
        }
        let beat = Beat {
            id: self.id(),
            address,
            version: env!("CARGO_PKG_VERSION"),
            device: &self.context.device,
            sessions: self.sessions.count() as i64,
            waiting: self.context.engine.occupancy().waiting as i64,
        };
        let draining = nodes::beat(&mut *self.context.connection().await?, &beat).await?;
        self.context.signs_of_life.give(asked);
        if self.draining.swap(draining, Ordering::AcqRel) != draining {
            tracing::info!(draining, "this node was told to drain: {draining}");
        }
        Ok(())
    }

    async fn forget_dead(&self) -> Result<()> {
        Ok(nodes::forget_dead(&mut *self.context.connection().await?).await?)
    }

    /// Out of the fleet, after the last session was handed over.
    pub async fn leave(&self) -> Result<()> {
        if self.is_joined() {
            nodes::leave(&mut *self.context.connection().await?, self.id()).await?;
        }
        Ok(())
    }
}
