//! Streams of a job's events. Owns who listens on this host and when they look again: notices from Postgres wake them, and a
//! look with each ping makes good for a notice that was lost. A waiting listener holds no connection of the pool, and
//! the listeners of a job share one read of what is new. How far watched jobs have come is one read a second for all of them.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::access::concurrency::Permits;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::jobs::project_streams::ProjectFollower;
use crate::service::jobs::project_streams::ProjectWakes;
use crate::service::jobs::project_streams::Service;
use crate::service::jobs::streaming::StreamItem;
use crate::service::jobs::streaming::StreamPermit;
use crate::service::jobs::streaming::StreamSettings;
use crate::service::jobs::streaming::Wanted;
use crate::store::events;
use crate::store::events::EventRow;
use crate::store::job_lists;
use crate::store::job_lists::JobPulse;
use crate::store::jobs;
use crate::store::listen::Listening;
use crate::store::listen::Notice;
use crate::store::project_events;

/// Events of one read.
const READ_EVENTS: u32 = 100;
/// New events of a job that are kept for all its listeners; one that is further behind reads for itself.
const FEED_EVENTS: usize = 500;
/// After a read that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Between two looks at how far watched jobs have come.
const PULSE_EVERY: Duration = Duration::from_secs(1);
/// Pauses between attempts to listen.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Use cases on streams of events.
pub struct Events {
    context: Arc<Context>,
    settings: StreamSettings,
    permits: Arc<Semaphore>,
    of_projects: Permits,
    feeds: Mutex<HashMap<JobId, Weak<Feed>>>,
    projects: ProjectWakes,
    closing: CancellationToken,
    outbox: Arc<Notify>,
}

