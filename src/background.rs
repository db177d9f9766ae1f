//! The loops of a host: chores on sessions, feature jobs, batches, the count of requests, the sweep of what is no longer wanted, notices, signs of life,
//! deliveries. Owns how often each runs and in which order they end; must never construct what they work on: that is `app`'s.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::App;
use crate::service::Delivery;
use crate::service::Features;
use crate::service::Inference;
use crate::service::Sessions;
use crate::service::Sweeper;

/// Blobs that no row names are removed when they are older than this.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often the host looks for them.
const ORPHANS_EVERY: Duration = Duration::from_secs(3600);
/// Deliveries that have begun may take this much longer than the last request.
const LAST_DELIVERIES: Duration = Duration::from_millis(500);

/// What the loops work on.
pub struct Loops {
    /// The use cases.
    pub app: App,
    /// The sessions of this host.
    pub sessions: Arc<Sessions>,
    /// The feature jobs of this host.
    pub features: Arc<Features>,
    /// Removes what has expired.
    pub sweeper: Sweeper,
    /// Sends what is in the outbox.
    pub delivery: Arc<Delivery>,
    /// Cancelled when the host shuts down.
    pub closing: CancellationToken,
    /// How often chores and sweeps run.
    pub every: Duration,
    /// Whether blobs that no row names are removed.
    pub remove_orphans: bool,
}

/// The loops, running.
pub struct Background {
    /// Those that can be cut at any moment.
    abortable: [JoinHandle<()>; 7],
    counting: JoinHandle<()>,
    count_once_more: Arc<Notify>,
    delivering: JoinHandle<()>,
}

impl Background {
    /// Starts them all.
    pub fn start(loops: Loops) -> Self {
        let Loops { app, sessions, features, sweeper, delivery, closing, every, remove_orphans } = loops;
        let (events, pulses) = (Arc::clone(&app.events), Arc::clone(&app.events));
        let (batches, fleet) = (Arc::clone(&app.batches), Arc::clone(&app.fleet));
        let count_once_more = Arc::new(Notify::new());
        Self {
            abortable: [
                tokio::spawn(chores(sessions, Arc::clone(&app.inference), every)),
                tokio::spawn(sweeps(sweeper, every, remove_orphans)),
                tokio::spawn(async move { events.listen().await }),
                tokio::spawn(async move { pulses.pulse().await }),
                tokio::spawn(async move { features.run().await }),
                tokio::spawn(async move { batches.run().await }),
                tokio::spawn(async move { fleet.run().await }),
            ],
            counting: tokio::spawn(counting(app, Arc::clone(&count_once_more))),
            count_once_more,
            delivering: tokio::spawn(delivery.run(closing)),
        }
    }

    /// Ends them, after the last request. The last count of requests may still be on its way: whoever closes the database waits for it.
    pub async fn stop(mut self) -> JoinHandle<()> {
        self.abortable.iter().for_each(JoinHandle::abort);
        for cut in &mut self.abortable {
            let _ = cut.await; // it was cut; whoever gives back its leases must come after it
        }
        self.count_once_more.notify_one();
        if tokio::time::timeout(LAST_DELIVERIES, &mut self.delivering).await.is_err() {
            self.delivering.abort(); // what was not delivered is sent again by whoever is there
        }
        self.counting
    }
}

/// Renews leases and pauses idle jobs, until aborted.
async fn chores(sessions: Arc<Sessions>, inference: Arc<Inference>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for done in [
            sessions.heartbeat().await,
            sessions.pause_idle().await,
            sessions.pause_abandoned().await,
            inference.close_idle().await,
        ] {
            if let Err(error) = done {
                tracing::warn!(%error, "a chore failed and is tried again: {error}");
            }
        }
    }
}

/// Writes counted requests down each second and once more at the end, and forgets old answers each hour.
async fn counting(app: App, count_once_more: Arc<Notify>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hours = tokio::time::interval(Duration::from_secs(3600));
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = count_once_more.notified() => true,
            _ = hours.tick() => {
                if let Err(error) = app.idempotency.sweep().await {
                    tracing::warn!(%error, "old answers could not be forgotten: {error}");
                }
                false
            }
        };
        if let Err(error) = app.governor.flush().await {
            tracing::warn!(%error, "requests could not be counted and are counted later: {error}");
        }
        if last {
            return;
        }
    }
}

/// Removes what has expired, and now and then (`orphans`) what belongs to nothing, until aborted.
async fn sweeps(sweeper: Sweeper, every: Duration, orphans: bool) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let mut done = sweeper.remove_expired().await;
        if done.is_ok() {
            done = sweeper.forget_old().await;
        }
        if orphans && done.is_ok() && looked.is_none_or(|at| at.elapsed() >= ORPHANS_EVERY) {
            done = sweeper.remove_orphans(ORPHAN_AGE).await;
            looked = Some(Instant::now());
        }
        if let Err(error) = done {
            tracing::warn!(%error, "a sweep failed and is tried again: {error}");
        }
    }
}
