//! A real Postgres for tests: one cluster for each test binary, one fresh and migrated database for each test.
//!
//! Nothing is left behind, not even by a test that panics or a run that is killed: the cluster ends when the test process
//! does (see `LocalPostgres`), and a small shell waits for that and removes its folder.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use blindtune::store::Pool;
use blindtune::store::PoolSettings;
use blindtune::store::local_postgres::LocalPostgres;
use blindtune::store::local_postgres::LocalPostgresSettings;
use blindtune::store::pool;
use sqlx::Connection;
use sqlx::PgConnection;
use tokio::sync::Mutex;

/// The cluster of this test binary.
struct Cluster {
    url: String,
    _folder: Folder,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static MAKING: Mutex<()> = Mutex::const_new(());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed after this process has ended and after its Postgres, if it held one, has ended too.
pub struct Folder {
    path: PathBuf,
    _remover: Child,
}

impl Folder {
    /// Makes a folder under the temporary folder, reachable by the account that runs Postgres.
    pub fn new(name: &str) -> std::io::Result<Self> {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bt-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        let wait_and_remove = "trap '' HUP INT TERM; read -r _; n=0
            while [ -e \"$1/postgres/cluster/postmaster.pid\" ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
            rm -rf \"$1\"";
        let remover = Command::new("/bin/sh")
            .args(["-c", wait_and_remove, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { path, _remover: remover })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Settings for a Postgres in this folder.
    pub fn postgres(&self) -> LocalPostgresSettings {
        LocalPostgresSettings {
            data_dir: self.path.join("postgres"),
            bin_dir: None,
            durable: false,
            log: self.path.join("postgres.log"),
        }
    }
}

/// A database of a test's own.
pub struct TestDatabase {
    /// Connections to it.
    pub pool: Pool,
    /// Its address.
    pub url: String,
}

/// Makes a fresh, migrated database.
pub async fn database() -> TestDatabase {
    let url = fresh_url(true).await;
    let pool = pool::connect(&url, PoolSettings::default()).await.expect("the fresh database takes connections");
    TestDatabase { pool, url }
}

/// Makes a database without any table, and gives its address.
pub async fn empty_database() -> String {
    fresh_url(false).await
}

async fn fresh_url(migrated: bool) -> String {
    let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start_cluster)).await.expect("the cluster starts");
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let template = if migrated { "blindtune" } else { "template1" };
    // One at a time: a template may not be in use while it is copied.
    let _making = MAKING.lock().await;
    let mut admin = PgConnection::connect(&with_database(&cluster.url, "postgres")).await.expect("connects");
    sqlx::raw_sql(&format!("create database {name} template {template}")).execute(&mut admin).await.expect("creates");
    admin.close().await.expect("closes");
    with_database(&cluster.url, &name)
}

/// The address with another database.
pub fn with_database(url: &str, name: &str) -> String {
    url.replacen("/blindtune?", &format!("/{name}?"), 1)
}

/// Runs the cluster on a thread of its own: the runtime of a test ends with the test.
fn start_cluster() -> Cluster {
    let folder = Folder::new("cluster").expect("a folder");
    let settings = folder.postgres();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let postgres = LocalPostgres::start(settings).await.expect("Postgres starts");
            let pool = pool::connect(postgres.url(), PoolSettings::default()).await.expect("connects");
            pool::migrate(&pool).await.expect("migrates");
            pool.close().await;
            send.send(postgres.url().to_owned()).expect("a test waits");
            std::future::pending::<()>().await;
        });
    });
    Cluster { url: receive.recv().expect("the cluster starts"), _folder: folder }
}