impl Events {
    /// Streams that end when `closing` is cancelled. `outbox` is told of new messages for webhooks.
    pub fn new(
        context: Arc<Context>,
        settings: StreamSettings,
        closing: CancellationToken,
        outbox: Arc<Notify>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(settings.most));
        let of_projects = Permits::new(settings.most_of_project);
        let (feeds, projects) = (Mutex::default(), ProjectWakes::default());
        Self { context, settings, permits, of_projects, feeds, projects, closing, outbox }
    }

    /// Follows a job's events.
    pub async fn follow(&self, project: ProjectId, job: JobId, wanted: Wanted) -> Result<Follower> {
        let position = {
            let mut connection = self.context.connection().await?;
            let found = jobs::get(&mut connection, project, job).await?;
            found.ok_or_else(|| ServiceError::not_found("fine-tuning job", job))?;
            match wanted.after {
                None => 0,
                Some(event) => events::position(&mut connection, project, job, event).await?.ok_or_else(unknown)?,
            }
        };
        let permit = self.permit(project)?;
        let feed = self.feed(project, job, position);
        Ok(Follower {
            context: Arc::clone(&self.context),
            wakes: feed.wakes.subscribe(),
            pulses: wanted.steps.then(|| feed.watch_pulses()),
            feed,
            position,
            ping: self.settings.ping,
            ping_at: Instant::now() + self.settings.ping,
            oldest: None,
            closing: self.closing.clone(),
            _permit: permit,
        })
    }

    /// Follows the events of all of a project's jobs: those behind `wanted.after`, or those from now on.
    pub async fn follow_project(&self, project: ProjectId, wanted: Wanted) -> Result<ProjectFollower> {
        let place = {
            let mut connection = self.context.connection().await?;
            match wanted.after {
                None => project_events::newest(&mut connection, project).await?,
                Some(event) => project_events::place_of(&mut connection, project, event).await?.ok_or_else(unknown)?,
            }
        };
        let service = Service {
            context: Arc::clone(&self.context),
            ping: self.settings.ping,
            closing: self.closing.clone(),
            permit: self.permit(project)?,
        };
        Ok(ProjectFollower::new(service, &self.projects, project, place, wanted.steps))
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.settings.most.saturating_sub(self.permits.available_permits())
    }

    /// How many there may be.
    pub fn most(&self) -> usize {
        self.settings.most
    }

    /// Whether the host shuts down.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// A place for a stream that is none of a job's, as long as it is held.
    pub fn place(&self, project: ProjectId) -> Result<StreamPermit> {
        self.permit(project)
    }

    /// The project's own share first: where that is taken, the host's other streams are not the reason.
    fn permit(&self, project: ProjectId) -> Result<StreamPermit> {
        let of_project = self.of_projects.take(project).ok_or_else(|| {
            let message = format!(
                "The project has {} event streams open, its share of this host's (server.project_share of \
                 server.max_event_streams); close one.",
                self.of_projects.most()
            );
            ServiceError::new(ErrorCode::TooManyProjectStreams, message)
        })?;
        let of_host = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            ServiceError::new(ErrorCode::TooManyStreams, "The host has too many event streams open; try again.")
        })?;
        Ok(StreamPermit { _of_project: of_project, _of_host: of_host })
    }

    fn feed(&self, project: ProjectId, job: JobId, position: i64) -> Arc<Feed> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(&job).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let feed = Arc::new(Feed::new(project, job, position));
        feeds.insert(job, Arc::downgrade(&feed));
        feed
    }

    /// Wakes the listeners of this job, or of all jobs.
    fn wake(&self, job: Option<JobId>) {
        if job.is_none() {
            self.projects.wake(None);
        }
        let feeds = self.feeds.lock();
        let woken: Vec<Arc<Feed>> = match job {
            Some(job) => feeds.get(&job).and_then(Weak::upgrade).into_iter().collect(),
            None => feeds.values().filter_map(Weak::upgrade).collect(),
        };
        woken.iter().for_each(|feed| feed.wakes.send_modify(|wakes| *wakes += 1));
    }

    /// Tells listeners who want to know it how far their jobs have come, until dropped.
    pub async fn pulse(&self) {
        let mut ticks = tokio::time::interval(PULSE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tell_pulses().await {
                tracing::debug!(%error, "no look at watched jobs: {error}");
            }
        }
    }

    async fn tell_pulses(&self) -> Result<()> {
        let watched: Vec<_> = {
            let feeds = self.feeds.lock();
            feeds.values().filter_map(Weak::upgrade).filter(|feed| feed.pulses.receiver_count() > 0).collect()
        };
        if watched.is_empty() {
            return Ok(());
        }
        let jobs: Vec<_> = watched.iter().map(|feed| feed.job.0).collect();
        let pulses = job_lists::pulses(&mut *self.context.connection().await?, &jobs).await?;
        for feed in watched {
            let pulse = pulses.iter().find(|pulse| pulse.job == feed.job).copied();
            feed.pulses.send_if_modified(|told| {
                let is_news = pulse.is_some() && *told != pulse;
                *told = if is_news { pulse } else { *told };
                is_news
            });
        }
        Ok(())
    }

    /// Hears notices and wakes listeners, until dropped. After each loss of the connection everybody looks again.
    pub async fn listen(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match Listening::start(&self.context.pool).await {
                Ok(mut listening) => {
                    pause = FIRST_PAUSE;
                    self.wake(None);
                    self.outbox.notify_one();
                    while let Some(notice) = listening.next().await {
                        match notice {
                            Notice::Event(job) => self.wake(Some(job)),
                            Notice::ProjectEvent(project) => self.projects.wake(Some(project)),
                            Notice::Deliveries => self.outbox.notify_one(),
                        }
                    }
                    tracing::warn!("the connection that listens for notices was lost");
                }
                Err(error) => tracing::warn!(%error, "no connection to listen for notices: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn unknown() -> ServiceError {
    ServiceError::new(ErrorCode::InvalidCursor, "after: there is no such thing in this list.").at("after")
}

/// What the listeners of a job on this host share.
struct Feed {
    project: ProjectId,
    job: JobId,
    /// Counts reasons to look again.
    wakes: watch::Sender<u64>,
    /// How far the job has come, while somebody wants to know it.
    pulses: watch::Sender<Option<JobPulse>>,
    tail: tokio::sync::Mutex<Tail>,
}

/// The newest events of a job: all those behind position `first`, as of wake `seen`.
struct Tail {
    first: i64,
    rows: VecDeque<Arc<EventRow>>,
    seen: Option<u64>,
    at: Instant,
    is_final: bool,
}

/// What a listener gets from one look.
struct Look {
    rows: Vec<Arc<EventRow>>,
    is_over: bool,
}

impl Feed {
    fn new(project: ProjectId, job: JobId, position: i64) -> Self {
        let tail = Tail { first: position, rows: VecDeque::new(), seen: None, at: Instant::now(), is_final: false };
        let (wakes, pulses) = (watch::Sender::new(0), watch::Sender::new(None));
        Self { project, job, wakes, pulses, tail: tokio::sync::Mutex::new(tail) }
    }

    /// Listens to how far the job has come, beginning with what others were told last.
    fn watch_pulses(&self) -> watch::Receiver<Option<JobPulse>> {
        let mut pulses = self.pulses.subscribe();
        pulses.mark_changed();
        pulses
    }

    /// The events behind `position`, as of wake `wake` at least, and read no earlier than `oldest`.
    async fn look(&self, context: &Context, position: i64, wake: u64, oldest: Option<Instant>) -> Result<Look> {
        let mut tail = self.tail.lock().await;
        if position < tail.first {
            let first = tail.first;
            drop(tail);
            return self.catch_up(context, position, first).await;
        }
        if tail.seen.is_none_or(|seen| seen < wake) || oldest.is_some_and(|oldest| tail.at < oldest) {
            self.refresh(context, &mut tail).await?;
        }
        let known = tail.rows.partition_point(|row| row.n <= position);
        let rows: Vec<_> = tail.rows.range(known..).cloned().collect();
        let is_over = rows.is_empty() && tail.is_final && tail.seen.is_some_and(|seen| seen >= wake);
        Ok(Look { rows, is_over })
    }

    /// For a listener further behind than what is shared.
    async fn catch_up(&self, context: &Context, position: i64, first: i64) -> Result<Look> {
        let mut connection = context.connection().await?;
        let rows = events::since(&mut connection, self.project, self.job, position, READ_EVENTS).await?;
        // What is shared comes from `look`, once the listener is there.
        let rows = rows.into_iter().filter(|row| row.n <= first).map(Arc::new).collect();
        Ok(Look { rows, is_over: false })
    }

    async fn refresh(&self, context: &Context, tail: &mut Tail) -> Result<()> {
        let wake = *self.wakes.borrow();
        let at = Instant::now();
        let mut connection = context.connection().await?;
        // The state first: when it is final, the events read after it are all there will be.
        let job = jobs::get(&mut connection, self.project, self.job).await?;
        loop {
            let last = tail.rows.back().map_or(tail.first, |row| row.n);
            let rows = events::since(&mut connection, self.project, self.job, last, READ_EVENTS).await?;
            let is_last = rows.len() < READ_EVENTS as usize;
            tail.rows.extend(rows.into_iter().map(Arc::new));
            if is_last || tail.rows.len() >= FEED_EVENTS {
                tail.is_final = is_last && job.is_none_or(|job| job.status.is_final());
                tail.seen = is_last.then_some(wake);
                tail.at = at;
                break;
            }
        }
        while tail.rows.len() > FEED_EVENTS
            && let Some(row) = tail.rows.pop_front()
        {
            tail.first = row.n;
        }
        Ok(())
    }
}

/// One listener of a job.
pub struct Follower {
    context: Arc<Context>,
    feed: Arc<Feed>,
    wakes: watch::Receiver<u64>,
    pulses: Option<watch::Receiver<Option<JobPulse>>>,
    position: i64,
    ping: Duration,
    ping_at: Instant,
    /// Set after a silence: what is shared must not have been read before.
    oldest: Option<Instant>,
    closing: CancellationToken,
    _permit: StreamPermit,
}

impl Follower {
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
            let wake = *self.wakes.borrow_and_update();
            let look = self.feed.look(&self.context, self.position, wake, self.oldest).await;
            let again = match look {
                Ok(Look { rows, .. }) if !rows.is_empty() => {
                    self.position = rows.last().map_or(self.position, |row| row.n);
                    return StreamItem::Events(rows);
                }
                Ok(Look { is_over: true, .. }) => return StreamItem::Over,
                Ok(_) => {
                    self.oldest = None;
                    None
                }
                Err(error) => {
                    tracing::debug!(%error, "a listener could not look: {error}");
                    Some(RETRY_AFTER)
                }
            };
            tokio::select! {
                _ = self.wakes.changed() => {}
                pulse = changed(&mut self.pulses) => return StreamItem::Steps(vec![pulse]),
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
                () = tokio::time::sleep_until(self.ping_at) => {
                    let now = Instant::now();
                    self.ping_at = now + self.ping;
                    // Listeners of a job that are pinged within a moment share their look.
                    self.oldest = Some(now - (self.ping / 4).min(RETRY_AFTER));
                    return StreamItem::Silence;
                }
            }
        }
    }
}

/// The next pulse; never, for a listener who does not want any.
async fn changed(pulses: &mut Option<watch::Receiver<Option<JobPulse>>>) -> JobPulse {
    let Some(pulses) = pulses else { return std::future::pending().await };
    loop {
        if pulses.changed().await.is_err() {
            return std::future::pending().await; // the feed outlives its followers
        }
        if let Some(pulse) = *pulses.borrow_and_update() {
            return pulse;
        }
    }
}
