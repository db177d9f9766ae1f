//! Work that nobody waits for, a turn at a time: feature jobs and batches. Owns the loop of such a worker, and that every lease that was
//! asked for is known before leases are given back; must never know what a turn does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Mutex;
use tokio::sync::Notify;

use crate::service::context::Result;
use crate::service::error::ServiceError;

/// Pause after a turn that failed.
pub const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often an idle worker looks for work that others admitted.
const LOOK: Duration = Duration::from_millis(500);

/// Who works in turns.
pub trait Worker: Sync {
    /// What a turn is called in the log.
    const TURN: &'static str;

    /// Its turns.
    fn turns(&self) -> &Turns;

    /// One turn. `false`: there is nothing to do.
    fn turn(&self) -> impl Future<Output = Result<bool>> + Send;

    /// Before a pause for want of work.
    fn idle(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// When a worker looks again, and the lease that it is taking.
#[derive(Default)]
pub struct Turns {
    wake: Notify,
    /// Held while a lease is taken.
    taking: Arc<Mutex<()>>,
}

impl Turns {
    /// Says that there may be work.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Takes a lease, in a task of its own: one that was asked for is taken before [`Turns::give_back`] looks.
    pub async fn take<T: Send + 'static>(&self, lease: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let taking = Arc::clone(&self.taking).lock_owned().await;
        let taken = tokio::spawn(async move {
            let _taking = taking;
            lease.await
        });
        taken.await.map_err(ServiceError::internal)?
    }

    /// Gives back the lease of a turn that was cut short, wherever that was.
    pub async fn give_back(&self, release: impl Future<Output = Result<()>>) -> Result<()> {
        let _taking = self.taking.lock().await;
        release.await
    }
}

/// Works until it is aborted.
pub async fn work<W: Worker>(worker: &W) {
    loop {
        match turn_of(worker).await {
            Ok(true) => {}
            Ok(false) => {
                worker.idle().await;
                // Whoever wakes it in between or not: it looks again.
                let _ = tokio::time::timeout(LOOK, worker.turns().wake.notified()).await;
            }
            Err(error) => {
                tracing::warn!(%error, "{} failed and is tried again: {error}", W::TURN);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// A turn that panics ends alone: its lease stays, so that the attempt counts as barren.
async fn turn_of<W: Worker>(worker: &W) -> Result<bool> {
    let turn = AssertUnwindSafe(worker.turn()).catch_unwind().await;
    turn.unwrap_or_else(|_| Err(ServiceError::internal(format!("{} panicked", W::TURN))))
}
