//! Notices between the hosts that share a database. Owns the channels and the one connection that listens to them; a notice
//! only ever says "look again": what happened is in the tables.

use sqlx::postgres::PgListener;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::store::error::Result;
use crate::store::pool::Pool;

/// Payload: the job's uuid. Written in SQL by `events::append`.
const EVENTS: &str = "blindtune_events";
/// Payload: the uuid of the job's project. Written in SQL by `events::append`.
const PROJECT_EVENTS: &str = "blindtune_project_events";
/// No payload. Written in SQL by `deliveries`.
const DELIVERIES: &str = "blindtune_deliveries";

/// What another transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Appended an event to the job.
    Event(JobId),
    /// Appended an event to a job of the project.
    ProjectEvent(ProjectId),
    /// Put messages for webhooks into the outbox.
    Deliveries,
}

/// A connection that listens, outside the pool: it would hold one of its connections for ever.
pub struct Listening(PgListener);

impl Listening {
    /// Connects with the pool's settings and listens.
    pub async fn start(pool: &Pool) -> Result<Self> {
        let options = pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let mut listener = PgListener::connect_with(&own.connect_with(options).await?).await?;
        listener.eager_reconnect(false);
        listener.listen_all([EVENTS, PROJECT_EVENTS, DELIVERIES]).await?;
        Ok(Self(listener))
    }

    /// The next notice; `None` when the connection was lost, and with it perhaps notices: look at everything again.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            let notice = self.0.try_recv().await.ok().flatten()?;
            match (notice.channel(), notice.payload().parse::<Uuid>()) {
                (DELIVERIES, _) => return Some(Notice::Deliveries),
                (PROJECT_EVENTS, Ok(project)) => return Some(Notice::ProjectEvent(ProjectId(project))),
                (_, Ok(job)) => return Some(Notice::Event(JobId(job))),
                (_, Err(_)) => continue,
            }
        }
    }
}
