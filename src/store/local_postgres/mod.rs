//! The host's own Postgres, for when no database is configured. Owns its folder, its process and its end.
//!
//! - It listens on a socket in a folder that only its account can enter; there is no port and no password.
//! - One host owns a folder (a file lock); others, a command-line call for example, use the owner's Postgres as guests.
//! - It ends with the host, even with one that was killed: a watchdog waits on a pipe that only the host holds open, and
//!   asks Postgres to shut down when the pipe closes. A host that finds a Postgres whose watchdog died too adopts it.
//! - When it dies under a living host, the host starts it again.

mod account;
mod binaries;
mod cluster;
mod place;
mod process;
mod settings;

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::local_postgres::account::Account;
use crate::store::local_postgres::cluster::Cluster;
use crate::store::local_postgres::process::Running;
use crate::store::local_postgres::settings::RESTART_PAUSE;

pub use settings::LocalPostgresSettings;

/// Where the programs of a major version of Postgres are.
pub async fn programs_of(major: &str) -> Result<PathBuf> {
    binaries::find(None, Some(major)).await
}

/// How long a start may take: recovery after a crash included.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A running private Postgres. Dropped without [`LocalPostgres::stop`] it ends by itself, a moment later.
#[derive(Debug)]
pub struct LocalPostgres {
    url: String,
    home: PathBuf,
    /// `None` for a guest.
    owned: Option<Owned>,
}

#[derive(Debug)]
struct Owned {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl LocalPostgres {
    /// Starts Postgres on the folder, making the database when there is none; or uses the one that another host runs there.
    pub async fn start(settings: LocalPostgresSettings) -> Result<Self> {
        let mut cluster = Cluster::open(&settings).await?;
        let deadline = Instant::now() + START_WITHIN;
        let Some(lock) = cluster.lock_or_guest(deadline).await? else {
            tracing::info!("using the private Postgres that another process runs in {}", cluster.home().display());
            return Ok(Self { url: cluster.url(), home: cluster.home().to_owned(), owned: None });
        };
        cluster.init().await?;
        let running = cluster.start(deadline).await?;
        cluster.make_database().await?;
        let (url, home) = (cluster.url(), cluster.home().to_owned());
        tracing::info!("the private Postgres runs in {}", home.display());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(supervise(cluster, running, lock, stopped));
        Ok(Self { url, home, owned: Some(Owned { stop, ended }) })
    }

    /// Whether Postgres runs under another account than this process: it refuses to run as root.
    pub fn runs_as_another() -> Result<bool> {
        Ok(Account::choose()?.is_other())
    }

    /// Where to connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data is: the folder asked for, or one that its account can reach.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether this process runs it; `false` for a guest, whose Postgres may go away with its owner.
    pub fn is_owner(&self) -> bool {
        self.owned.is_some()
    }

    /// Shuts Postgres down in good order; connections are cut. Bounded: after 15 s it is killed. A guest leaves it alone.
    pub async fn stop(self) -> Result<()> {
        let Some(Owned { stop, ended }) = self.owned else { return Ok(()) };
        // A supervisor that is gone already has stopped Postgres.
        let _ = stop.send(());
        ended.await.map_err(StoreError::broken)
    }
}

/// Keeps Postgres up until it is asked to stop or its handle is dropped. Holds the lock until it is down.
async fn supervise(mut cluster: Cluster, running: Running, lock: File, mut stopped: oneshot::Receiver<()>) {
    let mut current = Some(running);
    loop {
        current = match current {
            Some(mut running) => tokio::select! {
                _ = &mut stopped => {
                    running.stop().await;
                    break;
                }
                () = running.ended() => {
                    tracing::error!("the private Postgres ended; starting it again");
                    None
                }
            },
            None => tokio::select! {
                _ = &mut stopped => break,
                started = restart(&mut cluster) => started,
            },
        };
    }
    cluster.tidy();
    drop(lock);
}

async fn restart(cluster: &mut Cluster) -> Option<Running> {
    match cluster.start(Instant::now() + START_WITHIN).await {
        Ok(running) => {
            tracing::info!("the private Postgres runs again");
            Some(running)
        }
        Err(error) => {
            tracing::error!(error = %error, "the private Postgres does not start: {error}");
            tokio::time::sleep(RESTART_PAUSE).await;
            None
        }
    }
}
