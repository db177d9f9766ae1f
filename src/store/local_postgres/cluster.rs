//! One database cluster on disk. Owns how it is made, started and found running.

use std::fs::File;
use std::fs::TryLockError;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::PgConnection;
use tokio::process::Child;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::store::error::Result;
use crate::store::error::StoreError;
use crate::store::local_postgres::account::Account;
use crate::store::local_postgres::account::cannot_run;
use crate::store::local_postgres::binaries;
use crate::store::local_postgres::place;
use crate::store::local_postgres::process::PidFile;
use crate::store::local_postgres::process::Running;
use crate::store::local_postgres::settings::LocalPostgresSettings;
use crate::store::local_postgres::settings::POLL;
use crate::store::local_postgres::settings::RESTART_PAUSE;

/// Role and database of the host.
const NAME: &str = "blindtune";
/// How long a killed host's watchdog may take to act before its Postgres is taken for one without a watchdog.
const WATCHDOG_WITHIN: Duration = Duration::from_secs(1);
/// A log that has grown beyond this is begun anew at the next start.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
/// How much of the log an error quotes.
const LOG_LINES_QUOTED: usize = 8;

/// Paths and account of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    account: Account,
    bin: PathBuf,
    home: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    durable: bool,
}

impl Cluster {
    /// Finds programs and folders; starts nothing.
    pub(super) async fn open(settings: &LocalPostgresSettings) -> Result<Self> {
        let mut account = Account::choose()?;
        let home = place::home(&account, &settings.data_dir).await?;
        let data = home.join("cluster");
        let major = std::fs::read_to_string(data.join("PG_VERSION")).ok();
        let found = binaries::find(settings.bin_dir.as_deref(), major.as_deref().map(str::trim)).await?;
        let bin = place::programs(&mut account, found).await?;
        let sockets = place::sockets(&account, &home)?;
        Ok(Self { account, bin, home, data, sockets, log: settings.log.clone(), durable: settings.durable })
    }

    /// The folder of everything.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Where to connect to.
    pub(super) fn url(&self) -> String {
        self.url_of(NAME)
    }

    fn url_of(&self, database: &str) -> String {
        let folder: String = form_urlencoded::byte_serialize(self.sockets.as_os_str().as_encoded_bytes()).collect();
        format!("postgres://{NAME}@localhost/{database}?host={}", folder.replace('+', "%20"))
    }

    /// Takes the folder for this process; `None` when another process has it and its Postgres takes connections.
    pub(super) async fn lock_or_guest(&mut self, deadline: Instant) -> Result<Option<File>> {
        let file = File::options().create(true).append(true).open(self.home.join("lock"))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            if let Some(found) = PidFile::of_live(&self.data).filter(PidFile::is_ready) {
                self.sockets = found.sockets;
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(StoreError::unavailable(format!("another process holds {}", self.home.display())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Makes the cluster when there is none. A crash on the way leaves nothing that is taken for one.
    pub(super) async fn init(&self) -> Result<()> {
        if self.data.join("PG_VERSION").is_file() {
            return Ok(());
        }
        let staged = self.home.join("cluster.tmp");
        if staged.exists() {
            std::fs::remove_dir_all(&staged)?;
        }
        tracing::info!("making a private Postgres in {}", self.home.display());
        let program = self.bin.join("initdb");
        let mut initdb = self.account.command(&program);
        initdb.arg("-D").arg(&staged);
        initdb.args(["-U", NAME, "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"]);
        if !self.durable {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().await.map_err(|error| cannot_run(program, &error))?;
        if !output.status.success() {
            return Err(StoreError::broken(format!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        std::fs::rename(&staged, &self.data)?;
        Ok(File::open(&self.home)?.sync_all()?)
    }

    /// Brings Postgres up: adopts one that a killed host left behind, else starts one.
    pub(super) async fn start(&mut self, deadline: Instant) -> Result<Running> {
        if let Some(PidFile { pid, sockets, .. }) = self.left_behind(deadline).await? {
            self.sockets = sockets;
            tracing::warn!("adopting the Postgres (process {pid}) that a host left behind in {}", self.home.display());
            return Running::watch(&self.account, &self.data, pid, None);
        }
        loop {
            match self.try_start(deadline).await {
                // After a kill the backends outlive the postmaster for some seconds, and hold its shared memory.
                Err(error) if Instant::now() + RESTART_PAUSE > deadline => return Err(error),
                Err(_) => tokio::time::sleep(RESTART_PAUSE).await,
                started => return started,
            }
        }
    }

    /// The postmaster that a killed host left running, once it is sure that nothing is about to end it.
    async fn left_behind(&self, deadline: Instant) -> Result<Option<PidFile>> {
        let mut ready_since = None;
        while let Some(found) = PidFile::of_live(&self.data) {
            let since = *ready_since.get_or_insert_with(Instant::now);
            if !found.is_ready() {
                ready_since = None;
            } else if since.elapsed() > WATCHDOG_WITHIN {
                return Ok(Some(found));
            }
            if Instant::now() > deadline {
                return Err(StoreError::unavailable(format!("Postgres (process {}) does not end", found.pid)));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    async fn try_start(&self, deadline: Instant) -> Result<Running> {
        let child = self.spawn()?;
        let Some(pid) = child.id() else { return Err(self.failed_start()) };
        let mut running = Running::watch(&self.account, &self.data, pid, Some(child))?;
        loop {
            if running.has_ended() {
                return Err(self.failed_start());
            }
            if PidFile::of_live(&self.data).is_some_and(|found| found.pid == pid && found.is_ready()) {
                return Ok(running);
            }
            if Instant::now() > deadline {
                running.stop().await;
                return Err(self.failed_start());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn spawn(&self) -> Result<Child> {
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        if log.metadata()?.len() > LOG_BYTES {
            log.set_len(0)?;
        }
        let program = self.bin.join("postgres");
        let mut postgres = self.account.command(&program);
        postgres.arg("-D").arg(&self.data).arg("-k").arg(&self.sockets);
        postgres.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "log_timezone=UTC"]);
        if !self.durable {
            postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off"]);
        }
        let begun = postgres.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log)).spawn();
        begun.map_err(|error| cannot_run(program, &error))
    }

    /// Removes what lies outside the home folder, once Postgres is down.
    pub(super) fn tidy(&self) {
        if !self.sockets.starts_with(&self.home) {
            // It stays when it is not empty: then something else uses it.
            let _ = std::fs::remove_dir(&self.sockets);
        }
    }

    fn failed_start(&self) -> StoreError {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(LOG_LINES_QUOTED).collect();
        let quoted: Vec<&str> = lines.into_iter().rev().collect();
        StoreError::unavailable(format!("Postgres did not start; its log ends with:\n{}", quoted.join("\n")))
    }

    /// Makes the host's database when there is none.
    pub(super) async fn make_database(&self) -> Result<()> {
        let mut conn = PgConnection::connect(&self.url_of("postgres")).await?;
        let found = sqlx::query_scalar!(
            r#"select exists (select 1 from pg_catalog.pg_database where datname = $1) as "found!""#,
            NAME,
        )
        .fetch_one(&mut conn)
        .await?;
        if !found {
            // Not `query!`: a database cannot be made by a prepared statement with parameters; the name is ours.
            sqlx::raw_sql("create database blindtune").execute(&mut conn).await?;
        }
        Ok(conn.close().await?)
    }
}
