//! The loops of a host: chores on sessions, the count of requests, the sweep of what is no longer wanted. Owns how often each
//! runs; must never construct anything, or end by itself: `app` starts and stops them.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::api::App;
use crate::service::Inference;
use crate::service::Sessions;
use crate::service::Sweeper;

/// Blobs that no row names are removed when they are older than this.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often the host looks for them.
const ORPHANS_EVERY: Duration = Duration::from_secs(3600);

/// Renews leases and pauses idle jobs, until aborted.
pub async fn chores(sessions: Arc<Sessions>, inference: Arc<Inference>, every: Duration) {
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
pub async fn counting(app: App, enough: Arc<Notify>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hours = tokio::time::interval(Duration::from_secs(3600));
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = enough.notified() => true,
            _ = hours.tick() => {
                if let Err(error) = app.requests.sweep().await {
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
pub async fn sweeps(sweeper: Sweeper, every: Duration, orphans: bool) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let mut done = sweeper.remove_expired().await;
        if orphans && done.is_ok() && looked.is_none_or(|at| at.elapsed() >= ORPHANS_EVERY) {
            done = sweeper.remove_orphans(ORPHAN_AGE).await;
            looked = Some(Instant::now());
        }
        if let Err(error) = done {
            tracing::warn!(%error, "a sweep failed and is tried again: {error}");
        }
    }
}
