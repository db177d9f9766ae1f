//! The database that the configuration names, or a private one in the state folder. Owns the way to it and what to do about one that
//! is not ours to touch; must never read a row.

use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
use crate::store::Pool;
use crate::store::PoolSettings;
use crate::store::StoreError;
use crate::store::local_postgres::LocalPostgres;
use crate::store::local_postgres::LocalPostgresSettings;
use crate::store::pool;
use crate::store::state_folder;

/// Postgres, ours or the operator's, with a pool on it.
pub struct Database {
    /// The pool.
    pub pool: Pool,
    /// Its address.
    pub url: String,
    private: Option<LocalPostgres>,
}

impl Database {
    /// Connects to the configured Postgres, or to a private one, and brings its schema up to date.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Self::connect(config).await?;
        database.migrate(config).await?;
        Ok(database)
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self, config: &Config) -> anyhow::Result<()> {
        pool::migrate(&self.pool).await.map_err(|error| migration_failed(error, config))
    }

    /// Connects, and leaves the schema as it is.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let set = config.database.url.expose();
        let private = match set {
            "" => Some(start_private(config).await?),
            _ => None,
        };
        let url = private.as_ref().map_or(set, LocalPostgres::url);
        let settings = PoolSettings {
            max_connections: config.database.max_connections,
            acquire_timeout: Duration::from_millis(config.database.acquire_timeout_ms),
        };
        let pool = pool::connect(url, settings).await.with_context(|| format!("{} cannot be reached", named(url)))?;
        let url = url.to_owned();
        Ok(Self { pool, url, private })
    }

    /// Closes the pool and stops a Postgres of our own.
    pub async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        if let Some(private) = self.private {
            private.stop().await?;
        }
        Ok(())
    }
}

/// The database for messages: where it is, and nothing of its password.
fn named(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(url::Url::host_str).filter(|host| !host.is_empty());
    let port = parsed.as_ref().and_then(url::Url::port).unwrap_or(5432);
    host.map_or("the database (database.url)".to_owned(), |host| {
        format!("the database at {host}:{port} (database.url)")
    })
}

/// Makes the folder of the host's state, which is for this account alone: keys and everybody's files lie in it. A private Postgres
/// of a host that is root runs under another account, and has a folder of its own in it.
pub fn make_state_folder(config: &Config) -> anyhow::Result<()> {
    let folder = &config.state.dir;
    let others_pass = config.database.url.expose().is_empty() && LocalPostgres::runs_as_another()?;
    let own = ["keys", "blobs", "hub"].map(|name| folder.join(name));
    state_folder::make(folder, others_pass)
        .and_then(|()| own.iter().try_for_each(|own| state_folder::make_private(own)))
        .with_context(|| format!("{} cannot be made a folder for this account alone", folder.display()))
}

/// Says what to do about a database that this program must not touch.
fn migration_failed(error: StoreError, config: &Config) -> anyhow::Error {
    let failed = "the database's schema cannot be brought up to date";
    if !matches!(error, StoreError::OtherVersion { .. }) {
        return anyhow::Error::new(error).context(failed);
    }
    let remedy = match config.database.url.expose() {
        "" => format!("remove the folder {} (state.dir)", config.state.dir.display()),
        _ => "make an empty database and name it in database.url".to_owned(),
    };
    anyhow::Error::new(error).context(format!(
        "{failed}. A database of a newer release needs that release. One from before 0.2.0 was for development and is not carried \
         over: {remedy}, and start again; its keys, files and jobs are lost"
    ))
}

async fn start_private(config: &Config) -> anyhow::Result<LocalPostgres> {
    make_state_folder(config)?;
    let settings = LocalPostgresSettings {
        data_dir: config.state.dir.join("postgres"),
        bin_dir: None,
        durable: config.database.durable,
        log: config.state.dir.join("postgres.log"),
    };
    LocalPostgres::start(settings).await.context("the private Postgres cannot be started")
}
