//! Streams of the events of all jobs of a project. Owns when such a listener looks again: when a notice of its project came, when something
//! waits for a transaction under way, and with each ping; and how far jobs have come, for those who want it. Must never hold a connection
//! of the pool while it waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::jobs::streaming::StreamItem;
use crate::service::jobs::streaming::StreamPermit;
use crate::store::job_lists;
use crate::store::job_lists::JobPulse;
use crate::store::project_events;
use crate::store::project_events::Place;

/// Events of one read.
const READ_EVENTS: u32 = 100;
/// A burst of notices is one look.
const GATHER: Duration = Duration::from_millis(50);
/// Until events that wait for a transaction under way are looked for again.
const SETTLE: Duration = Duration::from_millis(100);
/// After a read that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Between two looks at how far jobs have come.
const PULSE_EVERY: Duration = Duration::from_secs(1);

/// Who on this host listens to which project.
#[derive(Default)]
pub struct ProjectWakes(Mutex<HashMap<ProjectId, Weak<watch::Sender<u64>>>>);

impl ProjectWakes {
    /// What a listener of this project waits on.
    fn of(&self, project: ProjectId) -> Arc<watch::Sender<u64>> {
        let mut listened = self.0.lock();
        if let Some(wakes) = listened.get(&project).and_then(Weak::upgrade) {
            return wakes;
        }
        listened.retain(|_, wakes| wakes.strong_count() > 0);
        let wakes = Arc::new(watch::Sender::new(0));
        listened.insert(project, Arc::downgrade(&wakes));
        wakes
    }

    /// Wakes the listeners of this project, or of all.
    pub fn wake(&self, project: Option<ProjectId>) {
        let listened = self.0.lock();
        let woken = listened.iter().filter(|(of, _)| project.is_none_or(|project| project == **of));
        woken.filter_map(|(_, wakes)| wakes.upgrade()).for_each(|wakes| wakes.send_modify(|count| *count += 1));
    }
}

/// One listener of a project.
pub struct ProjectFollower {
    context: Arc<Context>,
    project: ProjectId,
    place: Place,
    /// Keeps the project among those listened to.
    _wakes: Arc<watch::Sender<u64>>,
    woken: watch::Receiver<u64>,
    ping: Duration,
    ping_at: Instant,
    pulses: Option<Pulses>,
    closing: CancellationToken,
    _permit: StreamPermit,
}

/// How far jobs had come at the last look.
struct Pulses {
    told: HashMap<JobId, JobPulse>,
    look_at: Instant,
}

/// How a listener is served.
pub struct Service {
    /// What every use case works with.
    pub context: Arc<Context>,
    /// A sign of life after each such time.
    pub ping: Duration,
    /// Ends all streams.
    pub closing: CancellationToken,
    /// The stream's place.
    pub permit: StreamPermit,
}

impl ProjectFollower {
    /// A listener that is told what comes behind `place`.
    pub fn new(service: Service, wakes: &ProjectWakes, project: ProjectId, place: Place, steps: bool) -> Self {
        let Service { context, ping, closing, permit } = service;
        let wakes = wakes.of(project);
        Self {
            context,
            project,
            place,
            woken: wakes.subscribe(),
            _wakes: wakes,
            ping,
            ping_at: Instant::now() + ping,
            pulses: steps.then(|| Pulses { told: HashMap::new(), look_at: Instant::now() }),
            closing,
            _permit: permit,
        }
    }

    /// Waits for something to tell. While the database is away there is only silence.
    pub async fn next(&mut self) -> StreamItem {
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => StreamItem::Closing,
            item = self.wait() => item,
        }
    }

    async fn wait(&mut self) -> StreamItem {
        loop {
            self.woken.mark_unchanged();
            let again = match self.look().await {
                Ok(Look::Events(item)) => return item,
                Ok(Look::Nothing { is_held_up }) => is_held_up.then_some(SETTLE),
                Err(error) => {
                    tracing::debug!(%error, "a listener of a project could not look: {error}");
                    Some(RETRY_AFTER)
                }
            };
            if let Some(item) = self.pulse().await {
                return item;
            }
            let look_at = again.map(|pause| Instant::now() + pause);
            let next = [look_at, self.pulses.as_ref().map(|pulses| pulses.look_at), Some(self.ping_at)];
            let next = next.into_iter().flatten().min().unwrap_or(self.ping_at);
            tokio::select! {
                _ = self.woken.changed() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep_until(next) => {
                    let now = Instant::now();
                    if now >= self.ping_at {
                        self.ping_at = now + self.ping;
                        return StreamItem::Silence;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Look> {
        let mut connection = self.context.connection().await?;
        let found = project_events::since(&mut connection, self.project, self.place, READ_EVENTS).await?;
        if found.rows.is_empty() {
            return Ok(Look::Nothing { is_held_up: found.is_more });
        }
        self.place = found.place;
        self.woken.mark_changed();
        Ok(Look::Events(StreamItem::Events(found.rows.into_iter().map(Arc::new).collect())))
    }

    /// What got on since the last look, once a second.
    async fn pulse(&mut self) -> Option<StreamItem> {
        let pulses = self.pulses.as_mut().filter(|pulses| Instant::now() >= pulses.look_at)?;
        pulses.look_at = Instant::now() + PULSE_EVERY;
        let mut connection = self.context.connection().await.ok()?;
        let running = job_lists::running_pulses(&mut connection, self.project).await.ok()?;
        let news: Vec<_> = running.iter().filter(|pulse| pulses.told.get(&pulse.job) != Some(pulse)).copied().collect();
        pulses.told = running.into_iter().map(|pulse| (pulse.job, pulse)).collect();
        (!news.is_empty()).then_some(StreamItem::Steps(news))
    }
}

enum Look {
    Events(StreamItem),
    Nothing { is_held_up: bool },
}
